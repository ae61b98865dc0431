//! The fixture table and properties of the packet path, on the host.

use std::collections::BTreeMap;

use lbxdp_ebpf::verdict::Reason;
use tests::cases::{self, Case};
use tests::engine::host;
use tests::packet::judge::judge;

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
    assert!(cases.len() >= 120, "the table has {} cases", cases.len());
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
        let Some(out) = &case.expect.out else { continue };
        let before = judge(&case.packet.bytes());
        let after = judge(&out.bytes());
        assert_eq!(before.is_ok(), after.is_ok(), "{case}: {before:?}, then {after:?}");
    }
}
