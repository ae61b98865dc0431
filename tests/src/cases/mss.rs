//! The segment size that SYNs announce: lowered to what the path to the origin carries.

use lbxdp_ebpf::abi::{Encapsulation, PATH_UDP_CHECKSUM, Path, VnetId};
use lbxdp_ebpf::verdict::Reason;

use super::tunnel::Tunnel;
use super::world::{
    BLUE, CLIENT_PORT, ORIGIN_PORT, ORIGIN4, ORIGIN6, TCP, VIP_PORT, VIP4, World, client_like, dsr,
    from_hop, from_router, inside, local, nat, plain, to_hop, to_router, vip_like,
};
use super::{Case, given, theme};
use crate::packet::{Packet, number};

/// The SYN flag of TCP, and with ACK.
const SYN: u8 = 2;
const SYN_ACK: u8 = 18;

/// A tunnel of 1,400 bytes, which leave 1,360 to a segment over IPv4.
fn tunnel() -> Tunnel {
    Tunnel::over_v4(Encapsulation::Vxlan)
}

fn through(tunnel: &Tunnel, origin: &str) -> World {
    let vip = local(TCP, vip_like(origin), VIP_PORT);
    World::new()
        .serve(vip, &[nat(origin, ORIGIN_PORT, BLUE, tunnel.path())])
        .answers(inside(BLUE, TCP, origin, ORIGIN_PORT), vip)
        .tunnel(tunnel, BLUE)
}

/// What a client sends, and what its origin gets.
fn asks(origin: &str, edit: impl Fn(Packet) -> Packet) -> Packet {
    edit(
        from_router()
            .ip(client_like(origin), vip_like(origin))
            .tcp(CLIENT_PORT, VIP_PORT),
    )
}

fn asked(origin: &str, edit: impl Fn(Packet) -> Packet) -> Packet {
    edit(
        to_hop()
            .ip(client_like(origin), origin)
            .ttl(63)
            .tcp(CLIENT_PORT, ORIGIN_PORT),
    )
}

/// The option.
fn mss(size: u16) -> [u8; 4] {
    let [high, low] = size.to_be_bytes();
    [2, 4, high, low]
}

/// A SYN with these options that goes through the tunnel, and the options that it has then.
fn syn(sentence: &str, before: &[u8], after: &[u8]) -> Case {
    let with = |options: &[u8]| {
        let options = options.to_vec();
        move |packet: Packet| packet.tcp_flags(SYN).tcp_options(&options)
    };
    given(
        sentence,
        through(&tunnel(), ORIGIN4),
        asks(ORIGIN4, with(before)),
    )
    .sends(
        Reason::ForwardNatTunnel,
        tunnel().wrap(to_hop(), &asked(ORIGIN4, with(after))),
    )
    .through(3)
}

/// A SYN whose options stay as they are.
fn kept(sentence: &str, options: &[u8]) -> Case {
    syn(sentence, options, options)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = both_ways();
    cases.extend(options());
    cases.extend(paths());
    theme("segment size", cases)
}

fn both_ways() -> Vec<Case> {
    let mut cases = Vec::new();
    for (origin, large, limit) in [(ORIGIN4, 1460, 1360), (ORIGIN6, 1440, 1340)] {
        let client = client_like(origin);
        let announces = |flags: u8, size: u16| {
            move |packet: Packet| packet.tcp_flags(flags).tcp_options(&mss(size))
        };
        let answer = |size| {
            announces(SYN_ACK, size)(from_hop().ip(origin, client).tcp(ORIGIN_PORT, CLIENT_PORT))
        };
        let answered = |size| {
            announces(SYN_ACK, size)(
                to_router()
                    .ip(vip_like(origin), client)
                    .ttl(63)
                    .tcp(VIP_PORT, CLIENT_PORT),
            )
        };
        for (size, becomes) in [
            (large, limit),
            (limit + 1, limit),
            (limit, limit),
            (536, 536),
            (u16::MAX, limit),
        ] {
            cases.push(
                given(
                    format!("A SYN to {origin} that announces {size} says {becomes} in a tunnel."),
                    through(&tunnel(), origin),
                    asks(origin, announces(SYN, size)),
                )
                .sends(
                    Reason::ForwardNatTunnel,
                    tunnel().wrap(to_hop(), &asked(origin, announces(SYN, becomes))),
                )
                .through(3),
            );
            cases.push(
                given(
                    format!("A SYN-ACK of {origin} out of a tunnel: {size} becomes {becomes}."),
                    through(&tunnel(), origin),
                    tunnel().arrive(from_hop(), &answer(size)),
                )
                .sends(Reason::ReplyNatTunnel, answered(becomes))
                .through(3),
            );
        }
    }
    cases
}

fn options() -> Vec<Case> {
    let join = |parts: &[&[u8]]| parts.concat();
    let (large, limit) = (mss(1460), mss(1360));
    let after = |before: &[u8], behind: &[u8]| {
        (
            join(&[before, &large, behind]),
            join(&[before, &limit, behind]),
        )
    };
    let timestamps = [8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
    let mut cases = Vec::new();
    for (sentence, (before, after)) in [
        (
            "What Linux announces: size, SACK, timestamps, window scale.",
            after(&[], &join(&[&[4, 2], &timestamps, &[1, 3, 3, 7]])),
        ),
        (
            "An option at an odd byte is lowered, and the checksum holds.",
            after(&[1], &[1, 1, 0]),
        ),
        (
            "An option behind an option of odd length is lowered.",
            after(&[3, 3, 7], &[0]),
        ),
        (
            "An option behind others is lowered.",
            after(&join(&[&[4, 2], &timestamps]), &[]),
        ),
        (
            "An option behind as many others as there can be is lowered.",
            after(&[1; 36], &[]),
        ),
        (
            "An option behind the longest other one is lowered.",
            after(&join(&[&[254, 36], &[0xaa; 34]]), &[]),
        ),
        (
            "Of two options the first is lowered.",
            after(&[], &mss(1460)),
        ),
    ] {
        cases.push(syn(sentence, &before, &after));
    }
    cases.extend([
        kept("A SYN without options gets none.", &[]),
        kept(
            "A SYN without the option does not get it.",
            &[4, 2, 1, 3, 3, 7, 1, 1],
        ),
        kept(
            "Behind the end of the list there are no options.",
            &[0, 0, 0, 0, 2, 4, 5, 180],
        ),
        kept(
            "An option of the wrong length is left alone.",
            &[2, 3, 5, 180],
        ),
        kept(
            "Behind an option of length 0 nothing is looked for.",
            &[5, 0, 1, 1, 2, 4, 5, 180],
        ),
        kept(
            "Behind an option of length 1 nothing is looked for.",
            &[5, 1, 1, 1, 2, 4, 5, 180],
        ),
        kept(
            "Behind an option longer than the header nothing is looked for.",
            &[5, 250, 1, 1, 2, 4, 5, 180],
        ),
        kept(
            "A length that would lead back to an option leads nowhere.",
            // 20 + 8, and then 28 + 248 = 276, which is 20 modulo 256.
            &[254, 8, 2, 4, 5, 180, 0, 0, 254, 248, 1, 1],
        ),
        kept(
            "An option that its header cuts off is left alone.",
            &[1, 1, 2, 4],
        ),
    ]);
    let edit = |packet: Packet| packet.tcp_options(&mss(1460)).payload(b"data");
    let overlong = |packet: Packet| {
        packet
            .tcp_flags(SYN)
            .tcp_options(&mss(1460))
            .data_offset(15)
    };
    let short = |packet: Packet| packet.tcp_flags(SYN).tcp_options(&mss(1460)).data_offset(4);
    let payload = |packet: Packet| packet.tcp_flags(SYN).payload(&mss(1460));
    let unchanged: [(&str, &dyn Fn(Packet) -> Packet); 4] = [
        ("A segment without SYN announces nothing.", &edit),
        (
            "A TCP header longer than its packet is left alone.",
            &overlong,
        ),
        (
            "A TCP header shorter than any has no options, whatever follows.",
            &short,
        ),
        ("Data of a SYN is no option.", &payload),
    ];
    for (sentence, edit) in unchanged {
        cases.push(
            given(sentence, through(&tunnel(), ORIGIN4), asks(ORIGIN4, edit))
                .sends(
                    Reason::ForwardNatTunnel,
                    tunnel().wrap(to_hop(), &asked(ORIGIN4, edit)),
                )
                .through(3),
        );
    }
    cases
}

fn paths() -> Vec<Case> {
    let announces = |size: u16| move |packet: Packet| packet.tcp_flags(SYN).tcp_options(&mss(size));
    let small = Path {
        mtu: 1300,
        ..plain()
    };
    let tiny = Path { mtu: 44, ..plain() };
    let own = |path| {
        World::new().serve(
            local(TCP, VIP4, VIP_PORT),
            &[nat(ORIGIN4, ORIGIN_PORT, VnetId::LOCAL, path)],
        )
    };
    let ipip = Tunnel::over_v4(Encapsulation::IpIp);
    let summed = Tunnel::over_v6(Encapsulation::Vxlan).with(PATH_UDP_CHECKSUM);
    let behind_options = |packet: Packet| packet.tcp_flags(SYN).tcp_options(&mss(1440));
    let lowered = |packet: Packet| packet.tcp_flags(SYN).tcp_options(&mss(1340));
    let chain = |source: Packet, to: &str, ttl| {
        source
            .ip(client_like(ORIGIN6), to)
            .ttl(ttl)
            .extension(number::DESTINATION_OPTIONS, 1)
    };
    let client_tunnel = Tunnel {
        mtu: 1200,
        ..Tunnel::between(Encapsulation::Gre, "203.0.113.1", "203.0.113.9").slot(9)
    };
    let listener = inside(BLUE, TCP, VIP4, VIP_PORT);
    let in_vnet = || {
        World::new()
            .serve(
                listener,
                &[nat(ORIGIN4, ORIGIN_PORT, VnetId::LOCAL, plain())],
            )
            .answers(local(TCP, ORIGIN4, ORIGIN_PORT), listener)
            .tunnel(&client_tunnel, BLUE)
            .route(BLUE, "192.0.2.0", 24, 9)
    };
    vec![
        given(
            "The path to an origin without a tunnel counts as well.",
            own(small),
            asks(ORIGIN4, announces(1460)),
        )
        .sends(Reason::ForwardNat, asked(ORIGIN4, announces(1260))),
        given(
            "A path with room for four bytes of data says four.",
            own(tiny),
            asks(ORIGIN4, announces(1460)),
        )
        .sends(Reason::ForwardNat, asked(ORIGIN4, announces(4))),
        given(
            "A SYN by DSR is as the client sent it: its answers go another way.",
            World::new().serve(
                local(TCP, VIP4, VIP_PORT),
                &[dsr("203.0.113.2", ipip.path())],
            ),
            asks(ORIGIN4, announces(1460)),
        )
        .sends(
            Reason::ForwardDsr,
            ipip.wrap(
                to_hop(),
                &announces(1460)(
                    to_hop()
                        .ip(client_like(ORIGIN4), VIP4)
                        .ttl(63)
                        .tcp(CLIENT_PORT, VIP_PORT),
                ),
            ),
        )
        .through(3),
        given(
            "The outer checksum holds over a SYN whose headers do not tell its sum.",
            through(&summed, ORIGIN6),
            behind_options(chain(from_router(), vip_like(ORIGIN6), 64).tcp(CLIENT_PORT, VIP_PORT)),
        )
        .sends(
            Reason::ForwardNatTunnel,
            summed.wrap(
                to_hop(),
                &lowered(chain(to_hop(), ORIGIN6, 63).tcp(CLIENT_PORT, ORIGIN_PORT)),
            ),
        )
        .through(3),
        given(
            "The tunnel of a client counts for its SYN.",
            in_vnet(),
            client_tunnel.arrive(from_hop(), &asks(ORIGIN4, announces(1460))),
        )
        .sends(Reason::ForwardNat, asked(ORIGIN4, announces(1160)))
        .through(9),
        given(
            "The tunnel of a client counts for the SYN-ACK to it.",
            in_vnet(),
            from_hop()
                .ip(ORIGIN4, client_like(ORIGIN4))
                .tcp(ORIGIN_PORT, CLIENT_PORT)
                .tcp_flags(SYN_ACK)
                .tcp_options(&mss(1460)),
        )
        .sends(
            Reason::ReplyNat,
            client_tunnel.wrap(
                to_hop(),
                &to_hop()
                    .ip(VIP4, client_like(ORIGIN4))
                    .ttl(63)
                    .tcp(VIP_PORT, CLIENT_PORT)
                    .tcp_flags(SYN_ACK)
                    .tcp_options(&mss(1160)),
            ),
        )
        .through(9),
    ]
}
