//! What the watchdog makes of what it sees: no clock, no threads.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// What was seen, to tell what is new.
#[derive(Debug)]
pub(super) struct Watch {
    silence: Duration,
    look_every: Duration,
    last: Option<Duration>,
    owner_silent_since: Option<Duration>,
    /// Nobody is judged before this time, since nobody could give a sign until lately.
    grace: Duration,
    probes: BTreeSet<String>,
}

/// Something that an operator must know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum News {
    /// The owner gives no sign of life.
    OwnerSilent,
    /// It does again, after this time.
    OwnerBack(Duration),
    /// These probes give no sign of life.
    ProbesSilent(Vec<String>),
    /// These do again, or have ended.
    ProbesBack(Vec<String>),
}

impl Watch {
    pub(super) const fn new(silence: Duration, look_every: Duration) -> Self {
        Self {
            silence,
            look_every,
            last: None,
            owner_silent_since: None,
            grace: Duration::ZERO,
            probes: BTreeSet::new(),
        }
    }

    /// Looks once; `overdue` names the probes whose sign of life is missing.
    pub(super) fn look(
        &mut self,
        now: Duration,
        owner_is_silent: bool,
        overdue: impl FnOnce() -> Vec<String>,
    ) -> Vec<News> {
        let slept = self.last.map_or(Duration::ZERO, |last| now - last);
        self.last = Some(now);
        // The whole process was stopped, or had no processor.
        if slept > 2 * self.look_every + self.silence / 2 {
            self.grace = now + self.silence;
        }
        let mut news = Vec::new();
        match (owner_is_silent, self.owner_silent_since) {
            (true, None) if now >= self.grace => {
                self.owner_silent_since = Some(now);
                news.push(News::OwnerSilent);
            }
            (false, Some(since)) => {
                self.owner_silent_since = None;
                // Probes had to wait for it.
                self.grace = now + self.silence;
                news.push(News::OwnerBack(now - since + self.silence));
            }
            (true, None | Some(_)) | (false, None) => {}
        }
        if owner_is_silent || now < self.grace {
            return news;
        }
        let overdue: BTreeSet<String> = overdue().into_iter().collect();
        let silent: Vec<String> = overdue.difference(&self.probes).cloned().collect();
        let back: Vec<String> = self.probes.difference(&overdue).cloned().collect();
        if !silent.is_empty() {
            news.push(News::ProbesSilent(silent));
        }
        if !back.is_empty() {
            news.push(News::ProbesBack(back));
        }
        self.probes = overdue;
        news
    }

    /// A sentence for the probes that are stuck, if any are. Of the owner there is none: while it
    /// is stuck it tells nobody.
    pub(super) fn stuck(&self) -> Option<String> {
        let probes: Vec<String> = self.probes.iter().cloned().collect();
        (!probes.is_empty()).then(|| News::ProbesSilent(probes).to_string())
    }
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnerSilent => write!(
                f,
                "the owner task is stuck: results of probes and changes have no effect, and the \
                 data path goes on with its last tables; systemd restarts the agent if its unit has \
                 WatchdogSec, otherwise restart it"
            ),
            Self::OwnerBack(after) => {
                write!(
                    f,
                    "the owner task goes on, after some {} s",
                    after.as_secs()
                )
            }
            Self::ProbesSilent(names) => write!(
                f,
                "probes are stuck, so that the health they have told is old: {}; restart the agent \
                 if it lasts",
                some(names)
            ),
            Self::ProbesBack(names) => {
                write!(f, "probes are no longer stuck: {}", some(names))
            }
        }
    }
}

/// The first few names, and how many more there are.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names.get(..SHOWN).unwrap_or(names).join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(10);
    const LOOK: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    /// Looks once a second.
    fn watch(
        seconds: std::ops::Range<u64>,
        watch: &mut Watch,
        owner_is_silent: bool,
        overdue: &[&str],
    ) -> Vec<News> {
        seconds
            .flat_map(|second| watch.look(at(second), owner_is_silent, || names(overdue)))
            .collect()
    }

    #[test]
    fn a_stuck_owner_is_told_once_and_so_is_its_return() {
        let mut seen = Watch::new(SILENCE, LOOK);
        assert_eq!(watch(0..5, &mut seen, false, &[]), []);
        assert_eq!(watch(5..30, &mut seen, true, &[]), [News::OwnerSilent]);
        // It had been silent for as long as it may be when that was noticed.
        let back = watch(30..60, &mut seen, false, &[]);
        assert_eq!(back, [News::OwnerBack(at(35))]);
    }

    #[test]
    fn probes_are_not_blamed_for_waiting_for_the_owner() {
        let mut seen = Watch::new(SILENCE, LOOK);
        let news = watch(0..30, &mut seen, true, &["web/a"]);
        assert_eq!(news, [News::OwnerSilent]);
        let back = watch(30..39, &mut seen, false, &["web/a"]);
        assert_eq!(back.len(), 1, "{back:?}");
        assert_eq!(
            watch(39..60, &mut seen, false, &["web/a"]),
            [News::ProbesSilent(names(&["web/a"]))],
            "they have had time"
        );
    }

    #[test]
    fn stuck_probes_are_told_once_and_stand_until_they_are_back() {
        let mut seen = Watch::new(SILENCE, LOOK);
        assert_eq!(seen.stuck(), None);
        let news = watch(0..9, &mut seen, false, &["web/a", "web/b"]);
        assert_eq!(news, [News::ProbesSilent(names(&["web/a", "web/b"]))]);
        let stands = seen.stuck().expect("they are stuck");
        assert!(stands.contains("web/a, web/b"), "{stands}");
        let news = watch(9..20, &mut seen, false, &["web/b"]);
        assert_eq!(news, [News::ProbesBack(names(&["web/a"]))]);
        watch(20..22, &mut seen, false, &[]);
        assert_eq!(seen.stuck(), None);
    }

    #[test]
    fn a_process_that_was_stopped_has_time_to_go_on() {
        let mut seen = Watch::new(SILENCE, LOOK);
        assert_eq!(watch(0..3, &mut seen, false, &[]), []);
        // Stopped for a minute: all signs are overdue at once.
        assert_eq!(watch(63..64, &mut seen, true, &["web/a"]), []);
        assert_eq!(watch(64..80, &mut seen, false, &[]), []);
        // But not if it does not go on.
        assert_eq!(watch(140..160, &mut seen, true, &[]), [News::OwnerSilent]);
    }

    #[test]
    fn many_names_are_counted() {
        let many: Vec<String> = (0..40).map(|n| format!("web/{n}")).collect();
        let text = News::ProbesSilent(many).to_string();
        assert!(text.contains("web/4 and 35 more"), "{text}");
    }
}
