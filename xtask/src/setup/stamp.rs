//! What set-up found last time, so that it need not look again.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::setup::toolchain::Toolchain;
use crate::workspace::Workspace;

/// A toolchain, and what its two programs looked like when they fitted.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stamp {
    toolchain: Toolchain,
    compiler: Look,
    linker: Look,
}

impl Stamp {
    /// The toolchain of last time, if nothing about it has changed.
    pub(crate) fn read(workspace: &Workspace) -> Option<Toolchain> {
        let text = fs::read_to_string(path(workspace)).ok()?;
        // A stamp that does not parse comes from another version: look again.
        let stamp: Self = serde_json::from_str(&text).ok()?;
        let Self {
            toolchain,
            compiler,
            linker,
        } = stamp;
        let same = Look::at(&toolchain.compiler.rustc).as_ref() == Some(&compiler)
            && Look::at(&toolchain.linker.path).as_ref() == Some(&linker)
            && toolchain.compiler.has_sources();
        same.then_some(toolchain)
    }

    /// Remembers a toolchain.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(workspace: &Workspace, toolchain: &Toolchain) -> Result<()> {
        let look = |path: &Path| {
            Look::at(path).with_context(|| format!("{} has gone away", path.display()))
        };
        let stamp = Self {
            compiler: look(&toolchain.compiler.rustc)?,
            linker: look(&toolchain.linker.path)?,
            toolchain: toolchain.clone(),
        };
        let text = serde_json::to_string_pretty(&stamp).context("cannot write a stamp as JSON")?;
        let path = path(workspace);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Forgets the toolchain of last time.
    ///
    /// # Errors
    /// When the file is there and cannot be removed.
    pub(crate) fn forget(workspace: &Workspace) -> Result<()> {
        let path = path(workspace);
        if path.exists() {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(())
    }
}

/// Enough of a file to see that it was replaced.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Look {
    size: u64,
    modified_s: i64,
    modified_ns: i64,
}

impl Look {
    fn at(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            size: metadata.size(),
            modified_s: metadata.mtime(),
            modified_ns: metadata.mtime_nsec(),
        })
    }
}

fn path(workspace: &Workspace) -> PathBuf {
    workspace.tools().join("toolchain.json")
}
