//! Tunnel packets that are to be left alone: unknown peers, other tunnels' packets, features
//! that are not spoken, and addresses that only another VNet may use.

use lbxdp_ebpf::abi::{Encapsulation, PATH_GRE_KEY};
use lbxdp_ebpf::verdict::Reason;

use super::tunnel::{INNER_FAR_MAC, INNER_NODE_MAC, KINDS, Tunnel};
use super::world::{
    BLUE, CLIENT_PORT, CLIENT4, GREEN, NODE4, ORIGIN_PORT, ORIGIN4, TCP, UDP, VIP_PORT, VIP4,
    World, from_hop, from_router, inside, local, nat, plain, to_hop,
};
use super::{Case, given, theme};
use crate::packet::{Packet, number};

/// An origin of VNet blue answers for a VIP through this tunnel.
fn world(tunnel: &Tunnel) -> World {
    let vip = local(TCP, VIP4, VIP_PORT);
    World::new()
        .serve(vip, &[nat(ORIGIN4, ORIGIN_PORT, BLUE, tunnel.path())])
        .answers(inside(BLUE, TCP, ORIGIN4, ORIGIN_PORT), vip)
        .tunnel(tunnel, BLUE)
}

fn answer() -> Packet {
    from_hop()
        .ipv4(ORIGIN4, CLIENT4)
        .tcp(ORIGIN_PORT, CLIENT_PORT)
        .payload(b"200 OK")
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = peers();
    cases.extend(features());
    cases.extend(isolation());
    cases.extend(inner_forms());
    theme("strangers", cases)
}

fn peers() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in KINDS {
        for tunnel in Tunnel::both(kind) {
            let (wrong_source, wrong_destination) = if tunnel.is_over_v6() {
                ("2001:db8:113::66", "2001:db8:113::67")
            } else {
                ("203.0.113.66", "203.0.113.67")
            };
            cases.push(
                given(
                    format!("{} from another source is not known.", tunnel.name()),
                    world(&tunnel),
                    tunnel.arrive_from(from_hop(), wrong_source, tunnel.local, &answer()),
                )
                .ends(Reason::UnknownPeer),
            );
            cases.push(
                given(
                    format!("{} to another destination is not known.", tunnel.name()),
                    world(&tunnel),
                    tunnel.arrive_from(from_hop(), tunnel.remote, wrong_destination, &answer()),
                )
                .ends(Reason::UnknownPeer),
            );
        }
    }
    let vxlan = Tunnel::over_v4(Encapsulation::Vxlan);
    let geneve = Tunnel::over_v4(Encapsulation::Geneve);
    let keyed = Tunnel::over_v4(Encapsulation::Gre)
        .with(PATH_GRE_KEY)
        .vni(5);
    let gre = Tunnel::over_v4(Encapsulation::Gre);
    let gue = Tunnel::over_v4(Encapsulation::Gue);
    let sent = |tunnel: Tunnel| tunnel.arrive(from_hop(), &answer());
    let unknown = [
        (
            "VXLAN with another VNI",
            &vxlan,
            sent(vxlan.clone().vni(101)),
        ),
        ("VXLAN with VNI 0", &vxlan, sent(vxlan.clone().vni(0))),
        (
            "GENEVE with another VNI",
            &geneve,
            sent(geneve.clone().vni(101)),
        ),
        ("GRE with another key", &keyed, sent(keyed.clone().vni(6))),
        ("GRE without the key", &keyed, sent(gre.clone())),
        (
            "GRE with a key that is not asked for",
            &gre,
            sent(keyed.clone()),
        ),
        (
            "GENEVE at the port of VXLAN",
            &vxlan,
            sent(geneve.clone().at_port(number::PORT_VXLAN)),
        ),
        (
            "GUE at the port of VXLAN",
            &vxlan,
            sent(gue.clone().at_port(number::PORT_VXLAN)),
        ),
        ("IPIP from the peer of a GRE tunnel", &gre, {
            sent(Tunnel::over_v4(Encapsulation::IpIp))
        }),
    ];
    for (what, tunnel, packet) in unknown {
        cases.push(
            given(format!("{what} is not known."), world(tunnel), packet).ends(Reason::UnknownPeer),
        );
    }
    cases.push(
        given(
            "VXLAN at a port where no tunnel receives is a UDP packet like any other.",
            world(&vxlan),
            vxlan.clone().at_port(4790).arrive(from_hop(), &answer()),
        )
        .ends(Reason::NoListener),
    );
    cases.push(
        given(
            "A listener at a tunnel's port gets what does not come from a peer.",
            World::new()
                .serve(
                    local(UDP, NODE4, 14_789),
                    &[nat(ORIGIN4, 0, Default::default(), plain())],
                )
                .tunnel(&vxlan.clone().at_port(14_789), BLUE),
            from_router()
                .ipv4(CLIENT4, NODE4)
                .udp(50_000, 14_789)
                .payload(b"?"),
        )
        .sends(
            Reason::ForwardNat,
            to_hop()
                .ipv4(CLIENT4, ORIGIN4)
                .ttl(63)
                .udp(50_000, 14_789)
                .payload(b"?"),
        ),
    );
    cases
}

/// Features of the encapsulations that change what follows, from a known peer.
fn features() -> Vec<Case> {
    let gre = Tunnel::over_v4(Encapsulation::Gre);
    let gue = Tunnel::over_v4(Encapsulation::Gue);
    let vxlan = Tunnel::over_v4(Encapsulation::Vxlan);
    let geneve = Tunnel::over_v4(Encapsulation::Geneve);
    let outer = |tunnel: &Tunnel| from_hop().ipv4(tunnel.remote, tunnel.local);
    let udp = |tunnel: &Tunnel| outer(tunnel).udp(50_000, tunnel.udp_port);
    let ethernet = |packet: Packet| {
        packet
            .inner_eth(INNER_FAR_MAC, INNER_NODE_MAC)
            .ip_of(&answer())
    };
    let mut cases = Vec::new();
    for (what, packet) in [
        (
            "GRE of version 1 (PPTP)",
            outer(&gre)
                .gre()
                .gre_reserved(1)
                .gre_protocol(0x880b)
                .payload(&[0; 20]),
        ),
        (
            "GRE with a routing field (RFC 1701)",
            outer(&gre).gre().gre_reserved(0x4000).ip_of(&answer()),
        ),
        (
            "GRE with reserved bits set",
            outer(&gre).gre().gre_reserved(0x0400).ip_of(&answer()),
        ),
        ("GRE that carries Ethernet", ethernet(outer(&gre).gre())),
        (
            "GRE that carries MPLS",
            outer(&gre).gre().gre_protocol(0x8847).payload(&[0; 40]),
        ),
    ] {
        cases.push(
            given(
                format!("{what} is not spoken: the kernel's."),
                world(&gre),
                packet,
            )
            .ends(Reason::OtherProtocol),
        );
    }
    for (what, tunnel, packet) in [
        (
            "A GUE control message",
            &gue,
            udp(&gue)
                .gue()
                .gue_first(0x20)
                .gue_protocol(1)
                .payload(&[0; 40]),
        ),
        ("GUE with remote checksum offload", &gue, {
            udp(&gue).gue().gue_fields(0x0100, &[0; 4]).ip_of(&answer())
        }),
        ("GUE that carries TCP", &gue, {
            udp(&gue).gue().gue_protocol(number::TCP).payload(&[0; 40])
        }),
        (
            "GUE of version 2",
            &gue,
            udp(&gue).gue().gue_first(0x80).ip_of(&answer()),
        ),
        (
            "VXLAN without a VNI",
            &vxlan,
            ethernet(udp(&vxlan).vxlan(100).vxlan_flags(0)),
        ),
        ("VXLAN with a flag of an extension", &vxlan, {
            ethernet(udp(&vxlan).vxlan(100).vxlan_flags(0x0c))
        }),
        ("A GENEVE control message", &geneve, {
            udp(&geneve).geneve(100).geneve_flags(0x80).ip_of(&answer())
        }),
        ("GENEVE with a critical option", &geneve, {
            udp(&geneve)
                .geneve(100)
                .geneve_flags(0x40)
                .geneve_options(&[1, 2, 0x83, 1, 0, 0, 0, 0])
                .ip_of(&answer())
        }),
        ("GENEVE of version 1", &geneve, {
            udp(&geneve).geneve(100).geneve_version(1).ip_of(&answer())
        }),
        (
            "A tunnel packet whose UDP header is all there is",
            &vxlan,
            udp(&vxlan),
        ),
        (
            "A tunnel packet that ends in its VXLAN header",
            &vxlan,
            udp(&vxlan).payload(&[8, 0, 0, 0]),
        ),
    ] {
        cases.push(
            given(format!("{what} is the kernel's."), world(tunnel), packet)
                .ends(Reason::NoListener),
        );
    }
    cases
}

fn isolation() -> Vec<Case> {
    let blue = Tunnel::over_v4(Encapsulation::Vxlan);
    let green = Tunnel::between(Encapsulation::Vxlan, NODE4, "203.0.113.3")
        .slot(4)
        .vni(200);
    let both = || world(&blue).tunnel(&green, GREEN);
    let nested = Tunnel::between(Encapsulation::Gre, "10.255.0.1", "10.255.0.2").slot(5);
    vec![
        given(
            "An answer in the tunnel of another VNet is not the origin's, whatever its address.",
            both(),
            green.arrive(from_hop(), &answer()),
        )
        .ends(Reason::TunnelOther),
        given(
            "An answer outside of all tunnels is not the origin's, whatever its address.",
            both(),
            answer(),
        )
        .ends(Reason::NoListener),
        given(
            "A peer with the VNI of another is not known.",
            both(),
            Tunnel {
                vni: 100,
                ..green.clone()
            }
            .arrive(from_hop(), &answer()),
        )
        .ends(Reason::UnknownPeer),
        given(
            "A server of the VNet that is no origin may send what it likes to the node.",
            both(),
            blue.arrive(
                from_hop(),
                &from_hop().ipv4("10.0.0.99", CLIENT4).tcp(8080, 40_000),
            ),
        )
        .ends(Reason::TunnelOther),
        given(
            "A tunnel within a tunnel is not looked into.",
            both().tunnel(&nested, BLUE),
            blue.arrive(from_hop(), &nested.arrive(from_hop(), &answer())),
        )
        .ends(Reason::TunnelOwn),
        given(
            "A tunnel within a tunnel between others is not looked into.",
            both(),
            blue.arrive(
                from_hop(),
                &Tunnel::between(Encapsulation::Vxlan, "10.9.0.1", "10.9.0.2")
                    .arrive(from_hop(), &answer()),
            ),
        )
        .ends(Reason::TunnelOther),
        given(
            "The answer of an origin whose TTL is used up stays in its tunnel packet.",
            both(),
            blue.arrive(from_hop(), &answer().ttl(1)),
        )
        .ends(Reason::TtlExpired),
        given(
            "TTL 1 outside does not matter: the tunnel ends here.",
            both(),
            blue.arrive(from_hop(), &answer()).outer_ttl(1),
        )
        .sends(
            Reason::ReplyNatTunnel,
            super::world::to_router()
                .ipv4(VIP4, CLIENT4)
                .ttl(63)
                .tcp(VIP_PORT, CLIENT_PORT)
                .payload(b"200 OK"),
        )
        .through(3),
    ]
}

/// What may be wrong with the packet inside.
fn inner_forms() -> Vec<Case> {
    let blue = Tunnel::over_v4(Encapsulation::Vxlan);
    let gre = Tunnel::over_v4(Encapsulation::Gre);
    let ipip = Tunnel::over_v4(Encapsulation::IpIp);
    let inner = || from_hop().ipv4(ORIGIN4, CLIENT4);
    let ethernet = |packet: Packet| packet.inner_eth(INNER_FAR_MAC, INNER_NODE_MAC);
    let outer = || {
        from_hop()
            .ipv4(blue.remote, blue.local)
            .udp(50_000, 4789)
            .vxlan(100)
    };
    let ends = |sentence: &str, tunnel: &Tunnel, packet: Packet, reason: Reason| {
        given(sentence, world(tunnel), packet).ends(reason)
    };
    vec![
        ends(
            "ARP in a tunnel is the kernel's.",
            &blue,
            ethernet(outer())
                .ethertype(number::ETHERTYPE_ARP)
                .payload(&[0; 28]),
            Reason::TunnelOther,
        ),
        ends(
            "A tagged frame in a tunnel is the kernel's.",
            &blue,
            ethernet(outer()).vlan(5).ip_of(&answer()),
            Reason::TunnelOther,
        ),
        ends(
            "A tunnel packet that ends in its inner Ethernet header is the kernel's.",
            &blue,
            outer().payload(&[2; 13]),
            Reason::TunnelOther,
        ),
        ends(
            "A fragment in a tunnel is the kernel's.",
            &blue,
            blue.arrive(
                from_hop(),
                &inner().fragment(0x2001).tcp(ORIGIN_PORT, CLIENT_PORT),
            ),
            Reason::Fragment,
        ),
        ends(
            "A fragment of a tunnel packet is the kernel's.",
            &gre,
            from_hop()
                .ipv4(gre.remote, gre.local)
                .fragment(0x2000)
                .gre()
                .ip_of(&answer()),
            Reason::Fragment,
        ),
        ends(
            "ICMP to others in a tunnel is the kernel's.",
            &blue,
            blue.arrive(from_hop(), &inner().echo(1)),
            Reason::OtherProtocol,
        ),
        ends(
            "An inner packet that is longer than the outer one is cut off.",
            &blue,
            blue.arrive(
                from_hop(),
                &inner().length(200).tcp(ORIGIN_PORT, CLIENT_PORT),
            ),
            Reason::Truncated,
        ),
        ends(
            "An inner packet may not reach into the padding of the outer frame.",
            &ipip,
            ipip.arrive(
                from_hop(),
                &inner().length(46).tcp(ORIGIN_PORT, CLIENT_PORT),
            )
            .trailer(&[0; 6]),
            Reason::Truncated,
        ),
        ends(
            "An inner header of the wrong version is a contradiction.",
            &gre,
            gre.arrive(
                from_hop(),
                &inner().version(5).tcp(ORIGIN_PORT, CLIENT_PORT),
            ),
            Reason::Malformed,
        ),
        ends(
            "An inner IPv4 header of four words is a contradiction.",
            &gre,
            gre.arrive(from_hop(), &inner().ihl(4).tcp(ORIGIN_PORT, CLIENT_PORT)),
            Reason::Malformed,
        ),
        ends(
            "An inner packet that ends in its TCP ports is cut off.",
            &gre,
            gre.arrive(
                from_hop(),
                &inner().protocol(number::TCP).payload(&[0x1f, 0x90]),
            ),
            Reason::Truncated,
        ),
    ]
}
