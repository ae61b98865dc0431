//! A thread of its own that notices when tasks of the agent are stuck.
//!
//! The owner of the state and every probe give signs of life ([`crate::pulse`]). A probe whose sign
//! is overdue is reported. While the owner's is, systemd is told nothing any more, so that it
//! restarts the agent where its unit has `WatchdogSec`; the data path goes on with its last tables.

mod watch;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context;

use crate::pulse::{Pulse, Pulses};
use watch::{News, Watch};

/// Longest time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the owner may be silent, unless systemd has less patience.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);
/// How long it may be silent in any case: it wakes up once a second.
const SHORTEST_SILENCE: Duration = Duration::from_secs(3);

/// How patient the watchdog is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Patience {
    /// How long the owner may be silent.
    silence: Duration,
    /// Time between two looks.
    look_every: Duration,
}

impl Patience {
    /// By that of systemd, if it watches (`WATCHDOG_USEC`): half of it for the owner, and four
    /// looks in it.
    pub(super) fn within(systemd: Option<Duration>) -> Self {
        systemd.map_or(
            Self {
                silence: LONGEST_SILENCE,
                look_every: LOOK_EVERY,
            },
            |systemd| Self {
                silence: (systemd / 2).clamp(SHORTEST_SILENCE, LONGEST_SILENCE),
                look_every: (systemd / 4).clamp(Duration::from_millis(10), LOOK_EVERY),
            },
        )
    }
}

/// What the owner has of the watchdog. The thread ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watchdog {
    owner: Arc<Pulse>,
    silence: Duration,
}

/// What is stuck now, each as a sentence.
#[derive(Clone, Default, Debug)]
pub(super) struct Standing(Arc<Mutex<Option<String>>>);

impl Standing {
    pub(super) fn sentence(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, sentence: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = sentence;
    }
}

impl Watchdog {
    /// Starts the thread. `probes` are those that it watches besides the owner; at each look at
    /// which the owner is alive, `alive` is called.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub(super) fn start(
        patience: Patience,
        probes: Pulses,
        standing: Standing,
        mut alive: impl FnMut() + Send + 'static,
    ) -> anyhow::Result<Self> {
        let Patience {
            silence,
            look_every,
        } = patience;
        let owners = Pulses::default();
        let owner = Arc::new(owners.of("owner"));
        owner.beat(silence);
        let running = Arc::downgrade(&owner);
        thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || {
                let mut watch = Watch::new(silence, look_every);
                while running.strong_count() > 0 {
                    let now = probes.now();
                    let owner_is_silent = !owners.overdue(owners.now()).is_empty();
                    let news = watch.look(now, owner_is_silent, || probes.overdue(now));
                    for news in &news {
                        tell(news);
                    }
                    standing.set(watch.stuck());
                    if !owner_is_silent {
                        alive();
                    }
                    thread::sleep(look_every);
                }
            })
            .context("starting the watchdog's thread")?;
        Ok(Self { owner, silence })
    }

    /// A sign of life of the owner.
    pub(super) fn beat(&self) {
        self.owner.beat(self.silence);
    }
}

fn tell(news: &News) {
    match news {
        News::OwnerSilent | News::ProbesSilent(_) => tracing::error!("{news}"),
        News::OwnerBack(_) | News::ProbesBack(_) => tracing::info!("{news}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    fn eventually(what: &str, mut is: impl FnMut() -> bool) {
        let end = Instant::now() + DEADLINE;
        while !is() {
            assert!(Instant::now() < end, "{what}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn patience_is_within_that_of_systemd() {
        let seconds = |systemd| {
            let Patience {
                silence,
                look_every,
            } = Patience::within(systemd);
            (silence.as_secs_f64(), look_every.as_secs_f64())
        };
        assert_eq!(seconds(None), (10.0, 1.0));
        assert_eq!(seconds(Some(Duration::from_secs(30))), (10.0, 1.0));
        assert_eq!(seconds(Some(Duration::from_secs(8))), (4.0, 1.0));
        assert_eq!(seconds(Some(Duration::from_secs(2))), (3.0, 0.5));
    }

    #[test]
    fn systemd_is_told_nothing_while_the_owner_is_stuck_and_is_again_when_it_goes_on() {
        let patience = Patience {
            silence: Duration::from_millis(100),
            look_every: Duration::from_millis(5),
        };
        let told = Arc::new(AtomicUsize::new(0));
        let count = || told.load(Ordering::Relaxed);
        let alive = {
            let told = Arc::clone(&told);
            move || {
                told.fetch_add(1, Ordering::Relaxed);
            }
        };
        let standing = Standing::default();
        let watchdog = Watchdog::start(patience, Pulses::default(), standing, alive)
            .expect("a thread can be started");
        // Held, so that the owner is really stuck in it.
        let lock = Arc::new(Mutex::new(()));
        let held = lock.lock().expect("nobody panicked");
        let owner = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || {
                for round in 0.. {
                    watchdog.beat();
                    thread::sleep(Duration::from_millis(5));
                    if round == 20 {
                        drop(lock.lock());
                    }
                    if round == 200 {
                        return;
                    }
                }
            })
        };
        eventually("systemd is told", || count() > 3);
        let mut last = (count(), Instant::now());
        eventually("it is told nothing any more", || {
            if count() != last.0 {
                last = (count(), Instant::now());
            }
            last.1.elapsed() > Duration::from_millis(300)
        });
        drop(held);
        eventually("it is told again", || count() > last.0 + 3);
        owner.join().expect("the owner ends");
        eventually("the thread ends", || {
            let before = count();
            thread::sleep(Duration::from_millis(50));
            count() == before
        });
    }
}
