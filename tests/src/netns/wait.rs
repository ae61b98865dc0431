//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::slow;

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until there is something to return; an error after the deadline names what was awaited
/// and why the last look failed, if it said so. The deadline is longer on a [slow] machine.
pub fn wait_for<T>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = slow(deadline);
    let start = Instant::now();
    loop {
        let last = match look() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if start.elapsed() > deadline {
            match last {
                Some(error) => {
                    return Err(error.context(format!("{what}: not within {deadline:?}")));
                }
                None => bail!("{what}: not within {deadline:?}"),
            }
        }
        std::thread::sleep(PAUSE);
    }
}

/// Looks until it is so.
pub fn eventually(what: &str, deadline: Duration, mut look: impl FnMut() -> bool) -> Result<()> {
    wait_for(what, deadline, || Ok(look().then_some(())))
}
