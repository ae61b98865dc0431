//! The sizes of the maps, so that a limit is an error of the configuration and not a surprise.

use lbxdp_ebpf::abi::capacity;

use crate::config::model::{Config, Forwarding};
use crate::config::report::Report;

pub(super) fn check(config: &Config, report: &mut Report<'_>) {
    let tunnels = || config.vnets.values().flat_map(|vnet| vnet.tunnels.values());
    let balancers = || {
        config
            .load_balancers
            .values()
            .filter(|balancer| balancer.enabled)
    };
    let listeners: usize = balancers().map(|balancer| balancer.listeners.len()).sum();
    let origins: usize = config.pools.values().map(|pool| pool.origins.len()).sum();
    let ways_back: usize = balancers()
        .map(|balancer| {
            let pools = balancer.default_pools.iter().chain(&balancer.fallback_pool);
            let origins: usize = pools
                .filter_map(|name| config.pools.get(name))
                .filter(|pool| pool.forwarding == Forwarding::NatPreserve)
                .map(|pool| pool.origins.len())
                .sum();
            origins * balancer.listeners.len()
        })
        .sum();
    let counts = [
        (
            "load_balancer",
            "load balancers",
            balancers().count(),
            capacity::TABLES,
        ),
        (
            "load_balancer",
            "listeners",
            listeners,
            capacity::LISTENER_COUNTERS.min(capacity::SERVICES),
        ),
        (
            "load_balancer",
            "ways back (listeners times origins of their pools with source = \"preserve\")",
            ways_back,
            capacity::SERVICES,
        ),
        ("pool", "origins", origins, capacity::ORIGINS),
        ("vnet", "tunnels", tunnels().count(), capacity::TUNNELS),
        (
            "vnet",
            "routes",
            tunnels().map(|tunnel| tunnel.routes.len()).sum(),
            capacity::ROUTES,
        ),
    ];
    for (path, what, count, most) in counts {
        if count > most as usize {
            report.error(
                path,
                format!("{count} {what} are configured, and the maps hold {most}"),
                "spread them over several nodes",
            );
        }
    }
}
