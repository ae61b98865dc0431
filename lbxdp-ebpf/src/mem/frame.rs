use std::vec::Vec;

use crate::abi::{Device, HandOver};
use crate::checksum::Sum;
use crate::frame::{Frame, NoRoom, Wire};
use crate::pipeline::Steps;

/// A frame in a buffer, with room in front as a driver leaves it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemFrame {
    buffer: Vec<u8>,
    start: usize,
}

impl MemFrame {
    /// Room that XDP guarantees in front of a frame (`XDP_PACKET_HEADROOM`).
    pub const HEADROOM: usize = 256;
    /// What the kernel keeps of it for itself (`sizeof(struct xdp_frame)`).
    const RESERVED: usize = 40;
    /// Shortest frame that the head may be moved to (`ETH_HLEN`).
    const MINIMUM: usize = 14;

    /// A frame with these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut buffer = std::vec![0; Self::HEADROOM];
        buffer.extend_from_slice(bytes);
        Self {
            buffer,
            start: Self::HEADROOM,
        }
    }

    /// The bytes of the frame as it is now.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }
}

impl Steps for MemFrame {
    fn hand_over(&mut self, device: Device) -> Result<(), NoRoom> {
        if device != Device::NONE && self.start < Self::RESERVED + size_of::<HandOver>() {
            return Err(NoRoom);
        }
        Ok(())
    }
}

impl Frame for MemFrame {
    fn len(&self) -> usize {
        self.buffer.len() - self.start
    }

    fn at<T: Wire>(&self, offset: usize) -> Option<&T> {
        let bytes = self.bytes().get(offset..)?.get(..size_of::<T>())?;
        // SAFETY: the slice has the size of `T`, and `Wire` promises alignment 1 and that any
        // bytes are a value.
        Some(unsafe { &*bytes.as_ptr().cast::<T>() })
    }

    fn at_mut<T: Wire>(&mut self, offset: usize) -> Option<&mut T> {
        let start = self.start;
        let bytes = self
            .buffer
            .get_mut(start..)?
            .get_mut(offset..)?
            .get_mut(..size_of::<T>())?;
        // SAFETY: as in `at`; the slice is borrowed mutably and alone.
        Some(unsafe { &mut *bytes.as_mut_ptr().cast::<T>() })
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) -> Option<()> {
        let start = self.start;
        self.buffer
            .get_mut(start..)?
            .get_mut(offset..)?
            .get_mut(..bytes.len())?
            .copy_from_slice(bytes);
        Some(())
    }

    fn sum(&self, offset: usize, len: usize) -> Option<Sum> {
        let bytes = self.bytes().get(offset..)?.get(..len)?;
        Some(Sum::ZERO.add_bytes(bytes))
    }

    fn truncate(&mut self, len: usize) -> Result<(), NoRoom> {
        if len < Self::MINIMUM || len > self.len() {
            return Err(NoRoom);
        }
        self.buffer.truncate(self.start + len);
        Ok(())
    }

    fn move_head(&mut self, delta: i32) -> Result<(), NoRoom> {
        let delta = isize::try_from(delta).map_err(|_| NoRoom)?;
        let start = self.start.checked_add_signed(delta).ok_or(NoRoom)?;
        if start < Self::RESERVED || start + Self::MINIMUM > self.buffer.len() {
            return Err(NoRoom);
        }
        self.start = start;
        Ok(())
    }
}
