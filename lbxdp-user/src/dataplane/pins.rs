//! What stays in the BPF file system when the agent ends: links and maps.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use aya::programs::links::PinnedLink;
use tracing::warn;

use super::kernel::link_facts;
use super::programs::PROGRAMS;
use super::spec::{MAPS, links_folder};
use super::tc;
use super::{bpffs, grow};

/// What `detach` has removed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Detached {
    /// Interfaces from which the program was taken.
    pub interfaces: Vec<String>,
    /// Pinned maps.
    pub maps: Vec<String>,
}

/// Takes the program from all interfaces, and removes all that is pinned under `pin_path`. Needs
/// no agent.
///
/// # Errors
/// When something cannot be removed; what was there before it is then gone already.
pub fn detach_all(pin_path: &Path) -> Result<Detached> {
    let mut detached = Detached::default();
    if !pin_path.exists() {
        return Ok(detached);
    }
    if !bpffs::is_bpffs(pin_path)? {
        bail!(
            "{} is not in a BPF file system; nothing was removed",
            pin_path.display()
        );
    }
    for interface in tc::remove_all(pin_path)? {
        if !detached.interfaces.contains(&interface) {
            detached.interfaces.push(interface);
        }
    }
    for (_, version) in version_folders(pin_path)? {
        let links = version.join("links");
        for name in pinned_links(&links)? {
            unpin(&links.join(&name))?;
            if !detached.interfaces.contains(&name) {
                detached.interfaces.push(name);
            }
        }
        remove_folder(&links)?;
        for spec in MAPS.iter().chain([&PROGRAMS]) {
            match fs::remove_file(version.join(spec.name)) {
                Ok(()) => detached.maps.push(spec.name.to_owned()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot remove map {}", spec.name));
                }
            }
        }
        grow::discard(&version)?;
        remove_folder(&version)?;
    }
    remove_folder(pin_path)?;
    Ok(detached)
}

/// Interfaces on which the program is, by what is pinned: name, number and program. The number is
/// 0 when the interface is gone.
///
/// # Errors
/// When the pins cannot be read.
pub fn attached(pin_path: &Path) -> Result<Vec<(String, u32, u32)>> {
    let links = links_folder(pin_path);
    let mut found = Vec::new();
    for name in pinned_links(&links)? {
        let facts = link_facts(&links.join(&name))
            .with_context(|| format!("cannot read the pinned link of {name}"))?;
        found.push((name, facts.ifindex, facts.program_id));
    }
    Ok(found)
}

/// Removes the pin of a link and closes it, which detaches before this returns: removing alone
/// leaves it to a work queue.
pub(super) fn unpin(pin: &Path) -> Result<()> {
    let context = || format!("cannot remove the link {}", pin.display());
    match PinnedLink::from_pin(pin) {
        Ok(link) => link.unpin().map(drop).with_context(context),
        Err(_) => fs::remove_file(pin).with_context(context),
    }
}

/// Names of interfaces that have a pinned link.
pub(super) fn pinned_links(links: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in entries_of(links)? {
        if let Some(name) = entry.file_name().and_then(|name| name.to_str()) {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// `v1`, `v2`, … with their numbers: each version of the ABI has its own.
pub(super) fn version_folders(pin_path: &Path) -> Result<Vec<(u32, PathBuf)>> {
    let version = |folder: PathBuf| {
        let name = folder.file_name()?.to_str()?;
        let number = name.strip_prefix('v')?.parse().ok()?;
        Some((number, folder))
    };
    Ok(entries_of(pin_path)?
        .into_iter()
        .filter_map(version)
        .collect())
}

pub(super) fn entries_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("cannot read {}", folder.display());
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(context),
    };
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()
        .with_context(context)?;
    paths.sort_unstable();
    Ok(paths)
}

/// Removes a folder, unless somebody else has put something there.
fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir(folder) {
        Ok(()) => Ok(()),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            io::ErrorKind::DirectoryNotEmpty => {
                warn!(folder = %folder.display(), "left: it holds something that is not ours");
                Ok(())
            }
            _ => Err(error).with_context(|| format!("cannot remove {}", folder.display())),
        },
    }
}
