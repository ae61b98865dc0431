//! Pieces of configuration that many tests share.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

/// In how long [`MONITORS`] find a death: each of three probes fails after two timeouts, which are
/// longer than the interval, and the first may have just been sent.
pub(crate) const DETECTION: Duration = Duration::from_millis(3 * 2 * 400 + 400);

/// Monitors `tcp`, `http` and `ping`. Busy cores may keep a server from answering for a while, so
/// they ask often and wait long.
pub(crate) const MONITORS: &str = r#"
[[monitor]]
name = "tcp"
type = "tcp"
port = 80
interval = "400ms"
timeout = "400ms"
retries = 1
consecutive_up = 2
consecutive_down = 3

[[monitor]]
name = "http"
type = "http"
port = 80
interval = "400ms"
timeout = "400ms"
retries = 1
consecutive_up = 2
consecutive_down = 3

[[monitor]]
name = "ping"
type = "icmp_ping"
interval = "400ms"
timeout = "400ms"
retries = 1
consecutive_up = 2
consecutive_down = 3
"#;

/// Origins a, b and c at their IPv4 addresses.
pub(crate) const V4: [&str; 3] = ["10.0.0.11", "10.0.0.12", "10.0.0.13"];
/// Origins a, b and c at their IPv6 addresses.
pub(crate) const V6: [&str; 3] = ["fd00:10::11", "fd00:10::12", "fd00:10::13"];

/// A load balancer with one listener, and its pool of origins a, b and c, both named `name`.
pub(crate) struct Service<'a> {
    pub(crate) name: &'a str,
    pub(crate) protocol: &'a str,
    pub(crate) listener: SocketAddr,
    pub(crate) vnet: &'a str,
    pub(crate) monitor: &'a str,
    pub(crate) origins: [&'a str; 3],
    pub(crate) weights: [f64; 3],
}

impl<'a> Service<'a> {
    /// TCP, checked by `http`, origins of a site by IPv4, equal weights.
    pub(crate) fn tcp(name: &'a str, vnet: &'a str, listener: SocketAddr) -> Self {
        Self {
            name,
            protocol: "tcp",
            listener,
            vnet,
            monitor: "http",
            origins: if listener.is_ipv4() { V4 } else { V6 },
            weights: [1.0; 3],
        }
    }

    /// The same for UDP, checked by `ping`.
    pub(crate) fn udp(name: &'a str, vnet: &'a str, listener: SocketAddr) -> Self {
        Self {
            protocol: "udp",
            monitor: "ping",
            ..Self::tcp(name, vnet, listener)
        }
    }

    pub(crate) fn text(&self) -> String {
        let Self {
            name,
            protocol,
            listener,
            vnet,
            monitor,
            origins,
            weights,
        } = self;
        let (address, port) = (listener.ip(), listener.port());
        let mut text = format!(
            r#"
[[load_balancer]]
name = "{name}"
listeners = [{{ address = "{address}", port = {port}, protocol = "{protocol}" }}]
default_pools = ["{name}"]

[[pool]]
name = "{name}"
monitor = "{monitor}"
forwarding = "nat"
source = "preserve"
"#
        );
        for ((origin, address), weight) in ["a", "b", "c"].iter().zip(origins).zip(weights) {
            write!(
                text,
                r#"[[pool.origin]]
name = "{origin}"
address = "{address}"
weight = {weight:.1}
virtual_network = "{vnet}"
"#
            )
            .expect("a string takes all");
        }
        text
    }
}
