//! What the program costs, in nanoseconds a packet; how many packets a second it takes from a link and
//! sends back: [`e2e`]; and what the agent does and takes, by the size of its configuration: [`rows`],
//! [`reconcile`], [`agent`].
//!
//! `BPF_PROG_TEST_RUN` runs a wrapper many times; the wrapper restores the frame, makes it a packet
//! of the next flow and calls the program under test ([`lbxdp_ebpf::bench`]). All programs take
//! turns in short samples, so that whatever else the machine does falls on all of them alike, and
//! medians are compared: what a program costs is what it costs more than `floor`, which exchanges
//! MAC addresses and transmits.

pub mod agent;
pub mod cost;
pub mod e2e;
mod figures;
mod memory;
mod programs;
pub mod reconcile;
pub mod rows;
pub mod scenario;
mod stand;
mod subject;
mod subjects;

use comfy_table::{CellAlignment, Table, presets};

pub use figures::{Figure, table};
pub use stand::{Effort, measure};
pub use subject::{Flows, Subject};
pub use subjects::Subjects;

/// Rows of every listener: the prime that the agent takes for a few thousand origins.
const ROWS: u32 = 65_537;
/// Origins of every listener.
const ORIGINS: u16 = 1_000;

/// Whether a goal is met, in a sentence.
fn goal(what: &str, value: u64, goal: u64, unit: &str) -> String {
    let met = if value <= goal { "met" } else { "missed" };
    format!("{what}: {value} {unit}, goal {goal} {unit}, {met}")
}

/// A table of numbers as text.
fn numbers<const COLUMNS: usize>(
    header: [&str; COLUMNS],
    rows: impl Iterator<Item = [String; COLUMNS]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    trimmed(&table)
}

/// How many times the second of each pair the first is, in the median: a pair is of one round, as a
/// machine that others share is not the same in the next. `None` if the second never is anything.
fn median_ratio(rounds: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let pairs = rounds.filter(|(_, other)| *other > 0.0);
    let mut ratios: Vec<f64> = pairs.map(|(one, other)| one / other).collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied()
}

/// A table as text, without blanks at the ends of lines.
fn trimmed(table: &Table) -> String {
    let lines = table.to_string();
    let lines: Vec<&str> = lines.lines().map(str::trim_end).collect();
    lines.join("\n")
}
