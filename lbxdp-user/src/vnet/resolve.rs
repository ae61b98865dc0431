#![forbid(unsafe_code)]
//! Next hops: by which interface, and to which MAC address, a packet leaves.

mod next_hop;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::Result;
use lbxdp_ebpf::abi::{Tags, Vlan};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia};
use rtnetlink::packet_core::NLM_F_CREATE;

pub use next_hop::{Hop, NextHop, Query, Unresolved};

use super::message;
use super::network::{Network, Refusal};
use super::observe::{Link, ip};

/// Kinds of link that send through others, by a choice that the program cannot make for them.
const INDIRECT: [&str; 6] = ["bond", "team", "bridge", "macvlan", "ipvlan", "vrf"];

impl Network {
    /// Next hops, in the order of the queries.
    ///
    /// The kernel decides about the route, with all its rules; it is asked for those that are not
    /// among `routes`, which are kept there. Neighbours that are unknown, or not confirmed of late,
    /// are asked for; so calling this every few seconds keeps them fresh. `attached` names the
    /// interfaces that the program is attached to.
    pub async fn next_hops(
        &self,
        queries: &[Query],
        attached: &[String],
        routes: &mut Routes,
    ) -> Vec<NextHop> {
        let surroundings = match self.surroundings().await {
            Ok(surroundings) => surroundings,
            Err(error) => {
                let unknown = NextHop::Unresolved(Unresolved::Unknown {
                    cause: format!("{error:#}"),
                });
                return vec![unknown; queries.len()];
            }
        };
        let mut wanted = BTreeSet::new();
        let mut hops = Vec::with_capacity(queries.len());
        for query in queries {
            let route = self.route(query, &surroundings, routes);
            let hop = route.and_then(|route| {
                let way = surroundings.way(&route, query.destination, attached)?;
                surroundings.follow(way, &mut wanted)
            });
            hops.push(match hop {
                Ok(hop) => NextHop::Resolved(hop),
                Err(unresolved) => NextHop::Unresolved(unresolved),
            });
        }
        for (interface, gateway) in wanted {
            let request = message::use_neighbour(interface, gateway);
            let request = RouteNetlinkMessage::NewNeighbour(request);
            if let Err(refusal) = self.change(request, NLM_F_CREATE).await {
                tracing::debug!(%gateway, %refusal, "cannot ask for the neighbour");
            }
        }
        hops
    }

    /// The next hop of one query: as [`Network::next_hops`].
    pub async fn next_hop(&self, query: &Query, attached: &[String]) -> NextHop {
        let query = std::slice::from_ref(query);
        let hops = self
            .next_hops(query, attached, &mut Routes::default())
            .await;
        hops.into_iter().next().expect("an answer for every query")
    }

    /// The node's VLAN devices.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub async fn vlans(&self) -> Result<Vlans> {
        Ok(Surroundings::new(self.links().await?, BTreeMap::new()).vlans())
    }

    async fn surroundings(&self) -> Result<Surroundings> {
        let links = self.links().await?;
        let dump = self
            .dump(RouteNetlinkMessage::GetNeighbour(
                NeighbourMessage::default(),
            ))
            .await
            .map_err(|refusal| anyhow::anyhow!("asking the kernel for neighbours: {refusal}"))?;
        let neighbours = dump.iter().filter_map(neighbour).collect();
        Ok(Surroundings::new(links, neighbours))
    }

    /// The route of a query, asked for unless it is known.
    fn route(
        &self,
        query: &Query,
        around: &Surroundings,
        routes: &mut Routes,
    ) -> Result<Chosen, Unresolved> {
        if let Some(known) = routes.0.get(query) {
            return known.clone();
        }
        let device = match &query.device {
            None => None,
            Some(name) => match around.links.get(name) {
                Some(link) => Some(link.index),
                // Soon it may be there.
                None => {
                    return Err(Unresolved::NoDevice {
                        device: name.clone(),
                    });
                }
            },
        };
        let request = message::route_to(query.destination, query.source, device);
        let route = match self.ask_route(&request) {
            Ok(Some(route)) => Ok(Chosen::of(&route)),
            Ok(None) => Err(no_route("the kernel gave none")),
            Err(refusal) => Err(refused(&refusal)),
        };
        routes.0.insert(query.clone(), route.clone());
        route
    }
}

/// Routes that the kernel has chosen, so that it is not asked for all of them again and again.
///
/// They hold until a link, a route or a rule changes; and as not every change is told, each is
/// [let go of](Routes::refresh) now and then.
#[derive(Clone, Default, Debug)]
pub struct Routes(BTreeMap<Query, Result<Chosen, Unresolved>>);

impl Routes {
    /// How many calls of [`Routes::refresh`] let go of each route once.
    const TURNS: usize = 30;

    /// Lets go of all.
    pub fn forget(&mut self) {
        self.0.clear();
    }

    /// Lets go of some, others each time.
    pub fn refresh(&mut self, turn: usize) {
        let mut number = 0;
        self.0.retain(|_, _| {
            number += 1;
            number % Self::TURNS != turn % Self::TURNS
        });
    }
}

/// Links and neighbours, at one moment.
struct Surroundings {
    links: BTreeMap<String, Link>,
    /// Names of the links.
    names: BTreeMap<u32, String>,
    neighbours: BTreeMap<(u32, IpAddr), Neighbour>,
}

/// What the kernel knows of a neighbour.
struct Neighbour {
    mac: Option<[u8; 6]>,
    state: NeighbourState,
}

impl Neighbour {
    /// Whether the kernel does not yet do on its own what it can.
    fn wants_asking(&self) -> bool {
        matches!(
            self.state,
            NeighbourState::None | NeighbourState::Stale | NeighbourState::Failed
        )
    }
}

/// The route that the kernel chose.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Chosen {
    kind: RouteType,
    oif: Option<u32>,
    gateway: Option<IpAddr>,
    mtu: Option<u32>,
}

/// VLAN devices of the node.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Vlans {
    /// By their index: the interface below each, and its tags, which are no more than two.
    pub devices: BTreeMap<u32, Vlan>,
    /// What is wrong with some of them.
    pub problems: Vec<String>,
}

/// The largest IP packet that an interface carries behind these tags: beside its MTU there is room for
/// one (as the kernel's `xdp_ok_fwd_dev` has it), and a second one takes of it.
fn room_in(interface: &Link, tags: Tags) -> u32 {
    const TAG: u32 = 4;
    let others = tags.count().saturating_sub(1) as u32;
    interface.mtu.saturating_sub(TAG * others)
}

/// The way to the gateway; its MAC address is not known yet.
struct Way {
    /// The link on which the gateway is a neighbour.
    asked: u32,
    /// That link's name.
    name: String,
    gateway: IpAddr,
    hop: Hop,
}

impl Surroundings {
    fn new(links: BTreeMap<String, Link>, neighbours: BTreeMap<(u32, IpAddr), Neighbour>) -> Self {
        let names = links.iter().map(|(name, link)| (link.index, name.clone()));
        Self {
            names: names.collect(),
            links,
            neighbours,
        }
    }

    fn vlans(&self) -> Vlans {
        let mut vlans = Vlans::default();
        for (name, link) in self.links.iter().filter(|(_, link)| link.vlan.is_some()) {
            let Ok((interface, below, tags)) = self.below((name, link)) else {
                continue;
            };
            let room = room_in(below, tags);
            if link.mtu > room {
                vlans.problems.push(format!(
                    "{name} carries packets of {} bytes, and {interface} with {} tags {room}: set the MTU of \
                     {name} to {room}, or raise that of {interface}",
                    link.mtu,
                    tags.count(),
                ));
            }
            let ifindex = below.index;
            vlans.devices.insert(link.index, Vlan { ifindex, tags });
        }
        vlans
    }

    fn way(
        &self,
        route: &Chosen,
        destination: IpAddr,
        attached: &[String],
    ) -> Result<Way, Unresolved> {
        match route.kind {
            RouteType::Unicast => {}
            RouteType::Local | RouteType::Broadcast | RouteType::Anycast | RouteType::Multicast => {
                return Err(Unresolved::Local);
            }
            RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit => {
                return Err(Unresolved::Forbidden);
            }
            _ => return Err(no_route("a route of a kind that cannot be followed")),
        }
        let oif = route.oif.ok_or_else(|| no_route("it has no interface"))?;
        let (name, link) = (self.by_index(oif)).ok_or_else(|| no_route("its link is gone"))?;
        // Tags are put on by the program; it leaves by the interface below.
        let (interface, below, tags) = self.below((name, link))?;
        let Some(mac) = link.mac else {
            return Err(Unresolved::NotEthernet {
                interface: name.clone(),
            });
        };
        if let Some(kind) = &below.kind
            && (INDIRECT.contains(&kind.as_str()) || kind == "vlan")
            && !attached.contains(interface)
        {
            return Err(Unresolved::Indirect {
                interface: interface.clone(),
                kind: kind.clone(),
            });
        }
        let gateway = route.gateway.unwrap_or(destination);
        Ok(Way {
            asked: link.index,
            name: name.clone(),
            gateway,
            hop: Hop {
                ifindex: below.index,
                interface: interface.clone(),
                tags,
                mac,
                mtu: link
                    .mtu
                    .min(route.mtu.unwrap_or(u32::MAX))
                    .min(room_in(below, tags)),
                gateway,
                gateway_mac: [0; 6],
            },
        })
    }

    /// The interface below a VLAN device, or below a VLAN in a VLAN, and the tags that these put on;
    /// of any other interface itself and none. All of them are up.
    fn below<'a>(
        &'a self,
        (mut name, mut link): (&'a String, &'a Link),
    ) -> Result<(&'a String, &'a Link, Tags), Unresolved> {
        let mut tags = Tags::NONE;
        loop {
            if !(link.up && link.running) {
                return Err(Unresolved::Down {
                    interface: name.clone(),
                });
            }
            let Some((below, tag)) = link.vlan else {
                return Ok((name, link, tags));
            };
            if tags.count() == 2 {
                return Err(no_route(
                    "it is a VLAN in a VLAN in a VLAN, and two tags can be put on",
                ));
            }
            tags = tags.behind(tag);
            (name, link) = self
                .by_index(below)
                .ok_or_else(|| no_route("the interface below its VLAN is gone"))?;
        }
    }

    fn by_index(&self, index: u32) -> Option<(&String, &Link)> {
        self.links.get_key_value(self.names.get(&index)?)
    }

    /// The hop at the end of a way; what of its neighbour is to be asked for is `wanted`.
    fn follow(&self, way: Way, wanted: &mut BTreeSet<(u32, IpAddr)>) -> Result<Hop, Unresolved> {
        let neighbour = self.neighbours.get(&(way.asked, way.gateway));
        if neighbour.is_none_or(Neighbour::wants_asking) {
            wanted.insert((way.asked, way.gateway));
        }
        let (interface, gateway) = (way.name, way.gateway);
        match neighbour {
            Some(Neighbour {
                mac: Some(mac),
                state,
            }) if is_usable(*state) => Ok(Hop {
                gateway_mac: *mac,
                ..way.hop
            }),
            Some(Neighbour {
                state: NeighbourState::Failed,
                ..
            }) => Err(Unresolved::Silent { gateway, interface }),
            Some(_) | None => Err(Unresolved::Resolving { gateway, interface }),
        }
    }
}

impl Chosen {
    fn of(message: &RouteMessage) -> Self {
        let mut chosen = Self {
            kind: message.header.kind,
            oif: None,
            gateway: None,
            mtu: None,
        };
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Oif(index) => chosen.oif = Some(*index),
                RouteAttribute::Gateway(address) => chosen.gateway = ip(address),
                RouteAttribute::Via(RouteVia::Inet(v4)) => chosen.gateway = Some((*v4).into()),
                RouteAttribute::Via(RouteVia::Inet6(v6)) => chosen.gateway = Some((*v6).into()),
                RouteAttribute::Metrics(metrics) => {
                    for metric in metrics {
                        if let RouteMetric::Mtu(mtu) = metric
                            && *mtu > 0
                        {
                            chosen.mtu = Some(*mtu);
                        }
                    }
                }
                _ => {}
            }
        }
        chosen
    }
}

fn neighbour(message: &RouteNetlinkMessage) -> Option<((u32, IpAddr), Neighbour)> {
    let RouteNetlinkMessage::NewNeighbour(message) = message else {
        return None;
    };
    let mut address = None;
    let mut mac = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                address = Some(IpAddr::V4(*v4));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                address = Some(IpAddr::V6(*v6));
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.as_slice().try_into().ok(),
            _ => {}
        }
    }
    let state = message.header.state;
    Some(((message.header.ifindex, address?), Neighbour { mac, state }))
}

fn is_usable(state: NeighbourState) -> bool {
    matches!(
        state,
        NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
            | NeighbourState::Noarp
    )
}

fn no_route(cause: &str) -> Unresolved {
    Unresolved::NoRoute {
        cause: cause.to_owned(),
    }
}

fn refused(refusal: &Refusal) -> Unresolved {
    match refusal.errno {
        libc::EACCES | libc::EHOSTUNREACH => Unresolved::Forbidden,
        libc::EINVAL => no_route("a blackhole route, or a source that is not the node's own"),
        _ => no_route(&refusal.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: Tags = Tags::one(42, false);

    fn link(index: u32, kind: Option<&str>) -> Link {
        Link {
            index,
            kind: kind.map(str::to_owned),
            mac: Some([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            up: true,
            running: true,
            ..Link::default()
        }
    }

    fn around(links: &[(&str, Link)]) -> Surroundings {
        let named = |(name, link): &(&str, Link)| ((*name).to_owned(), link.clone());
        Surroundings::new(links.iter().map(named).collect(), BTreeMap::new())
    }

    fn by(oif: u32) -> Chosen {
        Chosen {
            kind: RouteType::Unicast,
            oif: Some(oif),
            gateway: Some("192.0.2.254".parse().unwrap()),
            mtu: Some(1400),
        }
    }

    fn way(links: &[(&str, Link)], oif: u32, attached: &[String]) -> Result<Way, Unresolved> {
        let destination = "203.0.113.1".parse().unwrap();
        around(links).way(&by(oif), destination, attached)
    }

    #[test]
    fn a_vlan_device_is_a_tag_on_the_interface_below() {
        let mut vlan = link(5, Some("vlan"));
        vlan.vlan = Some((2, TAG));
        let links = [("eth0", link(2, None)), ("eth0.42", vlan)];
        let way = way(&links, 5, &[]).ok().unwrap();
        assert_eq!((way.hop.ifindex, way.hop.interface.as_str()), (2, "eth0"));
        assert_eq!((way.hop.tags, way.hop.mtu), (TAG, 1400));
        // The neighbour is that of the VLAN device.
        assert_eq!(way.asked, 5);
    }

    /// Interfaces: one, a VLAN of a provider on it, and one of its customer's within that.
    fn stacked(customer: Tags) -> [(&'static str, Link); 3] {
        let mut outer = link(5, Some("vlan"));
        outer.vlan = Some((2, Tags::one(7, true)));
        let mut inner = link(6, Some("vlan"));
        inner.vlan = Some((5, customer));
        [
            ("eth0", link(2, None)),
            ("eth0.7", outer),
            ("eth0.7.42", inner),
        ]
    }

    #[test]
    fn a_vlan_in_a_vlan_is_two_tags_on_the_interface_below_and_carries_less() {
        let links = stacked(TAG);
        let both = TAG.behind(Tags::one(7, true));
        let mut by = by(6);
        by.mtu = None;
        let destination = "203.0.113.1".parse().unwrap();
        let way = around(&links).way(&by, destination, &[]).ok().unwrap();
        assert_eq!((way.hop.ifindex, way.asked), (2, 6));
        assert_eq!((way.hop.tags, way.hop.mtu), (both, 1496));

        let vlans = around(&links).vlans();
        let of = |index| vlans.devices[&index];
        let tags = |tags| Vlan { ifindex: 2, tags };
        assert_eq!((of(5), of(6)), (tags(Tags::one(7, true)), tags(both)));
        let [problem] = vlans.problems.as_slice() else {
            panic!("{:?}", vlans.problems);
        };
        assert!(problem.starts_with("eth0.7.42 carries"), "{problem}");
    }

    #[test]
    fn a_third_tag_cannot_be_put_on() {
        let mut third = link(8, Some("vlan"));
        third.vlan = Some((6, TAG));
        let mut links = stacked(TAG).to_vec();
        links.push(("eth0.7.42.42", third));
        let refused = way(&links, 8, &[]).err();
        assert!(matches!(refused, Some(Unresolved::NoRoute { .. })));
        assert!(!around(&links).vlans().devices.contains_key(&8));
    }

    #[test]
    fn a_vlan_device_over_an_interface_that_is_down_is_down() {
        let mut vlan = link(5, Some("vlan"));
        vlan.vlan = Some((2, TAG));
        let mut below = link(2, None);
        below.running = false;
        let down = way(&[("eth0", below), ("eth0.42", vlan)], 5, &[]).err();
        let interface = "eth0".to_owned();
        assert_eq!(down, Some(Unresolved::Down { interface }));
    }

    #[test]
    fn a_bond_is_a_way_out_only_when_attached() {
        let links = [("bond0", link(3, Some("bond")))];
        assert!(matches!(
            way(&links, 3, &[]).err(),
            Some(Unresolved::Indirect { .. })
        ));
        assert!(way(&links, 3, &["bond0".to_owned()]).is_ok());
    }

    #[test]
    fn a_link_without_ethernet_headers_is_no_way_out() {
        let mut tun = link(3, Some("tun"));
        tun.mac = None;
        assert!(matches!(
            way(&[("tun0", tun)], 3, &[]).err(),
            Some(Unresolved::NotEthernet { .. })
        ));
    }
}
