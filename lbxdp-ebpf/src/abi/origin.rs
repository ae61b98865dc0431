use super::{Address, Path, Port, VnetId, abi_type};

/// The slot of an origin in map `ORIGINS`, and in the rows.
pub type OriginIndex = u16;

/// A server that takes traffic (map `ORIGINS`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Origin {
    /// Its address within its VNet.
    pub address: Address,
    /// Its port; 0 keeps the destination port of the packet.
    pub port: Port,
    /// A [`Mode`].
    pub mode: u8,
    /// Zero.
    pub reserved: u8,
    /// The VNet that it is in.
    pub vnet: VnetId,
    /// The way to it.
    pub path: Path,
}

abi_type! {
    Origin: 124 = [Address, Port, u8, u8, VnetId, Path];
}

impl Origin {
    /// The index that stands for "no origin".
    pub const NONE: OriginIndex = OriginIndex::MAX;

    /// The forwarding mode, if the number is one of them.
    #[inline(always)]
    #[must_use]
    pub const fn mode(&self) -> Option<Mode> {
        Mode::from_u8(self.mode)
    }
}

/// How a packet reaches its origin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Mode {
    /// Destination becomes the origin's address and port; the client's address stays.
    NatPreserve = 1,
    /// The client's packet, encapsulated; the origin owns the VIP and answers directly.
    Dsr = 2,
    /// The client's packet with the origin's MAC address; the origin owns the VIP.
    DsrL2 = 3,
}

impl Mode {
    /// The mode of a number, if it is one.
    #[inline(always)]
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::NatPreserve),
            2 => Some(Self::Dsr),
            3 => Some(Self::DsrL2),
            _ => None,
        }
    }
}
