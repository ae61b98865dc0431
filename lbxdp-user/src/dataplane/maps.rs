use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use aya::Pod;
use aya::maps::lpm_trie::Key;
use aya::maps::{
    Array, HashMap, IterableMap, LpmTrie, Map, MapData, MapError, PerCpuArray, PerCpuValues,
};
use lbxdp_ebpf::abi::{
    Allowance, Count, Datagram, Entity, EntityKey, EntityKind, Flow, FlowCounts, FlowKey, FlowSet,
    FragmentKey, Heartbeat, Listener, Mapping, Node, Origin, OriginIndex, Owners,
    Path as OriginPath, Peer, PeerKey, PortSet, RangeKey, Reverse, RouteKey, Row, Service, Session,
    Table, Traffic, Vlan,
};

use super::check::Limits;
use super::content::{Content, Published};
use super::flow_table::FlowTable;
use super::plan::Write;
use super::spec::{MapSpec, PORT_SETS, versioned};
use super::{grow, kernel};
use crate::rows::Rows;

/// The pinned maps, open and typed; needs no agent.
#[expect(missing_docs, reason = "a field is the map of its name")]
pub struct LiveMaps {
    pub node: Array<MapData, Node>,
    pub heartbeat: Array<MapData, Heartbeat>,
    pub listeners: HashMap<MapData, Service, Listener>,
    pub reverse: HashMap<MapData, Service, Reverse>,
    pub tables: Array<MapData, Table>,
    pub rows: Array<MapData, Row>,
    pub owners: Array<MapData, Owners>,
    pub origins: Array<MapData, Origin>,
    pub peers: HashMap<MapData, PeerKey, Peer>,
    pub tunnels: Array<MapData, OriginPath>,
    pub routes: LpmTrie<MapData, RouteKey, u32>,
    pub ranges: LpmTrie<MapData, RangeKey, u32>,
    pub vlans: HashMap<MapData, u32, Vlan>,
    pub fragments: HashMap<MapData, FragmentKey, Datagram>,
    pub tunnel_ports: Array<MapData, PortSet>,
    pub entities: HashMap<MapData, EntityKey, Entity>,
    pub sessions: HashMap<MapData, FlowKey, Session>,
    pub mappings: HashMap<MapData, FlowKey, Mapping>,
    pub flows: Array<MapData, FlowSet>,
    pub flow_keys: Array<MapData, Flow>,
    pub opening: Array<MapData, FlowSet>,
    pub flow_counters: PerCpuArray<MapData, FlowCounts>,
    pub allowance: PerCpuArray<MapData, Allowance>,
    pub reasons: PerCpuArray<MapData, Count>,
    pub listener_counters: PerCpuArray<MapData, Traffic>,
    pub origin_counters: PerCpuArray<MapData, Traffic>,
    pub tunnel_counters: PerCpuArray<MapData, Traffic>,
}

impl LiveMaps {
    /// Opens the maps under `pin_path`.
    ///
    /// # Errors
    /// When they are not there, are of another shape, or may not be opened; the error says which.
    pub fn open(pin_path: &Path) -> Result<Self> {
        Self::open_at(pin_path, false)
    }

    /// The same; those that are being made anew in the place of what is pinned, if `grows`.
    pub(super) fn open_at(pin_path: &Path, grows: bool) -> Result<Self> {
        let folder = versioned(pin_path);
        let missing = || {
            anyhow!(
                "no maps are pinned at {}: has `lbxdp run` been started with this pin path?",
                folder.display()
            )
        };
        match folder.try_exists() {
            Ok(true) => {}
            Ok(false) => return Err(missing()),
            Err(error) => {
                return Err(error).with_context(|| {
                    format!("cannot look into {} (are you root?)", folder.display())
                });
            }
        }
        let pins = Pins {
            folder: &folder,
            grows,
        };
        Ok(Self {
            node: pins.open("NODE")?,
            heartbeat: pins.open("HEARTBEAT")?,
            listeners: pins.open("LISTENERS")?,
            reverse: pins.open("REVERSE")?,
            tables: pins.open("TABLES")?,
            rows: pins.open("ROWS")?,
            owners: pins.open("OWNERS")?,
            origins: pins.open("ORIGINS")?,
            peers: pins.open("PEERS")?,
            tunnels: pins.open("TUNNELS")?,
            routes: pins.open("ROUTES")?,
            ranges: pins.open("RANGES")?,
            vlans: pins.open("VLANS")?,
            fragments: pins.open("FRAGMENTS")?,
            tunnel_ports: pins.open("TUNNEL_PORTS")?,
            entities: pins.open("ENTITIES")?,
            sessions: pins.open("SESSIONS")?,
            mappings: pins.open("MAPPINGS")?,
            flows: pins.open("FLOWS")?,
            flow_keys: pins.open("FLOW_KEYS")?,
            opening: pins.open("OPENING")?,
            flow_counters: pins.open("FLOW_COUNTERS")?,
            allowance: pins.open("ALLOWANCE")?,
            reasons: pins.open("REASONS")?,
            listener_counters: pins.open("LISTENER_COUNTERS")?,
            origin_counters: pins.open("ORIGIN_COUNTERS")?,
            tunnel_counters: pins.open("TUNNEL_COUNTERS")?,
        })
    }

    /// How much each map holds.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn limits(&self) -> Result<Limits> {
        Ok(Limits {
            listeners: max_entries(self.listeners.map())?,
            reverse: max_entries(self.reverse.map())?,
            tables: self.tables.len(),
            rows: self.rows.len().min(self.owners.len().saturating_mul(2)),
            // Slots behind the last index cannot be named.
            origins: self.origins.len().min(Origin::NONE.into()),
            peers: max_entries(self.peers.map())?,
            tunnels: self.tunnels.len().min(OriginPath::NO_TUNNEL.into()),
            routes: max_entries(self.routes.map())?,
            ranges: max_entries(self.ranges.map())?,
            vlans: max_entries(self.vlans.map())?,
            entities: max_entries(self.entities.map())?,
            listener_counters: self.listener_counters.len(),
        })
    }

    /// Reads everything but the counters.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn content(&self) -> Result<Content> {
        let mut content = Content {
            node: self.node.get(&0, 0).context("cannot read map NODE")?,
            listeners: entries(&self.listeners).context("cannot read map LISTENERS")?,
            reverse: entries(&self.reverse).context("cannot read map REVERSE")?,
            vlans: entries(&self.vlans).context("cannot read map VLANS")?,
            peers: entries(&self.peers).context("cannot read map PEERS")?,
            entities: self.entities()?,
            tunnel_ports: self.tunnel_ports()?,
            ..Content::default()
        };
        content.routes = self.routes()?;
        content.ranges = self.ranges()?;
        for (index, path) in (0..).zip(all(&self.tunnels, "TUNNELS")?) {
            if path_in_use(&path) {
                content.tunnels.insert(index, path);
            }
        }
        for (index, origin) in (0..=OriginIndex::MAX).zip(all(&self.origins, "ORIGINS")?) {
            if origin.mode != 0 {
                content.origins.insert(index, origin);
            }
        }
        for (index, table) in (0..).zip(all(&self.tables, "TABLES")?) {
            if table.rows != 0 {
                let rows = self.rows_of(&table).unwrap_or_default();
                content.tables.insert(index, Published { table, rows });
            }
        }
        Ok(content)
    }

    /// The rows in force of a table; none when its entry points out of the map.
    ///
    /// # Errors
    /// When map `ROWS` cannot be read there.
    pub fn rows_of(&self, table: &Table) -> Result<Rows> {
        let first = table.first_row();
        let rows = kernel::read_array(self.rows.map().fd().as_fd(), first, table.rows)
            .with_context(|| format!("cannot read rows {first} and following of map ROWS"))?;
        Ok(Rows::from(rows.as_slice()))
    }

    /// Prefixes, with the bits of the key that count, to tunnels.
    ///
    /// # Errors
    /// When map `ROUTES` cannot be read.
    pub fn routes(&self) -> Result<BTreeMap<(RouteKey, u32), u32>> {
        let entries = self
            .routes
            .iter()
            .map(|entry| entry.map(|(key, tunnel)| ((key.data(), key.prefix_len()), tunnel)));
        collect(entries).context("cannot read map ROUTES")
    }

    /// Prefixes of ports, with the bits of the key that count, to ports of entries.
    ///
    /// # Errors
    /// When map `RANGES` cannot be read.
    pub fn ranges(&self) -> Result<BTreeMap<(RangeKey, u32), u32>> {
        let entries = self
            .ranges
            .iter()
            .map(|entry| entry.map(|(key, port)| ((key.data(), key.prefix_len()), port)));
        collect(entries).context("cannot read map RANGES")
    }

    /// Names and health of everything that has a slot.
    ///
    /// # Errors
    /// When map `ENTITIES` cannot be read.
    pub fn entities(&self) -> Result<BTreeMap<EntityKey, Entity>> {
        entries(&self.entities).context("cannot read map ENTITIES")
    }

    /// Flows whose source address is translated.
    ///
    /// # Errors
    /// When map `SESSIONS` cannot be read.
    pub fn all_sessions(&self) -> Result<BTreeMap<FlowKey, Session>> {
        let entries = kernel::read_hash(self.sessions.map().fd().as_fd());
        Ok(entries
            .context("cannot read map SESSIONS")?
            .into_iter()
            .collect())
    }

    /// The ways back of translated flows.
    ///
    /// # Errors
    /// When map `MAPPINGS` cannot be read.
    pub fn all_mappings(&self) -> Result<BTreeMap<FlowKey, Mapping>> {
        let entries = kernel::read_hash(self.mappings.map().fd().as_fd());
        Ok(entries
            .context("cannot read map MAPPINGS")?
            .into_iter()
            .collect())
    }

    /// Flows of rows at risk.
    ///
    /// # Errors
    /// When map `FLOWS` cannot be seen.
    pub fn flow_table(&self) -> Result<FlowTable<'_>> {
        FlowTable::new(&self.flows, Some(&self.flow_keys), self.hash_key()?).context("map FLOWS")
    }

    /// Flows of rows at risk of which only first packets have come.
    ///
    /// # Errors
    /// When map `OPENING` cannot be seen.
    pub fn opening_table(&self) -> Result<FlowTable<'_>> {
        FlowTable::new(&self.opening, None, self.hash_key()?).context("map OPENING")
    }

    /// What flows are hashed with.
    pub(super) fn hash_key(&self) -> Result<[u64; 12]> {
        let node = self.node.get(&0, 0).context("cannot read map NODE")?;
        Ok(node.hash_key)
    }

    /// Takes away what is recorded with the slots of origins that are about to be those of others,
    /// each with the identity that it will have.
    ///
    /// # Errors
    /// When the flows cannot be seen.
    pub(super) fn forget_flows(&self, slots: &BTreeMap<OriginIndex, u32>) -> Result<()> {
        for table in [self.flow_table()?, self.opening_table()?] {
            table.forget(slots)?;
        }
        Ok(())
    }

    /// What each CPU has recorded of such flows.
    ///
    /// # Errors
    /// When map `FLOW_COUNTERS` cannot be read.
    pub fn flow_counts(&self) -> Result<Vec<FlowCounts>> {
        let cpus = self.flow_counters.get(&0, 0);
        Ok(cpus.context("cannot read map FLOW_COUNTERS")?.to_vec())
    }

    /// How many messages of its own each CPU may still send.
    ///
    /// # Errors
    /// When map `ALLOWANCE` cannot be read.
    pub fn allowances(&self) -> Result<Vec<Allowance>> {
        let cpus = self.allowance.get(&0, 0);
        Ok(cpus.context("cannot read map ALLOWANCE")?.to_vec())
    }

    /// Datagrams of which later fragments are waited for, or were.
    ///
    /// # Errors
    /// When map `FRAGMENTS` cannot be read.
    pub fn fragments(&self) -> Result<BTreeMap<FragmentKey, Datagram>> {
        entries(&self.fragments).context("cannot read map FRAGMENTS")
    }

    /// The UDP ports at which some tunnel receives.
    ///
    /// # Errors
    /// When map `TUNNEL_PORTS` cannot be read.
    pub fn tunnel_ports(&self) -> Result<BTreeSet<u16>> {
        let mut ports = BTreeSet::new();
        for (index, set) in (0_u16..).zip(all(&self.tunnel_ports, "TUNNEL_PORTS")?) {
            ports.extend(
                (0..64)
                    .filter(|bit| set.0 >> bit & 1 == 1)
                    .map(|bit| index * 64 + bit),
            );
        }
        Ok(ports)
    }

    /// Does one write of a plan.
    ///
    /// # Errors
    /// When the kernel refuses; the error names the map.
    pub fn apply(&mut self, write: &Write<'_>) -> Result<()> {
        match *write {
            Write::Node(node) => self.node.set(0, node, 0).context("map NODE"),
            Write::SetEntity(key, entity) => {
                self.entities.insert(key, entity, 0).context("map ENTITIES")
            }
            Write::RemoveEntity(key) => absent(self.entities.remove(&key)).context("map ENTITIES"),
            Write::ZeroCounters(key) => {
                self.forget_fragments(key)?;
                self.zero_counters(key)
            }
            Write::Ports(index, set) => {
                debug_assert!(u32::from(index) < PORT_SETS);
                self.tunnel_ports
                    .set(index.into(), set, 0)
                    .context("map TUNNEL_PORTS")
            }
            Write::SetTunnel(index, path) => self
                .tunnels
                .set(index.into(), path, 0)
                .context("map TUNNELS"),
            Write::ClearTunnel(index) => self
                .tunnels
                .set(index.into(), OriginPath::EMPTY, 0)
                .context("map TUNNELS"),
            Write::SetOrigin(index, origin) => self
                .origins
                .set(index.into(), origin, 0)
                .context("map ORIGINS"),
            Write::ClearOrigin(index) => self
                .origins
                .set(index.into(), Origin::EMPTY, 0)
                .context("map ORIGINS"),
            Write::SetPeer(key, peer) => self.peers.insert(key, peer, 0).context("map PEERS"),
            Write::RemovePeer(key) => absent(self.peers.remove(&key)).context("map PEERS"),
            Write::SetRoute((key, bits), tunnel) => self
                .routes
                .insert(&Key::new(bits, key), tunnel, 0)
                .context("map ROUTES"),
            Write::RemoveRoute((key, bits)) => {
                absent(self.routes.remove(&Key::new(bits, key))).context("map ROUTES")
            }
            Write::SetVlan(ifindex, vlan) => {
                self.vlans.insert(ifindex, vlan, 0).context("map VLANS")
            }
            Write::RemoveVlan(ifindex) => absent(self.vlans.remove(&ifindex)).context("map VLANS"),
            Write::SetRange((key, bits), port) => self
                .ranges
                .insert(&Key::new(bits, key), port, 0)
                .context("map RANGES"),
            Write::RemoveRange((key, bits)) => {
                absent(self.ranges.remove(&Key::new(bits, key))).context("map RANGES")
            }
            Write::Rows { first, rows } => {
                let entries = rows.to_vec();
                kernel::write_array(self.rows.map().fd().as_fd(), first, &entries)
                    .context("map ROWS")?;
                self.write_owners(first, rows)
            }
            Write::PreviousRows { index, table } | Write::Publish { index, table, .. } => {
                self.tables.set(index, table, 0).context("map TABLES")
            }
            Write::ClearTable(index) => self
                .tables
                .set(index, Table::default(), 0)
                .context("map TABLES"),
            Write::SetReverse(key, value) => {
                self.reverse.insert(key, value, 0).context("map REVERSE")
            }
            Write::RemoveReverse(key) => absent(self.reverse.remove(&key)).context("map REVERSE"),
            Write::SetListener(key, value) => self
                .listeners
                .insert(key, value, 0)
                .context("map LISTENERS"),
            Write::RemoveListener(key) => {
                absent(self.listeners.remove(&key)).context("map LISTENERS")
            }
        }
    }

    /// Writes what each packet needs of rows. An entry has room for two, of which the other one may be
    /// of another table: that stays as it is.
    pub(super) fn write_owners(&self, first: u32, rows: &Rows) -> Result<()> {
        let Some(last) = u32::try_from(rows.len())
            .ok()
            .and_then(|count| (first + count).checked_sub(1))
        else {
            return Ok(());
        };
        let (first_entry, _) = Owners::place(first);
        let (last_entry, _) = Owners::place(last);
        let mut owners = vec![Owners::default(); (last_entry + 1 - first_entry) as usize];
        // One of the two may be another table's, of these alone.
        for entry in [first_entry, last_entry] {
            let there = self.owners.get(&entry, 0).context("map OWNERS")?;
            owners[(entry - first_entry) as usize] = there;
        }
        for (index, row) in (first..).zip(rows.iter()) {
            let (entry, which) = Owners::place(index);
            owners[(entry - first_entry) as usize].0[which] = row.owner();
        }
        kernel::write_array(self.owners.map().fd().as_fd(), first_entry, &owners)
            .context("map OWNERS")
    }

    /// Lets no datagram be bound to an origin whose slot is given to somebody else.
    fn forget_fragments(&mut self, key: EntityKey) -> Result<()> {
        if key.kind != EntityKind::Origin as u32 {
            return Ok(());
        }
        for (datagram, value) in self.fragments()? {
            if u32::from(value.first.origin) == key.index {
                absent(self.fragments.remove(&datagram)).context("map FRAGMENTS")?;
            }
        }
        Ok(())
    }

    fn zero_counters(&mut self, key: EntityKey) -> Result<()> {
        let (map, name) = match EntityKind::from_u32(key.kind) {
            Some(EntityKind::Listener) => (&mut self.listener_counters, "LISTENER_COUNTERS"),
            Some(EntityKind::Origin) => (&mut self.origin_counters, "ORIGIN_COUNTERS"),
            Some(EntityKind::Tunnel) => (&mut self.tunnel_counters, "TUNNEL_COUNTERS"),
            Some(EntityKind::Vnet | EntityKind::Table) | None => return Ok(()),
        };
        let cpus = aya::util::nr_cpus().map_err(|(what, error)| anyhow!("{what}: {error}"))?;
        let zeros = PerCpuValues::try_from(vec![Traffic::default(); cpus])
            .context("cannot make counters of zero")?;
        map.set(key.index, zeros, 0)
            .with_context(|| format!("map {name}"))
    }
}

/// Whether a slot of map `TUNNELS` holds something: an unwritten one is all zero.
fn path_in_use(path: &OriginPath) -> bool {
    *path != OriginPath::EMPTY
}

/// All entries of an array map.
pub(super) fn all<V: Pod>(map: &Array<MapData, V>, name: &str) -> Result<Vec<V>> {
    kernel::read_array(map.map().fd().as_fd(), 0, map.len())
        .with_context(|| format!("cannot read map {name}"))
}

/// All entries of a hash map. A key that goes while it is read is left out.
pub(super) fn entries<K: Pod + Ord, V: Pod>(
    map: &HashMap<MapData, K, V>,
) -> Result<BTreeMap<K, V>, MapError> {
    collect(map.iter())
}

fn collect<K: Ord, V>(
    entries: impl Iterator<Item = Result<(K, V), MapError>>,
) -> Result<BTreeMap<K, V>, MapError> {
    let mut found = BTreeMap::new();
    for entry in entries {
        match entry {
            Ok((key, value)) => {
                found.insert(key, value);
            }
            Err(MapError::KeyNotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Taking away what is not there is done already.
fn absent(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {
            Ok(())
        }
        other => other,
    }
}

/// Where the maps are pinned.
struct Pins<'a> {
    folder: &'a Path,
    grows: bool,
}

impl Pins<'_> {
    fn open<T: TryFrom<Map, Error = MapError>>(&self, name: &str) -> Result<T> {
        let spec = MapSpec::named(name).with_context(|| format!("there is no map {name}"))?;
        open_pin(&grow::pin_of(self.folder, spec, self.grows))
    }
}

pub(super) fn open<T: TryFrom<Map, Error = MapError>>(folder: &Path, name: &str) -> Result<T> {
    open_pin(&folder.join(name))
}

fn open_pin<T: TryFrom<Map, Error = MapError>>(path: &Path) -> Result<T> {
    let data = MapData::from_pin(path).with_context(|| {
        format!(
            "cannot open the pinned map {} (are you root?)",
            path.display()
        )
    })?;
    Map::from_map_data(data)
        .and_then(T::try_from)
        .with_context(|| {
            format!(
                "the pinned map {} is not of this version's shape; `lbxdp detach` removes it",
                path.display()
            )
        })
}

fn max_entries(map: &MapData) -> Result<u32> {
    Ok(map
        .info()
        .context("cannot ask the kernel about a map")?
        .max_entries())
}
