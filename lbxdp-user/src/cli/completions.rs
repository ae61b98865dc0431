//! `lbxdp completions`

use std::io::Write;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

/// Arguments of `lbxdp completions`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The shell.
    pub shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// When it cannot be written.
pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "lbxdp", &mut script);
    out.write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
