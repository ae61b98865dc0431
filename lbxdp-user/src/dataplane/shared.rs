//! The sets of a table of flows in the memory of this process, where they can be changed in the
//! program's own steps.

use std::convert::identity;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

use lbxdp_ebpf::abi::{FlowEntry, FlowSet, Overflow};
use lbxdp_ebpf::flow_table::Spot;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// The sets of a table of flows (an array map with `BPF_F_MMAPABLE`).
pub(super) struct Shared {
    sets: NonNull<SharedSet>,
    count: u32,
}

/// A [`FlowSet`] that others write to.
#[repr(C, align(64))]
struct SharedSet {
    entries: [AtomicU64; FlowSet::WAYS],
    times: [AtomicU16; FlowSet::WAYS],
    overflow: AtomicU32,
}

const _: () = assert!(
    size_of::<SharedSet>() == size_of::<FlowSet>(),
    "a set in our memory is not one in the map"
);

impl Shared {
    /// Of a map with so many sets.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub(super) fn new(map: BorrowedFd<'_>, count: u32) -> io::Result<Self> {
        let length = length(count).ok_or(io::ErrorKind::InvalidInput)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, at an address that the kernel chooses; the kernel refuses a length
        // that is not the map's.
        let address = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, map, 0) }?;
        Ok(Self {
            sets: address.cast(),
            count,
        })
    }

    /// How many sets there are.
    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    fn set(&self, index: u32) -> Option<&SharedSet> {
        if index >= self.count {
            return None;
        }
        // SAFETY: the mapping has `count` sets and lives as long as `self`; it begins with a page, so
        // that they are aligned; all of their fields may be written to by others at any time; any bytes
        // are a value.
        Some(unsafe { self.sets.add(index as usize).as_ref() })
    }

    /// A set, as it is now: each entry by itself.
    pub(super) fn read(&self, index: u32) -> Option<FlowSet> {
        let set = self.set(index)?;
        // First the entries: an entry is written after its time.
        let entries = set
            .entries
            .each_ref()
            .map(|entry| FlowEntry::of_number(entry.load(Ordering::Acquire)));
        let times = set.times.each_ref();
        Some(FlowSet {
            entries,
            times: times.map(|time| time.load(Ordering::Relaxed)),
            overflow: Overflow::of_number(set.overflow.load(Ordering::Relaxed)),
        })
    }

    /// Puts an entry in the place of `old`; false if that is not what is there.
    pub(super) fn exchange(&self, at: Spot, old: FlowEntry, new: FlowEntry) -> bool {
        let set = self.set(at.set);
        let entry = set.and_then(|set| set.entries.get(at.way as usize));
        entry.is_some_and(|entry| {
            let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
            entry
                .compare_exchange(old.number(), new.number(), success, failure)
                .is_ok()
        })
    }

    /// Changes what is known of flows in their second sets, in one step; says what was known before.
    pub(super) fn change_overflow(
        &self,
        index: u32,
        change: impl Fn(Overflow) -> Overflow,
    ) -> Option<Overflow> {
        let overflow = &self.set(index)?.overflow;
        let change = |old| {
            let new = change(Overflow::of_number(old)).number();
            // Most stay as they are: their cache lines are left to the program.
            (new != old).then_some(new)
        };
        let before = overflow.fetch_update(Ordering::AcqRel, Ordering::Acquire, change);
        Some(Overflow::of_number(before.unwrap_or_else(identity)))
    }

    /// Writes the time of an entry.
    pub(super) fn touch(&self, at: Spot, time: u16) {
        let set = self.set(at.set);
        if let Some(last) = set.and_then(|set| set.times.get(at.way as usize)) {
            last.store(time, Ordering::Relaxed);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let Some(length) = length(self.count) else {
            return;
        };
        // SAFETY: the mapping is this one's, and nothing refers to it any more. It is there, so that
        // the kernel has nothing to refuse.
        let _ = unsafe { munmap(self.sets.cast(), length.get()) };
    }
}

fn length(count: u32) -> Option<NonZeroUsize> {
    NonZeroUsize::new(count as usize * size_of::<FlowSet>())
}
