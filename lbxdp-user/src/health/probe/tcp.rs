//! `tcp`: a connection is established. Nothing is sent or read.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};

use super::{Failure, ProbeSpec};

/// How a connection ends when it is dropped.
pub(super) enum Close {
    /// By FIN.
    Orderly,
    /// By RST: no state stays behind, neither here (TIME_WAIT) nor on the way nor at the origin.
    Reset,
}

/// Passes if the connection is established in time.
pub(super) async fn established(spec: &ProbeSpec, deadline: Instant) -> Result<(), Failure> {
    connect(spec, Close::Reset, deadline).await.map(drop)
}

/// Connects through the probe's device, from its source address.
pub(super) async fn connect(
    spec: &ProbeSpec,
    close: Close,
    deadline: Instant,
) -> Result<TcpStream, Failure> {
    let socket = open(spec, &close).map_err(|error| Failure::from(&error))?;
    let connected = socket.connect(SocketAddr::new(spec.target, spec.port));
    match timeout_at(deadline, connected).await {
        Ok(connected) => connected.map_err(|error| Failure::from(&error)),
        Err(_) => Err(Failure::TcpTimeout),
    }
}

fn open(spec: &ProbeSpec, close: &Close) -> io::Result<TcpSocket> {
    let socket = if spec.target.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    if let Some(device) = &spec.device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    match close {
        Close::Orderly => {}
        Close::Reset => socket.set_zero_linger()?,
    }
    if let Some(source) = spec.source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    Ok(socket)
}
