//! Debian packages, fetched and unpacked under `target/`, never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::nested;
use crate::progress;

/// The key that the release is signed with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// An `apt-get` with lists of packages of its own: of one suite, from the archive that the
/// system's own lists come from.
#[derive(Debug)]
pub(super) struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Fetches the list of packages of a suite, from Debian's archive with this label.
    ///
    /// # Errors
    /// When the system does not use that archive, or the archive does not answer.
    pub(super) fn of_suite(folder: PathBuf, label: &str, suite: &str) -> Result<Self> {
        let archive = archive(label)?;
        for directory in ["lists/partial", "cache/archives/partial", "parts"] {
            fs::create_dir_all(folder.join(directory))
                .with_context(|| format!("cannot make {}", folder.join(directory).display()))?;
        }
        let source = format!(
            "Types: deb\nURIs: {archive}\nSuites: {suite}\nComponents: main\nSigned-By: {KEYRING}\n"
        );
        fs::write(folder.join("parts/suite.sources"), source)?;
        let apt = Self { folder };
        progress::run(
            &format!("Updating the list of packages of {suite}"),
            apt.command("apt-get").arg("update"),
        )?;
        Ok(apt)
    }

    /// The package that a package without content stands for: its first dependency whose name
    /// begins with `prefix`.
    ///
    /// # Errors
    /// When the suite has none.
    pub(super) fn behind(&self, package: &str, prefix: &str) -> Result<String> {
        let answer = self
            .command("apt-cache")
            .args(["depends", package])
            .output()
            .context("cannot start apt-cache")?;
        first_dependency(&String::from_utf8_lossy(&answer.stdout), prefix)
            .with_context(|| format!("the archive's {package} depends on no {prefix}…"))
    }

    /// Fetches a package and unpacks it into a directory.
    ///
    /// # Errors
    /// When it cannot be fetched or unpacked.
    pub(super) fn unpack(&self, package: &str, into: &Path) -> Result<()> {
        let fetched = self.folder.join("fetched");
        empty(&fetched)?;
        progress::run(
            &format!("Fetching {package}"),
            self.command("apt-get")
                .args(["download", package])
                .current_dir(&fetched),
        )?;
        unpack_all(&fetched, into)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = nested::command(program);
        let option =
            |name: &str, path: &str| format!("-oDir::{name}={}", self.folder.join(path).display());
        command
            .env("LC_ALL", "C.UTF-8")
            .args([
                "-oDir::Etc::SourceList=/dev/null",
                "-oAPT::Sandbox::User=root",
            ])
            .arg(option("Etc::SourceParts", "parts"))
            .arg(option("State::Lists", "lists"))
            .arg(option("Cache", "cache"))
            .arg("-oAcquire::Retries=3");
        command
    }
}

/// Fetches packages of the system's own release, with all that they need and the system does not
/// have, and unpacks them into a directory.
///
/// # Errors
/// When they cannot be fetched or unpacked.
pub(super) fn unpack_with_dependencies(
    packages: &[&str],
    fetched: &Path,
    into: &Path,
) -> Result<()> {
    empty(fetched)?;
    fs::create_dir_all(fetched.join("partial"))?;
    let mut command = nested::command("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args([
            "-oAPT::Sandbox::User=root",
            "-oAcquire::Retries=3",
            "-oDPkg::Lock::Timeout=300",
        ])
        .arg(format!("-oDir::Cache::Archives={}/", fetched.display()))
        // Fetched only: nothing changes on the system.
        .args([
            "install",
            "--download-only",
            "--yes",
            "--no-install-recommends",
        ])
        .args(packages);
    progress::run(
        &format!("Fetching {} and what it needs", packages.join(", ")),
        &mut command,
    )?;
    unpack_all(fetched, into)
}

/// Unpacks all packages of one directory into another, and removes the former.
fn unpack_all(fetched: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into).with_context(|| format!("cannot make {}", into.display()))?;
    let mut count = 0;
    for entry in fs::read_dir(fetched)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "deb") {
            continue;
        }
        let status = nested::command("dpkg-deb")
            .arg("--extract")
            .args([&path, into])
            .status()
            .context("cannot start dpkg-deb")?;
        ensure!(
            status.success(),
            "dpkg-deb cannot unpack {}",
            path.display()
        );
        count += 1;
    }
    ensure!(
        count > 0,
        "no package was fetched into {}",
        fetched.display()
    );
    fs::remove_dir_all(fetched)?;
    Ok(())
}

fn empty(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))
}

/// The address of the Debian archive with this label, which the system's lists come from.
fn archive(label: &str) -> Result<String> {
    if nested::find_in_path("apt-get").is_none() {
        bail!("there is no apt-get, which fetches kernels");
    }
    if let Some(archive) = debian_archive(&targets()?, label) {
        return Ok(archive);
    }
    // A fresh system knows its archives only after a first look at them.
    progress::run(
        "Updating the lists of packages",
        nested::command("apt-get").arg("update"),
    )?;
    debian_archive(&targets()?, label).with_context(|| {
        format!(
            "apt has no lists of the archive {label}, which kernels are fetched from: give \
             directories of unpacked kernels instead"
        )
    })
}

fn targets() -> Result<String> {
    let answer = nested::command("apt-get")
        .args(["indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)"])
        .arg("Created-By: Packages")
        .output()
        .context("cannot start apt-get")?;
    Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
}

/// The archive among lines `Debian LABEL ADDRESS`.
fn debian_archive(targets: &str, label: &str) -> Option<String> {
    targets.lines().find_map(|line| {
        let address = line.strip_prefix("Debian ")?.strip_prefix(label)?;
        Some(address.strip_prefix(' ')?.trim().to_owned())
    })
}

fn first_dependency(depends: &str, prefix: &str) -> Option<String> {
    depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with(prefix))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_security_archive_is_not_taken_for_the_archive() {
        let targets = "Debian Debian-Security http://security.example/debian-security/\n\
                       Other Other https://other.example/\n\
                       Debian Debian http://mirror.example/debian/\n";
        let of = |label| debian_archive(targets, label);
        assert_eq!(
            of("Debian").as_deref(),
            Some("http://mirror.example/debian/")
        );
        let security = "http://security.example/debian-security/";
        assert_eq!(of("Debian-Security").as_deref(), Some(security));
        assert_eq!(of("Other"), None);
    }

    #[test]
    fn a_kernel_is_found_behind_its_name_without_version() {
        let depends = "linux-image-cloud-amd64\n  PreDepends: dpkg\n  Depends: \
                       linux-image-6.1.0-49-cloud-amd64\n";
        assert_eq!(
            first_dependency(depends, "linux-image-").as_deref(),
            Some("linux-image-6.1.0-49-cloud-amd64")
        );
        assert_eq!(
            first_dependency("N: no such package\n", "linux-image-"),
            None
        );
    }
}
