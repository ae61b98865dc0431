use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use lbxdp::config::model::Config;
use lbxdp::dataplane::{Content, Limits, plan};
use lbxdp::health::{Failure, Health, ProbeKey};
use lbxdp::reconcile::{Hop, HopKey};
use lbxdp::state::State;
use lbxdp::steering::Tracked;
use lbxdp_ebpf::abi::{Tags, capacity};

/// A node: the agent's state, and maps in memory.
#[derive(Clone, Debug)]
pub struct Node {
    state: State,
    maps: Content,
}

const LIMITS: Limits = Limits {
    listeners: capacity::SERVICES,
    reverse: capacity::SERVICES,
    tables: capacity::TABLES,
    rows: capacity::ROWS,
    origins: capacity::ORIGINS,
    peers: capacity::TUNNELS,
    tunnels: capacity::TUNNELS,
    routes: capacity::ROUTES,
    ranges: capacity::RANGES,
    vlans: capacity::VLANS,
    entities: capacity::ENTITIES,
    listener_counters: capacity::LISTENER_COUNTERS,
};

impl Node {
    /// Starts an agent over what the maps hold.
    ///
    /// # Panics
    /// When there are not enough slots.
    #[must_use]
    pub fn start(config: Config, maps: Content, now: SystemTime) -> Self {
        let state = State::new(config, &maps, now).expect("there are slots for all");
        let mut node = Self { state, maps };
        node.resolve();
        node
    }

    /// Ends the agent and starts the next.
    #[must_use]
    pub fn restart(self, now: SystemTime) -> Self {
        let config = self.state.config().clone();
        Self::start(config, self.maps, now)
    }

    /// Puts another configuration in force.
    ///
    /// # Panics
    /// When there are not enough slots.
    pub fn reload(&mut self, config: Config, now: SystemTime) {
        self.state
            .replace(config, &self.maps, now)
            .expect("there are slots for all");
        self.resolve();
    }

    /// Lets the probes of an origin have a result, if it is probed.
    pub fn probe(&mut self, pool: &str, origin: &str, is_healthy: bool, now: SystemTime) {
        let result = if is_healthy {
            Ok(Duration::from_millis(1))
        } else {
            Err(Failure::TcpTimeout)
        };
        self.state
            .observe(&ProbeKey::origin(pool, origin), result, now);
    }

    /// Brings the maps in line; says how many writes it took.
    ///
    /// # Panics
    /// When what is desired refers to something that is not there, or does not fit.
    pub fn settle(&mut self, now: SystemTime) -> usize {
        let desired = self.state.desired(&self.maps, now);
        let before = self.maps.clone();
        let writes = plan(&before, &desired, &LIMITS).expect("it can be written");
        for write in &writes {
            self.maps.apply(write);
        }
        self.state.written();
        let resolved = self.resolve();
        writes.len() + usize::from(resolved)
    }

    /// Lets time pass: the maps are brought in line whenever that is due by itself.
    pub fn pass(&mut self, from: SystemTime, to: SystemTime) {
        let mut now = from;
        while let Some(due) = self.state.due_at().filter(|due| *due <= to) {
            assert!(due > now, "it was due before: {due:?}");
            now = due;
            self.settle(now);
        }
        self.settle(to);
    }

    /// Hands the agent what a sweep of the flow table has found now, and brings the maps in line if
    /// that matters to them.
    pub fn swept(&mut self, tracked: Tracked, now: SystemTime) {
        if self.state.swept_flows(tracked, Some(now)) {
            self.settle(now);
        }
    }

    /// What the maps hold.
    #[must_use]
    pub const fn maps(&self) -> &Content {
        &self.maps
    }

    /// What the agent knows.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The health of an origin that is probed.
    #[must_use]
    pub fn health(&self, pool: &str, origin: &str) -> Option<Health> {
        let tracker = self.state.tracker(&ProbeKey::origin(pool, origin))?;
        Some(tracker.health())
    }

    /// All next hops are known.
    fn resolve(&mut self) -> bool {
        let keys: BTreeSet<HopKey> = self.state.hop_keys();
        let hop = |key: HopKey| {
            let hop = Hop {
                ifindex: 2,
                tags: Tags::NONE,
                source_mac: [2, 0, 0, 0, 0, 1],
                destination_mac: [2, 0, 0, 0, 0, 2],
                mtu: 1500,
            };
            (key, Ok(hop))
        };
        self.state.set_hops(keys.into_iter().map(hop).collect())
    }
}
