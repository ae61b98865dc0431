use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use aya::Pod;
use aya::maps::{HashMap as BpfHashMap, IterableMap, MapData, MapError};
use lbxdp_ebpf::abi::{FlowKey, Mapping, Seen, Session};

use super::kernel;
use super::maps::open;
use super::spec::versioned;
use super::sync::monotonic_ns;
use crate::config::model::SnatTimeouts;
use crate::sessions::{Census, Dead, sweep};

/// The maps of translated flows, open a second time: they are swept beside everything else.
pub struct SessionMaps {
    sessions: BpfHashMap<MapData, FlowKey, Session>,
    mappings: BpfHashMap<MapData, FlowKey, Mapping>,
}

/// What a sweep has come to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Swept {
    /// What is left.
    pub census: Census,
    /// Flows that were over.
    pub removed: usize,
    /// How long it took.
    pub took: Duration,
}

impl SessionMaps {
    /// Opens the maps under `pin_path`.
    ///
    /// # Errors
    /// When they are not there, or may not be opened.
    pub fn open(pin_path: &Path) -> Result<Self> {
        let folder = versioned(pin_path);
        Ok(Self {
            sessions: open(&folder, "SESSIONS")?,
            mappings: open(&folder, "MAPPINGS")?,
        })
    }

    /// Takes away what is over.
    ///
    /// # Errors
    /// When a map cannot be read or written.
    pub fn sweep(&mut self, timeouts: &SnatTimeouts) -> Result<Swept> {
        let start = Instant::now();
        let now = Seen::tick_of(monotonic_ns()?);
        // In this order: a session is made after its mapping, so that none seems to be without.
        let sessions = kernel::read_hash(self.sessions.map().fd().as_fd());
        let sessions: HashMap<_, _> = sessions.context("map SESSIONS")?.into_iter().collect();
        let mappings = kernel::read_hash(self.mappings.map().fd().as_fd());
        let mappings: HashMap<_, _> = mappings.context("map MAPPINGS")?.into_iter().collect();
        let (census, dead) = sweep(&sessions, &mappings, timeouts, now);
        let mut removed = 0;
        for flow in &dead {
            removed += usize::from(self.remove(flow)?);
        }
        Ok(Swept {
            census,
            removed,
            took: start.elapsed(),
        })
    }

    /// Takes a flow away, unless a packet of it has come meanwhile.
    fn remove(&mut self, dead: &Dead) -> Result<bool> {
        if let Some((key, seen)) = &dead.session
            && look(&self.sessions, key)?.is_some_and(|session| session.seen != *seen)
        {
            return Ok(false);
        }
        if let Some((key, seen)) = &dead.mapping
            && look(&self.mappings, key)?.is_some_and(|mapping| mapping.seen != *seen)
        {
            return Ok(false);
        }
        // The session first: without it the next packet begins anew, with a way back.
        if let Some((key, _)) = &dead.session {
            forget(&mut self.sessions, key).context("map SESSIONS")?;
        }
        if let Some((key, _)) = &dead.mapping {
            forget(&mut self.mappings, key).context("map MAPPINGS")?;
        }
        Ok(true)
    }
}

fn look<V: Pod>(map: &BpfHashMap<MapData, FlowKey, V>, key: &FlowKey) -> Result<Option<V>> {
    match map.get(key, 0) {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(error) => Err(error).context("a map of flows"),
    }
}

fn forget<V: Pod>(
    map: &mut BpfHashMap<MapData, FlowKey, V>,
    key: &FlowKey,
) -> Result<(), MapError> {
    match map.remove(key) {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(error) => Err(error),
    }
}
