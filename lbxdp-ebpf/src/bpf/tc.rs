//! The programs of TC ingress: one beside XDP, which sends packets into the kernel's tunnel devices;
//! one on each of those devices, which sends answers out of them to clients.
//!
//! Both leave what is not theirs to the filters behind them (`TC_ACT_UNSPEC`).

use super::maps::{self, Maps};
use super::skb::Packet;
use aya_ebpf::helpers::{bpf_redirect, bpf_redirect_neigh};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use aya_log_ebpf::trace;
use core::ptr;
use lbxdp_ebpf::frame::Frame;
use lbxdp_ebpf::pipeline;
use lbxdp_ebpf::verdict::{Action, Verdict};

/// The next filter decides (`linux/pkt_cls.h`).
const TC_ACT_UNSPEC: i32 = -1;
/// Away with it.
const TC_ACT_SHOT: i32 = 2;

/// On an interface of the XDP program: sends what that has handed over into its device.
#[classifier]
#[inline(always)]
pub(crate) fn lbxdp_handover(ctx: TcContext) -> i32 {
    let mut packet = Packet::new(ctx.skb.skb);
    let Some(to) = packet.told() else {
        return TC_ACT_UNSPEC;
    };
    if packet.is_tagged() {
        packet.untag();
    }
    send(to.device.ifindex(), to.device.has_ethernet())
}

/// On a device that is a tunnel: decides, counts, and acts.
#[classifier]
#[inline(always)]
pub(crate) fn lbxdp_device(ctx: TcContext) -> i32 {
    let mut packet = Packet::new(ctx.skb.skb);
    let bytes = packet.len() as u64;
    let device = packet.ifindex();
    // A tag that the kernel has put aside is none of ours, nor is what cannot be read.
    if packet.is_tagged() || packet.make_ready().is_err() {
        return TC_ACT_UNSPEC;
    }
    let Some(scratch) = maps::scratch() else {
        return TC_ACT_UNSPEC;
    };
    let tables = Maps::new(ctx.skb.skb);
    let verdict = pipeline::process_from_device_in(&mut packet, &tables, device, scratch);
    maps::count(&verdict, bytes);
    trace!(
        &ctx,
        "reason {} device {} bytes {}",
        verdict.reason.index(),
        device,
        bytes
    );
    act(&verdict)
}

#[inline(always)]
fn act(verdict: &Verdict) -> i32 {
    match verdict.action {
        Action::Pass => TC_ACT_UNSPEC,
        Action::Redirect(ifindex) => send(ifindex, true),
        // The pipeline does not decide the last two here.
        Action::Drop | Action::Transmit | Action::HandOver(_) => TC_ACT_SHOT,
    }
}

/// Sends by an interface. With Ethernet headers the kernel looks for the neighbour, and waits with
/// the packet until it has found it; without, nothing is to be found.
#[inline(always)]
fn send(ifindex: u32, ethernet: bool) -> i32 {
    if ethernet {
        // SAFETY: the helper takes numbers, and no parameters.
        unsafe { bpf_redirect_neigh(ifindex, ptr::null_mut(), 0, 0) as i32 }
    } else {
        // SAFETY: the helper takes two numbers.
        unsafe { bpf_redirect(ifindex, 0) as i32 }
    }
}
