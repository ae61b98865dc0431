//! What happens when too few origins, or none, are up: keys `panic_threshold` and `all_down`.

use std::collections::BTreeSet;

use crate::config::file;
use crate::config::model::{AllDown, Config, LoadBalancer, Steering};
use crate::config::report::Report;

/// The share below which all origins count as healthy.
pub(super) fn threshold(written: &file::Pool, report: &mut Report<'_>) -> f64 {
    let threshold = written.panic_threshold.or(0.0);
    let path = format!("{}.panic_threshold", written.path);
    if !(0.0..=1.0).contains(&threshold) {
        report.error(
            path,
            format!("{threshold} is out of range"),
            "a share of the pool's weight, from 0 (never) to 1",
        );
        return 0.0;
    }
    if threshold > 0.0 {
        warn_unmonitored(written, path, report);
    }
    threshold
}

/// What happens when no pool is able to serve.
pub(super) fn policy(written: &file::Pool, report: &mut Report<'_>) -> AllDown {
    let policy = written.all_down.or(AllDown::Fallback);
    if policy != AllDown::Fallback {
        warn_unmonitored(written, format!("{}.all_down", written.path), report);
    }
    policy
}

fn warn_unmonitored(written: &file::Pool, path: String, report: &mut Report<'_>) {
    if written.monitor.is_absent() {
        report.warn(
            path,
            "without a monitor the origins of the pool always count as healthy",
            "write `monitor`, or remove it",
        );
    }
}

/// Combinations of pools in which one key takes away the meaning of another.
pub(super) fn check(config: &Config, report: &mut Report<'_>) {
    let policy = |pool: &String| config.pools.get(pool).map(|pool| pool.all_down);
    let mut deciding = BTreeSet::new();
    for (name, balancer) in &config.load_balancers {
        deciding.extend(balancer.fallback_pool.as_ref());
        match &balancer.steering {
            Steering::Off => deciding.extend(balancer.default_pools.last()),
            Steering::Random { .. } => {
                deciding.extend(&balancer.default_pools);
                check_agreement(name, balancer, policy, report);
            }
        }
        let last = balancer.default_pools.last();
        if let (Some(_), Some(pool)) = (&balancer.fallback_pool, last)
            && let Some(policy) = policy(pool).filter(|policy| *policy != AllDown::Fallback)
        {
            report.error(
                format!("load_balancer[{name}].fallback_pool"),
                format!(
                    "it would never serve: pool {pool:?}, at which failover ends, has all_down = {:?}",
                    policy.name()
                ),
                "remove it, or `all_down` of that pool",
            );
        }
    }
    let used: BTreeSet<&String> = config
        .load_balancers
        .values()
        .flat_map(|balancer| &balancer.default_pools)
        .collect();
    for (name, pool) in &config.pools {
        if pool.all_down != AllDown::Fallback && used.contains(name) && !deciding.contains(name) {
            report.warn(
                format!("pool[{name}].all_down"),
                "it counts only where the pool is the last of `default_pools` that is enabled, and \
                 in all load balancers others come after it",
                "write it in the last of them",
            );
        }
    }
}

/// Pools that share the traffic are all down at the same time, so they must want the same.
fn check_agreement(
    name: &str,
    balancer: &LoadBalancer,
    policy: impl Fn(&String) -> Option<AllDown>,
    report: &mut Report<'_>,
) {
    let mut pools = balancer
        .default_pools
        .iter()
        .filter_map(|pool| Some((pool, policy(pool)?)));
    let Some((first, wanted)) = pools.next() else {
        return;
    };
    if let Some((other, differs)) = pools.find(|(_, policy)| *policy != wanted) {
        report.error(
            format!("load_balancer[{name}].default_pools"),
            format!(
                "with steering_policy = \"random\" its pools are all down together, but {first:?} has \
                 all_down = {:?} and {other:?} has {:?}",
                wanted.name(),
                differs.name()
            ),
            "give them the same `all_down`",
        );
    }
}
