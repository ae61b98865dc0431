//! Tunnels that are devices of the kernel's: WireGuard, IPsec, and whatever somebody else has made.

use lbxdp_ebpf::abi::{
    Encapsulation, HANDED_OVER_MAC, PATH_INNER_ETHERNET, PATH_RESOLVED, Path, Peer, PeerKey, Tags,
};
use lbxdp_ebpf::verdict::Reason;

use super::snat::{PORT, hiding, known, one, own_like, snat};
use super::tunnel::{INNER_NODE4, INNER_NODE6};
use super::world::{
    BLUE, CLIENT_PORT, CLIENT4, DEVICE, ETH0, ETH1, ETH2, GREEN, NODE_MAC_1, ORIGIN_PORT, ORIGIN4,
    ORIGIN6, ROUTER_MAC_1, TCP, UDP, VIP_PORT, VIP4, World, address, client_like, from_router,
    inside, local, nat, to_router, vip_like,
};
use super::{Case, given, theme};
use crate::packet::{Packet, number};

/// Slot of the tunnel.
const SLOT: u16 = 3;
/// Options of a SYN: the maximum segment size, of which the last two bytes are the value.
const MSS: [u8; 2] = [2, 4];

/// The way into the device.
fn path(flags: u8) -> Path {
    Path {
        encapsulation: Encapsulation::Device as u8,
        flags: PATH_RESOLVED | flags,
        mtu: 1400,
        tunnel: SLOT,
        ifindex: DEVICE,
        destination_mac: HANDED_OVER_MAC,
        source_mac: HANDED_OVER_MAC,
        ..Path::UNRESOLVED
    }
}

/// An origin behind the device, which has these flags beside those that it must have.
fn world(origin: &str, protocol: u8, flags: u8) -> World {
    let listener = local(protocol, vip_like(origin), VIP_PORT);
    World::new()
        .serve(listener, &[nat(origin, ORIGIN_PORT, BLUE, path(flags))])
        .answers(inside(BLUE, protocol, origin, ORIGIN_PORT), listener)
        .but(|tables| {
            tables.tunnels.insert(SLOT, path(flags));
            tables.peers.insert(
                PeerKey::of_device(DEVICE),
                Peer {
                    vnet: BLUE,
                    tunnel: SLOT,
                    reserved: [0; 2],
                    inner_v4: address(INNER_NODE4),
                    inner_v6: address(INNER_NODE6),
                },
            );
            if let Some(node) = &mut tables.node {
                node.uplink = ETH0;
            }
        })
}

/// A frame on its way to the TC program.
fn handed_over() -> Packet {
    Packet::eth(HANDED_OVER_MAC, HANDED_OVER_MAC)
}

fn tcp(frame: Packet, from: (&str, u16), to: (&str, u16)) -> Packet {
    frame.ip(from.0, to.0).tcp(from.1, to.1)
}

fn udp(frame: Packet, from: (&str, u16), to: (&str, u16)) -> Packet {
    frame.ip(from.0, to.0).udp(from.1, to.1)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (origin, version) in [(ORIGIN4, 4), (ORIGIN6, 6)] {
        cases.extend(requests(origin, version));
        cases.extend(answers(origin, version));
        cases.extend(untouched(origin, version));
        cases.extend(translated(origin, version));
    }
    cases.extend(refused());
    cases.extend(routes());
    cases.extend(errors());
    theme("devices of the kernel", cases)
}

fn requests(origin: &str, version: u8) -> Vec<Case> {
    let client = (client_like(origin), CLIENT_PORT);
    let vip = (vip_like(origin), VIP_PORT);
    let behind = (origin, ORIGIN_PORT);
    let lowered = 1400 - if version == 4 { 40 } else { 60_u16 };
    let syn = |frame, from, to, value: u16| {
        let value = value.to_be_bytes();
        tcp(frame, from, to)
            .tcp_flags(0x02)
            .tcp_options(&[MSS.as_slice(), &value].concat())
    };
    vec![
        given(
            format!("TCP over IPv{version} is rewritten and handed over to the device."),
            world(origin, TCP, 0),
            tcp(from_router(), client, vip).payload(b"GET /"),
        )
        .sends(
            Reason::ForwardNatTunnel,
            tcp(handed_over(), client, behind).ttl(63).payload(b"GET /"),
        )
        .handed_over_to(DEVICE, false),
        given(
            format!("UDP over IPv{version} is, to a device that has Ethernet headers."),
            world(origin, UDP, PATH_INNER_ETHERNET),
            udp(from_router(), client, vip).payload(b"odd"),
        )
        .sends(
            Reason::ForwardNatTunnel,
            udp(handed_over(), client, behind).ttl(63).payload(b"odd"),
        )
        .handed_over_to(DEVICE, true),
        given(
            format!("Two VLAN tags before IPv{version} are taken off."),
            world(origin, TCP, 0),
            tcp(from_router().service_vlan(7).vlan(8), client, vip),
        )
        .sends(
            Reason::ForwardNatTunnel,
            tcp(handed_over(), client, behind).ttl(63),
        )
        .handed_over_to(DEVICE, false),
        given(
            format!("A SYN over IPv{version} announces what the device carries."),
            world(origin, TCP, 0),
            syn(from_router(), client, vip, 1460),
        )
        .sends(
            Reason::ForwardNatTunnel,
            syn(handed_over(), client, behind, lowered).ttl(63),
        )
        .handed_over_to(DEVICE, false),
    ]
    .into_iter()
    .map(|case| case.through(SLOT))
    .collect()
}

/// Clients that the origin behind the device does not see.
fn translated(origin: &str, version: u8) -> Vec<Case> {
    let own = own_like(origin);
    let client = (client_like(origin), CLIENT_PORT);
    let vip = (vip_like(origin), VIP_PORT);
    let (node, behind) = ((own, PORT), (origin, ORIGIN_PORT));
    let world = |protocol| {
        let world = hiding(world(origin, protocol, 0)).but(|tables| {
            for origin in tables.origins.values_mut() {
                *origin = snat(*origin, one(own));
            }
            tables.reverse.clear();
        });
        known(world, protocol, origin, own, BLUE)
    };
    vec![
        given(
            format!("TCP over IPv{version} from the node's address is handed over."),
            world(TCP),
            tcp(from_router(), client, vip).payload(b"GET /"),
        )
        .sends(
            Reason::ForwardNatTunnel,
            tcp(handed_over(), node, behind).ttl(63).payload(b"GET /"),
        )
        .handed_over_to(DEVICE, false)
        .through(SLOT),
        given(
            format!("An answer over IPv{version} to the node's address is the client's."),
            world(TCP),
            tcp(Packet::bare(), behind, node).payload(b"200 OK"),
        )
        .by_device()
        .sends(
            Reason::ReplyNatTunnel,
            tcp(to_router(), vip, client).ttl(63).payload(b"200 OK"),
        )
        .redirected_to(ETH0)
        .through(SLOT),
        given(
            format!("An answer by UDP over IPv{version} to the node's address is the client's."),
            world(UDP),
            udp(Packet::bare(), behind, node).payload(b"odd"),
        )
        .by_device()
        .sends(
            Reason::ReplyNatTunnel,
            udp(to_router(), vip, client).ttl(63).payload(b"odd"),
        )
        .redirected_to(ETH0)
        .through(SLOT),
        given(
            format!("A packet over IPv{version} to another port of the node is the node's own."),
            world(TCP),
            tcp(Packet::bare(), behind, (own, PORT + 1)),
        )
        .by_device()
        .ends(Reason::TunnelOwn),
    ]
}

fn answers(origin: &str, version: u8) -> Vec<Case> {
    let client = (client_like(origin), CLIENT_PORT);
    let vip = (vip_like(origin), VIP_PORT);
    let behind = (origin, ORIGIN_PORT);
    let far = Packet::eth([2, 0, 0, 0, 4, 1], [2, 0, 0, 0, 4, 2]);
    let syn_ack = |frame, from, to, value: u16| {
        let value = value.to_be_bytes();
        tcp(frame, from, to)
            .tcp_flags(0x12)
            .tcp_options(&[MSS.as_slice(), &value].concat())
    };
    let lowered = 1400 - if version == 4 { 40 } else { 60_u16 };
    let mut cases = vec![
        given(
            format!(
                "An answer over IPv{version} gets an Ethernet header and the VIP as its source."
            ),
            world(origin, TCP, 0),
            tcp(Packet::bare(), behind, client).payload(b"200 OK"),
        )
        .by_device()
        .sends(
            Reason::ReplyNatTunnel,
            tcp(to_router(), vip, client).ttl(63).payload(b"200 OK"),
        ),
        given(
            format!("An answer over IPv{version} by a device with Ethernet headers gets others."),
            world(origin, UDP, PATH_INNER_ETHERNET),
            udp(far, behind, client).payload(b"odd"),
        )
        .by_device()
        .sends(
            Reason::ReplyNatTunnel,
            udp(to_router(), vip, client).ttl(63).payload(b"odd"),
        ),
        given(
            format!("A SYN-ACK over IPv{version} announces what the device carries."),
            world(origin, TCP, 0),
            syn_ack(Packet::bare(), behind, client, 1460),
        )
        .by_device()
        .sends(
            Reason::ReplyNatTunnel,
            syn_ack(to_router(), vip, client, lowered).ttl(63),
        ),
        given(
            format!("A SYN-ACK over IPv{version} that announces less is not raised."),
            world(origin, TCP, 0),
            syn_ack(Packet::bare(), behind, client, 500),
        )
        .by_device()
        .sends(
            Reason::ReplyNatTunnel,
            syn_ack(to_router(), vip, client, 500).ttl(63),
        ),
    ];
    if version == 4 {
        cases.push(
            given(
                "An answer by UDP without a checksum gets none.",
                world(origin, UDP, 0),
                udp(Packet::bare(), behind, client).no_checksum(),
            )
            .by_device()
            .sends(
                Reason::ReplyNatTunnel,
                udp(to_router(), vip, client).no_checksum().ttl(63),
            ),
        );
    }
    cases
        .into_iter()
        .map(|case| case.redirected_to(ETH0).through(SLOT))
        .collect()
}

/// What is not an answer of ours.
fn untouched(origin: &str, version: u8) -> Vec<Case> {
    let client = (client_like(origin), CLIENT_PORT);
    let vip = (vip_like(origin), VIP_PORT);
    let behind = (origin, ORIGIN_PORT);
    let own = if version == 4 {
        INNER_NODE4
    } else {
        INNER_NODE6
    };
    let answer = || tcp(Packet::bare(), behind, client);
    let from = |sentence: &str, world, packet| {
        given(format!("{sentence} (IPv{version})"), world, packet).by_device()
    };
    vec![
        from(
            "What comes from another port than the origin's is left to the kernel.",
            world(origin, TCP, 0),
            tcp(Packet::bare(), (origin, 22), client),
        )
        .ends(Reason::TunnelOther),
        from(
            "A request to a VIP is left to the kernel.",
            world(origin, TCP, 0),
            tcp(Packet::bare(), client, vip),
        )
        .ends(Reason::TunnelOther),
        from(
            "What the origin sends to the node itself is left to the kernel.",
            world(origin, TCP, 0),
            tcp(Packet::bare(), behind, (own, CLIENT_PORT)),
        )
        .ends(Reason::TunnelOwn),
        from(
            "The origin's address in another VNet is another's.",
            world(origin, TCP, 0).but(|tables| {
                for peer in tables.peers.values_mut() {
                    peer.vnet = GREEN;
                }
            }),
            answer(),
        )
        .ends(Reason::TunnelOther),
        from(
            "The answer to a client in another VNet is left to the kernel.",
            world(origin, TCP, 0).but(|tables| {
                for reverse in tables.reverse.values_mut() {
                    reverse.vnet = GREEN;
                }
            }),
            answer(),
        )
        .ends(Reason::TunnelOther),
        from(
            "A device that is no tunnel is not looked into.",
            world(origin, TCP, 0).but(|tables| tables.peers.clear()),
            answer(),
        )
        .ends(Reason::UnknownPeer),
        from(
            "A tunnel whose device is not known is not looked into.",
            world(origin, TCP, 0).but(|tables| tables.tunnels.clear()),
            answer(),
        )
        .ends(Reason::UnknownPeer),
        from(
            "Without a configuration everything is left to the kernel.",
            World::empty(),
            answer(),
        )
        .ends(Reason::NotConfigured),
        from(
            "A packet that ends before its header does is left to the kernel.",
            world(origin, TCP, 0),
            answer().truncated(18),
        )
        .ends(Reason::Truncated),
        from(
            "An answer whose hops are used up is dropped.",
            world(origin, TCP, 0),
            answer().ttl(1),
        )
        .ends(Reason::TtlExpired),
    ]
}

fn refused() -> Vec<Case> {
    let client = (CLIENT4, CLIENT_PORT);
    let vip = (VIP4, VIP_PORT);
    vec![
        given(
            "Without room for metadata nothing is handed over.",
            world(ORIGIN4, TCP, 0),
            tcp(from_router(), client, vip).payload(&[0; 200]),
        )
        .headroom(44)
        .ends(Reason::NoMetadata),
        given(
            "A device that is not there takes nothing.",
            world(ORIGIN4, TCP, 0).but(|tables| {
                for origin in tables.origins.values_mut() {
                    origin.path = Path::UNRESOLVED;
                }
            }),
            tcp(from_router(), client, vip),
        )
        .ends(Reason::NoNextHop),
        given(
            "What the device does not carry, and may be fragmented, is dropped.",
            world(ORIGIN4, TCP, 0),
            tcp(from_router(), client, vip)
                .may_fragment()
                .payload(&[0; 1400]),
        )
        .ends(Reason::TooBigFragmentable),
        given(
            "A fragment from a device is left to the kernel.",
            world(ORIGIN4, TCP, 0),
            tcp(Packet::bare(), (ORIGIN4, ORIGIN_PORT), client).fragment(0x2000),
        )
        .by_device()
        .ends(Reason::Fragment),
        given(
            "What is neither IPv4 nor IPv6 is left to the kernel.",
            world(ORIGIN4, TCP, 0),
            tcp(Packet::bare(), (ORIGIN4, ORIGIN_PORT), client).patch(0, &[0x55]),
        )
        .by_device()
        .ends(Reason::NotIp),
        given(
            "What a device with Ethernet headers brings beside IP is left to the kernel.",
            world(ORIGIN4, TCP, PATH_INNER_ETHERNET),
            from_router()
                .ethertype(number::ETHERTYPE_ARP)
                .payload(&[0; 28]),
        )
        .by_device()
        .ends(Reason::NotIp),
        given(
            "An answer by another protocol than those that are balanced is left to the kernel.",
            world(ORIGIN4, TCP, 0),
            Packet::bare()
                .ip(ORIGIN4, CLIENT4)
                .protocol(number::SCTP)
                .payload(&[0; 12]),
        )
        .by_device()
        .ends(Reason::OtherProtocol),
    ]
}

/// What the node's routes say of an answer.
fn routes() -> Vec<Case> {
    let answer = |client| {
        tcp(
            Packet::bare(),
            (ORIGIN4, ORIGIN_PORT),
            (client, CLIENT_PORT),
        )
    };
    let answered = |frame, client| tcp(frame, (VIP4, VIP_PORT), (client, CLIENT_PORT)).ttl(63);
    let to = |sentence: &str, client| {
        given(sentence, world(ORIGIN4, TCP, 0), answer(client)).by_device()
    };
    vec![
        to(
            "An answer leaves by the interface that the route says.",
            "192.0.3.10",
        )
        .sends(
            Reason::ReplyNatTunnel,
            answered(Packet::eth(NODE_MAC_1, ROUTER_MAC_1), "192.0.3.10"),
        )
        .redirected_to(ETH1)
        .through(SLOT),
        given(
            "An answer leaves by a VLAN device itself, which puts its tag on.",
            world(ORIGIN4, TCP, 0).vlan(Tags::one(42, false)),
            answer("192.0.3.10"),
        )
        .by_device()
        .sends(
            Reason::ReplyNatTunnel,
            answered(Packet::eth(NODE_MAC_1, ROUTER_MAC_1), "192.0.3.10"),
        )
        .redirected_to(ETH1)
        .through(SLOT),
        to(
            "Where the next hop's MAC address is not known, the kernel finds it as it sends.",
            "192.0.4.10",
        )
        .sends(
            Reason::ReplyNatTunnel,
            answered(Packet::eth([0; 6], [0; 6]), "192.0.4.10"),
        )
        .redirected_to(ETH0)
        .through(SLOT),
        to(
            "An answer to a client that no route leads to is dropped.",
            "192.0.5.10",
        )
        .ends(Reason::NoReplyRoute),
        to(
            "An answer to an address of the node's is left to the kernel.",
            "192.0.7.10",
        )
        .ends(Reason::ReplyToNode),
        given(
            "An answer larger than the route allows is dropped.",
            world(ORIGIN4, TCP, 0),
            answer("192.0.8.10").payload(&[0; 1300]),
        )
        .by_device()
        .ends(Reason::TooBig),
        given(
            "Where the uplink does not forward, an answer is left to the kernel.",
            world(ORIGIN4, TCP, 0).but(|tables| {
                if let Some(node) = &mut tables.node {
                    node.uplink = ETH2;
                }
            }),
            answer("192.0.9.10"),
        )
        .by_device()
        .ends(Reason::ReplyNoForwarding),
    ]
}

/// ICMP errors, both ways.
fn errors() -> Vec<Case> {
    let mut cases = Vec::new();
    for (origin, version) in [(ORIGIN4, 4), (ORIGIN6, 6)] {
        let client = (client_like(origin), CLIENT_PORT);
        let vip = (vip_like(origin), VIP_PORT);
        let behind = (origin, ORIGIN_PORT);
        let (router, gateway) = if version == 4 {
            ("192.0.2.254", "10.0.0.254")
        } else {
            ("2001:db8:c0::fe", "fd00::fe")
        };
        // Destination unreachable, port.
        let error = |frame: Packet, from: &str, to: &str| {
            let frame = frame.ip(from, to);
            if version == 4 {
                frame.icmp(3, 3, 0)
            } else {
                frame.icmp(1, 4, 0)
            }
        };
        cases.push(
            given(
                format!(
                    "An ICMP error about an answer over IPv{version} is handed over to the device."
                ),
                world(origin, UDP, 0),
                error(from_router(), router, vip.0)
                    .quote(&udp(Packet::bare(), vip, client).payload(b"quoted"), 64),
            )
            .sends(
                Reason::ForwardError,
                error(handed_over(), router, origin)
                    .ttl(63)
                    .quote(&udp(Packet::bare(), behind, client).payload(b"quoted"), 64),
            )
            .handed_over_to(DEVICE, false)
            .through(SLOT),
        );
        cases.push(
            given(
                format!("An ICMP error about a request over IPv{version} is sent to the client as the VIP's."),
                world(origin, UDP, 0),
                error(Packet::bare(), gateway, client.0)
                    .quote(&udp(Packet::bare(), client, behind).payload(b"quoted"), 64),
            )
            .by_device()
            .sends(
                Reason::ReplyError,
                error(to_router(), vip.0, client.0)
                    .ttl(63)
                    .quote(&udp(Packet::bare(), client, vip).payload(b"quoted"), 64),
            )
            .redirected_to(ETH0)
            .through(SLOT),
        );
    }
    cases
}
