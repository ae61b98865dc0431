//! Rows at risk, and the flows that are recorded for them.

use lbxdp_ebpf::abi::{
    Address, FlowKey, OriginIndex, Port, ROW_GENERATION, ROW_LOOKUP, SEEN_ESTABLISHED, Seen,
    Tracked, VnetId, capacity,
};
use lbxdp_ebpf::bench::Source;
use lbxdp_ebpf::hash;

use super::Subjects;
use crate::bench::{ORIGINS, ROWS};
use crate::cases::world::{TCP, VIP4, local};

/// How many flows are recorded: as many as there can be with half of the map left.
pub(in crate::bench) const RECORDED: u32 = capacity::FLOWS / 2;
/// How much the number of the origin that a flow is recorded with is above that of its row's owner:
/// it is neither that one nor the owner before.
const RECORDED_WITH: u16 = 2;

impl Subjects {
    /// Lets every row of the listener that was added last, at `port`, have had another owner a short
    /// while ago, and records flows with an origin that is neither.
    pub(super) fn put_at_risk(&mut self, port: u16) {
        let tables = &mut self.world.tables;
        let first_origin = tables.origins.len() as OriginIndex - ORIGINS;
        let after =
            |owner: OriginIndex, steps| first_origin + (owner - first_origin + steps) % ORIGINS;
        let index = tables.tables.len() as u32 - 1;
        let first_row = tables.tables[&index].halves[0];
        for (_, row) in tables.rows.range_mut(first_row..) {
            row.flags = ROW_GENERATION | ROW_LOOKUP;
            row.previous = [after(row.current, 1); 2];
        }
        let service = local(TCP, VIP4, port);
        let hash_key = tables.node.expect("the world has settings").hash_key;
        let listener = tables.listeners[&service].counter;
        let mut recorded = tables.flows.lock();
        for flow in 0..RECORDED {
            let Source { net, host, port } = Source::of_flow(flow);
            let key = FlowKey {
                source: Address::from_v4([192, 0, net, host]),
                destination: service.address,
                source_port: Port::new(port),
                destination_port: service.port,
                vnet: VnetId::LOCAL,
                protocol: TCP,
                ..FlowKey::EMPTY
            };
            let hash = hash::flow_hash(&hash_key, &key);
            let row = tables.rows[&(first_row + hash::reduce(hash, ROWS))];
            let entry = Tracked {
                origin: after(row.current, RECORDED_WITH),
                hash,
                listener,
                seen: Seen {
                    state: SEEN_ESTABLISHED,
                    ..Seen::NEVER
                },
                ..Tracked::EMPTY
            };
            recorded.insert(key, entry);
        }
    }
}
