//! Logging: text for people and journals, JSON for programs.

use std::io::IsTerminal;

use anyhow::Context;
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

/// Libraries whose small talk is of no use to an operator. The file watch would even report the
/// writing of its own lines, if the log stands beside the configuration.
const LIBRARIES: &str = "hyper=info,hyper_util=info,mio=info,netlink_packet_route=info,\
                         netlink_proto=info,netlink_sys=info,notify=info,rtnetlink=info";

/// Sets up logging to standard error: level `info`, or as `LBXDP_LOG` says (`debug`,
/// `lbxdp::health=trace`, …). Libraries stay at `info` unless it names them.
///
/// Under systemd, which stamps every line itself, lines carry no time.
///
/// # Errors
/// When `LBXDP_LOG` is not understood.
pub fn init(format: Format) -> anyhow::Result<()> {
    let wanted = std::env::var("LBXDP_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter = filter(&wanted)?;
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
    Ok(())
}

fn filter(wanted: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(format!("{LIBRARIES},{wanted}")).with_context(|| {
        format!("LBXDP_LOG is \"{wanted}\": it takes a level, or modules with levels (`info,lbxdp::health=trace`)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_quiet_unless_named() {
        let shown = filter("trace").expect("a level").to_string();
        assert!(
            shown.contains("notify=info") && shown.ends_with("trace"),
            "{shown}"
        );
        let shown = filter("notify=debug")
            .expect("a module with a level")
            .to_string();
        assert!(
            shown.contains("notify=debug") && !shown.contains("notify=info"),
            "{shown}"
        );
        let error = filter("lbxdp=loud").expect_err("no such level");
        assert!(format!("{error:#}").contains("LBXDP_LOG"), "{error:#}");
    }
}
