//! What sweeps of flows have found, and as of when that is known.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use lbxdp_ebpf::abi::OriginIndex;

use super::State;
use crate::steering::Tracked;

/// The last sweeps. Flows are recorded between two of them: that there is none is known of the time
/// before the last one began.
#[derive(Clone, Default, Debug)]
pub(super) struct Sweeps {
    /// When the last one of recorded flows began; without any, no flow is taken to be there.
    pub(super) flows: Option<SystemTime>,
    /// The same of translated flows.
    sessions: Option<SystemTime>,
    /// Who has translated flows.
    translated: BTreeSet<OriginIndex>,
    /// Whether rows keep their flags only until recorded flows have been swept.
    pub(super) awaited_by_rows: bool,
}

impl Sweeps {
    /// Whether recorded flows have been swept since then.
    pub(super) fn flows_since(&self, time: SystemTime) -> bool {
        self.flows.is_none_or(|began| began >= time)
    }

    /// Whether all flows have been swept since then.
    pub(super) fn all_since(&self, time: SystemTime) -> bool {
        self.flows_since(time) && self.sessions.is_none_or(|began| began >= time)
    }

    /// Whether an origin has translated flows.
    pub(super) fn has_translated(&self, origin: OriginIndex) -> bool {
        self.translated.contains(&origin)
    }

    /// Takes the number of translated flows of each origin, as of a sweep that began then.
    pub(super) fn translated(
        &mut self,
        by_origin: &BTreeMap<OriginIndex, usize>,
        began: Option<SystemTime>,
    ) {
        self.sessions = began;
        let some = by_origin.iter().filter(|(_, count)| **count > 0);
        self.translated = some.map(|(origin, _)| *origin).collect();
    }
}

impl State {
    /// Takes what a sweep of the flow table has found that began then; says whether the maps may
    /// have to change.
    pub fn swept_flows(&mut self, tracked: Tracked, began: Option<SystemTime>) -> bool {
        self.sweeps.flows = began;
        self.set_tracked(tracked) | self.sweeps.awaited_by_rows | self.departures.awaits_sweep()
    }

    /// The same for translated flows, as their number by origin.
    pub fn swept_sessions(
        &mut self,
        by_origin: &BTreeMap<OriginIndex, usize>,
        began: Option<SystemTime>,
    ) -> bool {
        let stayed = self.sweeps.translated.clone();
        self.sweeps.translated(by_origin, began);
        let is_left =
            |origin: &OriginIndex| stayed.contains(origin) && !self.sweeps.has_translated(*origin);
        self.departures.awaits_sweep() || self.departures.staying().keys().any(is_left)
    }
}
