use super::{Address, OriginIndex, Port, VnetId, abi_type};
use crate::wire::{TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN};

/// What identifies a flow in one direction, as its packets show it (key of maps `SESSIONS` and
/// `MAPPINGS`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(C)]
pub struct FlowKey {
    /// Where it comes from.
    pub source: Address,
    /// Where it goes.
    pub destination: Address,
    /// Source port.
    pub source_port: Port,
    /// Destination port.
    pub destination_port: Port,
    /// The VNet in which the addresses are meant.
    pub vnet: VnetId,
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// A client's flow whose source address is translated (map `SESSIONS`): what its packets become.
///
/// The program alone writes it, by packets from the client; the agent removes it, and its
/// [`Mapping`], when both directions have been silent for long enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Session {
    /// Becomes the source address.
    pub source: Address,
    /// Becomes the source port.
    pub source_port: Port,
    /// The origin that the flow stays with.
    pub origin: OriginIndex,
    /// [`Origin::identity`](super::Origin::identity) of that origin, lest its slot be another's now.
    pub identity: u32,
    /// What the client has shown of itself.
    pub seen: Seen,
}

/// The way back of a translated flow (map `MAPPINGS`); the key is that of an answer: from the
/// origin to the translated source, in the origin's VNet. So one source address serves as many
/// flows as it has ports *for each origin address and port*.
///
/// The program alone writes it, by answers; its being there keeps the port from other flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Mapping {
    /// The client: becomes the destination address.
    pub client: Address,
    /// The VIP: becomes the source address.
    pub address: Address,
    /// Becomes the destination port.
    pub client_port: Port,
    /// The listener's port: becomes the source port.
    pub port: Port,
    /// The VNet that the listener, and so the client, is in.
    pub vnet: VnetId,
    /// Index in `LISTENER_COUNTERS`.
    pub counter: u32,
    /// The origin, for its counters.
    pub origin: OriginIndex,
    /// Zero.
    pub reserved: [u8; 2],
    /// What the origin has shown of itself.
    pub seen: Seen,
}

/// What one direction of a flow has shown of itself: when, and, of TCP, in which state it is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Seen {
    /// When the last packet came, in [`Seen::TICK_NS`] of `CLOCK_MONOTONIC`.
    pub tick: u32,
    /// Bits `SEEN_…`; none without TCP.
    pub state: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// A segment that acknowledges, and does more than open the connection, has come.
pub const SEEN_ESTABLISHED: u8 = 1;
/// This direction has ended: FIN.
pub const SEEN_FIN: u8 = 1 << 1;
/// The connection has been reset, and nothing has come since: RST.
pub const SEEN_RST: u8 = 1 << 2;

abi_type! {
    FlowKey: 44 = [Address, Address, Port, Port, VnetId, u8, [u8; 3]];
    Session: 32 = [Address, Port, OriginIndex, u32, Seen];
    Mapping: 56 = [Address, Address, Port, Port, VnetId, u32, OriginIndex, [u8; 2], Seen];
    Seen: 8 = [u32, u8, [u8; 3]];
    SnatRange: 20 = [Address, u32];
}

impl FlowKey {
    /// What stands where there is no flow yet.
    pub const EMPTY: Self = Self {
        source: Address::UNSPECIFIED,
        destination: Address::UNSPECIFIED,
        source_port: Port::new(0),
        destination_port: Port::new(0),
        vnet: VnetId::LOCAL,
        protocol: 0,
        reserved: [0; 3],
    };
}

impl Session {
    /// What stands where there is none.
    pub const EMPTY: Self = Self {
        source: Address::UNSPECIFIED,
        source_port: Port::new(0),
        origin: 0,
        identity: 0,
        seen: Seen::NEVER,
    };
}

impl Mapping {
    /// What stands where there is none.
    pub const EMPTY: Self = Self {
        client: Address::UNSPECIFIED,
        address: Address::UNSPECIFIED,
        client_port: Port::new(0),
        port: Port::new(0),
        vnet: VnetId::LOCAL,
        counter: 0,
        origin: 0,
        reserved: [0; 2],
        seen: Seen::NEVER,
    };
}

impl Seen {
    /// Nothing.
    pub const NEVER: Self = Self {
        tick: 0,
        state: 0,
        reserved: [0; 3],
    };
    /// The unit of time: 2^30 ns, some 1.07 s, so that a shift makes it.
    pub const TICK_NS: u64 = 1 << Self::TICK_SHIFT;
    const TICK_SHIFT: u32 = 30;

    /// The tick of a time in nanoseconds.
    #[inline(always)]
    #[must_use]
    pub const fn tick_of(now_ns: u64) -> u32 {
        (now_ns >> Self::TICK_SHIFT) as u32
    }

    /// What a flow that begins with this packet shows.
    #[inline(always)]
    #[must_use]
    pub const fn first(sight: Sight) -> Self {
        Self {
            tick: sight.tick,
            state: sight.state_after(0),
            ..Self::NEVER
        }
    }

    /// Whether the packet opens a connection in the place of one that has ended.
    #[inline(always)]
    #[must_use]
    pub const fn is_over(&self, sight: Sight) -> bool {
        let opens = sight.tcp_flags & (TCP_SYN | TCP_ACK) == TCP_SYN;
        opens && self.state & (SEEN_FIN | SEEN_RST) != 0
    }

    /// Takes a packet in. Written only if something differs: a cache line that is only read can
    /// be with several CPUs at once.
    #[inline(always)]
    pub const fn see(&mut self, sight: Sight) {
        let state = sight.state_after(self.state);
        if self.tick != sight.tick || self.state != state {
            self.tick = sight.tick;
            self.state = state;
        }
    }
}

/// A packet of a flow, as far as it changes what is known of the flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sight {
    /// When it came: [`Seen::tick_of`].
    pub tick: u32,
    /// Control bits of TCP, or 0.
    pub tcp_flags: u8,
}

impl Sight {
    /// The state (RFC 5382, 5; RFC 7857, 2): a SYN begins anew, and data after a RST, which may
    /// have been forged, shows that the connection lives.
    #[inline(always)]
    const fn state_after(self, state: u8) -> u8 {
        let flags = self.tcp_flags;
        let acknowledges = if flags & TCP_ACK == 0 {
            0
        } else {
            SEEN_ESTABLISHED
        };
        if flags & TCP_SYN != 0 {
            return acknowledges;
        }
        if flags & TCP_RST != 0 {
            return state | SEEN_RST;
        }
        let ends = if flags & TCP_FIN == 0 { 0 } else { SEEN_FIN };
        (state & !SEEN_RST) | acknowledges | ends
    }
}

/// Where translated flows get their source addresses and ports from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
#[repr(C)]
pub struct SnatRange {
    /// The first address, or [`Address::UNSPECIFIED`].
    pub address: Address,
    /// The low bits, in host order, in which the others differ: 0 for one address.
    pub mask: u32,
}

impl SnatRange {
    /// No address.
    pub const NONE: Self = Self {
        address: Address::UNSPECIFIED,
        mask: 0,
    };
    /// The first port that is given out. Below are those of well-known services (RFC 6335, 6).
    pub const FIRST_PORT: u16 = 1024;
    /// How many ports of each address are given out. Those above are the node's own, for its
    /// probes, so that an answer to it is never one to a client.
    pub const PORTS: u16 = 62 * 1024;

    /// Bits by which an address is none of them: 0 if it is one.
    #[inline(always)]
    #[must_use]
    pub const fn difference(&self, address: &Address) -> u32 {
        let ([a, b, c, low], [d, e, f, first]) = (address.words(), self.address.words());
        (*a ^ *d) | (*b ^ *e) | (*c ^ *f) | ((*low ^ *first) & !self.mask.to_be())
    }

    /// One of the transport addresses, picked by 64 random bits.
    #[inline(always)]
    #[must_use]
    pub const fn pick(&self, random: u64) -> (Address, Port) {
        let low = random as u32;
        let high = (random >> 32) as u32;
        let port = (high as u64 * Self::PORTS as u64) >> 32;
        (
            self.address.with_low_bits(low & self.mask),
            Port::new(Self::FIRST_PORT + port as u16),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(segments: &[u8]) -> u8 {
        let mut seen = Seen::default();
        for &tcp_flags in segments {
            seen.see(Sight { tick: 1, tcp_flags });
        }
        seen.state
    }

    #[test]
    fn a_direction_opens_is_established_and_ends() {
        assert_eq!(after(&[TCP_SYN]), 0);
        assert_eq!(after(&[TCP_SYN, TCP_ACK]), SEEN_ESTABLISHED);
        assert_eq!(after(&[TCP_SYN | TCP_ACK]), SEEN_ESTABLISHED);
        assert_eq!(
            after(&[TCP_SYN, TCP_ACK, TCP_FIN | TCP_ACK, TCP_ACK]),
            SEEN_ESTABLISHED | SEEN_FIN
        );
        // Of UDP nothing is known but the time.
        assert_eq!(after(&[0, 0]), 0);
    }

    #[test]
    fn a_reset_holds_until_something_else_comes() {
        assert_eq!(after(&[TCP_ACK, TCP_RST]), SEEN_ESTABLISHED | SEEN_RST);
        assert_eq!(after(&[TCP_ACK, TCP_RST, TCP_ACK]), SEEN_ESTABLISHED);
        // One that also acknowledges establishes nothing.
        assert_eq!(after(&[TCP_RST | TCP_ACK]), SEEN_RST);
    }

    #[test]
    fn only_a_syn_takes_the_place_of_a_connection_that_has_ended() {
        let mut seen = Seen::default();
        let sight = |tcp_flags| Sight { tick: 1, tcp_flags };
        seen.see(sight(TCP_ACK));
        assert!(!seen.is_over(sight(TCP_SYN)), "it may be an old one's copy");
        seen.see(sight(TCP_FIN | TCP_ACK));
        assert!(seen.is_over(sight(TCP_SYN)));
        assert!(!seen.is_over(sight(TCP_SYN | TCP_ACK)));
        assert!(!seen.is_over(sight(TCP_ACK)));
    }

    #[test]
    fn a_range_gives_every_address_and_no_port_of_others() {
        let range = SnatRange {
            address: Address::from_v4([10, 1, 2, 64]),
            mask: 3,
        };
        let last = SnatRange::FIRST_PORT + (SnatRange::PORTS - 1);
        assert_eq!(
            range.pick(0),
            (Address::from_v4([10, 1, 2, 64]), Port::new(1024))
        );
        assert_eq!(
            range.pick(u64::MAX),
            (Address::from_v4([10, 1, 2, 67]), Port::new(last))
        );
        assert_eq!(last, 64_511);
        let one = SnatRange { mask: 0, ..range };
        assert_eq!(one.pick(u64::MAX).0, range.address);
    }
}
