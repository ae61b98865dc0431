#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use lbxdp_ebpf::abi::Table;

/// Which parts of map `ROWS` are taken; first fit.
///
/// It has no state of its own between plans: it is made anew from the tables
/// that are in force, so that a restarted agent and a running one agree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct RowSpace {
    capacity: u32,
    /// First row to number of rows; disjoint.
    taken: BTreeMap<u32, u32>,
}

/// There is no gap of the wanted length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RowsFull;

impl RowSpace {
    /// The space with both halves of each of these tables taken.
    pub(super) fn of<'a>(capacity: u32, tables: impl IntoIterator<Item = &'a Table>) -> Self {
        let mut taken = BTreeMap::new();
        for table in tables {
            for half in table.halves {
                if table.rows > 0 {
                    taken.insert(half, table.rows);
                }
            }
        }
        Self { capacity, taken }
    }

    /// Takes the first gap that is long enough, and says where it starts.
    ///
    /// # Errors
    /// When there is none; then nothing is taken.
    pub(super) fn take(&mut self, rows: u32) -> Result<u32, RowsFull> {
        let mut start = 0;
        for (&first, &length) in &self.taken {
            if first.checked_sub(start).is_some_and(|gap| gap >= rows) {
                break;
            }
            start = start.max(first.saturating_add(length));
        }
        if self
            .capacity
            .checked_sub(start)
            .is_none_or(|gap| gap < rows)
        {
            return Err(RowsFull);
        }
        self.taken.insert(start, rows);
        Ok(start)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(halves: [u32; 2], rows: u32) -> Table {
        Table {
            halves,
            rows,
            active: 0,
            previous_rows: [rows; 2],
        }
    }

    #[test]
    fn takes_the_first_gap_that_is_long_enough() {
        let mut space = RowSpace::of(100, &[table([10, 40], 10)]);
        assert_eq!(space.take(10), Ok(0));
        assert_eq!(space.take(15), Ok(20));
        assert_eq!(space.take(6), Ok(50));
        assert_eq!(space.take(5), Ok(35));
        assert_eq!(space.take(44), Ok(56));
        assert_eq!(space.take(1), Err(RowsFull));
    }

    #[test]
    fn overlapping_halves_of_a_damaged_map_are_survived() {
        let mut space = RowSpace::of(100, &[table([0, 5], 10), table([7, 90], 10)]);
        assert_eq!(space.take(70), Ok(17));
        assert_eq!(space.take(4), Err(RowsFull));
    }

    proptest! {
        #[test]
        fn what_is_taken_is_disjoint_and_within(sizes in prop::collection::vec(1_u32..400, 0..20)) {
            let mut space = RowSpace::of(2_000, &[table([300, 700], 101)]);
            let mut extents = vec![(300, 101), (700, 101)];
            for size in sizes {
                if let Ok(first) = space.take(size) {
                    extents.push((first, size));
                }
            }
            extents.sort_unstable();
            for pair in extents.windows(2) {
                prop_assert!(pair[0].0 + pair[0].1 <= pair[1].0);
            }
            let last = extents[extents.len() - 1];
            prop_assert!(last.0 + last.1 <= 2_000);
        }
    }
}
