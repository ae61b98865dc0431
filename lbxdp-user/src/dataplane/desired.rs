use std::collections::{BTreeMap, BTreeSet};

use lbxdp_ebpf::abi::{
    Entity, EntityKey, Listener, Node, Origin, OriginIndex, Path, Peer, PeerKey, RangeKey, Reverse,
    RouteKey, Service, TunnelIndex, Vlan,
};

use crate::rows::Rows;

/// Everything that the maps are to hold, in the terms of the map ABI.
///
/// What is not named here is taken away.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Desired {
    /// Map `NODE`.
    pub node: Node,
    /// Map `LISTENERS`.
    pub listeners: BTreeMap<Service, Listener>,
    /// Map `REVERSE`.
    pub reverse: BTreeMap<Service, Reverse>,
    /// Map `PEERS`.
    pub peers: BTreeMap<PeerKey, Peer>,
    /// Map `TUNNELS`.
    pub tunnels: BTreeMap<TunnelIndex, Path>,
    /// Map `ORIGINS`.
    pub origins: BTreeMap<OriginIndex, Origin>,
    /// Map `ROUTES`: key and bits of it that count ([`RouteKey::VNET_BITS`] included) to tunnel.
    pub routes: BTreeMap<(RouteKey, u32), u32>,
    /// Map `RANGES`: key and bits of it that count ([`RangeKey::FIXED_BITS`] included) to the port
    /// of the entry in `LISTENERS` or `REVERSE`.
    pub ranges: BTreeMap<(RangeKey, u32), u32>,
    /// Map `VLANS`, by the index of the device.
    pub vlans: BTreeMap<u32, Vlan>,
    /// Map `TUNNEL_PORTS`.
    pub tunnel_ports: BTreeSet<u16>,
    /// Map `ENTITIES`.
    pub entities: BTreeMap<EntityKey, Entity>,
    /// Maps `TABLES` and `ROWS`, by index in `TABLES`.
    pub tables: BTreeMap<u32, TableRows>,
}

/// The rows of one table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TableRows {
    /// These rows; nothing is written when they are already in force.
    Publish {
        /// The rows.
        rows: Rows,
        /// How many the table had to which [`previous`](lbxdp_ebpf::abi::Row::previous) refers. It does
        /// not matter where no row has `ROW_GENERATION`.
        previous_rows: u32,
    },
    /// Whatever is in force: the last known good.
    Keep,
}

impl TableRows {
    /// Rows of a table that has as many as before.
    #[must_use]
    pub fn publish(rows: Rows) -> Self {
        let previous_rows = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        Self::Publish {
            rows,
            previous_rows,
        }
    }
}

/// Parts of what the maps are to hold; what is not named here stays.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Revision {
    /// Of map `ORIGINS`: whether an origin is down, which is one of its flags; the rest stays.
    pub origins: BTreeMap<OriginIndex, bool>,
    /// Of map `ENTITIES`.
    pub entities: BTreeMap<EntityKey, Entity>,
    /// Of maps `TABLES` and `ROWS`, by index in `TABLES`.
    pub tables: BTreeMap<u32, TableRows>,
}
