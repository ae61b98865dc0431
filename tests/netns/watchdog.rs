//! The agent is stuck, stopped or dead, and says so, or others do.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use serde_json::Value;
use tests::netns::{Edge, Lab, Shape, eventually, slow};

use crate::configuration::{MONITORS, Service};
use crate::{DEADLINE, served_since, start_load};

/// In the place of systemd: counts messages with `WATCHDOG=1`.
struct Systemd {
    socket: UnixDatagram,
    ready: bool,
    beats: usize,
}

impl Systemd {
    fn listen(lab: &Lab) -> Result<(Self, Vec<(String, OsString)>)> {
        let path = lab.files().join("notify");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_nonblocking(true)?;
        let variables = vec![
            ("NOTIFY_SOCKET".to_owned(), path.into_os_string()),
            ("WATCHDOG_USEC".to_owned(), "4000000".into()),
        ];
        let systemd = Self {
            socket,
            ready: false,
            beats: 0,
        };
        Ok((systemd, variables))
    }

    fn beats(&mut self) -> usize {
        let mut buffer = [0; 1024];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]);
            self.ready |= text.lines().any(|line| line == "READY=1");
            self.beats += text.lines().filter(|line| *line == "WATCHDOG=1").count();
        }
        self.beats
    }
}

fn services() -> String {
    [
        MONITORS,
        &Service::tcp("web", "blue", Lab::vip(10, 80)).text(),
        &Service::udp("echo", "blue", Lab::vip(10, 7)).text(),
    ]
    .concat()
}

fn json(output: &Output) -> Result<Value> {
    serde_json::from_slice(&output.stdout).context("it is not JSON")
}

#[test]
fn a_stuck_owner_is_reported_systemd_is_told_nothing_and_the_traffic_goes_on() -> Result<()> {
    let test = "a_stuck_owner_is_reported_systemd_is_told_nothing_and_the_traffic_goes_on";
    let Some(lab) = crate::lab_for_agent(test, Shape::OneLink)? else {
        return Ok(());
    };
    let (mut systemd, variables) = Systemd::listen(&lab)?;
    let configuration = lab.configuration() + &services();
    let mut edge = Edge::start_within(&lab, &configuration, variables)?;
    edge.wait_healthy()?;
    let load = start_load(&lab, Lab::vip(10, 80), Lab::vip(10, 7))?;
    eventually("systemd is told that all is well", DEADLINE, || {
        systemd.beats() > 2 && systemd.ready
    })?;

    // A file that nobody writes: who reads it waits, as on a server of files that is gone.
    let file = edge.configuration_file();
    let text = fs::read(&file)?;
    let pipe = lab.files().join("pipe");
    mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR)?;
    fs::rename(&pipe, &file)?;
    eventually("the owner is reported", DEADLINE, || {
        edge.log().contains("the owner task is stuck")
    })?;
    let (last, since) = (systemd.beats(), Instant::now());
    eventually(
        "it is quiet for the time that systemd waits",
        DEADLINE,
        || since.elapsed() > Duration::from_secs(4),
    )?;
    assert_eq!(systemd.beats(), last, "so systemd would restart it");
    let stuck = Instant::now();
    served_since(&load, stuck)?;
    let output = edge.lbxdp(&["status", "--json"])?;
    assert!(!output.status.success());
    let unanswered = json(&output)?;
    let error = unanswered["error"].to_string();
    assert!(error.contains("did not answer"), "{unanswered}");
    let heartbeat = &unanswered["heartbeat"];
    assert!(heartbeat["age_ms"].as_u64() > Some(4_000), "{unanswered}");
    assert_eq!(heartbeat["fresh"], false);
    assert_eq!(heartbeat["process_is_there"], true);

    // It comes back by itself once the file can be read.
    File::options().write(true).open(&file)?.write_all(&text)?;
    eventually("it goes on", DEADLINE, || {
        edge.log().contains("the owner task goes on")
    })?;
    eventually("systemd is told again", DEADLINE, || {
        systemd.beats() > last + 2
    })?;
    edge.wait("the status is answered, with a fresh heartbeat", |status| {
        status.0["node"]["heartbeat"]["fresh"] == true
    })?;
    let log = edge.log();
    assert!(
        !log.contains("probes are stuck"),
        "they waited for it: {log}"
    );
    let records = load.stop();
    assert!(records.failed().is_empty(), "{}", records.failed().show());
    Ok(())
}

#[test]
fn the_age_of_the_tables_is_told_with_the_agent_stopped_and_dead() -> Result<()> {
    let test = "the_age_of_the_tables_is_told_with_the_agent_stopped_and_dead";
    let Some(lab) = crate::lab_for_agent(test, Shape::OneLink)? else {
        return Ok(());
    };
    let mut edge = Edge::start(&lab, &(lab.configuration() + &services()))?;
    edge.wait_healthy()?;
    let heartbeat = edge.status()?.0["node"]["heartbeat"].clone();
    let pid = edge.pid().context("it runs")?;
    assert_eq!(heartbeat["pid"], pid);
    assert!(heartbeat["age_ms"].as_u64() < Some(5_000), "{heartbeat}");
    let output = edge.lbxdp(&["status"])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("the tables were last confirmed"), "{text}");

    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGSTOP)?;
    let output = edge.lbxdp(&["status"])?;
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGCONT)?;
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let words = format!("by pid {pid}, which is there but does not confirm them");
    assert!(text.contains(&words), "{text}");
    // Stopped is not stuck.
    edge.wait("it answers", |_| true)?;
    let quiet = Instant::now() + slow(Duration::from_secs(2));
    eventually("time has passed", DEADLINE, || Instant::now() > quiet)?;
    assert!(!edge.log().contains("is stuck"), "{}", edge.log());

    edge.kill_9()?;
    let output = edge.lbxdp(&["status", "--json"])?;
    assert!(!output.status.success());
    let unanswered = json(&output)?;
    assert_eq!(unanswered["heartbeat"]["process_is_there"], false);
    let output = edge.lbxdp(&["map", "list"])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains(&format!("by pid {pid}, which has ended")),
        "{text}"
    );
    Ok(())
}
