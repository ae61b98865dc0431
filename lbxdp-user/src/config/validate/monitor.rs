//! Tables `monitor`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{name, timing};
use crate::config::file::{self, Codes, MonitorName};
use crate::config::model::{HttpCheck, Monitor, MonitorKind, Timing};
use crate::config::report::Report;

const DEFAULT_TIMING: Timing = Timing {
    interval: Duration::from_secs(60),
    timeout: Duration::from_secs(5),
    retries: 2,
    consecutive_up: 0,
    consecutive_down: 0,
};

/// Fields that the prober writes itself, since the meaning of the request hangs on them.
const OWN_FIELDS: [&str; 4] = [
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn monitors(
    written: &[file::Monitor],
    report: &mut Report<'_>,
) -> BTreeMap<String, Monitor> {
    written
        .iter()
        .map(|monitor| {
            let name = name::check(&monitor.name, &monitor.path, "monitor", report);
            (name, self::monitor(monitor, report))
        })
        .collect()
}

fn monitor(written: &file::Monitor, report: &mut Report<'_>) -> Monitor {
    let name = written.kind.or(MonitorName::Http);
    if name != MonitorName::Http && !report.faulty(&format!("{}.type", written.path)) {
        forbid_http(written, report);
    }
    let kind = match name {
        MonitorName::Tcp => MonitorKind::Tcp,
        MonitorName::Http => MonitorKind::Http(Arc::new(http(written, report))),
        MonitorName::IcmpPing => MonitorKind::IcmpPing,
    };
    let port = written.port.or(0);
    if name == MonitorName::IcmpPing && port != 0 {
        report.error(
            format!("{}.port", written.path),
            "icmp_ping has no `port`",
            "remove it, or use type = \"tcp\"",
        );
    }
    let schedule = timing::Written {
        path: &written.path,
        interval: &written.interval,
        timeout: &written.timeout,
        retries: &written.retries,
        consecutive_up: &written.consecutive_up,
        consecutive_down: &written.consecutive_down,
    };
    Monitor {
        kind,
        port,
        timing: timing::timing(&schedule, DEFAULT_TIMING, report),
    }
}

fn forbid_http(written: &file::Monitor, report: &mut Report<'_>) {
    let keys = [
        ("method", written.method.given().is_some()),
        ("path", written.path_and_query.given().is_some()),
        ("header", written.header.given().is_some()),
        ("expected_codes", written.expected_codes.given().is_some()),
        ("expected_body", written.expected_body.given().is_some()),
    ];
    for (key, there) in keys {
        if there {
            report.error(
                format!("{}.{key}", written.path),
                format!("`{key}` has a meaning for type = \"http\" only"),
                "remove it, or write type = \"http\"",
            );
        }
    }
}

fn http(written: &file::Monitor, report: &mut Report<'_>) -> HttpCheck {
    let method = written.method.or("GET".to_owned());
    if !is_token(&method) {
        report.error(
            format!("{}.method", written.path),
            format!("{method:?} is no HTTP method"),
            "write it as in \"GET\" or \"HEAD\"",
        );
    }
    let path = written.path_and_query.or("/".to_owned());
    if !path.starts_with('/') || !path.bytes().all(|b| b.is_ascii_graphic()) {
        report.error(
            format!("{}.path", written.path),
            format!("{path:?} is no path of a request"),
            "begin it with `/`, and escape spaces and the like as in `%20`",
        );
    }
    let expected_body = written.expected_body.or(String::new());
    if method == "HEAD" && !expected_body.is_empty() {
        report.error(
            format!("{}.expected_body", written.path),
            "an answer to HEAD has no body",
            "remove it, or use method = \"GET\"",
        );
    }
    HttpCheck {
        method,
        path,
        headers: headers(written, report),
        expected_codes: written.expected_codes.or(Codes(vec![(200, 200)])).0,
        expected_body,
    }
}

fn headers(written: &file::Monitor, report: &mut Report<'_>) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (name, values) in written.header.given().into_iter().flatten() {
        let path = format!("{}.header.{name}", written.path);
        if !is_token(name) {
            report.error(
                &path,
                format!("{name:?} is no name of a header field"),
                "use letters, digits and `-`",
            );
        } else if OWN_FIELDS.contains(&name.to_ascii_lowercase().as_str()) {
            report.error(
                &path,
                format!("`{name}` is written by the prober itself"),
                "remove it",
            );
        }
        for value in &values.0 {
            if value.chars().any(|c| c.is_control() && c != '\t') {
                report.error(
                    &path,
                    "the value has a line break or another control character",
                    "remove it",
                );
            }
            headers.push((name.clone(), value.clone()));
        }
    }
    headers
}

/// A token of RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
