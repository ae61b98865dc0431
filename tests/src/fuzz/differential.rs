//! The same frames on the host and in the kernel: the same verdicts, bytes and counters.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context, Result, anyhow, bail};
use lbxdp_ebpf::mem::{MemFrame, MemTables};
use lbxdp_ebpf::verdict::{Action, Reason};

use super::{SplitMix, frames, mutate, oracle, table};
use crate::cases::Case;
use crate::engine::kernel::Kernel;
use crate::engine::{Counters, Flows, Outcome, host};

/// Frames that are run in one world before the next is set up.
pub const BATCH: u64 = 1_000;
/// Frames between sweeps of recorded flows, so that some are looked for in one set, and some in two.
const SWEEP_EVERY: u64 = 300;

/// A frame that did not end as it must.
#[derive(Clone, Debug)]
pub struct Mismatch {
    /// The world.
    pub case: &'static Case,
    /// The frame; empty if only the counters of a batch are wrong.
    pub frame: Vec<u8>,
    /// What is wrong.
    pub what: String,
}

/// What has been tried.
#[derive(Clone, Debug)]
pub struct Report {
    /// Frames.
    pub frames: u64,
    /// How many of them were sent on, sent back or answered.
    pub sent: u64,
    /// How many have ended for each reason, by index.
    pub reasons: Vec<u64>,
    /// What was wrong.
    pub mismatches: Vec<Mismatch>,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            frames: 0,
            sent: 0,
            reasons: vec![0; Reason::COUNT],
            mismatches: Vec::new(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let met = self.reasons.iter().filter(|count| **count != 0).count();
        write!(
            f,
            "{} frames, {} of them sent, {met} of {} reasons, {} mismatches",
            self.frames,
            self.sent,
            Reason::COUNT,
            self.mismatches.len()
        )?;
        for Mismatch { case, frame, what } in &self.mismatches {
            write!(
                f,
                "\n{case}\n    {what}\n    {}",
                super::regression::hex(frame)
            )?;
        }
        Ok(())
    }
}

/// Runs one batch, and adds to the report. The seed and the number of the batch alone decide which
/// frames it has.
///
/// # Errors
/// When the kernel cannot run a frame at all.
pub fn run(kernel: &mut Kernel, seed: u64, batch: u64, report: &mut Report) -> Result<()> {
    let table = table();
    // Batches of one seed have streams of their own.
    let mut random = SplitMix::new(seed);
    let mut random = SplitMix::new(random.number() ^ batch.wrapping_mul(0xd134_2543_de82_ef95));
    let frames = frames();
    let own = random.below(table.len());
    let case = &table[own];
    // Flows are remembered from frame to frame, and forgotten with the batch.
    let tables = case.world.tables.clone();
    kernel.hold(&tables)?;
    let before = kernel.counters()?;
    let mut counted = Counters::zero();
    let mut whole = true;
    for number in 0..BATCH {
        if number.is_multiple_of(SWEEP_EVERY) {
            kernel.sweep_flows()?;
        }
        // Mostly the packets of this world, and sometimes of any other.
        let which = if random.below(4) == 0 {
            random.below(frames.len())
        } else {
            own
        };
        let other = &frames[random.below(frames.len())];
        let frame = mutate::mutate(&mut random, frames[which].clone(), other);
        report.frames += 1;
        match compare(kernel, &tables, case.ingress, &frame)? {
            Ok(outcome) => {
                counted.count(&outcome, frame.len());
                report.reasons[outcome.reason.index() as usize] += 1;
                report.sent += u64::from(match outcome.action {
                    Action::Pass => outcome.reason.direction().is_some(),
                    Action::Drop => false,
                    Action::Transmit | Action::Redirect(_) | Action::HandOver(_) => true,
                });
            }
            Err(what) => {
                whole = false;
                report.mismatches.push(Mismatch { case, frame, what });
            }
        }
    }
    let moved = kernel.counters()?.since(&before);
    let mut fault = |what| {
        report.mismatches.push(Mismatch {
            case,
            frame: Vec::new(),
            what: format!("batch {batch} of seed {seed}: {what}"),
        });
    };
    if whole && moved != counted {
        fault(format!("the kernel counts {moved:?}, the host {counted:?}"));
    }
    let (remembered, wanted) = (kernel.flows()?, Flows::of(&tables));
    if whole && remembered != wanted {
        fault(format!(
            "the kernel remembers {remembered:?}, the host {wanted:?}"
        ));
    }
    Ok(())
}

/// Runs one frame, counters included.
///
/// # Errors
/// What is wrong.
pub fn one(kernel: &mut Kernel, case: &Case, frame: &[u8]) -> Result<()> {
    let tables = case.world.tables.clone();
    kernel.hold(&tables)?;
    let before = kernel.counters()?;
    let outcome = compare(kernel, &tables, case.ingress, frame)?.map_err(|what| anyhow!(what))?;
    let mut counted = Counters::zero();
    counted.count(&outcome, frame.len());
    let moved = kernel.counters()?.since(&before);
    if moved != counted {
        bail!("the kernel counts {moved:?}, the host {counted:?}");
    }
    Ok(())
}

/// How the frame has ended, on the host and in the kernel; or what is wrong.
fn compare(
    kernel: &mut Kernel,
    tables: &MemTables,
    ingress: u32,
    frame: &[u8],
) -> Result<Result<Outcome, String>> {
    let run = || host::play(frame, tables, ingress);
    let Ok(outcome) = catch_unwind(AssertUnwindSafe(run)) else {
        return Ok(Err("the host panics".to_owned()));
    };
    // What the kernel has answered before is taken off its allowance, and not off the host's.
    if matches!(
        outcome.reason,
        Reason::TooBigAnswered | Reason::TooBigLimited
    ) {
        kernel.allow(tables.allowance)?;
    }
    let (action, bytes) = kernel
        .send(frame, ingress, MemFrame::HEADROOM)
        .context("the kernel does not run the frame")?;
    // The kernel does not say by which interface a frame leaves.
    let same = match (action, outcome.action) {
        (Action::Redirect(_), Action::Redirect(_)) => true,
        (action, other) => action == other,
    };
    if !same || bytes != outcome.frame {
        return Ok(Err(format!(
            "the kernel ends in {action:?} with {}, the host in {:?} ({:?}) with {}",
            super::regression::hex(&bytes),
            outcome.action,
            outcome.reason,
            super::regression::hex(&outcome.frame)
        )));
    }
    Ok(oracle::check(frame, &outcome).map(|()| outcome))
}
