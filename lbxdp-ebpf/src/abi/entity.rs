use super::abi_type;

/// What an [`Entity`] is about (key of map `ENTITIES`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(C)]
pub struct EntityKey {
    /// An [`EntityKind`].
    pub kind: u32,
    /// The slot, or the id, of the entity in the maps of its kind.
    pub index: u32,
}

/// Kinds of things that have a slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u32)]
pub enum EntityKind {
    /// A virtual network, by its [`VnetId`](super::VnetId).
    Vnet = 1,
    /// A tunnel, `vnet/tunnel`.
    Tunnel = 2,
    /// An origin, `pool/origin`.
    Origin = 3,
    /// A listener, `load balancer/protocol:port`, by the slot of its counters.
    Listener = 4,
    /// A row table, named for its pools.
    Table = 5,
}

impl EntityKind {
    /// The kind of a number, if it is one.
    #[must_use]
    pub const fn from_u32(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Vnet),
            2 => Some(Self::Tunnel),
            3 => Some(Self::Origin),
            4 => Some(Self::Listener),
            5 => Some(Self::Table),
            _ => None,
        }
    }
}

/// The name and health of whatever has a slot (map `ENTITIES`).
///
/// The program never reads it. It lets a new agent take over the slots and the
/// health that the last one knew, and lets maps be read with the agent dead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Entity {
    /// Since when the health is what it is: nanoseconds since the Unix epoch; 0 for never known.
    pub since_unix_ns: u64,
    /// 0 unknown, 1 healthy, 2 unhealthy, 3 degraded.
    pub health: u8,
    /// Bytes used of `name`.
    pub name_len: u8,
    /// Zero.
    pub reserved: [u8; 6],
    /// UTF-8, padded with zeros.
    pub name: [u8; Entity::NAME_SPACE],
}

abi_type! {
    EntityKey: 8 = [u32, u32];
    Entity: 144 = [u64, u8, u8, [u8; 6], [u8; Entity::NAME_SPACE]];
}

impl Entity {
    /// Longest name, in bytes.
    pub const NAME_SPACE: usize = 128;

    /// An entity of unknown health; `None` when the name is too long.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let mut entity = Self {
            since_unix_ns: 0,
            health: 0,
            name_len: u8::try_from(name.len()).ok()?,
            reserved: [0; 6],
            name: [0; Self::NAME_SPACE],
        };
        entity
            .name
            .get_mut(..name.len())?
            .copy_from_slice(name.as_bytes());
        Some(entity)
    }

    /// The name; empty if it is not UTF-8.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name
            .get(..usize::from(self.name_len))
            .and_then(|bytes| core::str::from_utf8(bytes).ok())
            .unwrap_or_default()
    }
}
