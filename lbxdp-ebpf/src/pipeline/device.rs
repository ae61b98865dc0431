//! What comes in by a device of the kernel's that is a tunnel: plain IP packets, the outer headers
//! taken off, the sender proved by whatever the device does.
//!
//! Only answers of origins are ours here. Anything else is left to the kernel as it came.

use super::depart::Task;
use super::plan::{self, Plan};
use super::session;
use super::{Role, Scratch, Steps, Subject, role, transport};
use crate::abi::{NODE_SNAT, PATH_INNER_ETHERNET, PeerKey, VnetId};
use crate::frame::Frame;
use crate::parse::{self, Ports, Version};
use crate::tables::Tables;
use crate::verdict::{Action, Reason, Verdict};

/// Decides a frame that came in by the device `device`, and makes it ready to leave; one that is
/// left to the kernel is not changed.
pub fn process_from_device<F: Steps, T: Tables>(frame: &mut F, tables: &T, device: u32) -> Verdict {
    process_from_device_in(frame, tables, device, &mut Scratch::EMPTY.clone())
}

/// [`process_from_device`], with a place for what is worked out on the way; what stands there does
/// not matter.
#[inline(always)]
pub fn process_from_device_in<F: Steps, T: Tables>(
    frame: &mut F,
    tables: &T,
    device: u32,
    scratch: &mut Scratch,
) -> Verdict {
    let plan = match plan_from_device(frame, tables, device, scratch) {
        Ok(plan) => plan,
        Err(reason) => return reason.into(),
    };
    match frame.depart(&mut scratch.order, None) {
        Ok(()) => plan.verdict,
        Err(_) => Reason::NoHeadroom.into(),
    }
}

/// As [`plan`](super::plan()).
#[inline(always)]
fn plan_from_device<'t, F: Steps, T: Tables>(
    frame: &F,
    tables: &'t T,
    device: u32,
    scratch: &mut Scratch,
) -> Result<Plan<'t, T>, Reason> {
    let Scratch {
        ip,
        ports,
        order,
        request,
        risk: _,
    } = scratch;
    let node = tables.node().ok_or(Reason::NotConfigured)?;
    let peer = tables
        .peer(&PeerKey::of_device(device))
        .ok_or(Reason::UnknownPeer)?;
    let path = tables.tunnel(peer.tunnel).ok_or(Reason::UnknownPeer)?;
    let (start, version) = if path.has(PATH_INNER_ETHERNET) {
        parse::link(frame)?
    } else {
        (0, version_at_start(frame)?)
    };
    ip.outer_class = 0;
    ip.unfinished = false;
    frame.network(start, version, frame.len(), ip)?;
    // The kernel puts a datagram together where it is for the node itself.
    if ip.is_fragment() {
        return Err(Reason::Fragment);
    }
    *ports = Ports::NONE;
    order.task = Task::Forward;
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
    let subject = Subject {
        ip,
        ports,
        vnet: peer.vnet,
        tunnel: Some(peer.tunnel),
        is_by_device: true,
        otherwise,
    };
    request.flow = subject.flow();
    let (reverse, translated) = match role(tables, &node, &subject, &request.flow)? {
        Role::Request(_) => return Err(otherwise),
        Role::Reply(reverse) => (*reverse, false),
        Role::Translated(mapping) => {
            subject.ip.destination = mapping.client;
            subject.ports.destination = mapping.client_port;
            (session::reverse_of(&mapping), true)
        }
    };
    // The configuration has excluded clients of another VNet.
    if reverse.vnet != VnetId::LOCAL {
        return Err(otherwise);
    }
    let uplink = node.uplink;
    let mut plan = plan::reply(
        frame, tables, &node, &subject, &reverse, translated, uplink, order,
    )?;
    // The interface that the answer came in by is the device, not the one that routes are asked for.
    if plan.verdict.action == Action::Transmit {
        plan.verdict.action = Action::Redirect(uplink);
    }
    Ok(plan)
}

/// The IP version of a packet without a link header.
#[inline(always)]
fn version_at_start<F: Frame>(frame: &F) -> Result<Version, Reason> {
    // Two bytes, since the verifier does not follow how the compiler compares the bounds of one.
    let [first, _] = *frame.at::<[u8; 2]>(0).ok_or(Reason::Truncated)?;
    match first >> 4 {
        4 => Ok(Version::V4),
        6 => Ok(Version::V6),
        _ => Err(Reason::NotIp),
    }
}
