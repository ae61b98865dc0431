//! The worlds that cases run in: the content of all maps, and the node's own routes.
//!
//! The underlay is the same in all of them, so that the engine of the kernel can lay it once:
//! the node has three interfaces ([`ETH0`] to [`ETH2`]) with a router behind each of the first
//! two, and what its routes say is known for a network each.

use std::net::IpAddr;

use lbxdp_ebpf::abi::{
    Address, Listener, Mode, NODE_LOCAL_REPLIES, NODE_RANGES, NODE_VLANS, Node, Origin,
    OriginIndex, PATH_RESOLVED, Path, Port, RangeKey, Reverse, Row, Service, Side, Table, Tags,
    TunnelIndex, Vlan, VnetId, prefixes,
};
use lbxdp_ebpf::hash::expand_key;
use lbxdp_ebpf::mem::{MemRoute, MemTables};
use lbxdp_ebpf::tables::Route;

use super::tunnel::Tunnel;
use crate::packet::Packet;

/// The interface by which packets come in.
pub const ETH0: u32 = 10;
/// Another interface, towards another router.
pub const ETH1: u32 = 11;
/// An interface on which forwarding is off.
pub const ETH2: u32 = 12;
/// A device of the kernel's that is a tunnel.
pub const DEVICE: u32 = 13;

/// MAC address of [`ETH0`].
pub const NODE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];
/// MAC address of [`ETH1`].
pub const NODE_MAC_1: [u8; 6] = [2, 0, 0, 0, 0, 0x0b];
/// MAC address of the router behind [`ETH0`]: clients come through it.
pub const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 1, 0x0a];
/// MAC address of the router behind [`ETH1`].
pub const ROUTER_MAC_1: [u8; 6] = [2, 0, 0, 0, 1, 0x0b];
/// MAC address of the next hop towards origins and far ends of tunnels.
pub const HOP_MAC: [u8; 6] = [2, 0, 0, 0, 2, 0x0a];

/// Outer address of the node.
pub const NODE4: &str = "203.0.113.1";
/// Outer address of the node.
pub const NODE6: &str = "2001:db8:113::1";
/// A VIP.
pub const VIP4: &str = "198.51.100.10";
/// A VIP.
pub const VIP6: &str = "2001:db8:100::10";
/// A client that is reached by [`ETH0`].
pub const CLIENT4: &str = "192.0.2.10";
/// A client that is reached by [`ETH0`].
pub const CLIENT6: &str = "2001:db8:c0::10";
/// An origin's address; in every VNet there may be one.
pub const ORIGIN4: &str = "10.0.0.11";
/// An origin's address; in every VNet there may be one.
pub const ORIGIN6: &str = "fd00::11";
/// A client's port.
pub const CLIENT_PORT: u16 = 40_000;
/// The listener's port.
pub const VIP_PORT: u16 = 80;
/// The origin's port.
pub const ORIGIN_PORT: u16 = 8080;

/// A VNet.
pub const BLUE: VnetId = VnetId(7);
/// Another VNet, with the same addresses.
pub const GREEN: VnetId = VnetId(8);

/// IP protocol number of TCP.
pub const TCP: u8 = crate::packet::number::TCP;
/// IP protocol number of UDP.
pub const UDP: u8 = crate::packet::number::UDP;

/// What the routes of the node say: a network of clients for each answer. ("Too big" is said of
/// packets of more than [`SMALL_MTU`] bytes.)
///
/// The kernel's engine lays these routes for real; see `engine/underlay.rs`.
pub const ROUTES: &[(&str, u8, Route)] = &[
    ("192.0.2.0", 24, VIA_ETH0),
    ("192.0.3.0", 24, VIA_ETH1),
    ("192.0.4.0", 24, Route::NoNeighbour { ifindex: ETH0 }),
    ("192.0.5.0", 24, Route::Unreachable),
    ("192.0.7.0", 24, Route::NotForwarded),
    ("192.0.8.0", 24, Route::TooBig(SMALL_MTU)),
    ("192.0.9.0", 24, Route::ForwardingOff),
    ("2001:db8:c0::", 64, VIA_ETH0),
    ("2001:db8:c1::", 64, VIA_ETH1),
    ("2001:db8:c2::", 64, Route::NoNeighbour { ifindex: ETH0 }),
    ("2001:db8:c3::", 64, Route::Unreachable),
    ("2001:db8:c5::", 64, Route::NotForwarded),
    ("2001:db8:c6::", 64, Route::TooBig(SMALL_MTU)),
    ("2001:db8:c7::", 64, Route::ForwardingOff),
    // The links to the routers: the node, the router, and nobody else.
    ("198.18.0.0", 32, Route::NotForwarded),
    ("198.18.0.1", 32, Route::NotForwarded),
    ("198.18.0.254", 32, VIA_ETH0),
    ("198.18.0.255", 32, Route::NotForwarded),
    ("198.18.0.0", 24, Route::NoNeighbour { ifindex: ETH0 }),
    ("198.18.1.0", 32, Route::NotForwarded),
    ("198.18.1.1", 32, Route::NotForwarded),
    ("198.18.1.254", 32, VIA_ETH1),
    ("198.18.1.255", 32, Route::NotForwarded),
    ("198.18.1.0", 24, Route::NoNeighbour { ifindex: ETH1 }),
    ("2001:db8:18::", 128, Route::NotForwarded),
    ("2001:db8:18::1", 128, Route::NotForwarded),
    ("2001:db8:18::fe", 128, VIA_ETH0),
    ("2001:db8:18::", 64, Route::NoNeighbour { ifindex: ETH0 }),
    ("2001:db8:18:1::", 128, Route::NotForwarded),
    ("2001:db8:18:1::1", 128, Route::NotForwarded),
    ("2001:db8:18:1::fe", 128, VIA_ETH1),
    ("2001:db8:18:1::", 64, Route::NoNeighbour { ifindex: ETH1 }),
    ("fe80::", 64, Route::NoNeighbour { ifindex: ETH0 }),
    // Where no route leads the kernel says so by what it says of its own addresses.
    ("0.0.0.0", 0, Route::NotForwarded),
    ("::", 0, Route::NotForwarded),
];

/// IP MTU of the networks whose route says "too big".
pub const SMALL_MTU: u16 = 1300;
/// IP MTU of the interfaces.
pub const ETHERNET_MTU: u16 = 1500;

pub(crate) const VIA_ETH0: Route = Route::NextHop {
    ifindex: ETH0,
    source_mac: NODE_MAC,
    destination_mac: ROUTER_MAC,
};
const VIA_ETH1: Route = Route::NextHop {
    ifindex: ETH1,
    source_mac: NODE_MAC_1,
    destination_mac: ROUTER_MAC_1,
};

/// Rows of every table here: a prime, as the agent would have it.
const ROWS: u32 = 7;

/// A world under construction.
#[derive(Clone, PartialEq, Debug)]
pub struct World {
    /// The content of the maps.
    pub tables: MemTables,
}

impl World {
    /// A node that is configured, and balances nothing yet.
    #[must_use]
    pub fn new() -> Self {
        let node_routes = ROUTES
            .iter()
            .map(|(network, bits, route)| {
                let network = address(network);
                let bits = if network.is_v4() { bits + 96 } else { *bits };
                let (route, mtu) = match route {
                    Route::TooBig(mtu) => (VIA_ETH0, *mtu),
                    Route::NextHop { .. } | Route::NoNeighbour { .. } => (*route, ETHERNET_MTU),
                    Route::NotForwarded | Route::ForwardingOff | Route::Unreachable => {
                        (*route, u16::MAX)
                    }
                };
                MemRoute {
                    network,
                    bits,
                    route,
                    mtu,
                }
            })
            .collect();
        Self {
            tables: MemTables {
                node: Some(Node {
                    hash_key: expand_key(*b"a key of 16 byte"),
                    flags: NODE_LOCAL_REPLIES,
                    icmp_interval_ns: lbxdp_ebpf::abi::Allowance::INTERVAL_NS,
                    flow_interval_ns: lbxdp_ebpf::abi::Allowance::FLOW_INTERVAL_NS,
                    ..Node::default()
                }),
                node_routes,
                ..MemTables::default()
            },
        }
    }

    /// A node whose agent has not written anything.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            tables: MemTables::default(),
        }
    }

    /// Adds a listener served by these origins, in turns. The first listener, table and origin
    /// have index 0, and so on.
    #[must_use]
    pub fn serve(mut self, listener: Service, origins: &[Origin]) -> Self {
        let index = self.tables.listeners.len() as u32;
        let first = self.tables.origins.len() as OriginIndex;
        let half = self.tables.rows.len() as u32;
        self.tables.listeners.insert(
            listener,
            Listener {
                table: index,
                counter: index,
                flags: 0,
            },
        );
        // The first half is vacant and not active: a program that reads it finds no origin.
        for row in 0..ROWS {
            let owner = first + (row as usize % origins.len()) as OriginIndex;
            self.tables.rows.insert(half + row, Row::VACANT);
            self.tables
                .rows
                .insert(half + ROWS + row, Row::owned_by(owner));
        }
        self.tables.tables.insert(
            index,
            Table {
                halves: [half, half + ROWS],
                rows: ROWS,
                active: 1,
                previous_rows: [ROWS; 2],
            },
        );
        for (index, origin) in (first..).zip(origins) {
            self.tables.origins.insert(index, *origin);
        }
        self
    }

    /// Adds a listener of the ports from `first` to `last`, as [`World::serve`] does one of a port.
    #[must_use]
    pub fn serve_range(self, listener: Service, last: u16, origins: &[Origin]) -> Self {
        let entry = Service {
            range: 1,
            ..listener
        };
        self.serve(entry, origins)
            .range(entry, last, Side::Listener)
    }

    /// Lets the ports of an origin, from that of `origin` to `last`, answer for listener 0, as
    /// origin 0; the port is kept.
    #[must_use]
    pub fn answers_range(self, origin: Service, last: u16, listener: Service) -> Self {
        let entry = Service { range: 1, ..origin };
        let keeps = Service {
            port: Port::new(0),
            ..listener
        };
        self.answers(entry, keeps).range(entry, last, Side::Origin)
    }

    fn range(mut self, entry: Service, last: u16, side: Side) -> Self {
        if let Some(node) = &mut self.tables.node {
            node.flags |= NODE_RANGES;
        }
        for (port, bits) in prefixes(entry.port.get(), last) {
            let key = RangeKey {
                port: Port::new(port),
                ..RangeKey::new(&entry, side)
            };
            self.tables.ranges.insert((key, bits), entry.port);
        }
        self
    }

    /// Lets an origin's transport address answer for listener 0, as origin 0.
    #[must_use]
    pub fn answers(self, origin: Service, listener: Service) -> Self {
        self.answers_as(origin, listener, 0)
    }

    /// Lets an origin's transport address answer for listener 0.
    #[must_use]
    pub fn answers_as(mut self, origin: Service, listener: Service, index: OriginIndex) -> Self {
        self.tables.reverse.insert(
            origin,
            Reverse {
                address: listener.address,
                port: listener.port,
                origin: index,
                vnet: listener.vnet,
                counter: 0,
            },
        );
        self
    }

    /// Adds a tunnel of a VNet, with its peer.
    #[must_use]
    pub fn tunnel(mut self, tunnel: &Tunnel, vnet: VnetId) -> Self {
        self.tables.tunnels.insert(tunnel.index, tunnel.path());
        self.tables
            .peers
            .insert(tunnel.peer_key(), tunnel.peer(vnet));
        if let Some(port) = tunnel.port() {
            self.tables.tunnel_ports.insert(port);
        }
        self
    }

    /// Adds a prefix behind a tunnel.
    #[must_use]
    pub fn route(mut self, vnet: VnetId, network: &str, bits: u8, tunnel: TunnelIndex) -> Self {
        let network = address(network);
        let bits = if network.is_v4() { bits + 96 } else { bits };
        self.tables.routes.insert((vnet, network, bits), tunnel);
        self
    }

    /// Makes [`ETH1`] a VLAN device, or a VLAN in a VLAN, on [`ETH0`].
    ///
    /// # Panics
    /// When the node has no settings.
    #[must_use]
    pub fn vlan(mut self, tags: Tags) -> Self {
        self.tables.node.as_mut().expect("settings").flags |= NODE_VLANS;
        let ifindex = ETH0;
        self.tables.vlans.insert(ETH1, Vlan { ifindex, tags });
        self
    }

    /// Changes whatever the case is about.
    #[must_use]
    pub fn but(mut self, change: impl FnOnce(&mut MemTables)) -> Self {
        change(&mut self.tables);
        self
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// An address of a case.
///
/// # Panics
/// If it is none.
#[must_use]
pub fn address(text: &str) -> Address {
    let ip: IpAddr = text.parse().expect("an address of a case");
    Address::from(ip)
}

/// A transport address in the node's own network.
#[must_use]
pub fn local(protocol: u8, text: &str, port: u16) -> Service {
    inside(VnetId::LOCAL, protocol, text, port)
}

/// A transport address in a VNet.
#[must_use]
pub fn inside(vnet: VnetId, protocol: u8, text: &str, port: u16) -> Service {
    Service {
        address: address(text),
        port: Port::new(port),
        protocol,
        range: 0,
        vnet,
    }
}

/// The VIP of the family of an address.
#[must_use]
pub fn vip_like(other: &str) -> &'static str {
    if other.contains(':') { VIP6 } else { VIP4 }
}

/// The client of the family of an address.
#[must_use]
pub fn client_like(other: &str) -> &'static str {
    if other.contains(':') {
        CLIENT6
    } else {
        CLIENT4
    }
}

/// An origin reached by NAT.
#[must_use]
pub fn nat(text: &str, port: u16, vnet: VnetId, path: Path) -> Origin {
    Origin {
        address: address(text),
        port: Port::new(port),
        mode: Mode::NatPreserve as u8,
        vnet,
        path,
        ..Origin::EMPTY
    }
}

/// An origin that owns the VIP and is reached by encapsulation.
#[must_use]
pub fn dsr(text: &str, path: Path) -> Origin {
    Origin {
        mode: Mode::Dsr as u8,
        ..nat(text, 0, VnetId::LOCAL, path)
    }
}

/// An origin that owns the VIP and is on the same link.
#[must_use]
pub fn dsr_l2(text: &str, path: Path) -> Origin {
    Origin {
        mode: Mode::DsrL2 as u8,
        ..nat(text, 0, VnetId::LOCAL, path)
    }
}

/// The way to an origin in the node's own network, by [`ETH0`].
#[must_use]
pub fn plain() -> Path {
    Path {
        flags: PATH_RESOLVED,
        mtu: 1500,
        ifindex: ETH0,
        destination_mac: HOP_MAC,
        source_mac: NODE_MAC,
        ..Path::UNRESOLVED
    }
}

/// The same way, by [`ETH1`].
#[must_use]
pub fn plain_eth1() -> Path {
    Path {
        ifindex: ETH1,
        source_mac: NODE_MAC_1,
        ..plain()
    }
}

/// A frame from the router behind [`ETH0`], up to its Ethernet header.
#[must_use]
pub fn from_router() -> Packet {
    Packet::eth(ROUTER_MAC, NODE_MAC)
}

/// A frame from an origin, up to its Ethernet header.
#[must_use]
pub fn from_hop() -> Packet {
    Packet::eth(HOP_MAC, NODE_MAC)
}

/// A frame to an origin, up to its Ethernet header.
#[must_use]
pub fn to_hop() -> Packet {
    Packet::eth(NODE_MAC, HOP_MAC)
}

/// A frame to the router behind [`ETH0`], up to its Ethernet header.
#[must_use]
pub fn to_router() -> Packet {
    Packet::eth(NODE_MAC, ROUTER_MAC)
}
