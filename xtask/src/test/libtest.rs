//! Reads what libtest prints.
//!
//! The tests run with `--show-output`, so that what a passing test printed comes
//! under its name after all have run. A test that cannot run passes and prints
//! `SKIPPED: NAME: REASON`; it is counted as skipped.

use std::collections::{BTreeMap, BTreeSet};

/// How the tests of one or more test programs ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    /// Names of the tests that failed.
    pub(crate) failed: Vec<String>,
    /// Tests that did not run: name and reason.
    pub(crate) skipped: Vec<(String, String)>,
    /// Names of the tests that passed, as far as they could be read.
    pub(crate) confirmed: BTreeSet<String>,
}

impl Tally {
    /// The same, with each name said to be of `whose`.
    pub(crate) fn of(self, whose: &str) -> Self {
        let owned = |name: String| format!("{whose}: {name}");
        let Self {
            passed,
            failed,
            skipped,
            confirmed,
        } = self;
        Self {
            passed,
            failed: failed.into_iter().map(owned).collect(),
            skipped: skipped
                .into_iter()
                .map(|(name, reason)| (owned(name), reason))
                .collect(),
            confirmed: confirmed.into_iter().map(owned).collect(),
        }
    }
}

/// Reads line by line.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    tally: Tally,
    program: Option<Program>,
}

/// A test program whose result is still to come.
#[derive(Debug, Default)]
struct Program {
    part: Part,
    passed: BTreeSet<String>,
    failed: BTreeSet<String>,
    ignored: BTreeMap<String, String>,
    skipped: BTreeMap<String, String>,
}

/// The part of a program's output that a line is in.
#[derive(Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Results,
    /// What passing tests printed; the test that is at it.
    Successes(Option<String>),
    Failures,
}

/// Whether a line is worth showing to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Worth {
    Shown,
    /// Only of interest to who wants all.
    Detail,
}

impl Reader {
    /// Takes the next line.
    pub(crate) fn line(&mut self, line: &str) -> Worth {
        if let Some(count) = line.strip_prefix("running ").and_then(count_of_tests) {
            self.close("its test program ended before its result");
            self.program = Some(Program::default());
            return if count == 0 {
                Worth::Detail
            } else {
                Worth::Shown
            };
        }
        let Some(program) = &mut self.program else {
            return Worth::Shown;
        };
        if let Some(counts) = Counts::parse(line) {
            let worth = if counts == Counts::default() {
                Worth::Detail
            } else {
                Worth::Shown
            };
            let program = self.program.take().expect("was there just now");
            self.tally.add(program, counts);
            return worth;
        }
        program.line(line)
    }

    /// What was counted, after the last line.
    pub(crate) fn finish(mut self) -> Tally {
        self.close("its test program ended before its result");
        self.tally
    }

    fn close(&mut self, reason: &str) {
        if let Some(program) = self.program.take() {
            let Program {
                part: _,
                passed: _,
                failed,
                ignored,
                skipped,
            } = program;
            self.tally.failed.extend(failed);
            self.tally
                .failed
                .push(format!("(a whole test program: {reason})"));
            self.tally.skipped.extend(ignored);
            self.tally.skipped.extend(skipped);
        }
    }
}

impl Program {
    fn line(&mut self, line: &str) -> Worth {
        if let Some((name, reason)) = skip(line) {
            let name = match &self.part {
                Part::Successes(Some(test)) => test.clone(),
                Part::Results | Part::Successes(None) | Part::Failures => name.to_owned(),
            };
            self.skipped
                .entry(name)
                .or_insert_with(|| reason.to_owned());
            return Worth::Shown;
        }
        match line {
            "successes:" => {
                self.part = Part::Successes(None);
                return Worth::Detail;
            }
            "failures:" => {
                self.part = Part::Failures;
                return Worth::Shown;
            }
            _ => {}
        }
        match &mut self.part {
            Part::Results => {
                if let Some((name, end)) = result(line) {
                    if end == "FAILED" {
                        self.failed.insert(name.to_owned());
                    } else if end == "ok" {
                        self.passed.insert(name.to_owned());
                    } else if let Some(reason) = end.strip_prefix("ignored") {
                        let reason = reason.trim_start_matches(", ");
                        let reason = if reason.is_empty() {
                            "marked as ignored"
                        } else {
                            reason
                        };
                        self.ignored.insert(name.to_owned(), reason.to_owned());
                    }
                }
                Worth::Shown
            }
            Part::Successes(test) => {
                if let Some(name) = line
                    .strip_prefix("---- ")
                    .and_then(|rest| rest.strip_suffix(" stdout ----"))
                {
                    *test = Some(name.to_owned());
                }
                Worth::Detail
            }
            Part::Failures => Worth::Shown,
        }
    }
}

impl Tally {
    fn add(&mut self, program: Program, counts: Counts) {
        let Program {
            part: _,
            mut passed,
            failed,
            ignored,
            mut skipped,
        } = program;
        let Counts {
            passed: passes,
            failed: failures,
            ignored: ignores,
        } = counts;
        // One that failed after all has failed.
        skipped.retain(|name, _| !failed.contains(name));
        passed.retain(|name| !skipped.contains_key(name));
        self.passed += passes.saturating_sub(skipped.len());
        self.confirmed.extend(passed);
        self.skipped.extend(skipped);

        // The result's counts are right where a line could not be read.
        let unread = failures.saturating_sub(failed.len());
        self.failed.extend(failed);
        self.failed
            .extend((0..unread).map(|_| "(a test whose name could not be read)".to_owned()));
        let unread = ignores.saturating_sub(ignored.len());
        self.skipped.extend(ignored);
        self.skipped.extend((0..unread).map(|_| {
            (
                "(a test whose name could not be read)".to_owned(),
                "marked as ignored".to_owned(),
            )
        }));
    }
}

/// The counts of a line `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
    ignored: usize,
}

impl Counts {
    fn parse(line: &str) -> Option<Self> {
        let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let count = |what: &str| {
            counts
                .split("; ")
                .find_map(|part| part.strip_suffix(what)?.trim().parse().ok())
        };
        Some(Self {
            passed: count("passed")?,
            failed: count("failed")?,
            ignored: count("ignored")?,
        })
    }
}

/// Name and reason of a line `SKIPPED: NAME: REASON`, wherever it stands: with
/// `--nocapture` it follows `test NAME ... `.
fn skip(line: &str) -> Option<(&str, &str)> {
    let (before, rest) = line.split_once("SKIPPED: ")?;
    let starts = before.is_empty() || before.starts_with("test ") && before.ends_with(" ... ");
    starts.then(|| rest.split_once(": ").unwrap_or((rest, "no reason given")))
}

/// Name and end of a line `test NAME ... END`.
fn result(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("test ")?.rsplit_once(" ... ")
}

/// The number of a line `running N tests`, without its first word.
fn count_of_tests(rest: &str) -> Option<usize> {
    let (count, word) = rest.split_once(' ')?;
    matches!(word, "test" | "tests").then(|| count.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Tally {
        let mut reader = Reader::default();
        for line in text.lines() {
            reader.line(line);
        }
        reader.finish()
    }

    const MIXED: &str = "\
   Compiling tests v0.1.0
     Running unittests src/lib.rs

running 5 tests
test maglev::balances ... ok
test wire::odd_length ... FAILED
test slow ... ignored, takes an hour
test verifier ... ok
test oops - should panic ... ok

successes:

---- maglev::balances stdout ----
test looks::like ... FAILED
test result: not one
---- verifier stdout ----
SKIPPED: verifier: needs root

successes:
    maglev::balances
    verifier

failures:

---- wire::odd_length stdout ----
panicked at 'SKIPPED' is not at the start
SKIPPED: wire::odd_length: half of it

failures:
    wire::odd_length

test result: FAILED. 3 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.03s

running 2 tests
..
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn counts_over_programs_and_moves_skips() {
        assert_eq!(
            read(MIXED),
            Tally {
                passed: 4,
                failed: vec!["wire::odd_length".to_owned()],
                skipped: vec![
                    ("verifier".to_owned(), "needs root".to_owned()),
                    ("slow".to_owned(), "takes an hour".to_owned()),
                ],
                confirmed: [
                    "maglev::balances".to_owned(),
                    "oops - should panic".to_owned()
                ]
                .into(),
            }
        );
    }

    #[test]
    fn a_skip_is_seen_without_capture_too() {
        let tally = read(
            "running 2 tests\n\
             test lab ... SKIPPED: lab: no vxlan here\n\
             ok\n\
             test other ... ok\n\
             test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n",
        );
        assert_eq!(tally.passed, 1);
        assert_eq!(
            tally.skipped,
            [("lab".to_owned(), "no vxlan here".to_owned())]
        );
    }

    #[test]
    fn a_program_that_dies_has_failed() {
        let tally = read("running 3 tests\ntest a ... ok\nerror: test failed (signal: 11)\n");
        assert_eq!(tally.passed, 0);
        assert_eq!(tally.failed.len(), 1);
    }

    #[test]
    fn several_skips_in_one_test_are_one_skipped_test() {
        let tally = read(
            "running 1 test\n\
             test cases ... ok\n\
             successes:\n\
             ---- cases stdout ----\n\
             SKIPPED: gre over v6: no device\n\
             SKIPPED: gue over v6: no device\n\
             test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n",
        );
        assert_eq!(
            (tally.passed, tally.failed.len(), tally.skipped.len()),
            (0, 0, 1)
        );
    }

    #[test]
    fn what_passing_tests_print_is_a_detail() {
        let mut reader = Reader::default();
        assert_eq!(reader.line("running 1 test"), Worth::Shown);
        assert_eq!(reader.line("test a ... ok"), Worth::Shown);
        assert_eq!(reader.line("successes:"), Worth::Detail);
        assert_eq!(reader.line("much ado"), Worth::Detail);
        let result = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(reader.line(result), Worth::Shown);
        assert_eq!(reader.line("running 0 tests"), Worth::Detail);
    }
}
