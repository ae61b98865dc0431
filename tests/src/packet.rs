//! Packets as cases write them: one layer after the other, outermost first.
//!
//! ```
//! use tests::packet::Packet;
//!
//! let frame = Packet::eth([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
//!     .vlan(5)
//!     .ipv4("192.0.2.1", "198.51.100.10")
//!     .ttl(63)
//!     .tcp(40_000, 80)
//!     .payload(b"GET /")
//!     .bytes();
//! assert_eq!(frame.len(), 14 + 4 + 20 + 20 + 5);
//! ```
//!
//! Lengths, protocol numbers and checksums are filled in, the latter with
//! etherparse: nothing here shares code with the program under test. Each can be
//! overridden, for packets that are to be wrong. [`judge`](judge::judge) is the
//! other direction: it takes a frame apart and checks all of it.

mod emit;
pub mod judge;
mod layer;
mod pieces;
pub mod tshark;

use std::net::{Ipv4Addr, Ipv6Addr};

use layer::{Eth, Extension, Geneve, Gre, Gue, Icmp, Ipv4, Ipv6, Layer, Tcp, Udp, Vlan};

/// Numbers of protocols and ports, by the names of their registries.
pub mod number {
    /// IP protocol: IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// IP protocol: ICMP.
    pub const ICMP: u8 = 1;
    /// IP protocol: IPv4 in IP.
    pub const IPV4: u8 = 4;
    /// IP protocol: TCP.
    pub const TCP: u8 = 6;
    /// IP protocol: UDP.
    pub const UDP: u8 = 17;
    /// IP protocol: IPv6 in IP.
    pub const IPV6: u8 = 41;
    /// IP protocol: IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IP protocol: IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// IP protocol: GRE.
    pub const GRE: u8 = 47;
    /// IP protocol: ESP.
    pub const ESP: u8 = 50;
    /// IP protocol: authentication header.
    pub const AUTHENTICATION: u8 = 51;
    /// IP protocol: ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// IP protocol: no next header.
    pub const NO_NEXT: u8 = 59;
    /// IP protocol: IPv6 destination options.
    pub const DESTINATION_OPTIONS: u8 = 60;
    /// IP protocol: SCTP.
    pub const SCTP: u8 = 132;
    /// IP protocol: mobility header.
    pub const MOBILITY: u8 = 135;
    /// EtherType: IPv4.
    pub const ETHERTYPE_IPV4: u16 = 0x0800;
    /// EtherType: ARP.
    pub const ETHERTYPE_ARP: u16 = 0x0806;
    /// EtherType: 802.1Q.
    pub const ETHERTYPE_VLAN: u16 = 0x8100;
    /// EtherType: IPv6.
    pub const ETHERTYPE_IPV6: u16 = 0x86dd;
    /// EtherType: 802.1ad.
    pub const ETHERTYPE_SERVICE_VLAN: u16 = 0x88a8;
    /// EtherType: LLDP.
    pub const ETHERTYPE_LLDP: u16 = 0x88cc;
    /// Protocol type of GRE and GENEVE: Ethernet.
    pub const ETHERTYPE_ETHERNET: u16 = 0x6558;
    /// UDP port: VXLAN.
    pub const PORT_VXLAN: u16 = 4789;
    /// UDP port: VXLAN before it was assigned one, and still Linux's default.
    pub const PORT_VXLAN_OLD: u16 = 8472;
    /// UDP port: GUE.
    pub const PORT_GUE: u16 = 6080;
    /// UDP port: GENEVE.
    pub const PORT_GENEVE: u16 = 6081;
}

/// Space of the ephemeral ports, from which entropy is taken (RFC 6335, 6).
const ENTROPY_PORTS: std::ops::RangeInclusive<u16> = 49_152..=65_535;

/// A packet under construction.
#[derive(Clone, Debug)]
pub struct Packet {
    layers: Vec<Layer>,
    trailer: Vec<u8>,
    patches: Vec<(usize, Vec<u8>)>,
    length: Option<usize>,
}

impl Packet {
    /// Begins with nothing: a packet of a device without Ethernet.
    #[must_use]
    pub fn bare() -> Self {
        Self {
            layers: Vec::new(),
            trailer: Vec::new(),
            patches: Vec::new(),
            length: None,
        }
    }

    /// Whether it begins without an Ethernet header.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        !matches!(self.layers.first(), Some(Layer::Eth(_)))
    }

    /// Begins with an Ethernet header.
    #[must_use]
    pub fn eth(source: [u8; 6], destination: [u8; 6]) -> Self {
        Self {
            layers: vec![Layer::Eth(Eth {
                source,
                destination,
                ethertype: None,
            })],
            trailer: Vec::new(),
            patches: Vec::new(),
            length: None,
        }
    }

    /// Adds all layers of another packet, beginning with its Ethernet header.
    #[must_use]
    pub fn frame(mut self, inner: &Self) -> Self {
        self.layers.extend(inner.layers.iter().cloned());
        self
    }

    /// Adds all layers of another packet from its IP header on.
    #[must_use]
    pub fn ip_of(mut self, inner: &Self) -> Self {
        let from_ip = inner
            .layers
            .iter()
            .skip_while(|layer| matches!(layer, Layer::Eth(_) | Layer::Vlan(_)));
        self.layers.extend(from_ip.cloned());
        self
    }

    /// Adds an Ethernet header, within a tunnel.
    #[must_use]
    pub fn inner_eth(self, source: [u8; 6], destination: [u8; 6]) -> Self {
        self.with(Layer::Eth(Eth {
            source,
            destination,
            ethertype: None,
        }))
    }

    /// Sets the EtherType (or that of the VLAN tag) to what does not follow.
    #[must_use]
    pub fn ethertype(mut self, number: u16) -> Self {
        match self.last() {
            Layer::Eth(eth) => eth.ethertype = Some(number),
            Layer::Vlan(vlan) => vlan.ethertype = Some(number),
            other => panic!("an EtherType belongs to Ethernet or a tag, not to {other:?}"),
        }
        self
    }

    /// Adds an 802.1Q tag.
    #[must_use]
    pub fn vlan(self, id: u16) -> Self {
        self.with(Layer::Vlan(Vlan {
            tpid: number::ETHERTYPE_VLAN,
            tci: id,
            ethertype: None,
        }))
    }

    /// Adds an 802.1ad tag.
    #[must_use]
    pub fn service_vlan(self, id: u16) -> Self {
        self.with(Layer::Vlan(Vlan {
            tpid: number::ETHERTYPE_SERVICE_VLAN,
            tci: id,
            ethertype: None,
        }))
    }

    /// Adds an IPv4 header: TTL 64, "don't fragment", identification 0.
    ///
    /// # Panics
    /// If an address is none.
    #[must_use]
    pub fn ipv4(self, source: &str, destination: &str) -> Self {
        let parse = |text: &str| -> Ipv4Addr { text.parse().expect("an IPv4 address of a case") };
        self.with(Layer::Ipv4(Ipv4::new(parse(source), parse(destination))))
    }

    /// Adds an IPv6 header: hop limit 64.
    ///
    /// # Panics
    /// If an address is none.
    #[must_use]
    pub fn ipv6(self, source: &str, destination: &str) -> Self {
        let parse = |text: &str| -> Ipv6Addr { text.parse().expect("an IPv6 address of a case") };
        self.with(Layer::Ipv6(Ipv6::new(parse(source), parse(destination))))
    }

    /// Adds an IP header of the version of the addresses.
    ///
    /// # Panics
    /// If an address is none.
    #[must_use]
    pub fn ip(self, source: &str, destination: &str) -> Self {
        if source.contains(':') {
            self.ipv6(source, destination)
        } else {
            self.ipv4(source, destination)
        }
    }

    /// Sets TTL or hop limit.
    #[must_use]
    pub fn ttl(mut self, ttl: u8) -> Self {
        match self.last_ip() {
            Layer::Ipv4(ip) => ip.ttl = ttl,
            Layer::Ipv6(ip) => ip.hop_limit = ttl,
            other => panic!("a TTL belongs to IP, not to {other:?}"),
        }
        self
    }

    /// Sets TTL or hop limit of the outermost IP header.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn outer_ttl(mut self, ttl: u8) -> Self {
        let outer = self.layers.iter_mut().find_map(|layer| match layer {
            Layer::Ipv4(ip) => Some(&mut ip.ttl),
            Layer::Ipv6(ip) => Some(&mut ip.hop_limit),
            _ => None,
        });
        *outer.expect("the packet has an IP layer") = ttl;
        self
    }

    /// Sets the type of service or traffic class of the outermost IP header.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn outer_tos(mut self, tos: u8) -> Self {
        let outer = self.layers.iter_mut().find_map(|layer| match layer {
            Layer::Ipv4(ip) => Some(&mut ip.tos),
            Layer::Ipv6(ip) => Some(&mut ip.traffic_class),
            _ => None,
        });
        *outer.expect("the packet has an IP layer") = tos;
        self
    }

    /// Sets the type of service or traffic class: DSCP and ECN.
    #[must_use]
    pub fn tos(mut self, tos: u8) -> Self {
        match self.last_ip() {
            Layer::Ipv4(ip) => ip.tos = tos,
            Layer::Ipv6(ip) => ip.traffic_class = tos,
            other => panic!("a traffic class belongs to IP, not to {other:?}"),
        }
        self
    }

    /// Sets the protocol (or the last next header) to what does not follow.
    #[must_use]
    pub fn protocol(mut self, number: u8) -> Self {
        match self.last_ip() {
            Layer::Ipv4(ip) => ip.protocol = Some(number),
            Layer::Ipv6(ip) => ip.next = Some(number),
            other => panic!("a protocol belongs to IP, not to {other:?}"),
        }
        self
    }

    /// Sets the low 16 bits of the source address apart: they carry entropy.
    #[must_use]
    pub fn entropy_source(mut self) -> Self {
        match self.last_ip() {
            Layer::Ipv4(ip) => ip.entropy = true,
            Layer::Ipv6(ip) => ip.entropy = true,
            other => panic!("a source address belongs to IP, not to {other:?}"),
        }
        self
    }

    /// Changes the IPv4 header in place.
    #[must_use]
    pub fn id(self, identification: u16) -> Self {
        self.edit_v4(|ip| ip.id = identification)
    }

    /// Sets the three flag bits and the offset field of the IPv4 header as one number.
    #[must_use]
    pub fn fragment(self, flags_and_offset: u16) -> Self {
        self.edit_v4(|ip| ip.fragment = flags_and_offset)
    }

    /// Clears "don't fragment" of the IPv4 header.
    #[must_use]
    pub fn may_fragment(self) -> Self {
        self.fragment(0)
    }

    /// Sets the options of the IPv4 header; a multiple of four bytes.
    #[must_use]
    pub fn options(self, options: &[u8]) -> Self {
        self.edit_v4(|ip| ip.options = options.to_vec())
    }

    /// Claims a header length, in units of four bytes.
    #[must_use]
    pub fn ihl(self, ihl: u8) -> Self {
        self.edit_v4(|ip| ip.ihl = Some(ihl))
    }

    /// Claims an IP version.
    #[must_use]
    pub fn version(mut self, version: u8) -> Self {
        match self.last_ip() {
            Layer::Ipv4(ip) => ip.version = version,
            Layer::Ipv6(ip) => ip.version = version,
            other => panic!("a version belongs to IP, not to {other:?}"),
        }
        self
    }

    /// Claims a total length (IPv4) or payload length (IPv6).
    #[must_use]
    pub fn length(mut self, length: u16) -> Self {
        match self.last_ip() {
            Layer::Ipv4(ip) => ip.total_length = Some(length),
            Layer::Ipv6(ip) => ip.payload_length = Some(length),
            other => panic!("a length belongs to IP, not to {other:?}"),
        }
        self
    }

    /// Sets the flow label of the IPv6 header.
    #[must_use]
    pub fn flow_label(mut self, label: u32) -> Self {
        match self.last_ip() {
            Layer::Ipv6(ip) => ip.flow_label = label,
            other => panic!("a flow label belongs to IPv6, not to {other:?}"),
        }
        self
    }

    /// Adds an IPv6 extension header with a body of padding, `units` eight-byte units long in all.
    #[must_use]
    pub fn extension(self, number: u8, units: u8) -> Self {
        self.add_extension(Extension::padded(number, units))
    }

    /// Adds an IPv6 fragment header; the offset is in units of eight bytes.
    #[must_use]
    pub fn fragment_header(self, offset: u16, more: bool) -> Self {
        self.add_extension(Extension::fragment(offset, more, 1))
    }

    /// Adds TCP: an ACK, without options.
    #[must_use]
    pub fn tcp(self, source: u16, destination: u16) -> Self {
        self.with(Layer::Tcp(Tcp::new(source, destination)))
    }

    /// Adds UDP.
    #[must_use]
    pub fn udp(self, source: u16, destination: u16) -> Self {
        self.with(Layer::Udp(Udp::new(Some(source), destination)))
    }

    /// Adds UDP whose source port carries entropy.
    #[must_use]
    pub fn entropy_udp(self, destination: u16) -> Self {
        self.with(Layer::Udp(Udp::new(None, destination)))
    }

    /// Adds an ICMP or ICMPv6 echo request.
    #[must_use]
    pub fn echo(self, id: u16) -> Self {
        let [high, low] = id.to_be_bytes();
        self.with(Layer::Icmp(Icmp {
            kind: None,
            code: 0,
            rest: [high, low, 0, 1],
            checksum: None,
        }))
    }

    /// Adds an ICMP or ICMPv6 header of a type and a code, and the four bytes behind its checksum.
    #[must_use]
    pub fn icmp(self, kind: u8, code: u8, rest: u32) -> Self {
        self.with(Layer::Icmp(Icmp {
            kind: Some(kind),
            code,
            rest: rest.to_be_bytes(),
            checksum: None,
        }))
    }

    /// Adds, as bytes, the first `length` bytes of another packet, from its outermost IP header on.
    #[must_use]
    pub fn quote(self, packet: &Self, length: usize) -> Self {
        let frame = packet.bytes();
        let link: usize = packet
            .layers
            .iter()
            .map_while(|layer| match layer {
                Layer::Eth(_) => Some(14),
                Layer::Vlan(_) => Some(4),
                _ => None,
            })
            .sum();
        let end = frame.len() - packet.trailer.len();
        self.payload(&frame[link..end.min(link + length)])
    }

    /// Sets the checksum of TCP, UDP or ICMP, whatever is right.
    #[must_use]
    pub fn checksum(mut self, checksum: u16) -> Self {
        match self.last() {
            Layer::Tcp(tcp) => tcp.checksum = Some(checksum),
            Layer::Udp(udp) => udp.checksum = Some(checksum),
            Layer::Icmp(icmp) => icmp.checksum = Some(checksum),
            other => panic!("a checksum belongs to TCP, UDP or ICMP, not to {other:?}"),
        }
        self
    }

    /// Sends UDP without a checksum.
    #[must_use]
    pub fn no_checksum(self) -> Self {
        self.checksum(0)
    }

    /// Claims a UDP length.
    #[must_use]
    pub fn udp_length(mut self, length: u16) -> Self {
        match self.last() {
            Layer::Udp(udp) => udp.length = Some(length),
            other => panic!("a UDP length belongs to UDP, not to {other:?}"),
        }
        self
    }

    /// Sets the flags of TCP (RFC 9293, 3.1): FIN 1, SYN 2, RST 4, PSH 8, ACK 16.
    #[must_use]
    pub fn tcp_flags(self, flags: u8) -> Self {
        self.edit_tcp(|tcp| tcp.flags = flags)
    }

    /// Sets the options of TCP; a multiple of four bytes.
    #[must_use]
    pub fn tcp_options(self, options: &[u8]) -> Self {
        self.edit_tcp(|tcp| tcp.options = options.to_vec())
    }

    /// Claims a data offset of TCP, in units of four bytes.
    #[must_use]
    pub fn data_offset(self, units: u8) -> Self {
        self.edit_tcp(|tcp| tcp.data_offset = Some(units))
    }

    /// Adds a GRE header without optional fields.
    #[must_use]
    pub fn gre(self) -> Self {
        self.with(Layer::Gre(Gre::default()))
    }

    /// Sets the key of GRE.
    #[must_use]
    pub fn key(self, key: u32) -> Self {
        self.edit_gre(|gre| gre.key = Some(key))
    }

    /// Sets the sequence number of GRE.
    #[must_use]
    pub fn sequence(self, sequence: u32) -> Self {
        self.edit_gre(|gre| gre.sequence = Some(sequence))
    }

    /// Lets GRE have a checksum.
    #[must_use]
    pub fn gre_checksum(self) -> Self {
        self.edit_gre(|gre| gre.checksum = true)
    }

    /// Sets the version and the reserved bits of GRE (the low 12 bits of its first two bytes).
    #[must_use]
    pub fn gre_reserved(self, bits: u16) -> Self {
        self.edit_gre(|gre| gre.reserved = bits)
    }

    /// Sets the protocol type of GRE.
    #[must_use]
    pub fn gre_protocol(self, number: u16) -> Self {
        self.edit_gre(|gre| gre.protocol = Some(number))
    }

    /// Adds a GUE header, version 0.
    #[must_use]
    pub fn gue(self) -> Self {
        self.with(Layer::Gue(Gue::default()))
    }

    /// Sets the first byte of GUE: version (2 bits), C bit, header length (5 bits).
    #[must_use]
    pub fn gue_first(self, byte: u8) -> Self {
        self.edit_gue(|gue| gue.first = byte)
    }

    /// Sets the flags and extension fields of GUE; fields are a multiple of four bytes.
    #[must_use]
    pub fn gue_fields(self, flags: u16, fields: &[u8]) -> Self {
        self.edit_gue(|gue| {
            gue.flags = flags;
            gue.first |= (fields.len() / 4) as u8;
            gue.fields = fields.to_vec();
        })
    }

    /// Sets the protocol of GUE to what does not follow.
    #[must_use]
    pub fn gue_protocol(self, number: u8) -> Self {
        self.edit_gue(|gue| gue.protocol = Some(number))
    }

    /// Adds a VXLAN header.
    #[must_use]
    pub fn vxlan(self, vni: u32) -> Self {
        self.with(Layer::Vxlan(layer::Vxlan {
            flags: layer::Vxlan::VNI,
            vni,
            reserved: 0,
        }))
    }

    /// Sets the flags byte of VXLAN.
    #[must_use]
    pub fn vxlan_flags(mut self, flags: u8) -> Self {
        match self.last() {
            Layer::Vxlan(vxlan) => vxlan.flags = flags,
            other => panic!("VXLAN flags belong to VXLAN, not to {other:?}"),
        }
        self
    }

    /// Adds a GENEVE header.
    #[must_use]
    pub fn geneve(self, vni: u32) -> Self {
        self.with(Layer::Geneve(Geneve::new(vni)))
    }

    /// Adds options to GENEVE; a multiple of four bytes.
    #[must_use]
    pub fn geneve_options(self, options: &[u8]) -> Self {
        self.edit_geneve(|geneve| geneve.options.extend_from_slice(options))
    }

    /// Sets the second byte of GENEVE: O bit (0x80), C bit (0x40).
    #[must_use]
    pub fn geneve_flags(self, flags: u8) -> Self {
        self.edit_geneve(|geneve| geneve.flags = flags)
    }

    /// Sets the version of GENEVE.
    #[must_use]
    pub fn geneve_version(self, version: u8) -> Self {
        self.edit_geneve(|geneve| geneve.version = version)
    }

    /// Adds bytes.
    #[must_use]
    pub fn payload(self, bytes: &[u8]) -> Self {
        self.with(Layer::Payload(bytes.to_vec()))
    }

    /// Adds bytes that no length counts: Ethernet padding.
    #[must_use]
    pub fn trailer(mut self, bytes: &[u8]) -> Self {
        self.trailer.extend_from_slice(bytes);
        self
    }

    /// Overwrites bytes of the finished frame.
    #[must_use]
    pub fn patch(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.patches.push((offset, bytes.to_vec()));
        self
    }

    /// Cuts the finished frame off.
    #[must_use]
    pub fn truncated(mut self, length: usize) -> Self {
        self.length = Some(length);
        self
    }

    /// Two bytes of payload that make the checksum of the last TCP or UDP layer `wanted`.
    ///
    /// # Panics
    /// If there is no such layer.
    #[must_use]
    pub fn payload_for_checksum(&self, wanted: u16) -> [u8; 2] {
        let probe = self.clone().payload(&[0, 0]);
        let sum = u32::from(!probe.last_checksum().expect("a TCP or UDP layer"));
        let mut word = u32::from(!wanted) + u32::from(!(sum as u16));
        word = (word & 0xffff) + (word >> 16);
        (word as u16).to_be_bytes()
    }

    fn with(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    fn last(&mut self) -> &mut Layer {
        self.layers.last_mut().expect("a packet has layers")
    }

    fn last_ip(&mut self) -> &mut Layer {
        self.layers
            .iter_mut()
            .rev()
            .find(|layer| matches!(layer, Layer::Ipv4(_) | Layer::Ipv6(_)))
            .expect("the packet has an IP layer")
    }

    fn edit_v4(mut self, edit: impl FnOnce(&mut Ipv4)) -> Self {
        match self.last_ip() {
            Layer::Ipv4(ip) => edit(ip),
            other => panic!("belongs to IPv4, not to {other:?}"),
        }
        self
    }

    fn add_extension(mut self, extension: Extension) -> Self {
        match self.last_ip() {
            Layer::Ipv6(ip) => ip.extensions.push(extension),
            other => panic!("an extension header belongs to IPv6, not to {other:?}"),
        }
        self
    }

    fn edit_tcp(mut self, edit: impl FnOnce(&mut Tcp)) -> Self {
        match self.last() {
            Layer::Tcp(tcp) => edit(tcp),
            other => panic!("belongs to TCP, not to {other:?}"),
        }
        self
    }

    fn edit_gre(mut self, edit: impl FnOnce(&mut Gre)) -> Self {
        match self.last() {
            Layer::Gre(gre) => edit(gre),
            other => panic!("belongs to GRE, not to {other:?}"),
        }
        self
    }

    fn edit_gue(mut self, edit: impl FnOnce(&mut Gue)) -> Self {
        match self.last() {
            Layer::Gue(gue) => edit(gue),
            other => panic!("belongs to GUE, not to {other:?}"),
        }
        self
    }

    fn edit_geneve(mut self, edit: impl FnOnce(&mut Geneve)) -> Self {
        match self.last() {
            Layer::Geneve(geneve) => edit(geneve),
            other => panic!("belongs to GENEVE, not to {other:?}"),
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::judge::judge;
    use super::*;

    const A: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const B: [u8; 6] = [2, 0, 0, 0, 0, 2];

    #[test]
    fn a_known_packet_comes_out_byte_for_byte() {
        // The worked example of an IPv4 header checksum, 0xb861.
        let frame = Packet::eth(A, B)
            .ipv4("192.168.0.1", "192.168.0.199")
            .udp(1, 2)
            .payload(&[0; 87])
            .bytes();
        assert_eq!(frame[14..34].iter().step_by(10).count(), 2);
        assert_eq!(&frame[24..26], &[0xb8, 0x61]);
    }

    #[test]
    fn the_judge_accepts_what_the_builder_builds() {
        let inner = Packet::eth(A, B)
            .ipv6("2001:db8::1", "2001:db8::2")
            .extension(number::HOP_BY_HOP, 1)
            .tcp(1, 2)
            .tcp_options(&[2, 4, 5, 180])
            .payload(b"hello");
        let outer = || Packet::eth(A, B).vlan(3).ipv4("192.0.2.1", "192.0.2.2");
        for packet in [
            inner.clone(),
            outer().ip_of(&inner),
            outer()
                .gre()
                .key(5)
                .gre_checksum()
                .sequence(1)
                .ip_of(&inner),
            outer().udp(50_000, number::PORT_GUE).gue().ip_of(&inner),
            outer()
                .udp(50_000, number::PORT_VXLAN)
                .no_checksum()
                .vxlan(7)
                .frame(&inner),
            outer()
                .udp(50_000, number::PORT_GENEVE)
                .geneve(7)
                .geneve_options(&[1, 2, 3, 1, 0, 0, 0, 0])
                .ip_of(&inner),
        ] {
            let judged = judge(&packet.bytes());
            assert!(judged.is_ok(), "{packet:?}: {judged:?}");
        }
    }

    #[test]
    fn the_judge_finds_a_single_wrong_byte() {
        let good = Packet::eth(A, B)
            .ipv4("192.0.2.1", "192.0.2.2")
            .udp(50_000, number::PORT_VXLAN)
            .vxlan(7)
            .inner_eth(A, B)
            .ipv4("10.0.0.1", "10.0.0.2")
            .tcp(1, 2)
            .payload(b"hello")
            .bytes();
        for offset in 14..good.len() {
            let mut bad = good.clone();
            bad[offset] ^= 0x10;
            // Everything from the outer IP header on is under some checksum.
            assert!(judge(&bad).is_err(), "byte {offset} changed unnoticed");
        }
    }

    #[test]
    fn a_payload_can_be_chosen_for_its_checksum() {
        let packet = Packet::eth(A, B).ipv4("192.0.2.1", "192.0.2.2").tcp(1, 2);
        for wanted in [0x0000, 0x1234, 0xfffe] {
            let payload = packet.payload_for_checksum(wanted);
            let frame = packet.clone().payload(&payload).bytes();
            assert_eq!(&frame[50..52], &u16::to_be_bytes(wanted));
        }
    }
}
