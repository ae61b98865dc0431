//! The agent's heartbeat, in a status and without one.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::dataplane::LastBeat;

/// When an agent last confirmed that the tables are as they should be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    /// How long ago, in milliseconds.
    pub age_ms: u64,
    /// The process that did.
    pub pid: u32,
    /// Number of the configuration that was in force.
    pub generation: u32,
    /// Whether that is recent, and the process still there.
    pub fresh: bool,
    /// Whether the process is still there.
    pub process_is_there: bool,
}

/// What can be said of a node whose agent does not answer: `lbxdp status --json`, then.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Unanswered {
    /// Why there is no status.
    pub error: String,
    /// The heartbeat, if the maps are there.
    pub heartbeat: Option<Heartbeat>,
}

impl From<LastBeat> for Heartbeat {
    fn from(beat: LastBeat) -> Self {
        let LastBeat {
            age,
            pid,
            generation,
            process_is_there,
        } = beat;
        Self {
            age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            pid,
            generation,
            fresh: beat.is_fresh(),
            process_is_there,
        }
    }
}

impl fmt::Display for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            age_ms,
            pid,
            generation: _,
            fresh,
            process_is_there,
        } = self;
        let age = Duration::from_millis(*age_ms);
        write!(
            f,
            "the tables were last confirmed {:.1} s ago",
            age.as_secs_f64()
        )?;
        match (process_is_there, fresh) {
            (true, true) => Ok(()),
            (true, false) => write!(f, " by pid {pid}, which is there but does not confirm them"),
            (false, _) => write!(f, " by pid {pid}, which has ended"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_says_how_old_it_is_and_what_became_of_the_agent() {
        let beat = LastBeat {
            age: Duration::from_millis(12_340),
            pid: 7,
            generation: 1,
            process_is_there: true,
        };
        let text = |beat| Heartbeat::from(beat).to_string();
        assert_eq!(
            text(beat),
            "the tables were last confirmed 12.3 s ago by pid 7, which is there but does not \
             confirm them"
        );
        let ended = LastBeat {
            process_is_there: false,
            ..beat
        };
        assert!(text(ended).ends_with("12.3 s ago by pid 7, which has ended"));
        let fresh = LastBeat {
            age: Duration::from_millis(400),
            ..beat
        };
        assert_eq!(text(fresh), "the tables were last confirmed 0.4 s ago");
    }
}
