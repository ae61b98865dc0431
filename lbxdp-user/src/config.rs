//! The configuration: what was written (`file`), what is wrong with it ([`Invalid`]), and what it
//! means ([`model`]).
//!
//! [`load`] reads a file, [`parse`] a text. Either all of it holds, and there is a
//! [`Config`], perhaps with warnings; or there is an [`Invalid`] with every error
//! that was found, each with the path of its key, its line, and what to do. The reference of all
//! keys, [`reference()`], is made from the very declarations that read them.

#![forbid(unsafe_code)]

mod file;
pub mod model;
mod problem;
mod report;
mod validate;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use self::file::File;
use self::model::Config;
use self::report::Report;

pub use self::file::reference;
pub use self::problem::{Invalid, Problem};

/// A configuration that holds.
#[derive(Clone, PartialEq, Debug)]
pub struct Loaded {
    /// What it means.
    pub config: Config,
    /// What is allowed but probably not meant.
    pub warnings: Vec<Problem>,
}

/// Reads and validates a configuration file.
///
/// # Errors
/// With all that is wrong; [`Invalid::unreadable`] when there was nothing to judge.
pub fn load(path: &Path) -> Result<Loaded, Invalid> {
    let name = path.display().to_string();
    let unreadable = |problem: String, hint: &str| Invalid::unreadable_file(&name, problem, hint);
    let bytes = fs::read(path).map_err(|error| {
        unreadable(
            format!("cannot be read: {error}"),
            "check the path and its permissions",
        )
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        unreadable(
            format!("is not UTF-8 text (byte {offset})"),
            "TOML is UTF-8: save the file in that encoding",
        )
    })?;
    let open = fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o004 != 0);
    examine(&text, path, open)
}

/// Validates the text of a configuration.
///
/// `origin` is where it comes from: for messages, and the folder that a relative `hash_key_file`
/// is relative to.
///
/// # Errors
/// With all that is wrong.
pub fn parse(text: &str, origin: &Path) -> Result<Loaded, Invalid> {
    examine(text, origin, false)
}

/// Judges a text; `open` says that everybody on the machine can read the file that it is from.
fn examine(text: &str, origin: &Path, open: bool) -> Result<Loaded, Invalid> {
    let mut report = Report::new(text);
    let config = File::read(text, &mut report)
        .map(|file| validate::validate(&file, origin.parent(), &mut report));
    if open && report.knows("node.hash_key") {
        report.warn(
            "node.hash_key",
            "everybody on this machine can read the file that holds the hash key",
            format!(
                "`chmod o-r {}`, or keep the key in a file of its own and name it in `hash_key_file`",
                origin.display()
            ),
        );
    }
    let (errors, warnings) = report.finish();
    match config {
        Some(config) if errors.is_empty() => Ok(Loaded { config, warnings }),
        Some(_) | None => Err(Invalid {
            origin: origin.display().to_string(),
            unreadable: false,
            errors,
            warnings,
        }),
    }
}

#[cfg(test)]
mod tests;
