//! The fixture table and properties of the packet path, on the host.

use std::collections::BTreeMap;

use lbxdp_ebpf::abi::{
    Encapsulation, PATH_GRE_CHECKSUM, PATH_GRE_KEY, PATH_INNER_ETHERNET, PATH_SOURCE_ENTROPY,
    PATH_UDP_CHECKSUM,
};
use lbxdp_ebpf::encap::{InnerEthernet, Shape, prepare};
use lbxdp_ebpf::verdict::Reason;
use tests::cases;
use tests::cases::tunnel::{INNER_FAR_MAC, INNER_NODE_MAC, KINDS, Tunnel};
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
        let Some(out) = &case.expect.out else {
            continue;
        };
        let before = judge(&case.packet.bytes());
        let after = judge(&out.bytes());
        assert_eq!(
            before.is_ok(),
            after.is_ok(),
            "{case}: {before:?}, then {after:?}"
        );
    }
}

#[test]
fn the_agent_prepares_the_headers_that_cases_write_by_hand() {
    let variants = [
        0,
        PATH_UDP_CHECKSUM,
        PATH_SOURCE_ENTROPY,
        PATH_GRE_KEY,
        PATH_GRE_CHECKSUM,
        PATH_GRE_KEY | PATH_GRE_CHECKSUM,
        PATH_INNER_ETHERNET,
    ];
    for kind in KINDS {
        for tunnel in Tunnel::both(kind) {
            for flags in variants.iter().filter(|flags| fits(kind, **flags)) {
                let by_hand = tunnel.clone().with(*flags).path();
                let prepared = prepare(&parameters(&tunnel, *flags)).expect("a valid tunnel");
                assert_eq!(
                    (prepared.header, prepared.header_len, prepared.header_sum),
                    (by_hand.header, by_hand.header_len, by_hand.header_sum),
                    "{} with flags {flags:#x}",
                    tunnel.name()
                );
                assert_eq!(prepared.flags, *flags);
                assert_eq!(prepared.encapsulation, by_hand.encapsulation);
                assert_eq!(prepared.outer, by_hand.outer);
            }
        }
    }
}

/// Whether a flag means something to a kind.
fn fits(kind: Encapsulation, flags: u8) -> bool {
    let of_gre = flags & (PATH_GRE_KEY | PATH_GRE_CHECKSUM) != 0;
    match kind {
        Encapsulation::None => false,
        Encapsulation::IpIp => flags & !PATH_SOURCE_ENTROPY == 0,
        Encapsulation::Gre => of_gre || flags & !PATH_SOURCE_ENTROPY == 0,
        Encapsulation::Gue | Encapsulation::Vxlan => flags & !PATH_UDP_CHECKSUM == 0,
        Encapsulation::Geneve => flags & !(PATH_UDP_CHECKSUM | PATH_INNER_ETHERNET) == 0,
    }
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
        ttl: 64,
        dscp: 0,
        source_entropy: flags & PATH_SOURCE_ENTROPY != 0,
        udp_checksum: flags & PATH_UDP_CHECKSUM != 0,
        shape: match tunnel.kind {
            Encapsulation::None | Encapsulation::IpIp => Shape::IpIp,
            Encapsulation::Gre => Shape::Gre {
                key: (flags & PATH_GRE_KEY != 0).then_some(tunnel.vni),
                checksum: flags & PATH_GRE_CHECKSUM != 0,
            },
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
