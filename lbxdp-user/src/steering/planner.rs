//! Health in, the content of a table out.

mod last_resort;

use std::collections::{BTreeMap, BTreeSet};

use lbxdp_ebpf::abi::OriginIndex;

use super::pools::effective;
use super::table::{Standby, vacant};
use super::{
    Bases, Member, Policy, PoolState, Seed, TablePlan, TableSpec, Why, pool_state, weight_units,
};
use crate::config::model::Pool;
use crate::health::Health;

/// What a plan is made of besides the table's specification.
pub struct World<'a> {
    /// The configured pools.
    pub pools: &'a BTreeMap<String, Pool>,
    /// From the hash key.
    pub seed: Seed,
    /// Health of (pool, origin). Not asked where there is no monitor.
    pub health: &'a dyn Fn(&str, &str) -> Health,
    /// Slot of (pool, origin) in map `ORIGINS`. An origin without one takes no traffic.
    pub slot: &'a dyn Fn(&str, &str) -> Option<OriginIndex>,
    /// Tenths of its weight that (pool, origin) has, 1 to 10: less than 10 while it starts slowly.
    pub tenths: &'a dyn Fn(&str, &str) -> u32,
}

/// Decides who owns the rows of a table, of which there are `size`. Its cost after a change of
/// health is that of the rows of those that are down, as long as `bases` has what it had.
#[must_use]
pub fn plan(spec: &TableSpec, size: u32, world: &World<'_>, bases: &mut Bases) -> TablePlan {
    let planner = Planner { spec, world, size };
    let states = planner.states(world.health);
    let impaired = spec.default_pools().any(|pool| match states.get(pool) {
        None | Some(PoolState::Healthy | PoolState::Disabled) => false,
        Some(PoolState::Degraded | PoolState::Panic | PoolState::Critical | PoolState::Unknown) => {
            true
        }
    });
    let content = planner
        .by_policy(&states, world.health, bases)
        .or_else(|| planner.by_panic(&states, bases))
        .unwrap_or_else(|| planner.by_all_down(bases));
    let homes = planner.homes(bases);
    let Content {
        why,
        serving,
        owners,
        standby,
        assumed_up,
    } = content;
    TablePlan {
        size,
        owners,
        homes,
        why,
        serving,
        states,
        impaired,
        standby,
        assumed_up,
    }
}

type HealthOf<'a> = &'a dyn Fn(&str, &str) -> Health;

struct Planner<'a> {
    spec: &'a TableSpec,
    world: &'a World<'a>,
    size: u32,
}

struct Content {
    why: Why,
    serving: Vec<String>,
    owners: Option<Vec<OriginIndex>>,
    standby: Option<Standby>,
    assumed_up: bool,
}

impl Content {
    const fn served(why: Why, serving: Vec<String>, owners: Vec<OriginIndex>) -> Self {
        Self {
            why,
            serving,
            owners: Some(owners),
            standby: None,
            assumed_up: false,
        }
    }
}

/// A member and its name.
struct Named<'a> {
    pool: &'a str,
    origin: &'a str,
    member: Member,
}

impl<'a> Planner<'a> {
    fn states(&self, health: HealthOf<'_>) -> BTreeMap<String, PoolState> {
        self.spec
            .default_pools()
            .chain(self.spec.fallback.as_deref())
            .filter_map(|name| {
                let pool = self.world.pools.get(name)?;
                let health = |origin: &str| health(name, origin);
                Some((name.to_owned(), pool_state(pool, health)))
            })
            .collect()
    }

    /// The owners if all that is probed were healthy.
    fn homes(&self, bases: &mut Bases) -> Vec<OriginIndex> {
        let healthy: HealthOf<'_> = &|_, _| Health::Healthy;
        self.by_policy(&self.states(healthy), healthy, bases)
            .or_else(|| self.by_fallback(healthy, bases))
            .and_then(|content| content.owners)
            .unwrap_or_else(|| vacant(self.size))
    }

    fn by_policy(
        &self,
        states: &BTreeMap<String, PoolState>,
        health: HealthOf<'_>,
        bases: &mut Bases,
    ) -> Option<Content> {
        let serves = |pool: &str| states.get(pool).is_some_and(|state| state.serves());
        match &self.spec.policy {
            Policy::Off(pools) => pools.iter().enumerate().find_map(|(place, pool)| {
                if !serves(pool) {
                    return None;
                }
                let up = |named: &Named<'_>| self.is_up(named, health);
                let owners = self.owners(self.members(pool), bases, up)?;
                let why = if place == 0 {
                    Why::Primary
                } else {
                    Why::Failover
                };
                Some(Content::served(why, vec![pool.clone()], owners))
            }),
            Policy::Random(pools) => {
                let up = |named: &Named<'_>| serves(named.pool) && self.is_up(named, health);
                let owners = self.owners(self.union(pools), bases, up)?;
                let serving = pools
                    .iter()
                    .filter(|(pool, weight)| **weight > 0 && serves(pool))
                    .map(|(pool, _)| pool.clone());
                Some(Content::served(Why::Random, serving.collect(), owners))
            }
        }
    }

    /// The healthy origins of the fallback pool, unless they are too few.
    fn by_fallback(&self, health: HealthOf<'_>, bases: &mut Bases) -> Option<Content> {
        let pool = self.spec.fallback.as_deref()?;
        let serving = vec![pool.to_owned()];
        let state = |configured| pool_state(configured, |origin| health(pool, origin));
        let panics = self.world.pools.get(pool).map(state) == Some(PoolState::Panic);
        match self.owners(self.members(pool), bases, |named| self.is_up(named, health)) {
            Some(_) if panics => self.assumed(Why::Fallback, serving, self.members(pool), bases),
            Some(owners) => Some(Content::served(Why::Fallback, serving, owners)),
            None => self.by_fallback_down(pool, bases),
        }
    }

    fn by_nobody(&self, bases: &mut Bases) -> Content {
        let (members, eligible) = match &self.spec.policy {
            Policy::Off(pools) => {
                let pools: Vec<_> = pools.iter().map(|pool| self.members(pool)).collect();
                let eligible = slots(pools.iter().flatten());
                let first = pools
                    .into_iter()
                    .find(|pool| pool.iter().any(|m| m.member.weight > 0));
                (first.unwrap_or_default(), eligible)
            }
            Policy::Random(pools) => {
                let union = self.union(pools);
                let eligible = slots(&union);
                (union, eligible)
            }
        };
        match self.owners(members, bases, |_| true) {
            Some(owners) => Content::last_known(eligible, owners),
            None => Content::nobody(Why::Vacant, self.size),
        }
    }

    fn owners(
        &self,
        members: Vec<Named<'_>>,
        bases: &mut Bases,
        up: impl Fn(&Named<'_>) -> bool,
    ) -> Option<Vec<OriginIndex>> {
        let live: BTreeSet<u64> = members
            .iter()
            .filter(|named| named.member.weight > 0 && up(named))
            .map(|named| named.member.id)
            .collect();
        if live.is_empty() {
            return None;
        }
        let members = members.into_iter().map(|named| named.member).collect();
        bases.repaired(members, self.size, self.world.seed, |member| {
            live.contains(&member.id)
        })
    }

    fn is_up(&self, named: &Named<'_>, health: HealthOf<'_>) -> bool {
        let health = |origin: &str| health(named.pool, origin);
        self.world
            .pools
            .get(named.pool)
            .is_some_and(|pool| effective(pool, named.origin, health) == Health::Healthy)
    }

    /// The enabled origins of a pool by their weights; none if the pool is disabled.
    fn members<'b>(&self, name: &'b str) -> Vec<Named<'b>>
    where
        'a: 'b,
    {
        let seed = self.world.seed;
        let Some(pool) = self.world.pools.get(name).filter(|pool| pool.enabled) else {
            return Vec::new();
        };
        pool.origins
            .iter()
            .filter(|(_, origin)| origin.enabled)
            .filter_map(|(origin, configured)| {
                let member = Member {
                    id: seed.member(name, origin),
                    pool: seed.pool(name),
                    weight: self.weight(name, origin, configured.weight),
                    origin: (self.world.slot)(name, origin)?,
                };
                Some(Named {
                    pool: name,
                    origin,
                    member,
                })
            })
            .collect()
    }

    /// In units that keep tenths of the least weight apart.
    fn weight(&self, pool: &str, origin: &str, configured: f64) -> u32 {
        weight_units(configured) * (self.world.tenths)(pool, origin)
    }

    /// The members of several pools, each by its pool's weight times its share in its pool.
    fn union(&self, pools: &'a BTreeMap<String, u32>) -> Vec<Named<'a>> {
        let mut union = Vec::new();
        for (pool, pool_weight) in pools {
            let mut members = self.members(pool);
            let total: u64 = members.iter().map(|m| u64::from(m.member.weight)).sum();
            for Member { weight, .. } in members.iter_mut().map(|m| &mut m.member) {
                *weight = part(*pool_weight, *weight, total);
            }
            union.append(&mut members);
        }
        union
    }
}

/// `pool_weight * weight / total` in units that keep small shares apart; what is not zero is at
/// least one.
fn part(pool_weight: u32, weight: u32, total: u64) -> u32 {
    const UNITS: u64 = 1 << 16;
    if pool_weight == 0 || weight == 0 {
        return 0;
    }
    let part = u64::from(pool_weight) * u64::from(weight) * UNITS / total;
    u32::try_from(part).unwrap_or(u32::MAX).max(1)
}

fn slots<'a, 'b: 'a>(members: impl IntoIterator<Item = &'a Named<'b>>) -> BTreeSet<OriginIndex> {
    members
        .into_iter()
        .filter(|named| named.member.weight > 0)
        .map(|named| named.member.origin)
        .collect()
}

#[cfg(test)]
mod tests;
