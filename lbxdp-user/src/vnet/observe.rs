//! What the kernel's network looks like now, as far as it is ours or in our way.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, anyhow};
use ipnet::IpNet;
use lbxdp_ebpf::abi::Tags;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
    VlanProtocol,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::rule::{RuleAttribute, RuleMessage};

use super::desired::{Desired, Family, PROTOCOL, Route, Rule};
use super::device::{DEVICE_GROUP, GuePort, LinkKind};
use super::network::{Network, Refusal};
use super::{fou, ipsec, message, wireguard};

/// `net.ipv4.conf.all.rp_filter`, which is the least that holds for any device.
pub(super) const REVERSE_PATH_OF_ALL: &str = "net/ipv4/conf/all/rp_filter";

/// What the kernel's network looks like.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Observed {
    /// All links by name.
    pub links: BTreeMap<String, Link>,
    /// Routes with our protocol number in tables of VNets.
    pub routes: BTreeSet<Route>,
    /// Routes of others in tables of configured VNets.
    pub foreign_routes: Vec<ForeignRoute>,
    /// Rules with our protocol number.
    pub rules: BTreeSet<Rule>,
    /// GUE ports that are open and bound to an address.
    pub gue_ports: BTreeSet<GuePort>,
    /// What WireGuard devices of ours are set to.
    pub wireguard: BTreeMap<String, wireguard::Set>,
    /// Security associations and policies of ours.
    pub ipsec: ipsec::Installed,
    /// Kernel settings that matter, by path below `/proc/sys`; those that exist.
    pub sysctls: BTreeMap<String, String>,
    /// Whether the kernel speaks IPv6.
    pub ipv6: bool,
}

/// A network interface.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Kind of link as the kernel names it; `None` for hardware.
    pub kind: Option<String>,
    /// Device group; [`DEVICE_GROUP`] when it is ours.
    pub group: u32,
    /// Alias, empty if none.
    pub alias: String,
    /// MAC address, if it has Ethernet headers.
    pub mac: Option<[u8; 6]>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether it can carry packets: up, with carrier.
    pub running: bool,
    /// Our addresses on it.
    pub addresses: BTreeSet<IpNet>,
    /// VLAN device: index of the link below, and its tag.
    pub vlan: Option<(u32, Tags)>,
}

impl Link {
    /// Whether the agent made it.
    #[must_use]
    pub const fn is_ours(&self) -> bool {
        self.group == DEVICE_GROUP
    }
}

/// A route that somebody else put into a VNet's table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForeignRoute {
    /// Number of the table.
    pub table: u32,
    /// Destination.
    pub prefix: IpNet,
    /// Metric.
    pub metric: u32,
}

impl Network {
    /// Looks at everything that is ours, or in the way of what is desired.
    ///
    /// # Errors
    ///
    /// When the kernel does not answer.
    pub async fn observe(&self, desired: &Desired) -> Result<Observed> {
        let mut observed = Observed {
            links: self.links().await?,
            rules: self.rules().await?,
            ipv6: fs::exists("/proc/sys/net/ipv6").unwrap_or(false),
            ..Observed::default()
        };
        let mut tables = desired.tables();
        tables.extend(observed.rules.iter().map(|rule| rule.table));
        self.look_at_routes(&tables, &mut observed).await?;
        // Asking for GUE ports makes the kernel load a module: only where there is reason to.
        let aliases = observed.links.values().filter(|link| link.is_ours());
        if (aliases.map(|link| &link.alias)).any(|alias| GuePort::from_alias(alias).is_some()) {
            observed.gue_ports = fou::ports().unwrap_or_default();
        }
        for (name, link) in &observed.links {
            if link.is_ours()
                && link.kind.as_deref() == Some(LinkKind::Wireguard.name())
                && let Ok(set) = wireguard::get(name)
            {
                observed.wireguard.insert(name.clone(), set);
            }
        }
        // As with GUE ports: asking may load a module.
        let is_xfrm =
            |link: &Link| link.is_ours() && link.kind.as_deref() == Some(LinkKind::Xfrm.name());
        if (desired.devices.values()).any(|device| device.link_kind() == LinkKind::Xfrm)
            || observed.links.values().any(is_xfrm)
        {
            observed.ipsec = ipsec::installed().unwrap_or_default();
        }
        let paths = desired.sysctls.iter().map(|sysctl| sysctl.path.as_str());
        for path in paths.chain([REVERSE_PATH_OF_ALL]) {
            if let Ok(value) = fs::read_to_string(format!("/proc/sys/{path}")) {
                let value = value.trim().to_owned();
                observed.sysctls.insert(path.to_owned(), value);
            }
        }
        Ok(observed)
    }

    /// All links by name, with our addresses.
    ///
    /// # Errors
    ///
    /// When the kernel does not answer.
    pub async fn links(&self) -> Result<BTreeMap<String, Link>> {
        let mut links = BTreeMap::new();
        let answers = (self.dump(RouteNetlinkMessage::GetLink(LinkMessage::default())))
            .await
            .map_err(refused("the links"))?;
        for answer in answers {
            if let RouteNetlinkMessage::NewLink(message) = answer
                && let Some((name, link)) = link(&message)
            {
                links.insert(name, link);
            }
        }
        let addresses = (self.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default())))
            .await
            .map_err(refused("the addresses"))?;
        for answer in addresses {
            if let RouteNetlinkMessage::NewAddress(message) = answer
                && let Some(address) = our_address(&message)
                && let Some(link) = links
                    .values_mut()
                    .find(|link| link.index == message.header.index)
            {
                link.addresses.insert(address);
            }
        }
        Ok(links)
    }

    async fn rules(&self) -> Result<BTreeSet<Rule>> {
        let mut rules = BTreeSet::new();
        for family in [Family::V4, Family::V6] {
            let answers = match self
                .dump(RouteNetlinkMessage::GetRule(message::rules(family)))
                .await
            {
                Ok(answers) => answers,
                // A kernel without IPv6.
                Err(refusal) if refusal.errno == libc::EAFNOSUPPORT => continue,
                Err(refusal) => return Err(refused("the routing rules")(refusal)),
            };
            for answer in answers {
                if let RouteNetlinkMessage::NewRule(message) = answer {
                    rules.extend(our_rule(family, &message));
                }
            }
        }
        Ok(rules)
    }

    async fn look_at_routes(&self, tables: &BTreeSet<u32>, observed: &mut Observed) -> Result<()> {
        let names: BTreeMap<u32, String> = (observed.links.iter())
            .map(|(name, link)| (link.index, name.clone()))
            .collect();
        for &table in tables {
            for family in [Family::V4, Family::V6] {
                let request =
                    RouteNetlinkMessage::GetRoute(message::routes_of_table(family, table));
                let answers = match self.dump(request).await {
                    Ok(answers) => answers,
                    // The table does not exist as long as it is empty.
                    Err(Refusal {
                        errno: libc::ENOENT | libc::EAFNOSUPPORT | libc::EOPNOTSUPP,
                        ..
                    }) => continue,
                    Err(refusal) => return Err(refused("the routes")(refusal)),
                };
                for answer in answers {
                    let RouteNetlinkMessage::NewRoute(message) = answer else {
                        continue;
                    };
                    let Some((found, ours)) = route(family, table, &message, &names) else {
                        continue;
                    };
                    if ours {
                        observed.routes.insert(found);
                    } else {
                        observed.foreign_routes.push(ForeignRoute {
                            table,
                            prefix: found.prefix,
                            metric: found.metric,
                        });
                    }
                }
            }
        }
        Ok(())
    }
}

fn refused(what: &'static str) -> impl Fn(Refusal) -> anyhow::Error {
    move |refusal| anyhow!("asking the kernel for {what}: {refusal}")
}

/// The name of a link, and what matters of it.
pub(super) fn link(message: &LinkMessage) -> Option<(String, Link)> {
    let mut name = None;
    let mut below = None;
    let mut tag = None;
    let mut elsewhere = false;
    let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
    let mut link = Link {
        index: message.header.index,
        up: message.header.flags.contains(LinkFlags::Up),
        running: message.header.flags.contains(LinkFlags::Running),
        ..Link::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(is) => name = Some(is.clone()),
            LinkAttribute::IfAlias(alias) => link.alias.clone_from(alias),
            LinkAttribute::Group(group) => link.group = *group,
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Link(index) => below = Some(*index),
            // The link below is in another network namespace, and its number means nothing here.
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            LinkAttribute::Address(mac) if ethernet => {
                link.mac = mac.as_slice().try_into().ok();
            }
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) => link.kind = Some(kind.to_string()),
                        LinkInfo::Data(InfoData::Vlan(parts)) => tag = tag_of(parts),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    link.vlan = below.zip(tag).filter(|_| !elsewhere);
    Some((name?, link))
}

/// The tag that a VLAN device puts on.
fn tag_of(parts: &[InfoVlan]) -> Option<Tags> {
    let mut id = None;
    let mut is_service = false;
    for part in parts {
        match part {
            InfoVlan::Id(is) => id = Some(*is),
            InfoVlan::Protocol(protocol) => is_service = *protocol == VlanProtocol::Ieee8021Ad,
            _ => {}
        }
    }
    Some(Tags::one(id?, is_service))
}

fn our_address(message: &AddressMessage) -> Option<IpNet> {
    let mut address = None;
    let mut ours = false;
    for attribute in &message.attributes {
        match attribute {
            // `Local` is the node's own on links to one peer; IPv6 may lack it.
            AddressAttribute::Local(is) => address = Some(*is),
            AddressAttribute::Address(is) if address.is_none() => address = Some(*is),
            AddressAttribute::Protocol(protocol) => ours = u8::from(*protocol) == PROTOCOL,
            _ => {}
        }
    }
    if !ours {
        return None;
    }
    IpNet::new(address?, message.header.prefix_len).ok()
}

fn our_rule(family: Family, message: &RuleMessage) -> Option<Rule> {
    let mut device = None;
    let mut table = u32::from(message.header.table);
    let mut ours = false;
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Oifname(name) => device = Some(name.clone()),
            RuleAttribute::Table(number) => table = *number,
            RuleAttribute::Protocol(protocol) => ours = u8::from(*protocol) == PROTOCOL,
            _ => {}
        }
    }
    if !ours {
        return None;
    }
    Some(Rule {
        family,
        device: device?,
        table,
    })
}

/// A route, and whether it is ours.
fn route(
    family: Family,
    table: u32,
    message: &RouteMessage,
    names: &BTreeMap<u32, String>,
) -> Option<(Route, bool)> {
    let header = &message.header;
    let mut found_table = u32::from(header.table);
    let mut destination = match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let mut via = None;
    let mut device = String::new();
    let mut metric = 0;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => found_table = *number,
            RouteAttribute::Destination(is) => destination = ip(is)?,
            RouteAttribute::Gateway(is) => via = ip(is),
            RouteAttribute::Priority(is) => metric = *is,
            RouteAttribute::Oif(index) => {
                device = names.get(index).cloned().unwrap_or_default();
            }
            _ => {}
        }
    }
    if found_table != table {
        return None;
    }
    let prefix = IpNet::new(destination, header.destination_prefix_length).ok()?;
    let ours = u8::from(header.protocol) == PROTOCOL && header.kind == RouteType::Unicast;
    let route = Route {
        table,
        prefix,
        metric,
        via,
        device,
    };
    Some((route, ours))
}

/// The address within a route's attribute.
pub(super) fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}
