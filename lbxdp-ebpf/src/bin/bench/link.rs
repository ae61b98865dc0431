//! The far end of the link on which the program under test is: what sends frames to it, and what
//! receives those that it sends back.

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP};
use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::helpers::bpf_redirect;
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use lbxdp_ebpf::abi::Count;
use lbxdp_ebpf::wire::{ETHERTYPE_IPV4, Ethernet};

use crate::frame::at;
use crate::stimulus;

#[btf_map]
static ARRIVED: PerCpuArray<Count, 1> = PerCpuArray::new();

/// Sends a packet of the next flow. (Run with live frames, which the kernel gives their first length
/// each time, but not their bytes.)
#[xdp]
pub(crate) fn generate(ctx: XdpContext) -> u32 {
    match stimulus::next(&ctx) {
        // SAFETY: the helper takes two numbers, and returns an XDP action.
        Some(interface) => unsafe { bpf_redirect(interface, 0) as u32 },
        None => XDP_ABORTED,
    }
}

/// Counts a packet of IPv4, as all of ours are and none of the kernel's own on such a link; drops
/// anything.
#[xdp]
pub(crate) fn sink(ctx: XdpContext) -> u32 {
    if let Some(ethernet) = at::<Ethernet>(&ctx, 0)
        && let Some(count) = ARRIVED.get_ptr_mut(0)
    {
        // SAFETY: the header is in the frame; the slot is of this CPU, on which no other program of
        // this map runs now.
        unsafe {
            if (*ethernet).ethertype == ETHERTYPE_IPV4 {
                (*count).packets += 1;
                (*count).bytes += (ctx.data_end() - ctx.data()) as u64;
            }
        }
    }
    XDP_DROP
}
