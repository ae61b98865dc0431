//! Tunnels of virtual networks.

use super::family::{Family, Samples, Source};
use super::origins::round_trip;
use super::{HEALTH, unix_time};
use crate::api;

pub(super) const FAMILIES: &[Family] = &[
    Family::gauge(
        "tunnel_info",
        &[
            "virtual_network",
            "tunnel",
            "kind",
            "device",
            "local",
            "remote",
        ],
        "What the tunnel is and where it leads; always 1.",
        Source::Status(|status, out| {
            each(status, out, |[network, name], tunnel, out| {
                let text = |address: Option<std::net::IpAddr>| {
                    address.map_or_else(String::new, |address| address.to_string())
                };
                let (local, remote) = (text(tunnel.local), text(tunnel.remote));
                out.add(
                    &[network, name, &tunnel.kind, &tunnel.device, &local, &remote],
                    true,
                )
            })
        }),
    ),
    Family::gauge(
        "tunnel_mtu",
        &["virtual_network", "tunnel"],
        "Largest IP packet that may enter.",
        Source::Status(|status, out| {
            each(status, out, |labels, tunnel, out| {
                out.add(&labels, tunnel.mtu)
            })
        }),
    )
    .bytes(),
    Family::gauge(
        "tunnel_health",
        &["virtual_network", "tunnel", "health"],
        "1 for the health of the tunnel: `healthy`, `unhealthy`, `unknown`, or `unmonitored` when it \
         is not probed.",
        Source::Status(|status, out| {
            each(status, out, |labels, tunnel, out| {
                out.add_states(&labels, HEALTH, &tunnel.health.health)
            })
        }),
    ),
    Family::gauge(
        "tunnel_health_since_timestamp",
        &["virtual_network", "tunnel"],
        "Since when the health of a probed tunnel is what it is.",
        Source::Status(|status, out| {
            each(status, out, |labels, tunnel, out| {
                let since = tunnel.health.since.as_deref();
                out.add_some(&labels, since.and_then(unix_time))
            })
        }),
    )
    .seconds(),
    Family::gauge(
        "tunnel_next_hop_resolved",
        &["virtual_network", "tunnel"],
        "Whether packets can be sent into the tunnel: 0 while its next hop is not resolved.",
        Source::Status(|status, out| {
            each(status, out, |labels, tunnel, out| {
                out.add(&labels, tunnel.next_hop_problem.is_none())
            })
        }),
    ),
    Family::gauge(
        "tunnel_probe_rtt",
        &["virtual_network", "tunnel"],
        "Round-trip time of the last probe that passed.",
        Source::Status(|status, out| {
            each(status, out, |labels, tunnel, out| {
                out.add_some(&labels, round_trip(&tunnel.health))
            })
        }),
    )
    .seconds(),
    Family::gauge(
        "tunnel_last_handshake_timestamp",
        &["virtual_network", "tunnel"],
        "When the peer of a WireGuard tunnel last agreed on keys with this node, if it has.",
        Source::Status(|status, out| {
            each(status, out, |labels, tunnel, out| {
                let last = tunnel.last_handshake.as_deref();
                out.add_some(&labels, last.and_then(unix_time))
            })
        }),
    )
    .seconds(),
    Family::counter(
        "tunnel_packets",
        &["virtual_network", "tunnel", "direction"],
        "Packets into the tunnel (`forward`) and out of it to clients (`reply`).",
        Source::Status(|status, out| {
            each(status, out, |labels, tunnel, out| {
                out.add_packets(&labels, &tunnel.traffic)
            })
        }),
    ),
    Family::counter(
        "tunnel",
        &["virtual_network", "tunnel", "direction"],
        "Bytes of these packets.",
        Source::Status(|status, out| {
            each(status, out, |labels, tunnel, out| {
                out.add_bytes(&labels, &tunnel.traffic)
            })
        }),
    )
    .bytes(),
];

fn each(
    status: &api::Status,
    out: &mut Samples<'_>,
    write: impl Fn([&str; 2], &api::Tunnel, &mut Samples<'_>) -> std::fmt::Result,
) -> std::fmt::Result {
    for network in &status.virtual_networks {
        for tunnel in &network.tunnels {
            write([&network.name, &tunnel.name], tunnel, out)?;
        }
    }
    Ok(())
}
