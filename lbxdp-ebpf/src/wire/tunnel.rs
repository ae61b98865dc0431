use super::wire_type;

/// Transparent Ethernet bridging: an Ethernet header follows (RFC 1701; RFC 8926, 3.4).
pub const ETHERTYPE_TEB: [u8; 2] = [0x65, 0x58];

/// GRE: a checksum is present (RFC 2784, 2.2). In the first byte of [`Gre::flags_version`].
pub const GRE_CHECKSUM: u8 = 0x80;
/// GRE: a key is present (RFC 2890, 2).
pub const GRE_KEY: u8 = 0x20;
/// GRE: a sequence number is present (RFC 2890, 2).
pub const GRE_SEQUENCE: u8 = 0x10;

/// Bytes of each of the optional fields: checksum with reserved bits, key, sequence number.
pub const GRE_FIELD: usize = 4;

/// The GRE header without its optional fields (RFC 2784, 2).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Gre {
    /// Flags (`GRE_…`), reserved bits, version (the last 3 bits).
    pub flags_version: [u8; 2],
    /// EtherType of what follows.
    pub protocol_type: [u8; 2],
}

/// GUE: the version, in [`Gue::version_control_hlen`].
pub const GUE_VERSION_MASK: u8 = 0xc0;
/// GUE: version 1, which has no header: an IP packet stands in its place.
pub const GUE_DIRECT: u8 = 0x40;
/// GUE: a control message.
pub const GUE_CONTROL: u8 = 0x20;
/// GUE: length of the optional fields, in 32-bit words.
pub const GUE_HLEN_MASK: u8 = 0x1f;

/// GUE: private flags are present (`GUE_FLAG_PRIV` of Linux). In [`Gue::flags`].
pub const GUE_PRIVATE: [u8; 2] = [0, 1];
/// The private flag of remote checksum offload (`GUE_PFLAG_REMCSUM` of Linux), alone.
pub const GUE_REMOTE_CHECKSUM: [u8; 4] = [0x80, 0, 0, 0];

/// The GUE header, version 0, without its optional fields (draft-ietf-intarea-gue-09, 3.2).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Gue {
    /// `GUE_VERSION_MASK`, `GUE_CONTROL`, `GUE_HLEN_MASK`.
    pub version_control_hlen: u8,
    /// IP protocol of what follows; of a control message, its type.
    pub proto_ctype: u8,
    /// Which optional fields there are.
    pub flags: [u8; 2],
}

/// VXLAN: the VNI is valid (RFC 7348, 5).
pub const VXLAN_VNI_VALID: u8 = 0x08;

/// The VXLAN header (RFC 7348, 5).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Vxlan {
    /// [`VXLAN_VNI_VALID`]; all other bits are zero.
    pub flags: u8,
    /// Zero.
    pub reserved1: [u8; 3],
    /// VXLAN network identifier.
    pub vni: [u8; 3],
    /// Zero.
    pub reserved2: u8,
}

/// GENEVE: length of the options in 32-bit words, in [`Geneve::version_length`].
pub const GENEVE_OPTION_LENGTH_MASK: u8 = 0x3f;
/// Bytes of the unit of that length.
pub const GENEVE_OPTION_LENGTH: usize = 4;
/// GENEVE: a control packet, in [`Geneve::flags`].
pub const GENEVE_CONTROL: u8 = 0x80;
/// GENEVE: critical options are present.
pub const GENEVE_CRITICAL: u8 = 0x40;

/// The GENEVE header without options (RFC 8926, 3.4).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Geneve {
    /// Version (2 bits) and length of the options (6 bits).
    pub version_length: u8,
    /// `GENEVE_CONTROL`, `GENEVE_CRITICAL`.
    pub flags: u8,
    /// EtherType of what follows.
    pub protocol_type: [u8; 2],
    /// Virtual network identifier.
    pub vni: [u8; 3],
    /// Zero.
    pub reserved: u8,
}

wire_type! {
    Gre: 4;
    Gue: 4;
    Vxlan: 8;
    Geneve: 8;
}
