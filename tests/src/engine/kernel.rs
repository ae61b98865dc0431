//! The program in the kernel, run by `BPF_PROG_TEST_RUN`.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, anyhow, bail, ensure};
use aya::maps::ProgramArray;
use aya::programs::{Program, ProgramError, SchedClassifier, TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use lbxdp::dataplane::FdInfo;
use lbxdp_ebpf::abi::{Allowance, Count, Device, HandOver, Node, Traffic};
use lbxdp_ebpf::mem::{MemFrame, MemTables};
use lbxdp_ebpf::track::FlowEvent;
use lbxdp_ebpf::verdict::{Action, Direction, Reason};
use nix::errno::Errno;

use super::maps::{Counters, Maps};
use super::{Flows, Outcome, Underlay, object};
use crate::cases::{Case, Hook};

/// Actions of XDP (`enum xdp_action`).
const XDP_DROP: u32 = 1;
pub(crate) const XDP_PASS: u32 = 2;
pub(crate) const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;

/// Actions of TC (`linux/pkt_cls.h`).
const TC_ACT_UNSPEC: u32 = u32::MAX;
const TC_ACT_SHOT: u32 = 2;
const TC_ACT_REDIRECT: u32 = 7;

/// The XDP program that is attached.
const PROGRAM: &str = "lbxdp";
/// The one that it calls for what it leaves.
const WHOLE: &str = "lbxdp_whole";

/// The TC programs.
const CLASSIFIERS: [&str; 2] = ["lbxdp_handover", "lbxdp_device"];

/// Room for what encapsulation adds.
const ROOM: usize = 512;

/// Room for translated flows: all ports of one address, and little more, so that it can be filled.
const FLOWS: u32 = 1 << 16;

/// Sets of flows of rows at risk: few, since the maps are read after each packet.
const SETS: u32 = 1 << 10;

/// No logging at all (`AYA_LOG_LEVEL`).
pub const QUIET: u8 = 0;
/// The level at which every packet is logged (`aya_log_common::Level::Trace`).
pub const TRACE: u8 = 5;

/// The loaded program with its maps, in a network namespace of its own.
pub struct Kernel {
    ebpf: Ebpf,
    /// Name of the program that frames are given to.
    entry: &'static str,
    maps: Maps,
    _underlay: Underlay,
}

impl Kernel {
    /// Loads the object; needs root.
    ///
    /// # Errors
    /// When the object is missing, or the kernel refuses it.
    pub fn load() -> Result<Self> {
        Self::load_with(QUIET, Some(FLOWS))
    }

    /// Loads the object with maps as large as it declares them, and with this level of logging:
    /// the verifier follows what is logged only if it is.
    ///
    /// # Errors
    /// As [`Kernel::load`].
    pub fn load_as_declared(log_level: u8) -> Result<Self> {
        Self::load_with(log_level, None)
    }

    fn load_with(log_level: u8, flows: Option<u32>) -> Result<Self> {
        let object = object::bytes()?;
        let underlay = Underlay::lay()?;
        let mut loader = EbpfLoader::new();
        loader
            .verifier_log_level(VerifierLogLevel::STATS)
            .override_global(aya_log_level_name(), &log_level, false);
        if let Some(flows) = flows {
            loader
                .map_max_entries("SESSIONS", flows)
                .map_max_entries("MAPPINGS", flows)
                .map_max_entries("FLOWS", SETS)
                .map_max_entries("OPENING", SETS)
                .override_global("LBXDP_FLOW_SETS", &SETS, true)
                .override_global("LBXDP_OPENING_SETS", &SETS, true);
        }
        let mut ebpf = loader
            .load(&object)
            .context("the kernel refuses the maps of the object")?;
        for name in [PROGRAM, WHOLE] {
            program(&mut ebpf, name)?
                .load()
                .with_context(|| format!("the kernel refuses program {name}"))?;
        }
        for name in CLASSIFIERS {
            classifier(&mut ebpf, name)?
                .load()
                .with_context(|| format!("the kernel refuses program {name}"))?;
        }
        let whole = program(&mut ebpf, WHOLE)?.fd()?.try_clone()?;
        let map = ebpf
            .map_mut("PROGRAMS")
            .context("the object has no map PROGRAMS")?;
        ProgramArray::try_from(map)?
            .set(0, &whole, 0)
            .context("map PROGRAMS")?;
        let maps = Maps::take(&mut ebpf)?;
        Ok(Self {
            ebpf,
            entry: PROGRAM,
            maps,
            _underlay: underlay,
        })
    }

    /// Gives frames to the whole program from now on, as an agent does that logs each packet.
    pub const fn enter_whole(&mut self) {
        self.entry = WHOLE;
    }

    /// How many packets have ended for each reason, by index.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn reasons(&self) -> Result<Vec<Count>> {
        self.maps.reasons()
    }

    /// The program that is attached.
    pub(crate) fn entry(&mut self) -> Result<&mut Xdp> {
        program(&mut self.ebpf, PROGRAM)
    }

    /// Of how many packets the flow was recorded, of a row at risk.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn flow_hits(&self) -> Result<u64> {
        let events = self.maps.flow_events()?;
        Ok(events.get(&FlowEvent::Hit).copied().unwrap_or_default())
    }

    /// Whether the kernel runs a frame with little room before it.
    ///
    /// # Errors
    /// When it fails for another reason than the metadata that takes the room.
    pub fn takes_away_room(&mut self) -> Result<bool> {
        /// As much as any kernel takes: it keeps 40 bytes of the room for itself.
        const METADATA: usize = MemFrame::HEADROOM - 40;
        let input = [0; METADATA + 64];
        let context = context(METADATA, input.len(), 0);
        let result = program(&mut self.ebpf, self.entry)?.test_run(TestRunOptions {
            data_in: Some(&input),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        });
        match result {
            Ok(_) => Ok(true),
            Err(ProgramError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(Errno::EINVAL as i32) =>
            {
                Ok(false)
            }
            Err(error) => Err(error).context("BPF_PROG_TEST_RUN with metadata"),
        }
    }

    /// Runs a case.
    ///
    /// The kernel does not say by which interface a redirected frame leaves: that of the case is
    /// taken for granted.
    ///
    /// # Errors
    /// When it cannot be run, or when the counters have not moved as they must: exactly one
    /// packet, with all its bytes, in one reason, and in the counters of what it was sent by.
    pub fn run(&mut self, case: &Case) -> Result<Outcome> {
        let room = case.headroom.unwrap_or(MemFrame::HEADROOM);
        self.maps.hold(&case.world.tables)?;
        for earlier in &case.earlier {
            self.run_held(&earlier.bytes(), case.ingress, MemFrame::HEADROOM)?;
        }
        let outcome = match case.hook {
            Hook::Xdp => self.run_held(&case.packet.bytes(), case.ingress, room)?,
            Hook::Device => {
                let bytes = case.packet.bytes();
                self.run_from_device(&bytes, &case.world.tables, case.ingress)?
            }
        };
        let action = match (outcome.action, case.expect.action) {
            (Action::Redirect(_), Action::Redirect(ifindex)) => Action::Redirect(ifindex),
            (action, _) => action,
        };
        Ok(Outcome { action, ..outcome })
    }

    /// Runs a frame with `room` bytes before it. The interface of a redirect is 0.
    ///
    /// # Errors
    /// As for [`Kernel::run`].
    pub fn run_frame(
        &mut self,
        bytes: &[u8],
        tables: &MemTables,
        ingress: u32,
        room: usize,
    ) -> Result<Outcome> {
        self.hold(tables)?;
        self.run_held(bytes, ingress, room)
    }

    /// Runs a frame with the tables as they are.
    fn run_held(&mut self, bytes: &[u8], ingress: u32, room: usize) -> Result<Outcome> {
        let before = self.maps.counters()?;
        let (action, frame) = self.send(bytes, ingress, room)?;
        let after = self.maps.counters()?;
        let moved = moved(&before, &after, bytes.len() as u64)?;
        Ok(Outcome {
            action,
            frame,
            flows: self.maps.flows()?,
            ..moved
        })
    }

    /// Makes the maps hold these tables.
    ///
    /// # Errors
    /// When a map cannot be written.
    pub fn hold(&mut self, tables: &MemTables) -> Result<()> {
        self.maps.hold(tables)
    }

    /// Does with the flows that the maps hold what the agent does by two sweeps; says of which share of
    /// all flows it is known then that they need not be looked for beyond their first sets.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn sweep_flows(&self) -> Result<f64> {
        self.maps.look_through_flows()
    }

    /// Runs a frame with `room` bytes before it over the maps as they are, and tells nothing but
    /// what becomes of it. The interface of a redirect is 0.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn send(&mut self, bytes: &[u8], ingress: u32, room: usize) -> Result<(Action, Vec<u8>)> {
        // What is in front of the frame as metadata is no room for headers.
        let metadata = MemFrame::HEADROOM - room;
        let mut input = vec![0; metadata];
        input.extend_from_slice(bytes);
        let context = context(metadata, input.len(), ingress);
        let mut output = vec![0; input.len() + ROOM];
        let mut context_out = vec![0; context.len()];
        let result = program(&mut self.ebpf, self.entry)?
            .test_run(TestRunOptions {
                data_in: Some(&input),
                data_out: Some(&mut output),
                ctx_in: Some(&context),
                ctx_out: Some(&mut context_out),
                ..TestRunOptions::default()
            })
            .with_context(|| format!("BPF_PROG_TEST_RUN of {} bytes", bytes.len()))?;
        output.truncate(result.data_size_out as usize);
        // Before the frame is the metadata, of which the program may have put more in front.
        let start = field(&context_out, 0).context("the context has no data")? as usize;
        ensure!(start <= output.len(), "the frame begins behind its end");
        let frame = output.split_off(start);
        let told = told(&output, metadata)?;
        let action = match result.return_value {
            XDP_DROP => Action::Drop,
            XDP_PASS => match told {
                Some(device) => Action::HandOver(device),
                None => Action::Pass,
            },
            XDP_TX => Action::Transmit,
            XDP_REDIRECT => Action::Redirect(0),
            other => bail!("the program returned {other}"),
        };
        Ok((action, frame))
    }

    /// Gives every CPU this allowance, of which packets have taken.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn allow(&mut self, allowance: Allowance) -> Result<()> {
        self.maps.allow(allowance)
    }

    /// Gives the node other settings than those of the tables.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn set_node(&mut self, node: Node) -> Result<()> {
        self.maps.set_node(node)
    }

    /// What is remembered of flows.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn flows(&self) -> Result<Flows> {
        self.maps.flows()
    }

    /// Reads all counters that are watched.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn counters(&self) -> Result<Counters> {
        self.maps.counters()
    }

    /// Runs a packet that comes in by a tunnel's device; as [`Kernel::run_frame`].
    ///
    /// The kernel takes the first bytes for an Ethernet header, as it must be given one; the program
    /// does not ask it.
    ///
    /// # Errors
    /// As for [`Kernel::run`].
    pub fn run_from_device(
        &mut self,
        bytes: &[u8],
        tables: &MemTables,
        device: u32,
    ) -> Result<Outcome> {
        /// Position of `ifindex` in `struct __sk_buff`, in fields.
        const IFINDEX: usize = 10;
        self.maps.hold(tables)?;
        let before = self.maps.counters()?;
        let mut context = vec![0; 4 * IFINDEX];
        context.extend(device.to_ne_bytes());
        let mut output = vec![0; bytes.len() + ROOM];
        let result = classifier(&mut self.ebpf, "lbxdp_device")?
            .test_run(TestRunOptions {
                data_in: Some(bytes),
                data_out: Some(&mut output),
                ctx_in: Some(&context),
                ..TestRunOptions::default()
            })
            .with_context(|| format!("BPF_PROG_TEST_RUN of {} bytes", bytes.len()))?;
        output.truncate(result.data_size_out as usize);
        let after = self.maps.counters()?;
        let moved = moved(&before, &after, bytes.len() as u64)?;
        Ok(Outcome {
            action: match result.return_value {
                TC_ACT_UNSPEC => Action::Pass,
                TC_ACT_SHOT => Action::Drop,
                TC_ACT_REDIRECT => Action::Redirect(0),
                other => bail!("the program returned {other}"),
            },
            frame: output,
            flows: self.maps.flows()?,
            ..moved
        })
    }
}

/// Loads every program of the object, with this level of logging, and says how many instructions
/// the verifier has processed for each.
///
/// # Errors
/// When the kernel refuses one, or does not say.
pub fn verified_instructions(log_level: u8) -> Result<Vec<(String, u32)>> {
    let mut ebpf = EbpfLoader::new()
        .verifier_log_level(VerifierLogLevel::STATS)
        .override_global(aya_log_level_name(), &log_level, false)
        .load(&object::bytes()?)
        .context("the kernel refuses the maps of the object")?;
    ebpf.programs_mut()
        .map(|(name, program)| {
            match program {
                Program::Xdp(xdp) => xdp.load(),
                Program::SchedClassifier(classifier) => classifier.load(),
                other => bail!("nobody here loads programs of type {:?}", other.prog_type()),
            }
            .with_context(|| format!("the kernel refuses program {name}"))?;
            let info = program.info();
            let count = info
                .with_context(|| format!("the kernel does not describe program {name}"))?
                .verified_instruction_count()
                .context("the kernel does not count verified instructions (before Linux 5.16)")?;
            Ok((name.to_owned(), count))
        })
        .collect()
}

/// What the program has put in front of `before` bytes of metadata.
fn told(metadata: &[u8], before: usize) -> Result<Option<Device>> {
    let ours = metadata.len() - before.min(metadata.len());
    if ours == 0 {
        return Ok(None);
    }
    ensure!(
        ours == size_of::<HandOver>(),
        "the program leaves {ours} bytes of metadata"
    );
    let number = |index| field(metadata, index).context("the metadata is cut short");
    let (magic, number) = (number(0)?, number(1)?);
    ensure!(
        magic == HandOver::MAGIC,
        "the metadata begins with {magic:#x}"
    );
    Ok(Some(Device::from_number(number)))
}

/// The 32-bit field of a context, or of metadata.
fn field(bytes: &[u8], index: usize) -> Option<u32> {
    let (fields, _) = bytes.as_chunks::<4>();
    fields.get(index).copied().map(u32::from_ne_bytes)
}

fn classifier<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut SchedClassifier> {
    ebpf.program_mut(name)
        .with_context(|| format!("the object has no program {name}"))?
        .try_into()
        .with_context(|| format!("{name} is not a TC program"))
}

fn program<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Xdp> {
    ebpf.program_mut(name)
        .with_context(|| format!("the object has no program {name}"))?
        .try_into()
        .with_context(|| format!("{name} is not an XDP program"))
}

/// The variable that holds the level of `aya-log`.
const fn aya_log_level_name() -> &'static str {
    "AYA_LOG_LEVEL"
}

/// A `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
pub(crate) fn context(metadata: usize, length: usize, ingress: u32) -> Vec<u8> {
    [metadata as u32, length as u32, 0, ingress, 0, 0]
        .iter()
        .flat_map(|field| field.to_ne_bytes())
        .collect()
}

/// What one packet of `bytes` bytes has moved; an outcome without action and frame.
fn moved(before: &Counters, after: &Counters, bytes: u64) -> Result<Outcome> {
    let reasons = steps(&before.reasons, &after.reasons, |count| *count);
    let [(reason, step)] = reasons.as_slice() else {
        bail!("one reason must be counted, not {reasons:?}");
    };
    let reason = *Reason::ALL
        .get(*reason as usize)
        .context("a reason out of range")?;
    ensure!(
        *step == Count { packets: 1, bytes },
        "{reason:?} counts {step:?}, not one packet of {bytes} bytes"
    );
    let one = |name: &str, before: &[Traffic], after: &[Traffic]| -> Result<Option<u32>> {
        let forward = steps(before, after, |traffic| traffic.forward);
        let reply = steps(before, after, |traffic| traffic.reply);
        let (with, against) = match reason.direction() {
            Some(Direction::Forward) => (forward, reply),
            Some(Direction::Reply) => (reply, forward),
            None => {
                ensure!(
                    forward.is_empty() && reply.is_empty(),
                    "{reason:?} moves the counters of a {name}"
                );
                return Ok(None);
            }
        };
        ensure!(
            against.is_empty(),
            "a {name} counts {reason:?} in the wrong direction"
        );
        match with.as_slice() {
            [] => Ok(None),
            [(index, step)] if *step == (Count { packets: 1, bytes }) => Ok(Some(*index)),
            other => Err(anyhow!("counters of {name}s move by {other:?}")),
        }
    };
    Ok(Outcome {
        action: Action::Drop,
        reason,
        listener: one("listener", &before.listeners, &after.listeners)?,
        origin: one("origin", &before.origins, &after.origins)?
            .map(u16::try_from)
            .transpose()
            .context("an origin's slot")?,
        tunnel: one("tunnel", &before.tunnels, &after.tunnels)?
            .map(u16::try_from)
            .transpose()
            .context("a tunnel's slot")?,
        frame: Vec::new(),
        flows: Flows::default(),
    })
}

/// The slots that differ, and by how much.
fn steps<T>(before: &[T], after: &[T], count: impl Fn(&T) -> Count) -> Vec<(u32, Count)> {
    let pairs = before
        .iter()
        .zip(after)
        .map(|(old, new)| (count(old), count(new)));
    (0..)
        .zip(pairs)
        .filter(|(_, (old, new))| old != new)
        .map(|(index, (old, new))| {
            let step = Count {
                packets: new.packets - old.packets,
                bytes: new.bytes - old.bytes,
            };
            (index, step)
        })
        .collect()
}

/// Bytes of memory of all maps that this process has open.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn map_memory() -> Result<u64> {
    let mut maps = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/fdinfo").context("cannot read /proc/self/fdinfo")? {
        // A descriptor may be closed in the meantime, that of the folder itself is.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        if let Some(FdInfo { id, memory, .. }) = FdInfo::read(&text) {
            maps.insert(id, memory);
        }
    }
    Ok(maps.values().sum())
}
