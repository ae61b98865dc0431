use super::plan::{Link, Plan, Way};
use crate::abi::Path;
use crate::encap;
use crate::frame::Frame;
use crate::nat;
use crate::parse::{Ip, Version};
use crate::tables::Tables;
use crate::verdict::{Action, Reason, Verdict};
use crate::wire::{ETHERTYPE_DOT1Q, Ethernet, Pair, Tag};

/// Carries out a plan: makes or takes room, rewrites, and writes the headers in front.
///
/// # Errors
/// There is no room; the frame is then as it came.
#[inline(always)]
pub(super) fn depart<F: Frame, T: Tables>(
    frame: &mut F,
    ip: &Ip,
    plan: &Plan<'_, T>,
    ingress: u32,
) -> Result<Verdict, Reason> {
    let (link, path) = match &plan.way {
        Way::Origin(origin) => by_path(&origin.path),
        Way::OriginLink(origin) => (Link::of(&origin.path), None),
        Way::Tunnel(path) => by_path(path),
        Way::Link(link) => (*link, None),
    };
    let link_len = if link.vlan == [0, 0] {
        size_of::<Ethernet>()
    } else {
        size_of::<Pair<Ethernet, Tag>>()
    };
    let headers = path.map_or(0, |path| usize::from(path.header_len));
    let start = link_len + headers;
    let delta = ip.start as i32 - start as i32;
    if delta != 0 {
        frame.move_head(delta).map_err(|_| Reason::NoHeadroom)?;
    }
    write(frame, ip, plan, &link, link_len, path).ok_or(Reason::NoHeadroom)?;
    Ok(Verdict {
        action: if link.ifindex == ingress {
            Action::Transmit
        } else {
            Action::Redirect(link.ifindex)
        },
        reason: plan.reason,
        listener: Some(plan.listener),
        origin: Some(plan.origin),
        tunnel: plan.tunnel,
    })
}

impl Link {
    #[inline(always)]
    const fn of(path: &Path) -> Self {
        Self {
            ifindex: path.ifindex,
            source_mac: path.source_mac,
            destination_mac: path.destination_mac,
            vlan: path.vlan,
        }
    }
}

#[inline(always)]
fn by_path(path: &Path) -> (Link, Option<&Path>) {
    (Link::of(path), encap::is_tunnel(path).then_some(path))
}

/// Writes everything; `None` only if the frame, or a path, is not what it was checked to be.
#[inline(always)]
fn write<F: Frame, T: Tables>(
    frame: &mut F,
    ip: &Ip,
    plan: &Plan<'_, T>,
    link: &Link,
    link_len: usize,
    path: Option<&Path>,
) -> Option<()> {
    let headers = path.map_or(0, |path| usize::from(path.header_len));
    let start = link_len + headers;
    if plan.takes_hop {
        nat::take_hop(frame, start, ip.version)?;
    }
    if let Some(rewrite) = &plan.rewrite {
        nat::rewrite(frame, start, ip, rewrite)?;
    }
    let mut version = ip.version;
    if let Some(path) = path {
        encap::push(frame, link_len, path, ip, plan.hash)?;
        version = if path.outer == 6 {
            Version::V6
        } else {
            Version::V4
        };
    }
    write_link(frame, link, version.ethertype())
}

#[inline(always)]
fn write_link<F: Frame>(frame: &mut F, link: &Link, ethertype: [u8; 2]) -> Option<()> {
    let ethernet = |ethertype| Ethernet {
        destination: link.destination_mac,
        source: link.source_mac,
        ethertype,
    };
    if link.vlan == [0, 0] {
        *frame.at_mut(0)? = ethernet(ethertype);
    } else {
        *frame.at_mut(0)? = Pair {
            first: ethernet(ETHERTYPE_DOT1Q),
            second: Tag {
                tci: link.vlan,
                ethertype,
            },
        };
    }
    Some(())
}
