//! VLAN tags of frames: read, and put on.

#![forbid(unsafe_code)]

use core::mem;

use crate::abi::Tags;
use crate::frame::{Frame, NoRoom};
use crate::wire::{ETHERTYPE_DOT1AD, ETHERTYPE_DOT1Q, Ethernet, Pair, Tag};

const TAG: usize = size_of::<Tag>();

/// Whether what follows is a tag.
#[inline(always)]
#[must_use]
pub fn is_tag(ethertype: [u8; 2]) -> bool {
    ethertype == ETHERTYPE_DOT1Q || ethertype == ETHERTYPE_DOT1AD
}

/// Bytes of tags.
#[inline(always)]
#[must_use]
pub fn len(tags: &Tags) -> usize {
    tags.count() * TAG
}

/// The tags of a frame, if they are in reach; no more than two.
#[inline(always)]
#[must_use]
pub fn of<F: Frame>(frame: &F) -> Option<Tags> {
    const FIRST: usize = size_of::<Ethernet>();
    let mut tags = Tags::NONE;
    let mut protocol = frame.at::<Ethernet>(0)?.ethertype;
    if is_tag(protocol) {
        let tag: &Tag = frame.at(FIRST)?;
        tags.outer = read(protocol, tag);
        protocol = tag.ethertype;
        if is_tag(protocol) {
            tags.inner = read(protocol, frame.at(FIRST + TAG)?);
        }
    }
    Some(tags)
}

/// Puts tags on a frame: makes room in front of its Ethernet header, and moves the MAC addresses
/// there.
///
/// # Errors
/// There is no room.
#[inline(always)]
pub fn put<F: Frame>(frame: &mut F, tags: Tags) -> Result<(), NoRoom> {
    frame.move_head(-(len(&tags) as i32))?;
    write(frame, tags).ok_or(NoRoom)
}

#[inline(always)]
fn write<F: Frame>(frame: &mut F, tags: Tags) -> Option<()> {
    if tags.count() == 2 {
        let mut ethernet: Ethernet = *frame.at(2 * TAG)?;
        let (first, outer) = to_wire(tags.outer);
        let (second, inner) = to_wire(tags.inner);
        let behind = mem::replace(&mut ethernet.ethertype, first);
        let tag = |tci, ethertype| Tag { tci, ethertype };
        *frame.at_mut(0)? = Pair {
            first: ethernet,
            second: Pair {
                first: tag(outer, second),
                second: tag(inner, behind),
            },
        };
    } else {
        let mut ethernet: Ethernet = *frame.at(TAG)?;
        let (protocol, tci) = to_wire(tags.first());
        let ethertype = mem::replace(&mut ethernet.ethertype, protocol);
        *frame.at_mut(0)? = Pair {
            first: ethernet,
            second: Tag { tci, ethertype },
        };
    }
    Some(())
}

#[inline(always)]
fn read(protocol: [u8; 2], tag: &Tag) -> [u8; 2] {
    let [high, low] = tag.tci;
    let service = if protocol == ETHERTYPE_DOT1AD {
        Tags::SERVICE
    } else {
        0
    };
    [high & !Tags::SERVICE | service, low]
}

/// Tag protocol identifier and tag control information of a tag.
#[inline(always)]
const fn to_wire([high, low]: [u8; 2]) -> ([u8; 2], [u8; 2]) {
    let protocol = if high & Tags::SERVICE == 0 {
        ETHERTYPE_DOT1Q
    } else {
        ETHERTYPE_DOT1AD
    };
    (protocol, [high & !Tags::SERVICE, low])
}
