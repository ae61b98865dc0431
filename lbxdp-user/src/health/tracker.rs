//! Results of probes in, flips of health out.

use std::time::{Duration, SystemTime};

use super::{Failure, Health};
use crate::config::model::Timing;

/// The health of one origin or tunnel, by its probes.
///
/// Only successive results count: each result sets the count of its opposite to zero. The first
/// result of all decides at once, whatever the thresholds, so that a start does not take longer
/// than a probe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tracker {
    up: u32,
    down: u32,
    health: Health,
    since: SystemTime,
    /// Results in a row that speak against `health`.
    against: u32,
    last_failure: Option<Failure>,
    last_rtt: Option<Duration>,
    last_result: Option<SystemTime>,
}

/// A change of health.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flip {
    /// What it was.
    pub from: Health,
    /// What it is: healthy or unhealthy.
    pub to: Health,
    /// Results in a row that made it so.
    pub after: u32,
    /// The last failure, if it is unhealthy.
    pub failure: Option<Failure>,
}

impl Tracker {
    /// A tracker that knows nothing yet.
    #[must_use]
    pub fn new(timing: Timing, now: SystemTime) -> Self {
        Self::restored(timing, Health::Unknown, now)
    }

    /// A tracker that goes on from what was known before a restart: thresholds apply.
    #[must_use]
    pub fn restored(timing: Timing, health: Health, since: SystemTime) -> Self {
        Self {
            up: timing.consecutive_up.max(1),
            down: timing.consecutive_down.max(1),
            health,
            since,
            against: 0,
            last_failure: None,
            last_rtt: None,
            last_result: None,
        }
    }

    /// Takes other thresholds and keeps what is known.
    pub fn set_timing(&mut self, timing: Timing) {
        self.up = timing.consecutive_up.max(1);
        self.down = timing.consecutive_down.max(1);
    }

    /// Counts a result: the time to the answer, or why there was none.
    pub fn observe(&mut self, result: Result<Duration, Failure>, now: SystemTime) -> Option<Flip> {
        self.last_result = Some(now);
        let (says, threshold) = match result {
            Ok(rtt) => {
                self.last_rtt = Some(rtt);
                (Health::Healthy, self.up)
            }
            Err(failure) => {
                self.last_failure = Some(failure);
                (Health::Unhealthy, self.down)
            }
        };
        if says == self.health {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.health != Health::Unknown && self.against < threshold {
            return None;
        }
        let flip = Flip {
            from: self.health,
            to: says,
            after: self.against,
            failure: result.err(),
        };
        self.health = says;
        self.since = now;
        self.against = 0;
        Some(flip)
    }

    /// The health.
    #[must_use]
    pub const fn health(&self) -> Health {
        self.health
    }

    /// Since when it is so.
    #[must_use]
    pub const fn since(&self) -> SystemTime {
        self.since
    }

    /// Results in a row that speak against the present health, for "1 of 2 failures".
    #[must_use]
    pub const fn against(&self) -> u32 {
        self.against
    }

    /// The most recent failure, even if probes have passed since.
    #[must_use]
    pub const fn last_failure(&self) -> Option<Failure> {
        self.last_failure
    }

    /// Why it is unhealthy: the most recent failure while it is.
    #[must_use]
    pub const fn reason(&self) -> Option<Failure> {
        match self.health {
            Health::Unhealthy => self.last_failure,
            Health::Unknown | Health::Healthy => None,
        }
    }

    /// The time to the most recent answer that passed.
    #[must_use]
    pub const fn last_rtt(&self) -> Option<Duration> {
        self.last_rtt
    }

    /// When the most recent result came; a prober that is stuck shows here.
    #[must_use]
    pub const fn last_result(&self) -> Option<SystemTime> {
        self.last_result
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PASS: Result<Duration, Failure> = Ok(Duration::from_millis(1));
    const FAIL: Result<Duration, Failure> = Err(Failure::ConnectionRefused);

    #[test]
    fn the_first_result_decides_at_once() {
        for (result, health) in [(PASS, Health::Healthy), (FAIL, Health::Unhealthy)] {
            let mut tracker = Tracker::new(timing(3, 3), at(0));
            let flip = tracker.observe(result, at(1)).unwrap();
            assert_eq!((flip.from, flip.to), (Health::Unknown, health));
            assert_eq!((tracker.health(), tracker.since()), (health, at(1)));
        }
    }

    #[test]
    fn failures_count_only_in_a_row() {
        let mut tracker = Tracker::restored(timing(1, 2), Health::Healthy, at(0));
        for second in 1..100 {
            let result = if second % 2 == 0 { PASS } else { FAIL };
            assert_eq!(tracker.observe(result, at(second)), None);
        }
        assert_eq!(tracker.health(), Health::Healthy);
        assert_eq!(tracker.since(), at(0));
    }

    #[test]
    fn one_pass_does_not_bring_up_what_needs_two() {
        let mut tracker = Tracker::restored(timing(2, 1), Health::Unhealthy, at(0));
        assert_eq!(tracker.observe(PASS, at(1)), None);
        assert_eq!(tracker.observe(FAIL, at(2)), None);
        assert_eq!(tracker.observe(PASS, at(3)), None);
        let flip = tracker.observe(PASS, at(4)).unwrap();
        assert_eq!(
            (flip.to, flip.after, flip.failure),
            (Health::Healthy, 2, None)
        );
        assert_eq!(
            (tracker.reason(), tracker.last_failure()),
            (None, FAIL.err())
        );
    }

    #[test]
    fn a_flip_names_the_failure() {
        let mut tracker = Tracker::restored(timing(1, 2), Health::Healthy, at(0));
        assert_eq!(tracker.observe(Err(Failure::TcpTimeout), at(1)), None);
        let flip = tracker.observe(FAIL, at(2)).unwrap();
        assert_eq!(flip.failure, FAIL.err());
        assert_eq!(tracker.reason(), FAIL.err());
    }

    #[test]
    fn zero_thresholds_are_one() {
        let mut tracker = Tracker::restored(timing(0, 0), Health::Healthy, at(0));
        assert!(tracker.observe(FAIL, at(1)).is_some());
        assert!(tracker.observe(PASS, at(2)).is_some());
    }

    proptest! {
        #[test]
        fn health_is_what_the_last_long_enough_run_says(
            results in proptest::collection::vec(any::<bool>(), 1..200),
            up in 1..5_u32,
            down in 1..5_u32,
        ) {
            let mut tracker = Tracker::new(timing(up, down), at(0));
            let (mut run, mut last, mut expected) = (0, results[0], results[0]);
            for (second, &pass) in (1..).zip(&results) {
                run = if pass == last { run + 1 } else { 1 };
                last = pass;
                if run >= if pass { up } else { down } {
                    expected = pass;
                }
                let before = tracker.health();
                let flip = tracker.observe(if pass { PASS } else { FAIL }, at(second));
                let after = tracker.health();
                prop_assert_eq!(flip.is_some(), before != after);
                prop_assert_eq!(after == Health::Healthy, expected);
            }
        }
    }

    fn timing(up: u32, down: u32) -> Timing {
        Timing {
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(500),
            retries: 0,
            consecutive_up: up,
            consecutive_down: down,
        }
    }

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }
}
