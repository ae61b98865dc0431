//! What runs the fixture table: the packet logic on the host, or the program in the kernel.

pub mod host;
pub mod kernel;
mod maps;
pub mod object;
mod underlay;

use std::collections::BTreeMap;

use lbxdp_ebpf::abi::{FlowKey, Kept, Mapping, OriginIndex, Session, Tracked, TunnelIndex};
use lbxdp_ebpf::flow_table::fingerprint;
use lbxdp_ebpf::hash::flow_digest;
use lbxdp_ebpf::mem::MemTables;
use lbxdp_ebpf::track::FlowEvent;
use lbxdp_ebpf::verdict::{Action, Reason};

use crate::cases::{Case, Expect};
use crate::packet::judge::judge;

pub use maps::Counters;
pub use underlay::Underlay;

/// How a packet ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// What the kernel is told to do. The kernel itself does not say by which interface.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// The listener that the packet counted for.
    pub listener: Option<u32>,
    /// The origin that it counted for.
    pub origin: Option<OriginIndex>,
    /// The tunnel that it counted for.
    pub tunnel: Option<TunnelIndex>,
    /// The frame.
    pub frame: Vec<u8>,
    /// What is remembered of flows after it.
    pub flows: Flows,
}

/// Sessions, mappings and flows of rows at risk, without the times, which the host does not have.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Flows {
    /// Map `SESSIONS`.
    pub sessions: BTreeMap<FlowKey, Session>,
    /// Map `MAPPINGS`.
    pub mappings: BTreeMap<FlowKey, Mapping>,
    /// Map `FLOWS`.
    pub tracked: BTreeMap<FlowKey, Tracked>,
    /// Map `OPENING`, by fingerprints of flows.
    pub opening: BTreeMap<u32, Kept>,
    /// Map `FLOW_COUNTERS`: what was counted at all.
    pub events: BTreeMap<FlowEvent, u64>,
}

impl Flows {
    fn timeless(mut self) -> Self {
        for session in self.sessions.values_mut() {
            session.seen.tick = 0;
        }
        for mapping in self.mappings.values_mut() {
            mapping.seen.tick = 0;
        }
        for flow in self.tracked.values_mut() {
            flow.seen.tick = 0;
        }
        for first in self.opening.values_mut() {
            first.seen.tick = 0;
        }
        self
    }

    /// What the tables remember.
    #[must_use]
    pub fn of(tables: &MemTables) -> Self {
        let hash_key = tables.node.unwrap_or_default().hash_key;
        let opening = tables.opening.entries().into_iter().map(|(key, entry)| {
            let fingerprint = fingerprint(flow_digest(&hash_key, &key));
            (fingerprint, entry.apart(key).1)
        });
        Self {
            sessions: tables.sessions.entries(),
            mappings: tables.mappings.entries(),
            tracked: tables.flows.entries(),
            opening: opening.collect(),
            events: tables.flow_events.entries(),
        }
        .timeless()
    }
}

impl Outcome {
    /// Says in what it differs from what the case expects.
    ///
    /// # Errors
    /// A few lines for a person.
    pub fn check(&self, case: &Case) -> Result<(), String> {
        let mut faults = Vec::new();
        let Expect {
            action,
            reason,
            listener,
            origin,
            tunnel,
            out,
        } = &case.expect;
        if self.reason != *reason {
            faults.push(format!("reason is {:?}, should be {reason:?}", self.reason));
        }
        if self.action != *action {
            faults.push(format!("action is {:?}, should be {action:?}", self.action));
        }
        let counted = (self.listener, self.origin, self.tunnel);
        let should = (*listener, *origin, *tunnel);
        if counted != should {
            faults.push(format!(
                "counted for (listener, origin, tunnel) {counted:?}, should be {should:?}"
            ));
        }
        let wanted = match out {
            None => Ok(case.packet.bytes()),
            Some(packet) => packet.bytes_like(&self.frame),
        };
        match wanted {
            Ok(wanted) if wanted == self.frame => {}
            Ok(wanted) => faults.push(difference(&self.frame, &wanted)),
            Err(fault) => faults.push(fault),
        }
        if faults.is_empty() {
            return Ok(());
        }
        Err(format!("{case}\n    {}", faults.join("\n    ")))
    }
}

/// Shows two frames, and where they part.
fn difference(actual: &[u8], wanted: &[u8]) -> String {
    let at = actual
        .iter()
        .zip(wanted)
        .position(|(a, b)| a != b)
        .unwrap_or(actual.len().min(wanted.len()));
    let show = |frame: &[u8]| match judge(frame) {
        Ok(found) => found.to_string(),
        Err(fault) => fault.to_string(),
    };
    format!(
        "frames differ at byte {at}\n      is        {}\n      {}\n      should be {}\n      {}",
        hex(actual),
        show(actual),
        hex(wanted),
        show(wanted)
    )
}

/// The first bytes of a frame.
fn hex(frame: &[u8]) -> String {
    let shown = frame.len().min(140);
    let mut text: String = frame[..shown]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if shown < frame.len() {
        text.push_str(&format!("… ({} bytes)", frame.len()));
    }
    text
}
