use super::Subject;
use crate::abi::{
    Listener, Mode, Node, Origin, OriginIndex, PATH_RESOLVED, Path, Reverse, RouteKey, TunnelIndex,
    VnetId,
};
use crate::encap;
use crate::hash::{self, FlowKey};
use crate::nat::{End, Rewrite};
use crate::parse::Ip;
use crate::steer;
use crate::tables::{Route, RouteQuery, Tables};
use crate::verdict::Reason;

/// All that is to be done with a packet; nothing is in the way any more but room.
pub(super) struct Plan<'t, T: Tables + 't> {
    pub(super) way: Way<'t, T>,
    /// The end that becomes another address.
    pub(super) rewrite: Option<Rewrite>,
    /// Whether TTL or hop limit go down by one.
    pub(super) takes_hop: bool,
    /// Hash of the flow, for the entropy of the outer headers.
    pub(super) hash: u32,
    pub(super) reason: Reason,
    pub(super) listener: u32,
    pub(super) origin: OriginIndex,
    pub(super) tunnel: Option<TunnelIndex>,
}

/// By which way a packet leaves.
pub(super) enum Way<'t, T: Tables + 't> {
    /// The origin's path, with its tunnel headers if it has any.
    Origin(T::Ref<'t, Origin>),
    /// The origin's next hop alone.
    OriginLink(T::Ref<'t, Origin>),
    /// The path of a tunnel.
    Tunnel(T::Ref<'t, Path>),
    /// A link that the node's routes lead to.
    Link(Link),
}

/// Interface and addresses of the next link.
#[derive(Clone, Copy)]
pub(super) struct Link {
    pub(super) ifindex: u32,
    pub(super) source_mac: [u8; 6],
    pub(super) destination_mac: [u8; 6],
    /// 802.1Q tag, or zero.
    pub(super) vlan: [u8; 2],
}

/// Plans a client's packet.
#[inline(always)]
pub(super) fn request<'t, T: Tables>(
    tables: &'t T,
    node: &Node,
    subject: &Subject,
    listener: &Listener,
) -> Result<Plan<'t, T>, Reason> {
    let ip = &subject.ip;
    let hash = flow_hash(node, subject);
    let (index, origin) = steer::owner(tables, listener, hash)?;
    let mode = origin.mode().ok_or(Reason::OriginMissing)?;
    let through_tunnel = encap::is_tunnel(&origin.path);
    let (reason, rewrite) = match mode {
        Mode::NatPreserve if !ip.version.is_of(&origin.address) => {
            return Err(Reason::FamilyMismatch);
        }
        Mode::NatPreserve => {
            let rewrite = Rewrite {
                end: End::Destination,
                address: origin.address,
                port: origin.port,
            };
            let reason = if through_tunnel {
                Reason::ForwardNatTunnel
            } else {
                Reason::ForwardNat
            };
            (reason, Some(rewrite))
        }
        Mode::Dsr => (Reason::ForwardDsr, None),
        Mode::DsrL2 => (Reason::ForwardDsrL2, None),
    };
    // An encapsulator takes a hop as a router does (RFC 2003, 3.1); a bridge does not.
    let takes_hop = mode != Mode::DsrL2;
    if takes_hop {
        has_hops_left(ip)?;
    }
    is_open(&origin.path, ip)?;
    if mode == Mode::Dsr && !through_tunnel {
        return Err(Reason::NoNextHop);
    }
    let tunnel = tunnel_of(&origin.path).or(subject.tunnel);
    Ok(Plan {
        way: if mode == Mode::DsrL2 {
            Way::OriginLink(origin)
        } else {
            Way::Origin(origin)
        },
        rewrite,
        takes_hop,
        hash,
        reason,
        listener: listener.counter,
        origin: index,
        tunnel,
    })
}

/// Plans an origin's answer.
#[inline(always)]
pub(super) fn reply<'t, T: Tables>(
    tables: &'t T,
    node: &Node,
    subject: &Subject,
    reverse: &Reverse,
    ingress: u32,
) -> Result<Plan<'t, T>, Reason> {
    let ip = &subject.ip;
    if !ip.version.is_of(&reverse.address) {
        return Err(Reason::FamilyMismatch);
    }
    let (way, tunnel, hash) = if reverse.vnet == VnetId::LOCAL {
        // Asked first: an answer to the node itself is the node's, whatever else is wrong with it.
        let link = link_to_client(tables, subject, reverse, ingress)?;
        (Way::Link(link), subject.tunnel, 0)
    } else {
        let key = RouteKey::new(reverse.vnet, ip.destination);
        let index = tables.tunnel_to(&key).ok_or(Reason::NoTunnelRoute)?;
        let path = tables.tunnel(index).ok_or(Reason::NoTunnelRoute)?;
        is_open(&path, ip)?;
        let hash = flow_hash(node, subject);
        (Way::Tunnel(path), subject.tunnel.or(Some(index)), hash)
    };
    has_hops_left(ip)?;
    Ok(Plan {
        way,
        rewrite: Some(Rewrite {
            end: End::Source,
            address: reverse.address,
            port: reverse.port,
        }),
        takes_hop: true,
        hash,
        reason: if subject.tunnel.is_some() {
            Reason::ReplyNatTunnel
        } else {
            Reason::ReplyNat
        },
        listener: reverse.counter,
        origin: reverse.origin,
        tunnel,
    })
}

#[inline(always)]
fn flow_hash(node: &Node, subject: &Subject) -> u32 {
    let Subject {
        ip, ports, vnet, ..
    } = subject;
    hash::flow_hash(
        &node.hash_key,
        &FlowKey {
            source: ip.source,
            destination: ip.destination,
            source_port: ports.source,
            destination_port: ports.destination,
            protocol: ip.protocol,
            vnet: *vnet,
        },
    )
}

#[inline(always)]
fn link_to_client<T: Tables>(
    tables: &T,
    subject: &Subject,
    reverse: &Reverse,
    ingress: u32,
) -> Result<Link, Reason> {
    let ip = &subject.ip;
    let route = tables.route(&RouteQuery {
        ingress,
        version: ip.version.number(),
        traffic_class: ip.traffic_class,
        protocol: ip.protocol,
        length: ip.length,
        source: reverse.address,
        destination: ip.destination,
        source_port: reverse.port,
        destination_port: subject.ports.destination,
    });
    match route {
        Route::NextHop {
            ifindex,
            source_mac,
            destination_mac,
        } => Ok(Link {
            ifindex,
            source_mac,
            destination_mac,
            vlan: [0; 2],
        }),
        Route::NotForwarded => Err(Reason::ReplyToNode),
        Route::NoNeighbour => Err(Reason::ReplyNoNeighbour),
        Route::ForwardingOff => Err(Reason::ReplyNoForwarding),
        Route::TooBig => Err(Reason::TooBig),
        Route::Unreachable => Err(Reason::NoReplyRoute),
    }
}

#[inline(always)]
const fn has_hops_left(ip: &Ip) -> Result<(), Reason> {
    if ip.ttl <= 1 {
        return Err(Reason::TtlExpired);
    }
    Ok(())
}

/// Whether the path leads somewhere and the packet fits. The next hop comes first: a path that
/// is not resolved has no MTU either.
#[inline(always)]
fn is_open(path: &Path, ip: &Ip) -> Result<(), Reason> {
    if !path.has(PATH_RESOLVED) {
        return Err(Reason::NoNextHop);
    }
    let with_headers = ip.length.checked_add(path.header_len.into());
    if ip.length > path.mtu || with_headers.is_none() {
        return Err(Reason::TooBig);
    }
    Ok(())
}

#[inline(always)]
const fn tunnel_of(path: &Path) -> Option<TunnelIndex> {
    if path.tunnel == Path::NO_TUNNEL {
        None
    } else {
        Some(path.tunnel)
    }
}
