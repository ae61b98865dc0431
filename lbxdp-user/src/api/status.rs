//! The shape of `lbxdp status --json`.
//!
//! Names are those of the configuration. Times are RFC 3339 in UTC; bytes are of
//! whole frames as they arrived; shares are of rows, 0 to 1.

use std::fmt;
use std::net::IpAddr;

use super::Heartbeat;
use serde::{Deserialize, Serialize};

/// Everything that the agent knows.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The node and its agent.
    pub node: Node,
    /// Load balancers, by name.
    pub load_balancers: Vec<LoadBalancer>,
    /// Pools, by name.
    pub pools: Vec<Pool>,
    /// Origins that take no new flows, but may still have some from before.
    pub draining: Vec<Draining>,
    /// VNets, by name.
    pub virtual_networks: Vec<VirtualNetwork>,
    /// Flows whose source address is translated.
    pub sessions: Sessions,
    /// Flows of rows that have moved, or will.
    pub flows: Flows,
    /// How many packets ended for each reason; those that no packet has met are left out.
    pub reasons: Vec<Reason>,
}

/// The node and its agent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Node {
    /// Version of the agent.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Since when it runs.
    pub since: String,
    /// The configuration file.
    pub config: String,
    /// Number of the configuration in force, counted from 1.
    pub generation: u32,
    /// Why the last reload was refused, if it was: the configuration before it is in force.
    pub reload_error: Option<String>,
    /// What the agent could not bring about, for each the sentence of the diagnosis.
    pub problems: Vec<String>,
    /// When the agent last confirmed the tables.
    pub heartbeat: Option<Heartbeat>,
    /// Where the program is attached.
    pub interfaces: Vec<Interface>,
}

/// An interface that the program is attached to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// `native`, `generic` or `detached`.
    pub mode: String,
}

/// A load balancer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LoadBalancer {
    /// Its name.
    pub name: String,
    /// Whether it is enabled.
    pub enabled: bool,
    /// `healthy`, `degraded`, `critical` or `disabled`.
    pub state: String,
    /// Who serves and why, as a phrase.
    pub serving: String,
    /// Its default pools in the order of failover.
    pub pools: Vec<String>,
    /// Its pool of last resort.
    pub fallback_pool: Option<String>,
    /// What it offers.
    pub listeners: Vec<Listener>,
    /// Share of its rows, by origin; origins without rows are left out.
    pub shares: Vec<Share>,
    /// How many of its rows are at risk: the flow table is asked for these alone.
    pub rows: Rows,
}

/// The rows of a load balancer; a row may be counted twice.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Rows {
    /// All there are; load balancers of the same pools share them.
    pub all: u32,
    /// Those that an edit has moved lately: flows from before stay with the owner before.
    pub moved: u32,
    /// Until when the last of these are taken to have flows from before.
    pub moved_until: Option<String>,
    /// Those that will move when everybody is healthy: their flows are recorded until then.
    pub will_move: u32,
    /// Those whose flows were recorded, and still count.
    pub looked_up: u32,
}

/// An origin that takes no new flows, but may still have some from before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Draining {
    /// `pool/origin`.
    pub name: String,
    /// `draining` when it is configured, with weight 0 or disabled; else `leaving`.
    pub state: String,
    /// Its address within its VNet.
    pub address: IpAddr,
    /// Its port; 0 is the listener's.
    pub port: u16,
    /// Flows left, of those that have shown themselves since it takes no new ones.
    pub flows: u64,
    /// Until when flows from before may still show themselves.
    pub until: Option<String>,
}

/// An offered transport address.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Listener {
    /// The VIP.
    pub address: IpAddr,
    /// The port, `8000-8099`, or `any`.
    pub ports: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// What it has carried.
    #[serde(flatten)]
    pub traffic: Traffic,
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V4(address) => write!(f, "{address}")?,
            IpAddr::V6(address) => write!(f, "[{address}]")?,
        }
        write!(f, ":{}/{}", self.ports, self.protocol)
    }
}

/// Packets and bytes, both ways.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Traffic {
    /// Packets from clients.
    pub packets: u64,
    /// Bytes from clients.
    pub bytes: u64,
    /// Packets to clients; zero where origins answer directly.
    pub reply_packets: u64,
    /// Bytes to clients.
    pub reply_bytes: u64,
}

/// An origin's share of a load balancer's rows.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Share {
    /// The pool.
    pub pool: String,
    /// The origin.
    pub origin: String,
    /// 0 to 1.
    pub share: f64,
}

/// A pool.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// `healthy`, `degraded`, `panic`, `critical`, `unknown` or `disabled`.
    pub state: String,
    /// Its monitor.
    pub monitor: Option<String>,
    /// Its origins, by name.
    pub origins: Vec<Origin>,
}

/// An origin.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Origin {
    /// Its name.
    pub name: String,
    /// Its address within its VNet.
    pub address: IpAddr,
    /// Its port; 0 is the listener's.
    pub port: u16,
    /// Its VNet; `local` is the node's own network.
    pub virtual_network: String,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Configured weight.
    pub weight: f64,
    /// Its health.
    #[serde(flatten)]
    pub health: HealthState,
    /// What is at fault, when it is not the origin itself.
    pub cause: Option<Cause>,
    /// Why no packet can be sent to it, when its next hop is not resolved.
    pub next_hop_problem: Option<String>,
    /// Share of the rows of the load balancers that use its pool, 0 to 1.
    pub share: f64,
    /// Translated flows to it (`source = "snat"`), counted every few seconds.
    pub sessions: usize,
    /// What it has carried.
    #[serde(flatten)]
    pub traffic: Traffic,
}

/// Health, since when, and why.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HealthState {
    /// `healthy`, `unhealthy`, `unknown`, or `unmonitored` when nothing is probed.
    pub health: String,
    /// Since when.
    pub since: Option<String>,
    /// Label and sentence of the last failure, while unhealthy.
    pub reason: Option<String>,
    /// Round-trip time of the last probe that passed, in milliseconds.
    pub rtt_ms: Option<f64>,
}

/// What is at fault when an origin is unhealthy through no fault of its own.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// This tunnel (`vnet/tunnel`) is down.
    Tunnel(String),
}

/// A VNet.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct VirtualNetwork {
    /// Its name.
    pub name: String,
    /// Its number, and that of its routing table.
    pub id: u32,
    /// Its tunnels, by name.
    pub tunnels: Vec<Tunnel>,
}

/// A tunnel.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Tunnel {
    /// Its name.
    pub name: String,
    /// Its encapsulation.
    pub kind: String,
    /// The kernel's device.
    pub device: String,
    /// Outer address of this node.
    pub local: Option<IpAddr>,
    /// Outer address of the far end.
    pub remote: Option<IpAddr>,
    /// The node's own addresses inside, with prefix lengths.
    pub addresses: Vec<String>,
    /// Largest IP packet that may enter, in bytes.
    pub mtu: u16,
    /// Its health.
    #[serde(flatten)]
    pub health: HealthState,
    /// Why no packet can be sent into it, when its next hop is not resolved.
    pub next_hop_problem: Option<String>,
    /// When the peer of a WireGuard tunnel last agreed on keys with this node, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handshake: Option<String>,
    /// What it has carried.
    #[serde(flatten)]
    pub traffic: Traffic,
}

/// Flows whose source address is translated (`source = "snat"`), counted every few seconds.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Sessions {
    /// How many there are.
    pub open: usize,
    /// For how many there is room.
    pub capacity: usize,
    /// Source ports, by whom they lead to; most taken first.
    pub ports: Vec<SourcePorts>,
}

/// Flows of rows at risk: those that have moved by an edit of the configuration, or will move back
/// when an origin returns. Counted every few seconds; none in quiet times.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Flows {
    /// How many are recorded.
    pub tracked: usize,
    /// For how many there is room.
    pub capacity: usize,
    /// Packets whose flow was recorded, since the maps were made.
    pub hits: u64,
    /// Flows recorded since then.
    pub inserted: u64,
    /// First packets of flows recorded since then.
    pub opened: u64,
    /// Flows that were not recorded at once, for there were more than `node.flow_rate` allows.
    pub refused: u64,
    /// Flows that others have pushed out since the maps were made.
    pub evicted: u64,
    /// Flows that were forgotten since the agent started, for they had been silent or need not be
    /// recorded any more.
    pub expired: u64,
}

/// Source ports towards one transport address of an origin.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SourcePorts {
    /// VNet, address, port and protocol.
    pub towards: String,
    /// Its VNet; `local` is the node's own network.
    pub virtual_network: String,
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// How many are taken.
    pub taken: usize,
    /// How many there are.
    pub available: usize,
}

/// How many packets ended for a reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reason {
    /// The metric label.
    pub label: String,
    /// One sentence.
    pub sentence: String,
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}
