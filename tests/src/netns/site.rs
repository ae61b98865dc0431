//! A private site: a gateway with a kernel VXLAN device, and origins behind it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::runtime::Handle;

use super::{Namespace, Origin, device, lab};

/// The origins of every site, with the last part of their addresses.
const ORIGINS: [(&str, u8); 3] = [("a", 11), ("b", 12), ("c", 13)];

/// A private site.
#[derive(Debug)]
pub struct Site {
    name: &'static str,
    vni: u32,
    /// Tells the sites' underlay and tunnel addresses apart; all else is the same in each.
    number: u8,
    gateway: Arc<Namespace>,
    fabric: Arc<Namespace>,
    origins: BTreeMap<&'static str, Origin>,
}

impl Site {
    /// Builds a site whose gateway hangs on `fabric`. `edge` is the far end of its tunnel.
    pub(super) fn build(
        lab: &str,
        runtime: &Handle,
        fabric: &Arc<Namespace>,
        edge: Ipv4Addr,
        name: &'static str,
        number: u8,
        vni: u32,
    ) -> Result<Self> {
        let gateway = Arc::new(Namespace::create(&format!("{lab}-{name}"))?);
        let site = Self {
            name,
            vni,
            number,
            gateway,
            fabric: fabric.clone(),
            origins: BTreeMap::new(),
        };
        site.build_gateway(edge)?;
        let mut origins = BTreeMap::new();
        for (origin, last) in ORIGINS {
            origins.insert(origin, site.build_origin(lab, runtime, origin, last)?);
        }
        Ok(Self { origins, ..site })
    }

    /// `blue` or `green`; also the name of its VNet.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its VXLAN network identifier.
    #[must_use]
    pub const fn vni(&self) -> u32 {
        self.vni
    }

    /// The gateway's namespace.
    #[must_use]
    pub const fn gateway(&self) -> &Arc<Namespace> {
        &self.gateway
    }

    /// Its origins by name.
    #[must_use]
    pub const fn origins(&self) -> &BTreeMap<&'static str, Origin> {
        &self.origins
    }

    /// One of its origins.
    ///
    /// # Panics
    /// If there is none of this name.
    #[must_use]
    pub fn origin(&self, name: &str) -> &Origin {
        &self.origins[name]
    }

    /// The gateway's outer address.
    #[must_use]
    pub const fn underlay(&self) -> Ipv4Addr {
        Ipv4Addr::new(203, 0, 113, 16 * self.number + 1)
    }

    /// The gateway's address inside the tunnel.
    #[must_use]
    pub const fn inside(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 255, self.number, 2)
    }

    /// The same in IPv6.
    #[must_use]
    pub const fn inside_v6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0x255, self.number as u16, 0, 0, 0, 0, 2)
    }

    /// Takes the site's underlay link down.
    pub fn cut(&self) -> Result<()> {
        self.fabric.ip(&format!("link set {} down", self.name))
    }

    /// Brings the site's underlay link up.
    pub fn mend(&self) -> Result<()> {
        self.fabric.ip(&format!("link set {} up", self.name))
    }

    /// The VNet of this site, as configuration.
    #[must_use]
    pub fn configuration(&self) -> String {
        let Self { vni, number, .. } = self;
        self.vnet(&format!(
            r#"vni = {vni}
addresses = ["10.255.{number}.1/30", "fd00:255:{number}::1/64"]
peers = ["{}", "{}"]
routes = ["10.0.0.0/24", "fd00:10::/64", "192.168.0.0/16"]"#,
            self.inside(),
            self.inside_v6(),
        ))
    }

    /// The VNet of this site over a second tunnel, which [`Self::add_tunnel`] makes, as
    /// configuration of the node at its far end.
    #[must_use]
    pub fn second_configuration(&self) -> String {
        let number = self.number;
        self.vnet(&format!(
            r#"vni = {}
addresses = ["10.255.{number}.5/30"]
peers = ["10.255.{number}.6"]
routes = ["10.0.0.0/24"]"#,
            self.vni + 1,
        ))
    }

    fn vnet(&self, tunnel: &str) -> String {
        let (name, remote) = (self.name, self.underlay());
        format!(
            r#"
[[vnet]]
name = "{name}"
[[vnet.tunnel]]
name = "{name}-1"
kind = "vxlan"
remote = "{remote}"
{tunnel}
mtu = 1550
health_check = {{ interval = "500ms", timeout = "400ms", retries = 1, consecutive_up = 2, consecutive_down = 3 }}
"#
        )
    }

    /// Adds a tunnel to a second edge node; clients are answered through the first one as before.
    pub(super) fn add_tunnel(&self, edge: Ipv4Addr) -> Result<()> {
        let (underlay, number, vni) = (self.underlay(), self.number, self.vni + 1);
        let router = Ipv4Addr::from(u32::from(underlay) + 1);
        let mtu = lab::UNDERLAY_MTU - lab::VXLAN_OVERHEAD;
        self.gateway.ip(&format!(
            "route add {edge}/32 via {router}
             link add vxlan1 mtu {mtu} type vxlan id {vni} local {underlay} remote {edge} dstport 4789
             addr add 10.255.{number}.6/30 dev vxlan1
             link set vxlan1 up"
        ))
    }

    /// Has the site answer clients over IPv4 through these tunnels: the first, the second, or both.
    pub(super) fn answer_through(&self, first: bool, second: bool) -> Result<()> {
        let number = self.number;
        let hop = |used: bool, last: u8, device: &str| {
            let hop = format!(" nexthop via 10.255.{number}.{last} dev {device}");
            if used { hop } else { String::new() }
        };
        self.gateway.ip(&format!(
            "route replace default{}{}",
            hop(first, 1, "vxlan0"),
            hop(second, 5, "vxlan1")
        ))
    }

    fn build_gateway(&self, edge: Ipv4Addr) -> Result<()> {
        let Self {
            name, vni, number, ..
        } = self;
        let (underlay, inside, inside_v6) = (self.underlay(), self.inside(), self.inside_v6());
        let router = Ipv4Addr::from(u32::from(underlay) + 1);
        let mtu = lab::UNDERLAY_MTU;
        let vxlan_mtu = mtu - lab::VXLAN_OVERHEAD;
        let gateway = self.gateway.name();
        self.fabric.ip(&format!(
            "link add {name} mtu {mtu} type veth peer name underlay mtu {mtu} netns {gateway}
             addr add {router}/30 dev {name}
             link set {name} up"
        ))?;
        device::like_a_wire(&self.fabric, name)?;
        device::like_a_wire(&self.gateway, "underlay")?;
        self.gateway
            .ip(&format!(
                "addr add {underlay}/30 dev underlay
                 link set underlay up
                 route add {edge}/32 via {router}
                 link add vxlan0 mtu {vxlan_mtu} type vxlan id {vni} local {underlay} remote {edge} dstport 4789
                 addr add {inside}/30 dev vxlan0
                 addr add {inside_v6}/64 dev vxlan0 nodad
                 link set vxlan0 up
                 link add lan mtu {vxlan_mtu} type bridge
                 addr add 10.0.0.1/24 dev lan
                 addr add fd00:10::1/64 dev lan nodad
                 link set lan up
                 route add default via 10.255.{number}.1 dev vxlan0
                 route add default via fd00:255:{number}::1 dev vxlan0"
            ))
            .with_context(|| format!("cannot build the gateway of {name}"))
    }

    fn build_origin(
        &self,
        lab: &str,
        runtime: &Handle,
        origin: &'static str,
        last: u8,
    ) -> Result<Origin> {
        let namespace = Namespace::create(&format!("{lab}-{}-{origin}", self.name))?;
        let cable = format!("to-{origin}");
        self.gateway.ip(&format!(
            "link add {cable} type veth peer name eth0 netns {}
             link set {cable} master lan up",
            namespace.name()
        ))?;
        device::like_a_wire(&self.gateway, &cable)?;
        device::like_a_wire(&namespace, "eth0")?;
        let v4 = Ipv4Addr::new(10, 0, 0, last);
        // Written as the IPv4 address is: fd00:10::11 for 10.0.0.11.
        let v6: Ipv6Addr = format!("fd00:10::{last}").parse()?;
        namespace.ip(&format!(
            "addr add {v4}/24 dev eth0
             addr add {v6}/64 dev eth0 nodad
             link set eth0 up
             route add default via 10.0.0.1
             route add default via fd00:10::1"
        ))?;
        Origin::start(
            format!("{}/{origin}", self.name),
            runtime.clone(),
            namespace,
            self.gateway.clone(),
            cable,
            vec![IpAddr::V4(v4), IpAddr::V6(v6)],
        )
    }
}
