//! Names: what they may be, and that they differ.

use std::collections::BTreeMap;

use crate::config::file::Field;
use crate::config::report::{Report, did_you_mean};

/// Longest name, in bytes: `pool/origin` fits in 120.
const LONGEST: usize = 59;

/// Checks the `name` of the table at `path`; returns what stands for it there, which is the name
/// itself unless something is wrong with it.
pub(super) fn check(
    name: &Field<String>,
    path: &str,
    noun: &str,
    report: &mut Report<'_>,
) -> String {
    let label = label(path);
    let hint = format!("give the {noun} a name");
    let Some(name) = name.required(path, "name", &hint, report) else {
        return label;
    };
    let at = format!("{path}.name");
    if *name != label {
        report.error(
            at,
            format!("there is another {noun} called {name:?}"),
            "give each its own name, or remove one of them",
        );
    } else if name.is_empty() {
        report.error(at, "the name is empty", hint);
    } else if name.len() > LONGEST {
        report.error(
            at,
            format!("the name has {} bytes", name.len()),
            format!("at most {LONGEST} bytes"),
        );
    } else if !name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    {
        report.error(
            at,
            format!("{name:?} is no name"),
            "use letters, digits, `-`, `_` and `.` only",
        );
    }
    label
}

/// Reports a reference to something that does not exist; returns whether it exists.
pub(super) fn exists<V>(
    name: &str,
    among: &BTreeMap<String, V>,
    path: &str,
    noun: &str,
    report: &mut Report<'_>,
) -> bool {
    let found = among.contains_key(name);
    if !found {
        let none = format!("no {noun} is configured: add one");
        let otherwise = if among.is_empty() {
            none
        } else {
            format!("the {noun}s are")
        };
        let hint = did_you_mean(name, among.keys().map(String::as_str), &otherwise);
        report.error(path, format!("there is no {noun} {name:?}"), hint);
    }
    found
}

/// Resolves `virtual_network`: `None` is `local`.
pub(super) fn virtual_network<V>(
    field: &Field<String>,
    among: &BTreeMap<String, V>,
    path: &str,
    report: &mut Report<'_>,
) -> Option<String> {
    let name = field.given()?;
    if name == LOCAL {
        return None;
    }
    exists(
        name,
        among,
        &format!("{path}.virtual_network"),
        "vnet",
        report,
    );
    Some(name.clone())
}

/// The VNet that is the node's own network.
pub(super) const LOCAL: &str = "local";

/// How messages call a VNet.
pub(super) fn vnet_name(vnet: Option<&String>) -> &str {
    vnet.map_or(LOCAL, String::as_str)
}

/// The last label in brackets of a path.
fn label(path: &str) -> String {
    path.rsplit_once('[')
        .map_or(path, |(_, label)| label.strip_suffix(']').unwrap_or(label))
        .to_owned()
}
