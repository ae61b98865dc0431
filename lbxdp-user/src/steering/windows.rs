//! Until when rows keep their flags.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

/// The end of what each row of a table waits for: of its window, or, with `ROW_LOOKUP` alone, of
/// the time for which its flows may be idle.
///
/// Not in the maps: after a restart of the agent each row has its whole time again.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Windows {
    /// The ends that there are, in the order in which rows first have them: few, since rows that
    /// move at once wait for the same.
    ends: Vec<SystemTime>,
    /// For each row one more than the place of its end in `ends`, or 0.
    rows: Vec<u32>,
}

impl Windows {
    /// Of rows that wait for nothing, or of which nothing is known.
    pub const NONE: Self = Self {
        ends: Vec::new(),
        rows: Vec::new(),
    };

    /// The ends, by row; nothing is kept if there are none.
    pub(super) fn new(by_row: &[Option<SystemTime>]) -> Self {
        let mut ends = Vec::new();
        let mut places = HashMap::new();
        let mut last = None;
        let mut place_of = |end: SystemTime| {
            // Mostly it is that of the row before.
            if let Some((known, place)) = last
                && known == end
            {
                return place;
            }
            let place = *places.entry(end).or_insert_with(|| {
                ends.push(end);
                ends.len() as u32
            });
            last = Some((end, place));
            place
        };
        let rows = by_row.iter().map(|end| end.map_or(0, &mut place_of));
        let rows: Vec<u32> = rows.collect();
        if ends.is_empty() {
            return Self::NONE;
        }
        Self { ends, rows }
    }

    /// The end for a row, if it is known. A clock that was set back makes no wait longer than
    /// `longest`.
    pub(super) fn end(&self, row: usize, now: SystemTime, longest: Duration) -> Option<SystemTime> {
        let end = self.of(row)?;
        Some(end.min(now + longest))
    }

    /// The ends to come, each once.
    pub fn to_come(&self, now: SystemTime) -> impl Iterator<Item = SystemTime> {
        let ends = self.ends.iter().copied();
        ends.filter(move |end| *end > now)
    }

    /// The end for a row.
    #[must_use]
    pub fn of(&self, row: usize) -> Option<SystemTime> {
        let place = self.rows.get(row)?.checked_sub(1)?;
        self.ends.get(place as usize).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_own_end_and_each_end_to_come_is_told_once() {
        let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let by_row = [
            None,
            Some(at(5)),
            Some(at(5)),
            Some(at(3)),
            None,
            Some(at(5)),
        ];
        let windows = Windows::new(&by_row);
        for (row, end) in by_row.into_iter().enumerate() {
            assert_eq!(windows.of(row), end);
        }
        assert_eq!(windows.of(by_row.len()), None);
        assert!(windows.to_come(at(0)).eq([at(5), at(3)]));
        assert!(windows.to_come(at(3)).eq([at(5)]));
        assert_eq!(Windows::new(&[None; 3]), Windows::NONE);
    }
}
