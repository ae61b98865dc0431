//! What the kernel means when it refuses: which gate is closed, and what to do.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use anyhow::anyhow;
use aya::programs::ProgramError;

/// Oldest kernel that the program is made for.
const OLDEST_KERNEL: (u32, u32) = (6, 1);
/// Lines of the verifier's log that are shown from its start and from its end.
const LOG_HEAD: usize = 3;
const LOG_TAIL: usize = 12;

/// An error of loading maps or program, with what is known about its cause.
pub(super) fn loading(error: &(dyn Error + 'static)) -> anyhow::Error {
    let mut text = format!("cannot load the eBPF program: {}", chain(error));
    if let Some(log) = verifier_log(error) {
        text = format!(
            "the kernel's verifier refuses the eBPF program{}",
            excerpt(&log)
        );
    }
    match os_error(error) {
        Some(libc::EPERM | libc::EACCES) if verifier_log(error).is_none() => {
            text.push_str(&closed_gates());
        }
        Some(libc::ENOMEM) => text.push_str("; not enough memory (or a memory limit of the unit)"),
        Some(_) | None => {}
    }
    if let Some(note) = kernel_note() {
        let _ = write!(text, "; {note}");
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        text.push_str("; this kernel has no BTF (CONFIG_DEBUG_INFO_BTF)");
    }
    anyhow!(text)
}

/// What is wrong with this kernel's version, if anything.
pub(super) fn kernel_note() -> Option<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let release = release.trim();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse().ok());
    let version: (u32, u32) = (numbers.next()?, numbers.next()?);
    let (major, minor) = OLDEST_KERNEL;
    (version < OLDEST_KERNEL)
        .then(|| format!("this is Linux {release}, and lbxdp needs {major}.{minor} or newer"))
}

/// The number of the operating system's error at the bottom of an error.
pub(super) fn os_error(error: &(dyn Error + 'static)) -> Option<i32> {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .find_map(io::Error::raw_os_error)
}

/// An error and its causes in one line.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in causes(error) {
        let part = cause.to_string();
        if parts.last().is_none_or(|last| !last.contains(&part)) {
            parts.push(part);
        }
    }
    parts.join(": ")
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn verifier_log(error: &(dyn Error + 'static)) -> Option<String> {
    causes(error).find_map(|cause| match cause.downcast_ref::<ProgramError>() {
        Some(ProgramError::LoadError { verifier_log, .. }) => {
            let log = verifier_log.to_string();
            (!log.trim().is_empty()).then_some(log)
        }
        Some(_) | None => None,
    })
}

fn excerpt(log: &str) -> String {
    tracing::debug!(log, "the verifier's whole log");
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let mut text = String::from(" (the whole log is shown at log level debug):");
    let (head, tail) = if lines.len() > LOG_HEAD + LOG_TAIL {
        (&lines[..LOG_HEAD], &lines[lines.len() - LOG_TAIL..])
    } else {
        (&lines[..], &[][..])
    };
    for line in head {
        let _ = write!(text, "\n  {line}");
    }
    if !tail.is_empty() {
        let _ = write!(text, "\n  … {} lines …", lines.len() - LOG_HEAD - LOG_TAIL);
    }
    for line in tail {
        let _ = write!(text, "\n  {line}");
    }
    text
}

/// Which of the kernel's gates keep this process out.
fn closed_gates() -> String {
    let mut closed = Vec::new();
    if let Some(capabilities) = effective_capabilities() {
        // Numbers of `include/uapi/linux/capability.h`; CAP_SYS_ADMIN stands in for CAP_BPF.
        let has = |number: u32| capabilities >> number & 1 == 1;
        let (net_admin, sys_admin, bpf) = (has(12), has(21), has(39));
        if !bpf && !sys_admin {
            closed.push("CAP_BPF is missing".to_owned());
        }
        if !net_admin {
            closed.push("CAP_NET_ADMIN is missing".to_owned());
        }
        let setting = fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled");
        if !bpf && !sys_admin && setting.is_ok_and(|setting| setting.trim() != "0") {
            closed.push("kernel.unprivileged_bpf_disabled is set".to_owned());
        }
    }
    if let Ok(lockdown) = fs::read_to_string("/sys/kernel/security/lockdown")
        && lockdown.contains("[confidentiality]")
    {
        closed.push("the kernel is locked down (confidentiality)".to_owned());
    }
    if closed.is_empty() {
        return "; permission is refused although the capabilities are there: a container's \
                seccomp filter, an LSM or a memory lock limit"
            .to_owned();
    }
    format!(
        "; {} (run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON)",
        closed.join(", ")
    )
}

fn effective_capabilities() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}
