//! Rust compilers that can build `core` for the kernel's machine.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::nested;
use crate::setup::linker::Linker;

/// What to do where nothing can be installed.
pub(crate) const ADVICE: &str = "\
With rustup, this makes a toolchain that works:
    rustup toolchain install nightly --component rust-src
    cargo install bpf-linker        (or a released one: https://github.com/aya-rs/bpf-linker/releases)
On Debian, run `cargo xtask setup` as root.";

/// Where a toolchain keeps the sources of `core`, below its root.
const CORE: &str = "lib/rustlib/src/rust/library/core/src/lib.rs";

/// A compiler and a linker that fit each other.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Toolchain {
    pub(crate) compiler: Compiler,
    pub(crate) linker: Linker,
}

/// A rustc with the sources of `core`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Compiler {
    /// The real rustc, not rustup's proxy.
    pub(crate) rustc: PathBuf,
    /// Its root, with the libraries and sources.
    pub(crate) sysroot: PathBuf,
    /// The cargo of the same toolchain; else the one that runs this program does.
    pub(crate) cargo: Option<PathBuf>,
    /// The first line of `rustc -vV`.
    pub(crate) version: String,
    /// The LLVM that it writes bitcode with.
    pub(crate) llvm: Llvm,
}

/// A version of LLVM, as in `22.1.8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Llvm {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) patch: u32,
}

/// What a search has found.
#[derive(Debug, Default)]
pub(crate) struct Search {
    /// Compilers that can be used, the best first.
    pub(crate) compilers: Vec<Compiler>,
    /// A sentence for each that looked promising and is not.
    pub(crate) passed_over: Vec<String>,
}

/// Looks at rustup's toolchains, nightlies first, and at the system's rustc.
///
/// Any compiler with sources can do it: `RUSTC_BOOTSTRAP` opens `-Z build-std`
/// on one that is not a nightly.
pub(crate) fn search() -> Search {
    let mut search = Search::default();
    for root in rustup_toolchains() {
        let name = root
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        if !root.join(CORE).is_file() {
            if name.starts_with("nightly") {
                search.passed_over.push(format!(
                    "rustup's {name} has no sources of `core` \
                     (`rustup component add rust-src --toolchain {name}` adds them)"
                ));
            }
            continue;
        }
        let cargo = root.join("bin/cargo");
        search.take(
            &root.join("bin/rustc"),
            &root,
            cargo.is_file().then_some(cargo),
        );
    }
    let system = Path::new("/usr/bin/rustc");
    if system.is_file() {
        let root = Path::new("/usr");
        if root.join(CORE).is_file() {
            search.take(system, root, None);
        } else {
            search.passed_over.push(format!(
                "{} has no sources of `core` in /usr/{CORE}",
                system.display()
            ));
        }
    }
    search
}

impl Search {
    fn take(&mut self, rustc: &Path, sysroot: &Path, cargo: Option<PathBuf>) {
        match Compiler::ask(rustc, sysroot, cargo) {
            Ok(compiler) => self.compilers.push(compiler),
            Err(error) => self
                .passed_over
                .push(format!("{}: {error:#}", rustc.display())),
        }
    }
}

impl Compiler {
    /// Whether this is the system's and not one of rustup's.
    pub(crate) fn is_system(&self) -> bool {
        self.sysroot == Path::new("/usr")
    }

    /// Whether the sources of `core` are (still) there.
    pub(crate) fn has_sources(&self) -> bool {
        self.sysroot.join(CORE).is_file()
    }

    fn ask(rustc: &Path, sysroot: &Path, cargo: Option<PathBuf>) -> Result<Self> {
        let answer = nested::command(rustc)
            .arg("-vV")
            .output()
            .context("cannot be started")?;
        let text = String::from_utf8_lossy(&answer.stdout);
        let Version {
            line,
            release,
            llvm,
        } = Version::parse(&text).context("prints no version that can be read")?;
        let needed = env!("CARGO_PKG_RUST_VERSION");
        if release < release_of(needed).expect("the manifest has a Rust version") {
            bail!("{line} is older than the {needed} that this project needs");
        }
        Ok(Self {
            rustc: rustc.to_path_buf(),
            sysroot: sysroot.to_path_buf(),
            cargo,
            version: line,
            llvm,
        })
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rustc,
            sysroot: _,
            cargo: _,
            version,
            llvm,
        } = self;
        write!(f, "{version}, LLVM {llvm}, {}", rustc.display())
    }
}

impl fmt::Display for Llvm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            major,
            minor,
            patch,
        } = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

impl Llvm {
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(|part| part.parse().ok());
        Some(Self {
            major: numbers.next()??,
            minor: numbers.next().flatten().unwrap_or(0),
            patch: numbers.next().flatten().unwrap_or(0),
        })
    }
}

/// What `rustc -vV` prints.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    line: String,
    release: (u32, u32),
    llvm: Llvm,
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        Some(Self {
            line: text.lines().next()?.to_owned(),
            release: release_of(field("release")?)?,
            llvm: Llvm::parse(field("LLVM version")?)?,
        })
    }
}

/// Major and minor of a release such as `1.97.0-nightly`.
fn release_of(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The roots of rustup's toolchains, nightlies first.
fn rustup_toolchains() -> Vec<PathBuf> {
    let home = std::env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(std::env::home_dir()?.join(".rustup")));
    let mut roots: Vec<PathBuf> = home
        .and_then(|home| fs::read_dir(home.join("toolchains")).ok())
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|root| root.join("bin/rustc").is_file())
        .collect();
    let is_nightly = |root: &Path| {
        root.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("nightly"))
    };
    roots.sort_by_key(|root| (!is_nightly(root), root.clone()));
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "\
rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)
binary: rustc
commit-hash: ac68faa20c58cbccd01ee7208bf3b6e93a7d7f96
commit-date: 2026-05-25
host: x86_64-unknown-linux-gnu
release: 1.96.0
LLVM version: 22.1.8
";

    #[test]
    fn reads_what_rustc_says_of_itself() {
        let version = Version::parse(DEBIAN).expect("it is what Debian's rustc prints");
        assert_eq!(version.release, (1, 96));
        assert_eq!(
            version.llvm,
            Llvm {
                major: 22,
                minor: 1,
                patch: 8
            }
        );
        assert!(version.line.starts_with("rustc 1.96.0 "));
    }

    #[test]
    fn reads_a_nightly_and_a_short_llvm() {
        let text = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\nrelease: 1.97.0-nightly\nLLVM version: 22.1\n";
        let version = Version::parse(text).expect("a nightly's answer");
        assert_eq!(version.release, (1, 97));
        assert_eq!(version.llvm.to_string(), "22.1.0");
    }

    #[test]
    fn something_else_is_no_version() {
        assert_eq!(Version::parse(""), None);
        assert_eq!(Version::parse("error: no such command\n"), None);
    }
}
