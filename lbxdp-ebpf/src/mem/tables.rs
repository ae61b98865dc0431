use core::ops::Deref;
use std::collections::{BTreeMap, BTreeSet};

use super::Entries;
use crate::abi::{
    Address, Allowance, Datagram, Flow, FlowKey, Fragment, FragmentKey, Kept, Listener, Mapping,
    Node, Origin, OriginIndex, Owner, Path, Peer, PeerKey, Port, RangeKey, Reverse, RouteKey, Row,
    Service, Session, Side, Sight, Table, Tracked, TunnelIndex, Vlan, VnetId,
};
use crate::flow_table::Recording;
use crate::fragment;
use crate::parse::Ip;
use crate::tables::{Refused, Route, RouteQuery, Tables};
use crate::track::FlowEvent;

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
    /// Map `RANGES`: key and bits of the port that count to the port of the entry.
    pub ranges: BTreeMap<(RangeKey, u8), Port>,
    /// Map `FRAGMENTS`, which packets write to.
    pub fragments: Entries<FragmentKey, Datagram>,
    /// Map `TUNNEL_PORTS`.
    pub tunnel_ports: BTreeSet<u16>,
    /// Map `PEERS`.
    pub peers: BTreeMap<PeerKey, Peer>,
    /// Map `TUNNELS`.
    pub tunnels: BTreeMap<TunnelIndex, Path>,
    /// Map `ROUTES`: (VNet, prefix, bits of the mapped address) to tunnel.
    pub routes: BTreeMap<(VnetId, Address, u8), TunnelIndex>,
    /// Map `SESSIONS`.
    pub sessions: Entries<FlowKey, Session>,
    /// Map `MAPPINGS`.
    pub mappings: Entries<FlowKey, Mapping>,
    /// Whether those two have no room for another entry.
    pub full: bool,
    /// Map `FLOWS`.
    pub flows: Entries<FlowKey, Tracked>,
    /// Map `OPENING`.
    pub opening: Entries<FlowKey, Tracked>,
    /// Map `FLOW_COUNTERS`, as far as it counts.
    pub flow_events: Entries<FlowEvent, u64>,
    /// What a CPU may record of flows, as every packet finds it.
    pub flow_allowance: Allowance,
    /// Map `VLANS`.
    pub vlans: BTreeMap<u32, Vlan>,
    /// Map `ALLOWANCE`, as every packet finds it.
    pub allowance: Allowance,
    /// What the clock says; the time of boot, unless somebody sets it.
    pub now_ns: u64,
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
    /// Largest IP packet that it takes.
    pub mtu: u16,
}

/// A copy of what was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found<T>(T);

impl<T> Deref for Found<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

fn found<K: Ord, T: Copy>(map: &BTreeMap<K, T>, key: &K) -> Option<Found<T>> {
    map.get(key).copied().map(Found)
}

impl Tables for MemTables {
    type Ref<'a, T: Copy + 'a> = Found<T>;

    fn node(&self) -> Option<Found<Node>> {
        self.node.map(Found)
    }

    fn listener(&self, key: &Service) -> Option<Found<Listener>> {
        found(&self.listeners, key)
    }

    fn table(&self, index: u32) -> Option<Found<Table>> {
        found(&self.tables, &index)
    }

    fn owner(&self, row: u32) -> Option<Owner> {
        self.rows.get(&row).map(Row::owner)
    }

    fn row(&self, index: u32) -> Option<Found<Row>> {
        found(&self.rows, &index)
    }

    fn origin(&self, index: OriginIndex) -> Option<Found<Origin>> {
        found(&self.origins, &index)
    }

    fn reverse(&self, key: &Service) -> Option<Found<Reverse>> {
        found(&self.reverse, key)
    }

    fn range(&self, key: &Service, side: Side) -> Option<Port> {
        let key = RangeKey::new(key, side);
        (0..=16).rev().find_map(|bits| {
            let free = 16 - u32::from(bits);
            let port = u32::from(key.port.get()) >> free << free;
            let port = Port::new(port as u16);
            self.ranges.get(&(RangeKey { port, ..key }, bits)).copied()
        })
    }

    fn fragment(&self, packet: &Ip, vnet: VnetId) -> Option<Fragment> {
        let key = fragment::key(packet, vnet);
        self.fragments.lock().get(&key)?.at(self.now_ns())
    }

    fn remember(&self, packet: &Ip, vnet: VnetId, first: Fragment) {
        let datagram = Datagram::new(first, self.now_ns());
        self.fragments
            .lock()
            .insert(fragment::key(packet, vnet), datagram);
    }

    fn is_tunnel_port(&self, port: Port) -> bool {
        self.tunnel_ports.contains(&port.get())
    }

    fn peer(&self, key: &PeerKey) -> Option<Found<Peer>> {
        found(&self.peers, key)
    }

    fn tunnel(&self, index: TunnelIndex) -> Option<Found<Path>> {
        found(&self.tunnels, &index)
    }

    fn tunnel_to(&self, key: &RouteKey) -> Option<TunnelIndex> {
        let vnet = VnetId(u32::from_be_bytes(key.vnet));
        self.routes
            .iter()
            .filter(|((of, network, bits), _)| *of == vnet && within(*network, *bits, key.address))
            .max_by_key(|((_, _, bits), _)| *bits)
            .map(|(_, tunnel)| *tunnel)
    }

    fn session(&self, flow: &FlowKey, sight: Option<Sight>) -> Option<Found<Session>> {
        let mut sessions = self.sessions.lock();
        let session = sessions.get_mut(flow)?;
        if let Some(sight) = sight {
            if session.seen.is_over(sight) {
                return None;
            }
            session.seen.see(sight);
        }
        Some(Found(*session))
    }

    fn set_session(&self, flow: &FlowKey, session: &Session) -> Result<(), Refused> {
        let mut sessions = self.sessions.lock();
        if self.full && !sessions.contains_key(flow) {
            return Err(Refused::Full);
        }
        sessions.insert(*flow, *session);
        Ok(())
    }

    fn mapping(&self, flow: &FlowKey, sight: Option<Sight>) -> Option<Found<Mapping>> {
        let mut mappings = self.mappings.lock();
        let mapping = mappings.get_mut(flow)?;
        if let Some(sight) = sight {
            mapping.seen.see(sight);
        }
        Some(Found(*mapping))
    }

    fn add_mapping(&self, flow: &FlowKey, mapping: &Mapping) -> Result<(), Refused> {
        let mut mappings = self.mappings.lock();
        if mappings.contains_key(flow) {
            return Err(Refused::Taken);
        }
        if self.full {
            return Err(Refused::Full);
        }
        mappings.insert(*flow, *mapping);
        Ok(())
    }

    fn remove_mapping(&self, flow: &FlowKey) {
        self.mappings.lock().remove(flow);
    }

    fn vlan(&self, ifindex: u32) -> Option<Found<Vlan>> {
        found(&self.vlans, &ifindex)
    }

    fn allowance(&self) -> Allowance {
        self.allowance
    }

    /// Does nothing: a packet does not change the world of the next one.
    fn set_allowance(&self, _: Allowance) {}

    fn tracked(&self, flow: &FlowKey, _: u64, _: u32, sight: Option<Sight>) -> Option<Kept> {
        let mut flows = self.flows.lock();
        let entry = flows.get_mut(flow)?;
        let (recorded, mut kept) = entry.apart(*flow);
        if let Some(sight) = sight {
            kept.see(sight);
            *entry = Tracked::of(&recorded, kept);
        }
        Some(kept)
    }

    fn track(&self, flow: &Flow, _: u64, kept: Kept) -> Recording {
        let entry = Tracked::of(flow, kept);
        self.flows.lock().insert(flow.key, entry);
        Recording::Done
    }

    fn opening(&self, flow: &FlowKey, _: u64, _: u32) -> Option<Kept> {
        let entry = *self.opening.lock().get(flow)?;
        Some(entry.apart(*flow).1)
    }

    fn set_opening(&self, flow: &Flow, _: u64, kept: Kept) -> Recording {
        let entry = Tracked::of(flow, kept);
        self.opening.lock().insert(flow.key, entry);
        Recording::Done
    }

    fn forget_opening(&self, flow: &FlowKey, _: u64) {
        self.opening.lock().remove(flow);
    }

    fn count_flow(&self, event: FlowEvent) {
        *self.flow_events.lock().entry(event).or_default() += 1;
    }

    fn flow_allowance(&self) -> Allowance {
        self.flow_allowance
    }

    /// Does nothing: a packet does not change the world of the next one.
    fn set_flow_allowance(&self, _: Allowance) {}

    fn now_ns(&self) -> u64 {
        self.now_ns
    }

    fn route(&self, query: &RouteQuery<'_>) -> Route {
        self.node_routes
            .iter()
            .find(|entry| within(entry.network, entry.bits, query.packet.destination))
            .map_or(Route::Unreachable, |entry| {
                if query.packet.outline.length > entry.mtu {
                    Route::TooBig(entry.mtu)
                } else {
                    entry.route
                }
            })
    }
}

fn within(network: Address, bits: u8, address: Address) -> bool {
    let shift = 128_u32.saturating_sub(u32::from(bits));
    let mask = u128::MAX.checked_shl(shift).unwrap_or(0);
    let [network, address] =
        [network, address].map(|address| u128::from_be_bytes(address.octets()));
    (network ^ address) & mask == 0
}
