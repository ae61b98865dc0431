//! The node, its agent, and all its packets.

use std::time::SystemTime;

use lbxdp_ebpf::verdict::{Kind, Reason};

use super::family::{Family, Source};
use super::{seconds, unix_time};
use crate::api;

pub(super) const FAMILIES: &[Family] = &[
    Family::gauge(
        "up",
        &[],
        "Whether the agent answers; without its answer there is only the heartbeat.",
        Source::Always(|exposition, out| out.add(&[], exposition.status.is_some())),
    ),
    Family::gauge(
        "heartbeat_timestamp",
        &[],
        "When an agent last confirmed that the maps are as they should be.",
        Source::Always(|exposition, out| {
            let confirmed = exposition.heartbeat.as_ref().and_then(|heartbeat| {
                let age = std::time::Duration::from_millis(heartbeat.age_ms);
                let time = exposition.now.checked_sub(age)?;
                Some(seconds(time.duration_since(SystemTime::UNIX_EPOCH).ok()?))
            });
            out.add_some(&[], confirmed)
        }),
    )
    .seconds(),
    Family::gauge(
        "build_info",
        &["version"],
        "The version of the agent; always 1.",
        Source::Status(|status, out| out.add(&[&status.node.version], true)),
    ),
    Family::gauge(
        "start_timestamp",
        &[],
        "When the agent started.",
        Source::Status(|status, out| out.add_some(&[], unix_time(&status.node.since))),
    )
    .seconds(),
    Family::gauge(
        "config_generation",
        &[],
        "Number of the configuration in force, counted from 1 at each start of the agent.",
        Source::Status(|status, out| out.add(&[], status.node.generation)),
    ),
    Family::gauge(
        "config_last_reload_successful",
        &[],
        "Whether the configuration file as it was last read is in force; if not, the one before is.",
        Source::Status(|status, out| out.add(&[], status.node.reload_error.is_none())),
    ),
    Family::gauge(
        "problems",
        &[],
        "How many things the agent could not bring about; `lbxdp status` has a sentence for each.",
        Source::Status(|status, out| out.add(&[], status.node.problems.len())),
    ),
    Family::gauge(
        "interface_attached",
        &["interface", "mode"],
        "Whether the program is attached to the interface: 0 if `mode` is `detached`.",
        Source::Status(|status, out| {
            for api::Interface { name, mode } in &status.node.interfaces {
                out.add(&[name, mode], mode != "detached")?;
            }
            Ok(())
        }),
    ),
    Family::counter(
        "packets",
        &["reason", "kind"],
        "Packets by the reason for which they ended, and what it means: `pass`, `drop`, `forward`, \
         `reply` or `answer`.",
        Source::Status(|status, out| {
            for (reason, packets, _) in reasons(status) {
                out.add(&[reason.label(), kind(reason)], packets)?;
            }
            Ok(())
        }),
    ),
    Family::counter(
        "packet",
        &["reason", "kind"],
        "Bytes of these packets, whole frames as they arrived.",
        Source::Status(|status, out| {
            for (reason, _, bytes) in reasons(status) {
                out.add(&[reason.label(), kind(reason)], bytes)?;
            }
            Ok(())
        }),
    )
    .bytes(),
];

/// All reasons, with packets and bytes: a status leaves out those that no packet has met, but a
/// counter must be there before it grows.
fn reasons(status: &api::Status) -> impl Iterator<Item = (Reason, u64, u64)> {
    Reason::ALL.iter().map(|&reason| {
        let met = status
            .reasons
            .iter()
            .find(|met| met.label == reason.label());
        let (packets, bytes) = met.map_or((0, 0), |met| (met.packets, met.bytes));
        (reason, packets, bytes)
    })
}

const fn kind(reason: Reason) -> &'static str {
    match reason.kind() {
        Kind::Pass => "pass",
        Kind::Drop => "drop",
        Kind::Forward => "forward",
        Kind::Reply => "reply",
        Kind::Answer => "answer",
    }
}
