//! The packet path of lbxdp.
//!
//! ```text
//! NIC -> main.rs (Frame = context, Tables = maps)
//!   quick      the plainest packets: all of the below that they need, at once; others go the whole way
//!   parse      Ethernet [802.1Q/802.1ad] / IPv4 (options) / IPv6 (extension headers) / TCP, UDP
//!   a tunnel?  known outer source, destination, VNI or key -> the packet inside
//!   ICMP       echo to a VIP -> answered here; an error -> a packet of the flow that it quotes
//!   fragment   a later one has the ports of the first one of its datagram
//!   listener   (vnet, address, port, protocol); none -> XDP_PASS, untouched
//!   session    of a listener that hides its clients: the origin and source that the flow has
//!   row        rows[half + reduce(hash, M)] -> origin; its source is allocated, if it hides clients
//!   at risk    of a row that has moved, or will: the origin that the flow began with (FLOWS)
//!   forward    dsr: encapsulate, or the origin's MAC | nat: rewrite, then plain or through the tunnel
//!              (and of a SYN, the segment size becomes what the tunnel carries, both ways)
//!   reply      an origin's answer -> listener's address back as source -> route -> client
//!   device     a tunnel of the kernel's: rewritten, and handed over with the device as metadata to the
//!              TC program beside; answers come by the TC program of the device (process_from_device)
//!   too big    fragmentation needed, packet too big -> back to the client, at a limited rate
//! -> XDP_TX / XDP_REDIRECT
//! ```
//!
//! A library and a binary. The library is `no_std`, knows neither XDP nor maps,
//! and compiles for BPF and for the host; the binary ties it to the kernel. Two
//! traits are the whole seam: [`frame::Frame`] (bytes) and [`tables::Tables`]
//! (lookups). [`pipeline::process`] is the way through: it plans, reading only, and then
//! carries the plan out. [`pipeline::quick`] is the short cut: a program of its own, which is the one
//! that is attached, and calls the other where the packet is not plain.
#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[cfg(not(target_arch = "bpf"))]
extern crate alloc;
#[cfg(any(test, not(target_arch = "bpf")))]
extern crate std;

pub mod abi;
#[cfg(feature = "bench")]
pub mod bench;
pub mod checksum;
pub mod decap;
pub mod ecn;
pub mod encap;
pub mod flow_table;
pub mod fragment;
pub mod frame;
pub mod gue;
pub mod hash;
pub mod icmp;
#[cfg(not(target_arch = "bpf"))]
pub mod mem;
pub mod mss;
pub mod nat;
pub mod parse;
pub mod pipeline;
pub mod snat;
pub mod steer;
pub mod tables;
pub mod track;
pub mod verdict;
pub mod vlan;
pub mod wide;
pub mod wire;
