//! A program that passes everything, for the far end of a veth device that XDP sends from.
//!
//! What XDP transmits into a veth device waits in a ring of the far end. The far end is woken
//! when it has a program of its own; with GRO alone, which suffices for a redirect, transmitted
//! frames wait there until something else comes by (`veth_xdp_flush` in `drivers/net/veth.c`).

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};

use super::Namespace;

/// `enum bpf_cmd` of `linux/bpf.h`.
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_LINK_CREATE: libc::c_int = 28;
/// `enum bpf_prog_type`.
const BPF_PROG_TYPE_XDP: u32 = 6;
/// `enum bpf_attach_type`.
const BPF_XDP: u32 = 37;
/// `linux/if_link.h`: in the driver.
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// `return XDP_PASS`: r0 = 2; exit.
static INSTRUCTIONS: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 2, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];
static LICENSE: &[u8; 4] = b"GPL\0";

/// The program, attached; gone when dropped.
#[derive(Debug)]
pub(super) struct Receiver {
    _link: OwnedFd,
}

impl Receiver {
    /// Makes a veth device ready to receive what XDP sends from its other end.
    pub(super) fn attach(namespace: &Namespace, device: &str) -> Result<Self> {
        let attach = || -> Result<OwnedFd> {
            let index = nix::net::if_::if_nametoindex(device)?;
            let program = load().context("cannot load a program")?;
            let link = LinkCreate {
                program: program.as_raw_fd().cast_unsigned(),
                index,
                attach_type: BPF_XDP,
                flags: XDP_FLAGS_DRV_MODE,
            };
            Ok(bpf(BPF_LINK_CREATE, &link)?)
        };
        let link = namespace.within(attach).with_context(|| {
            format!(
                "cannot make {device} of {} receive from XDP",
                namespace.name()
            )
        })?;
        Ok(Self { _link: link })
    }
}

/// The part of `union bpf_attr` for `BPF_PROG_LOAD`, up to what is used.
#[repr(C)]
struct ProgramLoad {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    index: u32,
    expected_attach_type: u32,
}

/// The part of `union bpf_attr` for `BPF_LINK_CREATE`.
#[repr(C)]
struct LinkCreate {
    program: u32,
    index: u32,
    attach_type: u32,
    flags: u32,
}

fn load() -> io::Result<OwnedFd> {
    let attributes = ProgramLoad {
        program_type: BPF_PROG_TYPE_XDP,
        instruction_count: INSTRUCTIONS.len() as u32,
        instructions: INSTRUCTIONS.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
        kernel_version: 0,
        flags: 0,
        name: *b"lbxt_pass\0\0\0\0\0\0\0",
        index: 0,
        expected_attach_type: BPF_XDP,
    };
    bpf(BPF_PROG_LOAD, &attributes)
}

/// A `bpf` call that gives a descriptor.
fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: `attributes` is a `repr(C)` prefix of `union bpf_attr` without padding, of the size
    // told, and what it points to is static.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            &raw const *attributes,
            size_of::<T>(),
        )
    };
    let descriptor = libc::c_int::try_from(result).unwrap_or(-1);
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
