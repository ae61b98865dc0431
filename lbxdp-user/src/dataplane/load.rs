use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use aya::maps::{MapData, MapInfo};
use aya::{Ebpf, EbpfLoader};
use tracing::warn;

use super::grow::Layout;
use super::object::{OBJECT_MISSING, embedded_object};
use super::programs::{self, PROGRAMS};
use super::spec::{MAPS, MapSpec};
use super::{bpffs, diagnose, versions};

/// How to load.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Folder, in a BPF file system, in which maps and links are pinned.
    pub pin_path: PathBuf,
    /// One log event a packet, at TRACE; costs throughput.
    pub trace_packets: bool,
    /// Entries of maps, by name, where not those of [`MAPS`].
    pub max_entries: BTreeMap<&'static str, u32>,
    /// Another object than the embedded one.
    pub object: Option<Vec<u8>>,
}

impl LoadOptions {
    /// The embedded object, with maps as it declares them.
    #[must_use]
    pub fn at(pin_path: impl Into<PathBuf>) -> Self {
        Self {
            pin_path: pin_path.into(),
            trace_packets: false,
            max_entries: BTreeMap::new(),
            object: None,
        }
    }

    fn entries(&self, spec: &MapSpec) -> u32 {
        self.max_entries
            .get(spec.name)
            .copied()
            .unwrap_or(spec.max_entries)
    }
}

/// Makes or takes over the pinned maps, and loads the programs; attaches nothing.
///
/// # Errors
/// With what is wrong, and what to do about it.
pub(super) fn load(options: &LoadOptions) -> Result<(Ebpf, Layout)> {
    let object = match &options.object {
        Some(object) => object.as_slice(),
        None => embedded_object().context(OBJECT_MISSING)?,
    };
    if let Some(note) = diagnose::kernel_note() {
        warn!("{note}; trying all the same");
    }
    bpffs::prepare(&options.pin_path)?;
    versions::carry_over(&options.pin_path)?;
    let layout = Layout::new(&options.pin_path, |spec| options.entries(spec), pinned)?;
    layout.prepare()?;
    let mut loader = EbpfLoader::new();
    // `aya_log_ebpf` compares each event with this level; 0 is none of them.
    let level = if options.trace_packets {
        aya_log::Level::Trace as u8
    } else {
        0
    };
    loader.override_global(aya_log::LEVEL, &level, false);
    let all = || MAPS.iter().chain([&PROGRAMS]);
    let sets = |name| MapSpec::named(name).map_or(0, |spec| layout.entries(spec));
    let (flow_sets, opening_sets) = (sets("FLOWS"), sets("OPENING"));
    loader.override_global("LBXDP_FLOW_SETS", &flow_sets, true);
    loader.override_global("LBXDP_OPENING_SETS", &opening_sets, true);
    for spec in all() {
        loader.map_pin_path(spec.name, layout.pin(spec));
        loader.map_max_entries(spec.name, layout.entries(spec));
    }
    let mut ebpf = loader
        .load(object)
        .map_err(|error| diagnose::loading(&error))?;
    for spec in all() {
        if ebpf.map(spec.name).is_none() {
            bail!(
                "the eBPF object has no map {}: it is of another version",
                spec.name
            );
        }
    }
    programs::load(&mut ebpf)?;
    layout.copy()?;
    Ok((ebpf, layout))
}

/// What is pinned at a path. Refuses what is not the map that the object needs: aya would take it
/// as it is.
fn pinned(path: &Path, spec: &MapSpec) -> Result<Option<MapInfo>> {
    // EPERM and the like are diagnosed by loading itself.
    if !matches!(path.try_exists(), Ok(true)) {
        return Ok(None);
    }
    let info = MapData::from_pin(path)
        .and_then(|map| map.info())
        .map_err(|error| {
            anyhow::anyhow!(
                "cannot open the pinned map {}: {}",
                path.display(),
                diagnose::chain(&error)
            )
        })?;
    let sizes = (info.key_size(), info.value_size());
    if info.map_type().ok() != Some(spec.kind) || sizes != (spec.key_size, spec.value_size) {
        bail!(
            "the pinned map {} has another shape than this version's {} ({} and {} bytes a key and \
             value, not {} and {}); `lbxdp detach` removes it (traffic is then not balanced until \
             the agent runs again)",
            path.display(),
            spec.name,
            sizes.0,
            sizes.1,
            spec.key_size,
            spec.value_size
        );
    }
    Ok(Some(info))
}
