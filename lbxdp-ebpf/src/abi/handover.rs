use super::abi_type;

/// A device of the kernel's that packets are handed over to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Device(u32);

impl Device {
    /// No device.
    pub const NONE: Self = Self(0);

    /// No interface has so large an index, which is a positive `int`.
    const ETHERNET: u32 = 1 << 31;

    /// The device with this index; `ethernet` says whether it has Ethernet headers.
    #[inline(always)]
    #[must_use]
    pub const fn new(ifindex: u32, ethernet: bool) -> Self {
        Self(if ethernet {
            ifindex | Self::ETHERNET
        } else {
            ifindex
        })
    }

    /// The number, for [`Device::from_number`].
    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The device of a number.
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// The same, with Ethernet headers if `one` is 1, and not if it is 0.
    #[inline(always)]
    #[must_use]
    pub const fn with_ethernet(self, one: u32) -> Self {
        Self(self.0 | (one * Self::ETHERNET))
    }

    /// Its index.
    #[inline(always)]
    #[must_use]
    pub const fn ifindex(self) -> u32 {
        self.0 & !Self::ETHERNET
    }

    /// Whether it has Ethernet headers, so that a neighbour's MAC address must be found.
    #[inline(always)]
    #[must_use]
    pub const fn has_ethernet(self) -> bool {
        self.0 & Self::ETHERNET != 0
    }
}

/// What the XDP program tells the TC program of the same interface: the frame's metadata.
///
/// Nothing on the wire becomes metadata; the number in front tells ours from that of a driver or of
/// another program all the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct HandOver {
    /// [`HandOver::MAGIC`].
    pub magic: u32,
    /// The device that the packet is sent into.
    pub device: Device,
}

abi_type! {
    Device: 4 = [u32];
    HandOver: 8 = [u32, Device];
}

impl HandOver {
    /// In front of every metadata of ours.
    pub const MAGIC: u32 = u32::from_be_bytes(*b"lbxd");

    /// The metadata of a packet for this device.
    #[inline(always)]
    #[must_use]
    pub const fn to(device: Device) -> Self {
        Self {
            magic: Self::MAGIC,
            device,
        }
    }
}
