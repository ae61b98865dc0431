//! Whether origins and tunnels answer.
//!
//! [`Tracker`] counts results and reports the flip, the only moment at which anything happens;
//! it has no IO and no clock. Probes leave through the device of their VNet, so that
//! they take the way of the traffic.

#[forbid(unsafe_code)]
mod failure;
#[forbid(unsafe_code)]
mod spec;
#[forbid(unsafe_code)]
mod tracker;

pub use failure::Failure;
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
