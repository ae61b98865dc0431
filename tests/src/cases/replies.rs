//! Answers of origins reached by NAT, on their way back to clients.

use lbxdp_ebpf::abi::{
    Encapsulation, NODE_LOCAL_REPLIES, PATH_GRE_CHECKSUM, PATH_GRE_KEY, PATH_INNER_ETHERNET,
    PATH_RESOLVED, PATH_UDP_CHECKSUM, Tags, VnetId,
};
use lbxdp_ebpf::verdict::Reason;

use super::tunnel::{INNER_FAR_MAC, INNER_NODE_MAC, INNER_NODE4, KINDS, Tunnel};
use super::world::{
    BLUE, CLIENT_PORT, CLIENT4, CLIENT6, ETH0, ETH1, ETH2, GREEN, NODE_MAC_1, ORIGIN_PORT, ORIGIN4,
    ORIGIN6, ROUTER_MAC_1, TCP, UDP, VIP_PORT, VIP4, VIP6, World, client_like, from_hop,
    from_router, inside, local, nat, plain, to_hop, to_router, vip_like,
};
use super::{Case, given, theme};
use crate::packet::{Packet, number};

/// An origin of the node's own network answers for a VIP.
fn own(protocol: u8, origin: &str) -> World {
    let vip = local(protocol, vip_like(origin), VIP_PORT);
    World::new()
        .serve(vip, &[nat(origin, ORIGIN_PORT, VnetId::LOCAL, plain())])
        .answers(local(protocol, origin, ORIGIN_PORT), vip)
}

/// An origin of a VNet answers for a VIP.
fn behind(tunnel: &Tunnel, protocol: u8, origin: &str) -> World {
    let vip = local(protocol, vip_like(origin), VIP_PORT);
    World::new()
        .serve(vip, &[nat(origin, ORIGIN_PORT, BLUE, tunnel.path())])
        .answers(inside(BLUE, protocol, origin, ORIGIN_PORT), vip)
        .tunnel(tunnel, BLUE)
}

/// What the origin sends to a client.
fn answer(origin: &str, client: &str) -> Packet {
    from_hop()
        .ip(origin, client)
        .tcp(ORIGIN_PORT, CLIENT_PORT)
        .payload(b"200 OK")
}

/// What the client gets.
fn answered(origin: &str, client: &str) -> Packet {
    to_router()
        .ip(vip_like(origin), client)
        .ttl(63)
        .tcp(VIP_PORT, CLIENT_PORT)
        .payload(b"200 OK")
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = plain_replies();
    cases.extend(routes());
    cases.extend(through_tunnels());
    cases.extend(peculiar_packets());
    cases.extend(clients_in_vnets());
    theme("replies", cases)
}

fn plain_replies() -> Vec<Case> {
    let mut cases = Vec::new();
    for origin in [ORIGIN4, ORIGIN6] {
        let client = client_like(origin);
        cases.push(
            given(
                format!("The answer of {origin} by TCP leaves with the VIP as its source."),
                own(TCP, origin),
                answer(origin, client),
            )
            .sends(Reason::ReplyNat, answered(origin, client)),
        );
        let datagram = |frame: Packet, from, ttl, port| {
            frame
                .ip(from, client)
                .ttl(ttl)
                .udp(port, CLIENT_PORT)
                .payload(b"odd")
        };
        cases.push(
            given(
                format!("The answer of {origin} by UDP leaves with the VIP as its source."),
                own(UDP, origin),
                datagram(from_hop(), origin, 64, ORIGIN_PORT),
            )
            .sends(
                Reason::ReplyNat,
                datagram(to_router(), vip_like(origin), 63, VIP_PORT),
            ),
        );
        let last = |packet: Packet| packet.ttl(1);
        cases.push(
            given(
                format!("The answer of {origin} with its last hop used up goes no further."),
                own(TCP, origin),
                last(answer(origin, client)),
            )
            .ends(Reason::TtlExpired),
        );
    }
    cases.push(
        given(
            "An answer behind VLAN tags leaves without them.",
            own(TCP, ORIGIN4),
            from_hop()
                .service_vlan(5)
                .vlan(6)
                .ipv4(ORIGIN4, CLIENT4)
                .tcp(ORIGIN_PORT, CLIENT_PORT)
                .payload(b"200 OK"),
        )
        .sends(Reason::ReplyNat, answered(ORIGIN4, CLIENT4)),
    );
    cases.push(
        given(
            "Another port of an origin answers for nothing.",
            own(TCP, ORIGIN4),
            from_hop().ipv4(ORIGIN4, CLIENT4).tcp(22, CLIENT_PORT),
        )
        .ends(Reason::NoListener),
    );
    cases.push(
        given(
            "An answer by the other protocol is none.",
            own(TCP, ORIGIN4),
            from_hop()
                .ipv4(ORIGIN4, CLIENT4)
                .udp(ORIGIN_PORT, CLIENT_PORT),
        )
        .ends(Reason::NoListener),
    );
    cases.push(
        given(
            "Where no origin of the node's own network answers, none is looked for.",
            own(TCP, ORIGIN4).but(|tables| {
                tables.node.as_mut().expect("settings").flags &= !NODE_LOCAL_REPLIES;
            }),
            answer(ORIGIN4, CLIENT4),
        )
        .ends(Reason::NoListener),
    );
    cases.push(
        given(
            "An origin that asks a VIP is a client.",
            own(TCP, ORIGIN4),
            from_hop().ipv4(ORIGIN4, VIP4).tcp(ORIGIN_PORT, VIP_PORT),
        )
        .sends(
            Reason::ForwardNat,
            to_hop()
                .ipv4(ORIGIN4, ORIGIN4)
                .ttl(63)
                .tcp(ORIGIN_PORT, ORIGIN_PORT),
        ),
    );
    cases
}

/// Each answer that the node's routes may give.
fn routes() -> Vec<Case> {
    let via_eth1 = |origin: &str, client: &str| {
        Packet::eth(NODE_MAC_1, ROUTER_MAC_1)
            .ip(vip_like(origin), client)
            .ttl(63)
            .tcp(VIP_PORT, CLIENT_PORT)
            .payload(b"200 OK")
    };
    // The hop is the kernel's to take, so it is not taken here.
    let for_the_kernel = |origin: &str, client: &str| {
        from_hop()
            .ip(vip_like(origin), client)
            .tcp(VIP_PORT, CLIENT_PORT)
            .payload(b"200 OK")
    };
    let mut cases = Vec::new();
    for (origin, clients) in [
        (
            ORIGIN4,
            [
                "192.0.3.1",
                "192.0.4.1",
                "192.0.5.1",
                "192.0.7.1",
                "192.0.9.1",
            ],
        ),
        (
            ORIGIN6,
            [
                "2001:db8:c1::1",
                "2001:db8:c2::1",
                "2001:db8:c3::1",
                "2001:db8:c5::1",
                "2001:db8:c7::1",
            ],
        ),
    ] {
        let [eth1, neighbour, unreachable, node, off] = clients;
        let tunnel = Tunnel::over_v4(Encapsulation::Vxlan);
        let tunnelled = |client| tunnel.arrive(from_hop(), &answer(origin, client));
        cases.extend([
            given(
                format!("The answer to {eth1}, behind another interface, is redirected there."),
                own(TCP, origin),
                answer(origin, eth1),
            )
            .sends(Reason::ReplyNat, via_eth1(origin, eth1))
            .redirected_to(ETH1),
            given(
                format!("The answer to {eth1} that came by that interface is transmitted."),
                own(TCP, origin),
                answer(origin, eth1),
            )
            .ingress(ETH1)
            .sends(Reason::ReplyNat, via_eth1(origin, eth1)),
            given(
                format!("The answer to {neighbour}, whose next hop has no MAC address yet, is translated for the kernel to send."),
                own(TCP, origin),
                answer(origin, neighbour),
            )
            .sends(Reason::ReplyNoNeighbour, for_the_kernel(origin, neighbour))
            .left_to_the_kernel(),
            given(
                format!("The answer to {eth1} by a VLAN device is tagged and leaves by the interface below."),
                own(TCP, origin).vlan(Tags::one(42, false)),
                answer(origin, eth1),
            )
            .sends(
                Reason::ReplyNat,
                Packet::eth(NODE_MAC_1, ROUTER_MAC_1)
                    .vlan(42)
                    .ip(vip_like(origin), eth1)
                    .ttl(63)
                    .tcp(VIP_PORT, CLIENT_PORT)
                    .payload(b"200 OK"),
            ),
            given(
                format!("The answer to {eth1} by a VLAN in a VLAN gets both tags."),
                own(TCP, origin).vlan(Tags::one(42, false).behind(Tags::one(7, true))),
                answer(origin, eth1),
            )
            .sends(
                Reason::ReplyNat,
                Packet::eth(NODE_MAC_1, ROUTER_MAC_1)
                    .service_vlan(7)
                    .vlan(42)
                    .ip(vip_like(origin), eth1)
                    .ttl(63)
                    .tcp(VIP_PORT, CLIENT_PORT)
                    .payload(b"200 OK"),
            ),
            given(
                format!("The answer to {neighbour} keeps both VLAN tags on the way to the kernel."),
                own(TCP, origin),
                from_hop()
                    .service_vlan(5)
                    .vlan(6)
                    .ip(origin, neighbour)
                    .tcp(ORIGIN_PORT, CLIENT_PORT),
            )
            .sends(
                Reason::ReplyNoNeighbour,
                from_hop()
                    .service_vlan(5)
                    .vlan(6)
                    .ip(vip_like(origin), neighbour)
                    .tcp(VIP_PORT, CLIENT_PORT),
            )
            .left_to_the_kernel(),
            given(
                format!("The answer to {neighbour} keeps its VLAN tag on the way to the kernel."),
                own(TCP, origin),
                from_hop()
                    .vlan(5)
                    .ip(origin, neighbour)
                    .tcp(ORIGIN_PORT, CLIENT_PORT),
            )
            .sends(
                Reason::ReplyNoNeighbour,
                from_hop()
                    .vlan(5)
                    .ip(vip_like(origin), neighbour)
                    .tcp(VIP_PORT, CLIENT_PORT),
            )
            .left_to_the_kernel(),
            given(
                format!("The answer to {unreachable}, to which no route leads, goes nowhere."),
                own(TCP, origin),
                answer(origin, unreachable),
            )
            .ends(Reason::NoReplyRoute),
            given(
                format!("The answer to {node}, which is the node itself, is the node's."),
                own(TCP, origin),
                answer(origin, node),
            )
            .ends(Reason::ReplyToNode),
            given(
                format!("The answer to {node}, the node itself, is the node's with its last hop too."),
                own(TCP, origin),
                answer(origin, node).ttl(1),
            )
            .ends(Reason::ReplyToNode),
            given(
                format!("The answer to {off} by an interface that does not forward is the kernel's."),
                own(TCP, origin),
                answer(origin, off),
            )
            .ingress(ETH2)
            .ends(Reason::ReplyNoForwarding),
            given(
                format!("The answer to {eth1} out of a tunnel leaves by another interface."),
                behind(&tunnel, TCP, origin),
                tunnelled(eth1),
            )
            .sends(Reason::ReplyNatTunnel, via_eth1(origin, eth1))
            .redirected_to(ETH1)
            .through(3),
            given(
                format!("The answer to {unreachable} out of a tunnel goes nowhere."),
                behind(&tunnel, TCP, origin),
                tunnelled(unreachable),
            )
            .ends(Reason::NoReplyRoute),
            given(
                format!("The answer to {node}, the node itself, stays in its tunnel packet."),
                behind(&tunnel, TCP, origin),
                tunnelled(node),
            )
            .ends(Reason::ReplyToNode),
            given(
                format!("The answer to {neighbour} out of a tunnel is taken out and translated for the kernel to send."),
                behind(&tunnel, TCP, origin),
                tunnelled(neighbour),
            )
            .sends(Reason::ReplyNoNeighbour, for_the_kernel(origin, neighbour))
            .left_to_the_kernel()
            .through(3),
        ]);
    }
    cases
}

fn through_tunnels() -> Vec<Case> {
    let mut tunnels = Vec::new();
    for kind in KINDS {
        tunnels.extend(Tunnel::both(kind).map(|tunnel| (tunnel.name(), tunnel)));
    }
    for tunnel in Tunnel::both(Encapsulation::Geneve) {
        let tunnel = tunnel.with(PATH_INNER_ETHERNET);
        tunnels.push((format!("{} with Ethernet", tunnel.name()), tunnel));
    }
    let gre = || Tunnel::over_v4(Encapsulation::Gre);
    let vxlan = || Tunnel::over_v6(Encapsulation::Vxlan);
    tunnels.extend([
        ("GRE with a key".to_owned(), gre().with(PATH_GRE_KEY).vni(9)),
        (
            "GRE with a checksum".to_owned(),
            gre().with(PATH_GRE_CHECKSUM),
        ),
        (
            "GRE with key and checksum".to_owned(),
            gre().with(PATH_GRE_KEY | PATH_GRE_CHECKSUM).vni(9),
        ),
        (
            "VXLAN with a UDP checksum".to_owned(),
            vxlan().with(PATH_UDP_CHECKSUM),
        ),
        (
            "VXLAN at another port".to_owned(),
            vxlan().at_port(number::PORT_VXLAN_OLD),
        ),
    ]);
    let mut cases = Vec::new();
    for (name, tunnel) in tunnels {
        for origin in [ORIGIN4, ORIGIN6] {
            let client = client_like(origin);
            cases.push(
                given(
                    format!("The answer of {origin} comes out of {name} and goes to the client."),
                    behind(&tunnel, TCP, origin),
                    tunnel.arrive(from_hop(), &answer(origin, client)),
                )
                .sends(Reason::ReplyNatTunnel, answered(origin, client))
                .through(3),
            );
        }
    }
    cases
}

/// What other implementations may put into tunnel packets.
fn peculiar_packets() -> Vec<Case> {
    let gre = Tunnel::over_v4(Encapsulation::Gre);
    let gue = Tunnel::over_v4(Encapsulation::Gue);
    let vxlan = Tunnel::over_v4(Encapsulation::Vxlan);
    let geneve = Tunnel::over_v4(Encapsulation::Geneve);
    let inner = || answer(ORIGIN4, CLIENT4);
    let outer = |tunnel: &Tunnel| from_hop().ipv4(tunnel.remote, tunnel.local);
    let out = || answered(ORIGIN4, CLIENT4);
    let bare = || {
        from_hop()
            .ipv4(ORIGIN4, CLIENT4)
            .tcp(ORIGIN_PORT, CLIENT_PORT)
    };
    let replies = |sentence: &str, tunnel: &Tunnel, packet: Packet, out: Packet| {
        given(sentence, behind(tunnel, TCP, ORIGIN4), packet)
            .sends(Reason::ReplyNatTunnel, out)
            .through(3)
    };
    vec![
        replies(
            "GRE with a sequence number is understood.",
            &gre,
            outer(&gre).gre().sequence(7).ip_of(&inner()),
            out(),
        ),
        replies(
            "An outer header with options is understood.",
            &gre,
            outer(&gre).options(&[0x94, 4, 0, 0]).gre().ip_of(&inner()),
            out(),
        ),
        replies(
            "A tunnel packet behind a VLAN tag is understood.",
            &gre,
            from_hop()
                .vlan(5)
                .ipv4(gre.remote, gre.local)
                .gre()
                .ip_of(&inner()),
            out(),
        ),
        replies(
            "GUE with an optional field that no flag claims is understood.",
            &gue,
            outer(&gue)
                .udp(50_000, number::PORT_GUE)
                .gue()
                .gue_fields(0, &[0; 4])
                .ip_of(&inner()),
            out(),
        ),
        replies(
            "VXLAN with a UDP checksum is understood where none is sent.",
            &vxlan,
            outer(&vxlan)
                .udp(50_000, number::PORT_VXLAN)
                .vxlan(100)
                .inner_eth(INNER_FAR_MAC, INNER_NODE_MAC)
                .ip_of(&inner()),
            out(),
        ),
        replies(
            "GENEVE with options is understood, and the options end here.",
            &geneve,
            outer(&geneve)
                .udp(50_000, number::PORT_GENEVE)
                .geneve(100)
                .geneve_options(&[1, 2, 3, 1, 0, 0, 0, 0])
                .ip_of(&inner()),
            out(),
        ),
        replies(
            "GENEVE with all the options there can be is understood.",
            &geneve,
            outer(&geneve)
                .udp(50_000, number::PORT_GENEVE)
                .geneve(100)
                .geneve_options(&[0; 252])
                .ip_of(&inner()),
            out(),
        ),
        replies(
            "GENEVE with Ethernet inside is understood where bare IP is sent.",
            &geneve,
            outer(&geneve)
                .udp(50_000, number::PORT_GENEVE)
                .geneve(100)
                .inner_eth(INNER_FAR_MAC, INNER_NODE_MAC)
                .ip_of(&inner()),
            out(),
        ),
        replies(
            "Padding of the inner Ethernet frame is no part of the answer, and stays behind it.",
            &vxlan,
            vxlan.arrive(from_hop(), &padded(bare())),
            to_router()
                .ipv4(VIP4, CLIENT4)
                .ttl(63)
                .tcp(VIP_PORT, CLIENT_PORT)
                .trailer(&[0; 6]),
        ),
        replies(
            "An inner header with options is followed to its ports.",
            &vxlan,
            vxlan.arrive(
                from_hop(),
                &from_hop()
                    .ipv4(ORIGIN4, CLIENT4)
                    .options(&[0x94, 4, 0, 0])
                    .tcp(ORIGIN_PORT, CLIENT_PORT),
            ),
            to_router()
                .ipv4(VIP4, CLIENT4)
                .ttl(63)
                .options(&[0x94, 4, 0, 0])
                .tcp(VIP_PORT, CLIENT_PORT),
        ),
    ]
}

/// The packet, of IPv4 and TCP without payload, in front of six bytes that it does not count.
fn padded(packet: Packet) -> Packet {
    let frame = packet.bytes();
    let checksum = u16::from_be_bytes([frame[50], frame[51]]);
    packet.checksum(checksum).length(40).payload(&[0; 6])
}

/// Listeners inside VNets, and clients that are reached through tunnels.
fn clients_in_vnets() -> Vec<Case> {
    let blue = Tunnel::over_v4(Encapsulation::Vxlan);
    let near = Tunnel::between(Encapsulation::Gre, "203.0.113.1", "203.0.113.9").slot(9);
    let listener = inside(BLUE, TCP, VIP4, VIP_PORT);
    let world = || {
        World::new()
            .serve(
                listener,
                &[nat(ORIGIN4, ORIGIN_PORT, VnetId::LOCAL, plain())],
            )
            .answers(local(TCP, ORIGIN4, ORIGIN_PORT), listener)
            .tunnel(&blue, BLUE)
            .tunnel(&near, BLUE)
            .route(BLUE, "10.0.0.0", 8, 3)
            .route(BLUE, "10.7.0.0", 16, 9)
            .route(GREEN, "10.0.0.0", 8, 9)
    };
    let to_client = |ttl, client: &str| {
        to_hop()
            .ipv4(VIP4, client)
            .ttl(ttl)
            .tcp(VIP_PORT, CLIENT_PORT)
            .payload(b"200 OK")
    };
    let request = from_router()
        .ipv4("10.1.2.3", VIP4)
        .tcp(CLIENT_PORT, VIP_PORT)
        .payload(b"GET /");
    let green = Tunnel::between(Encapsulation::IpIp, "203.0.113.1", "203.0.113.8").slot(8);
    vec![
        given(
            "A client of a VNet asks the VNet's listener through its tunnel.",
            world(),
            blue.arrive(from_hop(), &request),
        )
        .sends(
            Reason::ForwardNat,
            to_hop()
                .ipv4("10.1.2.3", ORIGIN4)
                .ttl(63)
                .tcp(CLIENT_PORT, ORIGIN_PORT)
                .payload(b"GET /"),
        )
        .through(3),
        given(
            "The answer to a client of a VNet goes into the tunnel that leads there.",
            world(),
            answer(ORIGIN4, "10.1.2.3"),
        )
        .sends(
            Reason::ReplyNat,
            blue.wrap(to_hop(), &to_client(63, "10.1.2.3")),
        )
        .through(3),
        given(
            "Of two prefixes the longer one leads to the client.",
            world(),
            answer(ORIGIN4, "10.7.2.3"),
        )
        .sends(
            Reason::ReplyNat,
            near.wrap(to_hop(), &to_client(63, "10.7.2.3")),
        )
        .through(9),
        given(
            "A client of a VNet to which no prefix leads gets no answer.",
            world(),
            answer(ORIGIN4, "172.16.0.1"),
        )
        .ends(Reason::NoTunnelRoute),
        given(
            "A prefix that names a tunnel which is gone leads nowhere.",
            world().but(|tables| {
                tables.tunnels.remove(&3);
            }),
            answer(ORIGIN4, "10.1.2.3"),
        )
        .ends(Reason::NoTunnelRoute),
        given(
            "An answer to a client whose tunnel is not resolved goes nowhere.",
            world().but(|tables| {
                tables.tunnels.get_mut(&3).expect("tunnel 3").flags &= !PATH_RESOLVED;
            }),
            answer(ORIGIN4, "10.1.2.3"),
        )
        .ends(Reason::NoNextHop),
        given(
            "An answer that comes by another interface is redirected to the tunnel's.",
            world(),
            answer(ORIGIN4, "10.1.2.3"),
        )
        .ingress(ETH1)
        .sends(
            Reason::ReplyNat,
            blue.wrap(to_hop(), &to_client(63, "10.1.2.3")),
        )
        .through(3)
        .redirected_to(ETH0),
        given(
            "From tunnel to tunnel: a client of one VNet, an origin of another; the request.",
            World::new()
                .serve(listener, &[nat(ORIGIN4, ORIGIN_PORT, GREEN, green.path())])
                .tunnel(&blue, BLUE)
                .tunnel(&green, GREEN),
            blue.arrive(from_hop(), &request),
        )
        .sends(
            Reason::ForwardNatTunnel,
            green.wrap(
                to_hop(),
                &to_hop()
                    .ipv4("10.1.2.3", ORIGIN4)
                    .ttl(63)
                    .tcp(CLIENT_PORT, ORIGIN_PORT)
                    .payload(b"GET /"),
            ),
        )
        .through(8),
        given(
            "From tunnel to tunnel: the answer.",
            World::new()
                .serve(listener, &[nat(ORIGIN4, ORIGIN_PORT, GREEN, green.path())])
                .answers(inside(GREEN, TCP, ORIGIN4, ORIGIN_PORT), listener)
                .tunnel(&blue, BLUE)
                .tunnel(&green, GREEN)
                .route(BLUE, "0.0.0.0", 0, 3),
            green.arrive(from_hop(), &answer(ORIGIN4, "10.1.2.3")),
        )
        .sends(
            Reason::ReplyNatTunnel,
            blue.wrap(to_hop(), &to_client(63, "10.1.2.3")),
        )
        .through(8),
        given(
            "A VIP of the node's own network is not offered inside a VNet.",
            World::new()
                .serve(
                    local(TCP, VIP4, VIP_PORT),
                    &[nat(ORIGIN4, 0, VnetId::LOCAL, plain())],
                )
                .tunnel(&blue, BLUE),
            blue.arrive(from_hop(), &request),
        )
        .ends(Reason::TunnelOther),
        given(
            "A packet for the node's own address in a tunnel is the kernel's.",
            world(),
            blue.arrive(
                from_hop(),
                &from_hop()
                    .ipv4("10.255.0.2", INNER_NODE4)
                    .tcp(443, CLIENT_PORT),
            ),
        )
        .ends(Reason::TunnelOwn),
        given(
            "The answer of an origin to a probe from the node's own address is the kernel's.",
            behind(&blue, TCP, ORIGIN4),
            blue.arrive(from_hop(), &answer(ORIGIN4, INNER_NODE4)),
        )
        .ends(Reason::TunnelOwn),
        given(
            "A probe's ICMP answer in a tunnel is the kernel's.",
            world(),
            blue.arrive(
                from_hop(),
                &from_hop().ipv4("10.255.0.2", INNER_NODE4).echo(1),
            ),
        )
        .ends(Reason::TunnelOwn),
        given(
            "An IPv6 packet for the node's own address in a tunnel is the kernel's.",
            world(),
            blue.arrive(
                from_hop(),
                &from_hop()
                    .ipv6("fd00:255::2", super::tunnel::INNER_NODE6)
                    .echo(1),
            ),
        )
        .ends(Reason::TunnelOwn),
        given(
            "An answer for a VIP of the other IP version cannot be.",
            World::new().answers(local(TCP, ORIGIN4, ORIGIN_PORT), local(TCP, VIP6, VIP_PORT)),
            answer(ORIGIN4, CLIENT4),
        )
        .ends(Reason::FamilyMismatch),
        given(
            "An IPv6 answer for an IPv4 VIP cannot be.",
            World::new().answers(local(TCP, ORIGIN6, ORIGIN_PORT), local(TCP, VIP4, VIP_PORT)),
            answer(ORIGIN6, CLIENT6),
        )
        .ends(Reason::FamilyMismatch),
    ]
}
