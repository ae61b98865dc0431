use super::depart::{Link, Order, Task};
use super::plan::{self, Plan, Way};
use super::{Reason, Subject};
use crate::abi::{Address, Allowance, NODE_ECHO, Node, PATH_RESOLVED};
use crate::frame::Frame;
use crate::steer;
use crate::tables::Tables;
use crate::verdict::{Action, Verdict};
use crate::wire::{ETHERTYPE_DOT1Q, Ethernet, Pair, Tag};

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
/// tunnel, or to the MAC address, with the VLAN tag, that it came with. So it arrives even where
/// the node has no route. The task of `to` says which answer, and its limit the MTU.
///
/// # Errors
/// No single host has sent the packet to the node alone (RFC 1122, 3.2.2); it has more tags than
/// can be put on; it is too big, and may be fragmented, or its sender is not told every time.
#[inline(always)]
pub(super) fn answer<'t, F: Frame, T: Tables>(
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
        to.link = link_back(frame, ip.start as usize).ok_or(refusal)?;
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

/// The link header of a frame, whose IP header is at `start`, the other way round.
#[inline(always)]
fn link_back<F: Frame>(frame: &F, start: usize) -> Option<Link> {
    const TAGGED: usize = size_of::<Pair<Ethernet, Tag>>();
    let ethernet: &Ethernet = frame.at(0)?;
    let [first, ..] = ethernet.destination;
    // A group address (IEEE 802, 8.2): not to the node alone.
    if first & 1 != 0 {
        return None;
    }
    let mut link = Link {
        destination_mac: ethernet.source,
        source_mac: ethernet.destination,
        vlan: [0; 2],
    };
    if start > TAGGED {
        return None;
    }
    if start == TAGGED {
        if ethernet.ethertype != ETHERTYPE_DOT1Q {
            return None;
        }
        let tag: &Tag = frame.at(size_of::<Ethernet>())?;
        link.vlan = tag.tci;
    }
    Some(link)
}
