//! Which pools are able to serve.

use crate::config::model::{Origin, Pool};
use crate::health::Health;

/// The state of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoolState {
    /// All its origins are healthy.
    Healthy,
    /// Some are not, but enough are: it takes traffic.
    Degraded,
    /// The healthy ones are a smaller share than its `panic_threshold`: it takes traffic if no
    /// other pool is able to, and then on all its origins.
    Panic,
    /// Fewer are healthy than its `minimum_origins`, or none that has a weight: it takes none,
    /// not even on those that are healthy.
    Critical,
    /// Too few are known to be healthy, but enough may turn out to be: it takes none yet.
    Unknown,
    /// Switched off by configuration.
    Disabled,
}

impl PoolState {
    /// Whether the pool takes traffic.
    #[must_use]
    pub const fn serves(self) -> bool {
        match self {
            Self::Healthy | Self::Degraded => true,
            Self::Panic | Self::Critical | Self::Unknown | Self::Disabled => false,
        }
    }

    /// The name in output and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Panic => "panic",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
            Self::Disabled => "disabled",
        }
    }
}

/// The state of a pool, given the health of its origins by name.
///
/// Disabled origins do not count. Origins without a weight count, as they are probed; but a pool
/// in which only those are healthy has nobody to serve. Without a monitor all are healthy; with
/// one, an origin of unknown health counts as down.
#[must_use]
pub fn pool_state(pool: &Pool, health: impl Fn(&str) -> Health) -> PoolState {
    if !pool.enabled {
        return PoolState::Disabled;
    }
    let (mut healthy, mut unknown, mut unhealthy) =
        (Count::default(), Count::default(), Count::default());
    for (name, origin) in pool.origins.iter().filter(|(_, origin)| origin.enabled) {
        match effective(pool, name, &health) {
            Health::Healthy => healthy.add(origin),
            Health::Unknown => unknown.add(origin),
            Health::Unhealthy => unhealthy.add(origin),
        }
    }
    if is_below(
        healthy.weight + unknown.weight,
        healthy.weight + unknown.weight + unhealthy.weight,
        pool.panic_threshold,
    ) {
        return PoolState::Panic;
    }
    let suffices =
        |origins: usize, weighted: usize| origins >= pool.minimum_origins && weighted > 0;
    if suffices(healthy.origins, healthy.weighted) {
        if unhealthy.origins + unknown.origins == 0 {
            PoolState::Healthy
        } else {
            PoolState::Degraded
        }
    } else if suffices(
        healthy.origins + unknown.origins,
        healthy.weighted + unknown.weighted,
    ) {
        PoolState::Unknown
    } else {
        PoolState::Critical
    }
}

/// The health that steering goes by: without a monitor, healthy.
pub(super) fn effective(pool: &Pool, origin: &str, health: impl Fn(&str) -> Health) -> Health {
    match pool.monitor {
        Some(_) => health(origin),
        None => Health::Healthy,
    }
}

/// A configured weight, 0 to 1, in ten-thousandths; what is not zero is at least one.
#[must_use]
pub fn weight_units(weight: f64) -> u32 {
    if weight > 0.0 {
        ((weight * 10_000.0).round() as u32).max(1)
    } else {
        0
    }
}

/// Whether `up` of `all` is less than a share, 0 to 1; it never is of nothing.
fn is_below(up: u64, all: u64, share: f64) -> bool {
    u128::from(up) * 10_000 < u128::from(all) * u128::from(weight_units(share))
}

#[derive(Clone, Copy, Default)]
struct Count {
    origins: usize,
    weighted: usize,
    weight: u64,
}

impl Count {
    fn add(&mut self, origin: &Origin) {
        self.origins += 1;
        self.weighted += usize::from(origin.weight > 0.0);
        self.weight += u64::from(weight_units(origin.weight));
    }
}
