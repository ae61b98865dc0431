use std::net::IpAddr;
use std::vec::Vec;

use proptest::prelude::*;

use super::process;
use crate::abi::*;
use crate::encap::{InnerEthernet, Shape, Tunnel, prepare};
use crate::hash::expand_key;
use crate::mem::{MemFrame, MemRoute, MemTables};
use crate::parse::Version;
use crate::tables::Route;
use crate::verdict::{Action, Kind, Reason};

const BLUE: VnetId = VnetId(7);
const INGRESS: u32 = 3;
const LINK: u32 = 4;
const GATEWAY: [u8; 6] = [2, 0, 0, 0, 0, 1];
const NODE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const INNER: InnerEthernet = InnerEthernet {
    destination: [2, 0, 0, 0, 1, 1],
    source: [2, 0, 0, 0, 1, 2],
};
const TCP: u8 = 6;
const UDP: u8 = 17;

/// All shapes; the two with an inner Ethernet header last.
fn shapes() -> Vec<Shape> {
    let mut shapes = std::vec![
        Shape::IpIp,
        Shape::Fou { port: 6080 },
        Shape::Gue { port: 6080 }
    ];
    for key in [None, Some(0x0102_0304)] {
        for checksum in [false, true] {
            shapes.push(Shape::Gre { key, checksum });
        }
    }
    for inner in [None, Some(INNER)] {
        shapes.push(Shape::Geneve {
            vni: 77,
            port: 6081,
            inner,
        });
    }
    shapes.push(Shape::Vxlan {
        vni: 0x00ab_cdef,
        port: 4789,
        inner: INNER,
    });
    shapes
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn client(version: Version) -> IpAddr {
    ip(match version {
        Version::V4 => "192.0.2.55",
        Version::V6 => "2001:db8:1::55",
    })
}

fn vip(version: Version) -> IpAddr {
    ip(match version {
        Version::V4 => "198.51.100.10",
        Version::V6 => "2001:db8:2::10",
    })
}

fn origin(version: Version) -> IpAddr {
    ip(match version {
        Version::V4 => "10.0.0.11",
        Version::V6 => "fd00::11",
    })
}

fn node(version: Version) -> IpAddr {
    ip(match version {
        Version::V4 => "203.0.113.1",
        Version::V6 => "2001:db8:3::1",
    })
}

fn far(version: Version) -> IpAddr {
    ip(match version {
        Version::V4 => "203.0.113.2",
        Version::V6 => "2001:db8:3::2",
    })
}

fn service(address: IpAddr, port: u16, protocol: u8, vnet: VnetId) -> Service {
    Service {
        address: address.into(),
        port: Port::new(port),
        protocol,
        range: 0,
        vnet,
    }
}

/// A path that is prepared and resolved.
fn path(tunnel: Option<&Tunnel>) -> Path {
    let mut path = tunnel.map_or(Path::UNRESOLVED, |tunnel| prepare(tunnel).unwrap());
    path.flags |= PATH_RESOLVED;
    path.mtu = 1400;
    path.ifindex = LINK;
    path.destination_mac = GATEWAY;
    path.source_mac = NODE_MAC;
    path
}

/// One listener a version and protocol, at port 80, with one origin, at port 8080, in `vnet`.
fn world(mode: Mode, vnet: VnetId, path: Path) -> MemTables {
    let mut tables = MemTables {
        node: Some(Node {
            hash_key: expand_key([7; 16]),
            flags: NODE_LOCAL_REPLIES,
            icmp_interval_ns: crate::abi::Allowance::INTERVAL_NS,
            flow_interval_ns: crate::abi::Allowance::FLOW_INTERVAL_NS,
            ..Node::default()
        }),
        ..MemTables::default()
    };
    for (index, version) in [(0, Version::V4), (1, Version::V6)] {
        let table = Table {
            halves: [index * 8, 100 + index * 8],
            rows: 7,
            active: 0,
            previous_rows: [7; 2],
        };
        tables.tables.insert(index, table);
        for row in 0..7 {
            tables
                .rows
                .insert(index * 8 + row, Row::owned_by(index as u16));
        }
        tables.origins.insert(
            index as u16,
            Origin {
                address: origin(version).into(),
                port: Port::new(8080),
                mode: mode as u8,
                vnet,
                path,
                ..Origin::EMPTY
            },
        );
        for protocol in [TCP, UDP] {
            tables.listeners.insert(
                service(vip(version), 80, protocol, VnetId::LOCAL),
                Listener {
                    table: index,
                    counter: index,
                    flags: 0,
                },
            );
            tables.reverse.insert(
                service(origin(version), 8080, protocol, vnet),
                Reverse {
                    address: vip(version).into(),
                    port: Port::new(80),
                    origin: index as u16,
                    vnet: VnetId::LOCAL,
                    counter: index,
                },
            );
        }
    }
    tables.node_routes.push(MemRoute {
        network: Address::UNSPECIFIED,
        bits: 0,
        mtu: u16::MAX,
        route: Route::NextHop {
            ifindex: INGRESS,
            source_mac: NODE_MAC,
            destination_mac: GATEWAY,
        },
    });
    tables
}

/// Lets the far end of a tunnel in.
fn admit(tables: &mut MemTables, tunnel: &Tunnel, vnet: VnetId) {
    let (vni, port) = match tunnel.shape {
        Shape::IpIp => (0, 0),
        Shape::Gre { key, .. } => (key.unwrap_or(0), 0),
        Shape::Fou { port } | Shape::Gue { port } => (0, port),
        Shape::Vxlan { vni, port, .. } | Shape::Geneve { vni, port, .. } => (vni, port),
    };
    if port != 0 {
        tables.tunnel_ports.insert(port);
    }
    tables.peers.insert(
        PeerKey {
            remote: tunnel.source.into(),
            local: tunnel.destination.into(),
            vni,
            port: Port::new(port),
            encapsulation: tunnel.shape.encapsulation() as u8,
            reserved: 0,
        },
        Peer {
            vnet,
            tunnel: 5,
            reserved: [0; 2],
            inner_v4: ip("10.255.0.1").into(),
            inner_v6: ip("fd00:ff::1").into(),
        },
    );
}

/// RFC 1071 as its text says: an independent sum.
fn plain_sum(parts: &[&[u8]]) -> u16 {
    let bytes: Vec<u8> = parts.concat();
    let mut sum = 0_u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn pseudo(source: &[u8], destination: &[u8], protocol: u8, length: usize) -> Vec<u8> {
    let length = u16::try_from(length).unwrap().to_be_bytes();
    [source, destination, &[0, protocol], &length].concat()
}

/// A TCP or UDP packet with all checksums right; bare IP.
fn packet(
    from: (IpAddr, u16),
    to: (IpAddr, u16),
    protocol: u8,
    ttl: u8,
    payload: &[u8],
) -> Vec<u8> {
    let ports = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
    let (mut l4, at) = if protocol == TCP {
        let rest = [0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 1, 0, 0, 0, 0, 0];
        ([ports, rest.to_vec(), payload.to_vec()].concat(), 16)
    } else {
        let length = u16::try_from(8 + payload.len()).unwrap().to_be_bytes();
        let head = [ports, length.to_vec(), std::vec![0, 0]].concat();
        ([head, payload.to_vec()].concat(), 6)
    };
    let (source, destination) = (octets(from.0), octets(to.0));
    let sum = !plain_sum(&[&pseudo(&source, &destination, protocol, l4.len()), &l4]);
    // Zero says "no checksum" in UDP alone (RFC 768).
    let sum = if sum == 0 && protocol == UDP {
        0xffff
    } else {
        sum
    };
    l4[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    let header = if source.len() == 4 {
        let length = u16::try_from(20 + l4.len()).unwrap().to_be_bytes();
        let mut header = [
            &[0x45, 0x10][..],
            &length,
            &[0x12, 0x34, 0x40, 0, ttl, protocol, 0, 0],
            &source,
            &destination,
        ]
        .concat();
        let sum = !plain_sum(&[&header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header
    } else {
        let length = u16::try_from(l4.len()).unwrap().to_be_bytes();
        [
            &[0x61, 0x02, 0x03, 0x04][..],
            &length,
            &[protocol, ttl],
            &source,
            &destination,
        ]
        .concat()
    };
    [header, l4].concat()
}

fn framed(packet: &[u8]) -> Vec<u8> {
    let ethertype = if packet[0] >> 4 == 4 {
        [0x08, 0x00]
    } else {
        [0x86, 0xdd]
    };
    [&NODE_MAC[..], &GATEWAY, &ethertype, packet].concat()
}

/// Asserts lengths and checksums of a bare TCP or UDP packet, or of one inside others.
fn assert_sound(packet: &[u8]) {
    let (header_len, protocol, source, destination) = match packet[0] >> 4 {
        4 => {
            let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
            assert_eq!(length, packet.len(), "IPv4 total length");
            assert_eq!(plain_sum(&[&packet[..20]]), 0xffff, "IPv4 header checksum");
            (20, packet[9], &packet[12..16], &packet[16..20])
        }
        6 => {
            let length = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
            assert_eq!(length, packet.len() - 40, "IPv6 payload length");
            (40, packet[6], &packet[8..24], &packet[24..40])
        }
        other => panic!("IP version {other}"),
    };
    let l4 = &packet[header_len..];
    let sum = || plain_sum(&[&pseudo(source, destination, protocol, l4.len()), l4]);
    match protocol {
        TCP => assert_eq!(sum(), 0xffff, "TCP checksum"),
        UDP => {
            assert_eq!(usize::from(u16::from_be_bytes([l4[4], l4[5]])), l4.len());
            if l4[6..8] != [0, 0] {
                assert_eq!(sum(), 0xffff, "UDP checksum");
            }
        }
        47 if l4[0] & 0x80 != 0 => assert_eq!(plain_sum(&[l4]), 0xffff, "GRE checksum"),
        _ => {}
    }
}

/// The same packet after one hop.
fn one_hop_on(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 4 {
        packet[8] -= 1;
        packet[10..12].fill(0);
        let sum = !plain_sum(&[&packet[..20]]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    } else {
        packet[7] -= 1;
    }
    packet
}

fn run(tables: &MemTables, bytes: &[u8]) -> (crate::verdict::Verdict, Vec<u8>) {
    let mut frame = MemFrame::new(bytes);
    let verdict = process(&mut frame, tables, INGRESS);
    (verdict, frame.bytes().to_vec())
}

const VERSIONS: [Version; 2] = [Version::V4, Version::V6];

/// Every outer version, shape, kind of checksum, entropy, and inner version.
fn every_tunnel(mut check: impl FnMut(&Tunnel, Version)) {
    for outer in VERSIONS {
        for shape in shapes() {
            for options in 0..4 {
                for inner in VERSIONS {
                    let mut tunnel = Tunnel::new(node(outer), far(outer), shape);
                    tunnel.dscp = Some(10);
                    tunnel.udp_checksum = options & 1 != 0;
                    tunnel.source_entropy = options & 2 != 0;
                    check(&tunnel, inner);
                }
            }
        }
    }
}

#[test]
fn encapsulated_packets_are_sound_and_hold_the_packet() {
    every_tunnel(|tunnel, inner| {
        let tables = world(Mode::Dsr, VnetId::LOCAL, path(Some(tunnel)));
        for protocol in [TCP, UDP] {
            for payload in [&b"odd"[..], b"even"] {
                let sent = packet(
                    (client(inner), 4000),
                    (vip(inner), 80),
                    protocol,
                    9,
                    payload,
                );
                let (verdict, out) = run(&tables, &framed(&sent));
                assert_eq!(verdict.reason, Reason::ForwardDsr, "{tunnel:?}");
                assert_eq!(verdict.action, Action::Redirect(LINK));
                assert_eq!(out[..6], GATEWAY);
                assert_eq!(out[6..12], NODE_MAC);
                let headers = tunnel.header_len();
                assert_eq!(out[14 + headers..], one_hop_on(&sent));
                assert_sound(&out[14..]);
                assert_sound(&out[14 + headers..]);
                let udp = match tunnel.source {
                    IpAddr::V4(_) => 34,
                    IpAddr::V6(_) => 54,
                };
                if let Shape::Vxlan { .. }
                | Shape::Geneve { .. }
                | Shape::Gue { .. }
                | Shape::Fou { .. } = tunnel.shape
                {
                    assert!(out[udp] >= 0xc0, "a dynamic source port");
                    assert_eq!(out[udp + 6..udp + 8] != [0, 0], tunnel.udp_checksum);
                }
            }
        }
    });
}

/// A packet that this program has put into a tunnel is the same packet for the program at the
/// other end.
#[test]
fn decapsulation_undoes_encapsulation() {
    every_tunnel(|tunnel, inner| {
        if tunnel.source_entropy {
            return;
        }
        let mut there = world(Mode::Dsr, VnetId::LOCAL, path(Some(tunnel)));
        // It arrives as a client's packet of the VNet, and leaves by the origin's link.
        let mut here = world(Mode::DsrL2, VnetId::LOCAL, path(None));
        admit(&mut here, tunnel, BLUE);
        for (service, listener) in core::mem::take(&mut here.listeners) {
            let service = Service {
                vnet: BLUE,
                ..service
            };
            here.listeners.insert(service, listener);
        }
        there.reverse.clear();
        let sent = packet((client(inner), 4000), (vip(inner), 80), TCP, 9, b"payload");
        let (_, on_the_wire) = run(&there, &framed(&sent));
        let (verdict, out) = run(&here, &on_the_wire);
        assert_eq!(verdict.reason, Reason::ForwardDsrL2, "{tunnel:?}");
        assert_eq!(verdict.tunnel.get(), Some(5));
        assert_eq!(out[14..], one_hop_on(&sent));
    });
}

/// Where the headers of the inner packet do not tell its sum, its bytes do.
#[test]
fn checksums_over_packets_without_one() {
    every_tunnel(|tunnel, inner| {
        let tables = world(Mode::Dsr, VnetId::LOCAL, path(Some(tunnel)));
        let mut sent = packet((client(inner), 4000), (vip(inner), 80), UDP, 9, b"odd");
        let checksum = if inner == Version::V4 { 26 } else { 46 };
        sent[checksum..checksum + 2].fill(0);
        let (verdict, out) = run(&tables, &framed(&sent));
        assert_eq!(verdict.reason, Reason::ForwardDsr);
        assert_sound(&out[14..]);
    });
}

#[test]
fn nat_and_back_through_a_tunnel() {
    every_tunnel(|tunnel, inner| {
        if tunnel.source_entropy {
            return;
        }
        let mut tables = world(Mode::NatPreserve, BLUE, path(Some(tunnel)));
        let back = Tunnel {
            source: tunnel.destination,
            destination: tunnel.source,
            ..*tunnel
        };
        admit(&mut tables, &back, BLUE);
        for protocol in [TCP, UDP] {
            let request = packet((client(inner), 4000), (vip(inner), 80), protocol, 9, b"abc");
            let (verdict, out) = run(&tables, &framed(&request));
            assert_eq!(verdict.reason, Reason::ForwardNatTunnel);
            let expected = packet(
                (client(inner), 4000),
                (origin(inner), 8080),
                protocol,
                8,
                b"abc",
            );
            assert_eq!(out[14 + tunnel.header_len()..], expected);
            assert_sound(&out[14..]);

            // The answer, as the far end sends it: through a world in which it is a DSR packet.
            let answer = packet(
                (origin(inner), 8080),
                (client(inner), 4000),
                protocol,
                9,
                b"xyz",
            );
            let mut site = world(Mode::Dsr, VnetId::LOCAL, path(Some(&back)));
            site.reverse.clear();
            for listener in core::mem::take(&mut site.listeners) {
                let key = service(client(inner), 4000, listener.0.protocol, VnetId::LOCAL);
                site.listeners.insert(key, listener.1);
            }
            let (sent, on_the_wire) = run(&site, &framed(&answer));
            assert_eq!(sent.reason, Reason::ForwardDsr);
            let (verdict, out) = run(&tables, &on_the_wire);
            assert_eq!(verdict.reason, Reason::ReplyNatTunnel, "{tunnel:?}");
            assert_eq!(verdict.action, Action::Transmit);
            assert_eq!(verdict.tunnel.get(), Some(5));
            let expected = packet((vip(inner), 80), (client(inner), 4000), protocol, 7, b"xyz");
            assert_eq!(out[14..], expected);
        }
    });
}

#[test]
fn the_inside_of_a_tunnel_is_no_way_in() {
    let tunnel = Tunnel::new(far(Version::V4), node(Version::V4), Shape::IpIp);
    let mut tables = world(Mode::NatPreserve, BLUE, path(None));
    let inner = packet(
        (origin(Version::V4), 8080),
        (client(Version::V4), 9),
        TCP,
        9,
        b"",
    );
    let mut outer = prepare(&tunnel).unwrap().header[..20].to_vec();
    outer[2..4].copy_from_slice(&u16::try_from(20 + inner.len()).unwrap().to_be_bytes());
    let bytes = framed(&[outer, inner].concat());
    let (verdict, out) = run(&tables, &bytes);
    assert_eq!(verdict.reason, Reason::UnknownPeer);
    assert_eq!(out, bytes);
    admit(&mut tables, &tunnel, VnetId(8));
    let (verdict, out) = run(&tables, &bytes);
    assert_eq!(verdict.reason, Reason::TunnelOther, "another VNet's origin");
    assert_eq!(out, bytes);
}

#[test]
fn vlan_tags_are_taken_off_and_put_on() {
    for tci in [[0, 0], [0, 42]] {
        let mut out_path = path(None);
        out_path.vlan = tci;
        let tables = world(Mode::DsrL2, VnetId::LOCAL, out_path);
        let sent = packet(
            (client(Version::V4), 4000),
            (vip(Version::V4), 80),
            TCP,
            1,
            b"",
        );
        let mut bytes = framed(&sent);
        for tag in [[0x81, 0, 0, 7], [0x88, 0xa8, 0, 8]] {
            bytes.splice(12..12, tag);
            let (verdict, out) = run(&tables, &bytes);
            assert_eq!(verdict.reason, Reason::ForwardDsrL2);
            let untagged = framed(&sent);
            if tci == [0, 0] {
                assert_eq!(out[12..], untagged[12..]);
            } else {
                assert_eq!(out[12..16], [0x81, 0, 0, 42]);
                assert_eq!(out[16..], untagged[12..]);
            }
        }
        bytes.splice(12..12, [0x81, 0, 0, 9]);
        assert_eq!(run(&tables, &bytes).0.reason, Reason::TooManyTags);
    }
}

#[test]
fn no_headroom_leaves_the_frame_as_it_was() {
    let tunnel = Tunnel::new(node(Version::V6), far(Version::V6), Shape::IpIp);
    let tables = world(Mode::Dsr, VnetId::LOCAL, path(Some(&tunnel)));
    let sent = packet(
        (client(Version::V4), 4000),
        (vip(Version::V4), 80),
        TCP,
        9,
        b"",
    );
    let mut frame = MemFrame::new(&framed(&sent));
    crate::frame::Frame::move_head(&mut frame, -200).unwrap();
    crate::frame::Frame::put(&mut frame, 0, &framed(&sent)).unwrap();
    let before = frame.clone();
    let verdict = process(&mut frame, &tables, INGRESS);
    assert_eq!(verdict.reason, Reason::NoHeadroom);
    assert_eq!(frame, before);
}

/// A world in which as much as possible is configured.
fn full_world() -> MemTables {
    let mut tables = world(Mode::NatPreserve, BLUE, path(None));
    for (number, shape) in shapes().into_iter().enumerate() {
        for outer in VERSIONS {
            let tunnel = Tunnel::new(far(outer), node(outer), shape);
            admit(&mut tables, &tunnel, BLUE);
            let back = Tunnel::new(node(outer), far(outer), shape);
            tables.tunnels.insert(number as u16, path(Some(&back)));
            // A row each.
            let index = 10 + number as u16;
            let mut entry = tables.origins[&0];
            entry.path = path(Some(&back));
            tables.origins.insert(index, entry);
            tables.rows.insert(number as u32 % 7, Row::owned_by(index));
        }
    }
    tables
}

proptest! {
    #[test]
    fn checksums_stay_valid_through_nat(
        v6: bool,
        udp: bool,
        port in 1..=u16::MAX,
        payload in proptest::collection::vec(any::<u8>(), 0..100),
        address: [u8; 16],
    ) {
        let version = if v6 { Version::V6 } else { Version::V4 };
        let protocol = if udp { UDP } else { TCP };
        let [a, b, c, d, ..] = address;
        let client = if v6 { IpAddr::from(address) } else { IpAddr::from([a, b, c, d]) };
        prop_assume!(!v6 || !Address::from(client).is_v4());
        let tables = world(Mode::NatPreserve, VnetId::LOCAL, path(None));
        let request = packet((client, port), (vip(version), 80), protocol, 64, &payload);
        let (verdict, out) = run(&tables, &framed(&request));
        prop_assert_eq!(verdict.reason, Reason::ForwardNat);
        assert_sound(&out[14..]);
        let reply = packet((origin(version), 8080), (client, port), protocol, 64, &payload);
        let (verdict, out) = run(&tables, &framed(&reply));
        prop_assert_eq!(verdict.reason, Reason::ReplyNat);
        assert_sound(&out[14..]);
        let expected = packet((vip(version), 80), (client, port), protocol, 63, &payload);
        prop_assert_eq!(&out[14..], &expected);
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        check_any(&full_world(), &bytes)?;
    }

    #[test]
    fn any_bytes_behind_an_ethernet_header(
        v6: bool,
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = if v6 { 0x60 } else { 0x40 | (*first & 0x0f) };
            check_any(&full_world(), &framed(&bytes))?;
        }
    }

    #[test]
    fn mutated_packets(
        shape in 0..9_usize,
        outer_v6: bool,
        inner_v6: bool,
        to_tunnel: bool,
        changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..4),
        cut in proptest::option::of(any::<u16>()),
    ) {
        let [outer, inner] = [outer_v6, inner_v6].map(|v6| if v6 { Version::V6 } else { Version::V4 });
        let sent = if to_tunnel {
            packet((origin(inner), 8080), (client(inner), 4000), TCP, 9, b"mutated")
        } else {
            packet((client(inner), 4000), (vip(inner), 80), UDP, 9, b"mutated")
        };
        let mut bytes = framed(&sent);
        if to_tunnel {
            let tunnel = Tunnel::new(far(outer), node(outer), shapes()[shape]);
            let mut site = world(Mode::Dsr, VnetId::LOCAL, path(Some(&tunnel)));
            let key = service(client(inner), 4000, TCP, VnetId::LOCAL);
            site.listeners.insert(key, Listener { table: 0, counter: 0, flags: 0 });
            bytes = run(&site, &bytes).1;
        }
        for (at, value) in changes {
            let at = usize::from(at) % bytes.len();
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(usize::from(cut) % bytes.len());
        }
        check_any(&full_world(), &bytes)?;
    }
}

/// Nothing panics, and what is not forwarded is as it came.
fn check_any(tables: &MemTables, bytes: &[u8]) -> Result<(), TestCaseError> {
    let (verdict, out) = run(tables, bytes);
    match verdict.reason.kind() {
        Kind::Pass => prop_assert_eq!(verdict.action, Action::Pass),
        Kind::Drop => prop_assert_eq!(verdict.action, Action::Drop),
        Kind::Forward | Kind::Reply | Kind::Answer => return Ok(()),
    }
    prop_assert_eq!(&out, bytes, "{:?}", verdict);
    Ok(())
}
