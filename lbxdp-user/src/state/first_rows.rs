//! Until when tables without rows in force may wait for the first results of their origins.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::reconcile::TableName;

/// Longest wait, from when a table came to be configured.
const LONGEST: Duration = Duration::from_secs(1);

/// The end of the wait of each table.
#[derive(Clone, Default, Debug)]
pub(super) struct FirstRows(BTreeMap<TableName, SystemTime>);

impl FirstRows {
    /// Keeps exactly these tables; those that are new wait from now on.
    pub(super) fn track(&mut self, tables: impl Iterator<Item = TableName>, now: SystemTime) {
        let known = std::mem::take(&mut self.0);
        self.0 = tables
            .map(|name| {
                let end = known.get(&name).copied();
                (name, end.unwrap_or(now + LONGEST))
            })
            .collect();
    }

    /// The end of a table's wait, if it is still to come. A clock that was set back does not make
    /// the wait longer.
    pub(super) fn wait(&self, name: &TableName, now: SystemTime) -> Option<SystemTime> {
        let end = *self.0.get(name)?;
        end.duration_since(now)
            .is_ok_and(|rest| !rest.is_zero() && rest <= LONGEST)
            .then_some(end)
    }
}
