//! The short way, for the plainest packets: most of them.
//!
//! What [`process`](super::process()) does with any packet is done here at once for one that has
//! nothing special about it. A packet that has is declined before anything is written, and goes
//! the whole way. What the whole way would do is what is done here, to the byte and to the counter.

use super::depart;
use super::plan::{action, fits, link_of};
use crate::abi::{
    Address, FlowKey, LISTENER_SNAT, LISTENER_SOURCE_HASH, Listener, Mode, NODE_LOCAL_REPLIES,
    NODE_LOCAL_SNAT, NODE_RANGES, Node, Origin, PATH_GRE_CHECKSUM, PATH_RESOLVED,
    PATH_UDP_CHECKSUM, Port, VnetId,
};
use crate::encap::{self, Inherited};
use crate::frame::Frame;
use crate::hash;
use crate::nat::{self, End};
use crate::parse::{Outline, Version};
use crate::steer;
use crate::tables::Tables;
use crate::verdict::{Reason, Slot, Verdict};
use crate::wide::{self, Wide as _};
use crate::wire::{
    Ethernet, IPPROTO_TCP, IPPROTO_UDP, IPV4_MF, IPV4_OFFSET, Ipv4, Ipv6, Pair, TCP_SYN, Tcp, Udp,
};

/// What [`process`](super::process()) makes of a frame, if it is a plain one; `None`, and the frame
/// is as it came, if it is not.
#[inline(always)]
pub fn quick<F: Frame, T: Tables>(frame: &mut F, tables: &T, ingress: u32) -> Option<Verdict> {
    let ethernet: &Ethernet = frame.at(0)?;
    // A program for each version: nothing asks again which it is.
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
    if packet.outline.protocol == IPPROTO_UDP && tables.is_tunnel_port(packet.destination_port) {
        return None;
    }
    let at = steer::service(
        packet.destination,
        packet.destination_port,
        packet.outline.protocol,
        VnetId::LOCAL,
    );
    match tables.listener(&at) {
        Some(listener) => balance(frame, tables, &node, &listener, packet, ingress),
        None => is_nobodys(&node).then(|| Reason::NoListener.into()),
    }
}

/// Whether nothing else is looked for where there is no listener.
#[inline(always)]
fn is_nobodys(node: &Node) -> bool {
    node.flags & (NODE_RANGES | NODE_LOCAL_REPLIES | NODE_LOCAL_SNAT) == 0
}

/// A packet of TCP or UDP that is whole, right behind an IP header without options or extension
/// headers, right behind an Ethernet header.
struct Plain {
    outline: Outline,
    source: Address,
    destination: Address,
    source_port: Port,
    destination_port: Port,
    class: u8,
    hops: u8,
    opens: bool,
}

impl Plain {
    /// Where the IP header is.
    const START: usize = size_of::<Ethernet>();

    #[inline(always)]
    fn read_v4<F: Frame>(frame: &F) -> Option<Self> {
        let Pair { first: ip, second } = frame.at::<Pair<Ipv4, Udp>>(Self::START)?;
        let [flags, offset] = ip.flags_fragment_offset.load();
        if ip.version_ihl != 0x45 || flags & (IPV4_MF | IPV4_OFFSET) | offset != 0 {
            return None;
        }
        Self {
            outline: Outline {
                header_len: size_of::<Ipv4>() as u32,
                length: u16::from_be_bytes(ip.total_length.load()),
                protocol: ip.protocol,
                version: Version::V4,
            },
            source: Address::from_v4(ip.source.load()),
            destination: Address::from_v4(ip.destination.load()),
            source_port: Port::from_bytes(second.ports.source.load()),
            destination_port: Port::from_bytes(second.ports.destination.load()),
            class: ip.type_of_service,
            hops: ip.time_to_live,
            opens: false,
        }
        .whole(frame)
    }

    #[inline(always)]
    fn read_v6<F: Frame>(frame: &F) -> Option<Self> {
        let Pair { first: ip, second } = frame.at::<Pair<Ipv6, Udp>>(Self::START)?;
        let [version_class, class_label, _, _] = ip.version_class_label.load();
        if version_class >> 4 != 6 {
            return None;
        }
        Self {
            outline: Outline {
                header_len: size_of::<Ipv6>() as u32,
                length: u16::from_be_bytes(ip.payload_length.load())
                    .checked_add(size_of::<Ipv6>() as u16)?,
                protocol: ip.next_header,
                version: Version::V6,
            },
            source: Address::from_v6(wide::load_16(&ip.source)),
            destination: Address::from_v6(wide::load_16(&ip.destination)),
            source_port: Port::from_bytes(second.ports.source.load()),
            destination_port: Port::from_bytes(second.ports.destination.load()),
            class: version_class << 4 | class_label >> 4,
            hops: ip.hop_limit,
            opens: false,
        }
        .whole(frame)
    }

    /// The packet, if it is all there.
    #[inline(always)]
    fn whole<F: Frame>(mut self, frame: &F) -> Option<Self> {
        let start = Self::START + self.outline.header_len as usize;
        let transport_len = match self.outline.protocol {
            IPPROTO_TCP => {
                self.opens = frame.at::<Tcp>(start)?.flags & TCP_SYN != 0;
                size_of::<Tcp>()
            }
            IPPROTO_UDP => size_of::<Udp>(),
            _ => return None,
        };
        let length = usize::from(self.outline.length);
        if length < self.outline.header_len as usize + transport_len
            || Self::START + length > frame.len()
        {
            return None;
        }
        Some(self)
    }

    #[inline(always)]
    fn flow(&self) -> FlowKey {
        FlowKey {
            source: self.source,
            destination: self.destination,
            source_port: self.source_port,
            destination_port: self.destination_port,
            vnet: VnetId::LOCAL,
            protocol: self.outline.protocol,
            reserved: [0; 3],
        }
    }
}

/// Sends a client's packet to its origin, as the plan of a request has it.
#[inline(always)]
fn balance<F: Frame, T: Tables>(
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
    let path = &origin.path;
    let is_plain = path.has(PATH_RESOLVED)
        && !path.has(PATH_UDP_CHECKSUM | PATH_GRE_CHECKSUM)
        && !path.is_device()
        && path.vlan == [0, 0];
    if !is_plain || packet.hops <= 1 || !fits(path, packet.outline.length) {
        return None;
    }
    let in_tunnel = encap::is_tunnel(path);
    let reason = match origin.mode()? {
        Mode::NatPreserve if packet.opens || !packet.outline.version.is_of(&origin.address) => {
            return None;
        }
        Mode::NatPreserve if in_tunnel => Reason::ForwardNatTunnel,
        Mode::NatPreserve => Reason::ForwardNat,
        Mode::Dsr if in_tunnel => Reason::ForwardDsr,
        Mode::DsrL2 if !in_tunnel => Reason::ForwardDsrL2,
        Mode::Dsr | Mode::DsrL2 | Mode::NatSnat => return None,
    };
    let verdict = Verdict {
        action: action(path.ifindex, ingress),
        reason,
        listener: Slot::of(listener.counter),
        origin: Slot::of_short(index),
        tunnel: Slot::of_short(path.tunnel),
    };
    if path.header_len != 0 && frame.move_head(-i32::from(path.header_len)).is_err() {
        return Some(Reason::NoHeadroom.into());
    }
    Some(match write(frame, &origin, packet, reason, hash) {
        Some(()) => verdict,
        None => Reason::NoHeadroom.into(),
    })
}

/// Writes what is to be written, in a frame that has the room for it.
#[inline(always)]
fn write<F: Frame>(
    frame: &mut F,
    origin: &Origin,
    packet: &Plain,
    reason: Reason,
    hash: u32,
) -> Option<()> {
    let path = &origin.path;
    let outline = &packet.outline;
    let start = Plain::START + usize::from(path.header_len);
    let mut inherited = Inherited {
        class: packet.class,
        hops: packet.hops,
    };
    if reason != Reason::ForwardDsrL2 {
        nat::take_hop(frame, start, outline.version)?;
        inherited.hops -= 1;
    }
    if reason == Reason::ForwardNat || reason == Reason::ForwardNatTunnel {
        let (address, port) = (&origin.address, origin.port);
        nat::rewrite(frame, start, outline, End::Destination, address, port)?;
    }
    let mut version = outline.version;
    if encap::is_tunnel(path) {
        encap::push_plain(frame, Plain::START, path, outline, inherited, hash)?;
        version = Version::of_number(path.outer.into());
    }
    depart::write_link(frame, &link_of(path), version.ethertype())
}
