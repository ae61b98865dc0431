//! From owners to rows: who owns them now, who did before, and whether the flow table matters.
//!
//! The one place where a row's flags are decided. A row is *at risk* when a flow of it may belong
//! to somebody else than its owner, now or soon:
//!
//! - Its owner is not the one that it will have when everybody is healthy ([`ROW_INSERT`]): it will
//!   move, by health alone, so its flows are recorded as long as that lasts.
//! - It has moved, while its flows were not being recorded, from an owner that still answers
//!   ([`ROW_GENERATION`]): for a window, flows that began before are sent to that owner, and
//!   recorded. The same where a row has come to be one that will move, and has flows already.
//! - It was one of these until lately ([`ROW_LOOKUP`] alone): what was recorded still counts.
//!
//! A row that was [`ROW_INSERT`] needs no window when it moves: its flows are recorded. Within a
//! window the oldest owner before stays the one that counts, as long as it answers: later flows
//! are recorded as they begin.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use lbxdp_ebpf::abi::{Origin, OriginIndex, ROW_GENERATION, ROW_INSERT, ROW_LOOKUP, Row};

use super::Windows;
use super::grown::Overlap;
use crate::rows::Rows;

/// The rows of a table that are in force.
#[derive(Clone, Copy, Debug)]
pub struct InForce<'a> {
    /// The rows.
    pub rows: &'a Rows,
    /// How many the table had to which [`Row::previous`] refers.
    pub previous_rows: u32,
    /// Until when they keep their flags, as far as it is known.
    pub windows: &'a Windows,
}

impl InForce<'_> {
    fn row(&self, number: usize) -> Row {
        self.rows.get(number).unwrap_or(Row::VACANT)
    }
}

/// What decides on flags besides owners.
pub struct Circumstances<'a> {
    /// Now.
    pub now: SystemTime,
    /// Number of the configuration.
    pub generation: u32,
    /// For how long flows may be idle.
    pub idle: Duration,
    /// How an origin stands.
    pub standing: &'a dyn Fn(OriginIndex) -> Standing,
    /// How long flows that began before a move are kept to the owner that they had.
    pub window: &'a dyn Fn(OriginIndex) -> Duration,
    /// What is known of a row's live flows in the flow table.
    pub recorded: &'a dyn Fn(u32) -> Recorded,
}

/// The live flows of a row in the flow table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recorded {
    /// There are some.
    Some,
    /// There is none.
    None,
    /// They have not been counted since the row's time was over.
    Unknown,
}

/// How an origin stands, as the owner of flows that began before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Flows with it may go on.
    Answers,
    /// It is unhealthy: flows with it are over, unless it comes back.
    Down,
    /// It is not in the maps any more.
    Gone,
}

/// Rows that are to be in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NextRows {
    /// The rows.
    pub rows: Rows,
    /// How many the table had to which [`Row::previous`] refers.
    pub previous_rows: u32,
    /// Until when they keep their flags.
    pub windows: Windows,
}

/// The rows of these owners where others are in force, or none.
///
/// `homes` are the owners that they will have when everybody is healthy. The table in force may
/// have fewer rows, but never more.
#[must_use]
pub fn next_rows(
    before: Option<InForce<'_>>,
    owners: &[OriginIndex],
    homes: &[OriginIndex],
    circumstances: &Circumstances<'_>,
) -> NextRows {
    let size = owners.len() as u32;
    let is_new = |before: &InForce<'_>| before.rows.is_empty() || before.rows.len() > owners.len();
    let before = before.filter(|before| !is_new(before));
    let has_grown = before.is_some_and(|before| before.rows.len() < owners.len());
    let mut ends = Vec::with_capacity(owners.len());
    let places = (0..).zip(owners.iter().zip(homes));
    let rows = places.map(|(number, (&owner, &home))| {
        let step = Step {
            owner,
            insert: owner != home && owner != Origin::NONE && home != Origin::NONE,
            row: number,
            circumstances,
        };
        let next = match before {
            Some(before) if has_grown => step.grown(&before, size),
            Some(before) => step.same(&before),
            None => step.first(),
        };
        ends.push(next.end);
        next.row
    });
    let rows: Rows = rows.collect();
    let previous_rows = match before {
        Some(before) if has_grown => before.rows.len() as u32,
        Some(before) if rows.iter().any(|row| tells_apart(&row)) => before.previous_rows,
        Some(_) | None => size,
    };
    NextRows {
        rows,
        previous_rows,
        windows: Windows::new(ends),
    }
}

/// The owners of rows, as those of a table of `size` rows.
#[must_use]
pub fn owners_in_force(rows: &Rows, size: u32) -> Vec<OriginIndex> {
    let owners = rows.owners();
    if owners.is_empty() || owners.len() > size as usize {
        return super::table::vacant(size);
    }
    (0..size)
        .map(|row| owners[Overlap::new(row, size, owners.len() as u32).first()])
        .collect()
}

/// The number of rows of each origin; vacant rows are not counted.
#[must_use]
pub fn shares(owners: &[OriginIndex]) -> BTreeMap<OriginIndex, u32> {
    let owners = || {
        let all = owners.iter().copied();
        all.filter(|owner| *owner != Origin::NONE)
    };
    // Slots are given out from 0 on, so that this is not longer than there are origins.
    let mut counts = vec![0; owners().max().map_or(0, |last| usize::from(last) + 1)];
    for owner in owners() {
        counts[usize::from(owner)] += 1;
    }
    let some = (0..).zip(counts).filter(|(_, count)| *count > 0);
    some.collect()
}

/// A row, and until when it keeps its flags.
struct Next {
    row: Row,
    end: Option<SystemTime>,
}

/// Owners before, and until when they count.
#[derive(Clone, Copy)]
struct Generation {
    previous: [OriginIndex; 2],
    end: SystemTime,
}

/// One row on its way.
struct Step<'a> {
    owner: OriginIndex,
    /// Whether it will move when everybody is healthy.
    insert: bool,
    row: u32,
    circumstances: &'a Circumstances<'a>,
}

impl Step<'_> {
    /// Where nothing is in force.
    fn first(&self) -> Next {
        self.finish(Row::VACANT, None, None)
    }

    /// Where a table of the same size is in force.
    fn same(&self, before: &InForce<'_>) -> Next {
        let number = self.row as usize;
        let row = before.row(number);
        if row == Row::owned_by(self.owner) && !self.insert {
            return Next { row, end: None };
        }
        let in_force = self.generation(before, number);
        let generation = if self.unrecorded(row) {
            self.since_now(row.current, in_force)
        } else {
            in_force
        };
        self.finish(row, self.known_end(before, number), generation)
    }

    /// Where a table with fewer rows is in force: of those that this row has flows of.
    ///
    /// If that one has grown within the window, too, the owners before in it are looked up by where
    /// most of these flows were in the table before; those at the border may be taken for a
    /// neighbour's.
    fn grown(&self, before: &InForce<'_>, size: u32) -> Next {
        let overlap = Overlap::new(self.row, size, before.rows.len() as u32);
        let mut previous = [Origin::NONE; 2];
        let mut flags = 0;
        let mut all_recorded = true;
        for number in overlap.rows() {
            let row = before.row(number);
            flags |= row.flags;
            all_recorded &= row.flags & ROW_INSERT != 0;
            let oldest = self.generation(before, number).map(|generation| {
                let place = overlap.place(number, before.previous_rows);
                generation.previous[place & 1]
            });
            let owner = oldest
                .filter(|&owner| self.answers(owner))
                .unwrap_or(row.current);
            if self.answers(owner) {
                previous[number & 1] = owner;
            }
        }
        if let Some(only) = overlap.only() {
            previous = [previous[only & 1]; 2];
        }
        let moves = |owner: OriginIndex| owner != Origin::NONE && (owner != self.owner);
        let comes_to_move = self.insert && !all_recorded && previous != [Origin::NONE; 2];
        let at_risk = comes_to_move || previous.into_iter().any(moves);
        let generation = at_risk.then(|| Generation {
            previous,
            end: self.circumstances.now + self.window(previous),
        });
        let row = Row {
            flags,
            ..Row::owned_by(self.owner)
        };
        self.finish(row, None, generation)
    }

    /// Whether flows of a row, or of where it is, may not be recorded.
    fn unrecorded(&self, row: Row) -> bool {
        let moves = row.current != self.owner || self.insert;
        moves && row.flags & ROW_INSERT == 0 && self.answers(row.current)
    }

    /// Flows from before now belong to `owner`, unless they belong to somebody before.
    fn since_now(&self, owner: OriginIndex, in_force: Option<Generation>) -> Option<Generation> {
        let fresh = Generation {
            previous: [owner; 2],
            end: self.circumstances.now + (self.circumstances.window)(owner),
        };
        let Some(in_force) = in_force else {
            return Some(fresh);
        };
        let previous = in_force
            .previous
            .map(|oldest| if self.answers(oldest) { oldest } else { owner });
        let end = if previous == in_force.previous {
            in_force.end
        } else {
            in_force.end.max(fresh.end)
        };
        Some(Generation { previous, end })
    }

    /// The owners before that are in force, if their window is not over and one is still there.
    fn generation(&self, before: &InForce<'_>, number: usize) -> Option<Generation> {
        let row = before.row(number);
        if row.flags & ROW_GENERATION == 0 {
            return None;
        }
        let previous = row.previous.map(|owner| match self.standing(owner) {
            Standing::Answers | Standing::Down => owner,
            Standing::Gone => Origin::NONE,
        });
        let longest = self.window(row.previous);
        let now = self.circumstances.now;
        let end = before.windows.end(number, now, longest);
        let end = end.unwrap_or(now + longest);
        (now < end && previous != [Origin::NONE; 2]).then_some(Generation { previous, end })
    }

    fn known_end(&self, before: &InForce<'_>, number: usize) -> Option<SystemTime> {
        let Circumstances { now, idle, .. } = *self.circumstances;
        before.windows.end(number, now, idle)
    }

    /// The row with its flags; `before` has those in force, which end at `end` if they are
    /// `ROW_LOOKUP` alone.
    fn finish(&self, before: Row, end: Option<SystemTime>, generation: Option<Generation>) -> Next {
        let Circumstances {
            now,
            generation: number,
            idle,
            ..
        } = *self.circumstances;
        let insert = if self.insert { ROW_INSERT } else { 0 };
        let quiet = Row::owned_by(self.owner);
        let is_known = |generation: &Generation| {
            before.flags & ROW_GENERATION != 0 && before.previous == generation.previous
        };
        if let Some(generation) = generation.filter(|generation| now < generation.end) {
            let row = Row {
                previous: generation.previous,
                flags: ROW_LOOKUP | ROW_GENERATION | insert,
                epoch: if is_known(&generation) {
                    before.epoch
                } else {
                    number as u8
                },
                ..quiet
            };
            let end = Some(generation.end);
            return Next { row, end };
        }
        let looked_up = Row {
            flags: ROW_LOOKUP | insert,
            epoch: before.epoch,
            ..quiet
        };
        if self.insert {
            return Next {
                row: looked_up,
                end: None,
            };
        }
        let end = match before.flags {
            0 => None,
            // As long as it has flows; and as these are counted now and then, for a while longer.
            ROW_LOOKUP => {
                let end = end.unwrap_or(now + idle);
                let recorded = if now < end {
                    Recorded::Unknown
                } else {
                    (self.circumstances.recorded)(self.row)
                };
                match recorded {
                    Recorded::Unknown => Some(end),
                    Recorded::Some => Some(now + idle),
                    Recorded::None => None,
                }
            }
            _ => Some(now + idle),
        };
        Next {
            row: if end.is_some() { looked_up } else { quiet },
            end,
        }
    }

    fn standing(&self, owner: OriginIndex) -> Standing {
        if owner == Origin::NONE {
            return Standing::Gone;
        }
        (self.circumstances.standing)(owner)
    }

    fn answers(&self, owner: OriginIndex) -> bool {
        self.standing(owner) == Standing::Answers
    }

    fn window(&self, owners: [OriginIndex; 2]) -> Duration {
        let owners = owners.into_iter().filter(|owner| *owner != Origin::NONE);
        let windows = owners.map(|owner| (self.circumstances.window)(owner));
        windows.max().unwrap_or_default()
    }
}

fn tells_apart(row: &Row) -> bool {
    let [even, odd] = row.previous;
    row.flags & ROW_GENERATION != 0 && even != odd
}

#[cfg(test)]
mod tests;
