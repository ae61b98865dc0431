use super::abi_type;

/// What a VLAN device is (map `VLANS`, by the index of the device): a tag on another interface.
///
/// The kernel's routes name the device. A frame cannot be redirected to it, since it has no queues
/// of its own; it is tagged, and leaves by the interface below.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Vlan {
    /// The interface below.
    pub ifindex: u32,
    /// 802.1Q tag (TCI, network order).
    pub tag: [u8; 2],
    /// Zero.
    pub reserved: [u8; 2],
}

abi_type! {
    Vlan: 8 = [u32, [u8; 2], [u8; 2]];
}
