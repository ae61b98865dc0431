//! Owners as rows of the map.

use std::collections::BTreeMap;

use lbxdp_ebpf::abi::{Origin, OriginIndex, Row};

/// The rows of owners.
///
/// The one place where a row's flags are decided. The program has no flow table, so no row asks
/// for it: all rows are quiet.
#[must_use]
pub fn rows(owners: &[OriginIndex]) -> Vec<Row> {
    owners.iter().map(|&owner| Row::owned_by(owner)).collect()
}

/// The number of rows of each origin; vacant rows are not counted.
#[must_use]
pub fn shares(rows: &[Row]) -> BTreeMap<OriginIndex, u32> {
    let mut shares = BTreeMap::new();
    for row in rows.iter().filter(|row| row.current != Origin::NONE) {
        *shares.entry(row.current).or_default() += 1;
    }
    shares
}
