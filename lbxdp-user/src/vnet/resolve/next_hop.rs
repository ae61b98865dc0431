//! Where to, and by which way.

use std::fmt;
use std::net::IpAddr;

use lbxdp_ebpf::abi::Tags;

/// Where to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Query {
    /// Destination address.
    pub destination: IpAddr,
    /// Source address, which must be one of the node's, where policy routing may look at it.
    pub source: Option<IpAddr>,
    /// Name of the device that it must leave by; thereby the VNet.
    pub device: Option<String>,
}

/// The answer to a [`Query`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NextHop {
    /// The way is known.
    Resolved(Hop),
    /// It is not, or not yet: the kernel was asked to find out where it can.
    Unresolved(Unresolved),
}

/// All that is needed to send a packet on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hop {
    /// Interface that the packet leaves by: below a VLAN device, the one that it is over.
    pub ifindex: u32,
    /// Name of that interface.
    pub interface: String,
    /// VLAN tags to put on, when the route is through a VLAN device.
    pub tags: Tags,
    /// MAC address to send from.
    pub mac: [u8; 6],
    /// Largest IP packet, in bytes: of the interface, or of the route if that is less.
    pub mtu: u32,
    /// Who is sent to: the gateway, or the destination itself.
    pub gateway: IpAddr,
    /// Its MAC address.
    pub gateway_mac: [u8; 6],
}

/// Why there is no next hop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unresolved {
    /// No route leads there.
    NoRoute {
        /// What the kernel says.
        cause: String,
    },
    /// The destination is the node's own address.
    Local,
    /// A route forbids it.
    Forbidden,
    /// There is no such device.
    NoDevice {
        /// Its name.
        device: String,
    },
    /// The interface is down or has no carrier.
    Down {
        /// Its name.
        interface: String,
    },
    /// The interface has no Ethernet headers.
    NotEthernet {
        /// Its name.
        interface: String,
    },
    /// The interface sends through others, and the program is not attached to it.
    Indirect {
        /// Its name.
        interface: String,
        /// Its kind.
        kind: String,
    },
    /// The neighbour was asked for its MAC address and has not answered yet.
    Resolving {
        /// The neighbour.
        gateway: IpAddr,
        /// Where it is asked for.
        interface: String,
    },
    /// The neighbour does not answer.
    Silent {
        /// The neighbour.
        gateway: IpAddr,
        /// Where it was asked for.
        interface: String,
    },
    /// The kernel could not be asked.
    Unknown {
        /// Why.
        cause: String,
    },
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoute { cause } => write!(f, "no route leads there: {cause}"),
            Self::Local => write!(f, "it is an address of this node"),
            Self::Forbidden => write!(f, "a route forbids it"),
            Self::NoDevice { device } => write!(f, "there is no device {device}"),
            Self::Down { interface } => write!(f, "{interface} is down or has no carrier"),
            Self::NotEthernet { interface } => {
                write!(
                    f,
                    "{interface} has no Ethernet headers, so XDP cannot send by it"
                )
            }
            Self::Indirect { interface, kind } => write!(
                f,
                "{interface} is a {kind}, and lbxdp is not attached to it: name it under \
                 `interfaces`, or route through one that is"
            ),
            Self::Resolving { gateway, interface } => {
                write!(
                    f,
                    "{gateway} is being asked for its MAC address on {interface}"
                )
            }
            Self::Silent { gateway, interface } => {
                write!(
                    f,
                    "{gateway} does not answer on {interface} (ARP or neighbour discovery)"
                )
            }
            Self::Unknown { cause } => write!(f, "the kernel could not be asked: {cause}"),
        }
    }
}
