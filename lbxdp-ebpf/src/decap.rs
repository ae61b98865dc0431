//! Tunnel packets: which tunnel they come from, and where the packet inside is.
//!
//! Nothing is taken off here; the packet inside is found in place.

#![forbid(unsafe_code)]

use crate::abi::{Encapsulation, PeerKey, Port};
use crate::frame::Frame;
use crate::gue;
use crate::parse::{Ip, Version};
use crate::tables::Tables;
use crate::wire::{
    ETHERTYPE_TEB, Ethernet, GENEVE_CONTROL, GENEVE_CRITICAL, GENEVE_OPTION_LENGTH,
    GENEVE_OPTION_LENGTH_MASK, GRE_CHECKSUM, GRE_FIELD, GRE_KEY, GRE_SEQUENCE, GUE_CONTROL,
    GUE_DIRECT, GUE_HLEN_MASK, GUE_PRIVATE, GUE_VERSION_MASK, Geneve, Gre, Gue, IPPROTO_GRE,
    IPPROTO_IPIP, IPPROTO_IPV6, IPPROTO_UDP, Udp, VXLAN_VNI_VALID, Vxlan,
};

/// A packet that looks like one of a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tunnelled {
    /// What identifies the tunnel.
    pub key: PeerKey,
    /// What is inside.
    pub inner: Inner,
    /// Whether its checksum is left to the receiver: see [`gue`](crate::gue).
    pub unfinished: bool,
}

/// What a tunnel packet carries, and where it begins. (Two plain values: what an enum leaves
/// undefined in one of its variants may be any register, which the kernel's verifier minds.)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inner {
    start: usize,
    kind: Carried,
}

/// Kinds of what a tunnel packet carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Carried {
    V4,
    V6,
    Ethernet,
}

impl Inner {
    #[inline(always)]
    const fn ip(start: usize, version: Version) -> Self {
        let kind = match version {
            Version::V4 => Carried::V4,
            Version::V6 => Carried::V6,
        };
        Self { start, kind }
    }

    #[inline(always)]
    const fn ethernet(start: usize) -> Self {
        Self {
            start,
            kind: Carried::Ethernet,
        }
    }

    /// The inner IP packet; `None` if something else is inside.
    #[inline(always)]
    #[must_use]
    pub fn packet<F: Frame>(self, frame: &F) -> Option<(usize, Version)> {
        let start = self.start;
        match self.kind {
            Carried::V4 => Some((start, Version::V4)),
            Carried::V6 => Some((start, Version::V6)),
            Carried::Ethernet => {
                let ethernet: &Ethernet = frame.at(start)?;
                let version = Version::of_ethertype(ethernet.ethertype)?;
                Some((start + size_of::<Ethernet>(), version))
            }
        }
    }
}

/// Reads the headers between the outer IP header and the packet inside.
///
/// `None` if this is no tunnel packet, or one with features that are not spoken here.
#[inline(always)]
pub fn recognise<F: Frame, T: Tables>(frame: &F, tables: &T, outer: &Ip) -> Option<Tunnelled> {
    let shim = match outer.outline.protocol {
        IPPROTO_IPIP => Shim::ip(outer.payload(), Version::V4),
        IPPROTO_IPV6 => Shim::ip(outer.payload(), Version::V6),
        IPPROTO_GRE => gre(frame, outer.payload())?,
        IPPROTO_UDP => udp(frame, tables, outer.payload())?,
        _ => return None,
    };
    Some(Tunnelled {
        key: PeerKey {
            remote: outer.source,
            local: outer.destination,
            vni: shim.vni,
            port: shim.port,
            encapsulation: shim.encapsulation as u8,
            reserved: 0,
        },
        inner: shim.inner,
        unfinished: shim.unfinished,
    })
}

/// What the headers between the outer and the inner packet say.
struct Shim {
    encapsulation: Encapsulation,
    vni: u32,
    port: Port,
    inner: Inner,
    unfinished: bool,
}

impl Shim {
    #[inline(always)]
    const fn ip(start: usize, version: Version) -> Self {
        Self {
            encapsulation: Encapsulation::IpIp,
            vni: 0,
            port: Port::new(0),
            inner: Inner::ip(start, version),
            unfinished: false,
        }
    }
}

/// RFC 2784, 2; RFC 2890, 2.
#[inline(always)]
fn gre<F: Frame>(frame: &F, start: usize) -> Option<Shim> {
    let header: &Gre = frame.at(start)?;
    let [flags, version] = header.flags_version;
    let version_of_inner = Version::of_ethertype(header.protocol_type)?;
    // Version 0, and of the flags none but these: a receiver discards the rest (RFC 2784, 2.3).
    if version != 0 || flags & !(GRE_CHECKSUM | GRE_KEY | GRE_SEQUENCE) != 0 {
        return None;
    }
    let mut offset = start + size_of::<Gre>();
    if flags & GRE_CHECKSUM != 0 {
        offset += GRE_FIELD;
    }
    let mut vni = 0;
    if flags & GRE_KEY != 0 {
        let key: &[u8; GRE_FIELD] = frame.at(offset)?;
        vni = u32::from_be_bytes(*key);
        offset += GRE_FIELD;
    }
    if flags & GRE_SEQUENCE != 0 {
        offset += GRE_FIELD;
    }
    Some(Shim {
        encapsulation: Encapsulation::Gre,
        vni,
        port: Port::new(0),
        inner: Inner::ip(offset, version_of_inner),
        unfinished: false,
    })
}

/// Tells the encapsulations over UDP apart by what is behind it: the version of an IP packet begins
/// with a bit that is zero and one that is not, which in the headers of the others are both zero. A
/// GENEVE header has an EtherType in its second pair of bytes, where the others, as far as they are
/// spoken here, have zero, or the flag of private flags; the second byte is zero in VXLAN and an IP
/// protocol number in GUE.
#[inline(always)]
fn udp<F: Frame, T: Tables>(frame: &F, tables: &T, start: usize) -> Option<Shim> {
    let udp: &Udp = frame.at(start)?;
    let port = Port::from_bytes(udp.ports.destination);
    if !tables.is_tunnel_port(port) {
        return None;
    }
    let start = start + size_of::<Udp>();
    let [first, second, third, fourth] = *frame.at::<[u8; 4]>(start)?;
    if first & GUE_VERSION_MASK == GUE_DIRECT {
        fou(start, port, first)
    } else if [third, fourth] == GUE_PRIVATE {
        gue(frame, start, port)
    } else if [third, fourth] != [0, 0] {
        geneve(frame, start, port)
    } else if second != 0 {
        gue(frame, start, port)
    } else {
        vxlan(frame, start, port)
    }
}

/// draft-ietf-intarea-gue-09, 4: `first` is the first byte of the packet inside.
#[inline(always)]
fn fou(start: usize, port: Port, first: u8) -> Option<Shim> {
    let version = match first {
        // With a header of five words at least.
        0x45..=0x4f => Version::V4,
        0x60..=0x6f => Version::V6,
        _ => return None,
    };
    Some(Shim {
        encapsulation: Encapsulation::Fou,
        vni: 0,
        port,
        inner: Inner::ip(start, version),
        unfinished: false,
    })
}

/// RFC 8926, 3.4.
#[inline(always)]
fn geneve<F: Frame>(frame: &F, start: usize, port: Port) -> Option<Shim> {
    let header: &Geneve = frame.at(start)?;
    if header.version_length & !GENEVE_OPTION_LENGTH_MASK != 0
        || header.flags & (GENEVE_CONTROL | GENEVE_CRITICAL) != 0
    {
        return None;
    }
    let options =
        usize::from(header.version_length & GENEVE_OPTION_LENGTH_MASK) * GENEVE_OPTION_LENGTH;
    let payload = start + size_of::<Geneve>() + options;
    let inner = if header.protocol_type == ETHERTYPE_TEB {
        Inner::ethernet(payload)
    } else {
        Inner::ip(payload, Version::of_ethertype(header.protocol_type)?)
    };
    Some(Shim {
        encapsulation: Encapsulation::Geneve,
        vni: vni(header.vni),
        port,
        inner,
        unfinished: false,
    })
}

/// draft-ietf-intarea-gue-09, 3.2. A set flag announces an optional field that may change how
/// the payload is read: of those only remote checksum offload is spoken here.
#[inline(always)]
fn gue<F: Frame>(frame: &F, start: usize, port: Port) -> Option<Shim> {
    let header: &Gue = frame.at(start)?;
    if header.version_control_hlen & (GUE_VERSION_MASK | GUE_CONTROL) != 0 {
        return None;
    }
    let optional = usize::from(header.version_control_hlen & GUE_HLEN_MASK) * 4;
    let version = match header.proto_ctype {
        IPPROTO_IPIP => Version::V4,
        IPPROTO_IPV6 => Version::V6,
        _ => return None,
    };
    let unfinished = header.flags == GUE_PRIVATE;
    if unfinished {
        gue::is_remote_checksum(frame, start + size_of::<Gue>(), optional)?;
    } else if header.flags != [0, 0] {
        return None;
    }
    Some(Shim {
        encapsulation: Encapsulation::Gue,
        vni: 0,
        port,
        inner: Inner::ip(start + size_of::<Gue>() + optional, version),
        unfinished,
    })
}

/// RFC 7348, 5. Other flags than the one belong to extensions that change what follows.
#[inline(always)]
fn vxlan<F: Frame>(frame: &F, start: usize, port: Port) -> Option<Shim> {
    let header: &Vxlan = frame.at(start)?;
    if header.flags != VXLAN_VNI_VALID {
        return None;
    }
    Some(Shim {
        encapsulation: Encapsulation::Vxlan,
        vni: vni(header.vni),
        port,
        inner: Inner::ethernet(start + size_of::<Vxlan>()),
        unfinished: false,
    })
}

#[inline(always)]
const fn vni([a, b, c]: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, a, b, c])
}
