//! Listeners, their ranges of ports, and the ways back from the origins behind them.

use std::collections::BTreeMap;

use lbxdp_ebpf::abi::{
    self, Address, EntityKind, LISTENER_PORTLESS, LISTENER_QUIC, LISTENER_SNAT,
    LISTENER_SOURCE_HASH, LISTENER_UDP_MOVE, NODE_RANGES, Port, RangeKey, Service, Side,
};
use lbxdp_ebpf::fragment;
use lbxdp_ebpf::wire::{IPPROTO_ICMP, IPPROTO_ICMPV6};

use super::{Tables, enabled_balancers, listener_name, origin_name, pools_of, vnet_id};
use crate::config::model::{Config, Forwarding, Hash, Listener, LoadBalancer, Ports, UdpFlows};
use crate::dataplane::Desired;
use crate::slots::Slots;

/// Fills in listeners, ways back and ranges.
pub(super) fn add(config: &Config, tables: &Tables, slots: &Slots, desired: &mut Desired) {
    for (balancer_name, balancer) in enabled_balancers(config) {
        let Some(table) = tables
            .of(balancer_name)
            .and_then(|table| slots.get(EntityKind::Table, &table.name.0))
        else {
            continue;
        };
        let hides_clients = pools_of(balancer)
            .filter_map(|pool| config.pools.get(pool))
            .any(|pool| pool.forwarding == Forwarding::NatSnat);
        let snat = if hides_clients { LISTENER_SNAT } else { 0 };
        for listener in &balancer.listeners {
            let name = listener_name(balancer_name, listener);
            let Some(counter) = slots.get(EntityKind::Listener, &name) else {
                continue;
            };
            let service = listener_service(config, balancer, listener);
            let value = abi::Listener {
                table,
                counter,
                flags: snat
                    | match listener.hash {
                        Hash::Flow => 0,
                        Hash::Source => LISTENER_SOURCE_HASH,
                    }
                    | match listener.udp_flows {
                        UdpFlows::Stick => 0,
                        UdpFlows::Move => LISTENER_UDP_MOVE,
                        UdpFlows::Quic => LISTENER_QUIC,
                    },
            };
            desired.listeners.insert(service, value);
            add_ranges(service, listener.ports, Side::Listener, desired);
            // What says that the address is a VIP, at which echo requests are answered.
            desired
                .listeners
                .entry(echo_service(service))
                .or_insert(value);
            add_reverse(
                config,
                slots,
                balancer,
                (service, listener.ports),
                counter,
                desired,
            );
        }
    }
    add_portless(desired);
}

/// The key of a listener.
pub(super) fn listener_service(
    config: &Config,
    balancer: &LoadBalancer,
    listener: &Listener,
) -> Service {
    Service {
        address: Address::from(listener.address),
        port: Port::new(listener.ports.first()),
        protocol: listener.protocol.number(),
        range: u8::from(listener.ports.is_range()),
        vnet: vnet_id(config, balancer.virtual_network.as_deref()),
    }
}

/// Where all listeners of an address and protocol choose by the client's address, and from the same
/// rows, later fragments need no ports.
fn add_portless(desired: &mut Desired) {
    let mut by_address: BTreeMap<Service, Vec<Service>> = BTreeMap::new();
    for key in desired.listeners.keys() {
        if !matches!(key.protocol, IPPROTO_ICMP | IPPROTO_ICMPV6) {
            let portless = fragment::portless(key.address, key.protocol, key.vnet);
            by_address.entry(portless).or_default().push(*key);
        }
    }
    for (portless, keys) in by_address {
        let mut found = keys.iter().filter_map(|key| desired.listeners.get(key));
        let Some(first) = found.next().copied() else {
            continue;
        };
        // A translated flow is one of ports.
        let alike = |other: &abi::Listener| {
            other.has(LISTENER_SOURCE_HASH)
                && !other.has(LISTENER_SNAT)
                && other.table == first.table
        };
        if !alike(&first) || !found.all(alike) {
            continue;
        }
        for key in keys {
            if let Some(listener) = desired.listeners.get_mut(&key) {
                listener.flags |= LISTENER_PORTLESS;
            }
        }
        desired.listeners.insert(
            portless,
            abi::Listener {
                flags: first.flags | LISTENER_PORTLESS,
                ..first
            },
        );
    }
}

/// The prefixes by which the entry of a range is found; none for a single port.
fn add_ranges(entry: Service, ports: Ports, side: Side, desired: &mut Desired) {
    if !ports.is_range() {
        return;
    }
    desired.node.flags |= NODE_RANGES;
    for (port, bits) in abi::prefixes(ports.first(), ports.last()) {
        let key = RangeKey {
            port: Port::new(port),
            ..RangeKey::new(&entry, side)
        };
        desired.ranges.insert(
            (key, RangeKey::FIXED_BITS + u32::from(bits)),
            entry.port.get().into(),
        );
    }
}

/// The entry of a listener's address for echo requests.
fn echo_service(listener: Service) -> Service {
    Service {
        port: Port::new(0),
        protocol: if listener.address.is_v4() {
            IPPROTO_ICMP
        } else {
            IPPROTO_ICMPV6
        },
        range: 0,
        ..listener
    }
}

/// The ways back from all NAT origins that a listener may send to.
fn add_reverse(
    config: &Config,
    slots: &Slots,
    balancer: &LoadBalancer,
    (service, ports): (Service, Ports),
    counter: u32,
    desired: &mut Desired,
) {
    for pool_name in pools_of(balancer) {
        let Some(pool) = config
            .pools
            .get(pool_name)
            .filter(|pool| pool.forwarding == Forwarding::NatPreserve)
        else {
            continue;
        };
        for (origin_key, origin) in pool.origins.iter().filter(|(_, origin)| origin.enabled) {
            let Some(slot) = slots
                .get(EntityKind::Origin, &origin_name(pool_name, origin_key))
                .and_then(|slot| abi::OriginIndex::try_from(slot).ok())
            else {
                continue;
            };
            let from = if origin.port == 0 {
                ports
            } else {
                Ports::One(origin.port)
            };
            let key = Service {
                address: Address::from(origin.address),
                port: Port::new(from.first()),
                protocol: service.protocol,
                range: u8::from(from.is_range()),
                vnet: vnet_id(config, origin.virtual_network.as_deref()),
            };
            desired
                .reverse
                .entry(key)
                // An origin that stands in two pools of one listener has one way back; the
                // validation has excluded that it stands under two listeners.
                .or_insert(abi::Reverse {
                    address: service.address,
                    // Of a range, the port that the packet has.
                    port: if from.is_range() {
                        Port::new(0)
                    } else {
                        service.port
                    },
                    origin: slot,
                    vnet: service.vnet,
                    counter,
                });
            add_ranges(key, from, Side::Origin, desired);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lbxdp_ebpf::abi::VnetId;

    use super::*;
    use crate::config;
    use crate::dataplane::Content;
    use crate::reconcile::{Hops, assign_slots, desired};

    const EXAMPLE: &str = include_str!("../../examples/vnets.toml");

    #[test]
    fn a_range_is_found_by_its_prefixes_in_both_directions() {
        let text = EXAMPLE.replace(
            "port = 7, protocol = \"udp\"",
            "ports = \"8000-8099\", protocol = \"udp\", hash = \"source\"",
        );
        let text = text.replace(
            "name = \"echo-green\"",
            "name = \"echo-green\"\nsource = \"preserve\"",
        );
        let config = config::parse(&text, Path::new("/"))
            .expect("a good configuration")
            .config;
        let mut slots = Slots::default();
        let tables = Tables::assign(&config, &Content::default());
        assign_slots(&config, &tables, &mut slots).expect("there is room");
        let desired = desired(&config, &tables, &slots, &Hops::new());
        assert_ne!(desired.node.flags & NODE_RANGES, 0);
        let vip = Service {
            address: Address::from_v4([198, 51, 100, 10]),
            port: Port::new(8000),
            protocol: 17,
            range: 1,
            vnet: VnetId::LOCAL,
        };
        assert!(desired.listeners[&vip].has(LISTENER_SOURCE_HASH));
        let portless = fragment::portless(vip.address, vip.protocol, vip.vnet);
        assert_eq!(desired.listeners[&portless], desired.listeners[&vip]);
        assert!(desired.listeners[&vip].has(LISTENER_PORTLESS));
        let web = fragment::portless(vip.address, 6, vip.vnet);
        assert!(
            !desired.listeners.contains_key(&web),
            "its listener goes by flow"
        );
        let origin = Service {
            address: Address::from_v4([10, 0, 0, 11]),
            vnet: vnet_id(&config, Some("green")),
            ..vip
        };
        let back = desired.reverse[&origin];
        assert_eq!((back.address, back.port), (vip.address, Port::new(0)));
        for (entry, side) in [(vip, Side::Listener), (origin, Side::Origin)] {
            let found: Vec<(u16, u32)> = desired
                .ranges
                .iter()
                .filter(|((key, _), _)| {
                    *key == RangeKey {
                        port: key.port,
                        ..RangeKey::new(&entry, side)
                    }
                })
                .map(|((key, bits), port)| {
                    assert_eq!(*port, 8000);
                    (key.port.get(), bits - RangeKey::FIXED_BITS)
                })
                .collect();
            assert_eq!(found, [(8000, 10), (8064, 11), (8096, 14)]);
        }
        assert_eq!(desired.ranges.len(), 6);
    }
}
