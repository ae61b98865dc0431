//! The fixture table in the kernel: the verifier accepts the program, and it does with every
//! packet what the host does. Needs root.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lbxdp_ebpf::mem::MemFrame;
use lbxdp_ebpf::verdict::Action;
use tests::bench::{self, Effort, e2e};
use tests::cases::world::ETH0;
use tests::cases::{self, Case};
use tests::engine::kernel::{self, Kernel};
use tests::engine::{host, object};
use tests::fuzz::differential::{self, Report};
use tests::fuzz::regression;
use tests::packet::judge::judge;
use tests::packet::tshark;

/// Instructions that the verifier may process.
const VERIFIER_BUDGET: u32 = 100_000;
/// The same of a program that also logs each packet, which none does in production.
const TRACING_BUDGET: u32 = 110_000;
/// Bytes that the maps may take with their default sizes.
const MEMORY_BUDGET: u64 = 64 << 20;

#[test]
fn every_case_ends_in_the_kernel_as_on_the_host() {
    let Some((mut kernel, _alone)) = load("every_case_ends_in_the_kernel_as_on_the_host") else {
        return;
    };
    check(&mut kernel, |case| case.headroom.is_none());
}

#[test]
fn cases_with_little_room_end_in_the_kernel_as_on_the_host() {
    const NAME: &str = "cases_with_little_room_end_in_the_kernel_as_on_the_host";
    let Some((mut kernel, _alone)) = load(NAME) else {
        return;
    };
    if !kernel.takes_away_room().expect("the kernel says") {
        tests::skip(
            NAME,
            "BPF_PROG_TEST_RUN takes at most 32 bytes of metadata here (before Linux 6.6)",
        );
        return;
    }
    check(&mut kernel, |case| case.headroom.is_some());
}

#[test]
fn every_case_ends_in_the_whole_program_as_on_the_host() {
    const NAME: &str = "every_case_ends_in_the_whole_program_as_on_the_host";
    let Some((mut kernel, _alone)) = load(NAME) else {
        return;
    };
    kernel.enter_whole();
    check(&mut kernel, |case| case.headroom.is_none());
}

/// Runs the cases that are wanted.
fn check(kernel: &mut Kernel, wanted: impl Fn(&Case) -> bool) {
    let cases: Vec<Case> = cases::all().into_iter().filter(wanted).collect();
    let mut faults = Vec::new();
    for case in &cases {
        let outcome = match kernel.run(case) {
            Ok(outcome) => outcome,
            Err(error) => {
                faults.push(format!("{case}\n    {error:#}"));
                continue;
            }
        };
        faults.extend(outcome.check(case).err());
        let on_host = host::run(case);
        if outcome != on_host {
            faults.push(format!(
                "{case}\n    kernel {outcome:?}\n    host   {on_host:?}"
            ));
        }
    }
    println!("{} cases in the kernel", cases.len());
    assert!(!cases.is_empty());
    assert!(
        faults.is_empty(),
        "{} of {} cases fail:\n{}",
        faults.len(),
        cases.len(),
        faults.join("\n")
    );
}

#[test]
fn tshark_finds_no_fault_in_what_the_kernel_sends() {
    const NAME: &str = "tshark_finds_no_fault_in_what_the_kernel_sends";
    if !tshark::is_installed() {
        tests::skip(NAME, "tshark is not installed");
        return;
    }
    let Some((mut kernel, _alone)) = load(NAME) else {
        return;
    };
    let little_room = kernel.takes_away_room().expect("the kernel says");
    let mut sentences = Vec::new();
    let mut frames = Vec::new();
    for case in cases::all() {
        // A checksum that came in wrong leaves wrong.
        if case.expect.out.is_none() || judge(&case.with_ethernet(&case.packet.bytes())).is_err() {
            continue;
        }
        if case.headroom.is_some() && !little_room {
            continue;
        }
        let outcome = kernel.run(&case).expect("the kernel runs the case");
        sentences.push(case.to_string());
        frames.push(outcome.frame);
    }
    let complaints = tshark::complaints(&frames).expect("tshark runs");
    let faults: Vec<String> = sentences
        .iter()
        .zip(complaints)
        .filter(|(_, complaint)| !complaint.is_empty())
        .map(|(sentence, complaint)| format!("{sentence}: {complaint}"))
        .collect();
    println!("{} frames judged by tshark", frames.len());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn maps_keep_their_budget() {
    let Some((small, _alone)) = load("maps_keep_their_budget") else {
        return;
    };
    drop(small);
    let _kernel = Kernel::load_as_declared(kernel::QUIET).expect("the program loads");
    let memory = kernel::map_memory().expect("the kernel says");
    println!("maps: {} KiB, of {} KiB", memory >> 10, MEMORY_BUDGET >> 10);
    assert!(memory <= MEMORY_BUDGET);
    assert!(memory > 1 << 20, "{memory} bytes cannot be all maps");
}

#[test]
fn every_program_keeps_the_verifiers_budget() {
    let Some((kernel, _alone)) = load("every_program_keeps_the_verifiers_budget") else {
        return;
    };
    drop(kernel);
    keep_the_budget(kernel::QUIET, VERIFIER_BUDGET);
}

#[test]
fn every_program_loads_with_tracing_too() {
    let Some((kernel, _alone)) = load("every_program_loads_with_tracing_too") else {
        return;
    };
    drop(kernel);
    keep_the_budget(kernel::TRACE, TRACING_BUDGET);
}

fn keep_the_budget(log_level: u8, budget: u32) {
    let programs = kernel::verified_instructions(log_level).expect("every program loads");
    for (name, instructions) in &programs {
        println!("verifier: {instructions} instructions processed for {name}, of {budget}");
    }
    for wanted in ["lbxdp", "lbxdp_whole"] {
        assert!(programs.iter().any(|(name, _)| name == wanted), "{wanted}");
    }
    for (name, instructions) in programs {
        assert!(instructions <= budget, "{name}");
    }
}

#[test]
fn every_case_of_the_benchmark_ends_as_it_must() {
    const NAME: &str = "every_case_of_the_benchmark_ends_as_it_must";
    let Some(_alone) = load_bench(NAME) else {
        return;
    };
    let effort = Effort {
        loads: 1,
        rounds: 1,
        warm_up: 100,
        runs: 100,
        flows: vec![1, 64],
        only: Vec::new(),
    };
    let figures = bench::measure(&effort, |_, _, _| {}).expect("all cases end as they must");
    for name in [
        "floor",
        "ipip",
        "ideal",
        "dsr-ipip",
        "dsr-ipip-at-risk",
        "nat-preserve",
        "not-ours",
    ] {
        let of_it = figures.iter().filter(|figure| figure.case == name);
        assert_eq!(of_it.count(), 2, "{name}");
    }
}

#[test]
fn every_case_of_the_benchmark_comes_back_over_a_link() {
    const NAME: &str = "every_case_of_the_benchmark_comes_back_over_a_link";
    let Some(_alone) = load_bench(NAME) else {
        return;
    };
    let effort = Effort {
        loads: 1,
        rounds: 2,
        warm_up: 1_000,
        runs: 1_000,
        flows: vec![1, 64],
        only: Vec::new(),
    };
    let report = e2e::measure(&effort, |_, _, _| {}).expect("all cases end as they must");
    for (name, count) in [
        ("floor", 2),
        ("ideal", 2),
        ("dsr-ipip", 2),
        ("nat-preserve", 2),
        ("dsr-ipip-at-risk", 2),
        ("dsr-ipip-syn-flood", 1),
        ("dsr-ipip-syn-flood-at-risk", 1),
    ] {
        let of_it = report.rates.iter().filter(|rate| rate.case == name);
        assert_eq!(of_it.count(), count, "{name}");
    }
    assert!(report.connections > 0, "no connection was running");
}

#[test]
fn sixty_thousand_flows_to_one_origin_share_one_source_address() {
    const FLOWS: u16 = 60_000;
    /// Where the inner source port is: behind Ethernet, IPv4, UDP, VXLAN, Ethernet, IPv4.
    const PORT: usize = 14 + 20 + 8 + 8 + 14 + 20;
    /// How long what found no port is sent again, as clients do: each second other ports are tried.
    const PATIENCE: Duration = Duration::from_secs(60);
    let test = "sixty_thousand_flows_to_one_origin_share_one_source_address";
    let Some((mut kernel, _alone)) = load(test) else {
        return;
    };
    let (tables, syn) = cases::one_hidden_origin();
    kernel.hold(&tables).expect("the maps can be filled");
    let mut ports = BTreeSet::new();
    let mut left: Vec<u16> = (1..=FLOWS).collect();
    let mut first_round = 0;
    let deadline = Instant::now() + PATIENCE;
    while !left.is_empty() && Instant::now() < deadline {
        left.retain(|&client_port| {
            let frame = syn(client_port).bytes();
            let sent = kernel.send(&frame, ETH0, MemFrame::HEADROOM);
            let (action, sent) = sent.expect("the kernel runs the frame");
            if action == Action::Transmit {
                assert!(ports.insert([sent[PORT], sent[PORT + 1]]), "a port twice");
            }
            action != Action::Transmit
        });
        if first_round == 0 {
            first_round = ports.len();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("{first_round} of {FLOWS} flows found a port by their first packet");
    assert!(left.is_empty(), "these found none: {left:?}");
    assert_eq!(ports.len(), usize::from(FLOWS));
}

/// The program takes back what sweeps have found out.
#[test]
fn recorded_flows_are_found_whatever_sweeps_have_found_out() {
    /// Half of those that there is room for.
    const FLOWS: u16 = 3_072;
    /// How many rounds it may take until all are recorded, at the rate that is allowed.
    const ROUNDS: u32 = 20;
    let test = "recorded_flows_are_found_whatever_sweeps_have_found_out";
    let Some((mut kernel, _alone)) = load(test) else {
        return;
    };
    let (tables, segment) = cases::repaired_rows();
    kernel.hold(&tables).expect("the maps can be filled");
    let frames: Vec<_> = (1..=FLOWS).map(|port| segment(port).bytes()).collect();
    let hits = |kernel: &mut Kernel| {
        let before = kernel.flow_hits().expect("the counters can be read");
        for frame in &frames {
            let sent = kernel.send(frame, ETH0, MemFrame::HEADROOM);
            let (action, _) = sent.expect("the kernel runs the frame");
            assert_eq!(action, Action::Transmit);
        }
        kernel.flow_hits().expect("the counters can be read") - before
    };
    let known = kernel.sweep_flows().expect("the flows can be swept");
    assert_eq!(known, 1.0, "no flow is recorded");
    let rounds = (0..ROUNDS).find(|_| hits(&mut kernel) == u64::from(FLOWS));
    assert!(rounds.is_some(), "some flows are not found");
    let known = kernel.sweep_flows().expect("the flows can be swept");
    assert!((0.9..1.0).contains(&known), "{known}");
    assert_eq!(hits(&mut kernel), u64::from(FLOWS));
}

#[test]
fn mutated_frames_end_in_the_kernel_as_on_the_host() {
    /// How many.
    const FRAMES: u64 = 100_000;
    /// What they are made from.
    const SEED: u64 = 7;
    let Some((mut kernel, _alone)) = load("mutated_frames_end_in_the_kernel_as_on_the_host") else {
        return;
    };
    let mut report = Report::default();
    while report.frames < FRAMES {
        let batch = report.frames / differential::BATCH;
        differential::run(&mut kernel, SEED, batch, &mut report).expect("the kernel runs frames");
    }
    println!("{report}");
    assert!(report.mismatches.is_empty(), "{report}");
}

#[test]
fn what_was_once_wrong_ends_in_the_kernel_as_on_the_host() {
    const NAME: &str = "what_was_once_wrong_ends_in_the_kernel_as_on_the_host";
    let Some((mut kernel, _alone)) = load(NAME) else {
        return;
    };
    let regressions = regression::all().expect("all regressions can be read");
    let faults: Vec<String> = regressions
        .iter()
        .filter_map(|it| {
            let fault = differential::one(&mut kernel, it.case, &it.frame).err()?;
            Some(format!("{}: {fault:#}", it.name))
        })
        .collect();
    println!("{} regressions", regressions.len());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// One program is loaded at a time: what is open in this process is what its maps take.
static ALONE: Mutex<()> = Mutex::new(());

/// Loads the program, or says why this test cannot run.
fn load(test: &str) -> Option<(Kernel, MutexGuard<'static, ()>)> {
    if !nix::unistd::geteuid().is_root() {
        tests::skip(test, "needs root");
        return None;
    }
    if let Some(excuse) = object::excuse() {
        tests::skip(test, excuse);
        return None;
    }
    // A test that failed has let go of its program too.
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    Some((Kernel::load().expect("the program loads"), alone))
}

/// As [`load`], for a benchmark, which loads the program itself.
fn load_bench(test: &str) -> Option<MutexGuard<'static, ()>> {
    let (kernel, alone) = load(test)?;
    drop(kernel);
    if !object::bench_path().exists() {
        tests::skip(
            test,
            "`cargo xtask bench packet` has not built its programs",
        );
        return None;
    }
    Some(alone)
}
