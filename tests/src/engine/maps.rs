//! The maps of a loaded object, filled from the tables of a world.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use aya::maps::lpm_trie::Key;
use aya::maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, PerCpuValues};
use aya::{Ebpf, Pod};
use lbxdp::dataplane::FlowTable;
use lbxdp_ebpf::abi::{
    Address, Allowance, Count, Datagram, Flow, FlowCounts, FlowKey, FlowSet, FragmentKey, Kept,
    Listener, Mapping, Node, Origin, Overflow, Owners, Path, Peer, PeerKey, PortSet, RangeKey,
    Reverse, RouteKey, Row, Service, Session, Table, Tracked, Traffic, Vlan, VnetId,
};
use lbxdp_ebpf::flow_table::{Recording, Store as _};
use lbxdp_ebpf::mem::MemTables;
use lbxdp_ebpf::track::FlowEvent;
use lbxdp_ebpf::verdict::{Direction, Reason};
use nix::errno::Errno;

use super::{Flows, Outcome};

/// Slots of each counter map that are looked at after every packet: those that cases use.
const WATCHED: u32 = 16;

/// The maps, and what they hold.
pub(super) struct Maps {
    node: Array<MapData, Node>,
    listeners: HashMap<MapData, Service, Listener>,
    reverse: HashMap<MapData, Service, Reverse>,
    tables: Array<MapData, Table>,
    rows: Array<MapData, Row>,
    owners: Array<MapData, Owners>,
    origins: Array<MapData, Origin>,
    peers: HashMap<MapData, PeerKey, Peer>,
    tunnels: Array<MapData, Path>,
    routes: LpmTrie<MapData, RouteKey, u32>,
    ranges: LpmTrie<MapData, RangeKey, u32>,
    vlans: HashMap<MapData, u32, Vlan>,
    fragments: HashMap<MapData, FragmentKey, Datagram>,
    tunnel_ports: Array<MapData, PortSet>,
    sessions: HashMap<MapData, FlowKey, Session>,
    mappings: HashMap<MapData, FlowKey, Mapping>,
    flows: Array<MapData, FlowSet>,
    flow_keys: Array<MapData, Flow>,
    opening: Array<MapData, FlowSet>,
    flow_counters: PerCpuArray<MapData, FlowCounts>,
    allowance: PerCpuArray<MapData, Allowance>,
    reasons: PerCpuArray<MapData, Count>,
    listener_counters: PerCpuArray<MapData, Traffic>,
    origin_counters: PerCpuArray<MapData, Traffic>,
    tunnel_counters: PerCpuArray<MapData, Traffic>,
    now: MemTables,
}

/// The sums of all counters that are watched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counters {
    pub(super) reasons: Vec<Count>,
    pub(super) listeners: Vec<Traffic>,
    pub(super) origins: Vec<Traffic>,
    pub(super) tunnels: Vec<Traffic>,
}

impl Counters {
    /// Counters that have counted nothing.
    #[must_use]
    pub fn zero() -> Self {
        Self {
            reasons: vec![Count::default(); Reason::COUNT],
            listeners: vec![Traffic::default(); WATCHED as usize],
            origins: vec![Traffic::default(); WATCHED as usize],
            tunnels: vec![Traffic::default(); WATCHED as usize],
        }
    }

    /// Counts a packet of `bytes` bytes as the program must.
    ///
    /// # Panics
    /// If it counts for a slot that is not watched.
    pub fn count(&mut self, outcome: &Outcome, bytes: usize) {
        let one = Count {
            packets: 1,
            bytes: bytes as u64,
        };
        let reason = &mut self.reasons[outcome.reason.index() as usize];
        *reason = add(*reason, one);
        let Some(direction) = outcome.reason.direction() else {
            return;
        };
        for (slots, slot) in [
            (&mut self.listeners, outcome.listener),
            (&mut self.origins, outcome.origin.map(u32::from)),
            (&mut self.tunnels, outcome.tunnel.map(u32::from)),
        ] {
            let Some(slot) = slot else { continue };
            let traffic = &mut slots[slot as usize];
            let side = match direction {
                Direction::Forward => &mut traffic.forward,
                Direction::Reply => &mut traffic.reply,
            };
            *side = add(*side, one);
        }
    }

    /// What has been counted since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let less = |a: Count, b: Count| Count {
            packets: a.packets - b.packets,
            bytes: a.bytes - b.bytes,
        };
        let traffic = |now: &[Traffic], then: &[Traffic]| {
            let pairs = now.iter().zip(then);
            pairs
                .map(|(now, then)| Traffic {
                    forward: less(now.forward, then.forward),
                    reply: less(now.reply, then.reply),
                })
                .collect()
        };
        let reasons = self.reasons.iter().zip(&before.reasons);
        Self {
            reasons: reasons.map(|(now, then)| less(*now, *then)).collect(),
            listeners: traffic(&self.listeners, &before.listeners),
            origins: traffic(&self.origins, &before.origins),
            tunnels: traffic(&self.tunnels, &before.tunnels),
        }
    }
}

impl Maps {
    /// Takes the maps of an object, all of them empty.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            node: take(ebpf, "NODE")?,
            listeners: take(ebpf, "LISTENERS")?,
            reverse: take(ebpf, "REVERSE")?,
            tables: take(ebpf, "TABLES")?,
            rows: take(ebpf, "ROWS")?,
            owners: take(ebpf, "OWNERS")?,
            origins: take(ebpf, "ORIGINS")?,
            peers: take(ebpf, "PEERS")?,
            tunnels: take(ebpf, "TUNNELS")?,
            routes: take(ebpf, "ROUTES")?,
            ranges: take(ebpf, "RANGES")?,
            vlans: take(ebpf, "VLANS")?,
            fragments: take(ebpf, "FRAGMENTS")?,
            tunnel_ports: take(ebpf, "TUNNEL_PORTS")?,
            sessions: take(ebpf, "SESSIONS")?,
            mappings: take(ebpf, "MAPPINGS")?,
            flows: take(ebpf, "FLOWS")?,
            flow_keys: take(ebpf, "FLOW_KEYS")?,
            opening: take(ebpf, "OPENING")?,
            flow_counters: take(ebpf, "FLOW_COUNTERS")?,
            allowance: take(ebpf, "ALLOWANCE")?,
            reasons: take(ebpf, "REASONS")?,
            listener_counters: take(ebpf, "LISTENER_COUNTERS")?,
            origin_counters: take(ebpf, "ORIGIN_COUNTERS")?,
            tunnel_counters: take(ebpf, "TUNNEL_COUNTERS")?,
            now: MemTables::default(),
        })
    }

    /// Makes the maps hold these tables and nothing else.
    pub(super) fn hold(&mut self, wanted: &MemTables) -> Result<()> {
        // Taken apart without a rest, so that a new map is not forgotten here.
        let MemTables {
            node,
            listeners,
            tables,
            rows,
            origins,
            reverse,
            tunnel_ports,
            peers,
            tunnels,
            routes,
            sessions,
            mappings,
            full,
            ranges,
            vlans,
            fragments,
            allowance,
            flows,
            opening,
            flow_allowance,
            flow_events: _,
            now_ns: _,
            node_routes: _,
        } = wanted;
        let had_flows = self.may_have_flows()?;
        // Every packet takes of it.
        self.allow(*allowance)?;
        self.allow_flows(*flow_allowance)?;
        let now = &self.now;
        if now.node != *node {
            self.node
                .set(0, node.unwrap_or_default(), 0)
                .context("map NODE")?;
        }
        // The last packet may have changed them.
        refill(&mut self.sessions, &sessions.lock()).context("map SESSIONS")?;
        refill(&mut self.mappings, &mappings.lock()).context("map MAPPINGS")?;
        if had_flows || !flows.lock().is_empty() || !opening.lock().is_empty() {
            let hash_key = node.unwrap_or_default().hash_key;
            for (table, wanted) in self.flow_tables(hash_key)?.iter().zip([flows, opening]) {
                record_only(table, &wanted.lock())?;
            }
        }
        if *full {
            fill(&mut self.mappings).context("map MAPPINGS")?;
        }
        hash(&mut self.listeners, &now.listeners, listeners).context("map LISTENERS")?;
        hash(&mut self.reverse, &now.reverse, reverse).context("map REVERSE")?;
        hash(&mut self.vlans, &now.vlans, vlans).context("map VLANS")?;
        hash(&mut self.peers, &now.peers, peers).context("map PEERS")?;
        array(&mut self.tables, &now.tables, tables, Table::default()).context("map TABLES")?;
        array(&mut self.rows, &now.rows, rows, Row::VACANT).context("map ROWS")?;
        let (old, new) = (owners(&now.rows), owners(rows));
        array(&mut self.owners, &old, &new, Owners::default()).context("map OWNERS")?;
        array(&mut self.origins, &now.origins, origins, Origin::EMPTY).context("map ORIGINS")?;
        array(&mut self.tunnels, &now.tunnels, tunnels, Path::EMPTY).context("map TUNNELS")?;
        let ports = |ports: &BTreeSet<u16>| {
            let mut sets: BTreeMap<u16, PortSet> = BTreeMap::new();
            for port in ports {
                sets.entry(port / 64).or_default().0 |= 1 << (port % 64);
            }
            sets
        };
        let (old, new) = (ports(&now.tunnel_ports), ports(tunnel_ports));
        array(&mut self.tunnel_ports, &old, &new, PortSet::default())
            .context("map TUNNEL_PORTS")?;
        for (vnet, network, bits) in now.routes.keys().filter(|key| !routes.contains_key(key)) {
            let key = RouteKey::new(*vnet, *network);
            let bits = RouteKey::VNET_BITS + u32::from(*bits);
            self.routes
                .remove(&Key::new(bits, key))
                .context("map ROUTES")?;
        }
        for ((vnet, network, bits), tunnel) in routes {
            let key = RouteKey::new(*vnet, *network);
            let bits = RouteKey::VNET_BITS + u32::from(*bits);
            let key = Key::new(bits, key);
            self.routes
                .insert(&key, u32::from(*tunnel), 0)
                .context("map ROUTES")?;
        }
        let key =
            |(key, bits): &(RangeKey, u8)| Key::new(RangeKey::FIXED_BITS + u32::from(*bits), *key);
        for gone in now.ranges.keys().filter(|key| !ranges.contains_key(key)) {
            self.ranges.remove(&key(gone)).context("map RANGES")?;
        }
        for (range, port) in ranges {
            self.ranges
                .insert(&key(range), u32::from(port.get()), 0)
                .context("map RANGES")?;
        }
        // Packets write to it.
        let known: Vec<FragmentKey> = self.fragments.keys().collect::<Result<_, _>>()?;
        for key in known {
            self.fragments.remove(&key).context("map FRAGMENTS")?;
        }
        for (key, datagram) in &*fragments.lock() {
            self.fragments
                .insert(key, datagram, 0)
                .context("map FRAGMENTS")?;
        }
        self.now = wanted.clone();
        Ok(())
    }

    /// Reads sessions and mappings.
    pub(super) fn flows(&self) -> Result<Flows> {
        let sessions = self.sessions.iter().collect::<Result<_, _>>();
        let mappings = self.mappings.iter().filter(|entry| {
            let filler = entry.as_ref().is_ok_and(|(key, _)| key.vnet == FILLER);
            !filler
        });
        let mappings = mappings.collect::<Result<_, _>>();
        let (mut tracked, mut opening) = (BTreeMap::new(), BTreeMap::new());
        if self.may_have_flows()? {
            let hash_key = self.now.node.unwrap_or_default().hash_key;
            let [flows, first] = self.flow_tables(hash_key)?;
            (tracked, opening) = (recorded(&flows)?, first_packets(&first)?);
        }
        Ok(Flows {
            sessions: sessions.context("map SESSIONS")?,
            mappings: mappings.context("map MAPPINGS")?,
            tracked,
            opening,
            events: self.flow_events()?,
        }
        .timeless())
    }

    /// Whether flows may be recorded: to look costs more than all else that is done for a packet.
    fn may_have_flows(&self) -> Result<bool> {
        let events = self.flow_events()?;
        let recorded = [FlowEvent::Inserted, FlowEvent::Opened]
            .iter()
            .any(|event| events.contains_key(event));
        Ok(recorded || !self.now.flows.lock().is_empty() || !self.now.opening.lock().is_empty())
    }

    /// Does with recorded flows what the agent does by two sweeps; says of which share of all flows it
    /// is known then that they are not in their second sets.
    pub(super) fn look_through_flows(&self) -> Result<f64> {
        let hash_key = self.now.node.unwrap_or_default().hash_key;
        let [flows, _] = self.flow_tables(hash_key)?;
        for _ in 0..2 {
            flows.look_through(0)?;
        }
        let sets = (0..flows.sets()).filter_map(|index| flows.set(index));
        let known = sets.map(|set| {
            let classes = 0..Overflow::CLASSES;
            let known = classes.filter(|class| !set.overflow.is_possible(*class));
            known.count() as f64
        });
        Ok(known.sum::<f64>() / f64::from(flows.sets() * Overflow::CLASSES))
    }

    /// Recorded flows and first packets.
    fn flow_tables(&self, hash_key: [u64; 12]) -> Result<[FlowTable<'_>; 2]> {
        Ok([
            FlowTable::new(&self.flows, Some(&self.flow_keys), hash_key).context("map FLOWS")?,
            FlowTable::new(&self.opening, None, hash_key).context("map OPENING")?,
        ])
    }

    /// Gives the node other settings.
    pub(super) fn set_node(&mut self, node: Node) -> Result<()> {
        self.now.node = Some(node);
        self.node.set(0, node, 0).context("map NODE")
    }

    /// Lets every CPU record as many flows.
    fn allow_flows(&mut self, allowance: Allowance) -> Result<()> {
        let counts = FlowCounts {
            allowance,
            ..FlowCounts::default()
        };
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| error)?;
        self.flow_counters
            .set(0, PerCpuValues::try_from(vec![counts; cpus])?, 0)
            .context("map FLOW_COUNTERS")
    }

    /// Gives every CPU this allowance.
    pub(super) fn allow(&mut self, allowance: Allowance) -> Result<()> {
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| error)?;
        self.allowance
            .set(0, PerCpuValues::try_from(vec![allowance; cpus])?, 0)
            .context("map ALLOWANCE")
    }

    /// Reads what was counted of flows.
    pub(super) fn flow_events(&self) -> Result<BTreeMap<FlowEvent, u64>> {
        let cpus = self.flow_counters.get(&0, 0).context("map FLOW_COUNTERS")?;
        let FlowCounts {
            allowance: _,
            hits,
            inserted,
            opened,
            refused,
            evicted,
        } = cpus.iter().fold(FlowCounts::default(), FlowCounts::plus);
        let events = [
            (FlowEvent::Hit, hits),
            (FlowEvent::Inserted, inserted),
            (FlowEvent::Opened, opened),
            (FlowEvent::Refused, refused),
            (FlowEvent::Evicted, evicted),
        ];
        Ok(events.into_iter().filter(|(_, count)| *count > 0).collect())
    }

    /// Reads the counters of reasons.
    pub(super) fn reasons(&self) -> Result<Vec<Count>> {
        (0..self.reasons.len())
            .map(|index| {
                let cpus = self.reasons.get(&index, 0).context("map REASONS")?;
                Ok(cpus
                    .iter()
                    .fold(Count::default(), |sum, cpu| add(sum, *cpu)))
            })
            .collect()
    }

    /// Reads the counters.
    pub(super) fn counters(&self) -> Result<Counters> {
        let traffic = |map: &PerCpuArray<MapData, Traffic>| -> Result<Vec<Traffic>> {
            (0..WATCHED).map(|index| traffic(map, index)).collect()
        };
        Ok(Counters {
            reasons: self.reasons()?,
            listeners: traffic(&self.listener_counters)?,
            origins: traffic(&self.origin_counters)?,
            tunnels: traffic(&self.tunnel_counters)?,
        })
    }
}

fn traffic(map: &PerCpuArray<MapData, Traffic>, index: u32) -> Result<Traffic> {
    let cpus = map.get(&index, 0).context("a map of counters")?;
    Ok(cpus.iter().fold(Traffic::default(), |sum, cpu| Traffic {
        forward: add(sum.forward, cpu.forward),
        reply: add(sum.reply, cpu.reply),
    }))
}

fn add(a: Count, b: Count) -> Count {
    Count {
        packets: a.packets + b.packets,
        bytes: a.bytes + b.bytes,
    }
}

fn take<T: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &str) -> Result<T> {
    let map = ebpf
        .take_map(name)
        .with_context(|| format!("the object has no map {name}"))?;
    T::try_from(map).with_context(|| format!("map {name} has another shape"))
}

fn hash<K: Pod + Ord, V: Pod + PartialEq>(
    map: &mut HashMap<MapData, K, V>,
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
) -> Result<(), MapError> {
    for key in old.keys().filter(|key| !new.contains_key(key)) {
        map.remove(key)?;
    }
    for (key, value) in new
        .iter()
        .filter(|(key, value)| old.get(key) != Some(value))
    {
        map.insert(key, value, 0)?;
    }
    Ok(())
}

/// The VNet of entries that are there to take room away.
const FILLER: VnetId = VnetId(u32::MAX);

/// Adds entries until there is no room for another.
fn fill(map: &mut HashMap<MapData, FlowKey, Mapping>) -> Result<(), MapError> {
    for number in 0_u32.. {
        let key = FlowKey {
            source: Address::from_v4(number.to_be_bytes()),
            vnet: FILLER,
            ..FlowKey::EMPTY
        };
        match map.insert(key, Mapping::EMPTY, 0) {
            Ok(()) => {}
            Err(MapError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(Errno::E2BIG as i32) =>
            {
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes a map that others write to hold these entries and nothing else.
fn refill<K: Pod + Ord, V: Pod>(
    map: &mut HashMap<MapData, K, V>,
    wanted: &BTreeMap<K, V>,
) -> Result<(), MapError> {
    let keys: Vec<K> = map.keys().collect::<Result<_, _>>()?;
    for key in &keys {
        map.remove(key)?;
    }
    for (key, value) in wanted {
        map.insert(key, value, 0)?;
    }
    Ok(())
}

/// The owners of rows, by entries of map `OWNERS`.
fn owners(rows: &BTreeMap<u32, Row>) -> BTreeMap<u32, Owners> {
    let mut owners: BTreeMap<u32, Owners> = BTreeMap::new();
    for (index, row) in rows {
        let (entry, which) = Owners::place(*index);
        owners.entry(entry).or_default().0[which] = row.owner();
    }
    owners
}

/// Makes a table hold these flows and nothing else.
fn record_only(table: &FlowTable<'_>, wanted: &BTreeMap<FlowKey, Tracked>) -> Result<()> {
    for old in table.entries(0)? {
        table.remove(old.at, old.entry);
    }
    for (key, flow) in wanted {
        let recording = table.record(*key, flow);
        ensure!(
            recording == Recording::Done,
            "{key:?} is not recorded: {recording:?}"
        );
    }
    Ok(())
}

/// With whom the flows of a table are kept that does not say whose they are, by fingerprints.
fn first_packets(table: &FlowTable<'_>) -> Result<BTreeMap<u32, Kept>> {
    let entries = table.entries(0)?.into_iter();
    Ok(entries
        .map(|recorded| (recorded.entry.fingerprint, recorded.kept))
        .collect())
}

/// The flows that a table holds.
fn recorded(table: &FlowTable<'_>) -> Result<BTreeMap<FlowKey, Tracked>> {
    let entries = table.entries(0)?.into_iter();
    let flows = entries.map(|recorded| {
        let flow = recorded.flow.context("a flow without a key is recorded")?;
        Ok((flow.key, Tracked::of(&flow, recorded.kept)))
    });
    flows.collect()
}

fn array<I: Copy + Into<u32> + Ord, V: Pod + PartialEq>(
    map: &mut Array<MapData, V>,
    old: &BTreeMap<I, V>,
    new: &BTreeMap<I, V>,
    empty: V,
) -> Result<(), MapError> {
    for index in old.keys().filter(|index| !new.contains_key(index)) {
        map.set((*index).into(), empty, 0)?;
    }
    for (index, value) in new
        .iter()
        .filter(|(index, value)| old.get(index) != Some(value))
    {
        map.set((*index).into(), *value, 0)?;
    }
    Ok(())
}
