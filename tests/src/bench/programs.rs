//! The programs of the benchmark's own object, loaded.

use anyhow::{Context, Result};
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, ProgramArray};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader, Pod};
use lbxdp_ebpf::abi::{Count, Encapsulation, Node, OriginIndex, Port, Row};
use lbxdp_ebpf::bench::{FRAME_LEN, IdealKey, IdealListener, IdealOrigin, Stimulus, slot};

use super::subject::Subject;
use super::{ORIGINS, ROWS};
use crate::cases::tunnel::Tunnel;
use crate::cases::world::{HOP_MAC, NODE_MAC, TCP, VIP4, address};
use crate::engine::kernel::Kernel;
use crate::engine::object;

/// The programs, and what they are told.
pub(super) struct Programs {
    ebpf: Ebpf,
    stimulus: Array<MapData, Stimulus>,
    arrived: PerCpuArray<MapData, Count>,
    node: Node,
    _calls: ProgramArray<MapData>,
}

/// Which packets of a subject are made, and where they go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packets {
    /// Number of the first.
    pub(super) first: u32,
    /// One less than the number of flows.
    pub(super) mask: u32,
    /// See [`Stimulus::target`].
    pub(super) target: u32,
}

impl Programs {
    /// Loads all; the wrapper calls the program of `kernel`, whose node has these settings.
    pub(super) fn load(kernel: &mut Kernel, node: Node) -> Result<Self> {
        let mut ebpf = EbpfLoader::new()
            .load(&object::bench_bytes()?)
            .context("the kernel refuses the maps of the benchmark")?;
        let mut calls: ProgramArray<MapData> = take(&mut ebpf, "PROGRAMS")?;
        for (name, slot) in [
            ("pass", Some(slot::PASS)),
            ("floor", Some(slot::FLOOR)),
            ("ipip", Some(slot::IPIP)),
            ("ideal", Some(slot::IDEAL)),
            ("wrapper", None),
            ("generate", None),
            ("sink", None),
        ] {
            let program = program(&mut ebpf, name)?;
            program
                .load()
                .with_context(|| format!("the kernel refuses program {name}"))?;
            if let Some(slot) = slot {
                calls.set(slot, program.fd()?, 0)?;
            }
        }
        let lbxdp = kernel.entry()?.fd()?.try_clone()?;
        calls
            .set(slot::LBXDP, &lbxdp, 0)
            .context("the wrapper cannot call lbxdp")?;
        fill_ideal(&mut ebpf).context("the maps of the ideal program")?;
        let stimulus = take(&mut ebpf, "STIMULUS")?;
        let arrived = take(&mut ebpf, "ARRIVED")?;
        Ok(Self {
            ebpf,
            stimulus,
            arrived,
            node,
            _calls: calls,
        })
    }

    /// The program of this name.
    pub(super) fn get(&mut self, name: &str) -> Result<&mut Xdp> {
        program(&mut self.ebpf, name)
    }

    /// Says which packets are made from now on, and makes the node one that has no other case.
    pub(super) fn stimulate(
        &mut self,
        kernel: &mut Kernel,
        subject: &Subject,
        packets: Packets,
    ) -> Result<()> {
        let Packets {
            first,
            mask,
            target,
        } = packets;
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
            target,
            next: first,
            mask,
            net_at: subject.host_at - 1,
            host_at: subject.host_at,
            port_at: subject.port_at,
            reserved: [0; 6],
        };
        self.stimulus.set(0, stimulus, 0).context("map STIMULUS")
    }

    /// How many packets the sink has counted.
    pub(super) fn arrived(&self) -> Result<u64> {
        let cpus = self.arrived.get(&0, 0).context("map ARRIVED")?;
        Ok(cpus.iter().map(|count| count.packets).sum())
    }
}

/// Gives the ideal program one listener, with as many rows and origins as ours has.
fn fill_ideal(ebpf: &mut Ebpf) -> Result<()> {
    let mut listeners: HashMap<MapData, IdealKey, IdealListener> = take(ebpf, "IDEAL_LISTENERS")?;
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
    let mut map: Array<MapData, T> = take(ebpf, name)?;
    for (index, value) in (0..).zip(values) {
        map.set(index, value, 0)?;
    }
    Ok(())
}

fn take<T: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &str) -> Result<T> {
    let map = ebpf
        .take_map(name)
        .with_context(|| format!("the object has no map {name}"))?;
    T::try_from(map).with_context(|| format!("map {name} has another shape"))
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    ebpf.program_mut(name)
        .with_context(|| format!("the object has no program {name}"))?
        .try_into()
        .with_context(|| format!("{name} is not an XDP program"))
}
