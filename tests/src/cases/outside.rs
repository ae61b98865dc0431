//! Frames that are nobody's business here.

use lbxdp_ebpf::verdict::Reason;

use super::world::{
    CLIENT4, CLIENT6, ROUTER_MAC, TCP, VIP4, VIP6, World, from_router, local, nat, plain,
};
use super::{Case, given, theme};
use crate::packet::{Packet, number};

pub(super) fn cases() -> Vec<Case> {
    let origin = || {
        [nat(
            "10.0.0.11",
            8080,
            lbxdp_ebpf::abi::VnetId::LOCAL,
            plain(),
        )]
    };
    let balanced = || World::new().serve(local(TCP, VIP4, 80), &origin());
    let to_vip = || from_router().ipv4(CLIENT4, VIP4);
    let mut cases = vec![
        given(
            "An ARP request is the kernel's.",
            balanced(),
            Packet::eth(ROUTER_MAC, [0xff; 6])
                .ethertype(number::ETHERTYPE_ARP)
                .payload(&[0, 1, 8, 0, 6, 4, 0, 1])
                .payload(&[0; 20]),
        )
        .ends(Reason::NotIp),
        given(
            "An LLDP frame is the kernel's.",
            balanced(),
            Packet::eth(ROUTER_MAC, [1, 0x80, 0xc2, 0, 0, 0x0e])
                .ethertype(number::ETHERTYPE_LLDP)
                .payload(&[2, 7, 4, 2, 0, 0, 0, 0, 1, 0, 0]),
        )
        .ends(Reason::NotIp),
        given(
            "An 802.3 frame, whose EtherType is a length, is not IP.",
            balanced(),
            from_router().ethertype(38).payload(&[0x42; 38]),
        )
        .ends(Reason::NotIp),
        given(
            "A tagged frame that carries ARP is not IP.",
            balanced(),
            from_router()
                .vlan(5)
                .ethertype(number::ETHERTYPE_ARP)
                .payload(&[0; 28]),
        )
        .ends(Reason::NotIp),
        given(
            "A third VLAN tag is not followed.",
            balanced(),
            from_router()
                .service_vlan(5)
                .vlan(6)
                .vlan(7)
                .ipv4(CLIENT4, VIP4)
                .tcp(40_000, 80),
        )
        .ends(Reason::TooManyTags),
        given(
            "An ICMP echo request to a VIP is left to the kernel.",
            balanced(),
            to_vip().echo(1).payload(b"ping"),
        )
        .ends(Reason::OtherProtocol),
        given(
            "An ICMPv6 echo request is left to the kernel.",
            balanced(),
            from_router().ipv6(CLIENT6, VIP6).echo(1).payload(b"ping"),
        )
        .ends(Reason::OtherProtocol),
        given(
            "SCTP to a VIP is left to the kernel.",
            balanced(),
            to_vip()
                .protocol(number::SCTP)
                .payload(&[0x9c, 0x40, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0]),
        )
        .ends(Reason::OtherProtocol),
        given(
            "ESP to a VIP is left to the kernel.",
            balanced(),
            to_vip().protocol(number::ESP).payload(&[7; 40]),
        )
        .ends(Reason::OtherProtocol),
        given(
            "A packet without ports, whose protocol is unassigned, is left to the kernel.",
            balanced(),
            to_vip().protocol(200),
        )
        .ends(Reason::OtherProtocol),
        given(
            "Before the agent has configured the node, traffic is the kernel's.",
            World::empty(),
            to_vip().tcp(40_000, 80),
        )
        .ends(Reason::NotConfigured),
        given(
            "TCP to the node itself is the kernel's.",
            balanced(),
            from_router()
                .ipv4(CLIENT4, super::world::NODE4)
                .tcp(40_000, 22),
        )
        .ends(Reason::NoListener),
        given(
            "TCP through the node, between two others, is the kernel's, even with TTL 1.",
            balanced(),
            from_router()
                .ipv4(CLIENT4, "192.0.2.200")
                .ttl(1)
                .tcp(40_000, 80),
        )
        .ends(Reason::NoListener),
        given(
            "A packet that is not ours may have any checksum.",
            balanced(),
            from_router()
                .ipv4(CLIENT4, "192.0.2.200")
                .tcp(40_000, 80)
                .checksum(0xdead),
        )
        .ends(Reason::NoListener),
        given(
            "IPv6 to the node itself is the kernel's.",
            balanced(),
            from_router()
                .ipv6(CLIENT6, super::world::NODE6)
                .tcp(40_000, 22),
        )
        .ends(Reason::NoListener),
    ];
    // Every length at which a header is cut.
    for (length, what) in [
        (14, "after the Ethernet header"),
        (15, "in the IPv4 header's first byte"),
        (33, "in the IPv4 header"),
        (34, "before TCP"),
        (37, "in the TCP ports"),
        (53, "in the TCP header"),
    ] {
        cases.push(
            given(
                format!("An IPv4 packet that ends {what} is truncated."),
                balanced(),
                to_vip().tcp(40_000, 80).truncated(length),
            )
            .ends(Reason::Truncated),
        );
    }
    for (length, what) in [
        (16, "in a VLAN tag"),
        (18, "after a VLAN tag"),
        (57, "in the TCP header behind a VLAN tag"),
    ] {
        cases.push(
            given(
                format!("A frame that ends {what} is truncated."),
                balanced(),
                from_router()
                    .vlan(5)
                    .ipv4(CLIENT4, VIP4)
                    .tcp(40_000, 80)
                    .truncated(length),
            )
            .ends(Reason::Truncated),
        );
    }
    for (length, what) in [
        (53, "in the IPv6 header"),
        (54, "before TCP"),
        (73, "in the TCP header"),
    ] {
        cases.push(
            given(
                format!("An IPv6 packet that ends {what} is truncated."),
                balanced(),
                from_router()
                    .ipv6(CLIENT6, VIP6)
                    .tcp(40_000, 80)
                    .truncated(length),
            )
            .ends(Reason::Truncated),
        );
    }
    cases.push(
        given(
            "A UDP packet that ends in its header is truncated.",
            balanced(),
            to_vip().udp(40_000, 80).truncated(41),
        )
        .ends(Reason::Truncated),
    );
    theme("outside", cases)
}
