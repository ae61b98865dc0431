#![forbid(unsafe_code)]
//! Next hops: by which interface, and to which MAC address, a packet leaves.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use anyhow::Result;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia};
use rtnetlink::packet_core::NLM_F_CREATE;

use super::message;
use super::network::{Network, Refusal};
use super::observe::{Link, ip};

/// Kinds of link that send through others, by a choice that the program cannot make for them.
const INDIRECT: [&str; 6] = ["bond", "team", "bridge", "macvlan", "ipvlan", "vrf"];

/// Where to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Query {
    /// Destination address.
    pub destination: IpAddr,
    /// Source address, which must be one of the node's, where policy routing may look at it.
    pub source: Option<IpAddr>,
    /// Name of the device that it must leave by; thereby the VNet.
    pub device: Option<String>,
}

/// The answer to a [`Query`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NextHop {
    /// The way is known.
    Resolved(Hop),
    /// It is not, or not yet: the kernel was asked to find out where it can.
    Unresolved(Unresolved),
}

/// All that is needed to send a packet on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hop {
    /// Interface that the packet leaves by: below a VLAN device, the one that it is over.
    pub ifindex: u32,
    /// Name of that interface.
    pub interface: String,
    /// VLAN identifier to put on, when the route is through an 802.1Q device.
    pub vlan: Option<u16>,
    /// MAC address to send from.
    pub mac: [u8; 6],
    /// Largest IP packet, in bytes: of the interface, or of the route if that is less.
    pub mtu: u32,
    /// Who is sent to: the gateway, or the destination itself.
    pub gateway: IpAddr,
    /// Its MAC address.
    pub gateway_mac: [u8; 6],
}

/// Why there is no next hop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unresolved {
    /// No route leads there.
    NoRoute {
        /// What the kernel says.
        cause: String,
    },
    /// The destination is the node's own address.
    Local,
    /// A route forbids it.
    Forbidden,
    /// There is no such device.
    NoDevice {
        /// Its name.
        device: String,
    },
    /// The interface is down or has no carrier.
    Down {
        /// Its name.
        interface: String,
    },
    /// The interface has no Ethernet headers.
    NotEthernet {
        /// Its name.
        interface: String,
    },
    /// The interface sends through others, and the program is not attached to it.
    Indirect {
        /// Its name.
        interface: String,
        /// Its kind.
        kind: String,
    },
    /// The neighbour was asked for its MAC address and has not answered yet.
    Resolving {
        /// The neighbour.
        gateway: IpAddr,
        /// Where it is asked for.
        interface: String,
    },
    /// The neighbour does not answer.
    Silent {
        /// The neighbour.
        gateway: IpAddr,
        /// Where it was asked for.
        interface: String,
    },
    /// The kernel could not be asked.
    Unknown {
        /// Why.
        cause: String,
    },
}

impl Network {
    /// Next hops, in the order of the queries.
    ///
    /// The kernel decides about the route, with all its rules. Neighbours that are unknown, or
    /// not confirmed of late, are asked for; so calling this every few seconds keeps them fresh.
    /// `attached` names the interfaces that the program is attached to.
    pub async fn next_hops(&self, queries: &[Query], attached: &[String]) -> Vec<NextHop> {
        let surroundings = match self.surroundings().await {
            Ok(surroundings) => surroundings,
            Err(error) => {
                let unknown = NextHop::Unresolved(Unresolved::Unknown {
                    cause: format!("{error:#}"),
                });
                return vec![unknown; queries.len()];
            }
        };
        let mut hops = Vec::with_capacity(queries.len());
        for query in queries {
            hops.push(match self.resolve(query, attached, &surroundings).await {
                Ok(hop) => NextHop::Resolved(hop),
                Err(unresolved) => NextHop::Unresolved(unresolved),
            });
        }
        hops
    }

    /// The next hop of one query: as [`Network::next_hops`].
    pub async fn next_hop(&self, query: &Query, attached: &[String]) -> NextHop {
        let hops = self.next_hops(std::slice::from_ref(query), attached).await;
        hops.into_iter().next().expect("an answer for every query")
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
        Ok(Surroundings { links, neighbours })
    }

    async fn resolve(
        &self,
        query: &Query,
        attached: &[String],
        around: &Surroundings,
    ) -> Result<Hop, Unresolved> {
        let device = match &query.device {
            None => None,
            Some(name) => match around.links.get(name) {
                Some(link) => Some(link.index),
                None => {
                    return Err(Unresolved::NoDevice {
                        device: name.clone(),
                    });
                }
            },
        };
        let request = message::route_to(query.destination, query.source, device);
        let route = match self.get(RouteNetlinkMessage::GetRoute(request)).await {
            Ok(Some(RouteNetlinkMessage::NewRoute(route))) => Chosen::of(&route),
            Ok(_) => return Err(no_route("the kernel gave none")),
            Err(refusal) => return Err(refused(&refusal)),
        };
        let way = around.way(&route, query.destination, attached)?;
        let neighbour = around.neighbours.get(&(way.asked, way.gateway));
        if neighbour.is_none_or(|neighbour| neighbour.wants_asking()) {
            let request = message::use_neighbour(way.asked, way.gateway);
            let request = RouteNetlinkMessage::NewNeighbour(request);
            if let Err(refusal) = self.change(request, NLM_F_CREATE).await {
                tracing::debug!(gateway = %way.gateway, %refusal, "cannot ask for the neighbour");
            }
        }
        let interface = way.name;
        let gateway = way.gateway;
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

/// Links and neighbours, at one moment.
struct Surroundings {
    links: BTreeMap<String, Link>,
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
struct Chosen {
    kind: RouteType,
    oif: Option<u32>,
    gateway: Option<IpAddr>,
    mtu: Option<u32>,
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
        // The tag is put on by the program; it leaves by the interface below.
        let (interface, below, vlan) = match link.vlan {
            Some((below, id)) => match self.by_index(below) {
                Some((interface, below)) => (interface, below, Some(id)),
                None => return Err(no_route("the interface below its VLAN is gone")),
            },
            None => (name, link, None),
        };
        for (name, link) in [(name, link), (interface, below)] {
            if !(link.up && link.running) {
                return Err(Unresolved::Down {
                    interface: name.clone(),
                });
            }
        }
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
                vlan,
                mac,
                mtu: link.mtu.min(route.mtu.unwrap_or(u32::MAX)),
                gateway,
                gateway_mac: [0; 6],
            },
        })
    }

    fn by_index(&self, index: u32) -> Option<(&String, &Link)> {
        self.links.iter().find(|(_, link)| link.index == index)
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

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoute { cause } => write!(f, "no route leads there: {cause}"),
            Self::Local => write!(f, "it is an address of this node"),
            Self::Forbidden => write!(f, "a route forbids it"),
            Self::NoDevice { device } => write!(f, "there is no device {device}"),
            Self::Down { interface } => write!(f, "{interface} is down or has no carrier"),
            Self::NotEthernet { interface } => {
                write!(
                    f,
                    "{interface} has no Ethernet headers, so XDP cannot send by it"
                )
            }
            Self::Indirect { interface, kind } => write!(
                f,
                "{interface} is a {kind}, and lbxdp is not attached to it: name it under \
                 `interfaces`, or route through one that is"
            ),
            Self::Resolving { gateway, interface } => {
                write!(
                    f,
                    "{gateway} is being asked for its MAC address on {interface}"
                )
            }
            Self::Silent { gateway, interface } => {
                write!(
                    f,
                    "{gateway} does not answer on {interface} (ARP or neighbour discovery)"
                )
            }
            Self::Unknown { cause } => write!(f, "the kernel could not be asked: {cause}"),
        }
    }
}
