//! Listeners of several ports, of any port, and those that keep a client with one origin.

use lbxdp_ebpf::abi::{Encapsulation, LISTENER_SOURCE_HASH, NODE_RANGES, Origin, VnetId};
use lbxdp_ebpf::hash::{reduce, source_hash};
use lbxdp_ebpf::verdict::Reason;

use super::tunnel::Tunnel;
use super::world::{
    BLUE, CLIENT4, CLIENT6, ORIGIN4, ORIGIN6, TCP, UDP, VIP4, VIP6, World, address, from_hop,
    from_router, inside, local, nat, plain, to_hop, to_router,
};
use super::{Case, given, theme};
use crate::packet::Packet;

/// An origin that keeps the port.
fn keeper() -> Origin {
    nat(ORIGIN4, 0, VnetId::LOCAL, plain())
}

/// Another one.
fn other() -> Origin {
    nat("10.0.0.12", 0, VnetId::LOCAL, plain())
}

/// TCP from 8000 to 8099.
fn range() -> World {
    World::new().serve_range(local(TCP, VIP4, 8000), 8099, &[keeper()])
}

fn ask(port: u16) -> Packet {
    from_router().ipv4(CLIENT4, VIP4).tcp(40_000, port)
}

fn asked(origin: &str, port: u16) -> Packet {
    to_hop().ipv4(CLIENT4, origin).ttl(63).tcp(40_000, port)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = within();
    cases.extend(precedence());
    cases.extend(replies());
    cases.extend(sources());
    theme("ranges", cases)
}

fn within() -> Vec<Case> {
    let mut cases = Vec::new();
    for port in [8000, 8063, 8064, 8095, 8096, 8099] {
        cases.push(
            given(
                format!("Port {port} is in the range from 8000 to 8099, and is kept."),
                range(),
                ask(port),
            )
            .sends(Reason::ForwardNat, asked(ORIGIN4, port)),
        );
    }
    for port in [7999, 8100, 0, 65_535] {
        cases.push(
            given(
                format!("Port {port} is not in the range from 8000 to 8099."),
                range(),
                ask(port),
            )
            .ends(Reason::NoListener),
        );
    }
    for port in [1, 80, 65_535] {
        cases.push(
            given(
                format!("A listener of any port takes port {port}."),
                World::new().serve_range(local(TCP, VIP4, 0), u16::MAX, &[keeper()]),
                ask(port),
            )
            .sends(Reason::ForwardNat, asked(ORIGIN4, port)),
        );
    }
    cases.push(
        given(
            "A range of IPv6 and UDP works as one of IPv4 and TCP.",
            World::new().serve_range(
                local(UDP, VIP6, 5000),
                5001,
                &[nat(ORIGIN6, 0, VnetId::LOCAL, plain())],
            ),
            from_router().ipv6(CLIENT6, VIP6).udp(40_000, 5001),
        )
        .sends(
            Reason::ForwardNat,
            to_hop().ipv6(CLIENT6, ORIGIN6).ttl(63).udp(40_000, 5001),
        ),
    );
    cases.push(
        given(
            "A range of TCP is none of UDP.",
            range(),
            from_router().ipv4(CLIENT4, VIP4).udp(40_000, 8050),
        )
        .ends(Reason::NoListener),
    );
    cases.push(
        given(
            "A range at another address is none here.",
            range(),
            from_router()
                .ipv4(CLIENT4, "198.51.100.11")
                .tcp(40_000, 8050),
        )
        .ends(Reason::NoListener),
    );
    cases.push(
        given(
            "A range of a VNet is not found from outside of it.",
            World::new().serve_range(inside(BLUE, TCP, VIP4, 8000), 8099, &[keeper()]),
            ask(8050),
        )
        .ends(Reason::NoListener),
    );
    cases.push(
        given(
            "Ranges are not looked for while the node has none.",
            range().but(|tables| {
                tables.node.as_mut().expect("a node").flags &= !NODE_RANGES;
            }),
            ask(8050),
        )
        .ends(Reason::NoListener),
    );
    cases.push(
        given(
            "A range whose listener is gone is none.",
            range().but(|tables| tables.listeners.clear()),
            ask(8050),
        )
        .ends(Reason::NoListener),
    );
    cases.push(
        given(
            "An origin with a port of its own gets all ports of a range there.",
            World::new().serve_range(
                local(TCP, VIP4, 8000),
                8099,
                &[nat(ORIGIN4, 80, VnetId::LOCAL, plain())],
            ),
            ask(8050),
        )
        .sends(Reason::ForwardNat, asked(ORIGIN4, 80)),
    );
    cases
}

fn precedence() -> Vec<Case> {
    let world = || {
        World::new()
            .serve(local(TCP, VIP4, 8050), &[keeper()])
            .serve_range(local(TCP, VIP4, 8000), 8099, &[other()])
            .serve_range(
                local(TCP, VIP4, 0),
                u16::MAX,
                &[nat("10.0.0.13", 0, VnetId::LOCAL, plain())],
            )
    };
    [
        ("A single port goes before a range.", 8050, ORIGIN4, 0),
        ("A range goes before any port.", 8051, "10.0.0.12", 1),
        ("What is in no range is any port.", 9000, "10.0.0.13", 2),
    ]
    .into_iter()
    .map(|(sentence, port, origin, index)| {
        given(sentence, world(), ask(port))
            .sends(Reason::ForwardNat, asked(origin, port))
            .of_listener(index)
            .of_origin(index as u16)
    })
    .collect()
}

fn replies() -> Vec<Case> {
    let vip = || local(TCP, VIP4, 8000);
    let world = || range().answers_range(local(TCP, ORIGIN4, 8000), 8099, vip());
    let answer = |port| from_hop().ipv4(ORIGIN4, CLIENT4).tcp(port, 40_000);
    let tunnel = Tunnel::over_v4(Encapsulation::Gre);
    let mut cases = vec![
        given(
            "An answer from a port of the range keeps it, and comes from the VIP.",
            world(),
            answer(8077),
        )
        .sends(
            Reason::ReplyNat,
            to_router().ipv4(VIP4, CLIENT4).ttl(63).tcp(8077, 40_000),
        ),
        given(
            "An origin's packet from a port outside of the range is not ours.",
            world(),
            answer(8100),
        )
        .ends(Reason::NoListener),
        given(
            "An answer from a port of its own goes before one of a range.",
            world().answers(local(TCP, ORIGIN4, 8077), local(TCP, "198.51.100.11", 80)),
            answer(8077),
        )
        .sends(
            Reason::ReplyNat,
            to_router()
                .ipv4("198.51.100.11", CLIENT4)
                .ttl(63)
                .tcp(80, 40_000),
        ),
    ];
    cases.push(through_tunnel(&tunnel));
    cases
}

fn through_tunnel(tunnel: &Tunnel) -> Case {
    let vip = local(UDP, VIP4, 0);
    let origin = nat(ORIGIN4, 0, BLUE, tunnel.path());
    given(
        "An answer in a tunnel from an origin of any port keeps the port.",
        World::new()
            .serve_range(vip, u16::MAX, &[origin])
            .answers_range(inside(BLUE, UDP, ORIGIN4, 0), u16::MAX, vip)
            .tunnel(tunnel, BLUE),
        tunnel.arrive(
            from_hop(),
            &from_hop()
                .ipv4(ORIGIN4, CLIENT4)
                .udp(12_345, 40_000)
                .payload(b"answer"),
        ),
    )
    .sends(
        Reason::ReplyNatTunnel,
        to_router()
            .ipv4(VIP4, CLIENT4)
            .ttl(63)
            .udp(12_345, 40_000)
            .payload(b"answer"),
    )
    .through(tunnel.index)
}

/// The row of a client, of seven.
fn row(client: &str) -> u32 {
    let world = World::new();
    let node = world.tables.node.expect("a node");
    reduce(
        source_hash(&node.hash_key, &address(client), VnetId::LOCAL),
        7,
    )
}

fn sources() -> Vec<Case> {
    let origins: Vec<Origin> = (1..=7)
        .map(|last| nat(&format!("10.0.0.{last}"), 0, VnetId::LOCAL, plain()))
        .collect();
    let world = || {
        World::new()
            .serve(local(TCP, VIP4, 80), &origins)
            .serve(local(TCP, VIP4, 81), &origins[..1])
            .but(|tables| {
                let table = tables.listeners[&local(TCP, VIP4, 80)].table;
                for listener in tables.listeners.values_mut() {
                    listener.flags = LISTENER_SOURCE_HASH;
                    listener.table = table;
                }
            })
    };
    let mut cases = Vec::new();
    for (client, source_port, port) in [
        (CLIENT4, 40_000, 80),
        (CLIENT4, 40_001, 80),
        (CLIENT4, 1, 80),
        (CLIENT4, 40_000, 81),
        ("192.0.2.77", 40_000, 80),
    ] {
        let row = row(client);
        cases.push(
            given(
                format!(
                    "By its source address alone, {client} from port {source_port} goes to port {port} of the origin of row {row}."
                ),
                world(),
                from_router().ipv4(client, VIP4).tcp(source_port, port),
            )
            .sends(
                Reason::ForwardNat,
                to_hop()
                    .ipv4(client, &format!("10.0.0.{}", row + 1))
                    .ttl(63)
                    .tcp(source_port, port),
            )
            .of_listener(u32::from(port - 80))
            .of_origin(row as u16),
        );
    }
    cases
}
