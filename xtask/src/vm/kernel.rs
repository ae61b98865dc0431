//! Kernels of distributions, unpacked: found, or fetched once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::nested;
use crate::vm::apt::Apt;
use crate::workspace::Workspace;

/// What stands for Debian's newest kernel for virtual machines.
const PACKAGE: &str = "linux-image-cloud-amd64";

/// Debian's kernels: what they are called here, the label of the archive that has them, and the
/// suite. Of 6.1 it is the one with all corrections that a node under maintenance runs.
const STOCK: [(&str, &str, &str); 2] = [
    ("6.1", "Debian-Security", "bookworm-security"),
    ("6.12", "Debian", "bookworm-backports"),
];

/// An unpacked kernel with its modules.
#[derive(Debug, Clone)]
pub(super) struct Kernel {
    /// What it is called here.
    pub(super) name: String,
    /// As `uname -r` will say.
    pub(super) version: String,
    pub(super) image: PathBuf,
    /// The directory of its modules.
    pub(super) modules: PathBuf,
}

impl Kernel {
    /// The names of the kernels that are fetched.
    pub(super) fn stock() -> Vec<String> {
        STOCK.iter().map(|(name, ..)| (*name).to_owned()).collect()
    }

    /// A kernel by its name, or in a directory where its package was unpacked.
    ///
    /// # Errors
    /// When there is none, or it cannot be fetched.
    pub(super) fn provide(workspace: &Workspace, wanted: &str) -> Result<Self> {
        let Some((name, label, suite)) = STOCK.iter().find(|(name, ..)| *name == wanted) else {
            let directory = Path::new(wanted);
            if !directory.is_dir() {
                bail!(
                    "`{wanted}` is neither one of the kernels {} nor a directory of an unpacked one",
                    Self::stock().join(", ")
                );
            }
            let directory = directory
                .canonicalize()
                .with_context(|| format!("cannot find {wanted}"))?;
            let kernel = Self::unpacked(wanted, &directory)?;
            if !kernel.modules.join("modules.dep").exists() {
                kernel.list_dependencies()?;
            }
            return Ok(kernel);
        };
        let machines = workspace.machines();
        let directory = machines.join("kernels").join(name);
        // Named last, so that half a kernel is not taken for one.
        let complete = directory.join("complete");
        if !complete.exists() {
            let apt = Apt::of_suite(machines.join("apt").join(name), label, suite)?;
            let package = apt.behind(PACKAGE, "linux-image-")?;
            if directory.exists() {
                fs::remove_dir_all(&directory)?;
            }
            apt.unpack(&package, &directory)?;
            let kernel = Self::unpacked(name, &directory)?;
            kernel.list_dependencies()?;
            fs::write(complete, package)?;
        }
        Self::unpacked(name, &directory)
    }

    fn unpacked(name: &str, directory: &Path) -> Result<Self> {
        let boot = directory.join("boot");
        let image = fs::read_dir(&boot)
            .with_context(|| format!("no kernel was unpacked in {}", directory.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| file_name(path).starts_with("vmlinuz-"))
            .max()
            .with_context(|| format!("there is no kernel in {}", boot.display()))?;
        let version = file_name(&image).trim_start_matches("vmlinuz-").to_owned();
        let modules = ["lib/modules", "usr/lib/modules"]
            .map(|path| directory.join(path).join(&version))
            .into_iter()
            .find(|path| path.join("kernel").is_dir())
            .with_context(|| format!("{} has no modules beside it", image.display()))?;
        Ok(Self {
            name: name.to_owned(),
            version,
            image,
            modules,
        })
    }

    /// Writes down which module needs which, as the package's installation would.
    fn list_dependencies(&self) -> Result<()> {
        let output = self
            .command("depmod", "-b")?
            .arg(&self.version)
            .output()
            .context("cannot start depmod")?;
        ensure!(
            output.status.success(),
            "depmod: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    /// The files of modules, and of those that they need, in the order to load them. What is
    /// built into the kernel has none.
    ///
    /// # Errors
    /// When modprobe cannot be started.
    pub(super) fn files_of(&self, modules: &[&str]) -> Result<Vec<PathBuf>> {
        let mut files: Vec<PathBuf> = Vec::new();
        for module in modules {
            let output = self
                .command("modprobe", "-d")?
                .args(["--set-version", &self.version, "--show-depends", module])
                .output()
                .context("cannot start modprobe")?;
            for line in String::from_utf8_lossy(&output.stdout).lines() {
                // `insmod FILE [OPTIONS]`, or `builtin NAME`
                let Some(rest) = line.strip_prefix("insmod ") else {
                    continue;
                };
                let file = PathBuf::from(rest.trim());
                if !files.contains(&file) {
                    files.push(file);
                }
            }
        }
        Ok(files)
    }

    /// A program of kmod, told by `option` where the modules' `lib/modules` is.
    fn command(&self, program: &str, option: &str) -> Result<Command> {
        let path = nested::find_in_path(program)
            .with_context(|| format!("`{program}` of kmod is not installed"))?;
        let base = self
            .modules
            .ancestors()
            .nth(3)
            .context("modules lie in lib/modules/VERSION")?;
        let mut command = nested::command(path);
        command.arg(option).arg(base);
        Ok(command)
    }
}

/// The bytes of a module, whatever it is compressed with.
pub(super) fn module_bytes(file: &Path) -> Result<Vec<u8>> {
    let program = match file.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return fs::read(file).with_context(|| format!("cannot read {}", file.display())),
    };
    let output = nested::command(program)
        .args(["--decompress", "--stdout"])
        .arg(file)
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    ensure!(
        output.status.success(),
        "{program} cannot read {}",
        file.display()
    );
    Ok(output.stdout)
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
