//! Builds the program and those that it is compared with, and measures them.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::cli::PacketArguments;
use crate::ebpf::{self, Object, Warnings};
use crate::host::{self, Profile};
use crate::nested;
use crate::progress;
use crate::workspace::Workspace;

/// The verb `bench packet`: its exit code is that of the benchmark.
pub(crate) fn packet(workspace: &Workspace, arguments: &PacketArguments) -> Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "the benchmark loads programs into the kernel, which needs root. Keep your own cargo:\n    \
             sudo --preserve-env=HOME env \"PATH=$PATH\" cargo xtask bench packet"
        );
    }
    for object in [Object::Shipped, Object::Bench] {
        ebpf::build(workspace, object, Warnings::Shown)?;
    }
    let bench = host::build(workspace, "tests", "bench", Profile::Release)?;
    let PacketArguments { json, rest } = arguments;
    let mut command = nested::command(&bench);
    command
        .args(json.then_some("--json"))
        .args(rest)
        .current_dir(workspace.root());
    let status = progress::stream(&mut command)?;
    let code = status
        .code()
        .with_context(|| format!("the benchmark was ended by a signal ({status})"))?;
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
