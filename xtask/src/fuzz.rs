//! Builds what fuzzes the packet path, and runs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::cli::{CompareArguments, Fuzz, GuidedArguments};
use crate::ebpf::{self, Object, Warnings};
use crate::host::{self, Profile};
use crate::nested;
use crate::progress;
use crate::workspace::Workspace;

/// The release of cargo-fuzz that is built where there is none.
const CARGO_FUZZ: &str = "0.13.2";

/// The verb `fuzz`: its exit code is that of what it starts.
pub(crate) fn run(workspace: &Workspace, way: &Fuzz) -> Result<ExitCode> {
    match way {
        Fuzz::Compare(arguments) => compare(workspace, arguments),
        Fuzz::Guided(arguments) => guided(workspace, arguments),
        Fuzz::Keep { input } => {
            // Named from where the user is, and not from the checkout.
            let input = std::path::absolute(input).context("no such path can be")?;
            end(fuzz(workspace)?.arg("keep").arg(input))
        }
    }
}

fn compare(workspace: &Workspace, arguments: &CompareArguments) -> Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "the program is loaded into the kernel, which needs root. Keep your own cargo:\n    \
             sudo --preserve-env=HOME env \"PATH=$PATH\" cargo xtask fuzz compare"
        );
    }
    ebpf::build(workspace, Object::Shipped, Warnings::Shown)?;
    let CompareArguments { frames, seed, from } = arguments;
    let mut command = fuzz(workspace)?;
    command.arg("compare");
    command.args(["--frames", &frames.to_string()]);
    command.args(["--from", &from.to_string()]);
    if let Some(seed) = seed {
        command.args(["--seed", &seed.to_string()]);
    }
    end(&mut command)
}

/// libFuzzer and the sanitizer are parts of the compiler that only nightlies let one use; a stable
/// one has them as well, and is told to.
fn guided(workspace: &Workspace, arguments: &GuidedArguments) -> Result<ExitCode> {
    let cargo_fuzz = cargo_fuzz(workspace)?;
    let target = workspace.root().join("target/fuzz");
    let corpus = target.join("corpus");
    let cases = target.join("cases");
    for folder in [&corpus, &cases] {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the directory {}", folder.display()))?;
    }
    progress::run(
        "Writing the packets of the fixture table",
        fuzz(workspace)?.arg("corpus").arg(&cases),
    )?;
    let GuidedArguments { seconds, rest } = arguments;
    let mut command = nested::command(&cargo_fuzz);
    command
        .args(["fuzz", "run", "--fuzz-dir", "tests/fuzz", "--target-dir"])
        .arg(&target)
        .arg("process")
        // What is found goes to the first; the others are read.
        .args([&corpus, &cases])
        .arg("tests/fuzz/corpus/process")
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .arg("-print_final_stats=1")
        .args(rest)
        .env("RUSTC_BOOTSTRAP", "1")
        .current_dir(workspace.root());
    end(&mut command)
}

/// The cargo-fuzz of this machine, or one that is built for it.
fn cargo_fuzz(workspace: &Workspace) -> Result<PathBuf> {
    let own = workspace.tools().join("bin/cargo-fuzz");
    if own.is_file() {
        return Ok(own);
    }
    if let Some(found) = nested::find_in_path("cargo-fuzz") {
        return Ok(found);
    }
    let tools = workspace.tools();
    fs::create_dir_all(&tools)
        .with_context(|| format!("cannot make the directory {}", tools.display()))?;
    let mut install = nested::clean_cargo();
    install
        .args(["install", "cargo-fuzz", "--locked", "--version", CARGO_FUZZ])
        .arg("--root")
        .arg(&tools)
        .env("CARGO_TARGET_DIR", tools.join("build"))
        .current_dir(&tools);
    progress::run(&format!("Building cargo-fuzz {CARGO_FUZZ}"), &mut install)?;
    Ok(own)
}

fn fuzz(workspace: &Workspace) -> Result<Command> {
    let fuzz = host::build(workspace, "tests", "fuzz", Profile::Release)?;
    let mut command = nested::command(Path::new(&fuzz));
    command.current_dir(workspace.root());
    Ok(command)
}

fn end(command: &mut Command) -> Result<ExitCode> {
    let status = progress::stream(command)?;
    let code = status
        .code()
        .with_context(|| format!("`{}` was ended by a signal", progress::shown(command)))?;
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
