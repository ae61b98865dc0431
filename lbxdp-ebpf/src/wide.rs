//! Fields of headers, read and written at once.
//!
//! Headers stand at any address, and BPF has no instruction of which the compiler may believe that
//! it takes one: it goes byte by byte. The verifier lets a program read and write packets and map
//! values at any address wherever the machine can do so (all that XDP is native on), and so says the
//! instruction itself here. Not for what may lie on the stack, which must be aligned.

use crate::frame::Wire;

/// A field of two, four or eight bytes.
pub trait Wide: Sized {
    /// Reads the field.
    fn load(&self) -> Self;
    /// Writes the field.
    fn store(&mut self, value: Self);
}

macro_rules! wide {
    ($($bytes:literal $number:ident $word:literal;)+) => {$(
        impl Wide for [u8; $bytes] {
            #[inline(always)]
            fn load(&self) -> Self {
                #[cfg(target_arch = "bpf")]
                {
                    let number: u64;
                    // SAFETY: reads the bytes of `self`, and no others.
                    unsafe {
                        core::arch::asm!(
                            concat!("{0} = *(", $word, " *)({1} + 0)"),
                            lateout(reg) number,
                            in(reg) self.as_ptr(),
                            options(pure, readonly, nostack, preserves_flags)
                        );
                    }
                    (number as $number).to_ne_bytes()
                }
                #[cfg(not(target_arch = "bpf"))]
                *self
            }

            #[inline(always)]
            fn store(&mut self, value: Self) {
                #[cfg(target_arch = "bpf")]
                // SAFETY: writes the bytes of `self`, which are borrowed alone, and no others.
                unsafe {
                    core::arch::asm!(
                        concat!("*(", $word, " *)({0} + 0) = {1}"),
                        in(reg) self.as_mut_ptr(),
                        in(reg) u64::from($number::from_ne_bytes(value)),
                        options(nostack, preserves_flags)
                    );
                }
                #[cfg(not(target_arch = "bpf"))]
                {
                    *self = value;
                }
            }
        }
    )+};
}

wide! {
    2 u16 "u16";
    4 u32 "u32";
    8 u64 "u64";
}

/// The sixteen bytes of a field.
#[inline(always)]
pub fn load_16(field: &[u8; 16]) -> [u8; 16] {
    let mut bytes = [0; 16];
    let (words, _) = field.as_chunks::<4>();
    let (to, _) = bytes.as_chunks_mut::<4>();
    for (to, word) in to.iter_mut().zip(words) {
        *to = word.load();
    }
    bytes
}

/// Copies a header.
#[inline(always)]
pub fn copy<T: Wire>(to: &mut T, from: &[u8]) -> Option<()> {
    let to = to.bytes_mut();
    let from = from.get(..to.len())?;
    let (to, to_rest) = to.as_chunks_mut::<8>();
    let (from, from_rest) = from.as_chunks::<8>();
    for (to, from) in to.iter_mut().zip(from) {
        to.store(from.load());
    }
    let (to, to_rest) = to_rest.as_chunks_mut::<4>();
    let (from, from_rest) = from_rest.as_chunks::<4>();
    for (to, from) in to.iter_mut().zip(from) {
        to.store(from.load());
    }
    let (to, to_rest) = to_rest.as_chunks_mut::<2>();
    let (from, from_rest) = from_rest.as_chunks::<2>();
    for (to, from) in to.iter_mut().zip(from) {
        to.store(from.load());
    }
    to_rest.copy_from_slice(from_rest);
    Some(())
}
