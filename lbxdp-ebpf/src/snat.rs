//! Source address and port of flows whose clients the origins are not to see.
//!
//! The mapping is endpoint-dependent (RFC 4787, 4.1, calls it "address and port-dependent"): a
//! source port is taken only towards one origin address and port, so that each of those can have
//! [`SnatRange::PORTS`] flows from every source address. Being added to the map of mappings, which
//! the kernel does for one CPU only, is what makes a port taken; so no two flows get the same, and
//! nothing else needs to be locked. A port is free again when the agent removes the mapping, long
//! after the flow has ended.

#![forbid(unsafe_code)]

use crate::abi::{FlowKey, Mapping, Session, SnatRange};
use crate::hash;
use crate::tables::{Refused, Tables};
use crate::verdict::Reason;

/// Source ports that are tried. With nine of ten ports taken, one flow in 850 finds none, and its
/// next packet tries others.
const ATTEMPTS: u64 = 64;

/// A flow that asks for a source address and port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Request {
    /// The client's flow.
    pub flow: FlowKey,
    /// The answers: all but the destination address and port, which are chosen.
    pub back: FlowKey,
    /// What is to stand at `back`.
    pub mapping: Mapping,
    /// What is to stand at `flow`: all but the source address and port, which are chosen.
    pub session: Session,
    /// What is chosen from.
    pub range: SnatRange,
    /// Where the choice begins: different from flow to flow, and from try to try.
    pub seed: u32,
}

/// Chooses a source address and port, and remembers session and mapping.
///
/// # Errors
/// No free port was found, or the maps are full.
#[inline(always)]
pub fn allocate<T: Tables>(tables: &T, request: &mut Request) -> Result<(), Reason> {
    let mut random = u64::from(request.seed);
    for attempt in 0..ATTEMPTS {
        // The first half is the same for every packet of a flow, the rest for those of a second.
        let late = if attempt < ATTEMPTS / 2 {
            0
        } else {
            u64::from(request.session.seen.tick)
        };
        random = hash::mix(random.wrapping_add(attempt + late));
        let (address, port) = request.range.pick(random);
        request.back.destination = address;
        request.back.destination_port = port;
        match tables.add_mapping(&request.back, &request.mapping) {
            Ok(()) => {
                request.session.source = address;
                request.session.source_port = port;
                return remember(tables, request);
            }
            Err(Refused::Taken) => {}
            Err(Refused::Full) => return Err(Reason::SnatTableFull),
        }
    }
    Err(Reason::SnatExhausted)
}

#[inline(always)]
fn remember<T: Tables>(tables: &T, request: &Request) -> Result<(), Reason> {
    tables
        .set_session(&request.flow, &request.session)
        .map_err(|_| {
            tables.remove_mapping(&request.back);
            Reason::SnatTableFull
        })
}

impl Request {
    /// What stands where nothing is asked for.
    pub const EMPTY: Self = Self {
        flow: FlowKey::EMPTY,
        back: FlowKey::EMPTY,
        mapping: Mapping::EMPTY,
        session: Session::EMPTY,
        range: SnatRange::NONE,
        seed: 0,
    };
}

const _: () = assert!(
    size_of::<Request>() == 44 + 44 + 56 + 32 + 20 + 4,
    "the request has padding"
);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::abi::{Address, Port};
    use crate::mem::MemTables;

    fn request(number: u32) -> Request {
        let [.., a, b] = number.to_be_bytes();
        Request {
            flow: FlowKey {
                source: Address::from_v4([192, 0, 2, 1]),
                source_port: Port::from_bytes([a, b]),
                ..FlowKey::EMPTY
            },
            back: FlowKey {
                source: Address::from_v4([10, 0, 0, 11]),
                source_port: Port::new(80),
                ..FlowKey::EMPTY
            },
            range: SnatRange {
                address: Address::from_v4([10, 255, 0, 1]),
                mask: 0,
            },
            seed: number.wrapping_mul(0x9e37_79b9),
            ..Request::EMPTY
        }
    }

    /// As its next packet, a second later.
    fn again(tables: &MemTables, number: u32) -> Session {
        for tick in 0..50 {
            let mut request = request(number);
            request.session.seen.tick = tick;
            if allocate(tables, &mut request).is_ok() {
                return request.session;
            }
        }
        panic!("flow {number} finds no port");
    }

    #[test]
    fn sixty_thousand_flows_to_one_origin_share_one_address() {
        let tables = MemTables::default();
        let mut taken = BTreeSet::new();
        let mut at_once = 0;
        for number in 0..60_000 {
            let mut request = request(number);
            let session = match allocate(&tables, &mut request) {
                Ok(()) => {
                    at_once += 1;
                    request.session
                }
                Err(reason) => {
                    assert_eq!(reason, Reason::SnatExhausted);
                    again(&tables, number)
                }
            };
            assert!(taken.insert(session.source_port), "port taken twice");
            assert!(session.source_port.get() >= SnatRange::FIRST_PORT);
        }
        assert!(at_once > 59_900, "only {at_once} found a port at once");
        assert_eq!(tables.sessions.lock().len(), 60_000);
    }

    #[test]
    fn a_flow_that_cannot_be_remembered_takes_no_port() {
        let tables = MemTables {
            full: true,
            ..MemTables::default()
        };
        let done = allocate(&tables, &mut request(1));
        assert_eq!(done, Err(Reason::SnatTableFull));
        assert!(tables.mappings.lock().is_empty());
    }
}
