//! What the product promises of flows, under random sequences of edits, failures and returns.
//!
//! The agent's real decisions ([`Node`]) and the program's ([`Program`]) against a model that knows
//! no rows: each flow has a server from its first packet on, and keeps it until it, or the server,
//! is over. Every other flow, as those of QUIC may, goes on with another server then, and keeps that
//! one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use lbxdp::config;
use lbxdp::config::model::{Config, LoadBalancer, Origin, Pool, Steering};
use lbxdp::dataplane::Content;
use lbxdp::health::Health;
use lbxdp::rows::Rows;
use lbxdp::steering::Why;
use lbxdp_ebpf::abi::{
    Address, Origin as Slot, OriginIndex, Port, ROW_GENERATION, Row, Service, VnetId,
};
use lbxdp_ebpf::hash::{mix, reduce};
use tests::simulation::{Destination, Flow, Node, Program};

const BASE: &str = r#"
    [node]
    interfaces = ["eth0"]
    addresses = ["203.0.113.1"]
    hash_key = "00112233445566778899aabbccddeeff"
    [[monitor]]
    name = "probed"
    type = "tcp"
    port = 80
    [[pool]]
    name = "p0"
    monitor = "probed"
    source = "snat"
    origin = [{ name = "o0", address = "20.0.0.1" }, { name = "o1", address = "20.0.0.2" }]
    [[pool]]
    name = "p1"
    monitor = "probed"
    source = "snat"
    origin = [{ name = "o0", address = "20.0.1.1" }, { name = "o1", address = "20.0.1.2" }]
    [[pool]]
    name = "p2"
    source = "snat"
    origin = [{ name = "o0", address = "20.0.2.1" }, { name = "o1", address = "20.0.2.2" }]
    [[load_balancer]]
    name = "b0"
    listeners = [{ address = "198.51.100.10", port = 80, protocol = "tcp" }]
    default_pools = ["p0", "p1"]
    [[load_balancer]]
    name = "b1"
    listeners = [{ address = "198.51.100.11", port = 80, protocol = "tcp" }]
    default_pools = ["p0"]
    fallback_pool = "p2"
"#;
const POOLS: [&str; 3] = ["p0", "p1", "p2"];
/// Window and idle time of the configuration: who is silent for so long is not promised anything.
const SILENCE: Duration = Duration::from_secs(300);
/// Within so much time the agent sweeps the flow table.
const SWEEP_EVERY: Duration = Duration::from_secs(2);
/// Sequences that have found something. 64: a flow was forgotten that had found another server since
/// its record was last seen not to be needed.
const REGRESSIONS: [u64; 1] = [64];
/// A sequence of that many steps, each an event, a time, and packets.
const STEPS: usize = 24;

/// The seeds of the sequences: `LBXDP_SEQUENCES` of them, or enough to meet each kind of event, from
/// `LBXDP_FIRST_SEQUENCE` on, or 0, and those that have found something. A thousand take minutes.
fn seeds() -> impl Iterator<Item = u64> {
    let asked = |name, default| {
        let text = std::env::var(name).ok();
        text.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let first = asked("LBXDP_FIRST_SEQUENCE", 0);
    let seeds = first..first + asked("LBXDP_SEQUENCES", 12);
    REGRESSIONS.into_iter().chain(seeds)
}

#[test]
fn no_flow_loses_its_server_by_what_happens_to_others() {
    let mut seen = Seen::default();
    for seed in seeds() {
        let mut model = Model::new(seed);
        for _ in 0..STEPS {
            model.step();
        }
        model.calm_down();
        seen.add(&model.seen);
    }
    println!("{seen:?}");
    // A model that nothing happens to would agree with anything.
    let Seen {
        packets,
        moved_rows,
        flows,
        survived_edits,
        displaced_flows,
        growths,
    } = seen;
    for (what, count) in [
        ("packets", packets),
        ("rows that remember an owner", moved_rows),
        ("flows", flows),
        (
            "flows that outlived their origin's configuration",
            survived_edits,
        ),
        ("flows that found another server", displaced_flows),
        ("tables that have grown", growths),
    ] {
        assert!(count > 0, "no {what}");
    }
}

#[derive(Default, Debug)]
struct Seen {
    packets: u64,
    moved_rows: u64,
    flows: u64,
    survived_edits: u64,
    displaced_flows: u64,
    growths: u64,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.moved_rows += other.moved_rows;
        self.flows += other.flows;
        self.survived_edits += other.survived_edits;
        self.displaced_flows += other.displaced_flows;
        self.growths += other.growths;
    }
}

/// The address of a server.
type Server = IpAddr;

struct Model {
    random: u64,
    now: SystemTime,
    config: Config,
    node: Node,
    program: Program,
    /// Servers that do not answer.
    dead: BTreeSet<Server>,
    /// Who has each flow, if that is known, and when it spoke last.
    flows: BTreeMap<Flow, (Option<Server>, SystemTime)>,
    events: Vec<String>,
    seen: Seen,
}

impl Model {
    fn new(seed: u64) -> Self {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let config = config::parse(BASE, Path::new("/"))
            .expect("the configuration is valid")
            .config;
        let node = Node::start(config.clone(), Content::default(), now);
        let mut model = Self {
            random: seed,
            now,
            config,
            node,
            program: Program::default(),
            dead: BTreeSet::new(),
            flows: BTreeMap::new(),
            events: vec![format!("seed {seed}")],
            seen: Seen::default(),
        };
        model.probe(1);
        model.node.settle(now);
        model
    }

    fn step(&mut self) {
        match self.random(12) {
            0..4 => self.flap(),
            4..10 => {
                let edits = 1 + self.random(2);
                for _ in 0..edits {
                    self.edit();
                }
                self.node.reload(self.config.clone(), self.now);
                self.report_known();
            }
            10 => {
                self.events.push("restart".to_owned());
                let node = self.node.clone();
                self.node = node.restart(self.now);
            }
            _ => {}
        }
        self.settle();
        self.send();
        let seconds = [0, 0, 1, 20, 100, 290, 310][self.random(7)];
        self.pass(Duration::from_secs(seconds));
        self.probe(2);
        self.settle();
        self.send();
    }

    /// A server dies, or one that is dead comes back.
    fn flap(&mut self) {
        let dead: Vec<_> = self.dead.iter().copied().collect();
        if !dead.is_empty() && self.random(2) == 0 {
            let server = dead[self.random(dead.len())];
            self.events.push(format!("{server} returns"));
            self.dead.remove(&server);
        } else {
            let name = ["p0", "p1"][self.random(2)];
            let pool = &self.config.pools[name];
            let servers: Vec<_> = pool.origins.values().map(|it| it.address).collect();
            let server = servers[self.random(servers.len())];
            self.events.push(format!("{server} dies"));
            self.flows
                .retain(|flow, (with, _)| *with != Some(server) || outlives_servers(*flow));
            for (with, _) in self.flows.values_mut() {
                with.take_if(|with| *with == server);
            }
            self.dead.insert(server);
        }
        self.report_known();
    }

    fn report(&mut self, pool: &str, origin: &str) {
        let server = self.config.pools[pool].origins[origin].address;
        let is_healthy = !self.dead.contains(&server);
        self.node.probe(pool, origin, is_healthy, self.now);
    }

    /// Probes origins that have been probed before.
    fn report_known(&mut self) {
        for (pool, origin) in self.origins() {
            match self.node.health(&pool, &origin) {
                Some(Health::Healthy | Health::Unhealthy) => self.report(&pool, &origin),
                Some(Health::Unknown) | None => {}
            }
        }
    }

    /// Probes origins that have not been: one in so many.
    fn probe(&mut self, one_in: usize) {
        for (pool, origin) in self.origins() {
            let is_unknown = self.node.health(&pool, &origin) == Some(Health::Unknown);
            if is_unknown && self.random(one_in) == 0 {
                self.report(&pool, &origin);
            }
        }
    }

    fn origins(&self) -> Vec<(String, String)> {
        let pools = self.config.pools.iter();
        pools
            .flat_map(|(pool, it)| it.origins.keys().map(|o| (pool.clone(), o.clone())))
            .collect()
    }

    fn edit(&mut self) {
        let kind = self.random(20);
        let name = POOLS[self.random(3)];
        let (number, weight) = (self.random(6), [0.0, 0.3, 1.0][self.random(3)]);
        let (minimum, switch) = (1 + self.random(2), self.random(2) == 0);
        let pool = self.config.pools.get_mut(name).expect("it is there");
        let origin = format!("o{number}");
        let event = match kind {
            0..5 => {
                add(pool, name, number);
                format!("add {name}/{origin}")
            }
            5..9 => {
                if pool.origins.len() > 1 {
                    pool.origins.remove(&origin);
                }
                format!("remove {name}/{origin}")
            }
            9..13 => {
                if let Some(origin) = pool.origins.get_mut(&origin) {
                    origin.weight = weight;
                }
                format!("weigh {name}/{origin} {weight}")
            }
            13 => {
                if let Some(origin) = pool.origins.get_mut(&origin) {
                    origin.enabled = switch;
                }
                format!("enable {name}/{origin} {switch}")
            }
            14 => {
                pool.minimum_origins = minimum;
                format!("minimum of {name} {minimum}")
            }
            15 => {
                pool.enabled = switch;
                format!("enable {name} {switch}")
            }
            18 => {
                if let Some(origin) = pool.origins.get_mut(&origin) {
                    origin.address = address(name, number + if switch { 100 } else { 0 });
                }
                format!("move {name}/{origin} {switch}")
            }
            16 => {
                if pool.origins.len() > 30 {
                    pool.origins.retain(|name, _| name.len() < 3);
                } else {
                    (10..52).for_each(|number| add(pool, name, number));
                }
                let (origins, has_grown) = (pool.origins.len(), pool.origins.len() > 30);
                self.seen.growths += u64::from(has_grown);
                format!("{origins} origins in {name}")
            }
            _ => {
                let name = ["b0", "b1"][self.random(2)];
                let (first, second) = (self.random(3), self.random(4));
                let (fallback, is_random) = (self.random(6), self.random(2) == 0);
                let balancer = (self.config.load_balancers.get_mut(name)).expect("it is there");
                steer(balancer, [first, second], fallback, is_random);
                let LoadBalancer {
                    default_pools,
                    fallback_pool,
                    ..
                } = balancer;
                format!("steer {name} {default_pools:?} {fallback_pool:?} {is_random}")
            }
        };
        self.events.push(event);
    }

    fn settle(&mut self) {
        // The next hop of what leaves may have come to be known by the first one.
        let is_settled = (0..3).any(|_| self.node.settle(self.now) == 0);
        assert!(is_settled, "{}", self.story());
        let rows = self
            .node
            .maps()
            .tables
            .values()
            .flat_map(|it| it.rows.iter());
        let moved = rows.filter(|row| row.flags & ROW_GENERATION != 0).count();
        self.seen.moved_rows += moved as u64;
        // The first rows of a table wait for first results: nobody owns them, for a second.
        if self.node.state().held_until().is_some() {
            return;
        }
        self.check_owners();
        if self.random(6) == 0 {
            self.check_peer();
        }
    }

    fn pass(&mut self, time: Duration) {
        self.events.push(format!("{time:?}"));
        // Much may happen between two sweeps.
        let sweeps = time >= SWEEP_EVERY;
        if sweeps || self.random(4) == 0 {
            self.sweep();
        }
        let then = self.now + time;
        self.node.pass(self.now, then);
        self.now = then;
        if sweeps {
            self.sweep();
        }
    }

    fn sweep(&mut self) {
        let tracked = self.program.sweep(self.node.maps(), SILENCE, self.now);
        self.node.swept(tracked, self.now);
    }

    /// Packets of most flows there are, and a few new flows.
    fn send(&mut self) {
        let now = self.now;
        self.flows.retain(|_, (_, last)| *last + SILENCE > now);
        for flow in self.flows.keys().copied().collect::<Vec<_>>() {
            if self.random(4) == 0 {
                continue;
            }
            let reached = self.reach(flow, false);
            let (server, last) = self.flows.get_mut(&flow).expect("it is there");
            *last = now;
            let Some(server) = *server else {
                *server = reached.filter(|reached| !self.dead.contains(reached));
                self.seen.displaced_flows += u64::from(server.is_some());
                continue;
            };
            assert!(
                reached == Some(server),
                "{flow:?} with {server} has gone to {reached:?} by {:?}: {}",
                self.row(flow),
                self.story()
            );
            let is_configured = self.configured(server).next().is_some();
            self.seen.survived_edits += u64::from(!is_configured);
        }
        for _ in 0..12 {
            let flow = Flow {
                service: service(10 + self.random(2) as u8),
                hash: self.bits() as u32,
            };
            let Some(server) = self.reach(flow, true) else {
                continue;
            };
            let takes_new = (self.configured(server))
                .any(|(pool, it)| pool.enabled && it.enabled && it.weight > 0.0);
            assert!(takes_new, "{server} has got a new flow: {}", self.story());
            self.seen.flows += 1;
            if !self.dead.contains(&server) {
                assert_eq!(self.reach(flow, false), Some(server));
                self.flows.insert(flow, (Some(server), now));
            }
        }
    }

    fn reach(&mut self, flow: Flow, syn: bool) -> Option<Server> {
        self.seen.packets += 1;
        let maps = self.node.maps();
        let Destination { origin, .. } = self.program.send(maps, flow, syn, self.now)?;
        Some(server(maps, origin))
    }

    /// The origins that are this server, and their pools.
    fn configured(&self, server: Server) -> impl Iterator<Item = (&Pool, &Origin)> {
        let pools = self.config.pools.values();
        pools
            .flat_map(|pool| pool.origins.values().map(move |origin| (pool, origin)))
            .filter(move |(_, origin)| origin.address == server)
    }

    fn row(&self, flow: Flow) -> Row {
        let maps = self.node.maps();
        let table = &maps.tables[&maps.listeners[&flow.service].table];
        let row = reduce(flow.hash, table.table.rows) as usize;
        table.rows.get(row).expect("a table has all its rows")
    }

    /// No row is without an owner while somebody may serve.
    fn check_owners(&self) {
        for (balancer_name, balancer) in &self.config.load_balancers {
            let may_serve = |pool: &String, need: bool| {
                let pool_name = pool;
                let pool = &self.config.pools[pool];
                let enabled = (pool.origins.iter()).filter(|(_, it)| pool.enabled && it.enabled);
                let healthy = |origin: &str| {
                    !need
                        || pool.monitor.is_none()
                        || self.node.health(pool_name, origin) == Some(Health::Healthy)
                };
                let healthy: Vec<_> = enabled.filter(|(name, _)| healthy(name)).collect();
                healthy.iter().any(|(_, it)| it.weight > 0.0)
                    && (!need || healthy.len() >= pool.minimum_origins)
            };
            let serves = balancer
                .default_pools
                .iter()
                .any(|pool| may_serve(pool, true))
                || balancer
                    .fallback_pool
                    .iter()
                    .any(|pool| may_serve(pool, false));
            let vacant = rows(&self.node, balancer_name)
                .iter()
                .any(|row| row.current == Slot::NONE);
            assert!(!(serves && vacant), "{balancer_name}: {}", self.story());
        }
    }

    /// Another node with the same configuration and health has the same owners.
    fn check_peer(&self) {
        let long_ago = self.now - Duration::from_secs(3600);
        let mut peer = Node::start(self.config.clone(), Content::default(), long_ago);
        for (pool, origin) in self.origins() {
            match self.node.health(&pool, &origin) {
                Some(Health::Healthy) => peer.probe(&pool, &origin, true, long_ago),
                Some(Health::Unhealthy) => peer.probe(&pool, &origin, false, long_ago),
                Some(Health::Unknown) | None => {}
            }
        }
        peer.settle(self.now);
        for balancer in self.config.load_balancers.keys() {
            let table = self
                .node
                .state()
                .tables()
                .of(balancer)
                .expect("it is enabled");
            let why = self.node.state().plans()[&table.name].why;
            let (ours, theirs) = (rows(&self.node, balancer), rows(&peer, balancer));
            // Last known owners are history, and so is that a table does not shrink.
            if why == Why::LastKnown || ours.len() != theirs.len() {
                continue;
            }
            let pairs: BTreeSet<_> = (ours.iter().zip(theirs.iter()))
                .map(|(ours, theirs)| (ours.current, theirs.current))
                .collect();
            for (ours, theirs) in pairs {
                let of = |maps, slot| (slot != Slot::NONE).then(|| server(maps, slot));
                assert_eq!(
                    of(self.node.maps(), ours),
                    of(peer.maps(), theirs),
                    "{balancer}: {}",
                    self.story()
                );
            }
        }
    }

    /// With everybody healthy and all flows over, nothing is left to remember.
    fn calm_down(&mut self) {
        self.events.push("the end".to_owned());
        self.dead.clear();
        self.report_known();
        self.probe(1);
        self.settle();
        self.flows.clear();
        for _ in 0..4 {
            self.pass(SILENCE);
        }
        let maps = self.node.maps();
        for published in maps.tables.values() {
            assert!(
                published.rows.iter().all(|row| row.flags == 0),
                "{}",
                self.story()
            );
            assert!(
                published
                    .rows
                    .iter()
                    .all(|row| row.previous == [Slot::NONE; 2])
            );
        }
        let leaving: Vec<_> = self.node.state().leaving().collect();
        assert!(leaving.is_empty(), "{leaving:?}: {}", self.story());
        assert_eq!(self.program.tracked(), 0);
        let tables = self.node.state().tables();
        let (b0, b1) = (
            tables.of("b0").expect("it is"),
            tables.of("b1").expect("it is"),
        );
        let are_alike = (&b0.spec, b0.size) == (&b1.spec, b1.size);
        assert_eq!(are_alike, b0.name == b1.name, "{}", self.story());
        let before = self.program.accesses;
        self.send();
        self.send();
        assert_eq!(
            self.program.accesses,
            before,
            "nobody asks: {}",
            self.story()
        );
    }

    fn story(&self) -> String {
        self.events.join(", ")
    }

    fn bits(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.random)
    }

    /// Less than `below`.
    fn random(&mut self, below: usize) -> usize {
        (self.bits() % below as u64) as usize
    }
}

/// Whether a flow goes on when its server has died.
const fn outlives_servers(flow: Flow) -> bool {
    flow.hash & 1 == 1
}

fn add(pool: &mut Pool, name: &str, number: usize) {
    let origin = Origin {
        address: address(name, number),
        port: 0,
        enabled: true,
        weight: 1.0,
        virtual_network: None,
        inner_mac: None,
    };
    pool.origins.entry(format!("o{number}")).or_insert(origin);
}

/// The address of a server of a pool.
fn address(pool: &str, number: usize) -> IpAddr {
    let third = pool.as_bytes()[1] - b'0';
    [20, 0, third, number as u8 + 1].into()
}

fn steer(balancer: &mut LoadBalancer, pools: [usize; 2], fallback: usize, is_random: bool) {
    let pools: BTreeSet<_> = pools.into_iter().filter_map(|it| POOLS.get(it)).collect();
    balancer.default_pools = pools.into_iter().map(ToString::to_string).collect();
    balancer.fallback_pool = POOLS.get(fallback).map(ToString::to_string);
    balancer.steering = if is_random {
        Steering::Random {
            default_weight: 1.0,
            pool_weights: BTreeMap::from([("p1".to_owned(), 0.5)]),
        }
    } else {
        Steering::Off
    };
}

fn rows<'a>(node: &'a Node, balancer: &str) -> &'a Rows {
    let maps = node.maps();
    let last = if balancer == "b0" { 10 } else { 11 };
    &maps.tables[&maps.listeners[&service(last)].table].rows
}

fn service(last: u8) -> Service {
    Service {
        address: Address::from_v4([198, 51, 100, last]),
        port: Port::new(80),
        protocol: 6,
        range: 0,
        vnet: VnetId::LOCAL,
    }
}

fn server(maps: &Content, slot: OriginIndex) -> Server {
    maps.origins[&slot].address.to_ip()
}
