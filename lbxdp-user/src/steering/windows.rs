//! Until when rows keep their flags.

use std::time::{Duration, SystemTime};

use crate::rows::Palette;

/// The end of what each row of a table waits for: of its window, or, with `ROW_LOOKUP` alone, of
/// the time for which its flows may be idle.
///
/// Not in the maps: after a restart of the agent each row has its whole time again.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Windows(Palette<Option<SystemTime>>);

impl Windows {
    /// Of rows that wait for nothing, or of which nothing is known.
    pub const NONE: Self = Self(Palette::EMPTY);

    /// The ends, by row; nothing is kept if there are none.
    pub(super) fn new(by_row: impl IntoIterator<Item = Option<SystemTime>>) -> Self {
        let ends: Palette<_> = by_row.into_iter().collect();
        if ends.values().all(Option::is_none) {
            return Self::NONE;
        }
        Self(ends)
    }

    /// The end for a row, if it is known. A clock that was set back makes no wait longer than
    /// `longest`.
    pub(super) fn end(&self, row: usize, now: SystemTime, longest: Duration) -> Option<SystemTime> {
        let end = self.of(row)?;
        Some(end.min(now + longest))
    }

    /// The ends to come; some may be told several times.
    pub fn to_come(&self, now: SystemTime) -> impl Iterator<Item = SystemTime> {
        let ends = self.0.values().copied().flatten();
        ends.filter(move |end| *end > now)
    }

    /// The end for a row.
    #[must_use]
    pub fn of(&self, row: usize) -> Option<SystemTime> {
        *self.0.get(row)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_own_end_and_each_end_to_come_is_told() {
        let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let by_row = [
            None,
            Some(at(5)),
            Some(at(5)),
            Some(at(3)),
            None,
            Some(at(5)),
        ];
        let windows = Windows::new(by_row);
        for (row, end) in by_row.into_iter().enumerate() {
            assert_eq!(windows.of(row), end);
        }
        assert_eq!(windows.of(by_row.len()), None);
        assert!(windows.to_come(at(0)).eq([at(5), at(3)]));
        assert!(windows.to_come(at(3)).eq([at(5)]));
        assert_eq!(Windows::new([None; 3]), Windows::NONE);
    }
}
