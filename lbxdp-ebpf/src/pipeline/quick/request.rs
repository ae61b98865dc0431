//! A client's packet on its way to an origin.

use super::Plain;
use crate::abi::{
    LISTENER_SNAT, LISTENER_SOURCE_HASH, Listener, Mode, Node, Origin, OriginIndex,
    PATH_GRE_CHECKSUM, PATH_RESOLVED, PATH_UDP_CHECKSUM, VnetId,
};
use crate::encap::{self, Inherited};
use crate::frame::Frame;
use crate::hash;
use crate::nat::{self, End};
use crate::parse::Version;
use crate::pipeline::plan::{action, fits};
use crate::steer;
use crate::tables::Tables;
use crate::track;
use crate::verdict::{Reason, Slot, Verdict};
use crate::wide::{self, Wide as _};
use crate::wire::{Ethernet, Udp};

/// Sends a client's packet to its origin, as the plan of a request has it.
#[inline(always)]
pub(super) fn request<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    node: &Node,
    listener: &Listener,
    packet: &Plain,
    ingress: u32,
) -> Option<Verdict> {
    if listener.has(LISTENER_SNAT) {
        return None;
    }
    let digest = hash::flow_digest(&node.hash_key, &packet.flow());
    let hash = if listener.has(LISTENER_SOURCE_HASH) {
        hash::source_hash(&node.hash_key, &packet.source, VnetId::LOCAL)
    } else {
        hash::upper(digest)
    };
    let at = steer::row(tables, listener, hash).ok()?;
    let owner = tables.owner(at.row)?;
    if owner.flags == 0 {
        return send(
            frame,
            tables,
            listener,
            packet,
            hash,
            owner.current,
            || {},
            ingress,
        );
    }
    let mut risk = track::Request::EMPTY;
    risk.ask(hash, listener, at, owner);
    risk.begin(&packet.flow(), digest);
    risk.payload = (packet.transport() + size_of::<Udp>()) as u16;
    risk.tcp_flags = packet.tcp_flags;
    track::decide(frame, tables, &mut risk);
    send(
        frame,
        tables,
        listener,
        packet,
        hash,
        risk.origin,
        || track::note(tables, node, &risk),
        ingress,
    )
}

/// Sends it to an origin. What is to be noted, is, once it is certain that it is sent.
#[expect(clippy::too_many_arguments, reason = "a step of the one way through")]
#[inline(always)]
fn send<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    listener: &Listener,
    packet: &Plain,
    hash: u32,
    index: OriginIndex,
    note: impl FnOnce(),
    ingress: u32,
) -> Option<Verdict> {
    let origin = tables.origin(index)?;
    if !suits(&origin, packet) {
        return None;
    }
    note();
    let path = &origin.path;
    // What is decided of the packet is read again when it has been written, rather than kept: each
    // thing that differs would be one more way through all headers for the verifier.
    let room = match path.header_len {
        0 => Ok(()),
        len => frame.move_head(-i32::from(len)),
    };
    if room.is_err() || write(frame, &origin, packet, hash).is_none() {
        return Some(Reason::NoHeadroom.into());
    }
    Some(Verdict {
        action: action(path.ifindex, ingress),
        reason: reason(&origin),
        listener: Slot::of(listener.counter),
        origin: Slot::of_short(index),
        tunnel: Slot::of_short(path.tunnel),
    })
}

/// Whether the packet goes to its origin with nothing in the way, and with nothing to be done but what
/// [`write`] does.
#[inline(always)]
fn suits(origin: &Origin, packet: &Plain) -> bool {
    let path = &origin.path;
    let in_tunnel = encap::is_tunnel(path);
    let suits_mode = match origin.mode() {
        Some(Mode::NatPreserve) => !packet.opens() && packet.outline.version.is_of(&origin.address),
        Some(Mode::Dsr) => in_tunnel,
        Some(Mode::DsrL2) => !in_tunnel,
        Some(Mode::NatSnat) | None => false,
    };
    suits_mode
        && packet.hops > 1
        && path.has(PATH_RESOLVED)
        && !path.has(PATH_UDP_CHECKSUM | PATH_GRE_CHECKSUM)
        && !path.is_device()
        && path.vlan == [0, 0]
        && fits(path, packet.outline.length)
}

#[inline(always)]
fn reason(origin: &Origin) -> Reason {
    let in_tunnel = encap::is_tunnel(&origin.path);
    match origin.mode {
        mode if mode == Mode::DsrL2 as u8 => Reason::ForwardDsrL2,
        mode if mode == Mode::Dsr as u8 => Reason::ForwardDsr,
        _ if in_tunnel => Reason::ForwardNatTunnel,
        _ => Reason::ForwardNat,
    }
}

/// Writes what is to be written, in a frame that has the room for it.
#[inline(always)]
fn write<F: Frame>(frame: &mut F, origin: &Origin, packet: &Plain, hash: u32) -> Option<()> {
    let path = &origin.path;
    let outline = &packet.outline;
    let start = Plain::START + usize::from(path.header_len);
    let mut inherited = Inherited {
        class: packet.class,
        hops: packet.hops,
    };
    if origin.mode != Mode::DsrL2 as u8 {
        nat::take_hop(frame, start, outline.version)?;
        inherited.hops -= 1;
    }
    if origin.mode == Mode::NatPreserve as u8 {
        let (address, port) = (&origin.address, origin.port);
        nat::rewrite(frame, start, outline, End::Destination, address, port)?;
    }
    let mut version = outline.version;
    if encap::is_tunnel(path) {
        encap::push_plain(frame, Plain::START, path, outline, inherited, hash)?;
        version = Version::of_number(path.outer.into());
    }
    let ethernet: &mut Ethernet = frame.at_mut(0)?;
    wide::copy(&mut ethernet.destination, &path.destination_mac)?;
    wide::copy(&mut ethernet.source, &path.source_mac)?;
    ethernet.ethertype.store(version.ethertype());
    Some(())
}
