use super::{Allowance, Origin, OriginIndex, Seen, Sight, abi_type};

/// A client's flow whose row is at risk: the origin that it stays with (maps `FLOWS` and, while
/// nothing but its first packets has come, `OPENING`).
///
/// The program alone writes it; the agent removes it from `FLOWS` when it has been silent for long
/// enough. Both maps forget whoever was not asked for longest when they are full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Tracked {
    /// The origin; [`Origin::NONE`] if the connection has ended, and another is being opened.
    pub origin: OriginIndex,
    /// Zero.
    pub reserved: [u8; 2],
    /// [`Origin::identity`] of that origin, lest its slot be another's now.
    pub identity: u32,
    /// The hash by which its row is found, in a table of any size.
    pub hash: u32,
    /// Its listener, by its index in `LISTENER_COUNTERS`.
    pub listener: u32,
    /// What the client has shown of itself.
    pub seen: Seen,
}

/// What has become of flows of rows at risk, on one CPU (map `FLOW_COUNTERS`, one entry).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct FlowCounts {
    /// How many flows may still be recorded.
    pub allowance: Allowance,
    /// Packets whose flow stood in `FLOWS` or `OPENING`.
    pub hits: u64,
    /// Flows recorded in `FLOWS`.
    pub inserted: u64,
    /// First packets recorded in `OPENING`.
    pub opened: u64,
    /// Flows that were not recorded, for there were too many at once: see
    /// [`Node::flow_interval_ns`](super::Node::flow_interval_ns).
    pub refused: u64,
}

abi_type! {
    Tracked: 24 = [OriginIndex, [u8; 2], u32, u32, u32, Seen];
    FlowCounts: 40 = [Allowance, u64, u64, u64, u64];
}

impl Tracked {
    /// What stands where there is none.
    pub const EMPTY: Self = Self {
        origin: 0,
        reserved: [0; 2],
        identity: 0,
        hash: 0,
        listener: 0,
        seen: Seen::NEVER,
    };
    /// For how many ticks an entry of `OPENING` holds: as long as a SYN is waited for to be
    /// answered, and sent again (RFC 6298; Linux sends the last one a minute after the one before).
    pub const OPENING_TICKS: u32 = 64;

    /// Takes note of a packet. One that opens a connection in the place of one that has ended belongs
    /// to nobody yet: what follows it must not go where the old one went.
    #[inline(always)]
    pub const fn see(&mut self, sight: Sight) {
        if self.seen.is_over(sight) {
            self.origin = Origin::NONE;
            self.seen = Seen::first(sight);
        } else {
            self.seen.see(sight);
        }
    }
}

impl FlowCounts {
    /// Both together, with the allowance of the first.
    #[must_use]
    pub const fn plus(self, other: &Self) -> Self {
        let Self {
            allowance: _,
            hits,
            inserted,
            opened,
            refused,
        } = *other;
        Self {
            allowance: self.allowance,
            hits: self.hits.wrapping_add(hits),
            inserted: self.inserted.wrapping_add(inserted),
            opened: self.opened.wrapping_add(opened),
            refused: self.refused.wrapping_add(refused),
        }
    }
}
