//! What is inside a tunnel: both ends' addresses, and the prefixes behind it.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::config::file::{self, Field};
use crate::config::report::Report;
use crate::config::validate::address::{alike, check_one_of_each, check_usable, family};

/// `addresses` and `peers`.
pub(super) fn addresses_and_peers(
    written: &file::Tunnel,
    report: &mut Report<'_>,
) -> (Vec<IpNet>, Vec<IpAddr>) {
    let path = format!("{}.addresses", written.path);
    let hint = "write the node's own address inside the tunnel, as in [\"10.255.0.1/30\"]";
    let addresses = written
        .addresses
        .required(&written.path, "addresses", hint, report)
        .cloned();
    if addresses.as_ref().is_some_and(Vec::is_empty) {
        report.error(&path, "the node has no address inside the tunnel", hint);
    }
    let addresses = addresses.unwrap_or_default();
    for (index, net) in addresses.iter().enumerate() {
        let path = format!("{path}[{index}]");
        check_usable(net.addr(), &path, report);
        if net.prefix_len() < net.max_prefix_len() - 1 && net.addr() == net.network() {
            report.error(
                &path,
                format!("{net} is a network, not an address in it"),
                "write the node's own address, as in \"10.255.0.1/30\"",
            );
        }
    }
    let own: Vec<IpAddr> = addresses.iter().map(IpNet::addr).collect();
    check_one_of_each(&own, &path, report);

    let peers = written.peers.elements().to_vec();
    let path = format!("{}.peers", written.path);
    check_one_of_each(&peers, &path, report);
    for (index, &peer) in peers.iter().enumerate() {
        let path = format!("{path}[{index}]");
        check_usable(peer, &path, report);
        if own.contains(&peer) {
            report.error(
                path,
                format!("{peer} is the node's own address"),
                "write the far end's address inside the tunnel",
            );
        } else if !addresses.is_empty() && !addresses.iter().any(|net| net.contains(&peer)) {
            report.error(
                path,
                format!(
                    "{peer} is in none of the prefixes of `addresses`, so it cannot be the gateway"
                ),
                "write the far end's address, and a prefix length in `addresses` that covers it",
            );
        }
    }
    (addresses, peers)
}

pub(super) fn routes(
    written: &file::Tunnel,
    addresses: &[IpNet],
    peers: &[IpAddr],
    alone: bool,
    report: &mut Report<'_>,
) -> Vec<IpNet> {
    let path = format!("{}.routes", written.path);
    if written.routes.is_absent() {
        if !alone {
            report.error(
                path,
                "`routes` is missing, and the vnet has other tunnels",
                "write the prefixes behind this tunnel, as in [\"10.0.0.0/8\"]",
            );
            return Vec::new();
        }
        let own: Vec<IpAddr> = addresses.iter().map(IpNet::addr).collect();
        let far = if peers.is_empty() { &own } else { peers };
        let mut routes: Vec<IpNet> = far
            .iter()
            .map(|address| match address {
                IpAddr::V4(_) => IpNet::V4(Ipv4Net::default()),
                IpAddr::V6(_) => IpNet::V6(Ipv6Net::default()),
            })
            .collect();
        routes.sort_unstable();
        return routes;
    }
    let routes = written.routes.elements();
    for (index, route) in routes.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if route.addr() != route.network() {
            report.error(
                &path,
                format!("{route} has bits set beyond its length"),
                format!("write \"{}\"", route.trunc()),
            );
        }
        if routes.iter().take(index).any(|other| other == route) {
            report.error(
                &path,
                format!("{route} is there twice"),
                "remove one of them",
            );
        }
        if !addresses.is_empty() && !addresses.iter().any(|net| alike(net.addr(), route.addr())) {
            let version = family(route.addr());
            report.error(
                &path,
                format!(
                    "{route} is {version}, but the node has no {version} address inside the tunnel"
                ),
                format!("add one to `addresses`, or remove the {version} routes"),
            );
        }
    }
    routes.to_vec()
}

/// Over Ethernet a packet is sent to the MAC address of a gateway, so there must be one.
pub(super) fn check_gateways(
    written: &file::Tunnel,
    kind: &str,
    routes: &[IpNet],
    peers: &[IpAddr],
    report: &mut Report<'_>,
) {
    if matches!(written.peers, Field::Wrong) {
        return;
    }
    let path = format!("{}.peers", written.path);
    if peers.is_empty() {
        report.error(
            path,
            format!("{kind} carries Ethernet: without a peer there is no gateway to send to"),
            "write the far end's address inside the tunnel, as in [\"10.255.0.2\"]",
        );
        return;
    }
    let orphan = routes
        .iter()
        .find(|route| !peers.iter().any(|&peer| alike(peer, route.addr())));
    if let Some(route) = orphan {
        let version = family(route.addr());
        report.error(
            path,
            format!("{kind} carries Ethernet, and route {route} has no {version} peer as its gateway"),
            format!("add the far end's {version} address inside the tunnel, or remove the {version} routes"),
        );
    }
}
