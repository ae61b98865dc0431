//! What a running agent takes, by the size of its configuration: `lbxdp run` in a lab, with origins
//! that answer behind tunnels that are there.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::memory::{self, Memory, mebibytes};
use super::scenario::Scenario;
use crate::netns::{Edge, Lab, Namespace, Status};

/// Of a step that takes seconds.
const DEADLINE: Duration = Duration::from_secs(120);
/// After this the agent has given back what a step took for a moment.
pub const REST: Duration = Duration::from_secs(7);
/// The agent's memory at any time, with 10,000 origins, in KiB.
const GOAL: u64 = 128 << 10;
/// Where the tunnels end.
const FAR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 17);

/// What one size takes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Life {
    /// Origins, in all pools.
    pub origins: usize,
    /// Pools.
    pub pools: usize,
    /// Listeners.
    pub listeners: usize,
    /// VNets.
    pub vnets: usize,
    /// Milliseconds from the start to the first status.
    pub answers_ms: u64,
    /// Milliseconds from the start until a status says that all origins are healthy.
    pub healthy_ms: u64,
    /// The most memory until then, in KiB.
    pub start_peak_kib: u64,
    /// Memory at rest, in KiB.
    pub resident_kib: u64,
    /// Milliseconds from the signal until a status says that an edit of every pool is in force.
    pub edit_ms: u64,
    /// The most memory from the signal until all origins are healthy again, in KiB.
    pub edit_peak_kib: u64,
    /// Memory at rest after the edit, with rows at risk, in KiB.
    pub edited_kib: u64,
}

/// Measures one size; memory at rest after so long a rest.
///
/// # Errors
/// When the lab cannot be built, or the agent does not become what it should.
pub fn measure(origins: usize, rest: Duration) -> Result<Life> {
    let scenario = Scenario::of(origins);
    let lab = Lab::without_sites()?;
    let _far = far_end(&lab, &scenario)?;
    let text = |scenario: &Scenario| scenario.text(&lab.configuration(), FAR);

    let start = Instant::now();
    let mut edge = Edge::prepare(&lab, &text(&scenario))?;
    edge.spawn()?;
    edge.wait_long("the agent answers", DEADLINE, |_| true)?;
    let answers = start.elapsed();
    edge.wait_long("all origins are healthy", DEADLINE, Status::all_healthy)?;
    let healthy = start.elapsed();
    let pid = edge.pid().context("the agent runs")?;
    let start_peak_kib = memory::of(pid, Memory::Peak)?;
    std::thread::sleep(rest);
    let resident_kib = memory::of(pid, Memory::Resident)?;

    memory::forget_peak(pid)?;
    let start = Instant::now();
    edge.reload(&text(&scenario.edited()))?;
    edge.wait_long("the edit is in force", DEADLINE, |status| {
        status.0["node"]["generation"] == 2
    })?;
    let edit = start.elapsed();
    edge.wait_long("all origins are healthy", DEADLINE, Status::all_healthy)?;
    let edit_peak_kib = memory::of(pid, Memory::Peak)?;
    std::thread::sleep(rest);
    let edited_kib = memory::of(pid, Memory::Resident)?;
    edge.terminate()?;
    Ok(Life {
        origins,
        pools: scenario.pools,
        listeners: scenario.listeners,
        vnets: scenario.vnets,
        answers_ms: milliseconds(answers),
        healthy_ms: milliseconds(healthy),
        start_peak_kib,
        resident_kib,
        edit_ms: milliseconds(edit),
        edit_peak_kib,
        edited_kib,
    })
}

/// The machine at which all tunnels end, and that has all addresses of origins.
fn far_end(lab: &Lab, scenario: &Scenario) -> Result<Namespace> {
    let far = lab.attach("far", FAR)?;
    let mut batch = format!("route add local {} dev lo\n", Scenario::ADDRESSES);
    for vnet in 0..scenario.vnets {
        let [_, end] = Scenario::tunnel(vnet);
        let vni = Scenario::vni(vnet);
        let node = lab.tunnel_end();
        // Writing to a string does not fail.
        let _ = write!(
            batch,
            "link add vx{vni} type vxlan id {vni} local {FAR} remote {node} dstport 4789\n\
             addr add {end}/30 dev vx{vni}\n\
             link set vx{vni} up\n"
        );
    }
    far.ip("link set lo up")?;
    far.ip(&batch)?;
    Ok(far)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Lives as a table.
#[must_use]
pub fn table(all: &[Life]) -> String {
    let header = [
        "origins",
        "pools",
        "listeners",
        "VNets",
        "answers",
        "all healthy",
        "memory",
        "(peak)",
        "edit in force",
        "memory",
        "(peak)",
    ];
    let time = |milliseconds: u64| format!("{milliseconds} ms");
    let rows = all.iter().map(|life| {
        let Life {
            origins,
            pools,
            listeners,
            vnets,
            answers_ms,
            healthy_ms,
            start_peak_kib,
            resident_kib,
            edit_ms,
            edit_peak_kib,
            edited_kib,
        } = life;
        [
            origins.to_string(),
            pools.to_string(),
            listeners.to_string(),
            vnets.to_string(),
            time(*answers_ms),
            time(*healthy_ms),
            mebibytes(*resident_kib),
            mebibytes(*start_peak_kib),
            time(*edit_ms),
            mebibytes(*edited_kib),
            mebibytes(*edit_peak_kib),
        ]
    });
    super::numbers(header, rows)
}

/// The goal of the largest size, and whether it is met.
#[must_use]
pub fn goals(life: &Life) -> Vec<String> {
    vec![super::goal(
        "memory at its peak",
        life.start_peak_kib.max(life.edit_peak_kib),
        GOAL,
        "KiB",
    )]
}
