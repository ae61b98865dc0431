//! The kernel side of the agent: the program, its maps, and where they are pinned.
//!
//! [`Dataplane`] is for the agent, the only one who writes; [`LiveMaps`] and [`LiveTables`] read
//! the same pinned maps, with the agent alive or dead. What to write, and in which order, is
//! decided by [`plan()`], which touches nothing.

mod attach;
mod bpffs;
mod check;
mod content;
mod counters;
mod desired;
mod diagnose;
mod fdinfo;
mod flow_table;
mod flows;
mod grow;
mod heartbeat;
mod kernel;
mod live;
mod load;
mod maps;
mod names;
mod netlink;
mod object;
mod pins;
mod plan;
mod programs;
mod row_space;
mod sessions;
mod shared;
mod spec;
mod sync;
mod tc;
mod versions;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use aya::Ebpf;
use aya_log::EbpfLogger;
use lbxdp_ebpf::abi::{Entity, EntityKey};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;
use tracing::{info, warn};

pub use attach::{AttachReport, AttachedMode, Attachment};
pub use check::{Limits, PlanError};
pub use content::{Content, Published};
pub use counters::Counters;
pub(crate) use counters::traffic_of;
pub use desired::{Desired, Revision, TableRows};
pub use fdinfo::FdInfo;
pub use flow_table::{FlowTable, Recorded};
pub use flows::{FlowMaps, SweptFlows};
pub use heartbeat::LastBeat;
pub use live::{Copied, LiveTables};
pub use load::LoadOptions;
pub use maps::LiveMaps;
pub use names::{LOCAL_VNET, Names, interface_name};
pub use object::{OBJECT_MISSING, embedded_object};
pub use pins::{Detached, attached, detach_all};
#[cfg(test)]
pub(crate) use plan::revise_content;
pub use plan::{Write, plan};
pub use sessions::{SessionMaps, Swept};
pub use spec::{MAPS, MapSpec, links_folder, versioned};
pub use sync::{MapWriter, SyncReport, boot_time_ns, monotonic_ns};
pub use tc::Role;
use versions::FlowsBefore;

use crate::config::model::XdpMode;

/// The loaded programs and their maps, as the agent holds them.
///
/// Dropping it changes nothing in the kernel: maps and links are pinned.
pub struct Dataplane {
    ebpf: Ebpf,
    /// Name of the program that is attached.
    attached: &'static str,
    writer: MapWriter,
    filters: tc::Filters,
    pin_path: PathBuf,
    /// Whether the program in force has other maps, which are still pinned.
    grows: bool,
}

impl Dataplane {
    /// Loads the program, makes or takes over the pinned maps, and reads them back. Attaches
    /// nothing: that is done when the maps hold what they should.
    ///
    /// # Errors
    /// With what is wrong and what to do.
    pub fn load(options: &LoadOptions) -> Result<Self> {
        let (ebpf, layout) = load::load(options)?;
        let writer = MapWriter::take(LiveMaps::open_at(&options.pin_path, layout.grows())?)?;
        if versions::is_running(&options.pin_path)? {
            // If its rows are taken over, their owners have no map of their own yet.
            writer.derive_owners()?;
        }
        Ok(Self {
            ebpf,
            attached: programs::attached(options.trace_packets),
            writer,
            filters: tc::Filters::default(),
            pin_path: options.pin_path.clone(),
            grows: layout.grows(),
        })
    }

    /// What the maps hold; right after [`Dataplane::load`], what the last agent has left.
    #[must_use]
    pub const fn content(&self) -> &Content {
        self.writer.content()
    }

    /// Names and health of what has a slot, for a new agent to take over.
    #[must_use]
    pub const fn entities(&self) -> &BTreeMap<EntityKey, Entity> {
        &self.writer.content().entities
    }

    /// How much the maps hold.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        self.writer.limits()
    }

    /// The maps, to be read.
    #[must_use]
    pub const fn maps(&self) -> &LiveMaps {
        self.writer.maps()
    }

    /// Where maps and links are pinned.
    #[must_use]
    pub fn pin_path(&self) -> &Path {
        &self.pin_path
    }

    /// Makes the maps hold what they should; see [`MapWriter::sync`].
    ///
    /// # Errors
    /// As [`MapWriter::sync`].
    pub fn sync(&mut self, desired: &Desired) -> Result<SyncReport> {
        self.writer.sync(desired)
    }

    /// Changes what a revision names; see [`MapWriter::revise`].
    ///
    /// # Errors
    /// As [`MapWriter::sync`].
    pub fn revise(&mut self, revision: &Revision) -> Result<SyncReport> {
        self.writer.revise(revision)
    }

    /// Checks that [`Dataplane::sync`] could begin; writes nothing.
    ///
    /// # Errors
    /// When something does not fit into its map, or refers to what is not there.
    pub fn check(&self, desired: &Desired) -> Result<(), PlanError> {
        self.writer.check(desired)
    }

    /// Makes these interfaces run the program, and no others. Links that are pinned are taken over
    /// by one atomic update each. Calling it again changes nothing, except for interfaces that
    /// have come, gone or been made anew.
    ///
    /// # Errors
    /// When nothing at all can be done; what concerns one interface is in the report.
    pub fn attach(&mut self, interfaces: &[String], mode: XdpMode) -> Result<AttachReport> {
        let flows = FlowsBefore::open(&self.pin_path)?;
        let early = flows.copy_to(self.writer.maps())?;
        let program = programs::program(&mut self.ebpf, self.attached)?;
        let report = attach::attach(program, &self.pin_path, interfaces, mode)?;
        // Those that have been recorded meanwhile.
        let copied = early + flows.copy_to(self.writer.maps())?;
        if copied > 0 {
            info!(
                flows = copied,
                "recorded flows of another version are carried over"
            );
        }
        if std::mem::take(&mut self.grows) {
            grow::replace(&self.pin_path)?;
        }
        Ok(report)
    }

    /// Whether a program of another version of the map ABI still runs on some interface.
    ///
    /// # Errors
    /// When the pins cannot be read.
    pub fn other_version_runs(&self) -> Result<bool> {
        versions::is_running(&self.pin_path)
    }

    /// Makes these interfaces have the TC programs, and no others; says which do not, and why. One
    /// that is not there is left out.
    ///
    /// # Errors
    /// When nothing at all can be done.
    pub fn attach_filters(
        &mut self,
        wanted: &BTreeMap<String, Role>,
    ) -> Result<Vec<(String, anyhow::Error)>> {
        self.filters.attach(&mut self.ebpf, &self.pin_path, wanted)
    }

    /// What has been counted for all reasons and for everything that has a slot.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn counters(&self) -> Result<Counters> {
        self.maps().counters(self.entities().keys())
    }

    /// Says that the tables are as they should be now.
    ///
    /// # Errors
    /// When map `HEARTBEAT` cannot be written.
    pub fn heartbeat(&mut self, generation: u32) -> Result<()> {
        self.writer.heartbeat(generation)
    }

    /// Starts the task that passes the events of the packet log on to the agent's log, when
    /// loaded with `trace_packets`. It ends when it is aborted.
    ///
    /// # Errors
    /// When the object has no packet log.
    pub fn spawn_packet_log(&mut self) -> Result<JoinHandle<()>> {
        let logger =
            EbpfLogger::init(&mut self.ebpf).context("the eBPF object has no packet log")?;
        // SAFETY: the logger owns the descriptor of its ring buffer, always gives the same one, and
        // closes it only when it is dropped, after the registration.
        let logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) };
        let mut logger = logger
            .map_err(io::Error::from)
            .context("cannot wait for the packet log")?;
        Ok(tokio::spawn(async move {
            loop {
                match logger.readable_mut().await {
                    Ok(mut guard) => {
                        guard.get_inner_mut().flush();
                        guard.clear_ready();
                    }
                    Err(error) => {
                        warn!(%error, "the packet log cannot be read any more");
                        return;
                    }
                }
            }
        }))
    }
}

/// MAC address of an interface of this network namespace; `None` if it has none.
#[must_use]
pub fn link_mac(ifindex: u32) -> Option<[u8; 6]> {
    let link = netlink::Netlink::open().ok()?.link(ifindex).ok()?;
    Some(link.mac)
}

#[cfg(test)]
pub(crate) mod tests;
