//! Answers of origins that do not fit the way to their client: the origin is told.

use lbxdp_ebpf::abi::{Encapsulation, NODE_KERNEL_FRAGMENTS, VnetId};
use lbxdp_ebpf::verdict::Reason;

use super::tunnel::{KINDS, Tunnel};
use super::world::{
    BLUE, CLIENT_PORT, GREEN, ORIGIN_PORT, ORIGIN4, ORIGIN6, SMALL_MTU, TCP, VIP_PORT, World,
    from_hop, inside, local, nat, plain, to_hop, vip_like,
};
use super::{Case, given, theme};
use crate::packet::Packet;

const ORIGINS: [&str; 2] = [ORIGIN4, ORIGIN6];

/// A client to whom a small route leads.
fn client(origin: &str) -> &'static str {
    if origin == ORIGIN4 {
        "192.0.8.1"
    } else {
        "2001:db8:c6::1"
    }
}

fn answer(origin: &str, to: &str) -> Packet {
    from_hop()
        .ip(origin, to)
        .tcp(ORIGIN_PORT, CLIENT_PORT)
        .payload(&[0x5a; 1370])
}

/// What the origin is told, as if by the client.
fn told(frame: Packet, origin: &str, client: &str, mtu: u16, packet: &Packet) -> Packet {
    if origin == ORIGIN4 {
        frame
            .ipv4(client, origin)
            .tos(0xc0)
            .icmp(3, 4, mtu.into())
            .quote(packet, 548)
    } else {
        frame
            .ipv6(client, origin)
            .icmp(2, 0, mtu.into())
            .quote(packet, 1232)
    }
}

fn own(origin: &str) -> World {
    let vip = local(TCP, vip_like(origin), VIP_PORT);
    World::new()
        .serve(vip, &[nat(origin, ORIGIN_PORT, VnetId::LOCAL, plain())])
        .answers(local(TCP, origin, ORIGIN_PORT), vip)
}

fn behind(tunnel: &Tunnel, origin: &str) -> World {
    let vip = local(TCP, vip_like(origin), VIP_PORT);
    World::new()
        .serve(vip, &[nat(origin, ORIGIN_PORT, BLUE, tunnel.path())])
        .answers(inside(BLUE, TCP, origin, ORIGIN_PORT), vip)
        .tunnel(tunnel, BLUE)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for origin in ORIGINS {
        let client = client(origin);
        let large = answer(origin, client);
        cases.push(
            given(
                format!("{origin} is told that its answer does not fit the route to the client."),
                own(origin),
                large.clone(),
            )
            .answers(
                Reason::TooBigAnswered,
                told(to_hop(), origin, client, SMALL_MTU, &large),
            ),
        );
        cases.push(
            given(
                format!("{origin} is not told when no ICMP errors are to be sent."),
                own(origin).but(|tables| {
                    tables.node.as_mut().expect("settings").icmp_interval_ns = 0;
                }),
                large.clone(),
            )
            .ends(Reason::TooBigLimited),
        );
        for tunnel in KINDS.into_iter().flat_map(Tunnel::both) {
            cases.push(
                given(
                    format!("{origin} is told through its tunnel, {}.", tunnel.name()),
                    behind(&tunnel, origin),
                    tunnel.arrive(from_hop(), &large),
                )
                .answers(
                    Reason::TooBigAnswered,
                    tunnel.wrap(to_hop(), &told(to_hop(), origin, client, SMALL_MTU, &large)),
                ),
            );
        }
        let far = if origin == ORIGIN4 {
            "10.1.2.3"
        } else {
            "fd00:1::3"
        };
        let large = answer(origin, far);
        let from = Tunnel::over_v4(Encapsulation::Gre);
        let mut to = Tunnel::over_v4(Encapsulation::Vxlan).slot(4).vni(200);
        to.mtu = 1300;
        let vip = inside(GREEN, TCP, vip_like(origin), VIP_PORT);
        cases.push(
            given(
                format!("{origin} is told what the tunnel of its client carries."),
                World::new()
                    .serve(vip, &[nat(origin, ORIGIN_PORT, BLUE, from.path())])
                    .answers(inside(BLUE, TCP, origin, ORIGIN_PORT), vip)
                    .tunnel(&from, BLUE)
                    .tunnel(&to, GREEN)
                    .route(GREEN, far, if origin == ORIGIN4 { 32 } else { 128 }, 4),
                from.arrive(from_hop(), &large),
            )
            .answers(
                Reason::TooBigAnswered,
                from.wrap(to_hop(), &told(to_hop(), origin, far, 1300, &large)),
            ),
        );
    }
    cases.extend(fragmentable());
    theme("answers too big", cases)
}

fn fragmentable() -> Vec<Case> {
    let may = |packet: Packet| {
        packet
            .id(9)
            .may_fragment()
            .tcp(ORIGIN_PORT, CLIENT_PORT)
            .payload(&[0x5a; 1370])
    };
    let sent = || may(from_hop().ipv4(ORIGIN4, "192.0.8.1"));
    let left = from_hop()
        .ipv4(vip_like(ORIGIN4), "192.0.8.1")
        .id(9)
        .may_fragment()
        .tcp(VIP_PORT, CLIENT_PORT)
        .payload(&[0x5a; 1370]);
    let kernel = |world: World| {
        world.but(|tables| {
            tables.node.as_mut().expect("settings").flags |= NODE_KERNEL_FRAGMENTS;
        })
    };
    let tunnel = Tunnel::over_v4(Encapsulation::IpIp);
    vec![
        given(
            "An answer that may be fragmented is not, unless the kernel is to do it.",
            own(ORIGIN4),
            sent(),
        )
        .ends(Reason::TooBigFragmentable),
        given(
            "An answer that may be fragmented is rewritten and left to the kernel, if asked for.",
            kernel(own(ORIGIN4)),
            sent(),
        )
        .sends(Reason::ReplyToFragment, left.clone())
        .left_to_the_kernel(),
        given(
            "So is one that came through a tunnel.",
            kernel(behind(&tunnel, ORIGIN4)),
            tunnel.arrive(from_hop(), &sent()),
        )
        .sends(Reason::ReplyToFragment, left)
        .left_to_the_kernel()
        .through(3),
        given(
            "An answer that may not be fragmented is not left to the kernel.",
            kernel(own(ORIGIN4)),
            answer(ORIGIN4, "192.0.8.1"),
        )
        .answers(
            Reason::TooBigAnswered,
            told(
                to_hop(),
                ORIGIN4,
                "192.0.8.1",
                SMALL_MTU,
                &answer(ORIGIN4, "192.0.8.1"),
            ),
        ),
        given(
            "Nothing that is too large for a tunnel is fragmented.",
            kernel(World::new())
                .serve(
                    local(TCP, vip_like(ORIGIN4), VIP_PORT),
                    &[nat(ORIGIN4, ORIGIN_PORT, BLUE, tunnel.path())],
                )
                .tunnel(&tunnel, BLUE),
            super::world::from_router()
                .ipv4(super::world::CLIENT4, vip_like(ORIGIN4))
                .may_fragment()
                .tcp(CLIENT_PORT, VIP_PORT)
                .payload(&[1; 1400]),
        )
        .ends(Reason::TooBigFragmentable),
    ]
}
