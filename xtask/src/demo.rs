//! Builds everything and runs the demo.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::cli::DemoArguments;
use crate::ebpf::{self, Object, Warnings};
use crate::host::{self, Profile};
use crate::nested;
use crate::progress;
use crate::setup;
use crate::workspace::Workspace;

/// The verb `demo`: its exit code is that of the demo.
pub(crate) fn run(workspace: &Workspace, arguments: &DemoArguments) -> Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "the demo makes network namespaces and loads a program into the kernel, \
             which needs root. Keep your own cargo:\n    \
             sudo --preserve-env=HOME env \"PATH=$PATH\" cargo xtask demo"
        );
    }
    setup::tools()?;
    ebpf::build(workspace, Object::Shipped, Warnings::Shown)?;
    let lbxdp = host::build(workspace, "lbxdp-user", "lbxdp", Profile::Release)?;
    let demo = host::build(workspace, "tests", "demo", Profile::Release)?;

    let DemoArguments { json, keep, rest } = arguments;
    let mut command = nested::command(&demo);
    command
        .args(json.then_some("--json"))
        .args(keep.then_some("--keep"))
        .args(rest)
        .env("LBXDP_BIN", lbxdp)
        .current_dir(workspace.root());
    let status = progress::stream(&mut command)?;
    let code = status
        .code()
        .with_context(|| format!("the demo was ended by a signal ({status})"))?;
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
