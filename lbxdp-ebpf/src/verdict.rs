//! What becomes of a packet, and why.

use crate::abi::Device;

/// What the kernel is to do with the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Up the stack of this node: as it came, or ([`Reason::ReplyNoNeighbour`]) translated.
    Pass,
    /// Away with it.
    Drop,
    /// Out of the interface that it came in by.
    Transmit,
    /// Out of the interface with this index.
    Redirect(u32),
    /// Into this device of the kernel's, by the TC program of the interface.
    HandOver(Device),
}

/// Which way a forwarded packet went; decides the counters that it adds to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From a client to an origin.
    Forward,
    /// From an origin to a client.
    Reply,
}

/// The end of every packet: action, reason, and whom it is counted for.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// What to do.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// Slot of the listener's counters.
    pub listener: Slot,
    /// The origin.
    pub origin: Slot,
    /// The tunnel.
    pub tunnel: Slot,
}

/// The slot of counters, or none.
///
/// Not an `Option`: what that leaves undefined where there is none may become a pointer, and be
/// calculated with before it is asked whether it is there, which the kernel's verifier minds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot(u32);

impl Slot {
    /// No slot.
    pub const NONE: Self = Self(u32::MAX);

    /// The slot of this index.
    #[inline(always)]
    #[must_use]
    pub const fn of(index: u32) -> Self {
        Self(index)
    }

    /// The slot of an origin or tunnel, of which the largest index stands for none.
    #[inline(always)]
    #[must_use]
    pub const fn of_short(index: u16) -> Self {
        if index == u16::MAX {
            Self::NONE
        } else {
            Self(index as u32)
        }
    }

    /// The index, or a number that is that of no slot.
    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The index.
    #[inline(always)]
    #[must_use]
    pub const fn get(self) -> Option<u32> {
        match self {
            Self::NONE => None,
            Self(index) => Some(index),
        }
    }
}

impl Verdict {
    /// A verdict that concerns no listener, origin or tunnel.
    #[inline(always)]
    pub const fn of(reason: Reason) -> Self {
        Self {
            action: reason.default_action(),
            reason,
            listener: Slot::NONE,
            origin: Slot::NONE,
            tunnel: Slot::NONE,
        }
    }
}

impl From<Reason> for Verdict {
    #[inline(always)]
    fn from(reason: Reason) -> Self {
        Self::of(reason)
    }
}

/// One list for all that names a reason: variant, kind, metric label, sentence.
macro_rules! reasons {
    ($($variant:ident $kind:ident $label:literal $sentence:literal;)+) => {
        /// Why a packet ended as it did: at once counter index, metric label and sentence.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u32)]
        pub enum Reason {
            $(#[doc = $sentence] $variant),+
        }

        impl Reason {
            /// All reasons, in the order of their indices.
            pub const ALL: &[Self] = &[$(Self::$variant),+];
            /// How many there are; the size of map `REASONS`.
            pub const COUNT: usize = Self::ALL.len();

            /// Pass, drop or forward.
            #[inline(always)]
            #[must_use]
            pub const fn kind(self) -> Kind {
                match self { $(Self::$variant => Kind::$kind),+ }
            }

            /// The metric label: lower case, words joined by underscores.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label),+ }
            }

            /// One sentence for a person.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence),+ }
            }
        }
    };
}

/// What kind of end a reason is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Not ours: up the stack, untouched.
    Pass,
    /// Ours, and cannot be forwarded.
    Drop,
    /// Sent on to an origin.
    Forward,
    /// Sent back to a client.
    Reply,
    /// Answered by the node itself.
    Answer,
}

reasons! {
    // Not ours.
    NotIp            Pass "not_ip"             "The frame carries neither IPv4 nor IPv6.";
    TooManyTags      Pass "too_many_tags"      "The frame has more than two VLAN tags.";
    Truncated        Pass "truncated"          "The packet ends before its headers do.";
    Malformed        Pass "malformed"          "A header of the packet contradicts itself.";
    TooManyHeaders   Pass "too_many_headers"   "The chain of IPv6 extension headers is longer than is followed.";
    Fragment         Pass "fragment"           "The packet is a fragment of nothing that is balanced here.";
    OtherProtocol    Pass "other_protocol"     "The packet is neither TCP nor UDP nor a tunnel packet.";
    NoListener       Pass "no_listener"        "Nothing is configured at the packet's destination.";
    UnknownPeer      Pass "unknown_peer"       "The tunnel packet comes from no configured peer.";
    TunnelOther      Pass "tunnel_other"       "The packet in the tunnel belongs to no connection that is balanced here.";
    TunnelOwn        Pass "tunnel_own"         "The packet in the tunnel is for the node itself.";
    ReplyToNode      Pass "reply_to_node"      "The origin answers the node itself, or an address to which the node has no route.";
    NotConfigured    Pass "not_configured"     "The agent has not configured the program yet.";
    ReplyNoForwarding Pass "reply_no_forwarding" "IP forwarding is off on the interface, so the reply to the client is left to the kernel.";
    // Ours, but.
    NoTable          Drop "no_table"           "The listener's rows are missing.";
    NoOrigin         Drop "no_origin"          "No origin is able to serve this listener.";
    OriginMissing    Drop "origin_missing"     "The row names an origin that does not exist.";
    FamilyMismatch   Drop "family_mismatch"    "The origin's address is of the other IP version.";
    FragmentEarly    Drop "fragment_early"     "The packet is a fragment for a VIP, and no first fragment of its datagram, which has the ports, has come of late.";
    CongestionLost   Drop "congestion_lost"    "The tunnel packet has met congestion, and the packet inside, not being ECN-capable, can tell so only by being dropped.";
    TtlExpired       Drop "ttl_expired"        "The packet's TTL or hop limit is used up.";
    TooBig           Drop "too_big"            "The packet is larger than its path allows, and its sender cannot be told.";
    TooBigLimited    Drop "too_big_limited"    "The packet is larger than its path allows; too many senders have been told so of late to tell this one.";
    TooBigFragmentable Drop "too_big_fragmentable" "The packet is larger than its path allows, and is not fragmented here, though it may be.";
    NoNextHop        Drop "no_next_hop"        "The next hop towards the origin or tunnel is not resolved.";
    NoHeadroom       Drop "no_headroom"        "The frame has no room for another header.";
    NoMetadata       Drop "no_metadata"        "The interface's driver has no room for metadata, with which packets are handed over to the tunnel's device.";
    NoReplyRoute     Drop "no_reply_route"     "No route leads back to the client.";
    NoSession        Drop "no_session"         "The packet belongs to no flow whose source address is translated, and begins none.";
    SnatExhausted    Drop "snat_exhausted"     "All source ports towards the origin seem taken: none was found for another flow.";
    SnatTableFull    Drop "snat_table_full"    "The table of flows whose source address is translated is full.";
    NoTunnelRoute    Drop "no_tunnel_route"    "No tunnel of the client's VNet leads to the client.";
    // Sent on.
    ForwardDsr       Forward "forward_dsr"     "The packet is encapsulated and sent to its origin, which answers directly.";
    ForwardDsrL2     Forward "forward_dsr_l2"  "The packet is sent to its origin's MAC address; the origin answers directly.";
    ForwardNat       Forward "forward_nat"     "The packet is rewritten and sent to its origin.";
    ForwardNatTunnel Forward "forward_nat_tunnel" "The packet is rewritten and sent to its origin through the tunnel of its VNet.";
    ForwardError     Forward "forward_error"   "The ICMP error about a packet to a client is sent to the origin that the packet came from.";
    // Sent back.
    ReplyNoNeighbour Reply "reply_no_neighbour" "The origin's answer is rewritten and left to the kernel to send, since the next hop to the client has no known MAC address yet.";
    ReplyToFragment  Reply "reply_to_fragment" "The origin's answer is larger than the route to the client allows: it is rewritten and left to the kernel to fragment and send.";
    ReplyNat         Reply "reply_nat"         "The origin's answer is rewritten and sent to the client.";
    ReplyNatTunnel   Reply "reply_nat_tunnel"  "The origin's answer is taken out of its tunnel, rewritten and sent to the client.";
    ReplyError       Reply "reply_error"       "The ICMP error about a packet to an origin is rewritten and sent to the client that the packet came from.";
    // Answered.
    EchoAnswered     Answer "echo_answered"    "The echo request to a VIP is answered by the node.";
    TooBigAnswered   Answer "too_big_answered" "The packet is larger than its path allows; its sender has been told the size that fits.";
}

impl Reason {
    /// The position in map `REASONS`.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> u32 {
        self as u32
    }

    /// The reason at a position in map `REASONS`.
    #[inline(always)]
    #[must_use]
    pub fn from_index(index: u32) -> Option<Self> {
        Self::ALL.get(index as usize).copied()
    }

    /// Which way a packet of this reason was going, if it was forwarded.
    #[inline(always)]
    #[must_use]
    pub const fn direction(self) -> Option<Direction> {
        match self.kind() {
            Kind::Pass | Kind::Drop | Kind::Answer => None,
            Kind::Forward => Some(Direction::Forward),
            Kind::Reply => Some(Direction::Reply),
        }
    }

    /// The action of a packet that is not forwarded; a forwarded one is given its own.
    #[inline(always)]
    const fn default_action(self) -> Action {
        match self.kind() {
            Kind::Pass => Action::Pass,
            Kind::Drop | Kind::Forward | Kind::Reply | Kind::Answer => Action::Drop,
        }
    }
}
