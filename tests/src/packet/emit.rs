//! From layers to bytes, innermost first, so that lengths and checksums are known.

use etherparse::checksum::Sum16BitWords;

use super::layer::{Geneve, Gre, Gue, Icmp, Ipv4, Ipv6, Layer, Tcp, Udp};
use super::{ENTROPY_PORTS, Packet, number};

impl Packet {
    /// The frame; entropy, where the packet has it, is the first possible value.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes_with(*ENTROPY_PORTS.start())
    }

    /// The frame with this entropy.
    #[must_use]
    pub fn bytes_with(&self, entropy: u16) -> Vec<u8> {
        let mut frame = self.emit(0, entropy);
        frame.extend_from_slice(&self.trailer);
        for (offset, bytes) in &self.patches {
            frame[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        if let Some(length) = self.length {
            frame.truncate(length);
        }
        frame
    }

    /// The frame with the entropy that `frame` has in the place where this packet has some.
    ///
    /// # Errors
    /// When the entropy is a port that is not ephemeral.
    pub fn bytes_like(&self, frame: &[u8]) -> Result<Vec<u8>, String> {
        let Some((offset, is_port)) = self.entropy_offset() else {
            return Ok(self.bytes());
        };
        let Some(&[high, low]) = frame.get(offset..offset + 2) else {
            return Ok(self.bytes());
        };
        let entropy = u16::from_be_bytes([high, low]);
        if is_port && !ENTROPY_PORTS.contains(&entropy) {
            return Err(format!(
                "the entropy port {entropy} is not in {ENTROPY_PORTS:?} (RFC 7348, 5)"
            ));
        }
        Ok(self.bytes_with(entropy))
    }

    /// The checksum of the last TCP or UDP layer, zero not replaced.
    pub(super) fn last_checksum(&self) -> Option<u16> {
        let index = self
            .layers
            .iter()
            .rposition(|layer| matches!(layer, Layer::Tcp(_) | Layer::Udp(_)))?;
        let payload = self.emit(index + 1, 0);
        let (protocol, header) = match &self.layers[index] {
            Layer::Tcp(tcp) => (number::TCP, tcp.header()),
            Layer::Udp(udp) => (number::UDP, udp.header(payload.len(), 0)),
            _ => return None,
        };
        Some(
            self.pseudo(index, protocol, header.len() + payload.len(), 0)
                .add_slice(&header)
                .add_slice(&payload)
                .ones_complement()
                .to_be(),
        )
    }

    /// The bytes of a layer and all that is in it.
    pub(super) fn emit_from(&self, index: usize) -> Vec<u8> {
        self.emit(index, *ENTROPY_PORTS.start())
    }

    fn emit(&self, index: usize, entropy: u16) -> Vec<u8> {
        let Some(layer) = self.layers.get(index) else {
            return Vec::new();
        };
        let payload = self.emit(index + 1, entropy);
        let mut bytes = match layer {
            Layer::Eth(eth) => {
                let mut header = Vec::new();
                header.extend_from_slice(&eth.destination);
                header.extend_from_slice(&eth.source);
                header.extend(
                    eth.ethertype
                        .unwrap_or(self.ethertype_of(index + 1))
                        .to_be_bytes(),
                );
                header
            }
            Layer::Vlan(vlan) => {
                let mut header = vlan.tci.to_be_bytes().to_vec();
                header.extend(
                    vlan.ethertype
                        .unwrap_or(self.ethertype_of(index + 1))
                        .to_be_bytes(),
                );
                header
            }
            Layer::Ipv4(ip) => ip.header(self.protocol_of(index + 1), payload.len(), entropy),
            Layer::Ipv6(ip) => ip.header(self.protocol_of(index + 1), payload.len(), entropy),
            Layer::Tcp(tcp) => {
                let mut header = tcp.header();
                let length = header.len() + payload.len();
                let sum = self
                    .pseudo(index, number::TCP, length, entropy)
                    .add_slice(&header)
                    .add_slice(&payload)
                    .ones_complement()
                    .to_be();
                put(&mut header, 16, tcp.checksum.unwrap_or(sum));
                header
            }
            Layer::Udp(udp) => {
                let mut header = udp.header(payload.len(), entropy);
                let length = header.len() + payload.len();
                let sum = self
                    .pseudo(index, number::UDP, length, entropy)
                    .add_slice(&header)
                    .add_slice(&payload)
                    .to_ones_complement_with_no_zero()
                    .to_be();
                put(&mut header, 6, udp.checksum.unwrap_or(sum));
                header
            }
            Layer::Icmp(icmp) => self.icmp_header(index, icmp, &payload),
            Layer::Gre(gre) => gre.header(self.ethertype_of(index + 1), &payload),
            Layer::Gue(gue) => gue.header(self.protocol_of(index + 1)),
            Layer::Vxlan(vxlan) => {
                let mut header = vec![vxlan.flags, 0, 0, 0];
                header.extend((vxlan.vni << 8 | u32::from(vxlan.reserved)).to_be_bytes());
                header
            }
            Layer::Geneve(geneve) => geneve.header(self.ethertype_of(index + 1)),
            Layer::Payload(bytes) => bytes.clone(),
        };
        bytes.extend_from_slice(&payload);
        bytes
    }

    fn ethertype_of(&self, index: usize) -> u16 {
        match self.layers.get(index) {
            Some(Layer::Ipv4(_)) => number::ETHERTYPE_IPV4,
            Some(Layer::Ipv6(_)) => number::ETHERTYPE_IPV6,
            Some(Layer::Vlan(vlan)) => vlan.tpid,
            Some(Layer::Eth(_)) => number::ETHERTYPE_ETHERNET,
            _ => 0xffff,
        }
    }

    fn protocol_of(&self, index: usize) -> u8 {
        match self.layers.get(index) {
            Some(Layer::Ipv4(_)) => number::IPV4,
            Some(Layer::Ipv6(_)) => number::IPV6,
            Some(Layer::Tcp(_)) => number::TCP,
            Some(Layer::Udp(_)) => number::UDP,
            Some(Layer::Gre(_)) => number::GRE,
            Some(Layer::Icmp(_)) => match self.ip_before(index) {
                Some(Layer::Ipv6(_)) => number::ICMPV6,
                _ => number::ICMP,
            },
            _ => number::NO_NEXT,
        }
    }

    fn ip_before(&self, index: usize) -> Option<&Layer> {
        self.layers[..index]
            .iter()
            .rev()
            .find(|layer| matches!(layer, Layer::Ipv4(_) | Layer::Ipv6(_)))
    }

    /// The sum of the pseudo header (RFC 768, RFC 8200 8.1).
    fn pseudo(&self, index: usize, protocol: u8, length: usize, entropy: u16) -> Sum16BitWords {
        let mut sum = Sum16BitWords::new();
        let length = length as u32;
        match self.ip_before(index) {
            Some(Layer::Ipv4(ip)) => sum
                .add_4bytes(ip.source_octets(entropy))
                .add_4bytes(ip.destination.octets())
                .add_2bytes([0, protocol])
                .add_2bytes((length as u16).to_be_bytes()),
            Some(Layer::Ipv6(ip)) => sum
                .add_16bytes(ip.source_octets(entropy))
                .add_16bytes(ip.destination.octets())
                .add_2bytes([0, protocol])
                .add_slice(&length.to_be_bytes()),
            _ => panic!("TCP, UDP and ICMPv6 have no checksum without IP"),
        }
    }

    fn icmp_header(&self, index: usize, icmp: &Icmp, payload: &[u8]) -> Vec<u8> {
        let v6 = matches!(self.ip_before(index), Some(Layer::Ipv6(_)));
        let kind = icmp.kind.unwrap_or(if v6 { 128 } else { 8 });
        let mut header = vec![kind, icmp.code, 0, 0];
        header.extend(icmp.rest);
        let sum = if v6 {
            self.pseudo(index, number::ICMPV6, header.len() + payload.len(), 0)
        } else {
            Sum16BitWords::new()
        };
        let sum = sum.add_slice(&header).add_slice(payload).ones_complement();
        put(&mut header, 2, icmp.checksum.unwrap_or(sum.to_be()));
        header
    }

    /// Where the entropy is, and whether it is a port.
    fn entropy_offset(&self) -> Option<(usize, bool)> {
        let index = self.layers.iter().position(|layer| match layer {
            Layer::Udp(udp) => udp.source.is_none(),
            Layer::Ipv4(ip) => ip.entropy,
            Layer::Ipv6(ip) => ip.entropy,
            _ => false,
        })?;
        let before = self.emit(0, 0).len() - self.emit(index, 0).len();
        Some(match &self.layers[index] {
            Layer::Ipv4(_) => (before + 14, false),
            Layer::Ipv6(_) => (before + 22, false),
            _ => (before, true),
        })
    }
}

impl Ipv4 {
    fn source_octets(&self, entropy: u16) -> [u8; 4] {
        let mut octets = self.source.octets();
        if self.entropy {
            octets[2..].copy_from_slice(&entropy.to_be_bytes());
        }
        octets
    }

    fn header(&self, next: u8, payload: usize, entropy: u16) -> Vec<u8> {
        let length = 20 + self.options.len();
        let ihl = self.ihl.unwrap_or((length / 4) as u8);
        let mut header = vec![self.version << 4 | ihl, self.tos];
        header.extend(
            self.total_length
                .unwrap_or((length + payload) as u16)
                .to_be_bytes(),
        );
        header.extend(self.id.to_be_bytes());
        header.extend(self.fragment.to_be_bytes());
        header.extend([self.ttl, self.protocol.unwrap_or(next), 0, 0]);
        header.extend(self.source_octets(entropy));
        header.extend(self.destination.octets());
        header.extend_from_slice(&self.options);
        let sum = Sum16BitWords::new().add_slice(&header).ones_complement();
        put(&mut header, 10, sum.to_be());
        header
    }
}

impl Ipv6 {
    fn source_octets(&self, entropy: u16) -> [u8; 16] {
        let mut octets = self.source.octets();
        if self.entropy {
            octets[14..].copy_from_slice(&entropy.to_be_bytes());
        }
        octets
    }

    fn header(&self, next: u8, payload: usize, entropy: u16) -> Vec<u8> {
        let last = self.next.unwrap_or(next);
        let chain: usize = self
            .extensions
            .iter()
            .map(|header| 1 + header.rest.len())
            .sum();
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label;
        let mut header = first.to_be_bytes().to_vec();
        header[0] = header[0] & 0x0f | self.version << 4;
        header.extend(
            self.payload_length
                .unwrap_or((chain + payload) as u16)
                .to_be_bytes(),
        );
        header.push(self.extensions.first().map_or(last, |next| next.number));
        header.push(self.hop_limit);
        header.extend(self.source_octets(entropy));
        header.extend(self.destination.octets());
        for (position, extension) in self.extensions.iter().enumerate() {
            let next = self.extensions.get(position + 1);
            header.push(next.map_or(last, |next| next.number));
            header.extend_from_slice(&extension.rest);
        }
        header
    }
}

impl Tcp {
    /// The header with checksum zero.
    fn header(&self) -> Vec<u8> {
        let units = self
            .data_offset
            .unwrap_or(((20 + self.options.len()) / 4) as u8);
        let mut header = self.source.to_be_bytes().to_vec();
        header.extend(self.destination.to_be_bytes());
        header.extend(0x0102_0304_u32.to_be_bytes());
        header.extend(0x0506_0708_u32.to_be_bytes());
        header.extend([units << 4, self.flags]);
        header.extend(0x7210_u16.to_be_bytes());
        header.extend([0; 4]);
        header.extend_from_slice(&self.options);
        header
    }
}

impl Udp {
    /// The header with checksum zero.
    fn header(&self, payload: usize, entropy: u16) -> Vec<u8> {
        let mut header = self.source.unwrap_or(entropy).to_be_bytes().to_vec();
        header.extend(self.destination.to_be_bytes());
        header.extend(self.length.unwrap_or((8 + payload) as u16).to_be_bytes());
        header.extend([0; 2]);
        header
    }
}

impl Gre {
    fn header(&self, next: u16, payload: &[u8]) -> Vec<u8> {
        const CHECKSUM: u16 = 0x8000;
        const KEY: u16 = 0x2000;
        const SEQUENCE: u16 = 0x1000;
        let mut flags = self.reserved;
        let mut optional = Vec::new();
        if self.checksum {
            flags |= CHECKSUM;
            optional.extend([0; 4]);
        }
        if let Some(key) = self.key {
            flags |= KEY;
            optional.extend(key.to_be_bytes());
        }
        if let Some(sequence) = self.sequence {
            flags |= SEQUENCE;
            optional.extend(sequence.to_be_bytes());
        }
        let mut header = flags.to_be_bytes().to_vec();
        header.extend(self.protocol.unwrap_or(next).to_be_bytes());
        header.extend(optional);
        if self.checksum {
            let sum = Sum16BitWords::new()
                .add_slice(&header)
                .add_slice(payload)
                .ones_complement();
            put(&mut header, 4, sum.to_be());
        }
        header
    }
}

impl Gue {
    fn header(&self, next: u8) -> Vec<u8> {
        let mut header = vec![self.first, self.protocol.unwrap_or(next)];
        header.extend(self.flags.to_be_bytes());
        header.extend_from_slice(&self.fields);
        header
    }
}

impl Geneve {
    fn header(&self, next: u16) -> Vec<u8> {
        let units = (self.options.len() / 4) as u8;
        let mut header = vec![self.version << 6 | units, self.flags];
        header.extend(next.to_be_bytes());
        header.extend((self.vni << 8).to_be_bytes());
        header.extend_from_slice(&self.options);
        header
    }
}

/// Writes a 16-bit field.
fn put(header: &mut [u8], offset: usize, value: u16) {
    header[offset..offset + 2].copy_from_slice(&value.to_be_bytes());
}
