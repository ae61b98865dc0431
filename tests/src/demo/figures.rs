//! What the demo measured.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::netns::Records;

/// The figures of one run; `--json` prints them.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Figures {
    /// Whether everything was as it must be.
    pub ok: bool,
    /// All requests of the clients.
    pub requests: usize,
    /// Requests that failed while nothing was wrong. Must be 0.
    pub failed_steady: usize,
    /// Requests to the origin that died, until it was found dead.
    pub failed_at_origin_death: usize,
    /// From the death of an origin until traffic was taken from it, in milliseconds.
    pub detection_ms: u128,
    /// What the monitor's settings allow for that, in milliseconds.
    pub detection_bound_ms: u128,
    /// The monitor's interval, in milliseconds.
    pub interval_ms: u128,
    /// Flows of other origins that moved or broke, at the death or the return. Must be 0.
    pub moved_elsewhere: usize,
    /// Requests that were sent after the origin's return, and failed. Must be 0: connections opened
    /// meanwhile keep the server that stood in.
    pub failed_at_origin_return: usize,
    /// Requests that failed from the agent's `kill -9` until it was back. Must be 0.
    pub lost_at_agent_kill: usize,
    /// Requests that were answered in that time.
    pub served_without_agent: usize,
    /// Whether `status` named the tunnel as the cause. Must be so.
    pub tunnel_named_as_cause: bool,
    /// Whether origins of both VNets answered at the same address. Must be so.
    pub same_address_in_both_vnets: bool,
    /// Who served how much.
    pub shares: Vec<Share>,
    /// How long the whole took, in seconds.
    pub seconds: f64,
    /// What was not as it must be, in words.
    pub problems: Vec<String>,
    /// Times in which failures have their reason.
    #[serde(skip)]
    pub excused: Vec<(Instant, Instant)>,
}

/// What one origin served of one listener, counted in flows.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Share {
    /// The listener: protocol and VIP.
    pub listener: String,
    /// `vnet/origin`.
    pub origin: String,
    /// The origin's address in its VNet.
    pub address: String,
    /// Share by weight, 0 to 1.
    pub expected: f64,
    /// Share measured, 0 to 1.
    pub measured: f64,
    /// Flows.
    pub flows: usize,
    /// Requests.
    pub requests: usize,
}

impl Figures {
    /// Notes a problem unless all is well.
    pub(super) fn must(&mut self, well: bool, problem: impl FnOnce() -> String) {
        if !well {
            self.problems.push(problem());
        }
    }

    /// Draws the sum at the end.
    pub(super) fn close(&mut self, records: &Records, took: Duration) {
        self.requests = records.len();
        self.seconds = took.as_secs_f64();
        let mut steady = records.failed();
        for &(from, to) in &self.excused {
            steady = steady.outside(from, to);
        }
        self.failed_steady = steady.len();
        self.must(steady.is_empty(), || {
            format!(
                "requests failed although nothing was wrong:\n{}",
                steady.show()
            )
        });
        self.ok = self.problems.is_empty();
    }
}
