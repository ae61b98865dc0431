use super::abi_type;

/// Settings of the node that every packet needs (map `NODE`, one entry).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Node {
    /// The expanded secret key of the flow hash; see [`hash`](crate::hash).
    pub hash_key: [u64; 12],
    /// Bits: [`NODE_LOCAL_REPLIES`], [`NODE_ECHO`], [`NODE_SNAT`], [`NODE_LOCAL_SNAT`],
    /// [`NODE_RANGES`], [`NODE_KERNEL_FRAGMENTS`], [`NODE_VLANS`].
    pub flags: u64,
    /// Nanoseconds in which each CPU may send one ICMP error; 0 for none at all.
    pub icmp_interval_ns: u64,
    /// Nanoseconds in which each CPU may record one flow of a row at risk; 0 for none at all.
    pub flow_interval_ns: u64,
    /// The interface in whose name routes are asked for answers that come in by a device of the
    /// kernel's, which itself forwards nothing; 0 without such devices.
    pub uplink: u32,
    /// Zero.
    pub reserved: u32,
}

/// Origins of the VNet `local` answer through this node: look replies up.
pub const NODE_LOCAL_REPLIES: u64 = 1;

/// Echo requests to VIPs are answered: to each address that has a listener of port 0 and of
/// protocol ICMP (1) or ICMPv6 (58).
pub const NODE_ECHO: u64 = 1 << 1;

/// Clients' addresses are hidden from origins in VNets: look answers in tunnels up among the
/// mappings.
pub const NODE_SNAT: u64 = 1 << 2;

/// Clients' addresses are hidden from origins of the VNet `local`: look answers outside of tunnels
/// up among the mappings.
pub const NODE_LOCAL_SNAT: u64 = 1 << 3;

/// Some listener has a range of ports: what is at no single port is looked for in `RANGES`.
pub const NODE_RANGES: u64 = 1 << 4;

/// What is larger than the route to its client allows, and may be fragmented, is left to the kernel
/// for that.
pub const NODE_KERNEL_FRAGMENTS: u64 = 1 << 5;

/// The node has VLAN devices, to which its routes may lead: look interfaces up in `VLANS`.
pub const NODE_VLANS: u64 = 1 << 6;

/// 64 of the 65,536 UDP ports (map `TUNNEL_PORTS`, 1,024 entries): bit `port % 64` of entry
/// `port / 64` says that some tunnel receives there.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(transparent)]
pub struct PortSet(pub u64);

/// When the agent last confirmed the tables (map `HEARTBEAT`, one entry).
///
/// The program never reads it: with the agent dead it goes on with the last tables.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Heartbeat {
    /// Nanoseconds of `CLOCK_BOOTTIME`.
    pub boot_time_ns: u64,
    /// Process id of the agent, in its own pid namespace.
    pub pid: u32,
    /// Number of the configuration in force, counted since the agent started.
    pub generation: u32,
}

abi_type! {
    Node: 128 = [[u64; 12], u64, u64, u64, u32, u32];
    PortSet: 8 = [u64];
    Heartbeat: 16 = [u64, u32, u32];
}
