//! Builds what is to be measured, and what it is compared with, and measures it.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::cli::{Bench, MeasureArguments};
use crate::ebpf::{self, Object, Warnings};
use crate::host::{self, Profile};
use crate::nested;
use crate::progress;
use crate::workspace::Workspace;

/// The verb `bench`: its exit code is that of the benchmarks, or of the first that fails.
pub(crate) fn run(workspace: &Workspace, what: Option<&Bench>) -> Result<ExitCode> {
    let rest = MeasureArguments::default();
    let chosen = match what {
        Some(Bench::Packet(arguments)) => vec![("packet", arguments)],
        Some(Bench::E2e(arguments)) => vec![("e2e", arguments)],
        Some(Bench::Rows(arguments)) => vec![("rows", arguments)],
        Some(Bench::Reconcile(arguments)) => vec![("reconcile", arguments)],
        Some(Bench::Agent(arguments)) => vec![("agent", arguments)],
        None => ["rows", "reconcile", "agent", "packet", "e2e"]
            .map(|name| (name, &rest))
            .to_vec(),
    };
    let needs_root = chosen.iter().any(|(name, _)| *name != "rows");
    if needs_root && !nix::unistd::geteuid().is_root() {
        bail!(
            "the benchmark loads programs into the kernel, which needs root (`bench rows` does not). \
             Keep your own cargo:\n    \
             sudo --preserve-env=HOME env \"PATH=$PATH\" cargo xtask bench"
        );
    }
    if needs_root {
        for object in [Object::Shipped, Object::Bench] {
            ebpf::build(workspace, object, Warnings::Shown)?;
        }
    }
    let bench = host::build(workspace, "tests", "bench", Profile::Release)?;
    let needs_agent = chosen.iter().any(|(name, _)| *name == "agent");
    let agent = needs_agent
        .then(|| host::build(workspace, "lbxdp-user", "lbxdp", Profile::Release))
        .transpose()?;
    for (name, arguments) in chosen {
        let MeasureArguments { json, rest } = arguments;
        let mut command = nested::command(&bench);
        command
            .arg(name)
            .args(json.then_some("--json"))
            .args(rest)
            .envs(agent.iter().map(|agent| ("LBXDP_BIN", agent)))
            .current_dir(workspace.root());
        let status = progress::stream(&mut command)?;
        let code = status
            .code()
            .with_context(|| format!("the benchmark was ended by a signal ({status})"))?;
        if code != 0 {
            return Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)));
        }
    }
    Ok(ExitCode::SUCCESS)
}
