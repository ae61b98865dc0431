//! `lbxdp metrics`

use std::io::Write;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::bail;

use super::place::{PinPath, Socket};
use crate::api::{self, Heartbeat, Request, Response};
use crate::dataplane::LastBeat;
use crate::metrics::{Exposition, Format};

/// Arguments of `lbxdp metrics`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Where the agent listens.
    #[command(flatten)]
    pub agent: Socket,
    /// Where the maps are, which tell the heartbeat when the agent does not answer.
    #[command(flatten)]
    pub place: PinPath,
}

/// Asks the agent and prints all metrics, in the format that the textfile collector of
/// `node_exporter` reads.
///
/// # Errors
/// When the agent cannot be asked; the heartbeat and that it is not up are printed nevertheless.
pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let answer = api::ask(&args.agent.socket, &Request::Status);
    let now = SystemTime::now();
    match answer {
        Ok(Response::Status(status)) => {
            let text = Exposition::answered(status, now).render(Format::Prometheus)?;
            out.write_all(text.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(Response::Error(error)) => bail!("{error}"),
        Err(error) => {
            let heartbeat = LastBeat::read(&args.place.pin_path).map(Heartbeat::from);
            let text = Exposition::unanswered(heartbeat, now).render(Format::Prometheus)?;
            out.write_all(text.as_bytes())?;
            out.flush()?;
            Err(error)
        }
    }
}
