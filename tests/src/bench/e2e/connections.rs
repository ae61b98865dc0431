//! Connections that run while there is a flood.

use anyhow::{Context, Result, bail, ensure};
use lbxdp_ebpf::bench::FRAME_LEN;
use lbxdp_ebpf::mem::MemFrame;
use lbxdp_ebpf::verdict::Action;

use crate::bench::subject::{Flows, Subject};
use crate::cases::world::ETH0;
use crate::engine::kernel::Kernel;

/// How many of each kind.
const EACH: u32 = 4_096;
/// One whose rows are quiet, one whose flows are recorded.
const KINDS: [&str; 2] = ["dsr-ipip", "dsr-ipip-at-risk"];

/// A packet of each, and the origin that it goes to.
pub(super) struct Connections(Vec<Connection>);

struct Connection {
    kind: &'static str,
    packet: [u8; FRAME_LEN],
    origin: u16,
}

impl Connections {
    /// Sends a packet of each.
    pub(super) fn begin(subjects: &[Subject], kernel: &mut Kernel) -> Result<Self> {
        let mut connections = Vec::new();
        for kind in KINDS {
            let subject = subjects
                .iter()
                .find(|subject| subject.name == kind)
                .with_context(|| format!("there is no case {kind}"))?;
            let hits = kernel.flow_hits()?;
            for flow in 0..EACH {
                let packet = subject.packet_of(flow);
                connections.push(Connection {
                    kind,
                    packet,
                    origin: origin_of(&packet, kernel)?,
                });
            }
            let hits = kernel.flow_hits()? - hits;
            let recorded = match subject.flows {
                Flows::Recorded => u64::from(EACH),
                Flows::Any | Flows::Opened(_) | Flows::New => 0,
            };
            ensure!(
                hits == recorded,
                "{kind}: the flows of {hits} packets were recorded, not of {recorded}"
            );
        }
        Ok(Self(connections))
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Sends a packet of each again.
    pub(super) fn check(&self, kernel: &mut Kernel) -> Result<()> {
        let mut moved = 0;
        let mut first = None;
        for Connection {
            kind,
            packet,
            origin,
        } in &self.0
        {
            let now = origin_of(packet, kernel)?;
            if now != *origin {
                moved += 1;
                first = first.or(Some((kind, *origin, now)));
            }
        }
        if let Some((kind, before, now)) = first {
            bail!(
                "of {} running connections {moved} have gone to another origin after a flood: one \
                 of {kind} to {now}, and to {before} before",
                self.0.len()
            );
        }
        Ok(())
    }
}

/// The origin that a packet goes to now.
fn origin_of(packet: &[u8], kernel: &mut Kernel) -> Result<u16> {
    let (action, frame) = kernel.send(packet, ETH0, MemFrame::HEADROOM)?;
    ensure!(
        action == Action::Transmit,
        "a packet of a running connection ends with {action:?}"
    );
    Subject::origin_of(&frame).context("a packet of a running connection goes to no origin")
}
