//! Echo requests to VIPs.

use lbxdp_ebpf::abi::{
    Encapsulation, Listener, NODE_ECHO, PATH_RESOLVED, PATH_UDP_CHECKSUM, VnetId,
};
use lbxdp_ebpf::verdict::Reason;

use super::tunnel::{INNER_NODE4, Tunnel};
use super::world::{
    BLUE, CLIENT4, CLIENT6, GREEN, ROUTER_MAC, TCP, VIP4, VIP6, World, client_like, from_hop,
    from_router, inside, to_hop, to_router,
};
use super::{Case, given, theme};
use crate::packet::{Packet, number};

/// The node answers echo requests to both VIPs, in a VNet.
fn world(vnet: VnetId) -> World {
    World::new().but(|tables| {
        tables.node.as_mut().expect("settings").flags |= NODE_ECHO;
        for (vip, protocol) in [(VIP4, number::ICMP), (VIP6, number::ICMPV6)] {
            let vip = inside(vnet, protocol, vip, 0);
            tables.listeners.insert(vip, Listener::default());
        }
    })
}

fn own() -> World {
    world(VnetId::LOCAL)
}

fn ask(source: &str, vip: &str) -> Packet {
    from_router().ip(source, vip).ttl(7).echo(0x1234)
}

/// The reply to the request with this id.
fn reply(frame: Packet, vip: &str, client: &str, id: u16) -> Packet {
    let kind = if vip.contains(':') { 129 } else { 0 };
    frame.ip(vip, client).icmp(kind, 0, u32::from(id) << 16 | 1)
}

fn told(vip: &str) -> Packet {
    reply(to_router(), vip, client_like(vip), 0x1234)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = answered();
    cases.extend(left_alone());
    cases.extend(through_tunnels());
    theme("echo", cases)
}

fn answered() -> Vec<Case> {
    let answers = |sentence: String, packet: Packet, out: Packet| {
        given(sentence, own(), packet).answers(Reason::EchoAnswered, out)
    };
    let mut cases = Vec::new();
    for vip in [VIP4, VIP6] {
        let client = client_like(vip);
        for payload in [0, 1, 56, 1400] {
            let data = vec![0xa5; payload];
            cases.push(answers(
                format!("{vip} answers an echo request with {payload} bytes of data."),
                ask(client, vip).payload(&data),
                told(vip).payload(&data),
            ));
        }
        // Of which the checksums are at the edges of one's complement.
        for id in [0, 1, 0xf7fe, 0xf7ff, 0xfffe, 0xffff] {
            let mut told = reply(to_router(), vip, client, id);
            if vip == VIP4 && id == 0xfffe {
                // Instead of 0, to which it is the same.
                told = told.checksum(0xffff);
            }
            cases.push(answers(
                format!("{vip} answers the echo request {id:#06x} with a valid checksum."),
                from_router().ip(client, vip).echo(id),
                told,
            ));
        }
        cases.push(answers(
            format!("{vip} answers an echo request of the last hop."),
            from_router().ip(client, vip).ttl(1).echo(0x1234),
            told(vip),
        ));
        cases.push(answers(
            format!("The answer of {vip} has the VLAN tag of the request."),
            from_router().vlan(5).ip(client, vip).echo(0x1234),
            reply(to_router().vlan(5), vip, client, 0x1234),
        ));
        cases.push(answers(
            format!("The answer of {vip} has both VLAN tags of the request."),
            from_router()
                .service_vlan(5)
                .vlan(6)
                .ip(client, vip)
                .echo(0x1234),
            reply(to_router().service_vlan(5).vlan(6), vip, client, 0x1234),
        ));
        cases.push(answers(
            format!("Padding behind an echo request to {vip} stays where it is."),
            ask(client, vip).trailer(&[1, 2, 3]),
            told(vip).trailer(&[1, 2, 3]),
        ));
    }
    // The words of the reply are zeros but for the checksum, which is then 0xffff and not 0.
    cases.push(answers(
        "An echo request of nothing but zeros is answered with a valid checksum.".to_owned(),
        from_router()
            .ipv4(CLIENT4, VIP4)
            .icmp(8, 0, 0)
            .payload(&[0; 8]),
        to_router()
            .ipv4(VIP4, CLIENT4)
            .icmp(0, 0, 0)
            .payload(&[0; 8]),
    ));
    cases.push(answers(
        "The answer has the type of service and the identification of the request.".to_owned(),
        from_router()
            .ipv4(CLIENT4, VIP4)
            .tos(0x2e)
            .id(77)
            .may_fragment()
            .echo(9),
        to_router()
            .ipv4(VIP4, CLIENT4)
            .tos(0x2e)
            .id(77)
            .may_fragment()
            .icmp(0, 0, 9 << 16 | 1),
    ));
    cases.push(answers(
        "The answer has the traffic class and the flow label of the request.".to_owned(),
        from_router()
            .ipv6(CLIENT6, VIP6)
            .tos(0x2e)
            .flow_label(77)
            .echo(9),
        to_router()
            .ipv6(VIP6, CLIENT6)
            .tos(0x2e)
            .flow_label(77)
            .icmp(129, 0, 9 << 16 | 1),
    ));
    cases
}

fn left_alone() -> Vec<Case> {
    let passes =
        |sentence: &str, packet: Packet| given(sentence, own(), packet).ends(Reason::OtherProtocol);
    vec![
        given(
            "Where echo requests are not to be answered, none is.",
            own().but(|tables| {
                tables.node.as_mut().expect("settings").flags &= !NODE_ECHO;
            }),
            ask(CLIENT4, VIP4),
        )
        .ends(Reason::OtherProtocol),
        passes(
            "An echo request to another address is not ours.",
            ask(CLIENT4, "198.51.100.11"),
        ),
        passes(
            "An echo request to another address over IPv6 is not ours.",
            ask(CLIENT6, "2001:db8:100::11"),
        ),
        passes(
            "An echo reply to a VIP is not answered.",
            from_router().ipv4(CLIENT4, VIP4).icmp(0, 0, 1),
        ),
        passes(
            "A timestamp request to a VIP is not answered.",
            from_router().ipv4(CLIENT4, VIP4).icmp(13, 0, 1),
        ),
        passes(
            "An echo request with a code is not answered.",
            from_router().ipv4(CLIENT4, VIP4).icmp(8, 1, 1),
        ),
        passes(
            "A neighbour solicitation for a VIP is not answered.",
            from_router().ipv6(CLIENT6, VIP6).icmp(135, 0, 0),
        ),
        passes(
            "An echo request with IP options is left to the kernel.",
            from_router()
                .ipv4(CLIENT4, VIP4)
                .options(&[1, 1, 1, 0])
                .echo(9),
        ),
        passes(
            "An echo request with extension headers is left to the kernel.",
            from_router()
                .ipv6(CLIENT6, VIP6)
                .extension(number::DESTINATION_OPTIONS, 1)
                .echo(9),
        ),
        passes(
            "ICMPv6 over IPv4 is no echo request.",
            from_router()
                .ipv4(CLIENT4, VIP4)
                .protocol(number::ICMPV6)
                .icmp(128, 0, 9),
        ),
        passes(
            "ICMP over IPv6 is no echo request.",
            from_router()
                .ipv6(CLIENT6, VIP6)
                .protocol(number::ICMP)
                .icmp(8, 0, 9),
        ),
        passes(
            "Half an echo request is none.",
            from_router()
                .ipv4(CLIENT4, VIP4)
                .protocol(number::ICMP)
                .payload(&[8, 0, 0xf7, 0xff]),
        ),
        given(
            "A fragment of an echo request is left to the kernel.",
            own(),
            from_router().ipv4(CLIENT4, VIP4).fragment(0x2000).echo(9),
        )
        .ends(Reason::Fragment),
        passes(
            "An echo request from no host is not answered.",
            ask("224.0.0.1", VIP4),
        ),
        passes(
            "An echo request from nowhere is not answered.",
            ask("::", VIP6),
        ),
        passes(
            "An echo request to a group of hosts is not answered.",
            Packet::eth(ROUTER_MAC, [0xff; 6])
                .ipv4(CLIENT4, VIP4)
                .echo(9),
        ),
        given(
            "The address of a listener alone answers no echo requests.",
            own().but(|tables| {
                tables.listeners.clear();
                tables
                    .listeners
                    .insert(inside(VnetId::LOCAL, TCP, VIP4, 0), Listener::default());
            }),
            ask(CLIENT4, VIP4),
        )
        .ends(Reason::OtherProtocol),
    ]
}

fn through_tunnels() -> Vec<Case> {
    let mut cases = Vec::new();
    for tunnel in [
        Tunnel::over_v4(Encapsulation::IpIp),
        Tunnel::over_v6(Encapsulation::Gre),
        Tunnel::over_v6(Encapsulation::Vxlan).with(PATH_UDP_CHECKSUM),
    ] {
        for vip in [VIP4, VIP6] {
            let name = tunnel.name();
            let request = ask(client_like(vip), vip).payload(&[1; 57]);
            cases.push(
                given(
                    format!("{vip} of a VNet answers into {name}."),
                    world(BLUE).tunnel(&tunnel, BLUE),
                    tunnel.arrive(from_hop(), &request),
                )
                .answers(
                    Reason::EchoAnswered,
                    tunnel.wrap(to_hop(), &told(vip).payload(&[1; 57])),
                ),
            );
            cases.push(
                given(
                    format!("{vip} of another VNet does not answer into {name}."),
                    world(GREEN).tunnel(&tunnel, BLUE),
                    tunnel.arrive(from_hop(), &request),
                )
                .ends(Reason::OtherProtocol),
            );
        }
    }
    let vxlan = Tunnel::over_v4(Encapsulation::Vxlan);
    cases.extend([
        given(
            "An echo request in a tunnel to the node's own address there is the kernel's.",
            world(BLUE).tunnel(&vxlan, BLUE),
            vxlan.arrive(from_hop(), &ask("10.255.0.2", INNER_NODE4)),
        )
        .ends(Reason::TunnelOwn),
        given(
            "A tunnel whose next hop is not known leaves echo requests to the kernel.",
            world(BLUE).tunnel(&vxlan, BLUE).but(|tables| {
                tables.tunnels.get_mut(&3).expect("the tunnel").flags &= !PATH_RESOLVED;
            }),
            vxlan.arrive(from_hop(), &ask(CLIENT4, VIP4)),
        )
        .ends(Reason::OtherProtocol),
        given(
            "An answer that its tunnel does not carry is left to the kernel.",
            world(BLUE).tunnel(&vxlan, BLUE),
            vxlan.arrive(from_hop(), &ask(CLIENT4, VIP4).payload(&[1; 1400])),
        )
        .ends(Reason::OtherProtocol),
    ]);
    cases
}
