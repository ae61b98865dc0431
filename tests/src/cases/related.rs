//! ICMP errors about packets of flows: to the origin, or to the client, that sent what they quote.

use lbxdp_ebpf::abi::{Encapsulation, PATH_UDP_CHECKSUM, VnetId};
use lbxdp_ebpf::verdict::Reason;

use super::tunnel::Tunnel;
use super::world::{
    BLUE, CLIENT_PORT, ORIGIN_PORT, ORIGIN4, ORIGIN6, TCP, UDP, VIP_PORT, World, client_like, dsr,
    from_hop, from_router, inside, local, nat, plain, to_hop, to_router, vip_like,
};
use super::{Case, given, theme};
use crate::packet::Packet;

/// A router between the node and the client, and one between the node and the origin.
fn router_like(other: &str) -> &'static str {
    if other.contains(':') {
        "2001:db8:c0::ff"
    } else {
        "192.0.2.254"
    }
}

/// Types and codes of errors: unreachable, too big, time exceeded, parameter problem.
fn errors(other: &str) -> [(u8, u8, u32); 4] {
    if other.contains(':') {
        [(1, 4, 0), (2, 0, 1300), (3, 0, 0), (4, 1, 6)]
    } else {
        [(3, 1, 0), (3, 4, 1300), (11, 0, 0), (12, 0, 0x0600_0000)]
    }
}

/// A packet as a router quotes it.
fn quoted(protocol: u8, from: (&str, u16), to: (&str, u16)) -> Packet {
    let packet = to_hop().ip(from.0, to.0).ttl(3);
    if protocol == TCP {
        packet.tcp(from.1, to.1).payload(&[7; 40])
    } else {
        packet.udp(from.1, to.1).payload(&[7; 40])
    }
}

fn error(
    frame: Packet,
    ends: (&str, &str),
    ttl: u8,
    kind: (u8, u8, u32),
    what: &Packet,
    length: usize,
) -> Packet {
    frame
        .ip(ends.0, ends.1)
        .ttl(ttl)
        .icmp(kind.0, kind.1, kind.2)
        .quote(what, length)
}

fn world(tunnel: Option<&Tunnel>, protocol: u8, origin: &str) -> World {
    let vip = local(protocol, vip_like(origin), VIP_PORT);
    let Some(tunnel) = tunnel else {
        return World::new()
            .serve(vip, &[nat(origin, ORIGIN_PORT, VnetId::LOCAL, plain())])
            .answers(local(protocol, origin, ORIGIN_PORT), vip);
    };
    World::new()
        .serve(vip, &[nat(origin, ORIGIN_PORT, BLUE, tunnel.path())])
        .answers(inside(BLUE, protocol, origin, ORIGIN_PORT), vip)
        .tunnel(tunnel, BLUE)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let tunnel = Tunnel::over_v6(Encapsulation::Vxlan).with(PATH_UDP_CHECKSUM);
    for origin in [ORIGIN4, ORIGIN6] {
        let (client, vip, router) = (client_like(origin), vip_like(origin), router_like(origin));
        let header = if origin == ORIGIN4 { 20 } else { 40 };
        for protocol in [TCP, UDP] {
            let there = quoted(protocol, (vip, VIP_PORT), (client, CLIENT_PORT));
            let there_inside = quoted(protocol, (origin, ORIGIN_PORT), (client, CLIENT_PORT));
            let back = quoted(protocol, (client, CLIENT_PORT), (vip, VIP_PORT));
            let back_inside = quoted(protocol, (client, CLIENT_PORT), (origin, ORIGIN_PORT));
            for kind in errors(origin) {
                for length in [header + 8, header + 19, 500] {
                    let what = format!(
                        "{}/{} about protocol {protocol}, {length} bytes quoted",
                        kind.0, kind.1
                    );
                    cases.push(
                        given(
                            format!("An error on the way from {vip} reaches {origin}: {what}."),
                            world(None, protocol, origin),
                            error(from_router(), (router, vip), 64, kind, &there, length),
                        )
                        .sends(
                            Reason::ForwardError,
                            error(to_hop(), (router, origin), 63, kind, &there_inside, length),
                        ),
                    );
                    cases.push(
                        given(
                            format!("An error on the way to {origin} in a tunnel reaches the client of {vip}: {what}."),
                            world(Some(&tunnel), protocol, origin),
                            tunnel.arrive(
                                from_hop(),
                                &error(from_hop(), (origin, client), 64, kind, &back_inside, length),
                            ),
                        )
                        .sends(
                            Reason::ReplyError,
                            error(to_router(), (vip, client), 63, kind, &back, length),
                        )
                        .through(3),
                    );
                }
            }
            let kind = errors(origin)[1];
            cases.push(
                given(
                    format!("An error on the way from {vip} reaches {origin} in its tunnel ({protocol})."),
                    world(Some(&tunnel), protocol, origin),
                    error(from_router(), (router, vip), 64, kind, &there, 500),
                )
                .sends(
                    Reason::ForwardError,
                    tunnel.wrap(
                        to_hop(),
                        &error(to_hop(), (router, origin), 63, kind, &there_inside, 500),
                    ),
                )
                .through(3),
            );
            let ipip = Tunnel::over_v4(Encapsulation::IpIp);
            cases.push(
                given(
                    format!("An error on the way from {vip} reaches its origin by DSR as it is ({protocol})."),
                    World::new().serve(
                        local(protocol, vip, VIP_PORT),
                        &[dsr("203.0.113.2", ipip.path())],
                    ),
                    error(from_router(), (router, vip), 64, kind, &there, 500),
                )
                .sends(
                    Reason::ForwardError,
                    ipip.wrap(
                        to_hop(),
                        &error(to_hop(), (router, vip), 63, kind, &there, 500),
                    ),
                )
                .through(3),
            );
            let strange = quoted(protocol, (vip, 81), (client, CLIENT_PORT));
            let forged = quoted(protocol, (origin, VIP_PORT), (client, CLIENT_PORT));
            for (why, packet, length) in [
                ("about another port", &strange, 500),
                ("that quotes another sender than it is for", &forged, 500),
                ("that quotes too little", &there, header + 7),
            ] {
                cases.push(
                    given(
                        format!("An error to {vip} {why} is not ours ({protocol})."),
                        world(None, protocol, origin),
                        error(from_router(), (router, vip), 64, kind, packet, length),
                    )
                    .ends(Reason::OtherProtocol),
                );
            }
        }
    }
    theme("errors", cases)
}
