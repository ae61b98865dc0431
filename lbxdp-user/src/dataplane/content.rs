#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use lbxdp_ebpf::abi::{
    Entity, EntityKey, Listener, Node, Origin, OriginIndex, Path, Peer, PeerKey, ROW_GENERATION,
    RangeKey, Reverse, RouteKey, Service, Table, TunnelIndex, Vlan,
};

use super::plan::Write;
use crate::rows::Rows;

/// What the maps hold: read back once, then kept in step with every write.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Content {
    /// Map `NODE`.
    pub node: Node,
    /// Map `LISTENERS`.
    pub listeners: BTreeMap<Service, Listener>,
    /// Map `REVERSE`.
    pub reverse: BTreeMap<Service, Reverse>,
    /// Map `PEERS`.
    pub peers: BTreeMap<PeerKey, Peer>,
    /// Map `TUNNELS`, empty slots left out.
    pub tunnels: BTreeMap<TunnelIndex, Path>,
    /// Map `ORIGINS`, empty slots left out.
    pub origins: BTreeMap<OriginIndex, Origin>,
    /// Map `ROUTES`.
    pub routes: BTreeMap<(RouteKey, u32), u32>,
    /// Map `RANGES`.
    pub ranges: BTreeMap<(RangeKey, u32), u32>,
    /// Map `VLANS`, by the index of the device.
    pub vlans: BTreeMap<u32, Vlan>,
    /// Map `TUNNEL_PORTS`.
    pub tunnel_ports: BTreeSet<u16>,
    /// Map `ENTITIES`.
    pub entities: BTreeMap<EntityKey, Entity>,
    /// Map `TABLES`, empty slots left out.
    pub tables: BTreeMap<u32, Published>,
}

/// A table in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Published {
    /// Its entry in `TABLES`.
    pub table: Table,
    /// The rows of its active half.
    pub rows: Rows,
}

impl Published {
    /// How many rows the table had to which the owners before refer.
    #[must_use]
    pub const fn previous_rows(&self) -> u32 {
        let [first, second] = self.table.previous_rows;
        if self.table.active & 1 == 0 {
            first
        } else {
            second
        }
    }

    /// Whether these rows are in force.
    #[must_use]
    pub fn is(&self, rows: &Rows, previous_rows: u32) -> bool {
        self.rows == *rows
            && (self.previous_rows() == previous_rows || !rows.any_flag(ROW_GENERATION))
    }
}

impl Content {
    /// Does to this copy what a write does to the maps.
    pub fn apply(&mut self, write: &Write<'_>) {
        match *write {
            Write::Node(node) => self.node = node,
            Write::SetEntity(key, entity) => {
                self.entities.insert(key, *entity);
            }
            Write::RemoveEntity(key) => {
                self.entities.remove(&key);
            }
            Write::ZeroCounters(_) | Write::Rows { .. } => {}
            Write::Ports(index, set) => {
                for bit in 0..64 {
                    let port = index * 64 + bit;
                    if set.0 >> bit & 1 == 1 {
                        self.tunnel_ports.insert(port);
                    } else {
                        self.tunnel_ports.remove(&port);
                    }
                }
            }
            Write::SetTunnel(index, path) => {
                self.tunnels.insert(index, *path);
            }
            Write::ClearTunnel(index) => {
                self.tunnels.remove(&index);
            }
            Write::SetOrigin(index, origin) => {
                self.origins.insert(index, *origin);
            }
            Write::ClearOrigin(index) => {
                self.origins.remove(&index);
            }
            Write::SetPeer(key, peer) => {
                self.peers.insert(key, peer);
            }
            Write::RemovePeer(key) => {
                self.peers.remove(&key);
            }
            Write::SetRoute(key, tunnel) => {
                self.routes.insert(key, tunnel);
            }
            Write::RemoveRoute(key) => {
                self.routes.remove(&key);
            }
            Write::SetVlan(ifindex, vlan) => {
                self.vlans.insert(ifindex, vlan);
            }
            Write::RemoveVlan(ifindex) => {
                self.vlans.remove(&ifindex);
            }
            Write::SetRange(key, port) => {
                self.ranges.insert(key, port);
            }
            Write::RemoveRange(key) => {
                self.ranges.remove(&key);
            }
            Write::PreviousRows { index, table } => {
                if let Some(published) = self.tables.get_mut(&index) {
                    published.table = table;
                }
            }
            Write::Publish { index, table, rows } => {
                let rows = rows.clone();
                self.tables.insert(index, Published { table, rows });
            }
            Write::ClearTable(index) => {
                self.tables.remove(&index);
            }
            Write::SetReverse(key, reverse) => {
                self.reverse.insert(key, reverse);
            }
            Write::RemoveReverse(key) => {
                self.reverse.remove(&key);
            }
            Write::SetListener(key, listener) => {
                self.listeners.insert(key, listener);
            }
            Write::RemoveListener(key) => {
                self.listeners.remove(&key);
            }
        }
    }
}
