use std::collections::{BTreeMap, BTreeSet};

use crate::abi::{
    Address, Allowance, Listener, Node, Origin, OriginIndex, Path, Peer, PeerKey, Port, Reverse,
    RouteKey, Row, Service, Table, TunnelIndex, VnetId,
};
use crate::tables::{Route, RouteQuery, Tables};

/// The content of all maps, in ordinary collections.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct MemTables {
    /// Map `NODE`.
    pub node: Option<Node>,
    /// Map `LISTENERS`.
    pub listeners: BTreeMap<Service, Listener>,
    /// Map `TABLES`.
    pub tables: BTreeMap<u32, Table>,
    /// Map `ROWS`.
    pub rows: BTreeMap<u32, Row>,
    /// Map `ORIGINS`.
    pub origins: BTreeMap<OriginIndex, Origin>,
    /// Map `REVERSE`.
    pub reverse: BTreeMap<Service, Reverse>,
    /// Map `TUNNEL_PORTS`.
    pub tunnel_ports: BTreeSet<u16>,
    /// Map `PEERS`.
    pub peers: BTreeMap<PeerKey, Peer>,
    /// Map `TUNNELS`.
    pub tunnels: BTreeMap<TunnelIndex, Path>,
    /// Map `ROUTES`: (VNet, prefix, bits of the mapped address) to tunnel.
    pub routes: BTreeMap<(VnetId, Address, u8), TunnelIndex>,
    /// Map `ALLOWANCE`, as every packet finds it.
    pub allowance: Allowance,
    /// The node's own routes, first match wins.
    pub node_routes: std::vec::Vec<MemRoute>,
}

/// A route of the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemRoute {
    /// The network.
    pub network: Address,
    /// Bits of the mapped address that count: 96 more than IPv4 people say.
    pub bits: u8,
    /// What it says.
    pub route: Route,
}

impl Tables for MemTables {
    type Ref<'a, T: Copy + 'a> = &'a T;

    fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    fn listener(&self, key: &Service) -> Option<&Listener> {
        self.listeners.get(key)
    }

    fn table(&self, index: u32) -> Option<&Table> {
        self.tables.get(&index)
    }

    fn row(&self, index: u32) -> Option<&Row> {
        self.rows.get(&index)
    }

    fn origin(&self, index: OriginIndex) -> Option<&Origin> {
        self.origins.get(&index)
    }

    fn reverse(&self, key: &Service) -> Option<&Reverse> {
        self.reverse.get(key)
    }

    fn is_tunnel_port(&self, port: Port) -> bool {
        self.tunnel_ports.contains(&port.get())
    }

    fn peer(&self, key: &PeerKey) -> Option<&Peer> {
        self.peers.get(key)
    }

    fn tunnel(&self, index: TunnelIndex) -> Option<&Path> {
        self.tunnels.get(&index)
    }

    fn tunnel_to(&self, key: &RouteKey) -> Option<TunnelIndex> {
        let vnet = VnetId(u32::from_be_bytes(key.vnet));
        self.routes
            .iter()
            .filter(|((of, network, bits), _)| *of == vnet && within(*network, *bits, key.address))
            .max_by_key(|((_, _, bits), _)| *bits)
            .map(|(_, tunnel)| *tunnel)
    }

    fn allowance(&self) -> Allowance {
        self.allowance
    }

    /// Does nothing: a packet does not change the world of the next one.
    fn set_allowance(&self, _: Allowance) {}

    /// The time of boot.
    fn now_ns(&self) -> u64 {
        0
    }

    fn route(&self, query: &RouteQuery<'_>) -> Route {
        self.node_routes
            .iter()
            .find(|entry| within(entry.network, entry.bits, query.packet.destination))
            .map_or(Route::Unreachable, |entry| entry.route)
    }
}

fn within(network: Address, bits: u8, address: Address) -> bool {
    let shift = 128_u32.saturating_sub(u32::from(bits));
    let mask = u128::MAX.checked_shl(shift).unwrap_or(0);
    let [network, address] =
        [network, address].map(|address| u128::from_be_bytes(address.octets()));
    (network ^ address) & mask == 0
}
