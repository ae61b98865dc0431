//! Whether origins and tunnels answer.
//!
//! [`Tracker`] counts results and reports the flip, the only moment at which anything happens;
//! it has no IO and no clock. [`Probers`] run the probes, each through the device of its VNet, so
//! that a probe takes the way of the traffic.

#[forbid(unsafe_code)]
mod failure;
#[forbid(unsafe_code)]
mod probe;
#[forbid(unsafe_code)]
mod runner;
#[forbid(unsafe_code)]
mod spec;
#[forbid(unsafe_code)]
mod tracker;

pub use failure::Failure;
pub use runner::{ProbeEvent, Probers};
pub use spec::{ProbeKey, ProbeSpec, desired_probes};
pub use tracker::{Flip, Tracker};

/// The health of an origin or a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Health {
    /// No probe has been answered or has failed yet.
    Unknown,
    /// Enough probes in a row were answered as expected.
    Healthy,
    /// Enough probes in a row were not.
    Unhealthy,
}

impl Health {
    /// The name in output and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}
