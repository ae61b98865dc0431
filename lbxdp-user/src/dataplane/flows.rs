use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use aya::maps::{Array, MapData, PerCpuArray};
use lbxdp_ebpf::abi::{Flow, FlowCounts, FlowSet, Kept, Node, Seen, Tracked};

use super::flow_table::FlowTable;
use super::maps::open;
use super::spec::versioned;
use super::sync::monotonic_ns;
use crate::flows::{Live, is_over, sort};

/// The maps of flows of rows at risk, open a second time: they are swept beside everything else.
pub struct FlowMaps {
    sets: Array<MapData, FlowSet>,
    keys: Array<MapData, Flow>,
    counters: PerCpuArray<MapData, FlowCounts>,
    node: Array<MapData, Node>,
}

/// What a sweep of these flows has come to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SweptFlows {
    /// Those that are alive.
    pub live: Vec<Live>,
    /// How many had been silent for long enough.
    pub removed: usize,
    /// What had been counted before.
    pub counts: FlowCounts,
    /// How long it took.
    pub took: Duration,
}

impl FlowMaps {
    /// Opens the maps under `pin_path`.
    ///
    /// # Errors
    /// When they are not there, or may not be opened.
    pub fn open(pin_path: &Path) -> Result<Self> {
        let folder = versioned(pin_path);
        Ok(Self {
            sets: open(&folder, "FLOWS")?,
            keys: open(&folder, "FLOW_KEYS")?,
            counters: open(&folder, "FLOW_COUNTERS")?,
            node: open(&folder, "NODE")?,
        })
    }

    /// Takes away what has been silent for `idle`.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn sweep(&self, idle: Duration) -> Result<SweptFlows> {
        let start = Instant::now();
        let counts = self.counts()?;
        let table = self.table()?;
        let now = Seen::tick_of(monotonic_ns()?);
        let entries = table.look_through(now)?;
        let mut removed = 0;
        let mut flows = Vec::with_capacity(entries.len());
        for recorded in entries {
            match recorded.flow {
                Some(flow) => flows.push((flow.key, Tracked::of(&flow, recorded.kept))),
                // Of another hash key: nobody asks for it any more.
                None if is_over(&recorded.kept, idle, now) => {
                    removed += usize::from(table.remove(recorded.at, recorded.entry));
                }
                None => {}
            }
        }
        let (live, silent) = sort(flows, idle, now);
        for (key, flow) in &silent {
            // Unless a packet of it has come meanwhile.
            let is_same = |kept: &Kept| kept.seen == flow.seen;
            removed += usize::from(table.remove_if(key, now, is_same));
        }
        Ok(SweptFlows {
            live,
            removed,
            counts,
            took: start.elapsed(),
        })
    }

    /// Takes away flows that need not be recorded, each if it is still recorded with that origin;
    /// says how many.
    ///
    /// # Errors
    /// When the map cannot be seen.
    pub fn forget(&self, flows: &[Live]) -> Result<usize> {
        let table = self.table()?;
        let forgotten = flows.iter().filter(|flow| {
            let is_same = |kept: &Kept| kept.origin == flow.origin;
            table.remove_if(&flow.key, 0, is_same)
        });
        Ok(forgotten.count())
    }

    fn table(&self) -> Result<FlowTable<'_>> {
        let node = self.node.get(&0, 0).context("map NODE")?;
        FlowTable::new(&self.sets, Some(&self.keys), node.hash_key).context("map FLOWS")
    }

    /// The counters of all CPUs.
    fn counts(&self) -> Result<FlowCounts> {
        let cpus = self.counters.get(&0, 0).context("map FLOW_COUNTERS")?;
        Ok(cpus.iter().fold(FlowCounts::default(), FlowCounts::plus))
    }
}
