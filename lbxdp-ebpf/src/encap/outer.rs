use crate::abi::{PATH_DSCP_INHERIT, PATH_TTL_INHERIT, Path};
use crate::checksum::Sum;
use crate::ecn::ECN_MASK;
use crate::frame::{Frame, Wire};
use crate::parse::Version;
use crate::wire::{Ipv4, Ipv6};

/// The outer IP header.
pub trait Outer: Wire {
    /// Writes what depends on the packet.
    ///
    /// In place of a checksum is the sum of the header as it is, by [`inherit`]. `length` is of all
    /// that is behind this header, in bytes; `protocol` is what follows; `entropy` replaces the low
    /// half of the source address.
    fn fill(&mut self, length: u16, protocol: u8, entropy: Option<[u8; 2]>);

    /// The sum of the pseudo header of UDP over this header, for a datagram of `length` bytes
    /// (RFC 768; RFC 8200, 8.1).
    fn pseudo_sum(&self, length: u16) -> Sum;
}

/// Writes what the prepared header at `start` has of the packet at `inner`: ECN (RFC 6040, 4.1), and
/// DSCP and TTL where the path says so; and, for [`Outer::fill`], the sum of it all.
///
/// `None` if a header is not there.
#[inline(always)]
pub(super) fn inherit<F: Frame>(
    frame: &mut F,
    start: usize,
    path: &Path,
    inner: usize,
    version: Version,
) -> Option<()> {
    let (inner_class, inner_hops) = match version {
        Version::V4 => {
            let header: &Ipv4 = frame.at(inner)?;
            (header.type_of_service, header.time_to_live)
        }
        Version::V6 => {
            let header: &Ipv6 = frame.at(inner)?;
            (class_of(header), header.hop_limit)
        }
    };
    let class = |prepared: u8| {
        if path.has(PATH_DSCP_INHERIT) {
            inner_class
        } else {
            prepared | inner_class & ECN_MASK
        }
    };
    let hops = |prepared: u8| {
        if path.has(PATH_TTL_INHERIT) {
            inner_hops
        } else {
            prepared
        }
    };
    match path.outer {
        4 => {
            let header: &mut Ipv4 = frame.at_mut(start)?;
            let sum = Sum::from_folded(path.header_sum)
                .sub([header.version_ihl, header.type_of_service])
                .sub([header.time_to_live, header.protocol]);
            header.type_of_service = class(header.type_of_service);
            header.time_to_live = hops(header.time_to_live);
            let sum = sum
                .add([header.version_ihl, header.type_of_service])
                .add([header.time_to_live, header.protocol]);
            header.header_checksum = sum.fold().to_ne_bytes();
        }
        6 => {
            let header: &mut Ipv6 = frame.at_mut(start)?;
            let class = class(class_of(header));
            let [_, _, a, b] = header.version_class_label;
            header.version_class_label = [0x60 | class >> 4, class << 4, a, b];
            header.hop_limit = hops(header.hop_limit);
        }
        _ => return None,
    }
    Some(())
}

/// The traffic class, beside the flow label (which is zero in a prepared header).
#[inline(always)]
const fn class_of(header: &Ipv6) -> u8 {
    let [first, second, _, _] = header.version_class_label;
    first << 4 | second >> 4
}

impl Outer for Ipv4 {
    #[inline(always)]
    fn fill(&mut self, length: u16, protocol: u8, entropy: Option<[u8; 2]>) {
        let mut sum = Sum::ZERO.add(self.header_checksum);
        let total = length.wrapping_add(size_of::<Self>() as u16);
        self.total_length = total.to_be_bytes();
        sum = sum.add(self.total_length);
        if self.protocol != protocol {
            sum = sum.sub([self.time_to_live, self.protocol]);
            self.protocol = protocol;
            sum = sum.add([self.time_to_live, self.protocol]);
        }
        if let Some(entropy) = entropy {
            let [a, b, c, d] = self.source;
            sum = sum.sub([c, d]).add(entropy);
            let [c, d] = entropy;
            self.source = [a, b, c, d];
        }
        self.header_checksum = sum.checksum();
    }

    #[inline(always)]
    fn pseudo_sum(&self, length: u16) -> Sum {
        Sum::ZERO
            .add_bytes(&self.source)
            .add_bytes(&self.destination)
            .add([0, self.protocol])
            .add_number(length)
    }
}

impl Outer for Ipv6 {
    #[inline(always)]
    fn fill(&mut self, length: u16, protocol: u8, entropy: Option<[u8; 2]>) {
        self.payload_length = length.to_be_bytes();
        self.next_header = protocol;
        if let Some([y, z]) = entropy {
            let [prefix @ .., _, _] = self.source;
            let [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = prefix;
            self.source = [a, b, c, d, e, f, g, h, i, j, k, l, m, n, y, z];
        }
    }

    #[inline(always)]
    fn pseudo_sum(&self, length: u16) -> Sum {
        Sum::ZERO
            .add_bytes(&self.source)
            .add_bytes(&self.destination)
            .add([0, self.next_header])
            .add_number(length)
    }
}
