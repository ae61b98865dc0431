//! What is to stand in the tables.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use lbxdp_ebpf::abi::{EntityKind, ORIGIN_DOWN, Origin, OriginIndex};

use super::{Risks, State};
use crate::dataplane::{Content, Desired, TableRows};
use crate::health::{Health, ProbeKey, Tracker};
use crate::reconcile::{self, Assigned, TableName};
use crate::steering::{
    self, Circumstances, InForce, NextRows, Recorded, Seed, Standing, TablePlan, Windows, World,
    owners_in_force,
};

/// What is to stand in a table.
pub(super) struct Filled {
    /// Its slot.
    pub(super) slot: u32,
    pub(super) rows: TableRows,
    /// Until when its rows keep their flags.
    pub(super) windows: Windows,
}

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

    /// Decides who owns the rows of these tables.
    pub(super) fn plan_tables(&mut self, names: &[TableName], now: SystemTime) {
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
        for table in names.iter().filter_map(|name| self.index.table(name)) {
            let plan = steering::plan(&table.spec, table.size, &world, &mut self.bases);
            self.plans.insert(table.name.clone(), plan);
        }
    }

    /// Unhealthy origins, flows with which are over.
    pub(super) fn down(&self) -> BTreeSet<OriginIndex> {
        let pools = self.index.pools();
        pools
            .flat_map(|pool| self.down_in(pool))
            .filter_map(|(slot, down)| down.then_some(slot))
            .collect()
    }

    /// Fills in the rows. Those before them may name origins that are `leaving`.
    pub(super) fn fill_tables(
        &mut self,
        actual: &Content,
        leaving: &BTreeMap<OriginIndex, Origin>,
        drained: BTreeMap<OriginIndex, Duration>,
        desired: &mut Desired,
        now: SystemTime,
    ) {
        let origins = &desired.origins;
        let standing = |slot: OriginIndex| match origins.get(&slot).or_else(|| leaving.get(&slot)) {
            None => Standing::Gone,
            Some(origin) if origin.flags & ORIGIN_DOWN != 0 => Standing::Down,
            Some(_) => Standing::Answers,
        };
        self.held_until = None;
        self.risks = Risks::default();
        self.sweeps.awaited_by_rows = false;
        let mut windows = BTreeMap::new();
        for name in self.index.names().cloned().collect::<Vec<_>>() {
            let Some(filled) = self.fill(&name, actual, &standing, &drained, now) else {
                continue;
            };
            windows.insert(filled.slot, filled.windows);
            desired.tables.insert(filled.slot, filled.rows);
        }
        self.next_windows = Some(windows);
        self.index.drained = drained;
    }

    /// Decides the rows of a table that is planned.
    pub(super) fn fill(
        &mut self,
        name: &TableName,
        actual: &Content,
        standing: &dyn Fn(OriginIndex) -> Standing,
        drained: &BTreeMap<OriginIndex, Duration>,
        now: SystemTime,
    ) -> Option<Filled> {
        let slot = self.slots.get(EntityKind::Table, &name.0)?;
        let table = self.index.table(name)?;
        let plan = self.plans.get(name)?;
        let flow_window = self.config.node.flow_window;
        let window = |slot| drained.get(&slot).copied().unwrap_or(flow_window);
        let published = actual.tables.get(&slot);
        let (source, before) = self.before(actual, slot, table).unzip();
        let source = source.unwrap_or(slot);
        let known = before.map(|before| owners_in_force(before.rows, table.size));
        let wait = self.first_rows_wait(name, plan, known.as_deref(), now);
        let owners = match wait {
            Some(_) => plan.vacant(),
            None => plan.settle(known.as_deref()),
        };
        let awaits_sweep = Cell::new(false);
        let circumstances = Circumstances {
            now,
            generation: self.generation,
            idle: self.config.node.flow_idle,
            standing,
            window: &window,
            recorded: &|row| {
                let ends = before.map(|before| before.windows);
                let end = ends.and_then(|ends| ends.of(row as usize));
                if end.is_some_and(|end| !self.sweeps.flows_since(end)) {
                    awaits_sweep.set(true);
                    Recorded::Unknown
                } else if self.tracked.live(source, row) {
                    Recorded::Some
                } else {
                    Recorded::None
                }
            },
        };
        let next = steering::next_rows(before, &owners, &plan.homes, &circumstances);
        self.held_until = self.held_until.max(wait);
        self.risks.add(name, &next);
        self.sweeps.awaited_by_rows |= awaits_sweep.get();
        if let Some(plan) = self.plans.get_mut(name) {
            plan.forget_rows();
        }
        let NextRows {
            rows,
            previous_rows,
            windows,
        } = next;
        let is_kept = published.is_some_and(|published| published.is(&rows, previous_rows));
        let rows = if is_kept {
            TableRows::Keep
        } else {
            TableRows::Publish {
                rows,
                previous_rows,
            }
        };
        Some(Filled {
            slot,
            rows,
            windows,
        })
    }

    /// The slot and the rows in force of a table, or of the one that its flows come from.
    fn before<'a>(
        &'a self,
        actual: &'a Content,
        slot: u32,
        table: &Assigned,
    ) -> Option<(u32, InForce<'a>)> {
        static UNKNOWN: Windows = Windows::NONE;
        let in_force = |slot: u32| {
            let published = actual.tables.get(&slot)?;
            let in_force = InForce {
                rows: &published.rows,
                previous_rows: published.previous_rows(),
                windows: self.windows.get(&slot).unwrap_or(&UNKNOWN),
            };
            Some((slot, in_force))
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
