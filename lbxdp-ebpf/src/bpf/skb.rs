//! The packet of a TC program, and the steps of the pipeline on it.
//!
//! A packet that the kernel has received is more than its bytes: `skb->csum` may hold the sum of all
//! of them (`CHECKSUM_COMPLETE`), and the checksum of TCP or UDP may be unfinished, with the sum of
//! the pseudo header in its field (`CHECKSUM_PARTIAL`: packets that the kernel has put together
//! (GRO), or that a neighbouring namespace sends). A program does not see which it is. So the
//! checksum of the transport is left to `bpf_l4_csum_replace`, which does, and which is told what of
//! a change is the pseudo header's and what is not; `bpf_csum_update` mends the sum of all bytes
//! where the helper is wrong about it.

use super::ctx::{MAX_OFFSET, opaque};
use super::maps::Context;
use super::steps::{Hop, NO_SUM, look_up};
use aya_ebpf::bindings::{
    __sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, BPF_FIB_LKUP_RET_UNREACHABLE,
};
use aya_ebpf::helpers::{
    bpf_csum_update, bpf_l4_csum_replace, bpf_skb_change_head, bpf_skb_change_type,
    bpf_skb_pull_data, bpf_skb_store_bytes, bpf_skb_vlan_pop,
};
use core::hint::black_box;
use lbxdp_ebpf::abi::{Address, Device, HandOver, Path, Port};
use lbxdp_ebpf::checksum::Sum;
use lbxdp_ebpf::frame::{Frame, NoRoom, Wire};
use lbxdp_ebpf::icmp;
use lbxdp_ebpf::mss;
use lbxdp_ebpf::nat::{self, End};
use lbxdp_ebpf::parse::{self, Ip, Outline, Version};
use lbxdp_ebpf::pipeline::{self, Link, Order, Steps, Task};
use lbxdp_ebpf::verdict::Reason;
use lbxdp_ebpf::wire::{Ethernet, IPPROTO_TCP, IPPROTO_UDP, Ipv6, Ports, Tcp, Udp};

/// Bytes that are made readable and writable: all headers, those that an ICMP error quotes too.
const HEADERS: u32 = 256;
/// `PACKET_HOST` (`linux/if_packet.h`).
const PACKET_HOST: u32 = 0;
/// Where the checksum is in a TCP header (RFC 9293, 3.1) and in a UDP header (RFC 768).
const TCP_CHECKSUM: usize = 16;
const UDP_CHECKSUM: usize = 6;

/// The packet. Headers are looked for in its linear part.
pub(super) struct Packet {
    skb: *mut __sk_buff,
}

impl Packet {
    #[inline(always)]
    pub(super) const fn new(skb: *mut __sk_buff) -> Self {
        Self { skb }
    }

    /// What the XDP program has said of the packet, which is then forgotten, so that nobody behind
    /// takes it for said to himself; the kernel's stack, which took the packet for somebody else's,
    /// takes it for its own.
    #[inline(always)]
    pub(super) fn told(&mut self) -> Option<HandOver> {
        // SAFETY: the context is valid as long as the program runs.
        let (meta, data) = unsafe { ((*self.skb).data_meta as usize, (*self.skb).data as usize) };
        if meta + size_of::<HandOver>() > data {
            return None;
        }
        // SAFETY: all of it is within the metadata (checked just now); the kernel aligns metadata to
        // 4 bytes, as the type asks; any bytes are a value of it.
        let hand_over = unsafe { &mut *(meta as *mut HandOver) };
        let said = *hand_over;
        if said.magic != HandOver::MAGIC {
            return None;
        }
        hand_over.magic = 0;
        // SAFETY: the helper takes the context and a number.
        unsafe { bpf_skb_change_type(self.skb, PACKET_HOST) };
        Some(said)
    }

    /// The interface that it came in by.
    #[inline(always)]
    pub(super) fn ifindex(&self) -> u32 {
        // SAFETY: the context is valid as long as the program runs.
        unsafe { (*self.skb).ifindex }
    }

    /// Whether a VLAN tag has been taken off it.
    #[inline(always)]
    pub(super) fn is_tagged(&self) -> bool {
        // SAFETY: as above.
        unsafe { (*self.skb).vlan_present != 0 }
    }

    /// Takes off the tag that the kernel has put aside, which is that of the link it came by.
    #[inline(always)]
    pub(super) fn untag(&mut self) {
        // SAFETY: the helper takes the context; what it gives invalid is read anew by all others.
        unsafe { bpf_skb_vlan_pop(self.skb) };
    }

    /// Bytes of each IP packet that it leaves as: the kernel may have put several together (GRO), and
    /// takes them apart again as it sends.
    #[inline(always)]
    fn segment_len(&self, ip: &Ip) -> u16 {
        // SAFETY: as above.
        let payload = unsafe { (*self.skb).gso_size };
        if payload == 0 {
            return ip.outline.length;
        }
        let transport = match ip.outline.protocol {
            IPPROTO_TCP => (self.at::<Tcp>(ip.payload()))
                .map_or(0, |tcp| usize::from(tcp.data_offset >> 4) * 4),
            _ => size_of::<Udp>(),
        };
        let segment = ip.outline.header_len + transport as u32 + payload;
        (segment.min(ip.outline.length.into())) as u16
    }

    /// Makes the headers readable and writable.
    ///
    /// # Errors
    /// There is no memory.
    #[inline(always)]
    pub(super) fn make_ready(&mut self) -> Result<(), NoRoom> {
        // SAFETY: as above.
        let len = unsafe { (*self.skb).len }.min(HEADERS);
        // SAFETY: the helper takes the context and a number, and no reference into the packet lives.
        if unsafe { bpf_skb_pull_data(self.skb, len) } != 0 {
            return Err(NoRoom);
        }
        Ok(())
    }

    /// The address of `size` bytes at `offset`, if they are there.
    #[inline(always)]
    fn address(&self, offset: usize, size: usize) -> Option<usize> {
        // SAFETY: the context is valid as long as the program runs; the verifier knows both fields
        // for the packet's bounds, and forgets what came of them when a helper moves the packet.
        let (data, end) = unsafe { ((*self.skb).data as usize, (*self.skb).data_end as usize) };
        let offset = opaque(offset);
        if offset > MAX_OFFSET {
            return None;
        }
        let start = data + offset;
        if start + size > end {
            return None;
        }
        Some(start)
    }

    /// Adds to the checksum of the transport at `field` what has changed in the pseudo header and
    /// what has changed elsewhere.
    #[inline(always)]
    fn patch(&mut self, protocol: u8, field: usize, pseudo: Sum, own: Sum) -> Option<()> {
        // A UDP checksum of zero means none, and stays.
        let flags = if protocol == IPPROTO_UDP {
            u64::from(BPF_F_MARK_MANGLED_0)
        } else {
            0
        };
        let skb = self.skb;
        let replace = |change: Sum, flags| {
            let change = change.fold();
            // SAFETY: the helper takes the context and numbers; it checks the bounds, and no
            // reference into the packet lives. From 0 to a sum, with a size of 0: the sum is added.
            change == 0
                || unsafe { bpf_l4_csum_replace(skb, field as u32, 0, change.into(), flags) } == 0
        };
        (replace(pseudo, flags | u64::from(BPF_F_PSEUDO_HDR)) && replace(own, flags)).then_some(())
    }

    /// Adds to the kernel's sum of all bytes, if it has one.
    #[inline(always)]
    fn add_to_sum(&mut self, change: Sum) {
        // SAFETY: the helper takes the context and a number. It fails where there is no sum.
        unsafe { bpf_csum_update(self.skb, change.fold().into()) };
    }
}

impl Frame for Packet {
    #[inline(always)]
    fn len(&self) -> usize {
        // SAFETY: the context is valid as long as the program runs.
        unsafe { (*self.skb).len as usize }
    }

    #[inline(always)]
    fn at<T: Wire>(&self, offset: usize) -> Option<&T> {
        let address = self.address(offset, size_of::<T>())?;
        // SAFETY: all of `T` is within the packet (checked just now, and checked to be checked by
        // the verifier); `Wire` promises alignment 1 and that any bytes are a value.
        Some(unsafe { &*(address as *const T) })
    }

    #[inline(always)]
    fn at_mut<T: Wire>(&mut self, offset: usize) -> Option<&mut T> {
        let address = self.address(offset, size_of::<T>())?;
        // SAFETY: as in `at`; `&mut self` keeps it alone.
        Some(unsafe { &mut *(address as *mut T) })
    }

    #[inline(always)]
    fn put(&mut self, offset: usize, bytes: &[u8]) -> Option<()> {
        if bytes.is_empty() {
            return Some(());
        }
        let but_one = opaque(bytes.len() - 1);
        if but_one > MAX_OFFSET {
            return None;
        }
        // SAFETY: the helper reads `bytes.len()` bytes from `bytes` and writes nothing if they do
        // not fit.
        let error = unsafe {
            bpf_skb_store_bytes(
                self.skb,
                offset as u32,
                bytes.as_ptr().cast(),
                but_one as u32 + 1,
                0,
            )
        };
        (error == 0).then_some(())
    }

    /// Is not needed: nothing is encapsulated here, and no message of the node's own is made.
    #[inline(always)]
    fn sum(&self, _: usize, _: usize) -> Option<Sum> {
        None
    }

    /// Is not needed, as above.
    #[inline(always)]
    fn truncate(&mut self, _: usize) -> Result<(), NoRoom> {
        Err(NoRoom)
    }

    /// Makes room for an Ethernet header, where there is none.
    #[inline(always)]
    fn move_head(&mut self, delta: i32) -> Result<(), NoRoom> {
        const ROOM: u32 = size_of::<Ethernet>() as u32;
        // SAFETY: the helper takes the context and numbers, and no reference into the packet lives.
        if delta != -(ROOM as i32) || unsafe { bpf_skb_change_head(self.skb, ROOM, 0) } != 0 {
            return Err(NoRoom);
        }
        Ok(())
    }
}

impl Steps for Packet {
    #[inline(always)]
    fn network(
        &self,
        start: usize,
        version: Version,
        end: usize,
        ip: &mut Ip,
    ) -> Result<(), Reason> {
        let number = version.number().into();
        let error = lbxdp_tc_network(self.skb, start as u32, number, end as u32, ip);
        // See the step of the XDP program.
        match black_box(error) {
            0 => Ok(()),
            error => Err(Reason::from_index(error - 1).unwrap_or(Reason::Malformed)),
        }
    }

    #[inline(always)]
    fn related(&self, ip: &mut Ip) -> Option<[[u8; 2]; 2]> {
        let ports = lbxdp_tc_related(self.skb, ip);
        let [a, b, c, d] = (ports as u32).to_ne_bytes();
        (ports >> 32 != 0).then_some([[a, b], [c, d]])
    }

    #[inline(always)]
    fn readdress(
        &mut self,
        start: usize,
        version: Version,
        end: End,
        address: &Address,
    ) -> Option<Sum> {
        let (version, which) = (version.number().into(), end as u32);
        match lbxdp_tc_readdress(self.skb, start as u32, version, which, address) {
            NO_SUM => None,
            sum => Some(Sum::from_number(sum as u32)),
        }
    }

    #[inline(always)]
    fn translate(
        &mut self,
        start: usize,
        ip: &Outline,
        end: End,
        address: &Address,
        port: Port,
    ) -> Result<(), NoRoom> {
        let which_port = (end as u32) << 16 | u32::from(port.get());
        match lbxdp_tc_translate(self.skb, start as u32, ip, which_port, address) {
            0 => Ok(()),
            _ => Err(NoRoom),
        }
    }

    /// Of the messages of the node's own none is made here.
    #[inline(always)]
    fn prepare(&mut self, order: &mut Order) -> Result<(), NoRoom> {
        match (order.task, order.end.take()) {
            (Task::Related, Some(end)) => pipeline::translate(self, order, end),
            _ => Err(NoRoom),
        }
    }

    #[inline(always)]
    fn carry_out(&mut self, order: &Order, _: Option<&Path>) -> Result<(), NoRoom> {
        match lbxdp_tc_carry_out(self.skb, order) {
            0 => Ok(()),
            _ => Err(NoRoom),
        }
    }

    /// Is not needed: what comes in by a device is not handed over to another.
    #[inline(always)]
    fn hand_over(&mut self, _: Device) -> Result<(), NoRoom> {
        Err(NoRoom)
    }

    #[inline(always)]
    fn clamp_mss(&mut self, start: usize, segment_len: usize, limit: u16) {
        lbxdp_tc_clamp_mss(self.skb, start as u32, segment_len as u32, limit.into());
    }
}

impl Context for __sk_buff {
    #[inline(always)]
    fn route(ctx: *mut Self, packet: &Ip, source: &Address, ports: u32, hop: &mut Hop) -> u32 {
        lbxdp_tc_route(ctx, packet, source, ports, hop)
    }
}

/// [`parse::network`]: 0, or one more than the index of a reason.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn lbxdp_tc_network(
    skb: *mut __sk_buff,
    start: u32,
    version: u32,
    end: u32,
    ip: *mut Ip,
) -> u32 {
    let version = Version::of_number(version);
    // SAFETY: the one caller gives it an `Ip` of its own.
    let Some(to) = (unsafe { ip.as_mut() }) else {
        return 1 + Reason::Malformed.index();
    };
    match parse::network(&Packet::new(skb), start as usize, version, end as usize, to) {
        Ok(()) => 0,
        Err(reason) => 1 + reason.index(),
    }
}

/// [`parse::related`]: 0, or the ports, and 1 above them.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn lbxdp_tc_related(skb: *mut __sk_buff, ip: *mut Ip) -> u64 {
    // SAFETY: the one caller gives it an `Ip` of its own.
    let Some(ip) = (unsafe { ip.as_mut() }) else {
        return 0;
    };
    parse::related(&Packet::new(skb), ip).map_or(0, |[[a, b], [c, d]]| {
        1 << 32 | u64::from(u32::from_ne_bytes([a, b, c, d]))
    })
}

/// [`nat::readdress`], the sum folded.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn lbxdp_tc_readdress(
    skb: *mut __sk_buff,
    start: u32,
    version: u32,
    which: u32,
    address: *const Address,
) -> u64 {
    // SAFETY: the one caller gives it an address.
    let Some(address) = (unsafe { address.as_ref() }) else {
        return NO_SUM;
    };
    let version = Version::of_number(version);
    let end = End::of_number(which);
    let sum = nat::readdress(&mut Packet::new(skb), start as usize, version, end, address);
    sum.map_or(NO_SUM, |sum| sum.fold().into())
}

/// [`icmp::translate`]: 0, or 1 if a header is not in reach; the port and, above it, which end.
///
/// Its checksum is written like any other bytes. That of an error is never left unfinished; and its
/// sum with all that it covers, and so the kernel's sum of all bytes, does not change.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn lbxdp_tc_translate(
    skb: *mut __sk_buff,
    start: u32,
    outline: *const Outline,
    which_port: u32,
    address: *const Address,
) -> u32 {
    // SAFETY: the one caller gives it an outline and an address.
    let (outline, address) = unsafe { (outline.as_ref(), address.as_ref()) };
    let (Some(outline), Some(address)) = (outline, address) else {
        return 1;
    };
    let end = End::of_number(which_port >> 16);
    let port = Port::new(which_port as u16);
    let mut packet = Packet::new(skb);
    match icmp::translate(&mut packet, start as usize, outline, end, address, port) {
        Ok(()) => 0,
        Err(NoRoom) => 1,
    }
}

/// What the pipeline's own step does, by the kernel's helpers: 0, or 1 if there is no room.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn lbxdp_tc_carry_out(skb: *mut __sk_buff, order: *const Order) -> u32 {
    // SAFETY: the one caller gives it a valid order.
    let Some(order) = (unsafe { order.as_ref() }) else {
        return 1;
    };
    carry_out(&mut Packet::new(skb), order).map_or(1, |()| 0)
}

/// [`look_up`] in the name of the interface that the hop names.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn lbxdp_tc_route(
    skb: *mut __sk_buff,
    packet: *const Ip,
    source: *const Address,
    ports: u32,
    hop: *mut Hop,
) -> u32 {
    // SAFETY: the one caller gives it a valid packet and address, and a hop of its own.
    let (packet, source, hop) = unsafe { (packet.as_ref(), source.as_ref(), hop.as_mut()) };
    let (Some(packet), Some(source), Some(hop)) = (packet, source, hop) else {
        return BPF_FIB_LKUP_RET_UNREACHABLE;
    };
    let length = Packet::new(skb).segment_len(packet);
    look_up(skb.cast(), packet, length, source, ports, hop)
}

/// [`mss::clamp`], but for the checksum; returns 0, since a global function must return something.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn lbxdp_tc_clamp_mss(
    skb: *mut __sk_buff,
    start: u32,
    segment_len: u32,
    limit: u32,
) -> u32 {
    let start = start as usize;
    clamp_mss(
        &mut Packet::new(skb),
        start,
        segment_len as usize,
        limit as u16,
    )
    .map_or(1, |()| 0)
}

#[inline(always)]
fn carry_out(packet: &mut Packet, order: &Order) -> Option<()> {
    const ETHERNET: usize = size_of::<Ethernet>();
    let outline = &order.outline;
    let mut start = order.start as usize;
    if start != ETHERNET {
        packet.move_head(start as i32 - ETHERNET as i32).ok()?;
        start = ETHERNET;
    }
    if order.takes_hop {
        take_hop(packet, start, outline.version)?;
    }
    if let Some(end) = order.end {
        rewrite(packet, start, outline, end, &order.address, order.port)?;
        if order.both_ends {
            let (address, port) = (&order.other_address, order.other_port);
            rewrite(packet, start, outline, end.other(), address, port)?;
        }
    }
    let Link {
        destination_mac,
        source_mac,
        tags: _,
    } = order.link;
    *packet.at_mut(0)? = Ethernet {
        destination: destination_mac,
        source: source_mac,
        ethertype: outline.version.ethertype(),
    };
    Some(())
}

/// [`nat::take_hop`]. IPv4 has a checksum that keeps the sum of all bytes.
#[inline(always)]
fn take_hop(packet: &mut Packet, start: usize, version: Version) -> Option<()> {
    nat::take_hop(packet, start, version)?;
    if version == Version::V6 {
        let header: &Ipv6 = packet.at(start)?;
        let now = [header.next_header, header.hop_limit];
        let before = [header.next_header, header.hop_limit.wrapping_add(1)];
        packet.add_to_sum(Sum::ZERO.sub(before).add(now));
    }
    Some(())
}

/// [`nat::rewrite`].
#[inline(always)]
fn rewrite(
    packet: &mut Packet,
    start: usize,
    outline: &Outline,
    end: End,
    address: &Address,
    port: Port,
) -> Option<()> {
    let pseudo = packet.readdress(start, outline.version, end, address)?;
    let transport = start + outline.header_len as usize;
    let mut own = Sum::ZERO;
    let ports = match outline.protocol {
        IPPROTO_TCP => &mut packet.at_mut::<Tcp>(transport)?.ports,
        IPPROTO_UDP => &mut packet.at_mut::<Udp>(transport)?.ports,
        _ => return None,
    };
    if port.get() != 0 {
        // Both at once: the verifier does not follow a reference to the one or the other.
        let old = *ports;
        let (before, new) = match end {
            End::Source => (
                old.source,
                Ports {
                    source: port.to_bytes(),
                    ..old
                },
            ),
            End::Destination => (
                old.destination,
                Ports {
                    destination: port.to_bytes(),
                    ..old
                },
            ),
        };
        own = Sum::ZERO.sub(before).add(port.to_bytes());
        *ports = new;
    }
    packet.patch(
        outline.protocol,
        checksum_of(outline.protocol, transport),
        pseudo,
        own,
    )?;
    // The helper takes the pseudo header's change out of the sum of all bytes, as is right where a
    // header checksum makes up for the address; IPv6 has none.
    if outline.version == Version::V6 {
        packet.add_to_sum(pseudo);
    }
    Some(())
}

/// The checksum that the pipeline's own step writes is taken back, and its change left to the helper.
#[inline(always)]
fn clamp_mss(packet: &mut Packet, start: usize, segment_len: usize, limit: u16) -> Option<()> {
    let before = packet.at::<Tcp>(start)?.checksum;
    mss::clamp(packet, start, segment_len, limit);
    let field = &mut packet.at_mut::<Tcp>(start)?.checksum;
    let now = *field;
    if now != before {
        *field = before;
        let change = Sum::of_checksum(now).minus(Sum::of_checksum(before));
        packet.patch(
            IPPROTO_TCP,
            checksum_of(IPPROTO_TCP, start),
            Sum::ZERO,
            change,
        )?;
    }
    Some(())
}

#[inline(always)]
const fn checksum_of(protocol: u8, transport: usize) -> usize {
    transport
        + if protocol == IPPROTO_UDP {
            UDP_CHECKSUM
        } else {
            TCP_CHECKSUM
        }
}
