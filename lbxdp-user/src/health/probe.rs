//! One probe, from the socket to the verdict.

mod http;
mod icmp;
mod tcp;

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{Failure, ProbeSpec};
use crate::config::model::{MonitorKind, Timing};

/// How long after its timeout a probe that does not notice by itself is stopped.
const GRACE: Duration = Duration::from_millis(500);

/// Probes, again at once after each timeout as often as configured, and tells the time to the
/// answer that passed: to the SYN-ACK, to the end of the HTTP answer, to the echo reply.
///
/// Takes at most `retries + 1` times the timeout and a grace of half a second each.
pub(super) async fn probe(spec: &ProbeSpec) -> Result<Duration, Failure> {
    let mut result = attempt(spec).await;
    for _ in 0..spec.timing.retries {
        match result {
            Err(failure) if failure.is_timeout() => result = attempt(spec).await,
            Ok(_) | Err(_) => break,
        }
    }
    result
}

/// The longest time that a probe takes.
pub(super) fn longest(timing: &Timing) -> Duration {
    (timing.timeout + GRACE) * timing.retries.saturating_add(1)
}

async fn attempt(spec: &ProbeSpec) -> Result<Duration, Failure> {
    let start = Instant::now();
    let deadline = start + spec.timing.timeout;
    let answer = async {
        match &spec.check {
            MonitorKind::Tcp => tcp::established(spec, deadline).await,
            MonitorKind::Http(check) => http::answered(spec, check, deadline).await,
            MonitorKind::IcmpPing => icmp::answered(spec, deadline).await,
        }
    };
    match timeout_at(deadline + GRACE, answer).await {
        Ok(answer) => answer.map(|()| start.elapsed()),
        Err(_) => Err(Failure::Overdue),
    }
}

#[cfg(test)]
pub(super) mod tests;
