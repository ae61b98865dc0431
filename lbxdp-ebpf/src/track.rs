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
    Allowance, FlowCounts, FlowKey, LISTENER_QUIC, LISTENER_UDP_MOVE, ORIGIN_DOWN, Origin,
    OriginIndex, ROW_GENERATION, ROW_INSERT, ROW_LOOKUP, Row, Seen, Sight, Tracked,
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

/// The origin that the packet goes to: [`Origin::NONE`] if there is none for it.
#[inline(always)]
pub fn follow<F: Frame, T: Tables>(frame: &F, tables: &T, request: &mut Request) -> OriginIndex {
    let shows = shows(frame, request);
    let sight = Sight {
        tick: Seen::tick_of(tables.now_ns()),
        tcp_flags: request.tcp_flags,
    };
    let Row { current, flags, .. } = request.row;
    if flags & ROW_LOOKUP != 0
        && let Some(origin) = recorded(tables, request, shows, sight)
    {
        return origin;
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
    let chosen = match previous {
        Some(_) if shows == Shows::Nothing => return request.previous(),
        Some(previous) => previous,
        None if !at_risk => return current,
        None => match usable(tables, current) {
            Some(identity) => (current, identity),
            None => return current,
        },
    };
    (request.entry.origin, request.entry.identity) = chosen;
    request.entry.seen = Seen::first(sight);
    record(tables, request, shows);
    request.entry.origin
}

/// The origin that the flow is recorded with, if it serves.
#[inline(always)]
fn recorded<T: Tables>(
    tables: &T,
    request: &mut Request,
    shows: Shows,
    sight: Sight,
) -> Option<OriginIndex> {
    let seen = (shows != Shows::Nothing).then_some(sight);
    if let Some(entry) = tables.tracked(&request.flow, seen) {
        if usable(tables, entry.origin) == Some(entry.identity) {
            tables.count_flow(FlowEvent::Hit);
            return Some(entry.origin);
        }
        request.displaced = 1;
    }
    let entry = *tables.opening(&request.flow)?;
    let age = sight.tick.wrapping_sub(entry.seen.tick);
    if age > Tracked::OPENING_TICKS || usable(tables, entry.origin) != Some(entry.identity) {
        return None;
    }
    tables.count_flow(FlowEvent::Hit);
    if shows != Shows::Nothing {
        request.entry.origin = entry.origin;
        request.entry.identity = entry.identity;
        request.entry.seen = Seen::first(sight);
        record(tables, request, shows);
    }
    Some(entry.origin)
}

/// Records the flow with the origin of the request's entry, unless too many are.
#[inline(always)]
fn record<T: Tables>(tables: &T, request: &Request, shows: Shows) {
    let Some(interval_ns) = tables.node().map(|node| node.flow_interval_ns) else {
        return;
    };
    let allowance = tables.flow_allowance();
    let Some(left) = allowance.spend(tables.now_ns(), interval_ns, Allowance::FLOW_BURST) else {
        tables.count_flow(FlowEvent::Refused);
        return;
    };
    tables.set_flow_allowance(left);
    if shows == Shows::Opens {
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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
