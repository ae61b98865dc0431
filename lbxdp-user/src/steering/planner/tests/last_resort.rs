//! What happens when too few origins are up, or none.

use super::*;

fn lab(a: &[Health], b: &[Health]) -> Lab {
    let weighted = |health: &[Health]| health.iter().map(|h| (*h, 1.0)).collect::<Vec<_>>();
    Lab::new(&[
        ("a", &weighted(a)),
        ("b", &weighted(b)),
        ("f", &[(D, 1.0), (D, 1.0)]),
    ])
}

impl Lab {
    fn with(mut self, pool: &str, all_down: AllDown, panic_threshold: f64) -> Self {
        let pool = self.pools.get_mut(pool).expect("a pool of the lab");
        pool.all_down = all_down;
        pool.panic_threshold = panic_threshold;
        self
    }

    fn serving(&self, plan: &TablePlan) -> Vec<String> {
        self.owners(plan.owners.as_ref().expect("rows have owners"))
            .into_iter()
            .collect()
    }
}

#[test]
fn the_pool_at_which_failover_ends_decides_when_none_is_able_to_serve() {
    for (policy, why) in [
        (AllDown::Fallback, Why::LastKnown),
        (AllDown::LastKnown, Why::LastKnown),
        (AllDown::Spread, Why::Spread),
        (AllDown::Reject, Why::Reject),
    ] {
        let lab = lab(&[D, D], &[D, U])
            .with("a", AllDown::Fallback, 0.0)
            .with("b", policy, 0.0);
        let plan = lab.plan(&off(&["a", "b"], None));
        assert_eq!(plan.why, why, "{policy:?}");
        assert_eq!(plan.state(), BalancerState::Critical);
        match policy {
            AllDown::Fallback | AllDown::LastKnown => assert_eq!(plan.owners, None),
            AllDown::Spread => {
                assert!(plan.assumed_up);
                assert_eq!(lab.serving(&plan), ["b/0", "b/1"]);
            }
            AllDown::Reject => {
                let settled = plan.settle(Some(&vec![0; plan.size as usize]));
                assert!(settled.iter().all(|owner| *owner == NONE));
            }
        }
    }
}

#[test]
fn all_down_of_a_pool_before_the_last_does_not_count_unless_the_last_is_disabled() {
    let mut lab = lab(&[D], &[D]).with("a", AllDown::Reject, 0.0);
    assert_eq!(lab.plan(&off(&["a", "b"], None)).why, Why::LastKnown);
    lab.pools.get_mut("b").expect("a pool").enabled = false;
    assert_eq!(lab.plan(&off(&["a", "b"], None)).why, Why::Reject);
}

#[test]
fn pools_that_share_the_traffic_are_spread_over_together() {
    let lab = lab(&[D], &[D, D])
        .with("a", AllDown::Spread, 0.0)
        .with("b", AllDown::Spread, 0.0);
    let plan = lab.plan(&random(&[("a", 1.0), ("b", 1.0)], None));
    assert_eq!(plan.why, Why::Spread);
    assert_eq!(lab.serving(&plan), ["a/0", "b/0", "b/1"]);
}

#[test]
fn nobody_that_may_serve_is_vacant_and_not_rejected() {
    let lab = Lab::new(&[("a", &[(D, 0.0)])]).with("a", AllDown::Reject, 0.0);
    assert_eq!(lab.plan(&off(&["a"], None)).why, Why::Vacant);
}

#[test]
fn a_fallback_pool_decides_by_itself_when_none_of_its_origins_is_up() {
    for (policy, why) in [
        (AllDown::Fallback, Why::Fallback),
        (AllDown::Spread, Why::Fallback),
        (AllDown::LastKnown, Why::LastKnown),
        (AllDown::Reject, Why::Reject),
    ] {
        let lab = lab(&[D], &[D]).with("f", policy, 0.0);
        let plan = lab.plan(&off(&["a", "b"], Some("f")));
        assert_eq!(plan.why, why, "{policy:?}");
        if why == Why::Fallback {
            assert!(plan.assumed_up);
            assert_eq!(lab.serving(&plan), ["f/0", "f/1"]);
        }
    }
}

#[test]
fn last_known_owners_of_a_fallback_pool_are_those_that_any_pool_had() {
    let mut lab = lab(&[H], &[D]).with("f", AllDown::LastKnown, 0.0);
    let spec = off(&["a", "b"], Some("f"));
    let before = lab.plan(&spec).owners.expect("pool a serves");
    lab.set("a", "0", D);
    let plan = lab.plan(&spec);
    assert_eq!(plan.why, Why::LastKnown);
    assert_eq!(plan.settle(Some(&before)), before, "they stay");
}

#[test]
fn below_the_threshold_all_origins_count_as_up() {
    let third = 1.0 / 3.0;
    for (health, threshold, why, owners) in [
        (&[H, H, D][..], 0.5, Why::Primary, &["a/0", "a/1"][..]),
        (&[H, D, D], 0.3, Why::Primary, &["a/0"]),
        // Exactly the share is enough.
        (&[H, D], 0.5, Why::Primary, &["a/0"]),
        (&[H, D, D], third + 0.01, Why::Panic, &["a/0", "a/1", "a/2"]),
        (&[H, H, D], 1.0, Why::Panic, &["a/0", "a/1", "a/2"]),
        // Whose health is not known may turn out to be up.
        (&[H, U, U], 0.5, Why::Primary, &["a/0"]),
        (&[D, D, D], 0.5, Why::Panic, &["a/0", "a/1", "a/2"]),
    ] {
        let lab = lab(health, &[D]).with("a", AllDown::Fallback, threshold);
        let plan = lab.plan(&off(&["a"], None));
        assert_eq!(plan.why, why, "{health:?} {threshold}");
        assert_eq!(lab.serving(&plan), owners, "{health:?} {threshold}");
        assert_eq!(plan.assumed_up, why == Why::Panic);
    }
}

#[test]
fn the_share_is_of_weights() {
    let lab = Lab::new(&[("a", &[(H, 0.1), (D, 1.0), (D, 0.0)])]);
    let lab = lab.with("a", AllDown::Fallback, 0.5);
    let plan = lab.plan(&off(&["a"], None));
    assert_eq!(plan.why, Why::Panic);
    assert_eq!(lab.serving(&plan), ["a/0", "a/1"], "weight 0 stays so");
}

#[test]
fn another_pool_that_is_able_to_serve_goes_before_one_in_panic() {
    let mut lab = lab(&[H, D, D], &[H]).with("a", AllDown::Fallback, 0.5);
    for spec in [
        off(&["a", "b"], Some("f")),
        random(&[("a", 1.0), ("b", 1.0)], Some("f")),
    ] {
        lab.set("b", "0", H);
        let plan = lab.plan(&spec);
        assert_eq!(plan.states["a"], PoolState::Panic);
        assert_eq!(lab.serving(&plan), ["b/0"]);
        assert_eq!(plan.state(), BalancerState::Degraded);
        lab.set("b", "0", D);
        let plan = lab.plan(&spec);
        assert_eq!(plan.why, Why::Panic, "before the fallback pool");
        assert_eq!(plan.serving, ["a"]);
        assert_eq!(lab.serving(&plan), ["a/0", "a/1", "a/2"]);
    }
}

#[test]
fn with_none_up_a_fallback_pool_goes_before_one_in_panic() {
    let lab = lab(&[D, D], &[D]).with("a", AllDown::Fallback, 0.5);
    assert_eq!(lab.plan(&off(&["a"], Some("f"))).why, Why::Fallback);
    let lab = lab.with("a", AllDown::Reject, 0.5);
    assert_eq!(lab.plan(&off(&["a"], None)).why, Why::Reject);
}

#[test]
fn panic_comes_before_the_minimum_and_the_minimum_stands_above_it() {
    let mut lab = lab(&[H, D, D, D], &[D]).with("a", AllDown::Spread, 0.5);
    lab.pools.get_mut("a").expect("a pool").minimum_origins = 3;
    let spec = off(&["a"], None);
    assert_eq!(lab.plan(&spec).why, Why::Panic);
    lab.set("a", "1", H);
    let plan = lab.plan(&spec);
    assert_eq!(plan.states["a"], PoolState::Critical);
    assert_eq!(plan.why, Why::Spread, "not in panic, and not able to serve");
}

#[test]
fn a_fallback_pool_in_panic_serves_with_all_its_origins() {
    let mut lab = lab(&[D], &[D]).with("f", AllDown::Fallback, 1.0);
    lab.set("f", "1", H);
    let plan = lab.plan(&off(&["a"], Some("f")));
    assert_eq!(plan.why, Why::Fallback);
    assert_eq!(lab.serving(&plan), ["f/0", "f/1"]);
}
