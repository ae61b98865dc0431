//! Sessions of translated flows: which are over, and how much of the room for them is taken. Pure.
//!
//! Each direction of a flow notes what it has seen in a map of its own; only both together tell
//! whether the flow is dead. The program takes no mapping away but one whose session found no room,
//! so that a port is given out again only after both directions have been silent for as long as
//! `node.snat_timeouts` says.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use lbxdp_ebpf::abi::{
    FlowKey, Mapping, OriginIndex, SEEN_ESTABLISHED, SEEN_FIN, SEEN_RST, Seen, Service, Session,
};
use lbxdp_ebpf::wire::IPPROTO_TCP;

use crate::config::model::SnatTimeouts;

/// Share of the room from which on it is a problem that it is taken.
const CROWDED: f64 = 0.8;

/// What a look at all sessions has found.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Census {
    /// Mappings, each of which takes a source port.
    pub mappings: usize,
    /// Mappings by origin.
    pub by_origin: BTreeMap<OriginIndex, usize>,
    /// Mappings by the origin's transport address: source ports taken towards it.
    pub by_destination: BTreeMap<Service, usize>,
}

/// A flow that is over: what is to be taken away, if it has not been seen since.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dead {
    /// The client's flow, if it still has this translation.
    pub session: Option<(FlowKey, Seen)>,
    /// The way back, if there is one.
    pub mapping: Option<(FlowKey, Seen)>,
}

/// Looks at all sessions and mappings as they are at `now`, a [`Seen::tick`].
#[must_use]
pub fn sweep(
    sessions: &HashMap<FlowKey, Session>,
    mappings: &HashMap<FlowKey, Mapping>,
    timeouts: &SnatTimeouts,
    now: u32,
) -> (Census, Vec<Dead>) {
    let mut census = Census::default();
    let mut dead = Vec::new();
    let mut with_way_back = HashSet::new();
    for (back, mapping) in mappings {
        let flow = flow_of(back, mapping);
        let session = sessions
            .get(&flow)
            .filter(|session| is_translated_to(session, back));
        if session.is_some() {
            with_way_back.insert(flow);
        }
        let silence = timeout(
            back.protocol,
            session.map(|s| s.seen),
            mapping.seen,
            timeouts,
        );
        let last = session.map_or(0, |session| session.seen.tick);
        if is_silent(last.max(mapping.seen.tick), silence, now) {
            dead.push(Dead {
                session: session.map(|session| (flow, session.seen)),
                mapping: Some((*back, mapping.seen)),
            });
            continue;
        }
        census.mappings += 1;
        *census.by_origin.entry(mapping.origin).or_default() += 1;
        let destination = Service {
            address: back.source,
            port: back.source_port,
            protocol: back.protocol,
            range: 0,
            vnet: back.vnet,
        };
        *census.by_destination.entry(destination).or_default() += 1;
    }
    // The answers of these would find nobody: their next packets shall begin others.
    for (flow, session) in sessions {
        if !with_way_back.contains(flow) && is_silent(session.seen.tick, Duration::ZERO, now) {
            dead.push(Dead {
                session: Some((*flow, session.seen)),
                mapping: None,
            });
        }
    }
    (census, dead)
}

/// The client's flow that a mapping is the way back of.
fn flow_of(back: &FlowKey, mapping: &Mapping) -> FlowKey {
    FlowKey {
        source: mapping.client,
        destination: mapping.address,
        source_port: mapping.client_port,
        destination_port: mapping.port,
        vnet: mapping.vnet,
        protocol: back.protocol,
        reserved: [0; 3],
    }
}

/// Whether this is the session's way back, and not that of an earlier translation.
fn is_translated_to(session: &Session, back: &FlowKey) -> bool {
    (session.source, session.source_port) == (back.destination, back.destination_port)
}

/// How long a flow of which this has been seen may be silent.
fn timeout(protocol: u8, client: Option<Seen>, origin: Seen, timeouts: &SnatTimeouts) -> Duration {
    if protocol != IPPROTO_TCP {
        return timeouts.udp;
    }
    // Of a translation that the flow has left behind, no packet from the client will come.
    let Some(client) = client else {
        return timeouts.tcp_transitory;
    };
    let both = client.state & origin.state;
    let either = client.state | origin.state;
    // RFC 7857, 2.1 and 2.2: a FIN from one end leaves the other free to send on.
    let stands = both & SEEN_ESTABLISHED != 0 && both & SEEN_FIN == 0 && either & SEEN_RST == 0;
    if stands {
        timeouts.tcp_established
    } else {
        timeouts.tcp_transitory
    }
}

/// Whether more than `timeout` has passed for certain: a tick may have begun just before it.
pub(crate) fn is_silent(last: u32, timeout: Duration, now: u32) -> bool {
    let ticks = timeout.as_nanos().div_ceil(u128::from(Seen::TICK_NS));
    u128::from(now.saturating_sub(last)) > ticks + 1
}

/// What there is too little of, as sentences that stay the same as long as it lasts; `room` is for
/// how many flows the maps have room, `ports` how many source ports there are towards a
/// destination, and its name.
pub fn shortages(
    census: &Census,
    room: usize,
    ports: impl Fn(&Service) -> Option<(usize, String)>,
) -> Vec<String> {
    let mut shortages = Vec::new();
    if is_crowded(census.mappings, room) {
        shortages.push(format!(
            "more than 80 % of the room for translated flows is taken (SESSIONS and MAPPINGS hold \
             {room}): shorten `node.snat_timeouts`, or spread the clients over more nodes"
        ));
    }
    for (destination, &taken) in &census.by_destination {
        let Some((all, name)) = ports(destination) else {
            continue;
        };
        if is_crowded(taken, all) {
            shortages.push(format!(
                "more than 80 % of the {all} source ports towards {name} are taken: give its VNet \
                 a larger `snat` range"
            ));
        }
    }
    shortages
}

fn is_crowded(taken: usize, all: usize) -> bool {
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of flows are far below 2^52"
    )]
    let share = taken as f64 / all.max(1) as f64;
    share > CROWDED
}

#[cfg(test)]
mod tests;
