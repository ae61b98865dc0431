//! Remote checksum offload of GUE, as Linux sends it (`encap-remcsum`; draft-herbert-remotecsumoffload).
//!
//! The checksum field of the packet inside holds the sum of its pseudo header alone. Behind the
//! private flags stand where the sum over the rest is to begin, and where the field is, in bytes from
//! the packet inside. Who takes the packet out of the tunnel finishes the checksum.

#![forbid(unsafe_code)]

use crate::frame::Frame;
use crate::parse::Outline;
use crate::wire::{GUE_REMOTE_CHECKSUM, IPPROTO_TCP, IPPROTO_UDP};

/// Bytes of the optional fields: private flags, and the two offsets.
const FIELDS: usize = 8;
/// Bytes of the two offsets, which stand right before the packet inside.
const OFFSETS: usize = 4;
/// Where the checksum is in a UDP header (RFC 768) and in a TCP header (RFC 9293, 3.1).
const UDP_CHECKSUM: u16 = 6;
const TCP_CHECKSUM: u16 = 16;

/// Checks that the optional fields, of `len` bytes, are those of remote checksum offload and no
/// others.
#[inline(always)]
pub fn is_remote_checksum<F: Frame>(frame: &F, fields: usize, len: usize) -> Option<()> {
    let flags: &[u8; 4] = frame.at(fields)?;
    (len == FIELDS && *flags == GUE_REMOTE_CHECKSUM).then_some(())
}

/// Longest segment or datagram that is finished; what is longer is left to the kernel.
const MAX_LEN: u32 = 4_095;

/// Where in its transport header the checksum of the packet at `start` is, if the offsets before it
/// say the same, and all of it may be in reach.
#[inline(always)]
pub fn checksum<F: Frame>(frame: &F, start: usize, ip: &Outline) -> Option<u16> {
    let [a, b, c, d] = *frame.at::<[u8; 4]>(start.checked_sub(OFFSETS)?)?;
    let (from, field) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let in_header = match ip.protocol {
        IPPROTO_TCP => TCP_CHECKSUM,
        IPPROTO_UDP => UDP_CHECKSUM,
        _ => return None,
    };
    let same = u32::from(from) == ip.header_len && field.wrapping_sub(from) == in_header;
    (same && ip.payload_len() <= MAX_LEN).then_some(in_header)
}

/// Finishes the checksum of the packet at `start`, with the offsets before it still in place.
///
/// `None` if [`checksum`] is, or not all of the packet is in reach.
#[inline(always)]
pub fn finish<F: Frame>(frame: &mut F, start: usize, ip: &Outline) -> Option<()> {
    let in_header = checksum(frame, start, ip)?;
    let transport = start + ip.header_len as usize;
    let sum = frame.sum(transport, ip.payload_len() as usize)?;
    let field: &mut [u8; 2] = frame.at_mut(transport + usize::from(in_header))?;
    *field = if ip.protocol == IPPROTO_UDP {
        sum.udp_checksum()
    } else {
        sum.checksum()
    };
    Some(())
}
