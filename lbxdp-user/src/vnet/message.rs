#![forbid(unsafe_code)]
//! Netlink messages for devices, addresses, routes, rules and neighbours.

mod info;

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};

use super::desired::{Family, PROTOCOL, RULE_PRIORITY, Route, Rule};
use super::device::{DEVICE_GROUP, Device};

/// The message that creates a device.
pub(super) fn new_device(device: &Device) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(device.name.clone()),
        LinkAttribute::Mtu(u32::from(device.mtu)),
        LinkAttribute::Group(DEVICE_GROUP),
        LinkAttribute::LinkInfo(info::of(device)),
    ];
    if let Some(mac) = device.mac() {
        message
            .attributes
            .push(LinkAttribute::Address(mac.to_vec()));
    }
    message
}

/// A message that changes the link of this index in the given attributes.
pub(super) fn set_link(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    message
}

/// The message that sets a link up.
pub(super) fn link_up(index: u32) -> LinkMessage {
    let mut message = set_link(index, Vec::new());
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message
}

/// An address of ours on a link. It makes no route of its own in `main`.
pub(super) fn address(index: u32, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(Family::of(address.addr()));
    message.header.prefix_len = address.prefix_len();
    message.header.index = index;
    message.attributes = vec![
        AddressAttribute::Local(address.addr()),
        AddressAttribute::Address(address.addr()),
        AddressAttribute::Flags(AddressFlags::Noprefixroute | AddressFlags::Nodad),
        AddressAttribute::Protocol(AddressProtocol::from(PROTOCOL)),
    ];
    message
}

/// A route of ours through the link of this index.
pub(super) fn route(route: &Route, index: u32) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(Family::of(route.prefix.addr()));
    message.header.destination_prefix_length = route.prefix.prefix_len();
    message.header.protocol = RouteProtocol::from(PROTOCOL);
    message.header.kind = RouteType::Unicast;
    message.header.scope = match (route.via, route.prefix) {
        (None, IpNet::V4(_)) => RouteScope::Link,
        (Some(_), _) | (None, IpNet::V6(_)) => RouteScope::Universe,
    };
    message.attributes = vec![
        RouteAttribute::Table(route.table),
        RouteAttribute::Destination(route.prefix.addr().into()),
        RouteAttribute::Priority(route.metric),
        RouteAttribute::Oif(index),
    ];
    if let Some(gateway) = route.via {
        message
            .attributes
            .push(RouteAttribute::Gateway(gateway.into()));
    }
    message
}

/// A request for the routes of a table.
pub(super) fn routes_of_table(of: Family, table: u32) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(of);
    message.attributes = vec![RouteAttribute::Table(table)];
    message
}

/// The question which way a packet would take.
pub(super) fn route_to(
    destination: IpAddr,
    source: Option<IpAddr>,
    device: Option<u32>,
) -> RouteMessage {
    let bits = IpNet::from(destination).prefix_len();
    let mut message = RouteMessage::default();
    message.header.address_family = family(Family::of(destination));
    message.header.destination_prefix_length = bits;
    message.attributes = vec![RouteAttribute::Destination(destination.into())];
    if let Some(source) = source {
        message.header.source_prefix_length = bits;
        message
            .attributes
            .push(RouteAttribute::Source(source.into()));
    }
    if let Some(index) = device {
        message.attributes.push(RouteAttribute::Oif(index));
    }
    message
}

/// A rule of ours.
pub(super) fn rule(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family(rule.family);
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Oifname(rule.device.clone()),
        RuleAttribute::Table(rule.table),
        RuleAttribute::Priority(RULE_PRIORITY),
        RuleAttribute::Protocol(RouteProtocol::from(PROTOCOL)),
    ];
    message
}

/// A request for all rules of an IP version.
pub(super) fn rules(of: Family) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family(of);
    message
}

/// The message that has the kernel resolve a neighbour, or confirm it, as if a packet were sent
/// there (`NTF_USE`).
pub(super) fn use_neighbour(index: u32, destination: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(Family::of(destination));
    message.header.ifindex = index;
    message.header.state = NeighbourState::None;
    message.header.flags = NeighbourFlags::Use;
    message.attributes = vec![NeighbourAttribute::Destination(match destination {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => v6.into(),
    })];
    message
}

fn family(of: Family) -> AddressFamily {
    match of {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}
