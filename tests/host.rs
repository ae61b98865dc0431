//! The fixture table and properties of the packet path, on the host.

#[path = "host/consistency.rs"]
mod consistency;
#[path = "host/isolation.rs"]
mod isolation;

use std::collections::{BTreeMap, BTreeSet};

use lbxdp_ebpf::abi::{
    Encapsulation, PATH_GRE_CHECKSUM, PATH_GRE_KEY, PATH_INNER_ETHERNET, PATH_RESOLVED,
    PATH_SOURCE_ENTROPY, PATH_UDP_CHECKSUM,
};
use lbxdp_ebpf::encap::{InnerEthernet, Shape, prepare};
use lbxdp_ebpf::mem::MemFrame;
use lbxdp_ebpf::track::FlowEvent;
use lbxdp_ebpf::verdict::Reason;
use proptest::prelude::*;
use tests::cases;
use tests::cases::tunnel::{INNER_FAR_MAC, INNER_NODE_MAC, KINDS, Tunnel};
use tests::cases::world::{
    BLUE, ETH0, ORIGIN_PORT, ORIGIN4, ORIGIN6, TCP, UDP, VIP_PORT, World, from_hop, from_router,
    inside, local, nat, plain, to_hop, vip_like,
};
use tests::cases::{Case, Hook};
use tests::engine::{Outcome, host};
use tests::fuzz::{oracle, quick, regression};
use tests::packet::Packet;
use tests::packet::judge::{Fault, judge};

#[test]
fn every_case_ends_as_its_sentence_says() {
    let cases = cases::all();
    let faults: Vec<String> = cases
        .iter()
        .filter_map(|case| host::run(case).check(case).err())
        .collect();
    let mut themes: BTreeMap<&str, usize> = BTreeMap::new();
    for case in &cases {
        *themes.entry(case.theme).or_default() += 1;
    }
    println!("{} cases: {themes:?}", cases.len());
    assert!(
        faults.is_empty(),
        "{} of {} cases fail:\n{}",
        faults.len(),
        cases.len(),
        faults.join("\n")
    );
    assert!(cases.len() >= 350, "the table has {} cases", cases.len());
}

#[test]
fn the_quick_way_ends_as_the_whole_one_or_declines() {
    let mut faults = Vec::new();
    let mut quick: BTreeMap<Reason, usize> = BTreeMap::new();
    let mut events = BTreeSet::new();
    for case in cases::all().iter().filter(|case| case.hook == Hook::Xdp) {
        match host::run_quickly(case) {
            Ok(None) => {}
            Ok(Some(outcome)) => {
                *quick.entry(outcome.reason).or_default() += 1;
                events.extend(outcome.flows.events.keys().copied());
                let whole = host::run(case);
                if outcome != whole {
                    faults.push(format!(
                        "{case}\n    quick {outcome:?}\n    whole {whole:?}"
                    ));
                }
            }
            Err(fault) => faults.push(format!("{case}\n    {fault}")),
        }
    }
    println!("cases that go the quick way: {quick:?}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let ends: Vec<Reason> = quick.into_keys().collect();
    let wanted = [
        Reason::NoListener,
        Reason::NoHeadroom,
        Reason::ForwardDsr,
        Reason::ForwardDsrL2,
        Reason::ForwardNat,
        Reason::ForwardNatTunnel,
        Reason::ReplyNat,
    ];
    assert_eq!(ends, wanted);
    let all = [
        FlowEvent::Hit,
        FlowEvent::Inserted,
        FlowEvent::Opened,
        FlowEvent::Refused,
    ];
    assert_eq!(events, all.into());
}

#[test]
fn mutated_frames_end_the_quick_way_as_the_whole_one() {
    const BATCHES: u64 = 100;
    let report = quick::run(7, BATCHES);
    println!("{} frames went the quick way", report.quick);
    assert!(report.faults.is_empty(), "{}", report.faults.join("\n"));
    assert!(report.quick > BATCHES, "{} frames", report.quick);
}

#[test]
fn sentences_are_unique() {
    let mut seen = BTreeMap::new();
    for case in cases::all() {
        let before = seen.insert(case.to_string(), ());
        assert!(before.is_none(), "twice: {case}");
    }
}

#[test]
fn every_reason_has_a_case() {
    let cases = cases::all();
    let missing: Vec<&Reason> = Reason::ALL
        .iter()
        .filter(|reason| !cases.iter().any(|case| case.expect.reason == **reason))
        .collect();
    assert!(missing.is_empty(), "no case ends in {missing:?}");
}

#[test]
fn expected_packets_are_right_in_the_judges_eyes() {
    for case in cases::all() {
        let Some(out) = &case.expect.out else {
            continue;
        };
        let before = judge(&case.with_ethernet(&case.packet.bytes()));
        let after = judge(&out.bytes());
        // Remote checksum offload: what comes in unfinished leaves right.
        let finished = case.theme == "gue" && matches!(before, Err(Fault::Checksum(_)));
        assert_eq!(
            before.is_ok() || finished,
            after.is_ok(),
            "{case}: {before:?}, then {after:?}"
        );
    }
}

#[test]
fn the_agent_prepares_the_headers_that_cases_write_by_hand() {
    for (kind, flags) in variants() {
        for tunnel in Tunnel::both(kind) {
            let by_hand = tunnel.clone().with(flags).path();
            let prepared = prepare(&parameters(&tunnel, flags)).expect("a valid tunnel");
            assert_eq!(
                (prepared.header, prepared.header_len, prepared.header_sum),
                (by_hand.header, by_hand.header_len, by_hand.header_sum),
                "{} with flags {flags:#x}",
                tunnel.name()
            );
            assert_eq!(prepared.flags | PATH_RESOLVED, by_hand.flags);
            assert_eq!(prepared.encapsulation, by_hand.encapsulation);
            assert_eq!(prepared.outer, by_hand.outer);
        }
    }
}

#[test]
fn what_was_once_wrong_keeps_its_promises() {
    let regressions = regression::all().expect("all regressions can be read");
    let faults: Vec<String> = regressions
        .iter()
        .filter_map(|it| {
            let outcome = host::run_frame(&it.frame, &it.case.world.tables, it.case.ingress);
            let fault = oracle::check(&it.frame, &outcome).err()?;
            Some(format!("{}: {fault}", it.name))
        })
        .collect();
    println!("{} regressions", regressions.len());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4_000,
        // What fails becomes a case of the table.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_bytes_end_somewhere(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        case in 0_usize..10_000,
    ) {
        let cases = table();
        let case = &cases[case % cases.len()];
        keeps_its_promises(case, &bytes)?;
    }

    #[test]
    fn mutated_packets_keep_what_is_promised(
        case in 0_usize..10_000,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let cases = table();
        let case = &cases[case % cases.len()];
        let mut frame = case.packet.bytes();
        for (at, value) in &changes {
            let at = at.index(frame.len());
            frame[at] = *value;
        }
        if let Some(cut) = cut {
            frame.truncate(cut.index(frame.len()));
        }
        keeps_its_promises(case, &frame)?;
    }

    #[test]
    fn what_goes_into_a_tunnel_comes_out_of_it(
        (kind, flags) in prop::sample::select(variants()),
        over_v6: bool,
        v6: bool,
        udp: bool,
        client in any::<u16>(),
        port in any::<u16>(),
        ttl in 3_u8..,
        tos: u8,
        payload in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let [over_4, over_6] = Tunnel::both(kind);
        // With entropy in its source address a packet comes from no single peer.
        prop_assume!(flags & PATH_SOURCE_ENTROPY == 0);
        let there = if over_v6 { over_6 } else { over_4 }.with(flags);
        let back = Tunnel::between(kind, there.remote, there.local).with(flags);
        let [high, low] = client.to_be_bytes();
        let (client, origin) = if v6 {
            (format!("2001:db8:c0::{client:x}"), ORIGIN6)
        } else {
            (format!("192.0.{high}.{low}"), ORIGIN4)
        };
        let vip = vip_like(origin);
        let protocol = if udp { UDP } else { TCP };
        let packet = |frame: Packet, ttl: u8| {
            let packet = frame.ip(&client, vip).ttl(ttl).tos(tos);
            let packet = if udp { packet.udp(port, VIP_PORT) } else { packet.tcp(port, VIP_PORT) };
            packet.payload(&payload)
        };
        // One node sends into the tunnel; at its far end another offers the origin's address
        // inside, and undoes the rewriting.
        let sender = World::new()
            .serve(local(protocol, vip, VIP_PORT), &[nat(origin, ORIGIN_PORT, BLUE, there.path())])
            .tunnel(&there, BLUE);
        let receiver = World::new()
            .serve(
                inside(BLUE, protocol, origin, ORIGIN_PORT),
                &[nat(vip, VIP_PORT, BLUE, plain())],
            )
            .tunnel(&back, BLUE);
        let before = packet(from_router(), ttl).bytes();
        let between = host::run_frame(&before, &sender.tables, ETH0);
        prop_assert_eq!(between.reason, Reason::ForwardNatTunnel);
        prop_assert!(judge(&between.frame).is_ok(), "{:?}", judge(&between.frame));
        let after = host::run_frame(&between.frame, &receiver.tables, ETH0);
        prop_assert_eq!(after.reason, Reason::ForwardNat);
        prop_assert_eq!(after.frame, packet(to_hop(), ttl - 2).bytes());
    }

    #[test]
    fn an_answer_undoes_what_its_request_went_through(
        v6: bool,
        udp: bool,
        client in any::<u8>(),
        port in 1_u16..,
        payload in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let (client, origin) = if v6 {
            (format!("2001:db8:c0::{client:x}"), ORIGIN6)
        } else {
            (format!("192.0.2.{client}"), ORIGIN4)
        };
        let vip = vip_like(origin);
        let protocol = if udp { UDP } else { TCP };
        let listener = local(protocol, vip, VIP_PORT);
        let world = World::new()
            .serve(listener, &[nat(origin, ORIGIN_PORT, Default::default(), plain())])
            .answers(local(protocol, origin, ORIGIN_PORT), listener);
        let packet = |frame: Packet, from: (&str, u16), to: (&str, u16)| {
            let packet = frame.ip(from.0, to.0);
            let packet = if udp { packet.udp(from.1, to.1) } else { packet.tcp(from.1, to.1) };
            packet.payload(&payload)
        };
        let request = packet(from_router(), (&client, port), (vip, VIP_PORT)).bytes();
        let sent = host::run_frame(&request, &world.tables, ETH0);
        prop_assert_eq!(sent.reason, Reason::ForwardNat);
        let answer = packet(from_hop(), (origin, ORIGIN_PORT), (&client, port)).bytes();
        let answered = host::run_frame(&answer, &world.tables, ETH0);
        prop_assert_eq!(answered.reason, Reason::ReplyNat);
        let seen = packet(tests::cases::world::to_router(), (vip, VIP_PORT), (&client, port));
        prop_assert_eq!(answered.frame, seen.ttl(63).bytes());
    }
}

/// The table, made once.
fn table() -> &'static [Case] {
    thread_local!(static TABLE: &'static [Case] = cases::all().leak());
    TABLE.with(|table| *table)
}

/// What holds for every frame.
fn keeps_its_promises(case: &Case, frame: &[u8]) -> Result<(), TestCaseError> {
    let outcome = host::run_frame_at(case.hook, frame, &case.world.tables, case.ingress);
    if case.hook == Hook::Xdp {
        let tables = &case.world.tables;
        let quick = host::run_frame_quickly(MemFrame::new(frame), tables, case.ingress);
        if let Some(quick) = quick.map_err(TestCaseError::fail)? {
            prop_assert_eq!(&quick, &outcome, "the quick way, and the whole one");
        }
    }
    let outcome = match outcome.reason.direction() {
        // As it came, with what the dissector needs.
        None => Outcome {
            frame: case.with_ethernet(&outcome.frame),
            ..outcome
        },
        Some(_) => outcome,
    };
    oracle::check(&case.with_ethernet(frame), &outcome).map_err(TestCaseError::fail)
}

/// Every kind with every combination of flags that means something to it.
fn variants() -> Vec<(Encapsulation, u8)> {
    let flags = |kind| -> &[u8] {
        match kind {
            Encapsulation::None | Encapsulation::Device => &[],
            Encapsulation::IpIp => &[0, PATH_SOURCE_ENTROPY],
            Encapsulation::Gre => &[
                0,
                PATH_SOURCE_ENTROPY,
                PATH_GRE_KEY,
                PATH_GRE_CHECKSUM,
                PATH_GRE_KEY | PATH_GRE_CHECKSUM,
            ],
            Encapsulation::Fou | Encapsulation::Gue | Encapsulation::Vxlan => {
                &[0, PATH_UDP_CHECKSUM]
            }
            Encapsulation::Geneve => &[
                0,
                PATH_UDP_CHECKSUM,
                PATH_INNER_ETHERNET,
                PATH_INNER_ETHERNET | PATH_UDP_CHECKSUM,
            ],
        }
    };
    KINDS
        .iter()
        .flat_map(|kind| flags(*kind).iter().map(|flags| (*kind, *flags)))
        .collect()
}

/// The same tunnel as the agent describes it.
fn parameters(tunnel: &Tunnel, flags: u8) -> lbxdp_ebpf::encap::Tunnel {
    let inner = InnerEthernet {
        destination: INNER_FAR_MAC,
        source: INNER_NODE_MAC,
    };
    let port = tunnel.udp_port;
    lbxdp_ebpf::encap::Tunnel {
        source: tunnel.local.parse().expect("an address"),
        destination: tunnel.remote.parse().expect("an address"),
        ttl: Some(64),
        dscp: Some(0),
        source_entropy: flags & PATH_SOURCE_ENTROPY != 0,
        udp_checksum: flags & PATH_UDP_CHECKSUM != 0,
        shape: match tunnel.kind {
            Encapsulation::None | Encapsulation::Device | Encapsulation::IpIp => Shape::IpIp,
            Encapsulation::Gre => Shape::Gre {
                key: (flags & PATH_GRE_KEY != 0).then_some(tunnel.vni),
                checksum: flags & PATH_GRE_CHECKSUM != 0,
            },
            Encapsulation::Fou => Shape::Fou { port },
            Encapsulation::Gue => Shape::Gue { port },
            Encapsulation::Vxlan => Shape::Vxlan {
                vni: tunnel.vni,
                port,
                inner,
            },
            Encapsulation::Geneve => Shape::Geneve {
                vni: tunnel.vni,
                port,
                inner: (flags & PATH_INNER_ETHERNET != 0).then_some(inner),
            },
        },
    }
}
