use super::{Address, Path, Port, SnatRange, VnetId, abi_type};

/// The slot of an origin in map `ORIGINS`, and in the rows.
pub type OriginIndex = u16;

/// A server that takes traffic (map `ORIGINS`).
///
/// What most packets need stands together, so that it is in as few lines of the cache as can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Origin {
    /// Of [`Mode::NatSnat`]: what clients' addresses become.
    pub snat: SnatRange,
    /// The VNet that it is in.
    pub vnet: VnetId,
    /// Its address within its VNet.
    pub address: Address,
    /// Tells it from another origin that had, or will have, the same slot.
    pub identity: u32,
    /// Its port; 0 keeps the destination port of the packet.
    pub port: Port,
    /// A [`Mode`].
    pub mode: u8,
    /// Bits: [`ORIGIN_DOWN`].
    pub flags: u8,
    /// The way to it.
    pub path: Path,
}

abi_type! {
    Origin: 148 = [SnatRange, VnetId, Address, u32, Port, u8, u8, Path];
}

impl Origin {
    /// The index that stands for "no origin".
    pub const NONE: OriginIndex = OriginIndex::MAX;

    /// A slot of map `ORIGINS` that nothing has been written to.
    pub const EMPTY: Self = Self {
        address: Address::UNSPECIFIED,
        port: Port::new(0),
        mode: 0,
        flags: 0,
        vnet: VnetId::LOCAL,
        identity: 0,
        snat: SnatRange::NONE,
        path: Path::EMPTY,
    };

    /// The forwarding mode, if the number is one of them.
    #[inline(always)]
    #[must_use]
    pub const fn mode(&self) -> Option<Mode> {
        Mode::from_u8(self.mode)
    }
}

/// It is unhealthy: sessions with it are over.
pub const ORIGIN_DOWN: u8 = 1;

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
    /// As [`Mode::NatPreserve`], and the source becomes an address and port of
    /// [`Origin::snat`].
    NatSnat = 4,
}

impl Mode {
    /// Whether the destination is rewritten.
    #[inline(always)]
    #[must_use]
    pub const fn is_nat(self) -> bool {
        matches!(self, Self::NatPreserve | Self::NatSnat)
    }

    /// The mode of a number, if it is one.
    #[inline(always)]
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::NatPreserve),
            2 => Some(Self::Dsr),
            3 => Some(Self::DsrL2),
            4 => Some(Self::NatSnat),
            _ => None,
        }
    }
}
