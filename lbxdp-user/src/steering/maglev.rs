//! Weighted Maglev: the owner of each row by configuration.
//!
//! Each member has an own order of preference over all rows: start at an offset, go on by a skip;
//! the number of rows being prime, it meets every row once. Members take turns, turn `k` of a
//! member at time `k / weight`, each turn taking the first row of its preference that is still
//! free (Eisenbud et al., "Maglev", NSDI 2016, section 3.4). Every member with a weight has at
//! least one row, and none differs from its exact share by more than one row for equal weights.

use std::collections::BTreeMap;
use std::sync::Arc;

use lbxdp_ebpf::abi::OriginIndex;

use super::hash::mix;
use super::repair::Winners;
use super::{Member, Seed};

/// The owner of each row while everybody is up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Base {
    /// Members with a weight, ordered by number.
    members: Vec<Member>,
    /// For each row an index into `members`; empty if there are none.
    owners: Vec<u16>,
    seed: Seed,
}

impl Base {
    /// Deals the rows to the members. The order of `members` does not matter, nor do their slots.
    ///
    /// `rows` must be a prime, at least the number of members: [`table_size`](super::table_size).
    #[must_use]
    pub fn new(members: &[Member], rows: u32, seed: Seed) -> Self {
        let mut members: Vec<_> = members.iter().copied().filter(|m| m.weight > 0).collect();
        members.sort_unstable();
        // An owner is 16 bits, as the slot of an origin is.
        members.truncate(usize::from(u16::MAX));
        let owners = deal(&members, rows, seed);
        Self {
            members,
            owners,
            seed,
        }
    }

    /// Members with a weight, ordered by number.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The owner of each row, as an index into [`Self::members`].
    #[must_use]
    pub fn owners(&self) -> &[u16] {
        &self.owners
    }

    pub(super) const fn seed(&self) -> Seed {
        self.seed
    }
}

/// Bases that have been built, so that a flap does not build them again.
#[derive(Clone, Default, Debug)]
pub struct Bases {
    built: BTreeMap<Arrangement, Built>,
}

type Arrangement = (u32, Seed, Vec<Member>);

#[derive(Clone, Debug)]
struct Built {
    /// Shared by clones.
    base: Arc<Base>,
    winners: Winners,
    wanted: bool,
}

impl Bases {
    /// The base of these members, [repaired](Base::repair); built if it is new.
    pub fn repaired(
        &mut self,
        members: Vec<Member>,
        rows: u32,
        seed: Seed,
        up: impl Fn(&Member) -> bool,
    ) -> Option<Vec<OriginIndex>> {
        let Built { base, winners, .. } = self.built(members, rows, seed);
        if base.members().iter().all(&up) {
            // Nobody wins anything; those of the last time stay known.
            return base.repair(up);
        }
        base.repair_again(up, winners)
    }

    fn built(&mut self, members: Vec<Member>, rows: u32, seed: Seed) -> &mut Built {
        let built =
            self.built
                .entry((rows, seed, members))
                .or_insert_with_key(|(rows, seed, members)| Built {
                    base: Arc::new(Base::new(members, *rows, *seed)),
                    winners: Winners::default(),
                    wanted: true,
                });
        built.wanted = true;
        built
    }

    /// Forgets what nobody asked for since the last call: to be called after a round of plans.
    pub fn sweep(&mut self) {
        self.built
            .retain(|_, built| std::mem::take(&mut built.wanted));
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.built.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.built.is_empty()
    }
}

const FREE: u16 = u16::MAX;

fn deal(members: &[Member], rows: u32, seed: Seed) -> Vec<u16> {
    if members.is_empty() {
        return Vec::new();
    }
    let mut preferences: Vec<_> = members
        .iter()
        .map(|member| Preference::new(member.id, rows, seed))
        .collect();
    let mut owners = vec![FREE; rows as usize];
    for index in turns(members, rows) {
        let row = preferences[usize::from(index)].next_free(&owners);
        owners[row] = index;
    }
    owners
}

/// Members in the order of their turns, one for each row.
fn turns(members: &[Member], rows: u32) -> impl Iterator<Item = u16> {
    // Time runs from 0 to END; a turn is its time, then the member, in one number that sorts.
    const END: u64 = 1 << 47;
    let total: u128 = members.iter().map(|m| u128::from(m.weight)).sum();
    let mut turns = Vec::with_capacity(rows as usize + members.len());
    for (index, member) in (0_u64..).zip(members) {
        let step =
            (total * u128::from(END) / (u128::from(member.weight) * u128::from(rows))) as u64;
        // At least `rows * weight / total` turns each, rounded up: enough for all rows.
        turns.extend(
            (0..END)
                .step_by(step as usize)
                .map(|time| time << 16 | index),
        );
    }
    turns.sort_unstable();
    turns.truncate(rows as usize);
    turns.into_iter().map(|turn| turn as u16)
}

/// A member's order of rows.
struct Preference {
    next: u32,
    skip: u32,
    rows: u32,
}

impl Preference {
    fn new(id: u64, rows: u32, seed: Seed) -> Self {
        let offset = mix(id ^ seed.row(u32::MAX));
        let skip = mix(offset ^ id);
        Self {
            next: (offset % u64::from(rows)) as u32,
            skip: (skip % u64::from(rows - 1)) as u32 + 1,
            rows,
        }
    }

    /// The first free row of those that have not been tried. There must be one.
    fn next_free(&mut self, owners: &[u16]) -> usize {
        loop {
            let row = self.next as usize;
            self.next += self.skip;
            if self.next >= self.rows {
                self.next -= self.rows;
            }
            if owners[row] == FREE {
                return row;
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::config::model::HashKey;
    use crate::steering::table_size;

    #[test]
    fn shares_of_equal_members_are_equal() {
        for (members, rows, most) in [
            (10, 251, 1.04),
            (5, 4_093, 1.01),
            (40, 4_093, 1.01),
            (160, 16_381, 1.02),
            (500, 65_537, 1.02),
            (650, 65_537, 1.02),
        ] {
            for key in 0..3 {
                let base = Base::new(&equal(members), rows, seed(key));
                let counts = counts(&base);
                let mean = f64::from(rows) / f64::from(members);
                let largest = f64::from(*counts.values().max().unwrap()) / mean;
                let smallest = f64::from(*counts.values().min().unwrap()) / mean;
                assert!(largest <= most, "{members} of {rows}: {largest}");
                assert!(smallest >= 2.0 - most, "{members} of {rows}: {smallest}");
                assert_eq!(counts.len(), members as usize);
            }
        }
    }

    #[test]
    fn the_largest_table_is_balanced() {
        let base = Base::new(&equal(3_000), table_size(3_000), seed(1));
        let counts = counts(&base);
        let mean = f64::from(table_size(3_000)) / 3_000.0;
        assert!(f64::from(*counts.values().max().unwrap()) / mean <= 1.01);
    }

    /// Rows that move although their owner stays: the bounds are what the documentation states.
    #[test]
    fn an_edit_moves_little_more_than_it_must() {
        for (members, bound) in [
            (5, 0.02),
            (40, 0.04),
            (100, 0.02),
            (160, 0.03),
            (500, 0.015),
        ] {
            let rows = table_size(members as usize);
            for key in 0..3 {
                let (with, without) = (equal(members), equal(members - 1));
                let with = Base::new(&with, rows, seed(key));
                let without = Base::new(&without, rows, seed(key));
                let removed = id(members - 1);
                let extra = (0..rows as usize)
                    .map(|row| (owner(&with, row), owner(&without, row)))
                    .filter(|(before, after)| *before != removed && before != after)
                    .count();
                let extra = extra as f64 / f64::from(rows);
                assert!(extra <= bound, "{members} members: {extra}");
            }
        }
    }

    #[test]
    fn nobody_has_rows_where_nobody_has_weight() {
        assert!(Base::new(&[], 4_093, seed(0)).owners().is_empty());
        let idle = Member {
            weight: 0,
            ..member(1)
        };
        assert!(Base::new(&[idle], 4_093, seed(0)).owners().is_empty());
    }

    #[test]
    fn bases_are_built_once_and_forgotten_when_unused() {
        let mut bases = Bases::default();
        let first = Arc::clone(&bases.built(equal(3), 251, seed(0)).base);
        let again = &bases.built(equal(3), 251, seed(0)).base;
        assert!(Arc::ptr_eq(&first, again));
        bases.sweep();
        assert_eq!(bases.len(), 1);
        bases.sweep();
        assert!(bases.is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn rows_follow_weights(
            weights in proptest::collection::vec(0..=10_000_u32, 1..40),
            key in any::<u8>(),
        ) {
            let rows = 4_093;
            let members = weighted(&weights);
            let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
            let counts = counts(&Base::new(&members, rows, seed(key)));
            for member in members {
                let count = f64::from(counts.get(&member.id).copied().unwrap_or(0));
                let exact = f64::from(member.weight) / total * f64::from(rows);
                if member.weight == 0 {
                    prop_assert_eq!(count, 0.0);
                } else {
                    prop_assert!(count >= 1.0);
                    // One row by rounding, and half a per cent to give everybody at least one.
                    prop_assert!((count - exact).abs() <= 1.0 + exact * 0.01, "{count} {exact}");
                }
            }
        }

        #[test]
        fn neither_order_nor_slots_matter(
            weights in proptest::collection::vec(0..=100_u32, 1..20),
            shuffle in any::<u64>(),
            key in any::<u8>(),
        ) {
            let members = weighted(&weights);
            let mut others: Vec<_> = members
                .iter()
                .map(|member| Member { origin: 9_999 - member.origin, ..*member })
                .collect();
            others.sort_by_key(|member| mix(member.id ^ shuffle));
            let ours = Base::new(&members, 4_093, seed(key));
            let theirs = Base::new(&others, 4_093, seed(key));
            prop_assert_eq!(ours.owners(), theirs.owners());
        }
    }

    pub(in crate::steering) fn seed(key: u8) -> Seed {
        Seed::new(HashKey([key; 16]))
    }

    pub(in crate::steering) fn id(number: u16) -> u64 {
        seed(0).member("pool", &number.to_string())
    }

    pub(in crate::steering) fn member(number: u16) -> Member {
        Member {
            id: id(number),
            pool: seed(0).pool("pool"),
            weight: 10_000,
            origin: number,
        }
    }

    pub(in crate::steering) fn equal(members: u16) -> Vec<Member> {
        (0..members).map(member).collect()
    }

    pub(in crate::steering) fn weighted(weights: &[u32]) -> Vec<Member> {
        (0..)
            .zip(weights)
            .map(|(number, &weight)| Member {
                weight,
                ..member(number)
            })
            .collect()
    }

    fn owner(base: &Base, row: usize) -> u64 {
        base.members()[usize::from(base.owners()[row])].id
    }

    fn counts(base: &Base) -> BTreeMap<u64, u32> {
        let mut counts = BTreeMap::new();
        for row in 0..base.owners().len() {
            *counts.entry(owner(base, row)).or_default() += 1;
        }
        counts
    }
}
