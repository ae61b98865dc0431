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

wire_type! {
    Ports: 4;
    Tcp: 20;
    Udp: 8;
}
