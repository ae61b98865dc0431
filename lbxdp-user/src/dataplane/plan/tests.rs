use std::collections::BTreeMap;
use std::iter::repeat_n;

use lbxdp_ebpf::abi::{
    Address, Encapsulation, Mode, Port, ROW_GENERATION, ROW_LOOKUP, RouteKey, Row, VnetId,
};
use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    listeners: 16,
    reverse: 16,
    tables: 8,
    rows: 200,
    origins: 16,
    peers: 8,
    tunnels: 8,
    routes: 8,
    ranges: 8,
    vlans: 8,
    entities: 64,
    listener_counters: 16,
};

/// Maps as the kernel has them: rows in one array, tables that point into it.
#[derive(Default)]
struct FakeMaps {
    content: Content,
    rows: BTreeMap<u32, Row>,
    tables: BTreeMap<u32, Table>,
}

impl FakeMaps {
    fn apply(&mut self, write: &Write<'_>) {
        match write {
            Write::Rows { first, rows } => {
                for (row, index) in rows.iter().zip(*first..) {
                    assert!(
                        !self.is_read(index),
                        "row {index} is written while it is in force"
                    );
                    assert!(index < LIMITS.rows);
                    self.rows.insert(index, row);
                }
            }
            Write::PreviousRows { index, table } => {
                let before = self.tables.insert(*index, *table).expect("it is there");
                let active = before.active as usize;
                assert_eq!(
                    Table {
                        previous_rows: before.previous_rows,
                        ..*table
                    },
                    before
                );
                assert_eq!(
                    table.previous_rows[active], before.previous_rows[active],
                    "packets read it"
                );
            }
            Write::Publish { index, table, .. } => {
                self.tables.insert(*index, *table);
            }
            Write::ClearTable(index) => {
                self.tables.remove(index);
            }
            _ => {}
        }
        self.content.apply(write);
    }

    fn active(table: &Table) -> std::ops::Range<u32> {
        let first = table.halves[table.active as usize];
        first..first + table.rows
    }

    fn is_read(&self, row: u32) -> bool {
        self.tables
            .values()
            .any(|table| Self::active(table).contains(&row))
    }

    /// What a packet could follow from here leads somewhere.
    fn assert_whole(&self) {
        let content = &self.content;
        for listener in content.listeners.values() {
            assert!(
                self.tables.contains_key(&listener.table),
                "listener without table"
            );
        }
        for table in self.tables.values() {
            for index in Self::active(table) {
                let row = self.rows.get(&index).expect("a row in force was written");
                for owner in [row.current, row.previous[0], row.previous[1]] {
                    assert!(
                        owner == Origin::NONE || content.origins.contains_key(&owner),
                        "row without origin"
                    );
                }
            }
        }
        for reverse in content.reverse.values() {
            assert!(
                content.origins.contains_key(&reverse.origin),
                "way back without origin"
            );
        }
        for origin in content.origins.values() {
            let tunnel = origin.path.tunnel;
            assert!(tunnel == Path::NO_TUNNEL || content.tunnels.contains_key(&tunnel));
        }
        for (key, peer) in &content.peers {
            assert!(
                content.tunnels.contains_key(&peer.tunnel),
                "peer without tunnel"
            );
            assert!(
                content.tunnel_ports.contains(&key.port.get()),
                "peer without port"
            );
        }
        for tunnel in content.routes.values() {
            assert!(
                content.tunnels.contains_key(&(*tunnel as u16)),
                "route without tunnel"
            );
        }
    }

    /// Applies a plan step by step, looking after each.
    fn sync(&mut self, desired: &Desired) -> Result<usize, PlanError> {
        let actual = self.content.clone();
        let writes = plan(&actual, desired, &LIMITS)?;
        for write in &writes {
            self.apply(write);
            self.assert_whole();
        }
        Ok(writes.len())
    }
}

fn service(last: u8) -> Service {
    Service {
        address: Address::from_v4([10, 0, 0, last]),
        port: Port::new(80),
        protocol: 6,
        range: 0,
        vnet: VnetId::LOCAL,
    }
}

fn path(tunnel: TunnelIndex, mtu: u16) -> Path {
    Path {
        tunnel,
        mtu,
        outer: 4,
        ..Path::UNRESOLVED
    }
}

fn origin(last: u8, tunnel: Option<TunnelIndex>) -> Origin {
    Origin {
        address: Address::from_v4([10, 0, 1, last]),
        port: Port::new(80),
        mode: Mode::NatPreserve as u8,
        vnet: VnetId(7),
        path: path(tunnel.unwrap_or(Path::NO_TUNNEL), 1450),
        ..Origin::EMPTY
    }
}

fn entity_key(kind: EntityKind, index: u32) -> EntityKey {
    EntityKey {
        kind: kind as u32,
        index,
    }
}

/// A whole, consistent state made of a few numbers.
fn desired() -> impl Strategy<Value = Desired> {
    let tunnels = prop::collection::btree_map(0_u16..6, 1000_u16..1003, 1..4);
    let origins = prop::collection::btree_map(0_u16..10, any::<(u8, bool)>(), 1..6);
    let tables = prop::collection::btree_map(
        0_u32..6,
        (
            prop::sample::select(vec![3_usize, 5, 7]),
            any::<u64>(),
            any::<bool>(),
        ),
        1..4,
    );
    let listeners = prop::collection::btree_map(0_u8..12, any::<u8>(), 0..8);
    let others = (any::<u8>(), any::<u8>(), 0_u64..2);
    (tunnels, origins, tables, listeners, others).prop_map(
        |(tunnels, origins, tables, listeners, (reverse, peers, flags))| {
            let tunnel_of = |number: usize| *tunnels.keys().nth(number % tunnels.len()).unwrap();
            let origin_of = |number: usize| *origins.keys().nth(number % origins.len()).unwrap();
            let table_of = |number: usize| *tables.keys().nth(number % tables.len()).unwrap();
            let mut desired = Desired {
                node: Node {
                    hash_key: [9; 12],
                    flags,
                    icmp_interval_ns: lbxdp_ebpf::abi::Allowance::INTERVAL_NS,
                    flow_interval_ns: lbxdp_ebpf::abi::Allowance::FLOW_INTERVAL_NS,
                    ..Node::default()
                },
                ..Desired::default()
            };
            for (&index, &mtu) in &tunnels {
                desired.tunnels.insert(index, path(index, mtu));
                let name = Entity::named(&format!("blue/{mtu}")).unwrap();
                desired
                    .entities
                    .insert(entity_key(EntityKind::Tunnel, index.into()), name);
            }
            for (&index, &(last, tunnelled)) in &origins {
                let tunnel = tunnelled.then(|| tunnel_of(last.into()));
                desired.origins.insert(index, origin(last, tunnel));
            }
            for (&index, &(rows, seed, empty)) in &tables {
                let rows = (0..rows).map(|row| {
                    let number = (seed >> row) as usize;
                    if empty && number.is_multiple_of(3) {
                        Row::VACANT
                    } else {
                        Row::owned_by(origin_of(number))
                    }
                });
                desired
                    .tables
                    .insert(index, TableRows::publish(rows.collect()));
            }
            for (&last, &number) in &listeners {
                let table = table_of(number.into());
                desired.listeners.insert(
                    service(last),
                    Listener {
                        table,
                        counter: last.into(),
                        flags: 0,
                    },
                );
            }
            for number in 0..usize::from(reverse % 6) {
                let value = Reverse {
                    address: service(1).address,
                    port: Port::new(80),
                    origin: origin_of(number + usize::from(reverse)),
                    vnet: VnetId::LOCAL,
                    counter: 0,
                };
                desired.reverse.insert(service(100 + number as u8), value);
            }
            for number in 0..usize::from(peers % 4) {
                let port = 4789 + u16::from(peers % 2) + number as u16 * 64;
                let key = PeerKey {
                    remote: service(number as u8).address,
                    local: service(200).address,
                    vni: 1,
                    port: Port::new(port),
                    encapsulation: Encapsulation::Vxlan as u8,
                    reserved: 0,
                };
                let tunnel = tunnel_of(number + usize::from(peers));
                let peer = Peer {
                    vnet: VnetId(7),
                    tunnel,
                    reserved: [0; 2],
                    inner_v4: Address::UNSPECIFIED,
                    inner_v6: Address::UNSPECIFIED,
                };
                desired.peers.insert(key, peer);
                desired.tunnel_ports.insert(port);
                let route = RouteKey::new(VnetId(7), service(number as u8).address);
                desired.routes.insert((route, 160), tunnel.into());
            }
            desired
        },
    )
}

/// The tables of a state under other indices, as the agent does when sizes change.
fn holds(content: &Content, desired: &Desired) {
    assert_eq!(content.node, desired.node);
    assert_eq!(content.listeners, desired.listeners);
    assert_eq!(content.reverse, desired.reverse);
    assert_eq!(content.peers, desired.peers);
    assert_eq!(content.tunnels, desired.tunnels);
    assert_eq!(content.origins, desired.origins);
    assert_eq!(content.routes, desired.routes);
    assert_eq!(content.tunnel_ports, desired.tunnel_ports);
    assert_eq!(content.entities, desired.entities);
    let rows: BTreeMap<u32, TableRows> = content
        .tables
        .iter()
        .map(|(index, published)| (*index, TableRows::publish(published.rows.clone())))
        .collect();
    assert_eq!(rows, desired.tables);
}

proptest! {
    #[test]
    fn every_step_of_every_change_leads_somewhere(states in prop::collection::vec(desired(), 1..6)) {
        let mut maps = FakeMaps::default();
        for state in &states {
            maps.sync(state).unwrap();
            holds(&maps.content, state);
            // The fake's own rows agree with the copy's.
            for (index, published) in &maps.content.tables {
                let table = maps.tables[index];
                prop_assert_eq!(table, published.table);
                let rows: Rows = FakeMaps::active(&table).map(|row| maps.rows[&row]).collect();
                prop_assert_eq!(&rows, &published.rows);
            }
            prop_assert_eq!(maps.sync(state), Ok(0), "a second time there is nothing to write");
        }
        maps.sync(&Desired::default()).unwrap();
        prop_assert_eq!(&maps.content, &Content::default());
    }
}

fn owned_by(origin: OriginIndex, rows: usize) -> TableRows {
    TableRows::publish(repeat_n(Row::owned_by(origin), rows).collect())
}

fn simple() -> Desired {
    let mut desired = Desired::default();
    desired.origins.insert(1, origin(1, None));
    desired.origins.insert(2, origin(2, None));
    desired.tables.insert(0, owned_by(1, 5));
    desired.listeners.insert(
        service(1),
        Listener {
            table: 0,
            counter: 3,
            flags: 0,
        },
    );
    desired
}

#[test]
fn what_the_owners_before_refer_to_is_said_before_the_flip_and_for_its_half_alone() {
    let mut maps = FakeMaps::default();
    maps.sync(&simple()).unwrap();
    let mut next = simple();
    let moved = Row {
        previous: [1, 2],
        flags: ROW_LOOKUP | ROW_GENERATION,
        ..Row::owned_by(2)
    };
    let publish = |rows: &[Row], previous_rows| TableRows::Publish {
        rows: Rows::from(rows),
        previous_rows,
    };
    next.tables.insert(0, publish(&[moved; 5], 3));
    let actual = maps.content.clone();
    assert_eq!(plan(&actual, &next, &LIMITS).unwrap().len(), 3);
    maps.sync(&next).unwrap();
    assert_eq!(maps.tables[&0].previous_rows, [5, 3]);
    assert_eq!(maps.content.tables[&0].previous_rows(), 3);
    assert_eq!(maps.sync(&next), Ok(0));
    next.tables.insert(0, publish(&[moved; 5], 5));
    assert_eq!(maps.sync(&next), Ok(2), "its half says so already");

    let quiet = [Row::owned_by(2); 5];
    next.tables.insert(0, publish(&quiet, 5));
    maps.sync(&next).unwrap();
    next.tables.insert(0, publish(&quiet, 3));
    assert_eq!(maps.sync(&next), Ok(0), "nobody asks");
}

#[test]
fn a_change_of_rows_is_one_flip_of_the_same_table() {
    let mut maps = FakeMaps::default();
    maps.sync(&simple()).unwrap();
    let before = maps.tables[&0];
    let mut next = simple();
    next.tables.insert(0, owned_by(2, 5));
    let actual = maps.content.clone();
    let writes = plan(&actual, &next, &LIMITS).unwrap();
    assert_eq!(writes.len(), 2, "rows and the flip: {writes:?}");
    maps.sync(&next).unwrap();
    let after = maps.tables[&0];
    assert_eq!(
        after,
        Table {
            active: 1,
            ..before
        }
    );
}

#[test]
fn kept_rows_stay_and_what_they_name_must_stay_too() {
    let mut maps = FakeMaps::default();
    maps.sync(&simple()).unwrap();
    let mut next = simple();
    next.tables.insert(0, TableRows::Keep);
    assert_eq!(maps.sync(&next), Ok(0));
    next.origins.remove(&1);
    let error = maps.sync(&next).unwrap_err();
    assert_eq!(
        error.to_string(),
        "table 0 refers to origin 1, which does not exist; nothing was changed"
    );
    let mut fresh = FakeMaps::default();
    assert!(
        fresh.sync(&next).is_err(),
        "a listener of a table that has never had rows"
    );
}

#[test]
fn a_slot_that_is_given_away_starts_counting_from_zero() {
    let mut maps = FakeMaps::default();
    let key = entity_key(EntityKind::Origin, 1);
    let mut state = simple();
    state.entities.insert(key, Entity::named("web/a").unwrap());
    maps.sync(&state).unwrap();
    let healthy = Entity {
        health: 1,
        ..Entity::named("web/a").unwrap()
    };
    state.entities.insert(key, healthy);
    let actual = maps.content.clone();
    assert_eq!(
        plan(&actual, &state, &LIMITS).unwrap(),
        [Write::SetEntity(key, &healthy)]
    );
    maps.sync(&state).unwrap();
    let other = Entity::named("web/b").unwrap();
    state.entities.insert(key, other);
    let actual = maps.content.clone();
    assert_eq!(
        plan(&actual, &state, &LIMITS).unwrap(),
        [Write::SetEntity(key, &other), Write::ZeroCounters(key)]
    );
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_written() {
    let mut maps = FakeMaps::default();
    let mut state = simple();
    for last in 0..17 {
        state.listeners.insert(
            service(last),
            Listener {
                table: 0,
                counter: 0,
                flags: 0,
            },
        );
    }
    let error = maps.sync(&state).unwrap_err();
    assert_eq!(
        error,
        PlanError::Full {
            map: "LISTENERS",
            limit: 16,
            needed: 17
        }
    );
    let mut state = simple();
    state.tables.insert(1, owned_by(1, 101));
    let error = maps.sync(&state).unwrap_err();
    assert_eq!(
        error,
        PlanError::Full {
            map: "ROWS",
            limit: 200,
            needed: 212
        }
    );
    assert_eq!(maps.content, Content::default());
}

#[test]
fn a_cleared_node_flag_is_cleared_last() {
    let mut maps = FakeMaps::default();
    let mut state = simple();
    state.node.flags = 1;
    maps.sync(&state).unwrap();
    let next = Desired::default();
    let actual = maps.content.clone();
    let writes = plan(&actual, &next, &LIMITS).unwrap();
    assert_eq!(writes.last(), Some(&Write::Node(Node::default())));
    assert!(!matches!(writes[0], Write::Node(_)));
}
