//! Explicit congestion notification through tunnels (RFC 6040).
//!
//! On the way in the outer header gets the inner one's codepoint (normal mode, 4.1). On the way out
//! what routers have said in the outer header comes to the inner one (4.2, figure 4):
//!
//! | inner \ outer | not ECN | ECT(0) | ECT(1) | CE |
//! |---|---|---|---|---|
//! | not ECN | not ECN | not ECN | not ECN | drop |
//! | ECT(0) | ECT(0) | ECT(0) | ECT(1) | CE |
//! | ECT(1) | ECT(1) | ECT(1) | ECT(1) | CE |
//! | CE | CE | CE | CE | CE |

#![forbid(unsafe_code)]

use crate::checksum::{self, Sum};
use crate::frame::Frame;
use crate::parse::Version;
use crate::wire::{Ipv4, Ipv6};

/// The ECN field of a traffic class: its last two bits (RFC 3168, 5).
pub const ECN_MASK: u8 = 0b11;
/// The sender of the packet does not know of ECN.
pub const NOT_ECT: u8 = 0b00;
/// ECN-capable transport.
pub const ECT_1: u8 = 0b01;
/// ECN-capable transport.
pub const ECT_0: u8 = 0b10;
/// Congestion experienced.
pub const CE: u8 = 0b11;

/// The packet inside has no way to say that the one around it has met congestion: it must be
/// dropped, which says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unspeakable;

/// The codepoint of a packet that leaves its tunnel, by the traffic classes of both headers; 0 if it
/// stays as it is.
///
/// # Errors
/// The packet must be dropped.
#[inline(always)]
pub const fn combine(outer: u8, inner: u8) -> Result<u8, Unspeakable> {
    match (inner & ECN_MASK, outer & ECN_MASK) {
        (NOT_ECT, CE) => Err(Unspeakable),
        (ECT_0 | ECT_1, CE) => Ok(CE),
        (ECT_0, ECT_1) => Ok(ECT_1),
        _ => Ok(0),
    }
}

/// Writes a codepoint into the IP header at `start`. `None` if it is not there.
#[inline(always)]
pub fn mark<F: Frame>(frame: &mut F, start: usize, version: Version, ecn: u8) -> Option<()> {
    match version {
        Version::V4 => {
            let header: &mut Ipv4 = frame.at_mut(start)?;
            let old = [header.version_ihl, header.type_of_service];
            header.type_of_service = header.type_of_service & !ECN_MASK | ecn;
            let new = [header.version_ihl, header.type_of_service];
            checksum::update(&mut header.header_checksum, Sum::ZERO.sub(old).add(new));
        }
        Version::V6 => {
            let header: &mut Ipv6 = frame.at_mut(start)?;
            let [version, class, label @ ..] = header.version_class_label;
            let [a, b] = label;
            header.version_class_label = [version, class & !(ECN_MASK << 4) | ecn << 4, a, b];
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6040, figure 4, row by row; 9 stands for "drop".
    #[test]
    fn as_the_figure_says() {
        let rows = [
            (NOT_ECT, [NOT_ECT, NOT_ECT, NOT_ECT, 9]),
            (ECT_0, [ECT_0, ECT_0, ECT_1, CE]),
            (ECT_1, [ECT_1, ECT_1, ECT_1, CE]),
            (CE, [CE, CE, CE, CE]),
        ];
        for (inner, row) in rows {
            for (outer, wanted) in [NOT_ECT, ECT_0, ECT_1, CE].into_iter().zip(row) {
                // DSCP is no part of it.
                let found = match combine(outer | 0xb8, inner | 0x20) {
                    Ok(0) => inner,
                    Ok(ecn) => ecn,
                    Err(Unspeakable) => 9,
                };
                assert_eq!(found, wanted, "inner {inner:02b}, outer {outer:02b}");
            }
        }
    }
}
