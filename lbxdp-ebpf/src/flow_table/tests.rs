use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use super::*;
use crate::abi::{FlowKey, OriginIndex, Overflow, SEEN_FIN, Seen, VnetId};
use crate::hash::mix;
use crate::wire::{TCP_ACK, TCP_FIN};

/// A table in ordinary memory.
struct Table {
    sets: Vec<Cell<FlowSet>>,
    names: RefCell<BTreeMap<u32, Flow>>,
    /// Whether another processor is always faster.
    is_contended: Cell<bool>,
    has_second: bool,
    /// Whether it has been announced that a flow goes to its second set.
    is_announced: Cell<bool>,
    /// Whether it had been when an entry was exchanged.
    was_announced: Cell<bool>,
    /// How many sets have been looked at.
    looks: Cell<usize>,
}

struct Copied(FlowSet);

impl Deref for Copied {
    type Target = FlowSet;

    fn deref(&self) -> &FlowSet {
        &self.0
    }
}

impl Table {
    fn of(sets: usize) -> Self {
        Self {
            sets: vec![Cell::new(FlowSet::EMPTY); sets],
            names: RefCell::default(),
            is_contended: Cell::new(false),
            has_second: true,
            is_announced: Cell::new(false),
            was_announced: Cell::new(false),
            looks: Cell::new(0),
        }
    }

    /// In which a flow has one set.
    fn without_second(sets: usize) -> Self {
        Self {
            has_second: false,
            ..Self::of(sets)
        }
    }

    fn count(&self) -> usize {
        let entries = self.sets.iter().flat_map(|set| set.get().entries);
        entries.filter(|entry| *entry != FlowEntry::FREE).count()
    }

    fn capacity(&self) -> u64 {
        (self.sets.len() * FlowSet::WAYS) as u64
    }

    /// Records a flow at a tick.
    fn put(&self, digest: u64, tick: u32) -> Recording {
        self.is_announced.set(false);
        let recording = record(self, digest, &Flow::EMPTY, kept(7, tick));
        let set = find(self, digest).map(|found| found.at.set);
        let is_in_second = set.is_some_and(|set| set != first_set(digest, self.sets()));
        assert!(!is_in_second || self.was_announced.get(), "announced late");
        recording
    }

    /// Notes in the sets what is known of them if all that is recorded is of these flows.
    fn settle(&self, flows: impl Iterator<Item = u64>) {
        let mut known = vec![Overflow::NONE; self.sets.len()];
        for digest in flows {
            let first = first_set(digest, self.sets());
            if find(self, digest).is_some_and(|found| found.at.set != first) {
                let known = &mut known[first as usize];
                *known = known.with(fingerprint(digest));
            }
        }
        for (cell, overflow) in self.sets.iter().zip(known) {
            let set = cell.get();
            cell.set(FlowSet { overflow, ..set });
        }
    }
}

impl Store for Table {
    type Set<'a> = Copied;

    fn sets(&self) -> u32 {
        self.sets.len() as u32
    }

    fn has_second(&self) -> bool {
        self.has_second
    }

    fn set(&self, index: u32) -> Option<Copied> {
        self.looks.set(self.looks.get() + 1);
        self.sets.get(index as usize).map(|set| Copied(set.get()))
    }

    fn exchange(&self, at: Spot, old: FlowEntry, new: FlowEntry) -> bool {
        self.was_announced.set(self.is_announced.get());
        let mut set = self.sets[at.set as usize].get();
        let entry = &mut set.entries[at.way as usize];
        if self.is_contended.get() || *entry != old {
            return false;
        }
        *entry = new;
        self.sets[at.set as usize].set(set);
        true
    }

    fn touch(&self, at: Spot, time: u16) {
        let mut set = self.sets[at.set as usize].get();
        set.times[at.way as usize] = time;
        self.sets[at.set as usize].set(set);
    }

    fn announce_overflow(&self, set: u32, fingerprint: u32) {
        let cell = &self.sets[set as usize];
        let set = cell.get();
        let overflow = set.overflow.with(fingerprint);
        self.is_announced.set(true);
        cell.set(FlowSet { overflow, ..set });
    }

    fn name(&self, at: Spot, flow: &Flow) {
        self.names.borrow_mut().insert(at.index(), *flow);
    }
}

fn kept(origin: OriginIndex, tick: u32) -> Kept {
    Kept {
        origin,
        identity: 0x1abc,
        seen: Seen {
            tick,
            ..Seen::NEVER
        },
    }
}

/// Digests of as many flows.
fn digests(count: u64) -> impl Iterator<Item = u64> {
    (1..=count).map(mix)
}

#[test]
fn a_flow_is_found_as_it_was_recorded_until_it_is_forgotten() {
    let table = Table::of(50);
    let flow = Flow {
        key: FlowKey {
            vnet: VnetId(9),
            ..FlowKey::EMPTY
        },
        ..Flow::EMPTY
    };
    for (origin, digest) in (0..).zip(digests(20)) {
        assert_eq!(
            record(&table, digest, &flow, kept(origin, 70_000)),
            Recording::Done
        );
    }
    for (origin, digest) in (0..).zip(digests(20)) {
        let found = find(&table, digest).expect("it is recorded");
        assert_eq!(found.kept(70_001), kept(origin, 70_000));
        assert_eq!(table.names.borrow()[&found.at.index()], flow);
        forget(&table, digest);
        assert_eq!(find(&table, digest), None);
    }
    assert_eq!(table.count(), 0);
}

#[test]
fn what_is_recorded_of_a_flow_takes_the_place_of_what_was() {
    let table = Table::of(50);
    let digest = mix(1);
    for origin in [3, 4] {
        let recording = record(&table, digest, &Flow::EMPTY, kept(origin, 5));
        assert_eq!(recording, Recording::Done);
    }
    assert_eq!(table.count(), 1);
    assert_eq!(
        find(&table, digest).map(|found| found.entry.origin()),
        Some(4)
    );
}

#[test]
fn a_packet_is_noted_and_a_new_connection_belongs_to_nobody_yet() {
    let table = Table::of(50);
    let digest = mix(1);
    let sight = |tick, tcp_flags| Sight { tick, tcp_flags };
    assert_eq!(see(&table, digest, sight(5, TCP_ACK)), None);
    table.put(digest, 5);
    let seen = see(&table, digest, sight(90_000, TCP_ACK | TCP_FIN)).expect("it is recorded");
    assert_eq!((seen.origin, seen.seen.tick), (7, 90_000));
    assert_ne!(seen.seen.state & SEEN_FIN, 0);
    let found = find(&table, digest).expect("it is recorded");
    assert_eq!(found.kept(90_000), seen);
    let opened = see(&table, digest, sight(90_001, crate::wire::TCP_SYN));
    assert_eq!(
        opened.map(|kept| kept.origin),
        Some(crate::abi::Origin::NONE)
    );
}

#[test]
fn a_fingerprint_of_zeros_is_not_taken_for_no_flow() {
    let table = Table::of(50);
    let digest = 0x1234_5678 << 32;
    assert_eq!(find(&table, digest), None);
    assert_eq!(table.put(digest, 1), Recording::Done);
    assert!(find(&table, digest).is_some());
}

#[test]
fn most_flows_are_at_home() {
    let table = Table::of(4_096);
    let count = table.capacity() / 2;
    for digest in digests(count) {
        table.put(digest, 1);
    }
    let at_home = digests(count).filter(|digest| {
        let found = find(&table, *digest).expect("it is recorded");
        found.at.way == home(fingerprint(*digest))
    });
    let share = at_home.count() as f64 / count as f64;
    assert!(share > 0.6, "{share}");
}

#[test]
fn with_half_of_the_places_taken_nobody_is_pushed_out() {
    let table = Table::of(4_096);
    for digest in digests(table.capacity() / 2) {
        assert_eq!(table.put(digest, 1), Recording::Done);
    }
    let in_first = digests(table.capacity() / 2).filter(|digest| {
        let [first, _] = sets_of(*digest, table.sets());
        find(&table, *digest).expect("it is recorded").at.set == first
    });
    let share = in_first.count() as f64 / (table.capacity() / 2) as f64;
    assert!(share > 0.8, "{share} of the flows are in their first set");
}

#[test]
fn with_three_quarters_taken_few_are_pushed_out() {
    let table = Table::of(4_096);
    let count = table.capacity() * 3 / 4;
    let evicting = digests(count).filter(|digest| table.put(*digest, 1) == Recording::Evicting);
    let evicted = evicting.count() as u64;
    assert_eq!(table.count() as u64 + evicted, count);
    assert!(evicted * 200 < count, "{evicted} evictions");
}

#[test]
fn what_is_known_of_second_sets_hides_no_flow() {
    let table = Table::of(4_096);
    let half = table.capacity() / 2;
    for digest in digests(half) {
        table.put(digest, 1);
    }
    table.settle(digests(half));
    let found = |count| digests(count).filter(|digest| find(&table, *digest).is_some());
    assert_eq!(found(half).count(), table.count());
    // Others go to their second sets.
    let count = table.capacity() * 3 / 4;
    for digest in digests(count).skip(half as usize) {
        table.put(digest, 1);
    }
    assert_eq!(found(count).count(), table.count());
}

#[test]
fn a_flow_that_is_not_recorded_is_looked_for_in_one_set() {
    let table = Table::of(4_096);
    let half = table.capacity() / 2;
    for digest in digests(half) {
        table.put(digest, 1);
    }
    let looks = || {
        table.looks.set(0);
        let others = digests(half * 2).skip(half as usize);
        assert_eq!(others.filter_map(|digest| find(&table, digest)).count(), 0);
        table.looks.get() as f64 / half as f64
    };
    assert_eq!(looks(), 2.0, "nothing is known");
    table.settle(digests(half));
    let looks = looks();
    assert!(looks < 1.05, "{looks} sets are looked at");
}

#[test]
fn without_a_second_set_all_flows_stand_in_their_first() {
    let table = Table::without_second(4_096);
    let half = table.capacity() / 2;
    let evicting = digests(half).filter(|digest| table.put(*digest, 1) == Recording::Evicting);
    let evicted = evicting.count() as u64;
    assert!(evicted * 40 < half, "{evicted} evictions");
    table.looks.set(0);
    let found = digests(half).filter_map(|digest| Some((digest, find(&table, digest)?.at.set)));
    let count = found
        .inspect(|(digest, set)| assert_eq!(*set, first_set(*digest, table.sets())))
        .count();
    assert_eq!(count as u64, half - evicted);
    assert_eq!(table.looks.get() as u64, half);
}

#[test]
fn who_was_silent_longest_is_pushed_out() {
    let table = Table::of(1);
    let silent = mix(3);
    for digest in digests(6) {
        // Also where the bits of the time begin anew.
        table.put(digest, if digest == silent { 0x1_fff0 } else { 0x2_0002 });
    }
    assert_eq!(table.put(mix(7), 0x2_0003), Recording::Evicting);
    assert_eq!(find(&table, silent), None);
    for digest in digests(7).filter(|digest| *digest != silent) {
        assert!(find(&table, digest).is_some());
    }
}

#[test]
fn who_is_not_recorded_since_others_were_faster_is_told() {
    let table = Table::of(50);
    table.is_contended.set(true);
    assert_eq!(table.put(mix(1), 1), Recording::Lost);
    assert_eq!(table.count(), 0);
}
