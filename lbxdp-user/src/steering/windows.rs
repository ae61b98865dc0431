//! Until when rows keep their flags.

use std::time::{Duration, SystemTime};

/// The end of what each row of a table waits for: of its window, or, with `ROW_LOOKUP` alone, of
/// the time for which its flows may be idle.
///
/// Not in the maps: after a restart of the agent each row has its whole time again.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Windows(Vec<Option<SystemTime>>);

impl Windows {
    /// Of rows that wait for nothing, or of which nothing is known.
    pub const NONE: Self = Self(Vec::new());

    /// The ends, by row; nothing is kept if there are none.
    pub(super) fn new(ends: Vec<Option<SystemTime>>) -> Self {
        if ends.iter().all(Option::is_none) {
            return Self::NONE;
        }
        Self(ends)
    }

    /// The end for a row, if it is known. A clock that was set back makes no wait longer than
    /// `longest`.
    pub(super) fn end(&self, row: usize, now: SystemTime, longest: Duration) -> Option<SystemTime> {
        let end = self.0.get(row).copied().flatten()?;
        Some(end.min(now + longest))
    }

    /// The ends to come, one for each row that waits.
    pub fn to_come(&self, now: SystemTime) -> impl Iterator<Item = SystemTime> {
        let ends = self.0.iter().flatten().copied();
        ends.filter(move |end| *end > now)
    }

    /// The end for a row.
    #[must_use]
    pub fn of(&self, row: usize) -> Option<SystemTime> {
        self.0.get(row).copied().flatten()
    }
}
