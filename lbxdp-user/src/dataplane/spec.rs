#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use aya::maps::MapType;
use aya::maps::lpm_trie::Key;
use lbxdp_ebpf::abi::{
    ABI_VERSION, Allowance, Count, Datagram, Entity, EntityKey, Flow, FlowCounts, FlowKey, FlowSet,
    FragmentKey, Heartbeat, Listener, Mapping, Node, Origin, Owners, Path as OriginPath, Peer,
    PeerKey, PortSet, RangeKey, Reverse, RouteKey, Row, Service, Session, Table, Traffic, Vlan,
    capacity,
};
use lbxdp_ebpf::verdict::Reason;

/// A map of the ABI: what the object declares, and what a pinned map must be like.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MapSpec {
    /// Name, in the object and of the pin.
    pub name: &'static str,
    /// Type.
    pub kind: MapType,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value (of a per-CPU map, on one CPU).
    pub value_size: u32,
    /// Entries, unless loaded with another number.
    pub max_entries: u32,
    /// What it holds, in a few words.
    pub about: &'static str,
}

impl MapSpec {
    /// The map of this name, in any case of letters.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        MAPS.iter()
            .find(|spec| spec.name.eq_ignore_ascii_case(name))
    }
}

const fn array<V>(name: &'static str, max_entries: u32, about: &'static str) -> MapSpec {
    MapSpec {
        name,
        kind: MapType::Array,
        key_size: 4,
        value_size: size_of::<V>() as u32,
        max_entries,
        about,
    }
}

const fn hash<K, V>(name: &'static str, max_entries: u32, about: &'static str) -> MapSpec {
    MapSpec {
        name,
        kind: MapType::Hash,
        key_size: size_of::<K>() as u32,
        value_size: size_of::<V>() as u32,
        max_entries,
        about,
    }
}

const fn counters<V>(name: &'static str, max_entries: u32, about: &'static str) -> MapSpec {
    MapSpec {
        kind: MapType::PerCpuArray,
        ..array::<V>(name, max_entries, about)
    }
}

/// Entries of map `TUNNEL_PORTS`: 64 ports each.
pub(super) const PORT_SETS: u32 = 65_536 / 64;

/// All maps of the ABI.
pub const MAPS: [MapSpec; 27] = [
    array::<Node>("NODE", 1, "settings of the node"),
    array::<Heartbeat>("HEARTBEAT", 1, "when the agent last confirmed the tables"),
    hash::<Service, Listener>("LISTENERS", capacity::SERVICES, "listener to table"),
    hash::<Service, Reverse>(
        "REVERSE",
        capacity::SERVICES,
        "origin to the listener it answers for",
    ),
    array::<Table>(
        "TABLES",
        capacity::TABLES,
        "where the rows of a set of pools are",
    ),
    array::<Row>(
        "ROWS",
        capacity::ROWS,
        "owners of the flows that hash to a row",
    ),
    array::<Owners>(
        "OWNERS",
        capacity::OWNERS,
        "the same, as far as each packet needs it",
    ),
    array::<Origin>("ORIGINS", capacity::ORIGINS, "origins, and the way to each"),
    hash::<PeerKey, Peer>("PEERS", capacity::TUNNELS, "far ends of tunnels"),
    array::<OriginPath>("TUNNELS", capacity::TUNNELS, "the way into each tunnel"),
    MapSpec {
        kind: MapType::LpmTrie,
        ..hash::<Key<RouteKey>, u32>("ROUTES", capacity::ROUTES, "prefixes behind tunnels")
    },
    MapSpec {
        kind: MapType::LpmTrie,
        ..hash::<Key<RangeKey>, u32>("RANGES", capacity::RANGES, "ranges of ports, by prefix")
    },
    MapSpec {
        kind: MapType::LruHash,
        ..hash::<FragmentKey, Datagram>(
            "FRAGMENTS",
            capacity::FRAGMENTS,
            "datagrams of which later fragments are waited for",
        )
    },
    hash::<u32, Vlan>("VLANS", capacity::VLANS, "VLAN devices, and what is below"),
    array::<PortSet>(
        "TUNNEL_PORTS",
        PORT_SETS,
        "UDP ports that tunnels receive at",
    ),
    hash::<EntityKey, Entity>(
        "ENTITIES",
        capacity::ENTITIES,
        "names and health of what has a slot",
    ),
    hash::<FlowKey, Session>(
        "SESSIONS",
        capacity::SESSIONS,
        "flows whose source address is translated",
    ),
    hash::<FlowKey, Mapping>(
        "MAPPINGS",
        capacity::SESSIONS,
        "the way back of translated flows",
    ),
    array::<FlowSet>(
        "FLOWS",
        capacity::FLOW_SETS,
        "flows of rows that have moved or will, and the origin of each",
    ),
    array::<Flow>(
        "FLOW_KEYS",
        capacity::FLOWS,
        "whose the entries of FLOWS are",
    ),
    array::<FlowSet>(
        "OPENING",
        capacity::OPENING_SETS,
        "such flows of which only first packets have come",
    ),
    counters::<FlowCounts>("FLOW_COUNTERS", 1, "what was recorded of such flows"),
    counters::<Allowance>(
        "ALLOWANCE",
        1,
        "how many messages of its own each CPU may still send",
    ),
    counters::<Count>(
        "REASONS",
        Reason::COUNT as u32,
        "packets by what became of them",
    ),
    counters::<Traffic>(
        "LISTENER_COUNTERS",
        capacity::LISTENER_COUNTERS,
        "traffic by listener",
    ),
    counters::<Traffic>("ORIGIN_COUNTERS", capacity::ORIGINS, "traffic by origin"),
    counters::<Traffic>("TUNNEL_COUNTERS", capacity::TUNNELS, "traffic by tunnel"),
];

/// Where the maps of this ABI version are pinned.
#[must_use]
pub fn versioned(pin_path: &Path) -> PathBuf {
    pin_path.join(format!("v{ABI_VERSION}"))
}

/// Where the links are pinned.
#[must_use]
pub fn links_folder(pin_path: &Path) -> PathBuf {
    versioned(pin_path).join("links")
}
