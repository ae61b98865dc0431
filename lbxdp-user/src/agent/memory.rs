//! Memory that is needed for a moment: while everything is looked at, there are several copies of it.

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

#[cfg(target_env = "gnu")]
fn trim() {
    // SAFETY: the call takes a number, and locks what it touches.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators than the GNU C library's do it by themselves.
#[cfg(not(target_env = "gnu"))]
fn trim() {}
