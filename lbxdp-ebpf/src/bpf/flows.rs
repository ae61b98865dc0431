//! The tables of flows of rows at risk, in maps.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;
use lbxdp_ebpf::abi::{Flow, FlowEntry, FlowSet, Kept, Overflow, Sight, capacity};
use lbxdp_ebpf::flow_table::{self, Found, Recording, Spot, Store};

/// The agent reads and clears sets in its own memory; besides, only such arrays begin with a cache
/// line.
const SHARED: usize = BPF_F_MMAPABLE as usize;

#[btf_map]
static FLOWS: Array<FlowSet, { capacity::FLOW_SETS as usize }, SHARED> = Array::new();
#[btf_map]
static FLOW_KEYS: Array<Flow, { capacity::FLOWS as usize }> = Array::new();
#[btf_map]
static OPENING: Array<FlowSet, { capacity::OPENING_SETS as usize }, SHARED> = Array::new();

/// How many sets map `FLOWS` has; whoever loads it with another number says so here.
#[unsafe(no_mangle)]
static LBXDP_FLOW_SETS: u32 = capacity::FLOW_SETS;
/// The same of map `OPENING`.
#[unsafe(no_mangle)]
static LBXDP_OPENING_SETS: u32 = capacity::OPENING_SETS;

/// Flows that are recorded.
struct Flows;
/// First packets that are.
struct Opening;

macro_rules! store {
    ($($store:ident $sets:ident $number:ident $second:literal $name:expr;)+) => {$(
        impl Store for $store {
            type Set<'a> = &'a FlowSet;

            #[inline(always)]
            fn sets(&self) -> u32 {
                // SAFETY: a number that is written before the program is loaded.
                unsafe { core::ptr::read_volatile(&raw const $number) }
            }

            #[inline(always)]
            fn has_second(&self) -> bool {
                $second
            }

            /// Its entries may be changed by the program on another processor at the same time: all
            /// their bytes are numbers, of which any are a value.
            #[inline(always)]
            fn set(&self, index: u32) -> Option<&FlowSet> {
                $sets.get(index)
            }

            #[inline(always)]
            fn exchange(&self, at: Spot, old: FlowEntry, new: FlowEntry) -> bool {
                let Some(set) = $sets.get_ptr_mut(at.set) else {
                    return false;
                };
                // SAFETY: as in `set`.
                let entry = unsafe { &mut (*set).entries }.get_mut(at.way as usize);
                entry.is_some_and(|entry| exchange(entry, old, new))
            }

            #[inline(always)]
            fn touch(&self, at: Spot, time: u16) {
                // SAFETY: as in `set`.
                let set = $sets.get_ptr_mut(at.set).map(|set| unsafe { &mut *set });
                if let Some(last) = set.and_then(|set| set.times.get_mut(at.way as usize)) {
                    *last = time;
                }
            }

            /// Everybody sees it before what is exchanged after it: to exchange orders all writes.
            #[inline(always)]
            fn announce_overflow(&self, set: u32, fingerprint: u32) {
                // SAFETY: as in `set`.
                if let Some(set) = $sets.get_ptr_mut(set).map(|set| unsafe { &mut *set }) {
                    take_away(&mut set.overflow, Overflow::mask(fingerprint));
                }
            }

            #[inline(always)]
            fn name(&self, at: Spot, flow: &Flow) {
                $name(at, flow);
            }
        }
    )+};
}

store! {
    Flows FLOWS LBXDP_FLOW_SETS true name;
    // Of a first packet it is not kept whose it is: to write that costs a tenth of all packets, in a
    // flood of them.
    Opening OPENING LBXDP_OPENING_SETS false |_, _| {};
}

#[inline(always)]
fn name(at: Spot, flow: &Flow) {
    if let Some(name) = FLOW_KEYS.get_ptr_mut(at.index()) {
        // SAFETY: as in `Flows::set`.
        unsafe { *name = *flow };
    }
}

/// Compares and exchanges, as BPF has an instruction for, but the compiler no way to ask for.
#[inline(always)]
fn exchange(entry: &mut FlowEntry, old: FlowEntry, new: FlowEntry) -> bool {
    let before: u64;
    // SAFETY: reads and writes the entry, which is aligned, and nothing else.
    unsafe {
        core::arch::asm!(
            "r0 = cmpxchg_64({0} + 0, r0, {1})",
            in(reg) core::ptr::from_mut(entry),
            in(reg) new.number(),
            inout("r0") old.number() => before,
            options(nostack, preserves_flags)
        );
    }
    before == old.number()
}

/// Leaves what is in the mask, in one step, as the compiler has no way to ask for.
#[inline(always)]
fn take_away(overflow: &mut Overflow, mask: u32) {
    // SAFETY: reads and writes those four bytes, which are aligned, and nothing else.
    unsafe {
        core::arch::asm!(
            "lock *(u32 *)({0} + 0) &= w1",
            in(reg) core::ptr::from_mut(overflow),
            in("r1") u64::from(mask),
            options(nostack, preserves_flags)
        );
    }
}

/// `Tables::tracked`.
#[inline(always)]
pub(super) fn tracked(digest: u64, now: u32, sight: Option<Sight>) -> Option<Kept> {
    match recorded(digest, now, sight) {
        Some((kept, false)) => Some(kept),
        Some((_, true)) | None => None,
    }
}

/// `Tables::recorded`.
#[inline(always)]
pub(super) fn recorded(digest: u64, now: u32, sight: Option<Sight>) -> Option<(Kept, bool)> {
    let flags = sight.map_or(UNSEEN, |sight| sight.tcp_flags.into());
    let number = lbxdp_recorded(digest, now, flags);
    Some((found(number, now)?, number & FIRST != 0))
}

/// `Tables::opening`.
#[inline(always)]
pub(super) fn opening(digest: u64, now: u32) -> Option<Kept> {
    found(lbxdp_opening(digest), now)
}

/// In the place of control bits: nothing is to be noted.
const UNSEEN: u32 = 1 << 8;

/// A table has the flow; below is the time of its last packet, and the lower half of its entry.
const FOUND: u64 = 1 << 63;
/// The table is `OPENING`.
const FIRST: u64 = 1 << 62;

/// [`flow_table::see`] or [`flow_table::find`] in `FLOWS`, else [`flow_table::find`] in `OPENING`, as a
/// number: verified by itself, as all global functions are (see [`steps`](super::steps)).
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn lbxdp_recorded(digest: u64, tick: u32, flags: u32) -> u64 {
    let tracked = if flags & UNSEEN == 0 {
        let tcp_flags = flags as u8;
        flow_table::see(&Flows, digest, Sight { tick, tcp_flags })
    } else {
        flow_table::find(&Flows, digest).map(|found| found.kept(tick))
    };
    match tracked {
        Some(kept) => number(kept),
        None => opening_number(digest),
    }
}

/// [`flow_table::find`] in `OPENING`, as a number.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn lbxdp_opening(digest: u64) -> u64 {
    opening_number(digest)
}

#[inline(always)]
fn opening_number(digest: u64) -> u64 {
    // Of a tick no more comes back than stands here, whatever tick it is now.
    let found = flow_table::find(&Opening, digest);
    found.map_or(0, |found| FIRST | number(found.kept(0)))
}

#[inline(always)]
fn number(kept: Kept) -> u64 {
    FOUND | u64::from(FlowSet::time_of(kept.seen.tick)) << 32 | FlowEntry::new(0, kept).number()
}

#[inline(always)]
fn found(number: u64, now: u32) -> Option<Kept> {
    let found = Found {
        at: Spot { set: 0, way: 0 },
        entry: FlowEntry::of_number(number),
        time: (number >> 32) as u16,
    };
    (number & FOUND != 0).then(|| found.kept(now))
}

/// `Tables::track`.
#[inline(always)]
pub(super) fn track(flow: &Flow, digest: u64, kept: Kept) -> Recording {
    flow_table::record(&Flows, digest, flow, kept)
}

/// `Tables::set_opening`.
#[inline(always)]
pub(super) fn set_opening(flow: &Flow, digest: u64, kept: Kept) -> Recording {
    flow_table::record(&Opening, digest, flow, kept)
}

/// `Tables::forget_opening`.
#[inline(always)]
pub(super) fn forget_opening(digest: u64) {
    flow_table::forget(&Opening, digest);
}
