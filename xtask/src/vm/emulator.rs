//! qemu: the system's, or one that is unpacked under `target/`.
//!
//! It is not installed: some systems have a part of another qemu, which the package would remove.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::nested;
use crate::progress::bold;
use crate::setup::packages::{self, Packages};
use crate::vm::apt;
use crate::workspace::Workspace;

const QEMU: &str = "qemu-system-x86_64";
const VIRTIOFSD: &str = "virtiofsd";
/// Where the libraries of a Debian package are.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
/// Where virtiofsd lies, which is in no `PATH`.
const LIBEXEC: [&str; 3] = ["usr/lib/qemu", "usr/libexec", "usr/lib"];

/// The emulator, and the program that shares the host's files with the guest.
#[derive(Debug, Clone)]
pub(super) struct Emulator {
    qemu: Program,
    virtiofsd: Program,
}

#[derive(Debug, Clone)]
struct Program {
    path: PathBuf,
    /// Where its libraries are, if not among the system's alone.
    libraries: Option<PathBuf>,
}

impl Emulator {
    /// Finds it, or fetches and unpacks what is missing of it.
    ///
    /// # Errors
    /// When it can neither be found nor fetched.
    pub(super) fn provide(workspace: &Workspace) -> Result<Self> {
        let machines = workspace.machines();
        let root = machines.join("emulator");
        let complete = root.join("complete");
        if let Some(found) = Self::find(complete.exists().then_some(root.as_path())) {
            return Ok(found);
        }
        let mut wanted = packages::emulator();
        // Up to Debian 12 it is a part of qemu.
        if Packages::default().offered(VIRTIOFSD)? {
            wanted.push(packages::file_sharing());
        }
        println!(
            "{} to boot a kernel in a virtual machine, unpacked in {} and not installed:",
            bold("Fetching system packages"),
            workspace.shown(&root),
        );
        for package in &wanted {
            println!("    {:16}  {}", package.name, package.why);
        }
        let names: Vec<&str> = wanted.iter().map(|package| package.name.as_str()).collect();
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        apt::unpack_with_dependencies(&names, &machines.join("fetched"), &root)?;
        fs::write(complete, names.join("\n"))?;
        Self::find(Some(&root)).with_context(|| {
            format!("neither the system nor its packages have {QEMU} and {VIRTIOFSD}")
        })
    }

    /// Looks among the system's programs, then among those that are unpacked.
    fn find(root: Option<&Path>) -> Option<Self> {
        let system = |path| Program {
            path,
            libraries: None,
        };
        let unpacked = |path| Program {
            path,
            libraries: root.map(|root| root.join(LIBRARIES)),
        };
        let qemu = || Some(root?.join("usr/bin").join(QEMU)).filter(|path| path.is_file());
        Some(Self {
            qemu: nested::find_in_path(QEMU)
                .map(system)
                .or_else(|| qemu().map(unpacked))?,
            virtiofsd: nested::find_in_path(VIRTIOFSD)
                .or_else(|| virtiofsd_in(Path::new("/")))
                .map(system)
                .or_else(|| virtiofsd_in(root?).map(unpacked))?,
        })
    }

    pub(super) fn qemu(&self) -> Command {
        self.command(&self.qemu)
    }

    /// virtiofsd, sharing the host's root at a socket.
    pub(super) fn virtiofsd(&self, socket: &Path) -> Command {
        let mut command = self.command(&self.virtiofsd);
        let help = self
            .command(&self.virtiofsd)
            .arg("--help")
            .output()
            .map(|output| output.stdout)
            .unwrap_or_default();
        // The one in Rust has other options than qemu's own in C, which came with qemu up to 7.2.
        if String::from_utf8_lossy(&help).contains("--shared-dir") {
            command.args([
                "--shared-dir=/",
                "--cache=always",
                "--sandbox=chroot",
                "--no-announce-submounts",
                "--log-level=error",
            ]);
        } else {
            command.args([
                "-f",
                "-osource=/",
                "-ocache=always",
                "-osandbox=chroot",
                "-olog_level=err",
            ]);
        }
        command.arg(format!("--socket-path={}", socket.display()));
        command
    }

    /// A program that ends with the thread that starts it.
    fn command(&self, program: &Program) -> Command {
        let Program { path, libraries } = program;
        let mut command = nested::command("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(path);
        if let Some(libraries) = libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }
}

fn virtiofsd_in(root: &Path) -> Option<PathBuf> {
    LIBEXEC
        .iter()
        .map(|directory| root.join(directory).join(VIRTIOFSD))
        .find(|path| path.is_file())
}
