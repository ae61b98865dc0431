use super::abi_type;

/// Packets and bytes; bytes are of whole frames as they arrived.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Count {
    /// Number of packets.
    pub packets: u64,
    /// Number of bytes.
    pub bytes: u64,
}

/// What one listener, origin or tunnel has carried on one CPU.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Traffic {
    /// From clients to origins.
    pub forward: Count,
    /// From origins to clients.
    pub reply: Count,
}

abi_type! {
    Count: 16 = [u64, u64];
    Traffic: 32 = [Count, Count];
}
