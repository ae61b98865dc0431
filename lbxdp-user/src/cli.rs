//! The command line.

pub mod check;
pub mod completions;
pub mod detach;
pub mod explain;
pub mod map;
pub mod metrics;
mod place;
pub mod run;
pub mod status;
mod style;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A local traffic manager for bare-metal edge nodes: layer 4, in the kernel, through tunnels.
#[derive(Parser, Debug)]
#[command(
    name = "lbxdp",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Run the agent.
    Run(run::Args),
    /// Check a configuration file.
    Check(check::CheckArgs),
    /// Show load balancers, pools, origins, virtual networks and tunnels.
    Status(status::Args),
    /// Print what `status` knows as metrics for Prometheus, once.
    Metrics(metrics::Args),
    /// Read the maps, with the agent alive or dead.
    Map(map::Args),
    /// Show what becomes of a packet, step by step, and why.
    Explain(explain::Args),
    /// Remove everything that lbxdp made on this node: program, maps, devices, routes, rules.
    Detach(detach::Args),
    /// Print a completion script for a shell.
    Completions(completions::Args),
}

impl Cli {
    /// Does what was asked; output goes to `out`.
    ///
    /// # Errors
    /// When it cannot be done; the error says what to do.
    pub fn run(self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        match self.verb {
            Verb::Run(args) => run::run(&args),
            Verb::Check(args) => check::run(&args, out),
            Verb::Status(args) => status::run(&args, out),
            Verb::Metrics(args) => metrics::run(&args, out),
            Verb::Map(args) => map::run(&args, out),
            Verb::Explain(args) => explain::run(&args, out),
            Verb::Detach(args) => detach::run(&args, out),
            Verb::Completions(args) => completions::run(&args, out),
        }
    }
}
