//! Metrics over HTTP.
//!
//! A scraper may be slow, hostile, or one of many: a connection is for one request and ends after
//! [`PATIENCE`], there are [`MOST_CONNECTIONS`] at most, and the owner is asked for its status not more
//! than once in [`FRESH`] for each format, whoever scrapes. Text is made on a thread of its own.

mod answer;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use super::Event;
use answer::Source;

/// Connections that may be open at a time; others wait to be accepted.
const MOST_CONNECTIONS: usize = 32;
/// How long a connection may last.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a request may take to come.
const REQUEST_PATIENCE: Duration = Duration::from_secs(3);
/// Longest head of a request, in bytes.
const LONGEST_HEAD: usize = 16 * 1024;
/// How old the answer may be that is given to another scraper.
const FRESH: Duration = Duration::from_secs(1);
/// How long the owner may take to answer; Prometheus waits 10 seconds unless told otherwise.
const OWNER_PATIENCE: Duration = Duration::from_secs(4);

/// Serves metrics at an address, until it is stopped or dropped.
#[derive(Debug)]
pub(super) struct Exporter {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Listens at an address. The owner is asked by `events`; when it does not answer, what the maps
    /// under `pin_path` tell is served.
    ///
    /// # Errors
    /// When the address is taken, or not one of the node's.
    pub(super) fn listen(
        address: SocketAddr,
        events: mpsc::Sender<Event>,
        pin_path: PathBuf,
    ) -> anyhow::Result<Self> {
        let listener = bind(address).map_err(|error| refused(&error))?;
        let source = Arc::new(Source::new(events, pin_path, OWNER_PATIENCE));
        let task = tokio::spawn(accept(listener, source, PATIENCE));
        Ok(Self { address, task })
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it; the address is free then.
    pub(super) async fn stop(mut self) {
        self.task.abort();
        // It was cancelled, which is what was asked.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // Connections that have ended do not keep the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(128)
}

fn refused(error: &std::io::Error) -> anyhow::Error {
    let hint = match error.kind() {
        ErrorKind::AddrInUse => "another program listens there: end it, or choose another port",
        ErrorKind::AddrNotAvailable => "it is no address of this node; write one that is",
        ErrorKind::PermissionDenied => {
            "choose a port above 1023, or give the agent the right to it"
        }
        _ => "choose another address or port",
    };
    anyhow!("{error}; {hint}; tried again every second")
}

async fn accept(listener: TcpListener, source: Arc<Source>, patience: Duration) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    // They end with this task.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = room.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let source = source.clone();
                connections.spawn(async move {
                    // Whoever is slower than that has gone away as far as we are concerned.
                    let _ = tokio::time::timeout(patience, serve(stream, &source)).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a connection for metrics failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, source: &Source) {
    let service =
        service_fn(
            |request| async move { Ok::<_, Infallible>(answer::answer(source, &request).await) },
        );
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(LONGEST_HEAD)
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a scraper has gone away, or does not speak HTTP");
    }
}
