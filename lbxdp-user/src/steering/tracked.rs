//! The flows that stand in the flow table, summed up.

use std::collections::{BTreeMap, BTreeSet};

use lbxdp_ebpf::abi::OriginIndex;

/// Which rows have live flows in the flow table, and how many each origin has.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Tracked {
    rows: BTreeMap<u32, BTreeSet<u32>>,
    origins: BTreeMap<OriginIndex, u64>,
}

impl Tracked {
    /// Counts a live flow: of this row of the table at this index of `TABLES`, kept to this origin.
    pub fn add(&mut self, table: u32, row: u32, origin: OriginIndex) {
        self.rows.entry(table).or_default().insert(row);
        *self.origins.entry(origin).or_default() += 1;
    }

    /// Whether a row has a live flow.
    #[must_use]
    pub fn live(&self, table: u32, row: u32) -> bool {
        self.rows
            .get(&table)
            .is_some_and(|rows| rows.contains(&row))
    }

    /// How many live flows are kept to an origin.
    #[must_use]
    pub fn of_origin(&self, origin: OriginIndex) -> u64 {
        self.origins.get(&origin).copied().unwrap_or_default()
    }
}
