use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lbxdp_ebpf::abi::{Heartbeat, OriginIndex};
use nix::time::{ClockId, clock_gettime};

use super::check::{Limits, PlanError};
use super::content::{Content, Published};
use super::desired::{Desired, Revision};
use super::maps::LiveMaps;
use super::plan::{Write, plan, revise, revised_origins};

/// The one writer of the pinned maps, with a copy of what they hold.
pub struct MapWriter {
    maps: LiveMaps,
    content: Content,
    limits: Limits,
}

/// What a synchronisation has done.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SyncReport {
    /// Writes to maps, rows and counters not among them.
    pub writes: usize,
    /// Rows written.
    pub rows: usize,
    /// Tables whose rows are others now.
    pub published: usize,
    /// How long it took.
    pub took: Duration,
}

impl SyncReport {
    /// Whether nothing had to be written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.writes == 0
    }
}

impl MapWriter {
    /// Takes over the maps that are pinned, and reads them.
    ///
    /// # Errors
    /// When they are not there or cannot be read.
    pub fn open(pin_path: &Path) -> Result<Self> {
        Self::take(LiveMaps::open(pin_path)?)
    }

    pub(super) fn take(maps: LiveMaps) -> Result<Self> {
        Ok(Self {
            content: maps.content()?,
            limits: maps.limits()?,
            maps,
        })
    }

    /// Writes what each packet needs of the rows in force.
    pub(super) fn derive_owners(&self) -> Result<()> {
        for Published { table, rows } in self.content.tables.values() {
            self.maps.write_owners(table.first_row(), rows)?;
        }
        Ok(())
    }

    /// What the maps hold.
    #[must_use]
    pub const fn content(&self) -> &Content {
        &self.content
    }

    /// How much the maps hold.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The maps, to be read.
    #[must_use]
    pub const fn maps(&self) -> &LiveMaps {
        &self.maps
    }

    /// Makes the maps hold what they should, writing only what differs, in an order in which no
    /// packet meets a reference to something that is not there.
    ///
    /// A slot of an origin, tunnel or table must not be given to another one in the same call in
    /// which its last one goes, while rows still name it; a table whose number of rows changes
    /// takes another index.
    ///
    /// # Errors
    /// [`PlanError`], with nothing written; or what the kernel refuses, with
    /// everything before it written. A later call goes on from there.
    pub fn sync(&mut self, desired: &Desired) -> Result<SyncReport> {
        let start = Instant::now();
        let writes = plan(&self.content, desired, &self.limits)?;
        self.execute(writes, start)
    }

    /// Changes in the maps what a revision names, as [`MapWriter::sync`] does.
    ///
    /// # Errors
    /// As [`MapWriter::sync`].
    pub fn revise(&mut self, revision: &Revision) -> Result<SyncReport> {
        let start = Instant::now();
        let origins = revised_origins(&self.content, revision);
        let writes = revise(&self.content, revision, &origins, &self.limits)?;
        self.execute(writes, start)
    }

    fn execute(&mut self, writes: Vec<Write<'_>>, start: Instant) -> Result<SyncReport> {
        let mut report = SyncReport::default();
        let given = given(&self.content, &writes);
        if !given.is_empty() {
            self.maps.forget_flows(&given)?;
        }
        for write in writes {
            self.maps.apply(&write).context("cannot write to a map")?;
            match write {
                Write::Rows { rows, .. } => report.rows += rows.len(),
                Write::ZeroCounters(_) => {}
                Write::Publish { .. } => {
                    report.published += 1;
                    report.writes += 1;
                }
                Write::Node(_)
                | Write::SetEntity(..)
                | Write::RemoveEntity(_)
                | Write::Ports(..)
                | Write::SetTunnel(..)
                | Write::ClearTunnel(_)
                | Write::SetOrigin(..)
                | Write::ClearOrigin(_)
                | Write::SetPeer(..)
                | Write::RemovePeer(_)
                | Write::SetRoute(..)
                | Write::RemoveRoute(_)
                | Write::SetVlan(..)
                | Write::RemoveVlan(_)
                | Write::SetRange(..)
                | Write::RemoveRange(_)
                | Write::PreviousRows { .. }
                | Write::ClearTable(_)
                | Write::SetReverse(..)
                | Write::RemoveReverse(_)
                | Write::SetListener(..)
                | Write::RemoveListener(_) => report.writes += 1,
            }
            self.content.apply(&write);
        }
        report.took = start.elapsed();
        Ok(report)
    }

    /// Checks that [`MapWriter::sync`] could begin; writes nothing.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn check(&self, desired: &Desired) -> Result<(), PlanError> {
        plan(&self.content, desired, &self.limits).map(drop)
    }

    /// Reads the maps again, in case somebody else has written to them.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn read_back(&mut self) -> Result<()> {
        self.content = self.maps.content()?;
        Ok(())
    }

    /// Says that the tables are as they should be now.
    ///
    /// # Errors
    /// When map `HEARTBEAT` cannot be written.
    pub fn heartbeat(&mut self, generation: u32) -> Result<()> {
        let heartbeat = Heartbeat {
            boot_time_ns: boot_time_ns()?,
            pid: std::process::id(),
            generation,
        };
        self.maps
            .heartbeat
            .set(0, heartbeat, 0)
            .context("cannot write map HEARTBEAT")
    }
}

/// The slots of origins that become those of others, with the identities of these.
fn given(content: &Content, writes: &[Write<'_>]) -> BTreeMap<OriginIndex, u32> {
    let given = writes.iter().filter_map(|write| match write {
        Write::SetOrigin(slot, origin) => {
            let now = content.origins.get(slot);
            let is_same = now.is_some_and(|now| now.identity == origin.identity);
            (!is_same).then_some((*slot, origin.identity))
        }
        _ => None,
    });
    given.collect()
}

/// Now, in nanoseconds of `CLOCK_MONOTONIC`: the clock of [`Seen::tick`](lbxdp_ebpf::abi::Seen).
///
/// # Errors
/// When the kernel has no such clock.
pub fn monotonic_ns() -> Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).context("cannot read CLOCK_MONOTONIC")?;
    u64::try_from(Duration::from(now).as_nanos()).context("the clock is out of range")
}

/// Now, in nanoseconds of `CLOCK_BOOTTIME`: the clock of [`Heartbeat::boot_time_ns`].
///
/// # Errors
/// When the kernel has no such clock.
pub fn boot_time_ns() -> Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).context("cannot read CLOCK_BOOTTIME")?;
    u64::try_from(Duration::from(now).as_nanos()).context("the clock is out of range")
}
