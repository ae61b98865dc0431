//! The layers of a packet, and what may be wrong with each.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::number;

#[derive(Clone, Debug)]
pub(super) enum Layer {
    Eth(Eth),
    Vlan(Vlan),
    Ipv4(Ipv4),
    Ipv6(Ipv6),
    Tcp(Tcp),
    Udp(Udp),
    Icmp(Icmp),
    Gre(Gre),
    Gue(Gue),
    Vxlan(Vxlan),
    Geneve(Geneve),
    Payload(Vec<u8>),
}

#[derive(Clone, Debug)]
pub(super) struct Eth {
    pub(super) source: [u8; 6],
    pub(super) destination: [u8; 6],
    pub(super) ethertype: Option<u16>,
}

#[derive(Clone, Debug)]
pub(super) struct Vlan {
    pub(super) tpid: u16,
    pub(super) tci: u16,
    pub(super) ethertype: Option<u16>,
}

#[derive(Clone, Debug)]
pub(super) struct Ipv4 {
    pub(super) version: u8,
    pub(super) ihl: Option<u8>,
    pub(super) tos: u8,
    pub(super) total_length: Option<u16>,
    pub(super) id: u16,
    pub(super) fragment: u16,
    pub(super) ttl: u8,
    pub(super) protocol: Option<u8>,
    pub(super) source: Ipv4Addr,
    pub(super) destination: Ipv4Addr,
    pub(super) options: Vec<u8>,
    pub(super) entropy: bool,
}

impl Ipv4 {
    /// "Don't fragment", as the flags-and-offset field has it.
    pub(super) const DONT_FRAGMENT: u16 = 0x4000;

    pub(super) fn new(source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        Self {
            version: 4,
            ihl: None,
            tos: 0,
            total_length: None,
            id: 0,
            fragment: Self::DONT_FRAGMENT,
            ttl: 64,
            protocol: None,
            source,
            destination,
            options: Vec::new(),
            entropy: false,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Ipv6 {
    pub(super) version: u8,
    pub(super) traffic_class: u8,
    pub(super) flow_label: u32,
    pub(super) payload_length: Option<u16>,
    pub(super) next: Option<u8>,
    pub(super) hop_limit: u8,
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    pub(super) extensions: Vec<Extension>,
    pub(super) entropy: bool,
}

impl Ipv6 {
    pub(super) fn new(source: Ipv6Addr, destination: Ipv6Addr) -> Self {
        Self {
            version: 6,
            traffic_class: 0,
            flow_label: 0,
            payload_length: None,
            next: None,
            hop_limit: 64,
            source,
            destination,
            extensions: Vec::new(),
            entropy: false,
        }
    }
}

/// An IPv6 extension header: its first byte is the next one's number.
#[derive(Clone, Debug)]
pub(super) struct Extension {
    pub(super) number: u8,
    /// All but the first byte.
    pub(super) rest: Vec<u8>,
}

impl Extension {
    /// A header of `units` eight-byte units, filled with PadN (or, in a routing header, with
    /// nothing that is left to do).
    pub(super) fn padded(number: u8, units: u8) -> Self {
        let bytes = usize::from(units) * 8;
        let mut rest = vec![0; bytes - 1];
        if number == number::AUTHENTICATION {
            // RFC 4302, 2.2: in units of four bytes, minus two.
            rest[0] = units * 2 - 2;
        } else {
            rest[0] = units - 1;
        }
        if matches!(number, number::HOP_BY_HOP | number::DESTINATION_OPTIONS) {
            // RFC 8200, 4.2: PadN.
            rest[1] = 1;
            rest[2] = (bytes - 4) as u8;
        }
        if number == number::ROUTING {
            // RFC 4727, 3.4.1: a type for experiments; no segments left.
            rest[1] = 253;
        }
        Self { number, rest }
    }

    pub(super) fn fragment(offset: u16, more: bool, identification: u32) -> Self {
        let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
        let mut rest = vec![0, high, low];
        rest.extend(identification.to_be_bytes());
        Self {
            number: number::FRAGMENT,
            rest,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Tcp {
    pub(super) source: u16,
    pub(super) destination: u16,
    pub(super) flags: u8,
    pub(super) data_offset: Option<u8>,
    pub(super) options: Vec<u8>,
    pub(super) checksum: Option<u16>,
}

impl Tcp {
    const ACK: u8 = 16;

    pub(super) fn new(source: u16, destination: u16) -> Self {
        Self {
            source,
            destination,
            flags: Self::ACK,
            data_offset: None,
            options: Vec::new(),
            checksum: None,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Udp {
    /// `None`: the port carries entropy.
    pub(super) source: Option<u16>,
    pub(super) destination: u16,
    pub(super) length: Option<u16>,
    pub(super) checksum: Option<u16>,
}

impl Udp {
    pub(super) fn new(source: Option<u16>, destination: u16) -> Self {
        Self {
            source,
            destination,
            length: None,
            checksum: None,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Icmp {
    /// `None` for an echo request of the version at hand.
    pub(super) kind: Option<u8>,
    pub(super) code: u8,
    pub(super) rest: [u8; 4],
    pub(super) checksum: Option<u16>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Gre {
    pub(super) key: Option<u32>,
    pub(super) sequence: Option<u32>,
    pub(super) checksum: bool,
    pub(super) reserved: u16,
    pub(super) protocol: Option<u16>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Gue {
    pub(super) first: u8,
    pub(super) flags: u16,
    pub(super) fields: Vec<u8>,
    pub(super) protocol: Option<u8>,
}

#[derive(Clone, Debug)]
pub(super) struct Vxlan {
    pub(super) flags: u8,
    pub(super) vni: u32,
    pub(super) reserved: u8,
}

impl Vxlan {
    /// The I flag: the VNI is valid (RFC 7348, 5).
    pub(super) const VNI: u8 = 0x08;
}

#[derive(Clone, Debug)]
pub(super) struct Geneve {
    pub(super) version: u8,
    pub(super) flags: u8,
    pub(super) vni: u32,
    pub(super) options: Vec<u8>,
}

impl Geneve {
    pub(super) fn new(vni: u32) -> Self {
        Self {
            version: 0,
            flags: 0,
            vni,
            options: Vec::new(),
        }
    }
}
