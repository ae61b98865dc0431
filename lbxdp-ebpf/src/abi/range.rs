use super::{Address, Port, Service, VnetId, abi_type};

/// Ports of one address with a common prefix (key of map `RANGES`, a longest-prefix-match trie).
///
/// A range of ports is as many of these as it takes; any port is one of no bits. The value is the
/// port of the [`Service`] under which the range is entered, in `LISTENERS` or `REVERSE`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(C)]
pub struct RangeKey {
    /// The VNet in which the address is meant.
    pub vnet: VnetId,
    /// The address.
    pub address: Address,
    /// IP protocol number.
    pub protocol: u8,
    /// A [`Side`].
    pub side: u8,
    /// The port: of the key, its bits come last.
    pub port: Port,
}

/// Whose ports are looked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Side {
    /// A listener's: the entry is in `LISTENERS`.
    Listener = 1,
    /// An origin's: the entry is in `REVERSE`.
    Origin = 2,
}

abi_type! {
    RangeKey: 24 = [VnetId, Address, u8, u8, Port];
}

impl RangeKey {
    /// Bits before those of the port.
    pub const FIXED_BITS: u32 = 8 * (4 + 16 + 1 + 1);
    /// All bits of the key.
    pub const BITS: u32 = Self::FIXED_BITS + 16;

    /// The key of a transport address.
    #[inline(always)]
    #[must_use]
    pub const fn new(service: &Service, side: Side) -> Self {
        Self {
            vnet: service.vnet,
            address: service.address,
            protocol: service.protocol,
            side: side as u8,
            port: service.port,
        }
    }
}

impl Side {
    /// The side of a number, if it is one.
    #[inline(always)]
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Listener),
            2 => Some(Self::Origin),
            _ => None,
        }
    }
}

/// The prefixes of which the ports from `first` to `last` are made, in order: port, and how many of
/// its bits count.
#[cfg(not(target_arch = "bpf"))]
pub fn prefixes(first: u16, last: u16) -> impl Iterator<Item = (u16, u8)> {
    let mut next = u32::from(first);
    let last = u32::from(last);
    core::iter::from_fn(move || {
        if next > last {
            return None;
        }
        // The largest block that begins here and does not end behind the range.
        let aligned = next.trailing_zeros().min(16);
        let room = (last + 1 - next).ilog2();
        let free = aligned.min(room);
        let prefix = (next as u16, (16 - free) as u8);
        next += 1 << free;
        Some(prefix)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn a_port_and_all_ports_are_one_prefix_each() {
        assert_eq!(prefixes(80, 80).collect::<Vec<_>>(), [(80, 16)]);
        assert_eq!(prefixes(0, u16::MAX).collect::<Vec<_>>(), [(0, 0)]);
        assert_eq!(
            prefixes(8000, 8099).collect::<Vec<_>>(),
            [(8000, 10), (8064, 11), (8096, 14)]
        );
        assert_eq!(prefixes(1, u16::MAX - 1).count(), 30, "the worst");
    }

    proptest! {
        #[test]
        fn prefixes_are_the_range_and_nothing_else(a: u16, b: u16, port: u16) {
            let (first, last) = (a.min(b), a.max(b));
            let holding = prefixes(first, last)
                .filter(|(prefix, bits)| u32::from(prefix ^ port) >> (16 - bits) == 0)
                .count();
            prop_assert_eq!(holding, usize::from((first..=last).contains(&port)));
            prop_assert!(prefixes(first, last).count() <= 30);
        }
    }
}
