/// What `lbxdp run` says when it was built without an object.
pub const OBJECT_MISSING: &str =
    "this lbxdp was built without its eBPF object; run `cargo xtask build-ebpf` and build again";

/// The eBPF object that was embedded at build time, if there was one.
#[must_use]
pub fn embedded_object() -> Option<&'static [u8]> {
    #[cfg(lbxdp_object)]
    let object = Some(aya::include_bytes_aligned!(concat!(
        env!("OUT_DIR"),
        "/lbxdp.bpf.o"
    )));
    #[cfg(not(lbxdp_object))]
    let object = None;
    object
}
