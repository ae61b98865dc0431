//! The sizes of the maps, so that a limit is an error of the configuration and not a surprise.

use lbxdp_ebpf::abi::{capacity, prefixes};

use crate::config::model::{Config, Forwarding, LoadBalancer};
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
    let nat_origins = |balancer: &LoadBalancer| -> usize {
        let pools = balancer.default_pools.iter().chain(&balancer.fallback_pool);
        pools
            .filter_map(|name| config.pools.get(name))
            .filter(|pool| pool.forwarding == Forwarding::NatPreserve)
            .map(|pool| pool.origins.len())
            .sum()
    };
    let ways_back: usize = balancers()
        .map(|balancer| nat_origins(balancer) * balancer.listeners.len())
        .sum();
    let ranges: usize = balancers()
        .map(|balancer| {
            let prefixes = balancer
                .listeners
                .iter()
                .filter(|listener| listener.ports.is_range())
                .map(|listener| prefixes(listener.ports.first(), listener.ports.last()).count());
            prefixes.sum::<usize>() * (1 + nat_origins(balancer))
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
        (
            "load_balancer",
            "prefixes of ports (up to 30 for each range, times origins of its pools that preserve sources and one)",
            ranges,
            capacity::RANGES,
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
