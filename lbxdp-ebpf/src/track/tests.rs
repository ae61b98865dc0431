use super::*;
use crate::abi::{Address, Allowance, Mode, Node, OriginIndex, Port, Row};
use crate::mem::{MemFrame, MemTables};
use crate::wire::{IPPROTO_TCP, TCP_FIN};

const OLD: OriginIndex = 1;
const NEW: OriginIndex = 2;
/// The row, which `NEW` has, and `OLD` had.
const ROW: u32 = 3;

fn tables() -> MemTables {
    let origin = |identity| Origin {
        mode: Mode::NatPreserve as u8,
        identity,
        ..Origin::EMPTY
    };
    let row = Row {
        previous: [OLD; 2],
        ..Row::owned_by(NEW)
    };
    MemTables {
        node: Some(Node {
            flow_interval_ns: Allowance::FLOW_INTERVAL_NS,
            ..Node::default()
        }),
        origins: [(OLD, origin(11)), (NEW, origin(12))].into(),
        rows: [(ROW, row)].into(),
        ..MemTables::default()
    }
}

/// A segment of a flow in a row that `NEW` has, and `OLD` had.
fn ask(tables: &MemTables, flags: u8, tcp_flags: u8) -> OriginIndex {
    let mut request = Request {
        row: ROW,
        owner: Owner {
            current: NEW,
            flags,
            reserved: 0,
        },
        previous_rows: 7,
        tcp_flags,
        ..Request::EMPTY
    };
    follow(&MemFrame::new(&[]), tables, &flow(), &mut request)
}

fn flow() -> FlowKey {
    FlowKey {
        source: Address::from_v4([192, 0, 2, 1]),
        source_port: Port::new(40_000),
        protocol: IPPROTO_TCP,
        ..FlowKey::EMPTY
    }
}

fn recorded(tables: &MemTables) -> [Option<OriginIndex>; 2] {
    [&tables.flows, &tables.opening].map(|map| map.lock().get(&flow()).map(|entry| entry.origin))
}

const EDITED: u8 = ROW_LOOKUP | ROW_GENERATION;
const REPAIRED: u8 = ROW_LOOKUP | ROW_INSERT;

#[test]
fn a_first_packet_is_recorded_apart_and_moves_over_with_the_next() {
    for flags in [EDITED, REPAIRED] {
        let tables = tables();
        assert_eq!(ask(&tables, flags, TCP_SYN), NEW);
        assert_eq!(recorded(&tables), [None, Some(NEW)]);
        assert_eq!(ask(&tables, flags, TCP_ACK), NEW);
        assert_eq!(recorded(&tables), [Some(NEW), None]);
        assert_eq!(ask(&tables, ROW_LOOKUP, TCP_ACK), NEW);
    }
}

#[test]
fn a_flow_from_before_an_edit_is_recorded_with_the_owner_before() {
    let tables = tables();
    assert_eq!(ask(&tables, EDITED, TCP_ACK), OLD);
    assert_eq!(recorded(&tables), [Some(OLD), None]);
    assert_eq!(ask(&tables, ROW_LOOKUP, TCP_ACK), OLD, "after the window");
    assert_eq!(ask(&tables, ROW_LOOKUP, TCP_ACK | TCP_FIN), OLD);
    assert_eq!(ask(&tables, ROW_LOOKUP, TCP_ACK), OLD, "the last segments");
    assert_eq!(ask(&tables, ROW_LOOKUP, TCP_SYN), NEW, "another connection");
}

#[test]
fn quiet_rows_and_errors_record_nothing() {
    let tables = tables();
    for tcp_flags in [TCP_SYN, TCP_ACK] {
        assert_eq!(ask(&tables, ROW_LOOKUP, tcp_flags), NEW);
    }
    let mut error = Request {
        row: ROW,
        owner: Owner {
            current: NEW,
            flags: EDITED | ROW_INSERT,
            reserved: 0,
        },
        aside: 1,
        ..Request::EMPTY
    };
    let frame = MemFrame::new(&[]);
    assert_eq!(follow(&frame, &tables, &flow(), &mut error), OLD);
    assert_eq!(recorded(&tables), [None, None]);
    // What it is about is recorded: it goes there, and changes nothing.
    ask(&tables, EDITED, TCP_SYN);
    assert_eq!(follow(&frame, &tables, &flow(), &mut error), NEW);
    assert_eq!(recorded(&tables), [None, Some(NEW)]);
}

#[test]
fn a_first_packet_is_forgotten_after_a_while() {
    let tables = tables();
    ask(&tables, EDITED, TCP_SYN);
    for entry in tables.opening.lock().values_mut() {
        // The tables stand at the time of boot.
        entry.seen.tick = 0_u32.wrapping_sub(Kept::OPENING_TICKS);
    }
    assert_eq!(ask(&tables, EDITED, TCP_SYN), NEW);
    for entry in tables.opening.lock().values_mut() {
        entry.seen.tick = 0_u32.wrapping_sub(Kept::OPENING_TICKS + 1);
    }
    assert_eq!(ask(&tables, EDITED, TCP_ACK), OLD);
}

fn with_old(tables: &MemTables, flags: u8) -> MemTables {
    let mut tables = tables.clone();
    if let Some(origin) = tables.origins.get_mut(&OLD) {
        origin.flags = flags;
    }
    tables
}

#[test]
fn a_flow_that_leaves_an_origin_that_is_down_stays_where_it_has_gone() {
    for flags in [ROW_LOOKUP, EDITED, REPAIRED] {
        let tables = tables();
        ask(&tables, EDITED, TCP_ACK);
        assert_eq!(recorded(&tables), [Some(OLD), None]);
        let failed = with_old(&tables, ORIGIN_DOWN);
        assert_eq!(ask(&failed, flags, TCP_ACK), NEW);
        assert_eq!(recorded(&failed), [Some(NEW), None]);
        let back = with_old(&failed, 0);
        assert_eq!(ask(&back, EDITED, TCP_ACK), NEW);
    }
}

#[test]
fn a_flow_that_may_be_new_while_the_owner_before_is_down_stays_where_it_has_gone() {
    let failed = with_old(&tables(), ORIGIN_DOWN);
    assert_eq!(ask(&failed, EDITED, TCP_ACK), NEW);
    assert_eq!(recorded(&failed), [Some(NEW), None]);
    assert_eq!(ask(&with_old(&failed, 0), EDITED, TCP_ACK), NEW);
}

#[test]
fn too_many_flows_are_not_recorded_and_go_where_the_row_says() {
    let mut tables = tables();
    tables.flow_allowance.full_at_ns = u64::MAX;
    assert_eq!(ask(&tables, EDITED, TCP_ACK), OLD);
    assert_eq!(ask(&tables, EDITED, TCP_SYN), NEW);
    assert_eq!(recorded(&tables), [None, None]);
}

#[test]
fn where_a_flood_of_first_packets_has_taken_what_it_may_flows_that_go_on_are_recorded() {
    let mut tables = tables();
    while let Some(left) = tables
        .flow_allowance
        .spend_flow(0, Allowance::FLOW_INTERVAL_NS, true)
    {
        tables.flow_allowance = left;
    }
    assert_eq!(ask(&tables, EDITED, TCP_SYN), NEW);
    assert_eq!(recorded(&tables), [None, None]);
    assert_eq!(ask(&tables, EDITED, TCP_ACK), OLD);
    assert_eq!(recorded(&tables), [Some(OLD), None]);
}
