//! Builds binaries for this machine, and says where cargo has put them.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::nested;
use crate::progress;
use crate::workspace::Workspace;

/// How a binary is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build.
    Dev,
    /// Quick to run.
    Release,
}

/// Builds a binary and returns its path, wherever the target directory is.
///
/// # Errors
/// When the build fails, with all it said.
pub(crate) fn build(
    workspace: &Workspace,
    package: &str,
    binary: &str,
    profile: Profile,
) -> Result<PathBuf> {
    let mut cargo = nested::host_cargo(workspace);
    cargo
        .args(["build", "--package", package, "--bin", binary])
        .arg("--message-format=json-render-diagnostics");
    match profile {
        Profile::Dev => {}
        Profile::Release => {
            cargo.arg("--release");
        }
    }
    let finished = progress::run(&format!("Building {binary}"), &mut cargo)?;
    executable(&finished.output, binary)
        .with_context(|| format!("cargo named no executable for `{binary}`"))
}

/// Builds test programs with these options of `cargo test`, and finds the one of a target.
///
/// # Errors
/// When the build fails, with all it said.
pub(crate) fn build_test(
    workspace: &Workspace,
    options: &[&str],
    kind: &str,
    name: &str,
) -> Result<PathBuf> {
    let mut cargo = nested::host_cargo(workspace);
    cargo
        .args(["test", "--no-run"])
        .args(options)
        .arg("--message-format=json-render-diagnostics");
    let finished = progress::run(&format!("Building the tests of {name}"), &mut cargo)?;
    finished
        .output
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| message.is_of(kind, name))
        .find_map(|message| message.executable)
        .with_context(|| format!("cargo named no test program for `{name}`"))
}

/// A line of cargo's messages, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    #[serde(default)]
    kind: Vec<String>,
}

impl Message {
    fn is_of(&self, kind: &str, name: &str) -> bool {
        self.target
            .as_ref()
            .is_some_and(|target| target.name == name && target.kind.iter().any(|it| it == kind))
    }
}

fn executable(messages: &str, binary: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        // A library may have the same name; it has no executable.
        .filter(|message| message.target.as_ref().is_some_and(|it| it.name == binary))
        .find_map(|message| message.executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_the_messages() {
        let messages = concat!(
            "   Compiling lbxdp-user v0.1.0\n",
            r#"{"reason":"compiler-artifact","target":{"name":"serde"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"lbxdp"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"lbxdp"},"executable":"/t/debug/lbxdp"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
            "\n",
        );
        assert_eq!(
            executable(messages, "lbxdp"),
            Some(PathBuf::from("/t/debug/lbxdp"))
        );
        assert_eq!(executable(messages, "demo"), None);
    }
}
