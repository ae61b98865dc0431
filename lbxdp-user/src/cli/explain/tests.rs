use std::collections::BTreeMap;

use lbxdp_ebpf::abi::{
    Address, Entity, EntityKey, EntityKind, Listener, Node, Origin, PATH_RESOLVED, Peer, Port,
    Reverse, Row, Service, Table,
};
use lbxdp_ebpf::encap::{InnerEthernet, Shape, Tunnel, prepare};
use lbxdp_ebpf::hash::expand_key;
use lbxdp_ebpf::mem::{MemRoute, MemTables};
use lbxdp_ebpf::tables::Route;
use lbxdp_ebpf::verdict::Reason;

use super::*;
use crate::dataplane::Published;

const BLUE: VnetId = VnetId(7);

/// A listener with one origin behind a VXLAN tunnel, as maps and as what is read back of them.
fn world() -> (MemTables, Content, Names) {
    let v4 = |octets| Address::from_v4(octets);
    let mut path = prepare(&Tunnel {
        source: [203, 0, 113, 1].into(),
        destination: [203, 0, 113, 2].into(),
        ttl: Some(64),
        dscp: Some(0),
        source_entropy: false,
        udp_checksum: false,
        shape: Shape::Vxlan {
            vni: 100,
            port: 4789,
            inner: InnerEthernet {
                destination: [2, 0, 0, 0, 7, 2],
                source: [2, 0, 0, 0, 7, 1],
            },
        },
    })
    .unwrap();
    path.flags |= PATH_RESOLVED;
    path.mtu = 1450;
    path.tunnel = 1;
    path.ifindex = 3;
    path.destination_mac = [2, 0, 0, 0, 0, 9];
    let service = |address, vnet| Service {
        address,
        port: Port::new(80),
        protocol: 6,
        range: 0,
        vnet,
    };
    let vip = v4([198, 51, 100, 10]);
    let node = Node {
        hash_key: expand_key([5; 16]),
        flags: 0,
        icmp_interval_ns: lbxdp_ebpf::abi::Allowance::INTERVAL_NS,
        flow_interval_ns: lbxdp_ebpf::abi::Allowance::FLOW_INTERVAL_NS,
        ..Node::default()
    };
    let origin = Origin {
        address: v4([10, 0, 0, 11]),
        port: Port::new(80),
        mode: 1,
        vnet: BLUE,
        path,
        ..Origin::EMPTY
    };
    let listener = Listener {
        table: 0,
        counter: 4,
        flags: 0,
    };
    let reverse = Reverse {
        address: vip,
        port: Port::new(80),
        origin: 2,
        vnet: VnetId::LOCAL,
        counter: 4,
    };
    let key = PeerKey {
        remote: v4([203, 0, 113, 2]),
        local: v4([203, 0, 113, 1]),
        vni: 100,
        port: Port::new(4789),
        encapsulation: Encapsulation::Vxlan as u8,
        reserved: 0,
    };
    let peer = Peer {
        vnet: BLUE,
        tunnel: 1,
        reserved: [0; 2],
        inner_v4: v4([10, 255, 0, 1]),
        inner_v6: Address::UNSPECIFIED,
    };
    let table = Table {
        halves: [0, 7],
        rows: 7,
        active: 1,
        previous_rows: [7; 2],
    };
    let rows = vec![Row::owned_by(2); 7];
    let content = Content {
        node,
        listeners: BTreeMap::from([(service(vip, VnetId::LOCAL), listener)]),
        reverse: BTreeMap::from([(service(origin.address, BLUE), reverse)]),
        peers: BTreeMap::from([(key, peer)]),
        tunnels: BTreeMap::from([(1, path)]),
        origins: BTreeMap::from([(2, origin)]),
        tables: BTreeMap::from([(
            0,
            Published {
                table,
                rows: rows.iter().copied().collect(),
            },
        )]),
        ..Content::default()
    };
    let route = Route::NextHop {
        ifindex: 3,
        source_mac: [2, 0, 0, 0, 0, 3],
        destination_mac: [2, 0, 0, 0, 0, 8],
    };
    let tables = MemTables {
        node: Some(node),
        listeners: content.listeners.clone(),
        tables: BTreeMap::from([(0, table)]),
        rows: (7..).zip(rows).collect(),
        origins: content.origins.clone(),
        reverse: content.reverse.clone(),
        tunnel_ports: [4789].into(),
        peers: content.peers.clone(),
        tunnels: content.tunnels.clone(),
        node_routes: vec![MemRoute {
            network: Address::UNSPECIFIED,
            bits: 0,
            mtu: u16::MAX,
            route,
        }],
        ..MemTables::default()
    };
    let named = |kind: EntityKind, index, name: &str| {
        let kind = kind as u32;
        (EntityKey { kind, index }, Entity::named(name).unwrap())
    };
    let names = Names::new(BTreeMap::from([
        named(EntityKind::Vnet, 7, "blue"),
        named(EntityKind::Tunnel, 1, "blue/blue-1"),
        named(EntityKind::Origin, 2, "web-blue/a"),
        named(EntityKind::Listener, 4, "www/tcp:80"),
        named(EntityKind::Table, 0, "web-blue"),
    ]));
    (tables, content, names)
}

fn question(source: &str, destination: &str) -> Question {
    Question {
        protocol: Protocol::Tcp,
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        size: None,
        ttl: 64,
        flags: "SYN".parse().unwrap(),
        ingress: 3,
        mac: [2, 0, 0, 0, 0, 3],
    }
}

fn ask(question: &Question, vnet: VnetId) -> (Explanation, String) {
    let (tables, content, names) = world();
    let explanation = explain(question, vnet, &content, &names, &tables).unwrap();
    let mut text = Vec::new();
    explanation.print(&mut text).unwrap();
    (explanation, String::from_utf8(text).unwrap())
}

#[test]
fn a_client_packet_is_followed_into_its_tunnel() {
    let question = question("192.0.2.1:40000", "198.51.100.10:80");
    let (explanation, text) = ask(&question, VnetId::LOCAL);
    assert_eq!(
        explanation.verdict.reason,
        Reason::ForwardNatTunnel,
        "{text}"
    );
    assert!(explanation.is_forwarded());
    for part in [
        "www/tcp:80 at local 198.51.100.10:80/tcp",
        "web-blue, 7 rows",
        "owner web-blue/a (100.0 % of the rows)",
        "web-blue/a: 10.0.0.11 port 80 in VNet blue",
        "blue/blue-1: vxlan 203.0.113.1 > 203.0.113.2, MTU 1450",
        "02:00:00:00:00:09 on",
        "VXLAN     VNI 100",
        "IPv4      192.0.2.1 > 10.0.0.11, TTL 63",
        "(forward_nat_tunnel)",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains("WRONG"), "{text}");
    // The row that is told is the row that was asked for.
    let number = |name: &str, part: &str| {
        let step = explanation
            .steps
            .iter()
            .find(|step| step.name == name)
            .unwrap();
        step.data[part].as_u64().unwrap()
    };
    assert_eq!(number("hash", "row") + 7, number("row", "rows_index"));
}

#[test]
fn an_answer_of_an_origin_is_followed_back() {
    let question = question("10.0.0.11:80", "192.0.2.1:40000");
    let (explanation, text) = ask(&question, BLUE);
    assert_eq!(explanation.verdict.reason, Reason::ReplyNatTunnel, "{text}");
    for part in [
        "tunnel blue/blue-1, VNet blue",
        "origin web-blue/a, which answers for 198.51.100.10:80",
        "IPv4      198.51.100.10 > 192.0.2.1",
        "02:00:00:00:00:08 on",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains("WRONG"), "{text}");
}

#[test]
fn a_packet_that_is_not_ours_is_told_why() {
    let (explanation, text) = ask(&question("192.0.2.1:1", "198.51.100.10:81"), VnetId::LOCAL);
    assert_eq!(explanation.verdict.reason, Reason::NoListener);
    assert!(
        text.contains("none at local 198.51.100.10:81/tcp"),
        "{text}"
    );
    assert!(
        text.contains("Listeners at this address: local 198.51.100.10:80/tcp."),
        "{text}"
    );
    assert_eq!(explanation.after, Vec::<String>::new());
}

#[test]
fn a_packet_that_is_too_large_is_told_so() {
    let mut question = question("192.0.2.1:40000", "198.51.100.10:80");
    question.size = Some(1451);
    assert_eq!(
        ask(&question, VnetId::LOCAL).0.verdict.reason,
        Reason::TooBigAnswered
    );
    question.size = Some(30);
    let (tables, content, names) = world();
    let error = explain(&question, VnetId::LOCAL, &content, &names, &tables).unwrap_err();
    assert!(error.to_string().contains("40 bytes of headers"), "{error}");
}

#[test]
fn nothing_tells_the_hash_key() {
    let (explanation, text) = ask(
        &question("192.0.2.1:40000", "198.51.100.10:80"),
        VnetId::LOCAL,
    );
    let json = explanation.json().to_string();
    for word in expand_key([5; 16]) {
        for form in [word.to_string(), format!("{word:x}")] {
            assert!(!text.contains(&form) && !json.contains(&form));
        }
    }
    assert_eq!(explanation.json()["forwarded"], true);
}
