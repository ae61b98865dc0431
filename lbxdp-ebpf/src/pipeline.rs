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
mod device;
mod plan;
mod quick;
mod scratch;
mod session;

use crate::abi::{
    Address, Device, FlowKey, Listener, Mapping, NODE_LOCAL_REPLIES, NODE_LOCAL_SNAT, NODE_SNAT,
    Node, OriginIndex, Path, Port, Reverse, Seen, Sight, Tags, TunnelIndex, VnetId,
};
use crate::checksum::Sum;
use crate::decap;
use crate::fragment;
use crate::frame::{Frame, NoRoom};
use crate::gue;
use crate::icmp;
use crate::mss;
use crate::nat::{self, End};
use crate::parse::{self, Ip, Outline, Ports, Version};
use crate::steer;
use crate::tables::Tables;
use crate::track;
use crate::verdict::{Action, Reason, Verdict};
use crate::vlan;
use crate::wire::{IPPROTO_ICMP, IPPROTO_ICMPV6};

use answer::answer;
pub use depart::{Link, Order, Task, carry_out, depart, prepare, translate};
pub use device::{process_from_device, process_from_device_in};
pub use plan::Plan;
pub use quick::quick;
pub use scratch::Scratch;

/// The steps whose verification by the kernel must not be multiplied by the ways that lead to
/// them: in the kernel they are global functions, which are verified once, for any arguments.
pub trait Steps: Frame + Sized {
    /// [`parse::network`].
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
        parse::network(self, start, version, end, ip)
    }

    /// Makes it the link header that the frame came with.
    #[inline(always)]
    fn link(&self, link: &mut Link) -> Option<()> {
        link.read(self)
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

    /// [`icmp::translate`].
    ///
    /// # Errors
    /// As there.
    #[inline(always)]
    fn translate(
        &mut self,
        start: usize,
        ip: &Outline,
        end: End,
        address: &Address,
        port: Port,
    ) -> Result<(), NoRoom> {
        icmp::translate(self, start, ip, end, address, port)
    }

    /// [`depart()`].
    ///
    /// # Errors
    /// As there.
    #[inline(always)]
    fn depart(&mut self, order: &mut Order, path: Option<&Path>) -> Result<(), NoRoom> {
        depart(self, order, path)
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

    /// [`vlan::put`].
    ///
    /// # Errors
    /// As there.
    #[inline(always)]
    fn put_tags(&mut self, tags: Tags) -> Result<(), NoRoom> {
        vlan::put(self, tags)
    }

    /// [`track::follow`].
    #[inline(always)]
    fn follow<T: Tables>(
        &self,
        tables: &T,
        key: &FlowKey,
        request: &mut track::Request,
    ) -> OriginIndex {
        track::follow(self, tables, key, request)
    }

    /// Tells whoever sends the packet into its device which that is, unless it is none.
    ///
    /// # Errors
    /// There is no room for metadata; the frame is then as it came.
    fn hand_over(&mut self, device: Device) -> Result<(), NoRoom>;

    /// [`mss::clamp`].
    #[inline(always)]
    fn clamp_mss(&mut self, start: usize, segment_len: usize, limit: u16) {
        mss::clamp(self, start, segment_len, limit);
    }
}

/// Decides a frame that came in by the interface `ingress`, and makes it ready to leave.
pub fn process<F: Steps, T: Tables>(frame: &mut F, tables: &T, ingress: u32) -> Verdict {
    process_in(frame, tables, ingress, &mut Scratch::EMPTY.clone())
}

/// [`process`], with a place for what is worked out on the way; what stands there does not matter.
#[inline(always)]
pub fn process_in<F: Steps, T: Tables>(
    frame: &mut F,
    tables: &T,
    ingress: u32,
    scratch: &mut Scratch,
) -> Verdict {
    let plan = match plan(frame, tables, ingress, scratch) {
        Ok(plan) => plan,
        Err(reason) => return reason.into(),
    };
    // First, since it may fail, and changes nothing then.
    let device = scratch.order.device;
    if frame.hand_over(device).is_err() {
        return Reason::NoMetadata.into();
    }
    match frame.depart(&mut scratch.order, plan.path()) {
        Ok(()) if device == Device::NONE => plan.verdict,
        Ok(()) => Verdict {
            action: Action::HandOver(device),
            ..plan.verdict
        },
        Err(_) => Reason::NoHeadroom.into(),
    }
}

/// Decides a frame that came in by the interface `ingress`. If it is forwarded, the order to be
/// carried out is in `scratch`.
///
/// # Errors
/// The reason why it is not forwarded.
#[inline(always)]
pub fn plan<'t, F: Steps, T: Tables>(
    frame: &F,
    tables: &'t T,
    ingress: u32,
    scratch: &mut Scratch,
) -> Result<Plan<'t, T>, Reason> {
    let Scratch {
        ip,
        ports,
        order,
        request,
        risk,
    } = scratch;
    let (start, version) = parse::link(frame)?;
    ip.outer_class = 0;
    ip.unfinished = false;
    frame.network(start, version, frame.len(), ip)?;
    let node = tables.node().ok_or(Reason::NotConfigured)?;
    *ports = Ports::NONE;
    order.task = Task::Forward;
    let subject = subject(frame, tables, &node, ip, ports)?;
    if answer::is_asked(tables, &node, &subject) {
        order.task = Task::Echo;
    } else {
        request.flow = subject.flow();
        let planned = match role(tables, &node, &subject, &request.flow)? {
            Role::Request(listener) => plan::request(
                frame, tables, &node, &subject, &listener, ingress, request, risk, order,
            ),
            Role::Reply(reverse) => {
                subject.is_of(tables, reverse.origin);
                plan::reply(
                    frame, tables, &node, &subject, &reverse, false, ingress, order,
                )
            }
            Role::Translated(mapping) => {
                subject.is_of(tables, mapping.origin);
                subject.ip.destination = mapping.client;
                subject.ports.destination = mapping.client_port;
                let reverse = session::reverse_of(&mapping);
                plan::reply(
                    frame, tables, &node, &subject, &reverse, true, ingress, order,
                )
            }
        };
        if order.task != Task::TooBig {
            return planned;
        }
    }
    answer(frame, tables, &node, &subject, ingress, order)
}

/// The packet that is balanced: the one in the frame, or the one in its tunnel.
struct Subject<'a> {
    ip: &'a mut Ip,
    ports: &'a mut Ports,
    /// The VNet in which its addresses are meant.
    vnet: VnetId,
    /// The tunnel that it came by.
    tunnel: Option<TunnelIndex>,
    /// Whether that is a device of the kernel's, whose own program this is.
    is_by_device: bool,
    /// What it is if it belongs to no connection that is balanced.
    otherwise: Reason,
}

impl Subject<'_> {
    /// Keeps what later fragments need to know of the packet, if it is a first one: as it came.
    #[inline(always)]
    fn is_of<T: Tables>(&self, tables: &T, origin: OriginIndex) {
        fragment::remember(tables, self.ip, self.vnet, self.ports, origin);
    }

    /// The flow that the packet belongs to.
    #[inline(always)]
    fn flow(&self) -> FlowKey {
        FlowKey {
            source: self.ip.source,
            destination: self.ip.destination,
            source_port: self.ports.source,
            destination_port: self.ports.destination,
            vnet: self.vnet,
            protocol: self.ip.flow_protocol,
            reserved: [0; 3],
        }
    }

    /// What a session takes note of; nothing of an ICMP error, which neither keeps a session alive
    /// nor ends it (RFC 5382, 9; RFC 5508, 3.1).
    #[inline(always)]
    fn sight<T: Tables>(&self, tables: &T) -> Option<Sight> {
        if self.ports.related {
            return None;
        }
        Some(Sight {
            tick: Seen::tick_of(tables.now_ns()),
            tcp_flags: self.ports.tcp_flags,
        })
    }
}

/// Looks into a tunnel packet of a known peer; takes any other packet as it is.
///
/// `ip` is the packet in the frame, and becomes the one in its tunnel: one place for both, since
/// the kernel's stack is small.
#[inline(always)]
fn subject<'a, F: Steps, T: Tables>(
    frame: &F,
    tables: &T,
    node: &Node,
    ip: &'a mut Ip,
    ports: &'a mut Ports,
) -> Result<Subject<'a>, Reason> {
    let mut otherwise = Reason::NoListener;
    if !ip.is_fragment()
        && let Some(tunnelled) = decap::recognise(frame, tables, ip)
    {
        if let Some(peer) = tables.peer(&tunnelled.key) {
            let (start, version) = tunnelled.inner.packet(frame).ok_or(Reason::TunnelOther)?;
            ip.outer_class = ip.traffic_class;
            ip.unfinished = tunnelled.unfinished;
            frame.network(start, version, ip.end(), ip)?;
            let is_own = ip.destination == peer.inner_v4 || ip.destination == peer.inner_v6;
            let otherwise = if is_own {
                Reason::TunnelOwn
            } else {
                Reason::TunnelOther
            };
            // The node's own address may also be the source of clients' packets.
            if is_own && node.flags & NODE_SNAT == 0 {
                return Err(otherwise);
            }
            match transport(frame, tables, ip, peer.vnet, ports) {
                Err(Reason::OtherProtocol) if is_own => Err(otherwise),
                done => done,
            }?;
            if ip.unfinished && gue::checksum(frame, ip.start as usize, &ip.outline).is_none() {
                return Err(otherwise);
            }
            return Ok(Subject {
                ip,
                ports,
                vnet: peer.vnet,
                tunnel: Some(peer.tunnel),
                is_by_device: false,
                otherwise,
            });
        }
        otherwise = Reason::UnknownPeer;
    }
    match transport(frame, tables, ip, VnetId::LOCAL, ports) {
        Err(Reason::OtherProtocol) if otherwise == Reason::UnknownPeer => Err(otherwise),
        done => done,
    }?;
    Ok(Subject {
        ip,
        ports,
        vnet: VnetId::LOCAL,
        tunnel: None,
        is_by_device: false,
        otherwise,
    })
}

/// Reads the ports of a packet, of the datagram that it is a fragment of, or of the flow that an ICMP
/// error is about.
#[inline(always)]
fn transport<F: Steps, T: Tables>(
    frame: &F,
    tables: &T,
    ip: &mut Ip,
    vnet: VnetId,
    to: &mut Ports,
) -> Result<(), Reason> {
    if ip.is_later_fragment() {
        fragment::recall(tables, ip, vnet, to);
        return Ok(());
    }
    let done = parse::transport(frame, ip, to);
    if done != Err(Reason::OtherProtocol) {
        return done;
    }
    if ip.is_fragment() {
        return Err(Reason::Fragment);
    }
    if !matches!(ip.outline.protocol, IPPROTO_ICMP | IPPROTO_ICMPV6) {
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
    /// From an origin, to what it takes for a client.
    Translated(T::Ref<'t, Mapping>),
}

/// Finds the connection. In a tunnel an origin's answer is the usual case and is looked for first;
/// elsewhere a client's packet is, and answers are looked for only if some come that way.
#[inline(always)]
fn role<'t, T: Tables>(
    tables: &'t T,
    node: &Node,
    subject: &Subject<'_>,
    flow: &FlowKey,
) -> Result<Role<'t, T>, Reason> {
    let Subject {
        ip, ports, vnet, ..
    } = subject;
    if ports.echo {
        return Err(match subject.otherwise {
            Reason::TunnelOwn => Reason::TunnelOwn,
            _ => Reason::OtherProtocol,
        });
    }
    // Made where they are used, so that their places on the stack can be one.
    let from = || steer::service(ip.source, ports.source, ip.flow_protocol, *vnet);
    let to = || steer::service(ip.destination, ports.destination, ip.flow_protocol, *vnet);
    if subject.tunnel.is_some() {
        if node.flags & NODE_SNAT != 0
            && let Some(mapping) = tables.mapping(flow, subject.sight(tables))
        {
            return Ok(Role::Translated(mapping));
        }
        if subject.otherwise == Reason::TunnelOwn {
            return Err(subject.otherwise);
        }
        if let Some(reverse) = steer::reverse(tables, node, from()) {
            return Ok(Role::Reply(reverse));
        }
        if let Some(listener) = steer::listener(tables, node, to()) {
            return Ok(Role::Request(listener));
        }
    } else {
        if let Some(listener) = steer::listener(tables, node, to()) {
            return Ok(Role::Request(listener));
        }
        if node.flags & NODE_LOCAL_REPLIES != 0
            && let Some(reverse) = steer::reverse(tables, node, from())
        {
            return Ok(Role::Reply(reverse));
        }
        if node.flags & NODE_LOCAL_SNAT != 0
            && let Some(mapping) = tables.mapping(flow, subject.sight(tables))
        {
            return Ok(Role::Translated(mapping));
        }
    }
    if ports.related {
        return Err(Reason::OtherProtocol);
    }
    if ip.is_later_fragment() {
        return Err(fragment::stray(tables, ip, *vnet));
    }
    Err(subject.otherwise)
}

#[cfg(test)]
mod tests;
