//! The agent's half: the bytes that [`push`](super::push) copies and patches.

use core::fmt;
use std::net::IpAddr;

use super::{Outer, Shim, shim};
use crate::abi::{
    Encapsulation, HEADER_SPACE, PATH_DSCP_INHERIT, PATH_GRE_CHECKSUM, PATH_GRE_KEY,
    PATH_INNER_ETHERNET, PATH_SOURCE_ENTROPY, PATH_TTL_INHERIT, PATH_UDP_CHECKSUM, Path,
};
use crate::checksum::Sum;
use crate::frame::Wire;
use crate::wire::{
    self, ETHERTYPE_TEB, Ethernet, GRE_CHECKSUM, GRE_KEY, IPV4_DF, Ipv4, Ipv6, Pair, Ports, Udp,
    VXLAN_VNI_VALID,
};

/// The parameters of a tunnel, seen from this node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tunnel {
    /// Outer source: this node.
    pub source: IpAddr,
    /// Outer destination: the far end, or the origin itself (direct server return).
    pub destination: IpAddr,
    /// TTL or hop limit of the outer header, 64 is usual; `None` for that of the packet inside.
    pub ttl: Option<u8>,
    /// DSCP of the outer header, 0 to 63; `None` for that of the packet inside. Its ECN is always
    /// that of the packet inside.
    pub dscp: Option<u8>,
    /// Without UDP: replace the low 16 bits of [`Tunnel::source`] by the flow's entropy. The far
    /// end must accept any such source.
    pub source_entropy: bool,
    /// Compute the outer UDP checksum; otherwise it is zero.
    pub udp_checksum: bool,
    /// What is between the outer and the inner IP header.
    pub shape: Shape,
}

/// What is between the outer and the inner IP header, with its parameters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Shape {
    /// Nothing: IP in IP, any version in any version.
    IpIp,
    /// GRE.
    Gre {
        /// The key, if there is one.
        key: Option<u32>,
        /// Whether there is a checksum.
        checksum: bool,
    },
    /// IP right behind UDP.
    Fou {
        /// UDP destination port; 6080 is assigned to GUE, of which this is variant 1.
        port: u16,
    },
    /// GUE, version 0, without optional fields.
    Gue {
        /// UDP destination port; 6080 is assigned.
        port: u16,
    },
    /// VXLAN.
    Vxlan {
        /// Network identifier, 24 bits.
        vni: u32,
        /// UDP destination port; 4789 is assigned.
        port: u16,
        /// The inner Ethernet header.
        inner: InnerEthernet,
    },
    /// GENEVE without options.
    Geneve {
        /// Network identifier, 24 bits.
        vni: u32,
        /// UDP destination port; 6081 is assigned.
        port: u16,
        /// The inner Ethernet header; `None` for IP right behind GENEVE.
        inner: Option<InnerEthernet>,
    },
}

/// The MAC addresses of an inner Ethernet header.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InnerEthernet {
    /// MAC address of the far end's tunnel interface.
    pub destination: [u8; 6],
    /// MAC address of this node's tunnel interface.
    pub source: [u8; 6],
}

/// Why a tunnel cannot be prepared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PrepareError {
    /// Source and destination are of different IP versions.
    MixedVersions,
    /// The network identifier has more than 24 bits.
    VniTooLarge(u32),
    /// The DSCP has more than 6 bits.
    DscpTooLarge(u8),
    /// The TTL is zero.
    NoTtl,
}

impl fmt::Display for PrepareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MixedVersions => {
                f.write_str("outer source and destination are of different IP versions")
            }
            Self::VniTooLarge(vni) => write!(f, "VNI {vni} has more than 24 bits"),
            Self::DscpTooLarge(dscp) => write!(f, "DSCP {dscp} is greater than 63"),
            Self::NoTtl => f.write_str("the TTL is zero"),
        }
    }
}

impl std::error::Error for PrepareError {}

impl Shape {
    /// The number of the encapsulation in the ABI.
    #[must_use]
    pub const fn encapsulation(&self) -> Encapsulation {
        match self {
            Self::IpIp => Encapsulation::IpIp,
            Self::Gre { .. } => Encapsulation::Gre,
            Self::Fou { .. } => Encapsulation::Fou,
            Self::Gue { .. } => Encapsulation::Gue,
            Self::Vxlan { .. } => Encapsulation::Vxlan,
            Self::Geneve { .. } => Encapsulation::Geneve,
        }
    }
}

impl Tunnel {
    /// A tunnel with TTL 64, DSCP 0, no entropy in the source address and no UDP checksum.
    #[must_use]
    pub const fn new(source: IpAddr, destination: IpAddr, shape: Shape) -> Self {
        Self {
            source,
            destination,
            ttl: Some(64),
            dscp: Some(0),
            source_entropy: false,
            udp_checksum: false,
            shape,
        }
    }

    /// Bytes that the tunnel puts in front of an inner IP packet: what the inner MTU is smaller
    /// than the link's.
    #[must_use]
    pub const fn header_len(&self) -> usize {
        let outer = match self.source {
            IpAddr::V4(_) => size_of::<Ipv4>(),
            IpAddr::V6(_) => size_of::<Ipv6>(),
        };
        let shim = match self.shape {
            Shape::IpIp => 0,
            Shape::Gre { key, checksum } => {
                let fields = key.is_some() as usize + checksum as usize;
                size_of::<wire::Gre>() + fields * wire::GRE_FIELD
            }
            Shape::Fou { .. } => size_of::<shim::Fou>(),
            Shape::Gue { .. } => size_of::<shim::Gue>(),
            Shape::Vxlan { .. } => size_of::<shim::Vxlan>(),
            Shape::Geneve { inner: Some(_), .. } => size_of::<shim::GeneveEthernet>(),
            Shape::Geneve { inner: None, .. } => size_of::<shim::GeneveIp>(),
        };
        outer + shim
    }
}

/// Prepares the headers of a tunnel.
///
/// Encapsulation, headers, their length and sum, and the flags of the shape are set. The path is
/// not resolved yet: [`Path::mtu`], [`Path::tunnel`], [`Path::ifindex`], [`Path::vlan`], the MAC
/// addresses and [`PATH_RESOLVED`](crate::abi::PATH_RESOLVED) are the caller's to set.
///
/// # Errors
/// A parameter that the headers cannot express.
pub fn prepare(tunnel: &Tunnel) -> Result<Path, PrepareError> {
    let mut flags = 0;
    match tunnel.dscp {
        Some(dscp) if dscp > 63 => return Err(PrepareError::DscpTooLarge(dscp)),
        Some(_) => {}
        None => flags |= PATH_DSCP_INHERIT,
    }
    match tunnel.ttl {
        Some(0) => return Err(PrepareError::NoTtl),
        Some(_) => {}
        None => flags |= PATH_TTL_INHERIT,
    }
    if tunnel.source_entropy {
        flags |= PATH_SOURCE_ENTROPY;
    }
    if tunnel.udp_checksum {
        flags |= PATH_UDP_CHECKSUM;
    }
    let mut path = Path {
        encapsulation: tunnel.shape.encapsulation() as u8,
        flags,
        ..Path::UNRESOLVED
    };
    match tunnel.shape {
        Shape::IpIp => write(&mut path, tunnel, [0; 0])?,
        Shape::Gre { key, checksum } => {
            let key = key.map(u32::to_be_bytes);
            match (checksum, key) {
                (false, None) => write(&mut path, tunnel, gre([], []))?,
                (false, Some(key)) => write(&mut path, tunnel, gre([], key))?,
                (true, None) => write(&mut path, tunnel, gre([0; 4], []))?,
                (true, Some(key)) => write(&mut path, tunnel, gre([0; 4], key))?,
            }
            if checksum {
                path.flags |= PATH_GRE_CHECKSUM;
            }
            if key.is_some() {
                path.flags |= PATH_GRE_KEY;
            }
        }
        Shape::Fou { port } => write(&mut path, tunnel, over_udp(port, [0; 0]))?,
        Shape::Gue { port } => write(&mut path, tunnel, over_udp(port, wire::Gue::default()))?,
        Shape::Vxlan { vni, port, inner } => {
            let vxlan = wire::Vxlan {
                flags: VXLAN_VNI_VALID,
                vni: vni_bytes(vni)?,
                ..wire::Vxlan::default()
            };
            write(&mut path, tunnel, over_udp(port, ethernet(vxlan, inner)))?;
        }
        Shape::Geneve { vni, port, inner } => {
            let mut geneve = wire::Geneve {
                vni: vni_bytes(vni)?,
                ..wire::Geneve::default()
            };
            match inner {
                Some(inner) => {
                    geneve.protocol_type = ETHERTYPE_TEB;
                    write(&mut path, tunnel, over_udp(port, ethernet(geneve, inner)))?;
                    path.flags |= PATH_INNER_ETHERNET;
                }
                None => write(&mut path, tunnel, over_udp(port, geneve))?,
            }
        }
    }
    Ok(path)
}

/// Writes outer header and shim into the path.
fn write<S: Shim>(path: &mut Path, tunnel: &Tunnel, shim: S) -> Result<(), PrepareError> {
    let protocol = S::protocol(crate::parse::Version::V4);
    let type_of_service = tunnel.dscp.unwrap_or(0) << 2;
    let ttl = tunnel.ttl.unwrap_or(64);
    // Its low half will be overwritten, and is kept out of the sum.
    let entropy = (tunnel.source_entropy && !S::HAS_PORTS).then_some([0, 0]);
    match (tunnel.source, tunnel.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut outer = Ipv4 {
                version_ihl: 0x45,
                type_of_service,
                flags_fragment_offset: [IPV4_DF, 0],
                time_to_live: ttl,
                protocol,
                source: source.octets(),
                destination: destination.octets(),
                ..Ipv4::default()
            };
            if let Some([c, d]) = entropy {
                let [a, b, _, _] = outer.source;
                outer.source = [a, b, c, d];
            }
            path.outer = 4;
            path.header_sum = Sum::ZERO.add_bytes(outer.bytes()).fold();
            put(
                path,
                Pair {
                    first: outer,
                    second: shim,
                },
            );
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut outer = Ipv6 {
                version_class_label: [0x60 | (type_of_service >> 4), type_of_service << 4, 0, 0],
                next_header: protocol,
                hop_limit: ttl,
                source: source.octets(),
                destination: destination.octets(),
                ..Ipv6::default()
            };
            if entropy.is_some() {
                outer.fill(0, protocol, entropy);
            }
            path.outer = 6;
            put(
                path,
                Pair {
                    first: outer,
                    second: shim,
                },
            );
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            return Err(PrepareError::MixedVersions);
        }
    }
    Ok(())
}

fn put<A: Wire, B: Wire>(path: &mut Path, headers: Pair<A, B>) {
    const {
        assert!(size_of::<Pair<A, B>>() <= HEADER_SPACE, "the headers fit");
    }
    let bytes = headers.bytes();
    for (to, from) in path.header.iter_mut().zip(bytes) {
        *to = *from;
    }
    path.header_len = bytes.len() as u8;
}

fn gre<const CHECKSUM: usize, const KEY: usize>(
    checksum: [u8; CHECKSUM],
    key: [u8; KEY],
) -> shim::Gre<CHECKSUM, KEY> {
    let mut flags = 0;
    if CHECKSUM != 0 {
        flags |= GRE_CHECKSUM;
    }
    if KEY != 0 {
        flags |= GRE_KEY;
    }
    Pair {
        first: wire::Gre {
            flags_version: [flags, 0],
            protocol_type: [0; 2],
        },
        second: Pair {
            first: checksum,
            second: key,
        },
    }
}

fn over_udp<T>(port: u16, second: T) -> Pair<Udp, T> {
    Pair {
        first: Udp {
            ports: Ports {
                source: [0; 2],
                destination: port.to_be_bytes(),
            },
            ..Udp::default()
        },
        second,
    }
}

fn ethernet<T>(first: T, inner: InnerEthernet) -> Pair<T, Ethernet> {
    Pair {
        first,
        second: Ethernet {
            destination: inner.destination,
            source: inner.source,
            ethertype: [0; 2],
        },
    }
}

fn vni_bytes(vni: u32) -> Result<[u8; 3], PrepareError> {
    match vni.to_be_bytes() {
        [0, a, b, c] => Ok([a, b, c]),
        _ => Err(PrepareError::VniTooLarge(vni)),
    }
}
