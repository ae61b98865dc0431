//! The fixture table in the kernel: the verifier accepts the program, and it does with every
//! packet what the host does. Needs root.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lbxdp_ebpf::mem::MemFrame;
use lbxdp_ebpf::verdict::Action;
use tests::bench::{self, Effort};
use tests::cases::world::{ETH0, ETH2};
use tests::cases::{self, Case};
use tests::engine::kernel::{self, Kernel};
use tests::engine::{Outcome, host, object};
use tests::packet::judge::judge;
use tests::packet::tshark;

/// Instructions that the verifier may process.
const VERIFIER_BUDGET: u32 = 100_000;
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
        if case.expect.out.is_none() || judge(&case.packet.bytes()).is_err() {
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
fn the_program_keeps_its_budgets() {
    let Some((small, _alone)) = load("the_program_keeps_its_budgets") else {
        return;
    };
    drop(small);
    let mut kernel = Kernel::load_as_declared(kernel::QUIET).expect("the program loads");
    let instructions = kernel
        .verified_instructions()
        .expect("the kernel counts them");
    let memory = kernel::map_memory().expect("the kernel says");
    println!("verifier: {instructions} instructions processed, of {VERIFIER_BUDGET}");
    println!("maps: {} KiB, of {} KiB", memory >> 10, MEMORY_BUDGET >> 10);
    assert!(instructions <= VERIFIER_BUDGET);
    assert!(memory <= MEMORY_BUDGET);
    assert!(memory > 1 << 20, "{memory} bytes cannot be all maps");
}

#[test]
fn every_case_of_the_benchmark_ends_as_it_must() {
    const NAME: &str = "every_case_of_the_benchmark_ends_as_it_must";
    let Some((kernel, _alone)) = load(NAME) else {
        return;
    };
    drop(kernel);
    if !object::bench_path().exists() {
        tests::skip(
            NAME,
            "`cargo xtask bench packet` has not built its programs",
        );
        return;
    }
    let effort = Effort {
        loads: 1,
        rounds: 1,
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
        "nat-preserve",
        "not-ours",
    ] {
        let of_it = figures.iter().filter(|figure| figure.case == name);
        assert_eq!(of_it.count(), 2, "{name}");
    }
}

#[test]
fn the_program_loads_with_tracing_too() {
    let Some((quiet, _alone)) = load("the_program_loads_with_tracing_too") else {
        return;
    };
    drop(quiet);
    let mut kernel =
        Kernel::load_as_declared(kernel::TRACE).expect("the program loads with tracing");
    let instructions = kernel
        .verified_instructions()
        .expect("the kernel counts them");
    println!("verifier: {instructions} instructions processed with tracing");
    assert!(instructions <= VERIFIER_BUDGET);
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

#[test]
fn mutated_frames_end_in_the_kernel_as_on_the_host() {
    /// How long to try.
    const TIME: Duration = Duration::from_secs(8);
    /// How many to try.
    const FRAMES: usize = 6_000;
    let Some((mut kernel, _alone)) = load("mutated_frames_end_in_the_kernel_as_on_the_host") else {
        return;
    };
    let cases: Vec<Case> = cases::all()
        .into_iter()
        // Where forwarding is off the kernel says so before it asks for the route.
        .filter(|case| case.headroom.is_none() && case.ingress != ETH2)
        .collect();
    let mut random = SplitMix(7);
    let deadline = Instant::now() + TIME;
    let mut tried = 0;
    while tried < FRAMES && Instant::now() < deadline {
        let case = &cases[tried % cases.len()];
        let frame = random.mutate(case.packet.bytes());
        let on_host = host::run_frame(&frame, &case.world.tables, case.ingress);
        let in_kernel = kernel
            .run_frame(&frame, &case.world.tables, case.ingress, MemFrame::HEADROOM)
            .expect("the kernel runs the frame");
        assert_eq!(
            without_interface(in_kernel),
            without_interface(on_host),
            "a mutation of {case}: {frame:02x?}"
        );
        tried += 1;
    }
    println!("{tried} mutated frames");
    assert!(tried > 500, "only {tried} frames in {TIME:?}");
}

/// The kernel does not say by which interface a frame leaves.
fn without_interface(outcome: Outcome) -> Outcome {
    match outcome.action {
        Action::Redirect(_) => Outcome {
            action: Action::Redirect(0),
            ..outcome
        },
        Action::Pass | Action::Drop | Action::Transmit => outcome,
    }
}

/// A generator of numbers that are random enough and always the same (SplitMix64).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Changes up to four bytes, and sometimes the length.
    fn mutate(&mut self, mut frame: Vec<u8>) -> Vec<u8> {
        for _ in 0..self.below(5) {
            let at = self.below(frame.len());
            frame[at] = match self.below(3) {
                0 => self.next() as u8,
                1 => frame[at] ^ 1 << self.below(8),
                _ => [0, 0xff, 0x45, 0x60][self.below(4)],
            };
        }
        if self.below(6) == 0 {
            frame.truncate(MINIMUM + self.below(frame.len() - MINIMUM + 1));
        }
        frame
    }
}

/// Shortest frame that the kernel runs a program on (`ETH_HLEN`).
const MINIMUM: usize = 14;

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
