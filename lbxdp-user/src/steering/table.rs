//! What stands in the table of a load balancer, and why.

use std::collections::{BTreeMap, BTreeSet};

use lbxdp_ebpf::abi::{Origin, OriginIndex};

use super::{PoolState, table_size, weight_units};
use crate::config::model::{LoadBalancer, Pool, Steering};

/// What decides the content of a table. Load balancers with equal ones share a table.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TableSpec {
    /// Steering among the default pools.
    pub policy: Policy,
    /// Pool of last resort.
    pub fallback: Option<String>,
}

/// Steering among the default pools.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Policy {
    /// The first that is able to serve, in this order.
    Off(Vec<String>),
    /// All that are able to serve, by weight in ten-thousandths.
    Random(BTreeMap<String, u32>),
}

impl TableSpec {
    /// The table of a load balancer.
    #[must_use]
    pub fn new(balancer: &LoadBalancer) -> Self {
        let policy = match &balancer.steering {
            Steering::Off => Policy::Off(balancer.default_pools.clone()),
            Steering::Random {
                default_weight,
                pool_weights,
            } => {
                let weighted = balancer.default_pools.iter().map(|pool| {
                    let weight = pool_weights.get(pool).unwrap_or(default_weight);
                    (pool.clone(), weight_units(*weight))
                });
                Policy::Random(weighted.collect())
            }
        };
        Self {
            policy,
            fallback: balancer.fallback_pool.clone(),
        }
    }

    /// The default pools, in the order of the policy.
    pub fn default_pools(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match &self.policy {
            Policy::Off(pools) => Box::new(pools.iter().map(String::as_str)),
            Policy::Random(pools) => Box::new(pools.keys().map(String::as_str)),
        }
    }

    /// The number of rows for these pools: the same whatever pool serves and whatever is disabled or
    /// drained, so that no such change moves a flow that it need not.
    #[must_use]
    pub fn size(&self, pools: &BTreeMap<String, Pool>) -> u32 {
        let members = |pool: &str| pools.get(pool).map_or(0, |pool| pool.origins.len());
        let defaults = self.default_pools().map(members);
        let defaults = match &self.policy {
            Policy::Off(_) => defaults.max().unwrap_or(0),
            Policy::Random(_) => defaults.sum(),
        };
        table_size(defaults.max(self.fallback.as_deref().map_or(0, members)))
    }
}

/// What is to stand in a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TablePlan {
    /// The number of rows, a prime.
    pub size: u32,
    /// The owner of each row, or [`Origin::NONE`]; `None` leaves those in force that are
    /// published: see [`Self::settle`].
    pub owners: Option<Vec<OriginIndex>>,
    /// The owner that each row will have when everybody is healthy, or [`Origin::NONE`].
    pub homes: Vec<OriginIndex>,
    /// Why these pools.
    pub why: Why,
    /// The pools that serve, in the order of the policy.
    pub serving: Vec<String>,
    /// The state of each pool of the table.
    pub states: BTreeMap<String, PoolState>,
    /// Whether `states` has a default pool that is enabled and not healthy.
    pub(super) impaired: bool,
    pub(super) standby: Option<Standby>,
    /// Whether the origins of `serving` count as up whatever their health.
    pub assumed_up: bool,
}

/// What takes the place of last known owners that are no longer configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Standby {
    pub(super) eligible: BTreeSet<OriginIndex>,
    pub(super) owners: Vec<OriginIndex>,
}

/// Why a table holds what it holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Why {
    /// The first of the default pools serves.
    Primary,
    /// One before it is not able to serve.
    Failover,
    /// All default pools that are able to serve do, by weight.
    Random,
    /// No default pool is able to serve.
    Fallback,
    /// Neither, and there is no fallback pool: what was last known to be right stays.
    LastKnown,
    /// Fewer origins are up than its floor, and no other pool is able to serve: all count as up.
    Panic,
    /// No pool is able to serve, and the pool wants all its origins to try.
    Spread,
    /// No pool is able to serve, and the pool wants packets to be dropped.
    Reject,
    /// By configuration nobody may serve: everything is disabled or has no weight.
    Vacant,
}

impl Why {
    /// The name in output and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.text().0
    }

    /// What it means.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        self.text().1
    }

    const fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::Primary => ("primary", "the first default pool serves"),
            Self::Failover => (
                "failover",
                "the pools before this one are not able to serve",
            ),
            Self::Random => (
                "random",
                "the default pools that are able to serve share the traffic by weight",
            ),
            Self::Fallback => (
                "fallback",
                "no default pool is able to serve, so the fallback pool does, whatever its health",
            ),
            Self::LastKnown => (
                "last_known",
                "no pool is able to serve, so the last known owners stay",
            ),
            Self::Panic => (
                "panic",
                "fewer origins are up than panic_threshold and no other default pool is able to serve, so all count as up",
            ),
            Self::Spread => (
                "spread",
                "no pool is able to serve, so all origins count as up, as all_down = \"spread\" says",
            ),
            Self::Reject => (
                "reject",
                "nobody: no pool is able to serve, so packets are dropped, as all_down = \"reject\" says",
            ),
            Self::Vacant => (
                "vacant",
                "all origins are disabled or have weight 0, so nobody may serve",
            ),
        }
    }
}

/// The state of a load balancer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BalancerState {
    /// All its enabled default pools are healthy.
    Healthy,
    /// Some are not, but one is able to serve.
    Degraded,
    /// None is able to serve.
    Critical,
}

impl BalancerState {
    /// The name in output and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Critical => "critical",
        }
    }
}

impl TablePlan {
    /// The state of the load balancers that have this table.
    #[must_use]
    pub const fn state(&self) -> BalancerState {
        match self.why {
            Why::Primary | Why::Failover | Why::Random if self.impaired => BalancerState::Degraded,
            Why::Primary | Why::Failover | Why::Random => BalancerState::Healthy,
            Why::Panic
            | Why::Fallback
            | Why::LastKnown
            | Why::Spread
            | Why::Reject
            | Why::Vacant => BalancerState::Critical,
        }
    }

    /// The owners to publish where `published` are.
    ///
    /// With nobody able to serve, published owners stay as long as configuration lets them serve;
    /// the rows of others (removed, disabled or drained since) go to those that it lets. Rows
    /// that were vacant stay so: an origin that was never known to be healthy is not up.
    /// Nothing published is published as vacant.
    #[must_use]
    pub fn settle(&self, published: Option<&[OriginIndex]>) -> Vec<OriginIndex> {
        match (&self.owners, &self.standby, published) {
            (Some(owners), _, _) => owners.clone(),
            (None, Some(standby), Some(published)) => standby.settle(published),
            (None, _, None) | (None, None, Some(_)) => self.vacant(),
        }
    }

    /// The same where nobody is to own a row yet.
    #[must_use]
    pub fn vacant(&self) -> Vec<OriginIndex> {
        vacant(self.size)
    }

    /// Frees the memory of owners that are rows now: what is in force is known elsewhere. That there
    /// are some stays known.
    pub fn forget_rows(&mut self) {
        if let Some(owners) = &mut self.owners {
            *owners = Vec::new();
        }
        self.homes = Vec::new();
    }
}

impl Standby {
    fn settle(&self, published: &[OriginIndex]) -> Vec<OriginIndex> {
        if published.iter().all(|owner| *owner == Origin::NONE) {
            return vacant(self.owners.len() as u32);
        }
        if published.len() != self.owners.len() {
            return self.owners.clone();
        }
        published
            .iter()
            .zip(&self.owners)
            .map(|(last, standby)| {
                let stays = *last == Origin::NONE || self.eligible.contains(last);
                if stays { *last } else { *standby }
            })
            .collect()
    }
}

/// Rows that nobody owns.
pub(super) fn vacant(size: u32) -> Vec<OriginIndex> {
    vec![Origin::NONE; size as usize]
}
