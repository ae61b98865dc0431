use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};

use super::{Request, Response};

/// Longest time that an answer may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Asks the agent behind a control socket.
///
/// # Errors
/// When no agent listens there, when it may not be asked, or when it does not answer in time.
pub fn ask(socket: &Path, request: &Request) -> anyhow::Result<Response> {
    let mut stream =
        UnixStream::connect(socket).map_err(|error| diagnose(socket, error.kind(), &error))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    let mut line = serde_json::to_string(request).context("a request is plain data")?;
    line.push('\n');
    stream
        .write_all(line.as_bytes())
        .with_context(|| format!("asking the agent at {}", socket.display()))?;
    let mut answer = String::new();
    BufReader::new(stream)
        .read_line(&mut answer)
        .with_context(|| {
            format!(
                "the agent at {} did not answer within {} s",
                socket.display(),
                DEADLINE.as_secs()
            )
        })?;
    if answer.is_empty() {
        bail!(
            "the agent at {} closed the connection without an answer",
            socket.display()
        );
    }
    serde_json::from_str(&answer)
        .context("the agent's answer is not understood; is it of another version?")
}

fn diagnose(socket: &Path, kind: ErrorKind, error: &std::io::Error) -> anyhow::Error {
    let socket = socket.display();
    match kind {
        ErrorKind::NotFound => anyhow!(
            "no agent listens at {socket}: start one with `lbxdp run`, or name its socket with \
             --socket (the maps can be read without one: `lbxdp map list`)"
        ),
        ErrorKind::ConnectionRefused => anyhow!(
            "the agent that listened at {socket} is gone; the data path goes on with its last \
             tables (`lbxdp map list` reads them); start it again with `lbxdp run`"
        ),
        ErrorKind::PermissionDenied => {
            anyhow!("the socket {socket} may be used by its owner alone: try as root")
        }
        _ => anyhow!("cannot reach the agent at {socket}: {error}"),
    }
}
