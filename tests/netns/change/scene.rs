//! A lab whose origins are reached in one of the modes, behind a web and an echo service.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use tests::netns::{Edge, Lab, Origin, Shape};

use crate::configuration::MONITORS;

/// The servers that DSR reaches, each a machine beside the router.
const SERVERS: [(&str, &str, Ipv4Addr); 5] = [
    ("server-a", "blue/a", Ipv4Addr::new(203, 0, 113, 65)),
    ("server-b", "blue/b", Ipv4Addr::new(203, 0, 113, 69)),
    ("server-c", "blue/c", Ipv4Addr::new(203, 0, 113, 73)),
    ("server-d", "green/a", Ipv4Addr::new(203, 0, 113, 77)),
    ("server-e", "green/b", Ipv4Addr::new(203, 0, 113, 81)),
];

/// How packets get to origins and back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Forwarding {
    /// NAT; the origin sees the client.
    Preserve,
    /// NAT; the origin sees the node.
    Snat,
    /// The origin has the VIP and answers the client itself.
    Dsr,
}

/// The configuration of the services.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Services {
    pub(super) forwarding: Forwarding,
    /// Origins of the first pool of each service, of `blue`, with their weights.
    pub(super) first: Vec<(&'static str, f64)>,
    /// Lines for each of these pools.
    pub(super) pool: &'static str,
    /// What else is configured.
    pub(super) beside: String,
}

impl Services {
    /// Origins `a`, `b` and `c` of equal weight.
    pub(super) fn new(forwarding: Forwarding) -> Self {
        Self {
            forwarding,
            first: vec![("a", 1.0), ("b", 1.0), ("c", 1.0)],
            pool: "",
            beside: String::new(),
        }
    }

    /// The same with other origins of the first pools.
    pub(super) fn with(&self, first: &[(&'static str, f64)]) -> Self {
        Self {
            first: first.to_vec(),
            ..self.clone()
        }
    }

    /// Two load balancers, `web` and `echo`, with two pools of the same origins each: all of the
    /// first, of `blue`, and if none of them serves, `a` and `b` of `green`.
    pub(super) fn text(&self) -> String {
        let mut text = MONITORS.to_owned();
        let second = [("a", 1.0), ("b", 1.0)];
        for (service, protocol, to) in [("web", "tcp", Scene::WEB), ("echo", "udp", Scene::ECHO)] {
            let (address, port) = (to.ip(), to.port());
            write!(
                text,
                r#"
[[load_balancer]]
name = "{service}"
listeners = [{{ address = "{address}", port = {port}, protocol = "{protocol}" }}]
default_pools = ["{service}-blue", "{service}-green"]
"#
            )
            .expect("a string takes all");
            text += &self.pool_text(service, "blue", &self.first, self.pool);
            text += &self.pool_text(service, "green", &second, "");
        }
        text + &self.beside
    }

    fn pool_text(&self, service: &str, site: &str, origins: &[(&str, f64)], more: &str) -> String {
        let nat = "forwarding = \"nat\"\nsource =";
        let kind = match self.forwarding {
            Forwarding::Preserve => format!("{nat} \"preserve\""),
            Forwarding::Snat => format!("{nat} \"snat\""),
            Forwarding::Dsr => {
                "forwarding = \"dsr\"\nencapsulation = \"vxlan\"\nvni = 77".to_owned()
            }
        };
        let monitor = match (self.forwarding, service) {
            (Forwarding::Preserve | Forwarding::Snat, "web") => "http",
            // A server that DSR reaches answers at the VIP alone.
            (Forwarding::Preserve | Forwarding::Snat | Forwarding::Dsr, _) => "ping",
        };
        let mut text = format!(
            "\n[[pool]]\nname = \"{service}-{site}\"\nmonitor = \"{monitor}\"\n{kind}\n{more}\n"
        );
        for (origin, weight) in origins {
            let name = format!("{site}/{origin}");
            let place = match self.forwarding {
                Forwarding::Preserve | Forwarding::Snat => {
                    let last = ["a", "b", "c"].iter().position(|it| it == origin);
                    let last = 11 + last.expect("a site has a, b and c");
                    format!("address = \"10.0.0.{last}\"\nvirtual_network = \"{site}\"")
                }
                Forwarding::Dsr => {
                    let server = SERVERS.iter().find(|(_, it, _)| *it == name);
                    let (.., address) = server.expect("it is one of the servers");
                    format!("address = \"{address}\"\ninner_mac = \"02:00:00:00:00:77\"")
                }
            };
            write!(
                text,
                "[[pool.origin]]\nname = \"{origin}\"\nweight = {weight:.1}\n{place}\n"
            )
            .expect("a string takes all");
        }
        text
    }
}

/// The lab and its edge.
pub(super) struct Scene {
    pub(super) lab: Lab,
    pub(super) edge: Edge,
    pub(super) services: Services,
    /// The configuration of the node itself.
    node: String,
    servers: BTreeMap<&'static str, Origin>,
}

impl Scene {
    pub(super) const WEB: SocketAddr = Lab::vip(10, 80);
    pub(super) const ECHO: SocketAddr = Lab::vip(10, 7);

    /// All origins healthy; `node` are lines of `[node]`.
    pub(super) fn start(test: &str, services: Services, node: &str) -> Result<Option<Self>> {
        let Some(lab) = crate::lab_for_agent(test, Shape::OneLink)? else {
            return Ok(None);
        };
        let servers = match services.forwarding {
            Forwarding::Preserve => BTreeMap::new(),
            Forwarding::Snat => {
                for site in lab.sites() {
                    site.gateway().ip("route del default")?;
                }
                BTreeMap::new()
            }
            Forwarding::Dsr => attach_servers(&lab)?,
        };
        let node = (lab.configuration()).replace("[node]\n", &format!("[node]\n{node}\n"));
        let mut edge = Edge::start(&lab, &(node.clone() + &services.text()))?;
        edge.wait_healthy()?;
        Ok(Some(Self {
            lab,
            edge,
            services,
            node,
            servers,
        }))
    }

    /// An origin, `site/origin`.
    pub(super) fn origin(&self, name: &str) -> &Origin {
        if let Some(server) = self.servers.get(name) {
            return server;
        }
        let (site, origin) = name.split_once('/').expect("it is site/origin");
        let site = self.lab.sites().iter().find(|it| it.name() == site);
        site.expect("the lab has this site").origin(origin)
    }

    /// Puts another configuration in force.
    pub(super) fn reload(&mut self, services: Services) -> Result<()> {
        let generation = |status: &tests::netns::Status| status.0["node"]["generation"].as_u64();
        let before = generation(&self.edge.status()?);
        self.edge.reload(&(self.node.clone() + &services.text()))?;
        self.services = services;
        self.edge.wait_long(
            "the new configuration is in force",
            crate::DEADLINE * 2,
            |status| generation(status) > before,
        )
    }

    /// Waits until an origin of `blue` has a share of the rows in these bounds, in both services.
    pub(super) fn wait_share(&mut self, origin: &str, least: f64, most: f64) -> Result<()> {
        let what = format!("the share of blue/{origin} is {least} to {most}");
        self.edge.wait(&what, |status| {
            ["web-blue", "echo-blue"].into_iter().all(|pool| {
                let share = status.share(pool, origin);
                share.is_some_and(|share| (least..=most).contains(&share))
            })
        })
    }

    /// Waits until these origins of `blue` are found to be of this health, for both services.
    pub(super) fn wait_health(&mut self, origins: &[&str], health: &str) -> Result<()> {
        let what = format!("{origins:?} are {health}");
        self.edge.wait(&what, |status| {
            (origins.iter()).all(|origin| {
                status.is("web-blue", origin, health) && status.is("echo-blue", origin, health)
            })
        })
    }
}

fn attach_servers(lab: &Lab) -> Result<BTreeMap<&'static str, Origin>> {
    let mut servers = BTreeMap::new();
    let vip = Scene::WEB.ip();
    for (role, name, address) in SERVERS {
        let server = lab.attach_server(role, name, address, vip)?;
        server.namespace().ip(&format!(
            "link add vxlan0 address 02:00:00:00:00:77 mtu 1550 type vxlan id 77 local {address} dstport 4789
             link set vxlan0 up"
        ))?;
        servers.insert(name, server);
    }
    Ok(servers)
}
