//! `cargo xtask bench`: see the crate's module `bench`.

#[path = "bench/e2e.rs"]
mod e2e;
#[path = "bench/packet.rs"]
mod packet;
#[path = "bench/turns.rs"]
mod turns;

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use tests::bench::agent;
use tests::bench::cost::{self, Cost};
use tests::bench::reconcile::{self, Growth};
use tests::bench::rows;

/// Measures what packets, rows and configurations cost.
#[derive(Parser, Debug)]
#[command(name = "bench", version)]
enum Arguments {
    /// Nanoseconds a packet.
    Packet(turns::Arguments),
    /// Millions of packets a second, from a link and back.
    E2e(turns::Arguments),
    /// Time to deal rows and to repair them.
    Rows(RowsArguments),
    /// Time and memory of the agent by the size of its configuration.
    Reconcile(ReconcileArguments),
    /// Time and memory of a running agent by the size of its configuration.
    Agent(AgentArguments),
    /// One size of `reconcile`, in this process.
    #[command(hide = true)]
    ReconcileOne { origins: usize, flaps: usize },
}

#[derive(clap::Args, Debug)]
struct RowsArguments {
    /// Prints the figures as one JSON array, the last line of standard output.
    #[arg(long)]
    json: bool,
    /// How often each step is measured.
    #[arg(long, default_value_t = 31, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
}

#[derive(clap::Args, Debug)]
struct ReconcileArguments {
    /// Prints the figures as one JSON array, the last line of standard output.
    #[arg(long)]
    json: bool,
    /// Numbers of origins, at least 10.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 1_000, 10_000])]
    origins: Vec<usize>,
    /// How many origins flap, each down and up.
    #[arg(long, default_value_t = 25)]
    flaps: usize,
}

#[derive(clap::Args, Debug)]
struct AgentArguments {
    /// Prints the figures as one JSON array, the last line of standard output.
    #[arg(long)]
    json: bool,
    /// Numbers of origins, 10 to 10,000.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 1_000, 10_000])]
    origins: Vec<usize>,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse() {
        Arguments::Packet(arguments) => packet::bench(&arguments),
        Arguments::E2e(arguments) => e2e::bench(&arguments),
        Arguments::Rows(arguments) => bench_rows(&arguments),
        Arguments::Reconcile(arguments) => bench_reconcile(&arguments),
        Arguments::Agent(arguments) => bench_agent(&arguments),
        Arguments::ReconcileOne { origins, flaps } => bench_one(origins, flaps),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("The benchmark failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench_rows(arguments: &RowsArguments) -> Result<()> {
    let &RowsArguments { json, samples } = arguments;
    let costs: Vec<Cost> = rows::measure(samples);
    println!("{}\n\n{}", machine()?, cost::table(&costs));
    if json {
        println!("\n{}", serde_json::to_string(&costs)?);
    }
    Ok(())
}

fn bench_reconcile(arguments: &ReconcileArguments) -> Result<()> {
    let ReconcileArguments {
        json,
        origins,
        flaps,
    } = arguments;
    need_root()?;
    let mut all = Vec::new();
    for origins in origins {
        eprintln!("{origins} origins ...");
        // A process of its own, whose memory is that of this size alone.
        let output = Command::new(std::env::current_exe()?)
            .args(["reconcile-one", &origins.to_string(), &flaps.to_string()])
            .stderr(std::process::Stdio::inherit())
            .output()?;
        if !output.status.success() {
            bail!("{origins} origins: {}", output.status);
        }
        let growth: Growth = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("{origins} origins: the figures are not JSON"))?;
        all.push(growth);
    }
    println!("{}\n\n{}", machine()?, reconcile::table(&all));
    if let Some(growth) = all.iter().find(|growth| growth.origins == 10_000) {
        print_goals(reconcile::goals(growth));
    }
    if *json {
        println!("\n{}", serde_json::to_string(&all)?);
    }
    Ok(())
}

fn bench_agent(arguments: &AgentArguments) -> Result<()> {
    let AgentArguments { json, origins } = arguments;
    need_root()?;
    let mut all = Vec::new();
    for origins in origins {
        eprintln!("{origins} origins ...");
        let life =
            agent::measure(*origins, agent::REST).with_context(|| format!("{origins} origins"))?;
        all.push(life);
    }
    println!("{}\n\n{}", machine()?, agent::table(&all));
    if let Some(life) = all.iter().find(|life| life.origins == 10_000) {
        print_goals(agent::goals(life));
    }
    if *json {
        println!("\n{}", serde_json::to_string(&all)?);
    }
    Ok(())
}

/// What is asked of the largest size.
fn print_goals(goals: Vec<String>) {
    println!("\nAt 10,000 origins:");
    for goal in goals {
        println!("  {goal}");
    }
}

fn bench_one(origins: usize, flaps: usize) -> Result<()> {
    let growth = reconcile::measure(origins, flaps)?;
    println!("{}", serde_json::to_string(&growth)?);
    Ok(())
}

fn need_root() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("programs and maps are made in the kernel by root only");
    }
    Ok(())
}

/// What machine this is: kernel and processor.
fn machine() -> Result<String> {
    let name = nix::sys::utsname::uname()?;
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, name)| name);
    Ok(format!("Linux {}, {cpu}", name.release().display()))
}
