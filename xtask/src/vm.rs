//! The tests under stock kernels, each in a virtual machine: `cargo xtask vm`.
//!
//! A kernel is booted once, beside the others, under software emulation, with the host's files as its own. There it
//! runs the test programs that were built for the host: the fixture table through the loaded
//! program, and the labs, whose tunnels' far ends are the kernel's own devices. A stock kernel
//! has all of these, which the host's need not.

mod apt;
mod emulator;
mod initramfs;
mod kernel;
mod machine;
mod suite;

use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::cli::{Ring, VmArguments};
use crate::ebpf::{self, Object, Warnings};
use crate::host::{self, Profile};
use crate::progress::{bold, seconds, yellow};
use crate::setup;
use crate::test::libtest::{Reader, Tally, Worth};
use crate::test::summary::Summary;
use crate::vm::emulator::Emulator;
use crate::vm::kernel::Kernel;
use crate::vm::machine::{Ending, Machine};
use crate::vm::suite::{Mark, Program};
use crate::workspace::Workspace;

/// How long a kernel's tests may take.
const DEADLINE: Duration = Duration::from_secs(20 * 60);
/// How long tests may be silent before a line says that they go on.
const SILENCE: Duration = Duration::from_secs(30);
/// Begins the line in which the kernel ring says what the verifier processed.
const VERIFIER: &str = "verifier: ";

/// What is to be run, and how it is shown.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// Names of kernels, or directories of unpacked ones; all stock kernels if empty.
    pub(crate) kernels: &'a [String],
    /// Parts of the names of tests; all if empty.
    pub(crate) filters: Vec<String>,
    /// Whether what passing tests print is shown.
    pub(crate) verbose: bool,
}

/// The verb `vm`.
pub(crate) fn run(workspace: &Workspace, arguments: &VmArguments) -> Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        bail!("a guest shares the host's files as root, which needs root");
    }
    setup::tools()?;
    for object in [Object::Shipped, Object::Bench] {
        ebpf::build(workspace, object, Warnings::Shown)?;
    }
    let lbxdp = host::build(workspace, "lbxdp-user", "lbxdp", Profile::Dev)?;
    let mut summary = Summary::default();
    let wanted = Wanted {
        kernels: &arguments.kernels,
        filters: filters(&arguments.filter),
        verbose: arguments.verbose,
    };
    ring(workspace, &wanted, &lbxdp, &mut summary)?;
    Ok(summary.finish(false))
}

/// The words of a filter, without options of libtest.
pub(crate) fn filters(words: &[String]) -> Vec<String> {
    words
        .iter()
        .filter(|word| !word.starts_with('-'))
        .cloned()
        .collect()
}

/// Runs the tests under each kernel, and counts into the summary.
///
/// Where the emulator or a kernel cannot be had, says so, and counts the tests as skipped.
///
/// # Errors
/// When the test programs do not build.
pub(crate) fn ring(
    workspace: &Workspace,
    wanted: &Wanted,
    lbxdp: &Path,
    summary: &mut Summary,
) -> Result<()> {
    let started = Instant::now();
    let programs = suite::programs(workspace, &wanted.filters)?;
    let kernels = if wanted.kernels.is_empty() {
        Kernel::stock()
    } else {
        wanted.kernels.to_vec()
    };
    if programs.is_empty() {
        println!("no test for a guest has such a name");
        return Ok(());
    }
    let mut guests = Vec::new();
    for name in &kernels {
        let provided = setup::machine().and_then(|()| {
            Ok((
                Emulator::provide(workspace)?,
                Kernel::provide(workspace, name)?,
            ))
        });
        match provided {
            Ok(guest) => guests.push(guest),
            Err(error) => {
                println!("{} {name}: {error:#}", yellow("left out:"));
                for test in programs.iter().flat_map(|program| &program.tests) {
                    summary.skip(Ring::Vm, &format!("{name}: {test}"), "no such guest here");
                }
            }
        }
    }
    // Side by side: the tests of each use hardly more than one processor.
    let outcomes: Vec<Result<Outcome>> = thread::scope(|scope| {
        let boots: Vec<_> = guests
            .iter()
            .map(|(emulator, kernel)| {
                let boot = Boot {
                    kernel,
                    emulator,
                    programs: &programs,
                    verbose: wanted.verbose,
                };
                scope.spawn(move || boot.run(workspace, lbxdp))
            })
            .collect();
        boots
            .into_iter()
            .map(|boot| boot.join().expect("a boot does not panic"))
            .collect()
    });
    for outcome in outcomes {
        outcome?.count(summary);
    }
    summary.took(Ring::Vm, started.elapsed());
    Ok(())
}

/// What a kernel's tests have come to.
#[derive(Debug)]
struct Outcome {
    tally: Tally,
    /// What failed without a test that says so: name and reason.
    failures: Vec<(String, String)>,
    /// For people.
    report: String,
}

impl Outcome {
    fn count(self, summary: &mut Summary) {
        let Self {
            tally,
            failures,
            report,
        } = self;
        println!("\n{report}");
        summary.add(Ring::Vm, tally);
        for (name, reason) in failures {
            summary.fail(Ring::Vm, &name, &reason);
        }
    }
}

/// One kernel's turn.
struct Boot<'a> {
    kernel: &'a Kernel,
    emulator: &'a Emulator,
    programs: &'a [Program],
    verbose: bool,
}

impl Boot<'_> {
    fn run(&self, workspace: &Workspace, lbxdp: &Path) -> Result<Outcome> {
        let Self {
            kernel,
            emulator,
            programs,
            verbose,
        } = self;
        let Kernel { name, version, .. } = kernel;
        let say = |line: &str| println!("{name:>4} | {line}");
        say(&format!("Linux {version}"));
        let started = Instant::now();
        let job = suite::job(programs, lbxdp);
        let machine = Machine::prepare(workspace, kernel, emulator, &job)?;
        let mut reader = Reader::default();
        let mut verifier = Vec::new();
        let mut failures = Vec::new();
        let mut done = false;
        let mut missing: Vec<&str> = programs.iter().map(|program| program.name).collect();
        let ending = machine.boot(DEADLINE, SILENCE, |line| {
            let Some(line) = line else {
                say(&format!("    ... {} s", started.elapsed().as_secs()));
                return;
            };
            match Mark::parse(line) {
                Some(Mark::Starts(program)) => say(&bold(program)),
                Some(Mark::Ended(program, status)) => {
                    missing.retain(|name| *name != program);
                    // 101 is libtest's, with which a failed test explains itself.
                    if !matches!(status, 0 | 101) {
                        let reason = format!("ended with status {status}");
                        failures.push((format!("{name}: {program}"), reason));
                    }
                }
                Some(Mark::Done) => done = true,
                None => {
                    if let Some(rest) = line.strip_prefix(VERIFIER) {
                        verifier.push(rest.to_owned());
                    }
                    if reader.line(line) == Worth::Shown || *verbose {
                        say(line);
                    }
                }
            }
        })?;
        let tally = reader.finish().of(name);
        let mut report = format!(
            "{} {} passed, {} failed, {} skipped in {}",
            bold(&format!("Linux {version}:")),
            tally.passed,
            tally.failed.len(),
            tally.skipped.len(),
            seconds(started.elapsed())
        );
        for line in verifier {
            report.push_str("\n    verifier: ");
            report.push_str(&line);
        }
        if !done {
            let reason = match ending {
                Ending::Off => "the guest ended before its tests".to_owned(),
                Ending::Late => format!("ended after {}", seconds(DEADLINE)),
            };
            failures.push((format!("{name}: {}", missing.join(", ")), reason));
            report.push('\n');
            report.push_str(&machine.console());
        }
        Ok(Outcome {
            tally,
            failures,
            report,
        })
    }
}
