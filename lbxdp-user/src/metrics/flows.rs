//! State of flows: translations, and flows of rows at risk.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::family::{Family, Source};
use crate::api::{self, SourcePorts};

pub(super) const FAMILIES: &[Family] = &[
    Family::gauge(
        "snat_sessions",
        &[],
        "Flows whose source address is translated (`source = \"snat\"`), counted every few seconds.",
        Source::Status(|status, out| out.add(&[], status.sessions.open)),
    ),
    Family::gauge(
        "snat_sessions_capacity",
        &[],
        "For how many such flows there is room.",
        Source::Status(|status, out| out.add(&[], status.sessions.capacity)),
    ),
    Family::gauge(
        "snat_ports_taken",
        TOWARDS,
        "Source ports that are taken towards an address and port of an origin that has any; `port` \
         is one that an origin or a listener is configured with, or `other` for the fullest of all \
         others.",
        Source::Status(|status, out| {
            for (towards, Ports { taken, all: _ }) in ports(status) {
                out.add(&towards.labels(), taken)?;
            }
            Ok(())
        }),
    ),
    Family::gauge(
        "snat_ports_capacity",
        TOWARDS,
        "How many source ports there are towards it, taken or not.",
        Source::Status(|status, out| {
            for (towards, Ports { taken: _, all }) in ports(status) {
                out.add(&towards.labels(), all)?;
            }
            Ok(())
        }),
    ),
    Family::gauge(
        "flows_tracked",
        &[],
        "Flows of rows at risk that are recorded, counted every few seconds.",
        Source::Status(|status, out| out.add(&[], status.flows.tracked)),
    ),
    Family::gauge(
        "flows_capacity",
        &[],
        "For how many such flows there is room.",
        Source::Status(|status, out| out.add(&[], status.flows.capacity)),
    ),
    Family::counter(
        "flow_hits",
        &[],
        "Packets whose flow was recorded.",
        Source::Status(|status, out| out.add(&[], status.flows.hits)),
    ),
    Family::counter(
        "flows_inserted",
        &[],
        "Flows that were recorded.",
        Source::Status(|status, out| out.add(&[], status.flows.inserted)),
    ),
    Family::counter(
        "flows_opened",
        &[],
        "First packets of flows that were recorded.",
        Source::Status(|status, out| out.add(&[], status.flows.opened)),
    ),
    Family::counter(
        "flows_refused",
        &[],
        "Flows that were not recorded at once, for there were more than `node.flow_rate` allows.",
        Source::Status(|status, out| out.add(&[], status.flows.refused)),
    ),
    Family::counter(
        "flows_evicted",
        &[],
        "Recorded flows that others have pushed out.",
        Source::Status(|status, out| out.add(&[], status.flows.evicted)),
    ),
    Family::counter(
        "flows_expired",
        &[],
        "Recorded flows that were forgotten, for they had been silent.",
        Source::Status(|status, out| out.add(&[], status.flows.expired)),
    ),
];

const TOWARDS: &[&str] = &["virtual_network", "address", "port", "protocol"];

/// To where source ports lead.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Towards<'s> {
    vnet: &'s str,
    address: IpAddr,
    /// `None` for any that is not configured as such.
    port: Option<u16>,
    protocol: &'s str,
    texts: [String; 2],
}

impl Towards<'_> {
    fn labels(&self) -> [&str; 4] {
        let [address, port] = &self.texts;
        [self.vnet, address, port, self.protocol]
    }
}

/// Source ports.
#[derive(Clone, Copy)]
struct Ports {
    taken: usize,
    all: usize,
}

/// Source ports by where they lead to. Listeners of many ports, before origins that keep them, would
/// let clients choose how many there are: of ports that are not configured as such, the one with the
/// most taken stands for all.
fn ports(status: &api::Status) -> BTreeMap<Towards<'_>, Ports> {
    let origins = status.pools.iter().flat_map(|pool| &pool.origins);
    let listeners = (status.load_balancers.iter()).flat_map(|balancer| &balancer.listeners);
    let configured: BTreeSet<u16> = origins
        .map(|origin| origin.port)
        .chain(listeners.filter_map(|listener| listener.ports.parse().ok()))
        .collect();
    let mut all = BTreeMap::new();
    for ports in &status.sessions.ports {
        let SourcePorts {
            towards: _,
            virtual_network,
            address,
            port,
            protocol,
            taken,
            available,
        } = ports;
        let port = Some(*port).filter(|port| configured.contains(port));
        let port_text = port.map_or_else(|| "other".to_owned(), |port| port.to_string());
        let towards = Towards {
            vnet: virtual_network,
            address: *address,
            port,
            protocol,
            texts: [address.to_string(), port_text],
        };
        let fullest = all.entry(towards).or_insert(Ports {
            taken: *taken,
            all: *available,
        });
        if fullest.taken < *taken {
            *fullest = Ports {
                taken: *taken,
                all: *available,
            };
        }
    }
    all
}
