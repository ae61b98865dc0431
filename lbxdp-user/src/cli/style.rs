//! How output looks: tables, colours, numbers.

use std::io::IsTerminal;

use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table};

/// Whether colours may be used on standard output.
pub(super) fn colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// A table with these column heads.
pub(super) fn table<'a>(heads: impl IntoIterator<Item = &'a str>) -> Table {
    let colour = colour();
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(heads.into_iter().map(|head| {
            let cell = Cell::new(head);
            if colour {
                cell.add_attribute(Attribute::Bold)
            } else {
                cell
            }
        }));
    if !colour {
        table.force_no_tty();
    }
    table
}

/// A state, coloured for what it means.
pub(super) fn state(word: &str) -> Cell {
    let cell = Cell::new(word);
    if !colour() {
        return cell;
    }
    match word {
        "healthy" | "native" => cell.fg(Color::Green),
        "degraded" | "unknown" | "generic" => cell.fg(Color::Yellow),
        "unhealthy" | "critical" | "panic" | "detached" => cell.fg(Color::Red),
        _ => cell,
    }
}

/// A number with a unit prefix, three digits or so.
pub(super) fn amount(number: u64) -> String {
    const UNITS: [&str; 6] = ["", "k", "M", "G", "T", "P"];
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 10_000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let unit = UNITS.get(unit).copied().unwrap_or_default();
    if unit.is_empty() {
        number.to_string()
    } else {
        format!("{value:.1}{unit}")
    }
}

/// A share as a percentage.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short() {
        assert_eq!(amount(9_999), "9999");
        assert_eq!(amount(12_345), "12.3k");
        assert_eq!(amount(3_000_000_000), "3000.0M");
        assert_eq!(percent(0.25), "25.0 %");
    }
}
