#![forbid(unsafe_code)]
//! Security associations and policies of IPsec tunnels with static keys, as the kernel's xfrm knows
//! them: a state for each direction, and policies that lead what enters the tunnel's interface to
//! them. The interface is tied to both by a number, `if_id`.
//!
//! What the agent makes carries its own `reqid`; it touches nothing else. So the associations of an
//! IKE daemon are safe from it, whatever their `if_id`.

mod kernel;
mod message;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

pub(super) use kernel::{add_policy, add_state, delete_policy, delete_state, installed};

use super::desired::Family;
use super::device::{DEVICE_GROUP, Device};
use crate::config::model::{Association, IpsecKey, TunnelKind};

/// `reqid` of all states and policies that the agent made.
const REQUEST: u32 = DEVICE_GROUP;

/// Once a state has sent so many packets, it is made anew: it can send no more than 2^32 of them
/// without using a number twice, and the kernel then sends none.
const ENOUGH_SENT: u32 = 1 << 31;

/// States and policies of ours.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Installed {
    /// States, and how many packets each has sent.
    pub states: BTreeMap<StateId, (State, u32)>,
    /// Policies.
    pub policies: BTreeSet<Policy>,
}

/// What tells a state from others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct StateId {
    /// Outer destination address.
    pub destination: IpAddr,
    /// Security parameters index.
    pub spi: u32,
}

/// A security association: ESP in tunnel mode, by AES-GCM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// Destination and index.
    pub id: StateId,
    /// Outer source address.
    pub source: IpAddr,
    /// The interface's number.
    pub if_id: u32,
    /// Key and salt; zeros when the kernel may not show it, nothing when the cipher is another.
    pub key: IpsecKey,
    /// Bits of the replay window; 0 for none.
    pub replay_window: u32,
    /// Whether the outer header has the DSCP of the packet inside.
    pub copies_dscp: bool,
}

/// A policy for all packets of one IP version in one direction.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Policy {
    /// The interface's number.
    pub if_id: u32,
    /// Whether it is for what goes out.
    pub is_outgoing: bool,
    /// IP version of the packets.
    pub family: Family,
    /// Outer source address of the association.
    pub source: IpAddr,
    /// Outer destination address of the association.
    pub destination: IpAddr,
}

impl State {
    /// The states of a device.
    pub(super) fn of(device: &Device) -> Vec<Self> {
        let (Some(associations), TunnelKind::Ipsec { if_id, .. }) =
            (&device.associations, device.kind)
        else {
            return Vec::new();
        };
        let state = |source, destination, association: &Association| Self {
            id: StateId {
                destination,
                spi: association.spi,
            },
            source,
            if_id,
            key: association.key.clone(),
            replay_window: 0,
            copies_dscp: false,
        };
        let (local, remote) = (device.local, device.remote);
        vec![
            Self {
                replay_window: associations.replay_window,
                ..state(remote, local, &associations.inbound)
            },
            Self {
                copies_dscp: associations.copies_dscp,
                ..state(local, remote, &associations.outbound)
            },
        ]
    }

    /// Whether the kernel's state, which has sent so many packets, is this one and can stay.
    pub(super) fn is(&self, found: &Self, sent: u32) -> bool {
        let Self {
            id,
            source,
            if_id,
            key,
            replay_window,
            copies_dscp,
        } = self;
        let hidden = found.key.0.len() == key.0.len() && found.key.0.iter().all(|byte| *byte == 0);
        sent < ENOUGH_SENT
            && (hidden || *key == found.key)
            && (*id, *source, *if_id) == (found.id, found.source, found.if_id)
            && *replay_window == found.replay_window
            // Of what comes in it says nothing.
            && *copies_dscp == found.copies_dscp
    }
}

impl Policy {
    /// The policies of a device.
    pub(super) fn of(device: &Device) -> Vec<Self> {
        let (Some(_), TunnelKind::Ipsec { if_id, .. }) = (&device.associations, device.kind) else {
            return Vec::new();
        };
        let carried = [
            (Family::V4, device.families.v4),
            (Family::V6, device.families.v6),
        ];
        let families = carried.into_iter().filter(|(_, carried)| *carried);
        families
            .flat_map(|(family, _)| {
                [true, false].map(|is_outgoing| {
                    let (source, destination) = if is_outgoing {
                        (device.local, device.remote)
                    } else {
                        (device.remote, device.local)
                    };
                    Self {
                        if_id,
                        is_outgoing,
                        family,
                        source,
                        destination,
                    }
                })
            })
            .collect()
    }

    /// Whether the kernel takes both for one.
    pub(super) fn is_in_place_of(&self, other: &Self) -> bool {
        (self.if_id, self.is_outgoing, self.family)
            == (other.if_id, other.is_outgoing, other.family)
    }
}

impl fmt::Display for StateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { destination, spi } = self;
        write!(f, "security association {spi:#x} to {destination}")
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.is_outgoing { "out" } else { "in" };
        let family = match self.family {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        };
        write!(
            f,
            "policy {direction} for {family} of if_id {} from {} to {}",
            self.if_id, self.source, self.destination
        )
    }
}
