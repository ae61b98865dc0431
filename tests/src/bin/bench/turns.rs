//! What benchmarks have in common in which programs take turns.

use std::io::IsTerminal as _;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tests::bench::Effort;

/// How much of it is measured.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Prints the figures as one JSON array, the last line of standard output.
    #[arg(long)]
    pub(crate) json: bool,
    /// How often the programs are loaded anew.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    loads: u32,
    /// Samples of each case after each load.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Packets before each sample that bring into the caches what the case uses, as its own traffic
    /// would: so many that nearly all rows and flows are asked for.
    #[arg(long, default_value_t = 200_000)]
    warm_up: u32,
    /// Packets of each sample.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,
    /// Numbers of flows: powers of two.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 65_536, 1_048_576])]
    pub(crate) flows: Vec<u32>,
    /// Only cases whose names contain this (may be given again).
    #[arg(long = "case", value_name = "PART")]
    only: Vec<String>,
}

impl Arguments {
    /// How many samples there are of each case.
    pub(crate) fn samples(&self) -> u32 {
        self.loads * self.rounds
    }

    /// Measures, while a meter is shown; then says on what.
    pub(crate) fn measure<T>(
        &self,
        measure: impl FnOnce(&Effort, &dyn Fn(u32, u32, u32)) -> Result<T>,
    ) -> Result<T> {
        let Self {
            json: _,
            loads,
            rounds,
            warm_up,
            runs,
            flows,
            only,
        } = self;
        super::need_root()?;
        let effort = Effort {
            loads: *loads,
            rounds: *rounds,
            warm_up: *warm_up,
            runs: *runs,
            flows: flows.clone(),
            only: only.clone(),
        };
        let meter = Meter::new(u64::from(*loads) * u64::from(*rounds) * flows.len() as u64);
        let measured = measure(&effort, &|load, flows, round| {
            meter.show(load + 1, flows, round);
        })?;
        meter.end();
        println!("{}", super::machine()?);
        Ok(measured)
    }

    /// Prints a table for each number of flows.
    pub(crate) fn print_tables(&self, table: impl Fn(u32) -> String) {
        for flows in &self.flows {
            println!("\n{flows} flow{}", if *flows == 1 { "" } else { "s" });
            println!("{}", table(*flows));
        }
    }

    /// Prints the figures as JSON, if that is wanted.
    pub(crate) fn print_json(&self, figures: &impl Serialize) -> Result<()> {
        if self.json {
            println!("\n{}", serde_json::to_string(figures)?);
        }
        Ok(())
    }
}

/// Shows that it goes on: a bar on a terminal, some lines elsewhere.
enum Meter {
    Bar(ProgressBar),
    Plain,
}

impl Meter {
    fn new(steps: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Plain;
        }
        let bar = ProgressBar::new(steps);
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}") {
            bar.set_style(style);
        }
        Self::Bar(bar)
    }

    fn show(&self, load: u32, flows: u32, round: u32) {
        match self {
            Self::Bar(bar) => {
                bar.set_message(format!("load {load}, {flows} flows"));
                bar.inc(1);
            }
            Self::Plain if round == 0 => eprintln!("load {load}, {flows} flows ..."),
            Self::Plain => {}
        }
    }

    fn end(&self) {
        match self {
            Self::Bar(bar) => bar.finish_and_clear(),
            Self::Plain => {}
        }
    }
}
