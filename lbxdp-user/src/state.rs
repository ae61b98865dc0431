//! What the agent knows: configuration, slots, health, next hops. Pure: no IO, no clock.

mod departures;
mod first_rows;
mod panics;
mod ramps;
mod revision;
mod risk;
mod sweeps;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use lbxdp_ebpf::abi::{EntityKind, NODE_VLANS, ORIGIN_DOWN, Vlan};

use crate::config::model::{Config, Timing};
use crate::dataplane::{Content, Desired};
use crate::health::{Failure, Flip, Health, ProbeKey, ProbeSpec, Tracker, desired_probes};
use crate::reconcile::{self, Hops, TableName, Tables};
use crate::slots::{OutOfSlots, Slots};
use crate::steering::{Bases, TablePlan, Tracked, Windows};
use departures::Departures;
use first_rows::FirstRows;
use ramps::Ramps;
use revision::Index;
pub use risk::Risk;
use risk::Risks;
use sweeps::Sweeps;

/// What the agent knows.
#[derive(Clone, Debug)]
pub struct State {
    config: Config,
    generation: u32,
    tables: Tables,
    slots: Slots,
    trackers: BTreeMap<ProbeKey, Tracker>,
    /// Health that the last agent left behind, for probes that have no tracker yet.
    inherited: BTreeMap<(EntityKind, String), (Health, SystemTime)>,
    hops: Hops,
    vlans: BTreeMap<u32, Vlan>,
    tracked: Tracked,
    bases: Bases,
    plans: BTreeMap<TableName, TablePlan>,
    index: Index,
    /// Whose health has changed since it was last said what the maps are to hold.
    flipped: BTreeSet<ProbeKey>,
    /// Whether nothing else has.
    is_complete: bool,
    first_rows: FirstRows,
    /// The end of the longest of the waits that the last [`State::desired`] has decided on.
    held_until: Option<SystemTime>,
    /// Until when rows in force keep their flags, by slot of `TABLES`.
    windows: BTreeMap<u32, Windows>,
    /// The same of the rows that the last [`State::desired`] has decided on.
    next_windows: Option<BTreeMap<u32, Windows>>,
    /// The same of those that the last [`State::revision`] has.
    revised_windows: BTreeMap<u32, Windows>,
    departures: Departures,
    sweeps: Sweeps,
    ramps: Ramps,
    risks: Risks,
    /// When the last [`State::desired`] would decide otherwise by itself.
    due_at: Option<SystemTime>,
}

impl State {
    /// Starts from a configuration and from what the maps hold of the last agent.
    ///
    /// # Errors
    /// When the configuration wants more slots than there are.
    pub fn new(config: Config, actual: &Content, now: SystemTime) -> Result<Self, OutOfSlots> {
        let mut slots = Slots::adopt(&actual.entities);
        reconcile::retire_moved(&config, &mut slots, actual);
        let tables = Tables::assign(&config, actual);
        reconcile::assign_slots(&config, &tables, &mut slots)?;
        let inherited = actual
            .entities
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
            tables,
            slots,
            trackers: BTreeMap::new(),
            inherited,
            hops: Hops::new(),
            vlans: BTreeMap::new(),
            tracked: Tracked::default(),
            bases: Bases::default(),
            plans: BTreeMap::new(),
            index: Index::default(),
            flipped: BTreeSet::new(),
            is_complete: false,
            first_rows: FirstRows::default(),
            held_until: None,
            windows: BTreeMap::new(),
            next_windows: None,
            revised_windows: BTreeMap::new(),
            departures: Departures::adopting(),
            sweeps: Sweeps::default(),
            ramps: Ramps::default(),
            risks: Risks::default(),
            due_at: None,
        };
        state.track(now);
        // What is not probed by now is not configured any more: old news would be wrong later.
        state.inherited.clear();
        Ok(state)
    }

    /// Puts another configuration in force; what it shares with the last one stays known. `actual` is
    /// what the maps hold.
    ///
    /// # Errors
    /// When it wants more slots than there are; nothing has changed then.
    pub fn replace(
        &mut self,
        config: Config,
        actual: &Content,
        now: SystemTime,
    ) -> Result<(), OutOfSlots> {
        let mut slots = self.slots.clone();
        reconcile::retire_moved(&config, &mut slots, actual);
        let tables = Tables::assign(&config, actual);
        reconcile::assign_slots(&config, &tables, &mut slots)?;
        self.slots = slots;
        self.tables = tables;
        self.ramps.edited(&self.config, &config);
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

    /// The table of each load balancer.
    #[must_use]
    pub const fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The flows in the flow table, as of the last [`State::set_tracked`].
    #[must_use]
    pub const fn tracked(&self) -> &Tracked {
        &self.tracked
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
        let flip = self.trackers.get_mut(key)?.observe(result, now)?;
        self.flipped.insert(key.clone());
        Some(flip)
    }

    /// Takes the node's VLAN devices; says whether any has changed.
    pub fn set_vlans(&mut self, vlans: BTreeMap<u32, Vlan>) -> bool {
        let changed = self.vlans != vlans;
        self.vlans = vlans;
        self.is_complete &= !changed;
        changed
    }

    /// Takes next hops; says whether any has changed.
    pub fn set_hops(&mut self, hops: Hops) -> bool {
        let changed = self.hops != hops;
        self.hops = hops;
        self.is_complete &= !changed;
        changed
    }

    /// Takes what a sweep of the flow table has found; says whether it has changed.
    pub fn set_tracked(&mut self, tracked: Tracked) -> bool {
        let changed = self.tracked != tracked;
        self.tracked = tracked;
        self.is_complete &= !changed;
        changed
    }

    /// Takes note that the maps hold what the last [`State::desired`] has said.
    pub fn written(&mut self) {
        let staying = self.departures.staying();
        self.slots.written(|kind, slot| {
            kind == EntityKind::Origin
                && u16::try_from(slot).is_ok_and(|slot| staying.contains_key(&slot))
        });
        self.departures.written();
        if let Some(windows) = self.next_windows.take() {
            self.windows = windows;
        }
    }

    /// The tunnel that an origin's probes and packets take, if it is behind one.
    #[must_use]
    pub fn tunnel_of(&self, pool: &str, origin: &str) -> Option<ProbeKey> {
        let origin = self.config.pools.get(pool)?.origins.get(origin)?;
        let vnet = origin.virtual_network.as_deref()?;
        let (tunnel, _) = self.config.vnets.get(vnet)?.tunnel_to(origin.address)?;
        Some(ProbeKey::tunnel(vnet, tunnel))
    }

    /// Why no packet can be sent to what a probe is of, if its next hop is not resolved.
    #[must_use]
    pub fn next_hop_problem(&self, key: &ProbeKey) -> Option<String> {
        match key {
            ProbeKey::Origin { pool, origin } => {
                let origin = self.config.pools.get(pool)?.origins.get(origin)?;
                reconcile::origin_hop_problem(&self.config, &self.hops, origin)
            }
            ProbeKey::Tunnel { vnet, tunnel } => {
                let tunnel = self.config.vnets.get(vnet)?.tunnels.get(tunnel)?;
                reconcile::tunnel_hop_problem(&self.hops, tunnel)
            }
        }
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

    /// When the last [`State::desired`] is to be asked again, even though nothing happens.
    #[must_use]
    pub fn due_at(&self) -> Option<SystemTime> {
        [self.held_until, self.due_at].into_iter().flatten().min()
    }

    /// All that the maps are to hold, given what they hold.
    ///
    /// The first rows of a table wait until each of its monitored origins has had a result, or for
    /// a second: whoever answers first would own all rows for a moment, and the flows that begin
    /// meanwhile would move when the others have answered.
    pub fn desired(&mut self, actual: &Content, now: SystemTime) -> Desired {
        self.share_tables(actual, now);
        let mut desired = reconcile::desired(&self.config, &self.tables, &self.slots, &self.hops);
        if !self.vlans.is_empty() {
            desired.node.flags |= NODE_VLANS;
            desired.vlans.clone_from(&self.vlans);
        }
        self.index = Index::new(&self.tables);
        self.plans.clear();
        let names: Vec<TableName> = self.index.names().cloned().collect();
        self.plan_tables(&names, now);
        self.bases.sweep();
        for slot in self.down() {
            if let Some(origin) = desired.origins.get_mut(&slot) {
                origin.flags |= ORIGIN_DOWN;
            }
        }
        let leaving = reconcile::leaving(&self.config, &self.slots, &self.hops, actual, &desired);
        let drained = self.windows_of_drained();
        let window = |slot| {
            drained
                .get(&slot)
                .copied()
                .unwrap_or(self.config.node.flow_window)
        };
        self.departures.begin(&leaving, actual, window, now);
        // Who leaves is looked at until it is gone.
        self.is_complete = leaving.is_empty() && self.ramps.is_empty();
        self.flipped.clear();
        self.revised_windows.clear();
        self.fill_tables(actual, &leaving, drained, &mut desired, now);
        let before: BTreeSet<_> = self.risks.before().collect();
        self.departures
            .decide(leaving, &before, &self.tracked, &self.sweeps, now);
        reconcile::keep(self.departures.staying(), &before, actual, &mut desired);
        let staying = self.departures.staying().keys().copied().collect();
        desired.entities =
            reconcile::entities(&self.config, &self.slots, &staying, &self.entity_health());
        let windows = self.next_windows.iter().flat_map(BTreeMap::values);
        self.due_at = windows
            .flat_map(|windows| windows.to_come(now))
            .chain(self.departures.due(now))
            .chain(self.ramps.due(&self.config, now))
            .min();
        desired
    }

    fn health(&self, key: &ProbeKey) -> Health {
        self.trackers
            .get(key)
            .map_or(Health::Unknown, Tracker::health)
    }

    /// Keeps trackers for exactly what is probed, and the ages of exactly the tables there are.
    fn track(&mut self, now: SystemTime) {
        self.is_complete = false;
        let tables = self.tables.all().map(|table| table.name.clone());
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
            .map(|(key, tracker)| ((kind_of(key), key.to_string()), told(tracker)))
            .collect()
    }
}

/// Health as the maps tell it, and since when.
fn told(tracker: &Tracker) -> (u8, u64) {
    let since = tracker
        .since()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let since = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
    match tracker.health() {
        Health::Unknown => (0, 0),
        Health::Healthy => (1, since),
        Health::Unhealthy => (2, since),
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
