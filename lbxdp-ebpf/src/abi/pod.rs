/// Declares types of the ABI: asserts their size, that they have no padding,
/// and lets the agent hand them to the kernel as plain bytes.
macro_rules! abi_type {
    ($($type:ty: $size:literal = [$($field:ty),+ $(,)?];)+) => {$(
        const _: () = {
            assert!(core::mem::size_of::<$type>() == $size, "size of the ABI type has changed");
            assert!($size == 0 $(+ core::mem::size_of::<$field>())+, "the ABI type has padding");
        };
        // SAFETY: the type is `repr(C)` or `repr(transparent)`, `Copy`, made of integers and byte
        // arrays alone, and has no padding (asserted above): any bytes are a value of it, and all
        // of its bytes are initialised.
        #[cfg(feature = "user")]
        unsafe impl aya::Pod for $type {}
    )+};
}
pub(crate) use abi_type;
