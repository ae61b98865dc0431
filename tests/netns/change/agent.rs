//! The agent ends and another one starts, while rows are at risk.

use std::time::{Duration, Instant};

use anyhow::Result;
use tests::netns::{Rows, eventually, slow};

use super::scene::{Forwarding, Scene, Services};
use super::traffic::Traffic;

/// Rows at risk by an edit and by a death, under load.
fn at_risk(test: &str) -> Result<Option<(Scene, Traffic)>> {
    let services = Services::new(Forwarding::Preserve);
    let Some(mut scene) = Scene::start(test, services.clone(), "")? else {
        return Ok(None);
    };
    let mut traffic = Traffic::start(&scene.lab)?;
    scene.reload(services.with(&[("a", 1.0), ("b", 0.5), ("c", 1.0)]))?;
    scene.wait_share("b", 0.15, 0.25)?;
    traffic.die(&mut scene, &["c"])?;
    traffic.add(&scene.lab)?;
    traffic.settle("rows are at risk")?;
    Ok(Some((scene, traffic)))
}

/// Rows in force now, some of which are at risk by an edit, others by a death.
fn rows_at_risk(scene: &Scene) -> Result<Rows> {
    let rows = Rows::of(&scene.edge)?;
    assert!(rows.flagged("generation") > 0 && rows.flagged("insert") > 0);
    Ok(rows)
}

fn assert_same(scene: &Scene, before: &Rows, when: &str) -> Result<()> {
    let differences = before.differences(&Rows::of(&scene.edge)?);
    let some: Vec<_> = differences.iter().take(3).collect();
    assert!(
        differences.is_empty(),
        "{when}: {} rows: {some:?}",
        differences.len()
    );
    Ok(())
}

/// `c` comes back; flows that began elsewhere meanwhile stay there.
fn return_of_c(mut scene: Scene, mut traffic: Traffic) -> Result<()> {
    traffic.revive(&mut scene, &["c"])?;
    traffic.settle("blue/c is back")?;
    traffic.end("at the end")
}

/// `LBXDP_TEST_AWAY` is how many seconds the agent is away; ten, if it is not set.
fn away() -> Duration {
    let seconds = std::env::var("LBXDP_TEST_AWAY").map_or(10, |text| {
        text.parse()
            .expect("LBXDP_TEST_AWAY is a whole number of seconds")
    });
    slow(Duration::from_secs(seconds))
}

#[test]
fn rows_at_risk_are_the_same_while_the_agent_is_away_and_after_its_return() -> Result<()> {
    let test = "rows_at_risk_are_the_same_while_the_agent_is_away_and_after_its_return";
    let Some((mut scene, mut traffic)) = at_risk(test)? else {
        return Ok(());
    };
    let before = rows_at_risk(&scene)?;
    scene.edge.kill_9()?;
    traffic.add(&scene.lab)?;
    let end = Instant::now() + away();
    eventually("the agent has been away", away() * 2, || {
        Instant::now() > end
    })?;
    traffic.settle("the agent is away")?;
    assert_same(&scene, &before, "the agent is away")?;
    scene.edge.start_again()?;
    assert_same(&scene, &before, "the agent has just started")?;
    scene.wait_health(&["a", "b"], "healthy")?;
    traffic.settle("the agent is back")?;
    assert_same(&scene, &before, "the agent is back")?;
    return_of_c(scene, traffic)
}

/// `--trace-packets` makes another program of the object.
#[test]
fn another_program_takes_over_the_link_and_no_flow_notices() -> Result<()> {
    let test = "another_program_takes_over_the_link_and_no_flow_notices";
    let Some((mut scene, mut traffic)) = at_risk(test)? else {
        return Ok(());
    };
    let before = rows_at_risk(&scene)?;
    for options in [["--trace-packets"].as_slice(), &[]] {
        let last = scene.edge.attached("uplink")?;
        assert_eq!(scene.edge.terminate()?, Some(0), "{}", scene.edge.log());
        scene.edge.set_options(options);
        scene.edge.start_again()?;
        scene.wait_health(&["a", "b"], "healthy")?;
        traffic.add(&scene.lab)?;
        traffic.settle(&format!("the program was replaced, by options {options:?}"))?;
        let now = scene.edge.attached("uplink")?;
        assert_eq!(now.link, last.link);
        assert_ne!(now.program, last.program);
        assert_same(&scene, &before, "the program was replaced")?;
    }
    return_of_c(scene, traffic)
}
