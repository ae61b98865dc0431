//! What cannot be numbered, or would take too much memory, so that a limit is an error of the
//! configuration and not a surprise. Below that, maps are made as large as they must be.

use lbxdp_ebpf::abi::{EntityKind, prefixes};

use crate::config::model::{Config, Forwarding, LoadBalancer};
use crate::config::report::Report;
use crate::dataplane::Content;
use crate::reconcile::Tables;
use crate::slots::most_of;

/// Entries of hash maps, some hundred bytes each.
const MOST_ENTRIES: u32 = 1 << 20;
/// Rows of all tables, both halves: 512 MiB.
const MOST_ROWS: u32 = 1 << 26;

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
    let tables = Tables::assign(config, &Content::default());
    let rows: usize = tables.all().map(|table| 2 * table.size as usize).sum();
    let counts = [
        (
            "load_balancer",
            "load balancers",
            balancers().count(),
            most_of(EntityKind::Table),
        ),
        (
            "load_balancer",
            "listeners",
            listeners,
            most_of(EntityKind::Listener),
        ),
        (
            "load_balancer",
            "ways back (listeners times origins of their pools with source = \"preserve\")",
            ways_back,
            MOST_ENTRIES,
        ),
        (
            "load_balancer",
            "prefixes of ports (up to 30 for each range, times origins of its pools that preserve sources and one)",
            ranges,
            MOST_ENTRIES,
        ),
        (
            "load_balancer",
            "rows (two halves for each set of pools, some 200 to 800 for each origin)",
            rows,
            MOST_ROWS,
        ),
        ("pool", "origins", origins, most_of(EntityKind::Origin)),
        (
            "vnet",
            "tunnels",
            tunnels().count(),
            most_of(EntityKind::Tunnel),
        ),
        (
            "vnet",
            "routes",
            tunnels().map(|tunnel| tunnel.routes.len()).sum(),
            MOST_ENTRIES,
        ),
    ];
    for (path, what, count, most) in counts {
        if count > most as usize {
            report.error(
                path,
                format!("{count} {what} are configured, and one node has {most} at most"),
                "spread them over several nodes",
            );
        }
    }
}
