//! Builds the program for the kernel.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::nested;
use crate::progress::{self, bold};
use crate::setup::{self, toolchain::Toolchain};
use crate::workspace::Workspace;

/// The kernel's machine, as rustc calls it.
const TARGET: &str = "bpfel-unknown-none";

/// Whether a warning of the build is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Warnings {
    /// Shown.
    Shown,
    /// Refused.
    Denied,
}

/// An object for the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Object {
    /// What `lbxdp` embeds.
    Shipped,
    /// What the benchmark runs it with.
    Bench,
}

impl Object {
    /// The binary of the package `lbxdp-ebpf`.
    fn binary(self) -> &'static str {
        match self {
            Self::Shipped => "lbxdp-ebpf",
            Self::Bench => "lbxdp-bench",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Shipped => "Building the eBPF object",
            Self::Bench => "Building the eBPF programs of the benchmark",
        }
    }

    /// Where it is put.
    fn place(self, workspace: &Workspace) -> PathBuf {
        match self {
            Self::Shipped => workspace.object(),
            Self::Bench => workspace.bench_object(),
        }
    }
}

/// The verb `build-ebpf`.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    build(workspace, Object::Shipped, Warnings::Shown)?;
    Ok(ExitCode::SUCCESS)
}

/// Sets up the toolchain, builds, and copies the object to its place.
///
/// # Errors
/// When the toolchain is missing or the build fails, with all it said.
pub(crate) fn build(workspace: &Workspace, object: Object, warnings: Warnings) -> Result<()> {
    let toolchain = setup::toolchain(workspace)?;
    let mut cargo = command(workspace, &toolchain, object);
    let finished = progress::run(object.title(), &mut cargo)?;
    // Cargo repeats the warnings of our packages even when nothing is built.
    if finished.output.contains("warning") {
        match warnings {
            Warnings::Shown => print!("{}", finished.output),
            Warnings::Denied => bail!("the eBPF build warns:\n{}", finished.output.trim_end()),
        }
    }
    let made = workspace.ebpf_target().join(TARGET).join("bpf");
    let place = object.place(workspace);
    let size = publish(&made.join(object.binary()), &place)?;
    println!(
        "{} {}, {size} bytes, made in {} by {} and {}",
        bold("object:"),
        workspace.shown(&place),
        progress::seconds(finished.took),
        toolchain.compiler.version,
        toolchain.linker.version,
    );
    Ok(())
}

fn command(workspace: &Workspace, toolchain: &Toolchain, object: Object) -> Command {
    let compiler = &toolchain.compiler;
    // The linker would otherwise have the compiler call `memset`, which goes byte by byte, for the
    // smallest of fields.
    let inline = "-Clink-arg=--disable-expand-memcpy-in-order";
    let mut flags: Vec<OsString> = ["-Cdebuginfo=2", "-Clink-arg=--btf", "-Cpanic=abort", inline]
        .map(OsString::from)
        .to_vec();
    let mut linker = OsString::from("-Clinker=");
    linker.push(&toolchain.linker.path);
    flags.push(linker);

    let mut cargo = nested::command(compiler.cargo.clone().unwrap_or_else(nested::cargo));
    cargo
        .args(["build", "--profile=bpf", "--package=lbxdp-ebpf"])
        .args(["--bin", object.binary()])
        .arg(format!("--target={TARGET}"))
        .arg("-Zbuild-std=core")
        .env("RUSTC", &compiler.rustc)
        // Opens -Z where the compiler or cargo is not a nightly.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", workspace.ebpf_target())
        // One argument each, whatever their paths contain.
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            flags.join(&OsString::from("\x1f")),
        )
        .current_dir(workspace.root());
    match object {
        Object::Shipped => {}
        Object::Bench => {
            cargo.arg("--features=bench");
        }
    }
    if progress::colours() {
        cargo.env("CARGO_TERM_COLOR", "always");
    }
    cargo
}

/// Copies the object to where `lbxdp` embeds it from; one that is the same
/// already is left alone, so that nothing is rebuilt for it.
///
/// Returns its size in bytes.
fn publish(made: &Path, place: &Path) -> Result<u64> {
    let bytes = fs::read(made)
        .with_context(|| format!("the build left no object at {}", made.display()))?;
    if fs::read(place).ok().as_deref() != Some(&bytes) {
        // Renamed into place: a reader sees the old one or the new.
        let fresh = place.with_extension("o.new");
        fs::write(&fresh, &bytes).with_context(|| format!("cannot write {}", fresh.display()))?;
        fs::rename(&fresh, place)
            .with_context(|| format!("cannot move the object to {}", place.display()))?;
    }
    Ok(bytes.len() as u64)
}
