//! Global functions: the kernel verifies each by itself, for any arguments of its types.
//!
//! They take numbers, the context, and pointers to memory of a known size, all
//! bytes of which are initialised; they return a number.

use super::ctx::Packet;
use aya_ebpf::bindings::xdp_md;
use core::hint::black_box;
use lbxdp_ebpf::abi::Path;
use lbxdp_ebpf::frame::NoRoom;
use lbxdp_ebpf::parse::{self, Ip, Version};
use lbxdp_ebpf::pipeline::{self, Order, Steps};
use lbxdp_ebpf::verdict::Reason;

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
    fn carry_out(&mut self, order: &Order, path: Option<&Path>) -> Result<(), NoRoom> {
        let path = path.map_or(core::ptr::null(), core::ptr::from_ref);
        match lbxdp_carry_out(self.ctx, order, path) {
            0 => Ok(()),
            _ => Err(NoRoom),
        }
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
    let version = if version == 4 {
        Version::V4
    } else {
        Version::V6
    };
    // SAFETY: the one caller gives it an `Ip` of its own.
    let Some(to) = (unsafe { ip.as_mut() }) else {
        return 1 + Reason::Malformed.index();
    };
    match parse::network(&Packet::new(ctx), start as usize, version, end as usize) {
        Ok(ip) => {
            *to = ip;
            0
        }
        Err(reason) => 1 + reason.index(),
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
