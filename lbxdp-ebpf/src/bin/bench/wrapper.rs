use aya_ebpf::bindings::xdp_action::XDP_ABORTED;
use aya_ebpf::btf_maps::{Array, ProgramArray};
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use lbxdp_ebpf::bench::{FIRST_HOST, FIRST_PORT, FRAME_LEN, Stimulus, slot};

use crate::frame::move_head;

#[btf_map]
static STIMULUS: Array<Stimulus, 1> = Array::new();
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
    let stimulus = STIMULUS.get_ptr_mut(0)?;
    // SAFETY: one run at a time is under way.
    let stimulus = unsafe { &mut *stimulus };
    let flow = stimulus.next & stimulus.mask;
    stimulus.next = stimulus.next.wrapping_add(1);
    // Into the map's copy and not into the frame: so nobody but the wrapper waits for a word of
    // which a part has just been written.
    let frame = (&raw mut stimulus.frame).cast::<u8>();
    let host = FIRST_HOST | (flow / u32::from(FIRST_PORT)) as u8;
    let port = (FIRST_PORT | (flow as u16 & (FIRST_PORT - 1))).to_be_bytes();
    let host_at = usize::from(stimulus.host_at) % FRAME_LEN;
    let port_at = usize::from(stimulus.port_at) / 2 % (FRAME_LEN / 2) * 2;
    // SAFETY: both offsets are within the frame, and the second is even.
    unsafe {
        frame.add(host_at).write(host);
        frame.add(port_at).cast::<[u8; 2]>().write(port);
    }
    let to = ctx.data() as *mut [u64; FRAME_LEN / 8];
    if ctx.data() + FRAME_LEN > ctx.data_end() {
        return None;
    }
    // SAFETY: as many bytes are there; the frame begins at its first place again, of which the
    // kernel makes a multiple of 8 (`XDP_PACKET_HEADROOM` behind the start of a page).
    unsafe { *to = stimulus.frame };
    Some(stimulus.program)
}
