#![forbid(unsafe_code)]

use std::net::SocketAddr;

use lbxdp_ebpf::abi::{
    Address, EntityKind, FlowKey, Kept, Mapping, Mode, Origin, PATH_RESOLVED, Path, Port, RouteKey,
    Session, Side, VnetId,
};
use lbxdp_ebpf::hash::{flow_hash, reduce};
use lbxdp_ebpf::tables::{Refused, Route};
use serde_json::{Value, json};

use super::packet::{Protocol, Question};
use super::record::Lookup;
use crate::cli::map::entry;
use crate::dataplane::{Content, Names, interface_name};

/// One lookup, told.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    /// What was looked for.
    pub name: &'static str,
    /// What was found, for people.
    pub text: String,
    /// What was found, for programs.
    pub data: Value,
}

impl Step {
    fn new(name: &'static str, text: impl Into<String>, data: Value) -> Self {
        Self {
            name,
            text: text.into(),
            data,
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({ "step": self.name, "text": self.text, "data": self.data })
    }
}

/// Tells the lookups of a packet, in order.
pub(super) fn steps(
    lookups: &[Lookup],
    question: &Question,
    vnet: VnetId,
    content: &Content,
    names: &Names,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let hash = hash_of(lookups, question, vnet);
    let mut table = None;
    for lookup in lookups {
        match lookup {
            Lookup::Node(Some(_)) | Lookup::TunnelPort(_, false) => {}
            Lookup::Node(None) => {
                steps.push(Step::new(
                    "node",
                    "the agent has written nothing yet",
                    Value::Null,
                ));
            }
            Lookup::TunnelPort(port, true) => steps.push(Step::new(
                "tunnel port",
                format!("UDP port {port} is one at which tunnels are received"),
                json!({ "port": port.get() }),
            )),
            Lookup::Peer(key, None) => steps.push(Step::new(
                "peer",
                format!("no tunnel is configured for {}", entry::peer_key(key)),
                json!({ "key": entry::peer_key(key), "found": false }),
            )),
            Lookup::Peer(key, Some(peer)) => {
                let tunnel = names.of(EntityKind::Tunnel, peer.tunnel.into());
                let vnet = names.vnet(peer.vnet);
                steps.push(Step::new(
                    "peer",
                    format!("{}: tunnel {tunnel}, VNet {vnet}", entry::peer_key(key)),
                    json!({ "key": entry::peer_key(key), "tunnel": tunnel, "vnet": vnet }),
                ));
            }
            Lookup::Listener(key, None) => steps.push(Step::new(
                "listener",
                format!("none at {}", entry::service_key(key, names)),
                json!({ "key": entry::service_key(key, names), "found": false }),
            )),
            Lookup::Listener(key, Some(listener)) => {
                let name = names.of(EntityKind::Listener, listener.counter);
                steps.push(Step::new(
                    "listener",
                    format!("{name} at {}", entry::service_key(key, names)),
                    json!({ "key": entry::service_key(key, names), "listener": name }),
                ));
            }
            Lookup::Reverse(key, None) => steps.push(Step::new(
                "reverse",
                format!("{} is no origin's address", entry::service_key(key, names)),
                json!({ "key": entry::service_key(key, names), "found": false }),
            )),
            Lookup::Reverse(key, Some(reverse)) => {
                let origin = entry::origin_name(reverse.origin, names);
                let vip = SocketAddr::new(reverse.address.to_ip(), reverse.port.get());
                let vnet = names.vnet(reverse.vnet);
                steps.push(Step::new(
                    "reverse",
                    format!(
                        "{} is origin {origin}, which answers for {vip} to clients in VNet {vnet}",
                        entry::service_key(key, names)
                    ),
                    json!({ "key": entry::service_key(key, names), "origin": origin,
                            "becomes": vip.to_string(), "client_vnet": vnet }),
                ));
            }
            Lookup::Range(key, side, found) => {
                let at = entry::service_key(key, names);
                let whose = match side {
                    Side::Listener => "listener",
                    Side::Origin => "origin",
                };
                let text = match found {
                    Some(port) if port.get() == 0 => format!("{at} is at an address of any port"),
                    Some(port) => format!("{at} is in the range that begins at {port}"),
                    None => format!("{at} is in no range of ports of a {whose}"),
                };
                let data = json!({ "key": at, "side": whose, "port": found.map(Port::get) });
                steps.push(Step::new("range", text, data));
            }
            Lookup::Vlan(_, None) => {}
            Lookup::Vlan(ifindex, Some(vlan)) => {
                let (device, below) = (interface_name(*ifindex), interface_name(vlan.ifindex));
                let tags = entry::tag_names(vlan.tags);
                steps.push(Step::new(
                    "vlan",
                    format!("{device} is {} on {below}", tags.join(", ")),
                    json!({ "device": device, "interface": below, "tags": tags }),
                ));
            }
            Lookup::Fragment(key, found) => {
                let datagram = entry::fragment_key(key, names);
                let (text, data) = match found {
                    Some(first) => {
                        let ports = format!("{} > {}", first.source_port, first.destination_port);
                        let origin = entry::origin_name(first.origin, names);
                        (
                            format!("{datagram}: the first one had ports {ports}, origin {origin}"),
                            json!({ "key": datagram, "ports": ports, "origin": origin }),
                        )
                    }
                    None => (
                        format!("{datagram}: no first one is known"),
                        json!({ "key": datagram, "found": false }),
                    ),
                };
                steps.push(Step::new("fragment", text, data));
            }
            Lookup::Table(index, found) => {
                let name = names.of(EntityKind::Table, *index);
                table = found.map(|table| (*index, table));
                let text = match found {
                    Some(table) if table.rows > 0 => format!("{name}, {} rows", table.rows),
                    Some(_) | None => format!("{name} has no rows"),
                };
                let rows = found.map_or(0, |table| table.rows);
                steps.push(Step::new(
                    "table",
                    text,
                    json!({ "table": name, "rows": rows }),
                ));
                if let (Some(hash), true) = (hash, rows > 0) {
                    let row = reduce(hash, rows);
                    steps.push(Step::new(
                        "hash",
                        format!("{hash:#010x} of the flow: row {row}"),
                        json!({ "hash": hash, "row": row }),
                    ));
                }
            }
            Lookup::Row(index, found) => {
                steps.push(row_step(
                    *index,
                    *found,
                    table.map(|(index, _)| index),
                    content,
                    names,
                ));
            }
            Lookup::Origin(index, None) => steps.push(Step::new(
                "origin",
                format!("{} does not exist", entry::origin_name(*index, names)),
                json!({ "origin_index": index, "found": false }),
            )),
            Lookup::Origin(index, Some(origin)) => {
                steps.push(origin_step(
                    entry::origin_name(*index, names),
                    origin,
                    names,
                ));
                steps.extend(path_steps(&origin.path, names));
            }
            Lookup::TunnelTo(key, found) => steps.push(tunnel_to_step(key, *found, names)),
            Lookup::Tunnel(index, None) => steps.push(Step::new(
                "tunnel",
                format!("#{index} does not exist"),
                json!({ "tunnel_index": index, "found": false }),
            )),
            Lookup::Tunnel(_, Some(path)) => steps.extend(path_steps(path, names)),
            Lookup::Session(flow, found) => steps.push(session_step(flow, *found, names)),
            Lookup::Mapping(flow, found) => steps.push(mapping_step(flow, *found, names)),
            Lookup::Tracked(flow, found) => steps.push(flow_step("flow", flow, *found, names)),
            Lookup::Opening(flow, found) => steps.push(flow_step("opening", flow, *found, names)),
            Lookup::Track(flow, entry) => steps.push(record_step("FLOWS", flow, entry, names)),
            Lookup::SetOpening(flow, entry) => {
                steps.push(record_step("OPENING", flow, entry, names));
            }
            Lookup::AddMapping(flow, done) => steps.push(port_step(flow, *done, names)),
            Lookup::Route(destination, route) => {
                let (text, data) = route_text(*route);
                steps.push(Step::new(
                    "route",
                    format!("to {destination}: {text}"),
                    data,
                ));
            }
        }
    }
    steps
}

/// The hash by which the pipeline chose a row: none if it did not come so far.
fn hash_of(lookups: &[Lookup], question: &Question, vnet: VnetId) -> Option<u32> {
    let node = lookups.iter().find_map(|lookup| {
        if let Lookup::Node(node) = lookup {
            *node
        } else {
            None
        }
    })?;
    let flow = FlowKey {
        source: Address::from(question.source.ip()),
        destination: Address::from(question.destination.ip()),
        source_port: Port::new(question.source.port()),
        destination_port: Port::new(question.destination.port()),
        protocol: match question.protocol {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        },
        vnet,
        reserved: [0; 3],
    };
    Some(flow_hash(&node.hash_key, &flow))
}

fn row_step(
    index: u32,
    found: Option<lbxdp_ebpf::abi::Row>,
    table: Option<u32>,
    content: &Content,
    names: &Names,
) -> Step {
    let Some(row) = found else {
        return Step::new(
            "row",
            format!("ROWS[{index}] does not exist"),
            json!({ "rows_index": index, "found": false }),
        );
    };
    let owner = entry::origin_name(row.current, names);
    let flags = entry::row_flags(row.flags);
    let mut text = format!("ROWS[{index}]: owner {owner}");
    if row.previous != [Origin::NONE; 2] {
        text += &format!(", before {}", entry::previous_name(&row, names));
    }
    if !flags.is_empty() {
        text += &format!(", flags {}", flags.join(","));
    }
    let published = table.and_then(|table| content.tables.get(&table));
    let share = published
        .filter(|published| !published.rows.is_empty())
        .map(|published| {
            let owners = published.rows.owners();
            let own = owners.iter().filter(|owner| **owner == row.current).count();
            #[expect(clippy::cast_precision_loss, reason = "a share, shown with one digit")]
            let share = own as f64 / owners.len() as f64;
            share
        });
    if let Some(share) = share {
        text += &format!(" ({:.1} % of the rows)", share * 100.0);
    }
    Step::new(
        "row",
        text,
        json!({ "rows_index": index, "owner": owner, "flags": flags, "share": share }),
    )
}

fn origin_step(name: String, origin: &Origin, names: &Names) -> Step {
    let mode = match origin.mode() {
        Some(Mode::NatPreserve) => "nat, the client's address stays",
        Some(Mode::NatSnat) => "nat, the client's address is translated",
        Some(Mode::Dsr) => "dsr, it answers directly",
        Some(Mode::DsrL2) => "dsr l2, it answers directly",
        None => "an empty slot",
    };
    let port = match origin.port.get() {
        0 => "the listener's port".to_owned(),
        port => format!("port {port}"),
    };
    let vnet = names.vnet(origin.vnet);
    Step::new(
        "origin",
        format!("{name}: {} {port} in VNet {vnet} ({mode})", origin.address),
        json!({ "origin": name, "address": origin.address.to_string(), "port": origin.port.get(),
                "vnet": vnet, "mode": mode }),
    )
}

fn path_steps(path: &Path, names: &Names) -> Vec<Step> {
    let fields = entry::path(path, names);
    let json_of = |name: &str| {
        let field = fields.iter().find(|field| field.name == name);
        field.map_or(Value::Null, |field| field.json.clone())
    };
    let text_of = |name: &str| {
        let field = fields.iter().find(|field| field.name == name);
        field.map_or(String::new(), |field| field.text.clone())
    };
    let mut steps = Vec::new();
    let encapsulation = text_of("encapsulation");
    if encapsulation != "none" {
        let name = match json_of("tunnel") {
            Value::String(name) => format!("{name}: "),
            _ => String::new(),
        };
        steps.push(Step::new(
            "tunnel",
            if path.is_device() {
                format!("{name}{}, MTU {}", text_of("next_hop"), path.mtu)
            } else {
                format!(
                    "{name}{encapsulation} {}, MTU {}",
                    text_of("outer"),
                    path.mtu
                )
            },
            json!({ "tunnel": json_of("tunnel"), "encapsulation": encapsulation,
                    "outer": json_of("outer"), "mtu": path.mtu }),
        ));
    }
    let text = if path.has(PATH_RESOLVED) {
        format!("{}, MTU {}", text_of("next_hop"), path.mtu)
    } else {
        "not resolved".to_owned()
    };
    steps.push(Step::new("next hop", text, json_of("next_hop")));
    steps
}

fn session_step(flow: &FlowKey, found: Option<Session>, names: &Names) -> Step {
    let key = entry::flow_key(flow, names);
    let Some(session) = found else {
        return Step::new(
            "session",
            format!("none of {key}: the packet begins one"),
            json!({ "key": key, "found": false }),
        );
    };
    let source = SocketAddr::new(session.source.to_ip(), session.source_port.get());
    let origin = entry::origin_name(session.origin, names);
    Step::new(
        "session",
        format!("{key}: to origin {origin}, from {source}"),
        json!({ "key": key, "origin": origin, "source": source.to_string() }),
    )
}

/// What a flow of a row at risk is recorded with.
fn flow_step(name: &'static str, flow: &FlowKey, found: Option<Kept>, names: &Names) -> Step {
    let key = entry::flow_key(flow, names);
    let Some(entry) = found else {
        return Step::new(
            name,
            format!("{key} is not recorded"),
            json!({ "key": key, "found": false }),
        );
    };
    let origin = entry::origin_name(entry.origin, names);
    Step::new(
        name,
        format!("{key} is recorded with origin {origin}"),
        json!({ "key": key, "found": true, "origin": origin }),
    )
}

fn record_step(map: &'static str, flow: &FlowKey, entry: &Kept, names: &Names) -> Step {
    let key = entry::flow_key(flow, names);
    let origin = entry::origin_name(entry.origin, names);
    Step::new(
        "record",
        format!("{key} would be recorded in {map} with origin {origin}"),
        json!({ "key": key, "map": map, "origin": origin }),
    )
}

fn mapping_step(flow: &FlowKey, found: Option<Mapping>, names: &Names) -> Step {
    let key = entry::flow_key(flow, names);
    let Some(mapping) = found else {
        return Step::new(
            "mapping",
            format!("{key} is no answer to a translated flow"),
            json!({ "key": key, "found": false }),
        );
    };
    let origin = entry::origin_name(mapping.origin, names);
    let vip = SocketAddr::new(mapping.address.to_ip(), mapping.port.get());
    let client = SocketAddr::new(mapping.client.to_ip(), mapping.client_port.get());
    let vnet = names.vnet(mapping.vnet);
    Step::new(
        "mapping",
        format!("{key} is origin {origin}'s answer, as {vip}, to {client} in VNet {vnet}"),
        json!({ "key": key, "origin": origin, "becomes": vip.to_string(),
                "client": client.to_string(), "client_vnet": vnet }),
    )
}

/// A source port that was tried.
fn port_step(back: &FlowKey, done: Result<(), Refused>, names: &Names) -> Step {
    let source = SocketAddr::new(back.destination.to_ip(), back.destination_port.get());
    let result = match done {
        Ok(()) => "free",
        Err(Refused::Taken) => "taken",
        Err(Refused::Full) => "free, but the table is full",
    };
    let origin = SocketAddr::new(back.source.to_ip(), back.source_port.get());
    let vnet = names.vnet(back.vnet);
    Step::new(
        "source port",
        format!("{source} towards {origin} in VNet {vnet}: {result}"),
        json!({ "source": source.to_string(), "towards": origin.to_string(), "vnet": vnet,
                "result": result }),
    )
}

fn tunnel_to_step(key: &RouteKey, found: Option<u16>, names: &Names) -> Step {
    let vnet = names.vnet(VnetId(u32::from_be_bytes(key.vnet)));
    let tunnel = found.map(|tunnel| names.of(EntityKind::Tunnel, tunnel.into()));
    let text = match &tunnel {
        Some(tunnel) => format!("to {} in VNet {vnet}: tunnel {tunnel}", key.address),
        None => format!("no tunnel leads to {} in VNet {vnet}", key.address),
    };
    let data = json!({ "vnet": vnet, "address": key.address.to_string(), "tunnel": tunnel });
    Step::new("vnet route", text, data)
}

fn route_text(route: Route) -> (String, Value) {
    match route {
        Route::NextHop {
            ifindex,
            source_mac,
            destination_mac,
        } => {
            let (interface, mac) = (interface_name(ifindex), entry::mac(destination_mac));
            let data = json!({ "interface": interface, "ifindex": ifindex, "destination_mac": mac,
                               "source_mac": entry::mac(source_mac) });
            (format!("{mac} on {interface}"), data)
        }
        Route::NotForwarded => ("this node itself".to_owned(), json!("not_forwarded")),
        Route::NoNeighbour { ifindex } => (
            format!(
                "the next hop's MAC address is not known on {}",
                interface_name(ifindex)
            ),
            json!("no_neighbour"),
        ),
        Route::ForwardingOff => (
            "forwarding is off on the incoming interface".to_owned(),
            json!("forwarding_off"),
        ),
        Route::TooBig(mtu) => (
            format!("the packet is larger than {mtu} bytes"),
            json!({ "too_big": mtu }),
        ),
        Route::Unreachable => ("no route".to_owned(), json!("unreachable")),
    }
}
