//! Why a probe failed.

use std::fmt;
use std::io;

/// Why a probe failed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Failure {
    /// RST to the SYN, or port unreachable.
    ConnectionRefused,
    /// RST or end of stream within an exchange.
    ConnectionReset,
    /// No TCP connection in time.
    TcpTimeout,
    /// A TCP connection, but no whole answer in time.
    HttpTimeout,
    /// No echo reply in time.
    IcmpTimeout,
    /// No way to the host: a router says so, or nobody answers ARP or neighbour discovery.
    NoRoute,
    /// No route to its network.
    NetworkUnreachable,
    /// The device that the probe is to leave by does not exist.
    DeviceMissing,
    /// The device that the probe is to leave by is down.
    DeviceDown,
    /// The source address is not one of this node's.
    SourceMissing,
    /// The kernel does not let us, or a filter on this node rejects it.
    Permission,
    /// This node is out of sockets, ports or memory.
    Exhausted,
    /// A status code that is not expected.
    StatusMismatch(u16),
    /// A body without the expected text.
    BodyMismatch,
    /// Not HTTP.
    InvalidResponse,
    /// A request that cannot be sent as it is configured.
    InvalidRequest,
    /// The prober itself did not come back in time.
    Overdue,
    /// An error that has no name here, by its number in errno(3); 0 if it has none.
    Other(i32),
}

impl Failure {
    /// The name in output and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.text().0
    }

    /// What it means and what to look at, without the numbers ([`fmt::Display`] has them).
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        self.text().1
    }

    /// Whether the probe got no answer in time: these are tried again at once.
    #[must_use]
    pub const fn is_timeout(self) -> bool {
        match self {
            Self::TcpTimeout | Self::HttpTimeout | Self::IcmpTimeout => true,
            Self::ConnectionRefused
            | Self::ConnectionReset
            | Self::NoRoute
            | Self::NetworkUnreachable
            | Self::DeviceMissing
            | Self::DeviceDown
            | Self::SourceMissing
            | Self::Permission
            | Self::Exhausted
            | Self::StatusMismatch(_)
            | Self::BodyMismatch
            | Self::InvalidResponse
            | Self::InvalidRequest
            | Self::Overdue
            | Self::Other(_) => false,
        }
    }

    const fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::ConnectionRefused => (
                "connection_refused",
                "the connection was refused: nothing listens on the port",
            ),
            Self::ConnectionReset => (
                "connection_reset",
                "the connection was closed before the answer was whole",
            ),
            Self::TcpTimeout => ("tcp_timeout", "no TCP connection in time"),
            Self::HttpTimeout => ("http_timeout", "no whole HTTP answer in time"),
            Self::IcmpTimeout => ("icmp_timeout", "no echo reply in time"),
            Self::NoRoute => (
                "no_route",
                "no way to the host: a router says so, or nobody has the address",
            ),
            Self::NetworkUnreachable => ("network_unreachable", "no route to the network"),
            Self::DeviceMissing => (
                "device_missing",
                "the device to probe through does not exist",
            ),
            Self::DeviceDown => ("device_down", "the device to probe through is down"),
            Self::SourceMissing => (
                "source_missing",
                "the source address of the probe is not on this node",
            ),
            Self::Permission => (
                "permission",
                "this node may not send the probe: missing capability, or a local filter",
            ),
            Self::Exhausted => ("exhausted", "this node is out of sockets, ports or memory"),
            Self::StatusMismatch(_) => {
                ("status_mismatch", "the status code is not an expected one")
            }
            Self::BodyMismatch => ("body_mismatch", "the body does not have the expected text"),
            Self::InvalidResponse => ("invalid_response", "the answer is not HTTP"),
            Self::InvalidRequest => (
                "invalid_request",
                "the monitor's method, path or headers make no request",
            ),
            Self::Overdue => ("overdue", "the prober itself hung and was stopped"),
            Self::Other(_) => ("other", "the probe failed with an unusual error"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StatusMismatch(status) => write!(f, "{} ({status})", self.sentence()),
            Self::Other(0) => f.write_str(self.sentence()),
            Self::Other(errno) => {
                write!(
                    f,
                    "{} ({})",
                    self.sentence(),
                    io::Error::from_raw_os_error(*errno)
                )
            }
            Self::ConnectionRefused
            | Self::ConnectionReset
            | Self::TcpTimeout
            | Self::HttpTimeout
            | Self::IcmpTimeout
            | Self::NoRoute
            | Self::NetworkUnreachable
            | Self::DeviceMissing
            | Self::DeviceDown
            | Self::SourceMissing
            | Self::Permission
            | Self::Exhausted
            | Self::BodyMismatch
            | Self::InvalidResponse
            | Self::InvalidRequest
            | Self::Overdue => f.write_str(self.sentence()),
        }
    }
}

impl From<&io::Error> for Failure {
    /// By errno(3), and by kind for errors that have none.
    fn from(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ECONNREFUSED) => Self::ConnectionRefused,
            Some(libc::ECONNRESET | libc::ECONNABORTED | libc::EPIPE) => Self::ConnectionReset,
            Some(libc::ETIMEDOUT) => Self::TcpTimeout,
            Some(libc::EHOSTUNREACH | libc::EHOSTDOWN) => Self::NoRoute,
            Some(libc::ENETUNREACH) => Self::NetworkUnreachable,
            Some(libc::ENODEV | libc::ENXIO) => Self::DeviceMissing,
            Some(libc::ENETDOWN) => Self::DeviceDown,
            Some(libc::EADDRNOTAVAIL) => Self::SourceMissing,
            Some(libc::EPERM | libc::EACCES) => Self::Permission,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => Self::Exhausted,
            Some(errno) => Self::Other(errno),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::ConnectionReset,
            None => Self::Other(0),
        }
    }
}
