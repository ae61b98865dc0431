//! `icmp_ping`: an ICMP or ICMPv6 echo request is answered (RFC 792, RFC 4443 section 4).
//!
//! A raw socket a probe, connected, so that the kernel gives it nothing but what comes from the
//! target, and tells at once when a router or a neighbour table knows that there is no way.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use etherparse::{
    IcmpEchoHeader, Icmpv4Header, Icmpv4Slice, Icmpv4Type, Icmpv6Header, Icmpv6Slice, Icmpv6Type,
    Ipv4HeaderSlice,
};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::{Failure, ProbeSpec};

/// Passes if the reply to this very request comes in time.
pub(super) async fn answered(spec: &ProbeSpec, deadline: Instant) -> Result<(), Failure> {
    match timeout_at(deadline, ping(spec)).await {
        Ok(answered) => answered.map_err(|error| Failure::from(&error)),
        Err(_) => Err(Failure::IcmpTimeout),
    }
}

async fn ping(spec: &ProbeSpec) -> io::Result<()> {
    // What tokio has for datagrams is `send` and `recv`: right for a connected raw socket as well.
    let socket = UdpSocket::from_std(open(spec)?.into())?;
    let echo = Echo::next();
    socket.send(&echo.request(spec.target)).await?;
    // Room for an IPv4 header with options, and for what we sent.
    let mut buffer = [0; 128];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if echo.is_answered_by(spec.target, &buffer[..length]) {
            return Ok(());
        }
    }
}

fn open(spec: &ProbeSpec) -> io::Result<Socket> {
    let kind = Type::RAW.nonblocking();
    let socket = match spec.target {
        IpAddr::V4(_) => Socket::new(Domain::IPV4, kind, Some(Protocol::ICMPV4))?,
        IpAddr::V6(_) => Socket::new(Domain::IPV6, kind, Some(Protocol::ICMPV6))?,
    };
    if let Some(device) = &spec.device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    if let Some(source) = spec.source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.connect(&SocketAddr::new(spec.target, 0).into())?;
    // Now that it is connected: before, it would be told of errors about anybody's packets.
    match spec.target {
        IpAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
        IpAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
    }
    // And one of these may just have been on its way.
    socket.take_error()?;
    Ok(socket)
}

/// What tells one request from all others: of this process by the number, of other processes by
/// the rest.
struct Echo {
    header: IcmpEchoHeader,
    payload: [u8; 16],
}

static NEXT: AtomicU64 = AtomicU64::new(0);
static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));

impl Echo {
    fn next() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut payload = [0; 16];
        payload[..8].copy_from_slice(&PROCESS.to_be_bytes());
        payload[8..].copy_from_slice(&number.to_be_bytes());
        let id = (*PROCESS ^ (number >> 16)) as u16;
        let header = IcmpEchoHeader {
            id,
            seq: number as u16,
        };
        Self { header, payload }
    }

    fn request(&self, target: IpAddr) -> Vec<u8> {
        let mut packet = match target {
            IpAddr::V4(_) => {
                let kind = Icmpv4Type::EchoRequest(self.header);
                Icmpv4Header::with_checksum(kind, &self.payload)
                    .to_bytes()
                    .to_vec()
            }
            // The kernel fills in the checksum of ICMPv6, which covers the addresses.
            IpAddr::V6(_) => Icmpv6Header::new(Icmpv6Type::EchoRequest(self.header))
                .to_bytes()
                .to_vec(),
        };
        packet.extend_from_slice(&self.payload);
        packet
    }

    /// A raw socket gives IPv4 packets with their header, IPv6 packets without.
    fn is_answered_by(&self, target: IpAddr, packet: &[u8]) -> bool {
        let answer = match target {
            IpAddr::V4(_) => Ipv4HeaderSlice::from_slice(packet).ok().and_then(|header| {
                let icmp = Icmpv4Slice::from_slice(&packet[header.slice().len()..]).ok()?;
                match icmp.icmp_type() {
                    Icmpv4Type::EchoReply(header) => Some((header, icmp.payload())),
                    _ => None,
                }
            }),
            IpAddr::V6(_) => {
                Icmpv6Slice::from_slice(packet)
                    .ok()
                    .and_then(|icmp| match icmp.icmp_type() {
                        Icmpv6Type::EchoReply(header) => Some((header, icmp.payload())),
                        _ => None,
                    })
            }
        };
        answer == Some((self.header, &self.payload[..]))
    }
}
