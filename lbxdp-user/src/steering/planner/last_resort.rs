//! What stands in a table when no default pool is able to serve.
//!
//! First a pool in panic that has somebody up, with all its origins; then what `all_down` says of
//! the pool at which failover ends; then, where configuration lets nobody serve, nobody.

use std::collections::{BTreeMap, BTreeSet};

use lbxdp_ebpf::abi::OriginIndex;

use super::{Content, Named, Planner, slots};
use crate::config::model::AllDown;
use crate::steering::table::{Standby, vacant};
use crate::steering::{Bases, Policy, PoolState, Why};

impl Planner<'_> {
    /// The first default pool in panic with an origin up, or with `random` all such pools, on all
    /// their origins.
    pub(super) fn by_panic(
        &self,
        states: &BTreeMap<String, PoolState>,
        bases: &mut Bases,
    ) -> Option<Content> {
        let panics = |pool: &str| {
            states.get(pool) == Some(&PoolState::Panic)
                && self
                    .members(pool)
                    .iter()
                    .any(|named| self.is_candidate(named))
        };
        match &self.spec.policy {
            Policy::Off(pools) => {
                let pool = pools.iter().find(|pool| panics(pool))?;
                self.assumed(Why::Panic, vec![pool.clone()], self.members(pool), bases)
            }
            Policy::Random(pools) => {
                let panicking: Vec<String> = pools
                    .iter()
                    .filter(|(pool, weight)| **weight > 0 && panics(pool))
                    .map(|(pool, _)| pool.clone())
                    .collect();
                let up = |named: &Named<'_>| panicking.iter().any(|pool| pool == named.pool);
                let owners = self.owners(self.union(pools), bases, up)?;
                Some(Content::assumed_up(Why::Panic, panicking, owners))
            }
        }
    }

    /// What the pool at which failover ends wants.
    pub(super) fn by_all_down(&self, bases: &mut Bases) -> Content {
        let content = match self.all_down() {
            AllDown::Fallback => self
                .by_fallback(self.world.health, bases)
                .or_else(|| self.by_floor(bases)),
            AllDown::LastKnown => None,
            AllDown::Spread => self.by_everybody(Why::Spread, bases),
            // Nobody is to serve, which is not the same where nobody may.
            AllDown::Reject => (self.by_everybody(Why::Reject, bases))
                .map(|_| Content::nobody(Why::Reject, self.size)),
        };
        content.unwrap_or_else(|| self.by_nobody(bases))
    }

    /// The fallback pool when none of its origins is up.
    pub(super) fn by_fallback_down(&self, pool: &str, bases: &mut Bases) -> Option<Content> {
        let serving = vec![pool.to_owned()];
        let members = self.members(pool);
        match self.world.pools.get(pool)?.all_down {
            AllDown::Fallback | AllDown::Spread => {
                self.assumed(Why::Fallback, serving, members, bases)
            }
            AllDown::LastKnown => {
                let mut eligible = slots(&members);
                for pool in self.spec.default_pools() {
                    eligible.extend(slots(&self.members(pool)));
                }
                let owners = self.owners(members, bases, |_| true)?;
                Some(Content::last_known(eligible, owners))
            }
            AllDown::Reject => (self.assumed(Why::Reject, serving, members, bases))
                .map(|_| Content::nobody(Why::Reject, self.size)),
        }
    }

    /// Without a fallback pool: everybody, if the deciding pool is never to eject all.
    fn by_floor(&self, bases: &mut Bases) -> Option<Content> {
        let has_floor = |pool: &str| {
            let pool = self.world.pools.get(pool);
            pool.is_some_and(|pool| pool.panic_threshold > 0.0)
        };
        let applies = match &self.spec.policy {
            Policy::Off(_) => self.deciding().is_some_and(has_floor),
            Policy::Random(pools) => pools.keys().any(|pool| has_floor(pool)),
        };
        applies.then(|| self.by_everybody(Why::Panic, bases))?
    }

    /// All origins that configuration lets serve: of the pool at which failover ends, or with
    /// `random` of all default pools.
    fn by_everybody(&self, why: Why, bases: &mut Bases) -> Option<Content> {
        match &self.spec.policy {
            Policy::Off(_) => {
                let pool = self.deciding()?;
                self.assumed(why, vec![pool.to_owned()], self.members(pool), bases)
            }
            Policy::Random(pools) => {
                let serving = pools.iter().filter(|(_, weight)| **weight > 0);
                let serving = serving.map(|(pool, _)| pool.clone()).collect();
                self.assumed(why, serving, self.union(pools), bases)
            }
        }
    }

    /// The members as if all were up.
    pub(super) fn assumed(
        &self,
        why: Why,
        serving: Vec<String>,
        members: Vec<Named<'_>>,
        bases: &mut Bases,
    ) -> Option<Content> {
        let owners = self.owners(members, bases, |_| true)?;
        Some(Content::assumed_up(why, serving, owners))
    }

    /// Whether an origin is up and may serve.
    fn is_candidate(&self, named: &Named<'_>) -> bool {
        named.member.weight > 0 && self.is_up(named, self.world.health)
    }

    fn all_down(&self) -> AllDown {
        self.deciding()
            .and_then(|pool| self.world.pools.get(pool))
            .map_or(AllDown::Fallback, |pool| pool.all_down)
    }

    /// The pool whose `all_down` counts: the last in the order of failover that configuration lets
    /// serve. With `random` the validation has made sure that all say the same.
    fn deciding(&self) -> Option<&str> {
        let may_serve = |pool: &&str| self.members(pool).iter().any(|m| m.member.weight > 0);
        self.spec.default_pools().filter(may_serve).last()
    }
}

impl Content {
    pub(super) fn assumed_up(why: Why, serving: Vec<String>, owners: Vec<OriginIndex>) -> Self {
        Self {
            assumed_up: true,
            ..Self::served(why, serving, owners)
        }
    }

    pub(super) fn last_known(eligible: BTreeSet<OriginIndex>, owners: Vec<OriginIndex>) -> Self {
        Self {
            why: Why::LastKnown,
            serving: Vec::new(),
            owners: None,
            standby: Some(Standby { eligible, owners }),
            assumed_up: false,
        }
    }

    pub(super) fn nobody(why: Why, size: u32) -> Self {
        Self {
            why,
            serving: Vec::new(),
            owners: Some(vacant(size)),
            standby: None,
            assumed_up: false,
        }
    }
}
