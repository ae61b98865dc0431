//! The map ABI of the benchmark's programs, which are an object of their own.
//!
//! `BPF_PROG_TEST_RUN` with `repeat` does not reset the packet between runs. A wrapper does: it
//! gives the frame its length and its bytes back, makes it a packet of the next flow, and calls
//! the program under test (a tail call). What a program costs is what it costs more in the wrapper
//! than another does.

use crate::abi::{Address, Port, abi_type};

/// Bytes of every frame.
pub const FRAME_LEN: usize = 128;
/// Where the numbers of the flows' source ports begin; as many ports as this are used.
pub const FIRST_PORT: u16 = 1 << 14;
/// Where the last byte of the flows' source addresses begins.
pub const FIRST_HOST: u8 = 64;
/// Most flows that there can be: addresses times ports.
pub const MOST_FLOWS: u32 = 64 * FIRST_PORT as u32;

/// What the wrapper makes of each frame, and whom it calls (map `STIMULUS`, one entry).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Stimulus {
    /// The frame, in words as they stand in it.
    pub frame: [u64; FRAME_LEN / 8],
    /// The program under test, by its index in map `PROGRAMS`.
    pub program: u32,
    /// Number of the next packet.
    pub next: u32,
    /// One less than the number of flows, which is a power of two.
    pub mask: u32,
    /// Where the last byte of the address is that differs from flow to flow.
    pub host_at: u16,
    /// Where the port is that does.
    pub port_at: u16,
}

/// Key of the ideal program's listeners (map `IDEAL_LISTENERS`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct IdealKey {
    /// The VIP.
    pub address: Address,
    /// The port.
    pub port: Port,
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub reserved: u8,
}

/// A listener of the ideal program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct IdealListener {
    /// Its first row in map `IDEAL_ROWS`.
    pub first: u32,
    /// How many it has.
    pub rows: u32,
}

/// An origin of the ideal program (map `IDEAL_ORIGINS`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct IdealOrigin {
    /// Ethernet and outer IPv4 header; total length and checksum are zero.
    pub header: [u8; 34],
    /// Folded sum of the IPv4 header.
    pub header_sum: u16,
}

abi_type! {
    Stimulus: 144 = [[u64; FRAME_LEN / 8], u32, u32, u32, u16, u16];
    IdealKey: 20 = [Address, Port, u8, u8];
    IdealListener: 8 = [u32, u32];
    IdealOrigin: 36 = [[u8; 34], u16];
}

/// Slots of map `PROGRAMS`.
pub mod slot {
    /// `pass`: passes.
    pub const PASS: u32 = 0;
    /// `floor`: exchanges the MAC addresses and transmits.
    pub const FLOOR: u32 = 1;
    /// `ipip`: puts one and the same header in front.
    pub const IPIP: u32 = 2;
    /// `ideal`: the least that a balancer with rows can do.
    pub const IDEAL: u32 = 3;
    /// The program `lbxdp`.
    pub const LBXDP: u32 = 4;
    /// How many there are.
    pub const COUNT: usize = 5;
}
