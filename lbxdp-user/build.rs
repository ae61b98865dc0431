//! Embeds the eBPF object, when there is one, into the `lbxdp` binary.
//!
//! `cargo xtask build-ebpf` leaves it in the target directory as
//! `lbxdp.bpf.o`; `LBXDP_BPF_OBJECT` names another. Without one the crate still
//! builds, and `lbxdp run` says what is missing.

use std::path::{Path, PathBuf};
use std::{env, fs};

const NAME: &str = "lbxdp.bpf.o";

fn main() {
    println!("cargo::rustc-check-cfg=cfg(lbxdp_object)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LBXDP_BPF_OBJECT");
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");

    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let candidate = candidate(&out);
    // Watched even while it does not exist, so that building it is noticed.
    println!("cargo::rerun-if-changed={}", candidate.display());
    if candidate.is_file() {
        if let Err(error) = fs::copy(&candidate, out.join(NAME)) {
            panic!(
                "cannot copy the eBPF object {}: {error}",
                candidate.display()
            );
        }
        println!("cargo::rustc-cfg=lbxdp_object");
    }
}

fn candidate(out: &Path) -> PathBuf {
    if let Some(path) = env::var_os("LBXDP_BPF_OBJECT") {
        return absolute(PathBuf::from(path));
    }
    if let Some(target) = env::var_os("CARGO_TARGET_DIR") {
        return absolute(PathBuf::from(target)).join(NAME);
    }
    // <target>[/<triple>]/<profile>/build/<package>-<hash>/out; cargo marks the top of it.
    let target = out
        .ancestors()
        .skip(4)
        .filter(|folder| folder.join("CACHEDIR.TAG").is_file())
        .last()
        .or_else(|| out.ancestors().nth(4))
        .unwrap_or(out);
    target.join(NAME)
}

/// Cargo runs build scripts in the package's folder; people name paths from the workspace's.
fn absolute(path: PathBuf) -> PathBuf {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    match package.parent() {
        Some(workspace) => workspace.join(path),
        None => path,
    }
}
