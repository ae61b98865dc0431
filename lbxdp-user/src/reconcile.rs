//! From configuration, health and next hops to the content of the maps: pure.

mod entities;
mod leaving;
mod listeners;
mod paths;
mod sizes;
mod tables;

pub use entities::entities;
pub use leaving::{keep, leaving, leaving_hop_key, retire_moved};
pub use paths::{Hop, HopKey, Hops, hop_keys, origin_hop_problem, tunnel_hop_problem};
pub use sizes::map_sizes;
pub use tables::{Assigned, TableName, Tables};

use std::collections::BTreeSet;

use ipnet::IpNet;
use lbxdp_ebpf::abi::{
    self, Address, EntityKind, NODE_ECHO, NODE_KERNEL_FRAGMENTS, NODE_LOCAL_REPLIES,
    NODE_LOCAL_SNAT, NODE_SNAT, Peer, Port, RouteKey, SnatRange, VnetId,
};
use lbxdp_ebpf::hash::expand_key;

use crate::config::model::{Config, Forwarding, LoadBalancer, Origin, Pool};
use crate::dataplane::Desired;
use crate::fnv;
use crate::slots::{OutOfSlots, Slots};
use listeners::listener_service;

/// The name of an origin everywhere: `pool/origin`.
#[must_use]
pub fn origin_name(pool: &str, origin: &str) -> String {
    format!("{pool}/{origin}")
}

/// The name of a tunnel everywhere: `vnet/tunnel`.
#[must_use]
pub fn tunnel_name(vnet: &str, tunnel: &str) -> String {
    format!("{vnet}/{tunnel}")
}

/// The name of a listener everywhere: `load balancer/protocol:address:ports`.
#[must_use]
pub fn listener_name(balancer: &str, listener: &crate::config::model::Listener) -> String {
    format!("{balancer}/{}:{listener}", listener.protocol.name())
}

/// The number of a VNet by name; `None` stands for `local`.
#[must_use]
pub fn vnet_id(config: &Config, vnet: Option<&str>) -> VnetId {
    vnet.and_then(|name| config.vnets.get(name))
        .map_or(VnetId::LOCAL, |vnet| vnet.id)
}

/// Gives everything that the configuration names a slot.
///
/// # Errors
/// When the maps have too few; no slot has changed hands then.
pub fn assign_slots(config: &Config, tables: &Tables, slots: &mut Slots) -> Result<(), OutOfSlots> {
    let mut next = slots.clone();
    let origins = used_pools(config)
        .flat_map(|(name, pool)| {
            pool.origins
                .keys()
                .map(move |origin| origin_name(name, origin))
        })
        .collect();
    next.assign(EntityKind::Origin, &origins)?;
    let tunnels = config
        .vnets
        .iter()
        .flat_map(|(name, vnet)| {
            vnet.tunnels
                .keys()
                .map(move |tunnel| tunnel_name(name, tunnel))
        })
        .collect();
    next.assign(EntityKind::Tunnel, &tunnels)?;
    let listeners = enabled_balancers(config)
        .flat_map(|(name, balancer)| {
            balancer
                .listeners
                .iter()
                .map(move |listener| listener_name(name, listener))
        })
        .collect();
    next.assign(EntityKind::Listener, &listeners)?;
    assign_table_slots(tables, &mut next)?;
    *slots = next;
    Ok(())
}

/// Gives all tables a slot.
///
/// # Errors
/// When there are too few; no slot has changed hands then.
pub fn assign_table_slots(tables: &Tables, slots: &mut Slots) -> Result<(), OutOfSlots> {
    let names: BTreeSet<String> = tables.all().map(|table| table.name.0.clone()).collect();
    slots.assign(EntityKind::Table, &names)
}

/// Pools that some enabled load balancer uses, by name.
pub fn used_pools(config: &Config) -> impl Iterator<Item = (&str, &Pool)> {
    let used: BTreeSet<&str> = enabled_balancers(config)
        .flat_map(|(_, balancer)| pools_of(balancer))
        .collect();
    config
        .pools
        .iter()
        .filter(move |(name, _)| used.contains(name.as_str()))
        .map(|(name, pool)| (name.as_str(), pool))
}

/// Load balancers that offer something, by name.
pub fn enabled_balancers(config: &Config) -> impl Iterator<Item = (&str, &LoadBalancer)> {
    config
        .load_balancers
        .iter()
        .filter(|(_, balancer)| balancer.enabled)
        .map(|(name, balancer)| (name.as_str(), balancer))
}

/// The pools of a load balancer, fallback last.
pub fn pools_of(balancer: &LoadBalancer) -> impl Iterator<Item = &str> {
    balancer
        .default_pools
        .iter()
        .chain(&balancer.fallback_pool)
        .map(String::as_str)
}

/// Fills in all of the maps but the rows, the entities, and what is leaving.
#[must_use]
pub fn desired(config: &Config, tables: &Tables, slots: &Slots, hops: &Hops) -> Desired {
    let echo = if config.node.answer_echo {
        NODE_ECHO
    } else {
        0
    };
    let fragments = if config.node.kernel_fragments {
        NODE_KERNEL_FRAGMENTS
    } else {
        0
    };
    let mut desired = Desired {
        node: abi::Node {
            hash_key: expand_key(config.node.hash_key.0),
            flags: echo | fragments,
            icmp_interval_ns: interval_ns(config.node.icmp_rate),
            flow_interval_ns: interval_ns(config.node.flow_rate),
            uplink: paths::uplink(config, hops),
            reserved: 0,
        },
        ..Desired::default()
    };
    add_tunnels(config, slots, hops, &mut desired);
    for (name, pool) in used_pools(config) {
        for (origin_key, origin) in pool.origins.iter().filter(|(_, origin)| origin.enabled) {
            let Some(slot) = slots.get(EntityKind::Origin, &origin_name(name, origin_key)) else {
                continue;
            };
            let Ok(slot) = abi::OriginIndex::try_from(slot) else {
                continue;
            };
            desired.node.flags |= match (pool.forwarding, &origin.virtual_network) {
                (Forwarding::NatPreserve, None) => NODE_LOCAL_REPLIES,
                (Forwarding::NatSnat, None) => NODE_LOCAL_SNAT,
                (Forwarding::NatSnat, Some(_)) => NODE_SNAT,
                (Forwarding::NatPreserve, Some(_)) | (Forwarding::Dsr(_), _) => 0,
            };
            let path = paths::to_origin(config, slots, hops, pool, origin);
            desired.origins.insert(
                slot,
                abi::Origin {
                    address: Address::from(origin.address),
                    port: Port::new(origin.port),
                    mode: paths::mode(pool.forwarding) as u8,
                    // Health is not known here.
                    flags: 0,
                    vnet: vnet_id(config, origin.virtual_network.as_deref()),
                    identity: identity(config, origin),
                    snat: match pool.forwarding {
                        Forwarding::NatSnat => snat_range(config, origin),
                        Forwarding::NatPreserve | Forwarding::Dsr(_) => SnatRange::NONE,
                    },
                    path,
                },
            );
        }
    }
    listeners::add(config, tables, slots, &mut desired);
    desired
}

/// The time for each one of so many in a second; 0 for none.
fn interval_ns(rate: u32) -> u64 {
    match rate {
        0 => 0,
        rate => (1_000_000_000 / u64::from(rate)).max(1),
    }
}

/// A number that tells an origin from others that have its slot before or after it: made from where
/// it is, so that it is the same after a restart. A VNet with another number is another place: what
/// comes from it has that number.
fn identity(config: &Config, origin: &Origin) -> u32 {
    let vnet = origin.virtual_network.as_deref();
    let place = format!(
        "{} {} {} {}",
        vnet.unwrap_or_default(),
        vnet_id(config, vnet),
        origin.address,
        origin.port
    );
    fnv::digest_32(place.bytes())
}

fn snat_range(config: &Config, origin: &Origin) -> SnatRange {
    config.snat_range(origin).map_or(SnatRange::NONE, |range| {
        let free = u32::from(range.max_prefix_len() - range.prefix_len());
        SnatRange {
            address: Address::from(range.network()),
            // More than 32 bits are not needed.
            mask: u32::MAX.checked_shl(free).map_or(u32::MAX, |fixed| !fixed),
        }
    })
}

fn add_tunnels(config: &Config, slots: &Slots, hops: &Hops, desired: &mut Desired) {
    for (vnet_key, vnet) in &config.vnets {
        for (tunnel_key, tunnel) in &vnet.tunnels {
            let name = tunnel_name(vnet_key, tunnel_key);
            let Some(slot) = slots
                .get(EntityKind::Tunnel, &name)
                .and_then(|slot| abi::TunnelIndex::try_from(slot).ok())
            else {
                continue;
            };
            desired.tunnels.insert(
                slot,
                paths::of_tunnel(slots, hops, vnet_key, tunnel_key, tunnel),
            );
            let inner = |is_v4: bool| {
                tunnel
                    .addresses
                    .iter()
                    .map(IpNet::addr)
                    .find(|address| address.is_ipv4() == is_v4)
                    .map_or(Address::UNSPECIFIED, Address::from)
            };
            let key = paths::peer_key(tunnel, hops);
            if let Some(key) = key.filter(|key| key.port.get() != 0) {
                desired.tunnel_ports.insert(key.port.get());
            }
            desired.peers.extend(key.map(|key| {
                let peer = Peer {
                    vnet: vnet.id,
                    tunnel: slot,
                    reserved: [0; 2],
                    inner_v4: inner(true),
                    inner_v6: inner(false),
                };
                (key, peer)
            }));
            for route in &tunnel.routes {
                let bits =
                    u32::from(route.prefix_len()) + if route.addr().is_ipv4() { 96 } else { 0 };
                desired.routes.insert(
                    (
                        RouteKey::new(vnet.id, Address::from(route.network())),
                        RouteKey::VNET_BITS + bits,
                    ),
                    u32::from(slot),
                );
            }
        }
    }
}
