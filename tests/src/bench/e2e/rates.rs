//! What was measured end to end, for programs and for people.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::Sample;
use crate::bench::median_ratio;
use crate::bench::subject::Subject;

/// What stands in the name of a flood, beside that of its ordinary traffic.
const FLOOD: &str = "-syn-flood";
/// How many times the rate of the ideal program that of DSR with the same header is to be at least.
const OF_IDEAL: f64 = 0.9;
/// The same of a flood, and of the ordinary traffic of the same rows. They are to be equal: this
/// much less is what two runs of one program differ by.
const OF_ORDINARY: f64 = 0.95;

/// The rate of one case with one number of flows.
#[derive(Clone, PartialEq, Serialize, Debug)]
pub struct Rate {
    /// The case.
    pub case: String,
    /// How many flows its packets were of; of a flood, beside how many it was measured.
    pub flows: u32,
    /// Median of all samples, in millions of packets a second.
    pub mpps_median: f64,
    /// The lowest sample.
    pub mpps_min: f64,
    /// The highest.
    pub mpps_max: f64,
    /// Packets of all samples that did not arrive.
    #[serde(skip)]
    pub lost: u64,
    /// The samples in the order of the rounds, in which each case has one.
    #[serde(skip)]
    rounds: Vec<f64>,
}

impl Rate {
    /// The rates of all subjects, from the samples of each.
    pub(super) fn all(subjects: &[Subject], flows: u32, samples: &[Vec<Sample>]) -> Vec<Self> {
        subjects
            .iter()
            .zip(samples)
            // What there cannot be so many flows of has none.
            .filter(|(_, samples)| !samples.is_empty())
            .map(|(subject, samples)| Self::of(&subject.name, flows, samples))
            .collect()
    }

    fn of(case: &str, flows: u32, samples: &[Sample]) -> Self {
        let rounds: Vec<f64> = samples.iter().map(|sample| sample.mpps).collect();
        let mut mpps = rounds.clone();
        mpps.sort_by(f64::total_cmp);
        // Four figures or so: the rest is noise.
        let at = |index: usize| {
            mpps.get(index)
                .map_or(0.0, |mpps| (mpps * 1e4).round() / 1e4)
        };
        Self {
            case: case.to_owned(),
            flows,
            mpps_median: at(mpps.len() / 2),
            mpps_min: at(0),
            mpps_max: at(mpps.len().saturating_sub(1)),
            lost: samples.iter().map(|sample| sample.lost).sum(),
            rounds,
        }
    }

    /// How many times the rate of `other` this is: see [`median_ratio`].
    fn times(&self, other: &Self) -> Option<f64> {
        let pairs = self.rounds.iter().zip(&other.rounds);
        median_ratio(pairs.map(|(mpps, other)| (*mpps, *other)))
    }

    /// The case that this is to be compared with, and how many times its rate is to be reached.
    fn goal(&self) -> Option<(String, f64)> {
        if self.case.contains(FLOOD) {
            Some((self.case.replace(FLOOD, ""), OF_ORDINARY))
        } else if self.case == "dsr-ipip" {
            Some(("ideal".to_owned(), OF_IDEAL))
        } else {
            None
        }
    }
}

/// The rates of one number of flows, as a table.
#[must_use]
pub fn table(rates: &[Rate], flows: u32) -> String {
    let rates: Vec<&Rate> = rates.iter().filter(|rate| rate.flows == flows).collect();
    let times =
        |rate: &Rate, other: &str| rate.times(rates.iter().find(|rate| rate.case == other)?);
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["case", "median", "min", "max", "lost", "of ideal", "goal"]);
    for rate in &rates {
        let goal = rate.goal().and_then(|(other, goal)| {
            let ratio = times(rate, &other)?;
            let word = if ratio >= goal { "met" } else { "missed" };
            Some(format!("{goal} of {other}, {word} with {ratio:.2}"))
        });
        table.add_row([
            rate.case.clone(),
            format!("{:.3} Mpps", rate.mpps_median),
            format!("{:.3} Mpps", rate.mpps_min),
            format!("{:.3} Mpps", rate.mpps_max),
            rate.lost.to_string(),
            times(rate, "ideal").map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            goal.unwrap_or_default(),
        ]);
    }
    for column in table.column_iter_mut().skip(1).take(5) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let lines = table.to_string();
    let lines: Vec<&str> = lines.lines().map(str::trim_end).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(case: &str, mpps: f64) -> Rate {
        Rate::of(case, 1, &[Sample { mpps, lost: 1 }])
    }

    #[test]
    fn a_rate_is_the_median_and_the_spread() {
        let samples = [1.5, 1.25, 0.5, 1.4, 1.3].map(|mpps| Sample { mpps, lost: 2 });
        let rate = Rate::of("dsr-ipip", 1, &samples);
        assert_eq!(rate.mpps_median.to_bits(), 1.3_f64.to_bits());
        assert_eq!(rate.mpps_min.to_bits(), 0.5_f64.to_bits());
        assert_eq!(rate.mpps_max.to_bits(), 1.5_f64.to_bits());
        assert_eq!(rate.lost, 10);
    }

    #[test]
    fn rates_are_compared_round_by_round() {
        let of = |rounds: [f64; 3]| Rate::of("", 1, &rounds.map(|mpps| Sample { mpps, lost: 0 }));
        // Their medians are 1 and 2.
        let (one, other) = (of([1.0, 0.5, 8.0]), of([2.0, 0.25, 4.0]));
        assert_eq!(one.times(&other), Some(2.0));
    }

    #[test]
    fn json_has_exactly_the_fields_that_are_promised() {
        let json = serde_json::to_value(rate("floor", 1.0)).expect("numbers and a name");
        let mut names: Vec<&String> = json.as_object().expect("an object").keys().collect();
        names.sort();
        assert_eq!(
            names,
            ["case", "flows", "mpps_max", "mpps_median", "mpps_min"]
        );
    }

    #[test]
    fn the_table_compares_with_the_ideal_and_floods_with_ordinary_traffic() {
        let rates = [
            rate("ideal", 2.0),
            rate("dsr-ipip", 1.9),
            rate("dsr-ipip-at-risk", 1.2),
            rate("dsr-ipip-syn-flood", 1.5),
            rate("dsr-ipip-syn-flood-at-risk", 1.2),
        ];
        let table = table(&rates, 1);
        for line in [
            "0.9 of ideal, met with 0.95",
            "0.95 of dsr-ipip, missed with 0.79",
            "0.95 of dsr-ipip-at-risk, met with 1.00",
        ] {
            assert!(table.contains(line), "{table}");
        }
    }
}
