//! Fragments: what a later one lacks, it gets of the first one of its datagram.
//!
//! Only the first fragment has ports. When one is forwarded, its ports and its origin are kept for
//! a while; a later one that finds them goes through the same steps as if it had the ports itself,
//! to the same origin. It is its addresses alone that are rewritten then: ports and checksum, over
//! the whole datagram, are in the first fragment, where an incremental update does right by all.
//!
//! A fragment that comes before the first one of its datagram cannot wait here. If it is for a VIP it
//! is dropped, and counted: the node's own stack would keep it, for want of a first one that goes
//! elsewhere. Senders send the first one first.
//!
//! Where all that is offered at an address by a protocol is chosen by the client's address, and from
//! the same origins, ports do not matter. Such an address has a listener of its own for later
//! fragments ([`portless`]), which come in any order and leave no trace.

#![forbid(unsafe_code)]

use crate::abi::{Address, Fragment, FragmentKey, Origin, OriginIndex, Port, Service, VnetId};
use crate::parse::{Ip, Ports, Version};
use crate::steer;
use crate::tables::Tables;
use crate::verdict::Reason;
use crate::wire::{FRAGMENT, IPPROTO_ICMP, IPPROTO_ICMPV6};

/// The key of a fragment's datagram.
#[inline(always)]
#[must_use]
pub const fn key(packet: &Ip, vnet: VnetId) -> FragmentKey {
    FragmentKey {
        vnet,
        source: packet.source,
        destination: packet.destination,
        identification: packet.identification,
        protocol: match packet.outline.version {
            Version::V4 => packet.flow_protocol,
            Version::V6 => FRAGMENT,
        },
        reserved: [0; 3],
    }
}

/// The key of the listener to which later fragments of a protocol go, whatever their ports.
#[inline(always)]
#[must_use]
pub const fn portless(address: Address, protocol: u8, vnet: VnetId) -> Service {
    steer::service(address, Port::new(protocol as u16), FRAGMENT, vnet)
}

/// Gives a later fragment the ports of the first one of its datagram; if that is not known, those of
/// [`portless`].
#[inline(always)]
pub fn recall<T: Tables>(tables: &T, packet: &mut Ip, vnet: VnetId, to: &mut Ports) {
    match tables.fragment(packet, vnet) {
        Some(first) => {
            to.source = first.source_port;
            to.destination = first.destination_port;
            to.origin = first.origin;
            packet.flow_protocol = first.protocol;
        }
        None => {
            to.destination = Port::new(packet.flow_protocol.into());
            packet.flow_protocol = FRAGMENT;
        }
    }
}

/// Keeps what later fragments need of one that is forwarded, if it is a first one.
#[inline(always)]
pub fn remember<T: Tables>(
    tables: &T,
    packet: &Ip,
    vnet: VnetId,
    ports: &Ports,
    origin: OriginIndex,
) {
    if packet.is_first_fragment() {
        tables.remember(
            packet,
            vnet,
            Fragment {
                source_port: ports.source,
                destination_port: ports.destination,
                origin,
                protocol: packet.flow_protocol,
                reserved: 0,
            },
        );
    }
}

/// Why a later fragment that belongs to nothing known is not forwarded.
#[inline(always)]
pub fn stray<T: Tables>(tables: &T, packet: &Ip, vnet: VnetId) -> Reason {
    if tables.is_for_vip(packet, vnet) {
        Reason::FragmentEarly
    } else {
        Reason::Fragment
    }
}

/// The key of the entry that each VIP has, whether it answers echo requests or not.
#[inline(always)]
#[must_use]
pub const fn vip(packet: &Ip, vnet: VnetId) -> Service {
    let protocol = match packet.outline.version {
        Version::V4 => IPPROTO_ICMP,
        Version::V6 => IPPROTO_ICMPV6,
    };
    steer::service(packet.destination, Port::new(0), protocol, vnet)
}

/// The origin that a packet is bound to already, if it is.
#[inline(always)]
#[must_use]
pub const fn bound(ports: &Ports) -> Option<OriginIndex> {
    if ports.origin == Origin::NONE {
        None
    } else {
        Some(ports.origin)
    }
}
