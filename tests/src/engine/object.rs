//! Where the eBPF object is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The build folder of the workspace, where the set-up also keeps its tools.
const TARGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target");

/// `LBXDP_BPF_OBJECT`, or what `cargo xtask build-ebpf` leaves.
#[must_use]
pub fn path() -> PathBuf {
    std::env::var_os("LBXDP_BPF_OBJECT")
        .map_or_else(|| Path::new(TARGET).join("lbxdp.bpf.o"), PathBuf::from)
}

/// Reads the object.
///
/// # Errors
/// When it is not there; says which command makes it.
pub fn bytes() -> Result<Vec<u8>> {
    read(&path(), "cargo xtask build-ebpf")
}

/// Reads the object of the benchmark.
///
/// # Errors
/// When it is not there; says which command makes it.
pub fn bench_bytes() -> Result<Vec<u8>> {
    read(&bench_path(), "cargo xtask bench packet")
}

/// What `cargo xtask bench` leaves beside the object.
#[must_use]
pub fn bench_path() -> PathBuf {
    path().with_file_name("lbxdp-bench.bpf.o")
}

fn read(path: &Path, made_by: &str) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| {
        format!(
            "cannot read the eBPF object {}: `{made_by}` makes it",
            path.display()
        )
    })
}

/// Why there is no object and need not be one: it has never been built, and there is nothing to
/// build it with.
#[must_use]
pub fn excuse() -> Option<&'static str> {
    if path().exists() || has_linker() {
        return None;
    }
    Some(
        "there is no eBPF object, and no bpf-linker to make one: `cargo xtask build-ebpf` \
         installs and builds",
    )
}

fn has_linker() -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let tools = Path::new(TARGET).join("tools/bin");
    std::env::split_paths(&paths)
        .chain([tools])
        .any(|folder| folder.join("bpf-linker").exists())
}
