//! `lbxdp detach`

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::place::{PinPath, Socket};
use crate::dataplane::{LastBeat, detach_all};
use crate::vnet::{Desired, Network, removal};

/// Arguments of `lbxdp detach`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Where maps and links are.
    #[command(flatten)]
    pub place: PinPath,
    /// Where the agent listens: a running agent would make everything again.
    #[command(flatten)]
    pub agent: Socket,
}

/// Removes everything that lbxdp made on this node.
///
/// # Errors
/// When an agent is running, or when something cannot be removed.
pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    if std::os::unix::net::UnixStream::connect(&args.agent.socket).is_ok() {
        bail!(
            "an agent runs (it listens at {}) and would make everything again: stop it first",
            args.agent.socket.display()
        );
    }
    // It may listen elsewhere.
    if let Some(pid) = writer(&args.place.pin_path) {
        bail!(
            "an agent (pid {pid}) writes the maps under {} and would make everything again: stop it first",
            args.place.pin_path.display()
        );
    }
    let detached = detach_all(&args.place.pin_path)?;
    for interface in &detached.interfaces {
        writeln!(out, "detached from {interface}")?;
    }
    if !detached.maps.is_empty() {
        writeln!(
            out,
            "removed {} maps under {}",
            detached.maps.len(),
            args.place.pin_path.display()
        )?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let (commands, failures) = runtime.block_on(async {
        let (network, _events) = Network::new().context("talking to the kernel by netlink")?;
        let observed = network.observe(&Desired::default()).await?;
        let plan = removal(&observed);
        let commands = plan.commands.len();
        anyhow::Ok((commands, network.apply(plan.commands).await))
    })?;
    if commands > 0 {
        writeln!(
            out,
            "removed {} devices, routes and rules of virtual networks",
            commands - failures.len()
        )?;
    }
    if detached.interfaces.is_empty() && detached.maps.is_empty() && commands == 0 {
        writeln!(out, "nothing of lbxdp is left on this node")?;
    }
    if failures.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    for failure in &failures {
        writeln!(out, "! {failure}")?;
    }
    Ok(ExitCode::FAILURE)
}

/// The agent that writes the maps now.
fn writer(pin_path: &Path) -> Option<u32> {
    let beat = LastBeat::read(pin_path)?;
    beat.is_fresh().then_some(beat.pid)
}
