//! What is particular to each kind of tunnel device: `IFLA_INFO_KIND` and `IFLA_INFO_DATA`
//! (`linux/if_link.h`, `linux/if_tunnel.h`).

use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_route::IpProtocol;
use netlink_packet_route::link::{
    GreIOFlags, InfoData, InfoGeneve, InfoGre, InfoGre6, InfoIpTunnel, InfoKind, InfoVxlan,
    InfoXfrm, Ip6TunnelFlags, LinkInfo, TunnelEncapFlags, TunnelEncapType,
};
use rtnetlink::packet_core::DefaultNla;

use crate::config::model::{Carries, TunnelKind};
use crate::vnet::device::{Device, LinkKind};

/// `IFLA_GRE_FLAGS` (`linux/if_tunnel.h`).
const IFLA_GRE_FLAGS: u16 = 13;

/// Kind and parameters of a device.
pub(super) fn of(device: &Device) -> Vec<LinkInfo> {
    let mut info = vec![LinkInfo::Kind(info_kind(device.link_kind()))];
    info.extend(info_data(device).map(LinkInfo::Data));
    info
}

fn info_kind(kind: LinkKind) -> InfoKind {
    match kind {
        LinkKind::Vxlan => InfoKind::Vxlan,
        LinkKind::Geneve => InfoKind::Geneve,
        LinkKind::Gre => InfoKind::GreTun,
        LinkKind::Ip6Gre => InfoKind::GreTun6,
        LinkKind::IpIp => InfoKind::IpIp,
        LinkKind::Sit => InfoKind::SitTun,
        LinkKind::Ip6Tnl => InfoKind::Ip6Tnl,
        LinkKind::Wireguard => InfoKind::Wireguard,
        LinkKind::Xfrm => InfoKind::Xfrm,
        LinkKind::Foreign => InfoKind::Other(kind.name().to_owned()),
    }
}

fn info_data(device: &Device) -> Option<InfoData> {
    Some(match device.kind {
        TunnelKind::Vxlan { vni, port } => InfoData::Vxlan(vxlan(device, vni, port)),
        TunnelKind::Geneve { vni, port, carries } => {
            InfoData::Geneve(geneve(device, vni, port, carries))
        }
        TunnelKind::Gre { key, checksum } => gre(device, key, checksum),
        TunnelKind::IpIp => InfoData::IpTunnel(ip_tunnel(device)),
        TunnelKind::Fou { port } => over_udp(device, TunnelEncapType::Fou, port),
        TunnelKind::Gue { port } => over_udp(device, TunnelEncapType::Gue, port),
        // By no link in particular: the node's routes decide, as for any other tunnel.
        TunnelKind::Ipsec { if_id, .. } => InfoData::Xfrm(vec![InfoXfrm::IfId(if_id)]),
        // Nothing is set as it is made.
        TunnelKind::Wireguard | TunnelKind::Device => return None,
    })
}

fn vxlan(device: &Device, vni: u32, port: u16) -> Vec<InfoVxlan> {
    let mut attributes = vec![
        InfoVxlan::Id(vni),
        InfoVxlan::Port(port),
        InfoVxlan::Ttl(device.ttl),
        // There is one far end: nothing to learn, and nobody who could teach a wrong one.
        InfoVxlan::Learning(false),
    ];
    if device.tos != 0 {
        attributes.push(InfoVxlan::Tos(device.tos));
    }
    if device.udp_checksum {
        attributes.push(InfoVxlan::UDPCsum(true));
    }
    match device.remote {
        IpAddr::V4(remote) => attributes.push(InfoVxlan::Group(remote)),
        IpAddr::V6(remote) => attributes.extend([
            InfoVxlan::Group6(remote),
            // As the program sends: RFC 6935 allows tunnels a zero checksum over IPv6.
            InfoVxlan::UDPZeroCsumTX(!device.udp_checksum),
            InfoVxlan::UDPZeroCsumRX(true),
        ]),
    }
    attributes.push(match device.local {
        IpAddr::V4(local) => InfoVxlan::Local(local),
        IpAddr::V6(local) => InfoVxlan::Local6(local),
    });
    attributes
}

fn geneve(device: &Device, vni: u32, port: u16, carries: Carries) -> Vec<InfoGeneve> {
    let mut attributes = vec![
        InfoGeneve::Id(vni),
        InfoGeneve::Port(port),
        InfoGeneve::Ttl(device.ttl),
    ];
    if device.tos != 0 {
        attributes.push(InfoGeneve::Tos(device.tos));
    }
    match carries {
        Carries::Ethernet => {}
        Carries::Ip => attributes.push(InfoGeneve::InnerProtoInherit),
    }
    match device.remote {
        IpAddr::V4(remote) => attributes.push(InfoGeneve::Remote(remote)),
        IpAddr::V6(remote) => attributes.extend([
            InfoGeneve::Remote6(remote),
            InfoGeneve::UdpZeroCsum6Tx(!device.udp_checksum),
            InfoGeneve::UdpZeroCsum6Rx(true),
        ]),
    }
    attributes
}

fn gre(device: &Device, key: Option<u32>, checksum: bool) -> InfoData {
    let mut flags = GreIOFlags::empty();
    flags.set(GreIOFlags::Key, key.is_some());
    flags.set(GreIOFlags::Checksum, checksum);
    match (device.local, device.remote) {
        (IpAddr::V4(local), IpAddr::V4(remote)) => {
            let mut attributes = vec![
                InfoGre::Local(local),
                InfoGre::Remote(remote),
                InfoGre::Ttl(device.ttl),
                InfoGre::PathMTUDiscovery(true),
            ];
            if device.tos != 0 {
                attributes.push(InfoGre::Tos(device.tos));
            }
            if !flags.is_empty() {
                attributes.extend([InfoGre::IFlags(flags), InfoGre::OFlags(flags)]);
            }
            if let Some(key) = key {
                attributes.extend([InfoGre::IKey(key), InfoGre::OKey(key)]);
            }
            InfoData::GreTun(attributes)
        }
        (local, remote) => {
            let mut attributes = vec![
                InfoGre6::Local(mapped(local)),
                InfoGre6::Remote(mapped(remote)),
                InfoGre6::Ttl(device.ttl),
                InfoGre6::Other(DefaultNla::new(
                    IFLA_GRE_FLAGS,
                    Ip6TunnelFlags::IgnEncapLimit.bits().to_ne_bytes().to_vec(),
                )),
            ];
            if !flags.is_empty() {
                attributes.extend([InfoGre6::IFlags(flags), InfoGre6::OFlags(flags)]);
            }
            if let Some(key) = key {
                attributes.extend([InfoGre6::IKey(key), InfoGre6::OKey(key)]);
            }
            InfoData::GreTun6(attributes)
        }
    }
}

fn over_udp(device: &Device, encapsulation: TunnelEncapType, port: u16) -> InfoData {
    let mut attributes = ip_tunnel(device);
    attributes.extend([
        InfoIpTunnel::EncapType(encapsulation),
        InfoIpTunnel::EncapFlags(TunnelEncapFlags::empty()),
        // 0: made from the flow, so that the far end can spread.
        InfoIpTunnel::EncapSPort(0),
        InfoIpTunnel::EncapDPort(port),
    ]);
    InfoData::IpTunnel(attributes)
}

fn ip_tunnel(device: &Device) -> Vec<InfoIpTunnel> {
    let carried = match (device.families.v4, device.families.v6) {
        (true, false) => IpProtocol::Ipip,
        (false, true) => IpProtocol::Ipv6,
        // 0 is "any" to sit and ip6tnl.
        (true, true) | (false, false) => IpProtocol::Hopopts,
    };
    let mut attributes = vec![
        InfoIpTunnel::Local(device.local),
        InfoIpTunnel::Remote(device.remote),
        InfoIpTunnel::Ttl(device.ttl),
    ];
    // ip6tnl has a flow label and traffic class in its place.
    if device.tos != 0 && device.link_kind() != LinkKind::Ip6Tnl {
        attributes.push(InfoIpTunnel::Tos(device.tos));
    }
    match device.link_kind() {
        LinkKind::IpIp => attributes.extend([
            InfoIpTunnel::Protocol(IpProtocol::Ipip),
            InfoIpTunnel::PMtuDisc(true),
        ]),
        LinkKind::Sit => attributes.extend([
            InfoIpTunnel::Protocol(carried),
            InfoIpTunnel::PMtuDisc(true),
        ]),
        LinkKind::Ip6Tnl
        | LinkKind::Wireguard
        | LinkKind::Xfrm
        | LinkKind::Foreign
        | LinkKind::Vxlan
        | LinkKind::Geneve
        | LinkKind::Gre
        | LinkKind::Ip6Gre => {
            attributes.extend([
                InfoIpTunnel::Protocol(carried),
                // Without the destination option of RFC 2473, 4.1.1, as the program sends.
                InfoIpTunnel::Ipv6Flags(Ip6TunnelFlags::IgnEncapLimit),
            ]);
        }
    }
    attributes
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_core::Emitable;

    use super::*;
    use crate::config::model::Keying;
    use crate::vnet::device::tests::device;
    use crate::vnet::message::new_device;

    /// The attributes of `IFLA_INFO_DATA` in the message that creates a device, by number, after
    /// `IFLA_INFO_KIND` was seen to be `kind`.
    fn info(device: &Device, kind: &str) -> Vec<(u16, Vec<u8>)> {
        const IFLA_LINKINFO: u16 = 18;
        let message = new_device(device);
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        let header = 16;
        let info = attribute(&bytes[header..], IFLA_LINKINFO);
        let name = attribute(&info, 1);
        assert_eq!(name, [kind.as_bytes(), b"\0"].concat(), "IFLA_INFO_KIND");
        let mut data = attributes(&attribute(&info, 2));
        data.sort();
        data
    }

    fn attribute(bytes: &[u8], number: u16) -> Vec<u8> {
        let found = attributes(bytes).into_iter().find(|(is, _)| *is == number);
        found.unwrap_or_else(|| panic!("no attribute {number}")).1
    }

    fn attributes(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
        let mut found = Vec::new();
        while bytes.len() >= 4 {
            let length = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
            let number = u16::from_ne_bytes([bytes[2], bytes[3]]) & 0x3fff;
            found.push((number, bytes[4..length].to_vec()));
            bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
        }
        found
    }

    fn v6(text: &str) -> Vec<u8> {
        text.parse::<std::net::Ipv6Addr>()
            .unwrap()
            .octets()
            .to_vec()
    }

    const A: [u8; 4] = [192, 0, 2, 1];
    const B: [u8; 4] = [192, 0, 2, 2];

    #[test]
    fn vxlan_over_ipv4() {
        let kind = TunnelKind::Vxlan {
            vni: 100,
            port: 4789,
        };
        let device = device(kind, "192.0.2.1", "192.0.2.2", &["10.0.0.1/30"]);
        assert_eq!(
            info(&device, "vxlan"),
            [
                (1, 100_u32.to_ne_bytes().to_vec()),   // IFLA_VXLAN_ID
                (2, B.to_vec()),                       // IFLA_VXLAN_GROUP
                (4, A.to_vec()),                       // IFLA_VXLAN_LOCAL
                (5, vec![64]),                         // IFLA_VXLAN_TTL
                (7, vec![0]),                          // IFLA_VXLAN_LEARNING
                (15, 4789_u16.to_be_bytes().to_vec()), // IFLA_VXLAN_PORT
            ]
        );
    }

    #[test]
    fn vxlan_over_ipv6_has_zero_checksums() {
        let kind = TunnelKind::Vxlan {
            vni: 100,
            port: 4789,
        };
        let device = device(kind, "2001:db8::1", "2001:db8::2", &["10.0.0.1/30"]);
        let data = info(&device, "vxlan");
        assert!(data.contains(&(16, v6("2001:db8::2")))); // IFLA_VXLAN_GROUP6
        assert!(data.contains(&(17, v6("2001:db8::1")))); // IFLA_VXLAN_LOCAL6
        assert!(data.contains(&(19, vec![1]))); // IFLA_VXLAN_UDP_ZERO_CSUM6_TX
        assert!(data.contains(&(20, vec![1]))); // IFLA_VXLAN_UDP_ZERO_CSUM6_RX
    }

    #[test]
    fn geneve_over_ipv4() {
        let kind = TunnelKind::Geneve {
            vni: 88,
            port: 6081,
            carries: Carries::Ethernet,
        };
        let device = device(kind, "192.0.2.1", "192.0.2.2", &["10.0.0.1/30"]);
        assert_eq!(
            info(&device, "geneve"),
            [
                (1, 88_u32.to_ne_bytes().to_vec()),   // IFLA_GENEVE_ID
                (2, B.to_vec()),                      // IFLA_GENEVE_REMOTE
                (3, vec![64]),                        // IFLA_GENEVE_TTL
                (5, 6081_u16.to_be_bytes().to_vec()), // IFLA_GENEVE_PORT
            ]
        );
    }

    #[test]
    fn geneve_that_carries_ip() {
        let kind = TunnelKind::Geneve {
            vni: 88,
            port: 6081,
            carries: Carries::Ip,
        };
        let device = device(kind, "192.0.2.1", "192.0.2.2", &["10.0.0.1/30"]);
        // IFLA_GENEVE_INNER_PROTO_INHERIT
        assert!(info(&device, "geneve").contains(&(14, vec![])));
    }

    #[test]
    fn gre_with_key() {
        let kind = TunnelKind::Gre {
            key: Some(5),
            checksum: false,
        };
        let device = device(kind, "192.0.2.1", "192.0.2.2", &["10.0.0.1/30"]);
        assert_eq!(
            info(&device, "gre"),
            [
                (2, vec![0x20, 0]),                // IFLA_GRE_IFLAGS: GRE_KEY
                (3, vec![0x20, 0]),                // IFLA_GRE_OFLAGS
                (4, 5_u32.to_be_bytes().to_vec()), // IFLA_GRE_IKEY
                (5, 5_u32.to_be_bytes().to_vec()), // IFLA_GRE_OKEY
                (6, A.to_vec()),                   // IFLA_GRE_LOCAL
                (7, B.to_vec()),                   // IFLA_GRE_REMOTE
                (8, vec![64]),                     // IFLA_GRE_TTL
                (10, vec![1]),                     // IFLA_GRE_PMTUDISC
            ]
        );
    }

    #[test]
    fn gre_with_checksum() {
        let kind = TunnelKind::Gre {
            key: None,
            checksum: true,
        };
        let device = device(kind, "192.0.2.1", "192.0.2.2", &["10.0.0.1/30"]);
        let flags: Vec<_> = (info(&device, "gre").into_iter())
            .filter(|(number, _)| (2..=5).contains(number))
            .collect();
        // IFLA_GRE_IFLAGS and IFLA_GRE_OFLAGS: GRE_CSUM, and no keys.
        assert_eq!(flags, [(2, vec![0x80, 0]), (3, vec![0x80, 0])]);
    }

    #[test]
    fn gre_over_ipv6_without_encapsulation_limit() {
        let kind = TunnelKind::Gre {
            key: None,
            checksum: false,
        };
        let device = device(kind, "2001:db8::1", "2001:db8::2", &["10.0.0.1/30"]);
        assert_eq!(
            info(&device, "ip6gre"),
            [
                (6, v6("2001:db8::1")),
                (7, v6("2001:db8::2")),
                (8, vec![64]),
                (13, 1_u32.to_ne_bytes().to_vec()), // IFLA_GRE_FLAGS: IP6_TNL_F_IGN_ENCAP_LIMIT
            ]
        );
    }

    #[test]
    fn xfrm_has_its_number_and_no_link_below() {
        let kind = TunnelKind::Ipsec {
            if_id: 42,
            keying: Keying::Ike,
        };
        let device = device(kind, "192.0.2.1", "192.0.2.2", &["10.0.0.1/30"]);
        // IFLA_XFRM_IF_ID
        assert_eq!(info(&device, "xfrm"), [(2, 42_u32.to_ne_bytes().to_vec())]);
    }

    #[test]
    fn ip_in_ip_by_what_is_carried() {
        let carried = |inner: &[&str], kind| {
            let device = device(TunnelKind::IpIp, "192.0.2.1", "192.0.2.2", inner);
            info(&device, kind)
        };
        let with = |protocol| {
            vec![
                (2, A.to_vec()),     // IFLA_IPTUN_LOCAL
                (3, B.to_vec()),     // IFLA_IPTUN_REMOTE
                (4, vec![64]),       // IFLA_IPTUN_TTL
                (9, vec![protocol]), // IFLA_IPTUN_PROTO
                (10, vec![1]),       // IFLA_IPTUN_PMTUDISC
            ]
        };
        assert_eq!(carried(&["10.0.0.1/30"], "ipip"), with(4));
        assert_eq!(carried(&["fd00::1/64"], "sit"), with(41));
        assert_eq!(carried(&["10.0.0.1/30", "fd00::1/64"], "sit"), with(0));
    }

    #[test]
    fn ip_in_ipv6() {
        let device = device(
            TunnelKind::IpIp,
            "2001:db8::1",
            "2001:db8::2",
            &["fd00::1/64"],
        );
        assert_eq!(
            info(&device, "ip6tnl"),
            [
                (2, v6("2001:db8::1")),
                (3, v6("2001:db8::2")),
                (4, vec![64]),
                (8, 1_u32.to_ne_bytes().to_vec()), // IFLA_IPTUN_FLAGS: IP6_TNL_F_IGN_ENCAP_LIMIT
                (9, vec![41]),
            ]
        );
    }

    #[test]
    fn gue_is_ip_in_ip_with_an_encapsulation() {
        let kind = TunnelKind::Gue { port: 6080 };
        let device = device(kind, "192.0.2.1", "192.0.2.2", &["10.0.0.1/30"]);
        let data = info(&device, "ipip");
        assert!(data.contains(&(15, 2_u16.to_ne_bytes().to_vec()))); // TUNNEL_ENCAP_GUE
        assert!(data.contains(&(16, vec![0, 0]))); // IFLA_IPTUN_ENCAP_FLAGS
        assert!(data.contains(&(17, vec![0, 0]))); // IFLA_IPTUN_ENCAP_SPORT
        assert!(data.contains(&(18, 6080_u16.to_be_bytes().to_vec()))); // IFLA_IPTUN_ENCAP_DPORT
    }
}
