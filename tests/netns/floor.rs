//! Too few origins are up, or none.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use anyhow::Result;
use tests::netns::{Edge, Lab, Shape, Status, eventually};

use crate::configuration::{MONITORS, Service};
use crate::{DEADLINE, healthy};

/// A load balancer at port 80 for blue's origins a, b and c, whose pool has these keys.
fn start(test: &str, keys: &str) -> Result<Option<(Lab, Edge, SocketAddr)>> {
    let vip = Lab::vip(10, 80);
    let service = Service::tcp("web", "blue", vip).text();
    let service = service.replace(
        "forwarding = \"nat\"",
        &format!("forwarding = \"nat\"\n{keys}"),
    );
    let started = healthy(test, Shape::OneLink, &(MONITORS.to_owned() + &service))?;
    Ok(started.map(|(lab, edge)| (lab, edge, vip)))
}

/// Packets that were dropped because nobody owned their row.
fn unowned(status: &Status) -> u64 {
    let reasons = status.0["reasons"].as_array().into_iter().flatten();
    reasons
        .filter(|reason| reason["label"] == "no_origin")
        .filter_map(|reason| reason["packets"].as_u64())
        .sum()
}

fn kill(lab: &Lab, edge: &mut Edge, origin: &str) -> Result<()> {
    lab.blue().origin(origin).stop();
    edge.wait(&format!("{origin} is found dead"), |status| {
        status.is("web", origin, "unhealthy")
    })
}

#[test]
fn with_reject_packets_are_dropped_and_counted_while_nobody_is_up() -> Result<()> {
    let test = "with_reject_packets_are_dropped_and_counted_while_nobody_is_up";
    let Some((lab, mut edge, vip)) = start(test, "all_down = \"reject\"")? else {
        return Ok(());
    };
    for origin in ["a", "b", "c"] {
        assert_eq!(unowned(&edge.status()?), 0);
        kill(&lab, &mut edge, origin)?;
    }
    let status = edge.status()?;
    let serving = status.0["load_balancers"][0]["serving"].to_string();
    assert!(serving.contains("all_down"), "{serving}");
    assert_eq!(status.share("web", "a"), Some(0.0));
    let error = lab.block_on(lab.http().get(vip, "/")).err();
    let error = format!("{:#}", error.expect("nobody answers"));
    assert!(!error.contains("refused"), "dropped, not sent: {error}");
    edge.wait("the packets are counted", |status| unowned(status) > 0)?;
    lab.blue().origin("b").serve()?;
    eventually("blue/b serves", DEADLINE, || {
        let answer = lab.block_on(lab.http().get(vip, "/"));
        answer.is_ok_and(|answer| answer.origin == "blue/b")
    })
}

#[test]
fn below_the_panic_threshold_all_origins_have_their_rows_and_the_status_says_so() -> Result<()> {
    let test = "below_the_panic_threshold_all_origins_have_their_rows_and_the_status_says_so";
    let Some((lab, mut edge, vip)) = start(test, "panic_threshold = 0.5")? else {
        return Ok(());
    };
    let shares = |status: &Status| -> Vec<bool> {
        ["a", "b", "c"]
            .iter()
            .map(|origin| status.share("web", origin).is_some_and(|share| share > 0.2))
            .collect()
    };
    let panics = |status: &Status| {
        let problems = status.0["node"]["problems"].to_string();
        problems.contains("pool web is in panic")
    };
    kill(&lab, &mut edge, "a")?;
    let status = edge.status()?;
    assert_eq!(shares(&status), [false, true, true], "two thirds are up");
    assert!(!panics(&status));
    kill(&lab, &mut edge, "b")?;
    let status = edge.status()?;
    assert_eq!(shares(&status), [true; 3], "one third is too little");
    assert!(panics(&status), "{}", status.0["node"]);
    assert_eq!(status.0["pools"][0]["state"], "panic");
    // Who is up serves its own flows, and no others.
    let mut owners = BTreeSet::new();
    let mut refused = false;
    eventually("both are seen", DEADLINE, || {
        match lab.block_on(lab.http().get(vip, "/")) {
            Ok(answer) => drop(owners.insert(answer.origin)),
            Err(error) => refused |= format!("{error:#}").contains("refused"),
        }
        refused && !owners.is_empty()
    })?;
    assert_eq!(owners.into_iter().collect::<Vec<_>>(), ["blue/c"]);
    assert!(edge.log().contains("WARN"), "{}", edge.log());
    // Without a fallback pool also with none.
    kill(&lab, &mut edge, "c")?;
    let status = edge.status()?;
    assert_eq!(shares(&status), [true; 3]);
    assert!(panics(&status));
    for origin in ["a", "b", "c"] {
        lab.blue().origin(origin).serve()?;
    }
    edge.wait_healthy()?;
    assert!(!panics(&edge.status()?));
    assert!(
        edge.log().contains("no longer: pool web is in panic"),
        "{}",
        edge.log()
    );
    Ok(())
}

#[test]
fn last_known_owners_stay_when_the_last_of_them_goes() -> Result<()> {
    let test = "last_known_owners_stay_when_the_last_of_them_goes";
    let Some((lab, mut edge, _vip)) = start(test, "all_down = \"last-known\"")? else {
        return Ok(());
    };
    for origin in ["a", "b", "c"] {
        kill(&lab, &mut edge, origin)?;
    }
    assert_eq!(edge.status()?.share("web", "c"), Some(1.0));
    Ok(())
}
