//! Forms of Ethernet and IP headers in front of a packet that is balanced.

use lbxdp_ebpf::abi::{Tags, VnetId};
use lbxdp_ebpf::verdict::Reason;

use super::world::{
    CLIENT4, CLIENT6, ORIGIN4, ORIGIN6, TCP, VIP4, VIP6, World, from_router, local, nat, plain,
    to_hop,
};
use super::{Case, given, theme};
use crate::packet::{Packet, number};

fn balanced4() -> World {
    let origin = nat(ORIGIN4, 8080, VnetId::LOCAL, plain());
    World::new().serve(local(TCP, VIP4, 80), &[origin])
}

fn balanced6() -> World {
    let origin = nat(ORIGIN6, 8080, VnetId::LOCAL, plain());
    World::new().serve(local(TCP, VIP6, 80), &[origin])
}

fn in4() -> Packet {
    from_router().ipv4(CLIENT4, VIP4)
}

fn in6() -> Packet {
    from_router().ipv6(CLIENT6, VIP6)
}

fn out4() -> Packet {
    to_hop().ipv4(CLIENT4, ORIGIN4).ttl(63)
}

fn out6() -> Packet {
    to_hop().ipv6(CLIENT6, ORIGIN6).ttl(63)
}

pub(super) fn cases() -> Vec<Case> {
    let [ask, asked] = [
        |packet: Packet| packet.tcp(40_000, 80).payload(b"GET /"),
        |packet: Packet| packet.tcp(40_000, 8080).payload(b"GET /"),
    ];
    let mut cases = tags(ask, asked);
    cases.extend(ipv4(ask, asked));
    cases.extend(ipv6(ask, asked));
    theme("headers", cases)
}

type Build = fn(Packet) -> Packet;

fn tags(ask: Build, asked: Build) -> Vec<Case> {
    let tagged = [
        ("an 802.1Q tag", from_router().vlan(5)),
        ("an 802.1Q tag with priority", from_router().vlan(0xa005)),
        ("an 802.1ad tag", from_router().service_vlan(5)),
        (
            "an 802.1ad and an 802.1Q tag",
            from_router().service_vlan(5).vlan(6),
        ),
        ("two 802.1Q tags", from_router().vlan(5).vlan(6)),
    ];
    let mut cases = Vec::new();
    for (what, frame) in tagged {
        cases.push(
            given(
                format!("A packet behind {what} is balanced and leaves without."),
                balanced4(),
                ask(frame.clone().ipv4(CLIENT4, VIP4)),
            )
            .sends(Reason::ForwardNat, asked(out4())),
        );
        cases.push(
            given(
                format!("An IPv6 packet behind {what} is balanced and leaves without."),
                balanced6(),
                ask(frame.ipv6(CLIENT6, VIP6)),
            )
            .sends(Reason::ForwardNat, asked(out6())),
        );
    }
    cases.push(
        given(
            "A path within a VLAN puts its tag on.",
            balanced4().but(|tables| {
                tables.origins.get_mut(&0).expect("origin 0").path.vlan = [0, 9];
            }),
            ask(in4()),
        )
        .sends(
            Reason::ForwardNat,
            asked(to_hop().vlan(9).ipv4(CLIENT4, ORIGIN4).ttl(63)),
        ),
    );
    cases.push(
        given(
            "A path within a VLAN replaces the tag of the packet.",
            balanced4().but(|tables| {
                tables.origins.get_mut(&0).expect("origin 0").path.vlan = [0x60, 9];
            }),
            ask(from_router().vlan(5).ipv4(CLIENT4, VIP4)),
        )
        .sends(
            Reason::ForwardNat,
            asked(to_hop().vlan(0x6009).ipv4(CLIENT4, ORIGIN4).ttl(63)),
        ),
    );
    cases.push(
        given(
            "A path within a VLAN replaces two tags of the packet by one.",
            balanced6().but(|tables| {
                tables.origins.get_mut(&0).expect("origin 0").path.vlan = [0, 9];
            }),
            ask(from_router().service_vlan(5).vlan(6).ipv6(CLIENT6, VIP6)),
        )
        .sends(
            Reason::ForwardNat,
            asked(to_hop().vlan(9).ipv6(CLIENT6, ORIGIN6).ttl(63)),
        ),
    );
    cases.extend(stacked(ask, asked));
    cases
}

/// Paths within a VLAN of a provider, and within a VLAN in a VLAN.
fn stacked(ask: Build, asked: Build) -> Vec<Case> {
    let outs = [
        (
            "an 802.1ad tag",
            Tags::one(9, true),
            to_hop().service_vlan(9),
        ),
        (
            "an 802.1ad and an 802.1Q tag",
            Tags::one(7, false).behind(Tags::one(9, true)),
            to_hop().service_vlan(9).vlan(7),
        ),
        (
            "two 802.1Q tags",
            Tags::one(0xfff, false).behind(Tags::one(9, false)),
            to_hop().vlan(9).vlan(0xfff),
        ),
        (
            "an 802.1Q and an 802.1ad tag",
            Tags::one(7, true).behind(Tags::one(9, false)),
            to_hop().vlan(9).service_vlan(7),
        ),
    ];
    let ins = [
        ("no tag", from_router()),
        ("a tag", from_router().vlan(5)),
        ("two tags", from_router().service_vlan(5).vlan(6)),
    ];
    let mut cases = Vec::new();
    for (what, tags, out) in outs {
        for (had, frame) in &ins {
            let within = |world: World| {
                world.but(move |tables| {
                    let path = &mut tables.origins.get_mut(&0).expect("origin 0").path;
                    (path.vlan, path.inner_vlan) = (tags.outer, tags.inner);
                })
            };
            cases.push(
                given(
                    format!("A packet with {had} leaves with {what}."),
                    within(balanced4()),
                    ask(frame.clone().ipv4(CLIENT4, VIP4)),
                )
                .sends(
                    Reason::ForwardNat,
                    asked(out.clone().ipv4(CLIENT4, ORIGIN4).ttl(63)),
                ),
            );
            cases.push(
                given(
                    format!("An IPv6 packet with {had} leaves with {what}."),
                    within(balanced6()),
                    ask(frame.clone().ipv6(CLIENT6, VIP6)),
                )
                .sends(
                    Reason::ForwardNat,
                    asked(out.clone().ipv6(CLIENT6, ORIGIN6).ttl(63)),
                ),
            );
        }
    }
    cases
}

fn ipv4(ask: Build, asked: Build) -> Vec<Case> {
    let router_alert = [0x94, 4, 0, 0];
    let full = [1_u8; 40];
    let sends = |sentence: &str, packet: Packet, out: Packet| {
        given(sentence, balanced4(), packet).sends(Reason::ForwardNat, out)
    };
    let ends = |sentence: &str, packet: Packet, reason: Reason| {
        given(sentence, balanced4(), packet).ends(reason)
    };
    vec![
        sends(
            "An IPv4 header with one option is followed to the ports, and the option stays.",
            ask(in4().options(&router_alert)),
            asked(out4().options(&router_alert)),
        ),
        sends(
            "An IPv4 header may have forty bytes of options.",
            ask(in4().options(&full)),
            asked(out4().options(&full)),
        ),
        sends(
            "TOS, identification and a clear DF bit of IPv4 stay.",
            ask(in4().tos(0xb9).id(0x1234).may_fragment()),
            asked(out4().tos(0xb9).id(0x1234).may_fragment()),
        ),
        sends(
            "The reserved flag bit of IPv4 is not a fragment.",
            ask(in4().fragment(0xc000)),
            asked(out4().fragment(0xc000)),
        ),
        sends(
            "Ethernet padding behind a short IPv4 packet is not part of it, and stays.",
            in4().tcp(40_000, 80).trailer(&[0xee; 6]),
            out4().tcp(40_000, 8080).trailer(&[0xee; 6]),
        ),
        ends(
            "An IPv4 header length of four words contradicts the header.",
            ask(in4().ihl(4)),
            Reason::Malformed,
        ),
        ends(
            "An IPv4 header length of zero contradicts the header.",
            ask(in4().ihl(0)),
            Reason::Malformed,
        ),
        ends(
            "An EtherType of IPv4 before a header of version 6 is a contradiction.",
            ask(in4().version(6)),
            Reason::Malformed,
        ),
        ends(
            "An EtherType of IPv6 before a header of version 4 is a contradiction.",
            ask(from_router()
                .ethertype(number::ETHERTYPE_IPV6)
                .ipv4(CLIENT4, VIP4))
            .payload(&[0; 20]),
            Reason::Malformed,
        ),
        ends(
            "An IPv4 total length shorter than the header is a contradiction.",
            ask(in4().length(19)),
            Reason::Malformed,
        ),
        ends(
            "An IPv4 total length beyond the frame means that the packet is cut off.",
            ask(in4().length(46)),
            Reason::Truncated,
        ),
        ends(
            "An IPv4 total length that leaves no room for the TCP header is a contradiction.",
            ask(in4().length(39)),
            Reason::Malformed,
        ),
        ends(
            "An IPv4 header that is longer than its packet is a contradiction.",
            in4().ihl(15).tcp(40_000, 80),
            Reason::Malformed,
        ),
        ends(
            "An IPv4 header that claims more options than the frame holds is cut off.",
            in4().ihl(15).length(80).tcp(40_000, 80),
            Reason::Truncated,
        ),
        ends(
            "A fragment to nobody here is left to the kernel.",
            ask(from_router().ipv4(CLIENT4, "192.0.2.77").fragment(0x2001)),
            Reason::Fragment,
        ),
    ]
}

fn ipv6(ask: Build, asked: Build) -> Vec<Case> {
    let mut cases = Vec::new();
    for (number, name) in [
        (number::HOP_BY_HOP, "hop-by-hop options"),
        (number::ROUTING, "a spent routing header"),
        (number::DESTINATION_OPTIONS, "destination options"),
        (number::AUTHENTICATION, "an authentication header"),
    ] {
        for units in [2, 4] {
            cases.push(
                given(
                    format!(
                        "An IPv6 packet with {name} of {} bytes is followed to its ports.",
                        8 * units
                    ),
                    balanced6(),
                    ask(in6().extension(number, units)),
                )
                .sends(Reason::ForwardNat, asked(out6().extension(number, units))),
            );
        }
    }
    let chain = |packet: Packet| {
        packet
            .extension(number::HOP_BY_HOP, 1)
            .extension(number::DESTINATION_OPTIONS, 2)
            .extension(number::ROUTING, 1)
    };
    let long = |packet: Packet| {
        (0..9).fold(packet, |packet, _| {
            packet.extension(number::DESTINATION_OPTIONS, 1)
        })
    };
    let sends = |sentence: &str, packet: Packet, out: Packet| {
        given(sentence, balanced6(), packet).sends(Reason::ForwardNat, out)
    };
    let ends = |sentence: &str, packet: Packet, reason: Reason| {
        given(sentence, balanced6(), packet).ends(reason)
    };
    cases.extend([
        sends(
            "An IPv6 packet with three extension headers is followed to its ports.",
            ask(chain(in6())),
            asked(chain(out6())),
        ),
        sends(
            "Traffic class and flow label of IPv6 stay.",
            ask(in6().tos(0xb9).flow_label(0xabcde)),
            asked(out6().tos(0xb9).flow_label(0xabcde)),
        ),
        sends(
            "Bytes behind an IPv6 packet are not part of it, and stay.",
            in6().tcp(40_000, 80).trailer(&[0xee; 2]),
            out6().tcp(40_000, 8080).trailer(&[0xee; 2]),
        ),
        ends(
            "Nine extension headers are more than are followed.",
            ask(long(in6())),
            Reason::TooManyHeaders,
        ),
        ends(
            "A fragment header behind hop-by-hop options is found.",
            ask(in6()
                .extension(number::HOP_BY_HOP, 1)
                .fragment_header(1, true)),
            Reason::Fragment,
        ),
        ends(
            "An IPv6 packet without a next header is left to the kernel.",
            in6().protocol(number::NO_NEXT).payload(&[0; 20]),
            Reason::OtherProtocol,
        ),
        ends(
            "ESP over IPv6 is left to the kernel.",
            in6().protocol(number::ESP).payload(&[7; 40]),
            Reason::OtherProtocol,
        ),
        ends(
            "An EtherType of IPv6 before a header of version 5 is a contradiction.",
            ask(in6().version(5)),
            Reason::Malformed,
        ),
        ends(
            "An IPv6 payload length beyond the frame means that the packet is cut off.",
            ask(in6().length(26)),
            Reason::Truncated,
        ),
        ends(
            "An IPv6 payload length that leaves no room for the TCP header is a contradiction.",
            ask(in6().length(19)),
            Reason::Malformed,
        ),
        ends(
            "An extension header that reaches beyond the packet is a contradiction.",
            in6()
                .extension(number::DESTINATION_OPTIONS, 4)
                .tcp(40_000, 80)
                .patch(55, &[9]),
            Reason::Malformed,
        ),
        ends(
            "Extension headers of more than a kilobyte are not followed.",
            in6()
                .extension(number::DESTINATION_OPTIONS, 4)
                .tcp(40_000, 80)
                .patch(55, &[200]),
            Reason::TooManyHeaders,
        ),
        ends(
            "A mobility header is left to the kernel.",
            in6()
                .extension(number::MOBILITY, 1)
                .protocol(number::NO_NEXT),
            Reason::OtherProtocol,
        ),
        ends(
            "An IPv6 payload length of zero (a jumbogram) leaves no room for any header.",
            ask(in6().length(0)),
            Reason::Malformed,
        ),
    ]);
    cases
}
