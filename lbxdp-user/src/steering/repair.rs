//! Rendezvous (highest random weight) for the rows of those that are down.
//!
//! Each row draws a number for each candidate; the candidate with the least `-log(number) / weight`
//! wins (Schindelhauer and Schomaker, "Weighted distributed hash tables", SPAA 2005): by weight on
//! average, and who wins does not depend on the losers, so that a failure or a return moves no row
//! between two others. Logarithms are integers here, because those of floating point may differ
//! between two nodes' mathematical libraries.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use lbxdp_ebpf::abi::OriginIndex;

use super::hash::mix;
use super::{Base, Member};

/// The winners of rows whose owner was down, the last time that they were asked for, so that the next
/// time only those who have changed need be looked at.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Winners {
    /// Who was up, by place among the members; empty if nothing is known.
    up: Vec<bool>,
    /// The pools that had somebody up.
    live: Vec<u64>,
    /// For each row whose owner was down, in order, the winner's place among the members.
    places: Vec<u16>,
}

impl Base {
    /// The owner of each row given who is up: its base owner if up; else the winner among those
    /// of its pool that are up; else the winner of the winning pool among the pools that have
    /// somebody up. `None` if nobody is.
    ///
    /// Costs one multiplication a row, and two for each candidate of a row whose owner is down.
    #[must_use]
    pub fn repair(&self, up: impl Fn(&Member) -> bool) -> Option<Vec<OriginIndex>> {
        self.repair_again(up, &mut Winners::default())
    }

    /// The same, given the winners of the last time with this base: of a row whose owner was down
    /// then, all candidates are looked at only if its winner is down now. Leaves the winners of this
    /// time.
    #[must_use]
    pub fn repair_again(
        &self,
        up: impl Fn(&Member) -> bool,
        last: &mut Winners,
    ) -> Option<Vec<OriginIndex>> {
        let members = self.members();
        let up: Vec<bool> = members.iter().map(up).collect();
        let pools = Pools::new(members, &up);
        if pools.live.is_empty() {
            return None;
        }
        let live: Vec<u64> = pools.live.keys().copied().collect();
        // If a pool comes or goes, winners have to do with other pools than before.
        let known = if last.up.len() == up.len() && last.live == live {
            std::mem::take(last)
        } else {
            Winners::default()
        };
        let returned: Vec<usize> = (known.up.iter().zip(&up).enumerate())
            .filter_map(|(place, (was, is))| (!was && *is).then_some(place))
            .collect();
        let winner = |row: u32, owner: &Member, before: Option<usize>| {
            let number = self.seed().row(row);
            let Some(before) = before.filter(|winner| up[*winner]) else {
                return pools.of(owner.pool, number).winner(number);
            };
            let draw = |place: usize| Candidate::of(&members[place], place as u16).draw(number);
            let pool = members[before].pool;
            let rivals = returned.iter().copied();
            let rivals = rivals.filter(|place| members[*place].pool == pool);
            rivals.map(draw).fold(draw(before), Draw::better).value
        };
        let mut known_places = known.places.into_iter();
        let mut places = Vec::new();
        let owners = (0..).zip(self.owners()).map(|(row, &owner)| {
            let owner = usize::from(owner);
            let before = match known.up.get(owner) {
                Some(false) => known_places.next().map(usize::from),
                Some(true) | None => None,
            };
            if up[owner] {
                return members[owner].origin;
            }
            let place = winner(row, &members[owner], before);
            places.push(place);
            members[usize::from(place)].origin
        });
        let owners = owners.collect();
        *last = Winners { up, live, places };
        Some(owners)
    }
}

/// The pools that have somebody up.
struct Pools {
    live: BTreeMap<u64, Live>,
    /// The same pools as candidates, each with the weight of all its members, up or not.
    candidates: Candidates<u64>,
}

/// The members of a pool that are up, by their places among all.
struct Live(Candidates<u16>);

impl Pools {
    fn new(members: &[Member], up: &[bool]) -> Self {
        let mut weights = BTreeMap::<u64, u64>::new();
        let mut live = BTreeMap::<u64, Vec<Candidate<u16>>>::new();
        for (place, (member, &up)) in (0..).zip(members.iter().zip(up)) {
            *weights.entry(member.pool).or_default() += u64::from(member.weight);
            if up {
                let candidate = Candidate::of(member, place);
                live.entry(member.pool).or_default().push(candidate);
            }
        }
        let candidates = live
            .keys()
            .map(|&pool| Candidate {
                weight: weights[&pool],
                id: pool,
                value: pool,
            })
            .collect();
        Self {
            live: live
                .into_iter()
                .map(|(pool, members)| (pool, Live(Candidates::new(members))))
                .collect(),
            candidates: Candidates::new(candidates),
        }
    }

    /// The pool itself if it has somebody up, else the one that wins the row.
    fn of(&self, pool: u64, row: u64) -> &Live {
        self.live
            .get(&pool)
            .unwrap_or_else(|| &self.live[&self.candidates.winner(row)])
    }
}

impl Live {
    fn winner(&self, row: u64) -> u16 {
        self.0.winner(row)
    }
}

/// Who may win, ordered by weight: among equals the highest number wins, and only the winners of
/// different weights need a logarithm. Never empty when asked.
struct Candidates<T>(Vec<Candidate<T>>);

#[derive(Clone, Copy)]
struct Candidate<T> {
    weight: u64,
    id: u64,
    value: T,
}

impl Candidate<u16> {
    /// A member, by its place among all.
    fn of(member: &Member, place: u16) -> Self {
        Self {
            weight: u64::from(member.weight),
            id: member.id,
            value: place,
        }
    }
}

/// What a candidate has drawn for a row.
#[derive(Clone, Copy)]
struct Draw<T> {
    number: u64,
    weight: u64,
    id: u64,
    value: T,
}

impl<T: Copy> Candidate<T> {
    /// What it draws for a row.
    fn number(&self, row: u64) -> u64 {
        mix(self.id ^ row)
    }

    fn draw(&self, row: u64) -> Draw<T> {
        let Self { weight, id, value } = *self;
        Draw {
            number: self.number(row),
            weight,
            id,
            value,
        }
    }
}

impl<T> Draw<T> {
    /// The one that wins. Of equal ones of different weights the lighter does.
    fn better(self, other: Self) -> Self {
        let order = match self.weight.cmp(&other.weight) {
            Ordering::Equal => (other.number, other.id).cmp(&(self.number, self.id)),
            // self.log / self.weight <=> other.log / other.weight
            by_weight => (self.log() * u128::from(other.weight))
                .cmp(&(other.log() * u128::from(self.weight)))
                .then(by_weight),
        };
        if order == Ordering::Greater {
            other
        } else {
            self
        }
    }

    fn log(&self) -> u128 {
        negative_log2(self.number).into()
    }
}

impl<T: Copy> Candidates<T> {
    fn new(mut candidates: Vec<Candidate<T>>) -> Self {
        candidates.sort_unstable_by_key(|candidate| (candidate.weight, candidate.id));
        Self(candidates)
    }

    fn winner(&self, row: u64) -> T {
        let classes = self.0.chunk_by(|a, b| a.weight == b.weight);
        let best = classes.filter_map(|equals| {
            let drawn = equals
                .iter()
                .map(|candidate| (candidate.number(row), candidate));
            drawn.max_by_key(|(number, _)| *number)
        });
        best.map(|(_, candidate)| candidate.draw(row))
            .reduce(Draw::better)
            .map(|draw| draw.value)
            .expect("a pool is live because it has somebody up")
    }
}

/// Fractional bits of a logarithm.
const FRACTION: u32 = 32;

/// `-log2(number / 2^64)` in units of 2^-32, from a table of 256 intervals.
fn negative_log2(number: u64) -> u64 {
    let number = number | 1;
    let zeros = number.leading_zeros();
    // 1.iiiiiiii ffff…: eight bits choose the interval, the next 32 the place within it.
    let digits = number << zeros << 1;
    let interval = (digits >> 56) as usize;
    let place = (digits >> 24) & 0xffff_ffff;
    let (from, to) = (LOG2[interval], LOG2[interval + 1]);
    let log = from + (((to - from) * place) >> 32);
    (u64::from(zeros + 1) << FRACTION) - log
}

/// `log2(1 + i / 256)` in units of 2^-32.
static LOG2: [u64; 257] = {
    let mut table = [0; 257];
    let mut i = 0;
    while i < 256 {
        table[i] = log2(256 + i as u128);
        i += 1;
    }
    table[256] = 1 << FRACTION;
    table
};

/// `log2(x / 256)` for `256 <= x < 512`, bit by bit: squaring doubles the logarithm.
const fn log2(x: u128) -> u64 {
    const ONE: u128 = 1 << 62;
    let mut x = x * (ONE / 256);
    let mut log = 0;
    let mut bit = 0;
    while bit < FRACTION {
        x = (x * x) / ONE;
        log <<= 1;
        if x >= 2 * ONE {
            x /= 2;
            log |= 1;
        }
        bit += 1;
    }
    log
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::steering::maglev::tests::{equal, id, member, seed, weighted};
    use crate::steering::shares;

    #[test]
    fn with_everybody_up_the_base_stands() {
        let base = Base::new(&equal(7), 4_093, seed(0));
        assert_eq!(base.repair(|_| true), Some(base_owners(&base)));
    }

    #[test]
    fn with_nobody_up_there_are_no_owners() {
        assert_eq!(Base::new(&equal(7), 4_093, seed(0)).repair(|_| false), None);
        assert_eq!(Base::new(&[], 4_093, seed(0)).repair(|_| true), None);
    }

    #[test]
    fn repaired_shares_stay_near_the_weights() {
        for (members, down, most) in [(5, 1, 1.04), (20, 1, 1.04), (20, 10, 1.08), (100, 10, 1.12)]
        {
            let rows_of = 65_537;
            let base = Base::new(&equal(members), rows_of, seed(3));
            let owners = base.repair(|member| member.origin >= down).unwrap();
            let shares = shares(&owners);
            let mean = f64::from(rows_of) / f64::from(members - down);
            let largest = f64::from(*shares.values().max().unwrap()) / mean;
            assert!(largest <= most, "{down} of {members}: {largest}");
            assert_eq!(shares.len(), usize::from(members - down));
        }
    }

    #[test]
    fn what_a_failure_leaves_is_shared_by_weight() {
        // A third of all rows goes to weights 1, 2 and 3.
        let base = Base::new(&weighted(&[300, 100, 200, 300]), 65_537, seed(5));
        let before = shares(&base_owners(&base));
        let after = shares(&base.repair(|member| member.origin != 0).unwrap());
        for (origin, part) in [(1, 1.0 / 6.0), (2, 2.0 / 6.0), (3, 3.0 / 6.0)] {
            let gained = f64::from(after[&origin] - before[&origin]) / f64::from(before[&0]);
            assert!(
                (gained - part).abs() < 0.015,
                "origin {origin} gained {gained}"
            );
        }
    }

    #[test]
    fn what_a_failure_leaves_stays_in_its_pool() {
        let base = Base::new(&two_pools(), 16_381, seed(1));
        let before = base_owners(&base);
        let after = base.repair(|member| member.origin != 0).unwrap();
        for (before, after) in before.iter().zip(&after) {
            assert!(before == after || (*before == 0 && *after == 1));
        }
    }

    #[test]
    fn what_a_pool_leaves_is_shared_by_the_pools_weights() {
        // Pools of weight 2 (origins 0, 1), 1 (origins 10, 11) and 3 (origins 20, 21).
        let mut members = two_pools();
        members.extend((20..22).map(|number| Member {
            pool: 3,
            weight: 15,
            ..member(number)
        }));
        let base = Base::new(&members, 65_537, seed(1));
        let owners = base
            .repair(|member| member.origin > 1 && member.origin != 20)
            .unwrap();
        let shares = shares(&owners);
        let share = |origin| f64::from(shares[&origin]) / 65_537.0;
        assert!((share(10) + share(11) - 0.25).abs() < 0.01);
        assert!((share(21) - 0.75).abs() < 0.01);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_failure_moves_its_own_rows_only_and_a_return_puts_them_back(
            weights in proptest::collection::vec(0..=100_u32, 2..24),
            down in proptest::collection::btree_set(0..24_u16, 0..12),
            flapping in 0..24_u16,
            key in any::<u8>(),
        ) {
            let base = Base::new(&weighted(&weights), 4_093, seed(key));
            let with = |down: &BTreeSet<u16>| base.repair(|member| !down.contains(&member.origin));
            let mut up = down.clone();
            up.remove(&flapping);
            let mut failed = down;
            failed.insert(flapping);
            let (Some(up), Some(failed)) = (with(&up), with(&failed)) else {
                return Ok(());
            };
            for (up, failed) in up.iter().zip(&failed) {
                prop_assert!(up == failed || *up == flapping);
                prop_assert_ne!(*failed, flapping);
            }
        }

        #[test]
        fn no_row_has_an_owner_that_is_down(
            weights in proptest::collection::vec(1..=100_u32, 1..24),
            up in proptest::collection::btree_set(0..24_u16, 1..24),
            key in any::<u8>(),
        ) {
            let base = Base::new(&weighted(&weights), 4_093, seed(key));
            let up: BTreeSet<_> = up.into_iter().filter(|up| usize::from(*up) < weights.len()).collect();
            match base.repair(|member| up.contains(&member.origin)) {
                None => prop_assert!(up.is_empty()),
                Some(owners) => {
                    prop_assert_eq!(owners.len(), 4_093);
                    prop_assert!(owners.iter().all(|owner| up.contains(owner)));
                }
            }
        }

        #[test]
        fn who_won_last_time_changes_nothing_but_the_cost(
            weights in proptest::collection::vec(1..=3_u32, 2..24),
            pools in 1..4_u64,
            steps in proptest::collection::vec(
                proptest::collection::btree_set(0..24_u16, 0..24), 1..12,
            ),
            key in any::<u8>(),
        ) {
            let mut members = weighted(&weights);
            for member in &mut members {
                member.pool = u64::from(member.origin) % pools;
            }
            let base = Base::new(&members, 1_021, seed(key));
            let mut last = Winners::default();
            for down in steps {
                let up = |member: &Member| !down.contains(&member.origin);
                prop_assert_eq!(base.repair_again(up, &mut last), base.repair(up));
            }
        }

        #[test]
        fn slots_do_not_matter(
            weights in proptest::collection::vec(1..=3_u32, 3..24),
            key in any::<u8>(),
        ) {
            let members = weighted(&weights);
            let renamed: Vec<_> = members
                .iter()
                .map(|member| Member { origin: member.origin ^ 0x155, ..*member })
                .collect();
            let repair = |members: &[Member]| {
                let base = Base::new(members, 4_093, seed(key));
                base.repair(|member| member.id != id(0) && member.id != id(1)).unwrap()
            };
            let theirs: Vec<_> = repair(&renamed).iter().map(|origin| origin ^ 0x155).collect();
            prop_assert_eq!(repair(&members), theirs);
        }
    }

    #[test]
    fn logarithms_are_those_of_floating_point() {
        for number in [
            1,
            3,
            1 << 20,
            1 << 63,
            u64::MAX / 3,
            u64::MAX - (1 << 50),
            u64::MAX,
        ] {
            let exact = 64.0 - (number as f64).log2();
            let ours = negative_log2(number) as f64 / f64::from(1 << 16).powi(2);
            assert!((exact - ours).abs() < 1e-5, "{number:#x}: {exact} {ours}");
        }
    }

    #[test]
    fn logarithms_fall_as_numbers_grow() {
        let logs: Vec<_> = (0..4096_u64).map(|i| negative_log2(i << 52)).collect();
        assert!(logs.is_sorted_by(|a, b| a > b));
    }

    fn base_owners(base: &Base) -> Vec<OriginIndex> {
        let owners = base.owners().iter();
        owners
            .map(|owner| base.members()[usize::from(*owner)].origin)
            .collect()
    }

    /// Pools of weight 20 (origins 0 and 1) and 10 (origins 10 and 11).
    fn two_pools() -> Vec<Member> {
        [(0, 1, 10), (1, 1, 10), (10, 2, 5), (11, 2, 5)]
            .map(|(number, pool, weight)| Member {
                pool,
                weight,
                ..member(number)
            })
            .to_vec()
    }
}
