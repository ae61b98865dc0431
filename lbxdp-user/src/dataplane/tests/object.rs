//! The object in the kernel: loaded, attached to a veth in a network namespace of its own.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use aya::programs::{TestRun, TestRunOptions};
use lbxdp_ebpf::abi::{ORIGIN_DOWN, OriginIndex, Owners, PATH_RESOLVED, Seen, Tracked};
use lbxdp_ebpf::encap::{Shape, Tunnel, prepare};
use lbxdp_ebpf::verdict::Action;
use nix::sched::{CloneFlags, unshare};
use rtnetlink::LinkVeth;

use super::*;
use crate::cli::explain::{Protocol, Question, explain};
use crate::dataplane::netlink::Netlink;

const DEVICE: &str = "lbxE0";

/// Runs a test in a thread with an empty network namespace, which goes with it.
fn in_namespace(test: &'static str, body: fn(&Pins)) {
    let Some(pins) = Pins::new(test) else {
        return;
    };
    if embedded_object().is_none() {
        eprintln!("skipped: {test}: {OBJECT_MISSING}");
        return;
    }
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        make_veth();
        body(&pins);
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn on_netlink<F: Future>(work: impl FnOnce(rtnetlink::Handle) -> F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().unwrap();
        tokio::spawn(connection);
        work(handle).await
    })
}

fn make_veth() {
    let veth = LinkVeth::new(DEVICE, "lbxE1").build();
    on_netlink(|handle| async move { handle.link().add(veth).execute().await.unwrap() });
}

fn delete_veth() {
    let index = ifindex();
    on_netlink(|handle| async move { handle.link().del(index).execute().await.unwrap() });
}

fn ifindex() -> u32 {
    nix::net::if_::if_nametoindex(DEVICE).unwrap()
}

fn attached_programs() -> Vec<u32> {
    let link = Netlink::open().unwrap().link(ifindex()).unwrap();
    link.xdp.into_iter().map(|(_, program)| program).collect()
}

fn attach(dataplane: &mut Dataplane, mode: XdpMode) -> Attachment {
    let mut report = dataplane.attach(&[DEVICE.to_owned()], mode).unwrap();
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    report.attached.remove(0)
}

#[test]
fn a_restarted_agent_takes_over_maps_and_link() {
    in_namespace("a_restarted_agent_takes_over_maps_and_link", |pins| {
        let options = LoadOptions::at(&pins.0);
        let mut first = Dataplane::load(&options).unwrap();
        first.sync(&desired()).unwrap();
        let before = attach(&mut first, XdpMode::Auto);
        assert_eq!(
            (before.mode, &before.fallback),
            (AttachedMode::Native, &None)
        );
        assert_eq!(attached_programs(), [before.program_id]);
        first.heartbeat(1).unwrap();
        assert_eq!(
            attach(&mut first, XdpMode::Auto),
            before,
            "again, nothing changes"
        );
        let left = first.content().clone();
        let link = kernel::link_facts(&links_folder(&pins.0).join(DEVICE)).unwrap();
        drop(first);
        assert_eq!(
            attached_programs(),
            [before.program_id],
            "the data path outlives its agent"
        );

        let mut second = Dataplane::load(&options).unwrap();
        assert_eq!(second.content(), &left);
        assert!(second.sync(&desired()).unwrap().is_empty());
        let after = attach(&mut second, XdpMode::Auto);
        assert_ne!(after.program_id, before.program_id);
        assert_eq!(attached_programs(), [after.program_id]);
        let facts = kernel::link_facts(&links_folder(&pins.0).join(DEVICE)).unwrap();
        assert_eq!(facts.link_id, link.link_id, "the link is the same");

        let report = second.attach(&[], XdpMode::Auto).unwrap();
        assert_eq!(report.detached, [DEVICE]);
        assert!(attached_programs().is_empty(), "not configured any more");
    });
}

#[test]
fn modes_change_and_devices_come_and_go() {
    in_namespace("modes_change_and_devices_come_and_go", |pins| {
        let mut dataplane = Dataplane::load(&LoadOptions::at(&pins.0)).unwrap();
        let native = attach(&mut dataplane, XdpMode::Native);
        assert_eq!(native.mode, AttachedMode::Native);
        let generic = attach(&mut dataplane, XdpMode::Generic);
        assert_eq!(generic.mode, AttachedMode::Generic);
        assert_eq!(
            attach(&mut dataplane, XdpMode::Auto).mode,
            AttachedMode::Generic
        );

        delete_veth();
        let report = dataplane
            .attach(&[DEVICE.to_owned()], XdpMode::Auto)
            .unwrap();
        assert_eq!(report.attached, []);
        let (_, error) = &report.failed[0];
        assert!(error.to_string().contains("no interface lbxE0"), "{error}");
        make_veth();
        let again = attach(&mut dataplane, XdpMode::Auto);
        assert_eq!(again.mode, AttachedMode::Native);
        assert_eq!(
            attached(&pins.0).unwrap(),
            [(DEVICE.to_owned(), ifindex(), again.program_id)]
        );

        let lo = dataplane.attach(&["lo".to_owned()], XdpMode::Auto).unwrap();
        assert_eq!(lo.detached, [DEVICE]);
        assert_eq!(lo.attached[0].mode, AttachedMode::Generic);
        assert!(
            lo.attached[0]
                .fallback
                .as_ref()
                .unwrap()
                .contains("no native XDP")
        );
        let lo = dataplane
            .attach(&["lo".to_owned()], XdpMode::Native)
            .unwrap();
        let (_, error) = &lo.failed[0];
        assert!(
            error.to_string().contains("xdp_mode = \"generic\""),
            "{error}"
        );
    });
}

#[test]
fn what_is_in_the_way_is_named() {
    in_namespace("what_is_in_the_way_is_named", |pins| {
        let mut first = Dataplane::load(&LoadOptions::at(&pins.0)).unwrap();
        let there = attach(&mut first, XdpMode::Auto);
        let other = Pins::new("what_is_in_the_way_is_named").unwrap();
        let mut second = Dataplane::load(&LoadOptions::at(&other.0)).unwrap();
        for mode in [XdpMode::Auto, XdpMode::Generic] {
            let report = second.attach(&[DEVICE.to_owned()], mode).unwrap();
            let text = report.failed[0].1.to_string();
            assert!(text.contains("another XDP program is attached"), "{text}");
            assert!(
                text.contains(&format!("`lbxdp` (program {}", there.program_id)),
                "{text}"
            );
        }
        let detached = detach_all(&pins.0).unwrap();
        assert_eq!(detached.interfaces, [DEVICE]);
        assert!(attached_programs().is_empty());
        drop(first);
    });
}

#[test]
fn pinned_maps_that_are_too_small_grow_with_what_they_hold_and_larger_ones_stay() {
    let test = "pinned_maps_that_are_too_small_grow_with_what_they_hold_and_larger_ones_stay";
    in_namespace(test, |pins| {
        let entries = |name: &str| {
            let map = MapData::from_pin(versioned(&pins.0).join(name)).unwrap();
            map.info().unwrap().max_entries()
        };
        let load = |origins, sessions| {
            let mut options = LoadOptions::at(&pins.0);
            options.max_entries.insert("ORIGINS", origins);
            options.max_entries.insert("SESSIONS", sessions);
            Dataplane::load(&options).unwrap()
        };
        let mut small = load(100, 1_000);
        small.sync(&desired()).unwrap();
        let content = small.content().clone();
        small.attach(&[DEVICE.to_owned()], XdpMode::Auto).unwrap();
        assert_eq!(small.limits().origins, 100);

        // Loaded, but not attached: all that is pinned is still that of the program in force.
        let mut large = load(20_000, 2_000);
        assert_eq!(large.limits().origins, 20_000);
        assert_eq!(*large.content(), content, "what they hold is copied");
        assert_eq!((entries("ORIGINS"), entries("SESSIONS")), (100, 1_000));
        // An agent that ends here leaves nothing in the way of the next.
        drop(large);
        large = load(20_000, 2_000);
        assert_eq!(*large.content(), content);
        large.attach(&[DEVICE.to_owned()], XdpMode::Auto).unwrap();
        assert_eq!(entries("ORIGINS"), 20_000);
        assert_eq!(entries("SESSIONS"), 1_000, "flows are not lost");
        assert!(!versioned(&pins.0).join("next").exists());
        assert_eq!(MapWriter::open(&pins.0).unwrap().content(), &content);
        assert!(large.sync(&desired()).unwrap().is_empty());

        let again = load(50, 1_000);
        assert_eq!(again.limits().origins, 20_000);
        assert_eq!(*again.content(), content);
    });
}

/// What each packet needs of the rows in force is what the rows say.
fn assert_owners(dataplane: &Dataplane) {
    for Published { table, rows } in dataplane.content().tables.values() {
        let first = table.first_row();
        for (index, row) in (first..).zip(rows.iter()) {
            let (entry, _) = Owners::place(index);
            let owners = dataplane.maps().owners.get(&entry, 0).unwrap();
            assert_eq!(owners.of(index), row.owner(), "row {index}");
        }
    }
}

/// Tables with odd numbers of rows share entries, in any order of writing.
#[test]
fn the_owners_of_each_table_are_those_of_its_rows() {
    in_namespace("the_owners_of_each_table_are_those_of_its_rows", |pins| {
        let mut dataplane = Dataplane::load(&LoadOptions::at(&pins.0)).unwrap();
        let mut desired = desired();
        let owners: Vec<OriginIndex> = desired.origins.keys().copied().collect();
        let rows = |count: usize, shift: usize| {
            let owners = owners.iter().cycle().skip(shift);
            TableRows::publish(
                owners
                    .map(|owner| Row::owned_by(*owner))
                    .take(count)
                    .collect(),
            )
        };
        for shift in 0..4 {
            for (index, count) in [(1, 5), (2, 1), (3, 4), (4, 7)] {
                desired.tables.insert(index, rows(count, shift));
            }
            dataplane.sync(&desired).unwrap();
            assert_eq!(dataplane.content().tables.len(), desired.tables.len());
            assert_owners(&dataplane);
        }
    });
}

/// In version 4 recorded flows stood in hash maps.
#[test]
fn all_that_version_4_holds_is_taken_over_with_its_recorded_flows() {
    let test = "all_that_version_4_holds_is_taken_over_with_its_recorded_flows";
    in_namespace(test, |pins| {
        let mut first = Dataplane::load(&LoadOptions::at(&pins.0)).unwrap();
        first.sync(&desired()).unwrap();
        first.attach(&[DEVICE.to_owned()], XdpMode::Auto).unwrap();
        let content = first.content().clone();
        let (slot, origin) = content.origins.first_key_value().unwrap();
        let folder = versioned(&pins.0);
        let before = pins.0.join("v4");
        std::fs::rename(&folder, &before).unwrap();
        for name in ["FLOWS", "FLOW_KEYS", "OPENING", "FLOW_COUNTERS", "OWNERS"] {
            std::fs::remove_file(before.join(name)).unwrap();
        }
        let flow = |port| FlowKey {
            source_port: Port::new(port),
            ..FlowKey::EMPTY
        };
        for name in ["FLOWS", "OPENING"] {
            let mut map = HashMap::<MapData, FlowKey, [u32; 6]>::create(10, 0).unwrap();
            for (port, identity) in [(1, origin.identity), (2, !origin.identity)] {
                let entry = [u32::from(*slot), identity, 77, 3, 1_000_000, 2];
                map.insert(flow(port), entry, 0).unwrap();
            }
            map.pin(before.join(name)).unwrap();
        }
        drop(first);

        let mut second = Dataplane::load(&LoadOptions::at(&pins.0)).unwrap();
        assert!(second.other_version_runs().unwrap());
        assert_eq!(*second.content(), content);
        assert!(second.sync(&desired()).unwrap().is_empty());
        second.attach(&[DEVICE.to_owned()], XdpMode::Auto).unwrap();
        assert!(!before.exists());
        let maps = second.maps();
        assert_owners(&second);
        let recorded = maps.flow_table().unwrap().entries(1_000_100).unwrap();
        let expected = Tracked {
            origin: *slot,
            identity: origin.identity,
            hash: 77,
            listener: 3,
            seen: Seen {
                tick: 1_000_000,
                state: 2,
                ..Seen::NEVER
            },
        };
        let tracked = |recorded: &Recorded| {
            let flow = recorded.flow.unwrap();
            (flow.key, Tracked::of(&flow, recorded.kept))
        };
        let all: Vec<_> = recorded.iter().map(tracked).collect();
        assert_eq!(all, [(flow(1), expected)], "the other origin is gone");
        let opening = maps.opening_table().unwrap();
        assert!(opening.get(&flow(1), 1_000_100).unwrap().is_some());
        assert!(opening.get(&flow(2), 1_000_100).unwrap().is_none());
    });
}

/// In version 5 the program put flows into their second sets without a word.
#[test]
fn all_that_version_5_holds_is_taken_over_and_its_recorded_flows_into_a_table_of_their_own() {
    let test =
        "all_that_version_5_holds_is_taken_over_and_its_recorded_flows_into_a_table_of_their_own";
    in_namespace(test, |pins| {
        let mut first = Dataplane::load(&LoadOptions::at(&pins.0)).unwrap();
        first.sync(&desired()).unwrap();
        attach(&mut first, XdpMode::Auto);
        let content = first.content().clone();
        let (slot, origin) = content.origins.first_key_value().unwrap();
        let flow = |port| FlowKey {
            source_port: Port::new(port),
            ..FlowKey::EMPTY
        };
        let tracked = Tracked {
            origin: *slot,
            identity: origin.identity,
            hash: 77,
            listener: 3,
            seen: Seen {
                tick: Seen::tick_of(monotonic_ns().unwrap()) & !1,
                state: 2,
                ..Seen::NEVER
            },
        };
        let other = Tracked {
            identity: !origin.identity,
            ..tracked
        };
        let opened = Tracked {
            origin: Origin::NONE,
            ..tracked
        };
        let record = |table: FlowTable<'_>| {
            for (port, tracked) in [(1, tracked), (2, other), (3, opened)] {
                table.record(flow(port), &tracked);
            }
        };
        record(first.maps().flow_table().unwrap());
        record(first.maps().opening_table().unwrap());
        let before = pins.0.join("v5");
        std::fs::rename(versioned(&pins.0), &before).unwrap();

        let mut second = Dataplane::load(&LoadOptions::at(&pins.0)).unwrap();
        assert!(second.other_version_runs().unwrap());
        assert_eq!(*second.content(), content);
        assert!(second.sync(&desired()).unwrap().is_empty());
        let recorded = |dataplane: &Dataplane| {
            let table = dataplane.maps().flow_table().unwrap();
            let entries = table.entries(tracked.seen.tick).unwrap();
            let mut flows: Vec<_> = entries
                .into_iter()
                .map(|recorded| {
                    let flow = recorded.flow.unwrap();
                    (flow.key.source_port, Tracked::of(&flow, recorded.kept))
                })
                .collect();
            flows.sort_by_key(|(port, _)| port.get());
            flows
        };
        assert_eq!(recorded(&second), [], "the table is another");
        attach(&mut second, XdpMode::Auto);
        assert!(!before.exists());
        let expected = [(Port::new(1), tracked), (Port::new(3), opened)];
        assert_eq!(recorded(&second), expected, "the other origin is gone");
        let opening = second.maps().opening_table().unwrap();
        assert!(opening.get(&flow(1), 0).unwrap().is_some());
    });
}

/// Of an origin whose slot is given to another nothing stays recorded.
#[test]
fn flows_of_an_origin_that_is_gone_are_not_those_of_the_next() {
    let test = "flows_of_an_origin_that_is_gone_are_not_those_of_the_next";
    in_namespace(test, |pins| {
        let mut dataplane = Dataplane::load(&LoadOptions::at(&pins.0)).unwrap();
        let mut desired = desired();
        dataplane.sync(&desired).unwrap();
        let slots: Vec<OriginIndex> = desired.origins.keys().copied().collect();
        for (port, slot) in (1..).zip(&slots) {
            let key = FlowKey {
                source_port: Port::new(port),
                ..FlowKey::EMPTY
            };
            let tracked = Tracked {
                origin: *slot,
                identity: desired.origins[slot].identity,
                ..Tracked::EMPTY
            };
            for table in [
                dataplane.maps().flow_table(),
                dataplane.maps().opening_table(),
            ] {
                table.unwrap().record(key, &tracked);
            }
        }
        let recorded = |dataplane: &Dataplane| -> Vec<Vec<OriginIndex>> {
            let maps = dataplane.maps();
            [maps.flow_table(), maps.opening_table()]
                .map(|table| {
                    let entries = table.unwrap().entries(0).unwrap().into_iter();
                    let mut slots: Vec<_> = entries.map(|entry| entry.kept.origin).collect();
                    slots.sort_unstable();
                    slots
                })
                .to_vec()
        };
        assert_eq!(recorded(&dataplane), [slots.clone(), slots.clone()]);
        // The state of an origin is no reason; its being another is.
        for origin in desired.origins.values_mut() {
            origin.flags |= ORIGIN_DOWN;
        }
        dataplane.sync(&desired).unwrap();
        assert_eq!(recorded(&dataplane), [slots.clone(), slots.clone()]);
        desired.origins.get_mut(&slots[0]).unwrap().identity += 1;
        dataplane.sync(&desired).unwrap();
        let left = slots[1..].to_vec();
        assert_eq!(recorded(&dataplane), [left.clone(), left]);
    });
}

#[test]
fn every_map_is_as_the_object_declares_it() {
    in_namespace("every_map_is_as_the_object_declares_it", |pins| {
        let dataplane = Dataplane::load(&LoadOptions::at(&pins.0)).unwrap();
        for spec in MAPS.iter().chain([&programs::PROGRAMS]) {
            let map = MapData::from_pin(versioned(&pins.0).join(spec.name)).unwrap();
            let info = map.info().unwrap();
            assert_eq!(info.map_type().unwrap(), spec.kind, "{}", spec.name);
            assert_eq!(info.key_size(), spec.key_size, "{}", spec.name);
            assert_eq!(info.value_size(), spec.value_size, "{}", spec.name);
            assert_eq!(info.max_entries(), spec.max_entries, "{}", spec.name);
        }
        drop(dataplane);
    });
}

#[test]
fn the_whole_program_is_called_with_no_agent_left() {
    in_namespace("the_whole_program_is_called_with_no_agent_left", |pins| {
        let options = LoadOptions::at(&pins.0);
        let mut agent = Dataplane::load(&options).unwrap();
        agent.sync(&desired()).unwrap();
        attach(&mut agent, XdpMode::Auto);
        drop(agent);
        ip(&format!("link set {DEVICE} up"));
        ip("link set lbxE1 up");
        ip("addr add 192.0.2.1/24 dev lbxE1");
        let counted = |reason| {
            let maps = LiveMaps::open(&pins.0).unwrap();
            maps.counters([].iter()).unwrap().reasons[&reason].packets
        };
        // The other end asks for a neighbour by ARP, of which the quick way knows nothing.
        let socket = UdpSocket::bind("192.0.2.1:0").unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while counted(Reason::NotIp) == 0 {
            assert!(Instant::now() < deadline, "no packet is not IP");
            socket.send_to(b"?", "192.0.2.9:9").unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(counted(Reason::NotConfigured), 0);
    });
}

#[test]
fn an_agent_that_logs_packets_attaches_the_whole_program() {
    in_namespace(
        "an_agent_that_logs_packets_attaches_the_whole_program",
        |pins| {
            let mut options = LoadOptions::at(&pins.0);
            options.trace_packets = true;
            let mut agent = Dataplane::load(&options).unwrap();
            let attached = attach(&mut agent, XdpMode::Auto).program_id;
            let whole = programs::program(&mut agent.ebpf, "lbxdp_whole").unwrap();
            assert_eq!(attached, whole.info().unwrap().id());
        },
    );
}

#[test]
fn explain_says_what_the_kernel_does() {
    in_namespace("explain_says_what_the_kernel_does", |pins| {
        let mut dataplane = Dataplane::load(&LoadOptions::at(&pins.0)).unwrap();
        let mut state = desired();
        let mut path = prepare(&Tunnel {
            source: [203, 0, 113, 1].into(),
            destination: [203, 0, 113, 2].into(),
            ttl: Some(64),
            dscp: Some(0),
            source_entropy: false,
            udp_checksum: false,
            shape: Shape::Gue { port: 6080 },
        })
        .unwrap();
        path.flags |= PATH_RESOLVED;
        path.mtu = 1460;
        path.tunnel = 2;
        path.ifindex = ifindex();
        state.tunnels.insert(2, path);
        for origin in state.origins.values_mut() {
            origin.path = path;
        }
        dataplane.sync(&state).unwrap();

        let content = dataplane.maps().content().unwrap();
        let names = Names::new(content.entities.clone());
        let mut forwarded = 0;
        for (port, to) in (40_000..).zip([80, 80, 80, 81]) {
            let question = Question {
                protocol: Protocol::Tcp,
                source: SocketAddr::from(([192, 0, 2, 1], port)),
                destination: SocketAddr::from(([198, 51, 100, 10], to)),
                size: Some(100),
                ttl: 64,
                flags: "SYN".parse().unwrap(),
                // `BPF_PROG_TEST_RUN` has packets come in by `lo`.
                ingress: 1,
                mac: [2; 6],
            };
            let maps = LiveMaps::open(&pins.0).unwrap();
            let tables = LiveTables::new(&maps).unwrap();
            let told = explain(&question, VnetId::LOCAL, &content, &names, &tables).unwrap();

            let packet = question.frame().unwrap();
            let mut out = vec![0; packet.len() + 256];
            let program = programs::program(&mut dataplane.ebpf, dataplane.attached).unwrap();
            let result = program
                .test_run(TestRunOptions {
                    data_in: Some(&packet),
                    data_out: Some(&mut out),
                    repeat: 1,
                    ..TestRunOptions::default()
                })
                .unwrap();
            // `enum xdp_action`.
            let action = match told.verdict.action {
                Action::Drop => 1,
                Action::Pass | Action::HandOver(_) => 2,
                Action::Transmit => 3,
                Action::Redirect(_) => 4,
            };
            assert_eq!(result.return_value, action, "{:?}", told.verdict);
            assert_eq!(out[..result.data_size_out as usize], told.frame);
            forwarded += usize::from(told.is_forwarded());
        }
        assert_eq!(forwarded, 3);
        let counters = dataplane.counters().unwrap();
        assert_eq!(counters.reasons[&Reason::ForwardNatTunnel].packets, 3);
        assert_eq!(counters.reasons[&Reason::NoListener].packets, 1);
        let origins: u64 = counters
            .origins
            .values()
            .map(|traffic| traffic.forward.packets)
            .sum();
        assert_eq!(origins, 3);
    });
}

/// Runs `ip`, in the namespace of this thread.
fn ip(arguments: &str) {
    let words = arguments.split_whitespace();
    let status = std::process::Command::new("ip")
        .args(words)
        .status()
        .unwrap();
    assert!(status.success(), "ip {arguments}");
}

fn forwarding(family: &str, on: bool) {
    let path = format!("/proc/sys/net/{family}/conf/lo/forwarding");
    fs::write(path, if on { "1" } else { "0" }).unwrap();
}

/// What the program and `explain` make of an answer of an origin in the node's own network.
fn answer_to(dataplane: &mut Dataplane, from: SocketAddr, client: SocketAddr, size: u16) -> Reason {
    let question = Question {
        protocol: Protocol::Tcp,
        source: from,
        destination: client,
        size: Some(size),
        ttl: 64,
        flags: "SYN,ACK".parse().unwrap(),
        ingress: 1,
        mac: [2; 6],
    };
    let content = dataplane.content().clone();
    let maps = LiveMaps::open(dataplane.pin_path()).unwrap();
    let tables = LiveTables::new(&maps).unwrap();
    let told = explain(
        &question,
        VnetId::LOCAL,
        &content,
        &Names::default(),
        &tables,
    )
    .unwrap();
    assert_eq!(tables.failures(), Vec::<String>::new());

    let before = dataplane.counters().unwrap();
    let packet = question.frame().unwrap();
    let mut out = vec![0; packet.len() + 256];
    let program = programs::program(&mut dataplane.ebpf, dataplane.attached).unwrap();
    let result = program
        .test_run(TestRunOptions {
            data_in: Some(&packet),
            data_out: Some(&mut out),
            repeat: 1,
            ..TestRunOptions::default()
        })
        .unwrap();
    let after = dataplane.counters().unwrap();
    let done: Vec<Reason> = Reason::ALL
        .iter()
        .copied()
        .filter(|reason| after.reasons[reason] != before.reasons[reason])
        .collect();
    assert_eq!(
        done,
        [told.verdict.reason],
        "the kernel's reason, and the one that is told"
    );
    assert_eq!(out[..result.data_size_out as usize], told.frame);
    told.verdict.reason
}

#[test]
fn routes_are_told_as_the_kernel_takes_them() {
    in_namespace("routes_are_told_as_the_kernel_takes_them", |pins| {
        ip("link set lo up");
        ip(&format!("link set {DEVICE} up"));
        ip("link set lbxE1 up");
        ip(&format!("addr add 192.0.2.1/24 dev {DEVICE}"));
        ip(&format!("addr add 2001:db8::1/64 dev {DEVICE} nodad"));
        let neighbour = |address: &str| {
            ip(&format!(
                "neigh replace {address} lladdr 02:00:00:00:00:aa dev {DEVICE} nud permanent"
            ));
        };
        neighbour("192.0.2.9");
        neighbour("2001:db8::9");
        ip("route add 203.0.113.0/24 via 192.0.2.9");
        ip("route add blackhole 198.18.0.0/24");
        ip("route add unreachable 198.18.1.0/24");

        let mut dataplane = Dataplane::load(&LoadOptions::at(&pins.0)).unwrap();
        let mut state = desired();
        let v6 = |text: &str| Address::from(text.parse::<std::net::Ipv6Addr>().unwrap());
        let mut reverse = state.reverse[&service(11)];
        let key = Service {
            address: v6("2001:db8:1::11"),
            ..service(11)
        };
        reverse.address = v6("2001:db8:2::10");
        state.reverse.insert(key, reverse);
        dataplane.sync(&state).unwrap();

        let from_v4: SocketAddr = "198.51.100.11:80".parse().unwrap();
        let from_v6: SocketAddr = "[2001:db8:1::11]:80".parse().unwrap();
        let mut to = |client: &str, size| {
            let client: SocketAddr = client.parse().unwrap();
            let from = if client.is_ipv4() { from_v4 } else { from_v6 };
            answer_to(&mut dataplane, from, client, size)
        };
        forwarding("ipv4", false);
        assert_eq!(to("203.0.113.5:4000", 100), Reason::ReplyNoForwarding);
        forwarding("ipv4", true);
        forwarding("ipv6", true);
        assert_eq!(to("203.0.113.5:4000", 100), Reason::ReplyNat);
        assert_eq!(to("192.0.2.9:4000", 100), Reason::ReplyNat);
        assert_eq!(to("192.0.2.77:4000", 100), Reason::ReplyNoNeighbour);
        assert_eq!(to("203.0.113.5:4000", 1501), Reason::TooBigAnswered);
        assert_eq!(to("192.0.2.1:4000", 100), Reason::ReplyToNode);
        assert_eq!(to("198.18.0.1:4000", 100), Reason::NoReplyRoute);
        assert_eq!(to("198.18.1.1:4000", 100), Reason::NoReplyRoute);
        assert_eq!(
            to("198.19.0.1:4000", 100),
            Reason::ReplyToNode,
            "no route at all"
        );
        assert_eq!(to("[2001:db8::9]:4000", 100), Reason::ReplyNat);
        assert_eq!(to("[2001:db8::77]:4000", 100), Reason::ReplyNoNeighbour);
        assert_eq!(to("[2001:db8::9]:4000", 1501), Reason::TooBigAnswered);
        assert_eq!(to("[2001:db8::1]:4000", 100), Reason::ReplyToNode);
        let nowhere = to("[2001:db8:ffff::1]:4000", 100);
        assert_eq!(nowhere, Reason::ReplyToNode, "no route at all");

        // The VIP is an address of the node, and answers to it come in where rp_filter looks.
        ip(&format!("addr add 198.51.100.10/32 dev {DEVICE}"));
        fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "1").unwrap();
        assert_eq!(to("203.0.113.5:4000", 100), Reason::ReplyNat);
        assert_eq!(to("192.0.2.1:4000", 100), Reason::ReplyToNode);
    });
}
