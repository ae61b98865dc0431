//! `lbxdp run`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::{agent, log};

/// Arguments of `lbxdp run`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The form of log lines, on standard error. Levels: environment variable LBXDP_LOG.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub log_format: log::Format,
    /// Log every packet with the number of its reason, at level TRACE (slow; needs LBXDP_LOG=trace).
    #[arg(long)]
    pub trace_packets: bool,
}

/// Runs the agent until it is told to stop.
///
/// # Errors
/// When it cannot start.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    agent::set_up();
    log::init(args.log_format)?;
    // The owner of the state computes and writes maps on this thread; probes, which measure time,
    // run on others and are not held up by it.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(agent::run(&agent::Options {
        config: args.config.clone(),
        trace_packets: args.trace_packets,
    }))?;
    Ok(ExitCode::SUCCESS)
}
