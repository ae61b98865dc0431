//! Development tasks of lbxdp: `cargo xtask VERB`.

mod bench;
mod cli;
mod demo;
mod ebpf;
mod fuzz;
mod host;
mod lint;
mod nested;
mod progress;
#[cfg(test)]
mod readme;
mod setup;
mod simulate;
mod test;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Verb};
use crate::workspace::Workspace;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let workspace = Workspace::find();
    let outcome = match cli.verb {
        Verb::Setup(wanted) => setup::run(&workspace, &wanted),
        Verb::BuildEbpf => ebpf::run(&workspace),
        Verb::Demo(arguments) => demo::run(&workspace, &arguments),
        Verb::Test(selection) => test::run(&workspace, &selection),
        Verb::Bench(arguments) => bench::run(&workspace, arguments.what.as_ref()),
        Verb::Simulate(arguments) => simulate::run(&workspace, &arguments),
        Verb::Fuzz(way) => fuzz::run(&workspace, &way),
        Verb::Vm(arguments) => vm::run(&workspace, &arguments),
        Verb::Lint => lint::run(&workspace),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("{} {error:#}", progress::red("error:"));
        ExitCode::FAILURE
    })
}
