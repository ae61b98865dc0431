//! System packages: one table, with a reason for each.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::nested;
use crate::progress::{self, bold};

/// The programs of [`run_time`], to print.
pub(crate) const RUN_TIME_NAMES: &str = "ip, nsenter, curl, tshark, wg";

/// A Debian package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// How to see that what it gives is there, wherever it came from.
    pub(crate) gives: Gives,
    /// What it is for.
    pub(crate) why: &'static str,
}

/// What shows that a package is not missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Gives {
    /// A program in `PATH`.
    Program(&'static str),
    /// A file.
    File(String),
    /// Nothing but the package itself will do.
    Itself,
}

/// A Rust compiler with the sources of `core`, where rustup has none.
pub(crate) fn compiler() -> Vec<Package> {
    vec![
        package(
            "rustc-web",
            Gives::Itself,
            "a Rust compiler new enough for the eBPF build",
        ),
        package(
            "rust-web-src",
            Gives::Itself,
            "its sources: `core` is built for the kernel's machine",
        ),
    ]
}

/// What bpf-linker is built with.
pub(crate) fn linker(llvm: u32) -> Vec<Package> {
    let lib = format!("/usr/lib/llvm-{llvm}");
    vec![
        package(
            &format!("llvm-{llvm}-dev"),
            Gives::File(format!("{lib}/bin/llvm-config")),
            "LLVM, which bpf-linker links with",
        ),
        package(
            &format!("libpolly-{llvm}-dev"),
            Gives::File(format!("{lib}/lib/libPolly.a")),
            "a part of LLVM that llvm-config names",
        ),
        package(
            "libzstd-dev",
            Gives::File("/usr/include/zstd.h".into()),
            "a library that LLVM uses",
        ),
        package(
            "zlib1g-dev",
            Gives::File("/usr/include/zlib.h".into()),
            "a library that LLVM uses",
        ),
        package(
            "g++",
            Gives::Program("c++"),
            "the C++ library that LLVM uses",
        ),
    ]
}

/// What demo and tests start.
pub(crate) fn run_time() -> Vec<Package> {
    vec![
        package(
            "iproute2",
            Gives::Program("ip"),
            "looks into the network namespaces that demo and tests make",
        ),
        package(
            "util-linux",
            Gives::Program("nsenter"),
            "starts a program in one of these namespaces",
        ),
        package(
            "curl",
            Gives::Program("curl"),
            "a client to try by hand, in the lab that `demo --keep` leaves up",
        ),
        package(
            "tshark",
            Gives::Program("tshark"),
            "a dissector that is not ours judges our packets",
        ),
        package(
            "wireguard-tools",
            Gives::Program("wg"),
            "sets the far ends of WireGuard tunnels, which are not ours",
        ),
    ]
}

/// What a virtual machine needs of the host.
pub(crate) fn machine() -> Vec<Package> {
    vec![
        package(
            "busybox-static",
            Gives::Itself,
            "the shell of a guest before it sees the host's files",
        ),
        package(
            "kmod",
            Gives::Program("depmod"),
            "finds and loads the modules of a guest's kernel",
        ),
        package(
            "xz-utils",
            Gives::Program("xz"),
            "unpacks the modules of a kernel",
        ),
    ]
}

/// The emulator of a virtual machine.
pub(crate) fn emulator() -> Vec<Package> {
    vec![package(
        "qemu-system-x86",
        Gives::Program("qemu-system-x86_64"),
        "boots a kernel in software",
    )]
}

/// What shows the host's files to a guest, where it is a package of its own.
pub(crate) fn file_sharing() -> Package {
    package(
        "virtiofsd",
        Gives::Program("virtiofsd"),
        "shows the host's files to the guest",
    )
}

/// The system's packages, and what is known of the lists of what it offers.
#[derive(Debug, Default)]
pub(crate) struct Packages {
    updated: bool,
}

impl Packages {
    /// Installs those of `wanted` that are missing, each named first.
    ///
    /// # Errors
    /// When some are missing and this is not root on Debian or the like (the
    /// message says what to run, then `advice`), or when apt-get fails.
    pub(crate) fn install(
        &mut self,
        wanted: &[Package],
        purpose: &str,
        advice: &str,
    ) -> Result<()> {
        let missing: Vec<&Package> = wanted
            .iter()
            .filter(|package| package.is_missing())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let width = missing
            .iter()
            .map(|package| package.name.len())
            .max()
            .unwrap_or(0);
        let list: String = missing
            .iter()
            .map(|package| format!("\n    {:width$}  {}", package.name, package.why))
            .collect();
        let names: Vec<&str> = missing
            .iter()
            .map(|package| package.name.as_str())
            .collect();
        if !can_install() {
            let mut text = format!(
                "missing for {purpose}:{list}\n\
                 On Debian and the like, as root:\n    \
                 apt-get update && apt-get install --no-install-recommends {}",
                names.join(" ")
            );
            if !advice.is_empty() {
                text.push('\n');
                text.push_str(advice);
            }
            bail!(text);
        }
        println!(
            "{} for {purpose}:{list}",
            bold("Installing system packages")
        );
        self.update()?;
        progress::run(
            &format!("Installing {}", names.join(", ")),
            // Nothing that is there may be removed for it.
            apt_get()
                .args(["install", "--yes", "--no-remove", "--no-install-recommends"])
                .args(&names),
        )?;
        Ok(())
    }

    /// Whether the system's archive has a package that could be installed.
    ///
    /// # Errors
    /// When the lists cannot be brought up to date.
    pub(crate) fn offered(&mut self, name: &str) -> Result<bool> {
        if !can_install() {
            return Ok(false);
        }
        self.update()?;
        let answer = nested::command("apt-cache").args(["policy", name]).output();
        Ok(answer.is_ok_and(|answer| has_candidate(&String::from_utf8_lossy(&answer.stdout))))
    }

    fn update(&mut self) -> Result<()> {
        if !self.updated {
            progress::run("Updating the lists of packages", apt_get().arg("update"))?;
            self.updated = true;
        }
        Ok(())
    }
}

impl Package {
    fn is_missing(&self) -> bool {
        match &self.gives {
            Gives::Program(name) => nested::find_in_path(name).is_none(),
            Gives::File(path) => !Path::new(path).exists(),
            Gives::Itself => !is_installed(&self.name),
        }
    }
}

fn package(name: &str, gives: Gives, why: &'static str) -> Package {
    Package {
        name: name.to_owned(),
        gives,
        why,
    }
}

/// Whether this is root on a system with apt-get.
fn can_install() -> bool {
    nix::unistd::geteuid().is_root() && nested::find_in_path("apt-get").is_some()
}

fn is_installed(name: &str) -> bool {
    nested::command("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", name])
        .output()
        .is_ok_and(|answer| answer.stdout == b"installed")
}

/// Whether `apt-cache policy` names a version to install.
fn has_candidate(policy: &str) -> bool {
    policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))
        .is_some_and(|version| version != "(none)")
}

fn apt_get() -> Command {
    let mut command = nested::command("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        // `has_candidate` and people read it.
        .env("LC_ALL", "C.UTF-8")
        .args(["-o", "Acquire::Retries=3", "-o", "DPkg::Lock::Timeout=300"]);
    command
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_package_is_listed_once_with_a_reason() {
        let all: Vec<Package> =
            [compiler(), linker(22), run_time(), machine(), emulator()].concat();
        let names: BTreeSet<&str> = all.iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names.len(), all.len());
        assert!(all.iter().all(|package| !package.why.is_empty()));
    }

    #[test]
    fn the_printed_names_are_those_of_the_table() {
        let programs: Vec<&str> = run_time()
            .iter()
            .map(|package| match package.gives {
                Gives::Program(name) => name,
                Gives::File(_) | Gives::Itself => panic!("{} gives no program", package.name),
            })
            .collect();
        assert_eq!(programs.join(", "), RUN_TIME_NAMES);
    }

    #[test]
    fn a_candidate_is_told_from_none() {
        assert!(has_candidate(
            "llvm-22-dev:\n  Installed: (none)\n  Candidate: 1:22.1.8-1\n"
        ));
        assert!(!has_candidate(
            "rustc-web:\n  Installed: (none)\n  Candidate: (none)\n"
        ));
        assert!(!has_candidate(""));
    }

    #[test]
    fn a_program_in_path_is_not_missing() {
        assert!(!package("dash", Gives::Program("sh"), "a shell").is_missing());
        assert!(package("none", Gives::File("/nonexistent/file".into()), "nothing").is_missing());
    }
}
