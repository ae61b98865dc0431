//! What was measured, for programs and for people.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::median_ratio;
use super::subject::Subject;

/// What one case costs with one number of flows.
#[derive(Clone, PartialEq, Eq, Serialize, Debug)]
pub struct Figure {
    /// The case.
    pub case: String,
    /// How many flows its packets were of.
    pub flows: u32,
    /// Median of all samples; with the wrapper.
    pub ns_median: u64,
    /// The shortest sample.
    pub ns_min: u64,
    /// The longest.
    pub ns_max: u64,
    /// By how much the median is above that of `floor`.
    pub ns_above_floor: i64,
    /// By how much each sample is above that of `floor` in its round.
    #[serde(skip)]
    rounds: Vec<i64>,
}

impl Figure {
    /// The figures of all subjects, from the samples of each.
    pub(super) fn all(subjects: &[Subject], flows: u32, samples: &[Vec<Duration>]) -> Vec<Self> {
        let mut figures: Vec<Self> = subjects
            .iter()
            .zip(samples)
            // What there cannot be so many flows of has none.
            .filter(|(_, samples)| !samples.is_empty())
            .map(|(subject, samples)| Self::of(&subject.name, flows, samples))
            .collect();
        let floor = figures.iter().find(|figure| figure.case == "floor");
        if let Some(floor) = floor.cloned() {
            for figure in &mut figures {
                figure.rise_above(&floor);
            }
        }
        figures
    }

    fn of(case: &str, flows: u32, samples: &[Duration]) -> Self {
        let rounds: Vec<i64> = samples
            .iter()
            .map(|sample| i64::try_from(sample.as_nanos()).unwrap_or(i64::MAX))
            .collect();
        let mut sorted = rounds.clone();
        sorted.sort_unstable();
        let at = |index: usize| {
            let sample = sorted.get(index).copied().unwrap_or_default();
            sample.unsigned_abs()
        };
        Self {
            case: case.to_owned(),
            flows,
            ns_median: at(sorted.len() / 2),
            ns_min: at(0),
            ns_max: at(sorted.len().saturating_sub(1)),
            ns_above_floor: 0,
            rounds,
        }
    }

    /// Takes away what a packet costs `floor`.
    fn rise_above(&mut self, floor: &Self) {
        self.ns_above_floor = self.ns_median.cast_signed() - floor.ns_median.cast_signed();
        for (round, floor) in self.rounds.iter_mut().zip(&floor.rounds) {
            *round -= floor;
        }
    }

    /// How many times what the other costs above `floor`: see [`median_ratio`].
    fn times(&self, other: &Self) -> Option<f64> {
        let pairs = self.rounds.iter().zip(&other.rounds);
        median_ratio(pairs.map(|(ns, other)| (*ns as f64, *other as f64)))
    }
}

/// How many times what the ideal program costs a case is to cost at most.
fn goal(case: &str) -> Option<f64> {
    match case {
        "dsr-ipip" => Some(1.5),
        "dsr-gue" | "dsr-vxlan" => Some(1.8),
        "dsr-ipip-at-risk" => Some(2.5),
        "not-ours" => Some(0.7),
        _ if case.starts_with("nat-preserve") => Some(2.0),
        _ => None,
    }
}

/// The figures of one number of flows, as a table.
#[must_use]
pub fn table(figures: &[Figure], flows: u32) -> String {
    let figures: Vec<&Figure> = figures
        .iter()
        .filter(|figure| figure.flows == flows)
        .collect();
    let ideal = figures.iter().find(|figure| figure.case == "ideal");
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "case",
        "median",
        "min",
        "max",
        "above floor",
        "of ideal",
        "goal",
    ]);
    for figure in &figures {
        let ratio = ideal.and_then(|ideal| figure.times(ideal));
        table.add_row([
            figure.case.clone(),
            format!("{} ns", figure.ns_median),
            format!("{} ns", figure.ns_min),
            format!("{} ns", figure.ns_max),
            format!("{} ns", figure.ns_above_floor),
            ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            match (goal(&figure.case), ratio) {
                (Some(goal), Some(ratio)) if ratio <= goal => format!("{goal:.1}, met"),
                (Some(goal), _) => format!("{goal:.1}, missed"),
                (None, _) => String::new(),
            },
        ]);
    }
    for column in table.column_iter_mut().skip(1).take(5) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    super::trimmed(&table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median_and_the_spread() {
        let samples: Vec<Duration> = [9, 7, 8, 30, 7].map(Duration::from_nanos).to_vec();
        let figure = Figure::of("dsr-ipip", 1, &samples);
        assert_eq!((figure.ns_median, figure.ns_min, figure.ns_max), (8, 7, 30));
    }

    #[test]
    fn what_is_above_the_floor_is_compared_round_by_round() {
        let of = |rounds: [u64; 3]| {
            let mut figure = Figure::of("", 1, &rounds.map(Duration::from_nanos));
            figure.rise_above(&Figure::of(
                "floor",
                1,
                &[5, 6, 7].map(Duration::from_nanos),
            ));
            figure
        };
        // Their medians are 14 and 10 above that of the floor.
        let (one, other) = (of([20, 36, 17]), of([10, 16, 27]));
        assert_eq!(one.ns_above_floor, 14);
        assert_eq!(other.ns_above_floor, 10);
        assert_eq!(one.times(&other), Some(3.0));
    }

    #[test]
    fn json_has_exactly_the_fields_that_are_promised() {
        let figure = Figure::of("floor", 1, &[Duration::from_nanos(20)]);
        let json = serde_json::to_value(figure).expect("numbers and a name");
        let mut names: Vec<&String> = json.as_object().expect("an object").keys().collect();
        names.sort();
        assert_eq!(
            names,
            [
                "case",
                "flows",
                "ns_above_floor",
                "ns_max",
                "ns_median",
                "ns_min"
            ]
        );
    }

    #[test]
    fn the_table_compares_with_the_ideal_and_with_the_goal() {
        let figure = |case: &str, ns| Figure::of(case, 1, &[Duration::from_nanos(ns)]);
        let figures = [
            figure("ideal", 40),
            figure("dsr-ipip", 60),
            figure("not-ours", 40),
        ];
        let table = table(&figures, 1);
        assert!(table.contains("1.5, met"), "{table}");
        assert!(table.contains("0.7, missed"), "{table}");
    }
}
