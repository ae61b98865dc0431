//! When an agent last confirmed that the tables are as they should be.

use std::path::Path;
use std::time::Duration;

use lbxdp_ebpf::abi::Heartbeat;

use super::{LiveMaps, boot_time_ns};

/// A beat older than this is that of an agent that has ended or is stuck: it beats once a second.
const FRESH: Duration = Duration::from_secs(5);

/// The last beat, as seen now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastBeat {
    /// How long ago the tables were confirmed.
    pub age: Duration,
    /// The agent that did.
    pub pid: u32,
    /// Number of the configuration that was in force, as that agent counts.
    pub generation: u32,
    /// Whether there is still a process of that number.
    pub process_is_there: bool,
}

impl LastBeat {
    /// Reads the pinned map; needs no agent. `None` if there is no map, or no agent has beaten yet.
    #[must_use]
    pub fn read(pin_path: &Path) -> Option<Self> {
        Self::of(&LiveMaps::open(pin_path).ok()?)
    }

    /// The same from open maps.
    #[must_use]
    pub fn of(maps: &LiveMaps) -> Option<Self> {
        let heartbeat = maps.heartbeat.get(&0, 0).ok()?;
        let there = Path::new("/proc").join(heartbeat.pid.to_string()).exists();
        Self::seen(&heartbeat, boot_time_ns().ok()?, there)
    }

    /// Whether the agent runs and does its work.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.process_is_there && self.age < FRESH
    }

    fn seen(heartbeat: &Heartbeat, now_ns: u64, process_is_there: bool) -> Option<Self> {
        let &Heartbeat {
            boot_time_ns,
            pid,
            generation,
        } = heartbeat;
        (pid != 0).then(|| Self {
            age: Duration::from_nanos(now_ns.saturating_sub(boot_time_ns)),
            pid,
            generation,
            process_is_there,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_recent_beat_of_a_process_that_is_there_is_fresh() {
        let heartbeat = Heartbeat {
            boot_time_ns: 1_000_000_000,
            pid: 7,
            generation: 3,
        };
        let seen =
            |now_ns, there| LastBeat::seen(&heartbeat, now_ns, there).expect("it has beaten");
        assert!(seen(3_000_000_000, true).is_fresh());
        assert!(!seen(9_000_000_000, true).is_fresh());
        assert!(!seen(3_000_000_000, false).is_fresh());
        assert_eq!(seen(9_000_000_000, true).age, Duration::from_secs(8));
        let never = Heartbeat {
            pid: 0,
            ..heartbeat
        };
        assert_eq!(LastBeat::seen(&never, 1_000_000_000, true), None);
    }
}
