use aya_ebpf::bindings::xdp_action::XDP_ABORTED;
use aya_ebpf::btf_maps::ProgramArray;
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use lbxdp_ebpf::bench::{FRAME_LEN, slot};

use crate::frame::move_head;
use crate::stimulus;

#[btf_map]
static PROGRAMS: ProgramArray<{ slot::COUNT }> = ProgramArray::new();

/// Gives the frame its length and its bytes back, makes it a packet of the next flow, and calls the
/// program under test. (With frags, as that one has: the kernel lets no other call it.)
#[xdp(frags)]
pub(crate) fn wrapper(ctx: XdpContext) -> u32 {
    if let Some(program) = restore(&ctx) {
        // SAFETY: whatever is called takes the same context.
        unsafe { PROGRAMS.tail_call(&ctx, program) };
    }
    XDP_ABORTED
}

#[inline(always)]
fn restore(ctx: &XdpContext) -> Option<u32> {
    // The programs under test move the start of a frame and leave its end. Where nothing is to be
    // moved the helper is called all the same, so that it costs all of them the same.
    let len = ctx.data_end() - ctx.data();
    move_head(ctx, len as i32 - FRAME_LEN as i32)?;
    stimulus::next(ctx)
}
