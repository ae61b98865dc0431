//! Reading maps into entries.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use anyhow::{Context, Result};
use aya::Pod;
use aya::maps::{Array, HashMap, MapData, MapError, PerCpuArray};
use lbxdp_ebpf::abi::{EntityKind, OriginIndex, Owners, Seen, Traffic};
use lbxdp_ebpf::verdict::Reason;
use serde_json::json;

use super::entry::{self, Entry, Field, field};
use super::key;
use crate::dataplane::{
    Content, FdInfo, FlowTable, LiveMaps, MapSpec, Names, monotonic_ns, versioned,
};

/// Asks the kernel about a pinned map.
pub(super) fn facts(pin_path: &Path, spec: &MapSpec) -> Result<FdInfo> {
    let map = MapData::from_pin(versioned(pin_path).join(spec.name))?;
    let fd = map.fd().as_fd().as_raw_fd();
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))?;
    FdInfo::read(&text).context("the kernel does not tell of maps in /proc/self/fdinfo")
}

/// Number of entries in use.
pub(super) fn used(maps: &LiveMaps, names: &Names, spec: &MapSpec) -> Result<usize> {
    if ["ROWS", "OWNERS"].contains(&spec.name) {
        let content = maps.content()?;
        let tables = content.tables.values();
        let rows: usize = tables.map(|table| 2 * table.table.rows as usize).sum();
        return Ok(if spec.name == "ROWS" {
            rows
        } else {
            rows.div_ceil(2)
        });
    }
    Ok(dump(maps, names, spec, false)?.len())
}

/// All entries in use.
pub(super) fn dump(
    maps: &LiveMaps,
    names: &Names,
    spec: &MapSpec,
    all: bool,
) -> Result<Vec<Entry>> {
    let content = || maps.content();
    let entries = match spec.name {
        "NODE" | "HEARTBEAT" => get(maps, names, spec, "0")?.into_iter().collect(),
        "LISTENERS" => listed(content()?.listeners, |key, value| {
            Entry::new(
                entry::service_key(key, names),
                entry::listener(value, names),
            )
        }),
        "REVERSE" => listed(content()?.reverse, |key, value| {
            Entry::new(entry::service_key(key, names), entry::reverse(value, names))
        }),
        "TABLES" => listed(content()?.tables, |key, value| {
            Entry::new(key.to_string(), entry::table(*key, &value.table, names))
        }),
        "ROWS" | "OWNERS" => rows(&content()?, names, all),
        "ORIGINS" => listed(content()?.origins, |key, value| {
            Entry::new(key.to_string(), entry::origin(*key, value, names))
        }),
        "PEERS" => listed(content()?.peers, |key, value| {
            Entry::new(entry::peer_key(key), entry::peer(value, names))
        }),
        "TUNNELS" => listed(content()?.tunnels, |key, value| {
            Entry::new(key.to_string(), tunnel(u32::from(*key), value, names))
        }),
        "ROUTES" => listed(content()?.routes, |key, value| {
            Entry::new(entry::route_key(*key, names), entry::route(*value, names))
        }),
        "RANGES" => listed(content()?.ranges, |key, value| {
            Entry::new(entry::range_key(*key, names), entry::range(*key, *value))
        }),
        "FRAGMENTS" => listed(maps.fragments()?, |key, value| {
            Entry::new(
                entry::fragment_key(key, names),
                entry::datagram(value, names),
            )
        }),
        "VLANS" => listed(content()?.vlans, |key, value| {
            Entry::new(key.to_string(), entry::vlan(*key, value))
        }),
        "TUNNEL_PORTS" => {
            let ports = maps.tunnel_ports()?;
            ports
                .into_iter()
                .map(|port| port_entry(port, true))
                .collect()
        }
        "ENTITIES" => listed(content()?.entities, |key, value| {
            Entry::new(entry::entity_key(*key), entry::entity(value))
        }),
        "SESSIONS" => listed(maps.all_sessions()?, |key, value| {
            Entry::new(entry::flow_key(key, names), entry::session(value, names))
        }),
        "MAPPINGS" => listed(maps.all_mappings()?, |key, value| {
            Entry::new(entry::flow_key(key, names), entry::mapping(value, names))
        }),
        "FLOWS" => flows(&maps.flow_table()?, names)?,
        "OPENING" => flows(&maps.opening_table()?, names)?,
        "FLOW_KEYS" => flow_keys(&maps.flow_table()?, names)?,
        "FLOW_COUNTERS" => (0_usize..)
            .zip(maps.flow_counts()?)
            .map(|(cpu, counts)| Entry::new(cpu.to_string(), entry::flow_counts(&counts)))
            .collect(),
        "ALLOWANCE" => (0_usize..)
            .zip(maps.allowances()?)
            .map(|(cpu, allowance)| Entry::new(cpu.to_string(), entry::allowance(allowance)))
            .collect(),
        "REASONS" => {
            let counters = maps.counters([])?;
            counters
                .reasons
                .into_iter()
                .filter(|(_, count)| count.packets != 0)
                .map(|(reason, count)| Entry::new(reason.label(), entry::count(&count)))
                .collect()
        }
        "LISTENER_COUNTERS" => traffic(&maps.listener_counters, EntityKind::Listener, names)?,
        "ORIGIN_COUNTERS" => traffic(&maps.origin_counters, EntityKind::Origin, names)?,
        "TUNNEL_COUNTERS" => traffic(&maps.tunnel_counters, EntityKind::Tunnel, names)?,
        other => anyhow::bail!("map {other} cannot be shown"),
    };
    Ok(entries)
}

/// One entry; `None` when there is none, or the slot is empty.
pub(super) fn get(
    maps: &LiveMaps,
    names: &Names,
    spec: &MapSpec,
    text: &str,
) -> Result<Option<Entry>> {
    let slot = |kind| key::index(text, kind, names);
    let entry = match spec.name {
        "NODE" => at(&maps.node, slot(None)?)?.map(|node| Entry::new("0", entry::node(&node))),
        "HEARTBEAT" => at(&maps.heartbeat, slot(None)?)?
            .filter(|heartbeat| heartbeat.boot_time_ns != 0)
            .map(|heartbeat| Entry::new("0", entry::heartbeat(&heartbeat))),
        "LISTENERS" => {
            let key = key::service(text, names)?;
            found(&maps.listeners, &key)?.map(|value| {
                Entry::new(
                    entry::service_key(&key, names),
                    entry::listener(&value, names),
                )
            })
        }
        "REVERSE" => {
            let key = key::service(text, names)?;
            found(&maps.reverse, &key)?.map(|value| {
                Entry::new(
                    entry::service_key(&key, names),
                    entry::reverse(&value, names),
                )
            })
        }
        "TABLES" => {
            let index = slot(Some(EntityKind::Table))?;
            at(&maps.tables, index)?
                .filter(|table| table.rows != 0)
                .map(|table| Entry::new(index.to_string(), entry::table(index, &table, names)))
        }
        "ROWS" => {
            let index = slot(None)?;
            at(&maps.rows, index)?.map(|row| Entry::new(index.to_string(), entry::row(&row, names)))
        }
        "OWNERS" => {
            let row = slot(None)?;
            let (entry, _) = Owners::place(row);
            at(&maps.owners, entry)?
                .map(|owners| Entry::new(row.to_string(), entry::owner(owners.of(row), names)))
        }
        "ORIGINS" => {
            let index = slot(Some(EntityKind::Origin))?;
            let slot = OriginIndex::try_from(index).ok();
            at(&maps.origins, index)?
                .filter(|origin| origin.mode != 0)
                .zip(slot)
                .map(|(origin, slot)| {
                    Entry::new(index.to_string(), entry::origin(slot, &origin, names))
                })
        }
        "PEERS" => {
            let key = key::peer(text)?;
            found(&maps.peers, &key)?
                .map(|peer| Entry::new(entry::peer_key(&key), entry::peer(&peer, names)))
        }
        "TUNNELS" => {
            let index = slot(Some(EntityKind::Tunnel))?;
            at(&maps.tunnels, index)?
                .filter(|path| path.is_in_use())
                .map(|path| Entry::new(index.to_string(), tunnel(index, &path, names)))
        }
        "ROUTES" => {
            // Exactly this prefix, not the longest that matches.
            let key = key::route(text, names)?;
            maps.routes()?.get(&key).map(|tunnel| {
                Entry::new(entry::route_key(key, names), entry::route(*tunnel, names))
            })
        }
        "RANGES" => {
            // Exactly this prefix, not the longest that matches.
            let key = key::range(text, names)?;
            let ranges = maps.ranges()?;
            ranges
                .get(&key)
                .map(|port| Entry::new(entry::range_key(key, names), entry::range(key, *port)))
        }
        "FRAGMENTS" => {
            let key = key::fragment(text, names)?;
            found(&maps.fragments, &key)?.map(|datagram| {
                Entry::new(
                    entry::fragment_key(&key, names),
                    entry::datagram(&datagram, names),
                )
            })
        }
        "VLANS" => {
            let key = slot(None)?;
            found(&maps.vlans, &key)?
                .map(|vlan| Entry::new(key.to_string(), entry::vlan(key, &vlan)))
        }
        "TUNNEL_PORTS" => {
            let port = key::port(text)?;
            Some(port_entry(port, maps.tunnel_ports()?.contains(&port)))
        }
        "ENTITIES" => {
            let key = key::entity(text, names)?;
            found(&maps.entities, &key)?
                .map(|entity| Entry::new(entry::entity_key(key), entry::entity(&entity)))
        }
        "SESSIONS" => {
            let key = key::flow(text, names)?;
            found(&maps.sessions, &key)?.map(|session| {
                Entry::new(
                    entry::flow_key(&key, names),
                    entry::session(&session, names),
                )
            })
        }
        "MAPPINGS" => {
            let key = key::flow(text, names)?;
            found(&maps.mappings, &key)?.map(|mapping| {
                Entry::new(
                    entry::flow_key(&key, names),
                    entry::mapping(&mapping, names),
                )
            })
        }
        "FLOWS" => flow(&maps.flow_table()?, text, names)?,
        "OPENING" => flow(&maps.opening_table()?, text, names)?,
        "FLOW_KEYS" => flow_key(&maps.flow_table()?, slot(None)?, names)?,
        "FLOW_COUNTERS" => {
            let cpu = slot(None)?;
            let counts = maps.flow_counts()?.into_iter().nth(cpu as usize);
            counts.map(|counts| Entry::new(cpu.to_string(), entry::flow_counts(&counts)))
        }
        "ALLOWANCE" => {
            let cpu = slot(None)?;
            let allowance = maps.allowances()?.into_iter().nth(cpu as usize);
            allowance.map(|allowance| Entry::new(cpu.to_string(), entry::allowance(allowance)))
        }
        "REASONS" => {
            let reason: Reason = key::reason(text)?;
            let counters = maps.counters([])?;
            let count = counters.reasons.get(&reason).copied().unwrap_or_default();
            let mut value = entry::count(&count);
            value.push(field("sentence", reason.sentence()));
            Some(Entry::new(reason.label(), value))
        }
        "LISTENER_COUNTERS" => one_traffic(
            &maps.listener_counters,
            EntityKind::Listener,
            slot(Some(EntityKind::Listener))?,
            names,
        )?,
        "ORIGIN_COUNTERS" => one_traffic(
            &maps.origin_counters,
            EntityKind::Origin,
            slot(Some(EntityKind::Origin))?,
            names,
        )?,
        "TUNNEL_COUNTERS" => one_traffic(
            &maps.tunnel_counters,
            EntityKind::Tunnel,
            slot(Some(EntityKind::Tunnel))?,
            names,
        )?,
        other => anyhow::bail!("map {other} cannot be shown"),
    };
    Ok(entry)
}

fn listed<K, V>(map: BTreeMap<K, V>, show: impl Fn(&K, &V) -> Entry) -> Vec<Entry> {
    map.iter().map(|(key, value)| show(key, value)).collect()
}

/// The flows of a table: by whose they are, or, if it does not say, by their places.
fn flows(table: &FlowTable<'_>, names: &Names) -> Result<Vec<Entry>> {
    let mut entries = table.entries(now()?)?;
    entries.sort_by_key(|recorded| recorded.flow.map(|flow| flow.key));
    let shown = entries.iter().map(|recorded| {
        let key = match &recorded.flow {
            Some(flow) => entry::flow_key(&flow.key, names),
            None => recorded.at.index().to_string(),
        };
        Entry::new(key, entry::recorded(recorded, names))
    });
    Ok(shown.collect())
}

fn flow(table: &FlowTable<'_>, text: &str, names: &Names) -> Result<Option<Entry>> {
    let key = key::flow(text, names)?;
    let found = table.get(&key, now()?)?;
    Ok(found.map(|found| Entry::new(entry::flow_key(&key, names), entry::recorded(&found, names))))
}

/// Whose the entries of a table are, by their places.
fn flow_keys(table: &FlowTable<'_>, names: &Names) -> Result<Vec<Entry>> {
    let entries = table.entries(now()?)?.into_iter();
    let named = entries.filter_map(|recorded| Some((recorded.at.index(), recorded.flow?)));
    Ok(named
        .map(|(index, flow)| Entry::new(index.to_string(), entry::flow(&flow, names)))
        .collect())
}

fn flow_key(table: &FlowTable<'_>, index: u32, names: &Names) -> Result<Option<Entry>> {
    let mut entries = table.entries(now()?)?.into_iter();
    let recorded = entries.find(|recorded| recorded.at.index() == index);
    let flow = recorded.and_then(|recorded| recorded.flow);
    Ok(flow.map(|flow| Entry::new(index.to_string(), entry::flow(&flow, names))))
}

/// The tick that it is.
fn now() -> Result<u32> {
    Ok(Seen::tick_of(monotonic_ns()?))
}

fn tunnel(index: u32, path: &lbxdp_ebpf::abi::Path, names: &Names) -> Vec<Field> {
    let mut fields = vec![field("name", names.of(EntityKind::Tunnel, index))];
    fields.extend(
        entry::path(path, names)
            .into_iter()
            .filter(|field| field.name != "tunnel"),
    );
    fields
}

fn port_entry(port: u16, receives: bool) -> Entry {
    Entry::new(port.to_string(), vec![field("receives", receives)])
}

/// Rows in force: the share of each origin, or each row.
fn rows(content: &Content, names: &Names, all: bool) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (index, published) in &content.tables {
        let name = names.of(EntityKind::Table, *index);
        let first = published.table.first_row();
        if all {
            for (row, at) in published.rows.iter().zip(first..) {
                let mut value = vec![field("table", name.clone()), field("row", at - first)];
                value.extend(entry::row(&row, names));
                entries.push(Entry::new(at.to_string(), value));
            }
            continue;
        }
        let mut shares: BTreeMap<OriginIndex, (usize, usize)> = BTreeMap::new();
        for row in published.rows.iter() {
            let (rows, flagged) = shares.entry(row.current).or_default();
            *rows += 1;
            *flagged += usize::from(row.flags != 0);
        }
        for (origin, (rows, flagged)) in shares {
            #[expect(clippy::cast_precision_loss, reason = "a share, shown with two digits")]
            let share = rows as f64 / published.rows.len().max(1) as f64;
            let value = vec![
                field("owner", entry::origin_name(origin, names)),
                field("rows", rows),
                Field {
                    name: "share",
                    json: json!(share),
                    text: format!("{:.2} %", share * 100.0),
                },
                field("at_risk", flagged),
            ];
            entries.push(Entry::new(format!("{index} ({name})"), value));
        }
    }
    entries
}

fn traffic(
    map: &PerCpuArray<MapData, Traffic>,
    kind: EntityKind,
    names: &Names,
) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (index, _) in names.all(kind) {
        entries.extend(one_traffic(map, kind, index, names)?);
    }
    Ok(entries)
}

fn one_traffic(
    map: &PerCpuArray<MapData, Traffic>,
    kind: EntityKind,
    index: u32,
    names: &Names,
) -> Result<Option<Entry>> {
    if index >= map.len() {
        return Ok(None);
    }
    let sum = crate::dataplane::traffic_of(map, index)?;
    let value = entry::traffic(names.of(kind, index), &sum);
    Ok(Some(Entry::new(index.to_string(), value)))
}

fn at<V: Pod>(map: &Array<MapData, V>, index: u32) -> Result<Option<V>> {
    absent(map.get(&index, 0))
}

fn found<K: Pod, V: Pod>(map: &HashMap<MapData, K, V>, key: &K) -> Result<Option<V>> {
    absent(map.get(key, 0))
}

fn absent<V>(result: Result<V, MapError>) -> Result<Option<V>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound | MapError::OutOfBounds { .. }) => Ok(None),
        Err(error) => Err(error).context("cannot read the map"),
    }
}
