//! ICMP and ICMPv6 messages: those of the node itself, and errors that it passes on.
//!
//! A message of its own is made of the packet that gives rise to it, in the same frame, where that packet
//! begins: what is to be sent is then an IP packet like any other.

#![forbid(unsafe_code)]

use crate::abi::{Address, Port};
use crate::checksum::{self, Sum};
use crate::frame::{Frame, NoRoom};
use crate::nat::End;
use crate::parse::{Outline, Version};
use crate::pipeline::Steps;
use crate::wire::{
    ICMP_DEST_UNREACH, ICMP_ECHOREPLY, ICMP_FRAG_NEEDED, ICMPV6_ECHO_REPLY, ICMPV6_PKT_TOOBIG,
    IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP, IPV4_DF, Icmp, Ipv4, Ipv6, Pair, Ports,
};

/// TTL and hop limit of what the node sends (the registry of IP parameters recommends it).
const HOPS: u8 = 64;
/// Type of service of ICMP errors: precedence "internetwork control" (RFC 1812, 4.3.2.5).
const INTERNETWORK_CONTROL: u8 = 0xc0;
/// Where the checksum is in a UDP header (RFC 768) and in a TCP header (RFC 9293, 3.1).
const UDP_CHECKSUM: usize = 6;
const TCP_CHECKSUM: usize = 16;
/// Longest ICMP error (RFC 1812, 4.3.2.3).
const MAX_ERROR: u16 = 576;
/// Longest ICMPv6 error: the MTU that every link has (RFC 4443, 2.4 c).
const MAX_ERROR_V6: u16 = 1280;

/// Makes the reply of the echo request at `start` (RFC 792; RFC 4443, 4.2), which has no options.
///
/// # Errors
/// The headers are not in reach.
#[inline(always)]
pub fn echo<F: Frame>(frame: &mut F, start: usize, ip: &Outline) -> Result<(), NoRoom> {
    match ip.version {
        Version::V4 => {
            let Pair {
                first: header,
                second: message,
            } = frame.at_mut::<Pair<Ipv4, Icmp>>(start).ok_or(NoRoom)?;
            core::mem::swap(&mut header.source, &mut header.destination);
            let old = [header.time_to_live, header.protocol];
            header.time_to_live = HOPS;
            let change = Sum::ZERO.sub(old).add([HOPS, header.protocol]);
            checksum::update(&mut header.header_checksum, change);
            reply(message, ICMP_ECHOREPLY);
        }
        Version::V6 => {
            let Pair {
                first: header,
                second: message,
            } = frame.at_mut::<Pair<Ipv6, Icmp>>(start).ok_or(NoRoom)?;
            core::mem::swap(&mut header.source, &mut header.destination);
            header.hop_limit = HOPS;
            reply(message, ICMPV6_ECHO_REPLY);
        }
    }
    Ok(())
}

#[inline(always)]
fn reply(message: &mut Icmp, kind: u8) {
    let old = [message.kind, message.code];
    message.kind = kind;
    let change = Sum::ZERO.sub(old).add([kind, message.code]);
    // Never 0, for which 0xffff does as well: the one message of which it does not is the reply of
    // nothing but zeros, whose words sum to 0 only with 0xffff among them.
    message.checksum = Sum::of_checksum(message.checksum)
        .plus(change)
        .udp_checksum();
}

/// Translates the ICMP error at `start`: `end` of it becomes `address`, and so does the other end of
/// the packet that it quotes, where the port becomes `port` unless that is 0.
///
/// # Errors
/// A header is not in reach.
#[inline(always)]
pub fn translate<F: Steps>(
    frame: &mut F,
    start: usize,
    ip: &Outline,
    end: End,
    address: &Address,
    port: Port,
) -> Result<(), NoRoom> {
    let message = start + ip.header_len as usize;
    let quoted = message + size_of::<Icmp>();
    let other = end.other();
    // The addresses of both, and what they change: of ICMPv6, the pseudo header as well.
    let outer = frame
        .readdress(start, ip.version, end, address)
        .ok_or(NoRoom)?;
    let inner = frame
        .readdress(quoted, ip.version, other, address)
        .ok_or(NoRoom)?;
    let (mut change, header_len, protocol) = match ip.version {
        Version::V4 => {
            let header: &Ipv4 = frame.at(quoted).ok_or(NoRoom)?;
            let header_len = usize::from(header.version_ihl & 0x0f) * 4;
            // What the addresses add, the checksum of the quoted header takes.
            (Sum::ZERO, header_len, header.protocol)
        }
        Version::V6 => {
            let header: &Ipv6 = frame.at(quoted).ok_or(NoRoom)?;
            (outer.plus(inner), size_of::<Ipv6>(), header.next_header)
        }
    };
    let transport = quoted + header_len;
    let mut ports = Sum::ZERO;
    if port.get() != 0 {
        let both: &mut Ports = frame.at_mut(transport).ok_or(NoRoom)?;
        let field = match other {
            End::Source => &mut both.source,
            End::Destination => &mut both.destination,
        };
        ports = Sum::ZERO.sub(*field).add(port.to_bytes());
        *field = port.to_bytes();
        change = change.plus(ports);
    }
    // The checksum of TCP is behind the eight bytes that are quoted at least.
    let end = start + usize::from(ip.length);
    let field = match protocol {
        IPPROTO_UDP => Some(transport + UDP_CHECKSUM),
        IPPROTO_TCP if transport + TCP_CHECKSUM + 2 <= end => Some(transport + TCP_CHECKSUM),
        _ => None,
    };
    if let Some(field) = field {
        let field: &mut [u8; 2] = frame.at_mut(field).ok_or(NoRoom)?;
        let old = *field;
        if protocol == IPPROTO_UDP {
            checksum::update_udp(field, inner.plus(ports));
        } else {
            checksum::update(field, inner.plus(ports));
        }
        change = change.plus(Sum::ZERO.sub(old).add(*field));
    }
    let header: &mut Icmp = frame.at_mut(message).ok_or(NoRoom)?;
    checksum::update(&mut header.checksum, change);
    Ok(())
}

/// Puts "too big", with the MTU of the path, before the packet at `start`, which it quotes and
/// which was to go to the address that now is the source. `ip` becomes the outline of the message.
///
/// # Errors
/// There is no room, or the packet is not all in reach.
#[inline(always)]
pub fn too_big<F: Frame>(
    frame: &mut F,
    start: usize,
    ip: &mut Outline,
    mtu: u16,
) -> Result<(), NoRoom> {
    match ip.version {
        Version::V4 => too_big_v4(frame, start, ip, mtu),
        Version::V6 => too_big_v6(frame, start, ip, mtu),
    }
}

/// Fragmentation needed and "don't fragment" set (RFC 792; RFC 1191, 4).
#[inline(always)]
fn too_big_v4<F: Frame>(
    frame: &mut F,
    start: usize,
    ip: &mut Outline,
    mtu: u16,
) -> Result<(), NoRoom> {
    let quoted_len = ip.length.min(MAX_ERROR - HEADERS_V4);
    let sum = frame.sum(start, quoted_len.into()).ok_or(NoRoom)?;
    make_room(frame, start, HEADERS_V4, quoted_len)?;
    let Pair {
        first: Pair {
            first: header,
            second: message,
        },
        second: quoted,
    } = frame
        .at_mut::<Pair<Pair<Ipv4, Icmp>, Ipv4>>(start)
        .ok_or(NoRoom)?;
    let length = HEADERS_V4 + quoted_len;
    header.version_ihl = 0x45;
    header.type_of_service = INTERNETWORK_CONTROL;
    header.total_length = length.to_be_bytes();
    header.identification = [0; 2];
    header.flags_fragment_offset = [IPV4_DF, 0];
    header.time_to_live = HOPS;
    header.protocol = IPPROTO_ICMP;
    header.source = quoted.destination;
    header.destination = quoted.source;
    header.header_checksum = Sum::ZERO
        .add([header.version_ihl, header.type_of_service])
        .add(header.total_length)
        .add(header.flags_fragment_offset)
        .add([header.time_to_live, header.protocol])
        .add_bytes(&header.source)
        .add_bytes(&header.destination)
        .checksum();
    fill(message, ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, mtu, sum);
    ip.header_len = size_of::<Ipv4>() as u32;
    ip.length = length;
    ip.protocol = IPPROTO_ICMP;
    Ok(())
}

/// Packet too big (RFC 4443, 3.2).
#[inline(always)]
fn too_big_v6<F: Frame>(
    frame: &mut F,
    start: usize,
    ip: &mut Outline,
    mtu: u16,
) -> Result<(), NoRoom> {
    let quoted_len = ip.length.min(MAX_ERROR_V6 - HEADERS_V6);
    let sum = frame.sum(start, quoted_len.into()).ok_or(NoRoom)?;
    make_room(frame, start, HEADERS_V6, quoted_len)?;
    let Pair {
        first: Pair {
            first: header,
            second: message,
        },
        second: quoted,
    } = frame
        .at_mut::<Pair<Pair<Ipv6, Icmp>, Ipv6>>(start)
        .ok_or(NoRoom)?;
    let payload = size_of::<Icmp>() as u16 + quoted_len;
    header.version_class_label = [0x60, 0, 0, 0];
    header.payload_length = payload.to_be_bytes();
    header.next_header = IPPROTO_ICMPV6;
    header.hop_limit = HOPS;
    header.source = quoted.destination;
    header.destination = quoted.source;
    // With the pseudo header (RFC 8200, 8.1).
    let sum = sum
        .add_bytes(&header.source)
        .add_bytes(&header.destination)
        .add(header.payload_length)
        .add([0, IPPROTO_ICMPV6]);
    fill(message, ICMPV6_PKT_TOOBIG, 0, mtu, sum);
    ip.header_len = size_of::<Ipv6>() as u32;
    ip.length = HEADERS_V6 + quoted_len;
    ip.protocol = IPPROTO_ICMPV6;
    Ok(())
}

/// Writes a message that ends with an MTU; `sum` is of all else that the checksum covers.
#[inline(always)]
fn fill(message: &mut Icmp, kind: u8, code: u8, mtu: u16, sum: Sum) {
    let [high, low] = mtu.to_be_bytes();
    message.kind = kind;
    message.code = code;
    message.rest = [0, 0, high, low];
    message.checksum = sum.add([kind, code]).add([high, low]).checksum();
}

/// Bytes in front of what is quoted.
const HEADERS_V4: u16 = size_of::<Pair<Ipv4, Icmp>>() as u16;
const HEADERS_V6: u16 = size_of::<Pair<Ipv6, Icmp>>() as u16;

/// Makes room for `headers` bytes at `start`, and leaves `quoted` bytes of what was there.
#[inline(always)]
fn make_room<F: Frame>(
    frame: &mut F,
    start: usize,
    headers: u16,
    quoted: u16,
) -> Result<(), NoRoom> {
    frame.move_head(-i32::from(headers))?;
    frame.truncate(start + usize::from(headers) + usize::from(quoted))
}
