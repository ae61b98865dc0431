use super::steps::{NO_SUM, lbxdp_sum};
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::{
    bpf_xdp_adjust_head, bpf_xdp_adjust_meta, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len,
    bpf_xdp_store_bytes,
};
use core::arch::asm;
use lbxdp_ebpf::abi::HandOver;
use lbxdp_ebpf::checksum::Sum;
use lbxdp_ebpf::frame::{Frame, NoRoom, Wire};

/// No header that is looked at begins behind this; the verifier must see the bound.
pub(super) const MAX_OFFSET: usize = 0xfff;

/// The frame of an XDP context. Headers are looked for in its linear part; the length counts all
/// fragments (`xdp.frags`).
pub(super) struct Packet {
    pub(super) ctx: *mut xdp_md,
    /// Its length, where that has been asked for already.
    len: Option<usize>,
}

impl Packet {
    #[inline(always)]
    pub(super) const fn new(ctx: *mut xdp_md) -> Self {
        Self { ctx, len: None }
    }

    /// The frame, with its length asked for once.
    #[inline(always)]
    pub(super) fn measured(ctx: *mut xdp_md) -> Self {
        let len = Some(Self::new(ctx).len());
        Self { ctx, len }
    }

    /// Puts metadata in front of the frame, for the TC program of the same interface.
    ///
    /// # Errors
    /// The driver leaves no room for any.
    #[inline(always)]
    pub(super) fn tell(&mut self, what: HandOver) -> Result<(), NoRoom> {
        // SAFETY: the helper checks the bounds, and all references into the packet have ended.
        if unsafe { bpf_xdp_adjust_meta(self.ctx, -(size_of::<HandOver>() as i32)) } != 0 {
            return Err(NoRoom);
        }
        // SAFETY: as in `address`.
        let (meta, data) = unsafe { ((*self.ctx).data_meta as usize, (*self.ctx).data as usize) };
        if meta + size_of::<HandOver>() > data {
            return Err(NoRoom);
        }
        // SAFETY: all of it is within the metadata (checked just now); the kernel aligns metadata to
        // 4 bytes, as the type asks.
        unsafe { *(meta as *mut HandOver) = what };
        Ok(())
    }

    /// The address of `size` bytes at `offset`, if they are there.
    #[inline(always)]
    fn address(&self, offset: usize, size: usize) -> Option<usize> {
        // SAFETY: the context is valid as long as the program runs; the verifier knows both
        // fields for the packet's bounds, and forgets what came of them when the head moves.
        let (data, end) = unsafe { ((*self.ctx).data as usize, (*self.ctx).data_end as usize) };
        let offset = opaque(offset);
        if offset > MAX_OFFSET {
            return None;
        }
        let start = data + offset;
        if start + size > end {
            return None;
        }
        Some(start)
    }
}

/// The same number, of which the compiler knows nothing any more.
///
/// It would otherwise compare one number and add another that it knows to be as small; the
/// verifier knows the bounds only of the one that has been compared.
#[inline(always)]
pub(super) fn opaque(mut number: usize) -> usize {
    // SAFETY: the instruction copies a register to itself. (Without any, the line information would
    // name one place twice, which the kernel refuses.)
    unsafe {
        asm!("{0} = {0}", inlateout(reg) number, options(pure, nomem, nostack, preserves_flags));
    }
    number
}

/// A packet that is only looked at near its start: at offsets that are constants or come from a byte,
/// of which the verifier knows the bounds by itself, so that none need be compared first.
pub(super) struct Near(pub(super) Packet);

impl Near {
    #[inline(always)]
    fn address(&self, offset: usize, size: usize) -> Option<usize> {
        let ctx = self.0.ctx;
        // SAFETY: as in `address` of the packet.
        let (data, end) = unsafe { ((*ctx).data as usize, (*ctx).data_end as usize) };
        let start = data + offset;
        (start + size <= end).then_some(start)
    }
}

impl Frame for Near {
    #[inline(always)]
    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    fn at<T: Wire>(&self, offset: usize) -> Option<&T> {
        let address = self.address(offset, size_of::<T>())?;
        // SAFETY: as in `at` of the packet.
        Some(unsafe { &*(address as *const T) })
    }

    #[inline(always)]
    fn at_mut<T: Wire>(&mut self, offset: usize) -> Option<&mut T> {
        let address = self.address(offset, size_of::<T>())?;
        // SAFETY: as in `at_mut` of the packet.
        Some(unsafe { &mut *(address as *mut T) })
    }

    #[inline(always)]
    fn put(&mut self, offset: usize, bytes: &[u8]) -> Option<()> {
        self.0.put(offset, bytes)
    }

    #[inline(always)]
    fn sum(&self, offset: usize, len: usize) -> Option<Sum> {
        self.0.sum(offset, len)
    }

    #[inline(always)]
    fn truncate(&mut self, len: usize) -> Result<(), NoRoom> {
        self.0.truncate(len)
    }

    #[inline(always)]
    fn move_head(&mut self, delta: i32) -> Result<(), NoRoom> {
        self.0.move_head(delta)
    }
}

impl Frame for Packet {
    #[inline(always)]
    fn len(&self) -> usize {
        if let Some(len) = self.len {
            return len;
        }
        // SAFETY: the context is the one that the kernel called the program with.
        unsafe { bpf_xdp_get_buff_len(self.ctx) as usize }
    }

    #[inline(always)]
    fn at<T: Wire>(&self, offset: usize) -> Option<&T> {
        let address = self.address(offset, size_of::<T>())?;
        // SAFETY: all of `T` is within the packet (checked just now, and checked to be checked by
        // the verifier); `Wire` promises alignment 1 and that any bytes are a value.
        Some(unsafe { &*(address as *const T) })
    }

    #[inline(always)]
    fn at_mut<T: Wire>(&mut self, offset: usize) -> Option<&mut T> {
        let address = self.address(offset, size_of::<T>())?;
        // SAFETY: as in `at`; `&mut self` keeps it alone.
        Some(unsafe { &mut *(address as *mut T) })
    }

    #[inline(always)]
    fn put(&mut self, offset: usize, bytes: &[u8]) -> Option<()> {
        if bytes.is_empty() {
            return Some(());
        }
        // The helper takes no length of zero, and before Linux 6.8 the verifier learns nothing from
        // `len != 0`. It does from an upper bound of one less.
        let but_one = opaque(bytes.len() - 1);
        if but_one > MAX_OFFSET {
            return None;
        }
        // SAFETY: the helper reads `bytes.len()` bytes from `bytes` and writes nothing if they do
        // not fit.
        let error = unsafe {
            bpf_xdp_store_bytes(
                self.ctx,
                offset as u32,
                bytes.as_ptr().cast_mut().cast(),
                but_one as u32 + 1,
            )
        };
        (error == 0).then_some(())
    }

    #[inline(always)]
    fn sum(&self, offset: usize, len: usize) -> Option<Sum> {
        match lbxdp_sum(self.ctx, offset as u32, len as u32) {
            NO_SUM => None,
            sum => Some(Sum::from_number(sum as u32)),
        }
    }

    #[inline(always)]
    fn truncate(&mut self, len: usize) -> Result<(), NoRoom> {
        let more = self.len().checked_sub(len).ok_or(NoRoom)?;
        // SAFETY: the helper checks the bounds, and all references into the packet have ended.
        if more != 0 && unsafe { bpf_xdp_adjust_tail(self.ctx, -(more as i32)) } != 0 {
            return Err(NoRoom);
        }
        self.len = None;
        Ok(())
    }

    #[inline(always)]
    fn move_head(&mut self, delta: i32) -> Result<(), NoRoom> {
        // SAFETY: the helper checks the bounds, and all references into the packet have ended.
        if unsafe { bpf_xdp_adjust_head(self.ctx, delta) } != 0 {
            return Err(NoRoom);
        }
        self.len = None;
        Ok(())
    }
}
