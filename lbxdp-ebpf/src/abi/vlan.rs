use super::abi_type;

/// What a VLAN device is (map `VLANS`, by the index of the device): tags on another interface.
///
/// The kernel's routes name the device. A frame cannot be redirected to it, since it has no queues
/// of its own; it is tagged, and leaves by the interface below.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Vlan {
    /// The interface below, which is not a VLAN device itself.
    pub ifindex: u32,
    /// What is put on.
    pub tags: Tags,
}

/// The VLAN tags of a frame: none, one, or two (QinQ).
///
/// Each is what its tag control information is (in network order) with one bit read another way:
/// where that has "drop eligible", this says that the tag protocol identifier is that of a service
/// tag (IEEE 802.1ad), and else that of a customer tag (802.1Q). The node marks nothing as eligible
/// to be dropped. Zero is no tag: one that has a priority of zero alone says nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
#[repr(C)]
pub struct Tags {
    /// The tag next to the MAC addresses, or the only one.
    pub outer: [u8; 2],
    /// The one behind it.
    pub inner: [u8; 2],
}

abi_type! {
    Tags: 4 = [[u8; 2], [u8; 2]];
    Vlan: 8 = [u32, Tags];
}

impl Tags {
    /// The bit that tells a service tag, in the first byte.
    pub const SERVICE: u8 = 0x10;
    /// No tag.
    pub const NONE: Self = Self {
        outer: [0; 2],
        inner: [0; 2],
    };

    /// One tag of this VLAN identifier, as a service tag or as a customer tag.
    #[must_use]
    pub const fn one(identifier: u16, is_service: bool) -> Self {
        let [high, low] = identifier.to_be_bytes();
        let service = if is_service { Self::SERVICE } else { 0 };
        Self {
            outer: [high | service, low],
            ..Self::NONE
        }
    }

    /// These, which are one, and one more in front of them.
    #[must_use]
    pub const fn behind(self, outer: Self) -> Self {
        Self {
            outer: outer.outer,
            inner: self.outer,
        }
    }

    /// How many.
    #[inline(always)]
    #[must_use]
    pub fn count(&self) -> usize {
        usize::from(self.outer != [0, 0]) + usize::from(self.inner != [0, 0])
    }

    /// The outer one, or if it says nothing, the inner one.
    #[inline(always)]
    #[must_use]
    pub const fn first(&self) -> [u8; 2] {
        if let [0, 0] = self.outer {
            self.inner
        } else {
            self.outer
        }
    }

    /// Each VLAN identifier, and whether it is that of a service tag, from the outside.
    pub fn identifiers(self) -> impl Iterator<Item = (u16, bool)> {
        let tags = [self.outer, self.inner].into_iter();
        tags.filter(|tag| *tag != [0, 0]).map(|[high, low]| {
            (
                u16::from_be_bytes([high & 0xf, low]),
                high & Self::SERVICE != 0,
            )
        })
    }
}
