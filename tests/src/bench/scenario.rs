//! A node of a given size, as a configuration.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// How much there is of everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scenario {
    /// Origins, in all pools.
    pub origins: usize,
    /// Pools, each with as many of them.
    pub pools: usize,
    /// Listeners, each of a load balancer of its own; several have the same pool.
    pub listeners: usize,
    /// VNets, each with a tunnel.
    pub vnets: usize,
}

impl Scenario {
    /// In the proportions of 10,000 origins in 200 pools, 1,000 listeners and 100 VNets.
    #[must_use]
    pub const fn of(origins: usize) -> Self {
        const fn part(origins: usize, each: usize) -> usize {
            if origins < each { 1 } else { origins / each }
        }
        Self {
            origins,
            pools: part(origins, 50),
            listeners: part(origins, 10),
            vnets: part(origins, 100),
        }
    }

    /// The name of the pool, and that of the origin, by its number.
    #[must_use]
    pub fn origin(&self, number: usize) -> (String, String) {
        (
            format!("pool-{}", number % self.pools),
            format!("origin-{number}"),
        )
    }

    /// The same with one origin more in each pool; the others stay where they are.
    #[must_use]
    pub const fn edited(&self) -> Self {
        Self {
            origins: self.origins + self.pools,
            ..*self
        }
    }

    /// The address that an origin has in its VNet: one of [`Self::ADDRESSES`].
    fn address(number: usize) -> String {
        format!("10.0.{}.{}", number / 250, number % 250 + 1)
    }

    /// What all addresses of origins are in.
    pub const ADDRESSES: &str = "10.0.0.0/16";

    /// The node's address in the tunnel of a VNet, and that of the other end, of a network of 30 bits.
    #[must_use]
    pub const fn tunnel(vnet: usize) -> [Ipv4Addr; 2] {
        let vnet = vnet as u8;
        [
            Ipv4Addr::new(10, 255, vnet, 1),
            Ipv4Addr::new(10, 255, vnet, 2),
        ]
    }

    /// The VNI of the tunnel of a VNet.
    #[must_use]
    pub const fn vni(vnet: usize) -> usize {
        vnet + 1
    }

    /// The configuration for a node that is like this, and whose tunnels end there.
    #[must_use]
    pub fn text(&self, node: &str, tunnels_end: Ipv4Addr) -> String {
        let mut text = format!(
            r#"{node}
[[monitor]]
name = "ping"
type = "icmp_ping"
interval = "60s"
"#
        );
        for vnet in 0..self.vnets {
            let [near, far] = Self::tunnel(vnet);
            let _ = write!(
                text,
                r#"
[[vnet]]
name = "vnet-{vnet}"
[[vnet.tunnel]]
name = "tunnel"
kind = "vxlan"
remote = "{tunnels_end}"
vni = {}
addresses = ["{near}/30"]
peers = ["{far}"]
"#,
                Self::vni(vnet)
            );
        }
        for pool in 0..self.pools {
            let _ = write!(
                text,
                "\n[[pool]]\nname = \"pool-{pool}\"\nmonitor = \"ping\"\n"
            );
            for number in (pool..self.origins).step_by(self.pools) {
                let (_, name) = self.origin(number);
                let _ = write!(
                    text,
                    "[[pool.origin]]\nname = \"{name}\"\naddress = \"{}\"\nport = 80\n\
                     virtual_network = \"vnet-{}\"\n",
                    Self::address(number),
                    pool % self.vnets
                );
            }
        }
        for listener in 0..self.listeners {
            let _ = write!(
                text,
                r#"
[[load_balancer]]
name = "balancer-{listener}"
listeners = [{{ address = "198.51.100.{}", port = {}, protocol = "tcp" }}]
default_pools = ["pool-{}"]
"#,
                listener % 200 + 1,
                1_000 + listener / 200,
                listener % self.pools
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lbxdp::config::model::Config;

    use super::*;

    const NODE: &str = r#"[node]
interfaces = ["lo"]
addresses = ["203.0.113.1"]
hash_key = "2b7e151628aed2a6abf7158809cf4f3c"
"#;

    fn parsed(scenario: &Scenario) -> Config {
        let text = scenario.text(NODE, Ipv4Addr::new(203, 0, 113, 2));
        lbxdp::config::parse(&text, Path::new("bench.toml"))
            .unwrap_or_else(|invalid| panic!("{invalid}"))
            .config
    }

    #[test]
    fn a_scenario_is_a_good_configuration_of_its_size() {
        for origins in [10, 1_000] {
            let scenario = Scenario::of(origins);
            let config = parsed(&scenario);
            assert_eq!(config.pools.len(), scenario.pools);
            assert_eq!(config.load_balancers.len(), scenario.listeners);
            assert_eq!(config.vnets.len(), scenario.vnets);
            let all: usize = config.pools.values().map(|pool| pool.origins.len()).sum();
            assert_eq!(all, origins);
            let (pool, origin) = scenario.origin(origins - 1);
            assert!(config.pools[&pool].origins.contains_key(&origin));
            let edited = parsed(&scenario.edited());
            for (name, pool) in &config.pools {
                let larger = &edited.pools[name].origins;
                assert_eq!(larger.len(), pool.origins.len() + 1);
                assert!(
                    pool.origins
                        .iter()
                        .all(|(name, origin)| larger[name] == *origin)
                );
            }
        }
        let large = Scenario::of(10_000);
        assert_eq!(
            (large.pools, large.listeners, large.vnets),
            (200, 1_000, 100)
        );
    }
}
