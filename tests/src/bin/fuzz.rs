//! `cargo xtask fuzz`: see the crate's module `fuzz`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use lbxdp_ebpf::verdict::Reason;
use tests::engine::host;
use tests::engine::kernel::Kernel;
use tests::fuzz::differential::{self, BATCH, Report};
use tests::fuzz::{self, oracle, regression};

/// Runs mutated frames on the host and in the kernel, which must do the same with them.
#[derive(Parser, Debug)]
#[command(name = "fuzz", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand, Debug)]
enum Task {
    /// Compares host and kernel (root).
    Compare {
        /// How many frames.
        #[arg(long, default_value_t = 1_000_000)]
        frames: u64,
        /// What they are made from [default: the clock].
        #[arg(long)]
        seed: Option<u64>,
        /// The frame to go on with, of those that the seed makes.
        #[arg(long, default_value_t = 0)]
        from: u64,
    },
    /// Writes one input for each case of the table, for the coverage-guided fuzzer to begin with.
    Corpus {
        /// Where to.
        folder: PathBuf,
    },
    /// Makes a regression of an input that the coverage-guided fuzzer has found.
    Keep {
        /// The file that it has left.
        input: PathBuf,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Compare { frames, seed, from } => compare(frames, seed, from),
        Task::Corpus { folder } => corpus(&folder).map(|()| true),
        Task::Keep { input } => keep(&input).map(|()| true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("Fuzzing failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// More mismatches than these say nothing new.
const ENOUGH: usize = 20;
/// How often a line says how far it is.
const INTERVAL: Duration = Duration::from_secs(10);

fn compare(frames: u64, seed: Option<u64>, from: u64) -> Result<bool> {
    if !nix::unistd::geteuid().is_root() {
        bail!("programs are loaded into the kernel by root only");
    }
    let seed = match seed {
        Some(seed) => seed,
        None => SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .context("the clock is before 1970")?
            .as_secs(),
    };
    let mut kernel = Kernel::load()?;
    let start = Instant::now();
    let mut said = start;
    let mut report = Report::default();
    let first = from / BATCH;
    let mut batch = first;
    println!("seed {seed}, from frame {}", first * BATCH);
    while report.frames < frames && report.mismatches.len() < ENOUGH {
        let known = report.mismatches.len();
        differential::run(&mut kernel, seed, batch, &mut report)?;
        batch += 1;
        for mismatch in report.mismatches.iter().skip(known) {
            println!("mismatch: {}\n    {}", mismatch.case, mismatch.what);
            if !mismatch.frame.is_empty() {
                let path = regression::keep(mismatch.case, &mismatch.frame, &mismatch.what)?;
                println!("    kept as {}", path.display());
            }
        }
        if said.elapsed() >= INTERVAL {
            said = Instant::now();
            println!("{}", progress(&report, frames, start, seed, batch));
        }
    }
    println!("{}", progress(&report, frames, start, seed, batch));
    for (reason, count) in Reason::ALL.iter().zip(&report.reasons) {
        println!("  {:<22} {count:>12}", reason.label());
    }
    println!(
        "{} frames, {} of them sent, {} mismatches; seed {seed}, frames {} to {}",
        report.frames,
        report.sent,
        report.mismatches.len(),
        first * BATCH,
        batch * BATCH - 1
    );
    Ok(report.mismatches.is_empty())
}

fn progress(report: &Report, frames: u64, start: Instant, seed: u64, batch: u64) -> String {
    format!(
        "{} of {frames} frames, {:.0} a second, {} mismatches (to go on: --seed {seed} --from {})",
        report.frames,
        report.frames as f64 / start.elapsed().as_secs_f64(),
        report.mismatches.len(),
        batch * BATCH
    )
}

fn corpus(folder: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the directory {}", folder.display()))?;
    let table = fuzz::table();
    for (index, case) in table.iter().enumerate() {
        let input = fuzz::input_of(case, &case.packet.bytes()).context("a case of the table")?;
        let path = folder.join(format!("case-{index:04}"));
        std::fs::write(&path, input).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("{} inputs in {}", table.len(), folder.display());
    Ok(())
}

fn keep(input: &std::path::Path) -> Result<()> {
    let data = std::fs::read(input).with_context(|| format!("cannot read {}", input.display()))?;
    let (case, frame) = fuzz::input(&data).context("an input has two bytes at least")?;
    let run = || host::run_frame(frame, &case.world.tables, case.ingress);
    let what = match std::panic::catch_unwind(run) {
        Ok(outcome) => match oracle::check(frame, &outcome) {
            Ok(()) => bail!("nothing is wrong with this input (any more)"),
            Err(what) => what,
        },
        Err(_) => "the host panics".to_owned(),
    };
    let path = regression::keep(case, frame, &what)?;
    println!("{case}\n    {what}\n    kept as {}", path.display());
    Ok(())
}
