use super::*;

/// Pool web-blue alone, with two origins of which half must be healthy.
fn half() -> State {
    start(
        &EXAMPLE
            .replace("minimum_origins = 1", "panic_threshold = 0.6")
            .replace("weight = 0.5\n", "")
            .replace("\"web-blue\", \"web-green\"", "\"web-blue\"")
            .replace("fallback_pool = \"web-green\"\n", ""),
    )
}

fn is_down(state: &mut State, origin: &str) -> bool {
    let slot = slot(state, "web-blue", origin);
    let desired = state.desired(&Content::default(), later());
    desired.origins[&slot].flags & ORIGIN_DOWN != 0
}

#[test]
fn a_pool_in_panic_is_named_once_and_its_flows_stay_with_their_origins() {
    let mut state = half();
    report(&mut state, "web-blue", "a", PASS);
    report(&mut state, "web-blue", "b", PASS);
    assert!(!is_down(&mut state, "a"));
    assert!(state.panics().is_empty());

    report(&mut state, "web-blue", "a", Err(Failure::TcpTimeout));
    assert!(!is_down(&mut state, "a"), "it counts as healthy");
    let panics = state.panics();
    assert_eq!(panics.len(), 1);
    assert!(
        panics[0].starts_with("pool web-blue is in panic"),
        "{panics:?}"
    );
    assert!(panics[0].contains("panic_threshold = 0.6"), "{panics:?}");
    let rows = rows_of(&mut state, "web-blue");
    assert_eq!(
        crate::steering::shares(Rows::from(rows.as_slice()).owners()).len(),
        2,
        "both have rows"
    );

    report(&mut state, "web-blue", "b", Err(Failure::TcpTimeout));
    assert!(!is_down(&mut state, "b"), "still");
    assert_eq!(state.panics(), panics, "the same as long as it lasts");

    for origin in ["a", "b"] {
        report(&mut state, "web-blue", origin, PASS);
    }
    rows_of(&mut state, "web-blue");
    assert!(state.panics().is_empty());
}

#[test]
fn flows_of_origins_that_are_down_end_where_packets_are_rejected() {
    let mut state = start(
        &EXAMPLE
            .replace("minimum_origins = 1", "all_down = \"reject\"")
            .replace("\"web-blue\", \"web-green\"", "\"web-blue\"")
            .replace("fallback_pool = \"web-green\"\n", ""),
    );
    for origin in ["a", "b"] {
        report(&mut state, "web-blue", origin, PASS);
    }
    rows_of(&mut state, "web-blue");
    for origin in ["a", "b"] {
        report(&mut state, "web-blue", origin, Err(Failure::TcpTimeout));
    }
    assert!(is_down(&mut state, "a"));
    let rows = rows_of(&mut state, "web-blue");
    assert!(rows.iter().all(|row| *row == Row::VACANT));
}
