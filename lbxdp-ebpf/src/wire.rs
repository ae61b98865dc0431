//! Headers as they stand in a packet: byte arrays, alignment 1, the RFCs' names.
//!
//! Numbers of more than one byte are in network order, as the wire has them.

mod eth;
mod icmp;
mod ip;
mod l4;
mod tunnel;

pub use eth::{ETHERTYPE_DOT1AD, ETHERTYPE_DOT1Q, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Tag};
pub use icmp::{
    ICMP_DEST_UNREACH, ICMP_ECHO, ICMP_ECHOREPLY, ICMP_FRAG_NEEDED, ICMP_PARAMETERPROB,
    ICMP_TIME_EXCEEDED, ICMPV6_DEST_UNREACH, ICMPV6_ECHO_REPLY, ICMPV6_ECHO_REQUEST,
    ICMPV6_PARAMPROB, ICMPV6_PKT_TOOBIG, IPPROTO_ICMP, IPPROTO_ICMPV6, Icmp,
};
pub use ip::{
    DSTOPTS, FRAGMENT, HOPOPTS, IPPROTO_AH, IPPROTO_GRE, IPPROTO_IPIP, IPPROTO_IPV6, IPPROTO_TCP,
    IPPROTO_UDP, IPV4_DF, IPV4_MF, IPV4_OFFSET, IPV6_MORE_FRAGMENTS, IPV6_OFFSET, Ipv4, Ipv6,
    Ipv6Extension, Ipv6Fragment, MH, NO_NEXT_HEADER, ROUTING,
};
pub use l4::{
    Ports, QuicLong, TCP_ACK, TCP_END, TCP_FIN, TCP_MSS, TCP_MSS_LEN, TCP_NOP, TCP_RST, TCP_SYN,
    Tcp, Udp,
};
pub use tunnel::{
    ETHERTYPE_TEB, GENEVE_CONTROL, GENEVE_CRITICAL, GENEVE_OPTION_LENGTH,
    GENEVE_OPTION_LENGTH_MASK, GRE_CHECKSUM, GRE_FIELD, GRE_KEY, GRE_SEQUENCE, GUE_CONTROL,
    GUE_DIRECT, GUE_HLEN_MASK, GUE_PRIVATE, GUE_REMOTE_CHECKSUM, GUE_VERSION_MASK, Geneve, Gre,
    Gue, VXLAN_VNI_VALID, Vxlan,
};

use crate::frame::Wire;

/// Declares types of the wire: asserts their size and alignment.
macro_rules! wire_type {
    ($($type:ty: $size:literal;)+) => {$(
        const _: () = {
            assert!(core::mem::size_of::<$type>() == $size, "size of the header has changed");
            assert!(core::mem::align_of::<$type>() == 1, "headers stand at any address");
        };
        // SAFETY: the type is `repr(C)` and made of bytes and byte arrays alone, so that its
        // alignment is 1 (asserted), it has no padding, and any bytes are a value of it.
        unsafe impl $crate::frame::Wire for $type {}
    )+};
}
use wire_type;

/// Two headers, one right behind the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Pair<A, B> {
    /// The header in front.
    pub first: A,
    /// The header behind it.
    pub second: B,
}

// SAFETY: two types of alignment 1 without padding, side by side in `repr(C)`, have no padding
// between or behind them; any bytes are a value of each.
unsafe impl<A: Wire, B: Wire> Wire for Pair<A, B> {}
