//! Against the kernel; each test says so and passes over where it may not (root, a bpffs).

use std::fs;
use std::iter::repeat_n;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use aya::maps::lpm_trie::Key;
use aya::maps::{Array, HashMap, LpmTrie, MapData, PerCpuArray, PerCpuValues};
use lbxdp_ebpf::abi::{
    Address, Allowance, Count, Datagram, EntityKind, Flow, FlowCounts, FlowKey, FlowSet, Fragment,
    FragmentKey, Heartbeat, Listener, Mapping, Mode, Node, Origin, Owners, Path as OriginPath,
    Peer, PeerKey, Port, PortSet, RangeKey, Reverse, RouteKey, Row, Service, Session, Side, Table,
    Tags, Traffic, Vlan, VnetId,
};
use lbxdp_ebpf::tables::Tables;
use lbxdp_ebpf::verdict::Reason;

use super::*;

mod object;
mod sweep;

/// A pin path of its own, removed in the end.
pub(crate) struct Pins(pub(crate) PathBuf);

impl Pins {
    fn new(test: &str) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = format!("/sys/fs/bpf/lbxE-{}-{number}", std::process::id());
        let path = PathBuf::from(path);
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: {test}: needs root");
            return None;
        }
        if let Err(error) = bpffs::prepare(&path) {
            eprintln!("skipped: {test}: {error:#}");
            return None;
        }
        Some(Self(path))
    }

    /// Maps as the object makes them, without the object.
    pub(crate) fn with_maps(test: &str) -> Option<Self> {
        const NO_PREALLOC: u32 = 1;
        const MMAPABLE: u32 = 1 << 10;
        let pins = Self::new(test)?;
        let at = |name| versioned(&pins.0).join(name);
        let size = |name| MapSpec::named(name).unwrap().max_entries;
        macro_rules! make {
            ($($map:ident<$($of:ty),+> $name:literal $flags:expr;)+) => {$(
                $map::<MapData, $($of),+>::create(size($name), $flags).unwrap()
                    .pin(at($name)).unwrap();
            )+};
        }
        make! {
            Array<Node> "NODE" 0;
            Array<Heartbeat> "HEARTBEAT" 0;
            HashMap<Service, Listener> "LISTENERS" 0;
            HashMap<Service, Reverse> "REVERSE" 0;
            Array<Table> "TABLES" 0;
            Array<Row> "ROWS" 0;
            Array<Owners> "OWNERS" 0;
            Array<Origin> "ORIGINS" 0;
            HashMap<PeerKey, Peer> "PEERS" 0;
            Array<OriginPath> "TUNNELS" 0;
            LpmTrie<RouteKey, u32> "ROUTES" NO_PREALLOC;
            LpmTrie<RangeKey, u32> "RANGES" NO_PREALLOC;
            HashMap<u32, Vlan> "VLANS" 0;
            HashMap<FragmentKey, Datagram> "FRAGMENTS" 0;
            Array<PortSet> "TUNNEL_PORTS" 0;
            HashMap<EntityKey, Entity> "ENTITIES" NO_PREALLOC;
            HashMap<FlowKey, Session> "SESSIONS" NO_PREALLOC;
            HashMap<FlowKey, Mapping> "MAPPINGS" NO_PREALLOC;
            Array<FlowSet> "FLOWS" MMAPABLE;
            Array<Flow> "FLOW_KEYS" 0;
            Array<FlowSet> "OPENING" MMAPABLE;
            PerCpuArray<FlowCounts> "FLOW_COUNTERS" 0;
            PerCpuArray<Allowance> "ALLOWANCE" 0;
            PerCpuArray<Count> "REASONS" 0;
            PerCpuArray<Traffic> "LISTENER_COUNTERS" 0;
            PerCpuArray<Traffic> "ORIGIN_COUNTERS" 0;
            PerCpuArray<Traffic> "TUNNEL_COUNTERS" 0;
        }
        Some(pins)
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if let Err(error) = detach_all(&self.0) {
            eprintln!("{error:#}");
        }
    }
}

fn service(last: u8) -> Service {
    Service {
        address: Address::from_v4([198, 51, 100, last]),
        port: Port::new(80),
        protocol: 6,
        range: 0,
        vnet: VnetId::LOCAL,
    }
}

pub(crate) fn desired() -> Desired {
    let path = OriginPath {
        outer: 4,
        tunnel: 2,
        mtu: 1450,
        ..OriginPath::UNRESOLVED
    };
    let mut desired = Desired {
        node: Node {
            hash_key: [7; 12],
            flags: 1,
            icmp_interval_ns: lbxdp_ebpf::abi::Allowance::INTERVAL_NS,
            flow_interval_ns: lbxdp_ebpf::abi::Allowance::FLOW_INTERVAL_NS,
            ..Node::default()
        },
        ..Desired::default()
    };
    desired.tunnels.insert(2, path);
    for index in [0, 5] {
        let origin = Origin {
            address: Address::from_v4([10, 0, 0, 11]),
            port: Port::new(80),
            mode: Mode::NatPreserve as u8,
            vnet: VnetId(7),
            path,
            ..Origin::EMPTY
        };
        desired.origins.insert(index, origin);
        let key = EntityKey {
            kind: EntityKind::Origin as u32,
            index: index.into(),
        };
        let entity = Entity::named(&format!("web/{index}")).unwrap();
        desired.entities.insert(key, entity);
    }
    let rows = (0..4093).map(|row| Row::owned_by(if row % 2 == 0 { 0 } else { 5 }));
    desired.tables.insert(3, TableRows::publish(rows.collect()));
    desired.listeners.insert(
        service(10),
        Listener {
            table: 3,
            counter: 0,
            flags: 0,
        },
    );
    desired.reverse.insert(
        service(11),
        Reverse {
            address: service(10).address,
            port: Port::new(80),
            origin: 5,
            vnet: VnetId::LOCAL,
            counter: 0,
        },
    );
    desired.peers.insert(
        PeerKey {
            remote: service(20).address,
            local: service(21).address,
            vni: 100,
            port: Port::new(4789),
            encapsulation: 4,
            reserved: 0,
        },
        Peer {
            vnet: VnetId(7),
            tunnel: 2,
            reserved: [0; 2],
            inner_v4: Address::UNSPECIFIED,
            inner_v6: Address::UNSPECIFIED,
        },
    );
    desired.tunnel_ports.extend([4789, 65_535]);
    let prefix = RouteKey::new(VnetId(7), Address::from_v4([10, 0, 0, 0]));
    desired.routes.insert((prefix, 32 + 96 + 8), 2);
    desired.vlans.insert(
        77,
        Vlan {
            ifindex: 2,
            tags: Tags::one(42, false),
        },
    );
    let range = Service {
        range: 1,
        ..service(10)
    };
    desired.listeners.insert(
        range,
        Listener {
            table: 3,
            counter: 1,
            flags: 0,
        },
    );
    let ports = RangeKey::new(&range, Side::Listener);
    desired
        .ranges
        .insert((ports, RangeKey::FIXED_BITS + 12), 80);
    desired
}

#[test]
fn what_is_written_is_read_back_by_the_next_agent() {
    let Some(pins) = Pins::with_maps("what_is_written_is_read_back_by_the_next_agent") else {
        return;
    };
    let mut first = MapWriter::open(&pins.0).unwrap();
    assert_eq!(first.content(), &Content::default());
    let report = first.sync(&desired()).unwrap();
    assert_eq!((report.rows, report.published), (4093, 1));
    eprintln!(
        "{} rows and {} writes took {:?}",
        report.rows, report.writes, report.took
    );
    let left = first.content().clone();
    drop(first);

    let mut second = MapWriter::open(&pins.0).unwrap();
    assert_eq!(second.content(), &left);
    assert!(second.sync(&desired()).unwrap().is_empty());

    let mut kept = desired();
    kept.tables.insert(3, TableRows::Keep);
    assert!(second.sync(&kept).unwrap().is_empty());

    second.sync(&Desired::default()).unwrap();
    second.read_back().unwrap();
    assert_eq!(second.content(), &Content::default());
}

#[test]
fn live_tables_answer_like_the_program() {
    let Some(pins) = Pins::with_maps("live_tables_answer_like_the_program") else {
        return;
    };
    let mut writer = MapWriter::open(&pins.0).unwrap();
    writer.sync(&desired()).unwrap();
    let maps = LiveMaps::open(&pins.0).unwrap();
    let tables = LiveTables::new(&maps).unwrap();
    assert_eq!(tables.node().unwrap().flags, 1);
    let listener = tables.listener(&service(10)).unwrap();
    assert!(tables.listener(&service(12)).is_none());
    let table = tables.table(listener.table).unwrap();
    let first = table.halves[table.active as usize];
    assert_eq!(tables.row(first + 1).unwrap().current, 5);
    assert!(tables.table(0).is_none() && tables.table(u32::MAX).is_none());
    assert!(tables.origin(5).is_some() && tables.origin(1).is_none());
    assert!(tables.tunnel(2).is_some() && tables.tunnel(0).is_none());
    assert!(tables.is_tunnel_port(Port::new(65_535)) && !tables.is_tunnel_port(Port::new(4788)));
    let inside = RouteKey::new(VnetId(7), Address::from_v4([10, 200, 0, 1]));
    let elsewhere = RouteKey::new(VnetId(8), Address::from_v4([10, 200, 0, 1]));
    assert_eq!(tables.tunnel_to(&inside), Some(2));
    assert_eq!(tables.tunnel_to(&elsewhere), None);
    let port = |port| Service {
        port: Port::new(port),
        ..service(10)
    };
    assert_eq!(tables.range(&port(95), Side::Listener), Some(Port::new(80)));
    assert_eq!(tables.range(&port(96), Side::Listener), None);
    assert_eq!(tables.range(&port(95), Side::Origin), None);
    assert_eq!(tables.failures(), Vec::<String>::new());
}

#[test]
fn a_slot_that_is_given_away_takes_no_fragments_along() {
    let Some(pins) = Pins::with_maps("a_slot_that_is_given_away_takes_no_fragments_along") else {
        return;
    };
    let mut writer = MapWriter::open(&pins.0).unwrap();
    let mut state = desired();
    writer.sync(&state).unwrap();
    let mut maps = LiveMaps::open(&pins.0).unwrap();
    let keys = [0, 5].map(|origin| {
        let key = FragmentKey {
            vnet: VnetId(7),
            source: service(1).address,
            destination: service(10).address,
            identification: u32::from(origin),
            protocol: 17,
            reserved: [0; 3],
        };
        let first = Fragment {
            source_port: Port::new(40_000),
            destination_port: Port::new(80),
            origin,
            protocol: 17,
            reserved: 0,
        };
        maps.fragments
            .insert(key, Datagram::new(first, 0), 0)
            .unwrap();
        key
    });
    let slot = EntityKey {
        kind: EntityKind::Origin as u32,
        index: 5,
    };
    state
        .entities
        .insert(slot, Entity::named("web/somebody-else").unwrap());
    writer.sync(&state).unwrap();
    let left: Vec<FragmentKey> = maps.fragments().unwrap().into_keys().collect();
    assert_eq!(left, keys[..1]);
}

#[test]
fn counters_are_summed_and_start_from_zero() {
    let Some(pins) = Pins::with_maps("counters_are_summed_and_start_from_zero") else {
        return;
    };
    let mut writer = MapWriter::open(&pins.0).unwrap();
    writer.sync(&desired()).unwrap();
    let mut maps = LiveMaps::open(&pins.0).unwrap();
    let cpus = aya::util::nr_cpus().unwrap();
    let one = Traffic {
        forward: Count {
            packets: 1,
            bytes: 60,
        },
        reply: Count::default(),
    };
    let values = || PerCpuValues::try_from(vec![one; cpus]).unwrap();
    maps.origin_counters.set(5, values(), 0).unwrap();
    let counters = maps.counters(writer.content().entities.keys()).unwrap();
    assert_eq!(counters.origins[&5].forward.packets, cpus as u64);
    assert_eq!(counters.reasons.len(), Reason::COUNT);

    // The slot is given to another origin.
    let mut next = desired();
    let key = EntityKey {
        kind: EntityKind::Origin as u32,
        index: 5,
    };
    next.entities
        .insert(key, Entity::named("web/other").unwrap());
    writer.sync(&next).unwrap();
    let counters = maps.counters(next.entities.keys()).unwrap();
    assert_eq!(counters.origins[&5], Traffic::default());
}

#[test]
fn publishing_a_large_table_is_quick() {
    let Some(pins) = Pins::with_maps("publishing_a_large_table_is_quick") else {
        return;
    };
    let mut writer = MapWriter::open(&pins.0).unwrap();
    let mut state = desired();
    let rows = repeat_n(Row::owned_by(5), 65_537).collect();
    state.tables.insert(4, TableRows::publish(rows));
    let report = writer.sync(&state).unwrap();
    eprintln!("{} rows took {:?}", report.rows, report.took);
    assert!(report.took.as_millis() < 1_000);
    let again = MapWriter::open(&pins.0).unwrap();
    assert_eq!(again.content(), writer.content());
}

#[test]
fn detaching_removes_every_pin() {
    let Some(pins) = Pins::with_maps("detaching_removes_every_pin") else {
        return;
    };
    let detached = detach_all(&pins.0).unwrap();
    assert_eq!(detached.maps.len(), MAPS.len());
    assert!(!pins.0.exists());
    let again = detach_all(&pins.0).unwrap();
    assert_eq!(again, Detached::default());
    let Err(error) = LiveMaps::open(&pins.0) else {
        panic!("there are no maps");
    };
    assert!(
        error.to_string().starts_with("no maps are pinned at"),
        "{error}"
    );
}

#[test]
fn a_pin_path_outside_a_bpffs_is_refused_with_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let error = bpffs::prepare(&folder.path().join("lbxdp")).unwrap_err();
    assert!(error.to_string().contains("mount -t bpf bpf"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_key_of_a_route_has_the_bits_of_the_vnet_first() {
    let key = Key::new(
        32 + 128,
        RouteKey::new(VnetId(1), Address::from_v4([1, 2, 3, 4])),
    );
    assert_eq!(size_of_val(&key), 24);
    assert_eq!(key.data().vnet, [0, 0, 0, 1]);
}
