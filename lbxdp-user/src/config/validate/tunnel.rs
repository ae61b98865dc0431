//! Tables `vnet.tunnel`: each by itself.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::address::{alike, check_one_of_each, check_usable, family};
use super::encapsulation::{Numbers, carries_ethernet, kind_name, overhead, tunnel_kind};
use super::vnet::fnv1a;
use super::{name, timing};
use crate::config::file::{self, Field};
use crate::config::model::{Node, Timing, Tunnel, TunnelCheck};
use crate::config::report::Report;

/// What a path is taken to carry when `mtu` is not configured.
const PATH_MTU: u16 = 1500;

const DEFAULT_CHECK: Timing = Timing {
    interval: Duration::from_secs(1),
    timeout: Duration::from_millis(500),
    retries: 1,
    consecutive_up: 2,
    consecutive_down: 2,
};

pub(super) fn tunnels(
    vnet_name: &str,
    vnet: &file::Vnet,
    node: &Node,
    report: &mut Report<'_>,
) -> BTreeMap<String, Tunnel> {
    let written = vnet.tunnel.elements();
    if written.is_empty() && !matches!(vnet.tunnel, Field::Wrong) {
        report.error(
            format!("{}.tunnel", vnet.path),
            format!("vnet {vnet_name:?} has no tunnel, so nothing in it can be reached"),
            "add a table `[[vnet.tunnel]]`",
        );
    }
    let alone = written.len() == 1;
    written
        .iter()
        .filter_map(|tunnel| {
            let name = name::check(&tunnel.name, &tunnel.path, "tunnel of this vnet", report);
            let tunnel = self::tunnel(vnet_name, &name, tunnel, alone, node, report)?;
            Some((name, tunnel))
        })
        .collect()
}

/// Reports a name that the kernel would not take for a device.
pub(super) fn check_device(device: &str, path: &str, report: &mut Report<'_>) {
    // `dev_valid_name` of net/core/dev.c; `all` and `default` are folders of sysctls.
    let taken = device.is_empty()
        || device.len() > 15
        || [".", "..", "all", "default"].contains(&device)
        || device
            .chars()
            .any(|c| c == '/' || c == ':' || c.is_whitespace() || c.is_control());
    if taken {
        report.error(
            path,
            format!("{device:?} is no name of a network device"),
            "1 to 15 bytes without spaces, `/` and `:`",
        );
    }
}

fn tunnel(
    vnet: &str,
    name: &str,
    written: &file::Tunnel,
    alone: bool,
    node: &Node,
    report: &mut Report<'_>,
) -> Option<Tunnel> {
    let path = &written.path;
    let numbers = Numbers {
        path,
        vni: &written.vni,
        key: &written.key,
        port: &written.port,
    };
    let kind = written
        .kind
        .required(
            path,
            "kind",
            "write `vxlan`, `geneve`, `gre`, `ipip` or `gue`",
            report,
        )
        .map(|&kind| tunnel_kind(kind, &numbers, report));
    let remote = written
        .remote
        .required(
            path,
            "remote",
            "write the outer address of the far end",
            report,
        )
        .copied()
        .filter(|&remote| check_usable(remote, &format!("{path}.remote"), report));
    let local = remote.and_then(|remote| local(written, remote, node, report));
    let (addresses, peers) = inside(written, report);
    let ttl = written.ttl.or(64);
    let ttl = u8::try_from(ttl)
        .ok()
        .filter(|&ttl| ttl != 0)
        .unwrap_or_else(|| {
            report.error(
                format!("{path}.ttl"),
                format!("{ttl} is out of range"),
                "from 1 to 255",
            );
            64
        });
    if let Some(device) = written.device.given() {
        check_device(device, &format!("{path}.device"), report);
    }
    let device = written.device.or(default_device(vnet, name));
    if node.interfaces.contains(&device) {
        report.error(
            format!("{path}.device"),
            format!("{device:?} is one of `node.interfaces`"),
            "choose another name for the tunnel's device",
        );
    }
    let (kind, remote, local) = (kind?, remote?, local?);
    let routes = routes(written, &addresses, &peers, alone, report);
    if carries_ethernet(kind) {
        check_gateways(written, kind_name(kind), &routes, &peers, report);
    }
    Some(Tunnel {
        device,
        kind,
        local,
        remote,
        mtu: mtu(
            written,
            PATH_MTU - overhead(kind, local.is_ipv4()),
            &addresses,
            report,
        ),
        ttl,
        health_check: health_check(written, &addresses, &peers, &routes, report),
        addresses,
        peers,
        routes,
    })
}

fn local(
    written: &file::Tunnel,
    remote: IpAddr,
    node: &Node,
    report: &mut Report<'_>,
) -> Option<IpAddr> {
    let path = format!("{}.local", written.path);
    if let Field::Given(local) = written.local {
        check_usable(local, &path, report);
        if !alike(local, remote) {
            report.error(
                &path,
                format!(
                    "{local} is {}, but `remote` is {}",
                    family(local),
                    family(remote)
                ),
                "the outer addresses of both ends are of one IP version",
            );
            return None;
        }
        if local == remote {
            report.error(
                &path,
                format!("{local} is also `remote`"),
                "a tunnel has two ends",
            );
        }
        return Some(local);
    }
    let local = node.address_like(remote);
    if local.is_none() && !report.faulty("node.addresses") && written.local.is_absent() {
        report.error(
            &path,
            format!(
                "`remote` is {0}, but the node has no {0} address",
                family(remote)
            ),
            format!(
                "add one to `node.addresses`, or write `local` ({})",
                family(remote)
            ),
        );
    }
    if local == Some(remote) {
        report.error(
            format!("{}.remote", written.path),
            format!("{remote} is the node's own address"),
            "write the outer address of the far end",
        );
    }
    local
}

/// `addresses` and `peers`.
fn inside(written: &file::Tunnel, report: &mut Report<'_>) -> (Vec<IpNet>, Vec<IpAddr>) {
    let path = format!("{}.addresses", written.path);
    let hint = "write the node's own address inside the tunnel, as in [\"10.255.0.1/30\"]";
    let addresses = written
        .addresses
        .required(&written.path, "addresses", hint, report)
        .cloned();
    if addresses.as_ref().is_some_and(Vec::is_empty) {
        report.error(&path, "the node has no address inside the tunnel", hint);
    }
    let known = addresses.is_some();
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
        } else if known && !addresses.iter().any(|net| net.contains(&peer)) {
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

fn routes(
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
fn check_gateways(
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

fn mtu(written: &file::Tunnel, default: u16, addresses: &[IpNet], report: &mut Report<'_>) -> u16 {
    let mtu = written.mtu.or(default);
    // RFC 8200, section 5, asks for 1280.
    let six = addresses.iter().any(|net| net.addr().is_ipv6());
    let least = if six { 1280 } else { 576 };
    if mtu < least {
        report.error(
            format!("{}.mtu", written.path),
            format!("{mtu} bytes are too few"),
            if six {
                "at least 1280, since there is IPv6 inside"
            } else {
                "at least 576"
            },
        );
    }
    mtu
}

fn health_check(
    written: &file::Tunnel,
    addresses: &[IpNet],
    peers: &[IpAddr],
    routes: &[IpNet],
    report: &mut Report<'_>,
) -> Option<TunnelCheck> {
    let path = format!("{}.health_check", written.path);
    let keys = match &written.health_check {
        Field::Given(keys) => Some(keys),
        Field::Absent => None,
        Field::Wrong => return None,
    };
    let timing = match keys {
        None => DEFAULT_CHECK,
        Some(keys) => {
            let written = timing::Written {
                path: &path,
                interval: &keys.interval,
                timeout: &keys.timeout,
                retries: &keys.retries,
                consecutive_up: &keys.consecutive_up,
                consecutive_down: &keys.consecutive_down,
            };
            timing::timing(&written, DEFAULT_CHECK, report)
        }
    };
    if keys.is_some_and(|keys| !keys.enabled.or(true)) {
        return None;
    }
    if let Some(&target) = keys.and_then(|keys| keys.target.given()) {
        let path = format!("{path}.target");
        check_usable(target, &path, report);
        if addresses.iter().any(|net| net.addr() == target) {
            report.error(
                path,
                format!("{target} is the node's own address"),
                "write an address at the far end",
            );
        } else if !addresses
            .iter()
            .chain(routes)
            .any(|net| net.contains(&target))
        {
            report.error(
                path,
                format!("{target} is not behind this tunnel"),
                "write an address at the far end, or leave it out: it is the first of `peers`",
            );
        }
        return Some(TunnelCheck { target, timing });
    }
    let target = peers.first().copied();
    if target.is_none()
        && !matches!(written.peers, Field::Wrong)
        && keys.is_none_or(|keys| keys.target.is_absent())
    {
        report.error(
            path,
            "there is nobody to ping: the tunnel has no `peers`",
            "write `peers`, or `health_check = { target = \"…\" }`, or `health_check = { enabled = false }`",
        );
    }
    target.map(|target| TunnelCheck { target, timing })
}

/// A name that depends on this tunnel alone, so that adding another renames no device.
fn default_device(vnet: &str, name: &str) -> String {
    if name.len() <= 11 && name.starts_with(vnet) {
        return format!("lbx-{name}");
    }
    let short: String = name.chars().take(6).collect();
    let hash = fnv1a(format!("{vnet}/{name}").as_bytes());
    format!("lbx-{short}-{:04x}", (hash >> 16) ^ (hash & 0xffff))
}
