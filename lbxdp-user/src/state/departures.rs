//! Origins that take no new flows, and until when those from before stay.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use lbxdp_ebpf::abi::{EntityKind, Origin, OriginIndex};

use super::{State, Sweeps};
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
    /// Whether somebody stays only until flows have been swept.
    awaits_sweep: bool,
}

impl Departures {
    pub(super) const fn adopting() -> Self {
        Self {
            until: BTreeMap::new(),
            staying: BTreeMap::new(),
            is_adopting: true,
            awaits_sweep: false,
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

    /// Whether the next sweep of flows may let somebody go.
    pub(super) const fn awaits_sweep(&self) -> bool {
        self.awaits_sweep
    }

    /// Begins the time of those that are new among the `leaving`, and may have flows: by their rows,
    /// or recorded ones. Of whom those are, where there are any, is not known without a sweep.
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
            .flat_map(|published| published.rows.named())
            .collect();
        let mut tables = actual.tables.values();
        let records = tables.any(|published| published.rows.any_flag(u8::MAX));
        let new: Vec<OriginIndex> = new
            .filter(|slot| self.is_adopting || records || named.contains(slot))
            .copied()
            .collect();
        for slot in new {
            self.until.insert(slot, now + window(slot));
        }
    }

    /// Decides who of the `leaving` stays: who has time left, who is named by a row, and who has
    /// flows, recorded or translated, or may have: they have not been swept since its time was over.
    pub(super) fn decide(
        &mut self,
        mut leaving: BTreeMap<OriginIndex, Origin>,
        before: &BTreeSet<OriginIndex>,
        tracked: &Tracked,
        sweeps: &Sweeps,
        now: SystemTime,
    ) {
        self.awaits_sweep = false;
        leaving.retain(|slot, _| {
            let until = self.until.get(slot);
            if until.is_some_and(|until| now < *until)
                || before.contains(slot)
                || tracked.of_origin(*slot) > 0
                || sweeps.has_translated(*slot)
            {
                return true;
            }
            let is_unknown = until.is_some_and(|until| !sweeps.all_since(*until));
            self.awaits_sweep |= is_unknown;
            is_unknown
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

#[cfg(test)]
mod tests {
    use lbxdp_ebpf::abi::{ROW_LOOKUP, Row, Table};

    use super::*;
    use crate::dataplane::Published;

    const WINDOW: Duration = Duration::from_secs(5);
    const GONE: OriginIndex = 7;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
    }

    fn leaving() -> BTreeMap<OriginIndex, Origin> {
        [(GONE, Origin::EMPTY)].into()
    }

    /// One leaves now, where this row alone is in force.
    fn begun(row: Row) -> Departures {
        let mut departures = Departures::adopting();
        departures.written();
        let published = Published {
            table: Table {
                halves: [0, 1],
                rows: 1,
                active: 0,
                previous_rows: [1; 2],
            },
            rows: [row].into_iter().collect(),
        };
        let actual = Content {
            tables: [(0, published)].into(),
            ..Content::default()
        };
        departures.begin(&leaving(), &actual, |_| WINDOW, now());
        departures
    }

    fn stays(departures: &mut Departures, tracked: &Tracked, sweeps: &Sweeps, at: u64) -> bool {
        let time = now() + Duration::from_secs(at);
        departures.decide(leaving(), &BTreeSet::new(), tracked, sweeps, time);
        departures.staying().contains_key(&GONE)
    }

    #[test]
    fn who_has_had_rows_or_may_have_recorded_flows_stays_for_a_window() {
        let (none, never) = (Tracked::default(), Sweeps::default());
        let at_risk = Row {
            flags: ROW_LOOKUP,
            ..Row::owned_by(1)
        };
        for (row, expected) in [
            (Row::owned_by(1), false),
            (Row::owned_by(GONE), true),
            (at_risk, true),
        ] {
            let mut departures = begun(row);
            assert_eq!(
                stays(&mut departures, &none, &never, 4),
                expected,
                "{row:?}"
            );
            assert!(!stays(&mut departures, &none, &never, 5), "{row:?}");
        }
    }

    #[test]
    fn nobody_goes_before_a_sweep_that_began_after_its_time() {
        let none = Tracked::default();
        let mut sweeps = Sweeps::default();
        let mut departures = begun(Row::owned_by(GONE));
        for began in [4, 6] {
            let began = Some(now() + Duration::from_secs(began));
            sweeps.flows = began;
            assert!(stays(&mut departures, &none, &sweeps, 7));
            assert!(departures.awaits_sweep());
            sweeps.translated(&BTreeMap::new(), began);
        }
        assert!(!stays(&mut departures, &none, &sweeps, 7));
        assert!(!departures.awaits_sweep());
    }

    #[test]
    fn who_has_flows_stays_until_they_are_over() {
        let mut tracked = Tracked::default();
        let mut sweeps = Sweeps::default();
        let mut departures = begun(Row::owned_by(GONE));
        tracked.add_to_origin(GONE);
        assert!(stays(&mut departures, &tracked, &sweeps, 100));
        let none = Tracked::default();
        sweeps.translated(&[(GONE, 1)].into(), None);
        assert!(stays(&mut departures, &none, &sweeps, 100));
        assert!(!departures.awaits_sweep());
        sweeps.translated(&BTreeMap::new(), None);
        assert!(!stays(&mut departures, &none, &sweeps, 100));
    }
}
