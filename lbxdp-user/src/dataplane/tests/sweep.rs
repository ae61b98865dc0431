//! What sweeps find out of recorded flows.

use std::collections::BTreeMap;
use std::time::Duration;

use lbxdp_ebpf::abi::{Overflow, Seen, Tracked};
use lbxdp_ebpf::flow_table::Store as _;

use super::*;

/// Longer than any flow is silent.
const IDLE: Duration = Duration::from_secs(3_600);
/// For how many ticks all flows are.
const SILENT: u32 = 10;

/// Records flows of these numbers.
fn record(table: &FlowTable<'_>, numbers: std::ops::Range<u32>) -> Vec<FlowKey> {
    let seen = Seen {
        tick: Seen::tick_of(monotonic_ns().unwrap()).wrapping_sub(SILENT),
        ..Seen::NEVER
    };
    let tracked = Tracked {
        origin: 5,
        seen,
        ..Tracked::EMPTY
    };
    let record = |number: u32| {
        let [a, b, c, d] = number.to_be_bytes();
        let key = FlowKey {
            source: Address::from_v4([10, a, b, c]),
            source_port: Port::new(1_000 + u16::from(d)),
            ..FlowKey::EMPTY
        };
        table.record(key, &tracked);
        key
    };
    numbers.map(record).collect()
}

/// How many of these flows are found.
fn found(table: &FlowTable<'_>, keys: &[FlowKey]) -> usize {
    let is_found = |key: &&FlowKey| table.get(key, 0).unwrap().is_some();
    keys.iter().filter(is_found).count()
}

/// In how many sets flows of each class need not be looked for beyond their first.
fn known(table: &FlowTable<'_>) -> BTreeMap<u32, u32> {
    let mut known = BTreeMap::new();
    for index in 0..table.sets() {
        let overflow = table.set(index).unwrap().overflow;
        for class in (0..Overflow::CLASSES).filter(|class| !overflow.is_possible(*class)) {
            *known.entry(class).or_default() += 1;
        }
    }
    known
}

/// The maps of a node that hashes flows.
fn maps(test: &str) -> Option<(Pins, LiveMaps)> {
    let pins = Pins::with_maps(test)?;
    let mut maps = LiveMaps::open(&pins.0).unwrap();
    maps.apply(&Write::Node(desired().node)).unwrap();
    Some((pins, maps))
}

#[test]
fn what_two_sweeps_find_out_hides_no_flow() {
    let Some((pins, maps)) = maps("what_two_sweeps_find_out_hides_no_flow") else {
        return;
    };
    let table = maps.flow_table().unwrap();
    let sweeps = FlowMaps::open(&pins.0).unwrap();
    let half = table.sets() * FlowSet::WAYS as u32 / 2;
    let mut keys = record(&table, 0..half);
    assert_eq!(found(&table, &keys), keys.len());

    assert_eq!(sweeps.sweep(IDLE).unwrap().live.len(), keys.len());
    assert_eq!(known(&table), BTreeMap::new(), "after one sweep");
    sweeps.sweep(IDLE).unwrap();
    for class in 0..Overflow::CLASSES {
        let share = f64::from(known(&table)[&class]) / f64::from(table.sets());
        assert!((0.9..1.0).contains(&share), "class {class}: {share}");
    }
    assert_eq!(found(&table, &keys), keys.len());

    // Others are found though nobody has been told of them, and after they have been seen.
    keys.extend(record(&table, half..half + half / 4));
    let there = table.entries(0).unwrap().len();
    for _ in 0..3 {
        assert_eq!(found(&table, &keys), there);
        sweeps.sweep(IDLE).unwrap();
    }

    let swept = sweeps.sweep(Duration::from_secs(1)).unwrap();
    assert_eq!(swept.removed, there, "all are silent");
    sweeps.sweep(IDLE).unwrap();
    let all = (0..Overflow::CLASSES).map(|class| (class, table.sets()));
    assert_eq!(known(&table), all.collect());
}

/// As of a program that is held for longer than the time between two sweeps.
#[test]
fn flows_that_were_not_announced_are_found_after_one_sweep() {
    let test = "flows_that_were_not_announced_are_found_after_one_sweep";
    let Some((pins, mut maps)) = maps(test) else {
        return;
    };
    let sets = maps.flows.len();
    let table = maps.flow_table().unwrap();
    let keys = record(&table, 0..sets * FlowSet::WAYS as u32 / 2);
    drop(table);
    for index in 0..sets {
        let mut set = maps.flows.get(&index, 0).unwrap();
        set.overflow = Overflow::NONE;
        maps.flows.set(index, set, 0).unwrap();
    }
    let table = maps.flow_table().unwrap();
    assert!(found(&table, &keys) < keys.len());
    FlowMaps::open(&pins.0).unwrap().sweep(IDLE).unwrap();
    assert_eq!(found(&table, &keys), keys.len());
}

#[test]
fn a_flow_that_has_no_name_may_be_of_any_set() {
    let Some((pins, maps)) = maps("a_flow_that_has_no_name_may_be_of_any_set") else {
        return;
    };
    let table = maps.flow_table().unwrap();
    let [key] = record(&table, 7..8)[..] else {
        panic!("one flow is recorded");
    };
    let Recorded { at, entry, .. } = table.get(&key, 0).unwrap().unwrap();
    table.name(at, &Flow::EMPTY);
    let sweeps = FlowMaps::open(&pins.0).unwrap();
    for _ in 0..2 {
        sweeps.sweep(IDLE).unwrap();
    }
    let class = entry.fingerprint % Overflow::CLASSES;
    let others = (0..Overflow::CLASSES).filter(|other| *other != class);
    let others = others.map(|class| (class, table.sets()));
    assert_eq!(known(&table), others.collect());
}
