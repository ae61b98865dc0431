//! What a packet is made of, by a dissector that is not ours.
#![forbid(unsafe_code)]

use std::fmt::Write as _;

use etherparse::{
    EtherType, IpNumber, LinkSlice, NetSlice, SlicedPacket, TransportSlice, err::packet::SliceError,
};
use lbxdp_ebpf::abi::Encapsulation;

use crate::cli::map::entry;

/// The headers of a frame, outermost first, a line each.
///
/// `tunnel` says what UDP carries: a port alone does not.
pub(super) fn dissect(frame: &[u8], tunnel: Option<Encapsulation>) -> Vec<String> {
    let mut layers = Vec::new();
    ethernet(frame, tunnel, &mut layers);
    layers
}

/// The headers of a packet that comes in by a device which may have no Ethernet headers; as
/// [`dissect`].
pub(super) fn from_device(packet: &[u8], device: &str) -> Vec<String> {
    let mut layers = vec![format!("device    {device}")];
    match packet.first().map(|first| first >> 4) {
        Some(4 | 6) => ip(packet, None, &mut layers),
        _ => ethernet(packet, None, &mut layers),
    }
    layers
}

fn ethernet(frame: &[u8], tunnel: Option<Encapsulation>, layers: &mut Vec<String>) {
    packet(SlicedPacket::from_ethernet(frame), tunnel, layers);
}

fn ip(bytes: &[u8], tunnel: Option<Encapsulation>, layers: &mut Vec<String>) {
    packet(SlicedPacket::from_ip(bytes), tunnel, layers);
}

fn packet(
    sliced: Result<SlicedPacket<'_>, SliceError>,
    tunnel: Option<Encapsulation>,
    layers: &mut Vec<String>,
) {
    let sliced = match sliced {
        Ok(sliced) => sliced,
        Err(error) => {
            layers.push(format!("(cannot be dissected: {error})"));
            return;
        }
    };
    if let Some(LinkSlice::Ethernet2(ethernet)) = &sliced.link {
        layers.push(format!(
            "Ethernet  {} > {}, {}",
            entry::mac(ethernet.source()),
            entry::mac(ethernet.destination()),
            ethertype(ethernet.ether_type())
        ));
    }
    for vlan in sliced.vlan_ids() {
        layers.push(format!("802.1Q    VLAN {}", vlan.value()));
    }
    match &sliced.net {
        Some(NetSlice::Ipv4(slice)) => {
            let header = slice.header();
            let sum = if header.to_header().calc_header_checksum() == header.header_checksum() {
                "ok"
            } else {
                "WRONG"
            };
            layers.push(format!(
                "IPv4      {} > {}, TTL {}, {} bytes, protocol {}, checksum {sum}",
                header.source_addr(),
                header.destination_addr(),
                header.ttl(),
                header.total_len(),
                protocol(header.protocol()),
            ));
        }
        Some(NetSlice::Ipv6(slice)) => {
            let header = slice.header();
            layers.push(format!(
                "IPv6      {} > {}, hop limit {}, {} bytes of payload, next header {}",
                header.source_addr(),
                header.destination_addr(),
                header.hop_limit(),
                header.payload_length(),
                protocol(header.next_header()),
            ));
        }
        Some(NetSlice::Arp(_)) => layers.push("ARP".to_owned()),
        None => {}
    }
    match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            let flags = [
                (tcp.syn(), "SYN"),
                (tcp.ack(), "ACK"),
                (tcp.fin(), "FIN"),
                (tcp.rst(), "RST"),
                (tcp.psh(), "PSH"),
                (tcp.urg(), "URG"),
            ];
            let flags: Vec<&str> = flags
                .iter()
                .filter(|(set, _)| *set)
                .map(|(_, name)| *name)
                .collect();
            layers.push(format!(
                "TCP       {} > {}, {}, {} bytes of payload, checksum {}",
                tcp.source_port(),
                tcp.destination_port(),
                if flags.is_empty() {
                    "no flags".to_owned()
                } else {
                    flags.join(",")
                },
                tcp.payload().len(),
                checksum(&sliced, tcp.checksum()),
            ));
        }
        Some(TransportSlice::Udp(udp)) => {
            layers.push(format!(
                "UDP       {} > {}, {} bytes, checksum {}",
                udp.source_port(),
                udp.destination_port(),
                udp.length(),
                if udp.checksum() == 0 {
                    "none".to_owned()
                } else {
                    checksum(&sliced, udp.checksum()).to_owned()
                },
            ));
            match tunnel {
                Some(
                    kind @ (Encapsulation::Fou
                    | Encapsulation::Gue
                    | Encapsulation::Vxlan
                    | Encapsulation::Geneve),
                ) => {
                    shim(udp.payload(), kind, layers);
                }
                Some(
                    Encapsulation::None
                    | Encapsulation::Device
                    | Encapsulation::IpIp
                    | Encapsulation::Gre,
                )
                | None => {}
            }
        }
        Some(TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_) | TransportSlice::Igmp(_)) => {
            layers.push("ICMP or IGMP".to_owned())
        }
        None => {
            let Some(payload) = sliced.ip_payload() else {
                return;
            };
            match payload.ip_number {
                IpNumber::IPV4 | IpNumber::IPV6 => ip(payload.payload, None, layers),
                IpNumber::GRE => shim(payload.payload, Encapsulation::Gre, layers),
                _ => {}
            }
        }
    }
}

/// The header between the outer and the inner packet, and the inner packet.
fn shim(bytes: &[u8], kind: Encapsulation, layers: &mut Vec<String>) {
    if read_shim(bytes, kind, layers).is_none() {
        layers.push("(the tunnel's header is cut short)".to_owned());
    }
}

fn read_shim(bytes: &[u8], kind: Encapsulation, layers: &mut Vec<String>) -> Option<()> {
    let number = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    match kind {
        Encapsulation::Vxlan => {
            layers.push(format!("VXLAN     VNI {}", number(4)? >> 8));
            ethernet(bytes.get(8..)?, None, layers);
        }
        Encapsulation::Geneve => {
            let (first, vni) = (number(0)?, number(4)? >> 8);
            let inner = 8 + 4 * (first >> 24 & 0x3f) as usize;
            layers.push(format!("GENEVE    VNI {vni}"));
            if first & 0xffff == 0x6558 {
                ethernet(bytes.get(inner..)?, None, layers);
            } else {
                ip(bytes.get(inner..)?, None, layers);
            }
        }
        Encapsulation::Fou => ip(bytes, None, layers),
        Encapsulation::Gue => {
            let first = number(0)?;
            layers.push(format!(
                "GUE       protocol {}",
                protocol(IpNumber((first >> 16) as u8))
            ));
            ip(
                bytes.get(4 + 4 * (first >> 24 & 0x1f) as usize..)?,
                None,
                layers,
            );
        }
        Encapsulation::Gre => {
            let first = number(0)?;
            // RFC 2784 and RFC 2890: checksum, key, sequence number, in this order.
            let mut text = format!(
                "GRE       {}",
                ethertype(EtherType((first & 0xffff) as u16))
            );
            let mut at = 4;
            if first >> 31 & 1 == 1 {
                text.push_str(", with checksum");
                at += 4;
            }
            if first >> 29 & 1 == 1 {
                let _ = write!(text, ", key {}", number(at)?);
                at += 4;
            }
            if first >> 28 & 1 == 1 {
                at += 4;
            }
            layers.push(text);
            if first & 0xffff == 0x6558 {
                ethernet(bytes.get(at..)?, None, layers);
            } else {
                ip(bytes.get(at..)?, None, layers);
            }
        }
        Encapsulation::None | Encapsulation::Device | Encapsulation::IpIp => {
            ip(bytes, None, layers)
        }
    }
    Some(())
}

/// Whether a transport checksum is right.
fn checksum(sliced: &SlicedPacket<'_>, stated: u16) -> &'static str {
    let computed = match (&sliced.net, &sliced.transport) {
        (Some(NetSlice::Ipv4(net)), Some(TransportSlice::Tcp(tcp))) => {
            let (source, destination) = (net.header().source(), net.header().destination());
            tcp.to_header()
                .calc_checksum_ipv4_raw(source, destination, tcp.payload())
                .ok()
        }
        (Some(NetSlice::Ipv6(net)), Some(TransportSlice::Tcp(tcp))) => {
            let (source, destination) = (net.header().source(), net.header().destination());
            tcp.to_header()
                .calc_checksum_ipv6_raw(source, destination, tcp.payload())
                .ok()
        }
        (Some(NetSlice::Ipv4(net)), Some(TransportSlice::Udp(udp))) => {
            let (source, destination) = (net.header().source(), net.header().destination());
            udp.to_header()
                .calc_checksum_ipv4_raw(source, destination, udp.payload())
                .ok()
        }
        (Some(NetSlice::Ipv6(net)), Some(TransportSlice::Udp(udp))) => {
            let (source, destination) = (net.header().source(), net.header().destination());
            udp.to_header()
                .calc_checksum_ipv6_raw(source, destination, udp.payload())
                .ok()
        }
        _ => None,
    };
    if computed == Some(stated) {
        "ok"
    } else {
        "WRONG"
    }
}

fn ethertype(number: EtherType) -> String {
    match number {
        EtherType::IPV4 => "IPv4".to_owned(),
        EtherType::IPV6 => "IPv6".to_owned(),
        EtherType::VLAN_TAGGED_FRAME => "802.1Q".to_owned(),
        EtherType::PROVIDER_BRIDGING => "802.1ad".to_owned(),
        EtherType(0x6558) => "Ethernet".to_owned(),
        EtherType(other) => format!("EtherType {other:#06x}"),
    }
}

fn protocol(number: IpNumber) -> String {
    match number {
        IpNumber::TCP => "TCP".to_owned(),
        IpNumber::UDP => "UDP".to_owned(),
        IpNumber::IPV4 => "IPv4".to_owned(),
        IpNumber::IPV6 => "IPv6".to_owned(),
        IpNumber::GRE => "GRE".to_owned(),
        IpNumber(other) => other.to_string(),
    }
}
