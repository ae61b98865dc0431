//! The two XDP programs: one that is attached and decides the plainest packets itself, and the one
//! that it calls for all others, by the one entry of a pinned map.
//!
//! Both read the same maps and decide alike, so that for a moment either may be the last agent's.

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::{MapType, ProgramArray};
use aya::programs::Xdp;
use tracing::debug;

use super::diagnose;
use super::spec::MapSpec;

/// The program that calls the other.
const QUICK: &str = "lbxdp";
/// The program that decides every packet.
const WHOLE: &str = "lbxdp_whole";

/// The map by which it is called. No map of the ABI: it has nothing to tell.
///
/// The kernel empties it when nobody holds it from outside any more; its pin does.
pub(super) const PROGRAMS: MapSpec = MapSpec {
    name: "PROGRAMS",
    kind: MapType::ProgramArray,
    key_size: 4,
    value_size: 4,
    max_entries: 1,
    about: "the program for packets that are not plain",
};

/// The program that is attached. One that logs each packet must see each packet.
pub(super) const fn attached(trace_packets: bool) -> &'static str {
    if trace_packets { WHOLE } else { QUICK }
}

/// Loads both, and lets the first call the second: whichever is attached, it is complete.
pub(super) fn load(ebpf: &mut Ebpf) -> Result<()> {
    for name in [WHOLE, QUICK] {
        let program = program(ebpf, name)?;
        program.load().map_err(|error| diagnose::loading(&error))?;
        if let Ok(info) = program.info() {
            debug!(
                name,
                id = info.id(),
                instructions_verified = info.verified_instruction_count(),
                "loaded the program"
            );
        }
    }
    let whole = program(ebpf, WHOLE)?
        .fd()
        .and_then(|whole| Ok(whole.try_clone()?))
        .with_context(|| format!("program {WHOLE} has no descriptor"))?;
    let map = ebpf
        .map_mut(PROGRAMS.name)
        .with_context(|| format!("the eBPF object has no map {}", PROGRAMS.name))?;
    ProgramArray::try_from(map)
        .and_then(|mut programs| programs.set(0, &whole, 0))
        .with_context(|| format!("cannot enter program {WHOLE} in map {}", PROGRAMS.name))
}

/// A program of a loaded object.
pub(super) fn program<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Xdp> {
    ebpf.program_mut(name)
        .with_context(|| format!("the eBPF object has no program {name}"))?
        .try_into()
        .with_context(|| format!("program {name} of the eBPF object is not an XDP program"))
}
