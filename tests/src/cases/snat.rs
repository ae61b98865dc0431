//! NAT that hides clients: sources become the node's, and answers find their clients again.

use lbxdp_ebpf::abi::{
    Address, Encapsulation, FlowKey, LISTENER_SNAT, LISTENER_SOURCE_HASH, Mapping, Mode,
    NODE_LOCAL_SNAT, NODE_SNAT, ORIGIN_DOWN, Origin, PATH_INNER_ETHERNET, PATH_UDP_CHECKSUM, Port,
    SEEN_FIN, Session, SnatRange, VnetId,
};
use lbxdp_ebpf::hash::{flow_hash, mix};
use lbxdp_ebpf::mem::MemTables;
use lbxdp_ebpf::verdict::Reason;

use super::tunnel::{INNER_NODE4, INNER_NODE6, KINDS, Tunnel};
use super::world::{
    BLUE, CLIENT_PORT, ETH1, GREEN, NODE4, NODE6, ORIGIN_PORT, ORIGIN4, ORIGIN6, TCP, UDP,
    VIP_PORT, World, address, client_like, from_hop, from_router, inside, local, nat, plain,
    to_hop, to_router, vip_like,
};
use super::{Case, given, theme};
use crate::packet::Packet;

/// A source port that a flow has.
pub(super) const PORT: u16 = 20_000;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;
/// What every origin of these worlds is told apart by.
const IDENTITY: u32 = 0x1d;

/// The node's own address in tunnels of cases.
pub(super) fn own_like(other: &str) -> &'static str {
    if other.contains(':') {
        INNER_NODE6
    } else {
        INNER_NODE4
    }
}

pub(super) fn one(source: &str) -> SnatRange {
    SnatRange {
        address: address(source),
        mask: 0,
    }
}

pub(super) fn snat(origin: Origin, range: SnatRange) -> Origin {
    Origin {
        mode: Mode::NatSnat as u8,
        identity: IDENTITY,
        snat: range,
        ..origin
    }
}

pub(super) fn hiding(world: World) -> World {
    world.but(|tables| {
        tables.node.as_mut().expect("settings").flags |= NODE_SNAT | NODE_LOCAL_SNAT;
        for listener in tables.listeners.values_mut() {
            listener.flags |= LISTENER_SNAT;
        }
    })
}

/// An origin in a VNet that sees the node's own address in the tunnel.
fn behind(tunnel: &Tunnel, protocol: u8, origin: &str) -> World {
    let vip = local(protocol, vip_like(origin), VIP_PORT);
    let range = one(own_like(origin));
    let origin = snat(nat(origin, ORIGIN_PORT, BLUE, tunnel.path()), range);
    hiding(World::new().serve(vip, &[origin]).tunnel(tunnel, BLUE))
}

/// The client's flow.
fn flow(protocol: u8, origin: &str) -> FlowKey {
    FlowKey {
        source: address(client_like(origin)),
        destination: address(vip_like(origin)),
        source_port: Port::new(CLIENT_PORT),
        destination_port: Port::new(VIP_PORT),
        vnet: VnetId::LOCAL,
        protocol,
        reserved: [0; 3],
    }
}

/// The flow of the answers.
fn back(protocol: u8, origin: &str, source: &str, vnet: VnetId) -> FlowKey {
    FlowKey {
        source: address(origin),
        destination: address(source),
        source_port: Port::new(ORIGIN_PORT),
        destination_port: Port::new(PORT),
        vnet,
        protocol,
        reserved: [0; 3],
    }
}

fn session(source: &str) -> Session {
    Session {
        source: address(source),
        source_port: Port::new(PORT),
        origin: 0,
        identity: IDENTITY,
        ..Session::EMPTY
    }
}

fn mapping(origin: &str) -> Mapping {
    Mapping {
        client: address(client_like(origin)),
        address: address(vip_like(origin)),
        client_port: Port::new(CLIENT_PORT),
        port: Port::new(VIP_PORT),
        vnet: VnetId::LOCAL,
        counter: 0,
        origin: 0,
        ..Mapping::EMPTY
    }
}

/// A world in which the client's flow has the source port [`PORT`] already.
pub(super) fn known(world: World, protocol: u8, origin: &str, source: &str, vnet: VnetId) -> World {
    world.but(|tables| {
        let key = back(protocol, origin, source, vnet);
        tables.mappings.lock().insert(key, mapping(origin));
        let key = flow(protocol, origin);
        tables.sessions.lock().insert(key, session(source));
    })
}

/// The port that a flow gets if none is taken: nobody could foretell it without the key.
fn first_port(world: &World, flow: &FlowKey, range: SnatRange) -> (Address, u16) {
    let key = world.tables.node.expect("settings").hash_key;
    let hash = flow_hash(&key, flow);
    let (address, port) = range.pick(mix(u64::from(hash)));
    (address, port.get())
}

fn ask(protocol: u8, origin: &str, flags: u8) -> Packet {
    let packet = from_router().ip(client_like(origin), vip_like(origin));
    transport(packet, protocol, CLIENT_PORT, VIP_PORT, flags)
}

fn asked(protocol: u8, source: &str, port: u16, origin: &str, flags: u8) -> Packet {
    let packet = to_hop().ip(source, origin).ttl(63);
    transport(packet, protocol, port, ORIGIN_PORT, flags)
}

fn answer(protocol: u8, origin: &str, source: &str, flags: u8) -> Packet {
    let packet = from_hop().ip(origin, source);
    transport(packet, protocol, ORIGIN_PORT, PORT, flags)
}

fn answered(protocol: u8, origin: &str, flags: u8) -> Packet {
    let packet = to_router()
        .ip(vip_like(origin), client_like(origin))
        .ttl(63);
    transport(packet, protocol, VIP_PORT, CLIENT_PORT, flags)
}

fn transport(packet: Packet, protocol: u8, from: u16, to: u16, flags: u8) -> Packet {
    if protocol == TCP {
        packet.tcp(from, to).tcp_flags(flags).payload(b"odd")
    } else {
        packet.udp(from, to).payload(b"odd")
    }
}

/// One origin that sees one address of the node, and the SYN of a client from a port.
#[must_use]
pub fn one_hidden_origin() -> (MemTables, fn(u16) -> Packet) {
    let world = behind(&Tunnel::over_v4(Encapsulation::Vxlan), TCP, ORIGIN4);
    (world.tables, |port| {
        let packet = from_router().ip(client_like(ORIGIN4), vip_like(ORIGIN4));
        transport(packet, TCP, port, VIP_PORT, SYN)
    })
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in KINDS {
        for tunnel in Tunnel::both(kind) {
            cases.extend(through(&tunnel, &tunnel.name()));
        }
    }
    let checksums = Tunnel::over_v6(Encapsulation::Geneve);
    let checksums = checksums.with(PATH_INNER_ETHERNET | PATH_UDP_CHECKSUM);
    cases.extend(through(&checksums, "GENEVE with Ethernet and a checksum"));
    cases.extend(beginnings());
    cases.extend(ends_of_sessions());
    cases.extend(strange_answers());
    cases.extend(errors());
    cases.extend(shortages());
    cases.extend(own_network());
    cases.extend(fragments());
    theme("snat", cases)
}

/// A datagram in fragments, both ways: the first one begins the session, the later ones have it.
fn fragments() -> Vec<Case> {
    /// Where the datagram is cut.
    const CUTS: [usize; 2] = [64, 128];
    let tunnel = Tunnel::over_v4(Encapsulation::Vxlan);
    let mut cases = Vec::new();
    let datagram = |frame: Packet, from: (&str, u16), to: (&str, u16), ttl: u8| {
        frame
            .ip(from.0, to.0)
            .ttl(ttl)
            .udp(from.1, to.1)
            .payload(&[0x5a; 150])
            .pieces(7, &CUTS)
    };
    for origin in [ORIGIN4, ORIGIN6] {
        let (client, vip) = (client_like(origin), vip_like(origin));
        let world = || behind(&tunnel, UDP, origin);
        let range = one(own_like(origin));
        let (_, port) = first_port(&world(), &flow(UDP, origin), range);
        let source = own_like(origin);
        let sent = datagram(from_router(), (client, CLIENT_PORT), (vip, VIP_PORT), 64);
        let got = datagram(to_hop(), (source, port), (origin, ORIGIN_PORT), 63);
        let back = datagram(from_hop(), (origin, ORIGIN_PORT), (source, PORT), 64);
        let told = datagram(to_router(), (vip, VIP_PORT), (client, CLIENT_PORT), 63);
        for index in 0..3 {
            let mut request = given(
                format!(
                    "Fragment {index} of a request to {origin} comes from the node's own address."
                ),
                world(),
                sent[index].clone(),
            );
            if index > 0 {
                request = request.after(sent[0].clone());
            }
            cases.push(
                request
                    .sends(Reason::ForwardNatTunnel, tunnel.wrap(to_hop(), &got[index]))
                    .through(3),
            );
            let mut reply = given(
                format!(
                    "Fragment {index} of an answer of {origin} to the node's own address reaches the client."
                ),
                known(world(), UDP, origin, source, BLUE),
                tunnel.arrive(from_hop(), &back[index]),
            );
            if index > 0 {
                reply = reply.after(tunnel.arrive(from_hop(), &back[0]));
            }
            cases.push(
                reply
                    .sends(Reason::ReplyNatTunnel, told[index].clone())
                    .through(3),
            );
        }
        cases.push(
            given(
                format!("A later fragment of {origin} to the node's own address whose first one is not known is the node's."),
                known(world(), UDP, origin, source, BLUE),
                tunnel.arrive(from_hop(), &back[1]),
            )
            .ends(Reason::TunnelOwn),
        );
    }
    cases
}

/// Both directions of a flow that has its source port.
fn through(tunnel: &Tunnel, name: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for origin in [ORIGIN4, ORIGIN6] {
        let own = own_like(origin);
        for protocol in [TCP, UDP] {
            let world = || {
                known(
                    behind(tunnel, protocol, origin),
                    protocol,
                    origin,
                    own,
                    BLUE,
                )
            };
            cases.push(
                given(
                    format!("{origin} sees the node's address in {name} ({protocol})."),
                    world(),
                    ask(protocol, origin, ACK),
                )
                .sends(
                    Reason::ForwardNatTunnel,
                    tunnel.wrap(to_hop(), &asked(protocol, own, PORT, origin, ACK)),
                )
                .through(3),
            );
            cases.push(
                given(
                    format!("The answer of {origin} to the node's address in {name} is the client's ({protocol})."),
                    world(),
                    tunnel.arrive(from_hop(), &answer(protocol, origin, own, ACK)),
                )
                .sends(Reason::ReplyNatTunnel, answered(protocol, origin, ACK))
                .through(3),
            );
        }
    }
    cases
}

/// Whose origins are chosen by the client's address alone.
fn by_source(world: World) -> World {
    world.but(|tables| {
        for listener in tables.listeners.values_mut() {
            listener.flags |= LISTENER_SOURCE_HASH;
        }
    })
}

fn beginnings() -> Vec<Case> {
    let tunnel = Tunnel::over_v4(Encapsulation::Vxlan);
    let mut cases = vec![
        {
            let world = by_source(behind(&tunnel, TCP, ORIGIN4));
            let (_, port) = first_port(&world, &flow(TCP, ORIGIN4), one(INNER_NODE4));
            let inner = asked(TCP, INNER_NODE4, port, ORIGIN4, SYN);
            given(
                "Flows of one client have each its own source port, though one origin serves them.",
                world,
                ask(TCP, ORIGIN4, SYN),
            )
            .sends(Reason::ForwardNatTunnel, tunnel.wrap(to_hop(), &inner))
            .through(3)
        },
        given(
            "No flow begins while an edit of the configuration is half in force.",
            behind(&tunnel, TCP, ORIGIN4).but(|tables| {
                for listener in tables.listeners.values_mut() {
                    listener.flags &= !LISTENER_SNAT;
                }
            }),
            ask(TCP, ORIGIN4, SYN),
        )
        .ends(Reason::NoSession),
    ];
    for origin in [ORIGIN4, ORIGIN6] {
        for (protocol, flags) in [(TCP, SYN), (TCP, ACK), (UDP, 0)] {
            let world = behind(&tunnel, protocol, origin);
            let own = own_like(origin);
            let (_, port) = first_port(&world, &flow(protocol, origin), one(own));
            let inner = asked(protocol, own, port, origin, flags);
            cases.push(
                given(
                    format!("A flow without a source port gets one (protocol {protocol}, flags {flags:#x}, {origin})."),
                    world,
                    ask(protocol, origin, flags),
                )
                .sends(Reason::ForwardNatTunnel, tunnel.wrap(to_hop(), &inner))
                .through(3),
            );
        }
        // A prefix of sources, of which the site knows that they are behind the tunnel.
        let range = SnatRange {
            address: address(if origin == ORIGIN4 {
                "10.254.0.0"
            } else {
                "fd00:254::"
            }),
            mask: 0xff,
        };
        let world = behind(&tunnel, UDP, origin).but(|tables| {
            for origin in tables.origins.values_mut() {
                origin.snat = range;
            }
        });
        let (source, port) = first_port(&world, &flow(UDP, origin), range);
        let inner = asked(UDP, &source.to_string(), port, origin, 0);
        cases.push(
            given(
                format!("A flow gets an address of the VNet's range too ({origin})."),
                world,
                ask(UDP, origin, 0),
            )
            .sends(Reason::ForwardNatTunnel, tunnel.wrap(to_hop(), &inner))
            .through(3),
        );
    }
    let world = behind(&tunnel, TCP, ORIGIN4);
    cases.push(
        given(
            "A reset of no flow begins none.",
            world.clone(),
            ask(TCP, ORIGIN4, RST),
        )
        .ends(Reason::NoSession),
    );
    let (_, port) = first_port(&world, &flow(TCP, ORIGIN4), one(INNER_NODE4));
    let taken = world.but(|tables| {
        let key = FlowKey {
            destination_port: Port::new(port),
            ..back(TCP, ORIGIN4, INNER_NODE4, BLUE)
        };
        let other = Mapping {
            client_port: Port::new(CLIENT_PORT + 1),
            ..mapping(ORIGIN4)
        };
        tables.mappings.lock().insert(key, other);
    });
    let hash = flow_hash(
        &taken.tables.node.expect("settings").hash_key,
        &flow(TCP, ORIGIN4),
    );
    let (_, second) = one(INNER_NODE4).pick(mix(mix(u64::from(hash)).wrapping_add(1)));
    let inner = asked(TCP, INNER_NODE4, second.get(), ORIGIN4, SYN);
    cases.push(
        given(
            "A port that another flow has is left to it.",
            taken,
            ask(TCP, ORIGIN4, SYN),
        )
        .sends(Reason::ForwardNatTunnel, tunnel.wrap(to_hop(), &inner))
        .through(3),
    );
    cases
}

/// A flow that stays with its origin, and one that may not.
fn ends_of_sessions() -> Vec<Case> {
    let tunnel = Tunnel::over_v4(Encapsulation::Vxlan);
    let other = "10.0.0.12";
    let world = |flags: u8, identity: u32, owner: u16, state: u8| {
        let vip = local(TCP, vip_like(ORIGIN4), VIP_PORT);
        let origin = |text| {
            let range = one(INNER_NODE4);
            snat(nat(text, ORIGIN_PORT, BLUE, tunnel.path()), range)
        };
        let world = World::new()
            .serve(vip, &[origin(ORIGIN4), origin(other)])
            .tunnel(&tunnel, BLUE);
        known(hiding(world), TCP, ORIGIN4, INNER_NODE4, BLUE).but(|tables| {
            for row in tables.rows.values_mut() {
                row.current = owner;
            }
            let first = tables.origins.get_mut(&0).expect("an origin");
            first.flags = flags;
            first.identity = identity;
            for session in tables.sessions.lock().values_mut() {
                session.seen.state = state;
            }
        })
    };
    let stays = |sentence: &str, world, flags| {
        let inner = asked(TCP, INNER_NODE4, PORT, ORIGIN4, flags);
        given(sentence, world, ask(TCP, ORIGIN4, flags))
            .sends(Reason::ForwardNatTunnel, tunnel.wrap(to_hop(), &inner))
            .through(3)
    };
    let moves = |sentence: &str, world: World, flags| {
        let (_, port) = first_port(&world, &flow(TCP, ORIGIN4), one(INNER_NODE4));
        let inner = asked(TCP, INNER_NODE4, port, other, flags);
        given(sentence, world, ask(TCP, ORIGIN4, flags))
            .sends(Reason::ForwardNatTunnel, tunnel.wrap(to_hop(), &inner))
            .through(3)
            .of_origin(1)
    };
    vec![
        stays(
            "A flow stays with its origin though new ones go to another.",
            world(0, IDENTITY, 1, 0),
            ACK,
        ),
        stays(
            "A SYN that comes again stays with its origin.",
            world(0, IDENTITY, 1, 0),
            SYN,
        ),
        stays(
            "A flow stays with an origin that is down, if the row has none better.",
            world(ORIGIN_DOWN, IDENTITY, 0, 0),
            ACK,
        ),
        moves(
            "A flow leaves an origin that is down.",
            world(ORIGIN_DOWN, IDENTITY, 1, 0),
            ACK,
        ),
        moves(
            "A flow does not go to another origin that has the slot of its own.",
            world(0, IDENTITY + 1, 1, 0),
            ACK,
        ),
        moves(
            "A flow leaves a source address that its origin answers to no longer.",
            world(0, IDENTITY, 1, 0).but(|tables| {
                for session in tables.sessions.lock().values_mut() {
                    session.source = address("10.255.0.77");
                }
            }),
            ACK,
        ),
        moves(
            "A new connection from the port of one that has ended is a new flow.",
            world(0, IDENTITY, 1, SEEN_FIN),
            SYN,
        ),
        stays(
            "The last acknowledgment of a connection goes to its origin.",
            world(0, IDENTITY, 1, SEEN_FIN),
            ACK,
        ),
    ]
}

/// Answers that nobody waits for.
fn strange_answers() -> Vec<Case> {
    let tunnel = Tunnel::over_v4(Encapsulation::Vxlan);
    let world = || {
        let world = behind(&tunnel, TCP, ORIGIN4);
        known(world, TCP, ORIGIN4, INNER_NODE4, BLUE)
    };
    let arrive = |packet: &Packet| tunnel.arrive(from_hop(), packet);
    let from = |origin, port, to, to_port| {
        let packet = from_hop().ip(origin, to);
        transport(packet, TCP, port, to_port, ACK)
    };
    let mut cases = vec![
        given(
            "An answer to a port that no flow has is the node's own.",
            world(),
            arrive(&from(ORIGIN4, ORIGIN_PORT, INNER_NODE4, PORT + 1)),
        )
        .ends(Reason::TunnelOwn),
        given(
            "A packet from another port of the origin answers no flow.",
            world(),
            arrive(&from(ORIGIN4, ORIGIN_PORT + 1, INNER_NODE4, PORT)),
        )
        .ends(Reason::TunnelOwn),
        given(
            "A packet from another server answers no flow.",
            world(),
            arrive(&from("10.0.0.99", ORIGIN_PORT, INNER_NODE4, PORT)),
        )
        .ends(Reason::TunnelOwn),
        given(
            "A packet to another address than the flow's source answers no flow.",
            world(),
            arrive(&from(ORIGIN4, ORIGIN_PORT, "10.254.0.1", PORT)),
        )
        .ends(Reason::TunnelOther),
        given(
            "An answer by the other protocol is none.",
            world(),
            arrive(&answer(UDP, ORIGIN4, INNER_NODE4, 0)),
        )
        .ends(Reason::TunnelOwn),
        given(
            "The same packet from another VNet answers no flow.",
            world().but(|tables| {
                for peer in tables.peers.values_mut() {
                    peer.vnet = GREEN;
                }
            }),
            arrive(&answer(TCP, ORIGIN4, INNER_NODE4, ACK)),
        )
        .ends(Reason::TunnelOwn),
        given(
            "The same packet outside of the tunnel answers no flow.",
            world(),
            answer(TCP, ORIGIN4, INNER_NODE4, ACK),
        )
        .ends(Reason::NoListener),
        given(
            "A ping to the node's address in the tunnel is the node's.",
            world(),
            arrive(&from_hop().ip(ORIGIN4, INNER_NODE4).echo(7)),
        )
        .ends(Reason::TunnelOwn),
    ];
    let green = Tunnel::over_v4(Encapsulation::Vxlan).slot(5).vni(500);
    let mut inside_green = known(
        {
            let vip = inside(GREEN, TCP, vip_like(ORIGIN4), VIP_PORT);
            let origin = snat(
                nat(ORIGIN4, ORIGIN_PORT, BLUE, tunnel.path()),
                one(INNER_NODE4),
            );
            hiding(World::new().serve(vip, &[origin]))
                .tunnel(&tunnel, BLUE)
                .tunnel(&green, GREEN)
                .route(GREEN, "192.0.2.0", 24, 5)
        },
        TCP,
        ORIGIN4,
        INNER_NODE4,
        BLUE,
    );
    inside_green = inside_green.but(|tables| {
        for mapping in tables.mappings.lock().values_mut() {
            mapping.vnet = GREEN;
        }
    });
    cases.push(
        given(
            "An answer to a client in another VNet goes into its tunnel.",
            inside_green,
            arrive(&answer(TCP, ORIGIN4, INNER_NODE4, ACK)),
        )
        .sends(
            Reason::ReplyNatTunnel,
            green.wrap(to_hop(), &answered(TCP, ORIGIN4, ACK)),
        )
        .through(3),
    );
    cases
}

/// ICMP errors about translated packets.
fn errors() -> Vec<Case> {
    let tunnel = Tunnel::over_v4(Encapsulation::Vxlan);
    let mut cases = Vec::new();
    for (origin, router, site, kind) in [
        (ORIGIN4, "192.0.2.254", "10.0.0.254", (3, 4, 1300)),
        (ORIGIN6, "2001:db8:c0::ff", "fd00::ff", (2, 0, 1300)),
    ] {
        let (client, vip, own) = (client_like(origin), vip_like(origin), own_like(origin));
        for protocol in [TCP, UDP] {
            let world = || {
                let world = behind(&tunnel, protocol, origin);
                known(world, protocol, origin, own, BLUE)
            };
            let quoted = |from, from_port, to, to_port| {
                let packet = to_hop().ip(from, to).ttl(3);
                transport(packet, protocol, from_port, to_port, ACK).payload(&[7; 40])
            };
            let error = |frame: Packet, from, to, ttl, what: &Packet, length| {
                frame
                    .ip(from, to)
                    .ttl(ttl)
                    .icmp(kind.0, kind.1, kind.2)
                    .quote(what, length)
            };
            let header = if origin == ORIGIN4 { 20 } else { 40 };
            for length in [header + 8, 500] {
                cases.push(
                    given(
                        format!("An error about a packet to {origin} reaches the client it was sent for (protocol {protocol}, {length} bytes quoted)."),
                        world(),
                        tunnel.arrive(
                            from_hop(),
                            &error(from_hop(), site, own, 64, &quoted(own, PORT, origin, ORIGIN_PORT), length),
                        ),
                    )
                    .sends(
                        Reason::ReplyError,
                        error(to_router(), vip, client, 63, &quoted(client, CLIENT_PORT, vip, VIP_PORT), length),
                    )
                    .through(3),
                );
                cases.push(
                    given(
                        format!("An error about a packet to the client of {origin} reaches the origin (protocol {protocol}, {length} bytes quoted)."),
                        world(),
                        error(from_router(), router, vip, 64, &quoted(vip, VIP_PORT, client, CLIENT_PORT), length),
                    )
                    .sends(
                        Reason::ForwardError,
                        tunnel.wrap(
                            to_hop(),
                            &error(to_hop(), own, origin, 63, &quoted(origin, ORIGIN_PORT, own, PORT), length),
                        ),
                    )
                    .through(3),
                );
            }
            cases.push(
                given(
                    format!("An error about a packet of no flow begins none (protocol {protocol}, {origin})."),
                    behind(&tunnel, protocol, origin),
                    error(from_router(), router, vip, 64, &quoted(vip, VIP_PORT, client, CLIENT_PORT), 500),
                )
                .ends(Reason::NoSession),
            );
        }
    }
    cases
}

fn shortages() -> Vec<Case> {
    let tunnel = Tunnel::over_v4(Encapsulation::Vxlan);
    let world = || behind(&tunnel, TCP, ORIGIN4);
    let exhausted = world().but(|tables| {
        let mut mappings = tables.mappings.lock();
        for port in 0..SnatRange::PORTS {
            let key = FlowKey {
                destination_port: Port::new(SnatRange::FIRST_PORT + port),
                ..back(TCP, ORIGIN4, INNER_NODE4, BLUE)
            };
            mappings.insert(key, mapping(ORIGIN4));
        }
    });
    vec![
        given(
            "With all ports towards an origin taken a flow gets none.",
            exhausted,
            ask(TCP, ORIGIN4, SYN),
        )
        .ends(Reason::SnatExhausted),
        given(
            "With the table full a flow gets no port.",
            world().but(|tables| tables.full = true),
            ask(TCP, ORIGIN4, SYN),
        )
        .ends(Reason::SnatTableFull),
        given(
            "With the table full a flow keeps its port.",
            known(world(), TCP, ORIGIN4, INNER_NODE4, BLUE).but(|tables| tables.full = true),
            ask(TCP, ORIGIN4, ACK),
        )
        .sends(
            Reason::ForwardNatTunnel,
            tunnel.wrap(to_hop(), &asked(TCP, INNER_NODE4, PORT, ORIGIN4, ACK)),
        )
        .through(3),
    ]
}

/// Origins of the node's own network.
fn own_network() -> Vec<Case> {
    let mut cases = Vec::new();
    for (origin, node) in [(ORIGIN4, NODE4), (ORIGIN6, NODE6)] {
        let world = |protocol| {
            let vip = local(protocol, vip_like(origin), VIP_PORT);
            let origin_there = nat(origin, ORIGIN_PORT, VnetId::LOCAL, plain());
            let world = hiding(World::new().serve(vip, &[snat(origin_there, one(node))]));
            known(world, protocol, origin, node, VnetId::LOCAL)
        };
        for protocol in [TCP, UDP] {
            cases.push(
                given(
                    format!("{origin} in the node's own network sees the node ({protocol})."),
                    world(protocol),
                    ask(protocol, origin, ACK),
                )
                .sends(Reason::ForwardNat, asked(protocol, node, PORT, origin, ACK)),
            );
            cases.push(
                given(
                    format!("The answer of {origin} to the node is the client's ({protocol})."),
                    world(protocol),
                    answer(protocol, origin, node, ACK),
                )
                .sends(Reason::ReplyNat, answered(protocol, origin, ACK)),
            );
        }
        cases.push(
            given(
                format!("What {origin} sends to the node itself is the node's."),
                world(TCP),
                transport(from_hop().ip(origin, node), TCP, ORIGIN_PORT, PORT + 1, ACK),
            )
            .ends(Reason::NoListener),
        );
    }
    let via_eth1 = known(
        hiding(World::new().serve(
            local(TCP, vip_like(ORIGIN4), VIP_PORT),
            &[snat(
                nat(
                    ORIGIN4,
                    ORIGIN_PORT,
                    VnetId::LOCAL,
                    super::world::plain_eth1(),
                ),
                one(NODE4),
            )],
        )),
        TCP,
        ORIGIN4,
        NODE4,
        VnetId::LOCAL,
    );
    cases.push(
        given(
            "A packet whose source is translated leaves by another interface.",
            via_eth1,
            ask(TCP, ORIGIN4, ACK),
        )
        .sends(
            Reason::ForwardNat,
            transport(
                Packet::eth(super::world::NODE_MAC_1, super::world::HOP_MAC)
                    .ip(NODE4, ORIGIN4)
                    .ttl(63),
                TCP,
                PORT,
                ORIGIN_PORT,
                ACK,
            ),
        )
        .redirected_to(ETH1),
    );
    cases
}
