//! From what the maps hold and what they are to hold, the writes in between, in order.
//!
//! A packet must never find a reference to something that is not there. So
//! whatever is referred to is written first and taken away last: names, tunnel
//! ports, tunnels, origins, peers, routes, rows, the way back, listeners, ranges of ports; then
//! what is to go, in the opposite order. Rows are written into the half that no
//! packet reads, and put in force by one write to `TABLES`.
#![forbid(unsafe_code)]

mod revise;

use std::collections::{BTreeMap, BTreeSet};

use lbxdp_ebpf::abi::{
    Entity, EntityKey, EntityKind, Listener, Node, Origin, OriginIndex, Path, Peer, PeerKey,
    PortSet, RangeKey, Reverse, RouteKey, Service, Table, TunnelIndex, Vlan,
};

use super::check::{Limits, PlanError, check};
use super::content::{Content, Published};
use super::desired::{Desired, TableRows};
use super::row_space::RowSpace;
use crate::rows::Rows;
#[cfg(test)]
pub(crate) use revise::revise_content;
pub(super) use revise::{revise, revised_origins};

/// One change to one map.
#[derive(Clone, Copy, PartialEq, Debug)]
#[expect(
    missing_docs,
    reason = "a variant is a map and a verb; the fields are its key and value"
)]
pub enum Write<'a> {
    Node(Node),
    SetEntity(EntityKey, &'a Entity),
    RemoveEntity(EntityKey),
    /// The counters of a slot that is given to somebody else.
    ZeroCounters(EntityKey),
    /// Entry of `TUNNEL_PORTS`, and its 64 ports.
    Ports(u16, PortSet),
    SetTunnel(TunnelIndex, &'a Path),
    ClearTunnel(TunnelIndex),
    SetOrigin(OriginIndex, &'a Origin),
    ClearOrigin(OriginIndex),
    SetPeer(PeerKey, Peer),
    RemovePeer(PeerKey),
    SetRoute((RouteKey, u32), u32),
    RemoveRoute((RouteKey, u32)),
    /// Rows that no packet reads yet.
    Rows {
        first: u32,
        rows: &'a Rows,
    },
    /// Says to what table the owners before, in rows that no packet reads yet, refer.
    PreviousRows {
        index: u32,
        table: Table,
    },
    /// Puts rows, already written, in force.
    Publish {
        index: u32,
        table: Table,
        rows: &'a Rows,
    },
    ClearTable(u32),
    SetReverse(Service, Reverse),
    RemoveReverse(Service),
    SetListener(Service, Listener),
    RemoveListener(Service),
    SetVlan(u32, Vlan),
    RemoveVlan(u32),
    SetRange((RangeKey, u32), u32),
    RemoveRange((RangeKey, u32)),
}

/// The writes that lead from `actual` to `desired`; none when they are equal.
///
/// # Errors
/// When something does not fit into its map, or refers to what is not there; nothing is then to
/// be written at all.
pub fn plan<'a>(
    actual: &Content,
    desired: &'a Desired,
    limits: &Limits,
) -> Result<Vec<Write<'a>>, PlanError> {
    check(actual, desired, limits)?;
    let Desired {
        node,
        listeners,
        reverse,
        peers,
        tunnels,
        origins,
        routes,
        ranges,
        vlans,
        tunnel_ports,
        entities,
        tables,
    } = desired;
    let mut writes = Vec::new();

    // A node flag makes the program look replies up: set before there are any, cleared after.
    let flags_to_clear = actual.node.flags & !node.flags;
    let first_node = Node {
        flags: node.flags | flags_to_clear,
        ..*node
    };
    if actual.node != first_node {
        writes.push(Write::Node(first_node));
    }
    for (key, entity) in changed(&actual.entities, entities) {
        writes.push(Write::SetEntity(*key, entity));
        let known = actual.entities.get(key);
        if known.is_none_or(|known| known.name() != entity.name()) && has_counters(*key) {
            writes.push(Write::ZeroCounters(*key));
        }
    }
    let both: BTreeSet<u16> = actual.tunnel_ports.union(tunnel_ports).copied().collect();
    port_writes(&actual.tunnel_ports, &both, &mut writes);
    writes
        .extend(changed(&actual.tunnels, tunnels).map(|(key, path)| Write::SetTunnel(*key, path)));
    writes.extend(
        changed(&actual.origins, origins).map(|(key, origin)| Write::SetOrigin(*key, origin)),
    );
    writes.extend(changed(&actual.peers, peers).map(|(key, peer)| Write::SetPeer(*key, *peer)));
    writes.extend(
        changed(&actual.routes, routes).map(|(key, tunnel)| Write::SetRoute(*key, *tunnel)),
    );
    writes.extend(
        changed(&actual.vlans, vlans).map(|(ifindex, vlan)| Write::SetVlan(*ifindex, *vlan)),
    );
    row_writes(&actual.tables, tables, limits.rows, &mut writes)?;
    writes.extend(
        changed(&actual.reverse, reverse).map(|(key, value)| Write::SetReverse(*key, *value)),
    );
    writes.extend(
        changed(&actual.listeners, listeners).map(|(key, value)| Write::SetListener(*key, *value)),
    );
    writes.extend(changed(&actual.ranges, ranges).map(|(key, port)| Write::SetRange(*key, *port)));

    writes.extend(gone(&actual.ranges, ranges).map(Write::RemoveRange));
    writes.extend(gone(&actual.listeners, listeners).map(Write::RemoveListener));
    writes.extend(gone(&actual.reverse, reverse).map(Write::RemoveReverse));
    writes.extend(gone(&actual.tables, tables).map(Write::ClearTable));
    writes.extend(gone(&actual.vlans, vlans).map(Write::RemoveVlan));
    writes.extend(gone(&actual.routes, routes).map(Write::RemoveRoute));
    writes.extend(gone(&actual.peers, peers).map(Write::RemovePeer));
    writes.extend(gone(&actual.origins, origins).map(Write::ClearOrigin));
    writes.extend(gone(&actual.tunnels, tunnels).map(Write::ClearTunnel));
    port_writes(&both, tunnel_ports, &mut writes);
    writes.extend(gone(&actual.entities, entities).map(Write::RemoveEntity));
    if first_node != *node {
        writes.push(Write::Node(*node));
    }
    Ok(writes)
}

fn changed<'a, K: Ord, V: PartialEq>(
    actual: &BTreeMap<K, V>,
    desired: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    desired
        .iter()
        .filter(|(key, value)| actual.get(key) != Some(value))
}

fn gone<K: Ord + Copy, V, W>(
    actual: &BTreeMap<K, V>,
    desired: &BTreeMap<K, W>,
) -> impl Iterator<Item = K> {
    actual
        .keys()
        .filter(|key| !desired.contains_key(key))
        .copied()
}

fn has_counters(key: EntityKey) -> bool {
    match EntityKind::from_u32(key.kind) {
        Some(EntityKind::Tunnel | EntityKind::Origin | EntityKind::Listener) => true,
        Some(EntityKind::Vnet | EntityKind::Table) | None => false,
    }
}

fn port_writes(from: &BTreeSet<u16>, to: &BTreeSet<u16>, writes: &mut Vec<Write<'_>>) {
    let entries: BTreeSet<u16> = from
        .symmetric_difference(to)
        .map(|port| port / 64)
        .collect();
    for entry in entries {
        let first = entry * 64;
        let set = to
            .range(first..=first + 63)
            .fold(0, |set, port| set | 1 << (port % 64));
        writes.push(Write::Ports(entry, PortSet(set)));
    }
}

fn row_writes<'a>(
    actual: &BTreeMap<u32, Published>,
    desired: &'a BTreeMap<u32, TableRows>,
    capacity: u32,
    writes: &mut Vec<Write<'a>>,
) -> Result<(), PlanError> {
    // Made when it is needed: what is taken is that of all tables.
    let mut space: Option<RowSpace> = None;
    for (&index, rows) in desired {
        let (rows, previous_rows) = match rows {
            TableRows::Publish {
                rows,
                previous_rows,
            } => (rows, *previous_rows),
            TableRows::Keep => continue,
        };
        let published = actual.get(&index);
        if published.is_some_and(|published| published.is(rows, previous_rows)) {
            continue;
        }
        let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        let mut table = match published {
            Some(Published { table, .. }) if table.rows == count => *table,
            // A table of another size gets rows elsewhere. Its entry is written at once but not
            // atomically, so the agent gives a set of pools whose size changes another index, and
            // this happens only to tables that no listener uses.
            Some(_) | None => {
                let mut half = || {
                    let space = space.get_or_insert_with(|| {
                        let tables = actual.values().map(|published| &published.table);
                        RowSpace::of(capacity, tables)
                    });
                    space.take(count).map_err(|_| PlanError::Full {
                        map: "ROWS",
                        limit: capacity,
                        needed: rows_needed(actual, desired),
                    })
                };
                Table {
                    halves: [half()?, half()?],
                    rows: count,
                    active: 1,
                    previous_rows: [previous_rows; 2],
                }
            }
        };
        let spare = usize::from(table.active & 1 == 0);
        let first = table.halves[spare];
        writes.push(Write::Rows { first, rows });
        // One at a time: packets may see some bytes of an entry before others.
        if table.previous_rows[spare] != previous_rows {
            table.previous_rows[spare] = previous_rows;
            writes.push(Write::PreviousRows { index, table });
        }
        table.active = u32::from(spare == 1);
        writes.push(Write::Publish { index, table, rows });
    }
    Ok(())
}

/// Rows of both halves of all tables, those to go included: they are freed last.
fn rows_needed(actual: &BTreeMap<u32, Published>, desired: &BTreeMap<u32, TableRows>) -> usize {
    let live = actual
        .values()
        .map(|published| published.table.rows as usize);
    let new = desired.iter().map(|(index, rows)| match rows {
        TableRows::Publish { rows, .. } => match actual.get(index) {
            Some(published) if published.table.rows as usize == rows.len() => 0,
            Some(_) | None => rows.len(),
        },
        TableRows::Keep => 0,
    });
    2 * live.chain(new).sum::<usize>()
}

#[cfg(test)]
mod tests;
