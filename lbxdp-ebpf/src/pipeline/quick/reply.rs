//! An origin's answer on its way to a client, both in the node's own network.

use super::Plain;
use crate::abi::{NODE_VLANS, Node, Path, Reverse, Tags, VnetId};
use crate::frame::Frame;
use crate::nat::{self, End};
use crate::parse::Ip;
use crate::pipeline::depart::{Link, write_link};
use crate::pipeline::plan::action;
use crate::tables::{Route, RouteQuery, Tables};
use crate::verdict::{Reason, Slot, Verdict};

/// Sends an origin's answer to its client, as the plan of a reply has it.
#[inline(always)]
pub(super) fn reply<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    node: &Node,
    reverse: &Reverse,
    packet: &Plain,
    ingress: u32,
) -> Option<Verdict> {
    let suits = !packet.opens()
        && packet.hops > 1
        && packet.outline.version.is_of(&reverse.address)
        && reverse.vnet == VnetId::LOCAL
        && node.flags & NODE_VLANS == 0;
    if !suits {
        return None;
    }
    let route = tables.route(&RouteQuery {
        packet: &Ip {
            outline: packet.outline,
            traffic_class: packet.class,
            flow_protocol: packet.outline.protocol,
            destination: packet.destination,
            ..Ip::EMPTY
        },
        source: &reverse.address,
        source_port: if reverse.port.get() == 0 {
            packet.source_port
        } else {
            reverse.port
        },
        destination_port: packet.destination_port,
        ingress,
    });
    let Route::NextHop {
        ifindex,
        source_mac,
        destination_mac,
    } = route
    else {
        return None;
    };
    let link = Link {
        destination_mac,
        source_mac,
        tags: Tags::NONE,
    };
    if write(frame, reverse, packet, &link).is_none() {
        return Some(Reason::NoHeadroom.into());
    }
    Some(Verdict {
        action: action(ifindex, ingress),
        reason: Reason::ReplyNat,
        listener: Slot::of(reverse.counter),
        origin: Slot::of_short(reverse.origin),
        tunnel: Slot::of_short(Path::NO_TUNNEL),
    })
}

/// Writes what is to be written.
#[inline(always)]
fn write<F: Frame>(frame: &mut F, reverse: &Reverse, packet: &Plain, link: &Link) -> Option<()> {
    let outline = &packet.outline;
    nat::take_hop(frame, Plain::START, outline.version)?;
    let (address, port) = (&reverse.address, reverse.port);
    nat::rewrite(frame, Plain::START, outline, End::Source, address, port)?;
    write_link(frame, link, outline.version.ethertype())
}
