//! The programs that `cargo xtask bench` needs beside the program `lbxdp`: the wrapper that restores
//! each frame, what sends and receives on a link, and those that it is compared with. Never shipped.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod frame;
#[cfg(target_arch = "bpf")]
mod ideal;
#[cfg(target_arch = "bpf")]
mod link;
#[cfg(target_arch = "bpf")]
mod stimulus;
#[cfg(target_arch = "bpf")]
mod trivial;
#[cfg(target_arch = "bpf")]
mod wrapper;

#[cfg(not(target_arch = "bpf"))]
#[expect(clippy::print_stderr, reason = "the only thing that this binary does")]
fn main() {
    eprintln!("These are programs for the kernel: `cargo xtask bench` builds and runs them.");
}

/// What the kernel reads to allow helpers that are for GPL-compatible programs.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Never reached: the programs have nothing that panics, or they would not link.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
