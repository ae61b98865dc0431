//! The numbers that go with an encapsulation: VNI, key, port.

use crate::config::file::{EncapsulationName, Field, OrInherit};
use crate::config::model::{Carries, DsrEncapsulation, Keying, OuterHeader, TunnelKind};
use crate::config::report::Report;

/// The keys beside the encapsulation's name.
pub(super) struct Numbers<'f> {
    pub(super) path: &'f str,
    pub(super) vni: &'f Field<u32>,
    pub(super) key: &'f Field<u32>,
    pub(super) gre_checksum: &'f Field<bool>,
    pub(super) port: &'f Field<u16>,
    pub(super) carries: &'f Field<Carries>,
}

/// The encapsulation with its numbers, each there if and only if it has a meaning.
pub(super) fn tunnel_kind(
    name: EncapsulationName,
    numbers: &Numbers<'_>,
    report: &mut Report<'_>,
) -> TunnelKind {
    let (has_vni, has_key, has_port) = match name {
        EncapsulationName::Vxlan | EncapsulationName::Geneve => (true, false, true),
        EncapsulationName::Gre => (false, true, false),
        EncapsulationName::IpIp => (false, false, false),
        EncapsulationName::Fou | EncapsulationName::Gue => (false, false, true),
    };
    let path = numbers.path;
    let kind = name.as_str();
    forbid(
        !has_vni && numbers.vni.given().is_some(),
        path,
        "vni",
        kind,
        "`vxlan` and `geneve`",
        report,
    );
    forbid(
        !has_key && numbers.key.given().is_some(),
        path,
        "key",
        kind,
        "`gre`",
        report,
    );
    forbid(
        !has_key && numbers.gre_checksum.given().is_some(),
        path,
        "gre_checksum",
        kind,
        "`gre`",
        report,
    );
    forbid(
        !has_port && numbers.port.given().is_some(),
        path,
        "port",
        kind,
        "`vxlan`, `geneve`, `gue` and `fou`",
        report,
    );
    forbid(
        name != EncapsulationName::Geneve && numbers.carries.given().is_some(),
        path,
        "carries",
        kind,
        "`geneve`",
        report,
    );
    let vni = if has_vni {
        vni(numbers, kind, report)
    } else {
        0
    };
    if has_key && numbers.key.given() == Some(&0) {
        report.error(
            format!("{path}.key"),
            "0 stands for no key",
            "write another, or leave it out",
        );
    }
    if has_port && numbers.port.given() == Some(&0) {
        report.error(
            format!("{path}.port"),
            "0 is no UDP port",
            "from 1 to 65535, or leave it out for the default",
        );
    }
    let port = |default| numbers.port.or(default);
    match name {
        EncapsulationName::Vxlan => TunnelKind::Vxlan {
            vni,
            port: port(4789),
        },
        EncapsulationName::Geneve => TunnelKind::Geneve {
            vni,
            port: port(6081),
            carries: numbers.carries.or(Carries::Ethernet),
        },
        EncapsulationName::Gre => TunnelKind::Gre {
            key: numbers.key.given().copied(),
            checksum: numbers.gre_checksum.or(false),
        },
        EncapsulationName::IpIp => TunnelKind::IpIp,
        EncapsulationName::Fou => TunnelKind::Fou { port: port(6080) },
        EncapsulationName::Gue => TunnelKind::Gue { port: port(6080) },
    }
}

/// The keys of the outer header.
pub(super) struct Outer<'f> {
    pub(super) path: &'f str,
    pub(super) ttl: &'f Field<OrInherit>,
    pub(super) dscp: &'f Field<OrInherit>,
    pub(super) udp_checksum: &'f Field<bool>,
}

/// The outer header of an encapsulation; `over_udp` if that has a UDP header.
pub(super) fn outer_header(
    written: &Outer<'_>,
    kind: &str,
    over_udp: bool,
    report: &mut Report<'_>,
) -> OuterHeader {
    let path = written.path;
    let default = OuterHeader::default();
    let mut number = |key: &str, field: &Field<OrInherit>, from: u16, to: u8, default| match field {
        Field::Absent | Field::Wrong => default,
        Field::Given(OrInherit::Inherit) => None,
        Field::Given(OrInherit::Number(number)) => {
            let fits = u8::try_from(*number).ok().filter(|fits| *fits <= to);
            if fits.is_none() || *number < from {
                report.error(
                    format!("{path}.{key}"),
                    format!("{number} is out of range"),
                    format!("from {from} to {to}, or \"inherit\""),
                );
                return default;
            }
            fits
        }
    };
    let ttl = number("ttl", written.ttl, 1, u8::MAX, default.ttl);
    let dscp = number("dscp", written.dscp, 0, 63, default.dscp);
    forbid(
        !over_udp && written.udp_checksum.given().is_some(),
        path,
        "udp_checksum",
        kind,
        "`vxlan`, `geneve`, `gue` and `fou`",
        report,
    );
    OuterHeader {
        ttl,
        dscp,
        udp_checksum: over_udp && written.udp_checksum.or(default.udp_checksum),
    }
}

/// Reports those keys of the outer header that are there although there is none.
pub(super) fn forbid_outer(written: &Outer<'_>, kind: &str, report: &mut Report<'_>) {
    for (there, key) in [
        (written.ttl.given().is_some(), "ttl"),
        (written.dscp.given().is_some(), "dscp"),
        (written.udp_checksum.given().is_some(), "udp_checksum"),
    ] {
        forbid(there, written.path, key, kind, "encapsulations", report);
    }
}

/// [`tunnel_kind`] of direct server return.
pub(super) fn dsr(
    name: EncapsulationName,
    numbers: &Numbers<'_>,
    report: &mut Report<'_>,
) -> DsrEncapsulation {
    match tunnel_kind(name, numbers, report) {
        TunnelKind::Vxlan { vni, port } => DsrEncapsulation::Vxlan { vni, port },
        TunnelKind::Geneve { vni, port, carries } => {
            DsrEncapsulation::Geneve { vni, port, carries }
        }
        TunnelKind::Gre { key, checksum } => DsrEncapsulation::Gre { key, checksum },
        TunnelKind::IpIp => DsrEncapsulation::IpIp,
        TunnelKind::Fou { port } => DsrEncapsulation::Fou { port },
        TunnelKind::Gue { port } => DsrEncapsulation::Gue { port },
        TunnelKind::Wireguard | TunnelKind::Ipsec { .. } | TunnelKind::Device => {
            unreachable!("no encapsulation has this kind")
        }
    }
}

/// Reports those numbers that are there although the encapsulation has none.
pub(super) fn forbid_all(numbers: &Numbers<'_>, kind: &str, report: &mut Report<'_>) {
    let path = numbers.path;
    forbid(
        numbers.vni.given().is_some(),
        path,
        "vni",
        kind,
        "`vxlan` and `geneve`",
        report,
    );
    forbid(
        numbers.key.given().is_some(),
        path,
        "key",
        kind,
        "`gre`",
        report,
    );
    forbid(
        numbers.gre_checksum.given().is_some(),
        path,
        "gre_checksum",
        kind,
        "`gre`",
        report,
    );
    forbid(
        numbers.port.given().is_some(),
        path,
        "port",
        kind,
        "`vxlan`, `geneve`, `gue` and `fou`",
        report,
    );
    forbid(
        numbers.carries.given().is_some(),
        path,
        "carries",
        kind,
        "`geneve`",
        report,
    );
}

/// The UDP port that a kind receives at.
pub(super) const fn udp_port(kind: TunnelKind) -> Option<u16> {
    match kind {
        TunnelKind::Vxlan { port, .. }
        | TunnelKind::Geneve { port, .. }
        | TunnelKind::Fou { port }
        | TunnelKind::Gue { port } => Some(port),
        TunnelKind::Gre { .. }
        | TunnelKind::IpIp
        | TunnelKind::Wireguard
        | TunnelKind::Ipsec { .. }
        | TunnelKind::Device => None,
    }
}

/// Whether the kind carries Ethernet, so that the far end needs a MAC address.
pub(super) const fn carries_ethernet(kind: TunnelKind) -> bool {
    match kind {
        TunnelKind::Vxlan { .. } => true,
        TunnelKind::Geneve { carries, .. } => matches!(carries, Carries::Ethernet),
        // Of another's device it is not known.
        TunnelKind::Gre { .. }
        | TunnelKind::IpIp
        | TunnelKind::Fou { .. }
        | TunnelKind::Gue { .. }
        | TunnelKind::Wireguard
        | TunnelKind::Ipsec { .. }
        | TunnelKind::Device => false,
    }
}

/// Bytes that the kind adds to an IP packet: outer IP header, UDP (8), and the shim: VXLAN (8,
/// RFC 7348), GENEVE without options (8, RFC 8926), GUE (4), GRE (4, and 4
/// for each of key and checksum, RFC 2890); an inner Ethernet header is 14.
pub(super) const fn overhead(kind: TunnelKind, over_ipv4: bool) -> u16 {
    let outer = match kind {
        // Of the far end's address nothing may be known: as over IPv6, which is larger.
        TunnelKind::Wireguard => 40,
        TunnelKind::Device => 0,
        _ if over_ipv4 => 20,
        _ => 40,
    };
    outer
        + match kind {
            TunnelKind::Vxlan { .. }
            | TunnelKind::Geneve {
                carries: Carries::Ethernet,
                ..
            } => 8 + 8 + 14,
            TunnelKind::Geneve {
                carries: Carries::Ip,
                ..
            } => 8 + 8,
            TunnelKind::Gre { key, checksum } => 4 + 4 * (key.is_some() as u16 + checksum as u16),
            TunnelKind::IpIp | TunnelKind::Device => 0,
            // UDP, and type, receiver, counter and tag of a data message.
            TunnelKind::Wireguard => 8 + 16 + 16,
            TunnelKind::Fou { .. } => 8,
            TunnelKind::Gue { .. } => 8 + 4,
            // ESP (RFC 4303, RFC 4106): index, number and vector; length of padding, and protocol;
            // tag. No padding is needed at this length.
            TunnelKind::Ipsec {
                keying: Keying::Static,
                ..
            } => 4 + 4 + 8 + 2 + 16,
            // The cipher is not known here: room for any that is usual, and for UDP.
            TunnelKind::Ipsec {
                keying: Keying::Ike,
                ..
            } => 80,
        }
}

fn forbid(there: bool, path: &str, key: &str, kind: &str, of: &str, report: &mut Report<'_>) {
    if there {
        report.error(
            format!("{path}.{key}"),
            format!("{kind} has no `{key}`"),
            format!("remove it; it is a key of {of}"),
        );
    }
}

fn vni(numbers: &Numbers<'_>, kind: &str, report: &mut Report<'_>) -> u32 {
    let hint =
        format!("{kind} needs a network identifier, from 0 to 16777215, the same at both ends");
    let vni = numbers
        .vni
        .required(numbers.path, "vni", &hint, report)
        .copied()
        .unwrap_or(0);
    if vni >= 1 << 24 {
        report.error(
            format!("{}.vni", numbers.path),
            format!("{vni} has more than 24 bits"),
            hint,
        );
    }
    vni
}
