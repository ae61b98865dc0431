//! `tcp`: a connection is established. Nothing is sent or read.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

use lbxdp_ebpf::abi::SnatRange;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};

use super::{Failure, ProbeSpec};

/// Ports that are tried.
const TRIES: usize = 8;

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
    let mut tries = 0;
    loop {
        tries += 1;
        let socket = match open(spec, &close) {
            // Somebody of this node has the port.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < TRIES => continue,
            opened => opened.map_err(|error| Failure::from(&error))?,
        };
        let connected = socket.connect(SocketAddr::new(spec.target, spec.port));
        match timeout_at(deadline, connected).await {
            // A connection from this port is still remembered: from the next, then.
            Ok(Err(error)) if error.kind() == io::ErrorKind::AddrNotAvailable && tries < TRIES => {}
            Ok(connected) => return connected.map_err(|error| Failure::from(&error)),
            Err(_) => return Err(Failure::TcpTimeout),
        }
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
    // Several connections may leave from one port, to different origins.
    socket.set_reuseaddr(true)?;
    let source = spec.source.unwrap_or(match spec.target {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    });
    socket.bind(SocketAddr::new(source, next_port()))?;
    Ok(socket)
}

/// A port that no client's flow is translated to, so that an answer to it is the probe's.
fn next_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = SnatRange::FIRST_PORT + SnatRange::PORTS;
    FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % (u16::MAX - FIRST + 1)
}
