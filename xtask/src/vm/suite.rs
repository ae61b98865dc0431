//! The tests that run in the guest: programs built for the host, and which of their tests.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::host;
use crate::nested;
use crate::vm::machine::quoted;
use crate::workspace::Workspace;

/// How many times longer labs may take in the guest (`tests/src/netns/pace.rs`).
const SLOWNESS: u32 = 4;

/// The labs that run in the guest unless others are asked for by name: those in which the kernel's
/// own devices and its own ways with packets have a part. Labs that measure how soon a load is
/// served again are for real cores.
const LABS: [&str; 11] = [
    "crash::detach",
    "dsr::",
    "foreign::",
    "fragments::",
    "ipsec::",
    "ipv6::",
    "isolation::a_packet",
    "isolation::a_tunnel",
    "snat::both_sites_serve_clients_that_they_know_no_way_to_over_one_link",
    "stock::",
    "wireguard::",
];

/// Begins a line that the job says about itself.
const MARK: &str = "lbxdp-vm: ";

/// A test program and its tests.
#[derive(Debug)]
pub(super) struct Program {
    /// Its name, as cargo has it.
    pub(super) name: &'static str,
    path: PathBuf,
    /// The directory of its package.
    folder: PathBuf,
    /// The tests to run, by their full names.
    pub(super) tests: BTreeSet<String>,
}

/// What the job says about itself, between the words of the test programs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mark<'a> {
    /// A program starts.
    Starts(&'a str),
    /// A program has ended with this status.
    Ended(&'a str, i32),
    /// All have run.
    Done,
}

impl<'a> Mark<'a> {
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.strip_prefix(MARK)?.split(' ');
        match (words.next()?, words.next(), words.next()) {
            ("starts", Some(name), None) => Some(Self::Starts(name)),
            ("ended", Some(name), Some(status)) => Some(Self::Ended(name, status.parse().ok()?)),
            ("done", None, None) => Some(Self::Done),
            _ => None,
        }
    }
}

/// The programs, built, with those of their tests whose names contain one of `filters`, or all
/// that are meant for a guest.
///
/// # Errors
/// When something does not build.
pub(super) fn programs(workspace: &Workspace, filters: &[String]) -> Result<Vec<Program>> {
    // As the other rings build them, so that nothing is built twice.
    let rings = ["--package", "tests", "--test", "kernel", "--test", "netns"].as_slice();
    let libraries = ["--workspace", "--exclude", "tests"].as_slice();
    let built = [
        // Cargo's options, kind and name of the program, its package, which of its tests.
        (rings, "test", "kernel", "tests", [""].as_slice()),
        (libraries, "lib", "lbxdp", "lbxdp-user", &["vnet::lab::"]),
        (rings, "test", "netns", "tests", &LABS),
    ];
    let mut programs = Vec::new();
    for (options, kind, name, package, prefixes) in built {
        let path = host::build_test(workspace, options, kind, name)?;
        let tests = listed(&path)?
            .into_iter()
            .filter(|test| {
                let among = |prefixes: &[&str]| prefixes.iter().any(|it| test.starts_with(it));
                let asked = filters.iter().any(|filter| test.contains(filter.as_str()));
                match (filters.is_empty(), name) {
                    (true, _) => among(prefixes),
                    (false, "netns") => asked,
                    (false, _) => asked && among(prefixes),
                }
            })
            .collect();
        programs.push(Program {
            name,
            path,
            folder: workspace.root().join(package),
            tests,
        });
    }
    programs.retain(|program| !program.tests.is_empty());
    Ok(programs)
}

/// The script that runs the programs in the guest.
pub(super) fn job(programs: &[Program], lbxdp: &Path) -> String {
    let mut job = format!(
        "export LBXDP_BIN={} LBXDP_TEST_SLOWNESS={SLOWNESS} LBXDP_TEST_DEVICES=required\n",
        quoted(&lbxdp.to_string_lossy())
    );
    for program in programs {
        let Program {
            name,
            path,
            folder,
            tests,
        } = program;
        let tests: Vec<String> = tests.iter().map(|test| quoted(test)).collect();
        write!(
            job,
            "echo '{MARK}starts {name}'\n\
             cd {} && {} --show-output --test-threads=1 --exact {}\n\
             echo \"{MARK}ended {name} $?\"\n",
            quoted(&folder.to_string_lossy()),
            quoted(&path.to_string_lossy()),
            tests.join(" "),
        )
        .expect("a string takes all that is written");
    }
    job.push_str(&format!("echo '{MARK}done'\n"));
    job
}

fn listed(program: &Path) -> Result<Vec<String>> {
    let output = nested::command(program)
        .args(["--list", "--format=terse"])
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(str::to_owned)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_told_from_what_tests_say() {
        assert_eq!(
            Mark::parse("lbxdp-vm: starts netns"),
            Some(Mark::Starts("netns"))
        );
        assert_eq!(
            Mark::parse("lbxdp-vm: ended netns 101"),
            Some(Mark::Ended("netns", 101))
        );
        assert_eq!(Mark::parse("lbxdp-vm: done"), Some(Mark::Done));
        assert_eq!(Mark::parse("test a ... ok"), None);
        assert_eq!(Mark::parse("lbxdp-vm: other"), None);
    }

    #[test]
    fn a_job_names_each_test() {
        let program = Program {
            name: "netns",
            path: "/t/netns-1".into(),
            folder: "/t".into(),
            tests: ["a::b".to_owned(), "c".to_owned()].into(),
        };
        let job = job(&[program], Path::new("/t/lbxdp"));
        assert!(job.contains("'/t/netns-1' --show-output --test-threads=1 --exact 'a::b' 'c'\n"));
        assert!(job.ends_with("echo 'lbxdp-vm: done'\n"));
    }
}
