use super::{Tags, abi_type};

/// The slot of a tunnel in maps `TUNNELS` and `TUNNEL_COUNTERS`.
pub type TunnelIndex = u16;

/// Space for prepared headers: IPv6 (40), UDP (8), VXLAN or GENEVE (8), inner Ethernet (14).
pub const HEADER_SPACE: usize = 70;

/// The next hop is known: [`Path::ifindex`] and both MAC addresses hold.
pub const PATH_RESOLVED: u8 = 1;
/// Without UDP, the low 16 bits of the outer source address carry the flow's entropy.
pub const PATH_SOURCE_ENTROPY: u8 = 1 << 1;
/// The outer UDP checksum is computed; otherwise it is zero (RFC 768; RFC 6935 over IPv6).
pub const PATH_UDP_CHECKSUM: u8 = 1 << 2;
/// The GRE header has a key (RFC 2890).
pub const PATH_GRE_KEY: u8 = 1 << 3;
/// The GRE header has a checksum (RFC 2784).
pub const PATH_GRE_CHECKSUM: u8 = 1 << 4;
/// GENEVE carries Ethernet (protocol type 0x6558) rather than bare IP; or, of [`Encapsulation::Device`],
/// the device has Ethernet headers.
pub const PATH_INNER_ETHERNET: u8 = 1 << 5;
/// The DSCP of the outer header is that of the packet inside.
pub const PATH_DSCP_INHERIT: u8 = 1 << 6;
/// TTL or hop limit of the outer header is that of the packet inside.
pub const PATH_TTL_INHERIT: u8 = 1 << 7;

/// Both MAC addresses of a frame on its way from XDP to the program that sends it into a device.
///
/// They are nobody's: should that program be missing, the kernel's stack takes the frame for
/// somebody else's, and discards it, rather than route an address of a VNet in the node's network.
pub const HANDED_OVER_MAC: [u8; 6] = *b"\x02lbxdp";

/// The way from this node to an origin or to the far end of a tunnel (also map `TUNNELS`).
///
/// All that does not change from packet to packet is prepared by the agent; the
/// program fills in lengths, ECN, entropy, inner protocol and checksums.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Path {
    /// An [`Encapsulation`].
    pub encapsulation: u8,
    /// IP version of the outer header: 4, 6, or 0 without encapsulation.
    pub outer: u8,
    /// Bytes used of [`Path::header`].
    pub header_len: u8,
    /// Bits `PATH_…`.
    pub flags: u8,
    /// Largest IP packet, in bytes, that may enter this path.
    pub mtu: u16,
    /// The tunnel whose counters this path adds to, or [`Path::NO_TUNNEL`].
    pub tunnel: TunnelIndex,
    /// Interface to leave by.
    pub ifindex: u32,
    /// The outer, or only, VLAN tag on the way out, as [`Tags::outer`]; zero for none.
    pub vlan: [u8; 2],
    /// One's complement sum, folded, of the prepared outer IPv4 header with total length,
    /// identification and checksum zero; as a native number over native 16-bit words.
    pub header_sum: u16,
    /// MAC address of the next hop.
    pub destination_mac: [u8; 6],
    /// MAC address of [`Path::ifindex`].
    pub source_mac: [u8; 6],
    /// Prepared headers: outer IP, UDP, shim, inner Ethernet; each if the encapsulation has it.
    pub header: [u8; HEADER_SPACE],
    /// The inner VLAN tag on the way out, as [`Tags::inner`]; zero for none.
    pub inner_vlan: [u8; 2],
}

abi_type! {
    Path: 100 = [u8, u8, u8, u8, u16, TunnelIndex, u32, [u8; 2], u16, [u8; 6], [u8; 6], [u8; HEADER_SPACE], [u8; 2]];
}

impl Path {
    /// The tunnel index that stands for "no tunnel".
    pub const NO_TUNNEL: TunnelIndex = TunnelIndex::MAX;

    /// A path that leads nowhere yet.
    pub const UNRESOLVED: Self = Self {
        encapsulation: Encapsulation::None as u8,
        outer: 0,
        header_len: 0,
        flags: 0,
        mtu: 0,
        tunnel: Self::NO_TUNNEL,
        ifindex: 0,
        vlan: [0; 2],
        header_sum: 0,
        destination_mac: [0; 6],
        source_mac: [0; 6],
        header: [0; HEADER_SPACE],
        inner_vlan: [0; 2],
    };

    /// A slot of map `TUNNELS` that nothing has been written to.
    pub const EMPTY: Self = Self {
        tunnel: 0,
        ..Self::UNRESOLVED
    };

    /// The encapsulation, if the number is one of them.
    #[inline(always)]
    #[must_use]
    pub const fn encapsulation(&self) -> Option<Encapsulation> {
        Encapsulation::from_u8(self.encapsulation)
    }

    /// Whether this leads into a tunnel: a slot of map `TUNNELS` that nobody uses holds zeros.
    #[inline(always)]
    #[must_use]
    pub const fn is_in_use(&self) -> bool {
        self.outer != 0 || self.is_device()
    }

    /// Whether the kernel's device, and not the program, puts the headers in front.
    #[inline(always)]
    #[must_use]
    pub const fn is_device(&self) -> bool {
        self.encapsulation == Encapsulation::Device as u8
    }

    /// The VLAN tags on the way out.
    #[inline(always)]
    #[must_use]
    pub const fn tags(&self) -> Tags {
        Tags {
            outer: self.vlan,
            inner: self.inner_vlan,
        }
    }

    /// Whether the flag (one of `PATH_…`), or one of several, is set.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }
}

/// What stands between the outer IP header and the inner packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Encapsulation {
    /// No encapsulation.
    None = 0,
    /// Nothing: IP in IP (RFC 2003, RFC 2473, RFC 4213).
    IpIp = 1,
    /// GRE (RFC 2784, RFC 2890).
    Gre = 2,
    /// GUE over UDP (draft-ietf-intarea-gue, version 0).
    Gue = 3,
    /// VXLAN over UDP (RFC 7348), with an inner Ethernet header.
    Vxlan = 4,
    /// GENEVE over UDP (RFC 8926).
    Geneve = 5,
    /// A device of the kernel's, with whatever it does: packets are handed over to it, with
    /// [`HANDED_OVER_MAC`] as both MAC addresses.
    Device = 6,
    /// Nothing over UDP: Linux's FOU, and variant 1 of GUE (draft-ietf-intarea-gue, 4).
    Fou = 7,
}

impl Encapsulation {
    /// The encapsulation of a number, if it is one.
    #[inline(always)]
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::IpIp),
            2 => Some(Self::Gre),
            3 => Some(Self::Gue),
            4 => Some(Self::Vxlan),
            5 => Some(Self::Geneve),
            6 => Some(Self::Device),
            7 => Some(Self::Fou),
            _ => None,
        }
    }
}
