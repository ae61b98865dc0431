//! Flows whose row is at risk: which origin each stays with.
//!
//! A row is quiet, and this module not asked, unless its owner has changed or will change: because
//! the owner by configuration is down ([`ROW_INSERT`]), because the configuration was edited a short
//! while ago ([`ROW_GENERATION`]), or because flows that began in such a time are not over yet
//! ([`ROW_LOOKUP`]). Only flows of those rows are recorded: what is at risk, and nothing else.
//!
//! A first packet (a SYN; of QUIC, an Initial) is recorded apart, in `OPENING`, and moves to `FLOWS`
//! with the next packet of its flow: so that a flood of first packets fills nothing that a running
//! connection needs. How many flows each CPU records in a second is limited, and most of that is
//! kept from first packets.

#![forbid(unsafe_code)]

use crate::abi::{
    Flow, FlowCounts, FlowKey, Kept, LISTENER_QUIC, LISTENER_UDP_MOVE, Listener, Node, ORIGIN_DOWN,
    Origin, OriginIndex, Owner, ROW_GENERATION, ROW_INSERT, ROW_LOOKUP, Seen, Sight, identity_bits,
};
use crate::flow_table::Recording;
use crate::frame::Frame;
use crate::hash;
use crate::steer::Place;
use crate::tables::Tables;
use crate::wire::{IPPROTO_UDP, QuicLong, TCP_ACK, TCP_SYN};

/// A packet of a flow whose row is at risk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Request {
    /// [`hash::flow_digest`] of the flow.
    pub digest: u64,
    /// The flow, as it is recorded; the identity is that of the origin that is chosen.
    pub flow: Flow,
    /// The row, by its index in `ROWS`.
    pub row: u32,
    /// Its owner.
    pub owner: Owner,
    /// How many rows the table had to which the row's previous owners refer.
    pub previous_rows: u32,
    /// Offset of what is above UDP.
    pub payload: u16,
    /// The origin that is chosen: [`Origin::NONE`] if there is none for it.
    pub origin: OriginIndex,
    /// The lower flags of the listener.
    listener_flags: u8,
    /// Control bits of TCP, or 0.
    pub tcp_flags: u8,
    /// 1 for a packet that says nothing of its flow: an ICMP error, or a fragment without ports.
    pub aside: u8,
    /// 1 for a flow that was with an origin that does not serve. Wherever it goes now, it must not go
    /// back when that one returns. Here, as the verifier follows both values of a variable.
    pub displaced: u8,
    /// 1 if the flow is recorded.
    is_hit: u8,
    /// Where the flow is to be recorded with that: a [`Record`].
    record: u8,
    reserved: [u8; 2],
}

const _: () = assert!(
    LISTENER_QUIC | LISTENER_UDP_MOVE <= u8::MAX as u32,
    "flags of listeners are not in the bits that are kept of them"
);

const _: () = assert!(
    size_of::<Request>() == 8 + 56 + 8 + 4 + 2 + 2 + 6 + 2,
    "the request has padding"
);

impl Request {
    /// What stands where nothing is asked for.
    pub const EMPTY: Self = Self {
        digest: 0,
        flow: Flow::EMPTY,
        row: 0,
        owner: Owner {
            current: Origin::NONE,
            flags: 0,
            reserved: 0,
        },
        previous_rows: 0,
        payload: 0,
        listener_flags: 0,
        tcp_flags: 0,
        aside: 0,
        displaced: 0,
        is_hit: 0,
        origin: Origin::NONE,
        record: Record::Nowhere as u8,
        reserved: [0; 2],
    };

    /// Makes it that of a flow whose row is found by `hash`. What its packet shows is still to be
    /// written, and who it is ([`Self::begin`]). Each field by itself: the kernel's stack is small.
    #[inline(always)]
    pub const fn ask(&mut self, hash: u32, listener: &Listener, at: Place, owner: Owner) {
        self.flow.hash = hash;
        self.flow.listener = listener.counter;
        self.listener_flags = listener.flags as u8;
        self.row = at.row;
        self.owner = owner;
        self.previous_rows = at.previous_rows;
    }

    /// Makes it that of this flow, of which nothing is decided yet.
    #[inline(always)]
    pub const fn begin(&mut self, key: &FlowKey, digest: u64) {
        self.digest = digest;
        self.flow.key = *key;
        self.flow.identity = 0;
        self.displaced = 0;
        self.is_hit = 0;
        self.record = Record::Nowhere as u8;
    }

    /// What the packet shows.
    #[inline(always)]
    fn sight<T: Tables>(&self, tables: &T) -> Sight {
        Sight {
            tick: Seen::tick_of(tables.now_ns()),
            tcp_flags: self.tcp_flags,
        }
    }

    /// The flow is to be recorded, with an origin of this identity.
    #[inline(always)]
    const fn enter(&mut self, identity: u32, shows: Shows) {
        self.flow.identity = identity;
        self.record = match shows {
            Shows::Opens => Record::First as u8,
            _ => Record::Flow as u8,
        };
    }

    /// Whether what is recorded is the first packet.
    #[inline(always)]
    const fn is_first(&self) -> bool {
        self.record == Record::First as u8
    }

    /// The row's owner before, for this flow.
    #[inline(always)]
    fn previous<T: Tables>(&self, tables: &T) -> OriginIndex {
        let Some(row) = tables.row(self.row) else {
            return Origin::NONE;
        };
        let [even, odd] = row.previous;
        if hash::reduce(self.flow.hash, self.previous_rows) & 1 == 0 {
            even
        } else {
            odd
        }
    }
}

/// What a packet shows of its flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shows {
    /// It begins with this packet.
    Opens,
    /// It began before.
    Continues,
    /// It may have begun before, and may go elsewhere.
    Moves,
    /// Nothing.
    Nothing,
}

/// Where a flow is to be recorded.
#[repr(u8)]
enum Record {
    Nowhere,
    /// In `OPENING`.
    First,
    /// In `FLOWS`.
    Flow,
}

/// The origin that the packet of this flow goes to, all of it being noted: [`Origin::NONE`] if there is
/// none for it.
#[inline(always)]
pub fn follow<F: Frame, T: Tables>(
    frame: &F,
    tables: &T,
    key: &FlowKey,
    request: &mut Request,
) -> OriginIndex {
    let Some(node) = tables.node() else {
        return Origin::NONE;
    };
    request.begin(key, hash::flow_digest(&node.hash_key, key));
    decide(frame, tables, request);
    note(tables, &node, request);
    request.origin
}

/// Decides where the packet goes, and what is to be [noted](note) of that. Nothing is written to the
/// tables but that a recorded flow has been seen, which may happen twice.
#[inline(always)]
pub fn decide<F: Frame, T: Tables>(frame: &F, tables: &T, request: &mut Request) {
    let shows = shows(frame, request);
    let Owner { current, flags, .. } = request.owner;
    if flags & ROW_LOOKUP != 0 && recorded(tables, request, shows).is_some() {
        request.is_hit = 1;
        return;
    }
    let previous = match shows {
        Shows::Opens | Shows::Moves => None,
        Shows::Continues | Shows::Nothing if flags & ROW_GENERATION == 0 => None,
        Shows::Continues | Shows::Nothing => {
            let previous = request.previous(tables);
            usable(tables, previous).map(|identity| (previous, identity))
        }
    };
    let at_risk = match shows {
        // Of one that continues, the owner before is down.
        Shows::Opens | Shows::Continues => {
            flags & (ROW_GENERATION | ROW_INSERT) != 0 || request.displaced != 0
        }
        Shows::Moves => flags & ROW_INSERT != 0 || request.displaced != 0,
        Shows::Nothing => false,
    };
    request.origin = current;
    match previous {
        Some((previous, identity)) => {
            request.origin = previous;
            if shows != Shows::Nothing {
                request.enter(identity, shows);
            }
        }
        None if !at_risk => {}
        None => {
            if let Some(identity) = usable(tables, current) {
                request.enter(identity, shows);
            }
        }
    }
}

/// Finds the origin that the flow is recorded with, if that serves.
#[inline(always)]
fn recorded<T: Tables>(tables: &T, request: &mut Request, shows: Shows) -> Option<()> {
    let sight = request.sight(tables);
    let seen = (shows != Shows::Nothing).then_some(sight);
    let (digest, now) = (request.digest, sight.tick);
    let (mut kept, mut is_first) = tables.recorded(&request.flow.key, digest, now, seen)?;
    if !is_first && serves(tables, kept).is_none() {
        request.displaced = 1;
        kept = tables.opening(&request.flow.key, digest, now)?;
        is_first = true;
    }
    request.origin = kept.origin;
    if !is_first {
        return Some(());
    }
    if now.wrapping_sub(kept.seen.tick) > Kept::OPENING_TICKS {
        return None;
    }
    let identity = serves(tables, kept)?;
    if shows != Shows::Nothing {
        request.enter(identity, shows);
    }
    Some(())
}

/// Counts and records what was decided; a flow is not recorded if too many are.
#[inline(always)]
pub fn note<T: Tables>(tables: &T, node: &Node, request: &Request) {
    if request.is_hit != 0 {
        tables.count_flow(FlowEvent::Hit);
    }
    if request.record != Record::Nowhere as u8
        && tables.may_record(node.flow_interval_ns, request.is_first())
    {
        tables.record(request);
    }
}

/// Whether this CPU may record another flow, if it may one in each `interval_ns`, or one of which this
/// is the first packet; counts one that is not recorded.
#[inline(always)]
pub fn may_record<T: Tables>(tables: &T, interval_ns: u64, is_first: bool) -> bool {
    let allowance = tables.flow_allowance();
    match allowance.spend_flow(tables.now_ns(), interval_ns, is_first) {
        Some(left) => {
            tables.set_flow_allowance(left);
            true
        }
        None => {
            tables.count_flow(FlowEvent::Refused);
            false
        }
    }
}

/// Records a flow, and counts it.
#[inline(always)]
pub fn record<T: Tables>(tables: &T, request: &Request) {
    let Request { digest, flow, .. } = request;
    let kept = Kept {
        origin: request.origin,
        identity: identity_bits(flow.identity),
        seen: Seen::first(request.sight(tables)),
    };
    let is_first = request.is_first();
    let recording = if is_first {
        tables.set_opening(flow, *digest, kept)
    } else {
        tables.track(flow, *digest, kept)
    };
    if recording == Recording::Lost {
        tables.count_flow(FlowEvent::Refused);
        return;
    }
    if is_first {
        tables.count_flow(FlowEvent::Opened);
        return;
    }
    tables.forget_opening(&flow.key, *digest);
    // One that was displaced takes the place of its own entry.
    if request.displaced == 0 {
        tables.count_flow(FlowEvent::Inserted);
    }
    if recording == Recording::Evicting {
        tables.count_flow(FlowEvent::Evicted);
    }
}

/// The identity of the origin that a flow is kept to, if that serves.
#[inline(always)]
fn serves<T: Tables>(tables: &T, kept: Kept) -> Option<u32> {
    usable(tables, kept.origin).filter(|identity| identity_bits(*identity) == kept.identity)
}

/// The identity of an origin that is there, and not down.
#[inline(always)]
fn usable<T: Tables>(tables: &T, index: OriginIndex) -> Option<u32> {
    if index == Origin::NONE {
        return None;
    }
    let origin = tables.origin(index)?;
    (origin.mode().is_some() && origin.flags & ORIGIN_DOWN == 0).then_some(origin.identity)
}

#[inline(always)]
fn shows<F: Frame>(frame: &F, request: &Request) -> Shows {
    if request.aside != 0 {
        return Shows::Nothing;
    }
    let opens = if request.flow.key.protocol != IPPROTO_UDP {
        request.tcp_flags & (TCP_SYN | TCP_ACK) == TCP_SYN
    } else if u32::from(request.listener_flags) & LISTENER_QUIC != 0 {
        frame
            .at::<QuicLong>(request.payload as usize)
            .is_some_and(QuicLong::opens)
    } else if u32::from(request.listener_flags) & LISTENER_UDP_MOVE != 0 {
        return Shows::Moves;
    } else {
        false
    };
    if opens {
        Shows::Opens
    } else {
        Shows::Continues
    }
}

/// What [`FlowCounts`] counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FlowEvent {
    /// A flow was found.
    Hit,
    /// A flow was recorded.
    Inserted,
    /// A first packet was recorded.
    Opened,
    /// There were too many, or another CPU took the place.
    Refused,
    /// A flow was pushed out by another.
    Evicted,
}

impl FlowCounts {
    /// Counts one.
    #[inline(always)]
    pub const fn count(&mut self, event: FlowEvent) {
        let counter = match event {
            FlowEvent::Hit => &mut self.hits,
            FlowEvent::Inserted => &mut self.inserted,
            FlowEvent::Opened => &mut self.opened,
            FlowEvent::Refused => &mut self.refused,
            FlowEvent::Evicted => &mut self.evicted,
        };
        *counter += 1;
    }
}

#[cfg(test)]
mod tests;
