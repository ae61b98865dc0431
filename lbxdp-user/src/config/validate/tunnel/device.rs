//! Tunnels that are a device of somebody else's.

use std::net::{IpAddr, Ipv4Addr};

use crate::config::file;
use crate::config::model::TunnelKind;
use crate::config::report::Report;
use crate::config::validate::encapsulation::{Numbers, forbid_all};

/// The outer addresses of a tunnel that has none, or whose device alone knows them.
pub(super) const NO_ENDS: (IpAddr, IpAddr) = (
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
);

/// Reports keys that are the business of whoever has made the device.
pub(super) fn check(
    written: &file::Tunnel,
    numbers: &Numbers<'_>,
    report: &mut Report<'_>,
) -> TunnelKind {
    let kind = TunnelKind::Device.name();
    let path = &written.path;
    written.device.required(
        path,
        "device",
        "write the name of a device that somebody else has made",
        report,
    );
    forbid_all(numbers, kind, report);
    for (there, key) in [
        (written.remote.given().is_some(), "remote"),
        (written.local.given().is_some(), "local"),
        (written.ttl.given().is_some(), "ttl"),
    ] {
        if there {
            report.error(
                format!("{path}.{key}"),
                format!("{kind} has no `{key}`"),
                "remove it: the outer headers are the business of whoever has made the device",
            );
        }
    }
    TunnelKind::Device
}
