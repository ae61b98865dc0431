//! Format, lints, the eBPF build without warnings, licences.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::ebpf::{self, Object, Warnings};
use crate::nested;
use crate::progress::{self, yellow};
use crate::workspace::Workspace;

/// The verb `lint`.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    check(
        "Format",
        nested::host_cargo(workspace).args(["fmt", "--all", "--check"]),
    )?;
    check(
        "Lints of the host's code",
        nested::host_cargo(workspace)
            .args(["clippy", "--workspace", "--all-targets"])
            .args(["--", "--deny=warnings"]),
    )?;
    // No clippy-driver comes with the compiler of the eBPF build; its own
    // warnings are what there is.
    for object in [Object::Shipped, Object::Bench] {
        ebpf::build(workspace, object, Warnings::Denied).context("lint of the eBPF build")?;
    }
    if nested::find_in_path("cargo-deny").is_some() {
        check(
            "Licences, advisories and sources of dependencies",
            nested::host_cargo(workspace).args(["deny", "check"]),
        )?;
    } else {
        println!(
            "{} licences and advisories: cargo-deny is not installed",
            yellow("left out:")
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn check(title: &str, command: &mut Command) -> Result<()> {
    progress::run(title, command).map(|_| ())
}
