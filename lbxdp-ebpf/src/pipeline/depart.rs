use super::Steps;
use crate::abi::{Address, Device, Path, Port, Tags};
use crate::ecn;
use crate::encap;
use crate::frame::{Frame, NoRoom};
use crate::gue;
use crate::icmp;
use crate::nat::{self, End};
use crate::parse::{Ip, Outline, Version};
use crate::vlan;
use crate::wire::Ethernet;

/// What is to be done with a packet, in plain numbers without padding: the kernel verifies what
/// carries it out apart from what makes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Order {
    /// The packet that leaves, or that is put into a tunnel.
    pub outline: Outline,
    /// Where its IP header is.
    pub start: u32,
    /// Hash of the flow, for the entropy of the outer headers.
    pub hash: u32,
    /// What the end that is rewritten becomes.
    pub address: Address,
    /// What its port becomes; 0 keeps it.
    pub port: Port,
    /// The end that is rewritten.
    pub end: Option<End>,
    /// Whether the other end is rewritten too.
    pub both_ends: bool,
    /// What the other end becomes.
    pub other_address: Address,
    /// What its port becomes; 0 keeps it.
    pub other_port: Port,
    /// Whether TTL or hop limit go down by one.
    pub takes_hop: bool,
    /// What is done before anything else.
    pub task: Task,
    /// The device of the kernel's that it is handed over to, or [`Device::NONE`].
    pub device: Device,
    /// The next link.
    pub link: Link,
    /// Of [`Task::Forward`], the largest TCP segment size that the packet may announce, or 0 if it
    /// announces none; of [`Task::TooBig`], the MTU.
    pub limit: u16,
    /// What the ECN field becomes; 0 leaves it.
    pub ecn: u8,
    /// Whether the checksum of the packet must be finished first.
    pub unfinished: bool,
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Task {
    /// It is sent on.
    Forward,
    /// It is an ICMP error, which is translated and sent on.
    Related,
    /// It is an echo request, and becomes the reply.
    Echo,
    /// It is put into a message that says that it is too big.
    TooBig,
}

const _: () = assert!(
    size_of::<Order>()
        == 8 + 4 + 4 + 16 + 2 + 1 + 1 + 16 + 2 + 1 + 1 + 4 + size_of::<Link>() + 2 + 1 + 1,
    "the order has padding"
);

impl Order {
    /// What stands where nothing has been decided yet.
    pub const EMPTY: Self = Self {
        outline: Ip::EMPTY.outline,
        start: 0,
        hash: 0,
        address: Address::UNSPECIFIED,
        port: Port::new(0),
        end: None,
        both_ends: false,
        other_address: Address::UNSPECIFIED,
        other_port: Port::new(0),
        takes_hop: false,
        task: Task::Forward,
        device: Device::NONE,
        link: Link {
            destination_mac: [0; 6],
            source_mac: [0; 6],
            tags: Tags::NONE,
        },
        limit: 0,
        ecn: 0,
        unfinished: false,
    };
}

impl Order {
    /// Where the IP header is when the order has been carried out.
    #[inline(always)]
    #[must_use]
    pub fn start_then(&self, path: Option<&Path>) -> usize {
        let link_len = Link::UNTAGGED + vlan::len(&self.link.tags);
        link_len + path.map_or(0, |path| usize::from(path.header_len))
    }
}

/// Makes a frame ready to leave, by an order and, if there is one, the path whose headers are put in
/// front.
///
/// # Errors
/// There is no room.
#[inline(always)]
pub fn depart<F: Steps>(
    frame: &mut F,
    order: &mut Order,
    path: Option<&Path>,
) -> Result<(), NoRoom> {
    if order.task != Task::Forward {
        frame.prepare(order)?;
    }
    frame.carry_out(order, path)?;
    if order.link.tags != Tags::NONE {
        frame.put_tags(order.link.tags)?;
    }
    // Last, and in whatever headers: it changes a value and, by as much, the checksum over it, so
    // that the sum of the packet stays.
    if order.task == Task::Forward && order.limit != 0 {
        let segment = order.start_then(path) + order.outline.header_len as usize;
        frame.clamp_mss(segment, order.outline.payload_len() as usize, order.limit);
    }
    Ok(())
}

/// Does what an order says is to be done before anything else, which may make another packet of it:
/// the order is then about that one.
///
/// # Errors
/// There is no room.
#[inline(always)]
pub fn prepare<F: Steps>(frame: &mut F, order: &mut Order) -> Result<(), NoRoom> {
    match order.task {
        Task::Forward => Ok(()),
        Task::Related => match order.end.take() {
            None => Ok(()),
            Some(end) => translate(frame, order, end),
        },
        Task::Echo => icmp::echo(frame, order.start as usize, &order.outline),
        Task::TooBig => icmp::too_big(frame, order.start as usize, &mut order.outline, order.limit),
    }
}

/// Translates an ICMP error, at one end or both.
///
/// # Errors
/// A header is not in reach.
#[inline(always)]
pub fn translate<F: Steps>(frame: &mut F, order: &Order, end: End) -> Result<(), NoRoom> {
    let (start, outline) = (order.start as usize, &order.outline);
    if order.both_ends {
        let (address, port) = (&order.other_address, order.other_port);
        frame.translate(start, outline, end.other(), address, port)?;
    }
    frame.translate(start, outline, end, &order.address, order.port)
}

/// Addresses of the next link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Link {
    /// MAC address of the next hop.
    pub destination_mac: [u8; 6],
    /// MAC address of the interface to leave by.
    pub source_mac: [u8; 6],
    /// VLAN tags.
    pub tags: Tags,
}

impl Link {
    /// Bytes of the headers without tags.
    const UNTAGGED: usize = size_of::<Ethernet>();

    /// Makes it that of a frame.
    #[inline(always)]
    #[must_use]
    pub fn read<F: Frame>(&mut self, frame: &F) -> Option<()> {
        let ethernet: &Ethernet = frame.at(0)?;
        self.destination_mac = ethernet.destination;
        self.source_mac = ethernet.source;
        self.tags = vlan::of(frame)?;
        Some(())
    }
}

/// Carries out an order but for the link's tags: makes or takes room, for them too, rewrites, and
/// writes the headers in front, which are those of `path` if there is one.
///
/// The tags come when everything else is where it is without them: the verifier would follow each
/// number of them through all headers.
///
/// # Errors
/// There is no room; the frame is then as it came. (Or the path contradicts itself, or the order
/// is not of this frame.)
#[inline(always)]
pub fn carry_out<F: Frame>(
    frame: &mut F,
    order: &Order,
    path: Option<&Path>,
) -> Result<(), NoRoom> {
    let start = order.start_then(path);
    let delta = order.start as i32 - start as i32;
    if delta != 0 {
        frame.move_head(delta)?;
    }
    if order.link.tags != Tags::NONE {
        frame.move_head(vlan::len(&order.link.tags) as i32)?;
    }
    write(frame, order, path).ok_or(NoRoom)
}

#[inline(always)]
fn write<F: Frame>(frame: &mut F, order: &Order, path: Option<&Path>) -> Option<()> {
    let start = Link::UNTAGGED + path.map_or(0, |path| usize::from(path.header_len));
    let outline = &order.outline;
    if order.unfinished {
        gue::finish(frame, start, outline)?;
    }
    if order.takes_hop {
        nat::take_hop(frame, start, outline.version)?;
    }
    if order.ecn != 0 {
        ecn::mark(frame, start, outline.version, order.ecn)?;
    }
    if let Some(end) = order.end {
        nat::rewrite(frame, start, outline, end, &order.address, order.port)?;
        if order.both_ends {
            let (address, port) = (&order.other_address, order.other_port);
            nat::rewrite(frame, start, outline, end.other(), address, port)?;
        }
    }
    let mut version = outline.version;
    if let Some(path) = path {
        encap::push(frame, Link::UNTAGGED, path, outline, order.hash)?;
        version = Version::of_number(path.outer.into());
    }
    write_link(frame, &order.link, version.ethertype())
}

/// Writes the link header, without tags.
#[inline(always)]
pub(super) fn write_link<F: Frame>(frame: &mut F, link: &Link, ethertype: [u8; 2]) -> Option<()> {
    *frame.at_mut(0)? = Ethernet {
        destination: link.destination_mac,
        source: link.source_mac,
        ethertype,
    };
    Some(())
}
