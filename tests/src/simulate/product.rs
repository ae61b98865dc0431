//! The product: its state, its rows, its packet path.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use lbxdp::config;
use lbxdp::config::model::Config;
use lbxdp::dataplane::{Content, Published};
use lbxdp::flows;
use lbxdp::rows::Rows;
use lbxdp_ebpf::abi::{OriginIndex, Seen};
use lbxdp_ebpf::hash::{flow_hash, reduce};
use lbxdp_ebpf::mem::{MemFrame, MemTables};
use lbxdp_ebpf::pipeline::process;
use lbxdp_ebpf::verdict::Kind;

use super::design::{Design, KEY, key_of};
use super::{Event, Flow, OriginId, Shows};
use crate::cases::world::{ETH0, NODE_MAC, ROUTER_MAC};
use crate::packet::Packet;
use crate::simulation::Node;

/// Seconds between two sweeps of the flow table, as the agent has them.
const SWEEP_EVERY: u32 = 2;

/// A node, and what its program sees.
pub(super) struct Product {
    node: Node,
    tables: MemTables,
    /// Weights of the configured origins.
    weights: BTreeMap<OriginId, f64>,
    /// Rows in force.
    rows: Rows,
    /// Origins by slot.
    slots: BTreeMap<OriginIndex, OriginId>,
    now: SystemTime,
    /// A packet of any flow.
    template: Vec<u8>,
}

impl Product {
    pub(super) fn new(origins: usize) -> Self {
        let count = OriginId::try_from(origins).expect("few origins");
        let weights: BTreeMap<OriginId, f64> = (0..count).map(|origin| (origin, 1.0)).collect();
        let now = SystemTime::UNIX_EPOCH;
        let template = Packet::eth(ROUTER_MAC, NODE_MAC)
            .ip("192.0.2.1", "198.51.100.10")
            .tcp(1, 80)
            .bytes();
        let mut product = Self {
            node: Node::start(configuration(&weights), Content::default(), now),
            tables: MemTables::default(),
            weights,
            rows: Rows::default(),
            slots: BTreeMap::new(),
            now,
            template,
        };
        for origin in 0..count {
            product.found(origin, true);
        }
        product.settle();
        product
    }

    fn found(&mut self, origin: OriginId, is_healthy: bool) {
        self.node.probe("web", &name(origin), is_healthy, self.now);
    }

    fn configure(&mut self) {
        self.node.reload(configuration(&self.weights), self.now);
    }

    /// Brings the maps in line, as the agent does, and makes the tables in memory what they are.
    fn settle(&mut self) {
        self.node.settle(self.now);
        let Content {
            node,
            listeners,
            origins,
            tables,
            ..
        } = self.node.maps();
        self.tables.node = Some(*node);
        self.tables.listeners.clone_from(listeners);
        self.tables.origins.clone_from(origins);
        let listener = listeners.values().next().expect("there is a listener");
        let Published { table, rows } = &tables[&listener.table];
        self.tables.tables = BTreeMap::from([(listener.table, *table)]);
        if self.rows != *rows {
            self.rows.clone_from(rows);
            self.tables.rows = (table.first_row()..).zip(rows.iter()).collect();
        }
        for (slot, origin) in origins {
            let [.., a, b] = origin.address.octets();
            let id = OriginId::from_be_bytes([a, b]).wrapping_sub(1);
            self.slots.insert(*slot, id);
        }
    }

    fn sweep(&mut self) {
        let idle = self.node.state().config().node.flow_idle;
        let tick = Seen::tick_of(self.tables.now_ns);
        let (live, silent) = flows::sort(self.tables.flows.entries(), idle, tick);
        for (key, _) in silent {
            self.tables.flows.lock().remove(&key);
        }
        let listener = self.tables.listeners.values().next();
        let table = listener.expect("there is a listener").table;
        let (tracked, superfluous) = flows::sum(&live, |_| Some((table, &self.rows)));
        for flow in superfluous {
            self.tables.flows.lock().remove(&flow.key);
        }
        self.node.swept(tracked, self.now);
    }
}

impl Design for Product {
    fn take(&mut self, event: Event) {
        match event {
            Event::Fails(_) => return,
            Event::FoundDown(origin) => self.found(origin, false),
            Event::FoundUp(origin) => self.found(origin, true),
            Event::Added(origin) => {
                self.weights.insert(origin, 1.0);
                self.configure();
                self.found(origin, true);
            }
            Event::Drained(origin) => {
                self.weights.insert(origin, 0.0);
                self.configure();
            }
            // The other node has the same rows, and no flows.
            Event::HandOver => {
                self.tables.flows.lock().clear();
                self.tables.opening.lock().clear();
            }
        }
        self.settle();
    }

    fn pass(&mut self, second: u32) {
        self.now = SystemTime::UNIX_EPOCH + Duration::from_secs(second.into());
        // Not 0, which is the tick of what was never seen.
        self.tables.now_ns = u64::from(second + 10) * 1_000_000_000;
        if second.is_multiple_of(SWEEP_EVERY) {
            self.sweep();
            self.settle();
        }
        let due = self.node.state().due_at();
        if due.is_some_and(|due| due <= self.now) {
            self.settle();
        }
    }

    fn ask(&mut self, flow: &Flow, shows: Shows) -> Option<OriginId> {
        let key = key_of(flow.number);
        let hash = flow_hash(&self.node.maps().node.hash_key, &key);
        let size = u32::try_from(self.rows.len()).expect("few rows");
        let row = self.rows.get(reduce(hash, size) as usize)?;
        if row.flags == 0 {
            // Nothing else decides; this saves the most of the time.
            return self.slots.get(&row.current).copied();
        }
        const SYN: u8 = 0x02;
        const ACK: u8 = 0x10;
        const FIN: u8 = 0x01;
        let flags = match shows {
            Shows::Opens => SYN,
            Shows::Continues => ACK,
            Shows::Ends => ACK | FIN,
        };
        let [.., a, b, c, d] = key.source.octets();
        self.template[26..30].copy_from_slice(&[a, b, c, d]);
        self.template[34..36].copy_from_slice(&key.source_port.to_bytes());
        self.template[47] = flags;
        let mut frame = MemFrame::new(&self.template);
        let verdict = process(&mut frame, &self.tables, ETH0);
        assert_eq!(verdict.reason.kind(), Kind::Forward, "{:?}", verdict.reason);
        let slot = OriginIndex::try_from(verdict.origin.get()?).ok()?;
        self.slots.get(&slot).copied()
    }

    fn state(&self) -> usize {
        self.tables.flows.lock().len() + self.tables.opening.lock().len()
    }
}

fn name(origin: OriginId) -> String {
    format!("origin-{origin}")
}

/// What an operator would write.
fn configuration(weights: &BTreeMap<OriginId, f64>) -> Config {
    let key = KEY.map(|byte| format!("{byte:02x}")).concat();
    let mut text = format!(
        r#"
[node]
interfaces = ["eth0"]
hash_key = "{key}"

[[monitor]]
name = "tcp"
type = "tcp"
port = 80

[[load_balancer]]
name = "web"
listeners = [{{ address = "198.51.100.10", port = 80, protocol = "tcp" }}]
default_pools = ["web"]

[[pool]]
name = "web"
monitor = "tcp"
forwarding = "nat"
source = "preserve"
"#
    );
    for (origin, weight) in weights {
        let [a, b] = (origin + 1).to_be_bytes();
        write!(
            text,
            "[[pool.origin]]\nname = \"{}\"\naddress = \"10.0.{a}.{b}\"\nweight = {weight:.1}\n\
             virtual_network = \"local\"\n",
            name(*origin)
        )
        .expect("a string takes all");
    }
    match config::parse(&text, Path::new("simulation.toml")) {
        Ok(loaded) => loaded.config,
        Err(invalid) => panic!("{invalid}"),
    }
}
