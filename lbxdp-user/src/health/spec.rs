//! What is to be probed.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use crate::config::model::{Config, MonitorKind, Origin, Pool, Protocol, Timing, Tunnel};

/// Whose health a probe tells.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ProbeKey {
    /// An origin of a pool.
    Origin {
        /// The pool's name.
        pool: String,
        /// The origin's name.
        origin: String,
    },
    /// A tunnel of a VNet.
    Tunnel {
        /// The VNet's name.
        vnet: String,
        /// The tunnel's name.
        tunnel: String,
    },
}

impl ProbeKey {
    /// The key of an origin.
    #[must_use]
    pub fn origin(pool: &str, origin: &str) -> Self {
        Self::Origin {
            pool: pool.to_owned(),
            origin: origin.to_owned(),
        }
    }

    /// The key of a tunnel.
    #[must_use]
    pub fn tunnel(vnet: &str, tunnel: &str) -> Self {
        Self::Tunnel {
            vnet: vnet.to_owned(),
            tunnel: tunnel.to_owned(),
        }
    }
}

impl fmt::Display for ProbeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Origin { pool, origin } => write!(f, "{pool}/{origin}"),
            Self::Tunnel { vnet, tunnel } => write!(f, "{vnet}/{tunnel}"),
        }
    }
}

/// One probe. Equal ones are sent once, whoever wants them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ProbeSpec {
    /// Whom to probe.
    pub target: IpAddr,
    /// The port; unused by ICMP.
    pub port: u16,
    /// What is asked, and what must be answered.
    pub check: MonitorKind,
    /// The device that the probe leaves by; `None` asks the node's routes.
    pub device: Option<String>,
    /// The source address; `None` leaves it to the routes.
    pub source: Option<IpAddr>,
    /// Schedule. Thresholds do not matter here.
    pub timing: Timing,
}

/// The probes of a configuration: enabled origins of enabled pools that have a monitor, whatever
/// their weight, and tunnels that have a health check.
///
/// An origin that no tunnel of its VNet leads to is not probed: it stays unknown, which is down.
#[must_use]
pub fn desired_probes(config: &Config) -> BTreeMap<ProbeKey, ProbeSpec> {
    origin_probes(config).chain(tunnel_probes(config)).collect()
}

fn origin_probes(config: &Config) -> impl Iterator<Item = (ProbeKey, ProbeSpec)> {
    let pools = config.pools.iter().filter(|(_, pool)| pool.enabled);
    pools.flat_map(move |(name, pool)| {
        let origins = pool.origins.iter().filter(|(_, origin)| origin.enabled);
        origins.filter_map(move |(origin_name, origin)| {
            let spec = origin_probe(config, name, pool, origin)?;
            Some((ProbeKey::origin(name, origin_name), spec))
        })
    })
}

fn origin_probe(config: &Config, name: &str, pool: &Pool, origin: &Origin) -> Option<ProbeSpec> {
    let monitor = config.monitors.get(pool.monitor.as_ref()?)?;
    let (device, source) = match &origin.virtual_network {
        None => (None, None),
        Some(vnet) => {
            let (_, tunnel) = config.vnets.get(vnet)?.tunnel_to(origin.address)?;
            (
                Some(tunnel.device.clone()),
                own_address(tunnel, origin.address),
            )
        }
    };
    let configured = [monitor.port, origin.port]
        .into_iter()
        .find(|port| *port != 0);
    let port = match &monitor.kind {
        MonitorKind::IcmpPing => 0,
        MonitorKind::Tcp => configured
            .or_else(|| listener_port(config, name))
            .unwrap_or(0),
        MonitorKind::Http(_) => configured
            .or_else(|| listener_port(config, name))
            .unwrap_or(80),
    };
    Some(ProbeSpec {
        target: origin.address,
        port,
        check: monitor.kind.clone(),
        device,
        source,
        timing: monitor.timing,
    })
}

fn tunnel_probes(config: &Config) -> impl Iterator<Item = (ProbeKey, ProbeSpec)> {
    config.vnets.iter().flat_map(|(vnet, network)| {
        network.tunnels.iter().filter_map(move |(name, tunnel)| {
            let check = tunnel.health_check.as_ref()?;
            let spec = ProbeSpec {
                target: check.target,
                port: 0,
                check: MonitorKind::IcmpPing,
                device: Some(tunnel.device.clone()),
                source: own_address(tunnel, check.target),
                timing: check.timing,
            };
            Some((ProbeKey::tunnel(vnet, name), spec))
        })
    })
}

/// The node's own address in the tunnel, of the same IP version as `like`.
fn own_address(tunnel: &Tunnel, like: IpAddr) -> Option<IpAddr> {
    tunnel
        .addresses
        .iter()
        .map(|address| address.addr())
        .find(|address| address.is_ipv4() == like.is_ipv4())
}

/// The port of the first TCP listener that the pool serves: that of an origin which keeps it.
fn listener_port(config: &Config, pool: &str) -> Option<u16> {
    config
        .load_balancers
        .values()
        .filter(|balancer| {
            let fallback = balancer.fallback_pool.iter();
            balancer
                .default_pools
                .iter()
                .chain(fallback)
                .any(|name| name == pool)
        })
        .flat_map(|balancer| &balancer.listeners)
        .filter(|listener| match listener.protocol {
            Protocol::Tcp => true,
            Protocol::Udp => false,
        })
        .map(|listener| listener.ports.first())
        .filter(|port| *port != 0)
        .min()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::config;

    #[test]
    fn probes_take_the_way_of_the_traffic() {
        let probes = desired_probes(&example());
        let [blue, green] =
            [("web-blue", "blue", "a"), ("web-green", "green", "a")].map(|(pool, vnet, name)| {
                (
                    &probes[&ProbeKey::origin(pool, name)],
                    &probes[&ProbeKey::tunnel(vnet, &format!("{vnet}-1"))],
                )
            });
        assert_eq!(blue.0.target, green.0.target);
        for (origin, tunnel) in [blue, green] {
            assert!(origin.device.is_some());
            assert_eq!(origin.device, tunnel.device);
            assert_eq!(origin.source, Some([10, 255, 0, 1].into()));
            assert_eq!(tunnel.target, IpAddr::from([10, 255, 0, 2]));
            assert_eq!(tunnel.check, MonitorKind::IcmpPing);
        }
        assert_ne!(blue.0, green.0);
        assert_eq!(
            (blue.0.port, blue.0.timing.timeout),
            (8080, Duration::from_millis(500))
        );
    }

    #[test]
    fn what_is_disabled_is_not_probed_and_what_is_drained_is() {
        let mut config = example();
        let key = ProbeKey::origin("web-blue", "a");
        let set = |config: &mut Config, enabled, weight| {
            let pool = config.pools.get_mut("web-blue").unwrap();
            let origin = pool.origins.get_mut("a").unwrap();
            (origin.enabled, origin.weight) = (enabled, weight);
        };
        set(&mut config, true, 0.0);
        assert!(desired_probes(&config).contains_key(&key));
        set(&mut config, false, 1.0);
        assert!(!desired_probes(&config).contains_key(&key));
        set(&mut config, true, 1.0);
        config.pools.get_mut("web-blue").unwrap().enabled = false;
        assert!(!desired_probes(&config).contains_key(&key));
    }

    #[test]
    fn an_origin_that_no_tunnel_leads_to_is_not_probed_by_another_way() {
        let mut config = example();
        let tunnels = &mut config.vnets.get_mut("blue").unwrap().tunnels;
        tunnels.get_mut("blue-1").unwrap().routes.clear();
        assert!(!desired_probes(&config).contains_key(&ProbeKey::origin("web-blue", "a")));
    }

    #[test]
    fn the_monitors_port_goes_before_the_origins_and_that_before_the_listeners() {
        for (monitor, origin, expected) in [(1, 2, 1), (0, 2, 2), (0, 0, 80)] {
            let mut config = example();
            config.monitors.get_mut("web").unwrap().port = monitor;
            let pool = config.pools.get_mut("web-blue").unwrap();
            pool.origins.get_mut("a").unwrap().port = origin;
            let probes = desired_probes(&config);
            assert_eq!(probes[&ProbeKey::origin("web-blue", "a")].port, expected);
        }
    }

    fn example() -> Config {
        let text = include_str!("../../examples/vnets.toml");
        config::parse(text, Path::new("vnets.toml")).unwrap().config
    }
}
