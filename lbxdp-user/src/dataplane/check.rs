#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;

use lbxdp_ebpf::abi::{OriginIndex, Path, Port, Service, Side, TunnelIndex};

use super::content::Content;
use super::desired::{Desired, TableRows};
use crate::rows::Rows;

/// How much each map holds, as the kernel says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "a field is a map")]
pub struct Limits {
    pub listeners: u32,
    pub reverse: u32,
    pub tables: u32,
    pub rows: u32,
    pub origins: u32,
    pub peers: u32,
    pub tunnels: u32,
    pub routes: u32,
    pub ranges: u32,
    pub vlans: u32,
    pub entities: u32,
    pub listener_counters: u32,
}

/// Why a desired state cannot be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PlanError {
    /// More than a map holds.
    Full {
        /// Name of the map.
        map: &'static str,
        /// What it holds.
        limit: u32,
        /// What it would have to hold, what is to be taken away included.
        needed: usize,
    },
    /// A reference to something that would not be there.
    Dangling {
        /// Who refers.
        from: String,
        /// To what.
        to: String,
    },
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { map, limit, needed } => write!(
                f,
                "map {map} holds {limit} entries and {needed} are needed; nothing was changed. \
                 Configure less, or restart the agent: it makes maps as large as the configuration \
                 needs, and traffic goes on"
            ),
            Self::Dangling { from, to } => {
                write!(
                    f,
                    "{from} refers to {to}, which does not exist; nothing was changed"
                )
            }
        }
    }
}

impl std::error::Error for PlanError {}

/// Checks, before anything is written, that all of it fits and that all it refers to is there.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn check(actual: &Content, desired: &Desired, limits: &Limits) -> Result<(), PlanError> {
    // Hash maps hold the old and the new for a moment.
    fits_union(
        "LISTENERS",
        limits.listeners,
        &actual.listeners,
        &desired.listeners,
    )?;
    fits_union("REVERSE", limits.reverse, &actual.reverse, &desired.reverse)?;
    fits_union("PEERS", limits.peers, &actual.peers, &desired.peers)?;
    fits_union("ROUTES", limits.routes, &actual.routes, &desired.routes)?;
    fits_union("VLANS", limits.vlans, &actual.vlans, &desired.vlans)?;
    fits_union("RANGES", limits.ranges, &actual.ranges, &desired.ranges)?;
    fits_union(
        "ENTITIES",
        limits.entities,
        &actual.entities,
        &desired.entities,
    )?;
    fits_index("TABLES", limits.tables, desired.tables.keys().copied())?;
    fits_index(
        "ORIGINS",
        limits.origins,
        desired.origins.keys().map(|&index| index.into()),
    )?;
    fits_index(
        "TUNNELS",
        limits.tunnels,
        desired.tunnels.keys().map(|&index| index.into()),
    )?;
    let counters = desired.listeners.values().map(|listener| listener.counter);
    fits_index("LISTENER_COUNTERS", limits.listener_counters, counters)?;
    for (index, rows) in &desired.tables {
        let rows = match rows {
            TableRows::Publish { rows, .. } => rows,
            TableRows::Keep => match actual.tables.get(index) {
                Some(published) => &published.rows,
                // Nothing is in force: an error only if somebody looks there.
                None => continue,
            },
        };
        check_rows(*index, rows, |origin| desired.origins.contains_key(&origin))?;
    }
    for (service, listener) in &desired.listeners {
        let there = match desired.tables.get(&listener.table) {
            Some(TableRows::Publish { rows, .. }) => !rows.is_empty(),
            Some(TableRows::Keep) => actual.tables.contains_key(&listener.table),
            None => false,
        };
        require(
            there,
            || format!("listener {}:{}", service.address, service.port),
            || format!("table {}", listener.table),
        )?;
    }
    for (service, reverse) in &desired.reverse {
        require(
            desired.origins.contains_key(&reverse.origin),
            || format!("the way back from {}:{}", service.address, service.port),
            || format!("origin {}", reverse.origin),
        )?;
    }
    for (index, origin) in &desired.origins {
        check_path(&origin.path, desired, || format!("origin {index}"))?;
    }
    for (key, peer) in &desired.peers {
        require_tunnel(peer.tunnel, desired, || format!("peer {}", key.remote))?;
    }
    for ((key, _), tunnel) in &desired.routes {
        let there = TunnelIndex::try_from(*tunnel)
            .is_ok_and(|tunnel| desired.tunnels.contains_key(&tunnel));
        require(
            there,
            || format!("the route to {}", key.address),
            || format!("tunnel {tunnel}"),
        )?;
    }
    for ((key, _), port) in &desired.ranges {
        let entry = Service {
            address: key.address,
            port: Port::new(u16::try_from(*port).unwrap_or_default()),
            protocol: key.protocol,
            range: 1,
            vnet: key.vnet,
        };
        let there = match Side::from_u8(key.side) {
            Some(Side::Listener) => desired.listeners.contains_key(&entry),
            Some(Side::Origin) => desired.reverse.contains_key(&entry),
            None => false,
        };
        require(
            there,
            || format!("the range of ports at {}:{}", key.address, key.port),
            || format!("an entry of port {port}"),
        )?;
    }
    Ok(())
}

/// Checks that all owners of rows are there, asking once for each.
pub(super) fn check_rows(
    table: u32,
    rows: &Rows,
    is_there: impl Fn(OriginIndex) -> bool,
) -> Result<(), PlanError> {
    let mut seen = vec![false; usize::from(OriginIndex::MAX) + 1];
    for origin in rows.named() {
        if std::mem::replace(&mut seen[usize::from(origin)], true) {
            continue;
        }
        require(
            is_there(origin),
            || format!("table {table}"),
            || format!("origin {origin}"),
        )?;
    }
    Ok(())
}

fn check_path(path: &Path, desired: &Desired, from: impl Fn() -> String) -> Result<(), PlanError> {
    if path.tunnel == Path::NO_TUNNEL {
        return Ok(());
    }
    require_tunnel(path.tunnel, desired, from)
}

fn require_tunnel(
    tunnel: TunnelIndex,
    desired: &Desired,
    from: impl Fn() -> String,
) -> Result<(), PlanError> {
    let there = desired.tunnels.contains_key(&tunnel);
    require(there, from, || format!("tunnel {tunnel}"))
}

fn require(
    there: bool,
    from: impl Fn() -> String,
    to: impl Fn() -> String,
) -> Result<(), PlanError> {
    if there {
        return Ok(());
    }
    Err(PlanError::Dangling {
        from: from(),
        to: to(),
    })
}

fn fits_union<K: Ord, V>(
    map: &'static str,
    limit: u32,
    actual: &BTreeMap<K, V>,
    desired: &BTreeMap<K, V>,
) -> Result<(), PlanError> {
    let leaving = actual
        .keys()
        .filter(|key| !desired.contains_key(key))
        .count();
    fits(map, limit, desired.len() + leaving)
}

fn fits_index(
    map: &'static str,
    limit: u32,
    indices: impl Iterator<Item = u32>,
) -> Result<(), PlanError> {
    fits(
        map,
        limit,
        indices.max().map_or(0, |index| index as usize + 1),
    )
}

fn fits(map: &'static str, limit: u32, needed: usize) -> Result<(), PlanError> {
    if needed > limit as usize {
        return Err(PlanError::Full { map, limit, needed });
    }
    Ok(())
}
