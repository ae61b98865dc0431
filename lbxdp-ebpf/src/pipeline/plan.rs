use super::depart::{Link, Order, Task};
use super::session;
use super::{Steps, Subject};
use crate::abi::{
    Device, FlowKey, LISTENER_PORTLESS, LISTENER_SNAT, LISTENER_SOURCE_HASH, Listener, Mode,
    NODE_KERNEL_FRAGMENTS, NODE_VLANS, Node, Origin, OriginIndex, PATH_INNER_ETHERNET,
    PATH_RESOLVED, Path, Reverse, RouteKey, TunnelIndex, VnetId,
};
use crate::ecn::{self, Unspeakable};
use crate::encap;
use crate::fragment;
use crate::hash;
use crate::mss;
use crate::nat::End;
use crate::parse::Ip;
use crate::snat;
use crate::steer;
use crate::tables::{Route, RouteQuery, Tables};
use crate::track;
use crate::verdict::{Action, Reason, Slot, Verdict};
use crate::wire::{IPV4_DF, Udp};

/// All that is decided of a packet that is forwarded; nothing is in the way any more but room.
pub struct Plan<'t, T: Tables + 't> {
    /// What becomes of the packet when its order is carried out.
    pub verdict: Verdict,
    pub(super) way: Way<'t, T>,
}

impl<T: Tables> Plan<'_, T> {
    /// The path whose headers are put in front, if the packet goes into a tunnel.
    #[inline(always)]
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.way {
            Way::Origin(origin) => Some(&origin.path),
            Way::Tunnel(path) => Some(path),
            Way::Link => None,
        }
    }
}

/// Whose path a packet takes.
pub(super) enum Way<'t, T: Tables + 't> {
    /// The origin's, which is a tunnel.
    Origin(T::Ref<'t, Origin>),
    /// A tunnel's.
    Tunnel(T::Ref<'t, Path>),
    /// The next link alone.
    Link,
}

/// Plans a client's packet. If it is too big, `to` says so, and how much would not be.
#[expect(clippy::too_many_arguments, reason = "a step of the one way through")]
#[inline(always)]
pub(super) fn request<'t, F: Steps, T: Tables>(
    frame: &F,
    tables: &'t T,
    node: &Node,
    subject: &Subject<'_>,
    listener: &Listener,
    ingress: u32,
    request: &mut snat::Request,
    risk: &mut track::Request,
    to: &mut Order,
) -> Result<Plan<'t, T>, Reason> {
    let ip = &*subject.ip;
    // Also of flows of one client, no two shall begin to look for a source port at the same one.
    request.seed = hash::flow_hash(&node.hash_key, &request.flow);
    let hash = if listener.has(LISTENER_SOURCE_HASH) {
        hash::source_hash(&node.hash_key, &ip.source, subject.vnet)
    } else {
        request.seed
    };
    let mut session = None;
    if listener.has(LISTENER_SNAT) {
        session = tables.session(&request.flow, subject.sight(tables));
    }
    let (index, origin) = match session::stays(tables, session.as_deref()) {
        Some(stays) => stays,
        None => match fragment::bound(subject.ports) {
            Some(index) => (index, tables.origin(index).ok_or(Reason::OriginMissing)?),
            None => owner(frame, tables, subject, listener, &request.flow, hash, risk)?,
        },
    };
    // Before anything is remembered: an array has a value for an origin that is gone, too.
    let mode = origin.mode().ok_or(Reason::OriginMissing)?;
    if !listener.has(LISTENER_PORTLESS) {
        subject.is_of(tables, index);
    }
    let in_tunnel = encap::is_tunnel(&origin.path);
    let in_device = origin.path.is_device();
    let end = mode.is_nat().then_some(End::Destination);
    if end.is_some() && !ip.outline.version.is_of(&origin.address) {
        return Err(Reason::FamilyMismatch);
    }
    // An encapsulator takes a hop as a router does (RFC 2003, 3.1); a bridge does not.
    let takes_hop = mode != Mode::DsrL2;
    if takes_hop {
        has_hops_left(ip)?;
    }
    is_resolved(&origin.path)?;
    if mode == Mode::Dsr && !in_tunnel {
        return Err(Reason::NoNextHop);
    }
    if !fits(&origin.path, ip.outline.length) {
        return Err(too_big(subject, origin.path.mtu, to));
    }
    *to = Order {
        outline: ip.outline,
        start: ip.start,
        hash,
        address: origin.address,
        port: origin.port,
        end,
        takes_hop,
        device: device_of(&origin.path),
        link: link_of(&origin.path),
        ..Order::EMPTY
    };
    to.task = task(subject);
    to.ecn = ecn(subject)?;
    to.unfinished = subject.ip.unfinished;
    if mode == Mode::NatSnat {
        // Last: nothing is remembered of a packet that is not forwarded.
        let session = session.filter(|session| session::is_with(session, index, &origin));
        (to.other_address, to.other_port) = match session {
            Some(session) => (session.source, session.source_port),
            None => {
                session::begin(tables, subject, listener, (index, &origin), request)?;
                (request.session.source, request.session.source_port)
            }
        };
        to.both_ends = true;
    }
    // With DSR, answers do not take this path.
    if subject.ports.opens() && mode.is_nat() {
        to.limit = mss_within(tables, ip, origin.path.mtu, subject.tunnel);
    }
    Ok(Plan {
        verdict: Verdict {
            action: action(origin.path.ifindex, ingress),
            reason: match mode {
                _ if subject.ports.related => Reason::ForwardError,
                Mode::NatPreserve | Mode::NatSnat if in_tunnel || in_device => {
                    Reason::ForwardNatTunnel
                }
                Mode::NatPreserve | Mode::NatSnat => Reason::ForwardNat,
                Mode::Dsr => Reason::ForwardDsr,
                Mode::DsrL2 => Reason::ForwardDsrL2,
            },
            listener: Slot::of(listener.counter),
            origin: Slot::of_short(index),
            tunnel: Slot::of_short(if origin.path.tunnel == Path::NO_TUNNEL {
                subject.tunnel.unwrap_or(Path::NO_TUNNEL)
            } else {
                origin.path.tunnel
            }),
        },
        way: if in_tunnel && mode != Mode::DsrL2 {
            Way::Origin(origin)
        } else {
            Way::Link
        },
    })
}

/// The origin of a flow that is bound to none: the owner of its row; if the row is at risk, the origin
/// that the flow is recorded with, or belongs to.
#[inline(always)]
fn owner<'t, F: Steps, T: Tables>(
    frame: &F,
    tables: &'t T,
    subject: &Subject<'_>,
    listener: &Listener,
    flow: &FlowKey,
    hash: u32,
    risk: &mut track::Request,
) -> Result<(OriginIndex, T::Ref<'t, Origin>), Reason> {
    let at = steer::row(tables, listener, hash)?;
    let row = tables.row(at.row).ok_or(Reason::NoTable)?;
    let mut index = row.current;
    if row.flags != 0 {
        let is_aside = subject.ports.related | subject.ip.is_later_fragment();
        risk.ask(hash, listener, at, row.owner());
        risk.payload = (subject.ip.payload() + size_of::<Udp>()) as u16;
        risk.tcp_flags = subject.ports.tcp_flags;
        risk.aside = is_aside.into();
        index = frame.follow(tables, flow, risk);
    }
    if index == Origin::NONE {
        return Err(Reason::NoOrigin);
    }
    let origin = tables.origin(index).ok_or(Reason::OriginMissing)?;
    Ok((index, origin))
}

/// Plans an origin's answer. If its destination is translated, `subject` has the client's already.
#[expect(clippy::too_many_arguments, reason = "a step of the one way through")]
#[inline(always)]
pub(super) fn reply<'t, F: Steps, T: Tables>(
    frame: &F,
    tables: &'t T,
    node: &Node,
    subject: &Subject<'_>,
    reverse: &Reverse,
    translated: bool,
    ingress: u32,
    to: &mut Order,
) -> Result<Plan<'t, T>, Reason> {
    let ip = &*subject.ip;
    if !ip.outline.version.is_of(&reverse.address) {
        return Err(Reason::FamilyMismatch);
    }
    // Written as soon as it is known, and the link below: what waits takes room on the stack.
    *to = Order {
        outline: ip.outline,
        start: ip.start,
        address: reverse.address,
        port: reverse.port,
        end: Some(End::Source),
        both_ends: translated,
        other_address: ip.destination,
        other_port: subject.ports.destination,
        takes_hop: true,
        ..Order::EMPTY
    };
    let mut left_for = Reason::ReplyNoNeighbour;
    let (way, tunnel, action) = if reverse.vnet == VnetId::LOCAL {
        // Asked first: an answer to the node itself is the node's, whatever else is wrong with it.
        let (action, left) = link_to_client(frame, tables, node, subject, reverse, ingress, to)?;
        left_for = left;
        // The kernel takes the hop of what is left to it.
        to.takes_hop = !matches!(action, Action::Pass);
        (Way::Link, Path::NO_TUNNEL, action)
    } else {
        to.hash = hash::flow_hash(&node.hash_key, &subject.flow());
        let key = RouteKey::new(reverse.vnet, ip.destination);
        let index = tables.tunnel_to(&key).ok_or(Reason::NoTunnelRoute)?;
        let path = tables.tunnel(index).ok_or(Reason::NoTunnelRoute)?;
        is_resolved(&path)?;
        if !fits(&path, ip.outline.length) {
            return Err(too_big(subject, path.mtu, to));
        }
        to.link = link_of(&path);
        to.device = device_of(&path);
        let action = action(path.ifindex, ingress);
        let way = if encap::is_tunnel(&path) {
            Way::Tunnel(path)
        } else {
            Way::Link
        };
        (way, index, action)
    };
    has_hops_left(ip)?;
    to.task = task(subject);
    to.ecn = ecn(subject)?;
    to.unfinished = subject.ip.unfinished;
    if subject.ports.opens()
        && let Some(origin) = tables.origin(reverse.origin)
    {
        to.limit = mss_within(tables, ip, origin.path.mtu, index_of(tunnel));
    }
    Ok(Plan {
        verdict: Verdict {
            action,
            reason: if matches!(action, Action::Pass) {
                left_for
            } else if subject.ports.related {
                Reason::ReplyError
            } else if subject.tunnel.is_some() {
                Reason::ReplyNatTunnel
            } else {
                Reason::ReplyNat
            },
            listener: Slot::of(reverse.counter),
            origin: Slot::of_short(reverse.origin),
            // The origin's tunnel, on which its requests are counted too; else the client's.
            tunnel: Slot::of_short(subject.tunnel.unwrap_or(tunnel)),
        },
        way,
    })
}

#[inline(always)]
fn task(subject: &Subject<'_>) -> Task {
    if subject.ports.related {
        Task::Related
    } else {
        Task::Forward
    }
}

/// What the packet's ECN field becomes as it leaves its tunnel.
#[inline(always)]
fn ecn(subject: &Subject<'_>) -> Result<u8, Reason> {
    ecn::combine(subject.ip.outer_class, subject.ip.traffic_class)
        .map_err(|Unspeakable| Reason::CongestionLost)
}

/// The largest TCP segment size that either end of a connection may announce. What one end
/// announces the other end sends, so that both ways the same paths count: the origin's, of `mtu`
/// bytes, and the tunnel that the client is behind, if it is.
#[inline(always)]
fn mss_within<T: Tables>(tables: &T, ip: &Ip, mtu: u16, client: Option<TunnelIndex>) -> u16 {
    let mut mtu = mtu;
    if let Some(path) = client.and_then(|index| tables.tunnel(index)) {
        mtu = mtu.min(path.mtu);
    }
    mss::of_mtu(ip.outline.version, mtu)
}

/// The way to a client by the node's own routes. Where only the neighbour is missing, or the packet
/// is to be fragmented, that is the kernel's stack: it forwards the answer, translated, and finds
/// the neighbour by that; the reason then says for what it is left.
#[inline(always)]
fn link_to_client<F: Steps, T: Tables>(
    frame: &F,
    tables: &T,
    node: &Node,
    subject: &Subject<'_>,
    reverse: &Reverse,
    ingress: u32,
    to: &mut Order,
) -> Result<(Action, Reason), Reason> {
    let route = tables.route(&RouteQuery {
        packet: subject.ip,
        source: &reverse.address,
        source_port: if reverse.port.get() == 0 {
            subject.ports.source
        } else {
            reverse.port
        },
        destination_port: subject.ports.destination,
        ingress,
    });
    let left_for = match route {
        Route::NextHop {
            ifindex,
            source_mac,
            destination_mac,
        } => {
            let mut out = ifindex;
            to.link.destination_mac = destination_mac;
            to.link.source_mac = source_mac;
            // The program of a device sends by the VLAN device, which puts the tag on itself.
            if !subject.is_by_device
                && node.flags & NODE_VLANS != 0
                && let Some(vlan) = tables.vlan(ifindex)
            {
                out = vlan.ifindex;
                to.link.tags = vlan.tags;
            }
            return Ok((action(out, ingress), Reason::ReplyNoNeighbour));
        }
        // The program of a device sends by a helper that finds it.
        Route::NoNeighbour { ifindex } if subject.is_by_device => {
            return Ok((Action::Redirect(ifindex), Reason::ReplyNoNeighbour));
        }
        Route::NoNeighbour { .. } => Reason::ReplyNoNeighbour,
        Route::TooBig(_) if node.flags & NODE_KERNEL_FRAGMENTS != 0 && may_fragment(subject.ip) => {
            Reason::ReplyToFragment
        }
        Route::NotForwarded => return Err(Reason::ReplyToNode),
        Route::ForwardingOff => return Err(Reason::ReplyNoForwarding),
        Route::TooBig(mtu) => return Err(too_big(subject, mtu, to)),
        Route::Unreachable => return Err(Reason::NoReplyRoute),
    };
    frame.link(&mut to.link).ok_or(Reason::Truncated)?;
    Ok((Action::Pass, left_for))
}

/// Lets the sender of a packet be told how much would have fitted.
#[inline(always)]
fn too_big(subject: &Subject<'_>, mtu: u16, to: &mut Order) -> Reason {
    // Of an error no error is told (RFC 1122, 3.2.2).
    if !subject.ports.related {
        to.task = Task::TooBig;
        to.limit = mtu;
    }
    Reason::TooBig
}

/// Whether a router may fragment the packet.
#[inline(always)]
pub(super) const fn may_fragment(ip: &Ip) -> bool {
    ip.fragmentation & IPV4_DF == 0
}

#[inline(always)]
const fn has_hops_left(ip: &Ip) -> Result<(), Reason> {
    if ip.ttl <= 1 {
        return Err(Reason::TtlExpired);
    }
    Ok(())
}

/// Whether the path leads somewhere. Asked before whether the packet fits: a path that is not
/// resolved has no MTU either.
#[inline(always)]
pub(super) fn is_resolved(path: &Path) -> Result<(), Reason> {
    if !path.has(PATH_RESOLVED) {
        return Err(Reason::NoNextHop);
    }
    Ok(())
}

#[inline(always)]
pub(super) fn fits(path: &Path, length: u16) -> bool {
    let with_headers = length.checked_add(path.header_len.into());
    length <= path.mtu && with_headers.is_some()
}

#[inline(always)]
pub(super) const fn link_of(path: &Path) -> Link {
    Link {
        destination_mac: path.destination_mac,
        source_mac: path.source_mac,
        tags: path.tags(),
    }
}

// The number that stands for none is a number to the compiler too: what `None` leaves undefined may
// become a pointer, and be calculated with before it is asked whether it is there.
#[inline(always)]
const fn index_of(tunnel: TunnelIndex) -> Option<TunnelIndex> {
    if tunnel == Path::NO_TUNNEL {
        None
    } else {
        Some(tunnel)
    }
}

/// The device that a path leads into, if it does; without branches, each of which the verifier would
/// follow to the end.
#[inline(always)]
pub(super) const fn device_of(path: &Path) -> Device {
    let is_device = path.is_device() as u32;
    let has_ethernet = (path.flags / PATH_INNER_ETHERNET) as u32 & is_device;
    Device::from_number(path.ifindex * is_device).with_ethernet(has_ethernet)
}

#[inline(always)]
pub(super) const fn action(ifindex: u32, ingress: u32) -> Action {
    if ifindex == ingress {
        Action::Transmit
    } else {
        Action::Redirect(ifindex)
    }
}
