//! What an agent of another map ABI has left running, and how it is taken over.
//!
//! Each version has a folder of its own for its maps and links. The maps of another version are not
//! written to: its program goes on with them until the new program, with new maps that hold what
//! they should, takes its place by one link update. Maps that mean the same in both versions are
//! carried over first, by a second pin: both programs use them then, so that names keep their slots,
//! origins their health, and translated flows their ports. If those are all but maps of flows of rows at
//! risk, the rows stay as they are, too, and the new agent takes over as it would from one of its own
//! version; these flows are copied, before the program is replaced and after.

use std::fs;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use aya::maps::{Array, MapData};
use lbxdp_ebpf::abi::{ABI_VERSION, Flow, FlowKey, FlowSet, Origin, OriginIndex, Seen, Tracked};
use lbxdp_ebpf::flow_table::Recording;
use tracing::{info, warn};

use super::flow_table::{FlowTable, Recorded};
use super::kernel;
use super::maps::{LiveMaps, open};
use super::pins::{entries_of, pinned_links, unpin, version_folders};
use super::spec::{MAPS, MapSpec, links_folder, versioned};
use super::sync::monotonic_ns;

/// Maps that mean the same in this version and since another one.
const SAME_SINCE_2: [&str; 6] = [
    "ENTITIES",
    "SESSIONS",
    "MAPPINGS",
    "LISTENER_COUNTERS",
    "ORIGIN_COUNTERS",
    "TUNNEL_COUNTERS",
];

/// The maps that are not as in a version, if all others are. In 4 `FLOWS` and `OPENING` were hash maps
/// from [`FlowKey`] to [`TrackedBefore`]; in 5 the program did not announce ([`Overflow`]) that it put a
/// flow of `FLOWS` into its second set, and looked in two sets of `OPENING`: first packets that
/// stand in the other are not found.
///
/// [`Overflow`]: lbxdp_ebpf::abi::Overflow
const fn others_than_in(version: u32) -> Option<&'static [&'static str]> {
    match version {
        4 => Some(&["FLOWS", "FLOW_KEYS", "OPENING", "FLOW_COUNTERS"]),
        5 => Some(&["FLOWS", "FLOW_KEYS"]),
        _ => None,
    }
}

/// A flow of a row at risk in version 4: origin, identity, hash, listener, tick, state.
type TrackedBefore = [u32; 6];

/// Folders of other versions, the newest last.
fn others(pin_path: &Path) -> Result<Vec<(u32, PathBuf)>> {
    let mut others: Vec<(u32, PathBuf)> = version_folders(pin_path)?
        .into_iter()
        .filter(|(version, _)| *version != ABI_VERSION)
        .collect();
    others.sort_unstable();
    Ok(others)
}

/// Whether a program of another version runs on some interface.
///
/// # Errors
/// When the pins cannot be read.
pub(super) fn is_running(pin_path: &Path) -> Result<bool> {
    for (_, folder) in others(pin_path)? {
        if !pinned_links(&folder.join("links"))?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Pins what another version has of maps that mean the same in this one, where this one has none yet.
///
/// # Errors
/// When the pins cannot be read, or not all maps can be pinned of a version that is carried over whole.
pub(super) fn carry_over(pin_path: &Path) -> Result<()> {
    for (version, folder) in others(pin_path)?.into_iter().rev() {
        let changed = others_than_in(version);
        let is_whole = changed.is_some();
        let is_same = |spec: &&MapSpec| match changed {
            Some(changed) => !changed.contains(&spec.name),
            None => version >= 2 && SAME_SINCE_2.contains(&spec.name),
        };
        let mut carried = Vec::new();
        for spec in MAPS.iter().filter(is_same) {
            match carry(spec, &folder, pin_path) {
                Ok(true) => carried.push(spec.name),
                Ok(false) => {}
                // Half of them would point into maps that are not there.
                Err(error) if is_whole => {
                    return Err(error.context(format!(
                        "the maps of version {version} cannot be taken over: `lbxdp detach` removes \
                         them, and the program that uses them"
                    )));
                }
                // One that is made anew: the data path of the other version keeps its own.
                Err(error) => warn!("not carried over: {error:#}"),
            }
        }
        if !carried.is_empty() {
            info!(
                from = version,
                to = ABI_VERSION,
                maps = carried.join(","),
                "maps of another version are carried over"
            );
        }
    }
    Ok(())
}

/// Pins a map of another version a second time, if it is there and this version has none.
fn carry(spec: &MapSpec, from: &Path, pin_path: &Path) -> Result<bool> {
    let (from, to) = (from.join(spec.name), versioned(pin_path).join(spec.name));
    if !from.exists() || to.exists() {
        return Ok(false);
    }
    let pin = || -> Result<()> {
        let map = MapData::from_pin(&from)?;
        let info = map.info()?;
        let shape = (info.map_type()?, info.key_size(), info.value_size());
        let wanted = (spec.kind, spec.key_size, spec.value_size);
        anyhow::ensure!(shape == wanted, "it is of another shape");
        map.pin(&to)?;
        Ok(())
    };
    pin().with_context(|| format!("map {}", from.display()))?;
    Ok(true)
}

/// Flows of rows at risk of another version.
enum Before {
    /// A hash map of version 4, and the table that has its place.
    Hash(MapData, TableNow),
    /// `FLOWS` of version 5, and its keys.
    Sets(Array<MapData, FlowSet>, Array<MapData, Flow>),
}

/// A table of this version that flows are recorded in.
type TableNow = for<'a> fn(&'a LiveMaps) -> Result<FlowTable<'a>>;

/// The maps of flows of rows at risk of other versions, which are there until this is dropped.
pub(super) struct FlowsBefore(Vec<Before>);

impl FlowsBefore {
    /// Opens what is pinned.
    ///
    /// # Errors
    /// When the pins cannot be read.
    pub(super) fn open(pin_path: &Path) -> Result<Self> {
        let mut maps = Vec::new();
        for (version, folder) in others(pin_path)? {
            match version {
                4 => {
                    let tables: [(&str, TableNow); 2] = [
                        ("FLOWS", LiveMaps::flow_table),
                        ("OPENING", LiveMaps::opening_table),
                    ];
                    for (name, table) in tables {
                        let path = folder.join(name);
                        if path.exists() {
                            let map = MapData::from_pin(&path)
                                .with_context(|| format!("cannot open map {}", path.display()))?;
                            maps.push(Before::Hash(map, table));
                        }
                    }
                }
                5 => {
                    let names = ["FLOWS", "FLOW_KEYS"];
                    if names.iter().all(|name| folder.join(name).exists()) {
                        let [sets, keys] = names;
                        maps.push(Before::Sets(open(&folder, sets)?, open(&folder, keys)?));
                    }
                }
                _ => {}
            }
        }
        Ok(Self(maps))
    }

    /// Records the flows in the tables of this version, but those that are recorded there, or whose
    /// origin is another now; says how many.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub(super) fn copy_to(&self, maps: &LiveMaps) -> Result<usize> {
        let mut copied = 0;
        for before in &self.0 {
            let (mut flows, table) = match before {
                Before::Hash(map, table) => (of_hash(map)?, table(maps)?),
                Before::Sets(sets, keys) => (of_sets(sets, keys, maps)?, maps.flow_table()?),
            };
            // If there is not room for all, those stay that were seen last.
            flows.sort_by_key(|(_, flow)| flow.seen.tick);
            for (key, flow) in flows {
                let is_same = flow.origin == Origin::NONE
                    || maps.origins.get(&flow.origin.into(), 0)?.identity == flow.identity;
                if is_same && table.get(&key, flow.seen.tick)?.is_none() {
                    copied += usize::from(table.record(key, &flow) != Recording::Lost);
                }
            }
        }
        Ok(copied)
    }
}

/// The flows of version 4.
fn of_hash(map: &MapData) -> Result<Vec<(FlowKey, Tracked)>> {
    let info = map.info()?;
    let shape = (info.key_size() as usize, info.value_size() as usize);
    if shape != (size_of::<FlowKey>(), size_of::<TrackedBefore>()) {
        warn!("recorded flows are not carried over: they are of another shape");
        return Ok(Vec::new());
    }
    let flows: Vec<(FlowKey, TrackedBefore)> =
        kernel::read_hash(map.fd().as_fd()).context("cannot read recorded flows")?;
    let flow = |(key, [origin, identity, hash, listener, tick, state]): (_, TrackedBefore)| {
        let tracked = Tracked {
            origin: OriginIndex::try_from(origin & 0xffff)?,
            identity,
            hash,
            listener,
            seen: Seen {
                tick,
                state: state.to_ne_bytes()[0],
                ..Seen::NEVER
            },
        };
        Ok((key, tracked))
    };
    flows.into_iter().map(flow).collect()
}

/// The flows of version 5 that have a name.
fn of_sets(
    sets: &Array<MapData, FlowSet>,
    keys: &Array<MapData, Flow>,
    maps: &LiveMaps,
) -> Result<Vec<(FlowKey, Tracked)>> {
    let table = FlowTable::new(sets, Some(keys), maps.hash_key()?).context("recorded flows")?;
    let entries = table.entries(Seen::tick_of(monotonic_ns()?))?;
    let flow = |recorded: Recorded| {
        let flow = recorded.flow?;
        Some((flow.key, Tracked::of(&flow, recorded.kept)))
    };
    Ok(entries.into_iter().filter_map(flow).collect())
}

/// Makes the link that another version has on an interface this version's, so that its program is
/// replaced as that of an earlier agent is.
///
/// # Errors
/// When it cannot be moved.
pub(super) fn take_link(pin_path: &Path, interface: &str) -> Result<()> {
    let own = links_folder(pin_path).join(interface);
    if own.exists() {
        return Ok(());
    }
    for (version, folder) in others(pin_path)?.into_iter().rev() {
        let link = folder.join("links").join(interface);
        if link.exists() {
            info!(
                interface,
                from = version,
                to = ABI_VERSION,
                "taking over the link of another version"
            );
            return fs::rename(&link, &own)
                .with_context(|| format!("cannot move {} to {}", link.display(), own.display()));
        }
    }
    Ok(())
}

/// Takes the programs of other versions from interfaces that are not configured any more, and removes
/// their maps, if no interface is left to them.
///
/// # Errors
/// When something cannot be removed.
pub(super) fn retire(pin_path: &Path, interfaces: &[String]) -> Result<Vec<String>> {
    let mut detached = Vec::new();
    for (version, folder) in others(pin_path)? {
        let links = folder.join("links");
        let mut left = 0;
        for name in pinned_links(&links)? {
            if interfaces.contains(&name) {
                left += 1;
            } else {
                unpin(&links.join(&name))?;
                detached.push(name);
            }
        }
        if left == 0 {
            remove(&folder)?;
            info!(version, "removed the maps of another version");
        }
    }
    Ok(detached)
}

fn remove(folder: &Path) -> Result<()> {
    for entry in entries_of(folder)? {
        let result = if entry.is_dir() {
            fs::remove_dir(&entry)
        } else {
            fs::remove_file(&entry)
        };
        result.with_context(|| format!("cannot remove {}", entry.display()))?;
    }
    fs::remove_dir(folder).with_context(|| format!("cannot remove {}", folder.display()))
}
