//! Where metrics are served.

use std::net::SocketAddr;

use crate::config::file::Field;
use crate::config::model::{Config, Ports, Protocol};
use crate::config::report::Report;

const KEY: &str = "node.metrics_listen";

/// The address by itself.
pub(super) fn listen(written: &Field<SocketAddr>, report: &mut Report<'_>) -> Option<SocketAddr> {
    let Field::Given(address) = *written else {
        return None;
    };
    let port_hint = "name the port that Prometheus is to ask, as in \"127.0.0.1:9733\"";
    if address.port() == 0 {
        report.error(KEY, "port 0 is no port", port_hint);
    }
    if address.ip().is_multicast() {
        report.error(
            KEY,
            format!("{} is a multicast address", address.ip()),
            "write an address of the node",
        );
    }
    if address.ip().is_unspecified() {
        report.warn(
            KEY,
            format!("{address} is every address of the node: whoever reaches it can read the metrics"),
            "write the address at which Prometheus asks, or see to it that a firewall protects the port",
        );
    }
    Some(address)
}

/// The address beside those of load balancers, whose packets do not come to the agent.
pub(super) fn check(config: &Config, report: &mut Report<'_>) {
    let Some(address) = config.node.metrics_listen else {
        return;
    };
    let taken = config.load_balancers.iter().find(|(_, balancer)| {
        balancer.enabled
            && balancer.virtual_network.is_none()
            && balancer.listeners.iter().any(|listener| {
                listener.protocol == Protocol::Tcp
                    && listener.address == address.ip()
                    && listener.ports.overlaps(Ports::One(address.port()))
            })
    });
    if let Some((name, _)) = taken {
        report.error(
            KEY,
            format!("packets to {address} go to the origins of load balancer {name:?}"),
            "choose another address or port",
        );
    }
}
