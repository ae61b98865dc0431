use crate::abi::{PATH_DSCP_INHERIT, PATH_TTL_INHERIT, Path};
use crate::checksum::Sum;
use crate::ecn::ECN_MASK;
use crate::frame::{Frame, Wire};
use crate::parse::Version;
use crate::wide::Wide as _;
use crate::wire::{Ipv4, Ipv6};

/// The outer IP header.
pub trait Outer: Wire {
    /// Writes what the prepared header has of the packet inside; and, in place of a checksum, for
    /// [`Outer::fill`], the sum of it all.
    fn inherit(&mut self, path: &Path, from: Inherited);

    /// Writes what else depends on the packet. `length` is of all
    /// that is behind this header, in bytes; `protocol` is what follows; `entropy` replaces the low
    /// half of the source address.
    fn fill(&mut self, length: u16, protocol: u8, entropy: Option<[u8; 2]>);

    /// Both at once, of a header that is a copy of `prepared`: what is read may be read there, since
    /// what has just been written is not to be had as soon.
    #[inline(always)]
    fn inherit_and_fill(
        &mut self,
        _prepared: &Self,
        path: &Path,
        from: Inherited,
        length: u16,
        protocol: u8,
        entropy: Option<[u8; 2]>,
    ) {
        self.inherit(path, from);
        self.fill(length, protocol, entropy);
    }

    /// The sum of the pseudo header of UDP over this header, for a datagram of `length` bytes
    /// (RFC 768; RFC 8200, 8.1).
    fn pseudo_sum(&self, length: u16) -> Sum;
}

/// What an outer header has of the packet inside: ECN (RFC 6040, 4.1), and DSCP and TTL where the path
/// says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inherited {
    /// Traffic class of the packet inside.
    pub class: u8,
    /// TTL or hop limit of the packet inside.
    pub hops: u8,
}

impl Inherited {
    /// Reads it from the IP header at `inner`, if that is there.
    #[inline(always)]
    pub(super) fn read<F: Frame>(frame: &F, inner: usize, version: Version) -> Option<Self> {
        Some(match version {
            Version::V4 => {
                let header: &Ipv4 = frame.at(inner)?;
                Self {
                    class: header.type_of_service,
                    hops: header.time_to_live,
                }
            }
            Version::V6 => {
                let header: &Ipv6 = frame.at(inner)?;
                Self {
                    class: class_of(header),
                    hops: header.hop_limit,
                }
            }
        })
    }

    /// The traffic class of an outer header for which this one is prepared.
    #[inline(always)]
    const fn class(self, path: &Path, prepared: u8) -> u8 {
        if path.has(PATH_DSCP_INHERIT) {
            self.class
        } else {
            prepared | self.class & ECN_MASK
        }
    }

    /// The TTL or hop limit of an outer header for which this one is prepared.
    #[inline(always)]
    const fn hops(self, path: &Path, prepared: u8) -> u8 {
        if path.has(PATH_TTL_INHERIT) {
            self.hops
        } else {
            prepared
        }
    }
}

/// The traffic class, beside the flow label (which is zero in a prepared header).
#[inline(always)]
const fn class_of(header: &Ipv6) -> u8 {
    let [first, second, _, _] = header.version_class_label;
    first << 4 | second >> 4
}

impl Outer for Ipv4 {
    #[inline(always)]
    fn inherit(&mut self, path: &Path, from: Inherited) {
        let sum = Sum::from_folded(path.header_sum)
            .sub([self.version_ihl, self.type_of_service])
            .sub([self.time_to_live, self.protocol]);
        self.type_of_service = from.class(path, self.type_of_service);
        self.time_to_live = from.hops(path, self.time_to_live);
        let sum = sum
            .add([self.version_ihl, self.type_of_service])
            .add([self.time_to_live, self.protocol]);
        self.header_checksum.store(sum.fold().to_ne_bytes());
    }

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
    fn inherit_and_fill(
        &mut self,
        prepared: &Self,
        path: &Path,
        from: Inherited,
        length: u16,
        protocol: u8,
        entropy: Option<[u8; 2]>,
    ) {
        let class = from.class(path, prepared.type_of_service);
        let hops = from.hops(path, prepared.time_to_live);
        let total = length.wrapping_add(size_of::<Self>() as u16).to_be_bytes();
        let mut sum = Sum::from_folded(path.header_sum)
            .sub([0, prepared.type_of_service])
            .add([0, class])
            .sub([prepared.time_to_live, prepared.protocol])
            .add([hops, protocol])
            .add(total);
        if let Some(entropy) = entropy {
            let [a, b, c, d] = prepared.source;
            sum = sum.sub([c, d]).add(entropy);
            let [c, d] = entropy;
            self.source = [a, b, c, d];
        }
        self.type_of_service = class;
        self.total_length.store(total);
        self.time_to_live = hops;
        self.protocol = protocol;
        self.header_checksum.store(sum.checksum_of_words());
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
    fn inherit(&mut self, path: &Path, from: Inherited) {
        let class = from.class(path, class_of(self));
        let [_, _, a, b] = self.version_class_label;
        self.version_class_label = [0x60 | class >> 4, class << 4, a, b];
        self.hop_limit = from.hops(path, self.hop_limit);
    }

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
