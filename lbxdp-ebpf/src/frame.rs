//! The packet logic's view of a frame: bytes, bounds, room in front.

use crate::checksum::Sum;

/// A header as it stands in a packet.
///
/// # Safety
/// The type has alignment 1, no padding, and every sequence of bytes of its
/// size is a valid value of it.
pub unsafe trait Wire: Copy {
    /// The header that these bytes begin with, if there are enough.
    #[inline(always)]
    fn of(bytes: &[u8]) -> Option<&Self> {
        let bytes = bytes.get(..size_of::<Self>())?;
        // SAFETY: there are as many bytes as the type has, at whose alignment they are, and any are a
        // value of it.
        Some(unsafe { &*bytes.as_ptr().cast() })
    }

    /// The bytes of the header.
    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        // SAFETY: without padding, all bytes of the value are initialised.
        unsafe { core::slice::from_raw_parts(core::ptr::from_ref(self).cast(), size_of::<Self>()) }
    }

    /// The bytes of the header, to be written to.
    #[inline(always)]
    fn bytes_mut(&mut self) -> &mut [u8] {
        let (start, len) = (core::ptr::from_mut(self).cast(), size_of::<Self>());
        // SAFETY: without padding, all bytes of the value are initialised, and any are a value of it.
        unsafe { core::slice::from_raw_parts_mut(start, len) }
    }
}

// SAFETY: bytes have alignment 1, and all of them are valid.
unsafe impl<const N: usize> Wire for [u8; N] {}

/// The frame has no room for what is to be put before it, or is shorter than
/// what is to be taken off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoRoom;

/// A frame, from its Ethernet header to its last byte.
///
/// Offsets are in bytes from the start of the Ethernet header. References end
/// with the next [`Frame::move_head`], which takes `&mut self`: a header used
/// after the head has moved does not compile.
pub trait Frame {
    /// Bytes of the frame.
    fn len(&self) -> usize;

    /// Whether the frame has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The header at `offset`, if all of it is within the frame.
    fn at<T: Wire>(&self, offset: usize) -> Option<&T>;

    /// The header at `offset`, to be written to.
    fn at_mut<T: Wire>(&mut self, offset: usize) -> Option<&mut T>;

    /// Writes bytes at `offset`; `None`, and nothing written, if they are not all within the frame.
    fn put(&mut self, offset: usize, bytes: &[u8]) -> Option<()>;

    /// The one's complement sum of `len` bytes from `offset`, if all of them are in reach.
    fn sum(&self, offset: usize, len: usize) -> Option<Sum>;

    /// Takes bytes off the end, so that `len` are left.
    ///
    /// # Errors
    /// When there are not as many; the frame is then as it was.
    fn truncate(&mut self, len: usize) -> Result<(), NoRoom>;

    /// Moves the start of the frame: forward (`delta` > 0) takes bytes off, backward puts bytes,
    /// of unspecified content, before it.
    ///
    /// # Errors
    /// When there is no room; the frame is then as it was.
    fn move_head(&mut self, delta: i32) -> Result<(), NoRoom>;
}
