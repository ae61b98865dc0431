//! The programs in the kernel, and the clock.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::programs::{TestRun as _, TestRunOptions};
use lbxdp_ebpf::bench::{FRAME_LEN, MOST_FLOWS};
use lbxdp_ebpf::verdict::Reason;
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;

use super::figures::Figure;
use super::programs::{Packets, Programs};
use super::subject::{Flows, Subject};
use super::subjects::Subjects;
use crate::cases::world::ETH0;
use crate::engine::kernel::{self, Kernel, XDP_TX, context};
use crate::packet::judge::judge;

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Effort {
    /// How often the programs are loaded anew.
    pub loads: u32,
    /// Samples of each program after each of that.
    pub rounds: u32,
    /// Packets before each sample, which bring into the caches what the case uses.
    pub warm_up: u32,
    /// Packets of a sample.
    pub runs: u32,
    /// Numbers of flows, each a power of two.
    pub flows: Vec<u32>,
    /// Measure only cases whose names contain one of these, and what they are compared with.
    pub only: Vec<String>,
}

impl Effort {
    /// How many packets a sample takes in all.
    pub(super) const fn packets(&self) -> u32 {
        self.warm_up + self.runs
    }

    /// Whether there can be so many flows.
    pub(super) fn check(&self) -> Result<()> {
        for flows in &self.flows {
            ensure!(
                flows.is_power_of_two() && *flows <= MOST_FLOWS,
                "{flows} flows: a power of two is wanted, at most {MOST_FLOWS}"
            );
        }
        Ok(())
    }

    /// Whether the case is measured.
    pub(super) fn wants(&self, subject: &Subject) -> bool {
        let Self { only, .. } = self;
        only.is_empty()
            || subject.reason.is_none()
            || only.iter().any(|part| subject.name.contains(part))
    }
}

/// Measures everything; tells `progress` the number of the load, of flows and of the round.
///
/// # Errors
/// When a program does not load, or does not do with a packet what is to be measured.
pub fn measure(effort: &Effort, mut progress: impl FnMut(u32, u32, u32)) -> Result<Vec<Figure>> {
    effort.check()?;
    stay_on_this_cpu()?;
    let Subjects { world, mut all } = Subjects::new();
    // A flood is measured end to end.
    all.retain(|subject| effort.wants(subject) && subject.flows != Flows::New);
    // By number of flows, then by subject.
    let mut samples = vec![vec![Vec::new(); all.len()]; effort.flows.len()];
    for load in 0..effort.loads {
        // Where code and maps come to lie in memory makes a difference of some nanoseconds, for as
        // long as they lie there.
        let mut kernel = Kernel::load_as_declared(kernel::QUIET)?;
        kernel.hold(&world.tables)?;
        // As an agent has done soon after flows are recorded.
        kernel.sweep_flows()?;
        let node = world.tables.node.context("the world has settings")?;
        let mut bench = Stand(Programs::load(&mut kernel, node)?);
        for subject in &all {
            bench
                .check(&mut kernel, subject)
                .with_context(|| format!("case {}", subject.name))?;
        }
        let mut expected = Expected::default();
        let before = kernel.reasons()?;
        let hits_before = kernel.flow_hits()?;
        for (flows, samples) in effort.flows.iter().zip(&mut samples) {
            for subject in &all {
                let opened = bench
                    .open(&mut kernel, subject, *flows)
                    .with_context(|| format!("case {}", subject.name))?;
                expected.add(subject, opened);
            }
            for round in 0..effort.rounds {
                progress(load, *flows, round);
                for (subject, samples) in all.iter().zip(&mut *samples) {
                    if !subject.flows.has_room(*flows) {
                        continue;
                    }
                    expected.add(subject, effort.packets());
                    let first = round.wrapping_mul(effort.packets());
                    let sample = bench
                        .sample(&mut kernel, subject, *flows, first, effort)
                        .with_context(|| format!("case {}", subject.name))?;
                    samples.push(sample);
                }
            }
        }
        let after = kernel.reasons()?;
        let hits = kernel.flow_hits()? - hits_before;
        ensure!(
            hits == expected.hits,
            "the flows of {hits} packets were recorded, not of {}",
            expected.hits
        );
        for (reason, wanted) in expected.reasons {
            let index = reason.index() as usize;
            let counted = after[index].packets - before[index].packets;
            ensure!(
                counted == wanted,
                "{counted} packets have ended as {reason:?}, not {wanted}"
            );
        }
    }
    let figures = effort.flows.iter().zip(&samples);
    Ok(figures
        .flat_map(|(flows, samples)| Figure::all(&all, *flows, samples))
        .collect())
}

/// How many packets must end for each reason, and of how many the flow must have been recorded.
#[derive(Default)]
struct Expected {
    reasons: BTreeMap<Reason, u64>,
    hits: u64,
}

impl Expected {
    fn add(&mut self, subject: &Subject, packets: u32) {
        if let Some(reason) = subject.reason {
            *self.reasons.entry(reason).or_default() += u64::from(packets);
        }
        if subject.flows == Flows::Recorded {
            self.hits += u64::from(packets);
        }
    }
}

/// So that caches are warm, and the counters of one CPU are written.
pub(super) fn stay_on_this_cpu() -> Result<()> {
    let cpu = sched_getcpu().context("cannot ask for the CPU")?;
    let mut cpus = CpuSet::new();
    cpus.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &cpus).context("cannot stay on one CPU")
}

/// The programs of the benchmark, in turns under the wrapper.
struct Stand(Programs);

impl Stand {
    /// Opens all flows, where they must be; says how many.
    fn open(&mut self, kernel: &mut Kernel, subject: &Subject, flows: u32) -> Result<u32> {
        match subject.flows {
            Flows::Opened(frame) if subject.flows.has_room(flows) => {
                let opening = Subject {
                    frame,
                    ..subject.clone()
                };
                self.stimulate(kernel, &opening, flows, 0)?;
                self.run(&opening, flows)?;
                Ok(flows)
            }
            Flows::Any | Flows::Opened(_) | Flows::Recorded | Flows::New => Ok(0),
        }
    }

    /// Runs one packet, and looks at what becomes of it.
    fn check(&mut self, kernel: &mut Kernel, subject: &Subject) -> Result<()> {
        self.open(kernel, subject, 1)?;
        self.stimulate(kernel, subject, 1, 0)?;
        let mut output = vec![0; FRAME_LEN + 128];
        let result = self.0.get("wrapper")?.test_run(TestRunOptions {
            data_in: Some(&subject.frame),
            data_out: Some(&mut output),
            ctx_in: Some(&context(0, FRAME_LEN, ETH0)),
            ..TestRunOptions::default()
        })?;
        ensure!(
            result.return_value == subject.action,
            "the program returns {}, not {}",
            result.return_value,
            subject.action
        );
        output.truncate(result.data_size_out as usize);
        match judge(&output) {
            Ok(_) if subject.action == XDP_TX => {
                ensure!(output != subject.frame, "the frame is as it came");
            }
            Ok(_) => ensure!(output == subject.frame, "the frame has changed"),
            Err(fault) => anyhow::bail!("the frame that leaves is wrong: {fault}"),
        }
        Ok(())
    }

    /// The time a packet takes; the first has the number `first`.
    fn sample(
        &mut self,
        kernel: &mut Kernel,
        subject: &Subject,
        flows: u32,
        first: u32,
        effort: &Effort,
    ) -> Result<Duration> {
        self.stimulate(kernel, subject, flows, first)?;
        if effort.warm_up > 0 {
            self.run(subject, effort.warm_up)?;
        }
        self.run(subject, effort.runs)
    }

    fn run(&mut self, subject: &Subject, runs: u32) -> Result<Duration> {
        let result = self.0.get("wrapper")?.test_run(TestRunOptions {
            data_in: Some(&subject.frame),
            ctx_in: Some(&context(0, FRAME_LEN, ETH0)),
            repeat: runs,
            ..TestRunOptions::default()
        })?;
        ensure!(
            result.return_value == subject.action,
            "the program returns {}, not {}",
            result.return_value,
            subject.action
        );
        Ok(result.duration)
    }

    fn stimulate(
        &mut self,
        kernel: &mut Kernel,
        subject: &Subject,
        flows: u32,
        first: u32,
    ) -> Result<()> {
        let packets = Packets {
            first,
            mask: flows - 1,
            target: subject.program,
        };
        self.0.stimulate(kernel, subject, packets)
    }
}
