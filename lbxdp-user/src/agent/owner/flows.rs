//! Sweeps of flows of rows at risk, beside the owner.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use lbxdp_ebpf::abi::{FlowCounts, capacity};

use super::Owner;
use super::problems::Part;
use crate::agent::Event;
use crate::api;
use crate::dataplane::{FlowMaps, SweptFlows};
use crate::flows::{self, Live};
use crate::steering::Tracked;

/// Shortest time between sweeps: longer than the program has any packet
/// ([`FlowTable::look_through`](crate::dataplane::FlowTable::look_through)).
const SWEEP_EVERY: Duration = Duration::from_secs(2);
/// A sweep may take one of so many parts of the time.
const SWEEP_SHARE: u32 = 20;

/// When the next sweep is due, and what the last one has found.
#[derive(Debug, Default)]
pub(super) struct FlowSweeps {
    /// When the one began that is running.
    running: Option<SystemTime>,
    next: Option<Instant>,
    /// Flows that had been silent for long enough, or need not be recorded any more.
    removed: u64,
    counts: FlowCounts,
    live: usize,
}

impl Owner {
    /// Starts a sweep, if one is due; its result comes as an event.
    pub(super) fn sweep_flows(&mut self) {
        let sweeps = &mut self.flow_sweeps;
        let due = sweeps.next.is_none_or(|next| Instant::now() >= next);
        if sweeps.running.is_some() || !due {
            return;
        }
        sweeps.running = Some(SystemTime::now());
        let pin_path = self.dataplane.pin_path().to_owned();
        let idle = self.state.config().node.flow_idle;
        let events = self.events.clone();
        tokio::task::spawn_blocking(move || {
            let swept = FlowMaps::open(&pin_path).and_then(|maps| maps.sweep(idle));
            // The agent may have ended.
            let _ = events.blocking_send(Event::SweptFlows(Box::new(swept)));
        });
    }

    pub(super) fn swept_flows(&mut self, swept: anyhow::Result<SweptFlows>) {
        let began = self.flow_sweeps.running.take();
        let mut rest = SWEEP_EVERY;
        let problems = match swept {
            Ok(swept) => {
                rest = rest.max(swept.took * SWEEP_SHARE);
                self.take_flows(&swept, began);
                Vec::new()
            }
            Err(error) => vec![format!("flows of rows at risk cannot be swept: {error:#}")],
        };
        self.problems.set(Part::Flows, problems);
        self.flow_sweeps.next = Some(Instant::now() + rest);
    }

    fn take_flows(&mut self, swept: &SweptFlows, began: Option<SystemTime>) {
        let SweptFlows {
            live,
            removed,
            counts,
            took,
        } = swept;
        tracing::debug!(
            live = live.len(),
            removed,
            ?took,
            "flows of rows at risk are swept"
        );
        let (tracked, superfluous) = self.sum(live);
        let sweeps = &mut self.flow_sweeps;
        sweeps.removed += *removed as u64;
        sweeps.counts = *counts;
        sweeps.live = live.len() - superfluous.len();
        self.due.maps |= self.state.swept_flows(tracked, began);
        self.forget_flows(superfluous);
    }

    /// Forgets flows that need not be recorded; how many that were comes as an event.
    fn forget_flows(&self, flows: Vec<Live>) {
        if flows.is_empty() {
            return;
        }
        let pin_path = self.dataplane.pin_path().to_owned();
        let events = self.events.clone();
        tokio::task::spawn_blocking(move || {
            let forgotten = FlowMaps::open(&pin_path).and_then(|maps| maps.forget(&flows));
            let _ = events.blocking_send(Event::ForgotFlows(forgotten));
        });
    }

    pub(super) fn forgot_flows(&mut self, forgotten: anyhow::Result<usize>) {
        match forgotten {
            Ok(count) => self.flow_sweeps.removed += count as u64,
            // They are found by the next sweep, which says so.
            Err(error) => tracing::debug!("superfluous flows are not forgotten: {error:#}"),
        }
    }

    /// Sums flows up by the tables in force, and says which need not be recorded.
    fn sum(&self, flows: &[Live]) -> (Tracked, Vec<Live>) {
        let content = self.dataplane.content();
        let tables: BTreeMap<u32, u32> = content
            .listeners
            .values()
            .map(|listener| (listener.counter, listener.table))
            .collect();
        flows::sum(flows, |listener| {
            let table = *tables.get(&listener)?;
            let rows = &content.tables.get(&table)?.rows;
            Some((table, rows))
        })
    }

    pub(super) const fn flow_status(&self) -> api::Flows {
        let FlowSweeps {
            running: _,
            next: _,
            removed,
            counts,
            live,
        } = &self.flow_sweeps;
        api::Flows {
            tracked: *live,
            capacity: capacity::FLOWS as usize,
            hits: counts.hits,
            inserted: counts.inserted,
            opened: counts.opened,
            refused: counts.refused,
            evicted: counts.evicted,
            expired: *removed,
        }
    }
}
