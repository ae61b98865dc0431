use aya_ebpf::helpers::bpf_xdp_adjust_head;
use aya_ebpf::programs::XdpContext;
use lbxdp_ebpf::frame::Wire;

/// The header at `offset`, if all of it is in the frame.
#[inline(always)]
pub(crate) fn at<T: Wire>(ctx: &XdpContext, offset: usize) -> Option<*mut T> {
    let start = ctx.data() + offset;
    if start + size_of::<T>() > ctx.data_end() {
        return None;
    }
    Some(start as *mut T)
}

/// Moves the start of the frame; `None` if there is no room.
#[inline(always)]
pub(crate) fn move_head(ctx: &XdpContext, delta: i32) -> Option<()> {
    // SAFETY: the context is the one that the kernel called the program with; no pointer into the
    // frame is kept over this.
    let error = unsafe { bpf_xdp_adjust_head(ctx.ctx, delta) };
    (error == 0).then_some(())
}
