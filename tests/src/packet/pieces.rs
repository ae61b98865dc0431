//! A packet in fragments, as a host sends a datagram that is larger than its link.

use super::layer::{Extension, Layer};
use super::{Packet, number};

impl Packet {
    /// The fragments of this packet, whose payload is cut at these bytes, each a multiple of eight.
    ///
    /// The checksum in the first one is of the whole.
    ///
    /// # Panics
    /// If the packet has no IP header, or is not as long.
    #[must_use]
    pub fn pieces(&self, identification: u32, cuts: &[usize]) -> Vec<Self> {
        let ip = self
            .layers
            .iter()
            .rposition(|layer| matches!(layer, Layer::Ipv4(_) | Layer::Ipv6(_)))
            .expect("the packet has an IP layer");
        let payload = self.emit_from(ip + 1);
        let protocol = match &self.layers[ip + 1..] {
            [Layer::Tcp(_), ..] => number::TCP,
            [Layer::Udp(_), ..] => number::UDP,
            other => panic!("what is cut is TCP or UDP, not {other:?}"),
        };
        let ends: Vec<usize> = cuts.iter().copied().chain([payload.len()]).collect();
        let mut start = 0;
        let mut pieces = Vec::new();
        for end in ends {
            assert!(
                start % 8 == 0 && start < end,
                "a fragment is of whole units"
            );
            let (offset, more) = ((start / 8) as u16, end != payload.len());
            let mut piece = self.clone();
            piece.layers.truncate(ip + 1);
            match &mut piece.layers[ip] {
                Layer::Ipv4(header) => {
                    header.id = identification as u16;
                    header.fragment = offset | if more { 0x2000 } else { 0 };
                    header.protocol = Some(protocol);
                }
                Layer::Ipv6(header) => {
                    header
                        .extensions
                        .push(Extension::fragment(offset, more, identification));
                    header.next = Some(protocol);
                }
                other => panic!("{other:?} is no IP header"),
            }
            pieces.push(piece.payload(&payload[start..end]));
            start = end;
        }
        pieces
    }
}
