//! Global functions: the kernel verifies each by itself, for any arguments of its types.
//!
//! They take numbers, the context, and pointers to memory of a known size, all
//! bytes of which are initialised; they return a number.

use super::ctx::Packet;
use super::maps::{self, Context, Maps};
use aya_ebpf::bindings::{BPF_FIB_LKUP_RET_UNREACHABLE, bpf_fib_lookup, xdp_md};
use aya_ebpf::helpers::bpf_csum_diff;
use core::ffi::c_void;
use core::hint::black_box;
use lbxdp_ebpf::abi::{
    Address, Device, FlowKey, Fragment, HandOver, Origin, OriginIndex, Path, Port, Service, Side,
    Tags, VnetId,
};
use lbxdp_ebpf::checksum::Sum;
use lbxdp_ebpf::frame::{Frame, NoRoom};
use lbxdp_ebpf::icmp;
use lbxdp_ebpf::mss;
use lbxdp_ebpf::nat::{self, End};
use lbxdp_ebpf::parse::{self, Ip, Outline, Version};
use lbxdp_ebpf::pipeline::{self, Link, Order, Scratch, Steps};
use lbxdp_ebpf::snat::{self, Request};
use lbxdp_ebpf::tables::Tables;
use lbxdp_ebpf::track;
use lbxdp_ebpf::verdict::Reason;
use lbxdp_ebpf::vlan;
use lbxdp_ebpf::wire::FRAGMENT;

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
        let error = lbxdp_network(self.ctx, start as u32, number, end as u32, ip);
        // The compiler knows all numbers that come back, and would leave out the check of the
        // bounds; the verifier knows none.
        match black_box(error) {
            0 => Ok(()),
            error => Err(Reason::from_index(error - 1).unwrap_or(Reason::Malformed)),
        }
    }

    #[inline(always)]
    fn link(&self, link: &mut Link) -> Option<()> {
        (lbxdp_link(self.ctx, link) == 0).then_some(())
    }

    #[inline(always)]
    fn related(&self, ip: &mut Ip) -> Option<[[u8; 2]; 2]> {
        let ports = lbxdp_related(self.ctx, ip);
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
        match lbxdp_readdress(self.ctx, start as u32, version, which, address) {
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
        match lbxdp_translate(self.ctx, start as u32, ip, which_port, address) {
            0 => Ok(()),
            _ => Err(NoRoom),
        }
    }

    #[inline(always)]
    fn depart(&mut self, order: &mut Order, path: Option<&Path>) -> Result<(), NoRoom> {
        let path = path.map_or(core::ptr::null(), core::ptr::from_ref);
        match lbxdp_depart(self.ctx, order, path) {
            0 => Ok(()),
            _ => Err(NoRoom),
        }
    }

    #[inline(always)]
    fn prepare(&mut self, order: &mut Order) -> Result<(), NoRoom> {
        match lbxdp_prepare(self.ctx, order) {
            0 => Ok(()),
            _ => Err(NoRoom),
        }
    }

    #[inline(always)]
    fn carry_out(&mut self, order: &Order, path: Option<&Path>) -> Result<(), NoRoom> {
        let path = path.map_or(core::ptr::null(), core::ptr::from_ref);
        match lbxdp_carry_out(self.ctx, order, path) {
            0 => Ok(()),
            _ => Err(NoRoom),
        }
    }

    #[inline(always)]
    fn put_tags(&mut self, tags: Tags) -> Result<(), NoRoom> {
        match lbxdp_put_tags(self.ctx, number_of(tags)) {
            0 => Ok(()),
            _ => Err(NoRoom),
        }
    }

    #[inline(always)]
    fn follow<T: Tables>(&self, _: &T, key: &FlowKey, request: &mut track::Request) -> OriginIndex {
        // As of any number that comes back: see `network`.
        black_box(lbxdp_follow(self.ctx, key, request)) as OriginIndex
    }

    #[inline(always)]
    fn hand_over(&mut self, device: Device) -> Result<(), NoRoom> {
        match lbxdp_hand_over(self.ctx, device.number()) {
            0 => Ok(()),
            _ => Err(NoRoom),
        }
    }

    #[inline(always)]
    fn clamp_mss(&mut self, start: usize, segment_len: usize, limit: u16) {
        lbxdp_clamp_mss(self.ctx, start as u32, segment_len as u32, limit.into());
    }
}

/// [`parse::network`]: 0, or one more than the index of a reason.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn lbxdp_network(
    ctx: *mut xdp_md,
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
    match parse::network(&Packet::new(ctx), start as usize, version, end as usize, to) {
        Ok(()) => 0,
        Err(reason) => 1 + reason.index(),
    }
}

/// [`Link::read`]: 0, or 1 if it is not in reach.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn lbxdp_link(ctx: *mut xdp_md, link: *mut Link) -> u32 {
    // SAFETY: the one caller gives it a link header of its own.
    let link = unsafe { link.as_mut() };
    match link.and_then(|link| link.read(&Packet::new(ctx))) {
        Some(()) => 0,
        None => 1,
    }
}

/// [`vlan::put`]: 0, or 1 if there is no room.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn lbxdp_put_tags(ctx: *mut xdp_md, tags: u32) -> u32 {
    match vlan::put(&mut Packet::new(ctx), tags_of(tags)) {
        Ok(()) => 0,
        Err(NoRoom) => 1,
    }
}

/// Tags as one number.
#[inline(always)]
const fn number_of(tags: Tags) -> u32 {
    let ([a, b], [c, d]) = (tags.outer, tags.inner);
    u32::from_ne_bytes([a, b, c, d])
}

/// The tags of [`number_of`].
#[inline(always)]
const fn tags_of(number: u32) -> Tags {
    let [a, b, c, d] = number.to_ne_bytes();
    Tags {
        outer: [a, b],
        inner: [c, d],
    }
}

/// [`parse::related`]: 0, or the ports, and 1 above them.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn lbxdp_related(ctx: *mut xdp_md, ip: *mut Ip) -> u64 {
    // SAFETY: the one caller gives it an `Ip` of its own.
    let Some(ip) = (unsafe { ip.as_mut() }) else {
        return 0;
    };
    parse::related(&Packet::new(ctx), ip).map_or(0, |[[a, b], [c, d]]| {
        1 << 32 | u64::from(u32::from_ne_bytes([a, b, c, d]))
    })
}

/// [`nat::readdress`], the sum folded.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn lbxdp_readdress(
    ctx: *mut xdp_md,
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
    let sum = nat::readdress(&mut Packet::new(ctx), start as usize, version, end, address);
    sum.map_or(NO_SUM, |sum| sum.fold().into())
}

/// [`pipeline::depart`]: 0, or 1 if there is no room.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn lbxdp_depart(ctx: *mut xdp_md, order: *mut Order, path: *const Path) -> u32 {
    // SAFETY: the one caller gives it an order of its own, and a valid path or none.
    let (order, path) = unsafe { (order.as_mut(), path.as_ref()) };
    let Some(order) = order else {
        return 1;
    };
    match pipeline::depart(&mut Packet::new(ctx), order, path) {
        Ok(()) => 0,
        Err(NoRoom) => 1,
    }
}

/// [`pipeline::prepare`]: 0, or 1 if there is no room.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn lbxdp_prepare(ctx: *mut xdp_md, order: *mut Order) -> u32 {
    // SAFETY: the one caller gives it an order of its own.
    let Some(order) = (unsafe { order.as_mut() }) else {
        return 1;
    };
    match pipeline::prepare(&mut Packet::new(ctx), order) {
        Ok(()) => 0,
        Err(NoRoom) => 1,
    }
}

/// [`Steps::hand_over`]: 0, or 1 if there is no room.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn lbxdp_hand_over(ctx: *mut xdp_md, device: u32) -> u32 {
    let device = Device::from_number(device);
    if device == Device::NONE {
        return 0;
    }
    match Packet::new(ctx).tell(HandOver::to(device)) {
        Ok(()) => 0,
        Err(NoRoom) => 1,
    }
}

/// [`pipeline::carry_out`]: 0, or 1 if there is no room.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn lbxdp_carry_out(ctx: *mut xdp_md, order: *const Order, path: *const Path) -> u32 {
    // SAFETY: the one caller gives it a valid order, and a valid path or none.
    let (order, path) = unsafe { (order.as_ref(), path.as_ref()) };
    let Some(order) = order else {
        return 1;
    };
    match pipeline::carry_out(&mut Packet::new(ctx), order, path) {
        Ok(()) => 0,
        Err(NoRoom) => 1,
    }
}

/// [`snat::allocate`]: 0, or one more than the index of a reason.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn lbxdp_allocate(request: *mut Request) -> u32 {
    // It lies in the scratch, and is found again by a lookup: before Linux 6.2 no memory behind an
    // argument can be key or value of a map. The pointer tells the compiler what is changed here.
    let scratch = maps::scratch().filter(|_| !black_box(request).is_null());
    let Some(Scratch { request, .. }) = scratch else {
        return 1 + Reason::SnatTableFull.index();
    };
    // The maps alone are asked, which need no context; one that is not used would not be passed.
    match snat::allocate(&Maps::<xdp_md>::new(core::ptr::null_mut()), request) {
        Ok(()) => 0,
        Err(reason) => 1 + reason.index(),
    }
}

/// [`track::follow`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn lbxdp_follow(
    ctx: *mut xdp_md,
    key: *const FlowKey,
    request: *mut track::Request,
) -> u32 {
    // SAFETY: the one caller gives it a flow, and a request of its own.
    let (key, request) = unsafe { (key.as_ref(), request.as_mut()) };
    let (Some(key), Some(request)) = (key, request) else {
        return Origin::NONE.into();
    };
    // As in `lbxdp_allocate`.
    let maps = Maps::<xdp_md>::new(core::ptr::null_mut());
    track::follow(&Packet::new(ctx), &maps, key, request).into()
}

/// [`track::may_record`], as a number.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn lbxdp_may_record(interval_ns: u64, is_first: u32) -> u32 {
    let maps = Maps::<xdp_md>::new(core::ptr::null_mut());
    track::may_record(&maps, interval_ns, is_first != 0).into()
}

/// [`track::record`]; returns 0, since a global function must return something.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn lbxdp_record(request: *const track::Request) -> u32 {
    // SAFETY: the callers give it requests of their own.
    if let Some(request) = unsafe { request.as_ref() } {
        track::record(&Maps::<xdp_md>::new(core::ptr::null_mut()), request);
    }
    0
}

/// [`icmp::translate`]: 0, or 1 if a header is not in reach; the port and, above it, which end.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn lbxdp_translate(
    ctx: *mut xdp_md,
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
    let mut packet = Packet::new(ctx);
    match icmp::translate(&mut packet, start as usize, outline, end, address, port) {
        Ok(()) => 0,
        Err(NoRoom) => 1,
    }
}

/// Where a packet goes next; without padding.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Hop {
    /// The interface to leave by; before, the one for which routes are asked.
    pub(super) ifindex: u32,
    pub(super) source_mac: [u8; 6],
    pub(super) destination_mac: [u8; 6],
    /// The largest packet that may go there, if this one is larger.
    pub(super) mtu: u32,
}

impl Context for xdp_md {
    #[inline(always)]
    fn route(ctx: *mut Self, packet: &Ip, source: &Address, ports: u32, hop: &mut Hop) -> u32 {
        lbxdp_route(ctx, packet, source, ports, hop)
    }
}

/// The context of the program that handles plain packets alone, and has the routes asked in place.
#[repr(transparent)]
pub(super) struct Alone(xdp_md);

impl Context for Alone {
    #[inline(always)]
    fn route(ctx: *mut Self, packet: &Ip, source: &Address, ports: u32, hop: &mut Hop) -> u32 {
        let length = packet.outline.length;
        look_up(ctx.cast(), packet, length, source, ports, hop)
    }
}

/// [`look_up`] for the interface that the packet came in by.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn lbxdp_route(
    ctx: *mut xdp_md,
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
    let length = packet.outline.length;
    look_up(ctx.cast(), packet, length, source, ports, hop)
}

/// `bpf_fib_lookup` for a packet that leaves with `length` bytes; see [`Context::route`].
#[inline(always)]
pub(super) fn look_up(
    ctx: *mut c_void,
    packet: &Ip,
    length: u16,
    source: &Address,
    ports: u32,
    hop: &mut Hop,
) -> u32 {
    const AF_INET: u8 = 2;
    const AF_INET6: u8 = 10;
    let outline = &packet.outline;
    // SAFETY: integers and arrays of them, for which zero is a value; the helper must be given
    // no byte that is not initialised.
    let mut params: bpf_fib_lookup = unsafe { core::mem::zeroed() };
    let [a, b, c, d] = ports.to_ne_bytes();
    // All fragments of a datagram take one way.
    params.l4_protocol = if outline.protocol == FRAGMENT {
        packet.flow_protocol
    } else {
        outline.protocol
    };
    params.sport = u16::from_ne_bytes([a, b]);
    params.dport = u16::from_ne_bytes([c, d]);
    params.__bindgen_anon_1.tot_len = length;
    params.ifindex = hop.ifindex;
    match outline.version {
        Version::V4 => {
            let [.., from] = *source.words();
            let [.., to] = *packet.destination.words();
            params.family = AF_INET;
            params.__bindgen_anon_2.tos = packet.traffic_class;
            params.__bindgen_anon_3.ipv4_src = from;
            params.__bindgen_anon_4.ipv4_dst = to;
        }
        Version::V6 => {
            params.family = AF_INET6;
            // The traffic class, in its place beside the flow label.
            params.__bindgen_anon_2.flowinfo = (u32::from(packet.traffic_class) << 20).to_be();
            params.__bindgen_anon_3.ipv6_src = *source.words();
            params.__bindgen_anon_4.ipv6_dst = *packet.destination.words();
        }
    }
    // SAFETY: context and parameters are valid, and the size is that of the parameters.
    let code = unsafe {
        aya_ebpf::helpers::bpf_fib_lookup(
            ctx,
            &raw mut params,
            size_of::<bpf_fib_lookup>() as i32,
            0,
        )
    };
    // SAFETY: the fields of the union are integers of the same size.
    let mtu = unsafe { params.__bindgen_anon_1.mtu_result };
    *hop = Hop {
        ifindex: params.ifindex,
        source_mac: params.smac,
        destination_mac: params.dmac,
        mtu: mtu.into(),
    };
    u32::try_from(code).unwrap_or(BPF_FIB_LKUP_RET_UNREACHABLE)
}

/// What [`lbxdp_range`] returns for a port that is in no range.
pub(super) const NO_RANGE: u32 = u32::MAX;

/// `Tables::range`, of the side with this number.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn lbxdp_range(key: *const Service, side: u32) -> u32 {
    // SAFETY: the one caller gives it a valid key.
    let Some(key) = (unsafe { key.as_ref() }) else {
        return NO_RANGE;
    };
    Side::from_u8(side as u8)
        .and_then(|side| maps::range(key, side))
        .unwrap_or(NO_RANGE)
}

/// `Tables::fragment`, as a number.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn lbxdp_recall(packet: *const Ip, vnet: u32) -> u64 {
    // SAFETY: the one caller gives it a valid packet.
    let Some(packet) = (unsafe { packet.as_ref() }) else {
        return 0;
    };
    maps::recall(packet, VnetId(vnet)).map_or(0, Fragment::to_number)
}

/// `Tables::is_for_vip`, as a number.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn lbxdp_is_for_vip(packet: *const Ip, vnet: u32) -> u32 {
    // SAFETY: the one caller gives it a valid packet.
    let packet = unsafe { packet.as_ref() };
    packet
        .is_some_and(|packet| maps::is_for_vip(packet, VnetId(vnet)))
        .into()
}

/// `Tables::remember`, of a number; returns 0, since a global function must return something.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn lbxdp_remember(packet: *const Ip, vnet: u32, first: u64) -> u32 {
    // SAFETY: the one caller gives it a valid packet.
    if let Some(packet) = unsafe { packet.as_ref() } {
        maps::remember(packet, VnetId(vnet), Fragment::from_number(first));
    }
    0
}

/// [`mss::clamp`]; returns 0, since a global function must return something.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn lbxdp_clamp_mss(ctx: *mut xdp_md, start: u32, segment_len: u32, limit: u32) -> u32 {
    mss::clamp(
        &mut Packet::new(ctx),
        start as usize,
        segment_len as usize,
        limit as u16,
    );
    0
}

/// What [`lbxdp_sum`] returns if it cannot reach all bytes.
pub(super) const NO_SUM: u64 = u64::MAX;

/// [`Frame::sum`], of up to 4,095 bytes, which the linear part of a frame seldom exceeds.
///
/// How many chunks there are of each size, and where they begin, is computed from the length
/// alone, not from what is left: so the verifier sees the same unknown numbers however often a
/// loop has gone round, and need not follow each combination.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn lbxdp_sum(ctx: *mut xdp_md, offset: u32, len: u32) -> u64 {
    let packet = Packet::new(ctx);
    sum(&packet, offset as usize, len as usize).map_or(NO_SUM, u64::from)
}

#[inline(always)]
fn sum(packet: &Packet, offset: usize, len: usize) -> Option<u32> {
    if len > 4_095 {
        return None;
    }
    let mut sum = add_chunks::<512>(packet, offset, len / 512, 7, 0)?;
    sum = add_chunks::<64>(packet, offset + (len & !511), (len / 64) % 8, 7, sum)?;
    sum = add_chunks::<4>(packet, offset + (len & !63), (len / 4) % 16, 15, sum)?;
    let mut last = [0; 2];
    if len & 2 != 0 {
        last = *packet.at(offset + (len & !3))?;
    }
    let mut odd = 0;
    if len & 1 != 0 {
        // Read with the byte before it, since the verifier does not follow how the compiler
        // compares the bounds of a single byte.
        [_, odd] = *packet.at::<[u8; 2]>((offset + len).wrapping_sub(2))?;
    }
    let words = u32::from(u16::from_ne_bytes(last)) + u32::from(u16::from_ne_bytes([odd, 0]));
    let sum = Sum::from_number(sum).plus(Sum::from_number(words));
    Some(sum.fold().into())
}

/// Adds `count` chunks of `N` bytes, at most `limit`; `N` is a multiple of 4.
#[inline(always)]
fn add_chunks<const N: usize>(
    packet: &Packet,
    offset: usize,
    count: usize,
    limit: usize,
    mut sum: u32,
) -> Option<u32> {
    for index in 0..limit {
        if index >= count {
            break;
        }
        let chunk = packet.at::<[u8; N]>(offset + index * N)?;
        // SAFETY: the helper reads `N` bytes, which the chunk has.
        let result = unsafe {
            bpf_csum_diff(
                core::ptr::null_mut(),
                0,
                chunk.as_ptr().cast_mut().cast(),
                N as u32,
                sum,
            )
        };
        sum = u32::try_from(result).ok()?;
    }
    Some(sum)
}
