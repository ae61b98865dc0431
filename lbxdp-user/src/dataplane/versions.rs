//! What an agent of another map ABI has left running, and how it is taken over.
//!
//! Each version has a folder of its own for its maps and links. The maps of another version are not
//! written to: its program goes on with them until the new program, with new maps that hold what
//! they should, takes its place by one link update. Maps that mean the same in both versions are
//! carried over first, by a second pin: both programs use them then, so that names keep their slots,
//! origins their health, and translated flows their ports.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use aya::maps::MapData;
use lbxdp_ebpf::abi::ABI_VERSION;
use tracing::{info, warn};

use super::pins::{entries_of, pinned_links, unpin, version_folders};
use super::spec::{MapSpec, links_folder, versioned};

/// Maps that mean the same in this version and in an older one: (older version, names).
const SAME_SINCE: &[(u32, &[&str])] = &[(
    2,
    &[
        "ENTITIES",
        "SESSIONS",
        "MAPPINGS",
        "LISTENER_COUNTERS",
        "ORIGIN_COUNTERS",
        "TUNNEL_COUNTERS",
    ],
)];

/// Folders of other versions, the newest last.
fn others(pin_path: &Path) -> Result<Vec<(u32, PathBuf)>> {
    let mut others: Vec<(u32, PathBuf)> = version_folders(pin_path)?
        .into_iter()
        .filter(|(version, _)| *version != ABI_VERSION)
        .collect();
    others.sort_unstable();
    Ok(others)
}

/// Whether a program of another version runs on some interface.
///
/// # Errors
/// When the pins cannot be read.
pub(super) fn is_running(pin_path: &Path) -> Result<bool> {
    for (_, folder) in others(pin_path)? {
        if !pinned_links(&folder.join("links"))?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Pins what another version has of maps that mean the same in this one, where this one has none yet.
///
/// # Errors
/// When the pins cannot be read.
pub(super) fn carry_over(pin_path: &Path) -> Result<()> {
    for (version, folder) in others(pin_path)?.into_iter().rev() {
        let same = SAME_SINCE.iter().find(|(since, _)| *since == version);
        let Some((_, names)) = same else { continue };
        let carried: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| carry(name, &folder, pin_path))
            .collect();
        if !carried.is_empty() {
            info!(
                from = version,
                to = ABI_VERSION,
                maps = carried.join(","),
                "maps of another version are carried over"
            );
        }
    }
    Ok(())
}

/// Pins a map of another version a second time. One that cannot be carried over is made anew: the
/// data path of the other version keeps its own.
fn carry(name: &str, from: &Path, pin_path: &Path) -> bool {
    let (from, to) = (from.join(name), versioned(pin_path).join(name));
    if !from.exists() || to.exists() {
        return false;
    }
    let result = || -> Result<()> {
        let spec = MapSpec::named(name).context("this version has no such map")?;
        let map = MapData::from_pin(&from)?;
        let info = map.info()?;
        let shape = (info.map_type()?, info.key_size(), info.value_size());
        let wanted = (spec.kind, spec.key_size, spec.value_size);
        anyhow::ensure!(shape == wanted, "it is of another shape");
        anyhow::ensure!(
            info.max_entries() == spec.max_entries,
            "it has room for {} entries, and {} are wanted",
            info.max_entries(),
            spec.max_entries
        );
        map.pin(&to)?;
        Ok(())
    };
    match result() {
        Ok(()) => true,
        Err(error) => {
            warn!(map = name, from = %from.display(), "not carried over: {error:#}");
            false
        }
    }
}

/// Makes the link that another version has on an interface this version's, so that its program is
/// replaced as that of an earlier agent is.
///
/// # Errors
/// When it cannot be moved.
pub(super) fn take_link(pin_path: &Path, interface: &str) -> Result<()> {
    let own = links_folder(pin_path).join(interface);
    if own.exists() {
        return Ok(());
    }
    for (version, folder) in others(pin_path)?.into_iter().rev() {
        let link = folder.join("links").join(interface);
        if link.exists() {
            info!(
                interface,
                from = version,
                to = ABI_VERSION,
                "taking over the link of another version"
            );
            return fs::rename(&link, &own)
                .with_context(|| format!("cannot move {} to {}", link.display(), own.display()));
        }
    }
    Ok(())
}

/// Takes the programs of other versions from interfaces that are not configured any more, and removes
/// their maps, if no interface is left to them.
///
/// # Errors
/// When something cannot be removed.
pub(super) fn retire(pin_path: &Path, interfaces: &[String]) -> Result<Vec<String>> {
    let mut detached = Vec::new();
    for (version, folder) in others(pin_path)? {
        let links = folder.join("links");
        let mut left = 0;
        for name in pinned_links(&links)? {
            if interfaces.contains(&name) {
                left += 1;
            } else {
                unpin(&links.join(&name))?;
                detached.push(name);
            }
        }
        if left == 0 {
            remove(&folder)?;
            info!(version, "removed the maps of another version");
        }
    }
    Ok(detached)
}

fn remove(folder: &Path) -> Result<()> {
    for entry in entries_of(folder)? {
        let result = if entry.is_dir() {
            fs::remove_dir(&entry)
        } else {
            fs::remove_file(&entry)
        };
        result.with_context(|| format!("cannot remove {}", entry.display()))?;
    }
    fs::remove_dir(folder).with_context(|| format!("cannot remove {}", folder.display()))
}
