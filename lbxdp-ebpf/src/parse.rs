//! Where the headers of a packet are, and what of them matters.
//!
//! An IP packet is parsed at any offset, so that the one inside a tunnel packet
//! is parsed in place.

#![forbid(unsafe_code)]

use crate::abi::{Address, Origin, OriginIndex, Port};
use crate::frame::Frame;
use crate::verdict::Reason;
use crate::vlan;
use crate::wire::{
    self, DSTOPTS, ETHERTYPE_DOT1AD, ETHERTYPE_DOT1Q, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet,
    FRAGMENT, HOPOPTS, ICMP_DEST_UNREACH, ICMP_ECHO, ICMP_PARAMETERPROB, ICMP_TIME_EXCEEDED,
    ICMPV6_DEST_UNREACH, ICMPV6_ECHO_REQUEST, ICMPV6_PARAMPROB, IPPROTO_AH, IPPROTO_ICMP,
    IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP, IPV4_DF, IPV4_MF, IPV4_OFFSET, IPV6_MORE_FRAGMENTS,
    IPV6_OFFSET, Icmp, Ipv4, Ipv6, Ipv6Extension, Ipv6Fragment, ROUTING, TCP_SYN, Tag, Tcp, Udp,
};

/// Bytes that an ICMP error quotes at least behind the IP header (RFC 792).
const QUOTED_TRANSPORT: usize = 8;
/// VLAN tags that are skipped.
const MAX_TAGS: usize = 2;
/// IPv6 extension headers that are followed.
const MAX_EXTENSIONS: usize = 6;
/// Bytes that an IPv6 header and its extension headers may have altogether.
const MAX_HEADERS_LEN: u32 = 1024;

/// In [`Ip::fragmentation`]: the first fragment of a datagram.
pub const FIRST_FRAGMENT: u8 = 1;
/// In [`Ip::fragmentation`]: a later fragment of a datagram.
pub const LATER_FRAGMENT: u8 = 1 << 1;

/// IP version of a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Version {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Version {
    /// The version that an EtherType stands for.
    #[inline(always)]
    #[must_use]
    pub const fn of_ethertype(ethertype: [u8; 2]) -> Option<Self> {
        match ethertype {
            ETHERTYPE_IPV4 => Some(Self::V4),
            ETHERTYPE_IPV6 => Some(Self::V6),
            _ => None,
        }
    }

    /// The EtherType of the version.
    #[inline(always)]
    #[must_use]
    pub const fn ethertype(self) -> [u8; 2] {
        match self {
            Self::V4 => ETHERTYPE_IPV4,
            Self::V6 => ETHERTYPE_IPV6,
        }
    }

    /// The number of the version.
    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V4 => 4,
            Self::V6 => 6,
        }
    }

    /// The version of a number, which is one of [`Self::number`].
    #[inline(always)]
    #[must_use]
    pub const fn of_number(number: u32) -> Self {
        if number == 4 { Self::V4 } else { Self::V6 }
    }

    /// Whether the address is of this version.
    #[inline(always)]
    #[must_use]
    pub const fn is_of(self, address: &Address) -> bool {
        match self {
            Self::V4 => address.is_v4(),
            Self::V6 => !address.is_v4(),
        }
    }
}

/// What of an IP packet does not depend on where it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Outline {
    /// Bytes from the IP header to the header of [`Outline::protocol`]: header, options, extension
    /// headers.
    pub header_len: u32,
    /// Bytes of header and payload.
    pub length: u16,
    /// The protocol above IP; of IPv6, behind the extension headers. Of a later fragment,
    /// [`FRAGMENT`](wire::FRAGMENT): no header follows.
    pub protocol: u8,
    /// IP version.
    pub version: Version,
}

impl Outline {
    /// Bytes of what is above IP.
    #[inline(always)]
    #[must_use]
    pub const fn payload_len(&self) -> u32 {
        (self.length as u32).saturating_sub(self.header_len)
    }
}

/// An IP packet within a frame, without padding: see [`Steps`](crate::pipeline::Steps).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Ip {
    /// Offset of its header.
    pub start: u32,
    /// Version, lengths, protocol.
    pub outline: Outline,
    /// TTL or hop limit.
    pub ttl: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Bits: [`IPV4_DF`], unless a router may fragment the packet; [`FIRST_FRAGMENT`];
    /// [`LATER_FRAGMENT`].
    pub fragmentation: u8,
    /// Protocol of the flow: its own, also of a later fragment; or, of an ICMP error, that of what it
    /// quotes.
    pub flow_protocol: u8,
    /// Identification of a fragment's datagram.
    pub identification: u32,
    /// Traffic class of the packet around this one; 0 outside of tunnels.
    pub outer_class: u8,
    /// Whether its checksum is left to who takes it out of its tunnel: see [`gue`](crate::gue).
    pub unfinished: bool,
    /// Zero.
    pub reserved: [u8; 2],
    /// Source address of the flow: its own, or, of an ICMP error, the destination that it quotes.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
}

const _: () = assert!(
    size_of::<Ip>() == 4 + size_of::<Outline>() + 4 + 4 + 4 + 16 + 16,
    "the type has padding"
);

impl Ip {
    /// What stands where no packet has been parsed yet.
    pub const EMPTY: Self = Self {
        start: 0,
        outline: Outline {
            header_len: 0,
            length: 0,
            protocol: 0,
            version: Version::V4,
        },
        ttl: 0,
        traffic_class: 0,
        fragmentation: 0,
        flow_protocol: 0,
        identification: 0,
        outer_class: 0,
        unfinished: false,
        reserved: [0; 2],
        source: Address::UNSPECIFIED,
        destination: Address::UNSPECIFIED,
    };

    /// Whether this is a part of a datagram.
    #[inline(always)]
    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        self.fragmentation & (FIRST_FRAGMENT | LATER_FRAGMENT) != 0
    }

    /// Whether this is the part of a datagram that has its ports.
    #[inline(always)]
    #[must_use]
    pub const fn is_first_fragment(&self) -> bool {
        self.fragmentation & FIRST_FRAGMENT != 0
    }

    /// Whether this is a part of a datagram that has no ports.
    #[inline(always)]
    #[must_use]
    pub const fn is_later_fragment(&self) -> bool {
        self.fragmentation & LATER_FRAGMENT != 0
    }

    /// Offset of what is above IP.
    #[inline(always)]
    #[must_use]
    pub const fn payload(&self) -> usize {
        self.start as usize + self.outline.header_len as usize
    }

    /// Offset of what is behind the packet.
    #[inline(always)]
    #[must_use]
    pub const fn end(&self) -> usize {
        self.start as usize + self.outline.length as usize
    }
}

/// The ports of a TCP segment or UDP datagram, and what else matters of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Ports {
    /// Source port.
    pub source: Port,
    /// Destination port.
    pub destination: Port,
    /// Control bits of TCP, or 0.
    pub tcp_flags: u8,
    /// Whether this is an echo request, of which both ports are 0.
    pub echo: bool,
    /// Whether this is an ICMP error about a packet of the other direction, whose ports these are,
    /// the other way round.
    pub related: bool,
    /// Zero.
    pub reserved: u8,
    /// The origin of the first fragment of a later one; else [`Origin::NONE`].
    pub origin: OriginIndex,
}

impl Ports {
    /// What stands where none have been read yet. (So that nothing is undefined where there are
    /// none: the compiler might take any register for it, which the kernel's verifier minds.)
    pub const NONE: Self = Self {
        source: Port::new(0),
        destination: Port::new(0),
        tcp_flags: 0,
        echo: false,
        related: false,
        reserved: 0,
        origin: Origin::NONE,
    };

    /// Whether this is TCP that opens a connection, from either end: with SYN.
    #[inline(always)]
    #[must_use]
    pub const fn opens(&self) -> bool {
        self.tcp_flags & TCP_SYN != 0
    }
}

/// Parses the Ethernet header and up to two VLAN tags; says where the IP header is.
///
/// # Errors
/// The frame is cut short, has a third tag, or carries something else.
#[inline(always)]
pub fn link<F: Frame>(frame: &F) -> Result<(usize, Version), Reason> {
    let ethernet: &Ethernet = frame.at(0).ok_or(Reason::Truncated)?;
    let mut ethertype = ethernet.ethertype;
    let mut offset = size_of::<Ethernet>();
    for _ in 0..MAX_TAGS {
        if !vlan::is_tag(ethertype) {
            break;
        }
        let tag: &Tag = frame.at(offset).ok_or(Reason::Truncated)?;
        ethertype = tag.ethertype;
        offset += size_of::<Tag>();
    }
    match ethertype {
        ETHERTYPE_DOT1Q | ETHERTYPE_DOT1AD => Err(Reason::TooManyTags),
        ethertype => Version::of_ethertype(ethertype)
            .map(|version| (offset, version))
            .ok_or(Reason::NotIp),
    }
}

/// Parses the IP header at `start`, of a packet that must end before `end`, into `ip`: in its place at
/// once, since the kernel's stack is small. What is around the packet is left as it is there.
///
/// # Errors
/// The packet is cut short, contradicts itself, or has too many extension headers.
#[inline(always)]
pub fn network<F: Frame>(
    frame: &F,
    start: usize,
    version: Version,
    end: usize,
    ip: &mut Ip,
) -> Result<(), Reason> {
    ip.start = start as u32;
    ip.outline.version = version;
    ip.identification = 0;
    match version {
        Version::V4 => ipv4(frame, start, ip)?,
        Version::V6 => ipv6(frame, start, ip)?,
    }
    if ip.end() > end {
        return Err(Reason::Truncated);
    }
    if u32::from(ip.outline.length) < ip.outline.header_len {
        return Err(Reason::Malformed);
    }
    Ok(())
}

/// Reads the ports to where there are none yet, if the packet has a TCP or UDP header and all of it,
/// or is an echo request.
///
/// # Errors
/// The packet is of another protocol, or cut short.
#[inline(always)]
pub fn transport<F: Frame>(frame: &F, ip: &Ip, to: &mut Ports) -> Result<(), Reason> {
    let (size, ports) = match ip.outline.protocol {
        IPPROTO_TCP => {
            let tcp: &Tcp = frame.at(ip.payload()).ok_or(Reason::Truncated)?;
            to.tcp_flags = tcp.flags;
            (size_of::<Tcp>(), tcp.ports)
        }
        IPPROTO_UDP => {
            let udp: &Udp = frame.at(ip.payload()).ok_or(Reason::Truncated)?;
            (size_of::<Udp>(), udp.ports)
        }
        IPPROTO_ICMP | IPPROTO_ICMPV6 if is_echo_request(frame, ip) => {
            to.echo = true;
            return Ok(());
        }
        _ => return Err(Reason::OtherProtocol),
    };
    if (ip.outline.payload_len() as usize) < size {
        return Err(Reason::Malformed);
    }
    to.source = Port::from_bytes(ports.source);
    to.destination = Port::from_bytes(ports.destination);
    Ok(())
}

/// Whether the packet is an echo request, in a plain IP header.
#[inline(always)]
fn is_echo_request<F: Frame>(frame: &F, ip: &Ip) -> bool {
    let (protocol, kind, header_len) = match ip.outline.version {
        Version::V4 => (IPPROTO_ICMP, ICMP_ECHO, size_of::<Ipv4>()),
        Version::V6 => (IPPROTO_ICMPV6, ICMPV6_ECHO_REQUEST, size_of::<Ipv6>()),
    };
    ip.outline.protocol == protocol
        && !ip.is_fragment()
        && ip.outline.header_len == header_len as u32
        && ip.outline.payload_len() >= size_of::<Icmp>() as u32
        && frame
            .at::<Icmp>(ip.payload())
            .is_some_and(|icmp| icmp.kind == kind && icmp.code == 0)
}

/// Reads what an ICMP error quotes. If it is a packet of TCP or UDP from where the error goes, the
/// flow of `ip` becomes its flow the other way round, of which the ports are returned: the error is
/// a packet of that flow.
#[inline(always)]
pub fn related<F: Frame>(frame: &F, ip: &mut Ip) -> Option<[[u8; 2]; 2]> {
    if ip.is_fragment() {
        return None;
    }
    let message = ip.payload();
    let kind = frame.at::<Icmp>(message)?.kind;
    let quoted = message + size_of::<Icmp>();
    let (source, destination, protocol, header_len) = match ip.outline.version {
        Version::V4 => {
            let is_error = matches!(
                kind,
                ICMP_DEST_UNREACH | ICMP_TIME_EXCEEDED | ICMP_PARAMETERPROB
            );
            if ip.outline.protocol != IPPROTO_ICMP || !is_error {
                return None;
            }
            let header: &Ipv4 = frame.at(quoted)?;
            let [flags, offset] = header.flags_fragment_offset;
            // Only of a first fragment the ports are there.
            if header.version_ihl >> 4 != 4 || flags & 0x1f != 0 || offset != 0 {
                return None;
            }
            (
                Address::from_v4(header.source),
                Address::from_v4(header.destination),
                header.protocol,
                usize::from(header.version_ihl & 0x0f) * 4,
            )
        }
        Version::V6 => {
            let is_error = matches!(kind, ICMPV6_DEST_UNREACH..=ICMPV6_PARAMPROB);
            if ip.outline.protocol != IPPROTO_ICMPV6 || !is_error {
                return None;
            }
            let header: &Ipv6 = frame.at(quoted)?;
            (
                Address::from_v6(header.source),
                Address::from_v6(header.destination),
                header.next_header,
                size_of::<Ipv6>(),
            )
        }
    };
    if header_len < size_of::<Ipv4>() || !matches!(protocol, IPPROTO_TCP | IPPROTO_UDP) {
        return None;
    }
    let transport = quoted + header_len;
    // RFC 792: at least eight bytes are quoted.
    if transport + QUOTED_TRANSPORT > ip.end() || source != ip.destination {
        return None;
    }
    let ports: &wire::Ports = frame.at(transport)?;
    let ports = [ports.destination, ports.source];
    ip.flow_protocol = protocol;
    ip.source = destination;
    Some(ports)
}

#[inline(always)]
fn ipv4<F: Frame>(frame: &F, start: usize, ip: &mut Ip) -> Result<(), Reason> {
    let header: &Ipv4 = frame.at(start).ok_or(Reason::Truncated)?;
    ip.outline.header_len = u32::from(header.version_ihl & 0x0f) * 4;
    if header.version_ihl >> 4 != 4 || ip.outline.header_len < size_of::<Ipv4>() as u32 {
        return Err(Reason::Malformed);
    }
    let [flags, offset] = header.flags_fragment_offset;
    let fragment = position(
        flags & IPV4_OFFSET != 0 || offset != 0,
        flags & IPV4_MF != 0,
    );
    ip.outline.length = u16::from_be_bytes(header.total_length);
    ip.outline.protocol = if fragment == LATER_FRAGMENT {
        FRAGMENT
    } else {
        header.protocol
    };
    ip.ttl = header.time_to_live;
    ip.traffic_class = header.type_of_service;
    ip.fragmentation = flags & IPV4_DF | fragment;
    ip.flow_protocol = header.protocol;
    if fragment != 0 {
        ip.identification = u16::from_be_bytes(header.identification).into();
    }
    ip.source = Address::from_v4(header.source);
    ip.destination = Address::from_v4(header.destination);
    Ok(())
}

#[inline(always)]
fn ipv6<F: Frame>(frame: &F, start: usize, ip: &mut Ip) -> Result<(), Reason> {
    let header: &Ipv6 = frame.at(start).ok_or(Reason::Truncated)?;
    let [version_class, class_label, _, _] = header.version_class_label;
    if version_class >> 4 != 6 {
        return Err(Reason::Malformed);
    }
    // A payload length of zero would be a jumbogram (RFC 2675); it falls short of any header.
    ip.outline.length = u16::from_be_bytes(header.payload_length)
        .checked_add(size_of::<Ipv6>() as u16)
        .ok_or(Reason::Malformed)?;
    ip.ttl = header.hop_limit;
    ip.traffic_class = (version_class << 4) | (class_label >> 4);
    // Only its sender may (RFC 8200, 5).
    ip.fragmentation = IPV4_DF;
    ip.source = Address::from_v6(header.source);
    ip.destination = Address::from_v6(header.destination);
    extensions(frame, start, header.next_header, ip)?;
    // Mapped addresses do not belong on the wire (RFC 4942, 2.2); here they would pass for IPv4.
    if ip.source.is_v4() || ip.destination.is_v4() {
        return Err(Reason::Malformed);
    }
    Ok(())
}

/// Follows the extension headers of the IPv6 packet at `start`, up to a later fragment's payload.
#[inline(always)]
fn extensions<F: Frame>(
    frame: &F,
    start: usize,
    next_header: u8,
    ip: &mut Ip,
) -> Result<(), Reason> {
    let mut header_len = size_of::<Ipv6>() as u32;
    let mut protocol = next_header;
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(protocol) {
            break;
        }
        let at = start + header_len as usize;
        if protocol == FRAGMENT {
            let header: &Ipv6Fragment = frame.at(at).ok_or(Reason::Truncated)?;
            protocol = header.next_header;
            header_len += size_of::<Ipv6Fragment>() as u32;
            // A fragment of a fragment is nothing that a host sends.
            if ip.is_fragment() {
                return Err(Reason::Fragment);
            }
            let [high, low] = header.offset_flags;
            // One that is neither is a whole packet (RFC 6946).
            let fragment = position(
                high != 0 || low & IPV6_OFFSET != 0,
                low & IPV6_MORE_FRAGMENTS != 0,
            );
            ip.fragmentation |= fragment;
            ip.identification = u32::from_be_bytes(header.identification);
            if fragment == LATER_FRAGMENT {
                ip.outline.header_len = header_len;
                ip.outline.protocol = FRAGMENT;
                ip.flow_protocol = protocol;
                return Ok(());
            }
            continue;
        }
        let extension: &Ipv6Extension = frame.at(at).ok_or(Reason::Truncated)?;
        let units = u32::from(extension.length);
        header_len += if protocol == IPPROTO_AH {
            (units + 2) * 4
        } else {
            (units + 1) * 8
        };
        protocol = extension.next_header;
        if header_len > MAX_HEADERS_LEN {
            return Err(Reason::TooManyHeaders);
        }
    }
    if is_extension(protocol) {
        return Err(Reason::TooManyHeaders);
    }
    ip.outline.header_len = header_len;
    ip.outline.protocol = protocol;
    ip.flow_protocol = protocol;
    Ok(())
}

/// Which part of a datagram a packet is: by whether it has an offset, and whether more follow.
#[inline(always)]
const fn position(has_offset: bool, more_follow: bool) -> u8 {
    if has_offset {
        LATER_FRAGMENT
    } else if more_follow {
        FIRST_FRAGMENT
    } else {
        0
    }
}

#[inline(always)]
const fn is_extension(next_header: u8) -> bool {
    matches!(
        next_header,
        HOPOPTS | ROUTING | DSTOPTS | IPPROTO_AH | FRAGMENT
    )
}
