//! How the demo speaks: a heading per scene, a line per fact.

use std::io::IsTerminal as _;
use std::io::Write as _;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Figures, Share};

/// Where the report goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Standard output.
    Output,
    /// Standard error, since standard output is for the figures as JSON.
    Error,
}

impl Stage {
    pub(super) fn title(self) {
        self.line("lbxdp demo: one edge node, two private networks that use the same addresses.");
        self.line("Everything is real (kernel tunnels, sockets, the agent) and gone at the end.");
    }

    /// Begins a scene.
    pub(super) fn scene(self, heading: &str) {
        self.line("");
        self.line(heading);
    }

    /// One fact of a scene.
    pub(super) fn fact(self, what: &str, value: &str) {
        self.line(&format!("  {what:<34} {value}"));
    }

    /// A line as it is.
    pub fn line(self, text: &str) {
        // The reader may have gone; the demo's result does not depend on it.
        match self {
            Self::Output => drop(writeln!(std::io::stdout(), "{text}")),
            Self::Error => drop(writeln!(std::io::stderr(), "{text}")),
        }
    }

    /// Shows that something goes on until it is done; on a terminal only.
    pub(super) fn during<T>(self, what: &str, work: impl FnOnce() -> T) -> T {
        if !std::io::stderr().is_terminal() {
            return work();
        }
        let bar = ProgressBar::new_spinner().with_message(what.to_owned());
        if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        let result = work();
        bar.finish_and_clear();
        result
    }

    pub(super) fn shares(self, shares: &[Share]) {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header([
            "listener",
            "served by",
            "address",
            "expected",
            "measured",
            "requests",
        ]);
        for share in shares {
            table.add_row([
                share.listener.clone(),
                share.origin.clone(),
                share.address.clone(),
                percent(share.expected),
                percent(share.measured),
                share.requests.to_string(),
            ]);
        }
        for column in table.column_iter_mut().skip(3) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        for line in table.to_string().lines() {
            self.line(&format!(" {}", line.trim_end()));
        }
    }

    pub(super) fn close(self, figures: &Figures) {
        self.line("");
        self.fact("requests in all", &figures.requests.to_string());
        self.fact(
            "failed while nothing was wrong",
            &figures.failed_steady.to_string(),
        );
        self.fact("took", &format!("{:.0} s", figures.seconds));
        self.line("");
        if figures.ok {
            self.line("All is as it must be.");
        } else {
            self.line("Not as it must be:");
            for problem in &figures.problems {
                self.line(&format!("  - {}", problem.replace('\n', "\n    ")));
            }
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
