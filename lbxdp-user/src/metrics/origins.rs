//! Origins, those that are leaving too.

use std::collections::BTreeMap;
use std::time::Duration;

use super::family::{Family, Samples, Source};
use super::{HEALTH, seconds, unix_time};
use crate::api;

pub(super) const FAMILIES: &[Family] = &[
    Family::gauge(
        "origin_info",
        &["pool", "origin", "virtual_network", "address", "port"],
        "Where the origin is; port 0 is the listener's; always 1.",
        Source::Status(|status, out| {
            each(status, out, |labels, origin, out| {
                let address = origin.address.to_string();
                let port = origin.port.to_string();
                let where_it_is = [origin.virtual_network.as_str(), &address, &port];
                out.add(&[&labels[..], &where_it_is].concat(), true)
            })
        }),
    ),
    Family::gauge(
        "origin_enabled",
        &["pool", "origin"],
        "Whether the origin is enabled.",
        Source::Status(|status, out| {
            each(status, out, |labels, origin, out| {
                out.add(&labels, origin.enabled)
            })
        }),
    ),
    Family::gauge(
        "origin_weight",
        &["pool", "origin"],
        "The configured weight; with 0 it takes no new flows, but is probed.",
        Source::Status(|status, out| {
            each(status, out, |labels, origin, out| {
                out.add(&labels, origin.weight)
            })
        }),
    ),
    Family::gauge(
        "origin_health",
        &["pool", "origin", "health"],
        "1 for the health of the origin: `healthy`, `unhealthy`, `unknown`, or `unmonitored` when \
         nothing is probed.",
        Source::Status(|status, out| {
            each(status, out, |labels, origin, out| {
                out.add_states(&labels, HEALTH, &origin.health.health)
            })
        }),
    ),
    Family::gauge(
        "origin_health_since_timestamp",
        &["pool", "origin"],
        "Since when the health of a probed origin is what it is.",
        Source::Status(|status, out| {
            each(status, out, |labels, origin, out| {
                let since = origin.health.since.as_deref();
                out.add_some(&labels, since.and_then(unix_time))
            })
        }),
    )
    .seconds(),
    Family::gauge(
        "origin_tunnel_at_fault",
        &["pool", "origin"],
        "Whether the origin is unhealthy since its tunnel is down.",
        Source::Status(|status, out| {
            each(status, out, |labels, origin, out| {
                out.add(&labels, origin.cause.is_some())
            })
        }),
    ),
    Family::gauge(
        "origin_next_hop_resolved",
        &["pool", "origin"],
        "Whether packets can be sent to the origin: 0 while its next hop is not resolved.",
        Source::Status(|status, out| {
            each(status, out, |labels, origin, out| {
                out.add(&labels, origin.next_hop_problem.is_none())
            })
        }),
    ),
    Family::gauge(
        "origin_probe_rtt",
        &["pool", "origin"],
        "Round-trip time of the last probe that passed.",
        Source::Status(|status, out| {
            each(status, out, |labels, origin, out| {
                out.add_some(&labels, round_trip(&origin.health))
            })
        }),
    )
    .seconds(),
    Family::gauge(
        "origin_share",
        &["pool", "origin"],
        "Share of the rows of all load balancers that use the pool.",
        Source::Status(|status, out| {
            each(status, out, |labels, origin, out| {
                out.add(&labels, origin.share)
            })
        }),
    )
    .ratio(),
    Family::gauge(
        "origin_snat_sessions",
        &["pool", "origin"],
        "Translated flows to the origin (`source = \"snat\"`), counted every few seconds.",
        Source::Status(|status, out| {
            each(status, out, |labels, origin, out| {
                out.add(&labels, origin.sessions)
            })
        }),
    ),
    Family::counter(
        "origin_packets",
        &["pool", "origin", "direction"],
        "Packets to the origin (`forward`) and from it to clients (`reply`; none where it answers \
         directly).",
        Source::Status(|status, out| {
            each(status, out, |labels, origin, out| {
                out.add_packets(&labels, &origin.traffic)
            })
        }),
    ),
    Family::counter(
        "origin",
        &["pool", "origin", "direction"],
        "Bytes of these packets.",
        Source::Status(|status, out| {
            each(status, out, |labels, origin, out| {
                out.add_bytes(&labels, &origin.traffic)
            })
        }),
    )
    .bytes(),
    Family::gauge(
        "draining_flows",
        &["pool", "origin", "state"],
        "Flows left, of those that have shown themselves, with an origin that takes no new ones: \
         `draining` when it is configured so, else `leaving`.",
        Source::Status(|status, out| {
            for ((pool, origin, state), Left { flows, until: _ }) in draining(status) {
                out.add(&[pool, origin, state], flows)?;
            }
            Ok(())
        }),
    ),
    Family::gauge(
        "draining_until_timestamp",
        &["pool", "origin", "state"],
        "Until when flows from before may still show themselves, if they may.",
        Source::Status(|status, out| {
            for ((pool, origin, state), Left { flows: _, until }) in draining(status) {
                out.add_some(&[pool, origin, state], until)?;
            }
            Ok(())
        }),
    )
    .seconds(),
];

/// The round-trip time of the last probe that passed, in seconds.
pub(super) fn round_trip(health: &api::HealthState) -> Option<f64> {
    let rtt = Duration::try_from_secs_f64(health.rtt_ms? / 1000.0).ok()?;
    Some(seconds(rtt))
}

fn each(
    status: &api::Status,
    out: &mut Samples<'_>,
    write: impl Fn([&str; 2], &api::Origin, &mut Samples<'_>) -> std::fmt::Result,
) -> std::fmt::Result {
    for pool in &status.pools {
        for origin in &pool.origins {
            write([&pool.name, &origin.name], origin, out)?;
        }
    }
    Ok(())
}

/// What is left of an origin that takes no new flows.
#[derive(Default)]
struct Left {
    flows: u64,
    until: Option<f64>,
}

/// By pool, origin and state. One that was removed may have come back at another address, and have
/// been removed again: they are one to whoever waits for them.
fn draining(status: &api::Status) -> BTreeMap<(&str, &str, &str), Left> {
    let mut all: BTreeMap<_, Left> = BTreeMap::new();
    for draining in &status.draining {
        let Some((pool, origin)) = draining.name.split_once('/') else {
            continue;
        };
        let left = all
            .entry((pool, origin, draining.state.as_str()))
            .or_default();
        let until = draining.until.as_deref().and_then(unix_time);
        left.flows += draining.flows;
        left.until = match (left.until, until) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (until, None) | (None, until) => until,
        };
    }
    all
}
