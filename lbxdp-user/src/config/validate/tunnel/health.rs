//! Tables `vnet.tunnel.health_check`.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::file::{self, Field};
use crate::config::model::{Timing, TunnelCheck};
use crate::config::report::Report;
use crate::config::validate::address::check_usable;
use crate::config::validate::timing;

const DEFAULT_CHECK: Timing = Timing {
    interval: Duration::from_secs(1),
    timeout: Duration::from_millis(500),
    retries: 1,
    consecutive_up: 2,
    consecutive_down: 2,
};

pub(super) fn health_check(
    written: &file::Tunnel,
    addresses: &[IpNet],
    peers: &[IpAddr],
    routes: &[IpNet],
    report: &mut Report<'_>,
) -> Option<TunnelCheck> {
    let path = format!("{}.health_check", written.path);
    let keys = match &written.health_check {
        Field::Given(keys) => Some(keys),
        Field::Absent => None,
        Field::Wrong => return None,
    };
    let timing = match keys {
        None => DEFAULT_CHECK,
        Some(keys) => {
            let written = timing::Written {
                path: &path,
                interval: &keys.interval,
                timeout: &keys.timeout,
                retries: &keys.retries,
                consecutive_up: &keys.consecutive_up,
                consecutive_down: &keys.consecutive_down,
            };
            timing::timing(&written, DEFAULT_CHECK, report)
        }
    };
    if keys.is_some_and(|keys| !keys.enabled.or(true)) {
        return None;
    }
    if let Some(&target) = keys.and_then(|keys| keys.target.given()) {
        let path = format!("{path}.target");
        check_usable(target, &path, report);
        if addresses.iter().any(|net| net.addr() == target) {
            report.error(
                path,
                format!("{target} is the node's own address"),
                "write an address at the far end",
            );
        } else if !addresses
            .iter()
            .chain(routes)
            .any(|net| net.contains(&target))
        {
            report.error(
                path,
                format!("{target} is not behind this tunnel"),
                "write an address at the far end, or leave it out: it is the first of `peers`",
            );
        }
        return Some(TunnelCheck { target, timing });
    }
    let target = peers.first().copied();
    if target.is_none()
        && !matches!(written.peers, Field::Wrong)
        && keys.is_none_or(|keys| keys.target.is_absent())
    {
        report.error(
            path,
            "there is nobody to ping: the tunnel has no `peers`",
            "write `peers`, or `health_check = { target = \"…\" }`, or `health_check = { enabled = false }`",
        );
    }
    target.map(|target| TunnelCheck { target, timing })
}
