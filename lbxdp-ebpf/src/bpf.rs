//! The tie to the kernel: entry point, and the one exit that counts and acts.

mod ctx;
mod flows;
mod maps;
mod skb;
mod steps;
mod tc;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::bpf_redirect;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::trace;
use ctx::{Near, Packet};
use lbxdp_ebpf::frame::Frame;
use lbxdp_ebpf::pipeline;
use lbxdp_ebpf::verdict::{Action, Reason, Verdict};
use maps::Maps;
use steps::Alone;

/// What is attached: decides the plainest packets itself, and calls [`lbxdp_whole`] for all others.
#[xdp(frags)]
#[inline(always)]
pub(crate) fn lbxdp(ctx: XdpContext) -> u32 {
    let mut packet = Near(Packet::measured(ctx.ctx));
    let bytes = packet.len() as u64;
    let ingress = ctx.ingress_ifindex() as u32;
    let verdict = match pipeline::quick(&mut packet, &Maps::new(ctx.ctx.cast::<Alone>()), ingress) {
        Some(verdict) => verdict,
        None => {
            maps::call_whole(&ctx);
            Reason::NotConfigured.into()
        }
    };
    maps::count_here(&verdict, bytes);
    act(&verdict)
}

/// Decides, counts, and acts.
#[xdp(frags)]
// Into the entry that the macro makes: a call more is 32 bytes more of stack, of which 6.1 has 512.
#[inline(always)]
pub(crate) fn lbxdp_whole(ctx: XdpContext) -> u32 {
    let mut packet = Packet::measured(ctx.ctx);
    let bytes = packet.len() as u64;
    let ingress = ctx.ingress_ifindex() as u32;
    let verdict = match maps::scratch() {
        Some(scratch) => pipeline::process_in(&mut packet, &Maps::new(ctx.ctx), ingress, scratch),
        // An array has its entries, as the verifier does not know.
        None => Reason::NotConfigured.into(),
    };
    maps::count(&verdict, bytes);
    trace!(
        &ctx,
        "reason {} interface {} bytes {}",
        verdict.reason.index(),
        ingress,
        bytes
    );
    act(&verdict)
}

#[inline(always)]
fn act(verdict: &Verdict) -> u32 {
    match verdict.action {
        // What is handed over goes up to the TC program, which takes it out again.
        Action::Pass | Action::HandOver(_) => xdp_action::XDP_PASS,
        Action::Drop => xdp_action::XDP_DROP,
        Action::Transmit => xdp_action::XDP_TX,
        Action::Redirect(ifindex) => {
            // SAFETY: the helper takes two numbers, and returns an XDP action.
            unsafe { bpf_redirect(ifindex, 0) as u32 }
        }
    }
}

/// What the kernel reads to allow helpers that are for GPL-compatible programs.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Never reached: the program has nothing that panics, or it would not link.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
