//! Where the headers of a packet are, and what of them matters.
//!
//! An IP packet is parsed at any offset, so that the one inside a tunnel packet
//! is parsed in place.

#![forbid(unsafe_code)]

use crate::abi::{Address, Port};
use crate::frame::Frame;
use crate::verdict::Reason;
use crate::wire::{
    DSTOPTS, ETHERTYPE_DOT1AD, ETHERTYPE_DOT1Q, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, FRAGMENT,
    HOPOPTS, IPPROTO_AH, IPPROTO_TCP, IPPROTO_UDP, Ipv4, Ipv6, Ipv6Extension, ROUTING, Tag, Tcp,
    Udp,
};

/// VLAN tags that are skipped.
const MAX_TAGS: usize = 2;
/// IPv6 extension headers that are followed.
const MAX_EXTENSIONS: usize = 6;
/// Bytes that IPv6 extension headers may have altogether.
const MAX_EXTENSION_BYTES: usize = 1024;

/// IP version of a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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

/// An IP packet within a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ip {
    /// IP version.
    pub version: Version,
    /// Offset of its header.
    pub start: usize,
    /// Bytes from there to the header of [`Ip::protocol`]: header, options, extension headers.
    pub header_len: usize,
    /// Bytes of header and payload.
    pub length: u16,
    /// The protocol above IP; of IPv6, behind the extension headers.
    pub protocol: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
}

impl Ip {
    /// Offset of what is above IP.
    #[inline(always)]
    #[must_use]
    pub const fn payload(&self) -> usize {
        self.start + self.header_len
    }

    /// Offset of what is behind the packet.
    #[inline(always)]
    #[must_use]
    pub const fn end(&self) -> usize {
        self.start + self.length as usize
    }

    /// Bytes of what is above IP.
    #[inline(always)]
    #[must_use]
    pub const fn payload_len(&self) -> usize {
        (self.length as usize).saturating_sub(self.header_len)
    }
}

/// The ports of a TCP segment or UDP datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ports {
    /// Source port.
    pub source: Port,
    /// Destination port.
    pub destination: Port,
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
        if ethertype != ETHERTYPE_DOT1Q && ethertype != ETHERTYPE_DOT1AD {
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

/// Parses the IP header at `start`, of a packet that must end before `end`.
///
/// # Errors
/// The packet is cut short, contradicts itself, is a fragment, or has too many extension headers.
#[inline(always)]
pub fn network<F: Frame>(
    frame: &F,
    start: usize,
    version: Version,
    end: usize,
) -> Result<Ip, Reason> {
    let ip = match version {
        Version::V4 => ipv4(frame, start)?,
        Version::V6 => ipv6(frame, start)?,
    };
    if ip.end() > end {
        return Err(Reason::Truncated);
    }
    if usize::from(ip.length) < ip.header_len {
        return Err(Reason::Malformed);
    }
    Ok(ip)
}

/// Reads the ports, if the packet has a TCP or UDP header and all of it.
///
/// # Errors
/// The packet is of another protocol, or cut short.
#[inline(always)]
pub fn transport<F: Frame>(frame: &F, ip: &Ip) -> Result<Ports, Reason> {
    let (size, ports) = match ip.protocol {
        IPPROTO_TCP => {
            let tcp: &Tcp = frame.at(ip.payload()).ok_or(Reason::Truncated)?;
            (size_of::<Tcp>(), tcp.ports)
        }
        IPPROTO_UDP => {
            let udp: &Udp = frame.at(ip.payload()).ok_or(Reason::Truncated)?;
            (size_of::<Udp>(), udp.ports)
        }
        _ => return Err(Reason::OtherProtocol),
    };
    if ip.payload_len() < size {
        return Err(Reason::Malformed);
    }
    Ok(Ports {
        source: Port::from_bytes(ports.source),
        destination: Port::from_bytes(ports.destination),
    })
}

#[inline(always)]
fn ipv4<F: Frame>(frame: &F, start: usize) -> Result<Ip, Reason> {
    let header: &Ipv4 = frame.at(start).ok_or(Reason::Truncated)?;
    let header_len = usize::from(header.version_ihl & 0x0f) * 4;
    if header.version_ihl >> 4 != 4 || header_len < size_of::<Ipv4>() {
        return Err(Reason::Malformed);
    }
    // More fragments, or an offset other than zero; "don't fragment" and the reserved bit aside.
    let [flags, offset] = header.flags_fragment_offset;
    if flags & 0x3f != 0 || offset != 0 {
        return Err(Reason::Fragment);
    }
    Ok(Ip {
        version: Version::V4,
        start,
        header_len,
        length: u16::from_be_bytes(header.total_length),
        protocol: header.protocol,
        ttl: header.time_to_live,
        traffic_class: header.type_of_service,
        source: Address::from_v4(header.source),
        destination: Address::from_v4(header.destination),
    })
}

#[inline(always)]
fn ipv6<F: Frame>(frame: &F, start: usize) -> Result<Ip, Reason> {
    let header: &Ipv6 = frame.at(start).ok_or(Reason::Truncated)?;
    let [version_class, class_label, _, _] = header.version_class_label;
    if version_class >> 4 != 6 {
        return Err(Reason::Malformed);
    }
    let payload_length = u16::from_be_bytes(header.payload_length);
    let mut ip = Ip {
        version: Version::V6,
        start,
        header_len: size_of::<Ipv6>(),
        // A payload length of zero would be a jumbogram (RFC 2675); it falls short of any header.
        length: payload_length
            .checked_add(size_of::<Ipv6>() as u16)
            .ok_or(Reason::Malformed)?,
        protocol: header.next_header,
        ttl: header.hop_limit,
        traffic_class: (version_class << 4) | (class_label >> 4),
        source: Address::from_v6(header.source),
        destination: Address::from_v6(header.destination),
    };
    // Mapped addresses do not belong on the wire (RFC 4942, 2.2); here they would pass for IPv4.
    if ip.source.is_v4() || ip.destination.is_v4() {
        return Err(Reason::Malformed);
    }
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(ip.protocol) {
            return Ok(ip);
        }
        if ip.protocol == FRAGMENT {
            return Err(Reason::Fragment);
        }
        let extension: &Ipv6Extension = frame.at(ip.payload()).ok_or(Reason::Truncated)?;
        let units = usize::from(extension.length);
        ip.header_len += if ip.protocol == IPPROTO_AH {
            (units + 2) * 4
        } else {
            (units + 1) * 8
        };
        ip.protocol = extension.next_header;
        if ip.header_len > size_of::<Ipv6>() + MAX_EXTENSION_BYTES {
            return Err(Reason::TooManyHeaders);
        }
    }
    if is_extension(ip.protocol) {
        return Err(Reason::TooManyHeaders);
    }
    Ok(ip)
}

#[inline(always)]
const fn is_extension(next_header: u8) -> bool {
    matches!(
        next_header,
        HOPOPTS | ROUTING | DSTOPTS | IPPROTO_AH | FRAGMENT
    )
}
