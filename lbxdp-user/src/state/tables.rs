//! What is to stand in the tables.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use lbxdp_ebpf::abi::{EntityKind, ORIGIN_DOWN, Origin, OriginIndex};

use super::{Risks, State};
use crate::dataplane::{Content, Desired, Published, TableRows};
use crate::health::{Health, ProbeKey, Tracker};
use crate::reconcile::{self, Assigned, TableName};
use crate::steering::{
    self, Circumstances, InForce, NextRows, Seed, Standing, TablePlan, Windows, World,
    owners_in_force,
};

impl State {
    /// Lets load balancers share tables that have come to be the same.
    pub(super) fn share_tables(&mut self, actual: &Content, now: SystemTime) {
        let mut tables = self.tables.clone();
        if !tables.share(actual) {
            return;
        }
        // Fewer than there were, so that there are slots for all.
        if reconcile::assign_table_slots(&tables, &mut self.slots).is_ok() {
            self.tables = tables;
            let names = self.tables.all().map(|table| table.name.clone());
            self.first_rows.track(names, now);
        }
    }

    /// Decides who owns rows.
    pub(super) fn plan_tables(&mut self, now: SystemTime) {
        let (trackers, slots, config) = (&self.trackers, &self.slots, &self.config);
        let health_of = |key: &ProbeKey| {
            let tracker = trackers.get(key);
            tracker.map_or(Health::Unknown, Tracker::health)
        };
        let is_healthy = |key: &ProbeKey| match trackers.get(key) {
            Some(tracker) => tracker.health() == Health::Healthy,
            // Not probed.
            None => true,
        };
        self.ramps.advance(config, is_healthy, now);
        let health = |pool: &str, origin: &str| health_of(&ProbeKey::origin(pool, origin));
        let slot = |pool: &str, origin: &str| {
            slots
                .get(EntityKind::Origin, &reconcile::origin_name(pool, origin))
                .and_then(|slot| OriginIndex::try_from(slot).ok())
        };
        let tenths = |pool: &str, origin: &str| {
            let key = ProbeKey::origin(pool, origin);
            self.ramps.tenths(config, &key, now)
        };
        let world = World {
            pools: &config.pools,
            seed: Seed::new(config.node.hash_key),
            health: &health,
            slot: &slot,
            tenths: &tenths,
        };
        self.plans = self
            .tables
            .all()
            .map(|table| {
                let plan = steering::plan(&table.spec, table.size, &world, &mut self.bases);
                (table.name.clone(), plan)
            })
            .collect();
        self.bases.sweep();
    }

    /// Unhealthy origins, flows with which are over, if another can serve: where all seem down, the
    /// last known origins stay, for flows as for rows.
    pub(super) fn down(&self) -> BTreeSet<OriginIndex> {
        let another_serves = |pool: &String| {
            (self.plans.values())
                .any(|plan| plan.owners.is_some() && plan.states.contains_key(pool))
        };
        let unhealthy = self.trackers.iter().filter_map(|(key, tracker)| match key {
            ProbeKey::Origin { pool, origin }
                if tracker.health() == Health::Unhealthy && another_serves(pool) =>
            {
                let name = reconcile::origin_name(pool, origin);
                let slot = self.slots.get(EntityKind::Origin, &name)?;
                OriginIndex::try_from(slot).ok()
            }
            ProbeKey::Origin { .. } | ProbeKey::Tunnel { .. } => None,
        });
        unhealthy.collect()
    }

    /// Fills in the rows. Those before them may name origins that are `leaving`.
    pub(super) fn fill_tables(
        &mut self,
        actual: &Content,
        leaving: &BTreeMap<OriginIndex, Origin>,
        drained: &BTreeMap<OriginIndex, Duration>,
        desired: &mut Desired,
        now: SystemTime,
    ) {
        let origins = &desired.origins;
        let standing = |slot: OriginIndex| match origins.get(&slot).or_else(|| leaving.get(&slot)) {
            None => Standing::Gone,
            Some(origin) if origin.flags & ORIGIN_DOWN != 0 => Standing::Down,
            Some(_) => Standing::Answers,
        };
        let node = &self.config.node;
        let window = |slot| drained.get(&slot).copied().unwrap_or(node.flow_window);
        let mut held_until = None;
        let awaits_sweep = Cell::new(false);
        let mut risks = Risks::default();
        let mut windows = BTreeMap::new();
        let mut tables = BTreeMap::new();
        for table in self.tables.all() {
            let Some(slot) = self.slots.get(EntityKind::Table, &table.name.0) else {
                continue;
            };
            let Some(plan) = self.plans.get(&table.name) else {
                continue;
            };
            let published = actual.tables.get(&slot);
            let before = self.before(actual, slot, table);
            let known = before.map(|before| owners_in_force(before.rows, table.size));
            let wait = self.first_rows_wait(&table.name, plan, known.as_deref(), now);
            held_until = held_until.max(wait);
            let owners = match wait {
                Some(_) => plan.vacant(),
                None => plan.settle(known.as_deref()),
            };
            let circumstances = Circumstances {
                now,
                generation: self.generation,
                idle: node.flow_idle,
                standing: &standing,
                window: &window,
                live: &|row| {
                    let ends = self.windows.get(&slot);
                    let end = ends.and_then(|ends| ends.of(row as usize));
                    let is_unknown = end.is_some_and(|end| !self.sweeps.flows_since(end));
                    awaits_sweep.set(awaits_sweep.get() | is_unknown);
                    is_unknown || self.tracked.live(slot, row)
                },
            };
            let next = steering::next_rows(before, &owners, &plan.homes, &circumstances);
            risks.add(&table.name, &next);
            let NextRows {
                rows,
                previous_rows,
                windows: ends,
            } = next;
            windows.insert(slot, ends);
            let is_kept = published.is_some_and(|published| published.is(&rows, previous_rows));
            let rows = if is_kept {
                TableRows::Keep
            } else {
                TableRows::Publish {
                    rows,
                    previous_rows,
                }
            };
            tables.insert(slot, rows);
        }
        desired.tables = tables;
        self.sweeps.awaited_by_rows = awaits_sweep.get();
        self.held_until = held_until;
        self.risks = risks;
        self.next_windows = Some(windows);
    }

    /// The rows in force of a table, or of the one that its flows come from.
    fn before<'a>(
        &'a self,
        actual: &'a Content,
        slot: u32,
        table: &Assigned,
    ) -> Option<InForce<'a>> {
        static UNKNOWN: Windows = Windows::NONE;
        let in_force = |slot: u32| {
            let published = actual.tables.get(&slot)?;
            Some(InForce {
                rows: &published.rows,
                previous_rows: Published::previous_rows(published),
                windows: self.windows.get(&slot).unwrap_or(&UNKNOWN),
            })
        };
        in_force(slot).or_else(|| in_force(table.past?))
    }

    /// Until when a table without rows in force waits for them; `None` if it need not wait.
    fn first_rows_wait(
        &self,
        name: &TableName,
        plan: &TablePlan,
        published: Option<&[OriginIndex]>,
        now: SystemTime,
    ) -> Option<SystemTime> {
        let in_force =
            published.is_some_and(|owners| owners.iter().any(|owner| *owner != Origin::NONE));
        let end = self.first_rows.wait(name, now)?;
        let awaited = |pool: &String| {
            let origins = self.config.pools.get(pool).map(|pool| &pool.origins);
            origins.into_iter().flat_map(BTreeMap::keys).any(|origin| {
                self.tracker(&ProbeKey::origin(pool, origin))
                    .is_some_and(|tracker| tracker.health() == Health::Unknown)
            })
        };
        (!in_force && plan.states.keys().any(awaited)).then_some(end)
    }
}
