//! Maps that have become too small, replaced by larger ones while traffic goes on.
//!
//! The program in force keeps its maps until it is replaced itself. So all maps that the agent
//! fills are made anew beside them, with what they hold, and a new program is loaded with those;
//! once it is attached, the new maps take the pins of the old ones, and so does the map by which it
//! calls a program of its own. Maps in which the program keeps
//! flows stay the same, for both programs. What is counted between copy and attachment is lost.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use aya::maps::{MapData, MapInfo, MapType};
use tracing::info;

use super::kernel;
use super::programs::PROGRAMS;
use super::spec::{MAPS, MapSpec, versioned};

/// Where each map is pinned, and how many entries it has.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    folder: PathBuf,
    entries: BTreeMap<&'static str, u32>,
    grows: bool,
}

impl Layout {
    /// By what is pinned and how many entries are wanted: a map that is there is never made
    /// smaller, and if one is too small, all that the agent fills are made anew.
    ///
    /// # Errors
    /// When something is pinned that is no such map.
    pub(super) fn new(
        pin_path: &Path,
        wanted: impl Fn(&MapSpec) -> u32,
        pinned: impl Fn(&Path, &MapSpec) -> Result<Option<MapInfo>>,
    ) -> Result<Self> {
        let folder = versioned(pin_path);
        let mut layout = Self {
            entries: BTreeMap::new(),
            grows: false,
            folder,
        };
        for spec in &MAPS {
            let wanted = wanted(spec);
            let there = pinned(&layout.folder.join(spec.name), spec)?;
            let there = there.map_or(wanted, |info| info.max_entries());
            layout.grows |= there < wanted && is_filled_by_agent(spec);
            // A map of flows stays as it is.
            let entries = match spec.name {
                // The tables before and those after are there for a moment.
                "ROWS" if there < wanted => wanted.saturating_add(there),
                _ if is_filled_by_agent(spec) => wanted.max(there),
                _ => there,
            };
            layout.entries.insert(spec.name, entries);
        }
        Ok(layout)
    }

    /// Whether maps are made anew.
    pub(super) const fn grows(&self) -> bool {
        self.grows
    }

    pub(super) fn entries(&self, spec: &MapSpec) -> u32 {
        let entries = self.entries.get(spec.name);
        entries.copied().unwrap_or(spec.max_entries)
    }

    /// Where a map is pinned while it is filled.
    pub(super) fn pin(&self, spec: &MapSpec) -> PathBuf {
        pin_of(&self.folder, spec, self.grows)
    }

    /// Makes room for maps that are made anew.
    pub(super) fn prepare(&self) -> Result<()> {
        discard(&self.folder)?;
        if self.grows {
            let next = next_folder(&self.folder);
            fs::create_dir(&next).with_context(|| format!("cannot make {}", next.display()))?;
        }
        Ok(())
    }

    /// Copies what the maps hold into those that are made anew.
    pub(super) fn copy(&self) -> Result<()> {
        if !self.grows {
            return Ok(());
        }
        for spec in MAPS.iter().filter(|spec| is_filled_by_agent(spec)) {
            let from = self.folder.join(spec.name);
            if !from.exists() {
                continue;
            }
            copy(&from, &self.pin(spec), spec)
                .with_context(|| format!("cannot copy map {}", spec.name))?;
        }
        info!("maps are too small for the configuration: larger ones take their place");
        Ok(())
    }
}

/// Gives the new maps the pins of the old ones.
pub(super) fn replace(pin_path: &Path) -> Result<()> {
    let folder = versioned(pin_path);
    // By the program that calls it now, the other is called no more.
    let moved = MAPS.iter().filter(|spec| is_filled_by_agent(spec));
    for spec in moved.chain([&PROGRAMS]) {
        let (from, to) = (pin_of(&folder, spec, true), pin_of(&folder, spec, false));
        fs::rename(&from, &to).with_context(|| format!("cannot move the pin of {}", spec.name))?;
    }
    discard(&folder)
}

/// Removes maps that were being made anew when an agent ended.
pub(super) fn discard(folder: &Path) -> Result<()> {
    let next = next_folder(folder);
    let absent = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    for spec in MAPS.iter().chain([&PROGRAMS]) {
        absent(fs::remove_file(next.join(spec.name)))
            .with_context(|| format!("cannot remove {} in {}", spec.name, next.display()))?;
    }
    absent(fs::remove_dir(&next)).with_context(|| format!("cannot remove {}", next.display()))
}

/// Where a map is pinned: beside the others while it is made anew.
pub(super) fn pin_of(folder: &Path, spec: &MapSpec, grows: bool) -> PathBuf {
    if grows && is_filled_by_agent(spec) {
        next_folder(folder).join(spec.name)
    } else {
        folder.join(spec.name)
    }
}

fn next_folder(folder: &Path) -> PathBuf {
    folder.join("next")
}

/// Maps in which the program keeps what the agent does not know, or that refer to nothing.
const KEPT: [&str; 10] = [
    "HEARTBEAT",
    "SESSIONS",
    "MAPPINGS",
    "FLOWS",
    "FLOW_KEYS",
    "OPENING",
    "FLOW_COUNTERS",
    "FRAGMENTS",
    "ALLOWANCE",
    "REASONS",
];

/// Whether a map is made anew when one is: maps that refer to slots of others must all be of one
/// program, and counters are as many as what they count.
fn is_filled_by_agent(spec: &MapSpec) -> bool {
    !KEPT.contains(&spec.name)
}

fn copy(from: &Path, to: &Path, spec: &MapSpec) -> Result<()> {
    let (from, to) = (MapData::from_pin(from)?, MapData::from_pin(to)?);
    let value_size = if spec.kind == MapType::PerCpuArray {
        let cpus = aya::util::nr_cpus().map_err(|(what, error)| {
            anyhow::anyhow!("cannot count the processors: {what}: {error}")
        })?;
        spec.value_size.next_multiple_of(8) as usize * cpus
    } else {
        spec.value_size as usize
    };
    kernel::copy(
        from.fd().as_fd(),
        to.fd().as_fd(),
        spec.key_size as usize,
        value_size,
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_there_and_the_rest_are_maps_of_slots() {
        for name in KEPT {
            assert!(MapSpec::named(name).is_some(), "{name}");
        }
        for spec in MAPS.iter().filter(|spec| spec.kind == MapType::LruHash) {
            assert!(!is_filled_by_agent(spec), "{} is of flows", spec.name);
        }
        for name in ["NODE", "ROWS", "TABLES", "ORIGINS", "ORIGIN_COUNTERS"] {
            assert!(
                MapSpec::named(name).is_some_and(is_filled_by_agent),
                "{name}"
            );
        }
    }
}
