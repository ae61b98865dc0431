//! Paths to origins and into tunnels, from configuration and next hops.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use lbxdp_ebpf::abi::{
    self, Address, Encapsulation, EntityKind, HANDED_OVER_MAC, Mode, PATH_INNER_ETHERNET,
    PATH_RESOLVED, Path, PeerKey, Port, Tags, TunnelIndex, VnetId,
};
use lbxdp_ebpf::encap::{self, InnerEthernet, Shape};

use super::{tunnel_name, used_pools};
use crate::config::model::{
    Carries, Config, DsrEncapsulation, Forwarding, Origin, OuterHeader, Pool, Tunnel, TunnelKind,
};
use crate::slots::Slots;

/// A destination whose next hop the data path needs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct HopKey {
    /// The address.
    pub destination: IpAddr,
    /// The device to leave by; `None` leaves it to the node's routes.
    pub device: Option<String>,
}

impl HopKey {
    /// The key of a device itself, whoever is behind it.
    #[must_use]
    pub fn of_device(name: &str) -> Self {
        Self {
            destination: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            device: Some(name.to_owned()),
        }
    }

    /// The device, if the key is that of a device itself.
    #[must_use]
    pub fn as_device(&self) -> Option<&str> {
        self.device
            .as_deref()
            .filter(|_| self.destination.is_unspecified())
    }
}

/// The first link of the way to a destination.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hop {
    /// Interface to leave by.
    pub ifindex: u32,
    /// VLAN tags on the way out.
    pub tags: Tags,
    /// MAC address of that interface; zero of a device without Ethernet headers.
    pub source_mac: [u8; 6],
    /// MAC address of the next hop; zero of a device itself.
    pub destination_mac: [u8; 6],
    /// Largest IP packet that the link carries.
    pub mtu: u16,
}

/// Next hops that are known, or why they are not.
pub type Hops = BTreeMap<HopKey, Result<Hop, String>>;

/// All next hops that a configuration needs.
#[must_use]
pub fn hop_keys(config: &Config) -> BTreeSet<HopKey> {
    let mut keys = BTreeSet::new();
    for tunnel in config.vnets.values().flat_map(|vnet| vnet.tunnels.values()) {
        keys.insert(underlay_key(tunnel));
        keys.extend(inner_key(tunnel));
        if tunnel.kind.is_device() {
            keys.extend(uplink_keys(config));
        }
    }
    for (_, pool) in used_pools(config) {
        for origin in pool.origins.values().filter(|origin| origin.enabled) {
            if origin.virtual_network.is_none() {
                keys.insert(HopKey {
                    destination: origin.address,
                    device: None,
                });
            }
        }
    }
    keys
}

/// The interfaces of which one is asked for routes in the place of devices.
fn uplink_keys(config: &Config) -> impl Iterator<Item = HopKey> {
    let interfaces = config.node.interfaces.iter();
    interfaces.map(|interface| HopKey::of_device(interface))
}

/// The interface in whose name routes are asked for answers that come in by a device: the first
/// that is there; 0 if none is, or none is needed.
pub(super) fn uplink(config: &Config, hops: &Hops) -> u32 {
    uplink_keys(config)
        .find_map(|key| hops.get(&key)?.as_ref().ok())
        .map_or(0, |hop| hop.ifindex)
}

/// How a packet from the far end of a tunnel looks; `None` while its device is not there.
pub(super) fn peer_key(tunnel: &Tunnel, hops: &Hops) -> Option<PeerKey> {
    let (vni, port) = match tunnel.kind {
        TunnelKind::Vxlan { vni, port } | TunnelKind::Geneve { vni, port, .. } => (vni, port),
        TunnelKind::Gre { key, .. } => (key.unwrap_or(0), 0),
        TunnelKind::IpIp => (0, 0),
        TunnelKind::Fou { port } | TunnelKind::Gue { port } => (0, port),
        TunnelKind::Wireguard | TunnelKind::Ipsec { .. } | TunnelKind::Device => {
            let hop = hops.get(&underlay_key(tunnel))?.as_ref().ok()?;
            return Some(PeerKey::of_device(hop.ifindex));
        }
    };
    Some(PeerKey {
        remote: Address::from(tunnel.remote),
        local: Address::from(tunnel.local),
        vni,
        port: Port::new(port),
        encapsulation: encapsulation(tunnel.kind) as u8,
        reserved: 0,
    })
}

/// The next hop towards the far end of a tunnel, or the device that is the tunnel.
pub(super) fn underlay_key(tunnel: &Tunnel) -> HopKey {
    if tunnel.kind.is_device() {
        return HopKey::of_device(&tunnel.device);
    }
    HopKey {
        destination: tunnel.remote,
        device: None,
    }
}

/// The next hop *inside* a tunnel that carries Ethernet: the far end's own device.
pub(super) fn inner_key(tunnel: &Tunnel) -> Option<HopKey> {
    match tunnel.kind {
        TunnelKind::Vxlan { .. }
        | TunnelKind::Geneve {
            carries: Carries::Ethernet,
            ..
        } => Some(HopKey {
            destination: *tunnel.peers.first()?,
            device: Some(tunnel.device.clone()),
        }),
        TunnelKind::Geneve {
            carries: Carries::Ip,
            ..
        }
        | TunnelKind::Gre { .. }
        | TunnelKind::IpIp
        | TunnelKind::Fou { .. }
        | TunnelKind::Gue { .. }
        | TunnelKind::Wireguard
        | TunnelKind::Ipsec { .. }
        | TunnelKind::Device => None,
    }
}

/// The path to an origin: through its tunnel, encapsulated to itself, or plain.
pub(super) fn to_origin(
    config: &Config,
    slots: &Slots,
    hops: &Hops,
    pool: &Pool,
    origin: &Origin,
) -> Path {
    if let Some(vnet) = &origin.virtual_network {
        let tunnel = config
            .vnets
            .get(vnet)
            .and_then(|network| network.tunnel_to(origin.address));
        return match tunnel {
            Some((name, tunnel)) => into_tunnel(slots, hops, vnet, name, tunnel),
            None => Path::UNRESOLVED,
        };
    }
    let key = HopKey {
        destination: origin.address,
        device: None,
    };
    let Some(Ok(hop)) = hops.get(&key) else {
        return Path::UNRESOLVED;
    };
    let shape = match pool.forwarding {
        Forwarding::NatPreserve | Forwarding::NatSnat | Forwarding::Dsr(DsrEncapsulation::L2) => {
            return leave_by(Path::UNRESOLVED, hop, hop.mtu);
        }
        Forwarding::Dsr(DsrEncapsulation::IpIp) => Shape::IpIp,
        Forwarding::Dsr(DsrEncapsulation::Gre { key, checksum }) => Shape::Gre { key, checksum },
        Forwarding::Dsr(DsrEncapsulation::Fou { port }) => Shape::Fou { port },
        Forwarding::Dsr(DsrEncapsulation::Gue { port }) => Shape::Gue { port },
        Forwarding::Dsr(DsrEncapsulation::Vxlan { vni, port }) => Shape::Vxlan {
            vni,
            port,
            inner: inner_ethernet(origin.inner_mac, hop),
        },
        Forwarding::Dsr(DsrEncapsulation::Geneve { vni, port, carries }) => Shape::Geneve {
            vni,
            port,
            inner: match carries {
                Carries::Ethernet => Some(inner_ethernet(origin.inner_mac, hop)),
                Carries::Ip => None,
            },
        },
    };
    let Some(source) = config.node.address_like(origin.address) else {
        return Path::UNRESOLVED;
    };
    let headers = with_outer(
        encap::Tunnel::new(source, origin.address, shape),
        pool.outer,
    );
    let overhead = u16::try_from(headers.header_len()).unwrap_or(u16::MAX);
    // The validation has excluded what cannot be prepared.
    encap::prepare(&headers).map_or(Path::UNRESOLVED, |path| {
        leave_by(path, hop, hop.mtu.saturating_sub(overhead))
    })
}

/// The path to an origin that is no longer configured, but in force: through the tunnel that leads
/// there now, else the same as before with the next hop that is known now. `None` if its VNet or
/// tunnel is gone.
pub(super) fn to_leaving(
    config: &Config,
    slots: &Slots,
    hops: &Hops,
    origin: &abi::Origin,
) -> Option<Path> {
    if origin.vnet != VnetId::LOCAL {
        let mut vnets = config.vnets.iter();
        let (name, vnet) = vnets.find(|(_, vnet)| vnet.id == origin.vnet)?;
        let (tunnel_name, tunnel) = vnet.tunnel_to(origin.address.to_ip())?;
        return Some(into_tunnel(slots, hops, name, tunnel_name, tunnel));
    }
    let key = HopKey {
        destination: origin.address.to_ip(),
        device: None,
    };
    // What was never resolved may lack its prepared headers.
    let before = origin.path;
    Some(match hops.get(&key) {
        Some(Ok(hop)) if before.has(PATH_RESOLVED) => leave_by(before, hop, before.mtu),
        Some(_) | None => before,
    })
}

/// What the table of tunnels says of one: the path to its far end, and how what comes out of it
/// begins.
///
/// The kernel takes ESP off a packet but leaves the Ethernet header that it came with in front,
/// although the device has none: packets are sent into it without, and come out of it with one.
pub(super) fn of_tunnel(
    slots: &Slots,
    hops: &Hops,
    vnet: &str,
    name: &str,
    tunnel: &Tunnel,
) -> Path {
    let mut path = into_tunnel(slots, hops, vnet, name, tunnel);
    if matches!(tunnel.kind, TunnelKind::Ipsec { .. }) && path.has(PATH_RESOLVED) {
        path.flags |= PATH_INNER_ETHERNET;
    }
    path
}

/// The path to the far end of a tunnel.
fn into_tunnel(slots: &Slots, hops: &Hops, vnet: &str, name: &str, tunnel: &Tunnel) -> Path {
    let Some(Ok(hop)) = hops.get(&underlay_key(tunnel)) else {
        return Path::UNRESOLVED;
    };
    let index = slots
        .get(EntityKind::Tunnel, &tunnel_name(vnet, name))
        .and_then(|slot| TunnelIndex::try_from(slot).ok())
        .unwrap_or(Path::NO_TUNNEL);
    let inner = match inner_key(tunnel) {
        None => None,
        Some(key) => match hops.get(&key) {
            Some(Ok(inner)) => Some(InnerEthernet {
                destination: inner.destination_mac,
                source: inner.source_mac,
            }),
            Some(Err(_)) | None => return Path::UNRESOLVED,
        },
    };
    let shape = match (tunnel.kind, inner) {
        (TunnelKind::Vxlan { vni, port }, Some(inner)) => Shape::Vxlan { vni, port, inner },
        // Which next hops inside are wanted has been said by `inner_key`.
        (TunnelKind::Geneve { vni, port, .. }, inner) => Shape::Geneve { vni, port, inner },
        (TunnelKind::Vxlan { .. }, None) => return Path::UNRESOLVED,
        (TunnelKind::Gre { key, checksum }, _) => Shape::Gre { key, checksum },
        (TunnelKind::IpIp, _) => Shape::IpIp,
        (TunnelKind::Fou { port }, _) => Shape::Fou { port },
        (TunnelKind::Gue { port }, _) => Shape::Gue { port },
        (TunnelKind::Wireguard | TunnelKind::Ipsec { .. } | TunnelKind::Device, _) => {
            return into_device(index, hop, tunnel.mtu);
        }
    };
    let headers = with_outer(
        encap::Tunnel::new(tunnel.local, tunnel.remote, shape),
        tunnel.outer,
    );
    let overhead = u16::try_from(headers.header_len()).unwrap_or(u16::MAX);
    encap::prepare(&headers).map_or(Path::UNRESOLVED, |mut path| {
        path.tunnel = index;
        leave_by(path, hop, tunnel.mtu.min(hop.mtu.saturating_sub(overhead)))
    })
}

/// Headers with what is configured of the outer one.
const fn with_outer(headers: encap::Tunnel, outer: OuterHeader) -> encap::Tunnel {
    let OuterHeader {
        ttl,
        dscp,
        udp_checksum,
    } = outer;
    encap::Tunnel {
        ttl,
        dscp,
        udp_checksum,
        ..headers
    }
}

/// The path into a device of the kernel's.
fn into_device(tunnel: TunnelIndex, device: &Hop, mtu: u16) -> Path {
    let ethernet = if device.source_mac == [0; 6] {
        0
    } else {
        PATH_INNER_ETHERNET
    };
    Path {
        encapsulation: Encapsulation::Device as u8,
        flags: PATH_RESOLVED | ethernet,
        mtu: mtu.min(device.mtu),
        tunnel,
        ifindex: device.ifindex,
        destination_mac: HANDED_OVER_MAC,
        source_mac: HANDED_OVER_MAC,
        ..Path::UNRESOLVED
    }
}

/// Completes a path with its next hop.
fn leave_by(path: Path, hop: &Hop, mtu: u16) -> Path {
    Path {
        flags: path.flags | PATH_RESOLVED,
        mtu,
        ifindex: hop.ifindex,
        vlan: hop.tags.outer,
        inner_vlan: hop.tags.inner,
        destination_mac: hop.destination_mac,
        source_mac: hop.source_mac,
        ..path
    }
}

fn inner_ethernet(origin: Option<[u8; 6]>, hop: &Hop) -> InnerEthernet {
    InnerEthernet {
        destination: origin.unwrap_or_default(),
        source: hop.source_mac,
    }
}

/// The mode of the data path for a pool's forwarding.
pub(super) const fn mode(forwarding: Forwarding) -> Mode {
    match forwarding {
        Forwarding::NatPreserve => Mode::NatPreserve,
        Forwarding::NatSnat => Mode::NatSnat,
        Forwarding::Dsr(DsrEncapsulation::L2) => Mode::DsrL2,
        Forwarding::Dsr(
            DsrEncapsulation::IpIp
            | DsrEncapsulation::Gre { .. }
            | DsrEncapsulation::Fou { .. }
            | DsrEncapsulation::Gue { .. }
            | DsrEncapsulation::Vxlan { .. }
            | DsrEncapsulation::Geneve { .. },
        ) => Mode::Dsr,
    }
}

/// The encapsulation of a tunnel.
pub(super) const fn encapsulation(kind: TunnelKind) -> Encapsulation {
    match kind {
        TunnelKind::Vxlan { .. } => Encapsulation::Vxlan,
        TunnelKind::Geneve { .. } => Encapsulation::Geneve,
        TunnelKind::Gre { .. } => Encapsulation::Gre,
        TunnelKind::IpIp => Encapsulation::IpIp,
        TunnelKind::Fou { .. } => Encapsulation::Fou,
        TunnelKind::Gue { .. } => Encapsulation::Gue,
        TunnelKind::Wireguard | TunnelKind::Ipsec { .. } | TunnelKind::Device => {
            Encapsulation::Device
        }
    }
}

/// Why no packet can be sent to an origin, if its next hop is not resolved.
#[must_use]
pub fn origin_hop_problem(config: &Config, hops: &Hops, origin: &Origin) -> Option<String> {
    match &origin.virtual_network {
        None => problem(
            hops,
            &HopKey {
                destination: origin.address,
                device: None,
            },
        ),
        Some(vnet) => {
            let (_, tunnel) = config.vnets.get(vnet)?.tunnel_to(origin.address)?;
            tunnel_hop_problem(hops, tunnel)
        }
    }
}

/// Why no packet can be sent into a tunnel, if a next hop of it is not resolved.
#[must_use]
pub fn tunnel_hop_problem(hops: &Hops, tunnel: &Tunnel) -> Option<String> {
    problem(hops, &underlay_key(tunnel))
        .or_else(|| inner_key(tunnel).and_then(|key| problem(hops, &key)))
}

fn problem(hops: &Hops, key: &HopKey) -> Option<String> {
    match hops.get(key) {
        Some(Ok(_)) => None,
        Some(Err(problem)) => Some(problem.clone()),
        None => Some("its next hop has not been looked up yet".to_owned()),
    }
}
