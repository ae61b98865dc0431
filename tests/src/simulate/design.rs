//! What a load balancer remembers of flows, if anything: the designs that the product is compared
//! with. Each deals all rows anew, by Maglev over those that take flows, whenever something changes.

use std::collections::{BTreeSet, HashMap};

use lbxdp::config::model::HashKey;
use lbxdp::steering::{Base, Member, Seed, table_size};
use lbxdp_ebpf::abi::{Address, FlowKey, Port};
use lbxdp_ebpf::hash::{expand_key, flow_hash, reduce};
use lbxdp_ebpf::wire::IPPROTO_TCP;
use lru::LruCache;

use super::{Event, Flow, OriginId, Shows};

/// A load balancer.
pub(super) trait Design {
    /// Something happens.
    fn take(&mut self, event: Event);
    /// A second begins.
    fn pass(&mut self, second: u32);
    /// Where a packet of a flow goes; `None` if nowhere.
    fn ask(&mut self, flow: &Flow, shows: Shows) -> Option<OriginId>;
    /// How many flows are remembered.
    fn state(&self) -> usize;
}

/// The secret of the hash.
pub(super) const KEY: [u8; 16] = *b"a key of 16 byte";

/// The flow of a number: clients have 60,000 ports each.
pub(super) fn key_of(number: u64) -> FlowKey {
    const PORTS: u64 = 60_000;
    let client = u32::try_from(number / PORTS).expect("few clients") + 0x6440_0001;
    let port = u16::try_from(number % PORTS).expect("below 60,000") + 1_024;
    FlowKey {
        source: Address::from_v4(client.to_be_bytes()),
        destination: Address::from_v4([198, 51, 100, 10]),
        source_port: Port::new(port),
        destination_port: Port::new(80),
        protocol: IPPROTO_TCP,
        ..FlowKey::EMPTY
    }
}

/// Rows that are dealt anew with every change.
struct Rebuilt {
    seed: Seed,
    key: [u64; 12],
    configured: BTreeSet<OriginId>,
    down: BTreeSet<OriginId>,
    rows: Vec<OriginId>,
}

impl Rebuilt {
    fn new(origins: usize) -> Self {
        let mut rebuilt = Self {
            seed: Seed::new(HashKey(KEY)),
            key: expand_key(KEY),
            configured: (0..OriginId::try_from(origins).expect("few origins")).collect(),
            down: BTreeSet::new(),
            rows: Vec::new(),
        };
        rebuilt.deal();
        rebuilt
    }

    fn deal(&mut self) {
        let members: Vec<Member> = self
            .configured
            .difference(&self.down)
            .map(|&origin| Member {
                id: self.seed.member("web", &origin.to_string()),
                pool: self.seed.pool("web"),
                weight: 1,
                origin,
            })
            .collect();
        let base = Base::new(&members, table_size(self.configured.len()), self.seed);
        self.rows = base.repair(|_| true).expect("some origin is up");
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Fails(_) | Event::HandOver => return,
            Event::FoundDown(origin) => self.down.insert(origin),
            Event::FoundUp(origin) => self.down.remove(&origin),
            Event::Added(origin) => self.configured.insert(origin),
            Event::Drained(origin) => self.configured.remove(&origin),
        };
        self.deal();
    }

    fn owner(&self, flow: &Flow) -> OriginId {
        let hash = flow_hash(&self.key, &key_of(flow.number));
        let size = u32::try_from(self.rows.len()).expect("few rows");
        self.rows[reduce(hash, size) as usize]
    }
}

/// Remembers nothing.
pub(super) struct Stateless(Rebuilt);

impl Stateless {
    pub(super) fn new(origins: usize) -> Self {
        Self(Rebuilt::new(origins))
    }
}

impl Design for Stateless {
    fn take(&mut self, event: Event) {
        self.0.take(event);
    }

    fn pass(&mut self, _: u32) {}

    fn ask(&mut self, flow: &Flow, _: Shows) -> Option<OriginId> {
        Some(self.0.owner(flow))
    }

    fn state(&self) -> usize {
        0
    }
}

/// Remembers every flow, however many there are.
pub(super) struct Full {
    rows: Rebuilt,
    flows: HashMap<u64, OriginId>,
}

impl Full {
    pub(super) fn new(origins: usize) -> Self {
        Self {
            rows: Rebuilt::new(origins),
            flows: HashMap::new(),
        }
    }
}

impl Design for Full {
    fn take(&mut self, event: Event) {
        self.rows.take(event);
        match event {
            Event::Fails(origin) => self.flows.retain(|_, with| *with != origin),
            Event::HandOver => self.flows.clear(),
            Event::FoundDown(_) | Event::FoundUp(_) | Event::Added(_) | Event::Drained(_) => {}
        }
    }

    fn pass(&mut self, _: u32) {}

    fn ask(&mut self, flow: &Flow, shows: Shows) -> Option<OriginId> {
        let owner = self.rows.owner(flow);
        let origin = *self.flows.entry(flow.number).or_insert(owner);
        if shows == Shows::Ends {
            self.flows.remove(&flow.number);
        }
        Some(origin)
    }

    fn state(&self) -> usize {
        self.flows.len()
    }
}

/// Remembers so many flows, and forgets whoever was not asked for longest.
pub(super) struct Lru {
    rows: Rebuilt,
    flows: LruCache<u64, OriginId>,
}

impl Lru {
    pub(super) fn new(origins: usize, room: usize) -> Self {
        let room = room.try_into().expect("room for some");
        Self {
            rows: Rebuilt::new(origins),
            flows: LruCache::new(room),
        }
    }
}

impl Design for Lru {
    fn take(&mut self, event: Event) {
        self.rows.take(event);
        if event == Event::HandOver {
            self.flows.clear();
        }
    }

    fn pass(&mut self, _: u32) {}

    fn ask(&mut self, flow: &Flow, shows: Shows) -> Option<OriginId> {
        let known = self.flows.get(&flow.number).copied();
        let origin = known.unwrap_or_else(|| self.rows.owner(flow));
        if shows == Shows::Ends {
            self.flows.pop(&flow.number);
        } else if known.is_none() {
            self.flows.put(flow.number, origin);
        }
        Some(origin)
    }

    fn state(&self) -> usize {
        self.flows.len()
    }
}
