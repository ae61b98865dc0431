use super::wire_type;

/// ICMP (RFC 792).
pub const IPPROTO_ICMP: u8 = 1;
/// ICMPv6 (RFC 4443).
pub const IPPROTO_ICMPV6: u8 = 58;

/// ICMP: echo request (RFC 792).
pub const ICMP_ECHO: u8 = 8;
/// ICMP: echo reply.
pub const ICMP_ECHOREPLY: u8 = 0;
/// ICMPv6: echo request (RFC 4443, 4.1).
pub const ICMPV6_ECHO_REQUEST: u8 = 128;
/// ICMPv6: echo reply (RFC 4443, 4.2).
pub const ICMPV6_ECHO_REPLY: u8 = 129;
/// ICMP: destination unreachable (RFC 792).
pub const ICMP_DEST_UNREACH: u8 = 3;
/// ICMP: time exceeded (RFC 792).
pub const ICMP_TIME_EXCEEDED: u8 = 11;
/// ICMP: parameter problem (RFC 792).
pub const ICMP_PARAMETERPROB: u8 = 12;
/// ICMPv6: destination unreachable, the first of the errors (RFC 4443, 3.1).
pub const ICMPV6_DEST_UNREACH: u8 = 1;
/// ICMPv6: parameter problem, the last of the errors that are passed on (RFC 4443, 3.4).
pub const ICMPV6_PARAMPROB: u8 = 4;
/// Code of [`ICMP_DEST_UNREACH`]: fragmentation needed and "don't fragment" set; the rest of the header ends with the
/// next hop's MTU in 16 bits (RFC 1191, 4).
pub const ICMP_FRAG_NEEDED: u8 = 4;
/// ICMPv6: packet too big; the rest of the header is the MTU (RFC 4443, 3.2).
pub const ICMPV6_PKT_TOOBIG: u8 = 2;

/// The header that ICMP and ICMPv6 messages share.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Icmp {
    /// Type of the message.
    pub kind: u8,
    /// Code within the type.
    pub code: u8,
    /// Checksum of the message; of ICMPv6, of the pseudo header as well.
    pub checksum: [u8; 2],
    /// What it is depends on the type.
    pub rest: [u8; 4],
}

wire_type! {
    Icmp: 8;
}
