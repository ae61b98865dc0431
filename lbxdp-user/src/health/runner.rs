//! Tasks that probe, each on its own schedule.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use super::probe::{longest, probe};
use super::{Failure, ProbeKey, ProbeSpec};
use crate::config::model::Timing;
use crate::pulse::{Pulse, Pulses};

/// A result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProbeEvent {
    /// Whose.
    pub key: ProbeKey,
    /// The time to the answer, or why it failed.
    pub result: Result<Duration, Failure>,
    /// When it was known.
    pub at: SystemTime,
    task: u64,
}

/// The tasks that probe. Dropping it stops them all.
///
/// Equal probes are one task, whose results go to all that want them.
pub struct Probers {
    events: mpsc::Sender<ProbeEvent>,
    pulses: Pulses,
    tasks: BTreeMap<ProbeSpec, Task>,
    current: BTreeMap<ProbeKey, u64>,
    started: u64,
}

impl Probers {
    /// No tasks yet. Results go to `events`; while that is full, probing waits. Tasks give signs
    /// of life among `pulses`.
    #[must_use]
    pub fn new(events: mpsc::Sender<ProbeEvent>, pulses: Pulses) -> Self {
        Self {
            events,
            pulses,
            tasks: BTreeMap::new(),
            current: BTreeMap::new(),
            started: 0,
        }
    }

    /// Starts, restarts and stops tasks so that exactly `desired` is probed. What is unchanged
    /// keeps its schedule; a task that has ended by itself is started again.
    ///
    /// Must be called within a tokio runtime.
    pub fn reconcile(&mut self, desired: BTreeMap<ProbeKey, ProbeSpec>) {
        let mut wanted = BTreeMap::<ProbeSpec, Vec<ProbeKey>>::new();
        for (key, spec) in desired {
            wanted.entry(spec).or_default().push(key);
        }
        self.tasks
            .retain(|spec, task| wanted.contains_key(spec) && !task.handle.is_finished());
        self.current.clear();
        for (spec, keys) in wanted {
            let number = match self.tasks.get(&spec) {
                Some(task) => task.serve(keys.clone()),
                None => {
                    self.started += 1;
                    let name = keys.first().map(ToString::to_string).unwrap_or_default();
                    let pulse = self.pulses.of(name);
                    let events = self.events.clone();
                    let task = Task::start(self.started, &spec, keys.clone(), events, pulse);
                    self.tasks.insert(spec, task);
                    self.started
                }
            };
            self.current
                .extend(keys.into_iter().map(|key| (key, number)));
        }
    }

    /// Whether an event is of what is probed now. An event that was on its way while the probe
    /// changed or ended is not, and must not be counted.
    #[must_use]
    pub fn is_current(&self, event: &ProbeEvent) -> bool {
        self.current.get(&event.key) == Some(&event.task)
    }

    /// Whether a task has ended by itself, so that [`Self::reconcile`] would start it again.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.tasks.values().any(|task| task.handle.is_finished())
    }

    /// The number of tasks: at most that of keys.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.tasks.len()
    }
}

struct Task {
    number: u64,
    keys: watch::Sender<Vec<ProbeKey>>,
    handle: JoinHandle<()>,
}

impl Task {
    fn start(
        number: u64,
        spec: &ProbeSpec,
        keys: Vec<ProbeKey>,
        events: mpsc::Sender<ProbeEvent>,
        pulse: Pulse,
    ) -> Self {
        let schedule = Schedule::new(spec.timing, &keys);
        let (keys, wanted) = watch::channel(keys);
        let handle = tokio::spawn(run(number, spec.clone(), schedule, wanted, events, pulse));
        Self {
            number,
            keys,
            handle,
        }
    }

    /// Serves these keys; new ones do not wait for the next tick.
    fn serve(&self, keys: Vec<ProbeKey>) -> u64 {
        self.keys.send_if_modified(|served| {
            let joined = keys.iter().any(|key| !served.contains(key));
            *served = keys;
            joined
        });
        self.number
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

#[expect(
    clippy::manual_async_fn,
    reason = "an async fn has room for what it is given twice, in each of thousands of tasks"
)]
fn run(
    task: u64,
    spec: ProbeSpec,
    schedule: Schedule,
    mut keys: watch::Receiver<Vec<ProbeKey>>,
    events: mpsc::Sender<ProbeEvent>,
    pulse: Pulse,
) -> impl Future<Output = ()> {
    async move {
        let longest = schedule.longest(longest(&spec.timing));
        pulse.beat(longest);
        sleep(schedule.first).await;
        let mut ticks = interval_at(Instant::now() + schedule.second, schedule.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            // Apart, so that a task takes room for a probe only while there is one.
            let result = Box::pin(probe(&spec)).await;
            let at = SystemTime::now();
            let served = keys.borrow_and_update().clone();
            for key in served {
                let event = ProbeEvent {
                    key,
                    result,
                    at,
                    task,
                };
                if events.send(event).await.is_err() {
                    return;
                }
            }
            pulse.beat(longest);
            tokio::select! {
                _ = ticks.tick() => {}
                joined = keys.changed() => if joined.is_err() { return },
            }
        }
    }
}

/// When to probe: early for the first time, then spread over the interval, by name, so that
/// probes do not come in bursts.
struct Schedule {
    /// From the start to the first probe.
    first: Duration,
    /// From the first to the second: half an interval to one and a half.
    second: Duration,
    /// From then on.
    interval: Duration,
}

/// The first probe comes no later than this.
const EARLY: Duration = Duration::from_millis(150);

/// Nothing is probed more often than this.
const SHORTEST: Duration = Duration::from_millis(10);

impl Schedule {
    fn new(timing: Timing, keys: &[ProbeKey]) -> Self {
        let mut hasher = DefaultHasher::new();
        keys.first().hash(&mut hasher);
        let phase = hasher.finish();
        let interval = timing.interval.max(SHORTEST);
        Self {
            first: part(interval.min(EARLY), phase as u32),
            second: interval / 2 + part(interval, (phase >> 32) as u32),
            interval,
        }
    }
}

/// What a busy machine may add before a probe counts as stuck.
const SLACK: Duration = Duration::from_secs(10);

impl Schedule {
    /// The longest time between two results that is not suspicious.
    fn longest(&self, probe: Duration) -> Duration {
        self.first.max(self.second).max(self.interval) + probe + SLACK
    }
}

/// `whole * fraction / 2^32`.
fn part(whole: Duration, fraction: u32) -> Duration {
    whole.mul_f64(f64::from(fraction) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests;
