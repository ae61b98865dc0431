//! A table of flows of rows at risk, as it is reached from outside the program.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use aya::maps::{Array, IterableMap as _, MapData};
use lbxdp_ebpf::abi::{
    Flow, FlowEntry, FlowKey, FlowSet, Kept, OriginIndex, Overflow, Tracked, identity_bits,
};
use lbxdp_ebpf::flow_table::{self, Found, Recording, Spot, Store};
use lbxdp_ebpf::hash::flow_digest;

use super::kernel;
use super::live::Copied;
use super::shared::Shared;

/// Keys that are read in one call, if one of them is wanted.
const CHUNK: u32 = 6 * 512;

/// Map `FLOWS`, and the map of whose its entries are; or map `OPENING`, of which that is not known.
pub struct FlowTable<'a> {
    sets: Shared,
    keys: Option<&'a Array<MapData, Flow>>,
    hash_key: [u64; 12],
}

/// An entry of a table of flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// Where it is.
    pub at: Spot,
    /// The entry, to be named to whoever takes it away.
    pub entry: FlowEntry,
    /// The origin that its flow stays with, and when it was seen.
    pub kept: Kept,
    /// Whose it is, if the table says so; `None` as long as that is being written, and if flows are hashed
    /// with another key now.
    pub flow: Option<Flow>,
}

impl Recorded {
    /// What is found at a tick; whose it is, is not known yet.
    const fn of(found: Found, now: u32) -> Self {
        Self {
            at: found.at,
            entry: found.entry,
            kept: found.kept(now),
            flow: None,
        }
    }
}

impl<'a> FlowTable<'a> {
    /// The table in one map or two, for flows that are hashed with this key.
    ///
    /// # Errors
    /// When the kernel does not let us see the sets.
    pub fn new(
        sets: &Array<MapData, FlowSet>,
        keys: Option<&'a Array<MapData, Flow>>,
        hash_key: [u64; 12],
    ) -> Result<Self> {
        let sets = Shared::new(sets.map().fd().as_fd(), sets.len())
            .context("the sets of flows cannot be mapped into memory")?;
        Ok(Self {
            sets,
            keys,
            hash_key,
        })
    }

    /// All entries, as of a tick.
    ///
    /// # Errors
    /// When the keys cannot be read.
    pub fn entries(&self, now: u32) -> Result<Vec<Recorded>> {
        let mut entries = Vec::new();
        for index in 0..self.sets.count() {
            let Some(set) = self.sets.read(index) else {
                break;
            };
            for (way, (entry, time)) in (0..).zip(set.entries.into_iter().zip(set.times)) {
                if entry == FlowEntry::FREE {
                    continue;
                }
                let at = Spot { set: index, way };
                entries.push(Recorded::of(Found { at, entry, time }, now));
            }
        }
        // Read after the entries: a key is written after its entry.
        for chunk in entries.chunk_by_mut(|a, b| a.at.index() / CHUNK == b.at.index() / CHUNK) {
            self.name_all(chunk)?;
        }
        Ok(entries)
    }

    /// All entries, as [`Self::entries`]; and notes in the sets what was seen: of which classes flows stand
    /// in their second sets, and of which none does, so that flows that are not recorded need not be
    /// looked for there.
    ///
    /// That there is none is noted by the second of two calls. The program announces that it puts a flow
    /// into its second set: what it has announced before the first call is to be there in the second, so
    /// between them is to be more time than it has for a packet.
    ///
    /// # Errors
    /// When the keys cannot be read.
    pub fn look_through(&self, now: u32) -> Result<Vec<Recorded>> {
        let all = 0..self.sets.count();
        let watch = |set| self.sets.change_overflow(set, Overflow::watched);
        let before: Vec<Overflow> = all.clone().filter_map(watch).collect();
        let entries = self.entries(now)?;
        let mut there = vec![Overflow::NONE; before.len()];
        let mut anywhere = Overflow::NONE;
        for recorded in &entries {
            let Recorded {
                at, entry, flow, ..
            } = recorded;
            if let Some(flow) = flow {
                let first = flow_table::first_set(self.digest(&flow.key), self.sets());
                if first != at.set
                    && let Some(there) = there.get_mut(first as usize)
                {
                    *there = there.with(entry.fingerprint);
                }
            } else if self.holds(recorded) {
                anywhere = anywhere.with(entry.fingerprint);
            }
        }
        for (set, (before, there)) in all.zip(before.into_iter().zip(there)) {
            self.sets
                .change_overflow(set, |overflow| overflow.settled(before, there, anywhere));
        }
        Ok(entries)
    }

    /// Whether an entry is still that of the flow that it was read of: another has been announced.
    fn holds(&self, recorded: &Recorded) -> bool {
        let Recorded { at, entry, .. } = recorded;
        let set = self.sets.read(at.set);
        let now = set.and_then(|set| set.entries.get(at.way as usize).copied());
        now.is_some_and(|now| now.fingerprint == entry.fingerprint)
    }

    /// Says whose some entries are, all of one chunk.
    fn name_all(&self, entries: &mut [Recorded]) -> Result<()> {
        let (Some(keys), [first, .., last] | [first @ last]) = (self.keys, &*entries) else {
            return Ok(());
        };
        let (first, last) = (first.at.index(), last.at.index());
        let keys: Vec<Flow> = kernel::read_array(keys.map().fd().as_fd(), first, last + 1 - first)
            .context("cannot read the keys of flows")?;
        for entry in entries {
            let flow = keys.get((entry.at.index() - first) as usize).copied();
            entry.flow = flow.filter(|flow| {
                flow_table::fingerprint(self.digest(&flow.key)) == entry.entry.fingerprint
            });
        }
        Ok(())
    }

    /// The entry of a flow, as of a tick.
    ///
    /// # Errors
    /// When its key cannot be read.
    pub fn get(&self, key: &FlowKey, now: u32) -> Result<Option<Recorded>> {
        let Some(found) = flow_table::find(self, self.digest(key)) else {
            return Ok(None);
        };
        let mut recorded = Recorded::of(found, now);
        self.name_all(core::slice::from_mut(&mut recorded))?;
        Ok(Some(recorded))
    }

    /// Takes an entry away, if it is what is there.
    pub fn remove(&self, at: Spot, entry: FlowEntry) -> bool {
        self.sets.exchange(at, entry, FlowEntry::FREE)
    }

    /// Takes away the entry of a flow, if there is one, and it is as expected, as of a tick.
    pub fn remove_if(&self, key: &FlowKey, now: u32, expected: impl Fn(&Kept) -> bool) -> bool {
        let found = flow_table::find(self, self.digest(key));
        found.is_some_and(|found| expected(&found.kept(now)) && self.remove(found.at, found.entry))
    }

    /// Records a flow, as the program does.
    pub fn record(&self, key: FlowKey, entry: &Tracked) -> Recording {
        let (flow, kept) = entry.apart(key);
        flow_table::record(self, self.digest(&key), &flow, kept)
    }

    /// Takes away all that is recorded with these slots of origins, but with the origins of these
    /// identities.
    ///
    /// # Errors
    /// When the keys cannot be read.
    pub fn forget(&self, slots: &BTreeMap<OriginIndex, u32>) -> Result<()> {
        for recorded in self.entries(0)? {
            let Some(identity) = slots.get(&recorded.kept.origin) else {
                continue;
            };
            let is_same = match recorded.flow {
                Some(flow) => flow.identity == *identity,
                None => recorded.kept.identity == identity_bits(*identity),
            };
            if !is_same {
                self.remove(recorded.at, recorded.entry);
            }
        }
        Ok(())
    }

    fn digest(&self, key: &FlowKey) -> u64 {
        flow_digest(&self.hash_key, key)
    }
}

impl Store for FlowTable<'_> {
    type Set<'a>
        = Copied<FlowSet>
    where
        Self: 'a;

    fn sets(&self) -> u32 {
        self.sets.count()
    }

    fn has_second(&self) -> bool {
        self.keys.is_some()
    }

    fn set(&self, index: u32) -> Option<Copied<FlowSet>> {
        self.sets.read(index).map(Copied)
    }

    fn exchange(&self, at: Spot, old: FlowEntry, new: FlowEntry) -> bool {
        self.sets.exchange(at, old, new)
    }

    fn touch(&self, at: Spot, time: u16) {
        self.sets.touch(at, time);
    }

    fn announce_overflow(&self, set: u32, fingerprint: u32) {
        self.sets
            .change_overflow(set, |overflow| overflow.with(fingerprint));
    }

    fn name(&self, at: Spot, flow: &Flow) {
        if let Some(keys) = self.keys {
            // An entry that is not named is found by its flow all the same.
            let _ = kernel::write_array(keys.map().fd().as_fd(), at.index(), &[*flow]);
        }
    }
}
