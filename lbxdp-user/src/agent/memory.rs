//! Memory that is needed for a moment: while everything is looked at, there are several copies of it,
//! and who has changed is published from new rows.

use std::time::{Duration, Instant};

/// How long after something large memory is given back.
const REST: Duration = Duration::from_secs(5);

/// When memory that is free is to be given back to the kernel. The allocator keeps what lies between
/// what is in use: with 10,000 origins a quarter of all that the agent has.
#[derive(Default, Debug)]
pub(super) struct Memory {
    due: Option<Instant>,
}

impl Memory {
    /// Something large has just been done.
    pub(super) fn used(&mut self) {
        self.due.get_or_insert_with(|| Instant::now() + REST);
    }

    /// Gives back what is free, beside everything else, if that is due.
    pub(super) fn give_back(&mut self) {
        if self.due.take_if(|due| *due <= Instant::now()).is_some() {
            tokio::task::spawn_blocking(trim);
        }
    }
}

/// Has the allocator keep large pieces apart, which the kernel gets back as soon as they are free, and
/// one place for small ones whichever thread asks: what threads leave behind in places of their own
/// was a tenth of all with 10,000 origins. Before there are threads.
#[cfg(target_env = "gnu")]
pub(super) fn set_up() {
    /// Less than the owners of rows of a pool of some tens of origins.
    const LARGE: libc::c_int = 32 << 10;
    for (option, value) in [(libc::M_MMAP_THRESHOLD, LARGE), (libc::M_ARENA_MAX, 1)] {
        // SAFETY: the call takes two numbers; no other thread allocates yet.
        unsafe { libc::mallopt(option, value) };
    }
}

/// Gives back what is free.
#[cfg(target_env = "gnu")]
pub(super) fn trim() {
    // SAFETY: the call takes a number, and locks what it touches.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators than the GNU C library's do it by themselves.
#[cfg(not(target_env = "gnu"))]
pub(super) fn set_up() {}

#[cfg(not(target_env = "gnu"))]
pub(super) fn trim() {}
