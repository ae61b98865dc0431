//! Flows whose row is at risk: which origin each stays with.
//!
//! A row is quiet, and this module not asked, unless its owner has changed or will change: because
//! the owner by configuration is down ([`ROW_INSERT`]), because the configuration was edited a short
//! while ago ([`ROW_GENERATION`]), or because flows that began in such a time are not over yet
//! ([`ROW_LOOKUP`]). Only flows of those rows are recorded: what is at risk, and nothing else.
//!
//! A first packet (a SYN; of QUIC, an Initial) is recorded apart, in `OPENING`, and moves to `FLOWS`
//! with the next packet of its flow: so that a flood of first packets fills nothing that a running
//! connection needs. How many flows each CPU records in a second is limited.

#![forbid(unsafe_code)]

use crate::abi::{
    Allowance, FlowCounts, FlowKey, LISTENER_QUIC, LISTENER_UDP_MOVE, Listener, ORIGIN_DOWN,
    Origin, OriginIndex, ROW_GENERATION, ROW_INSERT, ROW_LOOKUP, Row, Seen, Sight, Tracked,
};
use crate::frame::Frame;
use crate::hash;
use crate::tables::Tables;
use crate::wire::{IPPROTO_UDP, QuicLong, TCP_ACK, TCP_SYN};

/// A packet of a flow whose row is at risk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Request {
    /// The flow.
    pub flow: FlowKey,
    /// What is recorded: all but the origin, which is chosen.
    pub entry: Tracked,
    /// The row.
    pub row: Row,
    /// How many rows the table had to which the row's previous owners refer.
    pub previous_rows: u32,
    /// Flags of the listener.
    pub listener_flags: u32,
    /// Offset of what is above UDP.
    pub payload: u32,
    /// Control bits of TCP, or 0.
    pub tcp_flags: u8,
    /// 1 for a packet that says nothing of its flow: an ICMP error, or a fragment without ports.
    pub aside: u8,
    /// 1 for a flow that was with an origin that does not serve. Wherever it goes now, it must not go
    /// back when that one returns. Here, as the verifier follows both values of a variable.
    pub displaced: u8,
    /// Zero.
    pub reserved: u8,
}

const _: () = assert!(
    size_of::<Request>() == 44 + 24 + 8 + 4 + 4 + 4 + 4,
    "the request has padding"
);

impl Request {
    /// What stands where nothing is asked for.
    pub const EMPTY: Self = Self {
        flow: FlowKey::EMPTY,
        entry: Tracked::EMPTY,
        row: Row::VACANT,
        previous_rows: 0,
        listener_flags: 0,
        payload: 0,
        tcp_flags: 0,
        aside: 0,
        displaced: 0,
        reserved: 0,
    };

    /// Of a flow of this hash, in this row; what its packet shows is not there yet.
    #[inline(always)]
    #[must_use]
    pub const fn of(
        flow: FlowKey,
        hash: u32,
        listener: &Listener,
        row: Row,
        previous_rows: u32,
    ) -> Self {
        Self {
            flow,
            entry: Tracked {
                hash,
                listener: listener.counter,
                ..Tracked::EMPTY
            },
            row,
            previous_rows,
            listener_flags: listener.flags,
            ..Self::EMPTY
        }
    }

    /// Makes the entry that the flow is recorded by, and says where.
    #[inline(always)]
    fn enter(&mut self, origin: OriginIndex, identity: u32, sight: Sight, shows: Shows) -> Record {
        self.entry.origin = origin;
        self.entry.identity = identity;
        self.entry.seen = Seen::first(sight);
        if shows == Shows::Opens {
            Record::First
        } else {
            Record::Flow
        }
    }

    /// The row's owner before, for this flow.
    #[inline(always)]
    fn previous(&self) -> OriginIndex {
        let [even, odd] = self.row.previous;
        if hash::reduce(self.entry.hash, self.previous_rows) & 1 == 0 {
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

/// Where a packet goes, and what is to be noted of that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// The origin: [`Origin::NONE`] if there is none for it.
    pub origin: OriginIndex,
    /// Whether its flow is recorded.
    is_hit: bool,
    record: Record,
}

/// Where a flow is to be recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Record {
    Nowhere,
    /// In `OPENING`, with the origin of the request's entry.
    First,
    /// In `FLOWS`, with the origin of the request's entry.
    Flow,
}

impl Decision {
    #[inline(always)]
    const fn owned_by(origin: OriginIndex) -> Self {
        Self {
            origin,
            is_hit: false,
            record: Record::Nowhere,
        }
    }

    #[inline(always)]
    const fn hit(origin: OriginIndex, record: Record) -> Self {
        Self {
            origin,
            is_hit: true,
            record,
        }
    }
}

/// The origin that the packet goes to, all of it being noted: [`Origin::NONE`] if there is none for
/// it.
#[inline(always)]
pub fn follow<F: Frame, T: Tables>(frame: &F, tables: &T, request: &mut Request) -> OriginIndex {
    let decision = decide(frame, tables, request);
    note(tables, request, decision);
    decision.origin
}

/// Decides where the packet goes. Nothing is written but that a recorded flow has been seen, which
/// may happen twice.
#[inline(always)]
pub fn decide<F: Frame, T: Tables>(frame: &F, tables: &T, request: &mut Request) -> Decision {
    let shows = shows(frame, request);
    let sight = Sight {
        tick: Seen::tick_of(tables.now_ns()),
        tcp_flags: request.tcp_flags,
    };
    let Row { current, flags, .. } = request.row;
    if flags & ROW_LOOKUP != 0
        && let Some(decision) = recorded(tables, request, shows, sight)
    {
        return decision;
    }
    let previous = match shows {
        Shows::Opens | Shows::Moves => None,
        Shows::Continues | Shows::Nothing if flags & ROW_GENERATION == 0 => None,
        Shows::Continues | Shows::Nothing => {
            let previous = request.previous();
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
    let (origin, identity) = match previous {
        Some(_) if shows == Shows::Nothing => return Decision::owned_by(request.previous()),
        Some(previous) => previous,
        None if !at_risk => return Decision::owned_by(current),
        None => match usable(tables, current) {
            Some(identity) => (current, identity),
            None => return Decision::owned_by(current),
        },
    };
    Decision {
        record: request.enter(origin, identity, sight, shows),
        ..Decision::owned_by(origin)
    }
}

/// The origin that the flow is recorded with, if it serves.
#[inline(always)]
fn recorded<T: Tables>(
    tables: &T,
    request: &mut Request,
    shows: Shows,
    sight: Sight,
) -> Option<Decision> {
    let seen = (shows != Shows::Nothing).then_some(sight);
    if let Some(entry) = tables.tracked(&request.flow, seen) {
        if usable(tables, entry.origin) == Some(entry.identity) {
            return Some(Decision::hit(entry.origin, Record::Nowhere));
        }
        request.displaced = 1;
    }
    let entry = *tables.opening(&request.flow)?;
    let age = sight.tick.wrapping_sub(entry.seen.tick);
    if age > Tracked::OPENING_TICKS || usable(tables, entry.origin) != Some(entry.identity) {
        return None;
    }
    let record = if shows == Shows::Nothing {
        Record::Nowhere
    } else {
        request.enter(entry.origin, entry.identity, sight, shows)
    };
    Some(Decision::hit(entry.origin, record))
}

/// Counts and records what was decided; a flow is not recorded if too many are.
#[inline(always)]
pub fn note<T: Tables>(tables: &T, request: &Request, decision: Decision) {
    if decision.is_hit {
        tables.count_flow(FlowEvent::Hit);
    }
    if decision.record == Record::Nowhere {
        return;
    }
    let Some(interval_ns) = tables.node().map(|node| node.flow_interval_ns) else {
        return;
    };
    let allowance = tables.flow_allowance();
    let Some(left) = allowance.spend(tables.now_ns(), interval_ns, Allowance::FLOW_BURST) else {
        tables.count_flow(FlowEvent::Refused);
        return;
    };
    tables.set_flow_allowance(left);
    if decision.record == Record::First {
        tables.set_opening(&request.flow, &request.entry);
        tables.count_flow(FlowEvent::Opened);
    } else {
        tables.track(&request.flow, &request.entry);
        tables.forget_opening(&request.flow);
        // One that was displaced takes the place of its own entry.
        if request.displaced == 0 {
            tables.count_flow(FlowEvent::Inserted);
        }
    }
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
    let opens = if request.flow.protocol != IPPROTO_UDP {
        request.tcp_flags & (TCP_SYN | TCP_ACK) == TCP_SYN
    } else if request.listener_flags & LISTENER_QUIC != 0 {
        frame
            .at::<QuicLong>(request.payload as usize)
            .is_some_and(QuicLong::opens)
    } else if request.listener_flags & LISTENER_UDP_MOVE != 0 {
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
    /// There were too many.
    Refused,
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
        };
        *counter += 1;
    }
}

#[cfg(test)]
mod tests;
