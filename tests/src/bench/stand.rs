//! The programs in the kernel, and the clock.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, HashMap, MapData, ProgramArray};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader, Pod};
use lbxdp_ebpf::abi::{Encapsulation, Node, OriginIndex, Port, Row};
use lbxdp_ebpf::bench::{
    FRAME_LEN, IdealKey, IdealListener, IdealOrigin, MOST_FLOWS, Stimulus, slot,
};
use lbxdp_ebpf::verdict::Reason;
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;

use super::figures::Figure;
use super::subjects::{Subject, Subjects};
use super::{ORIGINS, ROWS};
use crate::cases::tunnel::Tunnel;
use crate::cases::world::{ETH0, HOP_MAC, NODE_MAC, TCP, VIP4, address};
use crate::engine::kernel::{self, Kernel, XDP_TX, context};
use crate::engine::object;
use crate::packet::judge::judge;

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Effort {
    /// How often the programs are loaded anew.
    pub loads: u32,
    /// Samples of each program after each of that.
    pub rounds: u32,
    /// Packets of a sample.
    pub runs: u32,
    /// Numbers of flows, each a power of two.
    pub flows: Vec<u32>,
    /// Measure only cases whose names contain one of these, and what they are compared with.
    pub only: Vec<String>,
}

/// Measures everything; tells `progress` the number of the load, of flows and of the round.
///
/// # Errors
/// When a program does not load, or does not do with a packet what is to be measured.
pub fn measure(effort: &Effort, mut progress: impl FnMut(u32, u32, u32)) -> Result<Vec<Figure>> {
    for flows in &effort.flows {
        ensure!(
            flows.is_power_of_two() && *flows <= MOST_FLOWS,
            "{flows} flows: a power of two is wanted, at most {MOST_FLOWS}"
        );
    }
    stay_on_this_cpu()?;
    let Subjects { world, mut all } = Subjects::new();
    all.retain(|subject| is_wanted(subject, &effort.only));
    // By number of flows, then by subject.
    let mut samples = vec![vec![Vec::new(); all.len()]; effort.flows.len()];
    for load in 0..effort.loads {
        // Where code and maps come to lie in memory makes a difference of some nanoseconds, for as
        // long as they lie there.
        let mut kernel = Kernel::load_as_declared(kernel::QUIET)?;
        kernel.hold(&world.tables)?;
        let node = world.tables.node.context("the world has settings")?;
        let mut bench = Bench::load(&mut kernel, node)?;
        for subject in &all {
            bench
                .check(&mut kernel, subject)
                .with_context(|| format!("case {}", subject.name))?;
        }
        let mut expected = Expected::default();
        let before = kernel.reasons()?;
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
                    if !has_room(subject, *flows) {
                        continue;
                    }
                    expected.add(subject, 2 * effort.runs);
                    let first = round.wrapping_mul(effort.runs).wrapping_mul(2);
                    let sample = bench
                        .sample(&mut kernel, subject, *flows, first, effort.runs)
                        .with_context(|| format!("case {}", subject.name))?;
                    samples.push(sample);
                }
            }
        }
        let after = kernel.reasons()?;
        for (reason, wanted) in expected.0 {
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

fn is_wanted(subject: &Subject, only: &[String]) -> bool {
    only.is_empty()
        || subject.reason.is_none()
        || only.iter().any(|part| subject.name.contains(part))
}

/// Whether there can be so many flows of it.
fn has_room(subject: &Subject, flows: u32) -> bool {
    subject.opening.is_none_or(|(_, most)| flows <= most)
}

/// How many packets must end for each reason.
#[derive(Default)]
struct Expected(BTreeMap<Reason, u64>);

impl Expected {
    fn add(&mut self, subject: &Subject, packets: u32) {
        if let Some(reason) = subject.reason {
            *self.0.entry(reason).or_default() += u64::from(packets);
        }
    }
}

fn stay_on_this_cpu() -> Result<()> {
    let cpu = sched_getcpu().context("cannot ask for the CPU")?;
    let mut cpus = CpuSet::new();
    cpus.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &cpus).context("cannot stay on one CPU")
}

/// The programs of the benchmark, loaded.
struct Bench {
    ebpf: Ebpf,
    stimulus: Array<MapData, Stimulus>,
    node: Node,
    _programs: ProgramArray<MapData>,
}

impl Bench {
    fn load(kernel: &mut Kernel, node: Node) -> Result<Self> {
        let mut ebpf = EbpfLoader::new()
            .load(&object::bench_bytes()?)
            .context("the kernel refuses the maps of the benchmark")?;
        let mut programs = ProgramArray::try_from(take(&mut ebpf, "PROGRAMS")?)?;
        for (name, slot) in [
            ("pass", Some(slot::PASS)),
            ("floor", Some(slot::FLOOR)),
            ("ipip", Some(slot::IPIP)),
            ("ideal", Some(slot::IDEAL)),
            ("wrapper", None),
        ] {
            let program = program(&mut ebpf, name)?;
            program
                .load()
                .with_context(|| format!("the kernel refuses program {name}"))?;
            if let Some(slot) = slot {
                programs.set(slot, program.fd()?, 0)?;
            }
        }
        let lbxdp = kernel.descriptor()?;
        programs
            .set(slot::LBXDP, &lbxdp, 0)
            .context("the wrapper cannot call lbxdp")?;
        fill_ideal(&mut ebpf).context("the maps of the ideal program")?;
        let stimulus = Array::try_from(take(&mut ebpf, "STIMULUS")?)?;
        Ok(Self {
            ebpf,
            stimulus,
            node,
            _programs: programs,
        })
    }

    /// Opens all flows, where they must be; says how many.
    fn open(&mut self, kernel: &mut Kernel, subject: &Subject, flows: u32) -> Result<u32> {
        match subject.opening {
            Some((frame, most)) if flows <= most => {
                let opening = Subject {
                    frame,
                    ..subject.clone()
                };
                self.stimulate(kernel, &opening, flows, 0)?;
                self.run(&opening, flows)?;
                Ok(flows)
            }
            Some(_) | None => Ok(0),
        }
    }

    /// Runs one packet, and looks at what becomes of it.
    fn check(&mut self, kernel: &mut Kernel, subject: &Subject) -> Result<()> {
        self.open(kernel, subject, 1)?;
        self.stimulate(kernel, subject, 1, 0)?;
        let mut output = vec![0; FRAME_LEN + 128];
        let result = program(&mut self.ebpf, "wrapper")?.test_run(TestRunOptions {
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

    /// The time a packet takes, over `runs` packets after as many that bring into the caches what
    /// the program uses, as its own traffic would; the first has the number `first`.
    fn sample(
        &mut self,
        kernel: &mut Kernel,
        subject: &Subject,
        flows: u32,
        first: u32,
        runs: u32,
    ) -> Result<Duration> {
        self.stimulate(kernel, subject, flows, first)?;
        self.run(subject, runs)?;
        self.run(subject, runs)
    }

    fn run(&mut self, subject: &Subject, runs: u32) -> Result<Duration> {
        let result = program(&mut self.ebpf, "wrapper")?.test_run(TestRunOptions {
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
        next: u32,
    ) -> Result<()> {
        kernel.set_node(Node {
            flags: subject.node,
            ..self.node
        })?;
        let (words, _) = subject.frame.as_chunks::<8>();
        let mut frame = [0; FRAME_LEN / 8];
        for (to, word) in frame.iter_mut().zip(words) {
            *to = u64::from_ne_bytes(*word);
        }
        let stimulus = Stimulus {
            frame,
            program: subject.program,
            next,
            mask: flows - 1,
            host_at: subject.host_at,
            port_at: subject.port_at,
        };
        self.stimulus.set(0, stimulus, 0).context("map STIMULUS")
    }
}

/// Gives the ideal program one listener, with as many rows and origins as ours has.
fn fill_ideal(ebpf: &mut Ebpf) -> Result<()> {
    let mut listeners: HashMap<MapData, IdealKey, IdealListener> =
        HashMap::try_from(take(ebpf, "IDEAL_LISTENERS")?)?;
    // As many as ours, so that the table is as full.
    for port in 0..32 {
        let key = IdealKey {
            address: address(VIP4),
            port: Port::new(8_000 + port),
            protocol: TCP,
            reserved: 0,
        };
        listeners.insert(
            key,
            IdealListener {
                first: 0,
                rows: ROWS,
            },
            0,
        )?;
    }
    let path = Tunnel::over_v4(Encapsulation::IpIp).path();
    let mut header = [0; 34];
    header[..6].copy_from_slice(&HOP_MAC);
    header[6..12].copy_from_slice(&NODE_MAC);
    header[12..14].copy_from_slice(&[0x08, 0x00]);
    header[14..].copy_from_slice(&path.header[..20]);
    let origin = IdealOrigin {
        header,
        header_sum: path.header_sum,
    };
    let rows = (0..ROWS).map(|row| Row::owned_by((row % u32::from(ORIGINS)) as OriginIndex));
    array(ebpf, "IDEAL_ROWS", rows)?;
    array(ebpf, "IDEAL_ORIGINS", (0..ORIGINS).map(|_| origin))?;
    Ok(())
}

fn array<T: Pod>(ebpf: &mut Ebpf, name: &str, values: impl Iterator<Item = T>) -> Result<()> {
    let mut map: Array<MapData, T> = Array::try_from(take(ebpf, name)?)?;
    for (index, value) in (0..).zip(values) {
        map.set(index, value, 0)?;
    }
    Ok(())
}

fn take(ebpf: &mut Ebpf, name: &str) -> Result<aya::maps::Map> {
    ebpf.take_map(name)
        .with_context(|| format!("the object has no map {name}"))
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    ebpf.program_mut(name)
        .with_context(|| format!("the object has no program {name}"))?
        .try_into()
        .with_context(|| format!("{name} is not an XDP program"))
}
