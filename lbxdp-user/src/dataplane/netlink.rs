//! A blocking netlink socket with the three questions of this module. It speaks of the network
//! namespace in which it was opened.

use std::io;
use std::net::IpAddr;

use lbxdp_ebpf::abi::Address;
use lbxdp_ebpf::parse::Version;
use lbxdp_ebpf::tables::RouteQuery;
use netlink_packet_route::link::{LinkAttribute, LinkMessage, LinkXdp, XdpAttached};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// The socket.
pub(super) struct Netlink {
    socket: Socket,
}

/// An interface, as far as it matters here.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct LinkState {
    pub(super) name: String,
    pub(super) mac: [u8; 6],
    pub(super) mtu: u32,
    /// The XDP programs on it: whether in the driver, and the number.
    pub(super) xdp: Vec<(XdpHook, u32)>,
}

/// Where an XDP program sits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum XdpHook {
    Driver,
    Generic,
    Hardware,
}

/// The first matching route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Found {
    pub(super) kind: RouteType,
    pub(super) ifindex: u32,
    pub(super) next_hop: IpAddr,
    /// A locked MTU of the route.
    pub(super) mtu: Option<u32>,
}

impl Netlink {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket })
    }

    pub(super) fn link(&self, ifindex: u32) -> io::Result<LinkState> {
        let mut request = LinkMessage::default();
        request.header.index = ifindex;
        let answer = self.ask(RouteNetlinkMessage::GetLink(request))?;
        let RouteNetlinkMessage::NewLink(message) = answer else {
            return Err(unexpected());
        };
        let mut state = LinkState::default();
        for attribute in message.attributes {
            if let LinkAttribute::IfName(name) = attribute {
                state.name = name;
            } else if let LinkAttribute::Mtu(mtu) = attribute {
                state.mtu = mtu;
            } else if let LinkAttribute::Address(bytes) = attribute {
                state.mac = bytes.try_into().unwrap_or_default();
            } else if let LinkAttribute::Xdp(attributes) = attribute {
                state.xdp = programs(&attributes);
            }
        }
        Ok(state)
    }

    /// The route that the kernel takes for a packet that came in by an interface and is forwarded.
    pub(super) fn route(&self, query: &RouteQuery<'_>) -> io::Result<Found> {
        let mut request = route_request(query);
        request
            .attributes
            .push(RouteAttribute::Source(route_address(*query.source)));
        request.attributes.push(RouteAttribute::Iif(query.ingress));
        match self.find(request, query.packet.destination) {
            // For packets that come in the kernel also judges the source, which
            // `bpf_fib_lookup` does not: a VIP that is an address of the node is a Martian.
            Err(error) if query.packet.outline.version == Version::V4 && martian(&error) => {
                self.find(route_request(query), query.packet.destination)
            }
            answer => answer,
        }
    }

    /// MAC address of a neighbour; `None` when it is not known.
    pub(super) fn neighbour(&self, ifindex: u32, address: IpAddr) -> io::Result<Option<[u8; 6]>> {
        let mut request = NeighbourMessage::default();
        request.header.family = match address {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        request.header.ifindex = ifindex;
        let address = match address {
            IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
            IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
        };
        request
            .attributes
            .push(NeighbourAttribute::Destination(address));
        let answer = match self.ask(RouteNetlinkMessage::GetNeighbour(request)) {
            Ok(answer) => answer,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let RouteNetlinkMessage::NewNeighbour(message) = answer else {
            return Err(unexpected());
        };
        if !valid(message.header.state) {
            return Ok(None);
        }
        let mac = message.attributes.into_iter().find_map(|attribute| {
            if let NeighbourAttribute::LinkLayerAddress(bytes) = attribute {
                <[u8; 6]>::try_from(bytes).ok()
            } else {
                None
            }
        });
        Ok(mac)
    }

    fn find(&self, request: RouteMessage, destination: Address) -> io::Result<Found> {
        let answer = self.ask(RouteNetlinkMessage::GetRoute(request))?;
        let RouteNetlinkMessage::NewRoute(message) = answer else {
            return Err(unexpected());
        };
        let mut found = Found {
            kind: message.header.kind,
            ifindex: 0,
            next_hop: destination.to_ip(),
            mtu: None,
        };
        for attribute in message.attributes {
            if let RouteAttribute::Oif(ifindex) = attribute {
                found.ifindex = ifindex;
            } else if let RouteAttribute::Gateway(gateway) = attribute {
                found.next_hop = ip(&gateway).unwrap_or(found.next_hop);
            } else if let RouteAttribute::Via(via) = attribute {
                found.next_hop = via_address(&via).unwrap_or(found.next_hop);
            } else if let RouteAttribute::Metrics(metrics) = attribute {
                found.mtu = locked_mtu(&metrics);
            }
        }
        Ok(found)
    }

    fn ask(&self, request: RouteNetlinkMessage) -> io::Result<RouteNetlinkMessage> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST;
        header.sequence_number = 1;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let (answer, _) = self.socket.recv_from_full()?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)
            .map_err(|error| io::Error::other(error.to_string()))?;
        match answer.payload {
            NetlinkPayload::InnerMessage(message) => Ok(message),
            NetlinkPayload::Error(error) => Err(error.to_io()),
            _ => Err(unexpected()),
        }
    }
}

fn unexpected() -> io::Error {
    io::Error::other("netlink answered something else than was asked for")
}

fn programs(attributes: &[LinkXdp]) -> Vec<(XdpHook, u32)> {
    let mut attached = None;
    let mut alone = None;
    let mut programs = Vec::new();
    for attribute in attributes {
        if let LinkXdp::Attached(mode) = attribute {
            attached = match mode {
                XdpAttached::SocketBuffer => Some(XdpHook::Generic),
                XdpAttached::Hardware => Some(XdpHook::Hardware),
                XdpAttached::Driver => Some(XdpHook::Driver),
                _ => None,
            };
        } else if let LinkXdp::ProgId(id) = attribute {
            alone = Some(*id);
        } else if let LinkXdp::DrvProgId(id) = attribute {
            programs.push((XdpHook::Driver, *id));
        } else if let LinkXdp::SkbProgId(id) = attribute {
            programs.push((XdpHook::Generic, *id));
        } else if let LinkXdp::HwProgId(id) = attribute {
            programs.push((XdpHook::Hardware, *id));
        }
    }
    if let (true, Some(hook), Some(id)) = (programs.is_empty(), attached, alone) {
        programs.push((hook, id));
    }
    programs
}

fn route_request(query: &RouteQuery<'_>) -> RouteMessage {
    let mut request = RouteMessage::default();
    request.header.address_family = if query.packet.outline.version == Version::V4 {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let bits = if query.packet.outline.version == Version::V4 {
        32
    } else {
        128
    };
    request.header.destination_prefix_length = bits;
    request.header.source_prefix_length = bits;
    // RT_TOS: the two bits of ECN take no part in routing.
    request.header.tos = query.packet.traffic_class & 0x1c;
    request.attributes = vec![
        RouteAttribute::Destination(route_address(query.packet.destination)),
        RouteAttribute::IpProto(query.packet.outline.protocol),
        RouteAttribute::Sport(query.source_port.get()),
        RouteAttribute::Dport(query.destination_port.get()),
    ];
    request
}

fn route_address(address: Address) -> RouteAddress {
    match address.to_ip() {
        IpAddr::V4(v4) => RouteAddress::Inet(v4),
        IpAddr::V6(v6) => RouteAddress::Inet6(v6),
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

fn via_address(via: &RouteVia) -> Option<IpAddr> {
    match via {
        RouteVia::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteVia::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

/// The MTU of a route, if it is locked: `bpf_fib_lookup` ignores others.
fn locked_mtu(metrics: &[RouteMetric]) -> Option<u32> {
    const RTAX_MTU: u32 = 2;
    let locked = metrics
        .iter()
        .any(|metric| matches!(metric, RouteMetric::Lock(bits) if bits >> RTAX_MTU & 1 == 1));
    metrics.iter().find_map(|metric| match metric {
        RouteMetric::Mtu(mtu) if locked => Some(*mtu),
        _ => None,
    })
}

fn martian(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EXDEV))
}

/// `NUD_VALID`: states in which the address may be used.
fn valid(state: NeighbourState) -> bool {
    matches!(
        state,
        NeighbourState::Permanent
            | NeighbourState::Noarp
            | NeighbourState::Reachable
            | NeighbourState::Probe
            | NeighbourState::Stale
            | NeighbourState::Delay
    )
}
