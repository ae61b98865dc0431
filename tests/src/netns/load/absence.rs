//! Origins that were away, and what that explains of a load's records.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::{FlowId, Kind, Outcome, Record, Records};

/// A time in which an origin was away.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Absence {
    /// `site/origin`.
    origin: String,
    /// When it died.
    died: Instant,
    /// Since when nothing new is sent to it, if that is so.
    found: Option<Instant>,
    /// When it was there again, if it is.
    back: Option<Instant>,
}

impl Absence {
    fn covers(&self, record: &Record) -> bool {
        self.overlaps(record.start, record.end)
    }

    fn overlaps(&self, from: Instant, to: Instant) -> bool {
        to >= self.died && self.back.is_none_or(|back| from <= back)
    }

    /// Whether the request may have been sent to it since nobody knew.
    fn is_unnoticed(&self, record: &Record) -> bool {
        self.covers(record) && self.found.is_none_or(|found| record.start <= found)
    }
}

/// All absences of a time.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Absences {
    origins: Vec<Absence>,
    /// When datagrams on their way may have been lost.
    gaps: Vec<(Instant, Instant)>,
}

impl Absences {
    /// An origin dies now.
    pub fn died(&mut self, origin: &str) {
        self.origins.push(Absence {
            origin: origin.to_owned(),
            died: Instant::now(),
            found: None,
            back: None,
        });
    }

    /// All who are away are known to be, from now on.
    pub fn found(&mut self) {
        for absence in &mut self.origins {
            absence.found.get_or_insert_with(Instant::now);
        }
    }

    /// All are there again.
    pub fn back(&mut self) {
        for absence in &mut self.origins {
            absence.back.get_or_insert_with(Instant::now);
        }
    }

    /// A link was dead since then, until now. What TCP loses by that it sends again.
    pub fn gap(&mut self, since: Instant) {
        self.gaps.push((since, Instant::now()));
    }

    /// The requests that somebody else is to blame for than an origin that was away: those that
    /// failed, and those of lasting flows that another origin answered than the one before.
    #[must_use]
    pub fn unexplained(&self, records: &Records) -> Records {
        let mut owners = BTreeMap::new();
        records.only(|record| !self.explain(record, &mut owners))
    }

    fn explain(&self, record: &Record, owners: &mut BTreeMap<FlowId, Owner>) -> bool {
        let flow = record.flow;
        match &record.outcome {
            Outcome::Answered(origin) => {
                let now = Owner {
                    origin: Arc::clone(origin),
                    asked: record.start,
                };
                let before = owners.insert(flow.id, now);
                before.is_none_or(|before| {
                    before.origin == *origin
                        || self
                            .of(&before)
                            .any(|it| it.overlaps(before.asked, record.end))
                })
            }
            Outcome::Failed(_) => {
                let is_in_gap =
                    |&(from, to): &(Instant, Instant)| record.end >= from && record.start <= to;
                if flow.kind == Kind::Udp && self.gaps.iter().any(is_in_gap) {
                    return true;
                }
                let unnoticed = || {
                    self.origins
                        .iter()
                        .any(|absence| absence.is_unnoticed(record))
                };
                let Some(owner) = owners.get(&flow.id) else {
                    return unnoticed();
                };
                let is_away = self.of(owner).any(|absence| absence.covers(record));
                match flow.kind {
                    // The connection is over.
                    Kind::LongTcp | Kind::ShortTcp | Kind::Bulk => is_away,
                    // It goes to another as soon as it is known.
                    Kind::Udp => is_away && unnoticed(),
                }
            }
        }
    }

    fn of(&self, owner: &Owner) -> impl Iterator<Item = &Absence> {
        let origin = Arc::clone(&owner.origin);
        self.origins
            .iter()
            .filter(move |absence| *absence.origin == *origin)
    }
}

/// Who answered a flow last.
struct Owner {
    origin: Arc<str>,
    /// When it was asked.
    asked: Instant,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::netns::Flow;

    /// Origin a is away from second 10 to 20, which is known from 14 on.
    fn unexplained(list: &[(u64, Kind, u64, u64, Option<&str>)]) -> Vec<u64> {
        let zero = Instant::now();
        let at = |second| zero + Duration::from_secs(second);
        let absences = Absences {
            origins: vec![Absence {
                origin: "a".to_owned(),
                died: at(10),
                found: Some(at(14)),
                back: Some(at(20)),
            }],
            gaps: vec![(at(30), at(31))],
        };
        let records = list.iter().map(|&(id, kind, start, end, origin)| Record {
            flow: Flow {
                id: FlowId(id),
                kind,
                to: ([192, 0, 2, 1], 80).into(),
            },
            start: at(start),
            end: at(end),
            outcome: match origin {
                Some(origin) => Outcome::Answered(origin.into()),
                None => Outcome::Failed("".into()),
            },
        });
        let records = Records::new(zero, records.collect());
        let left = absences.unexplained(&records);
        left.iter().map(|record| record.flow.id.0).collect()
    }

    #[test]
    fn an_absence_explains_the_failures_and_moves_of_its_own_flows_alone() {
        let left = unexplained(&[
            (1, Kind::LongTcp, 1, 2, Some("a")),
            (2, Kind::LongTcp, 1, 2, Some("b")),
            (3, Kind::Udp, 1, 2, Some("a")),
            (4, Kind::Udp, 1, 2, Some("b")),
            (1, Kind::LongTcp, 11, 13, None),
            (2, Kind::LongTcp, 11, 13, None),
            (3, Kind::Udp, 11, 13, None),
            (3, Kind::Udp, 15, 16, Some("b")),
            (4, Kind::Udp, 15, 16, Some("a")),
        ]);
        assert_eq!(left, [2, 4]);
    }

    #[test]
    fn what_is_sent_when_all_is_known_must_be_answered() {
        let left = unexplained(&[
            (1, Kind::ShortTcp, 12, 15, None),
            (2, Kind::ShortTcp, 15, 16, None),
            (3, Kind::Udp, 8, 9, Some("a")),
            (3, Kind::Udp, 15, 16, None),
            (4, Kind::LongTcp, 8, 9, Some("a")),
            (4, Kind::LongTcp, 15, 16, None),
        ]);
        assert_eq!(left, [2, 3]);
    }

    #[test]
    fn a_gap_explains_that_datagrams_are_lost_and_nothing_else() {
        let left = unexplained(&[
            (1, Kind::Udp, 8, 9, Some("b")),
            (1, Kind::Udp, 29, 32, None),
            (2, Kind::LongTcp, 8, 9, Some("b")),
            (2, Kind::LongTcp, 30, 33, None),
            (3, Kind::Udp, 8, 9, Some("b")),
            (3, Kind::Udp, 30, 31, Some("a")),
            (4, Kind::Udp, 32, 33, None),
        ]);
        assert_eq!(left, [2, 3, 4]);
    }

    #[test]
    fn a_flow_that_follows_a_return_is_not_explained() {
        let left = unexplained(&[
            (1, Kind::Udp, 8, 9, Some("a")),
            (1, Kind::Udp, 15, 16, Some("b")),
            (1, Kind::Udp, 21, 22, Some("a")),
            (2, Kind::ShortTcp, 5, 6, None),
            (3, Kind::ShortTcp, 21, 22, None),
        ]);
        assert_eq!(left, [1, 2, 3]);
    }
}
