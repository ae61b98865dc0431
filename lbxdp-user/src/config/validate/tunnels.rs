//! What tunnels may not have in common.

use ipnet::IpNet;

use super::encapsulation::udp_port;
use crate::config::model::{Config, Tunnel, TunnelKind};
use crate::config::report::Report;

pub(super) fn check(config: &Config, report: &mut Report<'_>) {
    let all: Vec<Named<'_>> = config
        .vnets
        .iter()
        .flat_map(|(vnet, v)| {
            v.tunnels
                .iter()
                .map(move |(name, tunnel)| Named { vnet, name, tunnel })
        })
        .collect();
    for (index, one) in all.iter().enumerate() {
        for other in all.iter().take(index) {
            check_pair(other, one, report);
        }
    }
}

struct Named<'c> {
    vnet: &'c str,
    name: &'c str,
    tunnel: &'c Tunnel,
}

impl Named<'_> {
    fn path(&self, key: &str) -> String {
        format!("vnet[{}].tunnel[{}].{key}", self.vnet, self.name)
    }

    fn title(&self) -> String {
        format!("{}/{}", self.vnet, self.name)
    }
}

fn check_pair(a: &Named<'_>, b: &Named<'_>, report: &mut Report<'_>) {
    let (first, second) = (a.tunnel, b.tunnel);
    let titles = format!("tunnels {:?} and {:?}", a.title(), b.title());
    if first.device == second.device {
        report.error(
            b.path("device"),
            format!("{titles} have the same device {:?}", first.device),
            "give one of them another `device`",
        );
    }
    if a.vnet == b.vnet {
        let same: Vec<&IpNet> = second
            .routes
            .iter()
            .filter(|route| first.routes.contains(route))
            .collect();
        for route in same {
            report.error(
                b.path("routes"),
                format!("{titles} both lead to {route}"),
                "write a prefix in one of them only; of two prefixes the longer wins",
            );
        }
    }
    check_associations(a, b, &titles, report);
    check_wire(a, b, &titles, report);
}

/// An interface has a number of its own, and an address each index once.
fn check_associations(a: &Named<'_>, b: &Named<'_>, titles: &str, report: &mut Report<'_>) {
    let (first, second) = (a.tunnel, b.tunnel);
    let (TunnelKind::Ipsec { if_id, .. }, TunnelKind::Ipsec { if_id: other, .. }) =
        (first.kind, second.kind)
    else {
        return;
    };
    if if_id == other {
        report.error(
            b.path("ipsec.if_id"),
            format!("{titles} have the same `if_id` {if_id}"),
            "give one of them another",
        );
    }
    let (Some(ours), Some(others)) = (&first.associations, &second.associations) else {
        return;
    };
    for (same, key, spi) in [
        (
            first.local == second.local && ours.inbound.spi == others.inbound.spi,
            "spi_in",
            ours.inbound.spi,
        ),
        (
            first.remote == second.remote && ours.outbound.spi == others.outbound.spi,
            "spi_out",
            ours.outbound.spi,
        ),
    ] {
        if same {
            report.error(
                b.path(&format!("ipsec.{key}")),
                format!("{titles} have the same `{key}` {spi:#x} at the same address"),
                "give one of them another",
            );
        }
    }
}

/// What a packet shows on arrival must tell which tunnel it came through.
fn check_wire(a: &Named<'_>, b: &Named<'_>, titles: &str, report: &mut Report<'_>) {
    let (first, second) = (a.tunnel, b.tunnel);
    // A device tells by itself.
    if first.kind.is_device() || second.kind.is_device() {
        return;
    }
    let kind = first.kind.name();
    let ends = first.local == second.local && first.remote == second.remote;
    if ends && first.kind.as_seen() == second.kind.as_seen() {
        report.error(
            b.path("remote"),
            format!("{titles} cannot be told apart: same kind, ends and numbers"),
            match first.kind {
                TunnelKind::Vxlan { .. } | TunnelKind::Geneve { .. } => "give each its own `vni`",
                TunnelKind::Gre { .. } => "give each its own `key`",
                TunnelKind::Fou { .. } | TunnelKind::Gue { .. } => "give each its own `port`",
                TunnelKind::IpIp | TunnelKind::Wireguard | TunnelKind::Ipsec { .. } | TunnelKind::Device => "use a kind with numbers (gre with `key`, vxlan, geneve), or another `local` or `remote`",
            },
        );
        return;
    }
    if let (Some(port), true) = (
        udp_port(first.kind),
        udp_port(first.kind) == udp_port(second.kind),
    ) && kind != second.kind.name()
    {
        report.error(
            b.path("port"),
            format!("{titles} are of kinds {kind} and {}, but have the same UDP port {port}: it must tell the kind", second.kind.name()),
            "give one of them another `port`",
        );
    }
    // `vxlan_config_validate` of drivers/net/vxlan/vxlan_core.c compares these, and no remote.
    if matches!(first.kind, TunnelKind::Vxlan { .. })
        && first.kind == second.kind
        && first.local.is_ipv4() == second.local.is_ipv4()
    {
        report.error(
            b.path("vni"),
            format!("{titles} have the same VNI and port, and the kernel makes one VXLAN device of these"),
            "give one of them another `vni` or `port`",
        );
    }
}
