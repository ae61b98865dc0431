//! Load balancers and pools.

use std::collections::BTreeMap;

use super::family::{Family, Source};
use super::unix_time;
use crate::api;
use crate::steering::{BalancerState, PoolState};

const BALANCER_STATES: &[&str] = &[
    BalancerState::Healthy.label(),
    BalancerState::Degraded.label(),
    BalancerState::Critical.label(),
    "disabled",
];
const POOL_STATES: &[&str] = &[
    PoolState::Healthy.label(),
    PoolState::Degraded.label(),
    PoolState::Panic.label(),
    PoolState::Critical.label(),
    PoolState::Unknown.label(),
    PoolState::Disabled.label(),
];

pub(super) const FAMILIES: &[Family] = &[
    Family::gauge(
        "load_balancer_state",
        &["load_balancer", "state"],
        "1 for the state that the load balancer is in: `healthy`, `degraded`, `critical` or `disabled`.",
        Source::Status(|status, out| {
            for balancer in &status.load_balancers {
                out.add_states(&[&balancer.name], BALANCER_STATES, &balancer.state)?;
            }
            Ok(())
        }),
    ),
    Family::gauge(
        "load_balancer_share",
        &["load_balancer", "pool", "origin"],
        "Share of the load balancer's rows that the origin owns; who owns none is left out.",
        Source::Status(|status, out| {
            for balancer in &status.load_balancers {
                for api::Share {
                    pool,
                    origin,
                    share,
                } in &balancer.shares
                {
                    out.add(&[&balancer.name, pool, origin], *share)?;
                }
            }
            Ok(())
        }),
    )
    .ratio(),
    Family::gauge(
        "load_balancer_rows",
        &["load_balancer"],
        "Rows that new flows are dealt to.",
        Source::Status(|status, out| {
            for balancer in &status.load_balancers {
                out.add(&[&balancer.name], balancer.rows.all)?;
            }
            Ok(())
        }),
    ),
    Family::gauge(
        "load_balancer_rows_at_risk",
        &["load_balancer", "risk"],
        "Rows whose flows are tracked, since an edit has `moved` them lately, health `will_move` \
         them, or flows that were recorded are still `looked_up`; a row may be counted twice.",
        Source::Status(|status, out| {
            for api::LoadBalancer { name, rows, .. } in &status.load_balancers {
                out.add(&[name, "moved"], rows.moved)?;
                out.add(&[name, "will_move"], rows.will_move)?;
                out.add(&[name, "looked_up"], rows.looked_up)?;
            }
            Ok(())
        }),
    ),
    Family::gauge(
        "load_balancer_rows_moved_until_timestamp",
        &["load_balancer"],
        "Until when the last of the `moved` rows are taken to have flows from before, if there are any.",
        Source::Status(|status, out| {
            for api::LoadBalancer { name, rows, .. } in &status.load_balancers {
                out.add_some(&[name], rows.moved_until.as_deref().and_then(unix_time))?;
            }
            Ok(())
        }),
    )
    .seconds(),
    Family::counter(
        "listener_packets",
        &["load_balancer", "listener", "direction"],
        "Packets of the listener, from clients (`forward`) and to them (`reply`; none where origins \
         answer directly).",
        Source::Status(|status, out| {
            for ((balancer, listener), traffic) in listeners(status) {
                out.add_packets(&[balancer, &listener], traffic)?;
            }
            Ok(())
        }),
    ),
    Family::counter(
        "listener",
        &["load_balancer", "listener", "direction"],
        "Bytes of these packets.",
        Source::Status(|status, out| {
            for ((balancer, listener), traffic) in listeners(status) {
                out.add_bytes(&[balancer, &listener], traffic)?;
            }
            Ok(())
        }),
    )
    .bytes(),
    Family::gauge(
        "pool_state",
        &["pool", "state"],
        "1 for the state that the pool is in: `healthy`, `degraded`, `panic`, `critical`, `unknown` \
         or `disabled`.",
        Source::Status(|status, out| {
            for pool in &status.pools {
                out.add_states(&[&pool.name], POOL_STATES, &pool.state)?;
            }
            Ok(())
        }),
    ),
];

/// By load balancer and what it offers. One that is disabled may offer the same twice, which is
/// counted once.
fn listeners(status: &api::Status) -> BTreeMap<(&str, String), &api::Traffic> {
    let balancers = status.load_balancers.iter();
    balancers
        .flat_map(|balancer| {
            balancer.listeners.iter().map(|listener| {
                let name = (balancer.name.as_str(), listener.to_string());
                (name, &listener.traffic)
            })
        })
        .collect()
}
