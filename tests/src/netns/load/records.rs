//! What the records of a load tell.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Instant;

use super::{FlowId, Kind, Outcome, Record};

/// Records in the order in which the requests ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Records {
    /// When the load started.
    started: Instant,
    records: Vec<Record>,
}

impl Records {
    /// Takes records, in the order in which the requests ended, of a load that started then.
    #[must_use]
    pub const fn new(started: Instant, records: Vec<Record>) -> Self {
        Self { started, records }
    }

    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.records.iter()
    }

    /// How many.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Those that were on their way at some time between the two.
    #[must_use]
    pub fn between(&self, from: Instant, to: Instant) -> Self {
        self.only(|record| record.end >= from && record.start <= to)
    }

    /// Those that were not on their way at any time between the two.
    #[must_use]
    pub fn outside(&self, from: Instant, to: Instant) -> Self {
        self.only(|record| record.end < from || record.start > to)
    }

    /// Those that started at this time or later.
    #[must_use]
    pub fn since(&self, time: Instant) -> Self {
        self.only(|record| record.start >= time)
    }

    /// Those that ended at this time or before.
    #[must_use]
    pub fn until(&self, time: Instant) -> Self {
        self.only(|record| record.end <= time)
    }

    /// Those to this address.
    #[must_use]
    pub fn to(&self, address: SocketAddr) -> Self {
        self.only(|record| record.flow.to == address)
    }

    /// Those of flows of this kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Self {
        self.only(|record| record.flow.kind == kind)
    }

    /// Those of one flow.
    #[must_use]
    pub fn of_flow(&self, flow: FlowId) -> Self {
        self.only(|record| record.flow.id == flow)
    }

    /// The last so many.
    #[must_use]
    pub fn last(&self, count: usize) -> Self {
        let first = self.records.len().saturating_sub(count);
        Self::new(self.started, self.records[first..].to_vec())
    }

    /// Those that failed.
    #[must_use]
    pub fn failed(&self) -> Self {
        self.only(|record| matches!(record.outcome, Outcome::Failed(_)))
    }

    /// Answers by origin.
    #[must_use]
    pub fn answers(&self) -> BTreeMap<String, usize> {
        let mut answers = BTreeMap::new();
        for record in &self.records {
            if let Outcome::Answered(origin) = &record.outcome {
                *answers.entry(origin.to_string()).or_default() += 1;
            }
        }
        answers
    }

    /// Flows by the origin that answers them; each flow once, by its first answer. The fair
    /// measure of a share, since an origin with slow clients answers as many flows as another.
    #[must_use]
    pub fn flows(&self) -> BTreeMap<String, usize> {
        let mut seen = BTreeSet::new();
        let first = self.only(|record| {
            matches!(record.outcome, Outcome::Answered(_)) && seen.insert(record.flow.id)
        });
        first.answers()
    }

    /// The lasting flows (all but short TCP) with the origin that answered last before a time.
    #[must_use]
    pub fn owners_at(&self, time: Instant) -> BTreeMap<FlowId, String> {
        let mut owners = BTreeMap::new();
        for record in self.records.iter().filter(|record| record.end <= time) {
            if !record.flow.kind.lasts() {
                continue;
            }
            match &record.outcome {
                Outcome::Answered(origin) => {
                    owners.insert(record.flow.id, origin.to_string());
                }
                // It has ended, or its owner is not known to be right.
                Outcome::Failed(_) => {
                    owners.remove(&record.flow.id);
                }
            }
        }
        owners
    }

    /// Requests of flows among `owners` that were answered by another origin, or failed.
    #[must_use]
    pub fn disturbances(&self, owners: &BTreeMap<FlowId, String>) -> Self {
        self.only(|record| {
            owners
                .get(&record.flow.id)
                .is_some_and(|owner| match &record.outcome {
                    Outcome::Answered(origin) => **origin != **owner,
                    Outcome::Failed(_) => true,
                })
        })
    }

    /// The flows of those.
    #[must_use]
    pub fn disturbed(&self, owners: &BTreeMap<FlowId, String>) -> BTreeSet<FlowId> {
        let disturbances = self.disturbances(owners);
        disturbances.iter().map(|record| record.flow.id).collect()
    }

    /// How many, and the first few with times and outcomes, for a message.
    #[must_use]
    pub fn show(&self) -> String {
        let lines = self.records.iter().take(5).map(|record| {
            let (sent, waited) = (record.start - self.started, record.end - record.start);
            format!(
                "sent at {sent:.3?} of the load, ended after {waited:.3?}: {:?}: {:?}",
                record.flow, record.outcome
            )
        });
        let lines: Vec<_> = lines.collect();
        format!("{}, of which the first:\n{}", self.len(), lines.join("\n"))
    }

    pub(super) fn only(&self, mut keep: impl FnMut(&Record) -> bool) -> Self {
        let kept = self.records.iter().filter(|record| keep(record)).cloned();
        Self::new(self.started, kept.collect())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::netns::Flow;

    /// Flow, start and end in seconds, origin or failure.
    fn records(list: &[(u64, Kind, u64, u64, Option<&str>)]) -> (Instant, Records) {
        let zero = Instant::now();
        let records = list.iter().map(|&(id, kind, start, end, origin)| Record {
            flow: Flow {
                id: FlowId(id),
                kind,
                to: ([192, 0, 2, 1], 80).into(),
            },
            start: zero + Duration::from_secs(start),
            end: zero + Duration::from_secs(end),
            outcome: match origin {
                Some(origin) => Outcome::Answered(origin.into()),
                None => Outcome::Failed("".into()),
            },
        });
        (zero, Records::new(zero, records.collect()))
    }

    #[test]
    fn a_request_belongs_to_every_window_that_it_touches() {
        let (zero, records) = records(&[(1, Kind::Udp, 1, 3, None), (2, Kind::Udp, 4, 5, None)]);
        let at = |seconds| zero + Duration::from_secs(seconds);
        assert_eq!(records.between(at(2), at(2)).len(), 1);
        assert_eq!(records.between(at(0), at(4)).len(), 2);
        assert_eq!(records.between(at(6), at(9)).len(), 0);
    }

    #[test]
    fn flows_of_the_others_that_answer_elsewhere_or_fail_are_disturbed() {
        let (zero, records) = records(&[
            (1, Kind::Udp, 0, 1, Some("a")),
            (2, Kind::Udp, 0, 1, Some("b")),
            (3, Kind::LongTcp, 0, 1, Some("b")),
            (4, Kind::ShortTcp, 0, 1, Some("b")),
            (5, Kind::Udp, 0, 1, Some("b")),
            (1, Kind::Udp, 2, 3, Some("b")),
            (2, Kind::Udp, 2, 3, Some("a")),
            (3, Kind::LongTcp, 2, 3, None),
            (5, Kind::Udp, 2, 3, Some("b")),
        ]);
        let mut owners = records.owners_at(zero + Duration::from_secs(1));
        assert_eq!(owners.len(), 4);
        owners.retain(|_, owner| owner != "a");
        let disturbed = records.disturbed(&owners);
        assert_eq!(disturbed, [FlowId(2), FlowId(3)].into());
    }

    #[test]
    fn a_flow_counts_once_for_the_share() {
        let (_, records) = records(&[
            (1, Kind::Udp, 0, 1, Some("a")),
            (1, Kind::Udp, 1, 2, Some("a")),
            (2, Kind::Udp, 1, 2, Some("b")),
        ]);
        assert_eq!(records.flows(), [("a".into(), 1), ("b".into(), 1)].into());
        assert_eq!(records.answers(), [("a".into(), 2), ("b".into(), 1)].into());
    }
}
