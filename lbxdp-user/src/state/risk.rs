//! How many rows are at risk, and until when.

use std::collections::BTreeMap;
use std::time::SystemTime;

use lbxdp_ebpf::abi::{Origin, OriginIndex, ROW_GENERATION, ROW_INSERT, ROW_LOOKUP};

use super::State;
use crate::reconcile::TableName;
use crate::steering::NextRows;

/// The rows of a table that are at risk.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Risk {
    /// Rows that have moved within the window: flows from before belong to the owner before.
    pub generation: u32,
    /// Rows that will move when everybody is healthy.
    pub insert: u32,
    /// Rows of which only what is recorded still counts.
    pub lookup_only: u32,
    /// The end of the last window.
    pub until: Option<SystemTime>,
}

/// The rows at risk, as of the last [`State::desired`].
#[derive(Clone, Default, Debug)]
pub(super) struct Risks {
    tables: BTreeMap<TableName, TableRisk>,
}

#[derive(Clone, Default, Debug)]
struct TableRisk {
    risk: Risk,
    /// The end of the last window in which flows from before belong to an origin.
    before: BTreeMap<OriginIndex, SystemTime>,
}

impl Risks {
    /// Takes the rows of a table, in the place of those that it had.
    pub(super) fn add(&mut self, name: &TableName, next: &NextRows) {
        let TableRisk {
            mut risk,
            mut before,
        } = TableRisk::default();
        for (number, row) in next
            .rows
            .iter()
            .enumerate()
            .filter(|(_, row)| row.flags != 0)
        {
            let end = next.windows.of(number);
            let is_generation = row.flags & ROW_GENERATION != 0;
            risk.generation += u32::from(is_generation);
            risk.insert += u32::from(row.flags & ROW_INSERT != 0);
            risk.lookup_only += u32::from(row.flags == ROW_LOOKUP);
            let Some(end) = end.filter(|_| is_generation) else {
                continue;
            };
            risk.until = risk.until.max(Some(end));
            for owner in row
                .previous
                .into_iter()
                .filter(|owner| *owner != Origin::NONE)
            {
                let until = before.entry(owner).or_insert(end);
                *until = end.max(*until);
            }
        }
        self.tables.insert(name.clone(), TableRisk { risk, before });
    }

    /// Who flows from before may belong to.
    pub(super) fn before(&self) -> impl Iterator<Item = OriginIndex> {
        self.tables
            .values()
            .flat_map(|table| table.before.keys().copied())
    }
}

impl State {
    /// The rows at risk of a table.
    #[must_use]
    pub fn risk(&self, table: &TableName) -> Risk {
        let table = self.risks.tables.get(table);
        table.map(|table| table.risk).unwrap_or_default()
    }

    /// Until when rows that have moved away from an origin leave flows from before with it.
    #[must_use]
    pub fn kept_until(&self, origin: OriginIndex) -> Option<SystemTime> {
        let tables = self.risks.tables.values();
        tables
            .filter_map(|table| table.before.get(&origin).copied())
            .max()
    }
}
