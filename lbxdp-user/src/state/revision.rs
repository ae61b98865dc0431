//! What a change of health alone changes in the maps: tables with the pools concerned, and nothing
//! that grows with the rest of the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use lbxdp_ebpf::abi::{Entity, EntityKey, EntityKind, ORIGIN_DOWN, OriginIndex};

use super::{State, kind_of, told};
use crate::dataplane::{Content, Revision};
use crate::health::{Health, ProbeKey};
use crate::reconcile::{self, Assigned, TableName, Tables};
use crate::steering::Standing;

/// The tables, and which of them a pool is in, as of the last [`State::desired`].
#[derive(Clone, Default, Debug)]
pub(super) struct Index {
    tables: BTreeMap<TableName, Assigned>,
    by_pool: BTreeMap<String, BTreeSet<TableName>>,
    /// For how long flows are kept to origins that take no new ones, where that is configured.
    pub(super) drained: BTreeMap<OriginIndex, Duration>,
}

impl Index {
    pub(super) fn new(tables: &Tables) -> Self {
        let mut index = Self::default();
        for table in tables.all() {
            for pool in pools_of(table) {
                let names = index.by_pool.entry(pool.to_owned()).or_default();
                names.insert(table.name.clone());
            }
            index.tables.insert(table.name.clone(), table.clone());
        }
        index
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &TableName> {
        self.tables.keys()
    }

    pub(super) fn pools(&self) -> impl Iterator<Item = &String> {
        self.by_pool.keys()
    }

    pub(super) fn table(&self, name: &TableName) -> Option<&Assigned> {
        self.tables.get(name)
    }

    fn with(&self, pool: &str) -> impl Iterator<Item = &TableName> {
        self.by_pool.get(pool).into_iter().flatten()
    }
}

fn pools_of(table: &Assigned) -> impl Iterator<Item = &str> {
    let spec = &table.spec;
    spec.default_pools().chain(spec.fallback.as_deref())
}

impl State {
    /// What the maps are to hold in another way since the last [`State::desired`] or this, given
    /// what they hold, if nothing but health has changed since; `None` if all of it must be looked
    /// at.
    pub fn revision(&mut self, actual: &Content, now: SystemTime) -> Option<Revision> {
        let is_due = self.due_at().is_some_and(|due| due <= now);
        if !self.is_complete || self.held_until.is_some() || is_due {
            return None;
        }
        let flipped = std::mem::take(&mut self.flipped);
        let mut revision = Revision::default();
        let mut names = BTreeSet::new();
        for key in &flipped {
            revision.entities.extend(self.entity(key));
            match key {
                ProbeKey::Origin { pool, .. } => names.extend(self.index.with(pool).cloned()),
                ProbeKey::Tunnel { .. } => {}
            }
        }
        let names: Vec<TableName> = names.into_iter().collect();
        self.plan_tables(&names, now);
        let tables = names.iter().filter_map(|name| self.index.table(name));
        let pools: BTreeSet<&str> = tables.flat_map(pools_of).collect();
        let down = pools.iter().flat_map(|pool| self.down_in(pool));
        revision.origins = down.collect();
        let standing = |slot: OriginIndex| {
            let known = actual.origins.get(&slot);
            let down = revision.origins.get(&slot).copied();
            match (
                known,
                down.or(known.map(|origin| origin.flags & ORIGIN_DOWN != 0)),
            ) {
                (None, _) => Standing::Gone,
                (Some(_), Some(true)) => Standing::Down,
                (Some(_), Some(false) | None) => Standing::Answers,
            }
        };
        let drained = std::mem::take(&mut self.index.drained);
        for name in &names {
            let Some(filled) = self.fill(name, actual, &standing, &drained, now) else {
                continue;
            };
            self.due_at = (filled.windows.to_come(now)).chain(self.due_at).min();
            revision.tables.insert(filled.slot, filled.rows);
            self.revised_windows.insert(filled.slot, filled.windows);
        }
        self.index.drained = drained;
        Some(revision)
    }

    /// Takes note that the maps hold what the last [`State::revision`] has said.
    pub fn revised(&mut self) {
        self.windows.append(&mut self.revised_windows);
    }

    /// Whether flows with each origin of a pool are over: it is unhealthy, and another can serve.
    /// Where all seem down, the last known origins stay, for flows as for rows; and so do those that
    /// count as up.
    pub(super) fn down_in(&self, pool: &str) -> Vec<(OriginIndex, bool)> {
        let names = || self.index.with(pool);
        let plans = || names().filter_map(|name| self.plans.get(name));
        let another_serves = plans().any(|plan| plan.owners.is_some());
        let counts_as_up =
            plans().any(|plan| plan.assumed_up && plan.serving.iter().any(|p| p == pool));
        let origins = self.config.pools.get(pool).map(|pool| &pool.origins);
        let names = origins.into_iter().flat_map(BTreeMap::keys);
        names
            .filter_map(|origin| {
                let name = reconcile::origin_name(pool, origin);
                let slot = self.slots.get(EntityKind::Origin, &name)?;
                let tracker = self.trackers.get(&ProbeKey::origin(pool, origin));
                let unhealthy = tracker.is_some_and(|t| t.health() == Health::Unhealthy);
                let down = unhealthy && another_serves && !counts_as_up;
                Some((OriginIndex::try_from(slot).ok()?, down))
            })
            .collect()
    }

    /// What stands in the maps' own list of names for what is probed.
    fn entity(&self, key: &ProbeKey) -> Option<(EntityKey, Entity)> {
        let (kind, name) = (kind_of(key), key.to_string());
        let index = self.slots.get(kind, &name)?;
        let (health, since_unix_ns) = self.trackers.get(key).map(told)?;
        let entity = Entity {
            health,
            since_unix_ns,
            ..Entity::named(&name)?
        };
        let kind = kind as u32;
        Some((EntityKey { kind, index }, entity))
    }
}
