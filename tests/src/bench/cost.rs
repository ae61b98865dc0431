//! What a step costs, for programs and for people.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

/// What one step costs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Cost {
    /// The step.
    pub case: String,
    /// Median of all samples.
    pub us_median: u64,
    /// The shortest sample.
    pub us_min: u64,
    /// The longest.
    pub us_max: u64,
    /// What the median is to be at most.
    pub us_goal: Option<u64>,
}

impl Cost {
    /// From samples.
    #[must_use]
    pub fn of(case: String, us_goal: Option<u64>, samples: Vec<Duration>) -> Self {
        let mut samples: Vec<u64> = samples
            .into_iter()
            .map(|sample| u64::try_from(sample.as_micros()).unwrap_or(u64::MAX))
            .collect();
        samples.sort_unstable();
        let at = |index: usize| samples.get(index).copied().unwrap_or_default();
        Self {
            case,
            us_median: at(samples.len() / 2),
            us_min: at(0),
            us_max: at(samples.len().saturating_sub(1)),
            us_goal,
        }
    }
}

/// Costs as a table.
#[must_use]
pub fn table(costs: &[Cost]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["case", "median", "min", "max", "goal"]);
    for cost in costs {
        let goal = cost.us_goal.map(|goal| {
            let met = if cost.us_median <= goal {
                "met"
            } else {
                "missed"
            };
            format!("{goal} us, {met}")
        });
        table.add_row([
            cost.case.clone(),
            format!("{} us", cost.us_median),
            format!("{} us", cost.us_min),
            format!("{} us", cost.us_max),
            goal.unwrap_or_default(),
        ]);
    }
    for column in table.column_iter_mut().skip(1).take(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    super::trimmed(&table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_the_median_and_the_spread_and_is_compared_with_its_goal() {
        let samples: Vec<Duration> = [9, 7, 8, 30, 7].map(Duration::from_micros).to_vec();
        let cost = Cost::of("build".to_owned(), Some(8), samples);
        assert_eq!((cost.us_median, cost.us_min, cost.us_max), (8, 7, 30));
        let missed = Cost {
            us_goal: Some(7),
            ..cost.clone()
        };
        let text = table(&[cost, missed]);
        assert!(text.contains("8 us, met"), "{text}");
        assert!(text.contains("7 us, missed"), "{text}");
    }
}
