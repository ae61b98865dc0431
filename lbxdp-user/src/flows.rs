//! Flows of rows at risk, as the program has recorded them: which are alive, and which rows need
//! them. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use lbxdp_ebpf::abi::{
    FlowKey, Kept, Origin, OriginIndex, ROW_GENERATION, ROW_INSERT, SEEN_FIN, SEEN_RST,
    Tracked as Flow,
};
use lbxdp_ebpf::hash::reduce;

use crate::rows::Rows;
use crate::sessions::is_silent;
use crate::steering::Tracked;

/// A flow that is alive, as far as it matters to its row.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Live {
    /// The flow.
    pub key: FlowKey,
    /// Its listener, by its index in `LISTENER_COUNTERS`.
    pub listener: u32,
    /// What its row is found by.
    pub hash: u32,
    /// The origin that it is kept to.
    pub origin: OriginIndex,
}

/// How long a connection may be silent that has ended, by what its client has shown: some segments of
/// it may still come.
const CLOSING: Duration = Duration::from_secs(10);

/// Parts those that are alive at `now`, a tick, from those that have been silent for `idle`, or have
/// ended.
pub fn sort(
    flows: impl IntoIterator<Item = (FlowKey, Flow)>,
    idle: Duration,
    now: u32,
) -> (Vec<Live>, Vec<(FlowKey, Flow)>) {
    let mut live = Vec::new();
    let mut silent = Vec::new();
    for (key, flow) in flows {
        if is_over(&flow.apart(key).1, idle, now) {
            silent.push((key, flow));
        } else {
            live.push(Live {
                key,
                listener: flow.listener,
                hash: flow.hash,
                origin: flow.origin,
            });
        }
    }
    (live, silent)
}

/// Whether a flow has been silent for `idle` at `now`, a tick, or has ended.
#[must_use]
pub fn is_over(kept: &Kept, idle: Duration, now: u32) -> bool {
    let has_ended = kept.seen.state & (SEEN_FIN | SEEN_RST) != 0 || kept.origin == Origin::NONE;
    let idle = if has_ended { idle.min(CLOSING) } else { idle };
    is_silent(kept.seen.tick, idle, now)
}

/// Sums flows up, by the tables that their listeners have now: index and rows in force; and says
/// which need not be recorded.
///
/// A flow that is where its row would send it does not need to be looked up, and is counted for its
/// origin alone. If that row does not record flows any more, it need not be recorded either: if the
/// row moves again, flows that are not recorded belong to the owner that it has now. That holds as
/// long as the flow is recorded with that origin: one that has gone elsewhere meanwhile needs its entry.
pub fn sum<'a>(
    flows: &[Live],
    table: impl Fn(u32) -> Option<(u32, &'a Rows)>,
) -> (Tracked, Vec<Live>) {
    let mut tracked = Tracked::default();
    let mut superfluous = Vec::new();
    let mut tables: BTreeMap<u32, Option<(u32, &Rows)>> = BTreeMap::new();
    for flow in flows {
        let table = *tables
            .entry(flow.listener)
            .or_insert_with(|| table(flow.listener));
        let place = table.and_then(|(table, rows)| {
            let number = reduce(flow.hash, u32::try_from(rows.len()).ok()?);
            Some((table, number, rows.get(number as usize)?))
        });
        match place {
            Some((table, number, row)) if row.current != flow.origin => {
                tracked.add(table, number, flow.origin);
            }
            Some((_, _, row)) if row.flags & (ROW_INSERT | ROW_GENERATION) == 0 => {
                superfluous.push(*flow);
            }
            Some(_) | None => tracked.add_to_origin(flow.origin),
        }
    }
    (tracked, superfluous)
}

#[cfg(test)]
mod tests {
    use lbxdp_ebpf::abi::{Row, Seen, VnetId};

    use super::*;

    const TICK: Duration = Duration::from_nanos(Seen::TICK_NS);

    fn flow(hash: u32, origin: OriginIndex, tick: u32) -> (FlowKey, Flow) {
        let flow = Flow {
            origin,
            hash,
            listener: 3,
            seen: Seen {
                tick,
                ..Seen::NEVER
            },
            ..Flow::EMPTY
        };
        (FlowKey::EMPTY, flow)
    }

    #[test]
    fn silent_flows_are_told_from_live_ones() {
        let flows = [flow(1, 0, 100), flow(2, 0, 89), flow(3, 0, 88)];
        let (live, silent) = sort(flows, TICK * 10, 100);
        let hashes: Vec<u32> = live.iter().map(|live| live.hash).collect();
        assert_eq!(hashes, [1, 2]);
        assert_eq!(silent.len(), 1);
    }

    #[test]
    fn connections_that_have_ended_are_forgotten_sooner() {
        let (key, mut ended) = flow(1, 0, 0);
        ended.seen.state = SEEN_FIN;
        let at = |now| sort([(key, ended)], TICK * 1_000, now).0.len();
        assert_eq!((at(10), at(13)), (1, 0));
    }

    #[test]
    fn rows_need_the_flows_that_they_would_send_elsewhere() {
        let rows = [Row::owned_by(0), Row::owned_by(1)];
        let quiet = Rows::from(&rows[..]);
        let at = |half: u32, origin| Live {
            key: FlowKey {
                vnet: VnetId(half),
                ..FlowKey::EMPTY
            },
            listener: 3,
            hash: half << 31,
            origin,
        };
        let (tracked, superfluous) = sum(&[at(0, 0), at(1, 0), at(1, 0)], |listener| {
            assert_eq!(listener, 3);
            Some((7, &quiet))
        });
        assert!(!tracked.live(7, 0), "the owner has it anyway");
        assert!(tracked.live(7, 1));
        assert_eq!(tracked.of_origin(0), 2);
        assert_eq!(superfluous, [at(0, 0)]);
        let (tracked, superfluous) = sum(&[at(0, 0)], |_| None);
        assert_eq!(tracked.of_origin(0), 1, "its listener is gone");
        assert!(superfluous.is_empty());
        // As long as the row records flows, this one would be taken for one from before.
        for flags in [ROW_INSERT, ROW_GENERATION] {
            let rows = Rows::from(&rows.map(|row| Row { flags, ..row })[..]);
            let (tracked, superfluous) = sum(&[at(0, 0)], |_| Some((7, &rows)));
            assert_eq!(tracked.of_origin(0), 1);
            assert!(superfluous.is_empty());
        }
    }
}
