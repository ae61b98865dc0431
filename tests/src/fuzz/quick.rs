//! The same frames the quick way and the whole way, on the host: the same ends, or the quick way
//! declines and leaves the frame as it is.

use lbxdp_ebpf::mem::MemFrame;

use super::{SplitMix, frames, mutate, regression, table};
use crate::engine::host;

/// Frames that are run in one world before the next is chosen.
const BATCH: u64 = 50;

/// What has been tried.
#[derive(Clone, Default, Debug)]
pub struct Report {
    /// Frames that went the quick way.
    pub quick: u64,
    /// What was wrong.
    pub faults: Vec<String>,
}

/// Runs so many batches; the seed decides which frames they have.
#[must_use]
pub fn run(seed: u64, batches: u64) -> Report {
    let mut report = Report::default();
    let mut random = SplitMix::new(seed);
    for _ in 0..batches {
        let own = random.below(table().len());
        let case = &table()[own];
        let tables = case.world.tables.clone();
        for _ in 0..BATCH {
            let other = &frames()[random.below(frames().len())];
            let frame = mutate::mutate(&mut random, frames()[own].clone(), other);
            match host::run_frame_quickly(MemFrame::new(&frame), &tables, case.ingress) {
                Ok(None) => {}
                Ok(Some(quick)) => {
                    report.quick += 1;
                    let whole = host::run_frame(&frame, &tables, case.ingress);
                    if quick != whole {
                        let frame = regression::hex(&frame);
                        report.faults.push(format!(
                            "{case}\n    quick {quick:?}\n    whole {whole:?}\n    {frame}"
                        ));
                    }
                }
                Err(fault) => report.faults.push(format!("{case}\n    {fault}")),
            }
        }
    }
    report
}
