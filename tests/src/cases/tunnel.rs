//! Tunnels of cases: what the agent would write of them, and how their packets look.

use lbxdp_ebpf::abi::{
    Encapsulation, HEADER_SPACE, PATH_GRE_CHECKSUM, PATH_GRE_KEY, PATH_INNER_ETHERNET,
    PATH_RESOLVED, PATH_SOURCE_ENTROPY, PATH_UDP_CHECKSUM, Path, Peer, PeerKey, Port, TunnelIndex,
    VnetId,
};

use super::world::{ETH0, HOP_MAC, NODE_MAC, NODE4, NODE6, address};
use crate::packet::{Packet, number};

/// Every encapsulation.
pub const KINDS: [Encapsulation; 6] = [
    Encapsulation::IpIp,
    Encapsulation::Gre,
    Encapsulation::Fou,
    Encapsulation::Gue,
    Encapsulation::Vxlan,
    Encapsulation::Geneve,
];

/// MAC address of the node inside tunnels that carry Ethernet.
pub const INNER_NODE_MAC: [u8; 6] = [2, 0, 0, 0, 3, 1];
/// MAC address of the far end inside tunnels that carry Ethernet.
pub const INNER_FAR_MAC: [u8; 6] = [2, 0, 0, 0, 3, 2];
/// The node's own address inside a tunnel.
pub const INNER_NODE4: &str = "10.255.0.1";
/// The node's own address inside a tunnel.
pub const INNER_NODE6: &str = "fd00:255::1";

/// A tunnel between the node and a far end.
#[derive(Clone, Debug)]
pub struct Tunnel {
    /// Its slot.
    pub index: TunnelIndex,
    /// Its kind.
    pub kind: Encapsulation,
    /// The node's outer address.
    pub local: &'static str,
    /// The far end's outer address.
    pub remote: &'static str,
    /// VNI, or GRE key with [`PATH_GRE_KEY`].
    pub vni: u32,
    /// UDP port, where the kind has one.
    pub udp_port: u16,
    /// Bits `PATH_…`.
    pub flags: u8,
    /// Largest inner packet.
    pub mtu: u16,
}

impl Tunnel {
    /// A tunnel over IPv4.
    #[must_use]
    pub fn over_v4(kind: Encapsulation) -> Self {
        Self::between(kind, NODE4, "203.0.113.2")
    }

    /// A tunnel over IPv6.
    #[must_use]
    pub fn over_v6(kind: Encapsulation) -> Self {
        Self::between(kind, NODE6, "2001:db8:113::2")
    }

    /// A tunnel between two addresses: slot 3, VNI 100.
    #[must_use]
    pub fn between(kind: Encapsulation, local: &'static str, remote: &'static str) -> Self {
        let has_vni = matches!(kind, Encapsulation::Vxlan | Encapsulation::Geneve);
        Self {
            index: 3,
            kind,
            local,
            remote,
            vni: if has_vni { 100 } else { 0 },
            udp_port: match kind {
                Encapsulation::None
                | Encapsulation::Device
                | Encapsulation::IpIp
                | Encapsulation::Gre => 0,
                Encapsulation::Fou | Encapsulation::Gue => number::PORT_GUE,
                Encapsulation::Vxlan => number::PORT_VXLAN,
                Encapsulation::Geneve => number::PORT_GENEVE,
            },
            flags: PATH_RESOLVED,
            mtu: 1400,
        }
    }

    /// Both outer families, for a kind.
    #[must_use]
    pub fn both(kind: Encapsulation) -> [Self; 2] {
        [Self::over_v4(kind), Self::over_v6(kind)]
    }

    /// Adds flags.
    #[must_use]
    pub fn with(mut self, flags: u8) -> Self {
        self.flags |= flags;
        self
    }

    /// Sets the VNI or key.
    #[must_use]
    pub fn vni(mut self, vni: u32) -> Self {
        self.vni = vni;
        self
    }

    /// Sets the UDP port.
    #[must_use]
    pub fn at_port(mut self, port: u16) -> Self {
        self.udp_port = port;
        self
    }

    /// Sets the slot.
    #[must_use]
    pub fn slot(mut self, index: TunnelIndex) -> Self {
        self.index = index;
        self
    }

    /// Whether the outer header is IPv6.
    #[must_use]
    pub fn is_over_v6(&self) -> bool {
        self.local.contains(':')
    }

    /// The kind and the outer family, for sentences.
    #[must_use]
    pub fn name(&self) -> String {
        let version = if self.is_over_v6() { 6 } else { 4 };
        format!("{:?} over IPv{version}", self.kind)
    }

    /// The UDP port, where the kind has one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        (self.udp_port != 0).then_some(self.udp_port)
    }

    /// The packet with a header of this tunnel before its IP header, from the node to the far end.
    #[must_use]
    pub fn wrap(&self, frame: Packet, inner: &Packet) -> Packet {
        let mut packet = frame.ip(self.local, self.remote);
        if self.has(PATH_SOURCE_ENTROPY) {
            packet = packet.entropy_source();
        }
        let packet = match self.port() {
            Some(port) => packet.entropy_udp(port),
            None => packet,
        };
        self.shim(packet, inner, INNER_NODE_MAC, INNER_FAR_MAC)
    }

    /// The same from the far end to the node, as another implementation would send it.
    #[must_use]
    pub fn arrive(&self, frame: Packet, inner: &Packet) -> Packet {
        self.arrive_from(frame, self.remote, self.local, inner)
    }

    /// The same with other outer addresses.
    #[must_use]
    pub fn arrive_from(&self, frame: Packet, from: &str, to: &str, inner: &Packet) -> Packet {
        let packet = frame.ip(from, to).ttl(61);
        let packet = match self.port() {
            Some(port) => packet.udp(51_234, port),
            None => packet,
        };
        self.shim(packet, inner, INNER_FAR_MAC, INNER_NODE_MAC)
    }

    fn shim(&self, packet: Packet, inner: &Packet, from: [u8; 6], to: [u8; 6]) -> Packet {
        let packet = match self.port() {
            Some(_) if !self.has(PATH_UDP_CHECKSUM) => packet.no_checksum(),
            Some(_) | None => packet,
        };
        match self.kind {
            Encapsulation::None | Encapsulation::Device => panic!("a tunnel has an encapsulation"),
            Encapsulation::IpIp | Encapsulation::Fou => packet.ip_of(inner),
            Encapsulation::Gre => {
                let mut packet = packet.gre();
                if self.has(PATH_GRE_KEY) {
                    packet = packet.key(self.vni);
                }
                if self.has(PATH_GRE_CHECKSUM) {
                    packet = packet.gre_checksum();
                }
                packet.ip_of(inner)
            }
            Encapsulation::Gue => packet.gue().ip_of(inner),
            Encapsulation::Vxlan => packet.vxlan(self.vni).inner_eth(from, to).ip_of(inner),
            Encapsulation::Geneve if self.has(PATH_INNER_ETHERNET) => {
                packet.geneve(self.vni).inner_eth(from, to).ip_of(inner)
            }
            Encapsulation::Geneve => packet.geneve(self.vni).ip_of(inner),
        }
    }

    /// The path that the agent would prepare.
    ///
    /// # Panics
    /// If the headers do not fit.
    #[must_use]
    pub fn path(&self) -> Path {
        let header = self.prepared();
        let mut space = [0; HEADER_SPACE];
        space[..header.len()].copy_from_slice(&header);
        Path {
            encapsulation: self.kind as u8,
            outer: if self.is_over_v6() { 6 } else { 4 },
            header_len: header.len() as u8,
            flags: self.flags,
            mtu: self.mtu,
            tunnel: self.index,
            ifindex: ETH0,
            vlan: [0; 2],
            inner_vlan: [0; 2],
            header_sum: if self.is_over_v6() {
                0
            } else {
                sum(&header[..20])
            },
            destination_mac: HOP_MAC,
            source_mac: NODE_MAC,
            header: space,
        }
    }

    /// The key by which its packets are known.
    #[must_use]
    pub fn peer_key(&self) -> PeerKey {
        PeerKey {
            remote: address(self.remote),
            local: address(self.local),
            vni: self.vni,
            port: Port::new(self.udp_port),
            encapsulation: self.kind as u8,
            reserved: 0,
        }
    }

    /// What its packets belong to.
    #[must_use]
    pub fn peer(&self, vnet: VnetId) -> Peer {
        Peer {
            vnet,
            tunnel: self.index,
            reserved: [0; 2],
            inner_v4: address(INNER_NODE4),
            inner_v6: address(INNER_NODE6),
        }
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Outer headers with everything that varies zero.
    fn prepared(&self) -> Vec<u8> {
        let protocol = match self.kind {
            Encapsulation::None | Encapsulation::Device | Encapsulation::IpIp => number::IPV4,
            Encapsulation::Gre => number::GRE,
            Encapsulation::Fou
            | Encapsulation::Gue
            | Encapsulation::Vxlan
            | Encapsulation::Geneve => number::UDP,
        };
        let mut header = Vec::new();
        let [local, remote] = [address(self.local), address(self.remote)];
        let fixed = if self.has(PATH_SOURCE_ENTROPY) { 2 } else { 0 };
        if self.is_over_v6() {
            header.extend([0x60, 0, 0, 0, 0, 0, protocol, 64]);
            header.extend(&local.octets()[..16 - fixed]);
            header.extend(&[0; 2][..fixed]);
            header.extend(remote.octets());
        } else {
            header.extend([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
            header.extend(&local.v4_octets()[..4 - fixed]);
            header.extend(&[0; 2][..fixed]);
            header.extend(remote.v4_octets());
        }
        if let Some(port) = self.port() {
            header.extend([0, 0]);
            header.extend(port.to_be_bytes());
            header.extend([0; 4]);
        }
        let vni = (self.vni << 8).to_be_bytes();
        let ethernet = [INNER_FAR_MAC.as_slice(), &INNER_NODE_MAC, &[0, 0]].concat();
        match self.kind {
            Encapsulation::None
            | Encapsulation::Device
            | Encapsulation::IpIp
            | Encapsulation::Fou => {}
            Encapsulation::Gre => {
                let checksum = if self.has(PATH_GRE_CHECKSUM) { 0x80 } else { 0 };
                let key = if self.has(PATH_GRE_KEY) { 0x20 } else { 0 };
                header.extend([checksum | key, 0, 0, 0]);
                if self.has(PATH_GRE_CHECKSUM) {
                    header.extend([0; 4]);
                }
                if self.has(PATH_GRE_KEY) {
                    header.extend(self.vni.to_be_bytes());
                }
            }
            Encapsulation::Gue => header.extend([0; 4]),
            Encapsulation::Vxlan => {
                header.extend([0x08, 0, 0, 0]);
                header.extend(vni);
                header.extend(ethernet);
            }
            Encapsulation::Geneve => {
                let ethernet_inside = self.has(PATH_INNER_ETHERNET);
                header.extend([0, 0]);
                header.extend(if ethernet_inside {
                    [0x65, 0x58]
                } else {
                    [0; 2]
                });
                header.extend(vni);
                if ethernet_inside {
                    header.extend(ethernet);
                }
            }
        }
        header
    }
}

/// The one's complement sum, folded, over native words.
fn sum(header: &[u8]) -> u16 {
    let words = header
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_ne_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}
