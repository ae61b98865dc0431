//! The order of the steps, from a frame to its verdict.
//!
//! A frame is first only read: parse, find the connection that it belongs to,
//! find the way, check everything that can be in the way. Then the head of the
//! frame is moved, which may fail and then changes nothing; only after that is
//! the frame written to. So a packet that is passed is untouched.

#![forbid(unsafe_code)]

mod depart;
mod plan;

use crate::abi::{Listener, NODE_LOCAL_REPLIES, Node, Reverse, TunnelIndex, VnetId};
use crate::decap;
use crate::frame::Frame;
use crate::parse::{self, Ip, Ports};
use crate::steer;
use crate::tables::Tables;
use crate::verdict::{Reason, Verdict};

/// Decides a frame that came in by the interface `ingress`, and makes it ready to leave.
#[inline(always)]
pub fn process<F: Frame, T: Tables>(frame: &mut F, tables: &T, ingress: u32) -> Verdict {
    match decide(frame, tables, ingress) {
        Ok(verdict) => verdict,
        Err(reason) => Verdict::of(reason),
    }
}

/// The packet that is balanced: the one in the frame, or the one in its tunnel.
struct Subject {
    ip: Ip,
    ports: Ports,
    /// The VNet in which its addresses are meant.
    vnet: VnetId,
    /// The tunnel that it came by.
    tunnel: Option<TunnelIndex>,
    /// What it is if it belongs to no connection that is balanced.
    otherwise: Reason,
}

#[inline(always)]
fn decide<F: Frame, T: Tables>(frame: &mut F, tables: &T, ingress: u32) -> Result<Verdict, Reason> {
    let (start, version) = parse::link(frame)?;
    let outer = parse::network(frame, start, version, frame.len())?;
    let node = tables.node().ok_or(Reason::NotConfigured)?;
    let subject = subject(frame, tables, outer)?;
    let plan = match role(tables, &node, &subject)? {
        Role::Request(listener) => plan::request(tables, &node, &subject, &listener)?,
        Role::Reply(reverse) => plan::reply(tables, &node, &subject, &reverse, ingress)?,
    };
    depart::depart(frame, &subject.ip, &plan, ingress)
}

/// Looks into a tunnel packet of a known peer; takes any other packet as it is.
#[inline(always)]
fn subject<F: Frame, T: Tables>(frame: &F, tables: &T, outer: Ip) -> Result<Subject, Reason> {
    let mut otherwise = Reason::NoListener;
    if let Some(tunnelled) = decap::recognise(frame, tables, &outer) {
        if let Some(peer) = tables.peer(&tunnelled.key) {
            let (start, version) = tunnelled.inner.packet(frame).ok_or(Reason::TunnelOther)?;
            let ip = parse::network(frame, start, version, outer.end())?;
            if ip.destination == peer.inner_v4 || ip.destination == peer.inner_v6 {
                return Err(Reason::TunnelOwn);
            }
            return Ok(Subject {
                ip,
                ports: parse::transport(frame, &ip)?,
                vnet: peer.vnet,
                tunnel: Some(peer.tunnel),
                otherwise: Reason::TunnelOther,
            });
        }
        otherwise = Reason::UnknownPeer;
    }
    let ports = parse::transport(frame, &outer).map_err(|reason| {
        if reason == Reason::OtherProtocol && otherwise == Reason::UnknownPeer {
            otherwise
        } else {
            reason
        }
    })?;
    Ok(Subject {
        ip: outer,
        ports,
        vnet: VnetId::LOCAL,
        tunnel: None,
        otherwise,
    })
}

/// What a packet is in its connection.
enum Role<'t, T: Tables + 't> {
    /// From a client, to a listener.
    Request(T::Ref<'t, Listener>),
    /// From an origin, to a client.
    Reply(T::Ref<'t, Reverse>),
}

/// Finds the connection. In a tunnel an origin's answer is the usual case and is looked for first;
/// elsewhere a client's packet is, and answers are looked for only if some come that way.
#[inline(always)]
fn role<'t, T: Tables>(
    tables: &'t T,
    node: &Node,
    subject: &Subject,
) -> Result<Role<'t, T>, Reason> {
    let Subject {
        ip, ports, vnet, ..
    } = subject;
    let from = steer::service(ip.source, ports.source, ip.protocol, *vnet);
    let to = steer::service(ip.destination, ports.destination, ip.protocol, *vnet);
    if subject.tunnel.is_some() {
        if let Some(reverse) = tables.reverse(&from) {
            return Ok(Role::Reply(reverse));
        }
        if let Some(listener) = tables.listener(&to) {
            return Ok(Role::Request(listener));
        }
    } else {
        if let Some(listener) = tables.listener(&to) {
            return Ok(Role::Request(listener));
        }
        if node.flags & NODE_LOCAL_REPLIES != 0
            && let Some(reverse) = tables.reverse(&from)
        {
            return Ok(Role::Reply(reverse));
        }
    }
    Err(subject.otherwise)
}
