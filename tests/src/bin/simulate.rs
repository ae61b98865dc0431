//! `cargo xtask simulate`: see the crate's module `simulate`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use tests::simulate::{DESIGNS, Extent, Outcome, simulate};

/// Compares what becomes of flows when origins come, go and fail.
#[derive(Parser, Debug)]
#[command(name = "simulate", version)]
struct Arguments {
    /// Prints the outcomes as one JSON array, the last line of standard output.
    #[arg(long)]
    json: bool,
    /// What traffic and events are made from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Flows at a time.
    #[arg(long, default_value_t = 60_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    live: u32,
    /// Origins at the beginning.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(2..=1_000))]
    origins: u16,
    /// Minutes.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=1_440))]
    minutes: u32,
    /// Only this design (may be given again).
    #[arg(long = "design", value_name = "NAME")]
    only: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("The simulation failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let extent = Extent {
        seed: arguments.seed,
        live: arguments.live as usize,
        origins: arguments.origins.into(),
        seconds: arguments.minutes * 60,
    };
    for name in &arguments.only {
        if !DESIGNS.contains(&name.as_str()) {
            bail!(
                "there is no design {name:?}; there are {}",
                DESIGNS.join(", ")
            );
        }
    }
    let wanted = DESIGNS
        .into_iter()
        .filter(|name| arguments.only.is_empty() || arguments.only.iter().any(|only| only == name));
    let mut outcomes = Vec::new();
    for name in wanted {
        eprintln!("{name} ...");
        outcomes.push(simulate(name, &extent, |minute| {
            if minute.is_multiple_of(15) {
                eprintln!("{name}: {minute} of {} minutes", arguments.minutes);
            }
        }));
    }
    println!(
        "{} minutes of {} flows at a time over {} origins, each of which fails once an hour for half \
         a\nminute to three and a half; an origin added or drained every ten minutes; after three \
         quarters\nof the time the traffic moves to another node without state (lbxdp-flaps: \
         failures alone).\n",
        arguments.minutes, arguments.live, arguments.origins
    );
    println!("{}", table(&outcomes));
    if arguments.json {
        println!("\n{}", serde_json::to_string(&outcomes)?);
    }
    Ok(())
}

fn table(outcomes: &[Outcome]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "design",
        "flows",
        "broken",
        "share",
        "state, mean",
        "peak",
    ]);
    for outcome in outcomes {
        #[expect(clippy::cast_precision_loss, reason = "a share, for people")]
        let share = outcome.broken as f64 / outcome.flows.max(1) as f64;
        table.add_row([
            outcome.design.clone(),
            outcome.flows.to_string(),
            outcome.broken.to_string(),
            format!("{:.4} %", share * 100.0),
            format!("{:.1} %", outcome.state_mean * 100.0),
            format!("{:.1} %", outcome.state_peak * 100.0),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
