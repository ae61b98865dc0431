//! bpf-linker: found, tried, or built from source.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::nested;
use crate::progress;
use crate::setup::packages::Packages;
use crate::setup::toolchain::Compiler;
use crate::workspace::Workspace;

/// The release that is built from source.
const VERSION: &str = "0.13.0";
/// The LLVMs that this release can be built with.
const LLVM: std::ops::RangeInclusive<u32> = 21..=23;

/// What a linker is tried with: a program as small as it gets.
const TRIAL: &str = r#"#![no_std]
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
pub extern "C" fn trial(word: &u32) -> u32 {
    word.rotate_left(3)
}
"#;

/// A bpf-linker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Linker {
    pub(crate) path: PathBuf,
    /// What `bpf-linker --version` prints.
    pub(crate) version: String,
}

impl Linker {
    /// The linkers of this machine: the project's own first, then those of
    /// `PATH` and of cargo.
    pub(crate) fn search(workspace: &Workspace) -> Vec<Self> {
        let cargo_home = std::env::var_os("CARGO_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(std::env::home_dir()?.join(".cargo")));
        let mut paths = vec![built(workspace)];
        paths.extend(nested::find_in_path("bpf-linker"));
        paths.extend(cargo_home.map(|home| home.join("bin/bpf-linker")));
        paths.dedup();
        paths.iter().filter_map(|path| Self::ask(path)).collect()
    }

    /// Builds one with Debian's LLVM of the given major version.
    ///
    /// # Errors
    /// When the build fails.
    pub(crate) fn build(workspace: &Workspace, llvm: u32) -> Result<Self> {
        let scratch = workspace.tools().join("build");
        let mut install = nested::clean_cargo();
        install
            .args(["install", "bpf-linker", "--locked", "--force"])
            .args(["--version", VERSION])
            .args(["--no-default-features", "--features"])
            .arg(format!("llvm-{llvm}"))
            .arg("--root")
            .arg(workspace.tools())
            .env("LLVM_PREFIX", prefix(llvm))
            // Kept until it is done, so that an interrupted build goes on.
            .env("CARGO_TARGET_DIR", &scratch)
            .current_dir(workspace.tools());
        progress::run(
            &format!("Building bpf-linker {VERSION} with LLVM {llvm}"),
            &mut install,
        )?;
        fs::remove_dir_all(&scratch)
            .with_context(|| format!("cannot remove {}", scratch.display()))?;
        let path = built(workspace);
        Self::ask(&path).with_context(|| format!("{} does not run", path.display()))
    }

    /// Tries whether this linker reads what a compiler writes.
    ///
    /// bpf-linker does not tell its LLVM; one that is older than the compiler's
    /// fails here and not in the middle of the build.
    ///
    /// # Errors
    /// What the compiler or the linker said.
    pub(crate) fn try_with(&self, compiler: &Compiler, workspace: &Workspace) -> Result<()> {
        let directory = workspace.tools().join("trial");
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make the directory {}", directory.display()))?;
        let [source, bitcode, object] =
            ["trial.rs", "trial.bc", "trial.o"].map(|name| directory.join(name));
        fs::write(&source, TRIAL).with_context(|| format!("cannot write {}", source.display()))?;
        // The host's bitcode will do: it needs no `core` for the target.
        said_nothing(
            nested::command(&compiler.rustc)
                .args(["--edition=2024", "--crate-type=lib", "--emit=llvm-bc"])
                .args(["-Copt-level=2", "-Cdebuginfo=2", "-Cpanic=abort", "-o"])
                .args([&bitcode, &source]),
        )?;
        said_nothing(
            nested::command(&self.path)
                .args(["--target=bpfel-unknown-none", "--btf", "--export=trial"])
                .arg(&bitcode)
                .arg("-o")
                .arg(&object),
        )
    }

    /// The linker, to print.
    pub(crate) fn shown(&self, workspace: &Workspace) -> String {
        let Self { path, version } = self;
        format!("{version}, {}", workspace.shown(path))
    }

    fn ask(path: &Path) -> Option<Self> {
        let answer = nested::command(path).arg("--version").output().ok()?;
        let version = String::from_utf8(answer.stdout).ok()?;
        let version = version.trim();
        (answer.status.success() && version.starts_with("bpf-linker")).then(|| Self {
            path: path.to_path_buf(),
            version: version.to_owned(),
        })
    }
}

/// The oldest LLVM of this machine, or of its package archive, that reads what
/// a compiler writes and that bpf-linker can be built with.
///
/// # Errors
/// When the package lists cannot be brought up to date.
pub(crate) fn llvm_for(compiler: &Compiler, packages: &mut Packages) -> Result<Option<u32>> {
    let fitting: Vec<u32> = fitting(compiler.llvm.major).collect();
    if let Some(&there) = fitting
        .iter()
        .find(|&&llvm| Path::new(&prefix(llvm)).join("bin/llvm-config").exists())
    {
        return Ok(Some(there));
    }
    for llvm in fitting {
        if packages.offered(&format!("llvm-{llvm}-dev"))? {
            return Ok(Some(llvm));
        }
    }
    Ok(None)
}

/// LLVM reads what an older one wrote, not the reverse.
fn fitting(compiler: u32) -> impl Iterator<Item = u32> {
    LLVM.filter(move |&llvm| llvm >= compiler)
}

/// Where Debian puts an LLVM.
fn prefix(llvm: u32) -> String {
    format!("/usr/lib/llvm-{llvm}")
}

fn built(workspace: &Workspace) -> PathBuf {
    workspace.tools().join("bin/bpf-linker")
}

fn said_nothing(command: &mut Command) -> Result<()> {
    let answer = command
        .output()
        .with_context(|| format!("cannot start `{}`", progress::shown(command)))?;
    if answer.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&answer.stderr);
    bail!(
        "`{}` failed: {}",
        progress::shown(command),
        said.trim().lines().last().unwrap_or("it said nothing")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linker_is_never_older_than_the_compiler() {
        assert_eq!(fitting(22).collect::<Vec<_>>(), [22, 23]);
        assert_eq!(fitting(19).collect::<Vec<_>>(), [21, 22, 23]);
        assert_eq!(fitting(24).count(), 0);
    }
}
