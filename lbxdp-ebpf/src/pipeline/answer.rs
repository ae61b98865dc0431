use core::mem::swap;

use super::depart::{Order, Task};
use super::plan::{self, Plan, Way};
use super::{Reason, Steps, Subject};
use crate::abi::{Address, Allowance, NODE_ECHO, Node, PATH_RESOLVED};
use crate::steer;
use crate::tables::Tables;
use crate::verdict::{Action, Verdict};

/// Whether the packet is an echo request to a VIP.
#[inline(always)]
pub(super) fn is_asked<T: Tables>(tables: &T, node: &Node, subject: &Subject<'_>) -> bool {
    let Subject {
        ip, ports, vnet, ..
    } = subject;
    ports.echo
        && node.flags & NODE_ECHO != 0
        && tables
            .listener(&steer::service(
                ip.destination,
                ports.destination,
                ip.outline.protocol,
                *vnet,
            ))
            .is_some()
}

/// Plans an answer of the node itself to the packet's sender, back to where it came from: into the
/// tunnel, or to the MAC address, with the VLAN tags, that it came with. So it arrives even where
/// the node has no route. The task of `to` says which answer, and its limit the MTU.
///
/// # Errors
/// No single host has sent the packet to the node alone (RFC 1122, 3.2.2); it is too big, and may be
/// fragmented, or its sender is not told every time.
#[inline(always)]
pub(super) fn answer<'t, F: Steps, T: Tables>(
    frame: &F,
    tables: &'t T,
    node: &Node,
    subject: &Subject<'_>,
    ingress: u32,
    to: &mut Order,
) -> Result<Plan<'t, T>, Reason> {
    let ip = &*subject.ip;
    let is_error = to.task == Task::TooBig;
    if is_error && plan::may_fragment(ip) {
        return Err(Reason::TooBigFragmentable);
    }
    let refusal = if is_error {
        Reason::TooBig
    } else {
        Reason::OtherProtocol
    };
    if !is_host(&ip.source) {
        return Err(refusal);
    }
    *to = Order {
        outline: ip.outline,
        start: ip.start,
        task: to.task,
        limit: to.limit,
        ..Order::EMPTY
    };
    let mut action = Action::Transmit;
    let way = if let Some(index) = subject.tunnel {
        let path = tables.tunnel(index).ok_or(refusal)?;
        if !path.has(PATH_RESOLVED) || (!is_error && !plan::fits(&path, ip.outline.length)) {
            return Err(refusal);
        }
        to.link = plan::link_of(&path);
        to.device = plan::device_of(&path);
        action = plan::action(path.ifindex, ingress);
        Way::Tunnel(path)
    } else {
        frame.link(&mut to.link).ok_or(refusal)?;
        let [first, ..] = to.link.destination_mac;
        // A group address (IEEE 802, 8.2): not to the node alone.
        if first & 1 != 0 {
            return Err(refusal);
        }
        swap(&mut to.link.destination_mac, &mut to.link.source_mac);
        Way::Link
    };
    if is_error {
        let left =
            tables
                .allowance()
                .spend(tables.now_ns(), node.icmp_interval_ns, Allowance::BURST);
        tables.set_allowance(left.ok_or(Reason::TooBigLimited)?);
    }
    Ok(Plan {
        verdict: Verdict {
            action,
            ..Verdict::of(if is_error {
                Reason::TooBigAnswered
            } else {
                Reason::EchoAnswered
            })
        },
        way,
    })
}

/// Whether the address may be that of one host.
#[inline(always)]
fn is_host(address: &Address) -> bool {
    if address.is_v4() {
        // "This network", loopback, multicast and above (RFC 1122, 3.2.1.3).
        let [first, ..] = address.v4_octets();
        first != 0 && first != 127 && first < 224
    } else {
        let [first, ..] = address.octets();
        first != 0xff && *address != Address::UNSPECIFIED
    }
}
