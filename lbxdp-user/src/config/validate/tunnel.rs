//! Tables `vnet.tunnel`: each by itself.

mod device;
mod health;
mod inside;
mod ipsec;
mod secret;
mod wireguard;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;

use self::health::health_check;
use self::inside::{addresses_and_peers, check_gateways, routes};
use super::address::{alike, check_usable, family};
use super::encapsulation::{
    Numbers, Outer, carries_ethernet, outer_header, overhead, tunnel_kind, udp_port,
};
use super::name;
use crate::config::file::{self, Field, TunnelName};
use crate::config::model::{Node, Tunnel};
use crate::config::report::Report;
use crate::fnv;

/// What a path is taken to carry when `mtu` is not configured.
const PATH_MTU: u16 = 1500;

pub(super) fn tunnels(
    vnet_name: &str,
    vnet: &file::Vnet,
    node: &Node,
    folder: Option<&Path>,
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
            let tunnel = self::tunnel(vnet_name, &name, tunnel, alone, node, folder, report)?;
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
    folder: Option<&Path>,
    report: &mut Report<'_>,
) -> Option<Tunnel> {
    let path = &written.path;
    let numbers = Numbers {
        path,
        vni: &written.vni,
        key: &written.key,
        gre_checksum: &written.gre_checksum,
        port: &written.port,
        carries: &written.carries,
    };
    let name_of_kind = written
        .kind
        .required(
            path,
            "kind",
            "write `vxlan`, `geneve`, `gre`, `ipip`, `fou`, `gue`, `wireguard`, `ipsec` or `device`",
            report,
        )
        .copied();
    let kind = name_of_kind.and_then(|kind| match kind {
        TunnelName::Encapsulated(name) => Some(tunnel_kind(name, &numbers, report)),
        TunnelName::Wireguard => Some(wireguard::check(written, &numbers, report)),
        TunnelName::Ipsec => ipsec::check(vnet, name, written, &numbers, report),
        TunnelName::Device => Some(device::check(written, &numbers, report)),
    });
    forbid_tables_of_others(written, name_of_kind, report);
    let keys = match name_of_kind {
        Some(TunnelName::Wireguard) => Some(wireguard::keys(written, folder, report)),
        Some(TunnelName::Encapsulated(_) | TunnelName::Ipsec | TunnelName::Device) | None => None,
    };
    let associations = match name_of_kind {
        Some(TunnelName::Ipsec) => ipsec::associations(written, folder, report),
        Some(TunnelName::Encapsulated(_) | TunnelName::Wireguard | TunnelName::Device) | None => {
            Some(None)
        }
    };
    let ends = match name_of_kind {
        Some(TunnelName::Wireguard | TunnelName::Device) => {
            let (local, nowhere) = device::NO_ENDS;
            let endpoint = keys.iter().flatten().find_map(|keys| keys.endpoint);
            Some((local, endpoint.map_or(nowhere, |endpoint| endpoint.ip())))
        }
        Some(TunnelName::Encapsulated(_) | TunnelName::Ipsec) | None => ends(written, node, report),
    };
    let (addresses, peers) = addresses_and_peers(written, report);
    let outer = kind.map(|kind| {
        let keys = Outer {
            path,
            ttl: &written.ttl,
            dscp: &written.dscp,
            udp_checksum: &written.udp_checksum,
        };
        outer_header(&keys, kind.name(), udp_port(kind).is_some(), report)
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
    let (kind, (local, remote)) = (kind?, ends?);
    let keys = match keys {
        Some(keys) => Some(keys?),
        None => None,
    };
    let routes = routes(written, &addresses, &peers, alone, report);
    if carries_ethernet(kind) {
        check_gateways(written, kind.name(), &routes, &peers, report);
    }
    Some(Tunnel {
        device,
        kind,
        wireguard: keys,
        associations: associations?,
        local,
        remote,
        mtu: mtu(
            written,
            PATH_MTU - overhead(kind, local.is_ipv4()),
            &addresses,
            report,
        ),
        outer: outer.unwrap_or_default(),
        health_check: health_check(written, &addresses, &peers, &routes, report),
        addresses,
        peers,
        routes,
    })
}

/// Reports tables of other kinds than the tunnel's.
fn forbid_tables_of_others(
    written: &file::Tunnel,
    kind: Option<TunnelName>,
    report: &mut Report<'_>,
) {
    let Some(kind) = kind else {
        return;
    };
    for (there, of, key) in [
        (
            written.wireguard.given().is_some(),
            TunnelName::Wireguard,
            "wireguard",
        ),
        (written.ipsec.given().is_some(), TunnelName::Ipsec, "ipsec"),
    ] {
        if there && kind != of {
            report.error(
                format!("{}.{key}", written.path),
                "the tunnel is of another kind",
                format!("remove it, or write `kind = \"{key}\"`"),
            );
        }
    }
}

/// The outer addresses: of this node, and of the far end.
fn ends(written: &file::Tunnel, node: &Node, report: &mut Report<'_>) -> Option<(IpAddr, IpAddr)> {
    let path = &written.path;
    let remote = written
        .remote
        .required(
            path,
            "remote",
            "write the outer address of the far end",
            report,
        )
        .copied()
        .filter(|&remote| check_usable(remote, &format!("{path}.remote"), report))?;
    Some((local(written, remote, node, report)?, remote))
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

/// A name that depends on this tunnel alone, so that adding another renames no device.
fn default_device(vnet: &str, name: &str) -> String {
    if name.len() <= 11 && name.starts_with(vnet) {
        return format!("lbx-{name}");
    }
    let short: String = name.chars().take(6).collect();
    let hash = fnv::digest_32(format!("{vnet}/{name}").bytes());
    format!("lbx-{short}-{:04x}", (hash >> 16) ^ (hash & 0xffff))
}
