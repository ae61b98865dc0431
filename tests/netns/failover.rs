//! An origin dies and comes back.

use std::time::{Duration, Instant};

use anyhow::Result;
use tests::netns::{Kind, Lab, Shape, eventually, slow};

use crate::configuration::{DETECTION, MONITORS, Service};
use crate::{DEADLINE, healthy, served_since, start_load, undisturbed};

/// What busy cores may add to the detection.
const SLACK: Duration = Duration::from_secs(5);

#[test]
fn a_death_fails_its_own_flows_alone_and_a_return_moves_no_other() -> Result<()> {
    let test = "a_death_fails_its_own_flows_alone_and_a_return_moves_no_other";
    let (tcp, udp) = (Lab::vip(10, 80), Lab::vip(10, 7));
    let addition = [
        MONITORS,
        &Service::tcp("web", "blue", tcp).text(),
        &Service::udp("echo", "blue", udp).text(),
    ]
    .concat();
    let Some((lab, mut edge)) = healthy(test, Shape::OneLink, &addition)? else {
        return Ok(());
    };
    let load = start_load(&lab, tcp, udp)?;
    let died = Instant::now();
    lab.blue().origin("a").die()?;
    edge.wait("blue/a is found dead", |status| {
        status.is("web", "a", "unhealthy") && status.is("echo", "a", "unhealthy")
    })?;
    let found = Instant::now();
    let bound = slow(DETECTION + SLACK);
    assert!(found - died <= bound, "found after {:?}", found - died);
    assert_eq!(
        edge.status()?.cause("web", "a"),
        None,
        "the tunnel is not at fault"
    );
    // What was sent before has been sent again by then, or was given up.
    let quiet = found + slow(Duration::from_secs(2));
    eventually("time has passed", DEADLINE, || Instant::now() > quiet)?;
    served_since(&load, quiet)?;

    let records = load.records();
    let before = records.until(died).failed();
    assert!(before.is_empty(), "{}", before.show());
    let mut others = records.owners_at(died);
    others.retain(|_, owner| owner != "blue/a");
    assert!(others.len() > 10, "{others:?}");
    undisturbed(&records, &others, "flows of other origins stay");
    let after = records.since(quiet);
    assert!(after.failed().is_empty(), "{}", after.failed().show());
    assert!(!after.answers().contains_key("blue/a"));

    let returned = Instant::now();
    let meanwhile = load.records().owners_at(returned);
    assert!(meanwhile.len() > others.len(), "{meanwhile:?}");
    lab.blue().origin("a").revive()?;
    edge.wait_healthy()?;
    eventually("blue/a serves again", DEADLINE, || {
        let records = load.records().since(found);
        // Lasting UDP flows stay with the origin that they have moved to.
        records.of(Kind::ShortTcp).answers().contains_key("blue/a")
    })?;
    served_since(&load, Instant::now())?;
    let records = load.stop();
    undisturbed(&records, &others, "they stay at the return");
    undisturbed(
        &records.since(returned),
        &meanwhile,
        "flows that have gone to others meanwhile stay there",
    );
    Ok(())
}

#[test]
fn with_its_pool_dead_a_load_balancer_goes_to_the_next_pool_then_to_the_fallback() -> Result<()> {
    let test = "with_its_pool_dead_a_load_balancer_goes_to_the_next_pool_then_to_the_fallback";
    let vip = Lab::vip(10, 80);
    // The pools of a Service each have a load balancer; here one uses all three.
    let pool = |name: &str, vnet: &str, address: &str| {
        format!(
            r#"
[[pool]]
name = "{name}"
monitor = "http"
[[pool.origin]]
name = "only"
address = "{address}"
virtual_network = "{vnet}"
"#
        )
    };
    let addition = [
        MONITORS,
        r#"
[[load_balancer]]
name = "web"
listeners = [{ address = "198.51.100.10", port = 80, protocol = "tcp" }]
default_pools = ["first", "second"]
fallback_pool = "last"
"#,
        &pool("first", "blue", "10.0.0.11"),
        &pool("second", "green", "10.0.0.11"),
        &pool("last", "green", "10.0.0.12"),
    ]
    .concat();
    let Some((lab, _edge)) = healthy(test, Shape::OneLink, &addition)? else {
        return Ok(());
    };
    let served_by = |origin: &str| {
        eventually(&format!("{origin} serves"), DEADLINE, || {
            let answer = lab.block_on(lab.http().get(vip, "/"));
            answer.is_ok_and(|answer| answer.origin == origin)
        })
    };
    served_by("blue/a")?;
    lab.blue().origin("a").die()?;
    served_by("green/a")?;
    lab.green().origin("a").die()?;
    served_by("green/b")?;
    lab.green().origin("a").revive()?;
    served_by("green/a")?;
    lab.blue().origin("a").revive()?;
    served_by("blue/a")
}
