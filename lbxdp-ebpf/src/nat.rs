//! Rewriting of addresses, ports and TTL, in place, with incremental checksums.

#![forbid(unsafe_code)]

use crate::abi::{Address, Port};
use crate::checksum::{self, Sum};
use crate::frame::Frame;
use crate::parse::{Outline, Version};
use crate::wire::{FRAGMENT, IPPROTO_TCP, IPPROTO_UDP, Ipv4, Ipv6, Tcp, Udp};

/// Which end of a packet is rewritten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum End {
    /// Source address and port.
    Source,
    /// Destination address and port.
    Destination,
}

impl End {
    /// The end of a number, which came of `End as u32`.
    #[inline(always)]
    #[must_use]
    pub const fn of_number(number: u32) -> Self {
        if number == Self::Source as u32 {
            Self::Source
        } else {
            Self::Destination
        }
    }

    /// The end at the other side.
    #[inline(always)]
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Source => Self::Destination,
            Self::Destination => Self::Source,
        }
    }
}

/// Takes one hop off the packet whose IP header is at `start`.
///
/// `None` if the header is not there; the packet is then as it was.
#[inline(always)]
pub fn take_hop<F: Frame>(frame: &mut F, start: usize, version: Version) -> Option<()> {
    match version {
        Version::V4 => {
            let header: &mut Ipv4 = frame.at_mut(start)?;
            let old = [header.time_to_live, header.protocol];
            let new = [header.time_to_live.wrapping_sub(1), header.protocol];
            [header.time_to_live, _] = new;
            checksum::update_word(&mut header.header_checksum, old, new);
        }
        Version::V6 => {
            let header: &mut Ipv6 = frame.at_mut(start)?;
            header.hop_limit = header.hop_limit.wrapping_sub(1);
        }
    }
    Some(())
}

/// Gives one end of the packet whose IP header is at `start` another address, of the same IP
/// version, and another port; port 0 keeps what is there.
///
/// `None` if a header is not there.
#[inline(always)]
pub fn rewrite<F: Frame>(
    frame: &mut F,
    start: usize,
    outline: &Outline,
    end: End,
    address: &Address,
    port: Port,
) -> Option<()> {
    let change = readdress(frame, start, outline.version, end, address)?;
    let transport = start + outline.header_len as usize;
    match outline.protocol {
        IPPROTO_TCP => {
            let tcp: &mut Tcp = frame.at_mut(transport)?;
            let field = match end {
                End::Source => &mut tcp.ports.source,
                End::Destination => &mut tcp.ports.destination,
            };
            let change = exchange_port(field, port).plus(change);
            checksum::update(&mut tcp.checksum, change);
        }
        IPPROTO_UDP => {
            let udp: &mut Udp = frame.at_mut(transport)?;
            let field = match end {
                End::Source => &mut udp.ports.source,
                End::Destination => &mut udp.ports.destination,
            };
            let change = exchange_port(field, port).plus(change);
            checksum::update_udp(&mut udp.checksum, change);
        }
        // The first fragment has the ports, and the checksum over all.
        FRAGMENT => {}
        // Nothing else has ports; such a packet does not come here.
        _ => return None,
    }
    Some(())
}

/// Gives one end of the IP header at `start` another address, of the same IP version; says how the
/// sum of a pseudo header changes.
///
/// `None` if the header is not there.
#[inline(always)]
pub fn readdress<F: Frame>(
    frame: &mut F,
    start: usize,
    version: Version,
    end: End,
    address: &Address,
) -> Option<Sum> {
    Some(match version {
        Version::V4 => {
            let header: &mut Ipv4 = frame.at_mut(start)?;
            let field = match end {
                End::Source => &mut header.source,
                End::Destination => &mut header.destination,
            };
            let change = exchange(field, address.v4_octets());
            checksum::update(&mut header.header_checksum, change);
            change
        }
        Version::V6 => {
            let header: &mut Ipv6 = frame.at_mut(start)?;
            let field = match end {
                End::Source => &mut header.source,
                End::Destination => &mut header.destination,
            };
            exchange(field, address.octets())
        }
    })
}

/// Puts `new` into an address field; says how the sum changes.
#[inline(always)]
fn exchange<const N: usize>(field: &mut [u8; N], new: [u8; N]) -> Sum {
    let old = *field;
    *field = new;
    let mut change = Sum::ZERO;
    let (olds, _) = old.as_chunks::<2>();
    let (news, _) = new.as_chunks::<2>();
    for (old, new) in olds.iter().zip(news) {
        change = change.sub(*old).add(*new);
    }
    change
}

#[inline(always)]
fn exchange_port(field: &mut [u8; 2], port: Port) -> Sum {
    if port.get() == 0 {
        return Sum::ZERO;
    }
    exchange(field, port.to_bytes())
}
