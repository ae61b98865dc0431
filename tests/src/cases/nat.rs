//! Rewriting towards an origin of the node's own network: addresses, ports, checksums.

use lbxdp_ebpf::abi::VnetId;
use lbxdp_ebpf::verdict::Reason;

use super::world::{
    CLIENT_PORT, ORIGIN_PORT, ORIGIN4, ORIGIN6, TCP, UDP, VIP_PORT, World, client_like,
    from_router, local, nat, plain, to_hop, vip_like,
};
use super::{Case, given, theme};
use crate::packet::Packet;

fn world(protocol: u8, origin: &str, port: u16) -> World {
    let origin_path = nat(origin, port, VnetId::LOCAL, plain());
    World::new().serve(local(protocol, vip_like(origin), VIP_PORT), &[origin_path])
}

fn ask(protocol: u8, origin: &str) -> Packet {
    let packet = from_router().ip(client_like(origin), vip_like(origin));
    transport(packet, protocol, VIP_PORT)
}

fn asked(protocol: u8, origin: &str, port: u16) -> Packet {
    let packet = to_hop().ip(client_like(origin), origin).ttl(63);
    transport(packet, protocol, port)
}

fn transport(packet: Packet, protocol: u8, port: u16) -> Packet {
    if protocol == TCP {
        packet.tcp(CLIENT_PORT, port)
    } else {
        packet.udp(CLIENT_PORT, port)
    }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for origin in [ORIGIN4, ORIGIN6] {
        let version = if origin == ORIGIN4 { 4 } else { 6 };
        for (protocol, name) in [(TCP, "TCP"), (UDP, "UDP")] {
            cases.extend(both(protocol, name, origin, version));
        }
    }
    for (sentence, flags, options) in [
        (
            "A SYN with options is rewritten and its options stay.",
            2,
            &[2, 4, 5, 180, 1, 3, 3, 7][..],
        ),
        ("A FIN is rewritten.", 17, &[]),
        ("A RST is rewritten.", 4, &[]),
    ] {
        let edit = |packet: Packet| packet.tcp_flags(flags).tcp_options(options);
        cases.push(
            given(
                sentence,
                world(TCP, ORIGIN4, ORIGIN_PORT),
                edit(ask(TCP, ORIGIN4)),
            )
            .sends(Reason::ForwardNat, edit(asked(TCP, ORIGIN4, ORIGIN_PORT))),
        );
    }
    let empty = world(UDP, ORIGIN4, ORIGIN_PORT);
    cases.push(
        given(
            "An empty UDP datagram is rewritten.",
            empty.clone(),
            ask(UDP, ORIGIN4),
        )
        .sends(Reason::ForwardNat, asked(UDP, ORIGIN4, ORIGIN_PORT)),
    );
    cases.push(
        given(
            "UDP over IPv4 without a checksum is rewritten and stays without.",
            empty,
            ask(UDP, ORIGIN4).no_checksum().payload(b"?"),
        )
        .sends(
            Reason::ForwardNat,
            asked(UDP, ORIGIN4, ORIGIN_PORT).no_checksum().payload(b"?"),
        ),
    );
    cases.push(
        given(
            "A wrong TCP checksum is not healed: it is wrong by as much as before.",
            world(TCP, ORIGIN4, 0),
            // The addresses 198.51.100.10 and 10.0.0.11 differ by the sum of 0xc633 + 0x640a
            // against 0x0a00 + 0x000b; the checksum of the empty segment follows it.
            wrong_by_one(ask(TCP, ORIGIN4)),
        )
        .sends(
            Reason::ForwardNat,
            wrong_by_one(asked(TCP, ORIGIN4, VIP_PORT)),
        ),
    );
    theme("nat", cases)
}

fn both(protocol: u8, name: &str, origin: &str, version: u8) -> Vec<Case> {
    let what = format!("{name} over IPv{version}");
    let sends = |sentence: String, port: u16, packet: Packet, out: Packet| {
        given(sentence, world(protocol, origin, port), packet).sends(Reason::ForwardNat, out)
    };
    let to_origin = || asked(protocol, origin, ORIGIN_PORT);
    let mut cases = vec![
        sends(
            format!("{what} gets the origin's address and port, and one hop less."),
            ORIGIN_PORT,
            ask(protocol, origin).payload(b"hello"),
            to_origin().payload(b"hello"),
        ),
        sends(
            format!("{what} to an origin with port 0 keeps the listener's port."),
            0,
            ask(protocol, origin).payload(b"hello"),
            asked(protocol, origin, VIP_PORT).payload(b"hello"),
        ),
        sends(
            format!("{what} with a payload of odd length keeps a valid checksum."),
            ORIGIN_PORT,
            ask(protocol, origin).payload(b"odd"),
            to_origin().payload(b"odd"),
        ),
        sends(
            format!("{what} with a payload of 1400 bytes passes whole."),
            ORIGIN_PORT,
            ask(protocol, origin).payload(&[0x5a; 1400]),
            to_origin().payload(&[0x5a; 1400]),
        ),
    ];
    // Where the checksum after rewriting, or before, is at an edge of one's complement.
    for sum in [0x0000, 0x0001, 0xfffe] {
        let after = to_origin().payload_for_checksum(sum);
        cases.push(sends(
            format!("{what} whose checksum becomes {sum:#06x} has it written as its RFC says."),
            ORIGIN_PORT,
            ask(protocol, origin).payload(&after),
            to_origin().payload(&after),
        ));
        let before = ask(protocol, origin).payload_for_checksum(sum);
        cases.push(sends(
            format!("{what} whose checksum was {sum:#06x} gets a valid one."),
            ORIGIN_PORT,
            ask(protocol, origin).payload(&before),
            to_origin().payload(&before),
        ));
    }
    cases
}

/// The checksum plus one.
fn wrong_by_one(packet: Packet) -> Packet {
    let frame = packet.bytes();
    let sum = u16::from_be_bytes([frame[50], frame[51]]);
    packet.checksum(sum + 1)
}
