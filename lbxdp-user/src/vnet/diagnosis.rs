#![forbid(unsafe_code)]
//! What an error of the kernel means for somebody who has to do something about it.

use super::device::Device;
use super::network::Refusal;
use super::plan::Command;
use crate::config::model::TunnelKind;

/// The kernel's refusal of a command, and what to do.
pub(super) fn diagnose(command: &Command, refusal: &Refusal) -> String {
    let advice = match refusal.errno {
        libc::EPERM | libc::EACCES => Some("lbxdp needs CAP_NET_ADMIN for this".to_owned()),
        _ => match command {
            Command::CreateDevice(device) => creation(device, refusal.errno),
            Command::OpenGuePort(port, _) => match refusal.errno {
                libc::ENOENT => Some(
                    "the kernel offers no GUE: load module fou (and fou6 over IPv6) or enable \
                     CONFIG_NET_FOU and CONFIG_NET_FOU_IP_TUNNELS; XDP still carries traffic, but \
                     probes cannot take the tunnel"
                        .to_owned(),
                ),
                libc::EADDRINUSE => Some(format!(
                    "another program, or a FOU port that lbxdp did not open, has UDP port {} \
                     (`ss -ulpn`, `ip fou show`): free it, or give the tunnel another `port`",
                    port.port
                )),
                libc::EADDRNOTAVAIL => Some(not_ours(&port.local.to_string())),
                _ => None,
            },
            Command::SetWireguard(device) => match refusal.errno {
                libc::EADDRINUSE => Some(
                    "another program, or another WireGuard device, has this `listen_port` (`ss \
                     -ulpn`, `wg show`): free it, or choose another"
                        .to_owned(),
                ),
                libc::ENOENT => Some(format!(
                    "the kernel does not speak WireGuard's netlink: is module wireguard loaded, and \
                     {} a device of it?",
                    device.name
                )),
                _ => None,
            },
            Command::AddState(state, _) => match refusal.errno {
                libc::EEXIST => Some(format!(
                    "somebody else's association has this SPI (`ip xfrm state get dst {} proto esp \
                     spi {:#x}`): choose another, at both ends",
                    state.id.destination, state.id.spi
                )),
                libc::EPROTONOSUPPORT => Some(
                    "the kernel has no ESP: load modules esp4 (esp6 over IPv6) and xfrm_user, or \
                     enable CONFIG_INET_ESP (CONFIG_INET6_ESP) and CONFIG_XFRM_USER"
                        .to_owned(),
                ),
                libc::ENOSYS | libc::ENOENT => Some(
                    "the kernel has no AES-GCM for ESP: load modules gcm and seqiv, or enable \
                     CONFIG_CRYPTO_GCM and CONFIG_CRYPTO_SEQIV"
                        .to_owned(),
                ),
                _ => None,
            },
            Command::AddPolicy(policy, _) => match refusal.errno {
                libc::EEXIST => Some(format!(
                    "somebody else's policy has this `if_id` (`ip xfrm policy`): give the tunnel \
                     another than {}",
                    policy.if_id
                )),
                libc::EPROTONOSUPPORT => Some(
                    "the kernel has no IPsec policies: load module xfrm_user, or enable \
                     CONFIG_XFRM_USER"
                        .to_owned(),
                ),
                _ => None,
            },
            Command::SetMtu(..) if refusal.errno == libc::EINVAL => {
                Some("the device does not take this MTU".to_owned())
            }
            Command::SetSysctl { path, .. } => match refusal.errno {
                libc::ENOENT => Some(if path.starts_with("net/ipv6/") {
                    "the kernel has no IPv6 on this device (its MTU may be below 1280)".to_owned()
                } else {
                    "there is no such interface".to_owned()
                }),
                libc::EROFS => Some(
                    "/proc/sys is read-only here (a container?): set it from outside".to_owned(),
                ),
                _ => None,
            },
            Command::AddAddress(..) if refusal.errno == libc::EEXIST => Some(
                "the address is there already, but was not added by lbxdp: remove it".to_owned(),
            ),
            Command::AddRoute(route) => match refusal.errno {
                libc::EEXIST => Some(format!(
                    "another route to this prefix is in the way: `ip route show table {}`",
                    route.table
                )),
                libc::ENETUNREACH | libc::EHOSTUNREACH => Some(
                    "the gateway is not on the tunnel's own prefix: compare `addresses` and \
                     `peers`"
                        .to_owned(),
                ),
                libc::ENETDOWN => Some("the device is down".to_owned()),
                _ => None,
            },
            Command::AddRule(_) if refusal.errno == libc::EEXIST => {
                Some("the same rule exists and was not made by lbxdp: `ip rule`".to_owned())
            }
            Command::DeleteRule(_)
            | Command::DeleteRoute(_)
            | Command::DeleteDevice { .. }
            | Command::CloseGuePort(_)
            | Command::DeleteState(_)
            | Command::DeletePolicy(_)
            | Command::SetMtu(..)
            | Command::SetMac(..)
            | Command::SetUp(_)
            | Command::AddAddress(..)
            | Command::DeleteAddress(..)
            | Command::AddRule(_) => None,
        },
    };
    match advice {
        Some(advice) => format!("{advice} [{refusal}]"),
        None => refusal.to_string(),
    }
}

fn creation(device: &Device, errno: i32) -> Option<String> {
    let kind = device.link_kind();
    let (module, option) = kind.module();
    match errno {
        libc::EOPNOTSUPP | libc::EAFNOSUPPORT if device.kind.is_device() => Some(format!(
            "the kernel offers no `{kind}` devices: load module {module} or enable {option}; tunnel \
             {} carries nothing until then",
            device.owner
        )),
        libc::EOPNOTSUPP | libc::EAFNOSUPPORT => Some(format!(
            "the kernel offers no `{kind}` devices: load module {module} or enable {option}; XDP \
             still carries traffic, but probes cannot take the tunnel"
        )),
        libc::EEXIST => Some(match device.kind {
            TunnelKind::Vxlan { vni, port } | TunnelKind::Geneve { vni, port, .. } => format!(
                "another `{kind}` device has VNI {vni} and UDP port {port}, or the name {}: remove \
                 it (`ip -d link show type {kind}`), or give the tunnel another `vni` or `port`",
                device.name
            ),
            TunnelKind::Ipsec { if_id, .. } => format!(
                "another `xfrm` device has `if_id` {if_id}, or the name {}: remove it (`ip -d link \
                 show type xfrm`), or give the tunnel another",
                device.name
            ),
            TunnelKind::Gre { .. }
            | TunnelKind::IpIp
            | TunnelKind::Fou { .. }
            | TunnelKind::Gue { .. }
            | TunnelKind::Wireguard
            | TunnelKind::Device => format!(
                "another `{kind}` device joins {} to {}, or has the name {}: remove it (`ip -d \
                 link show type {kind}`)",
                device.local, device.remote, device.name
            ),
        }),
        libc::EADDRINUSE => match device.kind {
            TunnelKind::Vxlan { port, .. }
            | TunnelKind::Geneve { port, .. }
            | TunnelKind::Fou { port }
            | TunnelKind::Gue { port } => Some(format!(
                "another program, or a device with other settings, has UDP port {port} (`ss \
                 -ulpn`): free it, or give the tunnel another `port`"
            )),
            TunnelKind::Gre { .. }
            | TunnelKind::IpIp
            | TunnelKind::Wireguard
            | TunnelKind::Ipsec { .. }
            | TunnelKind::Device => None,
        },
        libc::EINVAL => match device.kind {
            TunnelKind::Fou { .. } | TunnelKind::Gue { .. } => Some(format!(
                "the kernel does not take this `{kind}` device with GUE or FOU: load module fou \
                 (over IPv6, fou6) or enable CONFIG_NET_FOU_IP_TUNNELS (CONFIG_IPV6_FOU_TUNNEL)"
            )),
            TunnelKind::Vxlan { .. }
            | TunnelKind::Geneve { .. }
            | TunnelKind::Gre { .. }
            | TunnelKind::IpIp
            | TunnelKind::Wireguard
            | TunnelKind::Ipsec { .. }
            | TunnelKind::Device => Some(format!(
                "the kernel does not take a `{kind}` device with these settings"
            )),
        },
        libc::EADDRNOTAVAIL => Some(not_ours(&device.local.to_string())),
        _ => None,
    }
}

fn not_ours(local: &str) -> String {
    format!("{local} is no address of this node: correct `local`, or `addresses` under [node]")
}
