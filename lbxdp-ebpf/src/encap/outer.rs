use crate::abi::Path;
use crate::checksum::Sum;
use crate::frame::Wire;
use crate::wire::{Ipv4, Ipv6};

/// The outer IP header.
pub trait Outer: Wire {
    /// Writes what depends on the packet.
    ///
    /// `length` is of all that is behind this header, in bytes; `protocol` is what follows;
    /// `entropy` replaces the low half of the source address.
    fn fill(&mut self, path: &Path, length: u16, protocol: u8, entropy: Option<[u8; 2]>);

    /// The sum of the pseudo header of UDP over this header, for a datagram of `length` bytes
    /// (RFC 768; RFC 8200, 8.1).
    fn pseudo_sum(&self, length: u16) -> Sum;
}

impl Outer for Ipv4 {
    #[inline(always)]
    fn fill(&mut self, path: &Path, length: u16, protocol: u8, entropy: Option<[u8; 2]>) {
        let mut sum = Sum::from_folded(path.header_sum);
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
    fn fill(&mut self, _: &Path, length: u16, protocol: u8, entropy: Option<[u8; 2]>) {
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
