//! Origins that are new to a running pool, and start slowly.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::config::model::{Config, Pool};
use crate::health::ProbeKey;

/// Steps from nothing to the whole weight.
const STEPS: u32 = 10;

/// Since when origins ramp up. An origin that is not here has its whole weight.
#[derive(Clone, Default, Debug)]
pub(super) struct Ramps(BTreeMap<ProbeKey, Ramp>);

#[derive(Clone, Copy, Debug)]
enum Ramp {
    /// It has not been healthy yet.
    Awaited,
    /// It was healthy for the first time then.
    Since(SystemTime),
}

impl Ramps {
    /// Takes note of what an edit has added to pools that were there before; those that are gone, or
    /// start at once, are forgotten.
    pub(super) fn edited(&mut self, before: &Config, after: &Config) {
        for (pool_name, pool) in &after.pools {
            let Some(known) = before.pools.get(pool_name) else {
                continue;
            };
            for origin in active(pool).filter(|origin| active(known).all(|known| known != *origin))
            {
                let key = ProbeKey::origin(pool_name, origin);
                self.0.insert(key, Ramp::Awaited);
            }
        }
        self.0.retain(|key, _| {
            let ProbeKey::Origin { pool, origin } = key else {
                return false;
            };
            let pool = after.pools.get(pool);
            pool.is_some_and(|pool| {
                !pool.slow_start.is_zero() && active(pool).any(|known| known == origin)
            })
        });
    }

    /// Lets those that are healthy begin, and forgets those that are done.
    pub(super) fn advance(
        &mut self,
        config: &Config,
        is_healthy: impl Fn(&ProbeKey) -> bool,
        now: SystemTime,
    ) {
        for (key, ramp) in &mut self.0 {
            match ramp {
                Ramp::Awaited if is_healthy(key) => *ramp = Ramp::Since(now),
                // A clock that was set back.
                Ramp::Since(start) if *start > now => *start = now,
                Ramp::Awaited | Ramp::Since(_) => {}
            }
        }
        self.0
            .retain(|key, ramp| step(config, key, *ramp, now) < STEPS);
    }

    /// Whether nobody starts slowly.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tenths of its weight that an origin has.
    pub(super) fn tenths(&self, config: &Config, key: &ProbeKey, now: SystemTime) -> u32 {
        self.0
            .get(key)
            .map_or(STEPS, |ramp| step(config, key, *ramp, now))
    }

    /// When the next step of any is due.
    pub(super) fn due(&self, config: &Config, now: SystemTime) -> Option<SystemTime> {
        let due = self.0.iter().filter_map(|(key, ramp)| match ramp {
            Ramp::Awaited => None,
            Ramp::Since(start) => Some(*start + each(config, key) * step(config, key, *ramp, now)),
        });
        due.min()
    }
}

/// The step that an origin is at: 1 to [`STEPS`].
fn step(config: &Config, key: &ProbeKey, ramp: Ramp, now: SystemTime) -> u32 {
    let Ramp::Since(start) = ramp else {
        return 1;
    };
    let elapsed = now.duration_since(start).unwrap_or_default();
    let steps = elapsed.as_nanos() / each(config, key).as_nanos() + 1;
    u32::try_from(steps).unwrap_or(STEPS).min(STEPS)
}

/// The time of a step.
fn each(config: &Config, key: &ProbeKey) -> Duration {
    let pool = match key {
        ProbeKey::Origin { pool, .. } => config.pools.get(pool),
        ProbeKey::Tunnel { .. } => None,
    };
    let whole = pool.map_or(Duration::ZERO, |pool| pool.slow_start);
    (whole / STEPS).max(Duration::from_millis(1))
}

/// The names of origins that take traffic.
fn active(pool: &Pool) -> impl Iterator<Item = &String> {
    let origins = pool.origins.iter().filter(|_| pool.enabled);
    origins
        .filter(|(_, origin)| origin.enabled && origin.weight > 0.0)
        .map(|(name, _)| name)
}
