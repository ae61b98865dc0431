//! GUE with remote checksum offload: the checksum is finished by who takes the packet out.

use lbxdp_ebpf::abi::Encapsulation;
use lbxdp_ebpf::checksum::Sum;
use lbxdp_ebpf::verdict::Reason;

use super::tunnel::{INNER_NODE4, Tunnel};
use super::world::{
    BLUE, CLIENT_PORT, ORIGIN_PORT, ORIGIN4, ORIGIN6, TCP, UDP, VIP_PORT, World, address,
    client_like, from_hop, inside, local, nat, to_router, vip_like,
};
use super::{Case, given, theme};
use crate::packet::{Packet, number};

/// `GUE_FLAG_PRIV`.
const PRIVATE: u16 = 1;

fn world(tunnel: &Tunnel, protocol: u8, origin: &str) -> World {
    let vip = local(protocol, vip_like(origin), VIP_PORT);
    World::new()
        .serve(vip, &[nat(origin, ORIGIN_PORT, BLUE, tunnel.path())])
        .answers(inside(BLUE, protocol, origin, ORIGIN_PORT), vip)
        .tunnel(tunnel, BLUE)
}

/// An answer whose checksum field holds the sum of the pseudo header.
fn unfinished(protocol: u8, origin: &str, payload: &[u8]) -> Packet {
    let length = payload.len() as u16 + if protocol == TCP { 20 } else { 8 };
    let sum = Sum::ZERO
        .add_address(&address(origin))
        .add_address(&address(client_like(origin)))
        .add([0, protocol])
        .add_number(length)
        .fold();
    let packet = from_hop().ip(origin, client_like(origin));
    let packet = if protocol == TCP {
        packet.tcp(ORIGIN_PORT, CLIENT_PORT)
    } else {
        packet.udp(ORIGIN_PORT, CLIENT_PORT)
    };
    packet
        .checksum(u16::from_be_bytes(sum.to_ne_bytes()))
        .payload(payload)
}

/// The private flags, and where the sum begins and the field is.
fn fields(start: u16, field: u16) -> Vec<u8> {
    let mut fields = vec![0x80, 0, 0, 0];
    fields.extend(start.to_be_bytes());
    fields.extend(field.to_be_bytes());
    fields
}

fn wrapped(tunnel: &Tunnel, fields: &[u8], inner: &Packet) -> Packet {
    from_hop()
        .ip(tunnel.remote, tunnel.local)
        .udp(50_000, number::PORT_GUE)
        .gue()
        .gue_fields(PRIVATE, fields)
        .ip_of(inner)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for tunnel in Tunnel::both(Encapsulation::Gue) {
        for origin in [ORIGIN4, ORIGIN6] {
            for (protocol, name, in_header) in [(TCP, "TCP", 16), (UDP, "UDP", 6)] {
                for payload in [&b"odd"[..], &[0xff; 1200]] {
                    let start = if origin == ORIGIN4 { 20 } else { 40 };
                    let seen = to_router()
                        .ip(vip_like(origin), client_like(origin))
                        .ttl(63);
                    let seen = if protocol == TCP {
                        seen.tcp(VIP_PORT, CLIENT_PORT)
                    } else {
                        seen.udp(VIP_PORT, CLIENT_PORT)
                    };
                    cases.push(
                        given(
                            format!(
                                "The checksum of {name} from {origin}, of {} bytes in {}, is finished.",
                                payload.len(),
                                tunnel.name()
                            ),
                            world(&tunnel, protocol, origin),
                            wrapped(
                                &tunnel,
                                &fields(start, start + in_header),
                                &unfinished(protocol, origin, payload),
                            ),
                        )
                        .sends(Reason::ReplyNatTunnel, seen.payload(payload))
                        .through(3),
                    );
                }
            }
        }
    }
    cases.extend(left_alone());
    theme("gue", cases)
}

fn left_alone() -> Vec<Case> {
    let tunnel = Tunnel::over_v4(Encapsulation::Gue);
    let inner = unfinished(TCP, ORIGIN4, b"odd");
    let one = |sentence: &str, packet: Packet, reason: Reason| {
        given(sentence, world(&tunnel, TCP, ORIGIN4), packet).ends(reason)
    };
    vec![
        one(
            "GUE with another private flag is the kernel's.",
            wrapped(&tunnel, &[0x40, 0, 0, 0, 0, 20, 0, 36], &inner),
            Reason::NoListener,
        ),
        one(
            "GUE with remote checksum offload and something else is the kernel's.",
            wrapped(&tunnel, &[0x80, 0, 0, 0, 0, 20, 0, 36, 0, 0, 0, 0], &inner),
            Reason::NoListener,
        ),
        one(
            "GUE with a private flag and no room for its field is the kernel's.",
            wrapped(&tunnel, &[0x80, 0, 0, 0], &inner),
            Reason::NoListener,
        ),
        one(
            "GUE with offsets that are not those of its packet's checksum is the kernel's.",
            wrapped(&tunnel, &fields(20, 26), &inner),
            Reason::TunnelOther,
        ),
        one(
            "GUE with a sum that begins elsewhere than at the TCP header is the kernel's.",
            wrapped(&tunnel, &fields(0, 16), &inner),
            Reason::TunnelOther,
        ),
        one(
            "What is for the node itself stays unfinished: the kernel does that.",
            wrapped(
                &tunnel,
                &fields(20, 36),
                &from_hop()
                    .ipv4(ORIGIN4, INNER_NODE4)
                    .tcp(ORIGIN_PORT, CLIENT_PORT),
            ),
            Reason::TunnelOwn,
        ),
    ]
}
