//! Rows at risk: a flow stays with the origin that it began with, though its row has moved, or will.

use lbxdp_ebpf::abi::{
    FlowKey, LISTENER_QUIC, LISTENER_UDP_MOVE, ORIGIN_DOWN, Origin, OriginIndex, Port,
    ROW_GENERATION, ROW_INSERT, ROW_LOOKUP, SEEN_ESTABLISHED, SEEN_FIN, Seen, Tracked, VnetId,
};
use lbxdp_ebpf::hash::{flow_hash, reduce};
use lbxdp_ebpf::mem::MemTables;
use lbxdp_ebpf::verdict::Reason;

use super::world::{
    CLIENT_PORT, ORIGIN_PORT, ORIGIN4, ORIGIN6, TCP, UDP, VIP_PORT, World, address, client_like,
    from_router, local, nat, plain, to_hop, vip_like,
};
use super::{Case, given, theme};
use crate::packet::Packet;

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const FIN_ACK: u8 = 0x11;

/// The owner before an edit, or that which a flow is recorded with.
const OLD: OriginIndex = 0;
/// The owner.
const NEW: OriginIndex = 1;
/// A third one.
const OTHER: OriginIndex = 2;

/// An edit has given all rows to another owner.
const EDITED: u8 = ROW_GENERATION | ROW_LOOKUP;
/// The owner by configuration is down.
const REPAIRED: u8 = ROW_INSERT | ROW_LOOKUP;

/// The address of an origin of the family of another's.
fn origin(index: OriginIndex, like: &str) -> &'static str {
    let addresses = if like.contains(':') {
        [ORIGIN6, "fd00::12", "fd00::13"]
    } else {
        [ORIGIN4, "10.0.0.12", "10.0.0.13"]
    };
    addresses[usize::from(index)]
}

/// Three origins, the second of which owns all rows, with these flags.
fn world(protocol: u8, like: &str, flags: u8) -> World {
    let origins = [OLD, NEW, OTHER].map(|index| Origin {
        identity: 100 + u32::from(index),
        ..nat(origin(index, like), ORIGIN_PORT, VnetId::LOCAL, plain())
    });
    World::new()
        .serve(local(protocol, vip_like(like), VIP_PORT), &origins)
        .but(|tables| {
            for row in tables.rows.values_mut() {
                row.current = NEW;
                row.previous = [OLD; 2];
                row.flags = flags;
            }
        })
}

fn flow(protocol: u8, like: &str) -> FlowKey {
    FlowKey {
        source: address(client_like(like)),
        destination: address(vip_like(like)),
        source_port: Port::new(CLIENT_PORT),
        destination_port: Port::new(VIP_PORT),
        protocol,
        ..FlowKey::EMPTY
    }
}

/// The flow is recorded with an origin.
fn recorded(world: World, protocol: u8, with: OriginIndex, state: u8) -> World {
    world.but(|tables| {
        let entry = Tracked {
            origin: with,
            identity: 100 + u32::from(with),
            seen: Seen {
                state,
                ..Seen::NEVER
            },
            ..Tracked::EMPTY
        };
        tables.flows.lock().insert(flow(protocol, ORIGIN4), entry);
    })
}

fn listener(world: World, flags: u32) -> World {
    world.but(|tables| {
        for listener in tables.listeners.values_mut() {
            listener.flags |= flags;
        }
    })
}

fn segment(like: &str, flags: u8) -> Packet {
    let packet = from_router().ip(client_like(like), vip_like(like));
    packet.tcp(CLIENT_PORT, VIP_PORT).tcp_flags(flags)
}

fn datagram(payload: &[u8]) -> Packet {
    let packet = from_router().ip(client_like(ORIGIN4), vip_like(ORIGIN4));
    packet.udp(CLIENT_PORT, VIP_PORT).payload(payload)
}

/// A case of TCP: after these segments, one with `flags` goes to an origin.
fn tcp(
    sentence: impl Into<String>,
    world: World,
    like: &str,
    earlier: &[u8],
    flags: u8,
    to: OriginIndex,
) -> Case {
    let out = to_hop()
        .ip(client_like(like), origin(to, like))
        .ttl(63)
        .tcp(CLIENT_PORT, ORIGIN_PORT)
        .tcp_flags(flags);
    let mut given = given(sentence, world, segment(like, flags));
    for &flags in earlier {
        given = given.after(segment(like, flags));
    }
    given.sends(Reason::ForwardNat, out).of_origin(to)
}

/// A case of UDP: after these datagrams, one goes to an origin.
fn udp(
    sentence: impl Into<String>,
    world: World,
    earlier: &[&[u8]],
    payload: &[u8],
    to: OriginIndex,
) -> Case {
    let out = to_hop()
        .ip(client_like(ORIGIN4), origin(to, ORIGIN4))
        .ttl(63)
        .udp(CLIENT_PORT, ORIGIN_PORT)
        .payload(payload);
    let mut given = given(sentence, world, datagram(payload));
    for payload in earlier {
        given = given.after(datagram(payload));
    }
    given.sends(Reason::ForwardNat, out).of_origin(to)
}

/// Rows whose flows are recorded, and a segment from a port.
#[must_use]
pub fn repaired_rows() -> (MemTables, fn(u16) -> Packet) {
    let world = world(TCP, ORIGIN4, REPAIRED);
    (world.tables, |port| {
        let packet = from_router().ip(client_like(ORIGIN4), vip_like(ORIGIN4));
        packet.tcp(port, VIP_PORT).tcp_flags(ACK)
    })
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for like in [ORIGIN4, ORIGIN6] {
        cases.extend(edited(like));
    }
    cases.extend(unusable());
    cases.extend(grown());
    cases.extend(known());
    cases.extend(repaired());
    cases.extend(of_udp());
    cases.extend(of_quic());
    theme("risk", cases)
}

fn edited(like: &str) -> Vec<Case> {
    let version = if like == ORIGIN4 { 4 } else { 6 };
    let world = || world(TCP, like, EDITED);
    let over = |sentence: &str| format!("{sentence} (IPv{version})");
    vec![
        tcp(
            over("After an edit a connection begins with the new owner of its row."),
            world(),
            like,
            &[],
            SYN,
            NEW,
        ),
        tcp(
            over("After an edit a connection that began before stays with the owner before."),
            world(),
            like,
            &[],
            ACK,
            OLD,
        ),
        tcp(
            over("A connection that began after the edit stays with the new owner."),
            world(),
            like,
            &[SYN],
            ACK,
            NEW,
        ),
        tcp(
            over("It does so with every segment."),
            world(),
            like,
            &[SYN, ACK, ACK],
            FIN_ACK,
            NEW,
        ),
        tcp(
            over("A SYN that comes again goes where the first one went."),
            world(),
            like,
            &[SYN],
            SYN,
            NEW,
        ),
        tcp(
            over("A connection from the port of one that has ended begins with the new owner."),
            world(),
            like,
            &[ACK, FIN_ACK],
            SYN,
            NEW,
        ),
    ]
}

/// The owner before takes nothing any more.
fn unusable() -> Vec<Case> {
    let down = |tables: &mut lbxdp_ebpf::mem::MemTables| {
        let old = tables.origins.get_mut(&OLD).expect("an origin");
        old.flags = ORIGIN_DOWN;
    };
    vec![
        tcp(
            "Of an owner before that is down nothing is kept.",
            world(TCP, ORIGIN4, EDITED).but(down),
            ORIGIN4,
            &[],
            ACK,
            NEW,
        ),
        tcp(
            "Of an owner before that is gone nothing is kept.",
            world(TCP, ORIGIN4, EDITED).but(|tables| {
                tables.origins.insert(OLD, Origin::EMPTY);
            }),
            ORIGIN4,
            &[],
            ACK,
            NEW,
        ),
        tcp(
            "A row that nobody owned before keeps nothing.",
            world(TCP, ORIGIN4, EDITED).but(|tables| {
                for row in tables.rows.values_mut() {
                    row.previous = [Origin::NONE; 2];
                }
            }),
            ORIGIN4,
            &[],
            ACK,
            NEW,
        ),
        tcp(
            "A row that nobody owns still serves the flows that its owner before has.",
            world(TCP, ORIGIN4, EDITED).but(|tables| {
                for row in tables.rows.values_mut() {
                    row.current = Origin::NONE;
                }
            }),
            ORIGIN4,
            &[],
            ACK,
            OLD,
        ),
        given(
            "A row that nobody owns takes no new flow.",
            world(TCP, ORIGIN4, EDITED).but(|tables| {
                for row in tables.rows.values_mut() {
                    row.current = Origin::NONE;
                }
            }),
            segment(ORIGIN4, SYN),
        )
        .ends(Reason::NoOrigin),
        tcp(
            "What may not be recorded goes where the row says.",
            world(TCP, ORIGIN4, EDITED).but(|tables| {
                tables.node.as_mut().expect("settings").flow_interval_ns = 0;
            }),
            ORIGIN4,
            &[SYN],
            ACK,
            OLD,
        ),
    ]
}

/// A row of a table that has grown takes from two rows of the old one.
fn grown() -> Vec<Case> {
    let key = World::new().tables.node.expect("settings").hash_key;
    let hash = flow_hash(&key, &flow(TCP, ORIGIN4));
    [3, 5, 6]
        .into_iter()
        .map(|rows: u32| {
            let (previous, owner) = match reduce(hash, rows) % 2 {
                0 => ([OLD, OTHER], "even"),
                _ => ([OTHER, OLD], "odd"),
            };
            let world = world(TCP, ORIGIN4, EDITED).but(|tables| {
                for table in tables.tables.values_mut() {
                    table.previous_rows = [1, rows];
                }
                for row in tables.rows.values_mut() {
                    row.previous = previous;
                }
            });
            tcp(
                format!(
                    "A flow of an {owner} one of {rows} rows stays with that row's owner when the \
                     table has grown."
                ),
                world,
                ORIGIN4,
                &[],
                ACK,
                OLD,
            )
        })
        .collect()
}

/// Flows that are recorded.
fn known() -> Vec<Case> {
    let known = |flags, with, state| recorded(world(TCP, ORIGIN4, flags), TCP, with, state);
    vec![
        tcp(
            "A recorded flow goes to its origin.",
            known(ROW_LOOKUP, OTHER, SEEN_ESTABLISHED),
            ORIGIN4,
            &[],
            ACK,
            OTHER,
        ),
        tcp(
            "A recorded flow goes to its origin, and not to the owner before the last edit.",
            known(EDITED, OTHER, SEEN_ESTABLISHED),
            ORIGIN4,
            &[],
            ACK,
            OTHER,
        ),
        tcp(
            "In a quiet row no flow is looked up.",
            known(0, OTHER, SEEN_ESTABLISHED),
            ORIGIN4,
            &[],
            ACK,
            NEW,
        ),
        tcp(
            "A SYN in the middle of a recorded connection goes to its origin.",
            known(ROW_LOOKUP, OTHER, SEEN_ESTABLISHED),
            ORIGIN4,
            &[],
            SYN,
            OTHER,
        ),
        tcp(
            "A SYN after the end of a recorded connection begins another, with the owner.",
            known(ROW_LOOKUP, OTHER, SEEN_ESTABLISHED | SEEN_FIN),
            ORIGIN4,
            &[],
            SYN,
            NEW,
        ),
        tcp(
            "What follows a SYN after the end of a recorded connection goes to the owner, too.",
            known(ROW_LOOKUP, OTHER, SEEN_ESTABLISHED | SEEN_FIN),
            ORIGIN4,
            &[SYN],
            ACK,
            NEW,
        ),
        tcp(
            "A connection in the place of one that has ended is recorded with its own origin.",
            known(ROW_LOOKUP | ROW_INSERT, OTHER, SEEN_ESTABLISHED | SEEN_FIN),
            ORIGIN4,
            &[SYN],
            ACK,
            NEW,
        ),
        tcp(
            "A flow does not go to another origin that has the slot of its own.",
            known(ROW_LOOKUP, OTHER, 0).but(|tables| {
                tables.origins.get_mut(&OTHER).expect("an origin").identity = 7;
            }),
            ORIGIN4,
            &[],
            ACK,
            NEW,
        ),
        tcp(
            "A recorded flow leaves an origin that is down.",
            known(ROW_LOOKUP, OTHER, 0).but(|tables| {
                tables.origins.get_mut(&OTHER).expect("an origin").flags = ORIGIN_DOWN;
            }),
            ORIGIN4,
            &[],
            ACK,
            NEW,
        ),
        tcp(
            "A row of no flags but that it is looked up goes by its owner.",
            world(TCP, ORIGIN4, ROW_LOOKUP),
            ORIGIN4,
            &[],
            ACK,
            NEW,
        ),
        about_a_flow(
            "An ICMP error goes where its flow is recorded.",
            known(ROW_LOOKUP, OTHER, 0),
            OTHER,
        ),
        about_a_flow(
            "An ICMP error goes to the owner before, as its flow would.",
            world(TCP, ORIGIN4, EDITED),
            OLD,
        ),
    ]
}

/// A router tells of a packet from the VIP to the client.
fn about_a_flow(sentence: &str, world: World, to: OriginIndex) -> Case {
    let router = "192.0.2.254";
    let tell = |frame: Packet, ttl: u8, about: (&str, u16)| {
        let quoted = to_hop()
            .ip(about.0, client_like(ORIGIN4))
            .ttl(3)
            .tcp(about.1, CLIENT_PORT)
            .payload(&[7; 40]);
        let error = frame.ip(router, about.0).ttl(ttl).icmp(3, 1, 0);
        error.quote(&quoted, 28)
    };
    let origin = (origin(to, ORIGIN4), ORIGIN_PORT);
    given(
        sentence,
        world,
        tell(from_router(), 64, (vip_like(ORIGIN4), VIP_PORT)),
    )
    .sends(Reason::ForwardError, tell(to_hop(), 63, origin))
    .of_origin(to)
}

/// The base owner is down, and another one serves.
fn repaired() -> Vec<Case> {
    let world = || world(TCP, ORIGIN4, REPAIRED);
    vec![
        tcp(
            "In a repaired row a connection begins with the one that serves.",
            world(),
            ORIGIN4,
            &[],
            SYN,
            NEW,
        ),
        tcp(
            "In a repaired row nothing is left to an owner before.",
            world(),
            ORIGIN4,
            &[],
            ACK,
            NEW,
        ),
        tcp(
            "In a repaired row a connection is recorded with the one that serves.",
            world(),
            ORIGIN4,
            &[SYN, ACK],
            ACK,
            NEW,
        ),
    ]
}

fn of_udp() -> Vec<Case> {
    let edited = || world(UDP, ORIGIN4, EDITED);
    vec![
        udp(
            "UDP, which may have begun before an edit, stays with the owner before.",
            edited(),
            &[],
            b"?",
            OLD,
        ),
        udp(
            "UDP may go to the new owner at once.",
            listener(edited(), LISTENER_UDP_MOVE),
            &[],
            b"?",
            NEW,
        ),
        udp(
            "UDP that may move stays with an origin that it is recorded with.",
            listener(recorded(edited(), UDP, OTHER, 0), LISTENER_UDP_MOVE),
            &[],
            b"?",
            OTHER,
        ),
        udp(
            "UDP of a repaired row goes to the one that serves.",
            world(UDP, ORIGIN4, REPAIRED),
            &[b"?"],
            b"?",
            NEW,
        ),
    ]
}

/// The first bytes of QUIC packets: (what, bytes, whether a flow begins with it).
const QUIC: [(&str, [u8; 6], bool); 9] = [
    ("An Initial packet", [0xc3, 0, 0, 0, 1, 8], true),
    ("A 0-RTT packet", [0xd3, 0, 0, 0, 1, 8], true),
    ("A Handshake packet", [0xe3, 0, 0, 0, 1, 8], false),
    ("A Retry", [0xf3, 0, 0, 0, 1, 8], false),
    ("A packet with a short header", [0x43, 0, 0, 0, 1, 8], false),
    (
        "An Initial packet of version 2",
        [0xd3, 0x6b, 0x33, 0x43, 0xcf, 8],
        true,
    ),
    (
        "A 0-RTT packet of version 2",
        [0xe3, 0x6b, 0x33, 0x43, 0xcf, 8],
        true,
    ),
    (
        "A Handshake packet of version 2",
        [0xf3, 0x6b, 0x33, 0x43, 0xcf, 8],
        false,
    ),
    ("A negotiation of versions", [0xc3, 0, 0, 0, 0, 8], false),
];

fn of_quic() -> Vec<Case> {
    let world = || listener(world(UDP, ORIGIN4, EDITED), LISTENER_QUIC);
    let mut cases: Vec<Case> = QUIC
        .into_iter()
        .map(|(what, bytes, begins)| {
            let (to, sentence) = if begins {
                (NEW, "begins a flow, with the new owner")
            } else {
                (OLD, "begins no flow, and goes to the owner before")
            };
            udp(
                format!("{what} of QUIC {sentence}."),
                world(),
                &[],
                &bytes,
                to,
            )
        })
        .collect();
    let (_, initial, _) = QUIC[0];
    let (_, short, _) = QUIC[4];
    cases.push(udp(
        "A flow that an Initial packet of QUIC has begun stays with the new owner.",
        world(),
        &[&initial],
        &short,
        NEW,
    ));
    cases.push(udp(
        "A datagram too short for QUIC goes to the owner before.",
        world(),
        &[],
        &initial[..3],
        OLD,
    ));
    cases
}
