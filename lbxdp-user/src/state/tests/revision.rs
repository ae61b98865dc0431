use proptest::prelude::*;

use super::*;
use crate::dataplane::{Limits, Revision, revise_content};

const LIMITS: Limits = Limits {
    listeners: 64,
    reverse: 64,
    tables: 64,
    rows: 1 << 20,
    origins: 1024,
    peers: 64,
    tunnels: 64,
    routes: 64,
    ranges: 64,
    vlans: 64,
    entities: 4096,
    listener_counters: 64,
};

/// What the maps hold once they are as desired.
fn after(actual: &Content, desired: &Desired) -> Content {
    let mut content = actual.clone();
    for write in plan(actual, desired, &LIMITS).expect("it fits") {
        content.apply(&write);
    }
    content
}

/// Three load balancers whose pools overlap, with every way of what happens when none is up.
fn overlapping() -> String {
    let text = EXAMPLE
        .replace("minimum_origins = 1", "panic_threshold = 0.4")
        .replace(
            "name = \"echo-green\"",
            "name = \"echo-green\"\nall_down = \"reject\"",
        );
    text + r#"
[[load_balancer]]
name = "both"
listeners = [{ address = "198.51.100.11", port = 80, protocol = "tcp" }]
default_pools = ["web-green", "web-blue"]
steering_policy = "random"
"#
}

const PROBED: [(&str, &str); 4] = [
    ("web-blue", "a"),
    ("web-blue", "b"),
    ("web-green", "a"),
    ("echo-green", "a"),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn revisions_lead_where_looking_at_everything_leads(
        rounds in prop::collection::vec(prop::collection::vec((0..4_usize, any::<bool>()), 1..4), 1..12),
    ) {
        let mut state = start(&overlapping());
        let mut actual = Content::default();
        prop_assert_eq!(state.revision(&actual, later()), None, "all is new");
        actual = after(&actual, &state.desired(&actual, later()));
        state.written();
        for (second, round) in (1..).zip(rounds) {
            let time = later() + Duration::from_secs(second);
            for (probed, passes) in round {
                let (pool, origin) = PROBED[probed];
                let result = if passes { PASS } else { Err(Failure::TcpTimeout) };
                report(&mut state, pool, origin, result);
            }
            let whole = after(&actual, &state.clone().desired(&actual, time));
            match state.revision(&actual, time) {
                Some(revision) => {
                    revise_content(&mut actual, &revision, &LIMITS);
                    state.revised();
                }
                None => {
                    actual = after(&actual, &state.desired(&actual, time));
                    state.written();
                }
            }
            prop_assert_eq!(&actual, &whole);
        }
    }
}

#[test]
fn a_revision_names_the_tables_of_the_pool_and_no_others() {
    let mut state = start(&overlapping());
    for (pool, origin) in PROBED {
        report(&mut state, pool, origin, PASS);
    }
    let actual = after(
        &Content::default(),
        &state.desired(&Content::default(), later()),
    );
    state.written();
    report(&mut state, "echo-green", "a", Err(Failure::IcmpTimeout));
    let revision = state.revision(&actual, later());
    let revision = revision.expect("nothing but health has changed");
    assert_eq!(revision.tables.len(), 1);
    assert_eq!(revision.origins.len(), 1);
    assert_eq!(revision.entities.len(), 1);
    let nothing = state.revision(&actual, later());
    assert_eq!(nothing, Some(Revision::default()));
}

#[test]
fn anything_else_that_changes_is_more_than_a_revision() {
    let settled = || {
        let mut state = start(EXAMPLE);
        let actual = after(
            &Content::default(),
            &state.desired(&Content::default(), later()),
        );
        state.written();
        assert!(state.revision(&actual, later()).is_some());
        (state, actual)
    };
    let (mut state, actual) = settled();
    state.set_hops(Hops::new());
    assert_eq!(state.revision(&actual, later()), None);
    let (mut state, actual) = settled();
    let next = config(&EXAMPLE.replace("weight = 0.5", "weight = 0.6"));
    state.replace(next, &actual, now()).expect("there is room");
    assert_eq!(state.revision(&actual, later()), None);
}
