//! The XDP program `lbxdp`, the one that it calls, and the TC programs beside them. See the library for what they do.
//!
//! Built for BPF by `cargo xtask build-ebpf`; built for the host it does nothing
//! but say so.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod bpf;

#[cfg(not(target_arch = "bpf"))]
#[expect(clippy::print_stderr, reason = "the only thing that this binary does")]
fn main() {
    eprintln!(
        "This is the packet path of lbxdp, which runs in the kernel. \
         `cargo xtask build-ebpf` builds it; `lbxdp run` loads it."
    );
}
