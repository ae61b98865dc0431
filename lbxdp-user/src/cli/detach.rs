//! `lbxdp detach`

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use lbxdp_ebpf::abi::Heartbeat;

use super::place::{PinPath, Socket};
use crate::dataplane::{LiveMaps, boot_time_ns, detach_all};
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

/// A heartbeat older than this is that of an agent that has ended.
const BEAT: Duration = Duration::from_secs(5);

/// The agent that writes the maps now.
fn writer(pin_path: &Path) -> Option<u32> {
    let heartbeat = LiveMaps::open(pin_path).ok()?.heartbeat.get(&0, 0).ok()?;
    let lives = Path::new("/proc").join(heartbeat.pid.to_string()).exists();
    (lives && beats(&heartbeat, boot_time_ns().ok()?)).then_some(heartbeat.pid)
}

fn beats(heartbeat: &Heartbeat, now_ns: u64) -> bool {
    let age = now_ns.saturating_sub(heartbeat.boot_time_ns);
    heartbeat.pid != 0 && Duration::from_nanos(age) < BEAT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fresh_heartbeat_is_of_an_agent_that_runs() {
        let heartbeat = Heartbeat {
            boot_time_ns: 1_000_000_000,
            pid: 7,
            generation: 1,
        };
        assert!(beats(&heartbeat, 3_000_000_000));
        assert!(!beats(&heartbeat, 9_000_000_000));
        assert!(!beats(
            &Heartbeat {
                pid: 0,
                ..heartbeat
            },
            1_000_000_000
        ));
    }
}
