use super::{Allowance, FlowKey, Kept, OriginIndex, Seen, abi_type, identity_bits};

/// A client's flow whose row is at risk, put together: the origin that it stays with, and whose entry
/// that is.
///
/// In the maps the two are apart: what each packet needs stands in a [`FlowSet`](super::FlowSet), the
/// rest as a [`Flow`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tracked {
    /// The origin; [`Origin::NONE`](super::Origin::NONE) if the connection has ended, and another is
    /// being opened.
    pub origin: OriginIndex,
    /// [`Origin::identity`](super::Origin::identity) of that origin.
    pub identity: u32,
    /// The hash by which its row is found, in a table of any size.
    pub hash: u32,
    /// Its listener, by its index in `LISTENER_COUNTERS`.
    pub listener: u32,
    /// What the client has shown of itself.
    pub seen: Seen,
}

/// Whose an entry of a [`FlowSet`](super::FlowSet) is (map `FLOW_KEYS`, at the entry's own place): what
/// no packet needs, but whoever looks at the table.
///
/// Who records the flow writes it, after the entry: until then it is about the flow that had the place
/// before, which its [`FlowKey`] shows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(C)]
pub struct Flow {
    /// The flow.
    pub key: FlowKey,
    /// The hash by which its row is found, in a table of any size.
    pub hash: u32,
    /// Its listener, by its index in `LISTENER_COUNTERS`.
    pub listener: u32,
    /// [`Origin::identity`](super::Origin::identity) of the origin that the flow was recorded with.
    pub identity: u32,
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
    /// Flows that were not recorded, for there were too many at once (see
    /// [`Node::flow_interval_ns`](super::Node::flow_interval_ns)), or another CPU took the place.
    pub refused: u64,
    /// Flows that were pushed out of `FLOWS` by others.
    pub evicted: u64,
}

abi_type! {
    Flow: 56 = [FlowKey, u32, u32, u32];
    FlowCounts: 48 = [Allowance, u64, u64, u64, u64, u64];
}

impl Tracked {
    /// What stands where there is none.
    pub const EMPTY: Self = Self {
        origin: 0,
        identity: 0,
        hash: 0,
        listener: 0,
        seen: Seen::NEVER,
    };

    /// What is recorded of a flow, and with whom it is kept.
    #[must_use]
    pub const fn of(flow: &Flow, kept: Kept) -> Self {
        Self {
            origin: kept.origin,
            identity: flow.identity,
            hash: flow.hash,
            listener: flow.listener,
            seen: kept.seen,
        }
    }

    /// The same as two, for the flow of this key.
    #[must_use]
    pub const fn apart(&self, key: FlowKey) -> (Flow, Kept) {
        let flow = Flow {
            key,
            hash: self.hash,
            listener: self.listener,
            identity: self.identity,
        };
        let kept = Kept {
            origin: self.origin,
            identity: identity_bits(self.identity),
            seen: self.seen,
        };
        (flow, kept)
    }
}

impl Flow {
    /// What stands where there is none.
    pub const EMPTY: Self = Self {
        key: FlowKey::EMPTY,
        hash: 0,
        listener: 0,
        identity: 0,
    };
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
            evicted,
        } = *other;
        Self {
            allowance: self.allowance,
            hits: self.hits.wrapping_add(hits),
            inserted: self.inserted.wrapping_add(inserted),
            opened: self.opened.wrapping_add(opened),
            refused: self.refused.wrapping_add(refused),
            evicted: self.evicted.wrapping_add(evicted),
        }
    }
}
