//! Kinds of addresses.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::report::Report;

/// Ranges that are not routed on the Internet, and so mean something only within a network.
const PRIVATE: [(&str, &str); 8] = [
    ("10.0.0.0/8", "RFC 1918"),
    ("172.16.0.0/12", "RFC 1918"),
    ("192.168.0.0/16", "RFC 1918"),
    ("100.64.0.0/10", "shared address space, RFC 6598"),
    ("169.254.0.0/16", "link-local, RFC 3927"),
    ("198.18.0.0/15", "benchmarking, RFC 2544"),
    ("fc00::/7", "unique local, RFC 4193"),
    ("fec0::/10", "site-local, RFC 3879"),
];

/// The private range that an address is in, with its source.
pub(super) fn private_range(address: IpAddr) -> Option<String> {
    PRIVATE
        .iter()
        .find(|(range, _)| {
            range
                .parse::<IpNet>()
                .is_ok_and(|range| range.contains(&address))
        })
        .map(|(range, source)| format!("{range}, {source}"))
}

/// Reports an address that no host can be reached at from another; returns whether it is usable.
pub(super) fn check_usable(address: IpAddr, path: &str, report: &mut Report<'_>) -> bool {
    let what = match address {
        _ if address.is_unspecified() => "the unspecified address",
        _ if address.is_loopback() => "a loopback address",
        _ if address.is_multicast() => "a multicast address",
        IpAddr::V4(v4) if v4.octets()[0] == 0 => "in 0.0.0.0/8, which is no destination",
        IpAddr::V4(v4) if v4.octets()[0] >= 240 => "in 240.0.0.0/4, which is reserved",
        IpAddr::V6(v6) if v6.is_unicast_link_local() => "a link-local address",
        IpAddr::V4(_) | IpAddr::V6(_) => return true,
    };
    report.error(
        path,
        format!("{address} is {what}"),
        "write the unicast address of one host",
    );
    false
}

/// `IPv4` or `IPv6`.
pub(super) fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// Whether both are IPv4, or both IPv6.
pub(super) fn alike(a: IpAddr, b: IpAddr) -> bool {
    a.is_ipv4() == b.is_ipv4()
}

/// Reports more than one address of an IP version.
pub(super) fn check_one_of_each(addresses: &[IpAddr], path: &str, report: &mut Report<'_>) {
    for (index, &address) in addresses.iter().enumerate() {
        let earlier = addresses
            .iter()
            .take(index)
            .find(|&&other| alike(other, address));
        if let Some(earlier) = earlier {
            report.error(
                format!("{path}[{index}]"),
                format!(
                    "{address} is a second {} address, beside {earlier}",
                    family(address)
                ),
                "at most one IPv4 and one IPv6 address",
            );
        }
    }
}
