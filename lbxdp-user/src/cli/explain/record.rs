#![forbid(unsafe_code)]

use std::cell::RefCell;

use lbxdp_ebpf::abi::{
    Address, Allowance, Flow, FlowKey, Fragment, FragmentKey, Kept, Listener, Mapping, Node,
    Origin, OriginIndex, Owner, Path, Peer, PeerKey, Port, Reverse, RouteKey, Row, Service,
    Session, Side, Sight, Table, TunnelIndex, Vlan, VnetId,
};
use lbxdp_ebpf::flow_table::Recording;
use lbxdp_ebpf::fragment;
use lbxdp_ebpf::parse::Ip;
use lbxdp_ebpf::tables::{Refused, Route, RouteQuery, Tables};
use lbxdp_ebpf::track::FlowEvent;

/// A question that the pipeline asked, and its answer: a variant is a method of `Tables`.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Lookup {
    Node(Option<Node>),
    Listener(Service, Option<Listener>),
    Table(u32, Option<Table>),
    Row(u32, Option<Row>),
    Origin(OriginIndex, Option<Box<Origin>>),
    Reverse(Service, Option<Reverse>),
    Range(Service, Side, Option<Port>),
    Fragment(FragmentKey, Option<Fragment>),
    Vlan(u32, Option<Vlan>),
    TunnelPort(Port, bool),
    Peer(PeerKey, Option<Peer>),
    Tunnel(TunnelIndex, Option<Box<Path>>),
    TunnelTo(RouteKey, Option<TunnelIndex>),
    Route(Address, Route),
    Session(FlowKey, Option<Session>),
    Mapping(FlowKey, Option<Mapping>),
    AddMapping(FlowKey, Result<(), Refused>),
    Tracked(FlowKey, Option<Kept>),
    Opening(FlowKey, Option<Kept>),
    Track(FlowKey, Kept),
    SetOpening(FlowKey, Kept),
}

/// Tables that write down what they are asked.
pub(super) struct Recorder<'t, T> {
    tables: &'t T,
    lookups: RefCell<Vec<Lookup>>,
}

impl<'t, T: Tables> Recorder<'t, T> {
    /// Around other tables, which answer.
    pub(super) const fn new(tables: &'t T) -> Self {
        Self {
            tables,
            lookups: RefCell::new(Vec::new()),
        }
    }

    /// What was asked, in order.
    pub(super) fn into_lookups(self) -> Vec<Lookup> {
        self.lookups.into_inner()
    }

    fn note(&self, lookup: Lookup) {
        self.lookups.borrow_mut().push(lookup);
    }
}

impl<T: Tables> Tables for Recorder<'_, T> {
    type Ref<'a, V: Copy + 'a>
        = T::Ref<'a, V>
    where
        Self: 'a;

    fn node(&self) -> Option<Self::Ref<'_, Node>> {
        let found = self.tables.node();
        self.note(Lookup::Node(found.as_deref().copied()));
        found
    }

    fn listener(&self, key: &Service) -> Option<Self::Ref<'_, Listener>> {
        let found = self.tables.listener(key);
        self.note(Lookup::Listener(*key, found.as_deref().copied()));
        found
    }

    fn table(&self, index: u32) -> Option<Self::Ref<'_, Table>> {
        let found = self.tables.table(index);
        self.note(Lookup::Table(index, found.as_deref().copied()));
        found
    }

    fn owner(&self, row: u32) -> Option<Owner> {
        self.tables.owner(row)
    }

    fn row(&self, index: u32) -> Option<Self::Ref<'_, Row>> {
        let found = self.tables.row(index);
        self.note(Lookup::Row(index, found.as_deref().copied()));
        found
    }

    fn origin(&self, index: OriginIndex) -> Option<Self::Ref<'_, Origin>> {
        let found = self.tables.origin(index);
        let copy = found.as_deref().copied().map(Box::new);
        self.note(Lookup::Origin(index, copy));
        found
    }

    fn reverse(&self, key: &Service) -> Option<Self::Ref<'_, Reverse>> {
        let found = self.tables.reverse(key);
        self.note(Lookup::Reverse(*key, found.as_deref().copied()));
        found
    }

    fn range(&self, key: &Service, side: Side) -> Option<Port> {
        let found = self.tables.range(key, side);
        self.note(Lookup::Range(*key, side, found));
        found
    }

    fn fragment(&self, packet: &Ip, vnet: VnetId) -> Option<Fragment> {
        let found = self.tables.fragment(packet, vnet);
        self.note(Lookup::Fragment(fragment::key(packet, vnet), found));
        found
    }

    fn remember(&self, packet: &Ip, vnet: VnetId, first: Fragment) {
        self.tables.remember(packet, vnet, first);
    }

    fn is_tunnel_port(&self, port: Port) -> bool {
        let found = self.tables.is_tunnel_port(port);
        self.note(Lookup::TunnelPort(port, found));
        found
    }

    fn peer(&self, key: &PeerKey) -> Option<Self::Ref<'_, Peer>> {
        let found = self.tables.peer(key);
        self.note(Lookup::Peer(*key, found.as_deref().copied()));
        found
    }

    fn tunnel(&self, index: TunnelIndex) -> Option<Self::Ref<'_, Path>> {
        let found = self.tables.tunnel(index);
        let copy = found.as_deref().copied().map(Box::new);
        self.note(Lookup::Tunnel(index, copy));
        found
    }

    fn tunnel_to(&self, key: &RouteKey) -> Option<TunnelIndex> {
        let found = self.tables.tunnel_to(key);
        self.note(Lookup::TunnelTo(*key, found));
        found
    }

    fn session(&self, flow: &FlowKey, sight: Option<Sight>) -> Option<Self::Ref<'_, Session>> {
        let found = self.tables.session(flow, sight);
        self.note(Lookup::Session(*flow, found.as_deref().copied()));
        found
    }

    fn set_session(&self, flow: &FlowKey, session: &Session) -> Result<(), Refused> {
        self.tables.set_session(flow, session)
    }

    fn mapping(&self, flow: &FlowKey, sight: Option<Sight>) -> Option<Self::Ref<'_, Mapping>> {
        let found = self.tables.mapping(flow, sight);
        self.note(Lookup::Mapping(*flow, found.as_deref().copied()));
        found
    }

    fn add_mapping(&self, flow: &FlowKey, mapping: &Mapping) -> Result<(), Refused> {
        let done = self.tables.add_mapping(flow, mapping);
        self.note(Lookup::AddMapping(*flow, done));
        done
    }

    fn remove_mapping(&self, flow: &FlowKey) {
        self.tables.remove_mapping(flow);
    }

    fn vlan(&self, ifindex: u32) -> Option<Self::Ref<'_, Vlan>> {
        let found = self.tables.vlan(ifindex);
        self.note(Lookup::Vlan(ifindex, found.as_deref().copied()));
        found
    }

    fn allowance(&self) -> Allowance {
        self.tables.allowance()
    }

    fn set_allowance(&self, left: Allowance) {
        self.tables.set_allowance(left);
    }

    fn tracked(&self, flow: &FlowKey, digest: u64, now: u32, sight: Option<Sight>) -> Option<Kept> {
        let found = self.tables.tracked(flow, digest, now, sight);
        self.note(Lookup::Tracked(*flow, found));
        found
    }

    fn track(&self, flow: &Flow, digest: u64, kept: Kept) -> Recording {
        self.note(Lookup::Track(flow.key, kept));
        self.tables.track(flow, digest, kept)
    }

    fn opening(&self, flow: &FlowKey, digest: u64, now: u32) -> Option<Kept> {
        let found = self.tables.opening(flow, digest, now);
        self.note(Lookup::Opening(*flow, found));
        found
    }

    fn set_opening(&self, flow: &Flow, digest: u64, kept: Kept) -> Recording {
        self.note(Lookup::SetOpening(flow.key, kept));
        self.tables.set_opening(flow, digest, kept)
    }

    fn forget_opening(&self, flow: &FlowKey, digest: u64) {
        self.tables.forget_opening(flow, digest);
    }

    fn count_flow(&self, event: FlowEvent) {
        self.tables.count_flow(event);
    }

    fn flow_allowance(&self) -> Allowance {
        self.tables.flow_allowance()
    }

    fn set_flow_allowance(&self, left: Allowance) {
        self.tables.set_flow_allowance(left);
    }

    fn now_ns(&self) -> u64 {
        self.tables.now_ns()
    }

    fn route(&self, query: &RouteQuery<'_>) -> Route {
        let found = self.tables.route(query);
        self.note(Lookup::Route(query.packet.destination, found));
        found
    }
}
