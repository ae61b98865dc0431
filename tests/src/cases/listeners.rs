//! Who is chosen: listeners, tables, rows, origins, and what happens when one is missing.

use lbxdp_ebpf::abi::{Origin, Row, VnetId};
use lbxdp_ebpf::verdict::Reason;

use super::world::{
    BLUE, CLIENT4, CLIENT6, ORIGIN4, ORIGIN6, TCP, UDP, VIP4, VIP6, World, from_router, inside,
    local, nat, plain, to_hop,
};
use super::{Case, given, theme};
use crate::packet::Packet;

fn origin() -> Origin {
    nat(ORIGIN4, 8080, VnetId::LOCAL, plain())
}

fn world() -> World {
    World::new().serve(local(TCP, VIP4, 80), &[origin()])
}

fn ask() -> Packet {
    from_router()
        .ipv4(CLIENT4, VIP4)
        .tcp(40_000, 80)
        .payload(b"GET /")
}

pub(super) fn cases() -> Vec<Case> {
    let ends = |sentence: &str, world: World, packet: Packet, reason: Reason| {
        given(sentence, world, packet).ends(reason)
    };
    let mut cases = vec![
        ends(
            "A VIP on another port is not ours.",
            world(),
            from_router().ipv4(CLIENT4, VIP4).tcp(40_000, 81),
            Reason::NoListener,
        ),
        ends(
            "A VIP by the other protocol is not ours.",
            world(),
            from_router().ipv4(CLIENT4, VIP4).udp(40_000, 80),
            Reason::NoListener,
        ),
        ends(
            "Another address with the listener's port is not ours.",
            world(),
            from_router().ipv4(CLIENT4, "198.51.100.11").tcp(40_000, 80),
            Reason::NoListener,
        ),
        ends(
            "The listener's port as source port means nothing.",
            world(),
            from_router().ipv4(CLIENT4, VIP4).tcp(80, 40_000),
            Reason::NoListener,
        ),
        ends(
            "A listener of a VNet is not found from outside of it.",
            World::new().serve(inside(BLUE, TCP, VIP4, 80), &[origin()]),
            ask(),
            Reason::NoListener,
        ),
        ends(
            "A mapped address in an IPv6 header is not the VIP: it does not belong on the wire.",
            world(),
            from_router()
                .ipv6(CLIENT6, "::ffff:198.51.100.10")
                .tcp(40_000, 80),
            Reason::Malformed,
        ),
        ends(
            "A mapped address in an IPv6 header is malformed wherever it leads.",
            world(),
            from_router()
                .ipv6("::ffff:192.0.2.7", CLIENT6)
                .tcp(40_000, 80),
            Reason::Malformed,
        ),
        ends(
            "A listener whose table is missing cannot be served.",
            world().but(|tables| tables.tables.clear()),
            ask(),
            Reason::NoTable,
        ),
        ends(
            "A table without rows is none.",
            world().but(|tables| {
                tables.tables.get_mut(&0).expect("table 0").rows = 0;
            }),
            ask(),
            Reason::NoTable,
        ),
        ends(
            "Vacant rows mean that no origin can serve.",
            world().but(|tables| tables.rows.values_mut().for_each(|row| *row = Row::VACANT)),
            ask(),
            Reason::NoOrigin,
        ),
        ends(
            "The other half of a table does not count until it is flipped in.",
            world().but(|tables| tables.tables.get_mut(&0).expect("table 0").active = 0),
            ask(),
            Reason::NoOrigin,
        ),
        ends(
            "A row that names an origin which is gone sends nothing astray.",
            world().but(|tables| tables.origins.clear()),
            ask(),
            Reason::OriginMissing,
        ),
        ends(
            "An origin with a mode of the future is missing.",
            world().but(|tables| tables.origins.get_mut(&0).expect("origin 0").mode = 77),
            ask(),
            Reason::OriginMissing,
        ),
        ends(
            "An IPv6 origin behind an IPv4 VIP cannot be reached by NAT.",
            World::new().serve(
                local(TCP, VIP4, 80),
                &[nat(ORIGIN6, 8080, VnetId::LOCAL, plain())],
            ),
            ask(),
            Reason::FamilyMismatch,
        ),
        ends(
            "An IPv4 origin behind an IPv6 VIP cannot be reached by NAT.",
            World::new().serve(local(TCP, VIP6, 80), &[origin()]),
            from_router().ipv6(CLIENT6, VIP6).tcp(40_000, 80),
            Reason::FamilyMismatch,
        ),
    ];
    let two = || {
        World::new().serve(local(TCP, VIP4, 80), &[origin()]).serve(
            local(UDP, VIP4, 80),
            &[nat("10.0.0.12", 5300, VnetId::LOCAL, plain())],
        )
    };
    cases.push(
        given(
            "Two listeners of one address and port: TCP goes to its own.",
            two(),
            ask(),
        )
        .sends(
            Reason::ForwardNat,
            to_hop()
                .ipv4(CLIENT4, ORIGIN4)
                .ttl(63)
                .tcp(40_000, 8080)
                .payload(b"GET /"),
        ),
    );
    cases.push(
        given(
            "Two listeners of one address and port: UDP goes to its own.",
            two(),
            from_router()
                .ipv4(CLIENT4, VIP4)
                .udp(40_000, 80)
                .payload(b"?"),
        )
        .sends(
            Reason::ForwardNat,
            to_hop()
                .ipv4(CLIENT4, "10.0.0.12")
                .ttl(63)
                .udp(40_000, 5300)
                .payload(b"?"),
        )
        .of_listener(1)
        .of_origin(1),
    );
    cases.push(
        given(
            "After a flip the other half of the table counts.",
            world().but(|tables| {
                tables
                    .origins
                    .insert(5, nat("10.0.0.15", 80, VnetId::LOCAL, plain()));
                for row in 0..7 {
                    tables.rows.insert(row, Row::owned_by(5));
                }
                tables.tables.get_mut(&0).expect("table 0").active = 0;
            }),
            ask(),
        )
        .sends(
            Reason::ForwardNat,
            to_hop()
                .ipv4(CLIENT4, "10.0.0.15")
                .ttl(63)
                .tcp(40_000, 80)
                .payload(b"GET /"),
        )
        .of_origin(5),
    );
    theme("listeners", cases)
}
