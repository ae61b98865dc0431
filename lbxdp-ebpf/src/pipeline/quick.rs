//! The quick way, for the plainest packets, which most are.
//!
//! What [`process`](super::process()) does with any packet is done here at once with one of which
//! nothing special would be asked. A packet of which something would be is declined before anything
//! is written (but that its flow has been seen), and goes the whole way. Both make the same of a
//! packet, to the byte and the counter; the whole way is what defines it.
//!
//! Plain is TCP or UDP, without VLAN tag, IP options, extension headers or fragments, that fits and
//! has hops left, opens no connection that is rewritten, and
//! - is for no listener and cannot be an answer, or
//! - is for a listener, and an origin with a known next hop that sees its clients' addresses; or
//! - is an answer of such an origin in the node's own network, to a client with a known next hop.

mod plain;
mod reply;
mod request;

use crate::abi::{NODE_LOCAL_REPLIES, NODE_LOCAL_SNAT, NODE_RANGES, VnetId};
use crate::frame::Frame;
use crate::parse::Version;
use crate::steer;
use crate::tables::Tables;
use crate::verdict::{Reason, Verdict};
use crate::wide::Wide as _;
use crate::wire::{Ethernet, IPPROTO_UDP};

use plain::Plain;

/// What [`process`](super::process()) makes of a frame, if it is a plain one; `None`, and the frame
/// is as it came, if it is not.
#[inline(always)]
pub fn quick<F: Frame, T: Tables>(frame: &mut F, tables: &T, ingress: u32) -> Option<Verdict> {
    let ethernet: &Ethernet = frame.at(0)?;
    // All of it once for each version: nothing behind this asks which it is.
    match Version::of_ethertype(ethernet.ethertype.load())? {
        Version::V4 => decide(frame, tables, ingress, &Plain::read_v4(frame)?),
        Version::V6 => decide(frame, tables, ingress, &Plain::read_v6(frame)?),
    }
}

#[inline(always)]
fn decide<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    ingress: u32,
    packet: &Plain,
) -> Option<Verdict> {
    let node = tables.node()?;
    let protocol = packet.outline.protocol;
    if protocol == IPPROTO_UDP && tables.is_tunnel_port(packet.destination_port) {
        return None;
    }
    let service = |address, port| steer::service(address, port, protocol, VnetId::LOCAL);
    let to = service(packet.destination, packet.destination_port);
    if let Some(listener) = tables.listener(&to) {
        return request::request(frame, tables, &node, &listener, packet, ingress);
    }
    if node.flags & NODE_RANGES != 0 {
        return None;
    }
    if node.flags & NODE_LOCAL_REPLIES != 0
        && let Some(reverse) = tables.reverse(&service(packet.source, packet.source_port))
    {
        return reply::reply(frame, tables, &node, &reverse, packet, ingress);
    }
    (node.flags & NODE_LOCAL_SNAT == 0).then(|| Reason::NoListener.into())
}
