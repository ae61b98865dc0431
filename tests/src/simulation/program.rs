use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use lbxdp::dataplane::Content;
use lbxdp::flows::{self, Live};
use lbxdp::steering::Tracked;
use lbxdp_ebpf::abi::{
    Address, FlowKey, ORIGIN_DOWN, Origin, OriginIndex, ROW_GENERATION, ROW_INSERT, ROW_LOOKUP,
    Row, Service,
};
use lbxdp_ebpf::hash::reduce;

/// A TCP flow of clients.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Flow {
    /// The listener that it is with.
    pub service: Service,
    /// Its hash, which tells it from all others.
    pub hash: u32,
}

/// Where a packet goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Destination {
    /// The slot.
    pub origin: OriginIndex,
    /// Who has it.
    pub identity: u32,
}

/// The data path: rows and origins of the maps, and a flow table that holds as many as there are.
#[derive(Clone, Default, Debug)]
pub struct Program {
    flows: BTreeMap<Flow, Entry>,
    /// What needed not be recorded at the last sweep.
    superfluous: Vec<Live>,
    /// How often the flow table was asked or written.
    pub accesses: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    destination: Destination,
    seen: SystemTime,
}

impl Program {
    /// Where a packet goes, if it is forwarded; `syn` begins a flow.
    pub fn send(
        &mut self,
        maps: &Content,
        flow: Flow,
        syn: bool,
        now: SystemTime,
    ) -> Option<Destination> {
        let table = &maps.tables[&maps.listeners.get(&flow.service)?.table];
        let row = (table.rows).get(reduce(flow.hash, table.table.rows) as usize)?;
        let mut is_displaced = false;
        if row.flags & ROW_LOOKUP != 0 {
            self.accesses += 1;
            if let Some(entry) = self.flows.get_mut(&flow) {
                if existing(maps, entry.destination) {
                    entry.seen = now;
                    return Some(entry.destination);
                }
                is_displaced = true;
            }
        }
        let (origin, is_recorded) = if syn {
            (row.current, row.flags & (ROW_INSERT | ROW_GENERATION) != 0)
        } else {
            let place = reduce(flow.hash, table.previous_rows());
            match previous(maps, row, place) {
                Some(previous) => (previous, true),
                // Of one that continues, the owner before is down.
                None => (row.current, row.flags & (ROW_INSERT | ROW_GENERATION) != 0),
            }
        };
        let destination = Destination {
            origin,
            identity: maps.origins.get(&origin)?.identity,
        };
        if is_recorded || is_displaced {
            self.accesses += 1;
            let entry = Entry {
                destination,
                seen: now,
            };
            self.flows.insert(flow, entry);
        }
        Some(destination)
    }

    /// Forgets what has been silent for long, and sums up what is left. What is not needed is
    /// forgotten as late as it may be: before the next sweep, whatever has happened meanwhile.
    pub fn sweep(&mut self, maps: &Content, idle: Duration, now: SystemTime) -> Tracked {
        let gone = self.superfluous.drain(..);
        let gone: BTreeSet<_> = gone.map(|flow| (flow.key, flow.origin)).collect();
        self.flows
            .retain(|flow, entry| !gone.contains(&(key_of(flow), entry.destination.origin)));
        self.flows
            .retain(|_, entry| now.duration_since(entry.seen).is_ok_and(|age| age < idle));
        let live = self.flows.iter().filter_map(|(flow, entry)| {
            let listener = maps.listeners.get(&flow.service)?;
            Some(Live {
                key: key_of(flow),
                listener: listener.counter,
                hash: flow.hash,
                origin: entry.destination.origin,
            })
        });
        let live: Vec<Live> = live.collect();
        let (tracked, superfluous) = flows::sum(&live, |counter| {
            let mut listeners = maps.listeners.values();
            let table = listeners.find(|it| it.counter == counter)?.table;
            Some((table, &maps.tables.get(&table)?.rows))
        });
        self.superfluous = superfluous;
        tracked
    }

    /// How many flows are in the flow table.
    #[must_use]
    pub fn tracked(&self) -> usize {
        self.flows.len()
    }
}

/// The key of a flow: its hash is the client.
fn key_of(flow: &Flow) -> FlowKey {
    FlowKey {
        source: Address::from_v4(flow.hash.to_be_bytes()),
        destination: flow.service.address,
        destination_port: flow.service.port,
        vnet: flow.service.vnet,
        protocol: flow.service.protocol,
        ..FlowKey::EMPTY
    }
}

/// Whether an entry's origin is still the same one, and answers.
fn existing(maps: &Content, destination: Destination) -> bool {
    let origin = maps.origins.get(&destination.origin);
    origin.is_some_and(|origin| {
        origin.identity == destination.identity && origin.flags & ORIGIN_DOWN == 0
    })
}

/// The owner before, of a row that has changed hands, if it answers.
fn previous(maps: &Content, row: Row, place: u32) -> Option<OriginIndex> {
    if row.flags & ROW_GENERATION == 0 {
        return None;
    }
    let owner = row.previous[place as usize & 1];
    let origin: &Origin = maps.origins.get(&owner)?;
    (origin.flags & ORIGIN_DOWN == 0).then_some(owner)
}
