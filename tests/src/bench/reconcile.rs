//! What a configuration of a given size costs the agent: to load, to publish for the first time,
//! and until a flap of one origin is in the maps.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use lbxdp::config;
use lbxdp::dataplane::{Dataplane, LoadOptions, detach_all};
use lbxdp::health::{Failure, ProbeKey, Probers};
use lbxdp::pulse::Pulses;
use lbxdp::reconcile::{Hop, HopKey, hop_keys, map_sizes};
use lbxdp::state::State;
use lbxdp_ebpf::abi::Tags;
use serde::{Deserialize, Serialize};

use super::goal;
use super::memory::{self, Memory, mebibytes};
use super::scenario::Scenario;
use crate::engine::kernel::map_memory;

const NODE: &str = r#"[node]
interfaces = ["lo"]
addresses = ["203.0.113.1"]
hash_key = "2b7e151628aed2a6abf7158809cf4f3c"
"#;
/// Until a flap is in the maps, with 10,000 origins.
const FLAP_GOAL: u64 = 20_000;
/// Of that, until it is known what to write.
const TABLE_GOAL: u64 = 5_000;
/// Resident memory of the agent.
const MEMORY_GOAL: u64 = 128 << 10;

/// What one size costs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Growth {
    /// Origins, in all pools.
    pub origins: usize,
    /// Pools.
    pub pools: usize,
    /// Listeners.
    pub listeners: usize,
    /// VNets.
    pub vnets: usize,
    /// Microseconds to read and validate the configuration.
    pub load_us: u64,
    /// Microseconds to decide what the maps are to hold, for the first time.
    pub plan_us: u64,
    /// Microseconds to write that.
    pub publish_us: u64,
    /// Microseconds from a change of one origin's health to rows in force: median.
    pub flap_us: u64,
    /// The same, the longest.
    pub flap_us_max: u64,
    /// Of the median, what deciding took.
    pub table_us: u64,
    /// And what writing took.
    pub write_us: u64,
    /// Resident memory of this process, with the configuration in force, in KiB.
    pub memory_kib: u64,
    /// The same with a task for each probe.
    pub memory_probing_kib: u64,
    /// Memory of all maps, in KiB.
    pub maps_kib: u64,
}

/// Maps of a benchmark; removed when dropped.
struct Pins(PathBuf);

impl Drop for Pins {
    fn drop(&mut self) {
        if let Err(error) = detach_all(&self.0) {
            eprintln!("{} is left: {error:#}", self.0.display());
        }
    }
}

/// Measures one size, with so many flaps. Memory is that of this process, so each size wants one of
/// its own.
///
/// # Errors
/// When the maps cannot be made or written.
pub fn measure(origins: usize, flaps: usize) -> Result<Growth> {
    let scenario = Scenario::of(origins);
    let text = scenario.text(NODE, Ipv4Addr::new(203, 0, 113, 2));
    let start = Instant::now();
    let loaded = config::parse(&text, Path::new("bench.toml"))
        .map_err(|invalid| anyhow::anyhow!("{invalid}"))?;
    let load = start.elapsed();
    drop(text);

    let pins = Pins(format!("/sys/fs/bpf/lbxdp-bench-{}", std::process::id()).into());
    let mut dataplane = Dataplane::load(&LoadOptions {
        max_entries: map_sizes(&loaded.config)?,
        ..LoadOptions::at(&pins.0)
    })?;
    let now = SystemTime::now();
    let mut state = State::new(loaded.config, dataplane.content(), now)?;
    state.set_hops(hop_keys(state.config()).into_iter().map(resolved).collect());
    let key = |number: usize| {
        let (pool, origin) = scenario.origin(number);
        ProbeKey::origin(&pool, &origin)
    };
    for number in 0..origins {
        state.observe(&key(number), Ok(Duration::from_millis(1)), now);
    }
    let (plan, publish) = settle(&mut state, &mut dataplane, now)?;

    let mut samples = Vec::new();
    for flap in 0..flaps {
        let number = flap * 7_919 % origins;
        for result in [Err(Failure::IcmpTimeout), Ok(Duration::from_millis(1))] {
            let flip = state.observe(&key(number), result, now);
            ensure!(flip.is_some(), "origin {number} has not flipped");
            samples.push(self::flap(&mut state, &mut dataplane, now)?);
        }
    }
    samples.sort_unstable_by_key(|(table, write)| *table + *write);
    let (table, write) = samples.get(samples.len() / 2).copied().unwrap_or_default();
    let longest = samples.last().copied().unwrap_or_default();

    let memory_kib = resident()?;
    let memory_probing_kib = probing(&state)?;
    Ok(Growth {
        origins,
        pools: scenario.pools,
        listeners: scenario.listeners,
        vnets: scenario.vnets,
        load_us: microseconds(load),
        plan_us: microseconds(plan),
        publish_us: microseconds(publish),
        flap_us: microseconds(table + write),
        flap_us_max: microseconds(longest.0 + longest.1),
        table_us: microseconds(table),
        write_us: microseconds(write),
        memory_kib,
        memory_probing_kib,
        maps_kib: map_memory()? >> 10,
    })
}

/// Brings all in line; how long it took to decide, and to write.
fn settle(
    state: &mut State,
    dataplane: &mut Dataplane,
    now: SystemTime,
) -> Result<(Duration, Duration)> {
    let start = Instant::now();
    let desired = state.desired(dataplane.content(), now);
    let plan = start.elapsed();
    let report = dataplane.sync(&desired)?;
    ensure!(report.published > 0, "rows are published");
    state.written();
    Ok((plan, start.elapsed() - plan))
}

/// The same for what a flap changes.
fn flap(
    state: &mut State,
    dataplane: &mut Dataplane,
    now: SystemTime,
) -> Result<(Duration, Duration)> {
    let start = Instant::now();
    let revision = state.revision(dataplane.content(), now);
    let revision = revision.context("nothing but health has changed")?;
    let table = start.elapsed();
    let report = dataplane.revise(&revision)?;
    ensure!(report.published == 1, "{report:?}");
    state.revised();
    Ok((table, start.elapsed() - table))
}

fn resolved(key: HopKey) -> (HopKey, Result<Hop, String>) {
    let hop = Hop {
        ifindex: 1,
        tags: Tags::NONE,
        source_mac: [2, 0, 0, 0, 0, 1],
        destination_mac: [2, 0, 0, 0, 0, 2],
        mtu: 1500,
    };
    (key, Ok(hop))
}

/// Resident memory while everything is probed. The devices are not there, so that each probe fails
/// as soon as it begins.
fn probing(state: &State) -> Result<u64> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (events, mut results) = tokio::sync::mpsc::channel(1024);
        let mut probers = Probers::new(events, Pulses::default());
        let probes = state.probes();
        let wanted = probes.len();
        probers.reconcile(probes);
        for _ in 0..wanted {
            let result = tokio::time::timeout(Duration::from_secs(30), results.recv());
            result.await.context("each probe has a result")?;
        }
        resident()
    })
}

/// Resident memory of this process, in KiB.
fn resident() -> Result<u64> {
    memory::of(std::process::id(), Memory::Resident)
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Growth as a table.
#[must_use]
pub fn table(all: &[Growth]) -> String {
    let header = [
        "origins",
        "pools",
        "listeners",
        "VNets",
        "load",
        "first plan",
        "publish",
        "flap",
        "(max)",
        "table work",
        "map writes",
        "memory",
        "probing",
        "maps",
    ];
    let time = |microseconds: u64| {
        format!(
            "{:.2} ms",
            Duration::from_micros(microseconds).as_secs_f64() * 1e3
        )
    };
    let rows = all.iter().map(|growth| {
        let Growth {
            origins,
            pools,
            listeners,
            vnets,
            load_us,
            plan_us,
            publish_us,
            flap_us,
            flap_us_max,
            table_us,
            write_us,
            memory_kib,
            memory_probing_kib,
            maps_kib,
        } = growth;
        [
            origins.to_string(),
            pools.to_string(),
            listeners.to_string(),
            vnets.to_string(),
            time(*load_us),
            time(*plan_us),
            time(*publish_us),
            time(*flap_us),
            time(*flap_us_max),
            time(*table_us),
            time(*write_us),
            mebibytes(*memory_kib),
            mebibytes(*memory_probing_kib),
            mebibytes(*maps_kib),
        ]
    });
    super::numbers(header, rows)
}

/// The goals of the largest size, and whether they are met.
#[must_use]
pub fn goals(growth: &Growth) -> Vec<String> {
    vec![
        goal("flap in force", growth.flap_us, FLAP_GOAL, "us"),
        goal("of that table work", growth.table_us, TABLE_GOAL, "us"),
        goal(
            "resident memory, probing",
            growth.memory_probing_kib,
            MEMORY_GOAL,
            "KiB",
        ),
    ]
}
