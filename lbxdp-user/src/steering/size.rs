//! How many rows a table has.

use lbxdp_ebpf::abi::capacity;

/// The largest table: the largest prime of which both halves fit in the map of rows.
pub const LARGEST_TABLE: u32 = 524_287;

const _: () = assert!(2 * LARGEST_TABLE <= capacity::ROWS);

/// Members up to a number, and the rows for them: a prime, some hundred rows a member, so that
/// shares are within one per cent of the weights and an edit moves little more than it must.
const STEPS: [(usize, u32); 5] = [
    (40, 4_093),
    (160, 16_381),
    (650, 65_537),
    (2_600, 262_139),
    (usize::MAX, LARGEST_TABLE),
];

/// The number of rows for a number of members: a prime.
///
/// Both halves together take twice as many entries of map `ROWS`.
#[must_use]
pub fn table_size(members: usize) -> u32 {
    STEPS
        .into_iter()
        .find(|(most, _)| members <= *most)
        .map_or(LARGEST_TABLE, |(_, rows)| rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_prime() {
        for (_, rows) in STEPS {
            assert!(
                (2..).take_while(|d| d * d <= rows).all(|d| rows % d != 0),
                "{rows}"
            );
        }
    }

    #[test]
    fn sizes_grow_with_members() {
        for (members, rows) in [
            (0, 4_093),
            (40, 4_093),
            (41, 16_381),
            (160, 16_381),
            (161, 65_537),
            (651, 262_139),
            (16_384, 524_287),
        ] {
            assert_eq!(table_size(members), rows, "{members} members");
        }
    }
}
