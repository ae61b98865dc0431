//! DSCP, ECN and TTL through tunnels: RFC 6040, and what is configured.

use lbxdp_ebpf::abi::{
    Encapsulation, PATH_DSCP_INHERIT, PATH_TTL_INHERIT, PATH_UDP_CHECKSUM, Path,
};
use lbxdp_ebpf::verdict::Reason;

use super::tunnel::{KINDS, Tunnel};
use super::world::{
    BLUE, CLIENT_PORT, GREEN, ORIGIN_PORT, ORIGIN4, ORIGIN6, TCP, UDP, VIP_PORT, World,
    client_like, dsr, from_hop, from_router, inside, local, nat, to_hop, to_router, vip_like,
};
use super::{Case, given, theme};
use crate::packet::Packet;

/// Codepoints of ECN (RFC 3168, 5).
const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
const CE: u8 = 0b11;

/// A DSCP in its place: expedited forwarding (RFC 3246).
const EF: u8 = 46 << 2;

const ORIGINS: [&str; 2] = [ORIGIN4, ORIGIN6];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = into_tunnels();
    cases.extend(configured());
    cases.extend(direct());
    cases.extend(out_of_tunnels());
    cases.extend(through());
    theme("ecn", cases)
}

fn request(frame: Packet, origin: &str, to: &str, port: u16, ttl: u8) -> Packet {
    frame
        .ip(client_like(origin), to)
        .ttl(ttl)
        .udp(CLIENT_PORT, port)
        .payload(b"odd")
}

fn world(tunnel: &Tunnel, path: Path, origin: &str) -> World {
    World::new()
        .serve(
            local(UDP, vip_like(origin), VIP_PORT),
            &[nat(origin, ORIGIN_PORT, BLUE, path)],
        )
        .tunnel(tunnel, BLUE)
}

fn into_tunnels() -> Vec<Case> {
    let mut cases = Vec::new();
    for tunnel in KINDS.into_iter().flat_map(Tunnel::both) {
        for origin in ORIGINS {
            for ecn in [ECT_0, ECT_1, CE] {
                let inner = request(to_hop(), origin, origin, ORIGIN_PORT, 63).tos(EF | ecn);
                cases.push(
                    given(
                        format!(
                            "ECN {ecn:#04b} of a packet to {origin} is also that of {}; its DSCP is not.",
                            tunnel.name()
                        ),
                        world(&tunnel, tunnel.path(), origin),
                        request(from_router(), origin, vip_like(origin), VIP_PORT, 64)
                            .tos(EF | ecn),
                    )
                    .sends(
                        Reason::ForwardNatTunnel,
                        tunnel.wrap(to_hop(), &inner).outer_tos(ecn),
                    )
                    .through(3),
                );
            }
        }
    }
    cases
}

fn configured() -> Vec<Case> {
    let mut cases = Vec::new();
    let tunnels = KINDS.into_iter().flat_map(Tunnel::both).chain([
        Tunnel::over_v4(Encapsulation::Gue).with(PATH_UDP_CHECKSUM),
        Tunnel::over_v6(Encapsulation::Vxlan).with(PATH_UDP_CHECKSUM),
    ]);
    for tunnel in tunnels {
        for origin in ORIGINS {
            let tos = EF | ECT_0;
            let sent = request(from_router(), origin, vip_like(origin), VIP_PORT, 9).tos(tos);
            let inner = request(to_hop(), origin, origin, ORIGIN_PORT, 8).tos(tos);
            for (flags, what, outer_tos, outer_ttl) in [
                (PATH_DSCP_INHERIT, "DSCP", tos, 64),
                (PATH_TTL_INHERIT, "TTL", ECT_0, 8),
                (PATH_DSCP_INHERIT | PATH_TTL_INHERIT, "DSCP and TTL", tos, 8),
            ] {
                let tunnel = tunnel.clone().with(flags);
                cases.push(
                    given(
                        format!(
                            "{what} of {} (flags {:#x}) are those of the packet to {origin}, as asked for.",
                            tunnel.name(),
                            tunnel.flags
                        ),
                        world(&tunnel, tunnel.path(), origin),
                        sent.clone(),
                    )
                    .sends(
                        Reason::ForwardNatTunnel,
                        tunnel
                            .wrap(to_hop(), &inner)
                            .outer_tos(outer_tos)
                            .outer_ttl(outer_ttl),
                    )
                    .through(3),
                );
            }
        }
    }
    cases
}

fn direct() -> Vec<Case> {
    KINDS
        .into_iter()
        .map(|kind| {
            let tunnel = Tunnel::over_v4(kind).with(PATH_DSCP_INHERIT);
            let path = Path {
                tunnel: Path::NO_TUNNEL,
                ..tunnel.path()
            };
            let tos = EF | CE;
            let sent = request(from_router(), ORIGIN4, vip_like(ORIGIN4), VIP_PORT, 64).tos(tos);
            given(
                format!(
                    "{kind:?} to an origin that answers directly has DSCP and ECN of its packet."
                ),
                World::new().serve(
                    local(UDP, vip_like(ORIGIN4), VIP_PORT),
                    &[dsr("203.0.113.2", path)],
                ),
                sent.clone(),
            )
            .sends(
                Reason::ForwardDsr,
                tunnel.wrap(to_hop(), &sent.ttl(63)).outer_tos(tos),
            )
        })
        .collect()
}

/// An origin's answer.
fn answer(frame: Packet, from: (&str, u16), origin: &str, ttl: u8) -> Packet {
    frame
        .ip(from.0, client_like(origin))
        .ttl(ttl)
        .tcp(from.1, CLIENT_PORT)
        .payload(b"200 OK")
}

/// RFC 6040, figure 4.
fn out_of_tunnels() -> Vec<Case> {
    let mut cases = Vec::new();
    for tunnel in [
        Tunnel::over_v4(Encapsulation::Vxlan),
        Tunnel::over_v6(Encapsulation::Gre),
    ] {
        for origin in ORIGINS {
            let vip = local(TCP, vip_like(origin), VIP_PORT);
            for (inner, outer, becomes) in [
                (NOT_ECT, NOT_ECT, Some(NOT_ECT)),
                (NOT_ECT, ECT_0, Some(NOT_ECT)),
                (NOT_ECT, ECT_1, Some(NOT_ECT)),
                (NOT_ECT, CE, None),
                (ECT_0, NOT_ECT, Some(ECT_0)),
                (ECT_0, ECT_0, Some(ECT_0)),
                (ECT_0, ECT_1, Some(ECT_1)),
                (ECT_0, CE, Some(CE)),
                (ECT_1, NOT_ECT, Some(ECT_1)),
                (ECT_1, ECT_0, Some(ECT_1)),
                (ECT_1, ECT_1, Some(ECT_1)),
                (ECT_1, CE, Some(CE)),
                (CE, NOT_ECT, Some(CE)),
                (CE, ECT_0, Some(CE)),
                (CE, ECT_1, Some(CE)),
                (CE, CE, Some(CE)),
            ] {
                let sent = answer(from_hop(), (origin, ORIGIN_PORT), origin, 64).tos(EF | inner);
                let given = given(
                    format!(
                        "An answer of {origin} with ECN {inner:#04b} in {} with {outer:#04b} {}.",
                        tunnel.name(),
                        becomes.map_or("is dropped".to_owned(), |ecn| format!("has {ecn:#04b}"))
                    ),
                    World::new()
                        .serve(vip, &[nat(origin, ORIGIN_PORT, BLUE, tunnel.path())])
                        .answers(inside(BLUE, TCP, origin, ORIGIN_PORT), vip)
                        .tunnel(&tunnel, BLUE),
                    tunnel.arrive(from_hop(), &sent).outer_tos(0x20 | outer),
                );
                cases.push(match becomes {
                    None => given.ends(Reason::CongestionLost),
                    Some(ecn) => given
                        .sends(
                            Reason::ReplyNatTunnel,
                            answer(to_router(), (vip_like(origin), VIP_PORT), origin, 63)
                                .tos(EF | ecn),
                        )
                        .through(3),
                });
            }
        }
    }
    cases
}

/// Out of one tunnel and into another.
fn through() -> Vec<Case> {
    let from = Tunnel::over_v4(Encapsulation::Geneve).slot(4).vni(200);
    let into = Tunnel::over_v4(Encapsulation::IpIp);
    ORIGINS
        .into_iter()
        .map(|origin| {
            let client = from_hop();
            let sent = request(client, origin, vip_like(origin), VIP_PORT, 64).tos(ECT_0);
            let inner = request(to_hop(), origin, origin, ORIGIN_PORT, 63).tos(CE);
            given(
                format!(
                    "What the tunnel of a client says of congestion goes into that of {origin}."
                ),
                World::new()
                    .serve(
                        inside(GREEN, UDP, vip_like(origin), VIP_PORT),
                        &[nat(origin, ORIGIN_PORT, BLUE, into.path())],
                    )
                    .tunnel(&into, BLUE)
                    .tunnel(&from, GREEN),
                from.arrive(from_hop(), &sent).outer_tos(CE),
            )
            .sends(
                Reason::ForwardNatTunnel,
                into.wrap(to_hop(), &inner).outer_tos(CE),
            )
            .through(3)
        })
        .collect()
}
