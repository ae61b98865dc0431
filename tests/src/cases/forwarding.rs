//! What may keep a packet from leaving: TTL, size, next hop, room; and by which interface.

use lbxdp_ebpf::abi::{Encapsulation, Origin, PATH_RESOLVED, Path, VnetId};
use lbxdp_ebpf::verdict::Reason;

use super::too_big::{told, told6};
use super::tunnel::Tunnel;
use super::world::{
    BLUE, CLIENT4, CLIENT6, ETH0, ETH1, HOP_MAC, NODE_MAC_1, ORIGIN4, ORIGIN6, TCP, VIP4, VIP6,
    World, dsr, dsr_l2, from_router, local, nat, plain, plain_eth1, to_hop,
};
use super::{Case, given, theme};
use crate::packet::Packet;

fn serve4(origin: Origin) -> World {
    World::new().serve(local(TCP, VIP4, 80), &[origin])
}

fn serve6(origin: Origin) -> World {
    World::new().serve(local(TCP, VIP6, 80), &[origin])
}

fn nat4(path: Path) -> World {
    serve4(nat(ORIGIN4, 80, VnetId::LOCAL, path))
}

fn nat6(path: Path) -> World {
    serve6(nat(ORIGIN6, 80, VnetId::LOCAL, path))
}

fn ask4(ttl: u8) -> Packet {
    from_router().ipv4(CLIENT4, VIP4).ttl(ttl).tcp(40_000, 80)
}

fn ask6(ttl: u8) -> Packet {
    from_router().ipv6(CLIENT6, VIP6).ttl(ttl).tcp(40_000, 80)
}

fn asked4(ttl: u8) -> Packet {
    to_hop().ipv4(CLIENT4, ORIGIN4).ttl(ttl).tcp(40_000, 80)
}

fn asked6(ttl: u8) -> Packet {
    to_hop().ipv6(CLIENT6, ORIGIN6).ttl(ttl).tcp(40_000, 80)
}

/// Bytes of an IPv4 and a TCP header; of IPv6, twenty more.
const HEADERS: usize = 40;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = hops();
    cases.extend(sizes());
    cases.extend(ways());
    theme("forwarding", cases)
}

fn hops() -> Vec<Case> {
    let vxlan = || Tunnel::over_v4(Encapsulation::Vxlan);
    let mut cases = vec![
        given("TTL 2 leaves as TTL 1.", nat4(plain()), ask4(2))
            .sends(Reason::ForwardNat, asked4(1)),
        given("TTL 255 leaves as TTL 254.", nat4(plain()), ask4(255))
            .sends(Reason::ForwardNat, asked4(254)),
        given("Hop limit 2 leaves as hop limit 1.", nat6(plain()), ask6(2))
            .sends(Reason::ForwardNat, asked6(1)),
        given(
            "DSR on the link changes the MAC alone: TTL 1 stays 1.",
            serve4(dsr_l2(ORIGIN4, plain())),
            ask4(1),
        )
        .sends(
            Reason::ForwardDsrL2,
            to_hop().ipv4(CLIENT4, VIP4).ttl(1).tcp(40_000, 80),
        ),
    ];
    for ttl in [0, 1] {
        for (what, world4, world6) in [
            ("by NAT", nat4(plain()), nat6(plain())),
            (
                "into a tunnel",
                serve4(nat(ORIGIN4, 80, BLUE, vxlan().path())).tunnel(&vxlan(), BLUE),
                serve6(nat(ORIGIN6, 80, BLUE, vxlan().path())).tunnel(&vxlan(), BLUE),
            ),
            (
                "by DSR",
                serve4(dsr(
                    "203.0.113.2",
                    Tunnel::over_v4(Encapsulation::IpIp).path(),
                )),
                serve6(dsr(
                    "203.0.113.2",
                    Tunnel::over_v4(Encapsulation::IpIp).path(),
                )),
            ),
        ] {
            cases.push(
                given(
                    format!("TTL {ttl} goes no further {what}."),
                    world4,
                    ask4(ttl),
                )
                .ends(Reason::TtlExpired),
            );
            cases.push(
                given(
                    format!("Hop limit {ttl} goes no further {what}."),
                    world6,
                    ask6(ttl),
                )
                .ends(Reason::TtlExpired),
            );
        }
    }
    cases
}

fn sizes() -> Vec<Case> {
    let fill =
        |packet: Packet, length: usize, headers: usize| packet.payload(&vec![7; length - headers]);
    let gre = || Tunnel::over_v4(Encapsulation::Gre);
    let through = || serve4(nat(ORIGIN4, 80, BLUE, gre().path())).tunnel(&gre(), BLUE);
    let direct = || {
        let ipip = Tunnel::over_v4(Encapsulation::IpIp);
        serve4(dsr(
            "203.0.113.2",
            Path {
                tunnel: Path::NO_TUNNEL,
                ..ipip.path()
            },
        ))
    };
    vec![
        given(
            "A packet as large as the path allows is sent.",
            nat4(plain()),
            fill(ask4(64), 1500, HEADERS),
        )
        .sends(Reason::ForwardNat, fill(asked4(63), 1500, HEADERS)),
        given(
            "A packet one byte larger than the path allows is not.",
            nat4(plain()),
            fill(ask4(64), 1501, HEADERS),
        )
        .answers(
            Reason::TooBigAnswered,
            told(1500, &fill(ask4(64), 1501, HEADERS)),
        ),
        given(
            "An IPv6 packet as large as the path allows is sent.",
            nat6(plain()),
            fill(ask6(64), 1500, HEADERS + 20),
        )
        .sends(Reason::ForwardNat, fill(asked6(63), 1500, HEADERS + 20)),
        given(
            "An IPv6 packet one byte larger than the path allows is not.",
            nat6(plain()),
            fill(ask6(64), 1501, HEADERS + 20),
        )
        .answers(
            Reason::TooBigAnswered,
            told6(1500, &fill(ask6(64), 1501, HEADERS + 20)),
        ),
        given(
            "Ethernet padding does not count against the path's size.",
            nat4(Path { mtu: 41, ..plain() }),
            fill(ask4(64), 41, HEADERS).trailer(&[0; 5]),
        )
        .sends(
            Reason::ForwardNat,
            fill(asked4(63), 41, HEADERS).trailer(&[0; 5]),
        ),
        given(
            "An inner packet as large as the tunnel allows enters it.",
            through(),
            fill(ask4(64), 1400, HEADERS),
        )
        .sends(
            Reason::ForwardNatTunnel,
            gre().wrap(to_hop(), &fill(asked4(63), 1400, HEADERS)),
        )
        .through(3),
        given(
            "An inner packet one byte larger than the tunnel allows does not enter it.",
            through(),
            fill(ask4(64), 1401, HEADERS),
        )
        .answers(
            Reason::TooBigAnswered,
            told(1400, &fill(ask4(64), 1401, HEADERS)),
        ),
        given(
            "DSR encapsulates a packet that just fits.",
            direct(),
            fill(ask4(64), 1400, HEADERS),
        )
        .sends(
            Reason::ForwardDsr,
            Tunnel::over_v4(Encapsulation::IpIp).wrap(
                to_hop(),
                &fill(
                    to_hop().ipv4(CLIENT4, VIP4).ttl(63).tcp(40_000, 80),
                    1400,
                    HEADERS,
                ),
            ),
        ),
        given(
            "DSR does not encapsulate a packet that is too large.",
            direct(),
            fill(ask4(64), 1401, HEADERS),
        )
        .answers(
            Reason::TooBigAnswered,
            told(1400, &fill(ask4(64), 1401, HEADERS)),
        ),
    ]
}

fn ways() -> Vec<Case> {
    let unresolved = |path: Path| Path {
        flags: path.flags & !PATH_RESOLVED,
        ..path
    };
    let vxlan = || Tunnel::over_v4(Encapsulation::Vxlan);
    let vxlan6 = || Tunnel::over_v6(Encapsulation::Vxlan);
    let tight = || ask4(64).payload(&[9; 300]);
    vec![
        given(
            "An origin behind another interface is redirected to.",
            nat4(plain_eth1()),
            ask4(64),
        )
        .sends(
            Reason::ForwardNat,
            Packet::eth(NODE_MAC_1, HOP_MAC)
                .ipv4(CLIENT4, ORIGIN4)
                .ttl(63)
                .tcp(40_000, 80),
        )
        .redirected_to(ETH1),
        given(
            "A packet that came in by the interface it leaves by is transmitted.",
            nat4(plain_eth1()),
            ask4(64),
        )
        .ingress(ETH1)
        .sends(
            Reason::ForwardNat,
            Packet::eth(NODE_MAC_1, HOP_MAC)
                .ipv4(CLIENT4, ORIGIN4)
                .ttl(63)
                .tcp(40_000, 80),
        ),
        given(
            "A packet from the other interface is redirected to the first.",
            nat4(plain()),
            ask4(64),
        )
        .ingress(ETH1)
        .sends(Reason::ForwardNat, asked4(63))
        .redirected_to(ETH0),
        given(
            "An origin whose next hop is not resolved gets nothing.",
            nat4(unresolved(plain())),
            ask4(64),
        )
        .ends(Reason::NoNextHop),
        given(
            "A tunnel whose next hop is not resolved gets nothing.",
            serve4(nat(ORIGIN4, 80, BLUE, unresolved(vxlan().path()))).tunnel(&vxlan(), BLUE),
            ask4(64),
        )
        .ends(Reason::NoNextHop),
        given(
            "An origin by DSR whose next hop is not resolved gets nothing.",
            serve4(dsr("203.0.113.2", unresolved(vxlan().path()))),
            ask4(64),
        )
        .ends(Reason::NoNextHop),
        given(
            "An origin on the link whose MAC address is not known gets nothing.",
            serve4(dsr_l2(ORIGIN4, unresolved(plain()))),
            ask4(64),
        )
        .ends(Reason::NoNextHop),
        given(
            "A frame without room in front cannot be encapsulated.",
            serve4(nat(ORIGIN4, 80, BLUE, vxlan6().path())).tunnel(&vxlan6(), BLUE),
            tight(),
        )
        // XDP keeps 40 bytes for itself; the headers need 70.
        .headroom(100)
        .ends(Reason::NoHeadroom),
        given(
            "A frame with just enough room in front is encapsulated.",
            serve4(nat(ORIGIN4, 80, BLUE, vxlan6().path())).tunnel(&vxlan6(), BLUE),
            tight(),
        )
        .headroom(112)
        .sends(
            Reason::ForwardNatTunnel,
            vxlan6().wrap(to_hop(), &asked4(63).payload(&[9; 300])),
        )
        .through(3),
        given(
            "A frame without room is still rewritten where it stands.",
            nat4(plain()),
            tight(),
        )
        .headroom(40)
        .sends(Reason::ForwardNat, asked4(63).payload(&[9; 300])),
    ]
}
