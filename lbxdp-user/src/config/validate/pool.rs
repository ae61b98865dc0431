//! Tables `pool`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::encapsulation::{Numbers, Outer, dsr, forbid_all, forbid_outer, outer_header};
use super::timing::{DAY, within};
use super::{all_down, name, origin, snat};
use crate::config::file::{self, DsrName, Field, ForwardingName};
use crate::config::model::{
    DsrEncapsulation, Forwarding, Monitor, MonitorKind, Origin, OuterHeader, Pool, Vnet,
};
use crate::config::report::Report;

pub(super) fn pools(
    written: &[file::Pool],
    vnets: &BTreeMap<String, Vnet>,
    monitors: &BTreeMap<String, Monitor>,
    report: &mut Report<'_>,
) -> BTreeMap<String, Pool> {
    written
        .iter()
        .map(|pool| {
            let name = name::check(&pool.name, &pool.path, "pool", report);
            (name, self::pool(pool, vnets, monitors, report))
        })
        .collect()
}

fn pool(
    written: &file::Pool,
    vnets: &BTreeMap<String, Vnet>,
    monitors: &BTreeMap<String, Monitor>,
    report: &mut Report<'_>,
) -> Pool {
    let path = &written.path;
    let forwarding = forwarding(written, report);
    let outer = outer(written, forwarding, report);
    let origins = origin::origins(&written.origin, path, forwarding, vnets, report);
    let forwarding = match forwarding {
        Some(Forwarding::NatPreserve | Forwarding::NatSnat) | None => {
            snat::forwarding(written, &origins, report)
        }
        Some(Forwarding::Dsr(encapsulation)) => Forwarding::Dsr(encapsulation),
    };
    let monitor = written.monitor.given().cloned();
    if let Some(name) = &monitor
        && name::exists(
            name,
            monitors,
            &format!("{path}.monitor"),
            "monitor",
            report,
        )
        && let Some(monitor) = monitors.get(name)
    {
        check_probe_port(name, monitor, &origins, path, report);
    }
    Pool {
        enabled: written.enabled.or(true),
        minimum_origins: minimum_origins(written, &origins, report),
        panic_threshold: all_down::threshold(written, report),
        all_down: all_down::policy(written, report),
        monitor,
        drain_duration: written.drain_duration.given().map(|&time| {
            let hint = "from \"0s\" to \"1day\"";
            let path = format!("{path}.drain_duration");
            within(time, Duration::ZERO..=DAY, &path, hint, report)
        }),
        slow_start: within(
            written.slow_start.or(Duration::ZERO),
            Duration::ZERO..=Duration::from_secs(3600),
            &format!("{path}.slow_start"),
            "from \"0s\", which is off, to \"1h\"",
            report,
        ),
        forwarding,
        outer,
        origins,
    }
}

/// The outer header, which only direct server return with an encapsulation has.
fn outer(
    written: &file::Pool,
    forwarding: Option<Forwarding>,
    report: &mut Report<'_>,
) -> OuterHeader {
    let keys = Outer {
        path: &written.path,
        ttl: &written.ttl,
        dscp: &written.dscp,
        udp_checksum: &written.udp_checksum,
    };
    let (kind, over_udp) = match forwarding {
        None => return OuterHeader::default(),
        Some(Forwarding::NatPreserve | Forwarding::NatSnat) => {
            forbid_outer(&keys, "forwarding = \"nat\"", report);
            return OuterHeader::default();
        }
        Some(Forwarding::Dsr(DsrEncapsulation::L2)) => {
            forbid_outer(&keys, "l2", report);
            return OuterHeader::default();
        }
        Some(Forwarding::Dsr(DsrEncapsulation::IpIp)) => ("ipip", false),
        Some(Forwarding::Dsr(DsrEncapsulation::Gre { .. })) => ("gre", false),
        Some(Forwarding::Dsr(DsrEncapsulation::Fou { .. })) => ("fou", true),
        Some(Forwarding::Dsr(DsrEncapsulation::Gue { .. })) => ("gue", true),
        Some(Forwarding::Dsr(DsrEncapsulation::Vxlan { .. })) => ("vxlan", true),
        Some(Forwarding::Dsr(DsrEncapsulation::Geneve { .. })) => ("geneve", true),
    };
    outer_header(&keys, kind, over_udp, report)
}

/// `None` when it is not known, which has been reported. What `nat` does with the source is seen to
/// when the origins are known.
fn forwarding(written: &file::Pool, report: &mut Report<'_>) -> Option<Forwarding> {
    let path = &written.path;
    let numbers = Numbers {
        path,
        vni: &written.vni,
        key: &written.key,
        gre_checksum: &written.gre_checksum,
        port: &written.port,
        carries: &written.carries,
    };
    let name = match written.forwarding {
        Field::Absent => ForwardingName::Nat,
        Field::Wrong => return None,
        Field::Given(name) => name,
    };
    match name {
        ForwardingName::Nat => {
            if written.encapsulation.given().is_some() {
                report.error(
                    format!("{path}.encapsulation"),
                    "forwarding = \"nat\" has no `encapsulation`: the tunnel of the origin's vnet decides",
                    "remove it, or write forwarding = \"dsr\"",
                );
            } else {
                forbid_all(&numbers, "forwarding = \"nat\"", report);
            }
            Some(Forwarding::NatPreserve)
        }
        ForwardingName::Dsr => {
            if written.source.given().is_some() {
                report.error(
                    format!("{path}.source"),
                    "forwarding = \"dsr\" has no `source`: the packet of the client is not changed",
                    "remove it",
                );
            }
            let hint = "write `ipip`, `gre`, `fou`, `gue`, `vxlan`, `geneve` or `l2`";
            let encapsulation =
                written
                    .encapsulation
                    .required(path, "encapsulation", hint, report)?;
            Some(Forwarding::Dsr(match encapsulation {
                DsrName::Encapsulated(name) => dsr(*name, &numbers, report),
                DsrName::L2 => {
                    forbid_all(&numbers, "l2", report);
                    DsrEncapsulation::L2
                }
            }))
        }
    }
}

fn minimum_origins(
    written: &file::Pool,
    origins: &BTreeMap<String, Origin>,
    report: &mut Report<'_>,
) -> usize {
    let minimum = written.minimum_origins.or(1);
    let path = format!("{}.minimum_origins", written.path);
    let enabled = origins.values().filter(|origin| origin.enabled).count();
    if minimum == 0 {
        report.error(
            path,
            "0 would mean that a pool without a healthy origin can serve",
            "at least 1",
        );
    } else if minimum as usize > enabled
        && enabled > 0
        && !report.faulty(&format!("{}.origin", written.path))
    {
        report.error(
            path,
            format!("{minimum} healthy origins are asked for, but only {enabled} can be: the pool would never serve"),
            "lower it, or add or enable origins",
        );
    }
    minimum as usize
}

/// The port of a probe is the monitor's, else the origin's: one of them must be there.
fn check_probe_port(
    name: &str,
    monitor: &Monitor,
    origins: &BTreeMap<String, Origin>,
    path: &str,
    report: &mut Report<'_>,
) {
    match monitor.kind {
        MonitorKind::IcmpPing => return,
        MonitorKind::Tcp | MonitorKind::Http(_) => {}
    }
    if monitor.port != 0 || report.faulty(&format!("monitor[{name}]")) {
        return;
    }
    let without = origins
        .iter()
        .find(|(_, origin)| origin.enabled && origin.port == 0);
    if let Some((origin, _)) = without
        && !report.faulty(&format!("{path}.origin[{origin}].port"))
    {
        report.error(
            format!("{path}.monitor"),
            format!("monitor {name:?} does not know which port of origin {origin:?} to probe: neither has a `port`"),
            format!("write `port` in `monitor[{name}]`, or in the origin"),
        );
    }
}
