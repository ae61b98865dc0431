//! A virtual machine: one boot of one kernel, with the host's root as its own.
//!
//! The guest sees the host's files, at their places; what it writes stays in its memory. All is
//! emulated in software, so that it works wherever tests run, and is some ten times slower than
//! the host.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::progress;
use crate::vm::emulator::Emulator;
use crate::vm::initramfs::Archive;
use crate::vm::kernel::{Kernel, module_bytes};
use crate::workspace::Workspace;

/// Memory of the guest, in MiB.
const MEMORY: u32 = 2048;
/// Modules that the guest needs before it can see the host's files.
const MODULES: [&str; 4] = ["virtio_pci", "virtio_console", "virtiofs", "overlay"];
/// How long virtiofsd may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);
/// Begins the name of a boot's folder; its process and its kernel follow.
const BOOT: &str = "boot-";
/// Lines of the console that are shown when a guest has ended before its job.
const TAIL: usize = 25;

/// Fast rather than safe, and the same in each boot.
///
/// `norandmaps` makes a start of a program two to three times faster; what else is here saves
/// time too.
const COMMAND_LINE: &str = "console=ttyS0 loglevel=4 panic=-1 oops=panic nokaslr norandmaps \
    mitigations=off tsc=reliable init_on_alloc=0 rcupdate.rcu_expedited=1 random.trust_cpu=on \
    audit=0";

/// How a boot ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The guest switched itself off.
    Off,
    /// It was ended, since its time was over.
    Late,
}

/// A machine that is ready to boot.
#[derive(Debug)]
pub(super) struct Machine<'a> {
    kernel: &'a Kernel,
    emulator: &'a Emulator,
    /// Removed when dropped.
    files: Files,
}

impl<'a> Machine<'a> {
    /// Prepares a boot that runs the script `job`.
    ///
    /// # Errors
    /// When the kernel's modules cannot be read, or files not be written.
    pub(super) fn prepare(
        workspace: &Workspace,
        kernel: &'a Kernel,
        emulator: &'a Emulator,
        job: &str,
    ) -> Result<Self> {
        let files = Files::create(&workspace.machines(), &kernel.version)?;
        fs::write(files.0.join("initramfs"), initramfs(kernel, job)?)?;
        Ok(Self {
            kernel,
            emulator,
            files,
        })
    }

    /// Boots, hands over each line that the job says (`None` when there was none for a while),
    /// and ends the machine when the deadline is over.
    ///
    /// # Errors
    /// When the emulator cannot be started.
    pub(super) fn boot(
        &self,
        deadline: Duration,
        silence: Duration,
        mut take: impl FnMut(Option<&str>),
    ) -> Result<Ending> {
        let end = Instant::now() + deadline;
        let socket = self.files.0.join("files.sock");
        let log = File::create(self.files.0.join("virtiofsd.log"))?;
        let mut sharing = self.emulator.virtiofsd(&socket);
        sharing
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let _sharing = Running::start(&mut sharing)?;
        let listens = Instant::now() + PATIENCE;
        while !socket.exists() {
            if Instant::now() > listens {
                bail!(
                    "virtiofsd does not share the host's files: {}",
                    self.console()
                );
            }
            thread::sleep(Duration::from_millis(10));
        }
        let mut qemu = self.qemu(&socket);
        let errors = File::create(self.files.0.join("qemu.log"))?;
        qemu.stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors);
        let mut qemu = Running::start(&mut qemu)?;
        let output = qemu.0.stdout.take().expect("was piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                // The receiver goes away only with the machine.
                let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
            }
        });
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match lines.recv_timeout(silence.min(left)) {
                Ok(line) => take(Some(line.trim_end_matches('\r'))),
                Err(RecvTimeoutError::Timeout) if left <= silence => return Ok(Ending::Late),
                Err(RecvTimeoutError::Timeout) => take(None),
                Err(RecvTimeoutError::Disconnected) => return Ok(Ending::Off),
            }
        }
    }

    /// The last lines of the guest's console and of the programs around it.
    pub(super) fn console(&self) -> String {
        ["console", "qemu.log", "virtiofsd.log"]
            .iter()
            .filter_map(|name| {
                let bytes = fs::read(self.files.0.join(name)).ok()?;
                let text = String::from_utf8_lossy(&bytes);
                let lines: Vec<&str> = text.lines().collect();
                let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n    ");
                (!tail.is_empty()).then(|| format!("{name}:\n    {tail}"))
            })
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn qemu(&self, socket: &Path) -> Command {
        let files = &self.files.0;
        let mut qemu = self.emulator.qemu();
        qemu.args(["-machine", "q35", "-accel", "tcg,thread=multi,tb-size=512"])
            // Without cx16=off Linux 6.12 crashes at random under software emulation.
            .args(["-cpu", "max,la57=off,cx16=off", "-smp", "2"])
            .args(["-m", &MEMORY.to_string()])
            .arg("-object")
            .arg(format!(
                "memory-backend-memfd,id=memory,size={MEMORY}M,share=on"
            ))
            .args(["-numa", "node,memdev=memory"])
            .arg("-chardev")
            .arg(format!("socket,id=files,path={}", socket.display()))
            .args([
                "-device",
                "vhost-user-fs-pci,chardev=files,tag=host,queue-size=1024",
            ])
            .args(["-nodefaults", "-no-user-config", "-no-reboot"])
            .args(["-display", "none", "-monitor", "none"])
            .arg("-serial")
            .arg(format!("file:{}", files.join("console").display()))
            .args(["-device", "virtio-serial-pci"])
            // The job's output is that of qemu.
            .args(["-chardev", "file,id=job,path=/dev/stdout"])
            .args(["-device", "virtserialport,chardev=job"])
            .arg("-kernel")
            .arg(&self.kernel.image)
            .arg("-initrd")
            .arg(files.join("initramfs"))
            .args(["-append", COMMAND_LINE]);
        qemu
    }
}

/// The guest's first files: a shell, the modules it needs, and its job.
fn initramfs(kernel: &Kernel, job: &str) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for directory in [
        "bin", "dev", "host", "job", "layer", "modules", "proc", "root", "sys",
    ] {
        archive.directory(directory);
    }
    let shell = "/bin/busybox";
    archive.file(
        "bin/busybox",
        &fs::read(shell).with_context(|| format!("cannot read {shell}"))?,
    );
    archive.file("init", include_bytes!("init.sh"));
    archive.file("job/guest.sh", include_bytes!("guest.sh"));
    let modules = kernel.modules.to_string_lossy();
    let settings = format!(
        "VERSION={}\nMODULES={}\n",
        quoted(&kernel.version),
        quoted(&modules)
    );
    archive.file("job/kernel.sh", settings.as_bytes());
    archive.file("job/run.sh", job.as_bytes());
    for (number, file) in kernel.files_of(&MODULES)?.iter().enumerate() {
        // Loaded in the order of their names.
        archive.file(&format!("modules/{number:03}.ko"), &module_bytes(file)?);
    }
    Ok(archive.finish())
}

/// A word for a shell.
pub(super) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A process, ended when dropped.
#[derive(Debug)]
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Result<Self> {
        command
            .spawn()
            .map(Self)
            .with_context(|| format!("cannot start `{}`", progress::shown(command)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The files of a boot.
#[derive(Debug)]
struct Files(PathBuf);

impl Files {
    /// Makes a folder, after removing those of killed runs.
    fn create(machines: &Path, version: &str) -> Result<Self> {
        for entry in fs::read_dir(machines).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let owner = name.to_str().and_then(owner);
            if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                drop(fs::remove_dir_all(entry.path()));
            }
        }
        let folder = machines.join(format!("{BOOT}{}-{version}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self(folder))
    }
}

/// The process that a boot's folder belongs to.
fn owner(folder: &str) -> Option<&str> {
    let (pid, _) = folder.strip_prefix(BOOT)?.split_once('-')?;
    pid.bytes().all(|byte| byte.is_ascii_digit()).then_some(pid)
}

impl Drop for Files {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_names_its_process() {
        assert_eq!(owner("boot-12-6.1.0-49-cloud-amd64"), Some("12"));
        assert_eq!(owner("boot-x-6.1"), None);
        assert_eq!(owner("kernels"), None);
    }

    #[test]
    fn words_stay_words_in_a_shell() {
        assert_eq!(quoted("/a b"), "'/a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
