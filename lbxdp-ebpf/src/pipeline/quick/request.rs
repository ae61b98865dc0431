//! A client's packet on its way to an origin.

use super::Plain;
use crate::abi::{
    LISTENER_SNAT, LISTENER_SOURCE_HASH, Listener, Mode, Node, Origin, PATH_GRE_CHECKSUM,
    PATH_RESOLVED, PATH_UDP_CHECKSUM, VnetId,
};
use crate::encap::{self, Inherited};
use crate::frame::Frame;
use crate::hash;
use crate::nat::{self, End};
use crate::parse::Version;
use crate::pipeline::plan::{action, fits};
use crate::steer;
use crate::tables::Tables;
use crate::verdict::{Reason, Slot, Verdict};
use crate::wide::{self, Wide as _};
use crate::wire::Ethernet;

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
    let hash = if listener.has(LISTENER_SOURCE_HASH) {
        hash::source_hash(&node.hash_key, &packet.source, VnetId::LOCAL)
    } else {
        hash::flow_hash(&node.hash_key, &packet.flow())
    };
    let (row, _) = steer::row(tables, listener, hash).ok()?;
    // What else there is may belong to a flow that is remembered.
    if row.flags != 0 {
        return None;
    }
    let index = row.current;
    let origin = tables.origin(index)?;
    if !suits(&origin, packet) {
        return None;
    }
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
        Some(Mode::NatPreserve) => !packet.opens && packet.outline.version.is_of(&origin.address),
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
