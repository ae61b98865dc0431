use super::flows;
use super::steps::{
    Hop, NO_RANGE, lbxdp_allocate, lbxdp_is_for_vip, lbxdp_may_record, lbxdp_range, lbxdp_recall,
    lbxdp_record, lbxdp_remember,
};
use aya_ebpf::bindings::{
    BPF_F_NO_PREALLOC, BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_FWD_DISABLED,
    BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_NOT_FWDED, BPF_FIB_LKUP_RET_SUCCESS, BPF_NOEXIST,
};
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray};
use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::XdpContext;
use core::hint::black_box;
use lbxdp_ebpf::abi::{
    Address, Allowance, Count, Datagram, Entity, EntityKey, Flow, FlowCounts, FlowKey, Fragment,
    FragmentKey, Heartbeat, Kept, Listener, Mapping, Node, Origin, OriginIndex, Owner, Owners,
    Path, Peer, PeerKey, Port, PortSet, RangeKey, Reverse, RouteKey, Row, Service, Session, Side,
    Sight, Table, Traffic, TunnelIndex, Vlan, VnetId, capacity,
};
use lbxdp_ebpf::flow_table::Recording;
use lbxdp_ebpf::fragment;
use lbxdp_ebpf::parse::Ip;
use lbxdp_ebpf::pipeline::Scratch;
use lbxdp_ebpf::snat::Request;
use lbxdp_ebpf::tables::{Refused, Route, RouteQuery, Tables};
use lbxdp_ebpf::track::{self, FlowEvent};
use lbxdp_ebpf::verdict::{Direction, Reason, Slot, Verdict};

const SERVICES: usize = capacity::SERVICES as usize;
const SESSION_SLOTS: usize = capacity::SESSIONS as usize;
const ORIGIN_SLOTS: usize = capacity::ORIGINS as usize;
const TUNNEL_SLOTS: usize = capacity::TUNNELS as usize;

#[btf_map]
static NODE: Array<Node, 1> = Array::new();
#[btf_map]
static PROGRAMS: ProgramArray<1> = ProgramArray::new();
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
static OWNERS: Array<Owners, { capacity::OWNERS as usize }> = Array::new();
#[btf_map]
static ORIGINS: Array<Origin, ORIGIN_SLOTS> = Array::new();
#[btf_map]
static PEERS: HashMap<PeerKey, Peer, TUNNEL_SLOTS> = HashMap::new();
#[btf_map]
static TUNNELS: Array<Path, TUNNEL_SLOTS> = Array::new();
#[btf_map]
static ROUTES: LpmTrie<RouteKey, u32, { capacity::ROUTES as usize }> = LpmTrie::new();
#[btf_map]
static RANGES: LpmTrie<RangeKey, u32, { capacity::RANGES as usize }> = LpmTrie::new();
#[btf_map]
static FRAGMENTS: LruHashMap<FragmentKey, Datagram, { capacity::FRAGMENTS as usize }> =
    LruHashMap::new();
#[btf_map]
static VLANS: HashMap<u32, Vlan, { capacity::VLANS as usize }> = HashMap::new();
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
static SESSIONS: HashMap<FlowKey, Session, SESSION_SLOTS, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();
#[btf_map]
static MAPPINGS: HashMap<FlowKey, Mapping, SESSION_SLOTS, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();
#[btf_map]
static FLOW_COUNTERS: PerCpuArray<FlowCounts, 1> = PerCpuArray::new();
#[btf_map]
static SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();
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
pub(super) struct Maps<C: Context> {
    ctx: *mut C,
}

/// The context of a program, which the helper that asks for routes must be given.
pub(super) trait Context: 'static {
    /// `bpf_fib_lookup` for the packet as it will be with this source and with `ports`, the source's
    /// first, as they stand on the wire: its code, and where to go if that is success.
    fn route(ctx: *mut Self, packet: &Ip, source: &Address, ports: u32, hop: &mut Hop) -> u32;
}

impl<C: Context> Maps<C> {
    #[inline(always)]
    pub(super) const fn new(ctx: *mut C) -> Self {
        Self { ctx }
    }
}

impl<C: Context> Tables for Maps<C> {
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
    fn owner(&self, row: u32) -> Option<Owner> {
        let (entry, which) = Owners::place(row);
        OWNERS.get(entry)?.0.get(which).copied()
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
    fn range(&self, key: &Service, side: Side) -> Option<Port> {
        let found = lbxdp_range(key, (side as u8).into());
        (found != NO_RANGE).then(|| Port::new(found as u16))
    }

    #[inline(always)]
    fn fragment(&self, packet: &Ip, vnet: VnetId) -> Option<Fragment> {
        match lbxdp_recall(packet, vnet.0) {
            0 => None,
            number => Some(Fragment::from_number(number)),
        }
    }

    #[inline(always)]
    fn remember(&self, packet: &Ip, vnet: VnetId, first: Fragment) {
        lbxdp_remember(packet, vnet.0, first.to_number());
    }

    #[inline(always)]
    fn is_for_vip(&self, packet: &Ip, vnet: VnetId) -> bool {
        lbxdp_is_for_vip(packet, vnet.0) != 0
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
        TUNNELS.get(index.into()).filter(|path| path.is_in_use())
    }

    #[inline(always)]
    fn tunnel_to(&self, key: &RouteKey) -> Option<TunnelIndex> {
        ROUTES
            .get(&Key::new(RouteKey::BITS, *key))
            .map(|index| *index as TunnelIndex)
    }

    #[inline(always)]
    fn session(&self, flow: &FlowKey, sight: Option<Sight>) -> Option<&Session> {
        let session = SESSIONS.get_ptr_mut(flow)?;
        // SAFETY: the entry may be changed by the program on another CPU at the same time, and its
        // memory be used for another entry: all its bytes are numbers, of which any are a value.
        let session = unsafe { &mut *session };
        if let Some(sight) = sight {
            if session.seen.is_over(sight) {
                return None;
            }
            session.seen.see(sight);
        }
        Some(session)
    }

    #[inline(always)]
    fn set_session(&self, flow: &FlowKey, session: &Session) -> Result<(), Refused> {
        SESSIONS.insert(flow, session, 0).map_err(refused)
    }

    #[inline(always)]
    fn mapping(&self, flow: &FlowKey, sight: Option<Sight>) -> Option<&Mapping> {
        let mapping = MAPPINGS.get_ptr_mut(flow)?;
        // SAFETY: as in `session`.
        let mapping = unsafe { &mut *mapping };
        if let Some(sight) = sight {
            mapping.seen.see(sight);
        }
        Some(mapping)
    }

    #[inline(always)]
    fn add_mapping(&self, flow: &FlowKey, mapping: &Mapping) -> Result<(), Refused> {
        MAPPINGS
            .insert(flow, mapping, BPF_NOEXIST.into())
            .map_err(refused)
    }

    #[inline(always)]
    fn remove_mapping(&self, flow: &FlowKey) {
        // It is there, or somebody else has removed it.
        let _ = MAPPINGS.remove(flow);
    }

    #[inline(always)]
    fn allocate(&self, request: &mut Request) -> Result<(), Reason> {
        // As of any number that comes back: see `network` of the packet.
        match black_box(lbxdp_allocate(request)) {
            0 => Ok(()),
            error => Err(Reason::from_index(error - 1).unwrap_or(Reason::SnatTableFull)),
        }
    }

    #[inline(always)]
    fn vlan(&self, ifindex: u32) -> Option<&Vlan> {
        // SAFETY: as in `listener`.
        unsafe { VLANS.get(ifindex) }
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
    fn tracked(&self, _: &FlowKey, digest: u64, now: u32, sight: Option<Sight>) -> Option<Kept> {
        flows::tracked(digest, now, sight)
    }

    #[inline(always)]
    fn recorded(
        &self,
        _: &FlowKey,
        digest: u64,
        now: u32,
        sight: Option<Sight>,
    ) -> Option<(Kept, bool)> {
        flows::recorded(digest, now, sight)
    }

    #[inline(always)]
    fn track(&self, flow: &Flow, digest: u64, kept: Kept) -> Recording {
        flows::track(flow, digest, kept)
    }

    #[inline(always)]
    fn opening(&self, _: &FlowKey, digest: u64, now: u32) -> Option<Kept> {
        flows::opening(digest, now)
    }

    #[inline(always)]
    fn set_opening(&self, flow: &Flow, digest: u64, kept: Kept) -> Recording {
        flows::set_opening(flow, digest, kept)
    }

    #[inline(always)]
    fn forget_opening(&self, _: &FlowKey, digest: u64) {
        flows::forget_opening(digest);
    }

    #[inline(always)]
    fn may_record(&self, interval_ns: u64, is_first: bool) -> bool {
        lbxdp_may_record(interval_ns, is_first.into()) != 0
    }

    #[inline(always)]
    fn record(&self, request: &track::Request) {
        lbxdp_record(request);
    }

    #[inline(always)]
    fn count_flow(&self, event: FlowEvent) {
        if let Some(counts) = flow_counts() {
            counts.count(event);
        }
    }

    #[inline(always)]
    fn flow_allowance(&self) -> Allowance {
        flow_counts().map_or(Allowance::FULL, |counts| counts.allowance)
    }

    #[inline(always)]
    fn set_flow_allowance(&self, left: Allowance) {
        if let Some(counts) = flow_counts() {
            counts.allowance = left;
        }
    }

    #[inline(always)]
    fn now_ns(&self) -> u64 {
        now_ns()
    }

    #[inline(always)]
    fn route(&self, query: &RouteQuery<'_>) -> Route {
        let mut hop = Hop::default();
        let [a, b] = query.source_port.to_bytes();
        let [c, d] = query.destination_port.to_bytes();
        let ports = u32::from_ne_bytes([a, b, c, d]);
        hop.ifindex = query.ingress;
        match C::route(self.ctx, query.packet, query.source, ports, &mut hop) {
            BPF_FIB_LKUP_RET_SUCCESS => Route::NextHop {
                ifindex: hop.ifindex,
                source_mac: hop.source_mac,
                destination_mac: hop.destination_mac,
            },
            BPF_FIB_LKUP_RET_NO_NEIGH => Route::NoNeighbour {
                ifindex: hop.ifindex,
            },
            BPF_FIB_LKUP_RET_FWD_DISABLED => Route::ForwardingOff,
            BPF_FIB_LKUP_RET_NOT_FWDED => Route::NotForwarded,
            BPF_FIB_LKUP_RET_FRAG_NEEDED => Route::TooBig(hop.mtu as u16),
            // Blackhole, unreachable, prohibit, lightweight tunnels; errors of the call.
            _ => Route::Unreachable,
        }
    }
}

/// Goes on with program `lbxdp_whole`; comes back if nobody has entered it.
#[inline(always)]
pub(super) fn call_whole(ctx: &XdpContext) {
    // SAFETY: the program takes the same context.
    unsafe { PROGRAMS.tail_call(ctx, 0) };
}

/// The place where this CPU works out what becomes of a packet.
#[inline(always)]
pub(super) fn scratch() -> Option<&'static mut Scratch> {
    // SAFETY: the slot is of this CPU, on which no other program of this map runs now; zeros are a
    // value, and so is whatever the last packet has left.
    SCRATCH
        .get_ptr_mut(0)
        .map(|scratch| unsafe { &mut *scratch })
}

/// What this CPU has recorded of flows, and may record.
#[inline(always)]
fn flow_counts() -> Option<&'static mut FlowCounts> {
    // SAFETY: the slot is of this CPU, on which no other program of this map runs now.
    FLOW_COUNTERS
        .get_ptr_mut(0)
        .map(|counts| unsafe { &mut *counts })
}

#[inline(always)]
fn refused(error: i32) -> Refused {
    const EEXIST: i32 = 17;
    if error == -EEXIST {
        Refused::Taken
    } else {
        Refused::Full
    }
}

/// The port under which the range of ports that holds this one is entered.
#[inline(always)]
pub(super) fn range(key: &Service, side: Side) -> Option<u32> {
    RANGES
        .get(&Key::new(RangeKey::BITS, RangeKey::new(key, side)))
        .copied()
}

/// What the first fragment of a later one's datagram has shown.
#[inline(always)]
pub(super) fn recall(packet: &Ip, vnet: VnetId) -> Option<Fragment> {
    // SAFETY: an entry that is replaced or evicted meanwhile is used again with bytes of the same
    // type; two fragments of one datagram at the same time say the same.
    let datagram = unsafe { FRAGMENTS.get(fragment::key(packet, vnet)) }?;
    datagram.at(now_ns())
}

/// `Tables::is_for_vip`.
#[inline(always)]
pub(super) fn is_for_vip(packet: &Ip, vnet: VnetId) -> bool {
    LISTENERS.get_ptr(fragment::vip(packet, vnet)).is_some()
}

/// Keeps what a first fragment shows. A map that is full forgets whoever was not asked for longest.
#[inline(always)]
pub(super) fn remember(packet: &Ip, vnet: VnetId, first: Fragment) {
    let datagram = Datagram::new(first, now_ns());
    // An entry that cannot be made costs the later fragments, which are counted.
    let _ = FRAGMENTS.insert(fragment::key(packet, vnet), datagram, 0);
}

#[inline(always)]
fn now_ns() -> u64 {
    // SAFETY: the helper takes nothing and returns a number.
    unsafe { bpf_ktime_get_coarse_ns() }
}

/// Adds a packet of `bytes` bytes to all counters that its verdict names.
#[inline(always)]
pub(super) fn count(verdict: &Verdict, bytes: u64) {
    let [listener, origin, tunnel] =
        [verdict.listener, verdict.origin, verdict.tunnel].map(Slot::number);
    lbxdp_count(verdict.reason.index(), bytes, listener, origin, tunnel);
}

/// [`count`], in place.
#[inline(always)]
pub(super) fn count_here(verdict: &Verdict, bytes: u64) {
    let [listener, origin, tunnel] =
        [verdict.listener, verdict.origin, verdict.tunnel].map(Slot::number);
    add_all(
        verdict.reason.index(),
        verdict.reason.direction(),
        bytes,
        listener,
        origin,
        tunnel,
    );
}

/// [`count`], verified once for all ways that lead to it; returns 0, since a global function must
/// return something.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn lbxdp_count(reason: u32, bytes: u64, listener: u32, origin: u32, tunnel: u32) -> u32 {
    let direction = Reason::from_index(reason).and_then(Reason::direction);
    add_all(reason, direction, bytes, listener, origin, tunnel);
    0
}

#[inline(always)]
fn add_all(
    reason: u32,
    direction: Option<Direction>,
    bytes: u64,
    listener: u32,
    origin: u32,
    tunnel: u32,
) {
    if let Some(count) = REASONS.get_ptr_mut(reason) {
        // SAFETY: the slot is of this CPU, on which no other program of this map runs now.
        add(unsafe { &mut *count }, bytes);
    }
    let Some(direction) = direction else {
        return;
    };
    // The number that stands for none is that of no slot.
    if let Some(traffic) = LISTENER_COUNTERS.get_ptr_mut(listener) {
        // SAFETY: as above.
        add(side(unsafe { &mut *traffic }, direction), bytes);
    }
    if let Some(traffic) = ORIGIN_COUNTERS.get_ptr_mut(origin) {
        // SAFETY: as above.
        add(side(unsafe { &mut *traffic }, direction), bytes);
    }
    if let Some(traffic) = TUNNEL_COUNTERS.get_ptr_mut(tunnel) {
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
