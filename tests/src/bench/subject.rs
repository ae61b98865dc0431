//! One of the things that are measured.

use lbxdp_ebpf::abi::capacity;
use lbxdp_ebpf::bench::{FRAME_LEN, Source};
use lbxdp_ebpf::verdict::Reason;

use super::subjects::{RECORDED, hop_of};

/// A program, the packet that it is given, and how that must end.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its name.
    pub name: String,
    /// The slot of the program.
    pub program: u32,
    /// The packet of the first flow.
    pub frame: [u8; FRAME_LEN],
    /// Where the last byte of the client's address is.
    pub host_at: u16,
    /// Where the client's port is.
    pub port_at: u16,
    /// Of which flows its packets are.
    pub flows: Flows,
    /// What the agent tells a node that has no other case but this.
    pub node: u64,
    /// What the program returns.
    pub action: u32,
    /// Why, where it is the program `lbxdp`.
    pub reason: Option<Reason>,
}

/// Of which flows packets are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flows {
    /// As many as are asked for.
    Any,
    /// As many, each of which this packet opens.
    Opened([u8; FRAME_LEN]),
    /// As many, each of which is recorded in map `FLOWS`.
    Recorded,
    /// Each packet opens one that there has never been.
    New,
}

impl Flows {
    /// Whether there can be so many of them.
    #[must_use]
    pub const fn has_room(&self, flows: u32) -> bool {
        match self {
            Self::Any | Self::New => true,
            Self::Opened(_) => flows <= capacity::SESSIONS / 2,
            Self::Recorded => flows <= RECORDED,
        }
    }
}

impl Subject {
    /// The packet of a flow.
    #[must_use]
    pub fn packet_of(&self, flow: u32) -> [u8; FRAME_LEN] {
        let mut frame = self.frame;
        let Source { net, host, port } = Source::of_flow(flow);
        let (host_at, port_at) = (usize::from(self.host_at), usize::from(self.port_at));
        frame[host_at - 1..=host_at].copy_from_slice(&[net, host]);
        frame[port_at..port_at + 2].copy_from_slice(&port.to_be_bytes());
        frame
    }

    /// The origin that a frame which has been sent on is for.
    #[must_use]
    pub fn origin_of(frame: &[u8]) -> Option<u16> {
        let mac = frame.first_chunk::<6>()?;
        let number = u16::from_be_bytes([mac[4], mac[5]]);
        (*mac == hop_of(number)).then_some(number)
    }
}
