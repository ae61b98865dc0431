mod last_resort;

use proptest::prelude::*;

use super::*;
use crate::config::model::{AllDown, Forwarding, HashKey, Origin};
use crate::steering::{BalancerState, shares};

const NONE: OriginIndex = lbxdp_ebpf::abi::Origin::NONE;
const H: Health = Health::Healthy;
const D: Health = Health::Unhealthy;
const U: Health = Health::Unknown;

/// Pools by name, each with the health and weight of its origins.
type Sketch<'a> = &'a [(&'a str, &'a [(Health, f64)])];

#[test]
fn off_takes_the_first_pool_that_is_able_to_serve() {
    for (case, a, b, why, serving) in [
        ("all healthy", &[H, H][..], &[H][..], Why::Primary, "a"),
        ("degraded still serves", &[H, D], &[H], Why::Primary, "a"),
        ("critical does not", &[D, D], &[H], Why::Failover, "b"),
        ("unknown does not", &[U, U], &[H], Why::Failover, "b"),
        ("partly unknown serves", &[H, U], &[H], Why::Primary, "a"),
        ("none: fallback", &[D, D], &[D], Why::Fallback, "f"),
        ("all unknown: fallback", &[U, U], &[U], Why::Fallback, "f"),
    ] {
        let lab = Lab::new(&[
            ("a", &at_weight_1(a)),
            ("b", &at_weight_1(b)),
            ("f", &[(D, 1.0), (H, 1.0)]),
        ]);
        let plan = lab.plan(&off(&["a", "b"], Some("f")));
        assert_eq!(
            (plan.why, plan.serving.as_slice()),
            (why, &[serving.to_owned()][..]),
            "{case}"
        );
        let owners = plan.owners.as_ref().unwrap();
        assert!(
            lab.owners(owners)
                .iter()
                .all(|name| name.starts_with(serving)),
            "{case}"
        );
        assert!(
            lab.owners(owners).iter().all(|name| lab.health[name] == H),
            "{case}"
        );
    }
}

#[test]
fn a_fallback_pool_serves_whatever_its_health() {
    for (case, health, owners) in [
        ("its healthy origins", [D, H, U], &["f/1"][..]),
        ("all, if none is healthy", [D, D, D], &["f/0", "f/1", "f/2"]),
        ("all, if none is known", [U, U, U], &["f/0", "f/1", "f/2"]),
    ] {
        let lab = Lab::new(&[("a", &[(D, 1.0)]), ("f", &at_weight_1(&health))]);
        let plan = lab.plan(&off(&["a"], Some("f")));
        assert_eq!(plan.why, Why::Fallback, "{case}");
        assert_eq!(
            lab.owners(plan.owners.as_ref().unwrap()),
            names(owners),
            "{case}"
        );
        assert_eq!(plan.state(), BalancerState::Critical);
    }
}

#[test]
fn a_critical_pool_takes_nothing_even_on_healthy_origins() {
    let mut lab = Lab::new(&[("a", &[(H, 1.0), (D, 1.0)]), ("b", &[(H, 1.0)])]);
    lab.pools.get_mut("a").unwrap().minimum_origins = 2;
    for spec in [
        off(&["a", "b"], None),
        random(&[("a", 1.0), ("b", 1.0)], None),
    ] {
        let plan = lab.plan(&spec);
        assert_eq!(plan.states["a"], PoolState::Critical);
        assert_eq!(lab.owners(plan.owners.as_ref().unwrap()), names(&["b/0"]));
        assert_eq!(plan.state(), BalancerState::Degraded);
    }
}

#[test]
fn random_shares_by_the_pools_weights_whatever_their_sizes() {
    let lab = Lab::new(&[
        ("a", &[(H, 1.0), (H, 0.5), (H, 0.5)]),
        ("b", &[(H, 0.1)]),
        ("c", &[(H, 1.0)]),
    ]);
    let plan = lab.plan(&random(&[("a", 0.5), ("b", 0.25), ("c", 0.0)], None));
    assert_eq!(
        (plan.why, plan.serving.clone()),
        (Why::Random, vec!["a".to_owned(), "b".to_owned()])
    );
    lab.assert_shares(
        &plan,
        &[
            ("a/0", 2.0 / 6.0),
            ("a/1", 1.0 / 6.0),
            ("a/2", 1.0 / 6.0),
            ("b/0", 2.0 / 6.0),
        ],
    );
}

#[test]
fn random_keeps_the_pools_weights_when_an_origin_fails() {
    let lab = Lab::new(&[("a", &[(H, 1.0), (D, 1.0)]), ("b", &[(H, 1.0), (H, 1.0)])]);
    let plan = lab.plan(&random(&[("a", 1.0), ("b", 1.0)], None));
    lab.assert_shares(&plan, &[("a/0", 0.5), ("b/0", 0.25), ("b/1", 0.25)]);
}

#[test]
fn random_without_anybody_falls_back() {
    let lab = Lab::new(&[("a", &[(D, 1.0)]), ("b", &[(U, 1.0)]), ("f", &[(D, 1.0)])]);
    let plan = lab.plan(&random(&[("a", 1.0), ("b", 1.0)], Some("f")));
    assert_eq!(
        (plan.why, plan.serving.clone()),
        (Why::Fallback, vec!["f".to_owned()])
    );
    let only_weightless = Lab::new(&[("a", &[(H, 1.0)]), ("f", &[(H, 1.0)])]);
    let plan = only_weightless.plan(&random(&[("a", 0.0)], Some("f")));
    assert_eq!(plan.why, Why::Fallback);
}

#[test]
fn without_a_monitor_health_does_not_matter() {
    let mut lab = Lab::new(&[("a", &[(U, 1.0), (D, 1.0)])]);
    lab.pools.get_mut("a").unwrap().monitor = None;
    let plan = lab.plan(&off(&["a"], None));
    assert_eq!(
        (plan.why, plan.states["a"]),
        (Why::Primary, PoolState::Healthy)
    );
    assert_eq!(
        lab.owners(plan.owners.as_ref().unwrap()),
        names(&["a/0", "a/1"])
    );
}

#[test]
fn drained_and_disabled_origins_have_no_rows() {
    let mut lab = Lab::new(&[("a", &[(H, 1.0), (H, 0.0), (H, 1.0)])]);
    lab.origin("a", "2").enabled = false;
    let plan = lab.plan(&off(&["a"], None));
    assert_eq!(lab.owners(plan.owners.as_ref().unwrap()), names(&["a/0"]));
    assert_eq!(plan.state(), BalancerState::Healthy);
}

#[test]
fn the_size_is_the_same_whoever_serves_and_whatever_is_drained() {
    let many = vec![(H, 1.0); 50];
    let mut lab = Lab::new(&[("a", &[(H, 1.0)]), ("b", &many)]);
    let spec = off(&["a"], Some("b"));
    assert_eq!(lab.plan(&spec).owners.unwrap().len(), 16_381);
    lab.set("a", "0", D);
    assert_eq!(lab.plan(&spec).owners.unwrap().len(), 16_381);
    for origin in 0..50 {
        lab.origin("b", &origin.to_string()).weight = 0.0;
    }
    assert_eq!(lab.plan(&spec).size, 16_381);
}

#[test]
fn with_nobody_left_the_last_known_owners_stay() {
    let mut lab = Lab::new(&[("a", &[(H, 1.0), (H, 1.0), (D, 1.0)])]);
    let spec = off(&["a"], None);
    let published = lab.plan(&spec).settle(None);
    assert_eq!(lab.plan(&spec).settle(Some(&published)), published);
    lab.set("a", "0", D);
    lab.set("a", "1", U);
    let plan = lab.plan(&spec);
    assert_eq!((plan.why, &plan.owners), (Why::LastKnown, &None));
    assert_eq!(plan.settle(Some(&published)), published);

    // An edit in the meantime: who is drained or gone is not a last known owner.
    lab.origin("a", "0").weight = 0.0;
    let settled = lab.plan(&spec).settle(Some(&published));
    assert_eq!(lab.owners(&settled), names(&["a/1", "a/2"]));
    for (before, after) in published.iter().zip(&settled) {
        assert!(before == after || lab.name(*before) == "a/0");
    }
}

#[test]
fn what_was_never_known_to_be_healthy_is_vacant() {
    let lab = Lab::new(&[("a", &[(U, 1.0)])]);
    let plan = lab.plan(&off(&["a"], None));
    let vacant = plan.settle(None);
    assert_eq!(vacant, vec![NONE; 4_093]);
    assert_eq!(plan.settle(Some(&vacant)), vacant);
}

#[test]
fn what_nobody_may_serve_is_vacated() {
    let mut lab = Lab::new(&[("a", &[(H, 1.0)])]);
    let spec = off(&["a"], None);
    let published = lab.plan(&spec).settle(None);
    lab.origin("a", "0").weight = 0.0;
    let plan = lab.plan(&spec);
    assert_eq!(
        (plan.why, plan.states["a"]),
        (Why::Vacant, PoolState::Critical)
    );
    assert_eq!(plan.settle(Some(&published)), vec![NONE; 4_093]);
    lab.pools.get_mut("a").unwrap().enabled = false;
    assert_eq!(lab.plan(&spec).why, Why::Vacant);
}

#[test]
fn homes_are_the_owners_when_everybody_is_healthy() {
    let pools: Sketch<'_> = &[
        ("a", &[(H, 1.0), (H, 0.5)]),
        ("b", &[(H, 1.0), (H, 1.0)]),
        ("f", &[(D, 1.0)]),
    ];
    for spec in [
        off(&["a", "b"], Some("f")),
        random(&[("a", 1.0), ("b", 0.5)], Some("f")),
    ] {
        let mut lab = Lab::new(pools);
        let well = lab.plan(&spec);
        assert_eq!(well.owners.as_ref(), Some(&well.homes));
        for (pool, origin) in [("a", "0"), ("a", "1"), ("b", "0"), ("b", "1")] {
            lab.set(pool, origin, D);
            let plan = lab.plan(&spec);
            assert_eq!(plan.homes, well.homes, "without {pool}/{origin}");
            assert_ne!(plan.owners.as_ref(), Some(&plan.homes));
        }
        for pool in ["a", "b"] {
            lab.pools.get_mut(pool).unwrap().enabled = false;
        }
        let last = lab.plan(&spec);
        assert_eq!(lab.owners(&last.homes), names(&["f/0"]), "it always serves");
        assert_eq!(last.owners.as_ref(), Some(&last.homes));
    }
}

#[test]
fn who_starts_slowly_has_a_part_of_its_share() {
    let mut lab = Lab::new(&[("a", &[(H, 1.0), (H, 1.0)])]);
    for (tenths, share) in [(1, 1.0 / 11.0), (5, 5.0 / 15.0), (10, 0.5)] {
        lab.slow.insert("a/1".to_owned(), tenths);
        let plan = lab.plan(&off(&["a"], None));
        lab.assert_shares(&plan, &[("a/0", 1.0 - share), ("a/1", share)]);
    }
}

#[test]
fn pool_states_are_those_of_the_product() {
    for (minimum, health, state) in [
        (1, &[H, H][..], PoolState::Healthy),
        (1, &[H, D], PoolState::Degraded),
        (2, &[H, D], PoolState::Critical),
        (1, &[D, D], PoolState::Critical),
        (1, &[U, D], PoolState::Unknown),
        (2, &[U, D], PoolState::Critical),
        (1, &[H, U], PoolState::Degraded),
        (2, &[H, U], PoolState::Unknown),
        (1, &[], PoolState::Critical),
        (3, &[H, H], PoolState::Critical),
    ] {
        let mut lab = Lab::new(&[("a", &at_weight_1(health))]);
        lab.pools.get_mut("a").unwrap().minimum_origins = minimum;
        let plan = lab.plan(&off(&["a"], None));
        assert_eq!(plan.states["a"], state, "{minimum} of {health:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_row_is_vacant_while_anything_can_serve(
        pools in proptest::collection::vec(
            (any::<bool>(), 1..3_usize, proptest::collection::vec((0..3_u8, any::<bool>(), 0..3_u8), 0..4)),
            3,
        ),
        random_policy in any::<bool>(),
        with_fallback in any::<bool>(),
    ) {
        let mut lab = Lab::default();
        for (name, (enabled, minimum, origins)) in ["a", "b", "f"].into_iter().zip(&pools) {
            let origins: Vec<_> = origins
                .iter()
                .map(|(health, _, weight)| ([H, D, U][usize::from(*health)], f64::from(*weight) / 2.0))
                .collect();
            lab.add(name, &origins);
            let pool = lab.pools.get_mut(name).unwrap();
            (pool.enabled, pool.minimum_origins) = (*enabled, *minimum);
        }
        for (name, (_, _, origins)) in ["a", "b", "f"].into_iter().zip(&pools) {
            for (number, (_, enabled, _)) in origins.iter().enumerate() {
                lab.origin(name, &number.to_string()).enabled = *enabled;
            }
        }
        let fallback = with_fallback.then_some("f");
        let spec = if random_policy {
            random(&[("a", 1.0), ("b", 0.5)], fallback)
        } else {
            off(&["a", "b"], fallback)
        };
        let plan = lab.plan(&spec);
        let may_serve = |pool: &str| {
            let pool = &lab.pools[pool];
            pool.enabled && pool.origins.values().any(|o| o.enabled && o.weight > 0.0)
        };
        let serves = ["a", "b"].into_iter().any(|pool| plan.states[pool].serves());
        let falls_back = with_fallback && may_serve("f");
        prop_assert_eq!(plan.owners.as_ref().map(Vec::len).unwrap_or(plan.size as usize), plan.size as usize);
        match plan.why {
            Why::Primary | Why::Failover => prop_assert!(serves && !random_policy),
            Why::Random => prop_assert!(serves && random_policy),
            Why::Fallback => prop_assert!(!serves && falls_back),
            Why::LastKnown => prop_assert!(!serves && !falls_back && (may_serve("a") || may_serve("b"))),
            Why::Panic | Why::Spread | Why::Reject => prop_assert!(false, "nobody asked for it"),
            Why::Vacant => prop_assert!(!falls_back && !may_serve("a") && !may_serve("b")),
        }
        if let (Some(owners), false) = (&plan.owners, plan.why == Why::Vacant) {
            for owner in owners {
                prop_assert_ne!(*owner, NONE);
                let name = lab.name(*owner);
                let (pool, origin) = name.split_once('/').unwrap();
                prop_assert!(plan.serving.iter().any(|serving| serving == pool));
                let configured = &lab.pools[pool].origins[origin];
                prop_assert!(configured.enabled && configured.weight > 0.0);
                prop_assert!(plan.why == Why::Fallback || lab.health[&name] == H);
            }
        }
        // A pure function: slots in hand, a second look says the same.
        prop_assert_eq!(lab.plan(&spec), plan);
    }
}

#[derive(Default)]
struct Lab {
    pools: BTreeMap<String, Pool>,
    health: BTreeMap<String, Health>,
    slots: Vec<String>,
    slow: BTreeMap<String, u32>,
}

impl Lab {
    fn new(sketch: Sketch<'_>) -> Self {
        let mut lab = Self::default();
        for (name, origins) in sketch {
            lab.add(name, origins);
        }
        lab
    }

    fn add(&mut self, name: &str, origins: &[(Health, f64)]) {
        let mut pool = Pool {
            outer: crate::config::model::OuterHeader::default(),
            enabled: true,
            minimum_origins: 1,
            drain_duration: None,
            slow_start: std::time::Duration::ZERO,
            panic_threshold: 0.0,
            all_down: AllDown::Fallback,
            monitor: Some("monitor".to_owned()),
            forwarding: Forwarding::NatPreserve,
            origins: BTreeMap::new(),
        };
        for (number, (health, weight)) in origins.iter().enumerate() {
            let origin = Origin {
                address: [10, 0, 0, 1].into(),
                port: 80,
                enabled: true,
                weight: *weight,
                virtual_network: None,
                inner_mac: None,
            };
            pool.origins.insert(number.to_string(), origin);
            self.health.insert(format!("{name}/{number}"), *health);
            self.slots.push(format!("{name}/{number}"));
        }
        self.pools.insert(name.to_owned(), pool);
    }

    fn set(&mut self, pool: &str, origin: &str, health: Health) {
        self.health.insert(format!("{pool}/{origin}"), health);
    }

    fn origin(&mut self, pool: &str, origin: &str) -> &mut Origin {
        self.pools
            .get_mut(pool)
            .unwrap()
            .origins
            .get_mut(origin)
            .unwrap()
    }

    fn plan(&self, spec: &TableSpec) -> TablePlan {
        let world = World {
            pools: &self.pools,
            seed: Seed::new(HashKey([1; 16])),
            health: &|pool, origin| self.health[&format!("{pool}/{origin}")],
            slot: &|pool, origin| {
                let name = format!("{pool}/{origin}");
                let slot = self.slots.iter().position(|slot| *slot == name)?;
                Some(slot as OriginIndex)
            },
            tenths: &|pool, origin| {
                let slow = self.slow.get(&format!("{pool}/{origin}"));
                slow.copied().unwrap_or(10)
            },
        };
        let size = spec.size(&self.pools);
        plan(spec, size, &world, &mut Bases::default())
    }

    fn name(&self, slot: OriginIndex) -> String {
        self.slots[usize::from(slot)].clone()
    }

    fn owners(&self, owners: &[OriginIndex]) -> BTreeSet<String> {
        shares(owners)
            .into_keys()
            .map(|slot| self.name(slot))
            .collect()
    }

    fn assert_shares(&self, plan: &TablePlan, expected: &[(&str, f64)]) {
        let shares = shares(plan.owners.as_ref().unwrap());
        let shares: BTreeMap<_, _> = shares
            .into_iter()
            .map(|(slot, rows)| (self.name(slot), f64::from(rows) / f64::from(plan.size)))
            .collect();
        assert_eq!(shares.len(), expected.len(), "{shares:?}");
        for (name, share) in expected {
            assert!((shares[*name] - share).abs() < 0.01, "{name}: {shares:?}");
        }
    }
}

fn off(pools: &[&str], fallback: Option<&str>) -> TableSpec {
    TableSpec {
        policy: Policy::Off(pools.iter().map(ToString::to_string).collect()),
        fallback: fallback.map(ToOwned::to_owned),
    }
}

fn random(pools: &[(&str, f64)], fallback: Option<&str>) -> TableSpec {
    let pools = pools
        .iter()
        .map(|(pool, weight)| ((*pool).to_owned(), weight_units(*weight)));
    TableSpec {
        policy: Policy::Random(pools.collect()),
        fallback: fallback.map(ToOwned::to_owned),
    }
}

fn at_weight_1(health: &[Health]) -> Vec<(Health, f64)> {
    health.iter().map(|health| (*health, 1.0)).collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}
