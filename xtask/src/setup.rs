//! Set-up: what the other tasks need, found or installed.
//!
//! Two worlds are served. On an ordinary developer's machine there is a rustup
//! nightly with `rust-src` and a released bpf-linker. Where rustup cannot be
//! extended, Debian's `rustc-web` and `rust-web-src` are the compiler, and
//! bpf-linker is built from source against Debian's LLVM.

pub(crate) mod linker;
pub(crate) mod packages;
pub(crate) mod stamp;
pub(crate) mod toolchain;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::cli::Wanted;
use crate::progress::{bold, yellow};
use crate::setup::linker::Linker;
use crate::setup::packages::Packages;
use crate::setup::stamp::Stamp;
use crate::setup::toolchain::{Compiler, Toolchain};
use crate::workspace::Workspace;

/// The verb `setup`.
pub(crate) fn run(workspace: &Workspace, wanted: &Wanted) -> Result<ExitCode> {
    if wanted.again {
        Stamp::forget(workspace)?;
    }
    let toolchain = toolchain(workspace)?;
    println!("{} {}", bold("compiler:"), toolchain.compiler);
    println!(
        "{}   {}",
        bold("linker:"),
        toolchain.linker.shown(workspace)
    );
    tools()?;
    machine()?;
    println!("{}    {}", bold("tools:"), packages::RUN_TIME_NAMES);
    println!("Everything is there. Next: `cargo xtask demo` or `cargo xtask test`, as root.");
    Ok(ExitCode::SUCCESS)
}

/// A compiler and a linker for the kernel's program that fit each other.
///
/// # Errors
/// When something is missing and cannot be installed: says what and how.
pub(crate) fn toolchain(workspace: &Workspace) -> Result<Toolchain> {
    if let Some(toolchain) = Stamp::read(workspace) {
        return Ok(toolchain);
    }
    let tools = workspace.tools();
    fs::create_dir_all(&tools)
        .with_context(|| format!("cannot make the directory {}", tools.display()))?;
    let lock = fs::File::create(tools.join("lock")).context("cannot make target/tools/lock")?;
    lock.lock().context("cannot lock target/tools/lock")?;
    // Another set-up may have held the lock and done the work.
    if let Some(toolchain) = Stamp::read(workspace) {
        return Ok(toolchain);
    }
    let toolchain = provide(workspace)?;
    Stamp::write(workspace, &toolchain)?;
    Ok(toolchain)
}

/// Installs the programs that demo and tests start.
///
/// # Errors
/// When one is missing and cannot be installed: says which and how.
pub(crate) fn tools() -> Result<()> {
    Packages::default().install(&packages::run_time(), "what demo and tests start", "")
}

/// Installs what a virtual machine needs of the host; its emulator is fetched apart.
///
/// # Errors
/// When one is missing and cannot be installed: says which and how.
pub(crate) fn machine() -> Result<()> {
    Packages::default().install(&packages::machine(), "virtual machines", "")
}

fn provide(workspace: &Workspace) -> Result<Toolchain> {
    println!("Looking for a Rust compiler with the sources of `core`, and a bpf-linker for it");
    let mut packages = Packages::default();
    let mut found = toolchain::search();
    for sentence in &found.passed_over {
        println!("{} {sentence}", yellow("passed over:"));
    }
    let mut reasons = Vec::new();
    if let Some(toolchain) = pair(workspace, &found.compilers, &mut packages, &mut reasons)? {
        return Ok(toolchain);
    }

    if !found.compilers.iter().any(Compiler::is_system) {
        packages.install(
            &packages::compiler(),
            "a Rust compiler with its sources",
            toolchain::ADVICE,
        )?;
        found = toolchain::search();
        found.compilers.retain(Compiler::is_system);
        reasons.extend(found.passed_over);
        if let Some(toolchain) = pair(workspace, &found.compilers, &mut packages, &mut reasons)? {
            return Ok(toolchain);
        }
    }
    bail!(
        "no Rust compiler and bpf-linker that fit each other:\n  {}\n{}",
        reasons.join("\n  "),
        toolchain::ADVICE
    )
}

/// The first compiler for which a linker is there or can be built.
fn pair(
    workspace: &Workspace,
    compilers: &[Compiler],
    packages: &mut Packages,
    reasons: &mut Vec<String>,
) -> Result<Option<Toolchain>> {
    for compiler in compilers {
        for linker in Linker::search(workspace) {
            match linker.try_with(compiler, workspace) {
                Ok(()) => {
                    return Ok(Some(Toolchain {
                        compiler: compiler.clone(),
                        linker,
                    }));
                }
                Err(error) => println!(
                    "{} {} with {compiler}: {error:#}",
                    yellow("passed over:"),
                    linker.shown(workspace)
                ),
            }
        }
    }
    for compiler in compilers {
        let Some(llvm) = linker::llvm_for(compiler, packages)? else {
            reasons.push(format!(
                "{compiler}: no bpf-linker reads its output, and there is no LLVM {} to build one",
                compiler.llvm
            ));
            continue;
        };
        packages.install(
            &packages::linker(llvm),
            &format!("building bpf-linker with LLVM {llvm}"),
            toolchain::ADVICE,
        )?;
        let linker = Linker::build(workspace, llvm)?;
        linker.try_with(compiler, workspace).with_context(|| {
            format!("the bpf-linker just built does not read the output of {compiler}")
        })?;
        return Ok(Some(Toolchain {
            compiler: compiler.clone(),
            linker,
        }));
    }
    Ok(None)
}
