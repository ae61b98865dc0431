//! The fixture table: a sentence, a world, a packet in, the verdict, and the packet out.
//!
//! The sentence is the specification. What is expected is written by hand, from the RFCs and
//! the design; engines run the table ([`engine`](crate::engine)).

mod answer_too_big;
mod devices;
mod dsr;
mod echo;
mod ecn;
mod forwarding;
mod fragments;
mod gue;
mod headers;
mod listeners;
mod mss;
mod nat;
mod outside;
mod ranges;
mod related;
mod replies;
mod risk;
mod snat;
mod stranger;
mod too_big;
pub mod tunnel;
mod tunnelled;
pub mod world;

use std::fmt;

use lbxdp_ebpf::abi::{Device, OriginIndex, TunnelIndex};
use lbxdp_ebpf::verdict::{Action, Kind, Reason};

use crate::packet::Packet;
use world::World;

/// One row of the table.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it is part of.
    pub theme: &'static str,
    /// What is specified.
    pub sentence: String,
    /// The maps and the node's routes.
    pub world: World,
    /// Packets that came in before, by the same interface.
    pub earlier: Vec<Packet>,
    /// The program that sees it.
    pub hook: Hook,
    /// The interface that the packet comes in by.
    pub ingress: u32,
    /// Room in front of the frame, where it is not what XDP guarantees.
    pub headroom: Option<usize>,
    /// The packet in.
    pub packet: Packet,
    /// The verdict, and the packet out.
    pub expect: Expect,
}

/// Where a packet is seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// By the XDP program of an interface.
    Xdp,
    /// By the TC program of a device of the kernel's that is a tunnel.
    Device,
}

/// How a case is to end.
#[derive(Clone, Debug)]
pub struct Expect {
    /// What the kernel is told to do.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// The slot of the listener's counters that move; none for a packet that is not forwarded.
    pub listener: Option<u32>,
    /// The origin whose counters move.
    pub origin: Option<OriginIndex>,
    /// The tunnel whose counters move.
    pub tunnel: Option<TunnelIndex>,
    /// The packet out; `None` for "as it came".
    pub out: Option<Packet>,
}

pub use risk::repaired_rows;
pub use snat::one_hidden_origin;

/// All cases.
#[must_use]
pub fn all() -> Vec<Case> {
    [
        outside::cases(),
        gue::cases(),
        headers::cases(),
        listeners::cases(),
        ranges::cases(),
        nat::cases(),
        mss::cases(),
        forwarding::cases(),
        fragments::cases(),
        tunnelled::cases(),
        answer_too_big::cases(),
        dsr::cases(),
        echo::cases(),
        ecn::cases(),
        related::cases(),
        replies::cases(),
        risk::cases(),
        snat::cases(),
        stranger::cases(),
        devices::cases(),
        too_big::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The beginning of a case: without an end it is none.
#[derive(Clone, Debug)]
struct Given {
    sentence: String,
    world: World,
    earlier: Vec<Packet>,
    hook: Hook,
    ingress: u32,
    headroom: Option<usize>,
    packet: Packet,
}

/// Begins a case: a packet that comes in by [`world::ETH0`].
fn given(sentence: impl Into<String>, world: World, packet: Packet) -> Given {
    Given {
        sentence: sentence.into(),
        world,
        earlier: Vec::new(),
        hook: Hook::Xdp,
        ingress: world::ETH0,
        headroom: None,
        packet,
    }
}

impl Given {
    fn ingress(mut self, ingress: u32) -> Self {
        self.ingress = ingress;
        self
    }

    /// Another packet came in before, and after those that are named already.
    fn after(mut self, packet: Packet) -> Self {
        self.earlier.push(packet);
        self
    }

    /// It comes in by a tunnel's device, [`world::DEVICE`].
    fn by_device(mut self) -> Self {
        self.hook = Hook::Device;
        self.ingress(world::DEVICE)
    }

    fn headroom(mut self, headroom: usize) -> Self {
        self.headroom = Some(headroom);
        self
    }

    /// It ends here, and the packet is as it came.
    fn ends(self, reason: Reason) -> Case {
        let action = match reason.kind() {
            Kind::Pass => Action::Pass,
            Kind::Drop => Action::Drop,
            Kind::Forward | Kind::Reply | Kind::Answer => {
                panic!("{reason:?} sends the packet somewhere")
            }
        };
        self.case(Expect {
            action,
            reason,
            listener: None,
            origin: None,
            tunnel: None,
            out: None,
        })
    }

    /// It goes to origin 0 of listener 0, or from there, by the interface it came in by.
    fn sends(self, reason: Reason, out: Packet) -> Case {
        self.case(Expect {
            action: Action::Transmit,
            reason,
            listener: Some(0),
            origin: Some(0),
            tunnel: None,
            out: Some(out),
        })
    }

    /// The node answers by the interface that it came in by.
    fn answers(self, reason: Reason, out: Packet) -> Case {
        assert_eq!(reason.kind(), Kind::Answer);
        self.case(Expect {
            action: Action::Transmit,
            reason,
            listener: None,
            origin: None,
            tunnel: None,
            out: Some(out),
        })
    }

    fn case(self, expect: Expect) -> Case {
        Case {
            theme: "",
            sentence: self.sentence,
            world: self.world,
            earlier: self.earlier,
            hook: self.hook,
            ingress: self.ingress,
            headroom: self.headroom,
            packet: self.packet,
            expect,
        }
    }
}

impl Case {
    fn redirected_to(mut self, ifindex: u32) -> Self {
        self.expect.action = Action::Redirect(ifindex);
        self
    }

    /// A frame of the case as a dissector of Ethernet must be given it.
    #[must_use]
    pub fn with_ethernet(&self, frame: &[u8]) -> Vec<u8> {
        if !self.packet.is_bare() {
            return frame.to_vec();
        }
        let ethertype: [u8; 2] = match frame.first().map(|first| first >> 4) {
            Some(6) => [0x86, 0xdd],
            _ => [0x08, 0x00],
        };
        [&[2; 12], ethertype.as_slice(), frame].concat()
    }

    fn handed_over_to(mut self, ifindex: u32, ethernet: bool) -> Self {
        self.expect.action = Action::HandOver(Device::new(ifindex, ethernet));
        self
    }

    /// It is changed all the same, and left to the kernel's stack.
    fn left_to_the_kernel(mut self) -> Self {
        self.expect.action = Action::Pass;
        self
    }

    fn of_listener(mut self, counter: u32) -> Self {
        self.expect.listener = Some(counter);
        self
    }

    fn of_origin(mut self, origin: OriginIndex) -> Self {
        self.expect.origin = Some(origin);
        self
    }

    fn through(mut self, tunnel: TunnelIndex) -> Self {
        self.expect.tunnel = Some(tunnel);
        self
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.theme, self.sentence)
    }
}

/// Gives all cases of a file their theme.
fn theme(name: &'static str, cases: Vec<Case>) -> Vec<Case> {
    cases
        .into_iter()
        .map(|case| Case {
            theme: name,
            ..case
        })
        .collect()
}
