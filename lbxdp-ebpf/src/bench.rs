//! The map ABI of the benchmark's programs, which are an object of their own.
//!
//! `BPF_PROG_TEST_RUN` with `repeat` does not reset the packet between runs. A wrapper does: it
//! gives the frame its length and its bytes back, makes it a packet of the next flow, and calls
//! the program under test (a tail call). What a program costs is what it costs more in the wrapper
//! than another does.
//!
//! With live frames, which do leave, a generator does the same but for the length, and sends each to
//! the interface at whose other end the program under test is; what that sends back is counted.

use crate::abi::{Address, Port, abi_type};

/// Bytes of every frame.
pub const FRAME_LEN: usize = 128;
/// Where the numbers of the flows' source ports begin; as many ports as this are used.
pub const FIRST_PORT: u16 = 1 << 14;
/// Where the last byte of the flows' source addresses begins.
pub const FIRST_HOST: u8 = 64;
/// The byte before it, of the first flows.
pub const FIRST_NET: u8 = 2;
/// Most flows that there can be of one such byte: addresses times ports.
pub const MOST_FLOWS: u32 = 64 * FIRST_PORT as u32;
/// Most flows that there can be at all.
pub const ALL_FLOWS: u32 = MOST_FLOWS << 8;

/// What tells a flow from others: the last two bytes of its source address, and its source port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Source {
    /// The last byte but one.
    pub net: u8,
    /// The last byte.
    pub host: u8,
    /// The port.
    pub port: u16,
}

impl Source {
    /// Of the flow of this number, less than [`ALL_FLOWS`].
    #[inline(always)]
    #[must_use]
    pub const fn of_flow(flow: u32) -> Self {
        Self {
            net: FIRST_NET.wrapping_add((flow / MOST_FLOWS) as u8),
            host: FIRST_HOST | (flow % MOST_FLOWS / FIRST_PORT as u32) as u8,
            port: FIRST_PORT | (flow as u16 & (FIRST_PORT - 1)),
        }
    }
}

/// What each frame becomes, and where it goes (map `STIMULUS`, one entry).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Stimulus {
    /// The frame, in words as they stand in it.
    pub frame: [u64; FRAME_LEN / 8],
    /// The program under test, by its index in map `PROGRAMS`; of the generator, the interface to send
    /// by.
    pub target: u32,
    /// Number of the next packet.
    pub next: u32,
    /// One less than the number of flows, which is a power of two.
    pub mask: u32,
    /// Where the last byte but one of the address is that differs from flow to flow.
    pub net_at: u16,
    /// Where its last byte is.
    pub host_at: u16,
    /// Where the port is that does.
    pub port_at: u16,
    /// Zero.
    pub reserved: [u8; 6],
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
    Stimulus: 152 = [[u64; FRAME_LEN / 8], u32, u32, u32, u16, u16, u16, [u8; 6]];
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_flows_have_the_same_source() {
        let source = |flow| {
            let Source { net, host, port } = Source::of_flow(flow);
            (net, host, port)
        };
        let few = (0..4).chain(MOST_FLOWS - 4..MOST_FLOWS + 4);
        let flows: BTreeSet<u32> = few
            .chain((0..ALL_FLOWS).step_by(FIRST_PORT as usize - 1))
            .collect();
        let sources: BTreeSet<_> = flows.iter().map(|flow| source(*flow)).collect();
        assert_eq!(sources.len(), flows.len());
        assert_eq!(source(0), (FIRST_NET, FIRST_HOST, FIRST_PORT));
        assert_eq!(source(MOST_FLOWS), (FIRST_NET + 1, FIRST_HOST, FIRST_PORT));
    }
}
