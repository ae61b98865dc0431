//! The agent under test: the real `lbxdp`, with only its network namespace changed.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use aya::programs::links::{FdLink, PinnedLink};
use lbxdp::dataplane::{OBJECT_MISSING, embedded_object};
use lbxdp_ebpf::abi::ABI_VERSION;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{Lab, Namespace, Status, pace, wait_for};

/// How long the agent may take to start, stop, or answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// `lbxdp`: `LBXDP_BIN`, or beside this program.
pub fn agent_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("LBXDP_BIN") {
        return Ok(path.into());
    }
    let program = std::env::current_exe()?;
    // target/PROFILE/demo, target/PROFILE/deps/netns-HASH
    let folders = program.ancestors().skip(1).take(2);
    for folder in folders {
        let binary = folder.join("lbxdp");
        if binary.is_file() {
            return Ok(binary);
        }
    }
    bail!(
        "needs the program lbxdp beside {}, or its path in LBXDP_BIN",
        program.display()
    )
}

/// Says why the agent cannot run here, if it cannot.
#[must_use]
pub fn agent_obstacle() -> Option<String> {
    match agent_binary() {
        Err(error) => Some(error.to_string()),
        Ok(_) if std::env::var_os("LBXDP_BIN").is_some() => None,
        Ok(_) => embedded_object()
            .is_none()
            .then(|| OBJECT_MISSING.to_owned()),
    }
}

/// Where an agent runs, and where its things are.
pub(super) struct Place {
    pub(super) namespace: Arc<Namespace>,
    pub(super) folder: PathBuf,
    pub(super) socket: PathBuf,
    pub(super) pins: PathBuf,
}

/// How the program is attached to an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attached {
    /// The kernel's number of the link.
    pub link: u32,
    /// The kernel's number of the program.
    pub program: u32,
}

/// The edge node's agent; killed when dropped.
#[derive(Debug)]
pub struct Edge {
    binary: PathBuf,
    namespace: Arc<Namespace>,
    folder: PathBuf,
    socket: PathBuf,
    pins: PathBuf,
    environment: Vec<(String, OsString)>,
    /// Of `lbxdp run`, besides the configuration.
    options: Vec<String>,
    agent: Option<Child>,
}

impl Edge {
    /// An agent that has this configuration, and is not started yet.
    pub fn prepare(lab: &Lab, configuration: &str) -> Result<Self> {
        Self::prepare_at(Self::place_in(lab), configuration, Vec::new())
    }

    /// Starts the agent with this configuration and waits until it answers.
    pub fn start(lab: &Lab, configuration: &str) -> Result<Self> {
        Self::start_within(lab, configuration, Vec::new())
    }

    /// The same with these variables in the agent's environment.
    pub fn start_within(
        lab: &Lab,
        configuration: &str,
        environment: Vec<(String, OsString)>,
    ) -> Result<Self> {
        Self::start_at(Self::place_in(lab), configuration, environment)
    }

    fn place_in(lab: &Lab) -> Place {
        Place {
            namespace: lab.edge().clone(),
            folder: lab.files(),
            socket: lab.socket(),
            pins: lab.pins(),
        }
    }

    /// Starts an agent on another node than the lab's own.
    pub(super) fn start_at(
        place: Place,
        configuration: &str,
        environment: Vec<(String, OsString)>,
    ) -> Result<Self> {
        let mut edge = Self::prepare_at(place, configuration, environment)?;
        edge.start_again()?;
        Ok(edge)
    }

    fn prepare_at(
        place: Place,
        configuration: &str,
        environment: Vec<(String, OsString)>,
    ) -> Result<Self> {
        let Place {
            namespace,
            folder,
            socket,
            pins,
        } = place;
        let edge = Self {
            binary: agent_binary()?,
            namespace,
            folder,
            socket,
            pins,
            environment,
            options: Vec::new(),
            agent: None,
        };
        edge.write(configuration)?;
        Ok(edge)
    }

    /// Gives `lbxdp run` these options from its next start on.
    pub fn set_options(&mut self, options: &[&str]) {
        self.options = options.iter().map(|&option| option.to_owned()).collect();
    }

    /// Starts the agent after its end, and waits until it answers.
    pub fn start_again(&mut self) -> Result<()> {
        self.spawn()?;
        self.wait("the agent answers", |_| true)
    }

    /// Starts the agent after its end, without waiting.
    pub fn spawn(&mut self) -> Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())?;
        let mut command = Command::new(&self.binary);
        command
            .arg("run")
            .arg("--config")
            .arg(self.configuration_file())
            .args(&self.options)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = self
            .namespace
            .spawn(&mut command)
            .with_context(|| format!("cannot start {}", self.binary.display()))?;
        self.agent = Some(child);
        Ok(())
    }

    /// Replaces the configuration file and sends SIGHUP.
    pub fn reload(&self, configuration: &str) -> Result<()> {
        self.write(configuration)?;
        self.signal(Signal::SIGHUP)
    }

    /// Ends the agent as a crash does.
    pub fn kill_9(&mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.reap().map(drop)
    }

    /// Asks the agent to end, and gives its exit code.
    pub fn terminate(&mut self) -> Result<Option<i32>> {
        self.signal(Signal::SIGTERM)?;
        let agent = self.agent.as_mut().context("the agent does not run")?;
        let status = wait_for("the agent ends", DEADLINE, || Ok(agent.try_wait()?))?;
        self.agent = None;
        Ok(status.code())
    }

    /// The agent's process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.agent.as_ref().map(Child::id)
    }

    /// What the agent says of itself and all that it serves.
    pub fn status(&self) -> Result<Status> {
        let output = self.lbxdp(&["status", "--json"])?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("status: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let value: Value = serde_json::from_str(&text).context("status is not JSON")?;
        Ok(Status(value))
    }

    /// Waits until the status is as it should be; an error shows status and log.
    pub fn wait(&mut self, what: &str, is: impl Fn(&Status) -> bool) -> Result<()> {
        self.wait_long(what, DEADLINE, is)
    }

    /// Waits as [`Self::wait`] does, with a deadline of its own.
    pub fn wait_long(
        &mut self,
        what: &str,
        deadline: Duration,
        is: impl Fn(&Status) -> bool,
    ) -> Result<()> {
        let mut last = None;
        let found = wait_for(what, deadline, || {
            if let Some(status) = self.ended()? {
                return Ok(Some(Err(status)));
            }
            let status = self.status()?;
            let fits = is(&status);
            last = Some(status);
            Ok(fits.then_some(Ok(())))
        });
        match found {
            Ok(Ok(())) => Ok(()),
            Ok(Err(exit)) => bail!("{what}: the agent ended: {exit}\n{}", self.log()),
            Err(error) => {
                let status = last
                    .map(|Status(value)| format!("{value:#}"))
                    .unwrap_or_default();
                Err(error.context(format!("status: {status}\nlog: {}", self.log())))
            }
        }
    }

    /// Waits until all origins of all pools are healthy.
    pub fn wait_healthy(&mut self) -> Result<()> {
        self.wait("all origins are healthy", Status::all_healthy)
    }

    /// Explains a packet of the client's: `lbxdp explain`.
    pub fn explain(&self, protocol: &str, from: SocketAddr, to: SocketAddr) -> Result<String> {
        let output = self.lbxdp(&["explain", protocol, &from.to_string(), &to.to_string()])?;
        if !output.status.success() {
            bail!(
                "explain: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs `lbxdp VERB …` for this agent.
    pub fn lbxdp(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .env("LBXDP_SOCKET", &self.socket)
            .env("LBXDP_PIN_PATH", &self.pins)
            .stdin(Stdio::null());
        Ok(self.namespace.within(|| command.output())?)
    }

    /// Lines for a shell that make `$lbxdp VERB …` do the same as [`Self::lbxdp`].
    #[must_use]
    pub fn shell_setup(&self) -> [String; 2] {
        [
            format!(
                "export LBXDP_SOCKET={} LBXDP_PIN_PATH={}",
                self.socket.display(),
                self.pins.display()
            ),
            format!(
                "lbxdp='nsenter --net=/run/netns/{} {}'",
                self.namespace.name(),
                self.binary.display()
            ),
        ]
    }

    /// How the program is attached to an interface, with the agent alive or dead.
    pub fn attached(&self, interface: &str) -> Result<Attached> {
        let version = self.pins.join(format!("v{ABI_VERSION}"));
        let link = PinnedLink::from_pin(version.join("links").join(interface))
            .with_context(|| format!("there is no link of {interface}"))?;
        let facts = FdLink::from(link).info()?;
        Ok(Attached {
            link: facts.id(),
            program: facts.program_id(),
        })
    }

    /// All that the agent has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Its configuration file.
    #[must_use]
    pub fn configuration_file(&self) -> PathBuf {
        self.folder.join("lbxdp.toml")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("lbxdp.log")
    }

    /// Replaces the configuration at once: a reader sees the old file or the new.
    fn write(&self, configuration: &str) -> Result<()> {
        let spare: &Path = &self.folder.join("lbxdp.toml.new");
        // It holds the hash key.
        let mut file = File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(spare)?;
        file.write_all(pace::slow_configuration(configuration).as_bytes())?;
        Ok(fs::rename(spare, self.configuration_file())?)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.pid().context("the agent does not run")?;
        Ok(kill(Pid::from_raw(pid.cast_signed()), signal)?)
    }

    fn ended(&mut self) -> Result<Option<std::process::ExitStatus>> {
        match &mut self.agent {
            Some(agent) => Ok(agent.try_wait()?),
            None => Ok(None),
        }
    }

    fn reap(&mut self) -> Result<Option<std::process::ExitStatus>> {
        match self.agent.take() {
            Some(mut agent) => Ok(Some(agent.wait()?)),
            None => Ok(None),
        }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            // It may have ended already.
            drop(agent.kill());
            drop(agent.wait());
        }
    }
}
