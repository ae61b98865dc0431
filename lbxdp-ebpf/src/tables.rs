//! What the pipeline asks of the world: tables, and the way back to a client.

use core::ops::Deref;

use crate::abi::{
    Address, Allowance, Flow, FlowKey, Fragment, Kept, Listener, Mapping, Node, Origin,
    OriginIndex, Owner, Path, Peer, PeerKey, Port, Reverse, RouteKey, Row, Service, Session, Side,
    Sight, Table, TunnelIndex, Vlan, VnetId,
};
use crate::flow_table::Recording;
use crate::fragment;
use crate::parse::Ip;
use crate::snat::{self, Request};
use crate::track::{self, FlowEvent};
use crate::verdict::Reason;

/// Lookups in the maps and in the kernel's routes.
///
/// Implemented by the BPF maps (in the kernel), by ordinary collections
/// ([`mem`](crate::mem)) and, in the agent, by the live pinned maps.
pub trait Tables {
    /// A value found in a map: a pointer into it, or a copy.
    type Ref<'a, T: Copy + 'a>: Deref<Target = T>
    where
        Self: 'a;

    /// The node's settings; `None` before the agent has written them.
    fn node(&self) -> Option<Self::Ref<'_, Node>>;
    /// The listener at a service address.
    fn listener(&self, key: &Service) -> Option<Self::Ref<'_, Listener>>;
    /// Where a table's rows are.
    fn table(&self, index: u32) -> Option<Self::Ref<'_, Table>>;
    /// The owner of a row, by the row's index in `ROWS`.
    fn owner(&self, row: u32) -> Option<Owner>;
    /// A row, by its index in `ROWS`.
    fn row(&self, index: u32) -> Option<Self::Ref<'_, Row>>;
    /// An origin.
    fn origin(&self, index: OriginIndex) -> Option<Self::Ref<'_, Origin>>;
    /// The listener that an origin's transport address answers for.
    fn reverse(&self, key: &Service) -> Option<Self::Ref<'_, Reverse>>;
    /// The port under which the range that this one is in is entered, on one side: that of the
    /// narrowest.
    fn range(&self, key: &Service, side: Side) -> Option<Port>;
    /// What the first fragment of a datagram has shown, by a later one; `None` if that was too long
    /// ago.
    fn fragment(&self, packet: &Ip, vnet: VnetId) -> Option<Fragment>;
    /// Keeps what the first fragment of a datagram shows.
    fn remember(&self, packet: &Ip, vnet: VnetId, first: Fragment);
    /// Whether the packet is for a VIP, whatever its protocol and ports.
    fn is_for_vip(&self, packet: &Ip, vnet: VnetId) -> bool {
        self.listener(&fragment::vip(packet, vnet)).is_some()
    }
    /// Whether some tunnel receives at this UDP port.
    fn is_tunnel_port(&self, port: Port) -> bool;
    /// The tunnel that a packet with these outer headers comes from.
    fn peer(&self, key: &PeerKey) -> Option<Self::Ref<'_, Peer>>;
    /// The path into a tunnel.
    fn tunnel(&self, index: TunnelIndex) -> Option<Self::Ref<'_, Path>>;
    /// The tunnel that leads to an address within a VNet, by longest prefix.
    fn tunnel_to(&self, key: &RouteKey) -> Option<TunnelIndex>;
    /// What a client's flow is translated to, unless the packet opens a new connection in the place
    /// of one that has ended. The session takes note of what is seen of it.
    fn session(&self, flow: &FlowKey, sight: Option<Sight>) -> Option<Self::Ref<'_, Session>>;
    /// Sets what a client's flow is translated to.
    ///
    /// # Errors
    /// [`Refused::Full`].
    fn set_session(&self, flow: &FlowKey, session: &Session) -> Result<(), Refused>;
    /// Whom an answer is for. The mapping takes note of what is seen of it.
    fn mapping(&self, flow: &FlowKey, sight: Option<Sight>) -> Option<Self::Ref<'_, Mapping>>;
    /// Adds the way back of a flow.
    ///
    /// # Errors
    /// Another flow has it, or the map is full.
    fn add_mapping(&self, flow: &FlowKey, mapping: &Mapping) -> Result<(), Refused>;
    /// Takes a way back away that has just been added.
    fn remove_mapping(&self, flow: &FlowKey);
    /// [`snat::allocate`]; in the kernel a global function, as [`Steps`](crate::pipeline::Steps) are.
    ///
    /// # Errors
    /// As there.
    #[inline(always)]
    fn allocate(&self, request: &mut Request) -> Result<(), Reason>
    where
        Self: Sized,
    {
        snat::allocate(self, request)
    }
    /// What a VLAN device is; `None` for any other interface.
    fn vlan(&self, ifindex: u32) -> Option<Self::Ref<'_, Vlan>>;
    /// How many messages of its own this CPU may still send.
    fn allowance(&self) -> Allowance;
    /// Sets what is left of them.
    fn set_allowance(&self, left: Allowance);
    /// The origin that a flow of a row at risk is recorded with (map `FLOWS`), as of a tick. The entry
    /// takes note of what is seen: [`Kept::see`].
    fn tracked(&self, flow: &FlowKey, digest: u64, now: u32, sight: Option<Sight>) -> Option<Kept>;
    /// The same, or else the origin that its first packet is recorded with, and whether it is that.
    #[inline(always)]
    fn recorded(
        &self,
        flow: &FlowKey,
        digest: u64,
        now: u32,
        sight: Option<Sight>,
    ) -> Option<(Kept, bool)> {
        match self.tracked(flow, digest, now, sight) {
            Some(kept) => Some((kept, false)),
            None => Some((self.opening(flow, digest, now)?, true)),
        }
    }
    /// Records a flow.
    fn track(&self, flow: &Flow, digest: u64, kept: Kept) -> Recording;
    /// The origin that the first packet of a flow is recorded with (map `OPENING`), as of a tick.
    fn opening(&self, flow: &FlowKey, digest: u64, now: u32) -> Option<Kept>;
    /// Records the first packet of a flow.
    fn set_opening(&self, flow: &Flow, digest: u64, kept: Kept) -> Recording;
    /// Takes away what is recorded of a first packet, if something is.
    fn forget_opening(&self, flow: &FlowKey, digest: u64);
    /// [`track::may_record`]; in the kernel a global function, as [`Steps`](crate::pipeline::Steps)
    /// are.
    #[inline(always)]
    fn may_record(&self, interval_ns: u64, is_first: bool) -> bool
    where
        Self: Sized,
    {
        track::may_record(self, interval_ns, is_first)
    }
    /// [`track::record`]; in the kernel another.
    #[inline(always)]
    fn record(&self, request: &track::Request)
    where
        Self: Sized,
    {
        track::record(self, request);
    }
    /// Counts what has become of a flow.
    fn count_flow(&self, event: FlowEvent);
    /// How many flows this CPU may still record.
    fn flow_allowance(&self) -> Allowance;
    /// Sets what is left of them.
    fn set_flow_allowance(&self, left: Allowance);
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    fn now_ns(&self) -> u64;
    /// The way to a client, by the node's own routes.
    fn route(&self, query: &RouteQuery<'_>) -> Route;
}

/// Why an entry was not made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// There is one of this key.
    Taken,
    /// There is no room for another.
    Full,
}

/// A packet for which a route is sought, as it will be when it leaves. What there is of it already
/// is referred to: the kernel's stack is small.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteQuery<'a> {
    /// The packet; its source is another one now.
    pub packet: &'a Ip,
    /// Its source when it leaves.
    pub source: &'a Address,
    /// Its source port when it leaves.
    pub source_port: Port,
    /// Its destination port.
    pub destination_port: Port,
    /// Interface that the packet came in by.
    pub ingress: u32,
}

/// What the node's routes say of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// Send it to this next hop.
    NextHop {
        /// Interface to leave by.
        ifindex: u32,
        /// MAC address of that interface.
        source_mac: [u8; 6],
        /// MAC address of the next hop.
        destination_mac: [u8; 6],
    },
    /// The destination is this node, or nothing that is forwarded to.
    NotForwarded,
    /// The next hop's MAC address is not known.
    NoNeighbour {
        /// Interface to leave by.
        ifindex: u32,
    },
    /// Forwarding is off on the incoming interface.
    ForwardingOff,
    /// The packet is larger than the route allows, which is this many bytes.
    TooBig(u16),
    /// There is no route, or one that refuses.
    Unreachable,
}
