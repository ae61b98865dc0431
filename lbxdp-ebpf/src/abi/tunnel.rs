use core::fmt;

use super::{Address, Encapsulation, Port, TunnelIndex, abi_type};

/// A virtual network. Addresses mean something only within one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct VnetId(pub u32);

impl VnetId {
    /// The reserved VNet `local`: the node's own network.
    pub const LOCAL: Self = Self(0);
}

impl fmt::Display for VnetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for VnetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a packet from the far end of a tunnel looks (key of map `PEERS`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(C)]
pub struct PeerKey {
    /// Outer source.
    pub remote: Address,
    /// Outer destination: this node.
    pub local: Address,
    /// VNI of VXLAN and GENEVE, key of GRE, index of a device of the kernel's; zero where there is
    /// none.
    pub vni: u32,
    /// Outer UDP destination port; zero without UDP.
    pub port: Port,
    /// An [`Encapsulation`](super::Encapsulation).
    pub encapsulation: u8,
    /// Zero.
    pub reserved: u8,
}

impl PeerKey {
    /// The key of whatever comes in by a device of the kernel's, which has taken off the outer
    /// headers and knows the sender.
    #[inline(always)]
    #[must_use]
    pub const fn of_device(ifindex: u32) -> Self {
        Self {
            remote: Address::UNSPECIFIED,
            local: Address::UNSPECIFIED,
            vni: ifindex,
            port: Port::new(0),
            encapsulation: Encapsulation::Device as u8,
            reserved: 0,
        }
    }
}

/// The tunnel that such a packet comes from (map `PEERS`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Peer {
    /// The VNet that it belongs to.
    pub vnet: VnetId,
    /// Index in `TUNNELS` and `TUNNEL_COUNTERS`.
    pub tunnel: TunnelIndex,
    /// Zero.
    pub reserved: [u8; 2],
    /// The node's own IPv4 address inside the tunnel, whose packets are the kernel's.
    pub inner_v4: Address,
    /// The node's own IPv6 address inside the tunnel.
    pub inner_v6: Address,
}

/// A prefix within a VNet (key of map `ROUTES`, a longest-prefix-match trie); the value is the
/// index of the tunnel that leads there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(C)]
pub struct RouteKey {
    /// The VNet, in network order: all its bits come before those of the address.
    pub vnet: [u8; 4],
    /// The address; of IPv4, the mapped form, so that its prefixes are 96 bits longer.
    pub address: Address,
}

impl RouteKey {
    /// Bits before those of the address.
    pub const VNET_BITS: u32 = 32;
    /// All bits of the key.
    pub const BITS: u32 = Self::VNET_BITS + 128;

    /// The key of an address in a VNet.
    #[inline(always)]
    #[must_use]
    pub const fn new(vnet: VnetId, address: Address) -> Self {
        Self {
            vnet: vnet.0.to_be_bytes(),
            address,
        }
    }
}

abi_type! {
    VnetId: 4 = [u32];
    PeerKey: 40 = [Address, Address, u32, Port, u8, u8];
    Peer: 40 = [VnetId, TunnelIndex, [u8; 2], Address, Address];
    RouteKey: 20 = [[u8; 4], Address];
}
