//! What a configuration means: defaults applied, references resolved, contradictions excluded.

mod ipsec;
mod ports;
mod wireguard;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use lbxdp_ebpf::abi::VnetId;

pub use ipsec::{Association, Associations, Cipher, IpsecKey, Keying};
pub use ports::Ports;
pub use wireguard::{Wireguard, WireguardKey};

/// A whole configuration. Everything that it names exists in it.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// This node.
    pub node: Node,
    /// Virtual networks by name; the reserved `local` is not among them.
    pub vnets: BTreeMap<String, Vnet>,
    /// Monitors by name.
    pub monitors: BTreeMap<String, Monitor>,
    /// Pools by name.
    pub pools: BTreeMap<String, Pool>,
    /// Load balancers by name.
    pub load_balancers: BTreeMap<String, LoadBalancer>,
}

impl Config {
    /// The tunnel to an origin, if it is in a VNet and one leads there.
    #[must_use]
    pub fn tunnel_to(&self, origin: &Origin) -> Option<&Tunnel> {
        let vnet = self.vnets.get(origin.virtual_network.as_ref()?)?;
        vnet.tunnel_to(origin.address).map(|(_, tunnel)| tunnel)
    }

    /// What clients' addresses become for an origin, with `source = "snat"`.
    #[must_use]
    pub fn snat_range(&self, origin: &Origin) -> Option<IpNet> {
        let alike = |net: &&IpNet| net.addr().is_ipv4() == origin.address.is_ipv4();
        let Some(vnet) = &origin.virtual_network else {
            let own = || self.node.address_like(origin.address).map(IpNet::from);
            return self.node.snat.iter().find(alike).copied().or_else(own);
        };
        let range = self.vnets.get(vnet)?.snat.iter().find(alike).copied();
        range.or_else(|| {
            let addresses = &self.tunnel_to(origin)?.addresses;
            Some(IpNet::from(addresses.iter().find(alike)?.addr()))
        })
    }
}

/// This node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Interfaces that the program is attached to.
    pub interfaces: Vec<String>,
    /// How it is attached.
    pub xdp_mode: XdpMode,
    /// Outer source addresses, at most one of each IP version.
    pub addresses: Vec<IpAddr>,
    /// The secret of the flow hash; the same on all nodes.
    pub hash_key: HashKey,
    /// Folder in a BPF file system under which maps and links are pinned.
    pub pin_path: PathBuf,
    /// The agent's control socket.
    pub socket: PathBuf,
    /// Where metrics are served, if anywhere.
    pub metrics_listen: Option<SocketAddr>,
    /// Whether the agent may set the sysctls that the data path needs (`forwarding`).
    pub manage_sysctls: bool,
    /// Whether echo requests to the addresses of listeners are answered.
    pub answer_echo: bool,
    /// ICMP errors that each CPU may send in a second.
    pub icmp_rate: u32,
    /// Flows of rows at risk that each CPU may record in a second.
    pub flow_rate: u32,
    /// Whether answers that are too large for the route to their client, and may be fragmented, are
    /// left to the kernel for that.
    pub kernel_fragments: bool,
    /// What clients' addresses become for origins of the node's own network, at most one prefix
    /// of each IP version; none stands for `addresses`.
    pub snat: Vec<IpNet>,
    /// How long silent flows keep their translation.
    pub snat_timeouts: SnatTimeouts,
    /// For how long flows that began before an edit are kept to their origin.
    pub flow_window: Duration,
    /// For how long flows in the flow table may be silent.
    pub flow_idle: Duration,
}

/// How long a flow may be silent in both directions before its translation is given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnatTimeouts {
    /// TCP, while both ends have shown that the connection stands.
    pub tcp_established: Duration,
    /// TCP before and after that.
    pub tcp_transitory: Duration,
    /// UDP.
    pub udp: Duration,
}

impl Node {
    /// The node's outer source address of the same IP version as `like`.
    #[must_use]
    pub fn address_like(&self, like: IpAddr) -> Option<IpAddr> {
        self.addresses
            .iter()
            .copied()
            .find(|address| address.is_ipv4() == like.is_ipv4())
    }
}

impl SnatTimeouts {
    /// Those of RFC 5382 (REQ-5) and RFC 4787 (REQ-5).
    pub const RECOMMENDED: Self = Self {
        tcp_established: Duration::from_secs(2 * 3600 + 4 * 60),
        tcp_transitory: Duration::from_secs(4 * 60),
        udp: Duration::from_secs(5 * 60),
    };
}

/// How the program is attached to an interface.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum XdpMode {
    /// Native where the driver can, else generic.
    #[default]
    Auto,
    /// In the driver, or not at all.
    Native,
    /// In the kernel's generic hook, for drivers without XDP.
    Generic,
}

/// 128 secret bits. Its value never shows in logs, status or errors.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashKey(pub [u8; 16]);

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(…)")
    }
}

/// A virtual network.
#[derive(Clone, PartialEq, Debug)]
pub struct Vnet {
    /// Its number in the maps and of its routing table: made from the name, so that all nodes
    /// agree, unless configured.
    pub id: VnetId,
    /// What clients' addresses become, at most one prefix of each IP version; none stands for the
    /// node's own address in the tunnel.
    pub snat: Vec<IpNet>,
    /// Its tunnels by name.
    pub tunnels: BTreeMap<String, Tunnel>,
}

impl Vnet {
    /// The tunnel that leads to an address, by longest prefix (ties: first by name).
    #[must_use]
    pub fn tunnel_to(&self, address: IpAddr) -> Option<(&String, &Tunnel)> {
        let mut best: Option<(&String, &Tunnel, u8)> = None;
        for (name, tunnel) in &self.tunnels {
            for route in tunnel
                .routes
                .iter()
                .filter(|route| route.contains(&address))
            {
                if best.is_none_or(|(_, _, bits)| route.prefix_len() > bits) {
                    best = Some((name, tunnel, route.prefix_len()));
                }
            }
        }
        best.map(|(name, tunnel, _)| (name, tunnel))
    }
}

/// A tunnel: the off-ramp of a VNet.
#[derive(Clone, PartialEq, Debug)]
pub struct Tunnel {
    /// Name of the kernel's device.
    pub device: String,
    /// Encapsulation and its numbers.
    pub kind: TunnelKind,
    /// Of [`TunnelKind::Wireguard`]: keys and peer.
    pub wireguard: Option<Wireguard>,
    /// Of [`TunnelKind::Ipsec`] with static keys: what the agent makes.
    pub associations: Option<Associations>,
    /// Outer address of this node; unspecified where the kind has none.
    pub local: IpAddr,
    /// Outer address of the far end; unspecified where the kind has none, or it is not known.
    pub remote: IpAddr,
    /// The node's own addresses inside the tunnel, at most one of each IP version.
    pub addresses: Vec<IpNet>,
    /// The far end's addresses inside the tunnel, at most one of each IP version: the gateway of
    /// `routes`, and the target of the health check.
    pub peers: Vec<IpAddr>,
    /// Prefixes behind the tunnel.
    pub routes: Vec<IpNet>,
    /// Largest IP packet that may enter, in bytes.
    pub mtu: u16,
    /// What is configured of the outer header.
    pub outer: OuterHeader,
    /// How the tunnel's health is probed; `None` when it is not.
    pub health_check: Option<TunnelCheck>,
}

/// What is configured of the outer header of an encapsulation. Its ECN is always that of the packet
/// inside (RFC 6040).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OuterHeader {
    /// TTL or hop limit; `None` for that of the packet inside.
    pub ttl: Option<u8>,
    /// DSCP, 0 to 63; `None` for that of the packet inside.
    pub dscp: Option<u8>,
    /// Whether the UDP checksum is computed; otherwise it is zero (RFC 768; RFC 6935 over IPv6).
    pub udp_checksum: bool,
}

impl Default for OuterHeader {
    fn default() -> Self {
        Self {
            ttl: Some(64),
            dscp: Some(0),
            udp_checksum: false,
        }
    }
}

/// The encapsulation of a tunnel. UDP ports are destination ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TunnelKind {
    /// VXLAN (RFC 7348).
    Vxlan {
        /// VXLAN network identifier, 24 bits.
        vni: u32,
        /// UDP port, 4789 unless configured.
        port: u16,
    },
    /// GENEVE (RFC 8926).
    Geneve {
        /// Virtual network identifier, 24 bits.
        vni: u32,
        /// UDP port, 6081 unless configured.
        port: u16,
        /// What is behind its header.
        carries: Carries,
    },
    /// GRE (RFC 2784, RFC 2890).
    Gre {
        /// Key, in both directions.
        key: Option<u32>,
        /// Whether there is a checksum, in both directions.
        checksum: bool,
    },
    /// IP in IP: ipip, sit or ip6tnl, as the addresses ask.
    IpIp,
    /// IP over UDP: FOU of Linux, variant 1 of GUE.
    Fou {
        /// UDP port, 6080 unless configured.
        port: u16,
    },
    /// GUE over UDP.
    Gue {
        /// UDP port, 6080 unless configured.
        port: u16,
    },
    /// WireGuard, by the kernel's device.
    Wireguard,
    /// IPsec: ESP in tunnel mode, by the kernel's xfrm interface.
    Ipsec {
        /// What ties interface, states and policies together; not 0.
        if_id: u32,
        /// Who makes the states and policies.
        keying: Keying,
    },
    /// A device that somebody else has made, whatever it does.
    Device,
}

/// What GENEVE carries (RFC 8926, 3.4: the protocol type).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Carries {
    /// An Ethernet frame with the IP packet.
    Ethernet,
    /// The IP packet.
    Ip,
}

impl TunnelKind {
    /// Whether the kernel's device puts the outer headers on, and takes them off, rather than the
    /// program.
    #[must_use]
    pub const fn is_device(self) -> bool {
        match self {
            Self::Vxlan { .. }
            | Self::Geneve { .. }
            | Self::Gre { .. }
            | Self::IpIp
            | Self::Fou { .. }
            | Self::Gue { .. } => false,
            Self::Wireguard | Self::Ipsec { .. } | Self::Device => true,
        }
    }

    /// The kind without what does not tell one tunnel's packets from another's.
    #[must_use]
    pub const fn as_seen(self) -> Self {
        match self {
            Self::Gre { key, .. } => Self::Gre {
                key,
                checksum: false,
            },
            Self::Geneve { vni, port, .. } => Self::Geneve {
                vni,
                port,
                carries: Carries::Ethernet,
            },
            Self::Vxlan { .. }
            | Self::IpIp
            | Self::Fou { .. }
            | Self::Gue { .. }
            | Self::Wireguard
            | Self::Ipsec { .. }
            | Self::Device => self,
        }
    }

    /// The name, as it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vxlan { .. } => "vxlan",
            Self::Geneve { .. } => "geneve",
            Self::Gre { .. } => "gre",
            Self::IpIp => "ipip",
            Self::Fou { .. } => "fou",
            Self::Gue { .. } => "gue",
            Self::Wireguard => "wireguard",
            Self::Ipsec { .. } => "ipsec",
            Self::Device => "device",
        }
    }
}

/// ICMP echo to the tunnel's far address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TunnelCheck {
    /// Whom to ping, inside the tunnel.
    pub target: IpAddr,
    /// Schedule and thresholds.
    pub timing: Timing,
}

/// Schedule and thresholds of probes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Timing {
    /// Time between probes.
    pub interval: Duration,
    /// Time before a probe has failed.
    pub timeout: Duration,
    /// Immediate further attempts after a timeout.
    pub retries: u32,
    /// Successive passes before "healthy"; at least 1.
    pub consecutive_up: u32,
    /// Successive failures before "unhealthy"; at least 1.
    pub consecutive_down: u32,
}

/// How origins are probed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Monitor {
    /// What is probed.
    pub kind: MonitorKind,
    /// Port to probe; 0 is the origin's own port.
    pub port: u16,
    /// Schedule and thresholds.
    pub timing: Timing,
}

/// Types of monitor.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum MonitorKind {
    /// A TCP connection is established.
    Tcp,
    /// A request is answered as expected.
    Http(Arc<HttpCheck>),
    /// An ICMP echo request is answered.
    IcmpPing,
}

/// The request and what is expected of its answer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct HttpCheck {
    /// Method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Header fields, `Host` among them if configured.
    pub headers: Vec<(String, String)>,
    /// Ranges of status codes that pass, ends included.
    pub expected_codes: Vec<(u16, u16)>,
    /// Case-insensitive substring of the body; empty matches any.
    pub expected_body: String,
}

/// A set of origins that are interchangeable.
#[derive(Clone, PartialEq, Debug)]
pub struct Pool {
    /// A disabled pool takes no traffic and is not probed.
    pub enabled: bool,
    /// Fewer healthy origins than this make the pool critical.
    pub minimum_origins: usize,
    /// Below this share of healthy origins, by weight, all count as healthy.
    pub panic_threshold: f64,
    /// What happens when none of its origins is up, and no other pool can serve.
    pub all_down: AllDown,
    /// Name of its monitor; without one its origins count as healthy.
    pub monitor: Option<String>,
    /// [`Node::flow_window`] of origins of this pool that are drained, disabled or removed, if it is
    /// another.
    pub drain_duration: Option<Duration>,
    /// The time in which the share of a new origin grows to its weight; zero for at once.
    pub slow_start: Duration,
    /// How packets reach its origins.
    pub forwarding: Forwarding,
    /// What is configured of the outer header, of direct server return.
    pub outer: OuterHeader,
    /// Its origins by name.
    pub origins: BTreeMap<String, Origin>,
}

/// What a load balancer does when no default pool is able to serve.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AllDown {
    /// The fallback pool serves; without one, the last known owners stay.
    Fallback,
    /// The last known owners stay.
    LastKnown,
    /// All enabled origins count as healthy.
    Spread,
    /// Nobody serves: packets are dropped.
    Reject,
}

impl AllDown {
    /// The word in a configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fallback => "fallback",
            Self::LastKnown => "last-known",
            Self::Spread => "spread",
            Self::Reject => "reject",
        }
    }
}

/// How packets reach the origins of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Forwarding {
    /// Destination rewritten; the client's address stays (`source = "preserve"`).
    NatPreserve,
    /// Destination and source rewritten (`source = "snat"`).
    NatSnat,
    /// Encapsulated to the origin itself, which answers the client directly.
    Dsr(DsrEncapsulation),
}

/// Encapsulation of direct server return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DsrEncapsulation {
    /// Only the MAC address: the origin is on the node's own link.
    L2,
    /// IP in IP.
    IpIp,
    /// GRE.
    Gre {
        /// Key.
        key: Option<u32>,
        /// Whether there is a checksum.
        checksum: bool,
    },
    /// IP over UDP.
    Fou {
        /// UDP destination port.
        port: u16,
    },
    /// GUE.
    Gue {
        /// UDP destination port.
        port: u16,
    },
    /// VXLAN.
    Vxlan {
        /// VXLAN network identifier.
        vni: u32,
        /// UDP destination port.
        port: u16,
    },
    /// GENEVE.
    Geneve {
        /// Virtual network identifier.
        vni: u32,
        /// UDP destination port.
        port: u16,
        /// What is behind its header.
        carries: Carries,
    },
}

/// A server that takes traffic.
#[derive(Clone, PartialEq, Debug)]
pub struct Origin {
    /// Its address within its VNet.
    pub address: IpAddr,
    /// Its port; 0 is the listener's.
    pub port: u16,
    /// A disabled origin takes no traffic and is not probed.
    pub enabled: bool,
    /// Share within the pool, 0 to 1; 0 takes no new traffic but is probed.
    pub weight: f64,
    /// The VNet that it is in; `None` is `local`.
    pub virtual_network: Option<String>,
    /// MAC address of its own VXLAN or GENEVE device, for DSR with those.
    pub inner_mac: Option<[u8; 6]>,
}

/// A VIP and what serves it.
#[derive(Clone, PartialEq, Debug)]
pub struct LoadBalancer {
    /// A disabled load balancer has no listeners.
    pub enabled: bool,
    /// The VNet that its clients are in; `None` is `local`.
    pub virtual_network: Option<String>,
    /// What it offers.
    pub listeners: Vec<Listener>,
    /// Pools in the order of failover.
    pub default_pools: Vec<String>,
    /// Pool of last resort, whose health is never considered.
    pub fallback_pool: Option<String>,
    /// How traffic is spread over `default_pools`.
    pub steering: Steering,
}

/// One offered transport address, or several ports of an address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Listener {
    /// The VIP.
    pub address: IpAddr,
    /// The ports.
    pub ports: Ports,
    /// The protocol.
    pub protocol: Protocol,
    /// What chooses the origin.
    pub hash: Hash,
    /// Where flows of UDP go that began nobody knows when.
    pub udp_flows: UdpFlows,
}

impl fmt::Display for Listener {
    /// `address:ports`, as [`SocketAddr`](std::net::SocketAddr) has it for a single port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V4(address) => write!(f, "{address}:{}", self.ports),
            IpAddr::V6(address) => write!(f, "[{address}]:{}", self.ports),
        }
    }
}

/// Where flows of UDP go whose row has another owner since an edit of the configuration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub enum UdpFlows {
    /// To the owner before, while the edit is young.
    #[default]
    Stick,
    /// To the new owner.
    Move,
    /// To the owner before, unless they begin with a packet of QUIC that says so.
    Quic,
}

/// What of a packet chooses its origin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub enum Hash {
    /// Addresses, ports and protocol: each connection by itself.
    #[default]
    Flow,
    /// The client's address: all its connections go to one origin.
    Source,
}

/// Transport protocols.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The IP protocol number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// The name in configuration and output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Steering among pools (`steering_policy`).
#[derive(Clone, PartialEq, Debug)]
pub enum Steering {
    /// All traffic to the first pool that is able to serve.
    Off,
    /// Pools by weight.
    Random {
        /// Weight of pools that are not named, 0 to 1.
        default_weight: f64,
        /// Weights by pool, 0 to 1.
        pool_weights: BTreeMap<String, f64>,
    },
}
