//! What a killed run left behind, found by name.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::namespace;

/// All names of all labs begin so; then come the process and the number of the lab.
const PREFIX: &str = "lbxt-";

/// Where BPF maps and links are pinned.
pub(super) const BPF_FOLDER: &str = "/sys/fs/bpf";

/// The name of a new lab of this process.
pub(super) fn new_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}{}-{number}", std::process::id())
}

/// Removes the labs whose process is gone.
pub fn remove_leftovers() {
    for name in names() {
        let owner = name[PREFIX.len()..].split('-').next().unwrap_or_default();
        if !owner.is_empty() && !lives(owner) {
            remove_named(&name);
        }
    }
}

/// Removes all that belongs to the lab of this name, from whatever thread: for a signal handler
/// that cannot wait for the owner to drop it.
pub fn remove_lab(lab: &str) {
    for name in names() {
        if name == lab
            || name
                .strip_prefix(lab)
                .is_some_and(|rest| rest.starts_with('-'))
        {
            remove_named(&name);
        }
    }
}

/// The folder for a lab's files.
pub(super) fn files_of(lab: &str) -> PathBuf {
    std::env::temp_dir().join(lab)
}

/// The folder for a lab's pins.
pub(super) fn pins_of(lab: &str) -> PathBuf {
    Path::new(BPF_FOLDER).join(lab)
}

/// Whether a process lives; one that only waits for its parent to take note of its end does not.
fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    // The state follows the program's name, which is in parentheses and may hold anything.
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// Removes one namespace, or one folder of pins or files.
fn remove_named(name: &str) {
    if namespace::path_of(name).exists() {
        end_processes(name);
        namespace::remove(name);
    }
    drop(fs::remove_dir_all(pins_of(name)));
    drop(fs::remove_dir_all(files_of(name)));
}

fn names() -> Vec<String> {
    let folders = [
        PathBuf::from(namespace::FOLDER),
        PathBuf::from(BPF_FOLDER),
        std::env::temp_dir(),
    ];
    let entries = folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok());
    entries
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(PREFIX))
        .collect()
}

/// Ends the processes in a namespace: the agents of its lab.
fn end_processes(name: &str) {
    let Ok(wanted) = fs::metadata(namespace::path_of(name)) else {
        return;
    };
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let (Some(pid), Ok(found)) = (pid, fs::metadata(entry.path().join("ns/net"))) else {
            continue;
        };
        let same = (found.dev(), found.ino()) == (wanted.dev(), wanted.ino());
        if same && pid != std::process::id().cast_signed() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
