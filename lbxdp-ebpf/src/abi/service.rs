use super::{Address, OriginIndex, Port, VnetId, abi_type};

/// A transport address within a VNet: the key of maps `LISTENERS` and `REVERSE`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(C)]
pub struct Service {
    /// The address: a VIP (`LISTENERS`) or an origin's address (`REVERSE`).
    pub address: Address,
    /// The port; of a range of ports the first, or 0 for any port.
    pub port: Port,
    /// IP protocol number: 6 or 17; in `LISTENERS` also 1 or 58, with port 0, for an address at
    /// which echo requests are answered ([`NODE_ECHO`](super::NODE_ECHO)); and 44, with the number of
    /// the protocol as port, for one to which later fragments go ([`LISTENER_PORTLESS`]).
    pub protocol: u8,
    /// 1 for a range of ports, which is found by map `RANGES`; 0 for a single port.
    pub range: u8,
    /// The VNet in which the address is meant.
    pub vnet: VnetId,
}

/// What is offered at a VIP (map `LISTENERS`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Listener {
    /// Index in `TABLES`.
    pub table: u32,
    /// Index in `LISTENER_COUNTERS`.
    pub counter: u32,
    /// Bits `LISTENER_…`.
    pub flags: u32,
}

/// The row of a packet is chosen by its source address and VNet alone: a client stays with one
/// origin, over all its connections.
pub const LISTENER_SOURCE_HASH: u32 = 1 << 1;

/// Later fragments need no port here: there is an entry for them, and the first ones are not kept.
pub const LISTENER_PORTLESS: u32 = 1 << 2;

/// Of UDP, which does not say whether a flow began before an edit: it goes to the new owner of its
/// row at once, and not for a while still to the one before.
pub const LISTENER_UDP_MOVE: u32 = 1 << 3;

/// UDP is QUIC: Initial and 0-RTT packets begin a flow.
pub const LISTENER_QUIC: u32 = 1 << 4;

impl Listener {
    /// Whether the flag (one of `LISTENER_…`) is set.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

/// Some pool of the listener translates source addresses: look flows up among the sessions.
pub const LISTENER_SNAT: u32 = 1;

/// The way back from an origin that sees its clients' own addresses (map `REVERSE`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Reverse {
    /// The VIP: becomes the reply's source address.
    pub address: Address,
    /// The listener's port: becomes the reply's source port; 0 keeps the one that it has.
    pub port: Port,
    /// The origin, for its counters.
    pub origin: OriginIndex,
    /// The VNet that the listener, and so the client, is in.
    pub vnet: VnetId,
    /// Index in `LISTENER_COUNTERS`.
    pub counter: u32,
}

abi_type! {
    Service: 24 = [Address, Port, u8, u8, VnetId];
    Listener: 12 = [u32, u32, u32];
    Reverse: 28 = [Address, Port, OriginIndex, VnetId, u32];
}
