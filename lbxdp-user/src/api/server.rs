use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use super::{Request, Response};

/// Longest request, in bytes.
const LONGEST: u64 = 64 * 1024;
/// Longest time that a client may take to ask, and then to read the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request, and where its answer goes.
#[derive(Debug)]
pub struct Inbound {
    /// What is asked.
    pub request: Request,
    /// Takes the answer.
    pub reply: oneshot::Sender<Response>,
}

/// The listening control socket; removed when dropped.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Listens at `path`, with mode 0600, and hands requests to `inbox`.
    ///
    /// # Errors
    /// When another agent listens there, or when the socket cannot be made.
    pub fn listen(path: &Path, inbox: mpsc::Sender<Inbound>) -> anyhow::Result<Self> {
        clear_stale(path)?;
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("making the folder of the socket {}", path.display()))?;
        }
        // Made under another name and moved there once its mode is right: at no time can another
        // user connect.
        let unfinished = path.with_extension(format!("{}.new", std::process::id()));
        let _ = std::fs::remove_file(&unfinished);
        let listener = UnixListener::bind(&unfinished).map_err(|error| refused(path, &error))?;
        std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(0o600))
            .and_then(|()| std::fs::rename(&unfinished, path))
            .map_err(|error| refused(path, &error))?;
        let task = tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        tokio::spawn(serve(stream, inbox.clone(), PATIENCE));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "accepting a control connection failed");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        });
        Ok(Self {
            path: path.to_owned(),
            task,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

fn refused(path: &Path, error: &std::io::Error) -> anyhow::Error {
    let hint = if error.kind() == ErrorKind::PermissionDenied {
        ": the agent needs root, or in `node.socket` a folder that it may write to"
    } else {
        ""
    };
    anyhow::anyhow!(
        "making the control socket {}: {error}{hint}",
        path.display()
    )
}

/// Removes a socket that nobody listens at any more.
fn clear_stale(path: &Path) -> anyhow::Result<()> {
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => bail!(
            "another lbxdp agent listens at {}: stop it first, or give this one its own \
             `node.socket` and `node.pin_path`",
            path.display()
        ),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path)
            .with_context(|| format!("removing the dead socket {}", path.display())),
        Err(error) => {
            Err(error).with_context(|| format!("looking at the control socket {}", path.display()))
        }
    }
}

async fn serve(stream: UnixStream, inbox: mpsc::Sender<Inbound>, patience: Duration) {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(LONGEST));
    let Ok(Ok(_)) = tokio::time::timeout(patience, reader.read_line(&mut line)).await else {
        return;
    };
    let response = match serde_json::from_str::<Request>(&line) {
        Ok(request) => answer(request, &inbox).await,
        Err(error) => Response::Error(format!("the request is not understood: {error}")),
    };
    if let Ok(mut text) = serde_json::to_string(&response) {
        text.push('\n');
        // A client that has gone away, or does not read, needs no answer.
        let _ = tokio::time::timeout(patience, writer.write_all(text.as_bytes())).await;
    }
}

async fn answer(request: Request, inbox: &mpsc::Sender<Inbound>) -> Response {
    let (reply, answer) = oneshot::channel();
    if inbox.send(Inbound { request, reply }).await.is_err() {
        return Response::Error("the agent is stopping".to_owned());
    }
    answer
        .await
        .unwrap_or_else(|_| Response::Error("the agent is stopping".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_client_that_does_not_ask_or_does_not_read_is_not_waited_for() {
        let (inbox, mut inbound) = mpsc::channel::<Inbound>(1);
        tokio::spawn(async move {
            while let Some(Inbound { request: _, reply }) = inbound.recv().await {
                // More than a socket holds.
                let _ = reply.send(Response::Error("x".repeat(16 << 20)));
            }
        });
        let patience = Duration::from_millis(50);
        let request = serde_json::to_string(&Request::Status).expect("a request is plain data");
        for asks in [String::new(), request + "\n"] {
            let (mut client, server) = UnixStream::pair().expect("sockets can be made");
            client.write_all(asks.as_bytes()).await.expect("it is sent");
            tokio::time::timeout(DEADLINE, serve(server, inbox.clone(), patience))
                .await
                .expect("it does not wait for ever");
        }
    }
}
