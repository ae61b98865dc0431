//! Builds the simulation, and runs it.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::cli::SimulateArguments;
use crate::host::{self, Profile};
use crate::nested;
use crate::progress;
use crate::workspace::Workspace;

/// The verb `simulate`: its exit code is that of the simulation.
pub(crate) fn run(workspace: &Workspace, arguments: &SimulateArguments) -> Result<ExitCode> {
    let simulation = host::build(workspace, "tests", "simulate", Profile::Release)?;
    let SimulateArguments { json, rest } = arguments;
    let mut command = nested::command(&simulation);
    command
        .args(json.then_some("--json"))
        .args(rest)
        .current_dir(workspace.root());
    let status = progress::stream(&mut command)?;
    let code = status
        .code()
        .with_context(|| format!("the simulation was ended by a signal ({status})"))?;
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
