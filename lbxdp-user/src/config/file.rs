//! What was written: every table and key of a configuration file.
//!
//! The comments here are the reference that users read; see [`reference()`].

mod choice;
mod codes;
mod read;
mod reference;
mod section;
mod unsupported;
mod value;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::model::{AllDown, Carries, Cipher, Hash, Keying, Protocol, UdpFlows, XdpMode};
use super::report::Report;
use section::section;

pub(super) use choice::{
    DsrName, EncapsulationName, ForwardingName, FragmentName, MonitorName, SourceName,
    SteeringName, TunnelName,
};
pub(super) use codes::Codes;
pub(super) use read::Field;
pub use reference::reference;
pub(super) use value::{HeaderValues, Mac, OrInherit, PortRange, Secret};

section! {
    /// A configuration file is TOML with these tables. Any other key is an error.
    File ("") {
        /// This node. Required.
        node: Node,
        /// Virtual networks.
        vnet: Vec<Vnet>,
        /// Monitors.
        monitor: Vec<Monitor>,
        /// Pools.
        pool: Vec<Pool>,
        /// Load balancers.
        load_balancer: Vec<LoadBalancer>,
    }
}

section! {
    /// This node. All of this table but the hash key may differ from node to node.
    Node ("node") {
        /// Interfaces that packets arrive on; the program is attached to each. Required.
        interfaces: Vec<String>,
        /// How the program is attached: `auto` takes `native` where the driver can, else `generic`. Default `"auto"`.
        xdp_mode: XdpMode,
        /// The node's own addresses, source of what it encapsulates; at most one IPv4 and one IPv6. Required for tunnels, and for `dsr` with encapsulation.
        addresses: Vec<IpAddr>,
        /// Secret of the flow hash, 32 hexadecimal digits (`openssl rand -hex 16`), the same on all nodes. This or `hash_key_file` is required.
        hash_key: Secret,
        /// File that holds the hash key and nothing else, readable by its owner alone (mode 0600); relative to the folder of the configuration file.
        hash_key_file: PathBuf,
        /// Folder in a BPF file system for pinned maps and links. Default `"/sys/fs/bpf/lbxdp"`.
        pin_path: PathBuf,
        /// The agent's control socket. Default `"/run/lbxdp.sock"`.
        socket: PathBuf,
        /// Address and port at which the agent serves metrics for Prometheus over HTTP, at `/metrics`, as in `"127.0.0.1:9733"`; anybody who reaches it can read them. Default: nowhere.
        metrics_listen: SocketAddr,
        /// Whether the agent may switch on IP forwarding where replies need it. Default `true`.
        manage_sysctls: bool,
        /// Whether echo requests (pings) to the addresses of listeners are answered, by the node itself. Default `true`.
        answer_echo: bool,
        /// ICMP errors (fragmentation needed, packet too big) that each CPU may send in a second; 0 for none. Default 1000.
        icmp_rate: u32,
        /// Flows that each CPU may record in a second, of rows that have moved or will move: what exceeds it is recorded with a later packet. First packets of flows have a quarter of that at most. 0 for none. Default 100000.
        flow_rate: u32,
        /// What becomes of answers that are larger than the route to their client allows and may be fragmented: `drop` counts them, `kernel` leaves them, rewritten, to the node's own stack to fragment. Into tunnels nothing is ever fragmented. Default `"drop"`.
        fragment: FragmentName,
        /// Prefixes that clients' addresses are translated to, with `source = "snat"`, for origins in the node's own network; at most one IPv4 and one IPv6, routed to this node, and to no other node that has them too. Default: `node.addresses`; the node's own connections to the same origin and port may then have the port of a client's flow, and lose their answers, which a range of its own avoids.
        snat: Vec<IpNet>,
        /// How long silent flows keep their translation.
        snat_timeouts: SnatTimeouts,
        /// After an edit of the configuration, flows that began before stay with their origin: for so long each has time to show itself by a packet, and to be remembered. From `"1s"` to `"1day"`. Default `"5m"`.
        flow_window: Duration,
        /// How long flows that are remembered may be silent before they are forgotten. From `"1s"` to `"1day"`. Default `"5m"`.
        flow_idle: Duration,
    }
}

section! {
    /// How long a flow may be silent, in both directions, before its translated address and port are free for another (`source = "snat"`). From `"1s"` to `"7days"`.
    SnatTimeouts ("node.snat_timeouts") {
        /// Of TCP connections that are established. Default `"2h 4m"`, the least of RFC 5382.
        tcp_established: Duration,
        /// Of TCP connections that are not established yet, or have ended. Default `"4m"`, the least of RFC 5382; less of it holds out longer against a flood of SYNs.
        tcp_transitory: Duration,
        /// Of UDP. Default `"5m"`, as RFC 4787 recommends.
        udp: Duration,
    }
}

section! {
    /// A virtual network: private addresses that mean something only behind its tunnels. Two VNets may use the same addresses. The name `local` is reserved: it is the node's own network.
    Vnet ("vnet", path) {
        /// Name: letters, digits, `-`, `_` and `.`, at most 59. Required.
        name: String,
        /// For people.
        _description as "description": String,
        /// Number of the VNet and of its routing table, not 0 nor 253 to 255. Default: made from the name, the same on all nodes.
        id: u32,
        /// Prefixes that clients' addresses are translated to, with `source = "snat"`; at most one IPv4 and one IPv6. Sites route them into the tunnel of this node, and no other node has them. Default: the node's own address in the tunnel to the origin. Each address serves 63488 flows at a time with each origin address and port.
        snat: Vec<IpNet>,
        /// Tunnels, at least one.
        tunnel: Vec<Tunnel>,
    }
}

section! {
    /// A tunnel of a VNet: the way to its origins.
    Tunnel ("vnet.tunnel", path) {
        /// Name, unique in the VNet. Required.
        name: String,
        /// For people.
        _description as "description": String,
        /// Encapsulation, `fou` being IP right behind UDP, which is variant 1 of GUE; or `wireguard`; or `ipsec`; or `device`, a device that somebody else has made, and that is never changed. Required.
        kind: TunnelName,
        /// Outer address of the far end. Required, but not allowed for `wireguard` and `device`.
        remote: IpAddr,
        /// Outer address of this node. Default: the one of `node.addresses` of the same IP version. Not allowed for `wireguard` and `device`.
        local: IpAddr,
        /// Network identifier of `vxlan` and `geneve`, 24 bits. Required for those, not allowed for others.
        vni: u32,
        /// Key of `gre`, in both directions, not 0. Default: none.
        key: u32,
        /// Whether packets of `gre` have a checksum, in both directions: the kernel's device wants both ends to agree. What comes in is taken with or without one, and a checksum is not verified: that of the packet inside is, by who receives it. Default `false`.
        gre_checksum: bool,
        /// UDP destination port of `vxlan` (default 4789), `geneve` (6081), `gue` and `fou` (6080).
        port: u16,
        /// What `geneve` carries: `ethernet`, frames, with the MAC addresses of both ends' devices; or `ip`, packets, as the kernel's device does with `innerprotoinherit` (Linux 5.18 and newer). Both ends the same. Default `"ethernet"`.
        carries: Carries,
        /// The node's own addresses inside the tunnel, with prefix length; at most one IPv4 and one IPv6; of a `device`, those that it has. Required.
        addresses: Vec<IpNet>,
        /// The far end's addresses inside the tunnel, at most one IPv4 and one IPv6: gateway of `routes` and target of the health check. Required for what carries Ethernet: `vxlan`, and `geneve` unless it `carries` IP.
        peers: Vec<IpAddr>,
        /// Prefixes behind the tunnel. Default, if the VNet has no other tunnel: everything (`0.0.0.0/0`, `::/0`), for the IP versions of `peers`, or of `addresses` without peers.
        routes: Vec<IpNet>,
        /// Largest IP packet that may enter, in bytes; at least 576, with IPv6 inside at least 1280. Default: 1500 less the encapsulation, see below.
        mtu: u16,
        /// TTL or hop limit of the outer header, 1 to 255, or `"inherit"` for that of the packet inside. Default 64. Not allowed for `wireguard`, `ipsec` and `device`.
        ttl: OrInherit,
        /// DSCP of the outer header, 0 to 63, or `"inherit"` for that of the packet inside; for `ipsec` with static keys, 0 or `"inherit"`. Default 0. ECN is always handed through, both ways, as RFC 6040 says.
        dscp: OrInherit,
        /// Whether the outer UDP checksum of `vxlan`, `geneve`, `gue` and `fou` is computed. Default `false`: zero, which the far end must accept over IPv6 (RFC 6935).
        udp_checksum: bool,
        /// Name of the kernel's device, at most 15 bytes. Required for `device`; for others, default `lbx-NAME` if NAME begins with the VNet's name and has at most 11 bytes; else `lbx-`, up to 6 bytes of NAME, `-`, and 4 digits of a hash of VNet and NAME.
        device: String,
        /// Keys and peer of `wireguard`. Required for it, not allowed for others.
        wireguard: Wireguard,
        /// Numbers and keys of `ipsec`. Required for it, not allowed for others.
        ipsec: Ipsec,
        /// ICMP echo to the far end. On by default.
        health_check: HealthCheck,
    }
}

section! {
    /// The keys of a WireGuard tunnel, and its one peer, which may send what is in `routes` and `peers` and is sent that. Files are relative to the folder of the configuration file, owned by root, and without access for anybody else (mode 0600).
    Wireguard ("vnet.tunnel.wireguard") {
        /// File that holds this node's private key (`wg genkey`) and nothing else. Required.
        private_key_file: PathBuf,
        /// The peer's public key, in base64 (`wg pubkey`). Required.
        peer_public_key: String,
        /// File that holds a key that both ends share besides (`wg genpsk`). Default: none.
        preshared_key_file: PathBuf,
        /// UDP port at which the node listens. Default: the kernel chooses one; required without `endpoint`, since the peer must then dial in.
        listen_port: u16,
        /// Where the peer is found at first, address and port, as in `"203.0.113.2:51820"`; if it roams, it is followed. Default: it dials in.
        endpoint: String,
        /// Time between messages that keep the mapping of a NAT on the way alive, in whole seconds, `"1s"` to `"65535s"`. Default: none.
        persistent_keepalive: Duration,
    }
}

section! {
    /// An IPsec tunnel: ESP in tunnel mode through an xfrm interface of the kernel's, which needs `xfrm_interface`, `esp4` or `esp6`, and AES-GCM. With `keying = "static"` the agent makes the two security associations and their policies as well, and removes them; it marks them with `reqid` 1819829360 and touches no others; before the numbers of outgoing packets run out, it makes the association anew, and they begin with 1 again, so that the far end must not check for replays. There are no extended sequence numbers. Nobody but you changes such keys: with IKE they change by themselves. With `keying = "ike"` it makes the interface alone, and an IKE daemon the rest. Key files are relative to the folder of the configuration file, owned by root, and without access for anybody else (mode 0600); they hold hexadecimal digits: the key, then 4 bytes of salt.
    Ipsec ("vnet.tunnel.ipsec") {
        /// Who makes the security associations: `static` the agent, `ike` a daemon such as strongSwan. Required.
        keying: Keying,
        /// Number that ties the interface to its security associations, not 0, unlike that of any other xfrm interface of the node; the daemon's `if_id_in` and `if_id_out`. Required for `ike`. Default for `static`: made from the names of VNet and tunnel.
        if_id: u32,
        /// `aes-gcm-128` or `aes-gcm-256`, with 16 bytes of authentication (RFC 4106); the same at both ends. Default `"aes-gcm-256"`. Of `static` only.
        cipher: Cipher,
        /// Security parameters index of what comes in, from 256; the far end's outgoing one. Required for `static`, not allowed for `ike`.
        spi_in: u32,
        /// Security parameters index of what goes out, from 256; the far end's incoming one. Required for `static`, not allowed for `ike`.
        spi_out: u32,
        /// File that holds the key of what comes in and nothing else: 40 digits for `aes-gcm-128` (`openssl rand -hex 20`), 72 for `aes-gcm-256` (`openssl rand -hex 36`). Required for `static`, not allowed for `ike`.
        key_in_file: PathBuf,
        /// File that holds the key of what goes out, another one. Required for `static`, not allowed for `ike`.
        key_out_file: PathBuf,
        /// How many packets may come out of order before they count as replayed: 32 to 4096, or 0 for no such check. Numbers start again with an association, as after a restart of the far end's machine, and each of several nodes that send with one association has its own: with a check, such packets are lost. Default 0. Of `static` only.
        replay_window: u32,
    }
}

section! {
    /// Health of a tunnel: ICMP echo through it.
    HealthCheck ("vnet.tunnel.health_check") {
        /// Default `true`.
        enabled: bool,
        /// Whom to ping, inside the tunnel. Default: the first of `peers`.
        target: IpAddr,
        /// Time between probes, `"10ms"` to `"1h"`. Default `"1s"`.
        interval: Duration,
        /// Time before a probe has failed, at most the interval. Default `"500ms"`, or the interval if that is shorter.
        timeout: Duration,
        /// Immediate further attempts after a timeout, at most 10. Default 1.
        retries: u32,
        /// Successive passes before "healthy"; 0 behaves as 1; at most 1000. Default 2.
        consecutive_up: u32,
        /// Successive failures before "unhealthy"; 0 behaves as 1; at most 1000. Default 2.
        consecutive_down: u32,
    }
}

section! {
    /// How origins are probed. A probe takes the path of the traffic: through the tunnel of the origin's VNet.
    Monitor ("monitor", path) {
        /// Name. Required.
        name: String,
        /// For people.
        _description as "description": String,
        /// What is probed: a TCP connection, an HTTP request, or ICMP echo. Default `"http"`.
        kind as "type": MonitorName,
        /// Port to probe. Default: the origin's own; required where that is 0, except for `icmp_ping`.
        port: u16,
        /// HTTP method. Default `"GET"`. Of `http` only.
        method: String,
        /// HTTP path and query. Default `"/"`. Of `http` only.
        path_and_query as "path": String,
        /// HTTP header fields, as in `{ Host = "www.example.net" }`. Default: none; `Host` is then the origin's address. Of `http` only.
        header: BTreeMap<String, HeaderValues>,
        /// Status codes that pass. Default `"200"`. Of `http` only.
        expected_codes: Codes,
        /// Substring of the body that must be there, in whatever case. Default: none. Of `http` only.
        expected_body: String,
        /// Time between probes, `"10ms"` to `"1h"`. Default `"60s"`.
        interval: Duration,
        /// Time before a probe has failed, at most the interval. Default `"5s"`, or the interval if that is shorter.
        timeout: Duration,
        /// Immediate further attempts after a timeout, at most 10. Default 2.
        retries: u32,
        /// Successive passes before "healthy"; 0 behaves as 1; at most 1000. Default 0.
        consecutive_up: u32,
        /// Successive failures before "unhealthy"; 0 behaves as 1; at most 1000. Default 0.
        consecutive_down: u32,
    }
}

section! {
    /// Origins that are interchangeable.
    Pool ("pool", path) {
        /// Name. Required.
        name: String,
        /// For people.
        _description as "description": String,
        /// A disabled pool takes no traffic and is not probed. Default `true`.
        enabled: bool,
        /// With fewer healthy origins than this, traffic goes to the next pool. At least 1. Default 1.
        minimum_origins: u32,
        /// Share of the weight of its enabled origins, 0 to 1: while less than this is healthy, the pool is in panic, and serves with all its enabled origins or not at all; see below. Default 0: never.
        panic_threshold: f64,
        /// What becomes of the traffic when no default pool of a load balancer is able to serve; see below. Default `"fallback"`.
        all_down: AllDown,
        /// Name of a monitor. Without one its origins count as healthy.
        monitor: String,
        /// How long flows that began before stay with an origin that is drained (`weight = 0`), disabled or removed, as `node.flow_window`. Those that show themselves by a packet within that time stay until they end. From `"0s"`, which keeps none, to `"1day"`. Default: `node.flow_window`.
        drain_duration: Duration,
        /// The share of an origin that is added to a running pool grows to its weight within this time, in ten steps, from when it is healthy for the first time. From `"0s"`, which is off, to `"1h"`. Default `"0s"`. An origin that returns has its whole share at once, and so have all when the agent starts.
        slow_start: Duration,
        /// `nat` rewrites the destination; `dsr` encapsulates the client's packet to the origin, which owns the VIP and answers the client directly. Default `"nat"`.
        forwarding: ForwardingName,
        /// The source address that origins see with `nat`: `snat` is one of this node's (`vnet.snat`), `preserve` is the client's, so that origins must route replies back through this node. Default `"snat"` for origins in a VNet, `"preserve"` for others.
        source: SourceName,
        /// Encapsulation of `dsr`; `fou` is IP right behind UDP, which is variant 1 of GUE; `l2` changes only the MAC address, for origins on the node's own link. Required for `dsr`, not allowed for `nat`.
        encapsulation: DsrName,
        /// Network identifier, with `vxlan` and `geneve`, 24 bits. Required for those.
        vni: u32,
        /// Key, with `gre`, not 0. Default: none.
        key: u32,
        /// Whether packets of `gre` have a checksum, which the kernel's device wants if, and only if, it is told so (`csum`). Default `false`.
        gre_checksum: bool,
        /// UDP destination port, with `vxlan` (default 4789), `geneve` (6081), `gue` and `fou` (6080).
        port: u16,
        /// What `geneve` carries: `ethernet`, frames for the origins' `inner_mac`; or `ip`, packets, as the kernel's device takes them with `innerprotoinherit`. Default `"ethernet"`.
        carries: Carries,
        /// TTL or hop limit of the outer header, with an encapsulation, 1 to 255, or `"inherit"` for that of the client's packet. Default 64.
        ttl: OrInherit,
        /// DSCP of the outer header, with an encapsulation, 0 to 63, or `"inherit"` for that of the client's packet. Default 0. ECN is always that of the client's packet (RFC 6040).
        dscp: OrInherit,
        /// Whether the outer UDP checksum of `vxlan`, `geneve`, `gue` and `fou` is computed. Default `false`: zero, which the origin must accept over IPv6 (RFC 6935).
        udp_checksum: bool,
        /// Origins, at least one.
        origin: Vec<Origin>,
    }
}

section! {
    /// A server that takes traffic.
    Origin ("pool.origin", path) {
        /// Name, unique in the pool. Required.
        name: String,
        /// For people.
        _description as "description": String,
        /// Address, within its VNet. Required.
        address: IpAddr,
        /// Port; 0 is the listener's. Default 0.
        port: u16,
        /// A disabled origin takes no traffic and is not probed. Default `true`.
        enabled: bool,
        /// Share within the pool, 0 to 1; 0 takes no traffic but is probed. Default 1.
        weight: f64,
        /// Name of its VNet, or `local` for the node's own network. Default `local` if the address is public; a private address must say.
        virtual_network: String,
        /// MAC address of its own device, for `dsr` with `vxlan` or with `geneve` that carries Ethernet. Required for those.
        inner_mac: Mac,
    }
}

section! {
    /// Virtual IP addresses and what serves them.
    LoadBalancer ("load_balancer", path) {
        /// Name. Required.
        name: String,
        /// For people.
        _description as "description": String,
        /// A disabled load balancer takes no traffic. Default `true`.
        enabled: bool,
        /// Name of the VNet that its clients are in, or `local`. Default `local`.
        virtual_network: String,
        /// What it offers, at least one.
        listeners: Vec<Listener>,
        /// Names of pools, in the order of failover, at least one.
        default_pools: Vec<String>,
        /// Name of the pool of last resort, whose health is never considered.
        fallback_pool: String,
        /// `off`: all traffic to the first pool that is able to serve; `random`: to all of them by weight. Default `"off"`.
        steering_policy: SteeringName,
        /// Weights of pools, with `random`.
        random_steering: RandomSteering,
    }
}

section! {
    /// A transport address that is offered, or several ports of an address.
    Listener ("load_balancer.listeners", path) {
        /// The VIP. Required.
        address: IpAddr,
        /// The port, 1 to 65535. This or `ports` is required.
        port: u16,
        /// Several ports: the first and the last, as in `"8000-8099"`, or `"any"`. A listener of a single port goes before one of a range, and that before one of any port. Origins of pools with `source = "preserve"` must keep the port (`port = 0`).
        ports: PortRange,
        /// The protocol. Required.
        protocol: Protocol,
        /// What chooses the origin: `flow` is addresses, ports and protocol, each connection by itself; `source` is the client's address alone, so that a client stays with one origin. Default `"flow"`.
        hash: Hash,
        /// Of UDP, which does not show whether a flow began before an edit of the configuration: `stick` sends flows that are not known to the origin that was theirs before, while the edit is young; `move` to the new one at once; `quic` does as `stick`, and knows new flows by QUIC's Initial packets. Default `"stick"`.
        udp_flows: UdpFlows,
    }
}

section! {
    /// Weights of pools.
    RandomSteering ("load_balancer.random_steering") {
        /// Weight of pools that are not named, 0 to 1. Default 1.
        default_weight: f64,
        /// Weights by name of pool, 0 to 1, as in `{ "web-a" = 0.5 }`.
        pool_weights: BTreeMap<String, f64>,
    }
}

impl File {
    /// Reads a text; `None` if it is not TOML, which has then been reported.
    pub(super) fn read(text: &str, report: &mut Report<'_>) -> Option<Self> {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            report.syntax_error(
                error.span().map(|span| span.start),
                error.message().to_owned(),
            );
        }
        // After a syntax error the rest is a guess, and complaints about it would mislead.
        if !errors.is_empty() {
            return None;
        }
        let value = Spanned::new(table.span(), DeValue::Table(table.into_inner()));
        <Self as read::Value>::read(&value, "", report)
    }
}
