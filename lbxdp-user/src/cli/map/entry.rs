//! What one entry of a map says, for people and for programs.

use lbxdp_ebpf::abi::{
    Allowance, Count, Datagram, Encapsulation, Entity, EntityKey, EntityKind, Flow, FlowCounts,
    FlowKey, FragmentKey, Heartbeat, LISTENER_PORTLESS, LISTENER_QUIC, LISTENER_SNAT,
    LISTENER_SOURCE_HASH, LISTENER_UDP_MOVE, Listener, Mapping, Mode, NODE_ECHO,
    NODE_KERNEL_FRAGMENTS, NODE_LOCAL_REPLIES, NODE_LOCAL_SNAT, NODE_RANGES, NODE_SNAT, NODE_VLANS,
    Node, ORIGIN_DOWN, Origin, OriginIndex, Owner, PATH_DSCP_INHERIT, PATH_RESOLVED,
    PATH_TTL_INHERIT, Path, Peer, PeerKey, RangeKey, Reverse, RouteKey, Row, SEEN_ESTABLISHED,
    SEEN_FIN, SEEN_RST, Seen, Service, Session, Side, SnatRange, Table, Tags, Traffic, Vlan,
    VnetId,
};
use serde_json::{Map, Value, json};

use crate::dataplane::{Names, Recorded, boot_time_ns, interface_name, monotonic_ns};

/// One entry: its key as people write it, and its value.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::cli) struct Entry {
    pub(in crate::cli) key: String,
    pub(in crate::cli) value: Vec<Field>,
}

/// One part of a value.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::cli) struct Field {
    pub(in crate::cli) name: &'static str,
    pub(in crate::cli) json: Value,
    pub(in crate::cli) text: String,
}

impl Entry {
    pub(in crate::cli) fn new(key: impl Into<String>, value: Vec<Field>) -> Self {
        Self {
            key: key.into(),
            value,
        }
    }

    pub(in crate::cli) fn json(&self) -> Value {
        let value: Map<String, Value> = self
            .value
            .iter()
            .map(|field| (field.name.to_owned(), field.json.clone()))
            .collect();
        json!({ "key": self.key, "value": value })
    }
}

pub(in crate::cli) fn field(name: &'static str, json: impl Into<Value>) -> Field {
    let json = json.into();
    let text = match &json {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    Field { name, json, text }
}

fn spoken(name: &'static str, json: Value, text: impl Into<String>) -> Field {
    Field {
        name,
        json,
        text: text.into(),
    }
}

/// The secret hash key is never shown.
pub(in crate::cli) fn node(node: &Node) -> Vec<Field> {
    let configured = node.hash_key != [0; 12];
    vec![
        field(
            "hash_key",
            if configured {
                "(redacted)"
            } else {
                "(not set)"
            },
        ),
        field("local_replies", node.flags & NODE_LOCAL_REPLIES != 0),
        field("answer_echo", node.flags & NODE_ECHO != 0),
        field("snat", node.flags & NODE_SNAT != 0),
        field("local_snat", node.flags & NODE_LOCAL_SNAT != 0),
        field("kernel_fragments", node.flags & NODE_KERNEL_FRAGMENTS != 0),
        field("icmp_interval_ns", node.icmp_interval_ns),
        field("flow_interval_ns", node.flow_interval_ns),
        field("vlans", node.flags & NODE_VLANS != 0),
        field("ranges", node.flags & NODE_RANGES != 0),
        field(
            "uplink",
            (node.uplink != 0).then(|| interface_name(node.uplink)),
        ),
    ]
}

pub(in crate::cli) fn heartbeat(heartbeat: &Heartbeat) -> Vec<Field> {
    let age = boot_time_ns()
        .ok()
        .map(|now| now.saturating_sub(heartbeat.boot_time_ns) / 1_000_000);
    vec![
        field("boot_time_ns", heartbeat.boot_time_ns),
        spoken(
            "age_ms",
            json!(age),
            age.map_or("-".into(), |age| format!("{age} ms")),
        ),
        field("pid", heartbeat.pid),
        field("generation", heartbeat.generation),
    ]
}

pub(in crate::cli) fn allowance(allowance: Allowance) -> Vec<Field> {
    vec![field("full_at_ns", allowance.full_at_ns)]
}

/// `VNET ADDRESS:PORT/PROTOCOL`; a `+` behind the port says that a range begins there.
pub(in crate::cli) fn service_key(key: &Service, names: &Names) -> String {
    let socket = std::net::SocketAddr::new(key.address.to_ip(), key.port.get());
    let protocol = protocol_name(key.protocol);
    let more = if key.range == 0 { "" } else { "+" };
    format!("{} {socket}{more}/{protocol}", names.vnet(key.vnet))
}

pub(in crate::cli) fn protocol_name(protocol: u8) -> String {
    match protocol {
        1 => "icmp".to_owned(),
        58 => "icmpv6".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        44 => "fragment".to_owned(),
        other => other.to_string(),
    }
}

pub(in crate::cli) fn listener(listener: &Listener, names: &Names) -> Vec<Field> {
    vec![
        field("listener", names.of(EntityKind::Listener, listener.counter)),
        field("table", names.of(EntityKind::Table, listener.table)),
        field("table_index", listener.table),
        field("counter_index", listener.counter),
        field("snat", listener.flags & LISTENER_SNAT != 0),
        field(
            "hash",
            if listener.has(LISTENER_SOURCE_HASH) {
                "source"
            } else {
                "flow"
            },
        ),
        field("fragments_by_address", listener.has(LISTENER_PORTLESS)),
        field("udp_moves", listener.has(LISTENER_UDP_MOVE)),
        field("quic", listener.has(LISTENER_QUIC)),
    ]
}

pub(in crate::cli) fn reverse(reverse: &Reverse, names: &Names) -> Vec<Field> {
    let vip = std::net::SocketAddr::new(reverse.address.to_ip(), reverse.port.get());
    vec![
        spoken(
            "becomes",
            json!(vip.to_string()),
            if reverse.port.get() == 0 {
                format!("{} (port kept)", reverse.address)
            } else {
                vip.to_string()
            },
        ),
        field("client_vnet", names.vnet(reverse.vnet)),
        field("origin", origin_name(reverse.origin, names)),
        field("listener", names.of(EntityKind::Listener, reverse.counter)),
    ]
}

pub(in crate::cli) fn origin_name(index: OriginIndex, names: &Names) -> String {
    if index == Origin::NONE {
        return "(none)".to_owned();
    }
    names.of(EntityKind::Origin, index.into())
}

pub(in crate::cli) fn table(index: u32, table: &Table, names: &Names) -> Vec<Field> {
    vec![
        field("name", names.of(EntityKind::Table, index)),
        field("rows", table.rows),
        field("active_half", table.active),
        field("first_row", table.first_row()),
        field("halves", table.halves.to_vec()),
        field("previous_rows", table.previous_rows.to_vec()),
    ]
}

pub(in crate::cli) fn row(row: &Row, names: &Names) -> Vec<Field> {
    vec![
        field("owner", origin_name(row.current, names)),
        field("previous", previous_name(row, names)),
        field("flags", row_flags(row.flags)),
        field("epoch", row.epoch),
    ]
}

pub(in crate::cli) fn owner(owner: Owner, names: &Names) -> Vec<Field> {
    vec![
        field("owner", origin_name(owner.current, names)),
        field("flags", row_flags(owner.flags)),
    ]
}

pub(in crate::cli) fn recorded(recorded: &Recorded, names: &Names) -> Vec<Field> {
    let Recorded { kept, flow, .. } = recorded;
    let mut fields = vec![field("origin", origin_name(kept.origin, names))];
    if let Some(flow) = flow {
        fields.push(field(
            "listener",
            names.of(EntityKind::Listener, flow.listener),
        ));
        fields.push(field("hash", flow.hash));
    }
    fields.extend(seen(kept.seen));
    fields
}

pub(in crate::cli) fn flow(flow: &Flow, names: &Names) -> Vec<Field> {
    vec![
        field("flow", flow_key(&flow.key, names)),
        field("listener", names.of(EntityKind::Listener, flow.listener)),
        field("hash", flow.hash),
    ]
}

pub(in crate::cli) fn flow_counts(counts: &FlowCounts) -> Vec<Field> {
    let FlowCounts {
        allowance,
        hits,
        inserted,
        opened,
        refused,
        evicted,
    } = counts;
    vec![
        field("hits", *hits),
        field("inserted", *inserted),
        field("opened", *opened),
        field("refused", *refused),
        field("evicted", *evicted),
        field("full_at_ns", allowance.full_at_ns),
    ]
}

/// Who had the row before: one name, or two where the table has grown.
pub(in crate::cli) fn previous_name(row: &Row, names: &Names) -> String {
    let [even, odd] = row.previous.map(|index| origin_name(index, names));
    if even == odd {
        even
    } else {
        format!("{even} or {odd}")
    }
}

/// `ROW_…` in words.
pub(in crate::cli) fn row_flags(flags: u8) -> Vec<&'static str> {
    use lbxdp_ebpf::abi::{ROW_GENERATION, ROW_INSERT, ROW_LOOKUP};
    [
        (ROW_LOOKUP, "lookup"),
        (ROW_INSERT, "insert"),
        (ROW_GENERATION, "generation"),
    ]
    .into_iter()
    .filter(|(bit, _)| flags & bit != 0)
    .map(|(_, name)| name)
    .collect()
}

pub(in crate::cli) fn origin(index: OriginIndex, origin: &Origin, names: &Names) -> Vec<Field> {
    let socket = std::net::SocketAddr::new(origin.address.to_ip(), origin.port.get());
    let mode = match origin.mode() {
        Some(Mode::NatPreserve) => "nat",
        Some(Mode::NatSnat) => "nat snat",
        Some(Mode::Dsr) => "dsr",
        Some(Mode::DsrL2) => "dsr l2",
        None => "?",
    };
    let mut fields = vec![
        field("name", origin_name(index, names)),
        field("mode", mode),
        field("vnet", names.vnet(origin.vnet)),
        spoken(
            "address",
            json!(socket.to_string()),
            if origin.port.get() == 0 {
                format!("{} (listener's port)", origin.address)
            } else {
                socket.to_string()
            },
        ),
        field("snat", snat_range(&origin.snat)),
        field("down", origin.flags & ORIGIN_DOWN != 0),
    ];
    fields.extend(path(&origin.path, names));
    fields
}

/// `FIRST/BITS`, or none.
fn snat_range(range: &SnatRange) -> Option<String> {
    if *range == SnatRange::NONE {
        return None;
    }
    let whole = if range.address.is_v4() { 32 } else { 128 };
    let bits = whole - range.mask.trailing_ones();
    Some(format!("{}/{bits}", range.address))
}

/// `VNET SOURCE > DESTINATION/PROTOCOL`.
pub(in crate::cli) fn flow_key(flow: &FlowKey, names: &Names) -> String {
    let vnet = names.vnet(flow.vnet);
    let socket = |address: lbxdp_ebpf::abi::Address, port: lbxdp_ebpf::abi::Port| {
        std::net::SocketAddr::new(address.to_ip(), port.get())
    };
    format!(
        "{vnet} {} > {}/{}",
        socket(flow.source, flow.source_port),
        socket(flow.destination, flow.destination_port),
        protocol_name(flow.protocol)
    )
}

pub(in crate::cli) fn session(session: &Session, names: &Names) -> Vec<Field> {
    let source = std::net::SocketAddr::new(session.source.to_ip(), session.source_port.get());
    let mut fields = vec![
        field("origin", origin_name(session.origin, names)),
        field("source", source.to_string()),
    ];
    fields.extend(seen(session.seen));
    fields
}

pub(in crate::cli) fn mapping(mapping: &Mapping, names: &Names) -> Vec<Field> {
    let client = std::net::SocketAddr::new(mapping.client.to_ip(), mapping.client_port.get());
    let vip = std::net::SocketAddr::new(mapping.address.to_ip(), mapping.port.get());
    let mut fields = vec![
        field("origin", origin_name(mapping.origin, names)),
        field("client", client.to_string()),
        field("vip", vip.to_string()),
        field("client_vnet", names.vnet(mapping.vnet)),
        field("listener", names.of(EntityKind::Listener, mapping.counter)),
    ];
    fields.extend(seen(mapping.seen));
    fields
}

fn seen(seen: Seen) -> Vec<Field> {
    let idle = monotonic_ns().ok().map(|now| {
        let ticks = Seen::tick_of(now).saturating_sub(seen.tick);
        u64::from(ticks) * Seen::TICK_NS / 1_000_000_000
    });
    let state: Vec<&str> = [
        (SEEN_ESTABLISHED, "established"),
        (SEEN_FIN, "fin"),
        (SEEN_RST, "rst"),
    ]
    .into_iter()
    .filter(|(bit, _)| seen.state & bit != 0)
    .map(|(_, name)| name)
    .collect();
    vec![
        field("tcp", state),
        spoken(
            "idle_s",
            json!(idle),
            idle.map_or("-".into(), |idle| format!("{idle} s")),
        ),
    ]
}

pub(in crate::cli) fn path(path: &Path, names: &Names) -> Vec<Field> {
    let outer = outer_addresses(path);
    let tunnel =
        (path.tunnel != Path::NO_TUNNEL).then(|| names.of(EntityKind::Tunnel, path.tunnel.into()));
    let kind = if path.is_device() {
        encapsulation_name(Encapsulation::Device as u8)
    } else {
        encapsulation_name(path.encapsulation)
    };
    let next_hop = path.has(PATH_RESOLVED).then(|| {
        json!({
            "interface": interface_name(path.ifindex),
            "ifindex": path.ifindex,
            "tags": tag_names(path.tags()),
            "destination_mac": mac(path.destination_mac),
            "source_mac": mac(path.source_mac),
        })
    });
    let next_hop_text = if path.has(PATH_RESOLVED) && path.is_device() {
        format!("the kernel's device {}", interface_name(path.ifindex))
    } else if path.has(PATH_RESOLVED) {
        let link = [interface_name(path.ifindex)].into_iter();
        let link: Vec<String> = link.chain(tag_names(path.tags())).collect();
        format!("{} on {}", mac(path.destination_mac), link.join(", "))
    } else {
        "unresolved".to_owned()
    };
    vec![
        field("tunnel", tunnel),
        field("encapsulation", kind),
        field("outer", outer),
        field("mtu", path.mtu),
        field("inherits", inherited(path.flags)),
        spoken("next_hop", json!(next_hop), next_hop_text),
    ]
}

/// What the outer header has of the packet inside, beside ECN.
fn inherited(flags: u8) -> Vec<&'static str> {
    [(PATH_DSCP_INHERIT, "dscp"), (PATH_TTL_INHERIT, "ttl")]
        .into_iter()
        .filter(|(bit, _)| flags & bit != 0)
        .map(|(_, name)| name)
        .collect()
}

/// `source > destination` of the prepared outer header.
fn outer_addresses(path: &Path) -> Option<String> {
    use std::net::{Ipv4Addr, Ipv6Addr};
    let v4 = |at: usize| {
        path.header
            .get(at..at + 4)?
            .try_into()
            .ok()
            .map(|octets: [u8; 4]| Ipv4Addr::from(octets))
    };
    let v6 = |at: usize| {
        path.header
            .get(at..at + 16)?
            .try_into()
            .ok()
            .map(|octets: [u8; 16]| Ipv6Addr::from(octets))
    };
    match (path.encapsulation(), path.outer) {
        (Some(Encapsulation::None | Encapsulation::Device) | None, _) => None,
        (Some(_), 4) => Some(format!("{} > {}", v4(12)?, v4(16)?)),
        (Some(_), 6) => Some(format!("{} > {}", v6(8)?, v6(24)?)),
        (Some(_), _) => None,
    }
}

pub(in crate::cli) fn encapsulation_name(number: u8) -> &'static str {
    match Encapsulation::from_u8(number) {
        Some(Encapsulation::None) => "none",
        Some(Encapsulation::IpIp) => "ipip",
        Some(Encapsulation::Gre) => "gre",
        Some(Encapsulation::Fou) => "fou",
        Some(Encapsulation::Gue) => "gue",
        Some(Encapsulation::Vxlan) => "vxlan",
        Some(Encapsulation::Geneve) => "geneve",
        Some(Encapsulation::Device) => "device",
        None => "?",
    }
}

pub(in crate::cli) fn mac(bytes: [u8; 6]) -> String {
    let [a, b, c, d, e, f] = bytes;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

pub(in crate::cli) fn peer_key(key: &PeerKey) -> String {
    let kind = encapsulation_name(key.encapsulation);
    format!(
        "{} {} {kind} {} {}",
        key.remote, key.local, key.vni, key.port
    )
}

pub(in crate::cli) fn peer(peer: &Peer, names: &Names) -> Vec<Field> {
    vec![
        field("vnet", names.vnet(peer.vnet)),
        field("tunnel", names.of(EntityKind::Tunnel, peer.tunnel.into())),
        field("own_ipv4", inner(peer.inner_v4)),
        field("own_ipv6", inner(peer.inner_v6)),
    ]
}

fn inner(address: lbxdp_ebpf::abi::Address) -> Option<String> {
    (address != lbxdp_ebpf::abi::Address::UNSPECIFIED).then(|| address.to_string())
}

pub(in crate::cli) fn route_key((key, bits): (RouteKey, u32), names: &Names) -> String {
    let vnet = VnetId(u32::from_be_bytes(key.vnet));
    let mut bits = bits.saturating_sub(RouteKey::VNET_BITS);
    // A prefix of mapped IPv4 addresses has the bits of the mapping, unless it covers more.
    if key.address.is_v4() && bits >= 96 {
        bits -= 96;
    }
    format!("{} {}/{bits}", names.vnet(vnet), key.address)
}

pub(in crate::cli) fn route(tunnel: u32, names: &Names) -> Vec<Field> {
    vec![
        field("tunnel", names.of(EntityKind::Tunnel, tunnel)),
        field("tunnel_index", tunnel),
    ]
}

/// `SIDE VNET ADDRESS:PORT/PROTOCOL BITS`.
pub(in crate::cli) fn range_key((key, bits): (RangeKey, u32), names: &Names) -> String {
    let side = match Side::from_u8(key.side) {
        Some(Side::Listener) => "listener",
        Some(Side::Origin) => "origin",
        None => "?",
    };
    let service = Service {
        address: key.address,
        port: key.port,
        protocol: key.protocol,
        range: 0,
        vnet: key.vnet,
    };
    let bits = bits.saturating_sub(RangeKey::FIXED_BITS);
    format!("{side} {} {bits}", service_key(&service, names))
}

pub(in crate::cli) fn range((key, bits): (RangeKey, u32), port: u32) -> Vec<Field> {
    let first = key.port.get();
    let free = RangeKey::BITS.saturating_sub(bits).min(16);
    let last = first | u16::try_from((1_u32 << free) - 1).unwrap_or(u16::MAX);
    vec![
        field("ports", format!("{first}-{last}")),
        field("entry_port", port),
    ]
}

/// `VNET SOURCE DESTINATION PROTOCOL IDENTIFICATION`.
pub(in crate::cli) fn fragment_key(key: &FragmentKey, names: &Names) -> String {
    format!(
        "{} {} {} {} {}",
        names.vnet(key.vnet),
        key.source,
        key.destination,
        protocol_name(key.protocol),
        key.identification
    )
}

pub(in crate::cli) fn datagram(datagram: &Datagram, names: &Names) -> Vec<Field> {
    let first = datagram.first;
    vec![
        field("protocol", protocol_name(first.protocol)),
        field("source_port", first.source_port.get()),
        field("destination_port", first.destination_port.get()),
        field("origin", origin_name(first.origin, names)),
        field("until_ns", datagram.until_ns),
    ]
}

pub(in crate::cli) fn vlan(device: u32, vlan: &Vlan) -> Vec<Field> {
    vec![
        field("device", interface_name(device)),
        field("interface", interface_name(vlan.ifindex)),
        field("tags", tag_names(vlan.tags)),
    ]
}

/// VLAN tags from the outside, each with its standard.
pub(in crate::cli) fn tag_names(tags: Tags) -> Vec<String> {
    let names = tags.identifiers().map(|(identifier, is_service)| {
        let standard = if is_service { "802.1ad" } else { "802.1Q" };
        format!("{standard} {identifier}")
    });
    names.collect()
}

pub(in crate::cli) fn entity_key(key: EntityKey) -> String {
    format!("{} {}", kind_name(key.kind), key.index)
}

pub(in crate::cli) fn kind_name(kind: u32) -> &'static str {
    match EntityKind::from_u32(kind) {
        Some(EntityKind::Vnet) => "vnet",
        Some(EntityKind::Tunnel) => "tunnel",
        Some(EntityKind::Origin) => "origin",
        Some(EntityKind::Listener) => "listener",
        Some(EntityKind::Table) => "table",
        None => "?",
    }
}

pub(in crate::cli) fn entity(entity: &Entity) -> Vec<Field> {
    let health = match entity.health {
        0 => "unknown",
        1 => "healthy",
        2 => "unhealthy",
        3 => "degraded",
        _ => "?",
    };
    vec![
        field("name", entity.name()),
        field("health", health),
        field("since_unix_ns", entity.since_unix_ns),
    ]
}

pub(in crate::cli) fn count(count: &Count) -> Vec<Field> {
    vec![field("packets", count.packets), field("bytes", count.bytes)]
}

pub(in crate::cli) fn traffic(name: String, traffic: &Traffic) -> Vec<Field> {
    vec![
        field("name", name),
        field("forward_packets", traffic.forward.packets),
        field("forward_bytes", traffic.forward.bytes),
        field("reply_packets", traffic.reply.packets),
        field("reply_bytes", traffic.reply.bytes),
    ]
}
