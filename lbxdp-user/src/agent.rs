//! The agent: one task that owns the state.
//!
//! Probes, netlink, the file watch, signals and control connections are small
//! tasks that send events; this task takes them one by one and brings devices,
//! probes and maps in line with what it then knows. Every step compares before
//! it acts, so it may run at any time; a restart is simply the first time.

mod descriptors;
mod events;
mod exporter;
mod memory;
mod owner;
mod report;
mod watchdog;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

use crate::api::Server;
use crate::config::{self, Loaded};
use owner::{Owner, Vitals};
use watchdog::{Patience, Watchdog};

pub(crate) use events::Event;

/// How the agent is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// Log every packet with its verdict.
    pub trace_packets: bool,
}

/// How often everything is looked at even though nothing has happened.
const TICK: Duration = Duration::from_secs(1);
/// Events that may wait to be taken; a full queue holds their senders back.
const QUEUE: usize = 4096;

/// Sets the process up for a long life. Before there are threads.
pub fn set_up() {
    memory::set_up();
}

/// Reads the configuration. What that takes for a moment, several times the text, is given back before
/// there is something to be made of it.
fn load(path: &Path) -> anyhow::Result<Loaded> {
    let loaded = config::load(path).map_err(|invalid| anyhow::anyhow!("{invalid}"));
    memory::trim();
    loaded
}

/// Runs until SIGTERM or SIGINT. The data path then goes on with its last tables.
///
/// # Errors
/// When it cannot start: the configuration is not valid, another agent runs, or the kernel refuses.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let loaded = load(&options.config)?;
    for warning in &loaded.warnings {
        tracing::warn!("configuration: {warning}");
    }
    descriptors::raise_limit();
    let (events, mut inbox) = mpsc::channel(QUEUE);
    // The socket first: it tells of an agent that already runs.
    let (requests, inbound) = mpsc::channel(16);
    let server = Server::listen(&loaded.config.node.socket, requests)?;
    events::forward_requests(inbound, events.clone());
    events::watch_signals(&events)?;
    let _watch = events::watch_file(&options.config, events.clone())?;

    let vitals = Vitals::default();
    let now = SystemTime::now();
    let mut owner =
        Owner::start(options, loaded.config, events.clone(), vitals.clone(), now).await?;
    notify_systemd(&[sd_notify::NotifyState::Ready]);
    let Vitals { probes, standing } = vitals;
    let patience = Patience::within(sd_notify::watchdog_enabled());
    let watchdog = Watchdog::start(patience, probes, standing, || {
        notify_systemd(&[sd_notify::NotifyState::Watchdog]);
    })?;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        let rows_due = owner.rows_due_in(SystemTime::now());
        let event = tokio::select! {
            event = inbox.recv() => event.unwrap_or(Event::Stop("all senders are gone")),
            _ = ticks.tick() => Event::Tick,
            () = tokio::time::sleep(rows_due.unwrap_or_default()), if rows_due.is_some() => {
                Event::RowsDue
            }
        };
        let mut next = Some(event);
        while let Some(event) = next {
            if let Event::Stop(signal) = event {
                notify_systemd(&[sd_notify::NotifyState::Stopping]);
                drop(server);
                tracing::info!(
                    signal,
                    "the agent stops; the data path goes on forwarding with its last tables \
                     (`lbxdp detach` removes it, `lbxdp run` takes it over)"
                );
                return Ok(());
            }
            watchdog.beat();
            owner.take(event, SystemTime::now()).await;
            // What has queued up meanwhile is taken before anything is written.
            next = inbox.try_recv().ok();
        }
        watchdog.beat();
        owner.settle(SystemTime::now()).await;
    }
}

/// Tells systemd, where it runs us; otherwise nobody listens and nothing happens.
fn notify_systemd(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}
