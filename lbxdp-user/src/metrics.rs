//! What the agent knows, as metrics for Prometheus.
//!
//! One list of families is what is exported and, as [`reference()`], what is documented. Their
//! values come from a [`Status`], so that metrics and `lbxdp status` say the same. How many there are
//! is bounded by the configuration: nothing that comes in packets is ever a label.

#![forbid(unsafe_code)]

mod balancers;
mod family;
mod flows;
mod node;
mod origins;
#[cfg(test)]
mod tests;
mod tunnels;

use std::fmt;
use std::time::{Duration, SystemTime};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::registry::Registry;

use crate::api::{Heartbeat, Status};
use family::Family;

/// What all names begin with.
const PREFIX: &str = "lbxdp";

/// Health of origins and tunnels.
const HEALTH: &[&str] = &["healthy", "unhealthy", "unknown", "unmonitored"];

/// What is known of the node at some time.
#[derive(Clone, PartialEq, Debug)]
pub struct Exposition {
    status: Option<Box<Status>>,
    heartbeat: Option<Heartbeat>,
    now: SystemTime,
}

/// A text format.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Format {
    /// Prometheus' own, version 0.0.4: what everything reads.
    #[default]
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Exposition {
    /// What the agent has answered at this time.
    #[must_use]
    pub fn answered(status: Box<Status>, now: SystemTime) -> Self {
        Self {
            heartbeat: status.node.heartbeat.clone(),
            status: Some(status),
            now,
        }
    }

    /// What the maps tell of an agent that has not answered.
    #[must_use]
    pub const fn unanswered(heartbeat: Option<Heartbeat>, now: SystemTime) -> Self {
        Self {
            status: None,
            heartbeat,
            now,
        }
    }

    /// All metrics as text.
    ///
    /// # Errors
    /// None that is known: the library's writers are fallible.
    pub fn render(self, format: Format) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(self));
        let mut out = String::new();
        match format {
            Format::Prometheus => prometheus_text::encode(&mut out, &registry)?,
            Format::OpenMetrics => text::encode(&mut out, &registry)?,
        }
        Ok(out)
    }
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        SECTIONS
            .iter()
            .flat_map(|(_, families)| *families)
            .try_for_each(|family| family.encode(self, &mut encoder))
    }
}

impl Format {
    /// The `Content-Type` of the text.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// All families, by what they are about.
const SECTIONS: &[(&str, &[Family])] = &[
    ("Node and packets", node::FAMILIES),
    ("Load balancers and pools", balancers::FAMILIES),
    ("Origins", origins::FAMILIES),
    ("Tunnels", tunnels::FAMILIES),
    ("Flows", flows::FAMILIES),
];

/// The names of all metrics, as queries write them.
pub fn names() -> impl Iterator<Item = String> {
    (SECTIONS.iter()).flat_map(|(_, families)| families.iter().map(Family::full_name))
}

/// The reference of all metrics, as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(INTRODUCTION);
    for (title, families) in SECTIONS {
        text +=
            &format!("\n## {title}\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n");
        text.extend(families.iter().map(Family::row));
    }
    text
}

const INTRODUCTION: &str = "\
# Metrics

Made from the declarations in `lbxdp-user/src/metrics`; a test keeps it so. The agent serves them at
`http://ADDRESS/metrics` if `node.metrics_listen` says where, and `lbxdp metrics` prints them.
Counters begin anew with maps or agent; times are seconds since 1970.
";

/// A duration as metrics have it.
const fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// A time of a status as metrics have it.
fn unix_time(rfc3339: &str) -> Option<f64> {
    let time = humantime::parse_rfc3339(rfc3339).ok()?;
    Some(seconds(time.duration_since(SystemTime::UNIX_EPOCH).ok()?))
}
