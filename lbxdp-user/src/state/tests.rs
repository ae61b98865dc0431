mod panics;
mod revision;

use std::path::Path;

use lbxdp_ebpf::abi::{
    Address, Origin, OriginIndex, Port, ROW_INSERT, ROW_LOOKUP, Row, Service, Table, Tags, VnetId,
};

use super::*;
use crate::dataplane::{Limits, Published, TableRows, plan};
use crate::reconcile::{Hop, HopKey, hop_keys};
use crate::rows::Rows;

mod flows;

const EXAMPLE: &str = include_str!("../../examples/vnets.toml");
const PASS: Result<Duration, Failure> = Ok(Duration::from_millis(1));

fn config(text: &str) -> Config {
    crate::config::parse(text, Path::new("test.toml"))
        .expect("the configuration is valid")
        .config
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
}

/// When no table waits for first results any more.
fn later() -> SystemTime {
    now() + Duration::from_secs(120)
}

/// A state with all next hops resolved.
fn start(text: &str) -> State {
    let mut state = State::new(config(text), &Content::default(), now()).expect("there is room");
    state.set_hops(hops(state.config()));
    state
}

fn hops(config: &Config) -> Hops {
    let hop = |key: HopKey| {
        let hop = Hop {
            ifindex: 2,
            tags: Tags::NONE,
            source_mac: [2, 0, 0, 0, 0, 1],
            destination_mac: [2, 0, 0, 0, 0, 2],
            mtu: 1500,
        };
        (key, Ok(hop))
    };
    hop_keys(config).into_iter().map(hop).collect()
}

fn report(state: &mut State, pool: &str, origin: &str, result: Result<Duration, Failure>) {
    for _ in 0..2 {
        state.observe(&ProbeKey::origin(pool, origin), result, now());
    }
}

/// The rows of the first table, as if nothing had been published before.
fn rows_of(state: &mut State, table: &str) -> Vec<Row> {
    let desired = state.desired(&Content::default(), later());
    let (name, _) = state
        .plans()
        .iter()
        .find(|(name, _)| name.0.starts_with(table))
        .expect("the table is planned");
    let slot = state
        .slots()
        .get(EntityKind::Table, &name.0)
        .expect("it has a slot");
    match desired.tables.get(&slot) {
        Some(TableRows::Publish { rows, .. }) => rows.to_vec(),
        other => panic!("rows are published, not {other:?}"),
    }
}

fn slot(state: &State, pool: &str, origin: &str) -> OriginIndex {
    let name = reconcile::origin_name(pool, origin);
    OriginIndex::try_from(
        state
            .slots()
            .get(EntityKind::Origin, &name)
            .expect("a slot"),
    )
    .expect("slots fit")
}

#[test]
fn the_same_address_in_two_vnets_is_two_origins_with_two_ways_back() {
    let preserving = EXAMPLE.replace(
        "forwarding = \"nat\"",
        "forwarding = \"nat\"\nsource = \"preserve\"",
    );
    let mut state = start(&preserving);
    let desired = state.desired(&Content::default(), later());
    let back = |vnet: &str| {
        let key = Service {
            address: Address::from_v4([10, 0, 0, 11]),
            port: Port::new(8080),
            protocol: 6,
            range: 0,
            vnet: reconcile::vnet_id(state.config(), Some(vnet)),
        };
        desired.reverse.get(&key).copied()
    };
    let blue = back("blue").expect("blue has a way back");
    let green = back("green").expect("green has a way back");
    assert_ne!(blue.origin, green.origin);
    assert_eq!(blue.origin, slot(&state, "web-blue", "a"));
    assert_eq!((blue.address, blue.port), (green.address, green.port));
    assert_eq!(
        blue.vnet,
        VnetId::LOCAL,
        "clients are in the node's own network"
    );
    assert_ne!(
        desired.origins[&blue.origin].vnet,
        desired.origins[&green.origin].vnet
    );
    assert_eq!(desired.peers.len(), 2);
    assert_eq!(desired.tunnel_ports, BTreeSet::from([4789]));
    assert_eq!(
        desired.node.flags,
        lbxdp_ebpf::abi::NODE_ECHO,
        "no origin answers in the node's own network"
    );
}

#[test]
fn what_is_configured_and_resolved_can_be_sent_to() {
    let mut state = start(EXAMPLE);
    let desired = state.desired(&Content::default(), later());
    for (index, origin) in &desired.origins {
        assert!(
            origin.path.has(lbxdp_ebpf::abi::PATH_RESOLVED),
            "origin {index}"
        );
        assert_eq!(
            origin.path.mtu, 1450,
            "1500 less IPv4, UDP, VXLAN and Ethernet"
        );
    }
    state.set_hops(Hops::new());
    let unresolved = state.desired(&Content::default(), later());
    for (index, origin) in &unresolved.origins {
        assert!(
            !origin.path.has(lbxdp_ebpf::abi::PATH_RESOLVED),
            "origin {index}"
        );
    }
}

#[test]
fn nobody_owns_a_row_before_the_first_probe_and_the_first_probe_decides() {
    let mut state = start(&EXAMPLE.replace("fallback_pool = \"web-green\"", ""));
    let rows = rows_of(&mut state, "web-blue");
    assert!(rows.iter().all(|row| row.current == Origin::NONE));
    report(&mut state, "web-blue", "a", PASS);
    let rows = rows_of(&mut state, "web-blue");
    let a = slot(&state, "web-blue", "a");
    assert!(rows.iter().all(|row| row.current == a));
    let recorded = |row: &&Row| row.flags == ROW_INSERT | ROW_LOOKUP;
    let will_move = rows.iter().filter(recorded).count();
    let third = rows.len() / 3;
    assert!(
        (third - 10..third + 10).contains(&will_move),
        "b has a third, once it is healthy: {will_move}"
    );
}

#[test]
fn an_origin_that_dies_gives_its_rows_away_and_gets_them_back() {
    let mut state = start(EXAMPLE);
    for origin in ["a", "b"] {
        report(&mut state, "web-blue", origin, PASS);
    }
    let before = rows_of(&mut state, "web-blue");
    let (a, b) = (slot(&state, "web-blue", "a"), slot(&state, "web-blue", "b"));
    report(&mut state, "web-blue", "b", Err(Failure::TcpTimeout));
    let during = rows_of(&mut state, "web-blue");
    for (before, during) in before.iter().zip(&during) {
        assert_eq!(during.current, a);
        assert!(before.current == a || before.current == b);
        assert_eq!(during.flags & ROW_INSERT != 0, before.current == b);
    }
    report(&mut state, "web-blue", "b", PASS);
    assert_eq!(rows_of(&mut state, "web-blue"), before);
}

#[test]
fn all_pools_down_leads_to_the_fallback_pool_and_without_one_leaves_the_rows() {
    let mut state = start(EXAMPLE);
    for (pool, origin) in [("web-blue", "a"), ("web-blue", "b"), ("web-green", "a")] {
        report(&mut state, pool, origin, Err(Failure::TcpTimeout));
    }
    let rows = rows_of(&mut state, "web-blue");
    let fallback = slot(&state, "web-green", "a");
    assert!(rows.iter().all(|row| row.current == fallback));

    report(&mut state, "echo-green", "a", PASS);
    let served = rows_of(&mut state, "echo-green");
    report(&mut state, "echo-green", "a", Err(Failure::IcmpTimeout));
    report(&mut state, "echo-green", "a", Err(Failure::IcmpTimeout));
    let table = state
        .slots()
        .of(EntityKind::Table)
        .find(|(name, _)| name.starts_with("echo-green"))
        .map(|(_, slot)| slot)
        .expect("the table has a slot");
    let actual = Content {
        tables: BTreeMap::from([(table, published(&served))]),
        ..Content::default()
    };
    let desired = state.desired(&actual, later());
    assert_eq!(desired.tables[&table], TableRows::Keep, "last known good");
}

#[test]
fn a_tunnel_is_at_fault_only_when_it_is_down_and_its_origin_too() {
    let mut state = start(EXAMPLE);
    let tunnel = ProbeKey::tunnel("blue", "blue-1");
    report(&mut state, "web-blue", "a", Err(Failure::TcpTimeout));
    assert_eq!(
        state.tunnel_at_fault("web-blue", "a"),
        None,
        "the tunnel is not known to be down"
    );
    state.observe(&tunnel, Err(Failure::IcmpTimeout), now());
    assert_eq!(state.tunnel_at_fault("web-blue", "a"), Some(tunnel));
    assert_eq!(
        state.tunnel_at_fault("web-blue", "b"),
        None,
        "b is not known to be down"
    );
    assert_eq!(
        state.tunnel_at_fault("web-green", "a"),
        None,
        "another tunnel"
    );
}

#[test]
fn a_new_agent_has_the_slots_the_health_and_the_rows_of_the_last_one() {
    let mut last = start(EXAMPLE);
    for origin in ["a", "b"] {
        report(&mut last, "web-blue", origin, PASS);
    }
    report(&mut last, "web-green", "a", Err(Failure::TcpTimeout));
    let left = last.desired(&Content::default(), later());

    let mut actual = Content::default();
    write(&mut actual, &left);
    let mut next = State::new(config(EXAMPLE), &actual, now() + Duration::from_secs(60))
        .expect("there is room");
    next.set_hops(hops(next.config()));
    let tracker = next
        .tracker(&ProbeKey::origin("web-green", "a"))
        .expect("it is probed");
    assert_eq!(
        (tracker.health(), tracker.since()),
        (Health::Unhealthy, now())
    );
    let desired = next.desired(&actual, later());
    assert_eq!(write(&mut actual, &desired), 0, "nothing is to be written");
}

#[test]
fn a_reload_keeps_what_stays_configured() {
    let mut state = start(EXAMPLE);
    for origin in ["a", "b"] {
        report(&mut state, "web-blue", origin, PASS);
    }
    let b = slot(&state, "web-blue", "b");
    let edited = EXAMPLE.replace("weight = 0.5", "weight = 0.0");
    state
        .replace(config(&edited), &Content::default(), now())
        .expect("there is room");
    assert_eq!(slot(&state, "web-blue", "b"), b);
    assert_eq!(state.generation(), 2);
    let rows = rows_of(&mut state, "web-blue");
    assert!(rows.iter().all(|row| row.current != b), "drained");
    let tracker = state
        .tracker(&ProbeKey::origin("web-blue", "b"))
        .expect("still probed");
    assert_eq!(tracker.health(), Health::Healthy);
}

/// Rows that are published at `time` where those of `actual` are in force.
fn first_rows(state: &mut State, actual: &Content, time: SystemTime) -> Vec<TableRows> {
    let desired = state.desired(actual, time);
    desired.tables.into_values().collect()
}

fn is_vacant(rows: &TableRows) -> bool {
    match rows {
        TableRows::Publish { rows, .. } => rows.iter().all(|row| row == Row::VACANT),
        TableRows::Keep => false,
    }
}

/// Does what the agent does with what is desired; says how many writes it took.
fn write(actual: &mut Content, desired: &Desired) -> usize {
    let before = actual.clone();
    let limits = Limits {
        listeners: 64,
        reverse: 64,
        tables: 64,
        rows: 1 << 20,
        origins: 1024,
        peers: 64,
        tunnels: 64,
        routes: 64,
        ranges: 64,
        vlans: 64,
        entities: 4096,
        listener_counters: 64,
    };
    let writes = plan(&before, desired, &limits).expect("it fits, and refers to nothing missing");
    for write in &writes {
        actual.apply(write);
    }
    writes.len()
}

/// Brings the maps in line.
fn settle(state: &mut State, actual: &mut Content, time: SystemTime) -> usize {
    let desired = state.desired(actual, time);
    let writes = write(actual, &desired);
    state.written();
    writes
}

fn published(rows: &[Row]) -> Published {
    let size = u32::try_from(rows.len()).expect("rows are few");
    Published {
        table: Table {
            halves: [0, size],
            rows: size,
            active: 0,
            previous_rows: [size; 2],
        },
        rows: Rows::from(rows),
    }
}

/// One load balancer before two origins that are probed.
fn two_origins() -> String {
    let http = |origins: &str| {
        format!(
            r#"
            [node]
            interfaces = ["eth0"]
            addresses = ["203.0.113.1"]
            hash_key = "00112233445566778899aabbccddeeff"
            [[monitor]]
            name = "web"
            type = "tcp"
            [[pool]]
            name = "web"
            monitor = "web"
            {origins}
            [[load_balancer]]
            name = "www"
            listeners = [{{ address = "198.51.100.10", port = 80, protocol = "tcp" }}]
            default_pools = ["web"]
            "#
        )
    };
    let origin = |name: &str, last: u8| {
        format!(
            r#"
            [[pool.origin]]
            name = "{name}"
            address = "192.0.2.{last}"
            port = 80
            "#
        )
    };
    http(&(origin("a", 11) + &origin("b", 12)))
}

#[test]
fn the_first_rows_wait_until_all_origins_have_had_a_result() {
    let mut state = start(&two_origins());
    assert!(is_vacant(
        &first_rows(&mut state, &Content::default(), now())[0]
    ));
    report(&mut state, "web", "a", PASS);
    assert!(
        is_vacant(&first_rows(&mut state, &Content::default(), now())[0]),
        "b may be up as well"
    );
    assert_eq!(state.held_until(), Some(now() + Duration::from_secs(1)));
    let mut actual = Content::default();
    settle(&mut state, &mut actual, now());
    let kept = first_rows(&mut state, &actual, now());
    assert_eq!(
        kept,
        [TableRows::Keep],
        "listeners have their table meanwhile"
    );
    report(&mut state, "web", "b", Err(Failure::TcpTimeout));
    let a = slot(&state, "web", "a");
    match &first_rows(&mut state, &actual, now())[0] {
        TableRows::Publish { rows, .. } => assert!(rows.iter().all(|row| row.current == a)),
        TableRows::Keep => panic!("all results are there"),
    }
    assert_eq!(state.held_until(), None);
}

#[test]
fn the_first_rows_wait_for_a_second_and_no_longer_whatever_the_clock_does() {
    let mut state = start(&two_origins());
    report(&mut state, "web", "a", PASS);
    let almost = now() + Duration::from_millis(999);
    assert!(is_vacant(
        &first_rows(&mut state, &Content::default(), almost)[0]
    ));
    for time in [
        now() + Duration::from_secs(1),
        now() - Duration::from_secs(3600),
    ] {
        assert!(
            !is_vacant(&first_rows(&mut state, &Content::default(), time)[0]),
            "at {time:?}"
        );
        assert_eq!(state.held_until(), None);
    }
}

#[test]
fn rows_in_force_do_not_wait_for_an_origin_that_is_new() {
    let both = two_origins();
    let mut state = start(&both.replace("name = \"b\"", "name = \"c\""));
    for origin in ["a", "c"] {
        report(&mut state, "web", origin, PASS);
    }
    let mut actual = Content::default();
    settle(&mut state, &mut actual, now());
    state
        .replace(config(&both), &actual, now())
        .expect("there is room");
    state.set_hops(hops(state.config()));
    let a = slot(&state, "web", "a");
    match &first_rows(&mut state, &actual, now())[0] {
        TableRows::Publish { rows, .. } => assert!(rows.iter().all(|row| row.current == a)),
        TableRows::Keep => panic!("the origin that is gone must lose its rows at once"),
    }
}

#[test]
fn a_table_that_a_reload_brings_waits_from_the_reload_on() {
    let mut state = start(&two_origins());
    for origin in ["a", "b"] {
        report(&mut state, "web", origin, PASS);
    }
    let renamed = two_origins().replace("\"web\"", "\"other\"");
    let reload = now() + Duration::from_secs(600);
    state
        .replace(config(&renamed), &Content::default(), reload)
        .expect("there is room");
    state.set_hops(hops(state.config()));
    report(&mut state, "other", "a", PASS);
    assert!(is_vacant(
        &first_rows(&mut state, &Content::default(), reload)[0]
    ));
    assert_eq!(state.held_until(), Some(reload + Duration::from_secs(1)));
    let end = reload + Duration::from_secs(1);
    assert!(!is_vacant(
        &first_rows(&mut state, &Content::default(), end)[0]
    ));
}
