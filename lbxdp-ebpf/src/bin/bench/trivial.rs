use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_PASS, XDP_TX};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use lbxdp_ebpf::checksum::Sum;
use lbxdp_ebpf::wire::{ETHERTYPE_IPV4, Ethernet, IPPROTO_IPIP, Ipv4, Pair};

use crate::frame::{at, move_head};

/// Passes.
#[xdp(frags)]
pub(crate) fn pass(_: XdpContext) -> u32 {
    XDP_PASS
}

/// Exchanges the MAC addresses and transmits.
#[xdp(frags)]
pub(crate) fn floor(ctx: XdpContext) -> u32 {
    let Some(ethernet) = at::<Ethernet>(&ctx, 0) else {
        return XDP_ABORTED;
    };
    // SAFETY: the header is in the frame, and there is no other pointer to it.
    let ethernet = unsafe { &mut *ethernet };
    let Ethernet {
        destination,
        source,
        ethertype,
    } = *ethernet;
    *ethernet = Ethernet {
        destination: source,
        source: destination,
        ethertype,
    };
    XDP_TX
}

/// Puts one and the same header in front.
#[xdp(frags)]
pub(crate) fn ipip(ctx: XdpContext) -> u32 {
    match encapsulate(&ctx) {
        Some(()) => XDP_TX,
        None => XDP_ABORTED,
    }
}

#[inline(always)]
fn encapsulate(ctx: &XdpContext) -> Option<()> {
    let packet = ctx.data_end() - ctx.data() - size_of::<Ethernet>();
    move_head(ctx, -(size_of::<Ipv4>() as i32))?;
    let header = at::<Pair<Ethernet, Ipv4>>(ctx, 0)?;
    let mut outer = Ipv4 {
        version_ihl: 0x45,
        type_of_service: 0,
        total_length: ((packet + size_of::<Ipv4>()) as u16).to_be_bytes(),
        identification: [0; 2],
        flags_fragment_offset: [0x40, 0],
        time_to_live: 64,
        protocol: IPPROTO_IPIP,
        header_checksum: [0; 2],
        source: [203, 0, 113, 1],
        destination: [203, 0, 113, 2],
    };
    let fixed = Ipv4 {
        total_length: [0; 2],
        ..outer
    };
    // The sum of what is fixed is a constant of the compiler's.
    let sum = Sum::ZERO
        .add([fixed.version_ihl, fixed.type_of_service])
        .add(fixed.flags_fragment_offset)
        .add([fixed.time_to_live, fixed.protocol])
        .add_bytes(&fixed.source)
        .add_bytes(&fixed.destination);
    outer.header_checksum = sum.add(outer.total_length).checksum();
    // SAFETY: the headers are in the frame.
    unsafe {
        *header = Pair {
            first: Ethernet {
                destination: [2, 0, 0, 0, 2, 10],
                source: [2, 0, 0, 0, 0, 10],
                ethertype: ETHERTYPE_IPV4,
            },
            second: outer,
        };
    }
    Some(())
}
