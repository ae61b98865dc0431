//! Fragments: all of a datagram reach the origin of the first one, and answers in fragments come back.

use lbxdp_ebpf::abi::{
    Datagram, Encapsulation, Fragment, LISTENER_PORTLESS, LISTENER_SOURCE_HASH, Listener, Origin,
    PATH_GRE_CHECKSUM, PATH_UDP_CHECKSUM, Port, Row, VnetId,
};
use lbxdp_ebpf::verdict::Reason;
use lbxdp_ebpf::{fragment, parse};

use super::tunnel::{KINDS, Tunnel};
use super::world::{
    BLUE, CLIENT_PORT, CLIENT4, CLIENT6, GREEN, ORIGIN_PORT, ORIGIN4, ORIGIN6, TCP, UDP, VIP_PORT,
    VIP4, VIP6, World, address, client_like, dsr, from_hop, from_router, inside, local, nat, plain,
    to_hop, to_router, vip_like,
};
use super::{Case, given, theme};
use crate::packet::{Packet, number};

/// Where datagrams are cut: three fragments.
const CUTS: [usize; 2] = [64, 128];
/// Payload of a datagram that is cut.
const DATA: [u8; 150] = [0x5a; 150];

/// Origins by the address that they have in every VNet.
const ORIGINS: [&str; 2] = [ORIGIN4, ORIGIN6];

fn world(origin: &str, protocol: u8) -> World {
    balanced(
        local(protocol, vip_like(origin), VIP_PORT),
        nat(origin, ORIGIN_PORT, VnetId::LOCAL, plain()),
    )
}

/// A listener with the entry that says that its address is a VIP.
fn balanced(listener: lbxdp_ebpf::abi::Service, origin: Origin) -> World {
    let v4 = listener.address.is_v4();
    let vip = lbxdp_ebpf::abi::Service {
        port: Port::new(0),
        protocol: if v4 { number::ICMP } else { number::ICMPV6 },
        ..listener
    };
    World::new().serve(listener, &[origin]).but(|tables| {
        tables.listeners.insert(vip, Listener::default());
    })
}

/// A datagram, whole.
fn datagram(frame: Packet, from: (&str, u16), to: (&str, u16), ttl: u8) -> Packet {
    frame
        .ip(from.0, to.0)
        .ttl(ttl)
        .udp(from.1, to.1)
        .payload(&DATA)
}

/// A client's request, whole.
fn asked(origin: &str) -> Packet {
    datagram(
        from_router(),
        (client_like(origin), CLIENT_PORT),
        (vip_like(origin), VIP_PORT),
        64,
    )
}

/// What the origin gets, whole.
fn got(origin: &str) -> Packet {
    datagram(
        to_hop(),
        (client_like(origin), CLIENT_PORT),
        (origin, ORIGIN_PORT),
        63,
    )
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = requests();
    cases.extend(unknown());
    cases.extend(by_address());
    cases.extend(tunnels());
    cases.extend(replies());
    cases.extend(direct());
    theme("fragments", cases)
}

fn requests() -> Vec<Case> {
    let mut cases = Vec::new();
    for origin in ORIGINS {
        let sent = asked(origin).pieces(7, &CUTS);
        let wanted = got(origin).pieces(7, &CUTS);
        let [first, middle, last] = [0, 1, 2].map(|index: usize| sent[index].clone());
        cases.push(
            given(
                format!("The first fragment to {origin} is rewritten, with the checksum over all."),
                world(origin, UDP),
                first.clone(),
            )
            .sends(Reason::ForwardNat, wanted[0].clone()),
        );
        cases.push(
            given(
                format!("A middle fragment follows the first one to {origin}, but for its addresses as it came."),
                world(origin, UDP),
                middle.clone(),
            )
            .after(first.clone())
            .sends(Reason::ForwardNat, wanted[1].clone()),
        );
        cases.push(
            given(
                format!("The last fragment follows the first one to {origin}, though it overtakes the middle one."),
                world(origin, UDP),
                last.clone(),
            )
            .after(first.clone())
            .sends(Reason::ForwardNat, wanted[2].clone()),
        );
        cases.push(
            given(
                format!("A later fragment reaches the origin {origin} of the first one, whoever has its row now."),
                world(origin, UDP).but(|tables| {
                    let client = address(client_like(origin));
                    let vip = address(vip_like(origin));
                    let key = key_of(client, vip, 7);
                    // Another origin has the rows; the first fragment went to origin 5.
                    let other = nat(origin, ORIGIN_PORT, VnetId::LOCAL, plain());
                    tables.origins.insert(5, other);
                    for row in tables.rows.values_mut() {
                        *row = Row::VACANT;
                    }
                    tables.fragments.lock().insert(key, Datagram {
                        first: Fragment {
                            source_port: Port::new(CLIENT_PORT),
                            destination_port: Port::new(VIP_PORT),
                            origin: 5,
                            protocol: UDP,
                            reserved: 0,
                        },
                        until_ns: u64::MAX,
                    });
                }),
                middle.clone(),
            )
            .sends(Reason::ForwardNat, wanted[1].clone())
            .of_origin(5),
        );
        let tcp = |frame: Packet, from, to, ttl, port| {
            frame
                .ip(from, to)
                .ttl(ttl)
                .tcp(CLIENT_PORT, port)
                .payload(&DATA)
        };
        let (client, vip) = (client_like(origin), vip_like(origin));
        let segment = tcp(from_router(), client, vip, 64, VIP_PORT).pieces(8, &CUTS);
        let segment_got = tcp(to_hop(), client, origin, 63, ORIGIN_PORT).pieces(8, &CUTS);
        for index in 0..3 {
            cases.push(
                given(
                    format!("TCP in fragments to {origin} is rewritten: fragment {index}."),
                    world(origin, TCP),
                    segment[index].clone(),
                )
                .after(segment[0].clone())
                .sends(Reason::ForwardNat, segment_got[index].clone()),
            );
        }
        let bare =
            |packet: Packet, port| packet.udp(CLIENT_PORT, port).no_checksum().payload(&DATA);
        cases.push(
            given(
                format!("A datagram to {origin} without a checksum has none in fragments either."),
                world(origin, UDP),
                bare(from_router().ip(client, vip), VIP_PORT).pieces(9, &CUTS)[0].clone(),
            )
            .sends(
                Reason::ForwardNat,
                bare(to_hop().ip(client, origin).ttl(63), ORIGIN_PORT).pieces(9, &CUTS)[0].clone(),
            ),
        );
        cases.push(
            given(
                format!("A fragment to {origin} whose last hop is used up goes no further."),
                world(origin, UDP),
                middle.clone().ttl(1),
            )
            .after(first.clone())
            .ends(Reason::TtlExpired),
        );
    }
    cases.push(
        given(
            "An IPv6 packet that is the only fragment of itself is a whole packet (RFC 6946).",
            world(ORIGIN6, UDP),
            from_router()
                .ipv6(CLIENT6, VIP6)
                .fragment_header(0, false)
                .udp(CLIENT_PORT, VIP_PORT)
                .payload(b"whole"),
        )
        .sends(
            Reason::ForwardNat,
            to_hop()
                .ipv6(CLIENT6, ORIGIN6)
                .ttl(63)
                .fragment_header(0, false)
                .udp(CLIENT_PORT, ORIGIN_PORT)
                .payload(b"whole"),
        ),
    );
    cases.push(
        given(
            "A first fragment that is too short for its UDP header has no ports to go by.",
            world(ORIGIN4, UDP),
            from_router()
                .ipv4(CLIENT4, VIP4)
                .id(7)
                .fragment(0x2000)
                .protocol(UDP)
                .payload(&[0x9c, 0x40, 0, 80]),
        )
        .ends(Reason::Truncated),
    );
    cases.push(
        given(
            "A fragment of a fragment is nothing that a host sends.",
            world(ORIGIN6, UDP),
            from_router()
                .ipv6(CLIENT6, VIP6)
                .fragment_header(0, true)
                .fragment_header(0, true)
                .udp(CLIENT_PORT, VIP_PORT),
        )
        .ends(Reason::Fragment),
    );
    cases
}

/// The key of a datagram of UDP in the node's own network.
fn key_of(
    source: lbxdp_ebpf::abi::Address,
    destination: lbxdp_ebpf::abi::Address,
    identification: u32,
) -> lbxdp_ebpf::abi::FragmentKey {
    let mut ip = parse::Ip {
        source,
        destination,
        identification,
        flow_protocol: UDP,
        ..parse::Ip::EMPTY
    };
    if !source.is_v4() {
        ip.outline.version = parse::Version::V6;
    }
    fragment::key(&ip, VnetId::LOCAL)
}

fn unknown() -> Vec<Case> {
    let mut cases = Vec::new();
    for origin in ORIGINS {
        let sent = asked(origin).pieces(7, &CUTS);
        let others = asked(origin).pieces(8, &CUTS);
        cases.push(
            given(
                format!(
                    "A later fragment to {} before its first one is dropped: it cannot wait.",
                    vip_like(origin)
                ),
                world(origin, UDP),
                sent[1].clone(),
            )
            .ends(Reason::FragmentEarly),
        );
        cases.push(
            given(
                format!(
                    "The first fragment of another datagram to {} says nothing of this one.",
                    vip_like(origin)
                ),
                world(origin, UDP),
                sent[1].clone(),
            )
            .after(others[0].clone())
            .ends(Reason::FragmentEarly),
        );
        cases.push(
            given(
                format!(
                    "What the first fragment to {} showed half a minute ago is not believed.",
                    vip_like(origin)
                ),
                world(origin, UDP).but(|tables| {
                    let client = address(client_like(origin));
                    let key = key_of(client, address(vip_like(origin)), 7);
                    tables.fragments.lock().insert(
                        key,
                        Datagram {
                            first: Fragment {
                                source_port: Port::new(CLIENT_PORT),
                                destination_port: Port::new(VIP_PORT),
                                origin: 0,
                                protocol: UDP,
                                reserved: 0,
                            },
                            until_ns: 0,
                        },
                    );
                }),
                sent[1].clone(),
            )
            .ends(Reason::FragmentEarly),
        );
        let elsewhere = if origin == ORIGIN4 {
            "192.0.2.77"
        } else {
            "2001:db8:c0::77"
        };
        cases.push(
            given(
                format!("A later fragment to {elsewhere}, which is no VIP, is the kernel's."),
                world(origin, UDP),
                datagram(from_router(), (client_like(origin), 1), (elsewhere, 80), 64)
                    .pieces(7, &CUTS)[1]
                    .clone(),
            )
            .ends(Reason::Fragment),
        );
        let no_listener = datagram(
            from_router(),
            (client_like(origin), CLIENT_PORT),
            (vip_like(origin), 81),
            64,
        )
        .pieces(7, &CUTS);
        cases.push(
            given(
                format!(
                    "A first fragment to port 81 of {} is not ours.",
                    vip_like(origin)
                ),
                world(origin, UDP),
                no_listener[0].clone(),
            )
            .ends(Reason::NoListener),
        );
        cases.push(
            given(
                format!(
                    "A later fragment to {} does not follow a first one that was not ours.",
                    vip_like(origin)
                ),
                world(origin, UDP),
                no_listener[1].clone(),
            )
            .after(no_listener[0].clone())
            .ends(Reason::FragmentEarly),
        );
    }
    cases.push(
        given(
            "Fragments of the same number by another protocol are another datagram of IPv4.",
            world(ORIGIN4, UDP),
            asked(ORIGIN4).pieces(7, &CUTS)[1].clone().protocol(TCP),
        )
        .after(asked(ORIGIN4).pieces(7, &CUTS)[0].clone())
        .ends(Reason::FragmentEarly),
    );
    cases.push(
        given(
            "Later fragments of IPv6 need not agree about the protocol (RFC 8200, 4.5).",
            world(ORIGIN6, UDP),
            asked(ORIGIN6).pieces(7, &CUTS)[1].clone().protocol(TCP),
        )
        .after(asked(ORIGIN6).pieces(7, &CUTS)[0].clone())
        .sends(
            Reason::ForwardNat,
            got(ORIGIN6).pieces(7, &CUTS)[1].clone().protocol(TCP),
        ),
    );
    cases
}

/// Listeners that choose by the client's address.
fn by_address() -> Vec<Case> {
    let mut cases = Vec::new();
    for origin in ORIGINS {
        let portless = || {
            let vip = address(vip_like(origin));
            let key = fragment::portless(vip, UDP, VnetId::LOCAL);
            world(origin, UDP).but(move |tables| {
                let listener = tables
                    .listeners
                    .get_mut(&local(UDP, vip_like(origin), VIP_PORT))
                    .expect("the listener");
                listener.flags = LISTENER_SOURCE_HASH | LISTENER_PORTLESS;
                let listener = *listener;
                tables.listeners.insert(key, listener);
            })
        };
        let sent = asked(origin).pieces(7, &CUTS);
        let wanted = got(origin).pieces(7, &CUTS);
        for index in 0..3 {
            cases.push(
                given(
                    format!("Where the client's address chooses, fragment {index} reaches {origin} without the others."),
                    portless(),
                    sent[index].clone(),
                )
                .sends(Reason::ForwardNat, wanted[index].clone()),
            );
        }
        cases.push(
            given(
                format!(
                    "Port {UDP} by protocol 44 of {} is no way in for a whole packet.",
                    vip_like(origin)
                ),
                portless(),
                from_router()
                    .ip(client_like(origin), vip_like(origin))
                    .protocol(number::FRAGMENT)
                    .payload(&[0; 40]),
            )
            .ends(if origin == ORIGIN4 {
                Reason::OtherProtocol
            } else {
                // The zeros are a fragment header of a whole packet, and then options without end.
                Reason::Truncated
            }),
        );
    }
    cases
}

fn tunnels() -> Vec<Case> {
    let mut cases = Vec::new();
    let sealed = [
        Tunnel::over_v4(Encapsulation::Gre).with(PATH_GRE_CHECKSUM),
        Tunnel::over_v6(Encapsulation::Gue).with(PATH_UDP_CHECKSUM),
    ];
    let plain = KINDS.into_iter().flat_map(Tunnel::both);
    for tunnel in plain.chain(sealed) {
        for origin in ORIGINS {
            let listener = local(TCP, vip_like(origin), VIP_PORT);
            let world = || {
                balanced(listener, nat(origin, ORIGIN_PORT, BLUE, tunnel.path()))
                    .tunnel(&tunnel, BLUE)
            };
            let segment = |frame: Packet, to, ttl, port| {
                frame
                    .ip(client_like(origin), to)
                    .ttl(ttl)
                    .tcp(CLIENT_PORT, port)
                    .payload(&DATA)
                    .pieces(7, &CUTS)
            };
            let sent = segment(from_router(), vip_like(origin), 64, VIP_PORT);
            let wanted = segment(to_hop(), origin, 63, ORIGIN_PORT);
            for index in [0, 2] {
                cases.push(
                    given(
                        format!(
                            "Fragment {index} to {origin} goes into {} with flags {:#x}.",
                            tunnel.name(),
                            tunnel.flags
                        ),
                        world(),
                        sent[index].clone(),
                    )
                    .after(sent[0].clone())
                    .sends(
                        Reason::ForwardNatTunnel,
                        tunnel.wrap(to_hop(), &wanted[index]),
                    )
                    .through(3),
                );
            }
        }
    }
    cases
}

fn replies() -> Vec<Case> {
    let mut cases = Vec::new();
    let tunnel = Tunnel::over_v4(Encapsulation::Vxlan);
    for origin in ORIGINS {
        let vip = local(UDP, vip_like(origin), VIP_PORT);
        let sent = datagram(
            from_hop(),
            (origin, ORIGIN_PORT),
            (client_like(origin), CLIENT_PORT),
            64,
        )
        .pieces(7, &CUTS);
        let wanted = datagram(
            to_router(),
            (vip_like(origin), VIP_PORT),
            (client_like(origin), CLIENT_PORT),
            63,
        )
        .pieces(7, &CUTS);
        let own = || world(origin, UDP).answers(local(UDP, origin, ORIGIN_PORT), vip);
        let behind = || {
            balanced(vip, nat(origin, ORIGIN_PORT, BLUE, tunnel.path()))
                .answers(inside(BLUE, UDP, origin, ORIGIN_PORT), vip)
                .tunnel(&tunnel, BLUE)
                .tunnel(&tunnel.clone().slot(4).vni(200), GREEN)
        };
        for index in 0..3 {
            cases.push(
                given(
                    format!("Fragment {index} of an answer of {origin} comes from the VIP."),
                    own(),
                    sent[index].clone(),
                )
                .after(sent[0].clone())
                .sends(Reason::ReplyNat, wanted[index].clone()),
            );
            cases.push(
                given(
                    format!(
                        "Fragment {index} of an answer of {origin} in a tunnel comes from the VIP."
                    ),
                    behind(),
                    tunnel.arrive(from_hop(), &sent[index]),
                )
                .after(tunnel.arrive(from_hop(), &sent[0]))
                .sends(Reason::ReplyNatTunnel, wanted[index].clone())
                .through(3),
            );
        }
        cases.push(
            given(
                format!("A later fragment of {origin} in a tunnel whose first one is not known is the kernel's."),
                behind(),
                tunnel.arrive(from_hop(), &sent[1]),
            )
            .ends(Reason::Fragment),
        );
        cases.push(
            given(
                format!(
                    "A later fragment of {origin} does not follow the first one of another VNet."
                ),
                behind(),
                tunnel.clone().vni(200).arrive(from_hop(), &sent[1]),
            )
            .after(tunnel.arrive(from_hop(), &sent[0]))
            .ends(Reason::Fragment),
        );
    }
    cases
}

fn direct() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in KINDS {
        let tunnel = Tunnel::between(kind, super::world::NODE4, "203.0.113.2");
        for origin in ORIGINS {
            let mut path = tunnel.path();
            path.tunnel = lbxdp_ebpf::abi::Path::NO_TUNNEL;
            let world = || {
                balanced(
                    local(UDP, vip_like(origin), VIP_PORT),
                    dsr("203.0.113.2", path),
                )
            };
            let sent = asked(origin).pieces(7, &CUTS);
            for index in 0..3 {
                let inner = sent[index].clone().ttl(63);
                cases.push(
                    given(
                        format!(
                            "Fragment {index} to {} goes to an origin that answers directly by {kind:?}.",
                            vip_like(origin)
                        ),
                        world(),
                        sent[index].clone(),
                    )
                    .after(sent[0].clone())
                    .sends(Reason::ForwardDsr, tunnel.wrap(to_hop(), &inner)),
                );
            }
        }
    }
    cases
}
