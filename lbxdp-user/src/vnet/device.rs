#![forbid(unsafe_code)]
//! A tunnel's kernel device: what it is made of, and what says that it is ours.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::net::IpAddr;

use ipnet::IpNet;
use lbxdp_ebpf::abi::VnetId;

use crate::config::model::{Associations, Carries, Tunnel, TunnelKind, Wireguard};
use crate::fnv;

/// Device group of every device that the agent made. The kernel sets it as it creates the
/// device, so there is no moment in which one of ours looks like somebody else's.
pub const DEVICE_GROUP: u32 = u32::from_be_bytes(*b"lxdp");

/// Longest alias that the kernel keeps, in bytes (`IFALIASZ` less the terminator).
const ALIAS_LIMIT: usize = 255;

/// A tunnel's kernel device, as it is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// The VNet and the tunnel that it serves, as `vnet/tunnel`.
    pub owner: String,
    /// The VNet; also the number of its routing table.
    pub vnet: VnetId,
    /// Encapsulation.
    pub kind: TunnelKind,
    /// Outer address of this node.
    pub local: IpAddr,
    /// Outer address of the far end.
    pub remote: IpAddr,
    /// TTL or hop limit of the outer header. What the device sends is the node's own, of 64 hops, so
    /// that to inherit them is to have 64.
    pub ttl: u8,
    /// Type of service of the outer header; 1 inherits that of the inner packet.
    pub tos: u8,
    /// Whether the outer UDP checksum is computed.
    pub udp_checksum: bool,
    /// MTU in bytes.
    pub mtu: u16,
    /// The IP versions that it carries.
    pub families: Families,
    /// The node's own addresses on it.
    pub addresses: BTreeSet<IpNet>,
    /// Keys and peer, of WireGuard.
    pub wireguard: Option<Wireguard>,
    /// Security associations, of IPsec with static keys.
    pub associations: Option<Associations>,
    /// What the peer may send and is sent, of WireGuard.
    pub allowed: BTreeSet<IpNet>,
}

/// IP versions carried.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Families {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

/// A kind of link, as the kernel names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkKind {
    /// VXLAN.
    Vxlan,
    /// GENEVE.
    Geneve,
    /// GRE over IPv4.
    Gre,
    /// GRE over IPv6.
    Ip6Gre,
    /// IPv4 in IPv4.
    IpIp,
    /// IPv6, and IPv4 as well if asked, in IPv4.
    Sit,
    /// IPv4 and IPv6 in IPv6.
    Ip6Tnl,
    /// WireGuard.
    Wireguard,
    /// The interface of IPsec.
    Xfrm,
    /// Whatever somebody else has made.
    Foreign,
}

impl Device {
    /// The device of a tunnel.
    #[must_use]
    pub fn of(vnet_name: &str, vnet: VnetId, tunnel_name: &str, tunnel: &Tunnel) -> Self {
        let addresses: BTreeSet<IpNet> = tunnel.addresses.iter().copied().collect();
        let mut families = Families::default();
        let inner = (addresses.iter().map(IpNet::addr))
            .chain(tunnel.peers.iter().copied())
            .chain(tunnel.routes.iter().map(IpNet::addr));
        for address in inner {
            match address {
                IpAddr::V4(_) => families.v4 = true,
                IpAddr::V6(_) => families.v6 = true,
            }
        }
        Self {
            name: tunnel.device.clone(),
            owner: format!("{vnet_name}/{tunnel_name}"),
            vnet,
            kind: tunnel.kind,
            local: tunnel.local,
            remote: tunnel.remote,
            ttl: tunnel.outer.ttl.unwrap_or(64),
            tos: match tunnel.kind {
                // It is the security association that says.
                TunnelKind::Ipsec { .. } => 0,
                TunnelKind::Vxlan { .. }
                | TunnelKind::Geneve { .. }
                | TunnelKind::Gre { .. }
                | TunnelKind::IpIp
                | TunnelKind::Fou { .. }
                | TunnelKind::Gue { .. }
                | TunnelKind::Wireguard
                | TunnelKind::Device => tunnel.outer.dscp.map_or(1, |dscp| dscp << 2),
            },
            udp_checksum: tunnel.outer.udp_checksum,
            mtu: tunnel.mtu,
            families,
            addresses,
            wireguard: tunnel.wireguard.clone(),
            associations: tunnel.associations.clone(),
            allowed: (tunnel.routes.iter().map(IpNet::trunc))
                .chain(tunnel.peers.iter().copied().map(IpNet::from))
                .collect(),
        }
    }

    /// The kernel's kind of link for this encapsulation.
    ///
    /// IP in IPv4 is `ipip` when only IPv4 is carried; otherwise `sit`, whose mode `any` carries
    /// both versions on one device.
    #[must_use]
    pub fn link_kind(&self) -> LinkKind {
        match (self.kind, self.remote) {
            (TunnelKind::Vxlan { .. }, _) => LinkKind::Vxlan,
            (TunnelKind::Geneve { .. }, _) => LinkKind::Geneve,
            (TunnelKind::Gre { .. }, IpAddr::V4(_)) => LinkKind::Gre,
            (TunnelKind::Gre { .. }, IpAddr::V6(_)) => LinkKind::Ip6Gre,
            (TunnelKind::IpIp | TunnelKind::Fou { .. } | TunnelKind::Gue { .. }, IpAddr::V4(_)) => {
                if self.families.v6 {
                    LinkKind::Sit
                } else {
                    LinkKind::IpIp
                }
            }
            (TunnelKind::IpIp | TunnelKind::Fou { .. } | TunnelKind::Gue { .. }, IpAddr::V6(_)) => {
                LinkKind::Ip6Tnl
            }
            (TunnelKind::Wireguard, _) => LinkKind::Wireguard,
            (TunnelKind::Ipsec { .. }, _) => LinkKind::Xfrm,
            (TunnelKind::Device, _) => LinkKind::Foreign,
        }
    }

    /// Whether somebody else has made the device: it is used as it is, and never changed.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.link_kind() == LinkKind::Foreign
    }

    /// Whether the device has Ethernet headers, so that its peer has a MAC address.
    #[must_use]
    pub fn is_ethernet(&self) -> bool {
        match self.kind {
            TunnelKind::Vxlan { .. } => true,
            TunnelKind::Geneve { carries, .. } => carries == Carries::Ethernet,
            TunnelKind::Gre { .. }
            | TunnelKind::IpIp
            | TunnelKind::Fou { .. }
            | TunnelKind::Gue { .. }
            | TunnelKind::Wireguard
            | TunnelKind::Ipsec { .. }
            | TunnelKind::Device => false,
        }
    }

    /// Whether what is behind the far end is routed by way of its address. Of another's device it is
    /// not known whether that is needed; it does no harm where it is not.
    #[must_use]
    pub fn has_gateway(&self) -> bool {
        self.is_ethernet() || self.is_foreign()
    }

    /// Its MAC address: locally administered, the same after every restart, and another one on
    /// every node (the outer address takes part), since nodes may share a VNI.
    #[must_use]
    pub fn mac(&self) -> Option<[u8; 6]> {
        if !self.is_ethernet() {
            return None;
        }
        let [_, _, _, a, b, c, d, e] =
            fnv::digest_64(format!("{}@{}", self.owner, self.local).bytes()).to_be_bytes();
        Some([0x02, a, b, c, d, e])
    }

    /// The port at which the kernel receives GUE, or its variant 1, for this device.
    #[must_use]
    pub fn gue_port(&self) -> Option<GuePort> {
        match self.kind {
            TunnelKind::Fou { port } | TunnelKind::Gue { port } => Some(GuePort {
                local: self.local,
                port,
            }),
            TunnelKind::Vxlan { .. }
            | TunnelKind::Geneve { .. }
            | TunnelKind::Gre { .. }
            | TunnelKind::IpIp
            | TunnelKind::Wireguard
            | TunnelKind::Ipsec { .. }
            | TunnelKind::Device => None,
        }
    }

    /// All that cannot be changed in place, in words: the device's alias. A device whose alias
    /// differs is replaced.
    #[must_use]
    pub fn alias(&self) -> String {
        let mut text = format!("lbxdp:{} table {}", self.owner, self.vnet);
        let written = match self.kind {
            TunnelKind::Vxlan { vni, port } => write!(text, " vxlan vni {vni} port {port}"),
            TunnelKind::Geneve { vni, port, carries } => {
                let carries = match carries {
                    Carries::Ethernet => "",
                    Carries::Ip => " ip",
                };
                write!(text, " geneve{carries} vni {vni} port {port}")
            }
            TunnelKind::Gre { key, checksum } => {
                let checksum = if checksum { " csum" } else { "" };
                match key {
                    Some(key) => write!(text, " gre key {key}{checksum}"),
                    None => write!(text, " gre{checksum}"),
                }
            }
            TunnelKind::IpIp => write!(text, " {}", self.link_kind()),
            TunnelKind::Fou { port } => write!(text, " {} fou port {port}", self.link_kind()),
            TunnelKind::Gue { port } => write!(text, " {} gue port {port}", self.link_kind()),
            TunnelKind::Wireguard | TunnelKind::Device => write!(text, " {}", self.link_kind()),
            TunnelKind::Ipsec { if_id, .. } => write!(text, " xfrm if_id {if_id}"),
        };
        written.expect("a String takes all that is written");
        // A peer that roams is followed: where it is found at first is set once.
        if let Some(endpoint) = self.wireguard.as_ref().and_then(|keys| keys.endpoint) {
            write!(text, " endpoint {endpoint}").expect("a String takes all that is written");
        }
        let Families { v4, v6 } = self.families;
        write!(
            text,
            " local {} remote {} ttl {}{}{}{}{}",
            self.local,
            self.remote,
            self.ttl,
            match self.tos {
                0 => String::new(),
                1 => " tos inherit".to_owned(),
                tos => format!(" tos {tos}"),
            },
            if self.udp_checksum { " csum" } else { "" },
            if v4 { " v4" } else { "" },
            if v6 { " v6" } else { "" },
        )
        .expect("a String takes all that is written");
        if text.len() <= ALIAS_LIMIT {
            return text;
        }
        let digest = fnv::digest_64(text.bytes());
        let end = (0..=ALIAS_LIMIT - 18)
            .rev()
            .find(|&end| text.is_char_boundary(end))
            .expect("0 is a boundary");
        text.truncate(end);
        format!("{text} #{digest:016x}")
    }
}

impl LinkKind {
    /// The kernel's name of it (`IFLA_INFO_KIND`).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::Gre => "gre",
            Self::Ip6Gre => "ip6gre",
            Self::IpIp => "ipip",
            Self::Sit => "sit",
            Self::Ip6Tnl => "ip6tnl",
            Self::Wireguard => "wireguard",
            Self::Xfrm => "xfrm",
            Self::Foreign => "device",
        }
    }

    /// The kernel module and the build option that offer it.
    #[must_use]
    pub const fn module(self) -> (&'static str, &'static str) {
        match self {
            Self::Vxlan => ("vxlan", "CONFIG_VXLAN"),
            Self::Geneve => ("geneve", "CONFIG_GENEVE"),
            Self::Gre => ("ip_gre", "CONFIG_NET_IPGRE"),
            Self::Ip6Gre => ("ip6_gre", "CONFIG_IPV6_GRE"),
            Self::IpIp => ("ipip", "CONFIG_NET_IPIP"),
            Self::Sit => ("sit", "CONFIG_IPV6_SIT"),
            Self::Ip6Tnl => ("ip6_tunnel", "CONFIG_IPV6_TUNNEL"),
            Self::Wireguard => ("wireguard", "CONFIG_WIREGUARD"),
            Self::Xfrm => ("xfrm_interface", "CONFIG_XFRM_INTERFACE"),
            // Never made.
            Self::Foreign => ("", ""),
        }
    }
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A UDP port at which the kernel takes off GUE headers, or nothing but UDP's where IP follows. It is
/// bound to the node's outer address, so that it takes nothing from anybody else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct GuePort {
    /// The address that it is bound to.
    pub local: IpAddr,
    /// The port.
    pub port: u16,
}

impl GuePort {
    /// Reads the port back from the alias of a device that the agent made.
    #[must_use]
    pub fn from_alias(alias: &str) -> Option<Self> {
        let after = |word: &str| {
            let mut words = alias.split(' ').skip_while(|&seen| seen != word).skip(1);
            words.next()
        };
        if after("gue").or_else(|| after("fou"))? != "port" {
            return None;
        }
        Some(Self {
            local: after("local")?.parse().ok()?,
            port: after("port")?.parse().ok()?,
        })
    }
}

impl fmt::Display for GuePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} port {}", self.local, self.port)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A device of the given kind between two outer addresses, with inner addresses.
    pub(in crate::vnet) fn device(
        kind: TunnelKind,
        local: &str,
        remote: &str,
        inner: &[&str],
    ) -> Device {
        let inner: BTreeSet<IpNet> = inner.iter().map(|net| net.parse().unwrap()).collect();
        Device {
            name: "lbx-blue".to_owned(),
            owner: "blue/blue-1".to_owned(),
            vnet: VnetId(7),
            kind,
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            ttl: 64,
            tos: 0,
            udp_checksum: false,
            mtu: 1400,
            families: Families {
                v4: inner.iter().any(|net| net.addr().is_ipv4()),
                v6: inner.iter().any(|net| net.addr().is_ipv6()),
            },
            addresses: inner,
            wireguard: None,
            associations: None,
            allowed: BTreeSet::new(),
        }
    }

    #[test]
    fn ip_in_ip_takes_the_link_that_carries_its_families() {
        let kind =
            |local, remote, inner| device(TunnelKind::IpIp, local, remote, inner).link_kind();
        assert_eq!(
            kind("192.0.2.1", "192.0.2.2", &["10.0.0.1/30"]),
            LinkKind::IpIp
        );
        assert_eq!(
            kind("192.0.2.1", "192.0.2.2", &["fd00::1/64"]),
            LinkKind::Sit
        );
        assert_eq!(
            kind("192.0.2.1", "192.0.2.2", &["10.0.0.1/30", "fd00::1/64"]),
            LinkKind::Sit
        );
        assert_eq!(
            kind("fd00::1", "fd00::2", &["10.0.0.1/30"]),
            LinkKind::Ip6Tnl
        );
    }

    #[test]
    fn mac_is_local_unicast_and_differs_by_tunnel_and_node() {
        let kind = TunnelKind::Vxlan { vni: 1, port: 4789 };
        let one = device(kind, "192.0.2.1", "192.0.2.9", &[]);
        let mut other_tunnel = one.clone();
        other_tunnel.owner = "green/blue-1".to_owned();
        let mut other_node = one.clone();
        other_node.local = "192.0.2.2".parse().unwrap();
        let mac = one.mac().unwrap();
        assert_eq!(mac[0] & 0b11, 0b10);
        assert_ne!(one.mac(), other_tunnel.mac());
        assert_ne!(one.mac(), other_node.mac());
        assert_eq!(one.mac(), one.clone().mac());
    }

    #[test]
    fn alias_names_the_owner_and_gives_back_the_gue_port() {
        let gue = device(
            TunnelKind::Gue { port: 6080 },
            "192.0.2.1",
            "192.0.2.2",
            &["10.0.0.1/30"],
        );
        assert_eq!(
            gue.alias(),
            "lbxdp:blue/blue-1 table 7 ipip gue port 6080 local 192.0.2.1 remote 192.0.2.2 ttl 64 v4"
        );
        assert_eq!(GuePort::from_alias(&gue.alias()), gue.gue_port());
        let vxlan = device(
            TunnelKind::Vxlan { vni: 5, port: 4789 },
            "192.0.2.1",
            "192.0.2.2",
            &[],
        );
        assert_eq!(GuePort::from_alias(&vxlan.alias()), None);
    }

    #[test]
    fn an_overlong_alias_is_cut_but_still_tells_devices_apart() {
        let kind = TunnelKind::Vxlan { vni: 1, port: 4789 };
        let mut one = device(kind, "192.0.2.1", "192.0.2.9", &[]);
        one.owner = "ü".repeat(200);
        let mut other = one.clone();
        other.ttl = 1;
        assert!(one.alias().len() <= ALIAS_LIMIT);
        assert_ne!(one.alias(), other.alias());
    }
}
