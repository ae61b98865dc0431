//! Whether each origin can be reached, and is not the node itself.

use std::net::IpAddr;

use super::address::family;
use crate::config::model::{Config, DsrEncapsulation, Forwarding, Origin};
use crate::config::report::Report;

pub(super) fn check(config: &Config, report: &mut Report<'_>) {
    for (pool_name, pool) in &config.pools {
        for (name, origin) in &pool.origins {
            let path = format!("pool[{pool_name}].origin[{name}].address");
            if let Some(what) = own_address(config, origin.virtual_network.as_ref(), origin.address)
            {
                report.error(
                    path,
                    format!("{} is {what}: an origin is another host", origin.address),
                    "write the address of the server",
                );
                continue;
            }
            match &origin.virtual_network {
                Some(vnet) => check_tunnel(config, vnet, origin, path, report),
                None => check_dsr_source(config, pool.forwarding, origin, path, report),
            }
        }
    }
}

/// What of the node's own an address is, in a VNet.
pub(super) fn own_address(
    config: &Config,
    vnet: Option<&String>,
    address: IpAddr,
) -> Option<String> {
    match vnet {
        None if config.node.addresses.contains(&address) => {
            Some("an address of the node (`node.addresses`)".to_owned())
        }
        None => config.vnets.iter().find_map(|(vnet, v)| {
            let (name, _) = v
                .tunnels
                .iter()
                .find(|(_, tunnel)| tunnel.local == address)?;
            Some(format!("the `local` address of tunnel \"{vnet}/{name}\""))
        }),
        Some(vnet) => config
            .vnets
            .get(vnet)?
            .tunnels
            .iter()
            .find_map(|(name, tunnel)| {
                tunnel
                    .addresses
                    .iter()
                    .any(|net| net.addr() == address)
                    .then(|| format!("the node's own address in tunnel \"{vnet}/{name}\""))
            }),
    }
}

fn check_tunnel(
    config: &Config,
    name: &str,
    origin: &Origin,
    path: String,
    report: &mut Report<'_>,
) {
    let Some(vnet) = config.vnets.get(name) else {
        return;
    };
    // Tunnels that are faulty, or whose `local` would be a faulty address of the node, are missing
    // from the model.
    let incomplete = report.faulty(&format!("vnet[{name}]")) || report.faulty("node.addresses");
    if incomplete || vnet.tunnel_to(origin.address).is_some() {
        return;
    }
    let routes: Vec<String> = vnet
        .tunnels
        .iter()
        .flat_map(|(tunnel, t)| {
            t.routes
                .iter()
                .map(move |route| format!("{route} by {tunnel}"))
        })
        .collect();
    report.error(
        path,
        format!("no tunnel of vnet {name:?} leads to {}", origin.address),
        format!(
            "add it to `routes` of a tunnel; there is {}",
            if routes.is_empty() {
                "none yet".to_owned()
            } else {
                routes.join(", ")
            }
        ),
    );
}

/// The outer header of DSR needs a source address of the origin's IP version.
fn check_dsr_source(
    config: &Config,
    forwarding: Forwarding,
    origin: &Origin,
    path: String,
    report: &mut Report<'_>,
) {
    let outer = match forwarding {
        Forwarding::NatPreserve | Forwarding::NatSnat | Forwarding::Dsr(DsrEncapsulation::L2) => {
            false
        }
        Forwarding::Dsr(
            DsrEncapsulation::IpIp
            | DsrEncapsulation::Gre { .. }
            | DsrEncapsulation::Fou { .. }
            | DsrEncapsulation::Gue { .. }
            | DsrEncapsulation::Vxlan { .. }
            | DsrEncapsulation::Geneve { .. },
        ) => true,
    };
    if outer
        && config.node.address_like(origin.address).is_none()
        && !report.faulty("node.addresses")
    {
        let version = family(origin.address);
        report.error(
            path,
            format!(
                "the origin is {version}, but the node has no {version} address to encapsulate from"
            ),
            "add one to `node.addresses`",
        );
    }
}
