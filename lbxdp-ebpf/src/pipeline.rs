//! The order of the steps, from a frame to its verdict.
//!
//! A frame is first only read ([`plan`](plan())): parse, find the connection that it
//! belongs to, find the way, check everything that can be in the way. Then it is
//! made ready ([`carry_out()`]): the head of the frame is moved, which may fail and
//! then changes nothing; only after that is the frame written to. So a packet that
//! is passed is untouched, but for an answer whose next hop has no known MAC address: that is
//! translated, and the kernel's stack forwards it.

#![forbid(unsafe_code)]

mod answer;
mod depart;
mod plan;

use crate::abi::{
    Address, Listener, NODE_LOCAL_REPLIES, Node, Path, Port, Reverse, TunnelIndex, VnetId,
};
use crate::checksum::Sum;
use crate::decap;
use crate::frame::{Frame, NoRoom};
use crate::mss;
use crate::nat::{self, End};
use crate::parse::{self, Ip, Ports, Version};
use crate::steer;
use crate::tables::Tables;
use crate::verdict::{Reason, Verdict};
use crate::wire::{IPPROTO_ICMP, IPPROTO_ICMPV6};

use answer::answer;
pub use depart::{Order, Task, carry_out, prepare};
pub use plan::Plan;

/// The steps whose verification by the kernel must not be multiplied by the ways that lead to
/// them: in the kernel they are global functions, which are verified once, for any arguments.
pub trait Steps: Frame + Sized {
    /// [`parse::network`], written to `ip`.
    ///
    /// # Errors
    /// As there.
    #[inline(always)]
    fn network(
        &self,
        start: usize,
        version: Version,
        end: usize,
        ip: &mut Ip,
    ) -> Result<(), Reason> {
        *ip = parse::network(self, start, version, end)?;
        Ok(())
    }

    /// [`parse::related`].
    #[inline(always)]
    fn related(&self, ip: &mut Ip) -> Option<[[u8; 2]; 2]> {
        parse::related(self, ip)
    }

    /// [`nat::readdress`].
    #[inline(always)]
    fn readdress(
        &mut self,
        start: usize,
        version: Version,
        end: End,
        address: &Address,
    ) -> Option<Sum> {
        nat::readdress(self, start, version, end, address)
    }

    /// [`prepare()`].
    ///
    /// # Errors
    /// As there.
    #[inline(always)]
    fn prepare(&mut self, order: &mut Order) -> Result<(), NoRoom> {
        prepare(self, order)
    }

    /// [`carry_out()`].
    ///
    /// # Errors
    /// As there.
    #[inline(always)]
    fn carry_out(&mut self, order: &Order, path: Option<&Path>) -> Result<(), NoRoom> {
        carry_out(self, order, path)
    }

    /// [`mss::clamp`].
    #[inline(always)]
    fn clamp_mss(&mut self, start: usize, segment_len: usize, limit: u16) {
        mss::clamp(self, start, segment_len, limit);
    }
}

/// Decides a frame that came in by the interface `ingress`, and makes it ready to leave.
#[inline(always)]
pub fn process<F: Steps, T: Tables>(frame: &mut F, tables: &T, ingress: u32) -> Verdict {
    let mut order = Order::EMPTY;
    let plan = match plan(frame, tables, ingress, &mut order) {
        Ok(plan) => plan,
        Err(reason) => return reason.into(),
    };
    if order.task != Task::Forward && frame.prepare(&mut order).is_err() {
        return Reason::NoHeadroom.into();
    }
    match frame.carry_out(&order, plan.path()) {
        Ok(()) => {
            // Last, and in whatever headers: it changes a value and, by as much, the checksum over
            // it, so that the sum of the packet stays.
            if order.task == Task::Forward && order.limit != 0 {
                let segment = order.start_then(plan.path()) + order.outline.header_len as usize;
                frame.clamp_mss(segment, order.outline.payload_len() as usize, order.limit);
            }
            plan.verdict
        }
        Err(_) => Reason::NoHeadroom.into(),
    }
}

/// Decides a frame that came in by the interface `ingress`.
///
/// `order` is written if it is forwarded: in its place at once, since what is decided piece by
/// piece would be kept piece by piece, and the kernel's stack is small.
///
/// # Errors
/// The reason why it is not forwarded.
#[inline(always)]
pub fn plan<'t, F: Steps, T: Tables>(
    frame: &F,
    tables: &'t T,
    ingress: u32,
    order: &mut Order,
) -> Result<Plan<'t, T>, Reason> {
    let (start, version) = parse::link(frame)?;
    let mut ip = Ip::EMPTY;
    frame.network(start, version, frame.len(), &mut ip)?;
    let node = tables.node().ok_or(Reason::NotConfigured)?;
    let mut ports = Ports::NONE;
    let subject = subject(frame, tables, &mut ip, &mut ports)?;
    if answer::is_asked(tables, &node, &subject) {
        order.task = Task::Echo;
    } else {
        let planned = match role(tables, &node, &subject)? {
            Role::Request(listener) => {
                plan::request(tables, &node, &subject, &listener, ingress, order)
            }
            Role::Reply(reverse) => {
                plan::reply(frame, tables, &node, &subject, &reverse, ingress, order)
            }
        };
        if order.task != Task::TooBig {
            return planned;
        }
    }
    answer(frame, tables, &subject, ingress, order)
}

/// The packet that is balanced: the one in the frame, or the one in its tunnel.
struct Subject<'a> {
    ip: &'a Ip,
    ports: &'a Ports,
    /// The VNet in which its addresses are meant.
    vnet: VnetId,
    /// The tunnel that it came by.
    tunnel: Option<TunnelIndex>,
    /// What it is if it belongs to no connection that is balanced.
    otherwise: Reason,
}

/// Looks into a tunnel packet of a known peer; takes any other packet as it is.
///
/// `ip` is the packet in the frame, and becomes the one in its tunnel: one place for both, since
/// the kernel's stack is small.
#[inline(always)]
fn subject<'a, F: Steps, T: Tables>(
    frame: &F,
    tables: &T,
    ip: &'a mut Ip,
    ports: &'a mut Ports,
) -> Result<Subject<'a>, Reason> {
    let mut otherwise = Reason::NoListener;
    if let Some(tunnelled) = decap::recognise(frame, tables, ip) {
        if let Some(peer) = tables.peer(&tunnelled.key) {
            let (start, version) = tunnelled.inner.packet(frame).ok_or(Reason::TunnelOther)?;
            frame.network(start, version, ip.end(), ip)?;
            if ip.destination == peer.inner_v4 || ip.destination == peer.inner_v6 {
                return Err(Reason::TunnelOwn);
            }
            transport(frame, ip, ports)?;
            return Ok(Subject {
                ip,
                ports,
                vnet: peer.vnet,
                tunnel: Some(peer.tunnel),
                otherwise: Reason::TunnelOther,
            });
        }
        otherwise = Reason::UnknownPeer;
    }
    match transport(frame, ip, ports) {
        Err(Reason::OtherProtocol) if otherwise == Reason::UnknownPeer => Err(otherwise),
        done => done,
    }?;
    Ok(Subject {
        ip,
        ports,
        vnet: VnetId::LOCAL,
        tunnel: None,
        otherwise,
    })
}

/// Reads the ports of a packet, or of the flow that an ICMP error is about.
#[inline(always)]
fn transport<F: Steps>(frame: &F, ip: &mut Ip, to: &mut Ports) -> Result<(), Reason> {
    let done = parse::transport(frame, ip, to);
    if done != Err(Reason::OtherProtocol)
        || !matches!(ip.outline.protocol, IPPROTO_ICMP | IPPROTO_ICMPV6)
    {
        return done;
    }
    let [source, destination] = frame.related(ip).ok_or(Reason::OtherProtocol)?;
    to.source = Port::from_bytes(source);
    to.destination = Port::from_bytes(destination);
    to.related = true;
    Ok(())
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
    subject: &Subject<'_>,
) -> Result<Role<'t, T>, Reason> {
    let Subject {
        ip, ports, vnet, ..
    } = subject;
    if ports.echo {
        return Err(Reason::OtherProtocol);
    }
    // Made where they are used, so that their places on the stack can be one.
    let from = || steer::service(ip.source, ports.source, ip.flow_protocol, *vnet);
    let to = || steer::service(ip.destination, ports.destination, ip.flow_protocol, *vnet);
    if subject.tunnel.is_some() {
        if let Some(reverse) = tables.reverse(&from()) {
            return Ok(Role::Reply(reverse));
        }
        if let Some(listener) = tables.listener(&to()) {
            return Ok(Role::Request(listener));
        }
    } else {
        if let Some(listener) = tables.listener(&to()) {
            return Ok(Role::Request(listener));
        }
        if node.flags & NODE_LOCAL_REPLIES != 0
            && let Some(reverse) = tables.reverse(&from())
        {
            return Ok(Role::Reply(reverse));
        }
    }
    if ports.related {
        return Err(Reason::OtherProtocol);
    }
    Err(subject.otherwise)
}

#[cfg(test)]
mod tests;
