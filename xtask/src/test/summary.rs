//! Counts per ring, and the report at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use crate::cli::Ring;
use crate::progress::{bold, green, red, seconds, yellow};
use crate::test::libtest::Tally;

/// What all rings have come to.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    rings: BTreeMap<Ring, Counted>,
    /// The tests that passed somewhere, by their bare names.
    confirmed: BTreeSet<String>,
}

/// How the whole ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good,
    Bad,
}

#[derive(Debug, Default)]
struct Counted {
    passed: usize,
    /// Name and, where libtest has not shown it, reason.
    failed: Vec<(String, String)>,
    skipped: Vec<(String, String)>,
    took: Duration,
}

impl Summary {
    /// Adds what libtest said.
    pub(crate) fn add(&mut self, ring: Ring, tally: Tally) {
        let Tally {
            passed,
            failed,
            skipped,
            confirmed,
        } = tally;
        self.confirmed
            .extend(confirmed.iter().map(|name| bare(name)));
        let counted = self.rings.entry(ring).or_default();
        counted.passed += passed;
        counted.failed.extend(
            failed
                .into_iter()
                .map(|name| (name, "see above".to_owned())),
        );
        counted.skipped.extend(skipped);
    }

    /// Adds a failure that no test has reported.
    pub(crate) fn fail(&mut self, ring: Ring, name: &str, reason: &str) {
        let failed = &mut self.rings.entry(ring).or_default().failed;
        failed.push((name.to_owned(), reason.to_owned()));
    }

    /// Adds a test that was left out.
    pub(crate) fn skip(&mut self, ring: Ring, name: &str, reason: &str) {
        let skipped = &mut self.rings.entry(ring).or_default().skipped;
        skipped.push((name.to_owned(), reason.to_owned()));
    }

    /// Sets how long a ring took.
    pub(crate) fn took(&mut self, ring: Ring, took: Duration) {
        self.rings.entry(ring).or_default().took = took;
    }

    /// Prints the report, and tells the exit code.
    pub(crate) fn finish(&self, strict: bool) -> ExitCode {
        // The tally is the very last line that this program prints.
        print!("{}", self.report(strict));
        match self.verdict(strict) {
            Verdict::Good => ExitCode::SUCCESS,
            Verdict::Bad => ExitCode::FAILURE,
        }
    }

    /// Good if nothing failed and, when `strict`, nothing was skipped everywhere.
    pub(crate) fn verdict(&self, strict: bool) -> Verdict {
        let (_, failed, _) = self.totals();
        if failed > 0 || strict && self.unproved() > 0 {
            Verdict::Bad
        } else {
            Verdict::Good
        }
    }

    /// How many skips are of tests that have passed nowhere: what one kernel lacks another has.
    fn unproved(&self) -> usize {
        self.rings
            .values()
            .flat_map(|counted| &counted.skipped)
            .filter(|(name, _)| !self.confirmed.contains(&bare(name)))
            .count()
    }

    /// The report; its last line is `N passed, N failed, N skipped`.
    pub(crate) fn report(&self, strict: bool) -> String {
        let mut text = String::from("\n");
        self.write(&mut text, strict)
            .expect("a string takes all that is written");
        text
    }

    fn write(&self, to: &mut String, strict: bool) -> std::fmt::Result {
        for (ring, counted) in &self.rings {
            for (name, reason) in &counted.failed {
                writeln!(to, "{} {}: {name}: {reason}", red("failed"), ring.name())?;
            }
            for (name, reason) in &counted.skipped {
                writeln!(
                    to,
                    "{} {}: {name}: {reason}",
                    yellow("skipped"),
                    ring.name()
                )?;
            }
        }
        let (passed, failed, skipped) = self.totals();
        let unproved = self.unproved();
        if strict && unproved > 0 {
            writeln!(
                to,
                "{} CI is set and this is root: nothing may be skipped everywhere, and \
                 {unproved} of the skipped have passed under no kernel",
                red("failed")
            )?;
        }
        let head = format!(
            "{:<8} {:>8} {:>8} {:>8} {:>12}",
            "ring", "passed", "failed", "skipped", "time"
        );
        writeln!(to, "\n{}", bold(&head))?;
        for (ring, counted) in &self.rings {
            writeln!(
                to,
                "{:<8} {:>8} {:>8} {:>8} {:>12}",
                ring.name(),
                counted.passed,
                counted.failed.len(),
                counted.skipped.len(),
                seconds(counted.took)
            )?;
        }
        let sign = match self.verdict(strict) {
            Verdict::Good => green("good"),
            Verdict::Bad => red("not good"),
        };
        writeln!(to, "{sign}")?;
        writeln!(to, "{passed} passed, {failed} failed, {skipped} skipped")
    }

    fn totals(&self) -> (usize, usize, usize) {
        self.rings.values().fold((0, 0, 0), |(p, f, s), counted| {
            (
                p + counted.passed,
                f + counted.failed.len(),
                s + counted.skipped.len(),
            )
        })
    }
}

/// The name of a test without its module and without the kernel it ran under.
fn bare(name: &str) -> String {
    let name = name.rsplit(": ").next().unwrap_or(name);
    name.rsplit("::").next().unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        let mut summary = Summary::default();
        summary.add(
            Ring::Host,
            Tally {
                passed: 7,
                failed: Vec::new(),
                skipped: Vec::new(),
                confirmed: BTreeSet::new(),
            },
        );
        summary.skip(Ring::Netns, "failover", "needs root");
        summary
    }

    #[test]
    fn the_tally_is_the_last_line() {
        let mut summary = summary();
        assert!(
            summary
                .report(false)
                .ends_with("\n7 passed, 0 failed, 1 skipped\n")
        );
        summary.fail(Ring::Kernel, "`cargo test`", "did not build");
        let report = summary.report(false);
        assert!(report.contains("did not build"));
        assert!(report.ends_with("\n7 passed, 1 failed, 1 skipped\n"));
    }

    #[test]
    fn a_skip_is_bad_only_where_all_could_run() {
        assert_eq!(summary().verdict(false), Verdict::Good);
        assert_eq!(summary().verdict(true), Verdict::Bad);
        assert!(
            summary()
                .report(true)
                .contains("netns: failover: needs root")
        );
    }

    #[test]
    fn what_one_kernel_lacks_and_another_has_is_not_bad() {
        let mut summary = summary();
        let tally = Tally {
            passed: 1,
            confirmed: ["labs::failover".to_owned()].into(),
            ..Tally::default()
        };
        summary.add(Ring::Vm, tally.of("6.12"));
        assert_eq!(summary.verdict(true), Verdict::Good);
        summary.skip(Ring::Vm, "6.1: other", "no such device");
        assert_eq!(summary.verdict(true), Verdict::Bad);
    }

    #[test]
    fn a_failure_is_always_bad() {
        let mut summary = summary();
        summary.fail(Ring::Host, "a", "b");
        assert_eq!(summary.verdict(false), Verdict::Bad);
    }
}
