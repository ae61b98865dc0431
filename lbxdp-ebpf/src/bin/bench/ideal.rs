//! The least that a balancer with rows can do: one listener lookup, one row, one origin, two
//! counters, and a prepared header in front. No VLAN, options, fragments, IPv6, tunnels, replies,
//! ICMP, checks of size or TTL, and one mode.

use aya_ebpf::bindings::xdp_action::{XDP_PASS, XDP_TX};
use aya_ebpf::btf_maps::{Array, HashMap, PerCpuArray};
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use lbxdp_ebpf::abi::{Address, Count, FlowKey, Port, Row, VnetId, capacity};
use lbxdp_ebpf::bench::{IdealKey, IdealListener, IdealOrigin};
use lbxdp_ebpf::checksum::Sum;
use lbxdp_ebpf::hash;
use lbxdp_ebpf::wire::{ETHERTYPE_IPV4, Ethernet, Ipv4, Pair, Ports};

use crate::frame::{at, move_head};

#[btf_map]
static IDEAL_LISTENERS: HashMap<IdealKey, IdealListener, { capacity::SERVICES as usize }> =
    HashMap::new();
#[btf_map]
static IDEAL_ROWS: Array<Row, { capacity::ROWS as usize }> = Array::new();
#[btf_map]
static IDEAL_ORIGINS: Array<IdealOrigin, { capacity::ORIGINS as usize }> = Array::new();
#[btf_map]
static IDEAL_LISTENER_COUNTERS: PerCpuArray<Count, { capacity::LISTENER_COUNTERS as usize }> =
    PerCpuArray::new();
#[btf_map]
static IDEAL_ORIGIN_COUNTERS: PerCpuArray<Count, { capacity::ORIGINS as usize }> =
    PerCpuArray::new();

/// A key of the hash, in the code: nothing is read for it.
const KEY: [u64; 12] = {
    let mut key = [0; 12];
    let mut at = 0;
    while at < key.len() {
        key[at] = hash::mix(at as u64 + 1);
        at += 1;
    }
    key
};

/// Balances what is for a listener, and passes what is not.
#[xdp(frags)]
pub(crate) fn ideal(ctx: XdpContext) -> u32 {
    match balance(&ctx) {
        Some(()) => XDP_TX,
        None => XDP_PASS,
    }
}

#[inline(always)]
fn balance(ctx: &XdpContext) -> Option<()> {
    let len = ctx.data_end() - ctx.data();
    let headers = at::<Pair<Ethernet, Pair<Ipv4, Ports>>>(ctx, 0)?;
    // SAFETY: the headers are in the frame, and nothing is written while this is used.
    let Pair {
        first: ethernet,
        second: Pair {
            first: ip,
            second: ports,
        },
    } = unsafe { &*headers };
    if ethernet.ethertype != ETHERTYPE_IPV4 || ip.version_ihl != 0x45 {
        return None;
    }
    let key = IdealKey {
        address: Address::from_v4(ip.destination),
        port: Port::from_bytes(ports.destination),
        protocol: ip.protocol,
        reserved: 0,
    };
    let hash = hash::flow_hash(
        &KEY,
        &FlowKey {
            source: Address::from_v4(ip.source),
            destination: key.address,
            source_port: Port::from_bytes(ports.source),
            destination_port: key.port,
            vnet: VnetId::LOCAL,
            protocol: key.protocol,
            reserved: [0; 3],
        },
    );
    // SAFETY: nobody writes to the map while programs run.
    let listener = unsafe { IDEAL_LISTENERS.get(&key) }?;
    let row = IDEAL_ROWS.get(
        listener
            .first
            .wrapping_add(hash::reduce(hash, listener.rows)),
    )?;
    let origin = IDEAL_ORIGINS.get(row.current.into())?;
    count(IDEAL_LISTENER_COUNTERS.get_ptr_mut(0)?, len);
    count(IDEAL_ORIGIN_COUNTERS.get_ptr_mut(row.current.into())?, len);
    move_head(ctx, -(size_of::<Ipv4>() as i32))?;
    let header = at::<[u8; 34]>(ctx, 0)?.cast::<Pair<Ethernet, Ipv4>>();
    let total = (len - size_of::<Ethernet>() + size_of::<Ipv4>()) as u16;
    // SAFETY: as many bytes are in the frame, and they are headers of this type.
    unsafe {
        *header.cast::<[u8; 34]>() = origin.header;
        (*header).second.total_length = total.to_be_bytes();
        (*header).second.header_checksum = Sum::from_folded(origin.header_sum)
            .add_number(total)
            .checksum();
    }
    Some(())
}

#[inline(always)]
fn count(count: *mut Count, bytes: usize) {
    // SAFETY: the slot is of this CPU, on which no other program of this map runs now.
    let count = unsafe { &mut *count };
    count.packets += 1;
    count.bytes += bytes as u64;
}
