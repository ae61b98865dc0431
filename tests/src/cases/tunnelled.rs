//! NAT towards an origin in a VNet, through its tunnel.

use lbxdp_ebpf::abi::{
    Encapsulation, PATH_GRE_CHECKSUM, PATH_GRE_KEY, PATH_INNER_ETHERNET, PATH_SOURCE_ENTROPY,
    PATH_UDP_CHECKSUM, Path, Tags,
};
use lbxdp_ebpf::verdict::Reason;

use super::tunnel::{KINDS, Tunnel};
use super::world::{
    BLUE, CLIENT_PORT, ETH0, GREEN, HOP_MAC, NODE_MAC, ORIGIN_PORT, ORIGIN4, ORIGIN6, TCP, UDP,
    VIP_PORT, VIP4, World, client_like, from_router, local, nat, to_hop, vip_like,
};
use super::{Case, given, theme};
use crate::packet::{Packet, number};

fn world(tunnel: &Tunnel, origin: &str, protocol: u8) -> World {
    World::new()
        .serve(
            local(protocol, vip_like(origin), VIP_PORT),
            &[nat(origin, ORIGIN_PORT, BLUE, tunnel.path())],
        )
        .tunnel(tunnel, BLUE)
}

fn ask(origin: &str) -> Packet {
    from_router().ip(client_like(origin), vip_like(origin))
}

fn asked(origin: &str) -> Packet {
    to_hop().ip(client_like(origin), origin).ttl(63)
}

/// A TCP packet into the tunnel.
fn tcp(sentence: String, tunnel: &Tunnel, origin: &str) -> Case {
    let inner = asked(origin)
        .tcp(CLIENT_PORT, ORIGIN_PORT)
        .payload(b"GET /");
    given(
        sentence,
        world(tunnel, origin, TCP),
        ask(origin).tcp(CLIENT_PORT, VIP_PORT).payload(b"GET /"),
    )
    .sends(Reason::ForwardNatTunnel, tunnel.wrap(to_hop(), &inner))
    .through(3)
}

/// A UDP packet into the tunnel, changed alike before and after.
fn udp(sentence: String, tunnel: &Tunnel, origin: &str, edit: fn(Packet) -> Packet) -> Case {
    let inner = edit(asked(origin).udp(CLIENT_PORT, ORIGIN_PORT)).payload(b"odd");
    given(
        sentence,
        world(tunnel, origin, UDP),
        edit(ask(origin).udp(CLIENT_PORT, VIP_PORT)).payload(b"odd"),
    )
    .sends(Reason::ForwardNatTunnel, tunnel.wrap(to_hop(), &inner))
    .through(3)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in KINDS {
        for tunnel in Tunnel::both(kind) {
            for (origin, version) in [(ORIGIN4, 4), (ORIGIN6, 6)] {
                let sentence = format!("IPv{version} goes into {}.", tunnel.name());
                cases.push(tcp(sentence, &tunnel, origin));
            }
        }
    }
    cases.extend(variants());
    cases.extend(checksums());
    cases.extend(links());
    theme("nat through tunnels", cases)
}

fn variants() -> Vec<Case> {
    let mut cases = Vec::new();
    for tunnel in Tunnel::both(Encapsulation::Geneve) {
        let tunnel = tunnel.with(PATH_INNER_ETHERNET);
        for origin in [ORIGIN4, ORIGIN6] {
            cases.push(tcp(
                format!("{origin} behind {} that carries Ethernet.", tunnel.name()),
                &tunnel,
                origin,
            ));
        }
    }
    for tunnel in Tunnel::both(Encapsulation::Gre) {
        for (flags, what) in [
            (PATH_GRE_KEY, "a key"),
            (PATH_GRE_CHECKSUM, "a checksum"),
            (PATH_GRE_KEY | PATH_GRE_CHECKSUM, "key and checksum"),
        ] {
            let keyed = tunnel
                .clone()
                .with(flags)
                .vni(if flags & PATH_GRE_KEY != 0 {
                    0xdead_beef
                } else {
                    0
                });
            for origin in [ORIGIN4, ORIGIN6] {
                cases.push(tcp(
                    format!("{origin} behind {} with {what}.", tunnel.name()),
                    &keyed,
                    origin,
                ));
            }
        }
    }
    let entropy = [
        Tunnel::over_v4(Encapsulation::IpIp),
        Tunnel::over_v4(Encapsulation::Gre),
        Tunnel::over_v6(Encapsulation::IpIp),
    ];
    for tunnel in entropy {
        let tunnel = tunnel.with(PATH_SOURCE_ENTROPY);
        cases.push(tcp(
            format!(
                "{} carries the flow's entropy in its source address where asked to.",
                tunnel.name()
            ),
            &tunnel,
            ORIGIN4,
        ));
    }
    for vni in [0, 0x00ff_ffff] {
        for kind in [Encapsulation::Vxlan, Encapsulation::Geneve] {
            let tunnel = Tunnel::over_v4(kind).vni(vni);
            cases.push(tcp(
                format!("{kind:?} takes the VNI {vni}."),
                &tunnel,
                ORIGIN4,
            ));
        }
    }
    let odd = Tunnel::over_v4(Encapsulation::Vxlan).at_port(number::PORT_VXLAN_OLD);
    cases.push(tcp(
        "VXLAN at another port than its own.".to_owned(),
        &odd,
        ORIGIN4,
    ));
    cases
}

fn checksums() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in [
        Encapsulation::Gue,
        Encapsulation::Vxlan,
        Encapsulation::Geneve,
    ] {
        for tunnel in Tunnel::both(kind) {
            let summed = tunnel.with(PATH_UDP_CHECKSUM);
            for origin in [ORIGIN4, ORIGIN6] {
                cases.push(tcp(
                    format!(
                        "{} with a UDP checksum carries TCP to {origin}.",
                        summed.name()
                    ),
                    &summed,
                    origin,
                ));
                cases.push(udp(
                    format!(
                        "{} with a UDP checksum carries UDP to {origin}.",
                        summed.name()
                    ),
                    &summed,
                    origin,
                    |packet| packet,
                ));
            }
        }
    }
    let summed = Tunnel::over_v4(Encapsulation::Vxlan).with(PATH_UDP_CHECKSUM);
    // The inner headers do not tell the sum of these packets: their bytes must be summed.
    let unsummed = [
        ("UDP without a checksum", b"odd".to_vec()),
        ("UDP without a checksum and without a payload", Vec::new()),
        (
            "UDP without a checksum and with 1300 bytes",
            (0..1300).map(|i| i as u8).collect(),
        ),
        (
            "UDP without a checksum and with 1301 bytes",
            vec![0xfb; 1301],
        ),
    ];
    for (what, payload) in unsummed {
        for tunnel in [
            summed.clone(),
            Tunnel::over_v6(Encapsulation::Gue).with(PATH_UDP_CHECKSUM),
            Tunnel::over_v4(Encapsulation::Gre).with(PATH_GRE_CHECKSUM),
            Tunnel::over_v6(Encapsulation::Gre).with(PATH_GRE_CHECKSUM | PATH_GRE_KEY),
        ] {
            let inner = asked(ORIGIN4)
                .udp(CLIENT_PORT, ORIGIN_PORT)
                .no_checksum()
                .payload(&payload);
            let packet = ask(ORIGIN4)
                .udp(CLIENT_PORT, VIP_PORT)
                .no_checksum()
                .payload(&payload);
            cases.push(
                given(
                    format!(
                        "{} with a checksum carries {what}, its own valid.",
                        tunnel.name()
                    ),
                    world(&tunnel, ORIGIN4, UDP),
                    packet,
                )
                .sends(Reason::ForwardNatTunnel, tunnel.wrap(to_hop(), &inner))
                .through(3),
            );
        }
    }
    for tunnel in [
        summed.clone(),
        Tunnel::over_v6(Encapsulation::Gre).with(PATH_GRE_CHECKSUM),
    ] {
        let chain = |packet: Packet| packet.extension(number::DESTINATION_OPTIONS, 2);
        let inner = chain(asked(ORIGIN6))
            .tcp(CLIENT_PORT, ORIGIN_PORT)
            .payload(b"GET /");
        cases.push(
            given(
                format!(
                    "{} with a checksum carries extension headers.",
                    tunnel.name()
                ),
                world(&tunnel, ORIGIN6, TCP),
                chain(ask(ORIGIN6))
                    .tcp(CLIENT_PORT, VIP_PORT)
                    .payload(b"GET /"),
            )
            .sends(Reason::ForwardNatTunnel, tunnel.wrap(to_hop(), &inner))
            .through(3),
        );
    }
    cases.push(udp(
        "Inner UDP without a checksum goes into GRE without one.".to_owned(),
        &Tunnel::over_v4(Encapsulation::Gre),
        ORIGIN4,
        Packet::no_checksum,
    ));
    cases.push(udp(
        "GRE with a checksum carries UDP, its checksum valid.".to_owned(),
        &Tunnel::over_v4(Encapsulation::Gre).with(PATH_GRE_CHECKSUM),
        ORIGIN4,
        |packet| packet,
    ));
    let options = |packet: Packet| packet.options(&[0x94, 4, 0, 0]);
    let inner = options(asked(ORIGIN4))
        .tcp(CLIENT_PORT, ORIGIN_PORT)
        .payload(b"GET /");
    cases.push(
        given(
            "The outer checksum is right over an inner header with options.",
            world(&summed, ORIGIN4, TCP),
            options(ask(ORIGIN4))
                .tcp(CLIENT_PORT, VIP_PORT)
                .payload(b"GET /"),
        )
        .sends(Reason::ForwardNatTunnel, summed.wrap(to_hop(), &inner))
        .through(3),
    );
    cases
}

fn links() -> Vec<Case> {
    let tunnel = Tunnel::over_v4(Encapsulation::Vxlan);
    let inner = || asked(ORIGIN4).tcp(CLIENT_PORT, ORIGIN_PORT);
    let request = |frame: Packet| {
        frame
            .ipv4(client_like(VIP4), VIP4)
            .tcp(CLIENT_PORT, VIP_PORT)
    };
    let tagged = Path {
        vlan: [0, 9],
        ..tunnel.path()
    };
    let stacked = Tags::one(10, false).behind(Tags::one(9, true));
    let stacked = Path {
        vlan: stacked.outer,
        inner_vlan: stacked.inner,
        ..tunnel.path()
    };
    let by = |path: Path| {
        world(&tunnel, ORIGIN4, TCP).but(move |tables| {
            tables.origins.get_mut(&0).expect("origin 0").path = path;
        })
    };
    let tagged_world = || by(tagged);
    let behind_two = |sentence, frame| {
        let out = Packet::eth(NODE_MAC, HOP_MAC).service_vlan(9).vlan(10);
        given(sentence, by(stacked), request(frame))
            .sends(Reason::ForwardNatTunnel, tunnel.wrap(out, &inner()))
            .through(3)
    };
    let green = Tunnel::between(Encapsulation::Vxlan, "203.0.113.1", "203.0.113.3")
        .slot(4)
        .vni(200);
    let two = || {
        World::new()
            .serve(
                local(TCP, VIP4, 80),
                &[nat(ORIGIN4, ORIGIN_PORT, BLUE, tunnel.path())],
            )
            .serve(
                local(TCP, VIP4, 81),
                &[nat(ORIGIN4, ORIGIN_PORT, GREEN, green.path())],
            )
            .tunnel(&tunnel, BLUE)
            .tunnel(&green, GREEN)
    };
    vec![
        given(
            "A tunnel within a VLAN has its tag outside.",
            tagged_world(),
            request(from_router()),
        )
        .sends(
            Reason::ForwardNatTunnel,
            tunnel.wrap(Packet::eth(NODE_MAC, HOP_MAC).vlan(9), &inner()),
        )
        .through(3),
        given(
            "The tag of the client's frame does not go into the tunnel.",
            world(&tunnel, ORIGIN4, TCP),
            request(from_router().vlan(5)),
        )
        .sends(Reason::ForwardNatTunnel, tunnel.wrap(to_hop(), &inner()))
        .through(3),
        given(
            "Two tags come off, a tunnel and a tag go on.",
            tagged_world(),
            request(from_router().service_vlan(5).vlan(6)),
        )
        .sends(
            Reason::ForwardNatTunnel,
            tunnel.wrap(Packet::eth(NODE_MAC, HOP_MAC).vlan(9), &inner()),
        )
        .through(3),
        behind_two(
            "A tunnel within a VLAN in a VLAN has both tags outside.",
            from_router(),
        ),
        behind_two(
            "Two tags come off, a tunnel and two tags go on.",
            from_router().vlan(5).vlan(6),
        ),
        given(
            "Ethernet padding of the client's frame is no part of the inner packet.",
            world(&tunnel, ORIGIN4, TCP),
            request(from_router()).trailer(&[0; 6]),
        )
        .sends(Reason::ForwardNatTunnel, tunnel.wrap(to_hop(), &inner()).trailer(&[0; 6]))
        .through(3),
        given(
            "DSCP and ECN of the inner packet stay; the outer one has a DSCP of its own.",
            world(&tunnel, ORIGIN4, TCP),
            from_router().ipv4(client_like(VIP4), VIP4).tos(0xb9).tcp(CLIENT_PORT, VIP_PORT),
        )
        .sends(
            Reason::ForwardNatTunnel,
            tunnel
                .wrap(to_hop(), &asked(ORIGIN4).tos(0xb9).tcp(CLIENT_PORT, ORIGIN_PORT))
                .outer_tos(0x01),
        )
        .through(3),
        given(
            "A packet from another interface is redirected to the tunnel's.",
            world(&tunnel, ORIGIN4, TCP),
            request(from_router()),
        )
        .ingress(super::world::ETH1)
        .sends(Reason::ForwardNatTunnel, tunnel.wrap(to_hop(), &inner()))
        .through(3)
        .redirected_to(ETH0),
        given(
            "Two VNets have an origin of the same address: the first listener's goes to the first.",
            two(),
            from_router().ipv4(client_like(VIP4), VIP4).tcp(CLIENT_PORT, 80),
        )
        .sends(Reason::ForwardNatTunnel, tunnel.wrap(to_hop(), &inner()))
        .through(3),
        given(
            "Two VNets have an origin of the same address: the second listener's goes to the second.",
            two(),
            from_router().ipv4(client_like(VIP4), VIP4).tcp(CLIENT_PORT, 81),
        )
        .sends(Reason::ForwardNatTunnel, green.wrap(to_hop(), &inner()))
        .of_listener(1)
        .of_origin(1)
        .through(4),
    ]
}
