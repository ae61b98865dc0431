//! Packets that do not fit their path: who sent them is told.

use lbxdp_ebpf::abi::{
    Allowance, Encapsulation, PATH_GRE_CHECKSUM, PATH_RESOLVED, PATH_UDP_CHECKSUM, Path, VnetId,
};
use lbxdp_ebpf::verdict::Reason;

use super::tunnel::Tunnel;
use super::world::{
    BLUE, CLIENT_PORT, CLIENT4, CLIENT6, ORIGIN_PORT, ORIGIN4, ORIGIN6, ROUTER_MAC, TCP, UDP,
    VIP_PORT, VIP4, VIP6, World, client_like, from_hop, from_router, inside, local, nat, plain,
    to_hop, to_router, vip_like,
};
use super::{Case, given, theme};
use crate::packet::{Packet, number};

/// What is quoted at most: with the headers before it, 576 bytes of IPv4, 1,280 of IPv6.
const QUOTED: usize = 548;
const QUOTED_V6: usize = 1232;

/// What the client of a VIP is told.
pub(super) fn told(mtu: u32, packet: &Packet) -> Packet {
    tell(to_router(), mtu, packet)
}

/// What the client of a VIP is told over IPv6.
pub(super) fn told6(mtu: u32, packet: &Packet) -> Packet {
    tell6(to_router(), mtu, packet)
}

fn tell(frame: Packet, mtu: u32, packet: &Packet) -> Packet {
    frame
        .ipv4(VIP4, CLIENT4)
        .tos(0xc0)
        .icmp(3, 4, mtu)
        .quote(packet, QUOTED)
}

fn tell6(frame: Packet, mtu: u32, packet: &Packet) -> Packet {
    frame
        .ipv6(VIP6, CLIENT6)
        .icmp(2, 0, mtu)
        .quote(packet, QUOTED_V6)
}

/// A path to the origin of this size.
fn world(mtu: u16) -> World {
    let mut world = World::new();
    for (vip, origin) in [(VIP4, ORIGIN4), (VIP6, ORIGIN6)] {
        for protocol in [TCP, UDP] {
            let path = Path { mtu, ..plain() };
            world = world.serve(
                local(protocol, vip, VIP_PORT),
                &[nat(origin, ORIGIN_PORT, VnetId::LOCAL, path)],
            );
        }
    }
    world
}

fn large(frame: Packet, vip: &str, payload: usize) -> Packet {
    frame
        .ip(client_like(vip), vip)
        .tcp(CLIENT_PORT, VIP_PORT)
        .payload(&vec![0x5a; payload])
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = answered();
    cases.extend(not_answered());
    cases.extend(through_tunnels());
    theme("too big", cases)
}

fn answered() -> Vec<Case> {
    let mut cases = Vec::new();
    for payload in [1300, 1301, 3000] {
        let packet = large(from_router(), VIP4, payload);
        cases.push(
            given(
                format!("A client is told what fits, after {payload} bytes."),
                world(1200),
                packet.clone(),
            )
            .answers(Reason::TooBigAnswered, told(1200, &packet)),
        );
        let packet = large(from_router(), VIP6, payload);
        cases.push(
            given(
                format!("A client over IPv6 is told what fits, after {payload} bytes."),
                world(1280),
                packet.clone(),
            )
            .answers(Reason::TooBigAnswered, told6(1280, &packet)),
        );
    }
    for payload in [1, 2, 507, 508, 509] {
        let packet = large(from_router(), VIP4, payload);
        cases.push(
            given(
                format!("All of a short packet is quoted, with {payload} bytes."),
                world(40),
                packet.clone(),
            )
            .answers(Reason::TooBigAnswered, told(40, &packet)),
        );
    }
    let one = |sentence: &str, packet: Packet, out: Packet| {
        given(sentence, world(1200), packet).answers(Reason::TooBigAnswered, out)
    };
    let datagram = |packet: Packet| packet.udp(CLIENT_PORT, VIP_PORT).payload(&[1; 1300]);
    let padded = large(from_router(), VIP4, 1).trailer(&[0xee; 5]);
    let options = from_router()
        .ipv4(CLIENT4, VIP4)
        .options(&[1; 40])
        .tcp(CLIENT_PORT, VIP_PORT)
        .payload(&[2; 1300]);
    let chain = from_router()
        .ipv6(CLIENT6, VIP6)
        .extension(number::DESTINATION_OPTIONS, 4)
        .tcp(CLIENT_PORT, VIP_PORT)
        .payload(&[2; 1300]);
    let over = datagram(from_router().ipv4(CLIENT4, VIP4).tos(0x2e).ttl(1 + 1).id(7));
    let over6 = datagram(from_router().ipv6(CLIENT6, VIP6).tos(0x2e).flow_label(9));
    let tagged = large(from_router().vlan(0x2005), VIP4, 1300);
    let tagged6 = large(from_router().vlan(5), VIP6, 1300);
    let stacked = large(from_router().service_vlan(5).vlan(6), VIP4, 1300);
    let service6 = large(from_router().service_vlan(5), VIP6, 1300);
    cases.extend([
        one(
            "UDP is answered, and its header is quoted as it came.",
            over.clone(),
            told(1200, &over),
        ),
        one(
            "UDP over IPv6 is answered, and its header is quoted as it came.",
            over6.clone(),
            told6(1200, &over6),
        ),
        one(
            "IPv4 options are quoted, and not in the answer.",
            options.clone(),
            told(1200, &options),
        ),
        one(
            "IPv6 extension headers are quoted, and not in the answer.",
            chain.clone(),
            told6(1200, &chain),
        ),
        one(
            "The answer has the VLAN tag that the packet had.",
            tagged.clone(),
            tell(to_router().vlan(0x2005), 1200, &tagged),
        ),
        one(
            "The answer over IPv6 has the VLAN tag that the packet had.",
            tagged6.clone(),
            tell6(to_router().vlan(5), 1200, &tagged6),
        ),
        one(
            "The answer has both VLAN tags that the packet had.",
            stacked.clone(),
            tell(to_router().service_vlan(5).vlan(6), 1200, &stacked),
        ),
        one(
            "The answer over IPv6 has the service tag that the packet had.",
            service6.clone(),
            tell6(to_router().service_vlan(5), 1200, &service6),
        ),
        given("Ethernet padding is not quoted.", world(40), padded.clone())
            .answers(Reason::TooBigAnswered, told(40, &padded)),
        given(
            "The last of the messages that are allowed is sent.",
            world(1200).but(|tables| {
                tables.allowance.full_at_ns = (Allowance::BURST - 1) * Allowance::INTERVAL_NS;
            }),
            over.clone(),
        )
        .answers(Reason::TooBigAnswered, told(1200, &over)),
    ]);
    cases
}

fn not_answered() -> Vec<Case> {
    let from = |source: &str, destination: &str| {
        from_router()
            .ip(source, destination)
            .tcp(CLIENT_PORT, VIP_PORT)
            .payload(&[3; 1300])
    };
    let mut cases = vec![
        given(
            "A packet that may be fragmented is not, and its sender is not told.",
            world(1200),
            from_router()
                .ipv4(CLIENT4, VIP4)
                .may_fragment()
                .tcp(CLIENT_PORT, VIP_PORT)
                .payload(&[3; 1300]),
        )
        .ends(Reason::TooBigFragmentable),
        given(
            "A CPU that has told enough senders tells no more.",
            world(1200).but(|tables| tables.allowance.full_at_ns = u64::MAX),
            from(CLIENT4, VIP4),
        )
        .ends(Reason::TooBigLimited),
        given(
            "A CPU that has told enough senders tells no more over IPv6 either.",
            world(1200).but(|tables| tables.allowance.full_at_ns = u64::MAX),
            from(CLIENT6, VIP6),
        )
        .ends(Reason::TooBigLimited),
        given(
            "What a group of hosts was sent is not answered.",
            world(1200),
            large(Packet::eth(ROUTER_MAC, [0xff; 6]), VIP4, 1300),
        )
        .ends(Reason::TooBig),
        given(
            "A frame without room for the answer is not answered.",
            world(1200),
            from(CLIENT4, VIP4),
        )
        // XDP keeps 40 bytes for itself; the headers need 28.
        .headroom(64)
        .ends(Reason::NoHeadroom),
        given(
            "Who answers a packet with its last hop is told nothing of its size.",
            world(1200),
            from_router()
                .ipv4(CLIENT4, VIP4)
                .ttl(1)
                .tcp(CLIENT_PORT, VIP_PORT)
                .payload(&[3; 1300]),
        )
        .ends(Reason::TtlExpired),
    ];
    for source in [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
    ] {
        cases.push(
            given(
                format!("{source} is no host that could be told."),
                world(1200),
                from(source, VIP4),
            )
            .ends(Reason::TooBig),
        );
    }
    for source in ["::", "ff02::1"] {
        cases.push(
            given(
                format!("{source} is no host that could be told."),
                world(1200),
                from(source, VIP6),
            )
            .ends(Reason::TooBig),
        );
    }
    cases
}

/// Clients that are in a VNet.
fn through_tunnels() -> Vec<Case> {
    let mut cases = Vec::new();
    for tunnel in [
        Tunnel::over_v4(Encapsulation::IpIp),
        Tunnel::over_v6(Encapsulation::Vxlan),
        Tunnel::over_v4(Encapsulation::Gre).with(PATH_GRE_CHECKSUM),
        Tunnel::over_v6(Encapsulation::Geneve).with(PATH_UDP_CHECKSUM),
    ] {
        for (vip, origin) in [(VIP4, ORIGIN4), (VIP6, ORIGIN6)] {
            let world = || {
                let path = Path {
                    mtu: 1280,
                    ..plain()
                };
                World::new()
                    .serve(
                        inside(BLUE, TCP, vip_like(vip), VIP_PORT),
                        &[nat(origin, ORIGIN_PORT, VnetId::LOCAL, path)],
                    )
                    .tunnel(&tunnel, BLUE)
            };
            let packet = large(from_router(), vip, 1300);
            let message = if vip == VIP4 {
                told(1280, &packet)
            } else {
                told6(1280, &packet)
            };
            let flags = tunnel.flags & !PATH_RESOLVED;
            let name = format!("{vip} behind {} (flags {flags})", tunnel.name());
            cases.push(
                given(
                    format!("A client of {name} is told through its tunnel."),
                    world(),
                    tunnel.arrive(from_hop(), &packet),
                )
                .answers(Reason::TooBigAnswered, tunnel.wrap(to_hop(), &message)),
            );
            cases.push(
                given(
                    format!("A client of {name} whose next hop is unknown is not told."),
                    world().but(|tables| {
                        let path = tables.tunnels.get_mut(&3).expect("the tunnel");
                        path.flags &= !PATH_RESOLVED;
                    }),
                    tunnel.arrive(from_hop(), &packet),
                )
                .ends(Reason::TooBig),
            );
        }
    }
    cases
}
