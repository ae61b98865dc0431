//! Signs of life of tasks: each says by when it will have said so again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// All tasks that give signs of life, and the clock that they are measured by.
#[derive(Clone, Debug)]
pub struct Pulses {
    start: Instant,
    tasks: Arc<Mutex<Vec<Weak<Task>>>>,
}

/// The signs of life of one task. A task that ends takes its own along: it is not missed.
#[derive(Debug)]
pub struct Pulse {
    start: Instant,
    task: Arc<Task>,
}

#[derive(Debug)]
struct Task {
    name: String,
    /// Milliseconds after the start at which the next sign is overdue; 0 while none is expected.
    due: AtomicU64,
}

impl Default for Pulses {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            tasks: Arc::default(),
        }
    }
}

impl Pulses {
    /// The signs of life of a new task. None is expected before its first.
    #[must_use]
    pub fn of(&self, name: impl Into<String>) -> Pulse {
        let task = Arc::new(Task {
            name: name.into(),
            due: AtomicU64::new(0),
        });
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // Where many come and go, those that are gone do not pile up.
        if tasks.len() == tasks.capacity() {
            tasks.retain(|task| task.strong_count() > 0);
        }
        tasks.push(Arc::downgrade(&task));
        Pulse {
            start: self.start,
            task,
        }
    }

    /// The time since the start.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Names of the tasks that should have given a sign before this time, sorted.
    #[must_use]
    pub fn overdue(&self, now: Duration) -> Vec<String> {
        let now = milliseconds(now);
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<String> = tasks
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|task| (1..now).contains(&task.due.load(Ordering::Relaxed)))
            .map(|task| task.name.clone())
            .collect();
        names.sort_unstable();
        names
    }
}

impl Pulse {
    /// Gives a sign of life, and promises another within this time.
    pub fn beat(&self, within: Duration) {
        let due = milliseconds(self.start.elapsed() + within);
        self.task.due.store(due.max(1), Ordering::Relaxed);
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_breaks_a_promise_is_named_until_it_gives_a_sign_or_ends() {
        let pulses = Pulses::default();
        let (a, b) = (pulses.of("a"), pulses.of("b"));
        let _c = pulses.of("c");
        let minute = Duration::from_secs(60);
        a.beat(minute);
        b.beat(2 * minute);
        assert!(pulses.overdue(minute / 2).is_empty());
        assert_eq!(pulses.overdue(minute + minute / 2), ["a"]);
        assert_eq!(
            pulses.overdue(3 * minute),
            ["a", "b"],
            "c has promised nothing"
        );
        a.beat(4 * minute);
        assert_eq!(pulses.overdue(3 * minute), ["b"]);
        drop(b);
        assert!(pulses.overdue(3 * minute).is_empty());
    }

    #[test]
    fn tasks_that_are_gone_do_not_pile_up() {
        let pulses = Pulses::default();
        for _ in 0..10_000 {
            drop(pulses.of("short"));
        }
        assert!(pulses.tasks.lock().expect("nobody panicked").len() < 100);
    }
}
