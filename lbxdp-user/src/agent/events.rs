//! What happens to the agent.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use notify::{RecursiveMode, Watcher};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::api::Inbound;
use crate::health::ProbeEvent;
use crate::vnet::NetworkEvent;

/// What happens to the agent.
#[derive(Debug)]
pub(crate) enum Event {
    /// A probe has a result.
    Probe(ProbeEvent),
    /// Links, addresses, routes or neighbours have changed.
    Network(NetworkEvent),
    /// The configuration is to be read again, by SIGHUP (`true`) or because the file changed.
    Reload {
        /// Whether somebody asked for it.
        asked: bool,
    },
    /// Somebody asks.
    Request(Inbound),
    /// Time has passed.
    Tick,
    /// Rows that were held back for first results are to wait no longer.
    RowsDue,
    /// The agent is to stop; by this signal.
    Stop(&'static str),
}

/// How long a changed file must stay as it is before it is read.
const FILE_REST: Duration = Duration::from_millis(200);

/// Hands requests on as events.
pub(super) fn forward_requests(mut inbound: mpsc::Receiver<Inbound>, events: mpsc::Sender<Event>) {
    tokio::spawn(async move {
        while let Some(request) = inbound.recv().await {
            if events.send(Event::Request(request)).await.is_err() {
                return;
            }
        }
    });
}

/// SIGHUP reloads; SIGTERM and SIGINT stop.
pub(super) fn watch_signals(events: &mpsc::Sender<Event>) -> anyhow::Result<()> {
    for (kind, name) in [
        (SignalKind::hangup(), "SIGHUP"),
        (SignalKind::terminate(), "SIGTERM"),
        (SignalKind::interrupt(), "SIGINT"),
    ] {
        let mut stream = signal(kind).with_context(|| format!("waiting for {name}"))?;
        let events = events.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                let event = if kind == SignalKind::hangup() {
                    Event::Reload { asked: true }
                } else {
                    Event::Stop(name)
                };
                if events.send(event).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(())
}

/// Follows the configuration file. Its folder is watched, since editors and configuration
/// management replace files rather than write them.
pub(super) fn watch_file(
    path: &Path,
    events: mpsc::Sender<Event>,
) -> anyhow::Result<impl Watcher + use<>> {
    let path = path
        .canonicalize()
        .with_context(|| format!("finding {}", path.display()))?;
    let folder = path.parent().context("a file is in a folder")?.to_owned();
    let name = path.file_name().context("a file has a name")?.to_owned();
    let (changes, mut changed) = mpsc::unbounded_channel();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        let is_ours = event
            .paths
            .iter()
            .any(|path| path.file_name() == Some(&name));
        if is_ours && !event.kind.is_access() {
            // The receiver lives as long as the agent.
            let _ = changes.send(());
        }
    })
    .context("watching the configuration file")?;
    watcher
        .watch(&folder, RecursiveMode::NonRecursive)
        .with_context(|| format!("watching {}", folder.display()))?;
    tokio::spawn(async move {
        while changed.recv().await.is_some() {
            while let Ok(Some(())) = tokio::time::timeout(FILE_REST, changed.recv()).await {}
            if events.send(Event::Reload { asked: false }).await.is_err() {
                return;
            }
        }
    });
    Ok(watcher)
}
