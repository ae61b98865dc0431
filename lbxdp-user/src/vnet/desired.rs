#![forbid(unsafe_code)]
//! What the configuration asks of the kernel's network: devices, routes, rules, sysctls.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::device::Device;
use crate::config::model::{Config, Tunnel};

/// Routing protocol number of every route, rule and address that the agent makes
/// (`RTA_PROTOCOL`, `FRA_PROTOCOL`, `IFA_PROTO`).
pub const PROTOCOL: u8 = 108;

/// Priority of the agent's routing rules: after `local`, before `main`.
pub const RULE_PRIORITY: u32 = 10_800;

/// Metric of the routes of a VNet's first tunnel; each further tunnel, by name, has one more.
pub const BASE_METRIC: u32 = 100;

/// Smallest MTU with which the kernel gives a device IPv6 (RFC 8200, 5).
const IPV6_MINIMUM_MTU: u16 = 1280;

/// What the kernel's network is to look like.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Desired {
    /// Tunnel devices by name.
    pub devices: BTreeMap<String, Device>,
    /// Routes, all of them in tables of VNets.
    pub routes: BTreeSet<Route>,
    /// Rules that lead from a device to its VNet's table.
    pub rules: BTreeSet<Rule>,
    /// Kernel settings, in the order in which they must be made.
    pub sysctls: Vec<Sysctl>,
    /// Whether settings of interfaces that are not ours may be changed.
    pub manage_sysctls: bool,
}

/// A route in a VNet's table.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Route {
    /// Number of the table.
    pub table: u32,
    /// Destination; its host bits are zero.
    pub prefix: IpNet,
    /// Metric: the lower one wins among equal prefixes.
    pub metric: u32,
    /// Gateway; `None` when the destination is on the link itself.
    pub via: Option<IpAddr>,
    /// Name of the device.
    pub device: String,
}

/// The rule `oif DEVICE lookup TABLE`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rule {
    /// IP version.
    pub family: Family,
    /// Name of the device.
    pub device: String,
    /// Number of the table.
    pub table: u32,
}

/// An IP version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The version of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// A kernel setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sysctl {
    /// Path below `/proc/sys`.
    pub path: String,
    /// What it is to be.
    pub setting: Setting,
    /// Whose it is.
    pub scope: Scope,
}

/// What a kernel setting is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setting {
    /// This number.
    Is(u32),
    /// Reverse path filtering as weak as the node allows: 0, or 2 (loose) where
    /// `net.ipv4.conf.all.rp_filter` demands some.
    WeakestReversePath,
    /// 1 becomes 2: router advertisements go on being accepted although the interface forwards.
    KeepAdvertisements,
}

/// Whose setting it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// A device of ours: set without asking.
    Device,
    /// A device that somebody else has made: never set, but spoken of.
    Foreign,
    /// An interface that the program is attached to: set when `node.manage_sysctls` allows.
    Interface,
}

impl Desired {
    /// What a configuration asks for.
    #[must_use]
    pub fn from_config(config: &Config) -> Self {
        let mut desired = Self {
            manage_sysctls: config.node.manage_sysctls,
            ..Self::default()
        };
        for (vnet_name, vnet) in &config.vnets {
            for (metric, (tunnel_name, tunnel)) in (BASE_METRIC..).zip(&vnet.tunnels) {
                let device = Device::of(vnet_name, vnet.id, tunnel_name, tunnel);
                desired.add_routes(&device, tunnel, metric);
                desired.add_rules(&device);
                desired.add_device_sysctls(&device);
                desired.devices.insert(device.name.clone(), device);
            }
        }
        desired.add_interface_sysctls(config);
        desired
    }

    /// The tables of all VNets that have a tunnel.
    #[must_use]
    pub fn tables(&self) -> BTreeSet<u32> {
        self.devices.values().map(|device| device.vnet.0).collect()
    }

    fn add_routes(&mut self, device: &Device, tunnel: &Tunnel, metric: u32) {
        // By prefix, so that a route that repeats the link's own prefix does not contradict it.
        let mut routes: BTreeMap<IpNet, Option<IpAddr>> = device
            .addresses
            .iter()
            .map(|address| (address.trunc(), None))
            .collect();
        for &peer in &tunnel.peers {
            if !routes.keys().any(|prefix| prefix.contains(&peer)) {
                routes.insert(IpNet::from(peer), None);
            }
        }
        for route in &tunnel.routes {
            let gateway = tunnel
                .peers
                .iter()
                .copied()
                .find(|peer| Family::of(*peer) == Family::of(route.addr()))
                .filter(|_| device.has_gateway());
            routes.entry(route.trunc()).or_insert(gateway);
        }
        self.routes
            .extend(routes.into_iter().map(|(prefix, via)| Route {
                table: device.vnet.0,
                prefix,
                metric,
                via,
                device: device.name.clone(),
            }));
    }

    fn add_rules(&mut self, device: &Device) {
        let carried = [
            (Family::V4, device.families.v4),
            (Family::V6, device.families.v6),
        ];
        for (family, _) in carried.into_iter().filter(|(_, carried)| *carried) {
            self.rules.insert(Rule {
                family,
                device: device.name.clone(),
                table: device.vnet.0,
            });
        }
    }

    fn add_device_sysctls(&mut self, device: &Device) {
        if device.is_foreign() {
            if device.families.v4 {
                self.sysctls.push(Sysctl {
                    path: format!("net/ipv4/conf/{}/rp_filter", device.name),
                    setting: Setting::WeakestReversePath,
                    scope: Scope::Foreign,
                });
            }
            return;
        }
        let mut add = |version: &str, key: &str, setting| {
            self.sysctls.push(Sysctl {
                path: format!("net/{version}/conf/{}/{key}", device.name),
                setting,
                scope: Scope::Device,
            });
        };
        // What comes out of a tunnel is for this node alone. Anybody on the underlay may send to the
        // device: the kernel must not carry it on, to another VNet or to the node's own network.
        add("ipv4", "forwarding", Setting::Is(0));
        if device.families.v4 {
            // Two VNets may use the same addresses: the way back is not what `main` says.
            add("ipv4", "rp_filter", Setting::WeakestReversePath);
            // Another VNet's or the node's own addresses are no concern of this one.
            if device.is_ethernet() {
                add("ipv4", "arp_ignore", Setting::Is(1));
            }
            // A changed address must not take its successor along.
            add("ipv4", "promote_secondaries", Setting::Is(1));
        }
        if device.mtu >= IPV6_MINIMUM_MTU {
            let off = u32::from(!device.families.v6);
            add("ipv6", "disable_ipv6", Setting::Is(off));
            if device.families.v6 {
                add("ipv6", "forwarding", Setting::Is(0));
                add("ipv6", "accept_ra", Setting::Is(0));
            }
        }
    }

    /// Replies are routed by `bpf_fib_lookup`, which asks the interface whether it forwards.
    fn add_interface_sysctls(&mut self, config: &Config) {
        let mut listeners = (config.load_balancers.values()).flat_map(|lb| &lb.listeners);
        let v4 = listeners.clone().any(|listener| listener.address.is_ipv4());
        let v6 = listeners.any(|listener| listener.address.is_ipv6());
        for interface in &config.node.interfaces {
            let mut add = |version: &str, key: &str, setting| {
                self.sysctls.push(Sysctl {
                    path: format!("net/{version}/conf/{interface}/{key}"),
                    setting,
                    scope: Scope::Interface,
                });
            };
            if v4 {
                add("ipv4", "forwarding", Setting::Is(1));
            }
            if v6 {
                // In this order: as forwarding starts, the kernel drops routes that it learned
                // from router advertisements, unless accept_ra is 2 by then.
                add("ipv6", "accept_ra", Setting::KeepAdvertisements);
                add("ipv6", "forwarding", Setting::Is(1));
            }
        }
    }
}

impl Sysctl {
    /// The name as `sysctl` takes it where no part has a dot; else the path.
    #[must_use]
    pub fn name(&self) -> String {
        if self.path.contains('.') {
            self.path.clone()
        } else {
            self.path.replace('/', ".")
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route {}", self.prefix)?;
        if let Some(gateway) = self.via {
            write!(f, " via {gateway}")?;
        }
        write!(
            f,
            " dev {} table {} metric {}",
            self.device, self.table, self.metric
        )
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        };
        write!(f, "{family} rule oif {} lookup {}", self.device, self.table)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::PathBuf;

    use std::time::Duration;

    use lbxdp_ebpf::abi::VnetId;

    use super::*;
    use crate::config::model::{
        HashKey, Node, OuterHeader, SnatTimeouts, TunnelKind, Vnet, XdpMode,
    };

    /// Name, id and tunnels of a VNet.
    type Given<'a> = (&'a str, u32, &'a [(&'a str, Tunnel)]);

    /// A configuration with the VNets given.
    pub(in crate::vnet) fn config(vnets: &[Given<'_>]) -> Config {
        Config {
            node: Node {
                interfaces: vec!["eth0".to_owned()],
                xdp_mode: XdpMode::Auto,
                addresses: vec!["192.0.2.1".parse().unwrap()],
                hash_key: HashKey([0; 16]),
                pin_path: PathBuf::from("/sys/fs/bpf/lbxdp"),
                socket: PathBuf::from("/run/lbxdp.sock"),
                metrics_listen: None,
                manage_sysctls: true,
                answer_echo: true,
                icmp_rate: 1000,
                flow_rate: 100_000,
                kernel_fragments: false,
                snat: Vec::new(),
                snat_timeouts: SnatTimeouts::RECOMMENDED,
                flow_window: Duration::from_secs(300),
                flow_idle: Duration::from_secs(300),
            },
            vnets: vnets
                .iter()
                .map(|(name, id, tunnels)| {
                    let tunnels = tunnels
                        .iter()
                        .map(|(name, tunnel)| ((*name).to_owned(), tunnel.clone()))
                        .collect();
                    let vnet = Vnet {
                        id: VnetId(*id),
                        snat: Vec::new(),
                        tunnels,
                    };
                    ((*name).to_owned(), vnet)
                })
                .collect(),
            monitors: BTreeMap::new(),
            pools: BTreeMap::new(),
            load_balancers: BTreeMap::new(),
        }
    }

    /// A tunnel to 10.255.0.2, with everything in 10.0.0.0/8 behind it.
    pub(in crate::vnet) fn tunnel(device: &str, kind: TunnelKind, remote: &str) -> Tunnel {
        Tunnel {
            device: device.to_owned(),
            kind,
            wireguard: None,
            associations: None,
            local: "192.0.2.1".parse().unwrap(),
            remote: remote.parse().unwrap(),
            addresses: vec!["10.255.0.1/30".parse().unwrap()],
            peers: vec!["10.255.0.2".parse().unwrap()],
            routes: vec!["10.0.0.0/8".parse().unwrap()],
            mtu: 1400,
            outer: OuterHeader::default(),
            health_check: None,
        }
    }

    const VXLAN: TunnelKind = TunnelKind::Vxlan { vni: 1, port: 4789 };

    fn shown(desired: &Desired) -> Vec<String> {
        desired.routes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ethernet_kinds_route_through_the_peer() {
        let tunnel = tunnel("vx", VXLAN, "192.0.2.2");
        let desired = Desired::from_config(&config(&[("blue", 7, &[("one", tunnel)])]));
        assert_eq!(
            shown(&desired),
            [
                "route 10.0.0.0/8 via 10.255.0.2 dev vx table 7 metric 100",
                "route 10.255.0.0/30 dev vx table 7 metric 100",
            ]
        );
        let rules: Vec<String> = desired.rules.iter().map(ToString::to_string).collect();
        assert_eq!(rules, ["IPv4 rule oif vx lookup 7"]);
    }

    #[test]
    fn other_kinds_route_onto_the_link() {
        let tunnel = tunnel(
            "g",
            TunnelKind::Gre {
                key: None,
                checksum: false,
            },
            "192.0.2.2",
        );
        let desired = Desired::from_config(&config(&[("blue", 7, &[("one", tunnel)])]));
        assert!(desired.routes.iter().all(|route| route.via.is_none()));
    }

    #[test]
    fn tunnels_of_one_vnet_have_metrics_of_their_own() {
        let one = tunnel("vx1", VXLAN, "192.0.2.2");
        let two = tunnel("vx2", TunnelKind::Vxlan { vni: 2, port: 4789 }, "192.0.2.3");
        let desired = Desired::from_config(&config(&[("blue", 7, &[("one", one), ("two", two)])]));
        let metrics: BTreeSet<(IpNet, u32)> = desired
            .routes
            .iter()
            .map(|route| (route.prefix, route.metric))
            .collect();
        assert_eq!(metrics.len(), desired.routes.len());
    }

    #[test]
    fn a_peer_outside_the_own_prefix_gets_a_route_of_its_own() {
        let mut tunnel = tunnel("vx", VXLAN, "192.0.2.2");
        tunnel.addresses = vec!["10.255.0.1/32".parse().unwrap()];
        let desired = Desired::from_config(&config(&[("blue", 7, &[("one", tunnel)])]));
        assert!(
            shown(&desired).contains(&"route 10.255.0.2/32 dev vx table 7 metric 100".to_owned())
        );
    }

    #[test]
    fn advertisements_are_kept_before_forwarding_starts() {
        let mut config = config(&[]);
        config.load_balancers.insert(
            "www".to_owned(),
            crate::config::model::LoadBalancer {
                enabled: true,
                virtual_network: None,
                listeners: vec![crate::config::model::Listener {
                    address: "2001:db8::1".parse().unwrap(),
                    ports: crate::config::model::Ports::One(80),
                    protocol: crate::config::model::Protocol::Tcp,
                    hash: crate::config::model::Hash::Flow,
                    udp_flows: crate::config::model::UdpFlows::Stick,
                }],
                default_pools: vec![],
                fallback_pool: None,
                steering: crate::config::model::Steering::Off,
            },
        );
        let sysctls = Desired::from_config(&config).sysctls;
        let names: Vec<String> = sysctls.iter().map(Sysctl::name).collect();
        assert_eq!(
            names,
            [
                "net.ipv6.conf.eth0.accept_ra",
                "net.ipv6.conf.eth0.forwarding"
            ]
        );
    }
}
