//! The packet logic as ordinary Rust.

use lbxdp_ebpf::frame::Frame;
use lbxdp_ebpf::mem::{MemFrame, MemTables};
use lbxdp_ebpf::pipeline::{process, process_from_device, quick};
use lbxdp_ebpf::verdict::Verdict;

use super::{Flows, Outcome};
use crate::cases::{Case, Hook};

/// Runs a case.
#[must_use]
pub fn run(case: &Case) -> Outcome {
    let frame = frame_of(case);
    // Packets write to some.
    let tables = case.world.tables.clone();
    for earlier in &case.earlier {
        let frame = MemFrame::new(&earlier.bytes());
        ended(case.hook, frame, &tables, case.ingress);
    }
    outcome(case.hook, frame, &tables, case.ingress)
}

/// Runs a frame, which leaves nothing behind in the tables.
#[must_use]
pub fn run_frame(bytes: &[u8], tables: &MemTables, ingress: u32) -> Outcome {
    run_frame_at(Hook::Xdp, bytes, tables, ingress)
}

/// Runs a frame of which the flows are remembered in the tables, and not told.
#[must_use]
pub fn play(bytes: &[u8], tables: &MemTables, ingress: u32) -> Outcome {
    ended(Hook::Xdp, MemFrame::new(bytes), tables, ingress)
}

/// Runs a frame where the hook is.
#[must_use]
pub fn run_frame_at(hook: Hook, bytes: &[u8], tables: &MemTables, ingress: u32) -> Outcome {
    outcome(hook, MemFrame::new(bytes), &tables.clone(), ingress)
}

/// Runs a case the quick way; `None` if that is not for its packet.
///
/// # Errors
/// When the packet is declined, and not as it was, or not what the whole way then makes of it.
pub fn run_quickly(case: &Case) -> Result<Option<Outcome>, String> {
    let tables = case.world.tables.clone();
    for earlier in &case.earlier {
        let frame = MemFrame::new(&earlier.bytes());
        ended(case.hook, frame, &tables, case.ingress);
    }
    run_frame_quickly(frame_of(case), &tables, case.ingress)
}

/// Runs a frame the quick way; as [`run_quickly`].
///
/// # Errors
/// As there.
pub fn run_frame_quickly(
    mut frame: MemFrame,
    tables: &MemTables,
    ingress: u32,
) -> Result<Option<Outcome>, String> {
    let before = frame.clone();
    let whole = outcome(Hook::Xdp, before.clone(), tables, ingress);
    leaving_flows(tables, || match quick(&mut frame, tables, ingress) {
        Some(verdict) => Ok(Some(Outcome {
            flows: Flows::of(tables),
            ..told(verdict, &frame)
        })),
        None if frame != before => {
            Err("the quick way declines a packet that it has changed".to_owned())
        }
        None if outcome(Hook::Xdp, before, tables, ingress) != whole => {
            Err("the quick way remembers something of a packet that it declines".to_owned())
        }
        None => Ok(None),
    })
}

fn outcome(hook: Hook, frame: MemFrame, tables: &MemTables, ingress: u32) -> Outcome {
    leaving_flows(tables, || {
        let outcome = ended(hook, frame, tables, ingress);
        let flows = Flows::of(tables);
        Outcome { flows, ..outcome }
    })
}

/// Does something, and leaves what is remembered of flows as it was: the world is the next packet's
/// too.
fn leaving_flows<T>(tables: &MemTables, work: impl FnOnce() -> T) -> T {
    let (sessions, mappings) = (tables.sessions.entries(), tables.mappings.entries());
    let (tracked, opening) = (tables.flows.entries(), tables.opening.entries());
    let events = tables.flow_events.entries();
    let done = work();
    *tables.sessions.lock() = sessions;
    *tables.mappings.lock() = mappings;
    *tables.flows.lock() = tracked;
    *tables.opening.lock() = opening;
    *tables.flow_events.lock() = events;
    done
}

fn ended(hook: Hook, mut frame: MemFrame, tables: &MemTables, ingress: u32) -> Outcome {
    let verdict = match hook {
        Hook::Xdp => process(&mut frame, tables, ingress),
        Hook::Device => process_from_device(&mut frame, tables, ingress),
    };
    told(verdict, &frame)
}

fn told(verdict: Verdict, frame: &MemFrame) -> Outcome {
    // A packet that is not forwarded counts for its reason alone.
    let counts = verdict.reason.direction().is_some();
    Outcome {
        action: verdict.action,
        reason: verdict.reason,
        listener: verdict.listener.get().filter(|_| counts),
        origin: verdict.origin.get().filter(|_| counts).map(short),
        tunnel: verdict.tunnel.get().filter(|_| counts).map(short),
        frame: frame.bytes().to_vec(),
        flows: Flows::default(),
    }
}

fn short(index: u32) -> u16 {
    u16::try_from(index).expect("the slot of an origin or tunnel")
}

fn frame_of(case: &Case) -> MemFrame {
    let bytes = case.packet.bytes();
    match case.headroom {
        None => MemFrame::new(&bytes),
        Some(room) => with_headroom(&bytes, room),
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
