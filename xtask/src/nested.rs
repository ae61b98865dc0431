//! Cargo and rustc, started from within `cargo run`.
//!
//! The outer cargo and rustup's proxies leave variables behind that would pick
//! another toolchain, other flags or another target directory for the inner
//! build. A nested command gets an environment without them; what configures
//! cargo's network, registries and homes stays.
//!
//! Everything of rustup's stays too, its choice of toolchain above all: without
//! `RUSTUP_TOOLCHAIN` a proxy obeys the `rust-toolchain.toml` that some crates
//! ship, and would install components, or a newer toolchain over the user's
//! own, in the middle of a build. `RUSTUP_AUTO_INSTALL=0` forbids it outright.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace::Workspace;

/// A command without what an outer cargo has put into the environment.
pub(crate) fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    for (name, _) in env::vars_os() {
        if !name.to_str().is_some_and(stays) {
            command.env_remove(name);
        }
    }
    command.env("RUSTUP_AUTO_INSTALL", "0");
    command
}

/// The cargo that runs this program, in a clean environment, with the rustc of
/// its own toolchain and not rustup's proxy.
pub(crate) fn clean_cargo() -> Command {
    let cargo = cargo();
    let rustc = cargo.with_file_name("rustc");
    let mut command = command(&cargo);
    if rustc.is_file() {
        command.env("RUSTC", rustc);
    }
    command
}

/// The cargo that runs this program, without a clean environment: for builds
/// for the host, which should agree with the user's own.
///
/// Runs in the checkout. With a target directory elsewhere, the build of `lbxdp`
/// is told where the object is.
pub(crate) fn host_cargo(workspace: &Workspace) -> Command {
    let mut command = Command::new(cargo());
    command.current_dir(workspace.root());
    if env::var_os("CARGO_TARGET_DIR").is_some() {
        command.env("LBXDP_BPF_OBJECT", workspace.object());
    }
    for name in [
        "CARGO_MANIFEST_DIR",
        "CARGO_MANIFEST_PATH",
        "LD_LIBRARY_PATH",
    ] {
        command.env_remove(name);
    }
    command.env("RUSTUP_AUTO_INSTALL", "0");
    command
}

/// The path of the cargo that runs this program.
pub(crate) fn cargo() -> PathBuf {
    env::var_os("CARGO")
        .unwrap_or_else(|| OsString::from("cargo"))
        .into()
}

/// The first file called `name` in the directories of `PATH`.
pub(crate) fn find_in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        // What needs root often lies where only root's PATH leads.
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// Whether a variable may reach a nested build.
fn stays(name: &str) -> bool {
    const KEPT: [&str; 7] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
        "RUSTUP_",
    ];
    const REMOVED: [&str; 7] = [
        "CARGO",
        "RUST",
        "CLIPPY_",
        "LD_LIBRARY_PATH",
        "LLVM_",
        "MAKEFLAGS",
        "TARGET",
    ];
    let among = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    among(&KEPT) || !among(&REMOVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_picks_a_toolchain_goes_and_what_configures_the_network_stays() {
        for gone in [
            "CARGO",
            "CARGO_BUILD_TARGET",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_MANIFEST_DIR",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_TARGET_DIR",
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER",
            "LD_LIBRARY_PATH",
            "LLVM_PREFIX",
            "RUSTC",
            "RUSTC_WRAPPER",
            "RUSTFLAGS",
            "RUST_RECURSION_COUNT",
        ] {
            assert!(!stays(gone), "{gone} must not reach a nested build");
        }
        for kept in [
            "CARGO_HOME",
            "CARGO_HTTP_PROXY",
            "CARGO_NET_OFFLINE",
            "CARGO_REGISTRIES_CRATES_IO_PROTOCOL",
            "CARGO_TERM_COLOR",
            "HOME",
            "PATH",
            "RUSTUP_HOME",
            "RUSTUP_TOOLCHAIN",
            "https_proxy",
        ] {
            assert!(stays(kept), "{kept} must reach a nested build");
        }
    }

    #[test]
    fn rustup_may_install_nothing_on_its_own() {
        for nested in [
            command("true"),
            clean_cargo(),
            host_cargo(&Workspace::find()),
        ] {
            let forbidden = nested
                .get_envs()
                .find(|(name, _)| *name == "RUSTUP_AUTO_INSTALL")
                .and_then(|(_, value)| value);
            assert_eq!(forbidden, Some("0".as_ref()), "{nested:?}");
            assert!(
                !nested
                    .get_envs()
                    .any(|(name, value)| name == "RUSTUP_TOOLCHAIN" && value.is_none()),
                "the choice of toolchain must reach {nested:?}"
            );
        }
    }
}
