//! Warnings: what is allowed but probably not meant.

use std::collections::BTreeSet;

use crate::config::model::Config;
use crate::config::report::Report;

pub(super) fn check(config: &Config, report: &mut Report<'_>) {
    if config.load_balancers.is_empty() {
        report.warn(
            "",
            "there is no load balancer, so no packet is forwarded",
            "add a table `[[load_balancer]]`",
        );
    }
    unused(config, report);
    idle_pools(config, report);
    for (name, balancer) in config
        .load_balancers
        .iter()
        .filter(|(_, balancer)| balancer.enabled)
    {
        let off = |pool: &String| config.pools.get(pool).is_some_and(|pool| !pool.enabled);
        if !balancer.default_pools.is_empty() && balancer.default_pools.iter().all(off) {
            report.warn(
                format!("load_balancer[{name}].default_pools"),
                "all of its pools are disabled",
                "enable one of them, or disable the load balancer",
            );
        }
        if balancer.fallback_pool.as_ref().is_some_and(off) {
            report.warn(
                format!("load_balancer[{name}].fallback_pool"),
                "the pool of last resort is disabled, so it never serves",
                "enable it, or name another",
            );
        }
    }
}

fn unused(config: &Config, report: &mut Report<'_>) {
    let balancers = || config.load_balancers.values();
    let pools: BTreeSet<&String> = balancers()
        .flat_map(|balancer| balancer.default_pools.iter().chain(&balancer.fallback_pool))
        .collect();
    let monitors: BTreeSet<&String> = config
        .pools
        .values()
        .filter_map(|pool| pool.monitor.as_ref())
        .collect();
    let vnets: BTreeSet<&String> = config
        .pools
        .values()
        .flat_map(|pool| pool.origins.values())
        .filter_map(|origin| origin.virtual_network.as_ref())
        .chain(balancers().filter_map(|balancer| balancer.virtual_network.as_ref()))
        .collect();
    for name in config.pools.keys().filter(|name| !pools.contains(name)) {
        report.warn(
            format!("pool[{name}]"),
            "no load balancer uses this pool",
            "name it in `default_pools` or `fallback_pool`, or remove it",
        );
    }
    for name in config
        .monitors
        .keys()
        .filter(|name| !monitors.contains(name))
    {
        report.warn(
            format!("monitor[{name}]"),
            "no pool uses this monitor",
            "name it in `monitor` of a pool, or remove it",
        );
    }
    for name in config.vnets.keys().filter(|name| !vnets.contains(name)) {
        report.warn(
            format!("vnet[{name}]"),
            "no origin and no load balancer is in this vnet",
            "name it in `virtual_network`, or remove it",
        );
    }
}

/// A pool whose enabled origins all weigh 0 is one that is being drained: that is a normal state
/// in operation, and must load; but it takes no traffic, and that should be no surprise.
fn idle_pools(config: &Config, report: &mut Report<'_>) {
    for (name, pool) in config.pools.iter().filter(|(_, pool)| pool.enabled) {
        let mut origins = pool
            .origins
            .values()
            .filter(|origin| origin.enabled)
            .peekable();
        if pool.origins.is_empty() {
            continue;
        }
        if origins.peek().is_none() {
            report.warn(
                format!("pool[{name}].origin"),
                "all origins are disabled: the pool takes no traffic",
                "enable one of them, or disable the pool",
            );
        } else if origins.all(|origin| origin.weight == 0.0) {
            report.warn(
                format!("pool[{name}].origin"),
                "all origins weigh 0: the pool takes no traffic",
                "give one of them a weight above 0",
            );
        }
    }
}
