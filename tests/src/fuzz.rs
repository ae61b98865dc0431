//! Frames that nobody has thought of: mutations of those of the fixture table, in its worlds.
//!
//! What holds for every frame is in [`oracle`]; [`mutate`] makes frames; [`differential`] runs them
//! on the host and in the kernel, which must do the same. What was once wrong is a [`regression`],
//! replayed for ever.

pub mod differential;
pub mod mutate;
pub mod oracle;
pub mod quick;
mod random;
pub mod regression;
mod repair;

use std::sync::OnceLock;

use lbxdp_ebpf::tables::Route;

use crate::cases::world::{ETH2, ETHERNET_MTU, VIA_ETH0};
use crate::cases::{self, Case, Hook};

pub use random::SplitMix;

/// Longest frame: what lies in the linear part of a kernel's buffer.
pub const MAXIMUM: usize = 3_000;
/// Shortest frame that the kernel runs a program on (`ETH_HLEN`).
pub const MINIMUM: usize = 14;

/// The cases whose worlds and packets are used.
///
/// Not those with little room, which the kernel must be told of frame by frame, nor those of the
/// interface on which forwarding is off: by the others, what it leads to is one more network.
#[must_use]
pub fn table() -> &'static [Case] {
    static TABLE: OnceLock<Vec<Case>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut cases = cases::all();
        cases.retain(|case| {
            case.headroom.is_none()
                && case.hook == Hook::Xdp
                && case.ingress != ETH2
                && case.packet.bytes().len() <= MAXIMUM
        });
        let routes = cases
            .iter_mut()
            .flat_map(|case| &mut case.world.tables.node_routes);
        for route in routes.filter(|route| route.route == Route::ForwardingOff) {
            route.route = VIA_ETH0;
            route.mtu = ETHERNET_MTU;
        }
        cases
    })
}

/// The frames of [`table`], one for each case.
#[must_use]
pub fn frames() -> &'static [Vec<u8>] {
    static FRAMES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    FRAMES.get_or_init(|| table().iter().map(|case| case.packet.bytes()).collect())
}

/// The input of a coverage-guided fuzzer, whose first two bytes pick the case: the case, and the
/// frame.
#[must_use]
pub fn input(data: &[u8]) -> Option<(&'static Case, &[u8])> {
    let (selector, frame) = data.split_first_chunk::<2>()?;
    let table = table();
    let case = table.get(usize::from(u16::from_le_bytes(*selector)) % table.len())?;
    Some((case, frame))
}

/// The input that [`input`] takes for this case and frame.
#[must_use]
pub fn input_of(case: &Case, frame: &[u8]) -> Option<Vec<u8>> {
    let name = case.to_string();
    let index = table().iter().position(|other| other.to_string() == name)?;
    let selector = u16::try_from(index).ok()?.to_le_bytes();
    Some([selector.as_slice(), frame].concat())
}
