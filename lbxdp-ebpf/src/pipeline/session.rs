//! Sessions of clients that origins do not see.

use super::Subject;
use crate::abi::{
    Address, FlowKey, LISTENER_SNAT, Listener, Mapping, ORIGIN_DOWN, Origin, OriginIndex, Port,
    Reverse, Seen, Session,
};
use crate::snat;
use crate::tables::Tables;
use crate::verdict::Reason;
use crate::wire::TCP_RST;

/// The origin that a session keeps its flow with, while that serves.
#[inline(always)]
pub(super) fn stays<'t, T: Tables>(
    tables: &'t T,
    session: Option<&Session>,
) -> Option<(OriginIndex, T::Ref<'t, Origin>)> {
    let session = session?;
    let origin = tables.origin(session.origin)?;
    (is_with(session, session.origin, &origin) && origin.flags & ORIGIN_DOWN == 0)
        .then_some((session.origin, origin))
}

/// Whether it is this origin that a session is with, from an address that the origin still answers
/// to.
#[inline(always)]
pub(super) fn is_with(session: &Session, index: OriginIndex, origin: &Origin) -> bool {
    // In one comparison: each is one more way through the rest of the program.
    (u32::from(session.origin ^ index)
        | (session.identity ^ origin.identity)
        | origin.snat.difference(&session.source))
        == 0
}

/// Gives a flow a source address and port.
#[inline(always)]
pub(super) fn begin<T: Tables>(
    tables: &T,
    subject: &Subject<'_>,
    listener: &Listener,
    (index, origin): (OriginIndex, &Origin),
    request: &mut snat::Request,
) -> Result<(), Reason> {
    let sight = subject.sight(tables).ok_or(Reason::NoSession)?;
    // Without the flag an edit of the configuration is half in force, and sessions are not looked
    // for yet.
    if sight.tcp_flags & TCP_RST != 0 || listener.flags & LISTENER_SNAT == 0 {
        return Err(Reason::NoSession);
    }
    let flow = request.flow;
    request.back = FlowKey {
        source: origin.address,
        destination: Address::UNSPECIFIED,
        source_port: if origin.port.get() == 0 {
            flow.destination_port
        } else {
            origin.port
        },
        destination_port: Port::new(0),
        vnet: origin.vnet,
        protocol: flow.protocol,
        reserved: [0; 3],
    };
    request.mapping = Mapping {
        client: flow.source,
        address: flow.destination,
        client_port: flow.source_port,
        port: flow.destination_port,
        vnet: flow.vnet,
        counter: listener.counter,
        origin: index,
        reserved: [0; 2],
        // The origin has time to answer from now on.
        seen: Seen {
            tick: sight.tick,
            ..Seen::NEVER
        },
    };
    request.session = Session {
        origin: index,
        identity: origin.identity,
        seen: Seen::first(sight),
        ..Session::EMPTY
    };
    request.range = origin.snat;
    tables.allocate(request)
}

/// What a mapping says of an answer, but for the client.
#[inline(always)]
pub(super) fn reverse_of(mapping: &Mapping) -> Reverse {
    Reverse {
        address: mapping.address,
        port: mapping.port,
        origin: mapping.origin,
        vnet: mapping.vnet,
        counter: mapping.counter,
    }
}
