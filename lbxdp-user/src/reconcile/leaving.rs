//! What flows from before need of origins that take no new ones.
//!
//! An origin that is removed or disabled, or whose pool is no longer used, or that is configured with
//! another address, leaves: its value in map
//! `ORIGINS`, its name and its ways back stay as they are in force, for as long as the caller holds
//! them. Only its next hop is kept up to date. It is taken from the maps, not from a configuration,
//! so that an agent that starts meanwhile finds it as well.

use std::collections::{BTreeMap, BTreeSet};

use lbxdp_ebpf::abi::{
    EntityKey, EntityKind, LISTENER_PORTLESS, LISTENER_SNAT, Mode, NODE_LOCAL_REPLIES,
    NODE_LOCAL_SNAT, NODE_RANGES, NODE_SNAT, Origin, OriginIndex, Service, Side, VnetId,
};
use lbxdp_ebpf::fragment;

use super::{HopKey, Hops, identity, paths, used_pools};
use crate::config::model::Config;
use crate::dataplane::{Content, Desired};
use crate::slots::{FORMER, Slots};

/// The origins in force that are not `desired` any more, and can still be reached: those that have
/// a slot, and a tunnel if they are in a VNet.
#[must_use]
pub fn leaving(
    config: &Config,
    slots: &Slots,
    hops: &Hops,
    actual: &Content,
    desired: &Desired,
) -> BTreeMap<OriginIndex, Origin> {
    let owners: BTreeMap<u32, &str> = (slots.of(EntityKind::Origin))
        .chain(slots.leaving(EntityKind::Origin))
        .map(|(name, slot)| (slot, name))
        .collect();
    let is_still_its_own = |slot: OriginIndex| {
        let key = EntityKey {
            kind: EntityKind::Origin as u32,
            index: slot.into(),
        };
        let in_force = actual
            .entities
            .get(&key)
            .map(|entity| known_as(entity.name()));
        in_force.is_some() && in_force == owners.get(&slot.into()).map(|name| known_as(name))
    };
    actual
        .origins
        .iter()
        .filter(|(slot, _)| !desired.origins.contains_key(slot) && is_still_its_own(**slot))
        .filter_map(|(slot, origin)| {
            let path = paths::to_leaving(config, slots, hops, origin)?;
            Some((*slot, Origin { path, ..*origin }))
        })
        .collect()
}

/// Lets origins leave that are in force at another address or port, or in another network, than is
/// configured now: what has their names is another server.
pub fn retire_moved(config: &Config, slots: &mut Slots, actual: &Content) {
    for (pool_name, pool) in used_pools(config) {
        for (origin_name, origin) in &pool.origins {
            let name = super::origin_name(pool_name, origin_name);
            let in_force = slots
                .held(EntityKind::Origin, &name)
                .and_then(|slot| OriginIndex::try_from(slot).ok())
                .and_then(|slot| actual.origins.get(&slot));
            if in_force.is_some_and(|in_force| in_force.identity != identity(config, origin)) {
                slots.retire(EntityKind::Origin, &name);
            }
        }
    }
}

/// The name without what tells a former owner of it from the present one.
fn known_as(name: &str) -> &str {
    name.split(FORMER).next().unwrap_or_default()
}

/// The next hop that the path to a leaving origin needs, if it is not behind a tunnel.
#[must_use]
pub fn leaving_hop_key(origin: &Origin) -> Option<HopKey> {
    (origin.vnet == VnetId::LOCAL).then(|| HopKey {
        destination: origin.address.to_ip(),
        device: None,
    })
}

/// Adds leaving origins, and the ways back from all that flows from before may be with: `before`.
pub fn keep(
    leaving: &BTreeMap<OriginIndex, Origin>,
    before: &BTreeSet<OriginIndex>,
    actual: &Content,
    desired: &mut Desired,
) {
    desired.origins.extend(leaving);
    for origin in leaving.values() {
        let is_local = origin.vnet == VnetId::LOCAL;
        desired.node.flags |= match (origin.mode(), is_local) {
            (Some(Mode::NatPreserve), true) => NODE_LOCAL_REPLIES,
            (Some(Mode::NatSnat), true) => NODE_LOCAL_SNAT,
            (Some(Mode::NatSnat), false) => NODE_SNAT,
            (Some(Mode::NatPreserve), false) | (Some(Mode::Dsr | Mode::DsrL2) | None, _) => 0,
        };
    }
    keep_ways_back(leaving, before, actual, desired);
    let hides_clients = |slot: &OriginIndex| {
        let origin = desired.origins.get(slot);
        origin.is_some_and(|origin| origin.mode() == Some(Mode::NatSnat))
    };
    if leaving.keys().chain(before).any(hides_clients) {
        keep_translating(actual, desired);
    }
}

/// The ways back stay as they are, unless somebody else has come to have the same address, or the
/// listener is gone.
fn keep_ways_back(
    leaving: &BTreeMap<OriginIndex, Origin>,
    before: &BTreeSet<OriginIndex>,
    actual: &Content,
    desired: &mut Desired,
) {
    let listeners: BTreeSet<_> = (desired.listeners.iter())
        .map(|(service, listener)| (service.address, service.vnet, listener.counter))
        .collect();
    for (from, back) in &actual.reverse {
        let is_kept = leaving.contains_key(&back.origin)
            || (before.contains(&back.origin) && desired.origins.contains_key(&back.origin));
        let is_offered = listeners.contains(&(back.address, back.vnet, back.counter));
        if !is_kept || !is_offered || desired.reverse.contains_key(from) {
            continue;
        }
        desired.reverse.insert(*from, *back);
        if from.range == 0 {
            continue;
        }
        desired.node.flags |= NODE_RANGES;
        for (range, port) in &actual.ranges {
            let key = &range.0;
            let leads_there = key.side == Side::Origin as u8
                && (key.address, key.protocol, key.vnet)
                    == (from.address, from.protocol, from.vnet)
                && *port == u32::from(from.port.get());
            if leads_there {
                desired.ranges.entry(*range).or_insert(*port);
            }
        }
    }
}

/// Listeners that look for translated flows go on doing so.
fn keep_translating(actual: &Content, desired: &mut Desired) {
    let translating: Vec<Service> = (desired.listeners.iter())
        .filter(|(service, listener)| {
            let in_force = actual.listeners.get(service);
            !listener.has(LISTENER_SNAT)
                && in_force.is_some_and(|listener| listener.has(LISTENER_SNAT))
        })
        .map(|(service, _)| *service)
        .collect();
    for service in translating {
        // Translated flows are ones of ports.
        let portless = fragment::portless(service.address, service.protocol, service.vnet);
        desired.listeners.remove(&portless);
        let place = (service.address, service.protocol, service.vnet);
        for (other, listener) in &mut desired.listeners {
            if (other.address, other.protocol, other.vnet) == place {
                listener.flags &= !LISTENER_PORTLESS;
            }
        }
        if let Some(listener) = desired.listeners.get_mut(&service) {
            listener.flags |= LISTENER_SNAT;
        }
    }
}
