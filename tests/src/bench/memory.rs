//! Memory of a process, as the kernel counts it.

use std::fs;

use anyhow::{Context as _, Result};

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Memory {
    /// What is resident now.
    Resident,
    /// The most that was since the start, or since [`forget_peak`].
    Peak,
}

impl Memory {
    const fn field(self) -> &'static str {
        match self {
            Self::Resident => "VmRSS:",
            Self::Peak => "VmHWM:",
        }
    }
}

/// Memory of a process, in KiB.
///
/// # Errors
/// When there is no such process.
pub(super) fn of(pid: u32, what: Memory) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    text.lines()
        .find_map(|line| line.strip_prefix(what.field()))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse().ok())
        .with_context(|| format!("{path} has no {}", what.field()))
}

/// Lets the peak begin anew.
///
/// # Errors
/// When there is no such process.
pub(super) fn forget_peak(pid: u32) -> Result<()> {
    let path = format!("/proc/{pid}/clear_refs");
    fs::write(&path, "5").with_context(|| format!("cannot write {path}"))
}

/// Kibibytes, for people.
#[must_use]
pub(super) fn mebibytes(kib: u64) -> String {
    format!("{} MiB", kib.div_ceil(1 << 10))
}
