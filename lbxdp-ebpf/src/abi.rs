//! The map ABI: keys and values that the agent writes and the program reads.
//!
//! Every type is `repr(C)`, without padding (asserted), and holds no pointer.
//! Numbers are in host order unless the type says otherwise: [`Address`] and
//! [`Port`] are in network order, as they stand in a packet. A change of any
//! size, field or meaning is a new [`ABI_VERSION`], and with it a new folder of
//! pinned maps.

mod address;
mod allowance;
mod counter;
mod entity;
mod flow;
mod flow_set;
mod fragment;
mod handover;
mod node;
mod origin;
mod overflow;
mod path;
mod pod;
mod range;
mod row;
mod service;
mod tracked;
mod tunnel;
mod vlan;

pub use address::{Address, Port};
pub use allowance::Allowance;
pub use counter::{Count, Traffic};
pub use entity::{Entity, EntityKey, EntityKind};
pub use flow::{
    FlowKey, Mapping, SEEN_ESTABLISHED, SEEN_FIN, SEEN_RST, Seen, Session, Sight, SnatRange,
};
pub use flow_set::{FlowEntry, FlowSet, Kept, identity_bits};
pub use fragment::{Datagram, Fragment, FragmentKey};
pub use handover::{Device, HandOver};
pub use node::{
    Heartbeat, NODE_ECHO, NODE_KERNEL_FRAGMENTS, NODE_LOCAL_REPLIES, NODE_LOCAL_SNAT, NODE_RANGES,
    NODE_SNAT, NODE_VLANS, Node, PortSet,
};
pub use origin::{Mode, ORIGIN_DOWN, Origin, OriginIndex};
pub use overflow::Overflow;
pub use path::{
    Encapsulation, HANDED_OVER_MAC, HEADER_SPACE, PATH_DSCP_INHERIT, PATH_GRE_CHECKSUM,
    PATH_GRE_KEY, PATH_INNER_ETHERNET, PATH_RESOLVED, PATH_SOURCE_ENTROPY, PATH_TTL_INHERIT,
    PATH_UDP_CHECKSUM, Path, TunnelIndex,
};
pub(crate) use pod::abi_type;
#[cfg(not(target_arch = "bpf"))]
pub use range::prefixes;
pub use range::{RangeKey, Side};
pub use row::{Owner, Owners, ROW_GENERATION, ROW_INSERT, ROW_LOOKUP, Row, Table};
pub use service::{
    LISTENER_PORTLESS, LISTENER_QUIC, LISTENER_SNAT, LISTENER_SOURCE_HASH, LISTENER_UDP_MOVE,
    Listener, Reverse, Service,
};
pub use tracked::{Flow, FlowCounts, Tracked};
pub use tunnel::{Peer, PeerKey, RouteKey, VnetId};
pub use vlan::{Tags, Vlan};

/// Version of everything in this module; part of the path where maps are pinned.
pub const ABI_VERSION: u32 = 6;

/// Capacity of each map as the object declares it; the agent may load it with more.
pub mod capacity {
    use super::FlowSet;

    /// Listeners, and reverse entries of origins.
    pub const SERVICES: u32 = 16_384;
    /// Row tables: one for each distinct set of active pools.
    pub const TABLES: u32 = 1_024;
    /// Rows of all tables, both halves.
    pub const ROWS: u32 = 1 << 20;
    /// Pairs of rows.
    pub const OWNERS: u32 = ROWS / 2;
    /// Origins; an [`OriginIndex`](super::OriginIndex) addresses all of them.
    pub const ORIGINS: u32 = 16_384;
    /// Tunnels.
    pub const TUNNELS: u32 = 1_024;
    /// Prefixes behind tunnels, over all VNets.
    pub const ROUTES: u32 = 4_096;
    /// Prefixes of ports, over all ranges of listeners and of the origins behind them.
    pub const RANGES: u32 = 16_384;
    /// Datagrams of which later fragments are waited for.
    pub const FRAGMENTS: u32 = 16_384;
    /// VLAN devices.
    pub const VLANS: u32 = 4_096;
    /// Names of everything that has a slot.
    pub const ENTITIES: u32 = 32_768;
    /// Flows whose source address is translated.
    pub const SESSIONS: u32 = 1 << 17;
    /// Sets of flows of rows at risk.
    pub const FLOW_SETS: u32 = 21_846;
    /// Flows of rows at risk: the twentieth part of two million and a half.
    pub const FLOWS: u32 = FLOW_SETS * FlowSet::WAYS as u32;
    /// Sets of first packets of flows of rows at risk.
    pub const OPENING_SETS: u32 = 5_462;
    /// Slots for listener counters.
    pub const LISTENER_COUNTERS: u32 = 4_096;
}
