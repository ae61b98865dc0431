use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use aya::maps::{HashMap, IterableMap, MapData, MapError, PerCpuArray};
use lbxdp_ebpf::abi::{FlowCounts, FlowKey, Seen, Tracked};

use super::kernel;
use super::maps::open;
use super::spec::versioned;
use super::sync::monotonic_ns;
use crate::flows::{Live, sort};

/// The map of flows of rows at risk, open a second time: it is swept beside everything else.
pub struct FlowMaps {
    flows: HashMap<MapData, FlowKey, Tracked>,
    counters: PerCpuArray<MapData, FlowCounts>,
}

/// What a sweep of these flows has come to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SweptFlows {
    /// Those that are alive.
    pub live: Vec<Live>,
    /// How many there were.
    pub found: usize,
    /// How many of them had been silent for long enough.
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
            flows: open(&folder, "FLOWS")?,
            counters: open(&folder, "FLOW_COUNTERS")?,
        })
    }

    /// Takes away what has been silent for `idle`.
    ///
    /// # Errors
    /// When a map cannot be read or written.
    pub fn sweep(&mut self, idle: Duration) -> Result<SweptFlows> {
        let start = Instant::now();
        let counts = self.counts()?;
        let now = Seen::tick_of(monotonic_ns()?);
        let flows = kernel::read_hash(self.flows.map().fd().as_fd()).context("map FLOWS")?;
        let found = flows.len();
        let (live, silent) = sort(flows, idle, now);
        let mut removed = 0;
        for (key, flow) in &silent {
            // Unless a packet of it has come meanwhile.
            removed += usize::from(self.remove_if(key, |now| now.seen == flow.seen)?);
        }
        Ok(SweptFlows {
            live,
            found,
            removed,
            counts,
            took: start.elapsed(),
        })
    }

    /// Takes away flows that need not be recorded, each if it is still recorded with that origin;
    /// says how many.
    ///
    /// # Errors
    /// When the map cannot be read or written.
    pub fn forget(&mut self, flows: &[Live]) -> Result<usize> {
        let mut forgotten = 0;
        for flow in flows {
            let is_same = |now: &Tracked| now.origin == flow.origin;
            forgotten += usize::from(self.remove_if(&flow.key, is_same)?);
        }
        Ok(forgotten)
    }

    /// The counters of all CPUs.
    fn counts(&self) -> Result<FlowCounts> {
        let cpus = self.counters.get(&0, 0).context("map FLOW_COUNTERS")?;
        Ok(cpus.iter().fold(FlowCounts::default(), FlowCounts::plus))
    }

    /// Takes a flow away, if it is there and as it is expected to be.
    fn remove_if(&mut self, key: &FlowKey, expected: impl Fn(&Tracked) -> bool) -> Result<bool> {
        match self.flows.get(key, 0) {
            Ok(now) if expected(&now) => {}
            Ok(_) | Err(MapError::KeyNotFound) => return Ok(false),
            Err(error) => return Err(error).context("map FLOWS"),
        }
        match self.flows.remove(key) {
            Ok(()) => Ok(true),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(error) => Err(error).context("map FLOWS"),
        }
    }
}
