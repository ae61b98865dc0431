//! The link, with the program under test at one end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aya::programs::xdp::XdpLink;
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp, XdpMode};
use nix::net::if_::if_nametoindex;

use super::Sample;
use crate::bench::programs::{Packets, Programs};
use crate::bench::stand::Effort;
use crate::bench::subject::Subject;
use crate::cases::world::ETH0;
use crate::engine::kernel::Kernel;

/// The device at whose other end [`ETH0`] is; the engine of the kernel lays both.
const FAR: &str = "far10";
/// Frames that are sent at once: as many as a driver's poll takes (`NAPI_POLL_WEIGHT`).
const BATCH: u32 = 64;
/// How long frames may be on their way when no more are sent.
const PATIENCE: Duration = Duration::from_millis(50);

/// A pair of veth devices in the namespace of the loaded program.
pub(super) struct Line {
    far: u32,
    /// That of the program under test; none before the first.
    near: Option<XdpLink>,
    _sink: XdpLink,
}

impl Line {
    /// Attaches the sink to the far end.
    pub(super) fn lay(programs: &mut Programs) -> Result<Self> {
        let far = if_nametoindex(FAR).with_context(|| format!("there is no device {FAR}"))?;
        let sink = attach(programs.get("sink")?, None, far)
            .with_context(|| format!("cannot attach the sink to {FAR}"))?;
        Ok(Self {
            far,
            near: None,
            _sink: sink,
        })
    }

    /// The interface at the far end.
    pub(super) const fn far(&self) -> u32 {
        self.far
    }

    /// Sends packets of a subject through its program, first those that are not counted.
    pub(super) fn sample(
        &mut self,
        kernel: &mut Kernel,
        programs: &mut Programs,
        subject: &Subject,
        packets: Packets,
        effort: &Effort,
    ) -> Result<Sample> {
        programs.stimulate(kernel, subject, packets)?;
        let program = match subject.reason {
            Some(_) => kernel.entry()?,
            None => programs.get(&subject.name)?,
        };
        let near = attach(program, self.near.take(), ETH0);
        self.near = Some(near.context("cannot attach the program under test")?);
        if effort.warm_up > 0 {
            self.send(programs, subject, effort.warm_up)?;
        }
        let runs = effort.runs;
        let before = kernel.reasons()?;
        let sample = self.send(programs, subject, runs)?;
        if let Some(reason) = subject.reason {
            let index = reason.index() as usize;
            let counted = kernel.reasons()?[index].packets - before[index].packets;
            let arrived = u64::from(runs) - sample.lost;
            ensure!(
                (arrived..=u64::from(runs)).contains(&counted),
                "{counted} packets have ended as {reason:?}, and {arrived} of {runs} have arrived"
            );
        }
        Ok(sample)
    }

    /// Sends packets. The time is the kernel's: from the first batch to the last, each with all that
    /// becomes of its frames at either end; without the call's beginning and end (some 30 ms, in which
    /// it waits for all CPUs), and without the time of other processes.
    fn send(&self, programs: &mut Programs, subject: &Subject, runs: u32) -> Result<Sample> {
        let before = programs.arrived()?;
        let result = programs
            .get("generate")?
            .test_run(TestRunOptions {
                data_in: Some(&subject.frame),
                repeat: runs,
                attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                ..TestRunOptions::default()
            })
            .context("BPF_PROG_TEST_RUN with live frames (which are since Linux 5.18)")?;
        let sent = u64::from(runs);
        // What is not lost has arrived when the call returns, or is not long on its way.
        let deadline = Instant::now() + PATIENCE;
        let mut arrived = programs.arrived()? - before;
        while arrived < sent && Instant::now() < deadline {
            arrived = programs.arrived()? - before;
        }
        ensure!(arrived > 0, "of {sent} packets none has come back");
        ensure!(
            arrived <= sent,
            "of {sent} packets {arrived} have come back"
        );
        // The mean of all that were sent, in whole nanoseconds.
        let mean_ns = result.duration.as_nanos().max(1) as f64;
        Ok(Sample {
            mpps: 1e3 / mean_ns * arrived as f64 / sent as f64,
            lost: sent - arrived,
        })
    }
}

/// Attaches a program, as native XDP, in the place of the one that `link` is of.
fn attach(program: &mut Xdp, link: Option<XdpLink>, interface: u32) -> Result<XdpLink> {
    let id = match link {
        Some(link) => program.attach_to_link(link)?,
        None => program.attach_to_if_index(interface, XdpMode::Driver)?,
    };
    Ok(program.take_link(id)?)
}
