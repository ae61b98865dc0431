//! What holds for every frame, whatever is in it.

use lbxdp_ebpf::verdict::{Action, Kind};

use crate::engine::Outcome;
use crate::packet::judge::{Fault, judge};

/// Judges how a frame has ended.
///
/// A packet that is not forwarded is as it came, and goes where its reason says. One that is
/// forwarded could be parsed, by a dissector that is not ours; and if nothing was wrong with it,
/// nothing is wrong with what leaves.
///
/// # Errors
/// What does not hold.
pub fn check(before: &[u8], outcome: &Outcome) -> Result<(), String> {
    let Outcome {
        action,
        reason,
        frame: after,
        listener: _,
        origin: _,
        flows: _,
        tunnel,
    } = outcome;
    let fits = match (reason.kind(), action) {
        (Kind::Pass | Kind::Reply, Action::Pass) | (Kind::Drop, Action::Drop) => true,
        (Kind::Forward | Kind::Reply | Kind::Answer, action) => {
            matches!(
                action,
                Action::Transmit | Action::Redirect(_) | Action::HandOver(_)
            )
        }
        (Kind::Pass | Kind::Drop, _) => false,
    };
    if !fits {
        return Err(format!("{reason:?} ends in {action:?}"));
    }
    if matches!(reason.kind(), Kind::Pass | Kind::Drop) {
        if after != before {
            return Err(format!("{reason:?} has changed the frame"));
        }
        return Ok(());
    }
    match judge(before) {
        Ok(found) => match judge(after) {
            // What was to be finished may have been wrong.
            Err(Fault::Checksum(_)) if found.unfinished => Ok(()),
            Err(fault) => Err(format!("{reason:?} sends a {fault}")),
            Ok(_) => Ok(()),
        },
        Err(Fault::Structure(what)) => Err(format!("{reason:?} of a packet like this: {what}")),
        // To a program that takes the packet out of this tunnel it is one.
        Err(Fault::Tunnel { what, depth: 0 }) if tunnel.is_some() => {
            Err(format!("{reason:?} out of a tunnel like this: {what}"))
        }
        Err(Fault::Tunnel { .. }) => Ok(()),
        // A router looks at neither: a wrong checksum stays as wrong as it was.
        Err(Fault::Checksum(_) | Fault::Transport(_)) => Ok(()),
    }
}
