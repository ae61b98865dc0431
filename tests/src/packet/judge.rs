//! A dissector that is not ours: etherparse takes the frame apart, layer by layer and through
//! every tunnel, and every length and every checksum is verified.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::checksum::Sum16BitWords;
use etherparse::err::ipv6::SliceError;
use etherparse::{
    EtherType, Ethernet2Slice, IpNumber, Ipv4Slice, Ipv6Slice, SingleVlanSlice, TcpSlice, UdpSlice,
};

use super::number;

/// What is wrong with a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A length or a field of Ethernet, IP or a tunnel contradicts the bytes.
    Structure(String),
    /// A length of TCP or UDP does, or the order of extension headers is not as it should be
    /// (RFC 8200, 4.1): a router does not look at these.
    Transport(String),
    /// The same as [`Fault::Structure`], in a UDP datagram that is of a tunnel by its port alone: to
    /// whom the port is a client's, it is none.
    Tunnel {
        /// What is wrong.
        what: String,
        /// In how many tunnels the datagram is.
        depth: usize,
    },
    /// A checksum does not hold.
    Checksum(String),
}

/// The layers of a frame, outermost first, each in one line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Dissection {
    lines: Vec<String>,
    /// Tunnels that have been entered.
    tunnels: usize,
    /// Whether a GUE header has optional fields: with remote checksum offload, a checksum inside is
    /// the receiver's to finish.
    pub unfinished: bool,
    /// Bytes after the outermost IP packet.
    pub trailer: usize,
}

/// Ports at which UDP over IPv6 may have no checksum (RFC 6935): those of tunnels, that of older
/// VXLAN included.
const TUNNEL_PORTS: &[u16] = &[
    number::PORT_GENEVE,
    number::PORT_GUE,
    number::PORT_VXLAN,
    number::PORT_VXLAN_OLD,
];

/// Takes a frame apart.
///
/// # Errors
/// The first thing that is wrong. A frame that is not IP has nothing that could be.
pub fn judge(frame: &[u8]) -> Result<Dissection, Fault> {
    let mut found = Dissection::default();
    ethernet(frame, &mut found, true)?;
    Ok(found)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Structure(what) | Self::Transport(what) | Self::Tunnel { what, depth: _ } => {
                write!(f, "malformed: {what}")
            }
            Self::Checksum(what) => write!(f, "bad checksum: {what}"),
        }
    }
}

impl fmt::Display for Dissection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join(" | "))
    }
}

fn ethernet(frame: &[u8], found: &mut Dissection, outermost: bool) -> Result<(), Fault> {
    let slice = Ethernet2Slice::from_slice_without_fcs(frame).map_err(structure)?;
    found.lines.push("Ethernet".to_owned());
    let mut kind = slice.ether_type();
    let mut packet = slice.payload_slice();
    while [EtherType::VLAN_TAGGED_FRAME, EtherType::PROVIDER_BRIDGING].contains(&kind) {
        let tag = SingleVlanSlice::from_slice(packet).map_err(structure)?;
        found
            .lines
            .push(format!("tag {}", tag.vlan_identifier().value()));
        kind = tag.ether_type();
        packet = tag.payload_slice();
    }
    let version = match kind {
        EtherType::IPV4 => 4,
        EtherType::IPV6 => 6,
        EtherType(other) => {
            found.lines.push(format!("EtherType {other:#06x}"));
            return Ok(());
        }
    };
    if outermost {
        let length = match (version, packet) {
            (4, [_, _, high, low, ..]) => usize::from(u16::from_be_bytes([*high, *low])),
            (6, [_, _, _, _, high, low, ..]) => 40 + usize::from(u16::from_be_bytes([*high, *low])),
            _ => packet.len(),
        };
        found.trailer = packet.len().saturating_sub(length);
    }
    ip_of("Ethernet", version, packet, found)
}

/// One IP packet; what is behind it is padding.
fn ip(packet: &[u8], found: &mut Dissection) -> Result<(), Fault> {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => ipv4(packet, found),
        Some(6) => ipv6(packet, found),
        _ => Err(Fault::Structure(
            "an IP packet without a version".to_owned(),
        )),
    }
}

fn ipv4(packet: &[u8], found: &mut Dissection) -> Result<(), Fault> {
    let slice = Ipv4Slice::from_slice(packet).map_err(structure)?;
    let header = slice.header();
    // Over the bytes: etherparse's own form of the header has no place for the reserved flag.
    verify("IPv4", Sum16BitWords::new().add_slice(header.slice()))?;
    found.lines.push(format!(
        "IPv4 {} > {} ttl {} tos {} length {}",
        header.source_addr(),
        header.destination_addr(),
        header.ttl(),
        packet[1],
        header.total_len()
    ));
    if slice.is_payload_fragmented() {
        found.lines.push("fragment".to_owned());
        return Ok(());
    }
    let ends = Ends::V4(header.source_addr(), header.destination_addr());
    transport(
        slice.payload().ip_number,
        slice.payload().payload,
        ends,
        found,
    )
}

fn ipv6(packet: &[u8], found: &mut Dissection) -> Result<(), Fault> {
    let slice = Ipv6Slice::from_slice(packet).map_err(|error| match error {
        // What follows in another fragment than the first is no header, though it may look like one.
        SliceError::Len(error) if is_later_fragment(packet) => Fault::Transport(error.to_string()),
        SliceError::Len(error) => structure(error),
        SliceError::Header(error) => structure(error),
        SliceError::Exts(error) => Fault::Transport(error.to_string()),
    })?;
    let header = slice.header();
    found.lines.push(format!(
        "IPv6 {} > {} hops {} class {} length {}",
        header.source_addr(),
        header.destination_addr(),
        header.hop_limit(),
        header.traffic_class(),
        header.payload_length()
    ));
    if slice.is_payload_fragmented() {
        found.lines.push("fragment".to_owned());
        return Ok(());
    }
    let ends = Ends::V6(header.source_addr(), header.destination_addr());
    transport(
        slice.payload().ip_number,
        slice.payload().payload,
        ends,
        found,
    )
}

/// Whether an IPv6 packet has a fragment header, behind what may stand in front of it, and is not the
/// first of its datagram (RFC 8200, 4.5).
fn is_later_fragment(packet: &[u8]) -> bool {
    let mut header = packet.get(6).copied();
    let mut rest = packet.get(40..).unwrap_or_default();
    loop {
        match (header, rest) {
            (Some(number::FRAGMENT), [_, _, high, low, ..]) => {
                return u16::from_be_bytes([*high, *low]) >> 3 != 0;
            }
            (
                Some(number::HOP_BY_HOP | number::ROUTING | number::DESTINATION_OPTIONS),
                [next, units, ..],
            ) => {
                header = Some(*next);
                rest = rest
                    .get(8 * (1 + usize::from(*units))..)
                    .unwrap_or_default();
            }
            _ => return false,
        }
    }
}

#[derive(Clone, Copy)]
enum Ends {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

impl Ends {
    fn pseudo(self, protocol: u8, length: usize) -> Sum16BitWords {
        let length = (length as u32).to_be_bytes();
        let sum = match self {
            Self::V4(from, to) => Sum16BitWords::new()
                .add_4bytes(from.octets())
                .add_4bytes(to.octets()),
            Self::V6(from, to) => Sum16BitWords::new()
                .add_16bytes(from.octets())
                .add_16bytes(to.octets()),
        };
        sum.add_slice(&length).add_2bytes([0, protocol])
    }
}

fn transport(
    protocol: IpNumber,
    payload: &[u8],
    ends: Ends,
    found: &mut Dissection,
) -> Result<(), Fault> {
    match protocol.0 {
        number::TCP => tcp(payload, ends, found),
        number::UDP => udp(payload, ends, found),
        number::IPV4 | number::IPV6 => {
            found.tunnels += 1;
            let version = if protocol.0 == number::IPV4 { 4 } else { 6 };
            tunnel("IPIP", version, payload, found)
        }
        number::GRE => {
            found.tunnels += 1;
            gre(payload, found)
        }
        number::ICMP | number::ICMPV6 => icmp(protocol.0, payload, ends, found),
        other => {
            found.lines.push(format!("protocol {other}"));
            Ok(())
        }
    }
}

fn tcp(segment: &[u8], ends: Ends, found: &mut Dissection) -> Result<(), Fault> {
    let slice = TcpSlice::from_slice(segment).map_err(|e| Fault::Transport(e.to_string()))?;
    verify(
        "TCP",
        ends.pseudo(number::TCP, segment.len()).add_slice(segment),
    )?;
    found.lines.push(format!(
        "TCP {} > {}",
        slice.source_port(),
        slice.destination_port()
    ));
    Ok(())
}

fn udp(datagram: &[u8], ends: Ends, found: &mut Dissection) -> Result<(), Fault> {
    let slice = UdpSlice::from_slice(datagram).map_err(|e| Fault::Transport(e.to_string()))?;
    exactly("UDP length", usize::from(slice.length()), datagram.len())?;
    let (from, to) = (slice.source_port(), slice.destination_port());
    let is_tunnel = TUNNEL_PORTS.contains(&to);
    match (slice.checksum(), ends) {
        (0, Ends::V6(..)) if !is_tunnel => {
            // RFC 8200, 8.1; RFC 6935 exempts tunnels.
            return Err(Fault::Checksum(
                "UDP over IPv6 without a checksum".to_owned(),
            ));
        }
        (0, _) => {}
        _ => verify(
            "UDP",
            ends.pseudo(number::UDP, datagram.len()).add_slice(datagram),
        )?,
    }
    found.lines.push(format!("UDP {from} > {to}"));
    let depth = found.tunnels;
    found.tunnels += usize::from(is_tunnel);
    let inside = match to {
        number::PORT_VXLAN | number::PORT_VXLAN_OLD => vxlan(slice.payload(), found),
        number::PORT_GENEVE => geneve(slice.payload(), found),
        number::PORT_GUE => gue(slice.payload(), found),
        _ => Ok(()),
    };
    inside.map_err(|fault| match fault {
        Fault::Structure(what) => Fault::Tunnel { what, depth },
        other => other,
    })
}

/// RFC 792; RFC 4443. Of what an error quotes, an IPv4 header is looked at.
fn icmp(protocol: u8, message: &[u8], ends: Ends, found: &mut Dissection) -> Result<(), Fault> {
    let (name, sum, is_error) = match (protocol, message.first()) {
        (number::ICMP, kind) => (
            "ICMP",
            Sum16BitWords::new(),
            matches!(kind, Some(3 | 4 | 5 | 11 | 12)),
        ),
        (_, kind) => (
            "ICMPv6",
            ends.pseudo(protocol, message.len()),
            matches!(kind, Some(0..=127)),
        ),
    };
    let [kind, code, ..] = field::<8>(name, message, 0).map_err(|fault| match fault {
        Fault::Structure(what) => Fault::Transport(what),
        other => other,
    })?;
    verify(name, sum.add_slice(message))?;
    found.lines.push(format!("{name} {kind}/{code}"));
    let Some(quoted) = message.get(8..).filter(|_| is_error) else {
        return Ok(());
    };
    if let Some(ihl) = quoted.first().filter(|first| **first >> 4 == 4)
        && let Some(header) = quoted.get(..usize::from(ihl & 15) * 4)
    {
        verify("quoted IPv4", Sum16BitWords::new().add_slice(header))?;
    }
    Ok(())
}

fn tunnel(name: &str, version: u8, payload: &[u8], found: &mut Dissection) -> Result<(), Fault> {
    found.lines.push(name.to_owned());
    ip_of(name, version, payload, found)
}

/// An IP packet of the version that the layer below it names.
fn ip_of(name: &str, version: u8, payload: &[u8], found: &mut Dissection) -> Result<(), Fault> {
    let actual = payload.first().map(|byte| byte >> 4);
    if actual != Some(version) {
        return Err(Fault::Structure(format!(
            "{name} says IPv{version}, the packet inside says {actual:?}"
        )));
    }
    ip(payload, found)
}

fn by_ethertype(
    name: &str,
    kind: u16,
    payload: &[u8],
    found: &mut Dissection,
) -> Result<(), Fault> {
    match kind {
        number::ETHERTYPE_IPV4 => tunnel(name, 4, payload, found),
        number::ETHERTYPE_IPV6 => tunnel(name, 6, payload, found),
        number::ETHERTYPE_ETHERNET => {
            found.lines.push(name.to_owned());
            ethernet(payload, found, false)
        }
        other => {
            found.lines.push(format!("{name} of {other:#06x}"));
            Ok(())
        }
    }
}

/// RFC 2784, RFC 2890.
fn gre(packet: &[u8], found: &mut Dissection) -> Result<(), Fault> {
    let [high, low, kind @ ..] = field::<4>("GRE", packet, 0)?;
    let mut offset = 4;
    if high & 0x80 != 0 {
        verify("GRE", Sum16BitWords::new().add_slice(packet))?;
        offset += 4;
    }
    for flag in [0x20, 0x10] {
        if high & flag != 0 {
            offset += 4;
        }
    }
    if low & 7 != 0 || high & 0x40 != 0 {
        found.lines.push("GRE of another version".to_owned());
        return Ok(());
    }
    let rest = rest("GRE", packet, offset)?;
    by_ethertype("GRE", u16::from_be_bytes(kind), rest, found)
}

/// RFC 7348, 5.
fn vxlan(packet: &[u8], found: &mut Dissection) -> Result<(), Fault> {
    let [flags, ..] = field::<8>("VXLAN", packet, 0)?;
    if flags != 0x08 {
        found.lines.push("VXLAN without a VNI".to_owned());
        return Ok(());
    }
    let [vni @ .., _] = field::<4>("VXLAN", packet, 4)?;
    found.lines.push(format!("VXLAN {}", u24(vni)));
    ethernet(rest("VXLAN", packet, 8)?, found, false)
}

/// RFC 8926, 3.4.
fn geneve(packet: &[u8], found: &mut Dissection) -> Result<(), Fault> {
    let [first, _flags, high, low, vni @ .., _] = field::<8>("GENEVE", packet, 0)?;
    if first >> 6 != 0 {
        found.lines.push("GENEVE of another version".to_owned());
        return Ok(());
    }
    let rest = rest("GENEVE", packet, 8 + 4 * usize::from(first & 0x3f))?;
    let name = format!("GENEVE {}", u24(vni));
    by_ethertype(&name, u16::from_be_bytes([high, low]), rest, found)
}

/// draft-ietf-intarea-gue-09, 3: version 0 with its header, version 1 bare IP.
fn gue(packet: &[u8], found: &mut Dissection) -> Result<(), Fault> {
    let [first, protocol, ..] = field::<4>("GUE", packet, 0)?;
    match first >> 6 {
        0 if first & 0x20 == 0 => {
            let rest = rest("GUE", packet, 4 + 4 * usize::from(first & 0x1f))?;
            found.unfinished |= first & 0x1f != 0;
            match protocol {
                number::IPV4 => tunnel("GUE", 4, rest, found),
                number::IPV6 => tunnel("GUE", 6, rest, found),
                _ => {
                    found.lines.push(format!("GUE of {protocol}"));
                    Ok(())
                }
            }
        }
        1 => tunnel("GUE 1", packet[0] >> 4, packet, found),
        _ => {
            found
                .lines
                .push("GUE control or of another version".to_owned());
            Ok(())
        }
    }
}

fn verify(name: &str, sum: Sum16BitWords) -> Result<(), Fault> {
    match sum.ones_complement() {
        0 => Ok(()),
        off => Err(Fault::Checksum(format!("{name} is off by {off:#06x}"))),
    }
}

fn exactly(name: &str, claimed: usize, actual: usize) -> Result<(), Fault> {
    if claimed == actual {
        return Ok(());
    }
    Err(Fault::Transport(format!(
        "{name} is {claimed}, the bytes are {actual}"
    )))
}

fn field<const N: usize>(name: &str, packet: &[u8], offset: usize) -> Result<[u8; N], Fault> {
    packet
        .get(offset..offset + N)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| Fault::Structure(format!("{name} header is cut off")))
}

fn rest<'a>(name: &str, packet: &'a [u8], offset: usize) -> Result<&'a [u8], Fault> {
    packet
        .get(offset..)
        .ok_or_else(|| Fault::Structure(format!("{name} header is cut off")))
}

fn u24([a, b, c]: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, a, b, c])
}

fn structure(error: impl fmt::Display) -> Fault {
    Fault::Structure(error.to_string())
}
