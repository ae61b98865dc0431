//! The table of flows of rows at risk (maps `FLOWS` and `OPENING`).
//!
//! A flow is looked for with each of its packets, so a look must not cost more than the rest: flows
//! stand in sets of one cache line, at 10 bytes each, and all sets of a table together are to fit
//! into the cache of a core. There are two sets in which a flow may stand; for first packets, one. It
//! is told from others by 32 bits, beside the set that it is in: of a hash with a secret key, so that
//! nobody can make two flows alike, and that two are by chance happens once in some hundred million
//! looks. Who it is stands elsewhere ([`Flow`]), for whoever looks at the table.
//!
//! A flow goes to the first of its sets; to the second if the first begins to fill. If both are full,
//! it takes the place of the flow of either that has been silent longest. Within a set it has a home,
//! which it takes if that is free, so that for most packets the processor guesses where their flow is.
//!
//! Most packets of a flood are of flows that are not recorded. Lest each be looked for in two sets, a set
//! says of which flows none stands in its second one ([`Overflow`](crate::abi::Overflow)). First packets,
//! in `OPENING`, have one set only: each is needed for the time of one way to the client and back, and
//! stays, if no other comes, until it is the one of its set that has been silent longest.

use core::ops::Deref;

use crate::abi::{Flow, FlowEntry, FlowSet, Kept, Sight};
use crate::hash;

/// A table, as it is reached.
pub trait Store {
    /// A set: a pointer into the table, or a copy.
    type Set<'a>: Deref<Target = FlowSet>
    where
        Self: 'a;

    /// How many sets there are.
    fn sets(&self) -> u32;
    /// Whether a flow may stand in a second set.
    fn has_second(&self) -> bool;
    /// A set.
    fn set(&self, index: u32) -> Option<Self::Set<'_>>;
    /// Puts an entry in the place of `old`, in one step; false if that is not what is there.
    fn exchange(&self, at: Spot, old: FlowEntry, new: FlowEntry) -> bool;
    /// Notes when a packet came.
    fn touch(&self, at: Spot, time: u16);
    /// Announces that a flow of this fingerprint, whose first set this is, may stand in its second one. Who
    /// sees an entry that is exchanged after that sees this, too.
    fn announce_overflow(&self, set: u32, fingerprint: u32);
    /// Writes whose the entry is.
    fn name(&self, at: Spot, flow: &Flow);
}

/// The place of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spot {
    /// The set.
    pub set: u32,
    /// The entry of that set.
    pub way: u32,
}

impl Spot {
    /// The number of the entry among those of all sets.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> u32 {
        self.set
            .wrapping_mul(FlowSet::WAYS as u32)
            .wrapping_add(self.way)
    }
}

/// The entry of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// Where it is.
    pub at: Spot,
    /// The entry.
    pub entry: FlowEntry,
    /// When the last packet came: [`FlowSet::time_of`].
    pub time: u16,
}

impl Found {
    /// What it says at a tick.
    #[inline(always)]
    #[must_use]
    pub const fn kept(&self, now: u32) -> Kept {
        self.entry.kept(FlowSet::tick_of(self.time, now))
    }
}

/// What came of recording a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recording {
    /// It is recorded.
    Done,
    /// It is, in the place of another.
    Evicting,
    /// It is not: whatever place was chosen, another processor was faster.
    Lost,
}

/// The two sets that a flow may be in.
#[inline(always)]
const fn sets_of(digest: u64, sets: u32) -> [u32; 2] {
    let hash = hash::upper(digest);
    [
        hash::reduce(hash, sets),
        hash::reduce(hash.rotate_left(16), sets),
    ]
}

/// The set that a flow goes to, unless that begins to fill.
#[must_use]
pub const fn first_set(digest: u64, sets: u32) -> u32 {
    let [first, _] = sets_of(digest, sets);
    first
}

/// By what a flow is told from others.
#[inline(always)]
#[must_use]
pub const fn fingerprint(digest: u64) -> u32 {
    match digest as u32 {
        // That of no flow.
        0 => 1,
        lower => lower,
    }
}

/// The way that a flow takes if it is free.
#[inline(always)]
const fn home(fingerprint: u32) -> u32 {
    hash::reduce(fingerprint, FlowSet::WAYS as u32)
}

/// Looks for a flow.
#[inline(always)]
pub fn find<S: Store>(store: &S, digest: u64) -> Option<Found> {
    let [first, second] = sets_of(digest, store.sets());
    let set = store.set(first)?;
    if let Some(found) = find_in(&set, first, digest) {
        return Some(found);
    }
    if !store.has_second() || !set.overflow.is_possible(fingerprint(digest)) {
        return None;
    }
    find_in(&*store.set(second)?, second, digest)
}

#[inline(always)]
fn find_in(set: &FlowSet, index: u32, digest: u64) -> Option<Found> {
    let (way, entry) = set.find(fingerprint(digest))?;
    let at = Spot { set: index, way };
    let time = *set.times.get(way as usize)?;
    Some(Found { at, entry, time })
}

/// Looks for a flow, and takes note of its packet; says what there is then.
#[inline(always)]
pub fn see<S: Store>(store: &S, digest: u64, sight: Sight) -> Option<Kept> {
    let found = find(store, digest)?;
    let time = FlowSet::time_of(sight.tick);
    if found.time != time {
        store.touch(found.at, time);
    }
    let mut kept = found.kept(sight.tick);
    kept.see(sight);
    let entry = FlowEntry::new(fingerprint(digest), kept);
    if entry != found.entry {
        // If another processor has been faster, it has seen a packet of this flow too, or put
        // another flow here, which needs its place more.
        store.exchange(found.at, found.entry, entry);
    }
    Some(kept)
}

/// Records a flow, in the place of what is recorded of it.
#[inline(always)]
pub fn record<S: Store>(store: &S, digest: u64, flow: &Flow, kept: Kept) -> Recording {
    let time = FlowSet::time_of(kept.seen.tick);
    let new = FlowEntry::new(fingerprint(digest), kept);
    let Some((at, old)) = place(store, digest, time) else {
        return Recording::Lost;
    };
    if store.has_second() {
        let first = first_set(digest, store.sets());
        if at.set != first {
            store.announce_overflow(first, new.fingerprint);
        }
    }
    // Before the entry, lest the new flow be taken for a silent one.
    store.touch(at, time);
    if !store.exchange(at, old, new) {
        return Recording::Lost;
    }
    store.name(at, flow);
    if old == FlowEntry::FREE || old.fingerprint == new.fingerprint {
        Recording::Done
    } else {
        Recording::Evicting
    }
}

/// Where a flow is recorded, or is to be, and what is there.
#[inline(always)]
fn place<S: Store>(store: &S, digest: u64, time: u16) -> Option<(Spot, FlowEntry)> {
    if let Some(found) = find(store, digest) {
        return Some((found.at, found.entry));
    }
    let [first, second] = sets_of(digest, store.sets());
    let here = store.set(first)?.vacancy(time);
    let (set, vacancy) = if !store.has_second() || here.used <= Vacancy::ENOUGH {
        (first, here)
    } else {
        let there = store.set(second)?.vacancy(time);
        if there.is_better_than(here) {
            (second, there)
        } else {
            (first, here)
        }
    };
    let home = home(fingerprint(digest));
    let found = store.set(set)?;
    let way = match found.entries.get(home as usize) {
        Some(entry) if entry.fingerprint == FlowEntry::FREE.fingerprint => home,
        Some(_) | None => vacancy.way(),
    };
    let old = found.entries.get(way as usize)?.read();
    Some((Spot { set, way }, old))
}

/// Takes away what is recorded of a flow, if something is.
#[inline(always)]
pub fn forget<S: Store>(store: &S, digest: u64) {
    if let Some(found) = find(store, digest) {
        // If it is not there any more, nothing is to be done.
        store.exchange(found.at, found.entry, FlowEntry::FREE);
    }
}

/// Where a set has room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Vacancy {
    /// How many entries are taken.
    used: u32,
    /// The way that is best to take: in bits from the 3rd, 2^16 if it is free, else for how long its
    /// flow has been silent.
    best: u32,
}

impl Vacancy {
    /// With so many flows in its first set, a flow does not ask for the second. With less, looks
    /// would have to go to the second more often; with more, flows would be pushed out while there is
    /// room.
    const ENOUGH: u32 = 3;

    #[inline(always)]
    const fn way(self) -> u32 {
        self.best & 7
    }

    #[inline(always)]
    const fn is_better_than(self, other: Self) -> bool {
        self.used < other.used || self.used == other.used && self.best >> 3 > other.best >> 3
    }
}

/// Shifts the highest bit down, so that the compiler does not see that: it would make a branch of
/// what is done with it.
macro_rules! shift {
    ($operator:literal, $number:ident => $shifted:expr) => {{
        #[cfg(target_arch = "bpf")]
        {
            let mut number = $number;
            // SAFETY: changes a register.
            unsafe {
                core::arch::asm!(
                    concat!("{0} ", $operator, " 63"),
                    inout(reg) number,
                    options(pure, nomem, nostack, preserves_flags)
                );
            }
            number
        }
        #[cfg(not(target_arch = "bpf"))]
        {
            $shifted
        }
    }};
}

impl FlowSet {
    /// The entry of a fingerprint, and its way.
    #[inline(always)]
    #[must_use]
    fn find(&self, fingerprint: u32) -> Option<(u32, FlowEntry)> {
        // All of an entry is read at once, so that it is of one flow.
        let whole = |way, entry: &FlowEntry| {
            let entry = entry.read();
            (entry.fingerprint == fingerprint).then_some((way, entry))
        };
        let home = home(fingerprint);
        let at_home = self.entries.get(home as usize)?;
        if at_home.fingerprint == fingerprint {
            return whole(home, at_home);
        }
        for (way, entry) in (0..).zip(&self.entries) {
            if entry.fingerprint == fingerprint {
                return whole(way, entry);
            }
        }
        None
    }

    /// Where there is room. Without a branch: the kernel would verify all that follows for each way.
    #[inline(always)]
    fn vacancy(&self, time: u16) -> Vacancy {
        let (mut used, mut best) = (0_u64, 0_u64);
        for (way, (entry, last)) in (0_u64..).zip(self.entries.iter().zip(self.times)) {
            let is_used = highest_bit(u64::from(entry.fingerprint).wrapping_neg());
            let age = u64::from(time.wrapping_sub(last));
            let rank = (age | (1 - is_used) << 16) << 3 | way;
            used += is_used;
            let higher = mask_of_negative(best.wrapping_sub(rank));
            best ^= (best ^ rank) & higher;
        }
        Vacancy {
            used: used as u32,
            best: best as u32,
        }
    }
}

/// All bits, if the highest one is set, and else none.
#[inline(always)]
fn mask_of_negative(number: u64) -> u64 {
    shift!("s>>=", number => (number >> 63).wrapping_neg())
}

/// The highest bit.
#[inline(always)]
fn highest_bit(number: u64) -> u64 {
    shift!(">>=", number => number >> 63)
}

#[cfg(test)]
mod tests;
