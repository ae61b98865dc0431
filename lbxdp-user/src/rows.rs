//! The rows of a table, as the agent keeps them: in a quarter of the memory that they take in the
//! maps as long as no row is at risk, in half of it when all are.

mod palette;

pub use palette::Palette;

use std::fmt;
use std::sync::Arc;

use lbxdp_ebpf::abi::{Origin, OriginIndex, Row};

/// The rows of a table. Clones share them.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Rows {
    /// [`Row::current`] of each.
    owners: Arc<[OriginIndex]>,
    /// The rest of each: few have one of their own.
    rests: Arc<Palette<Rest>>,
}

/// What a row says besides who owns it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Rest {
    previous: [OriginIndex; 2],
    flags: u8,
    epoch: u8,
}

impl Rows {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.owners.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// A row, if there are as many.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<Row> {
        let current = *self.owners.get(number)?;
        let rest = self.rests.get(number)?;
        Some(row(current, *rest))
    }

    /// The owners of rows.
    #[must_use]
    pub fn owners(&self) -> &[OriginIndex] {
        &self.owners
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Row> {
        let rests = self.rests.iter();
        self.owners
            .iter()
            .zip(rests)
            .map(|(current, rest)| row(*current, *rest))
    }

    /// The same as map `ROWS` has them.
    #[must_use]
    pub fn to_vec(&self) -> Vec<Row> {
        self.iter().collect()
    }

    /// The origins that rows name, owners before included; some may be told many times.
    pub fn named(&self) -> impl Iterator<Item = OriginIndex> {
        let before = self.rests.values().flat_map(|rest| rest.previous);
        let named = self.owners.iter().copied().chain(before);
        named.filter(|origin| *origin != Origin::NONE)
    }

    /// Whether any has one of these flags; each row need not be looked at.
    #[must_use]
    pub fn any_flag(&self, flags: u8) -> bool {
        self.rests.values().any(|rest| rest.flags & flags != 0)
    }
}

const fn row(current: OriginIndex, rest: Rest) -> Row {
    let Rest {
        previous,
        flags,
        epoch,
    } = rest;
    Row {
        current,
        previous,
        flags,
        epoch,
    }
}

impl FromIterator<Row> for Rows {
    fn from_iter<I: IntoIterator<Item = Row>>(rows: I) -> Self {
        let rows = rows.into_iter();
        let mut owners = Vec::with_capacity(rows.size_hint().0);
        let rests = rows.map(|row| {
            let Row {
                current,
                previous,
                flags,
                epoch,
            } = row;
            owners.push(current);
            Rest {
                previous,
                flags,
                epoch,
            }
        });
        let rests: Palette<Rest> = rests.collect();
        Self {
            owners: owners.into(),
            rests: rests.into(),
        }
    }
}

impl From<&[Row]> for Rows {
    fn from(rows: &[Row]) -> Self {
        rows.iter().copied().collect()
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn origin() -> impl Strategy<Value = OriginIndex> {
        (0_u16..4).prop_map(|number| number.checked_sub(1).unwrap_or(Origin::NONE))
    }

    fn any_row() -> impl Strategy<Value = Row> {
        (origin(), [origin(), origin()], 0_u8..8, 0_u8..2).prop_map(
            |(current, previous, flags, epoch)| Row {
                current,
                previous,
                flags,
                epoch,
            },
        )
    }

    proptest! {
        #[test]
        fn what_was_put_in_is_there(
            rows in prop::collection::vec(any_row(), 0..300),
            others in prop::collection::vec(any_row(), 0..3),
        ) {
            let kept = Rows::from(rows.as_slice());
            prop_assert_eq!(kept.len(), rows.len());
            prop_assert!(kept.iter().eq(rows.iter().copied()));
            for (number, row) in rows.iter().enumerate() {
                prop_assert_eq!(kept.get(number), Some(*row));
            }
            prop_assert_eq!(kept.get(rows.len()), None);
            for flag in [1, 2, 4, 8] {
                prop_assert_eq!(kept.any_flag(flag), rows.iter().any(|row| row.flags & flag != 0));
            }
            let named: BTreeSet<OriginIndex> = kept.named().collect();
            let expected = rows.iter().flat_map(|row| [row.current, row.previous[0], row.previous[1]]);
            prop_assert_eq!(named, expected.filter(|origin| *origin != Origin::NONE).collect());
            prop_assert_eq!(&kept, &rows.iter().copied().collect());
            let other = Rows::from(others.as_slice());
            prop_assert_eq!(kept == other, rows == others);
        }
    }
}
