//! What the agent knows: configuration, slots, health, next hops. Pure: no IO, no clock.

mod first_rows;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use lbxdp_ebpf::abi::{
    Entity, EntityKey, EntityKind, NODE_VLANS, ORIGIN_DOWN, OriginIndex, Row, Vlan,
};

use crate::config::model::{Config, Timing};
use crate::dataplane::{Desired, TableRows};
use crate::health::{Failure, Flip, Health, ProbeKey, ProbeSpec, Tracker, desired_probes};
use crate::reconcile::{self, Hops, TableName};
use crate::slots::{OutOfSlots, Slots};
use crate::steering::{self, Bases, Seed, TablePlan, Tracked, World};
use first_rows::FirstRows;

/// What the agent knows.
#[derive(Clone, Debug)]
pub struct State {
    config: Config,
    generation: u32,
    slots: Slots,
    trackers: BTreeMap<ProbeKey, Tracker>,
    /// Health that the last agent left behind, for probes that have no tracker yet.
    inherited: BTreeMap<(EntityKind, String), (Health, SystemTime)>,
    hops: Hops,
    vlans: BTreeMap<u32, Vlan>,
    bases: Bases,
    tracked: Tracked,
    plans: BTreeMap<TableName, TablePlan>,
    first_rows: FirstRows,
    /// The end of the longest of the waits that the last [`State::desired`] has decided on.
    held_until: Option<SystemTime>,
}

impl State {
    /// Starts from a configuration and from what the maps tell of the last agent.
    ///
    /// # Errors
    /// When the configuration wants more slots than there are.
    pub fn new(
        config: Config,
        entities: &BTreeMap<EntityKey, Entity>,
        now: SystemTime,
    ) -> Result<Self, OutOfSlots> {
        let mut slots = Slots::adopt(entities);
        reconcile::assign_slots(&config, &mut slots)?;
        let inherited = entities
            .iter()
            .filter_map(|(key, entity)| {
                let kind = EntityKind::from_u32(key.kind)?;
                let since = SystemTime::UNIX_EPOCH + Duration::from_nanos(entity.since_unix_ns);
                let health = match entity.health {
                    1 => Health::Healthy,
                    2 => Health::Unhealthy,
                    _ => return None,
                };
                Some(((kind, entity.name().to_owned()), (health, since)))
            })
            .collect();
        let mut state = Self {
            config,
            generation: 1,
            slots,
            trackers: BTreeMap::new(),
            inherited,
            hops: Hops::new(),
            vlans: BTreeMap::new(),
            bases: Bases::default(),
            tracked: Tracked::default(),
            plans: BTreeMap::new(),
            first_rows: FirstRows::default(),
            held_until: None,
        };
        state.track(now);
        // What is not probed by now is not configured any more: old news would be wrong later.
        state.inherited.clear();
        Ok(state)
    }

    /// Puts another configuration in force; what it shares with the last one stays known.
    ///
    /// # Errors
    /// When it wants more slots than there are; nothing has changed then.
    pub fn replace(&mut self, config: Config, now: SystemTime) -> Result<(), OutOfSlots> {
        let mut slots = self.slots.clone();
        reconcile::assign_slots(&config, &mut slots)?;
        self.slots = slots;
        self.config = config;
        self.generation = self.generation.wrapping_add(1);
        self.track(now);
        Ok(())
    }

    /// The configuration in force.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Its number, counted from 1.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// The slots.
    #[must_use]
    pub const fn slots(&self) -> &Slots {
        &self.slots
    }

    /// The next hops.
    #[must_use]
    pub const fn hops(&self) -> &Hops {
        &self.hops
    }

    /// What stands in each table and why, as of the last [`State::desired`].
    #[must_use]
    pub const fn plans(&self) -> &BTreeMap<TableName, TablePlan> {
        &self.plans
    }

    /// What is to be probed.
    #[must_use]
    pub fn probes(&self) -> BTreeMap<ProbeKey, ProbeSpec> {
        desired_probes(&self.config)
    }

    /// What is known of a probed origin or tunnel.
    #[must_use]
    pub fn tracker(&self, key: &ProbeKey) -> Option<&Tracker> {
        self.trackers.get(key)
    }

    /// Takes the result of a probe; says so when health has changed by it.
    pub fn observe(
        &mut self,
        key: &ProbeKey,
        result: Result<Duration, Failure>,
        now: SystemTime,
    ) -> Option<Flip> {
        self.trackers.get_mut(key)?.observe(result, now)
    }

    /// Takes the node's VLAN devices; says whether any has changed.
    pub fn set_vlans(&mut self, vlans: BTreeMap<u32, Vlan>) -> bool {
        let changed = self.vlans != vlans;
        self.vlans = vlans;
        changed
    }

    /// Takes what is recorded of flows; says whether it has changed.
    pub fn set_tracked(&mut self, tracked: Tracked) -> bool {
        let changed = self.tracked != tracked;
        self.tracked = tracked;
        changed
    }

    /// Takes next hops; says whether any has changed.
    pub fn set_hops(&mut self, hops: Hops) -> bool {
        let changed = self.hops != hops;
        self.hops = hops;
        changed
    }

    /// Takes note that the maps hold what the last [`State::desired`] has said.
    pub fn written(&mut self) {
        self.slots.written();
    }

    /// The tunnel that an origin's probes and packets take, if it is behind one.
    #[must_use]
    pub fn tunnel_of(&self, pool: &str, origin: &str) -> Option<ProbeKey> {
        let origin = self.config.pools.get(pool)?.origins.get(origin)?;
        let vnet = origin.virtual_network.as_deref()?;
        let (tunnel, _) = self.config.vnets.get(vnet)?.tunnel_to(origin.address)?;
        Some(ProbeKey::tunnel(vnet, tunnel))
    }

    /// The tunnel that is to blame for an unhealthy origin: its own, when that is down too.
    #[must_use]
    pub fn tunnel_at_fault(&self, pool: &str, origin: &str) -> Option<ProbeKey> {
        let origin_is_down = self.health(&ProbeKey::origin(pool, origin)) == Health::Unhealthy;
        let tunnel = self.tunnel_of(pool, origin)?;
        (origin_is_down && self.health(&tunnel) == Health::Unhealthy).then_some(tunnel)
    }

    /// Until when rows are held back, as of the last [`State::desired`]; results of probes may
    /// end it earlier.
    #[must_use]
    pub const fn held_until(&self) -> Option<SystemTime> {
        self.held_until
    }

    /// All that the maps are to hold; `published` gives the rows in force of a slot of `TABLES`.
    ///
    /// The first rows of a table wait until each of its monitored origins has had a result, or for
    /// a second: whoever answers first would own all rows for a moment, and the flows that begin
    /// meanwhile would move when the others have answered.
    pub fn desired<'a>(
        &mut self,
        published: impl Fn(u32) -> Option<&'a [Row]>,
        now: SystemTime,
    ) -> Desired {
        let mut desired = reconcile::desired(&self.config, &self.slots, &self.hops);
        if !self.vlans.is_empty() {
            desired.node.flags |= NODE_VLANS;
            desired.vlans.clone_from(&self.vlans);
        }
        self.plans = self.plan_tables();
        self.bases.sweep();
        self.held_until = None;
        for (name, plan) in &self.plans {
            let Some(slot) = self.slots.get(EntityKind::Table, &name.0) else {
                continue;
            };
            let published = published(slot);
            let held_until = self.first_rows_wait(name, plan, published, now);
            self.held_until = self.held_until.max(held_until);
            let settled = match held_until {
                Some(_) => plan.settle_vacant(published),
                None => plan.settle(published),
            };
            let rows = settled.map_or(TableRows::Keep, TableRows::Publish);
            desired.tables.insert(slot, rows);
        }
        self.mark_down(&mut desired);
        desired.entities = reconcile::entities(&self.config, &self.slots, &self.entity_health());
        desired
    }

    /// Sessions with an origin that is unhealthy are over, if another can serve: where all seem down,
    /// the last known origins stay, for flows as for rows.
    fn mark_down(&self, desired: &mut Desired) {
        for (key, tracker) in &self.trackers {
            let ProbeKey::Origin { pool, origin } = key else {
                continue;
            };
            let another_serves = (self.plans.values())
                .any(|plan| plan.rows.is_some() && plan.states.contains_key(pool));
            if !another_serves {
                continue;
            }
            let name = reconcile::origin_name(pool, origin);
            let slot = self.slots.get(EntityKind::Origin, &name);
            let slot = slot.and_then(|slot| OriginIndex::try_from(slot).ok());
            if let Some(origin) = slot.and_then(|slot| desired.origins.get_mut(&slot))
                && tracker.health() == Health::Unhealthy
            {
                origin.flags |= ORIGIN_DOWN;
            }
        }
    }

    fn plan_tables(&mut self) -> BTreeMap<TableName, TablePlan> {
        let trackers = &self.trackers;
        let slots = &self.slots;
        let health = |pool: &str, origin: &str| {
            trackers
                .get(&ProbeKey::origin(pool, origin))
                .map_or(Health::Unknown, Tracker::health)
        };
        let slot = |pool: &str, origin: &str| {
            slots
                .get(EntityKind::Origin, &reconcile::origin_name(pool, origin))
                .and_then(|slot| OriginIndex::try_from(slot).ok())
        };
        let world = World {
            pools: &self.config.pools,
            seed: Seed::new(self.config.node.hash_key),
            health: &health,
            slot: &slot,
        };
        reconcile::table_specs(&self.config)
            .into_iter()
            .map(|(name, spec)| {
                let plan = steering::plan(&spec, &world, &mut self.bases);
                (name, plan)
            })
            .collect()
    }

    /// Until when a table without rows in force waits for them; `None` if it need not wait.
    fn first_rows_wait(
        &self,
        name: &TableName,
        plan: &TablePlan,
        published: Option<&[Row]>,
        now: SystemTime,
    ) -> Option<SystemTime> {
        let in_force = published.is_some_and(|rows| rows.iter().any(|row| *row != Row::VACANT));
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

    fn health(&self, key: &ProbeKey) -> Health {
        self.trackers
            .get(key)
            .map_or(Health::Unknown, Tracker::health)
    }

    /// Keeps trackers for exactly what is probed, and the ages of exactly the tables there are.
    fn track(&mut self, now: SystemTime) {
        let tables = reconcile::table_specs(&self.config).into_keys();
        self.first_rows.track(tables, now);
        let probes = self.probes();
        let wanted: BTreeSet<&ProbeKey> = probes.keys().collect();
        self.trackers.retain(|key, _| wanted.contains(key));
        for (key, ProbeSpec { timing, .. }) in &probes {
            match self.trackers.get_mut(key) {
                Some(tracker) => tracker.set_timing(*timing),
                None => {
                    let tracker = self.first_tracker(key, *timing, now);
                    self.trackers.insert(key.clone(), tracker);
                }
            }
        }
    }

    fn first_tracker(&self, key: &ProbeKey, timing: Timing, now: SystemTime) -> Tracker {
        match self.inherited.get(&(kind_of(key), key.to_string())) {
            Some((health, since)) => Tracker::restored(timing, *health, *since),
            None => Tracker::new(timing, now),
        }
    }

    fn entity_health(&self) -> BTreeMap<(EntityKind, String), (u8, u64)> {
        self.trackers
            .iter()
            .map(|(key, tracker)| {
                let since = tracker
                    .since()
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .unwrap_or_default();
                let since = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
                let health = match tracker.health() {
                    Health::Unknown => (0, 0),
                    Health::Healthy => (1, since),
                    Health::Unhealthy => (2, since),
                };
                ((kind_of(key), key.to_string()), health)
            })
            .collect()
    }
}

const fn kind_of(key: &ProbeKey) -> EntityKind {
    match key {
        ProbeKey::Origin { .. } => EntityKind::Origin,
        ProbeKey::Tunnel { .. } => EntityKind::Tunnel,
    }
}

#[cfg(test)]
mod tests;
