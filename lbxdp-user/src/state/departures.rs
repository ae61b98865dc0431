//! Origins that take no new flows, and until when those from before stay.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use lbxdp_ebpf::abi::{EntityKind, Origin, OriginIndex};

use super::State;
use crate::dataplane::Content;
use crate::reconcile;
use crate::steering::Tracked;

/// Origins that have left the configuration, or are disabled, and stay in the maps for flows from
/// before.
#[derive(Clone, Debug)]
pub(super) struct Departures {
    /// Until when each stays, whoever needs it.
    until: BTreeMap<OriginIndex, SystemTime>,
    /// What stays, as of the last [`State::desired`].
    staying: BTreeMap<OriginIndex, Origin>,
    /// Whether what is in the maps is the last agent's: what it has let go of is not known, so each
    /// has a whole window again.
    is_adopting: bool,
}

impl Departures {
    pub(super) const fn adopting() -> Self {
        Self {
            until: BTreeMap::new(),
            staying: BTreeMap::new(),
            is_adopting: true,
        }
    }

    /// What stays in the maps.
    pub(super) const fn staying(&self) -> &BTreeMap<OriginIndex, Origin> {
        &self.staying
    }

    /// Until when an origin stays at least.
    pub(super) fn until(&self, origin: OriginIndex) -> Option<SystemTime> {
        self.until.get(&origin).copied()
    }

    /// Takes note that what is in the maps is this agent's.
    pub(super) const fn written(&mut self) {
        self.is_adopting = false;
    }

    /// Begins the time of those that are new among the `leaving`, and have had flows.
    pub(super) fn begin(
        &mut self,
        leaving: &BTreeMap<OriginIndex, Origin>,
        actual: &Content,
        window: impl Fn(OriginIndex) -> Duration,
        now: SystemTime,
    ) {
        self.until.retain(|slot, _| leaving.contains_key(slot));
        let mut new = leaving
            .keys()
            .filter(|slot| !self.until.contains_key(slot))
            .peekable();
        if new.peek().is_none() {
            return;
        }
        let named: BTreeSet<OriginIndex> = (actual.tables.values())
            .flat_map(|published| &published.rows)
            .flat_map(|row| [row.current, row.previous[0], row.previous[1]])
            .collect();
        let new: Vec<OriginIndex> = new
            .filter(|slot| self.is_adopting || named.contains(slot))
            .copied()
            .collect();
        for slot in new {
            self.until.insert(slot, now + window(slot));
        }
    }

    /// Decides who of the `leaving` stays: who has time left, who is named by a row, and who has
    /// flows in the flow table.
    pub(super) fn decide(
        &mut self,
        mut leaving: BTreeMap<OriginIndex, Origin>,
        before: &BTreeSet<OriginIndex>,
        tracked: &Tracked,
        now: SystemTime,
    ) {
        leaving.retain(|slot, _| {
            self.until.get(slot).is_some_and(|until| now < *until)
                || before.contains(slot)
                || tracked.of_origin(*slot) > 0
        });
        self.staying = leaving;
    }

    /// When the time of the next one is over.
    pub(super) fn due(&self, now: SystemTime) -> Option<SystemTime> {
        let to_come = self.until.values().filter(|until| **until > now);
        to_come.min().copied()
    }
}

impl State {
    /// For how long flows are kept to an origin that its rows have left: by its pool's
    /// `drain_duration` if it takes no new flows at all.
    pub(super) fn windows_of_drained(&self) -> BTreeMap<OriginIndex, Duration> {
        let mut windows = BTreeMap::new();
        let slots = self
            .slots
            .of(EntityKind::Origin)
            .chain(self.slots.leaving(EntityKind::Origin));
        for (name, slot) in slots {
            let Some((pool, origin)) = name.split_once('/') else {
                continue;
            };
            let Some((pool, duration)) =
                (self.config.pools.get(pool)).and_then(|pool| Some((pool, pool.drain_duration?)))
            else {
                continue;
            };
            let takes_new = pool.enabled
                && (pool.origins.get(origin))
                    .is_some_and(|origin| origin.enabled && origin.weight > 0.0);
            if let (false, Ok(slot)) = (takes_new, OriginIndex::try_from(slot)) {
                windows.insert(slot, duration);
            }
        }
        windows
    }

    /// Origins in the maps that are not configured any more, or not as ones that may serve: slot,
    /// name, and until when they stay at least.
    pub fn leaving(&self) -> impl Iterator<Item = (OriginIndex, &str, Option<SystemTime>)> {
        let names =
            (self.slots.of(EntityKind::Origin)).chain(self.slots.leaving(EntityKind::Origin));
        names.filter_map(|(name, slot)| {
            let slot = OriginIndex::try_from(slot).ok()?;
            self.departures.staying().contains_key(&slot).then(|| {
                let until = self.departures.until(slot).max(self.kept_until(slot));
                (slot, name, until)
            })
        })
    }

    /// All next hops that are needed.
    #[must_use]
    pub fn hop_keys(&self) -> BTreeSet<reconcile::HopKey> {
        let mut keys = reconcile::hop_keys(&self.config);
        keys.extend((self.departures.staying().values()).filter_map(reconcile::leaving_hop_key));
        keys
    }
}
