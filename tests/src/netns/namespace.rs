//! A network namespace that removes itself.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

/// Where named namespaces are, for `ip netns` and `nsenter` too.
pub(super) const FOLDER: &str = "/run/netns";

/// A named network namespace; gone when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    handle: File,
}

impl Namespace {
    /// Makes a namespace whose loopback is up, that forwards, and that accepts packets whatever
    /// way they come (`rp_filter` off).
    pub fn create(name: &str) -> Result<Self> {
        let path = path_of(name);
        fs::create_dir_all(FOLDER).with_context(|| format!("cannot make {FOLDER}"))?;
        File::create_new(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let target = path.clone();
        // A thread of its own: it ends in the new namespace.
        std::thread::spawn(move || -> Result<()> {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
            mount(
                Some("/proc/thread-self/ns/net"),
                &target,
                None::<&str>,
                MsFlags::MS_BIND,
                None::<&str>,
            )
            .with_context(|| format!("cannot bind {}", target.display()))?;
            Ok(())
        })
        .join()
        .map_err(|_| anyhow!("the thread that makes a namespace panicked"))?
        .inspect_err(|_| drop(fs::remove_file(&path)))?;
        let handle =
            File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let namespace = Self {
            name: name.to_owned(),
            handle,
        };
        namespace.ip("link set lo up")?;
        for (key, value) in [
            ("ipv4/ip_forward", "1"),
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/default/rp_filter", "0"),
            ("ipv6/conf/all/forwarding", "1"),
            ("ipv6/conf/all/accept_dad", "0"),
            ("ipv6/conf/default/accept_dad", "0"),
        ] {
            namespace.sysctl(key, value)?;
        }
        Ok(namespace)
    }

    /// Its name under `/run/netns`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a closure in this namespace, on this thread.
    ///
    /// Sockets and processes made in it belong to the namespace. It must not start threads, nor
    /// await: a thread keeps the namespace of its maker.
    pub fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        let _back = Return::enter(&self.handle);
        work()
    }

    /// Runs lines of `ip` commands in one `ip -batch`. Empty lines are skipped.
    pub fn ip(&self, batch: &str) -> Result<()> {
        let program = ip_program().context("`ip` of iproute2 is not installed")?;
        let mut command = Command::new(program);
        command
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = self
            .within(|| command.spawn())
            .context("cannot start `ip`")?;
        let mut input = child.stdin.take().expect("stdin is piped");
        input.write_all(batch.as_bytes())?;
        drop(input);
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!(
                "in namespace {}: ip: {}\nof:\n{batch}",
                self.name,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }

    /// Runs `ip` with these arguments and gives its output.
    pub fn ip_output(&self, arguments: &str) -> Result<String> {
        let program = ip_program().context("`ip` of iproute2 is not installed")?;
        let mut command = Command::new(program);
        command.args(arguments.split_whitespace());
        let output = self.within(|| command.output())?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The MAC address of a device.
    pub fn mac_of(&self, device: &str) -> Result<[u8; 6]> {
        let text = self.ip_output(&format!("-o link show dev {device}"))?;
        let mut words = text
            .split_whitespace()
            .skip_while(|word| *word != "link/ether");
        let mac = words
            .nth(1)
            .with_context(|| format!("{device} has no MAC address"))?;
        let bytes: Vec<u8> = mac
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16))
            .collect::<Result<_, _>>()?;
        bytes
            .try_into()
            .map_err(|_| anyhow!("{mac} is no MAC address"))
    }

    /// Sets a sysctl of the network, named by its path under `/proc/sys/net`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys/net").join(key);
        self.within(|| fs::write(&path, value))
            .with_context(|| format!("cannot set {} to {value}", path.display()))
    }

    /// Starts a process in this namespace; only the network differs from this process's.
    pub fn spawn(&self, command: &mut Command) -> std::io::Result<std::process::Child> {
        // Ctrl-C at the terminal is for the lab, which then ends its processes in order.
        command.process_group(0);
        self.within(|| command.spawn())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Removes a namespace's name; it ends with its last socket, process and device.
pub(super) fn remove(name: &str) {
    let path = path_of(name);
    let _ = umount2(&path, MntFlags::MNT_DETACH);
    drop(fs::remove_file(&path));
}

pub(super) fn path_of(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// `ip`, also where root's PATH lacks the folders of system programs.
pub(super) fn ip_program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM
        .get_or_init(|| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path)
                .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
                .map(|folder| folder.join("ip"))
                .find(|file| file.is_file())
        })
        .as_deref()
}

/// Brings the thread back to where it was, also when the closure panics.
struct Return(File);

impl Return {
    fn enter(namespace: &File) -> Self {
        let here = File::open("/proc/thread-self/ns/net").expect("a thread has a namespace");
        setns(namespace, CloneFlags::CLONE_NEWNET).expect("root may enter its own namespace");
        Self(here)
    }
}

impl Drop for Return {
    fn drop(&mut self) {
        if setns(&self.0, CloneFlags::CLONE_NEWNET).is_err() {
            // A thread lost in a lab's namespace must not go on.
            std::process::abort();
        }
    }
}
