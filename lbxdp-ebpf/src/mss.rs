//! The maximum segment size that the ends of a TCP connection announce in their SYNs (RFC 9293,
//! 3.7.1), lowered to what the path between them carries.
//!
//! An option is only ever lowered, never added: without one a sender takes 536 bytes for IPv4 and
//! 1220 for IPv6, which fit. What is not a well-formed list of options is left alone.

#![forbid(unsafe_code)]

use crate::checksum::{self, Sum};
use crate::frame::Frame;
use crate::parse::Version;
use crate::wire::{Ipv4, Ipv6, TCP_END, TCP_MSS, TCP_MSS_LEN, TCP_NOP, Tcp};

/// Longest TCP header, with options.
const MAX_HEADER_LEN: usize = 60;

/// The largest segment of which a packet of `mtu` bytes has room; options, of IP and of TCP, are
/// the sender's to subtract (RFC 6691, 2). Zero if there is room for none.
#[inline(always)]
#[must_use]
pub const fn of_mtu(version: Version, mtu: u16) -> u16 {
    let ip = match version {
        Version::V4 => size_of::<Ipv4>(),
        Version::V6 => size_of::<Ipv6>(),
    };
    mtu.saturating_sub((ip + size_of::<Tcp>()) as u16)
}

/// Lowers the maximum segment size that the TCP segment at `start` announces to `limit`.
#[inline(always)]
pub fn clamp<F: Frame>(frame: &mut F, start: usize, segment_len: usize, limit: u16) {
    if let Some(option) = find(frame, start, segment_len) {
        lower(frame, start, option, limit);
    }
}

/// How far behind the start of the TCP header, which is at `start`, the option begins.
///
/// It goes from byte to byte rather than from option to option: where it reads is then a constant,
/// of which the kernel's verifier need not keep the possible values of all options before.
#[inline(always)]
fn find<F: Frame>(frame: &F, start: usize, segment_len: usize) -> Option<usize> {
    let tcp: &Tcp = frame.at(start)?;
    let end = usize::from(tcp.data_offset >> 4) * 4;
    if end > segment_len {
        return None;
    }
    let mut next = size_of::<Tcp>() as u8;
    for option in size_of::<Tcp>()..=MAX_HEADER_LEN - TCP_MSS_LEN {
        if option != usize::from(next) {
            continue;
        }
        let [kind, length, ..] = *frame.at::<[u8; TCP_MSS_LEN]>(start + option)?;
        next = match kind {
            TCP_END => return None,
            TCP_NOP => next + 1,
            TCP_MSS => {
                let fits = usize::from(length) == TCP_MSS_LEN && option + TCP_MSS_LEN <= end;
                return fits.then_some(option);
            }
            _ if length < 2 => return None,
            // A length that is too large leads out of the header, or back, where nothing is met.
            _ => next.wrapping_add(length),
        };
    }
    None
}

#[inline(always)]
fn lower<F: Frame>(frame: &mut F, start: usize, option: usize, limit: u16) -> Option<()> {
    let [_, _, value @ ..] = frame.at_mut::<[u8; TCP_MSS_LEN]>(start + option)?;
    let old = *value;
    if u16::from_be_bytes(old) <= limit {
        return Some(());
    }
    let new = limit.to_be_bytes();
    *value = new;
    // An option may begin at an odd byte, and its value then ends one word and begins the next.
    let [old, new] = if option.is_multiple_of(2) {
        [old, new]
    } else {
        [swap(old), swap(new)]
    };
    let tcp: &mut Tcp = frame.at_mut(start)?;
    checksum::update(&mut tcp.checksum, Sum::ZERO.sub(old).add(new));
    Some(())
}

#[inline(always)]
const fn swap([a, b]: [u8; 2]) -> [u8; 2] {
    [b, a]
}
