//! Listeners against each other, against their pools, and the way back from origins.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::address::{alike, family};
use super::name::vnet_name;
use super::reach::own_address;
use crate::config::model::{
    Config, Forwarding, Listener, LoadBalancer, Origin, Pool, Ports, Protocol,
};
use crate::config::report::Report;

pub(super) fn check(config: &Config, report: &mut Report<'_>) {
    let offers = offers(config);
    check_vips(config, &offers, report);
    check_twice(&offers, report);
    check_pools(config, report);
    check_way_back(config, &offers, report);
    check_chains(config, &offers, report);
}

/// A listener with the load balancer that it is of.
struct Offer<'c> {
    name: &'c str,
    index: usize,
    balancer: &'c LoadBalancer,
    listener: Listener,
}

impl Offer<'_> {
    fn path(&self) -> String {
        format!("load_balancer[{}].listeners[{}]", self.name, self.index)
    }

    fn title(&self) -> String {
        let listener = self.listener;
        format!("{:?} ({} {listener})", self.name, listener.protocol.name())
    }

    /// The client's side, which replies must be given back.
    fn service(&self) -> Side<'_> {
        Side {
            vnet: self.balancer.virtual_network.as_ref(),
            address: self.listener.address,
            protocol: self.listener.protocol,
        }
    }
}

/// Where listeners are, or origins under NAT, ports aside.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Side<'c> {
    vnet: Option<&'c String>,
    address: IpAddr,
    protocol: Protocol,
}

/// All listeners that take traffic.
fn offers(config: &Config) -> Vec<Offer<'_>> {
    config
        .load_balancers
        .iter()
        .filter(|(_, balancer)| balancer.enabled)
        .flat_map(|(name, balancer)| {
            balancer
                .listeners
                .iter()
                .enumerate()
                .map(move |(index, &listener)| Offer {
                    name,
                    index,
                    balancer,
                    listener,
                })
        })
        .collect()
}

/// The pools of a load balancer that exist and say how they forward, each once.
fn pools<'c>(
    config: &'c Config,
    balancer: &'c LoadBalancer,
    report: &Report<'_>,
) -> BTreeMap<&'c str, &'c Pool> {
    balancer
        .default_pools
        .iter()
        .chain(&balancer.fallback_pool)
        .filter(|name| {
            !report.faulty(&format!("pool[{name}].forwarding"))
                && !report.faulty(&format!("pool[{name}].encapsulation"))
        })
        .filter_map(|name| Some((name.as_str(), config.pools.get(name)?)))
        .collect()
}

fn check_vips(config: &Config, offers: &[Offer<'_>], report: &mut Report<'_>) {
    for offer in offers {
        let vnet = offer.balancer.virtual_network.as_ref();
        let address = offer.listener.address;
        let far_end = || {
            config.vnets.iter().find_map(|(name, v)| {
                let (tunnel, _) = v.tunnels.iter().find(|(_, tunnel)| match vnet {
                    None => tunnel.remote == address,
                    Some(vnet) => vnet == name && tunnel.peers.contains(&address),
                })?;
                Some(format!("the far end of tunnel \"{name}/{tunnel}\""))
            })
        };
        let translated = || {
            let (owner, ranges) = match vnet {
                None => ("node".to_owned(), &config.node.snat),
                Some(vnet) => (format!("vnet[{vnet}]"), &config.vnets.get(vnet)?.snat),
            };
            let range = ranges.iter().find(|range| range.contains(&address))?;
            Some(format!(
                "in {range} (`{owner}.snat`), from which clients' addresses are taken"
            ))
        };
        let what = own_address(config, vnet, address)
            .or_else(far_end)
            .or_else(translated);
        if let Some(what) = what {
            report.error(
                format!("{}.address", offer.path()),
                format!("{address} is {what}"),
                "a VIP is an address of its own, which clients are routed to this node for",
            );
        }
    }
}

fn check_twice(offers: &[Offer<'_>], report: &mut Report<'_>) {
    let mut seen: BTreeMap<Side<'_>, Vec<&Offer<'_>>> = BTreeMap::new();
    for offer in offers {
        let others = seen.entry(offer.service()).or_default();
        let ports = offer.listener.ports;
        let other = others
            .iter()
            .find(|other| other.listener.ports.contradicts(ports));
        if let Some(other) = other {
            let vnet = vnet_name(offer.balancer.virtual_network.as_ref());
            let (problem, hint) = if other.listener.ports == ports {
                (
                    "offer the same",
                    "give one of them another address, port or protocol, or disable it",
                )
            } else {
                (
                    "have ranges of ports that overlap",
                    "let the ranges not overlap; only a single port or a range may lie within a larger one: the single port within the range, the range within \"any\"",
                )
            };
            report.error(
                offer.path(),
                format!(
                    "load balancers {} and {} {problem} in vnet {vnet:?}",
                    other.title(),
                    offer.title()
                ),
                hint,
            );
        } else {
            others.push(offer);
        }
    }
}

/// Pools against the listeners that lead to them.
fn check_pools(config: &Config, report: &mut Report<'_>) {
    for (name, balancer) in config
        .load_balancers
        .iter()
        .filter(|(_, balancer)| balancer.enabled)
    {
        for (pool_name, pool) in pools(config, balancer, report) {
            match pool.forwarding {
                Forwarding::NatPreserve | Forwarding::NatSnat => {
                    check_families(name, balancer, pool_name, pool, report);
                }
                Forwarding::Dsr(_) => check_dsr(name, balancer, pool_name, pool, report),
            }
        }
    }
}

/// NAT rewrites an address; it does not translate between IP versions.
fn check_families(
    name: &str,
    balancer: &LoadBalancer,
    pool_name: &str,
    pool: &Pool,
    report: &mut Report<'_>,
) {
    let mixed = balancer.listeners.iter().find_map(|listener| {
        let other = |origin: &&Origin| !alike(origin.address, listener.address);
        let (origin, other) = pool.origins.iter().find(|(_, origin)| other(origin))?;
        Some((listener.address, origin, other.address))
    });
    if let Some((vip, origin, address)) = mixed {
        report.error(
            format!("pool[{pool_name}].origin[{origin}].address"),
            format!(
                "load balancer {name:?} listens at {vip} ({}), but this origin is {address} ({}): nat does not translate between IP versions",
                family(vip),
                family(address)
            ),
            "make a pool and a load balancer for each IP version",
        );
    }
}

fn check_dsr(
    name: &str,
    balancer: &LoadBalancer,
    pool_name: &str,
    pool: &Pool,
    report: &mut Report<'_>,
) {
    if let Some(vnet) = &balancer.virtual_network {
        report.error(
            format!("load_balancer[{name}].virtual_network"),
            format!("pool {pool_name:?} has forwarding = \"dsr\": its origins answer clients directly, but have no way to clients in vnet {vnet:?}"),
            "use a pool with forwarding = \"nat\"",
        );
    }
    for (origin, written) in &pool.origins {
        let other = balancer
            .listeners
            .iter()
            .find(|listener| listener.ports != Ports::One(written.port));
        if let (Some(listener), true) = (other, written.port != 0) {
            report.error(
                format!("pool[{pool_name}].origin[{origin}].port"),
                format!(
                    "load balancer {name:?} listens at port {}, and forwarding = \"dsr\" cannot rewrite it to {}: the client's packet is not changed",
                    listener.ports, written.port
                ),
                "leave `port` out, or use forwarding = \"nat\"",
            );
        }
    }
}

/// A way back: from where, and to which listener.
struct Way<'c> {
    /// Ports that the replies come from.
    ports: Ports,
    offer: &'c Offer<'c>,
    /// Whether replies keep their port.
    keeps_port: bool,
    pool: &'c str,
    origin: &'c str,
}

impl Way<'_> {
    /// Whether some reply could be of either, and would be changed differently.
    fn contradicts(&self, other: &Self) -> bool {
        let same = self.offer.service() == other.offer.service()
            && (self.offer.listener.ports == other.offer.listener.ports
                || self.keeps_port && other.keeps_port);
        !same && self.ports.overlaps(other.ports)
    }
}

/// A reply shows its origin alone, so the origin must tell which listener the client had asked.
fn check_way_back(config: &Config, offers: &[Offer<'_>], report: &mut Report<'_>) {
    let mut ways: BTreeMap<Side<'_>, Vec<Way<'_>>> = BTreeMap::new();
    for offer in offers {
        for (pool_name, pool) in pools(config, offer.balancer, report) {
            if pool.forwarding != Forwarding::NatPreserve || !pool.enabled {
                continue;
            }
            for (origin_name, origin) in pool.origins.iter().filter(|(_, origin)| origin.enabled) {
                let listener = offer.listener;
                if origin.port != 0 && listener.ports.is_range() {
                    report.error(
                        format!("pool[{pool_name}].origin[{origin_name}].port"),
                        format!(
                            "load balancer {} listens at several ports: replies from port {} do not show which of them the client had asked",
                            offer.title(),
                            origin.port
                        ),
                        "leave `port` out, so that it is the listener's, or write source = \"snat\"",
                    );
                    continue;
                }
                let way = Way {
                    ports: if origin.port == 0 {
                        listener.ports
                    } else {
                        Ports::One(origin.port)
                    },
                    offer,
                    keeps_port: origin.port == 0 || listener.ports == Ports::One(origin.port),
                    pool: pool_name,
                    origin: origin_name,
                };
                let source = Side {
                    vnet: origin.virtual_network.as_ref(),
                    address: origin.address,
                    protocol: listener.protocol,
                };
                let others = ways.entry(source).or_default();
                let Some(other) = others.iter().find(|other| other.contradicts(&way)) else {
                    others.push(way);
                    continue;
                };
                // The same listener twice has been reported as that.
                if other.offer.service() == offer.service()
                    && other.offer.listener.ports.contradicts(listener.ports)
                {
                    continue;
                }
                report.error(
                    format!("pool[{pool_name}].origin[{origin_name}].address"),
                    format!(
                        "{} {}:{} in vnet {:?} serves both {} (as \"{}/{}\") and {}: its replies do not show which of them the client had asked, so there is no unambiguous way back",
                        listener.protocol.name(),
                        origin.address,
                        way.ports,
                        vnet_name(origin.virtual_network.as_ref()),
                        other.offer.title(),
                        other.pool,
                        other.origin,
                        offer.title()
                    ),
                    "write source = \"snat\", or let the server listen at a port or an address of its own for each listener",
                );
            }
        }
    }
}

/// An origin that is itself a VIP of this node would send packets in a circle.
fn check_chains(config: &Config, offers: &[Offer<'_>], report: &mut Report<'_>) {
    for (pool_name, pool) in &config.pools {
        for (origin_name, origin) in &pool.origins {
            let vip = offers.iter().find(|offer| {
                offer.listener.address == origin.address
                    && offer.balancer.virtual_network == origin.virtual_network
            });
            if let Some(offer) = vip {
                report.error(
                    format!("pool[{pool_name}].origin[{origin_name}].address"),
                    format!(
                        "{} is the VIP of load balancer {}",
                        origin.address,
                        offer.title()
                    ),
                    "write the server's own address; load balancers cannot be chained",
                );
            }
        }
    }
}
