//! What belongs to a ring, and how it is run.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::cli::{Ring, Selection};
use crate::nested;
use crate::progress;
use crate::test::libtest::{Reader, Worth};
use crate::test::summary::Summary;
use crate::workspace::Workspace;

/// How long tests may be silent before a line says that they go on.
const PATIENCE: Duration = Duration::from_secs(30);

/// The test programs of the package `tests`.
#[derive(Debug)]
pub(crate) struct Targets(Vec<String>);

impl Targets {
    /// Asks cargo for them.
    ///
    /// # Errors
    /// When the manifests cannot be read.
    pub(crate) fn of(workspace: &Workspace) -> Result<Self> {
        let answer = nested::host_cargo(workspace)
            .args(["metadata", "--no-deps", "--format-version=1"])
            .output()
            .context("cannot start cargo")?;
        Self::parse(&answer.stdout).with_context(|| {
            format!(
                "cargo metadata: {}",
                String::from_utf8_lossy(&answer.stderr).trim()
            )
        })
    }

    fn parse(metadata: &[u8]) -> Result<Self> {
        let metadata: Metadata = serde_json::from_slice(metadata)?;
        Ok(Self(
            metadata
                .packages
                .into_iter()
                .filter(|package| package.name == "tests")
                .flat_map(|package| package.targets)
                .filter(|target| target.kind.iter().any(|kind| kind == "test"))
                .map(|target| target.name)
                .collect(),
        ))
    }

    /// The options that pick the test programs of a ring.
    fn options(&self, ring: Ring) -> Vec<String> {
        self.0
            .iter()
            .filter(|name| ring_of(name) == ring)
            .flat_map(|name| ["--test".to_owned(), name.clone()])
            .collect()
    }
}

/// Runs a ring and counts into the summary.
///
/// # Errors
/// When cargo cannot be started.
pub(crate) fn run(
    workspace: &Workspace,
    ring: Ring,
    targets: &Targets,
    selection: &Selection,
    lbxdp: Option<&Path>,
    summary: &mut Summary,
) -> Result<()> {
    let started = Instant::now();
    for mut command in commands(workspace, ring, targets) {
        command.args(["--", "--show-output"]);
        match ring {
            Ring::Host | Ring::Kernel => {}
            // Labs measure time: they do not share the machine with each other.
            Ring::Netns | Ring::Vm => {
                command.arg("--test-threads=1");
            }
        }
        command.args(&selection.filter);
        if let Some(lbxdp) = lbxdp {
            command.env("LBXDP_BIN", lbxdp);
        }
        let mut reader = Reader::default();
        let status = progress::each_line(&mut command, PATIENCE, |line| match line {
            Some(line) => {
                if reader.line(&line) == Worth::Shown || selection.verbose {
                    println!("{line}");
                }
            }
            None => println!("    ... {} s", started.elapsed().as_secs()),
        })?;
        let tally = reader.finish();
        let explained = !tally.failed.is_empty();
        summary.add(ring, tally);
        if !status.success() && !explained {
            summary.fail(
                ring,
                &format!("`{}`", progress::shown(&command)),
                &format!("did not build or run ({status})"),
            );
        }
    }
    summary.took(ring, started.elapsed());
    Ok(())
}

/// Counts the tests of a ring that cannot run here as skipped, by name.
///
/// # Errors
/// When cargo cannot be started.
pub(crate) fn leave_out(
    workspace: &Workspace,
    ring: Ring,
    targets: &Targets,
    selection: &Selection,
    summary: &mut Summary,
) -> Result<()> {
    let started = Instant::now();
    if ring == Ring::Vm {
        summary.skip(ring, "all that runs under stock kernels", "needs root");
    }
    for mut command in commands(workspace, ring, targets) {
        command
            .args(["--", "--list", "--format=terse"])
            .args(&selection.filter);
        match progress::run("Listing its tests", &mut command) {
            Ok(finished) => {
                for name in listed(&finished.output) {
                    summary.skip(ring, name, "needs root");
                }
            }
            Err(error) => summary.fail(ring, "its tests", &format!("{error:#}")),
        }
    }
    summary.took(ring, started.elapsed());
    Ok(())
}

fn commands(workspace: &Workspace, ring: Ring, targets: &Targets) -> Vec<Command> {
    let command = |options: &[&str]| {
        let mut cargo = nested::host_cargo(workspace);
        cargo.args(["test", "--no-fail-fast"]).args(options);
        cargo
    };
    let mut programs = command(&["--package", "tests"]);
    let options = targets.options(ring);
    match ring {
        Ring::Host => {
            programs.args(["--lib", "--bins"]).args(options);
            vec![command(&["--workspace", "--exclude", "tests"]), programs]
        }
        Ring::Kernel | Ring::Netns | Ring::Vm => {
            if options.is_empty() {
                return Vec::new();
            }
            programs.args(options);
            vec![programs]
        }
    }
}

/// The ring of a test program; one that is not known needs nothing.
fn ring_of(target: &str) -> Ring {
    match target {
        "kernel" => Ring::Kernel,
        "netns" => Ring::Netns,
        _ => Ring::Host,
    }
}

/// The names of a list of tests: `NAME: test`.
fn listed(output: &str) -> impl Iterator<Item = &str> {
    output
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_go_to_their_rings() {
        let metadata = br#"{"packages": [
            {"name": "xtask", "targets": [{"name": "xtask", "kind": ["bin"]}]},
            {"name": "tests", "targets": [
                {"name": "tests", "kind": ["lib"]},
                {"name": "host", "kind": ["test"]},
                {"name": "kernel", "kind": ["test"]},
                {"name": "object", "kind": ["test"]},
                {"name": "netns", "kind": ["test"]}]}]}"#;
        let targets = Targets::parse(metadata).expect("as cargo prints it");
        assert_eq!(
            targets.options(Ring::Host),
            ["--test", "host", "--test", "object"]
        );
        assert_eq!(targets.options(Ring::Kernel), ["--test", "kernel"]);
        assert_eq!(targets.options(Ring::Netns), ["--test", "netns"]);
    }

    #[test]
    fn listed_tests_have_names() {
        let names: Vec<&str> = listed("   Compiling x\nfailover::dies: test\nb: bench\n").collect();
        assert_eq!(names, ["failover::dies"]);
    }
}
