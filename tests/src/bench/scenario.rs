//! A node of a given size, as a configuration.

use std::fmt::Write as _;

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

    /// The configuration.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::from(
            r#"[node]
interfaces = ["lo"]
addresses = ["203.0.113.1"]
hash_key = "2b7e151628aed2a6abf7158809cf4f3c"

[[monitor]]
name = "tcp"
type = "tcp"
port = 80
interval = "60s"
"#,
        );
        for vnet in 0..self.vnets {
            let _ = write!(
                text,
                r#"
[[vnet]]
name = "vnet-{vnet}"
[[vnet.tunnel]]
name = "tunnel"
kind = "vxlan"
remote = "203.0.113.2"
vni = {}
addresses = ["10.255.0.1/30"]
peers = ["10.255.0.2"]
"#,
                vnet + 1
            );
        }
        for pool in 0..self.pools {
            let _ = write!(
                text,
                "\n[[pool]]\nname = \"pool-{pool}\"\nmonitor = \"tcp\"\n"
            );
            for number in (pool..self.origins).step_by(self.pools) {
                let (_, name) = self.origin(number);
                let _ = write!(
                    text,
                    "[[pool.origin]]\nname = \"{name}\"\naddress = \"10.0.{}.{}\"\nport = 80\n\
                     virtual_network = \"vnet-{}\"\n",
                    number / 250,
                    number % 250 + 1,
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

    use super::*;

    #[test]
    fn a_scenario_is_a_good_configuration_of_its_size() {
        for origins in [10, 1_000] {
            let scenario = Scenario::of(origins);
            let loaded = lbxdp::config::parse(&scenario.text(), Path::new("bench.toml"))
                .unwrap_or_else(|invalid| panic!("{invalid}"));
            let config = loaded.config;
            assert_eq!(config.pools.len(), scenario.pools);
            assert_eq!(config.load_balancers.len(), scenario.listeners);
            assert_eq!(config.vnets.len(), scenario.vnets);
            let all: usize = config.pools.values().map(|pool| pool.origins.len()).sum();
            assert_eq!(all, origins);
            let (pool, origin) = scenario.origin(origins - 1);
            assert!(config.pools[&pool].origins.contains_key(&origin));
        }
        let large = Scenario::of(10_000);
        assert_eq!(
            (large.pools, large.listeners, large.vnets),
            (200, 1_000, 100)
        );
    }
}
