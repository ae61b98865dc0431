use super::steps::{Hop, lbxdp_route};
use aya_ebpf::bindings::{
    BPF_F_NO_PREALLOC, BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_FWD_DISABLED,
    BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_NOT_FWDED, BPF_FIB_LKUP_RET_SUCCESS, xdp_md,
};
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::btf_maps::{Array, HashMap, LpmTrie, PerCpuArray};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::XdpContext;
use lbxdp_ebpf::abi::{
    Allowance, Count, Entity, EntityKey, Heartbeat, Listener, Node, Origin, OriginIndex, Path,
    Peer, PeerKey, Port, PortSet, Reverse, RouteKey, Row, Service, Table, Traffic, TunnelIndex,
    capacity,
};
use lbxdp_ebpf::tables::{Route, RouteQuery, Tables};
use lbxdp_ebpf::verdict::{Direction, Reason, Verdict};

const SERVICES: usize = capacity::SERVICES as usize;
const ORIGIN_SLOTS: usize = capacity::ORIGINS as usize;
const TUNNEL_SLOTS: usize = capacity::TUNNELS as usize;

#[btf_map]
static NODE: Array<Node, 1> = Array::new();
#[btf_map]
static HEARTBEAT: Array<Heartbeat, 1> = Array::new();
#[btf_map]
static LISTENERS: HashMap<Service, Listener, SERVICES> = HashMap::new();
#[btf_map]
static REVERSE: HashMap<Service, Reverse, SERVICES> = HashMap::new();
#[btf_map]
static TABLES: Array<Table, { capacity::TABLES as usize }> = Array::new();
#[btf_map]
static ROWS: Array<Row, { capacity::ROWS as usize }> = Array::new();
#[btf_map]
static ORIGINS: Array<Origin, ORIGIN_SLOTS> = Array::new();
#[btf_map]
static PEERS: HashMap<PeerKey, Peer, TUNNEL_SLOTS> = HashMap::new();
#[btf_map]
static TUNNELS: Array<Path, TUNNEL_SLOTS> = Array::new();
#[btf_map]
static ROUTES: LpmTrie<RouteKey, u32, { capacity::ROUTES as usize }> = LpmTrie::new();
#[btf_map]
static TUNNEL_PORTS: Array<PortSet, 1024> = Array::new();
#[btf_map]
static ENTITIES: HashMap<
    EntityKey,
    Entity,
    { capacity::ENTITIES as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();
#[btf_map]
static ALLOWANCE: PerCpuArray<Allowance, 1> = PerCpuArray::new();
#[btf_map]
static REASONS: PerCpuArray<Count, { Reason::COUNT }> = PerCpuArray::new();
#[btf_map]
static LISTENER_COUNTERS: PerCpuArray<Traffic, { capacity::LISTENER_COUNTERS as usize }> =
    PerCpuArray::new();
#[btf_map]
static ORIGIN_COUNTERS: PerCpuArray<Traffic, ORIGIN_SLOTS> = PerCpuArray::new();
#[btf_map]
static TUNNEL_COUNTERS: PerCpuArray<Traffic, TUNNEL_SLOTS> = PerCpuArray::new();

/// The maps of the program, and the kernel's routes.
pub(super) struct Maps {
    ctx: *mut xdp_md,
}

impl Maps {
    #[inline(always)]
    pub(super) fn new(ctx: &XdpContext) -> Self {
        Self { ctx: ctx.ctx }
    }
}

impl Tables for Maps {
    type Ref<'a, T: Copy + 'a> = &'a T;

    /// A slot that the agent has not written holds zeros; its key never does.
    #[inline(always)]
    fn node(&self) -> Option<&Node> {
        NODE.get(0).filter(|node| node.hash_key[0] != 0)
    }

    #[inline(always)]
    fn listener(&self, key: &Service) -> Option<&Listener> {
        // SAFETY: the program never writes to the map; an entry that the agent replaces is freed,
        // or used again, only after the program has ended or with bytes of the same type.
        unsafe { LISTENERS.get(key) }
    }

    #[inline(always)]
    fn table(&self, index: u32) -> Option<&Table> {
        TABLES.get(index)
    }

    #[inline(always)]
    fn row(&self, index: u32) -> Option<&Row> {
        ROWS.get(index)
    }

    #[inline(always)]
    fn origin(&self, index: OriginIndex) -> Option<&Origin> {
        ORIGINS.get(index.into())
    }

    #[inline(always)]
    fn reverse(&self, key: &Service) -> Option<&Reverse> {
        // SAFETY: as in `listener`.
        unsafe { REVERSE.get(key) }
    }

    #[inline(always)]
    fn is_tunnel_port(&self, port: Port) -> bool {
        let port = u32::from(port.get());
        TUNNEL_PORTS
            .get(port / 64)
            .is_some_and(|set| (set.0 >> (port % 64)) & 1 != 0)
    }

    #[inline(always)]
    fn peer(&self, key: &PeerKey) -> Option<&Peer> {
        // SAFETY: as in `listener`.
        unsafe { PEERS.get(key) }
    }

    /// A slot that is not in use holds zeros.
    #[inline(always)]
    fn tunnel(&self, index: TunnelIndex) -> Option<&Path> {
        TUNNELS.get(index.into()).filter(|path| path.outer != 0)
    }

    #[inline(always)]
    fn tunnel_to(&self, key: &RouteKey) -> Option<TunnelIndex> {
        ROUTES
            .get(&Key::new(RouteKey::BITS, *key))
            .map(|index| *index as TunnelIndex)
    }

    #[inline(always)]
    fn allowance(&self) -> Allowance {
        ALLOWANCE.get(0).copied().unwrap_or(Allowance::FULL)
    }

    #[inline(always)]
    fn set_allowance(&self, left: Allowance) {
        if let Some(allowance) = ALLOWANCE.get_ptr_mut(0) {
            // SAFETY: the slot is of this CPU, on which no other program of this map runs now.
            unsafe { *allowance = left };
        }
    }

    #[inline(always)]
    fn now_ns(&self) -> u64 {
        // SAFETY: the helper takes nothing and returns a number.
        unsafe { bpf_ktime_get_ns() }
    }

    #[inline(always)]
    fn route(&self, query: &RouteQuery<'_>) -> Route {
        let mut hop = Hop::default();
        let [a, b] = query.source_port.to_bytes();
        let [c, d] = query.destination_port.to_bytes();
        let ports = u32::from_ne_bytes([a, b, c, d]);
        match lbxdp_route(self.ctx, query.packet, query.source, ports, &mut hop) {
            BPF_FIB_LKUP_RET_SUCCESS => Route::NextHop {
                ifindex: hop.ifindex,
                source_mac: hop.source_mac,
                destination_mac: hop.destination_mac,
            },
            BPF_FIB_LKUP_RET_NO_NEIGH => Route::NoNeighbour,
            BPF_FIB_LKUP_RET_FWD_DISABLED => Route::ForwardingOff,
            BPF_FIB_LKUP_RET_NOT_FWDED => Route::NotForwarded,
            BPF_FIB_LKUP_RET_FRAG_NEEDED => Route::TooBig,
            // Blackhole, unreachable, prohibit, lightweight tunnels; errors of the call.
            _ => Route::Unreachable,
        }
    }
}

/// Adds a packet of `bytes` bytes to all counters that its verdict names.
#[inline(always)]
pub(super) fn count(verdict: &Verdict, bytes: u64) {
    if let Some(count) = REASONS.get_ptr_mut(verdict.reason.index()) {
        // SAFETY: the slot is of this CPU, on which no other program of this map runs now.
        add(unsafe { &mut *count }, bytes);
    }
    let Some(direction) = verdict.reason.direction() else {
        return;
    };
    if let Some(index) = verdict.listener
        && let Some(traffic) = LISTENER_COUNTERS.get_ptr_mut(index)
    {
        // SAFETY: as above.
        add(side(unsafe { &mut *traffic }, direction), bytes);
    }
    if let Some(index) = verdict.origin
        && let Some(traffic) = ORIGIN_COUNTERS.get_ptr_mut(index.into())
    {
        // SAFETY: as above.
        add(side(unsafe { &mut *traffic }, direction), bytes);
    }
    if let Some(index) = verdict.tunnel
        && let Some(traffic) = TUNNEL_COUNTERS.get_ptr_mut(index.into())
    {
        // SAFETY: as above.
        add(side(unsafe { &mut *traffic }, direction), bytes);
    }
}

#[inline(always)]
const fn side(traffic: &mut Traffic, direction: Direction) -> &mut Count {
    match direction {
        Direction::Forward => &mut traffic.forward,
        Direction::Reply => &mut traffic.reply,
    }
}

#[inline(always)]
const fn add(count: &mut Count, bytes: u64) {
    count.packets += 1;
    count.bytes += bytes;
}
