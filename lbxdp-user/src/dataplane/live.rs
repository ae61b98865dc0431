use std::cell::RefCell;
use std::fs;
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use aya::Pod;
use aya::maps::lpm_trie::Key;
use aya::maps::{Array, HashMap, MapData, MapError};
use lbxdp_ebpf::abi::{
    Allowance, Flow, FlowKey, Fragment, Kept, Listener, Mapping, Node, Origin, OriginIndex, Owner,
    Owners, Path as OriginPath, Peer, PeerKey, Port, RangeKey, Reverse, RouteKey, Row, Service,
    Session, Side, Sight, Table, TunnelIndex, Vlan, VnetId,
};
use lbxdp_ebpf::flow_table::{self, Recording};
use lbxdp_ebpf::fragment;
use lbxdp_ebpf::parse::{Ip, Version};
use lbxdp_ebpf::tables::{Refused, Route, RouteQuery, Tables};
use lbxdp_ebpf::track::FlowEvent;
use netlink_packet_route::route::RouteType;
use nix::time::{ClockId, clock_gettime};

use super::maps::LiveMaps;
use super::netlink::Netlink;

/// The live maps and the node's routes, as the pipeline asks for them.
///
/// Routes are asked of the kernel by netlink, in the network namespace in which it was opened.
/// That a map or a route could not be read is remembered ([`LiveTables::failures`]), since the
/// pipeline has no word for it.
pub struct LiveTables<'a> {
    maps: &'a LiveMaps,
    netlink: Netlink,
    failures: RefCell<Vec<String>>,
}

/// A copy of a value in a map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Copied<T>(pub T);

impl<T> Deref for Copied<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'a> LiveTables<'a> {
    /// Over maps that are open.
    ///
    /// # Errors
    /// When there is no netlink socket to be had.
    pub fn new(maps: &'a LiveMaps) -> Result<Self> {
        Ok(Self {
            maps,
            netlink: Netlink::open().context("cannot open a netlink socket")?,
            failures: RefCell::default(),
        })
    }

    /// What could not be read, and so was taken for missing.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        self.failures.borrow().clone()
    }

    fn of_array<V: Pod>(&self, map: &Array<MapData, V>, index: u32, name: &str) -> Option<V> {
        self.found(map.get(&index, 0), name)
    }

    fn of_hash<K: Pod, V: Pod>(
        &self,
        map: &HashMap<MapData, K, V>,
        key: &K,
        name: &str,
    ) -> Option<V> {
        self.found(map.get(key, 0), name)
    }

    fn found<V>(&self, result: Result<V, MapError>, name: &str) -> Option<V> {
        match result {
            Ok(value) => Some(value),
            Err(MapError::KeyNotFound | MapError::OutOfBounds { .. }) => None,
            Err(error) => {
                self.failures
                    .borrow_mut()
                    .push(format!("map {name} cannot be read: {error}"));
                None
            }
        }
    }

    fn seen<V>(&self, result: Result<V>) -> Option<V> {
        result
            .inspect_err(|error| self.failures.borrow_mut().push(format!("{error:#}")))
            .ok()
    }

    fn ask(&self, query: &RouteQuery<'_>) -> io::Result<Route> {
        if query.ingress != 0 && !self.forwards(query)? {
            return Ok(Route::ForwardingOff);
        }
        let found = match self.netlink.route(query) {
            Ok(found) => found,
            Err(error) => return refusal(error),
        };
        if found.kind != RouteType::Unicast {
            return Ok(match found.kind {
                RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit => {
                    Route::Unreachable
                }
                _ => Route::NotForwarded,
            });
        }
        let link = self.netlink.link(found.ifindex)?;
        let mtu = found.mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu));
        if u32::from(query.packet.outline.length) > mtu {
            return Ok(Route::TooBig(u16::try_from(mtu).unwrap_or(u16::MAX)));
        }
        let neighbour = self.netlink.neighbour(found.ifindex, found.next_hop)?;
        Ok(neighbour.map_or(
            Route::NoNeighbour {
                ifindex: found.ifindex,
            },
            |destination_mac| Route::NextHop {
                ifindex: found.ifindex,
                source_mac: link.mac,
                destination_mac,
            },
        ))
    }

    /// Whether packets that come in by the interface are forwarded.
    fn forwards(&self, query: &RouteQuery<'_>) -> io::Result<bool> {
        let name = self.netlink.link(query.ingress)?.name;
        let family = match query.packet.outline.version {
            Version::V4 => "ipv4",
            Version::V6 => "ipv6",
        };
        // An interface's name has no `/`, and `/proc/sys/net` is that of our network namespace.
        let path = Path::new("/proc/sys/net")
            .join(family)
            .join("conf")
            .join(name)
            .join("forwarding");
        Ok(fs::read_to_string(path)?.trim() != "0")
    }
}

impl Tables for LiveTables<'_> {
    type Ref<'a, T: Copy + 'a>
        = Copied<T>
    where
        Self: 'a;

    fn node(&self) -> Option<Copied<Node>> {
        // As the program sees it: a key that the agent has written is never zero.
        self.of_array(&self.maps.node, 0, "NODE")
            .filter(|node| node.hash_key[0] != 0)
            .map(Copied)
    }

    fn listener(&self, key: &Service) -> Option<Copied<Listener>> {
        self.of_hash(&self.maps.listeners, key, "LISTENERS")
            .map(Copied)
    }

    fn table(&self, index: u32) -> Option<Copied<Table>> {
        self.of_array(&self.maps.tables, index, "TABLES")
            .filter(|table| table.rows != 0)
            .map(Copied)
    }

    fn owner(&self, row: u32) -> Option<Owner> {
        let (entry, _) = Owners::place(row);
        let owners = self.of_array(&self.maps.owners, entry, "OWNERS")?;
        Some(owners.of(row))
    }

    fn row(&self, index: u32) -> Option<Copied<Row>> {
        self.of_array(&self.maps.rows, index, "ROWS").map(Copied)
    }

    fn origin(&self, index: OriginIndex) -> Option<Copied<Origin>> {
        self.of_array(&self.maps.origins, index.into(), "ORIGINS")
            .filter(|origin| origin.mode != 0)
            .map(Copied)
    }

    fn reverse(&self, key: &Service) -> Option<Copied<Reverse>> {
        self.of_hash(&self.maps.reverse, key, "REVERSE").map(Copied)
    }

    fn range(&self, key: &Service, side: Side) -> Option<Port> {
        let key = Key::new(RangeKey::BITS, RangeKey::new(key, side));
        let port = self.found(self.maps.ranges.get(&key, 0), "RANGES")?;
        u16::try_from(port).ok().map(Port::new)
    }

    fn fragment(&self, packet: &Ip, vnet: VnetId) -> Option<Fragment> {
        let key = fragment::key(packet, vnet);
        let datagram = self.of_hash(&self.maps.fragments, &key, "FRAGMENTS")?;
        datagram.at(monotonic_ns())
    }

    /// Does nothing: of a packet that is only thought of nothing follows.
    fn remember(&self, _: &Ip, _: VnetId, _: Fragment) {}

    fn is_tunnel_port(&self, port: Port) -> bool {
        let (entry, bit) = (port.get() / 64, port.get() % 64);
        self.of_array(&self.maps.tunnel_ports, entry.into(), "TUNNEL_PORTS")
            .is_some_and(|set| set.0 >> bit & 1 == 1)
    }

    fn peer(&self, key: &PeerKey) -> Option<Copied<Peer>> {
        self.of_hash(&self.maps.peers, key, "PEERS").map(Copied)
    }

    fn tunnel(&self, index: TunnelIndex) -> Option<Copied<OriginPath>> {
        self.of_array(&self.maps.tunnels, index.into(), "TUNNELS")
            .filter(|path| path.is_in_use())
            .map(Copied)
    }

    fn tunnel_to(&self, key: &RouteKey) -> Option<TunnelIndex> {
        let key = Key::new(RouteKey::BITS, *key);
        let tunnel = self.found(self.maps.routes.get(&key, 0), "ROUTES")?;
        TunnelIndex::try_from(tunnel).ok()
    }

    /// As it stands: a packet that is only thought of is not seen.
    fn session(&self, flow: &FlowKey, sight: Option<Sight>) -> Option<Copied<Session>> {
        let session = self.of_hash(&self.maps.sessions, flow, "SESSIONS")?;
        let over = sight.is_some_and(|sight| session.seen.is_over(sight));
        (!over).then_some(Copied(session))
    }

    /// Says what would be, and changes nothing.
    fn set_session(&self, _: &FlowKey, _: &Session) -> Result<(), Refused> {
        Ok(())
    }

    /// As it stands.
    fn mapping(&self, flow: &FlowKey, _: Option<Sight>) -> Option<Copied<Mapping>> {
        self.of_hash(&self.maps.mappings, flow, "MAPPINGS")
            .map(Copied)
    }

    /// Says what would be, and changes nothing.
    fn add_mapping(&self, flow: &FlowKey, _: &Mapping) -> Result<(), Refused> {
        match self.of_hash(&self.maps.mappings, flow, "MAPPINGS") {
            Some(_) => Err(Refused::Taken),
            None => Ok(()),
        }
    }

    fn remove_mapping(&self, _: &FlowKey) {}

    fn vlan(&self, ifindex: u32) -> Option<Copied<Vlan>> {
        self.of_hash(&self.maps.vlans, &ifindex, "VLANS")
            .map(Copied)
    }

    /// A full one, since each CPU has its own; a packet that is only thought of takes nothing of it.
    fn allowance(&self) -> Allowance {
        Allowance::FULL
    }

    fn set_allowance(&self, _: Allowance) {}

    /// As it would stand.
    fn tracked(&self, _: &FlowKey, digest: u64, now: u32, sight: Option<Sight>) -> Option<Kept> {
        let table = self.seen(self.maps.flow_table())?;
        let mut kept = flow_table::find(&table, digest)?.kept(now);
        if let Some(sight) = sight {
            kept.see(sight);
        }
        Some(kept)
    }

    /// Does nothing: of a packet that is only thought of nothing follows.
    fn track(&self, _: &Flow, _: u64, _: Kept) -> Recording {
        Recording::Done
    }

    fn opening(&self, _: &FlowKey, digest: u64, now: u32) -> Option<Kept> {
        let table = self.seen(self.maps.opening_table())?;
        flow_table::find(&table, digest).map(|found| found.kept(now))
    }

    /// Does nothing, as `track`.
    fn set_opening(&self, _: &Flow, _: u64, _: Kept) -> Recording {
        Recording::Done
    }

    fn forget_opening(&self, _: &FlowKey, _: u64) {}

    fn count_flow(&self, _: FlowEvent) {}

    /// As of messages.
    fn flow_allowance(&self) -> Allowance {
        Allowance::FULL
    }

    fn set_flow_allowance(&self, _: Allowance) {}

    fn now_ns(&self) -> u64 {
        monotonic_ns()
    }

    fn route(&self, query: &RouteQuery<'_>) -> Route {
        self.ask(query).unwrap_or_else(|error| {
            self.failures.borrow_mut().push(format!(
                "the kernel cannot be asked for the route to {}: {error}",
                query.packet.destination
            ));
            Route::Unreachable
        })
    }
}

/// Now, in nanoseconds of `CLOCK_MONOTONIC`; 0 if the kernel has no such clock.
fn monotonic_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .ok()
        .and_then(|now| u64::try_from(Duration::from(now).as_nanos()).ok())
        .unwrap_or_default()
}

/// How the kernel says that there is no way. Of no route at all, as opposed to one that refuses,
/// `bpf_fib_lookup` says `BPF_FIB_LKUP_RET_NOT_FWDED`.
fn refusal(error: io::Error) -> io::Result<Route> {
    match error.raw_os_error() {
        Some(libc::ENETUNREACH) => Ok(Route::NotForwarded),
        Some(libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL | libc::EXDEV) => {
            Ok(Route::Unreachable)
        }
        _ => Err(error),
    }
}
