//! Where things are: the checkout and the places under its `target/`.

use std::env;
use std::path::{Path, PathBuf};

/// The checkout.
///
/// `target/` here is always the one of the checkout, whatever
/// `CARGO_TARGET_DIR` says: the object has a fixed place, where the build of
/// `lbxdp` looks for it.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Finds the checkout that this program was built from.
    pub(crate) fn find() -> Self {
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package
            .parent()
            .expect("the package xtask lies in the workspace's directory");
        Self {
            root: root.to_path_buf(),
        }
    }

    /// The directory of the workspace's `Cargo.toml`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The object for the kernel, as `lbxdp` embeds it.
    pub(crate) fn object(&self) -> PathBuf {
        self.root.join("target/lbxdp.bpf.o")
    }

    /// The object that the benchmark runs it with.
    pub(crate) fn bench_object(&self) -> PathBuf {
        self.root.join("target/lbxdp-bench.bpf.o")
    }

    /// The target directory of the eBPF build, apart from the host's.
    pub(crate) fn ebpf_target(&self) -> PathBuf {
        self.root.join("target/bpf")
    }

    /// Where set-up puts tools and remembers what it found.
    pub(crate) fn tools(&self) -> PathBuf {
        self.root.join("target/tools")
    }

    /// Where kernels and what boots them are unpacked.
    pub(crate) fn machines(&self) -> PathBuf {
        self.root.join("target/vm")
    }

    /// `path` as seen from the checkout, to print.
    pub(crate) fn shown<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}
