//! Schedules of probes.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::file::Field;
use crate::config::model::Timing;
use crate::config::report::Report;

pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);
const MOST_RETRIES: u32 = 10;
const MOST_CONSECUTIVE: u32 = 1000;

/// The keys of a schedule, in a monitor or in a tunnel's health check.
pub(super) struct Written<'f> {
    pub(super) path: &'f str,
    pub(super) interval: &'f Field<Duration>,
    pub(super) timeout: &'f Field<Duration>,
    pub(super) retries: &'f Field<u32>,
    pub(super) consecutive_up: &'f Field<u32>,
    pub(super) consecutive_down: &'f Field<u32>,
}

pub(super) fn timing(written: &Written<'_>, default: Timing, report: &mut Report<'_>) -> Timing {
    let interval = written.interval.or(default.interval);
    if !(SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&interval) {
        report.error(
            format!("{}.interval", written.path),
            format!("{interval:?} is out of range"),
            "from \"10ms\" to \"1h\"",
        );
    }
    let timeout = written.timeout.or(default.timeout.min(interval));
    let path = format!("{}.timeout", written.path);
    if timeout < Duration::from_millis(1) {
        report.error(
            path,
            format!("{timeout:?} is too short"),
            "at least \"1ms\"",
        );
    } else if timeout > interval {
        report.error(
            path,
            format!("{timeout:?} is longer than the interval of {interval:?}: the next probe would be due before this one has failed"),
            "shorten it, or lengthen `interval`",
        );
    }
    let retries = at_most(
        written.retries,
        default.retries,
        MOST_RETRIES,
        written.path,
        "retries",
        report,
    );
    let mut consecutive = |field, default, key| {
        at_most(field, default, MOST_CONSECUTIVE, written.path, key, report).max(1)
    };
    Timing {
        interval,
        timeout,
        retries,
        consecutive_up: consecutive(
            written.consecutive_up,
            default.consecutive_up,
            "consecutive_up",
        ),
        consecutive_down: consecutive(
            written.consecutive_down,
            default.consecutive_down,
            "consecutive_down",
        ),
    }
}

/// A time, once it has been compared with its range.
pub(super) fn within(
    time: Duration,
    range: RangeInclusive<Duration>,
    path: &str,
    hint: &str,
    report: &mut Report<'_>,
) -> Duration {
    if !range.contains(&time) {
        report.error(path, format!("{time:?} is out of range"), hint);
    }
    time
}

fn at_most(
    field: &Field<u32>,
    default: u32,
    most: u32,
    path: &str,
    key: &str,
    report: &mut Report<'_>,
) -> u32 {
    let value = field.or(default);
    if value > most {
        report.error(
            format!("{path}.{key}"),
            format!("{value} is out of range"),
            format!("from 0 to {most}"),
        );
    }
    value
}
