use super::{Address, OriginIndex, Port, VnetId, abi_type};

/// What all fragments of one datagram have in common (key of map `FRAGMENTS`): RFC 791, 3.2, for
/// IPv4; RFC 8200, 4.5, for IPv6.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(C)]
pub struct FragmentKey {
    /// The VNet in which the addresses are meant.
    pub vnet: VnetId,
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Identification; of IPv4, 16 bits.
    pub identification: u32,
    /// The protocol of an IPv4 packet. Fragments of IPv6 need not agree about it: 44 for them all.
    pub protocol: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// What the first fragment of a datagram has shown: all that a later one lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Fragment {
    /// Source port.
    pub source_port: Port,
    /// Destination port.
    pub destination_port: Port,
    /// The origin that it went to, or came from.
    pub origin: OriginIndex,
    /// The protocol above IP; never 0.
    pub protocol: u8,
    /// Zero.
    pub reserved: u8,
}

/// A datagram of which the first fragment has been forwarded (map `FRAGMENTS`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Datagram {
    /// Of its first fragment.
    pub first: Fragment,
    /// When this is too old to be believed: nanoseconds of `CLOCK_MONOTONIC`.
    pub until_ns: u64,
}

abi_type! {
    FragmentKey: 44 = [VnetId, Address, Address, u32, u8, [u8; 3]];
    Fragment: 8 = [Port, Port, OriginIndex, u8, u8];
    Datagram: 16 = [Fragment, u64];
}

impl Datagram {
    /// How long the rest of a datagram is waited for: as long as Linux does (`ipfrag_time`).
    /// RFC 791 suggests 15 s for IPv4, RFC 8200 asks for 60 s of a host; identifications of IPv4
    /// come round again.
    pub const LIFETIME_NS: u64 = 30_000_000_000;

    /// A datagram whose first fragment is forwarded at `now_ns`.
    #[inline(always)]
    #[must_use]
    pub const fn new(first: Fragment, now_ns: u64) -> Self {
        Self {
            first,
            until_ns: now_ns.saturating_add(Self::LIFETIME_NS),
        }
    }

    /// The first fragment, if it is not too long ago.
    #[inline(always)]
    #[must_use]
    pub fn at(&self, now_ns: u64) -> Option<Fragment> {
        (now_ns < self.until_ns).then_some(self.first)
    }
}

impl Fragment {
    /// As one number, which is 0 for none.
    #[inline(always)]
    #[must_use]
    pub const fn to_number(self) -> u64 {
        let [a, b] = self.source_port.to_bytes();
        let [c, d] = self.destination_port.to_bytes();
        let [e, f] = self.origin.to_ne_bytes();
        u64::from_ne_bytes([a, b, c, d, e, f, self.protocol, 0])
    }

    /// Of such a number.
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u64) -> Self {
        let [a, b, c, d, e, f, protocol, _] = number.to_ne_bytes();
        Self {
            source_port: Port::from_bytes([a, b]),
            destination_port: Port::from_bytes([c, d]),
            origin: OriginIndex::from_ne_bytes([e, f]),
            protocol,
            reserved: 0,
        }
    }
}
