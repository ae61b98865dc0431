use super::wire_type;

/// EtherType of IPv4 (RFC 894).
pub const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
/// EtherType of IPv6 (RFC 2464).
pub const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
/// Tag protocol identifier of a customer VLAN tag (IEEE 802.1Q).
pub const ETHERTYPE_DOT1Q: [u8; 2] = [0x81, 0x00];
/// Tag protocol identifier of a service VLAN tag (IEEE 802.1ad, now in 802.1Q).
pub const ETHERTYPE_DOT1AD: [u8; 2] = [0x88, 0xa8];

/// The Ethernet header (IEEE 802.3).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Ethernet {
    /// MAC address of the receiver.
    pub destination: [u8; 6],
    /// MAC address of the sender.
    pub source: [u8; 6],
    /// What follows: `ETHERTYPE_…`.
    pub ethertype: [u8; 2],
}

/// What stands behind a tag protocol identifier (IEEE 802.1Q).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Tag {
    /// Tag control information: priority, drop eligible, VLAN identifier.
    pub tci: [u8; 2],
    /// What follows: `ETHERTYPE_…`.
    pub ethertype: [u8; 2],
}

wire_type! {
    Ethernet: 14;
    Tag: 4;
}
