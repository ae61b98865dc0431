use lbxdp_ebpf::abi::{Address, Port, VnetId};

use super::*;

const NOW: u32 = 1_000_000;
const UDP: u8 = 17;
const TIMEOUTS: SnatTimeouts = SnatTimeouts {
    tcp_established: Duration::from_secs(7_440),
    tcp_transitory: Duration::from_secs(240),
    udp: Duration::from_secs(300),
};

fn flow(protocol: u8) -> FlowKey {
    FlowKey {
        source: Address::from_v4([192, 0, 2, 7]),
        destination: Address::from_v4([198, 51, 100, 10]),
        source_port: Port::new(40_000),
        destination_port: Port::new(80),
        vnet: VnetId::LOCAL,
        protocol,
        reserved: [0; 3],
    }
}

fn back(protocol: u8, port: u16) -> FlowKey {
    FlowKey {
        source: Address::from_v4([10, 0, 0, 11]),
        destination: Address::from_v4([10, 255, 0, 1]),
        source_port: Port::new(8080),
        destination_port: Port::new(port),
        vnet: VnetId(7),
        protocol,
        reserved: [0; 3],
    }
}

/// So many seconds ago, in this state.
fn seen(ago: u64, state: u8) -> Seen {
    let ticks = u32::try_from(ago * 1_000_000_000 / Seen::TICK_NS).expect("some seconds");
    Seen {
        tick: NOW - ticks,
        state,
        ..Seen::NEVER
    }
}

fn session(port: u16, seen: Seen) -> Session {
    Session {
        source: Address::from_v4([10, 255, 0, 1]),
        source_port: Port::new(port),
        origin: 3,
        identity: 1,
        seen,
    }
}

fn mapping(seen: Seen) -> Mapping {
    Mapping {
        client: Address::from_v4([192, 0, 2, 7]),
        address: Address::from_v4([198, 51, 100, 10]),
        client_port: Port::new(40_000),
        port: Port::new(80),
        origin: 3,
        seen,
        ..Mapping::EMPTY
    }
}

/// One flow, of which both directions have shown this.
fn is_dead(protocol: u8, client: Seen, origin: Seen) -> bool {
    let sessions = HashMap::from([(flow(protocol), session(2000, client))]);
    let mappings = HashMap::from([(back(protocol, 2000), mapping(origin))]);
    let (census, dead) = sweep(&sessions, &mappings, &TIMEOUTS, NOW);
    assert_eq!(census.mappings + dead.len(), 1);
    for Dead { session, mapping } in &dead {
        assert_eq!(*session, Some((flow(protocol), client)));
        assert_eq!(*mapping, Some((back(protocol, 2000), origin)));
    }
    !dead.is_empty()
}

#[test]
fn a_connection_that_stands_may_be_silent_for_two_hours() {
    let up = SEEN_ESTABLISHED;
    assert!(!is_dead(IPPROTO_TCP, seen(7_400, up), seen(7_400, up)));
    assert!(is_dead(IPPROTO_TCP, seen(7_450, up), seen(7_450, up)));
    // Either direction keeps it.
    assert!(!is_dead(IPPROTO_TCP, seen(9_000, up), seen(60, up)));
    assert!(!is_dead(IPPROTO_TCP, seen(60, up), seen(9_000, up)));
}

#[test]
fn before_and_after_that_minutes_are_all_it_has() {
    let up = SEEN_ESTABLISHED;
    let over = up | SEEN_FIN;
    for (client, origin) in [
        (0, 0),
        (0, up),
        (over, over),
        (up | SEEN_RST, up),
        (up, SEEN_RST),
    ] {
        let at = |ago| is_dead(IPPROTO_TCP, seen(ago, client), seen(ago, origin));
        assert!(!at(235), "{client} {origin}");
        assert!(at(250), "{client} {origin}");
    }
    // Closed at one end, it may still carry data to that end.
    assert!(!is_dead(IPPROTO_TCP, seen(3_000, over), seen(3_000, up)));
}

#[test]
fn udp_has_its_own_time() {
    assert!(!is_dead(UDP, seen(295, 0), seen(295, 0)));
    assert!(is_dead(UDP, seen(310, 0), seen(310, 0)));
}

#[test]
fn a_translation_that_the_flow_has_left_goes_by_itself() {
    let up = SEEN_ESTABLISHED;
    let sessions = HashMap::from([(flow(IPPROTO_TCP), session(3000, seen(1, up)))]);
    let old = |ago| {
        let mappings = HashMap::from([
            (back(IPPROTO_TCP, 2000), mapping(seen(ago, up))),
            (back(IPPROTO_TCP, 3000), mapping(seen(1, up))),
        ]);
        sweep(&sessions, &mappings, &TIMEOUTS, NOW)
    };
    let (census, dead) = old(235);
    assert_eq!((census.mappings, dead.len()), (2, 0));
    let (census, dead) = old(250);
    assert_eq!(census.mappings, 1);
    let expected = Dead {
        session: None,
        mapping: Some((back(IPPROTO_TCP, 2000), seen(250, up))),
    };
    assert_eq!(dead, [expected], "the session has another way back");
}

#[test]
fn a_session_without_a_way_back_begins_anew_but_not_while_it_begins() {
    let sessions = |ago| HashMap::from([(flow(UDP), session(2000, seen(ago, 0)))]);
    let none = HashMap::new();
    assert_eq!(sweep(&sessions(1), &none, &TIMEOUTS, NOW).1, []);
    assert_eq!(sweep(&sessions(10), &none, &TIMEOUTS, NOW).1.len(), 1);
}

#[test]
fn eight_in_ten_ports_are_a_problem_that_is_named() {
    let destination = Service {
        address: Address::from_v4([10, 0, 0, 11]),
        port: Port::new(8080),
        protocol: IPPROTO_TCP,
        range: 0,
        vnet: VnetId(7),
    };
    let shortages = |taken, room| {
        let census = Census {
            mappings: taken,
            by_destination: BTreeMap::from([(destination, taken)]),
            ..Census::default()
        };
        super::shortages(&census, room, |_| {
            Some((100, "blue 10.0.0.11:8080/tcp".into()))
        })
    };
    assert!(shortages(80, 1_000).is_empty());
    let named = shortages(81, 1_000);
    assert_eq!(named.len(), 1);
    assert!(
        named[0].contains("100 source ports towards blue 10.0.0.11:8080/tcp"),
        "{named:?}"
    );
    assert!(shortages(90, 100)[0].contains("hold 100"));
}
