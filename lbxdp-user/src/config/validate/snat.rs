//! Whether clients' addresses are translated, to what, and for how long a translation is kept.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::address::{check_one_of_each, check_usable, family};
use super::name::vnet_name;
use crate::config::file::{self, Field, SourceName};
use crate::config::model::{Config, Forwarding, Origin, SnatTimeouts};
use crate::config::report::Report;

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

pub(super) fn timeouts(
    written: &Field<file::SnatTimeouts>,
    report: &mut Report<'_>,
) -> SnatTimeouts {
    let Some(file::SnatTimeouts {
        tcp_established,
        tcp_transitory,
        udp,
    }) = written.given()
    else {
        return SnatTimeouts::RECOMMENDED;
    };
    let mut timeout = |field: &Field<Duration>, key: &str, default: Duration| {
        let value = field.or(default);
        if !(SHORTEST..=LONGEST).contains(&value) {
            report.error(
                format!("node.snat_timeouts.{key}"),
                format!("{value:?} is out of range"),
                "from \"1s\" to \"7days\"",
            );
        }
        value
    };
    SnatTimeouts {
        tcp_established: timeout(
            tcp_established,
            "tcp_established",
            SnatTimeouts::RECOMMENDED.tcp_established,
        ),
        tcp_transitory: timeout(
            tcp_transitory,
            "tcp_transitory",
            SnatTimeouts::RECOMMENDED.tcp_transitory,
        ),
        udp: timeout(udp, "udp", SnatTimeouts::RECOMMENDED.udp),
    }
}

/// Prefixes of source addresses: networks, at most one of each IP version.
pub(super) fn ranges(
    written: &Field<Vec<IpNet>>,
    path: &str,
    report: &mut Report<'_>,
) -> Vec<IpNet> {
    let ranges = written.elements();
    for (index, range) in ranges.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if range.addr() != range.network() {
            report.error(
                path,
                format!("{range} has bits set beyond its length"),
                format!("write \"{}\"", range.trunc()),
            );
        } else {
            check_usable(range.addr(), &path, report);
        }
    }
    let addresses: Vec<IpAddr> = ranges.iter().map(IpNet::addr).collect();
    check_one_of_each(&addresses, path, report);
    ranges.to_vec()
}

/// What `nat` does with the source: as written, or by where the origins are.
pub(super) fn forwarding(
    written: &file::Pool,
    origins: &BTreeMap<String, Origin>,
    report: &mut Report<'_>,
) -> Forwarding {
    match written.source {
        Field::Given(SourceName::Preserve) | Field::Wrong => return Forwarding::NatPreserve,
        Field::Given(SourceName::Snat) => return Forwarding::NatSnat,
        Field::Absent => {}
    }
    let inside = origins
        .iter()
        .find(|(_, origin)| origin.virtual_network.is_some());
    let outside = origins
        .iter()
        .find(|(_, origin)| origin.virtual_network.is_none());
    match (inside, outside) {
        (Some((inside, _)), Some((outside, _)))
            if !report.faulty(&format!("{}.origin", written.path)) =>
        {
            report.error(
                format!("{}.source", written.path),
                format!("`source` is missing, and its default is \"snat\" for origin {inside:?}, in a vnet, but \"preserve\" for {outside:?}, in the node's own network"),
                "write `source = \"snat\"` or `source = \"preserve\"`, or make a pool of each",
            );
            Forwarding::NatSnat
        }
        (Some(_), _) => Forwarding::NatSnat,
        (None, _) => Forwarding::NatPreserve,
    }
}

/// Each origin of a pool that translates must have a source address of its IP version; and those
/// addresses are nobody else's.
pub(super) fn check(config: &Config, report: &mut Report<'_>) {
    for (pool_name, pool) in &config.pools {
        for (name, origin) in &pool.origins {
            let vnet = origin.virtual_network.as_ref();
            let owner = vnet.map_or_else(|| "node".to_owned(), |vnet| format!("vnet[{vnet}]"));
            if report.faulty(&owner) {
                continue;
            }
            let path = format!("pool[{pool_name}].origin[{name}].address");
            if report.faulty(&path) {
                continue;
            }
            let Some(range) = config.snat_range(origin) else {
                // That no tunnel leads there has been reported.
                if pool.forwarding == Forwarding::NatSnat
                    && (vnet.is_none() || config.tunnel_to(origin).is_some())
                {
                    let version = family(origin.address);
                    report.error(
                        path,
                        format!("the pool has source = \"snat\", but in vnet {:?} the node has no {version} address for that", vnet_name(vnet)),
                        format!("add one to `{owner}.snat`, or write source = \"preserve\""),
                    );
                }
                continue;
            };
            if range.contains(&origin.address) {
                report.error(
                    path,
                    format!(
                        "{} is in {range}, from which clients' addresses are taken",
                        origin.address
                    ),
                    format!(
                        "choose another range in `{owner}.snat`: its addresses are the node's alone"
                    ),
                );
            }
        }
    }
    for (name, vnet) in &config.vnets {
        for (index, range) in vnet.snat.iter().enumerate() {
            let peer = vnet.tunnels.iter().find_map(|(tunnel, t)| {
                let peer = t.peers.iter().find(|peer| range.contains(*peer))?;
                Some((tunnel, peer))
            });
            if let Some((tunnel, peer)) = peer {
                report.error(
                    format!("vnet[{name}].snat[{index}]"),
                    format!("{range} contains {peer}, the far end of tunnel {tunnel:?}"),
                    "choose another range: its addresses are the node's alone",
                );
            }
        }
    }
}
