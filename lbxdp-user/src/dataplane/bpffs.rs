use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use tracing::info;

use super::spec::links_folder;

/// Where a BPF file system belongs.
const BPFFS: &str = "/sys/fs/bpf";

/// Makes the folders that maps and links are pinned in, and mounts the BPF file system if it is
/// missing at its usual place.
///
/// # Errors
/// When `pin_path` is not in a BPF file system and cannot be made so; the error has the command.
pub(super) fn prepare(pin_path: &Path) -> Result<()> {
    if !pin_path.is_absolute() {
        bail!(
            "pin_path {} is not absolute; write it from the root",
            pin_path.display()
        );
    }
    let existing = pin_path
        .ancestors()
        .find(|folder| folder.exists())
        .unwrap_or(Path::new("/"));
    if !is_bpffs(existing)? {
        if !pin_path.starts_with(BPFFS) {
            bail!(
                "pin_path {} is not in a BPF file system; use a folder under {BPFFS}, or mount \
                 one there: mount -t bpf bpf {}",
                pin_path.display(),
                pin_path.parent().unwrap_or(pin_path).display()
            );
        }
        mount(
            Some("bpf"),
            BPFFS,
            Some("bpf"),
            MsFlags::empty(),
            Some("mode=0700"),
        )
        .with_context(|| {
            format!("no BPF file system at {BPFFS}; mount it: mount -t bpf bpf {BPFFS}")
        })?;
        info!(path = BPFFS, "mounted the BPF file system");
    }
    let links = links_folder(pin_path);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&links)
        .with_context(|| format!("cannot create {}", links.display()))
}

/// Whether the folder is in a BPF file system.
pub(super) fn is_bpffs(folder: &Path) -> Result<bool> {
    let facts = statfs(folder)
        .map_err(io::Error::from)
        .with_context(|| format!("cannot look at {}", folder.display()))?;
    Ok(facts.filesystem_type() == BPF_FS_MAGIC)
}
