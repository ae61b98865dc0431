//! Rows of a table that has grown, among those of the table before.
//!
//! A flow's row is its hash, spread over the rows: a row is a range of hashes. So a row of a table
//! with more rows has flows of one old row, or of two that are next to each other, of which one is
//! even and one odd: by that, the program tells them apart.

use std::ops::RangeInclusive;

/// The hashes of a row, and the rows of a smaller table that have them.
pub(super) struct Overlap {
    hashes: RangeInclusive<u64>,
    old_size: u32,
    first: u32,
    last: u32,
}

impl Overlap {
    /// Of a row of `size`, of which there were `old_size` before.
    pub(super) fn new(row: u32, size: u32, old_size: u32) -> Self {
        let hashes = hashes(row, size);
        Self {
            first: row_of(*hashes.start(), old_size),
            last: row_of(*hashes.end(), old_size),
            hashes,
            old_size,
        }
    }

    /// The old row of the first hash.
    pub(super) const fn first(&self) -> usize {
        self.first as usize
    }

    /// The old rows.
    pub(super) fn rows(&self) -> impl Iterator<Item = usize> + use<> {
        self.first as usize..=self.last as usize
    }

    /// The old row, if it is a single one.
    pub(super) fn only(&self) -> Option<usize> {
        (self.last == self.first).then_some(self.first as usize)
    }

    /// Where most of the hashes that are in an old row were in a table of `rows` before that.
    pub(super) fn place(&self, old_row: usize, rows: u32) -> usize {
        let old = hashes(old_row as u32, self.old_size);
        let from = *old.start().max(self.hashes.start());
        let to = *old.end().min(self.hashes.end());
        row_of(u64::midpoint(from, to), rows) as usize
    }
}

/// The hashes of a row.
fn hashes(row: u32, size: u32) -> RangeInclusive<u64> {
    let first = |row: u32| (u64::from(row) << 32).div_ceil(u64::from(size));
    first(row)..=first(row + 1) - 1
}

/// The row of a hash, as [`reduce`](lbxdp_ebpf::hash::reduce) says.
fn row_of(hash: u64, size: u32) -> u32 {
    lbxdp_ebpf::hash::reduce(hash as u32, size)
}

#[cfg(test)]
mod tests {
    use lbxdp_ebpf::hash::reduce;
    use proptest::prelude::*;

    use super::*;
    use crate::steering::LARGEST_TABLE;

    const SIZES: [u32; 5] = [4_093, 16_381, 65_537, 262_139, LARGEST_TABLE];

    #[test]
    fn a_row_has_flows_of_two_old_ones_at_most_one_even_and_one_odd() {
        for (place, &old) in SIZES.iter().enumerate() {
            for &new in &SIZES[place..] {
                for row in 0..new {
                    let overlap = Overlap::new(row, new, old);
                    let rows: Vec<_> = overlap.rows().collect();
                    assert!(rows.len() <= 2, "row {row} of {new}: {rows:?} of {old}");
                    assert!(old != new || rows == [row as usize]);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn the_old_row_of_each_hash_is_among_those_of_its_new_row(
            hash in any::<u32>(),
            old in 0..5_usize,
            new in 0..5_usize,
        ) {
            let (old, new) = (SIZES[old.min(new)], SIZES[old.max(new)]);
            let overlap = Overlap::new(reduce(hash, new), new, old);
            prop_assert!(overlap.hashes.contains(&u64::from(hash)));
            prop_assert!(overlap.rows().any(|row| row == reduce(hash, old) as usize));
            for row in overlap.rows() {
                prop_assert_eq!(overlap.place(row, old), row);
            }
        }
    }
}
