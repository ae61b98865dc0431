//! How many packets a second the program takes from a link and sends back.
//!
//! A pair of veth devices is the link. At its far end live frames begin (`BPF_PROG_TEST_RUN` with
//! `BPF_F_TEST_XDP_LIVE_FRAMES`), each a packet of the next flow; the program under test, attached
//! to the near end, sends them back by `XDP_TX`; a program at the far end counts and drops them. All
//! of that is done by one CPU. The programs under test take turns, as they do under the wrapper.
//!
//! Between the floods and their ordinary traffic, connections run that began before: each goes to
//! its origin after all floods as it did before the first.

mod connections;
mod line;
mod rates;

use std::iter;

use anyhow::{Context, Result, ensure};
use lbxdp_ebpf::bench::{ALL_FLOWS, MOST_FLOWS};

use super::programs::{Packets, Programs};
use super::stand::{Effort, stay_on_this_cpu};
use super::subject::{Flows, Subject};
use super::subjects::{RECORDED, Subjects};
use crate::engine::kernel::{self, Kernel};
use connections::Connections;
use line::Line;

pub use rates::{Rate, table};

/// The cases that are measured, but for floods.
const CASES: [&str; 8] = [
    "floor",
    "ideal",
    "dsr-ipip",
    "dsr-gue",
    "dsr-vxlan",
    "nat-preserve",
    "reply",
    "dsr-ipip-at-risk",
];

/// What was measured, and seen.
#[derive(Clone, Debug)]
pub struct Report {
    /// The rates.
    pub rates: Vec<Rate>,
    /// How many connections have gone to the same origin after the floods as before.
    pub connections: usize,
}

/// One sample.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Packets in a microsecond, which is millions in a second.
    mpps: f64,
    /// How many were sent, and did not arrive.
    lost: u64,
}

/// Measures everything; tells `progress` the number of the load, of flows and of the round.
///
/// # Errors
/// When a program does not load, or does not do with a packet what is to be measured; when a
/// connection goes to another origin after a flood.
pub fn measure(effort: &Effort, mut progress: impl FnMut(u32, u32, u32)) -> Result<Report> {
    effort.check()?;
    stay_on_this_cpu()?;
    let Subjects { world, all } = Subjects::new();
    let subjects: Vec<Subject> = all
        .iter()
        .filter(|subject| {
            let is_case = CASES.contains(&subject.name.as_str()) || subject.flows == Flows::New;
            is_case && effort.wants(subject)
        })
        .cloned()
        .collect();
    // By number of flows, then by subject.
    let mut samples = vec![vec![Vec::new(); subjects.len()]; effort.flows.len()];
    let flooded = beside(&effort.flows);
    let mut count = 0;
    for load in 0..effort.loads {
        let mut kernel = Kernel::load_as_declared(kernel::QUIET)?;
        kernel.hold(&world.tables)?;
        // As an agent has done soon after flows are recorded.
        kernel.sweep_flows()?;
        let node = world.tables.node.context("the world has settings")?;
        let mut programs = Programs::load(&mut kernel, node)?;
        let connections = Connections::begin(&all, &mut kernel)?;
        count = connections.count();
        let mut line = Line::lay(&mut programs)?;
        let mut fresh = Fresh(MOST_FLOWS);
        for (flows, samples) in effort.flows.iter().zip(&mut samples) {
            for round in 0..effort.rounds {
                progress(load, *flows, round);
                for (subject, samples) in iter::zip(&subjects, &mut *samples) {
                    let is_flood = subject.flows == Flows::New;
                    if !subject.flows.has_room(*flows) || is_flood && flooded != Some(*flows) {
                        continue;
                    }
                    let (first, mask) = if is_flood {
                        (fresh.take(effort.packets())?, ALL_FLOWS - 1)
                    } else {
                        let first = round.wrapping_mul(effort.packets());
                        (first, flows - 1)
                    };
                    let packets = Packets {
                        first,
                        mask,
                        target: line.far(),
                    };
                    let sample = line
                        .sample(&mut kernel, &mut programs, subject, packets, effort)
                        .with_context(|| format!("case {}", subject.name))?;
                    samples.push(sample);
                }
            }
        }
        drop(line);
        connections.check(&mut kernel)?;
    }
    let by_flows = effort.flows.iter().zip(&samples);
    Ok(Report {
        rates: by_flows
            .flat_map(|(flows, samples)| Rate::all(&subjects, *flows, samples))
            .collect(),
        connections: count,
    })
}

/// Beside which number of flows floods are measured: the largest of which all can be recorded, so
/// that there is ordinary traffic of rows at risk to compare with.
fn beside(flows: &[u32]) -> Option<u32> {
    let recorded = flows.iter().filter(|flows| **flows <= RECORDED).max();
    recorded.or(flows.iter().max()).copied()
}

/// The number of the next flow that there has never been: all others are below [`MOST_FLOWS`].
struct Fresh(u32);

impl Fresh {
    /// So many of them; says the first.
    fn take(&mut self, flows: u32) -> Result<u32> {
        let first = self.0;
        self.0 = first.saturating_add(flows);
        ensure!(
            self.0 <= ALL_FLOWS,
            "a flood would need more than {ALL_FLOWS} flows: ask for fewer rounds, or for fewer \
             packets"
        );
        Ok(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floods_stand_beside_what_can_be_recorded() {
        assert_eq!(beside(&[1, RECORDED, MOST_FLOWS]), Some(RECORDED));
        assert_eq!(beside(&[MOST_FLOWS]), Some(MOST_FLOWS));
        assert_eq!(beside(&[]), None);
    }

    #[test]
    fn no_flood_has_a_flow_twice() {
        let mut fresh = Fresh(MOST_FLOWS);
        assert_eq!(fresh.take(10).expect("there are more"), MOST_FLOWS);
        assert_eq!(fresh.take(10).expect("there are more"), MOST_FLOWS + 10);
        assert!(fresh.take(ALL_FLOWS).is_err());
    }
}
