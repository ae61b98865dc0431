//! Two nodes that share the load (ECMP), and agree without talking.
//!
//! Not with `source = "snat"`: those flows are state of a node.

use std::time::Instant;

use anyhow::Result;
use tests::netns::{Edge, Rows, Twin, eventually};

use super::scene::{Forwarding, Scene, Services};
use super::traffic::Traffic;
use crate::DEADLINE;

#[test]
fn flows_stay_with_their_origins_when_a_node_fails_with_source_preserve() -> Result<()> {
    two_nodes(
        "flows_stay_with_their_origins_when_a_node_fails_with_source_preserve",
        Forwarding::Preserve,
    )
}

#[test]
fn flows_stay_with_their_origins_when_a_node_fails_with_dsr() -> Result<()> {
    two_nodes(
        "flows_stay_with_their_origins_when_a_node_fails_with_dsr",
        Forwarding::Dsr,
    )
}

fn two_nodes(test: &str, forwarding: Forwarding) -> Result<()> {
    let services = Services::new(forwarding);
    let Some(scene) = Scene::start(test, services.clone(), "")? else {
        return Ok(());
    };
    let lab = &scene.lab;
    let twin = Twin::attach(lab)?;
    let mut other = twin.start(lab, &services.text())?;
    other.wait_healthy()?;
    wait_agreement(&scene.edge, &other)?;
    twin.join(lab)?;
    let mut traffic = Traffic::start(lab)?;
    traffic.add(lab)?;
    for (edge, name) in [(&scene.edge, "the first"), (&other, "the second")] {
        assert!(packets(edge)? > 0, "{name} node has its part of the load");
    }
    traffic.settle("two nodes share the load")?;

    let failed = Instant::now();
    twin.cut(lab)?;
    twin.leave(lab)?;
    traffic.absences.gap(failed);
    traffic.settle("a node has failed")?;
    other.wait("the dead link is told", |status| {
        status.0["node"]["problems"]
            .to_string()
            .contains("uplink is down or has no carrier")
    })?;
    twin.mend(lab)?;
    other.wait_healthy()?;
    wait_agreement(&scene.edge, &other)?;
    traffic.settle("the node is well again")?;

    // By plan: nothing is lost at all.
    twin.join(lab)?;
    traffic.settle("the node has its part again")?;
    twin.alone(lab)?;
    traffic.settle("the node has taken over all")?;
    let before = packets(&scene.edge)?;
    traffic.settle("the node has all")?;
    assert_eq!(packets(&scene.edge)?, before, "the first node has nothing");
    twin.leave(lab)?;
    traffic.end("at the end")
}

/// Both nodes come to have the same owner for every row.
fn wait_agreement(one: &Edge, two: &Edge) -> Result<()> {
    eventually("both nodes agree", DEADLINE, || {
        let (Ok(one), Ok(two)) = (Rows::of(one), Rows::of(two)) else {
            return false;
        };
        one.owners() == two.owners()
    })
}

/// How many packets a node has had for its listeners.
fn packets(edge: &Edge) -> Result<u64> {
    let status = edge.status()?;
    let balancers = status.0["load_balancers"].as_array();
    let listeners = balancers
        .into_iter()
        .flatten()
        .filter_map(|balancer| balancer["listeners"].as_array())
        .flatten();
    Ok(listeners
        .filter_map(|listener| listener["packets"].as_u64())
        .sum())
}
