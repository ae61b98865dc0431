use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::XdpContext;
use lbxdp_ebpf::bench::{FRAME_LEN, Source, Stimulus};

#[btf_map]
static STIMULUS: Array<Stimulus, 1> = Array::new();

/// Makes the frame, which must be of [`FRAME_LEN`] bytes, a packet of the next flow; says where it is
/// to go.
#[inline(always)]
pub(crate) fn next(ctx: &XdpContext) -> Option<u32> {
    let stimulus = STIMULUS.get_ptr_mut(0)?;
    // SAFETY: one run at a time is under way.
    let stimulus = unsafe { &mut *stimulus };
    let source = Source::of_flow(stimulus.next & stimulus.mask);
    stimulus.next = stimulus.next.wrapping_add(1);
    // Into the map's copy and not into the frame: so nobody but this program waits for a word of
    // which a part has just been written.
    let frame = (&raw mut stimulus.frame).cast::<u8>();
    let net_at = usize::from(stimulus.net_at) % FRAME_LEN;
    let host_at = usize::from(stimulus.host_at) % FRAME_LEN;
    let port_at = usize::from(stimulus.port_at) / 2 % (FRAME_LEN / 2) * 2;
    // SAFETY: all offsets are within the frame, and the last is even.
    unsafe {
        frame.add(net_at).write(source.net);
        frame.add(host_at).write(source.host);
        frame
            .add(port_at)
            .cast::<[u8; 2]>()
            .write(source.port.to_be_bytes());
    }
    let to = ctx.data() as *mut [u64; FRAME_LEN / 8];
    if ctx.data() + FRAME_LEN > ctx.data_end() {
        return None;
    }
    // SAFETY: as many bytes are there; the frame begins at its first place again, of which the
    // kernel makes a multiple of 8 (`XDP_PACKET_HEADROOM` behind the start of a page, or of its
    // `struct xdp_page_head`).
    unsafe { *to = stimulus.frame };
    Some(stimulus.target)
}
