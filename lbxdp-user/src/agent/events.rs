//! What happens to the agent.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use notify::{RecursiveMode, Watcher};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::api::Inbound;
use crate::dataplane::{Swept, SweptFlows};
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
    /// Translated flows have been swept.
    Swept(Box<anyhow::Result<Swept>>),
    /// Flows of rows at risk have been swept.
    SweptFlows(Box<anyhow::Result<SweptFlows>>),
    /// So many flows of rows at risk were forgotten, since their rows need them no more.
    ForgotFlows(anyhow::Result<usize>),
    /// Rows that were held back for first results are to wait no longer, or a window is over.
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
/// management replace files rather than write them; and if it is a link, so is that of the file
/// that it leads to, since either may be replaced.
pub(super) fn watch_file(
    path: &Path,
    events: mpsc::Sender<Event>,
) -> anyhow::Result<impl Watcher + use<>> {
    let files = watched(path)?;
    let names: BTreeSet<OsString> = files.iter().map(|(_, name)| name.clone()).collect();
    let (changes, mut changed) = mpsc::channel(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        let is_ours = event
            .paths
            .iter()
            .filter_map(|path| path.file_name())
            .any(|name| names.contains(name));
        if is_ours && !event.kind.is_access() {
            // One that waits says the same.
            let _ = changes.try_send(());
        }
    })
    .context("watching the configuration file")?;
    let folders: BTreeSet<PathBuf> = files.into_iter().map(|(folder, _)| folder).collect();
    for folder in folders {
        watcher
            .watch(&folder, RecursiveMode::NonRecursive)
            .with_context(|| format!("watching {}", folder.display()))?;
    }
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

/// The folder and the name of a file, and of the one that it leads to.
fn watched(path: &Path) -> anyhow::Result<BTreeSet<(PathBuf, OsString)>> {
    let absolute =
        std::path::absolute(path).with_context(|| format!("finding {}", path.display()))?;
    let target = path
        .canonicalize()
        .with_context(|| format!("finding {}", path.display()))?;
    [absolute, target]
        .into_iter()
        .map(|file| {
            let folder = file.parent().context("a file is in a folder")?;
            let folder = folder
                .canonicalize()
                .with_context(|| format!("finding {}", folder.display()))?;
            let name = file.file_name().context("a file has a name")?;
            Ok((folder, name.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder of its own, removed when dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("lbxdp-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).expect("a folder can be made");
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    async fn reloads(events: &mut mpsc::Receiver<Event>) {
        let event = tokio::time::timeout(Duration::from_secs(10), events.recv()).await;
        assert!(
            matches!(event, Ok(Some(Event::Reload { asked: false }))),
            "{event:?}"
        );
    }

    #[tokio::test]
    async fn a_link_that_is_turned_to_another_file_is_a_change_and_so_is_its_file() {
        let folder = Folder::new("watch");
        let (old, new) = (folder.0.join("old"), folder.0.join("new"));
        for release in [&old, &new] {
            fs::create_dir_all(release).expect("a folder can be made");
            fs::write(release.join("real.toml"), "").expect("a file can be written");
        }
        let link = folder.0.join("lbxdp.toml");
        symlink(old.join("real.toml"), &link).expect("a link can be made");
        let (sender, mut events) = mpsc::channel(8);
        let _watcher = watch_file(&link, sender).expect("it is watched");

        fs::write(old.join("real.toml"), "changed").expect("a file can be written");
        reloads(&mut events).await;

        let next = folder.0.join("next");
        symlink(new.join("real.toml"), &next).expect("a link can be made");
        fs::rename(&next, &link).expect("the link can be replaced");
        reloads(&mut events).await;
    }
}
