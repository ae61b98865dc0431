//! The packet logic as ordinary Rust.

use lbxdp_ebpf::frame::Frame;
use lbxdp_ebpf::mem::{MemFrame, MemTables};
use lbxdp_ebpf::pipeline::process;

use super::{Flows, Outcome};
use crate::cases::Case;

/// Runs a case.
#[must_use]
pub fn run(case: &Case) -> Outcome {
    let bytes = case.packet.bytes();
    let frame = match case.headroom {
        None => MemFrame::new(&bytes),
        Some(room) => with_headroom(&bytes, room),
    };
    // Packets write to some.
    let tables = case.world.tables.clone();
    for earlier in &case.earlier {
        outcome(MemFrame::new(&earlier.bytes()), &tables, case.ingress);
    }
    outcome(frame, &tables, case.ingress)
}

/// Runs a frame, which leaves nothing behind in the tables.
#[must_use]
pub fn run_frame(bytes: &[u8], tables: &MemTables, ingress: u32) -> Outcome {
    outcome(MemFrame::new(bytes), &tables.clone(), ingress)
}

/// Runs a frame of which the flows are remembered in the tables, and not told.
#[must_use]
pub fn play(bytes: &[u8], tables: &MemTables, ingress: u32) -> Outcome {
    ended(MemFrame::new(bytes), tables, ingress)
}

fn outcome(frame: MemFrame, tables: &MemTables, ingress: u32) -> Outcome {
    // The world is the next packet's too.
    let (sessions, mappings) = (tables.sessions.entries(), tables.mappings.entries());
    let outcome = ended(frame, tables, ingress);
    let flows = Flows::new(
        std::mem::replace(&mut tables.sessions.lock(), sessions),
        std::mem::replace(&mut tables.mappings.lock(), mappings),
    );
    Outcome { flows, ..outcome }
}

fn ended(mut frame: MemFrame, tables: &MemTables, ingress: u32) -> Outcome {
    let verdict = process(&mut frame, tables, ingress);
    // A packet that is not forwarded counts for its reason alone.
    let counts = verdict.reason.direction().is_some();
    Outcome {
        action: verdict.action,
        reason: verdict.reason,
        listener: verdict.listener.filter(|_| counts),
        origin: verdict.origin.filter(|_| counts),
        tunnel: verdict.tunnel.filter(|_| counts),
        frame: frame.bytes().to_vec(),
        flows: Flows::default(),
    }
}

/// A frame with less room in front: its first bytes stand in what would be room.
fn with_headroom(bytes: &[u8], room: usize) -> MemFrame {
    let into = MemFrame::HEADROOM - room;
    let mut frame = MemFrame::new(&bytes[into..]);
    frame
        .move_head(-i32::try_from(into).expect("a room of bytes"))
        .expect("there is room by default");
    for (offset, byte) in bytes.iter().take(into).enumerate() {
        *frame
            .at_mut::<[u8; 1]>(offset)
            .expect("the byte is in the frame") = [*byte];
    }
    frame
}
