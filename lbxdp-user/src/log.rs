//! Logging: text for people and journals, JSON for programs.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// The form of log lines.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, ValueEnum)]
pub enum Format {
    /// One line of text an event.
    #[default]
    Text,
    /// One JSON object an event.
    Json,
}

/// Sets up logging to standard error: level `info`, or as `LBXDP_LOG` says (`debug`,
/// `lbxdp::health=trace`, …).
///
/// Under systemd, which stamps every line itself, lines carry no time.
pub fn init(format: Format) {
    let filter = EnvFilter::try_from_env("LBXDP_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(false);
    match (format, journal) {
        (Format::Json, _) => builder.json().flatten_event(true).init(),
        (Format::Text, true) => builder.without_time().init(),
        (Format::Text, false) => builder.init(),
    }
}
