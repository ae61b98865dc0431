//! Direct server return: the client's packet, whole, to an origin that owns the VIP.

use lbxdp_ebpf::abi::{
    Encapsulation, PATH_GRE_CHECKSUM, PATH_GRE_KEY, PATH_INNER_ETHERNET, PATH_UDP_CHECKSUM, Path,
};
use lbxdp_ebpf::verdict::Reason;

use super::tunnel::{KINDS, Tunnel};
use super::world::{
    CLIENT_PORT, ETH1, HOP_MAC, NODE_MAC_1, ORIGIN4, ORIGIN6, TCP, UDP, VIP_PORT, VIP4, VIP6,
    World, client_like, dsr, dsr_l2, from_router, local, plain, plain_eth1, to_hop,
};
use super::{Case, given, theme};
use crate::packet::Packet;

fn world(tunnel: &Tunnel, vip: &str, protocol: u8) -> World {
    // DSR counts for its origin; there is no tunnel of a VNet.
    let path = Path {
        tunnel: Path::NO_TUNNEL,
        ..tunnel.path()
    };
    World::new().serve(local(protocol, vip, VIP_PORT), &[dsr(tunnel.remote, path)])
}

fn tcp(sentence: String, tunnel: &Tunnel, vip: &str) -> Case {
    let from = |frame: Packet, ttl| {
        frame
            .ip(client_like(vip), vip)
            .ttl(ttl)
            .tcp(CLIENT_PORT, VIP_PORT)
            .payload(b"GET /")
    };
    given(sentence, world(tunnel, vip, TCP), from(from_router(), 64)).sends(
        Reason::ForwardDsr,
        tunnel.wrap(to_hop(), &from(to_hop(), 63)),
    )
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in KINDS {
        for tunnel in Tunnel::both(kind) {
            for (vip, version) in [(VIP4, 4), (VIP6, 6)] {
                let sentence = format!("IPv{version} reaches its origin by {}.", tunnel.name());
                cases.push(tcp(sentence, &tunnel, vip));
            }
        }
    }
    for (what, tunnel) in [
        (
            "GENEVE that carries Ethernet",
            Tunnel::over_v4(Encapsulation::Geneve).with(PATH_INNER_ETHERNET),
        ),
        (
            "GRE with a key",
            Tunnel::over_v4(Encapsulation::Gre)
                .with(PATH_GRE_KEY)
                .vni(5),
        ),
        (
            "GRE with key and checksum",
            Tunnel::over_v6(Encapsulation::Gre)
                .with(PATH_GRE_KEY | PATH_GRE_CHECKSUM)
                .vni(5),
        ),
        (
            "GUE with a UDP checksum",
            Tunnel::over_v4(Encapsulation::Gue).with(PATH_UDP_CHECKSUM),
        ),
        (
            "VXLAN with a UDP checksum",
            Tunnel::over_v6(Encapsulation::Vxlan).with(PATH_UDP_CHECKSUM),
        ),
    ] {
        for vip in [VIP4, VIP6] {
            cases.push(tcp(
                format!("{vip} reaches its origin by {what}."),
                &tunnel,
                vip,
            ));
        }
    }
    cases.extend(details());
    cases.extend(on_the_link());
    theme("dsr", cases)
}

fn details() -> Vec<Case> {
    let ipip = Tunnel::over_v4(Encapsulation::IpIp);
    let options = |frame: Packet, ttl| {
        frame
            .ipv4(client_like(VIP4), VIP4)
            .ttl(ttl)
            .tos(0xb9)
            .id(77)
            .options(&[0x94, 4, 0, 0])
            .tcp(CLIENT_PORT, VIP_PORT)
            .payload(b"x")
    };
    let datagram = |frame: Packet, ttl| {
        frame
            .ipv4(client_like(VIP4), VIP4)
            .ttl(ttl)
            .udp(CLIENT_PORT, VIP_PORT)
            .no_checksum()
            .payload(b"?")
    };
    let wrong = |frame: Packet, ttl| {
        frame
            .ipv4(client_like(VIP4), VIP4)
            .ttl(ttl)
            .tcp(CLIENT_PORT, VIP_PORT)
            .checksum(0xbad)
    };
    vec![
        given(
            "Options, TOS and identification of the client's packet arrive as they were.",
            world(&ipip, VIP4, TCP),
            options(from_router(), 64),
        )
        .sends(
            Reason::ForwardDsr,
            ipip.wrap(to_hop(), &options(to_hop(), 63)).outer_tos(0x01),
        ),
        given(
            "A UDP packet without a checksum arrives without one.",
            world(&ipip, VIP4, UDP),
            datagram(from_router(), 64),
        )
        .sends(
            Reason::ForwardDsr,
            ipip.wrap(to_hop(), &datagram(to_hop(), 63)),
        ),
        given(
            "A wrong TCP checksum is for the origin to find.",
            world(&ipip, VIP4, TCP),
            wrong(from_router(), 64),
        )
        .sends(
            Reason::ForwardDsr,
            ipip.wrap(to_hop(), &wrong(to_hop(), 63)),
        ),
        given(
            "An extension header of IPv6 arrives as it was.",
            world(&ipip, VIP6, TCP),
            from_router()
                .ipv6(client_like(VIP6), VIP6)
                .extension(crate::packet::number::DESTINATION_OPTIONS, 2)
                .tcp(CLIENT_PORT, VIP_PORT),
        )
        .sends(
            Reason::ForwardDsr,
            ipip.wrap(
                to_hop(),
                &to_hop()
                    .ipv6(client_like(VIP6), VIP6)
                    .ttl(63)
                    .extension(crate::packet::number::DESTINATION_OPTIONS, 2)
                    .tcp(CLIENT_PORT, VIP_PORT),
            ),
        ),
        given(
            "DSR without an encapsulation leads nowhere.",
            World::new().serve(local(TCP, VIP4, VIP_PORT), &[dsr(ORIGIN4, plain())]),
            options(from_router(), 64),
        )
        .ends(Reason::NoNextHop),
    ]
}

fn on_the_link() -> Vec<Case> {
    let request = |frame: Packet, vip| {
        frame
            .ip(client_like(vip), vip)
            .tcp(CLIENT_PORT, VIP_PORT)
            .payload(b"GET /")
    };
    let world = |vip, origin, path: Path| {
        World::new().serve(local(TCP, vip, VIP_PORT), &[dsr_l2(origin, path)])
    };
    vec![
        given(
            "An origin on the link gets the packet with its MAC address, all else as it was.",
            world(VIP4, ORIGIN4, plain()),
            request(from_router(), VIP4),
        )
        .sends(Reason::ForwardDsrL2, request(to_hop(), VIP4)),
        given(
            "The same over IPv6.",
            world(VIP6, ORIGIN6, plain()),
            request(from_router(), VIP6),
        )
        .sends(Reason::ForwardDsrL2, request(to_hop(), VIP6)),
        given(
            "An origin on another link is redirected to.",
            world(VIP4, ORIGIN4, plain_eth1()),
            request(from_router(), VIP4),
        )
        .sends(
            Reason::ForwardDsrL2,
            request(Packet::eth(NODE_MAC_1, HOP_MAC), VIP4),
        )
        .redirected_to(ETH1),
        given(
            "An origin in a VLAN gets the packet with its tag.",
            world(
                VIP4,
                ORIGIN4,
                Path {
                    vlan: [0, 9],
                    ..plain()
                },
            ),
            request(from_router(), VIP4),
        )
        .sends(Reason::ForwardDsrL2, request(to_hop().vlan(9), VIP4)),
        given(
            "The tag of the client's frame is not for the origin's link.",
            world(VIP4, ORIGIN4, plain()),
            request(from_router().vlan(5), VIP4),
        )
        .sends(Reason::ForwardDsrL2, request(to_hop(), VIP4)),
    ]
}
