use super::wire_type;

/// TCP: no more data from the sender, in [`Tcp::flags`].
pub const TCP_FIN: u8 = 0x01;
/// TCP: synchronise sequence numbers.
pub const TCP_SYN: u8 = 0x02;
/// TCP: reset the connection.
pub const TCP_RST: u8 = 0x04;
/// TCP: the acknowledgment field is significant.
pub const TCP_ACK: u8 = 0x10;

/// Kind of a TCP option: end of the list (RFC 9293, 3.2), one byte.
pub const TCP_END: u8 = 0;
/// Kind of a TCP option: no operation, one byte.
pub const TCP_NOP: u8 = 1;
/// Kind of a TCP option: maximum segment size.
pub const TCP_MSS: u8 = 2;
/// Bytes of that option: kind, length, and the size in two.
pub const TCP_MSS_LEN: usize = 4;

/// The start of both TCP and UDP.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Ports {
    /// Source port.
    pub source: [u8; 2],
    /// Destination port.
    pub destination: [u8; 2],
}

/// The TCP header without options (RFC 9293, 3.1).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Tcp {
    /// Source and destination port.
    pub ports: Ports,
    /// Sequence number.
    pub sequence: [u8; 4],
    /// Acknowledgment number.
    pub acknowledgment: [u8; 4],
    /// Header length in 32-bit words (4 bits), reserved bits.
    pub data_offset: u8,
    /// Control bits.
    pub flags: u8,
    /// Window.
    pub window: [u8; 2],
    /// Checksum of pseudo header, header and data.
    pub checksum: [u8; 2],
    /// Urgent pointer.
    pub urgent_pointer: [u8; 2],
}

/// The UDP header (RFC 768).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Udp {
    /// Source and destination port.
    pub ports: Ports,
    /// Bytes of header and data.
    pub length: [u8; 2],
    /// Checksum of pseudo header, header and data; zero for none.
    pub checksum: [u8; 2],
}

/// The start of a QUIC packet with a long header (RFC 8999, 5.1).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct QuicLong {
    /// Header form (1), fixed bit, packet type (2), and what depends on the type.
    pub first: u8,
    /// Version; 0 for a negotiation of versions, which no client sends.
    pub version: [u8; 4],
}

/// Header form and fixed bit of a long header (RFC 9000, 17.2).
const QUIC_LONG: u8 = 0xc0;
/// QUIC version 2 (RFC 9369), in which the types of packets have other numbers.
const QUIC_VERSION_2: [u8; 4] = [0x6b, 0x33, 0x43, 0xcf];

impl QuicLong {
    /// Whether this is the first packet of a connection, or 0-RTT data, which a client sends with it
    /// (RFC 9000, 17.2; RFC 9369, 3.2).
    #[inline(always)]
    #[must_use]
    pub fn opens(&self) -> bool {
        let kind = self.first >> 4 & 3;
        // Initial and 0-RTT are one after the other, from 0 in version 1 and from 1 in version 2.
        let initial = u8::from(self.version == QUIC_VERSION_2);
        self.first & QUIC_LONG == QUIC_LONG
            && self.version != [0; 4]
            && kind.wrapping_sub(initial) < 2
    }
}

wire_type! {
    QuicLong: 5;
    Ports: 4;
    Tcp: 20;
    Udp: 8;
}
