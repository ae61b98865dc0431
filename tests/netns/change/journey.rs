//! One change after another, with each way of forwarding.

use std::time::{Duration, Instant};

use anyhow::Result;
use tests::netns::{Rows, eventually, slow};

use super::scene::{Forwarding, Scene, Services};
use super::traffic::{Traffic, wait_quiet};
use crate::DEADLINE;

/// Windows that end between some of the steps. Flows have time to speak within them.
const WINDOWS: &str = "flow_window = \"5000ms\"\nflow_idle = \"5000ms\"";

#[test]
fn no_change_breaks_what_runs_with_source_preserve() -> Result<()> {
    journey(
        "no_change_breaks_what_runs_with_source_preserve",
        Forwarding::Preserve,
    )
}

#[test]
fn no_change_breaks_what_runs_with_source_snat() -> Result<()> {
    journey(
        "no_change_breaks_what_runs_with_source_snat",
        Forwarding::Snat,
    )
}

#[test]
fn no_change_breaks_what_runs_with_dsr() -> Result<()> {
    journey("no_change_breaks_what_runs_with_dsr", Forwarding::Dsr)
}

fn journey(test: &str, forwarding: Forwarding) -> Result<()> {
    let services = Services::new(forwarding);
    let two = services.with(&[("a", 1.0), ("b", 1.0)]);
    let Some(mut scene) = Scene::start(test, two, WINDOWS)? else {
        return Ok(());
    };
    let mut traffic = Traffic::start(&scene.lab)?;
    add_weigh_drain_and_remove(&mut scene, &mut traffic)?;
    flap(&mut scene, &mut traffic)?;
    fail_over_and_back(&mut scene, &mut traffic)?;
    grow_and_shrink(&mut scene, &traffic)?;
    traffic.end("at the end")?;
    wait_quiet(&mut scene.edge)
}

fn add_weigh_drain_and_remove(scene: &mut Scene, traffic: &mut Traffic) -> Result<()> {
    let services = Services::new(scene.services.forwarding);
    let added = Instant::now();
    scene.reload(services.clone())?;
    scene.wait_share("c", 0.3, 0.4)?;
    eventually("blue/c serves", DEADLINE, || {
        traffic.has_new_with("blue/c", added)
    })?;
    traffic.settle("blue/c was added")?;
    traffic.add(&scene.lab)?;

    scene.reload(services.with(&[("a", 1.0), ("b", 0.5), ("c", 1.0)]))?;
    scene.wait_share("b", 0.15, 0.25)?;
    traffic.settle("the weight of blue/b was halved")?;

    traffic.assert_lasting_with("blue/c");
    scene.reload(services.with(&[("a", 1.0), ("b", 0.5), ("c", 0.0)]))?;
    scene.wait_share("c", 0.0, 0.0)?;
    let drained = Instant::now();
    traffic.settle("blue/c was drained")?;
    assert!(!traffic.has_new_with("blue/c", drained));
    traffic.assert_lasting_with("blue/c");

    scene.reload(services.with(&[("a", 1.0), ("b", 0.5)]))?;
    traffic.settle("blue/c was removed")?;
    wait_windows(scene)?;
    traffic.settle("the window for flows with blue/c is over")?;
    assert!(!traffic.has_new_with("blue/c", drained));
    traffic.assert_lasting_with("blue/c");

    scene.reload(services)?;
    scene.wait_share("c", 0.3, 0.4)?;
    traffic.settle("blue/c was added again")
}

/// Waits until all windows are over, and until the agent has looked at what is left of flows since.
fn wait_windows(scene: &Scene) -> Result<()> {
    eventually("all windows are over", DEADLINE, || {
        Rows::of(&scene.edge).is_ok_and(|rows| rows.flagged("generation") == 0)
    })?;
    let looked = Instant::now() + slow(Duration::from_secs(7));
    eventually("time has passed", DEADLINE, || Instant::now() > looked)
}

/// Flows that begin while it is away stay where they are when it is back.
fn flap(scene: &mut Scene, traffic: &mut Traffic) -> Result<()> {
    traffic.die(scene, &["a"])?;
    traffic.settle("blue/a is away")?;
    traffic.add(&scene.lab)?;
    traffic.revive(scene, &["a"])?;
    traffic.settle("blue/a is back")
}

fn fail_over_and_back(scene: &mut Scene, traffic: &mut Traffic) -> Result<()> {
    let all = ["a", "b", "c"];
    traffic.die(scene, &all)?;
    let failed_over = Instant::now();
    traffic.settle("green serves")?;
    traffic.add(&scene.lab)?;
    for origin in all {
        assert!(!traffic.has_new_with(&format!("blue/{origin}"), failed_over));
    }
    traffic.revive(scene, &all)?;
    traffic.settle("blue serves again")?;
    let failed_back = Instant::now();
    traffic.settle("blue goes on")?;
    for origin in ["green/a", "green/b"] {
        assert!(!traffic.has_new_with(origin, failed_back));
        traffic.assert_lasting_with(origin);
    }
    Ok(())
}

/// Many load balancers come and go beside.
fn grow_and_shrink(scene: &mut Scene, traffic: &Traffic) -> Result<()> {
    const POOLS: usize = 60;
    const LOAD_BALANCERS: usize = 300;
    let small = scene.services.clone();
    let mut large = small.clone();
    for number in 0..POOLS {
        large.beside += &format!("\n[[pool]]\nname = \"beside-{number}\"\n");
        for origin in 1..=3 {
            large.beside += &format!(
                "[[pool.origin]]\nname = \"{origin}\"\naddress = \"192.168.{number}.{origin}\"\n\
                 virtual_network = \"blue\"\n"
            );
        }
    }
    for number in 0..LOAD_BALANCERS {
        large.beside += &format!(
            "\n[[load_balancer]]\nname = \"beside-{number}\"\n\
             listeners = [{{ address = \"198.51.100.20\", port = {}, protocol = \"tcp\" }}]\n\
             default_pools = [\"beside-{}\"]\n",
            10_000 + number,
            number % POOLS,
        );
    }
    scene.reload(large)?;
    traffic.settle("many were added beside")?;
    let status = scene.edge.status()?;
    let balancers = status.0["load_balancers"].as_array().map(Vec::len);
    assert_eq!(balancers, Some(LOAD_BALANCERS + 2));
    assert_eq!(
        status.share("beside-0", "1").map(|share| share > 0.3),
        Some(true)
    );
    scene.reload(small)?;
    traffic.settle("those beside are gone")
}
