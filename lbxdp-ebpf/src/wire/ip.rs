use super::wire_type;

/// IPv4 in IP (RFC 2003).
pub const IPPROTO_IPIP: u8 = 4;
/// TCP (RFC 9293).
pub const IPPROTO_TCP: u8 = 6;
/// UDP (RFC 768).
pub const IPPROTO_UDP: u8 = 17;
/// IPv6 in IP (RFC 2473, RFC 4213).
pub const IPPROTO_IPV6: u8 = 41;
/// GRE (RFC 2784).
pub const IPPROTO_GRE: u8 = 47;
/// Authentication header (RFC 4302).
pub const IPPROTO_AH: u8 = 51;

/// Hop-by-hop options (RFC 8200, 4.3).
pub const HOPOPTS: u8 = 0;
/// Routing header (RFC 8200, 4.4).
pub const ROUTING: u8 = 43;
/// Fragment header (RFC 8200, 4.5).
pub const FRAGMENT: u8 = 44;
/// Nothing follows (RFC 8200, 4.7).
pub const NO_NEXT_HEADER: u8 = 59;
/// Destination options (RFC 8200, 4.6).
pub const DSTOPTS: u8 = 60;
/// Mobility header (RFC 6275).
pub const MH: u8 = 135;

/// "Don't fragment", in the first byte of [`Ipv4::flags_fragment_offset`].
pub const IPV4_DF: u8 = 0x40;

/// "More fragments", likewise.
pub const IPV4_MF: u8 = 0x20;
/// The upper bits of the fragment offset, likewise.
pub const IPV4_OFFSET: u8 = 0x1f;

/// "More fragments", in the second byte of [`Ipv6Fragment::offset_flags`].
pub const IPV6_MORE_FRAGMENTS: u8 = 0x01;
/// The lower bits of the fragment offset, likewise.
pub const IPV6_OFFSET: u8 = 0xf8;

/// The IPv4 header without options (RFC 791, 3.1).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Ipv4 {
    /// Version (4 bits) and header length in 32-bit words (4 bits).
    pub version_ihl: u8,
    /// DSCP (RFC 2474) and ECN (RFC 3168).
    pub type_of_service: u8,
    /// Bytes of header and payload.
    pub total_length: [u8; 2],
    /// Identification of the fragments of one packet.
    pub identification: [u8; 2],
    /// Flags (3 bits) and fragment offset in units of 8 bytes (13 bits).
    pub flags_fragment_offset: [u8; 2],
    /// Hops left.
    pub time_to_live: u8,
    /// What follows.
    pub protocol: u8,
    /// Checksum of the header.
    pub header_checksum: [u8; 2],
    /// Source address.
    pub source: [u8; 4],
    /// Destination address.
    pub destination: [u8; 4],
}

/// The fixed IPv6 header (RFC 8200, 3).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Ipv6 {
    /// Version (4 bits), traffic class (8 bits), flow label (20 bits).
    pub version_class_label: [u8; 4],
    /// Bytes behind this header.
    pub payload_length: [u8; 2],
    /// What follows.
    pub next_header: u8,
    /// Hops left.
    pub hop_limit: u8,
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
}

/// The start that extension headers share (RFC 8200, 4; RFC 4302, 2).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Ipv6Extension {
    /// What follows.
    pub next_header: u8,
    /// Length: in units of 8 bytes beyond the first 8; of the authentication header, in units of
    /// 4 bytes beyond the first 8.
    pub length: u8,
}

/// The fragment header (RFC 8200, 4.5).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Ipv6Fragment {
    /// What follows in the first fragment.
    pub next_header: u8,
    /// Zero.
    pub reserved: u8,
    /// Fragment offset in units of 8 bytes (13 bits), reserved bits, "more fragments".
    pub offset_flags: [u8; 2],
    /// Identification of the datagram.
    pub identification: [u8; 4],
}

wire_type! {
    Ipv4: 20;
    Ipv6: 40;
    Ipv6Extension: 2;
    Ipv6Fragment: 8;
}
