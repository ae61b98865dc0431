//! Clients in a VNet, whose packets and answers must not pass through a device of the kernel's.

use crate::config::model::{Config, LoadBalancer, Vnet};
use crate::config::report::Report;

pub(super) fn check(config: &Config, report: &mut Report<'_>) {
    for (name, balancer) in &config.load_balancers {
        let Some(vnet_name) = &balancer.virtual_network else {
            continue;
        };
        let path = format!("load_balancer[{name}].virtual_network");
        if let Some((tunnel, kind)) = config.vnets.get(vnet_name).and_then(device) {
            report.error(
                &path,
                format!(
                    "clients of vnet {vnet_name:?} may come by tunnel {tunnel:?}, whose kind \
                     {kind:?} serves origins alone"
                ),
                "reach the clients by tunnels of other kinds (vxlan, geneve, gre, ipip, gue)",
            );
        }
        if let Some(origin) = origin_behind_device(config, balancer) {
            report.error(
                &path,
                format!(
                    "answers of origin {origin:?} come by a device of the kernel's, and can be sent \
                     to clients of the node's own network alone"
                ),
                "use pools whose origins are behind tunnels of other kinds, or \
                 `virtual_network = \"local\"`",
            );
        }
    }
}

/// The first tunnel that is a device of the kernel's, with its kind.
fn device(vnet: &Vnet) -> Option<(&String, &'static str)> {
    let mut tunnels = vnet.tunnels.iter();
    let (name, tunnel) = tunnels.find(|(_, tunnel)| tunnel.kind.is_device())?;
    Some((name, tunnel.kind.name()))
}

/// The first origin of a load balancer that is behind such a tunnel.
fn origin_behind_device(config: &Config, balancer: &LoadBalancer) -> Option<String> {
    let names = balancer.default_pools.iter().chain(&balancer.fallback_pool);
    for name in names {
        let Some(pool) = config.pools.get(name) else {
            continue;
        };
        for (origin_name, origin) in &pool.origins {
            let vnet = origin.virtual_network.as_ref();
            let vnet = vnet.and_then(|vnet| config.vnets.get(vnet));
            let tunnel = vnet.and_then(|vnet| vnet.tunnel_to(origin.address));
            if tunnel.is_some_and(|(_, tunnel)| tunnel.kind.is_device()) {
                return Some(format!("{name}/{origin_name}"));
            }
        }
    }
    None
}
