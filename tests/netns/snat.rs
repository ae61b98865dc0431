//! Origins that see the node instead of its clients.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tests::netns::{Edge, Kind, Lab, Load, Mix, Shape, eventually};

use crate::configuration::{MONITORS, Service};
use crate::{DEADLINE, served_since, start_load, undisturbed};

/// Sites that know no way to clients, behind an edge that hides them.
fn hidden(test: &str, shape: Shape, node: &str) -> Result<Option<(Lab, Edge)>> {
    let services = [
        Service::tcp("blue", "blue", Lab::vip(10, 80)),
        Service::tcp("green", "green", Lab::vip(20, 80)),
        Service::udp("blue-echo", "blue", Lab::vip(10, 7)),
        Service::udp("green-echo", "green", Lab::vip(20, 7)),
    ];
    let Some(lab) = crate::lab_for_agent(test, shape)? else {
        return Ok(None);
    };
    for site in [lab.blue(), lab.green()] {
        site.gateway().ip("route del default")?;
    }
    let mut configuration = lab
        .configuration()
        .replace("[node]", &format!("[node]\n{node}"));
    configuration += MONITORS;
    for service in services {
        // The default of origins in VNets.
        configuration += &service.text().replace("source = \"preserve\"\n", "");
    }
    let mut edge = Edge::start(&lab, &configuration)?;
    edge.wait_healthy()?;
    Ok(Some((lab, edge)))
}

fn open_sessions(edge: &Edge) -> Result<u64> {
    let status = edge.status()?;
    status.0["sessions"]["open"]
        .as_u64()
        .context("the status counts sessions")
}

fn both_sites(test: &str, shape: Shape) -> Result<()> {
    let Some((lab, edge)) = hidden(test, shape, "")? else {
        return Ok(());
    };
    let sites = [
        (Lab::vip(10, 80), Lab::vip(10, 7), lab.blue(), "10.255.1.1"),
        (Lab::vip(20, 80), Lab::vip(20, 7), lab.green(), "10.255.2.1"),
    ];
    for (web, echo, site, own) in sites {
        let answer = lab.block_on(lab.http().get(web, "/bytes/1000000"))?;
        assert_eq!(answer.length, 1_000_000);
        assert!(answer.origin.starts_with(site.name()), "{answer:?}");
        assert_eq!(answer.seen_client.ip(), own.parse::<IpAddr>()?);
        let load = start_load(&lab, web, echo)?;
        served_since(&load, Instant::now())?;
        let records = load.stop();
        assert!(records.failed().is_empty(), "{}", records.failed().show());
        assert_eq!(records.to(web).answers().len(), 3, "every origin serves");
        assert_eq!(records.to(echo).answers().len(), 3, "every origin serves");
    }
    eventually("the status counts the sessions", DEADLINE, || {
        open_sessions(&edge).is_ok_and(|open| open > 40)
    })?;
    // Of both maps every entry can be read, and found again by its key.
    for map in ["SESSIONS", "MAPPINGS"] {
        let output = edge.lbxdp(&["map", "dump", map, "--json"])?;
        assert!(output.status.success(), "{output:?}");
        let entries: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let key = entries[0]["key"].as_str().context("an entry has a key")?;
        let output = edge.lbxdp(&["map", "get", map, key])?;
        assert!(output.status.success(), "{map} {key}: {output:?}");
    }
    Ok(())
}

#[test]
fn both_sites_serve_clients_that_they_know_no_way_to_over_one_link() -> Result<()> {
    let test = "both_sites_serve_clients_that_they_know_no_way_to_over_one_link";
    both_sites(test, Shape::OneLink)
}

#[test]
fn both_sites_serve_clients_that_they_know_no_way_to_over_two_links() -> Result<()> {
    let test = "both_sites_serve_clients_that_they_know_no_way_to_over_two_links";
    both_sites(test, Shape::TwoLinks)
}

#[test]
fn translated_flows_live_through_an_agents_end_and_the_return_of_an_origin() -> Result<()> {
    let test = "translated_flows_live_through_an_agents_end_and_the_return_of_an_origin";
    let Some((lab, mut edge)) = hidden(test, Shape::OneLink, "")? else {
        return Ok(());
    };
    let load = start_load(&lab, Lab::vip(10, 80), Lab::vip(10, 7))?;
    let owners = load.records().owners_at(Instant::now());
    edge.kill_9()?;
    served_since(&load, Instant::now())?;
    edge.start_again()?;
    edge.wait_healthy()?;
    served_since(&load, Instant::now())?;
    let records = load.records();
    assert!(records.failed().is_empty(), "{}", records.failed().show());
    undisturbed(&records, &owners, "no flow moves");

    // Flows that begin while an origin is away stay where they began when it returns.
    lab.blue().origin("a").die()?;
    edge.wait("blue/a is found dead", |status| {
        status.is("blue", "a", "unhealthy") && status.is("blue-echo", "a", "unhealthy")
    })?;
    let meanwhile = Instant::now();
    let begun = Load::start(
        &lab,
        &[Mix {
            kind: Kind::LongTcp,
            to: Lab::vip(10, 80),
            flows: 30,
            pause: Duration::from_millis(30),
        }],
    );
    eventually("the new flows run", DEADLINE, || {
        begun.records().owners_at(Instant::now()).len() == 30
    })?;
    let owners = begun.records().owners_at(Instant::now());
    assert!(owners.values().all(|owner| owner != "blue/a"), "{owners:?}");
    lab.blue().origin("a").revive()?;
    edge.wait_healthy()?;
    eventually("blue/a serves again", DEADLINE, || {
        let records = load.records().since(meanwhile).of(Kind::ShortTcp);
        records.answers().contains_key("blue/a")
    })?;
    served_since(&load, Instant::now())?;
    let records = begun.stop();
    assert!(records.failed().is_empty(), "{}", records.failed().show());
    undisturbed(&records, &owners, "no flow moves");
    Ok(())
}

#[test]
fn ports_are_free_again_when_their_flows_have_been_silent() -> Result<()> {
    let test = "ports_are_free_again_when_their_flows_have_been_silent";
    let timeouts = "snat_timeouts = { tcp_transitory = \"1s\", udp = \"1s\" }";
    let Some((lab, edge)) = hidden(test, Shape::OneLink, timeouts)? else {
        return Ok(());
    };
    let load = start_load(&lab, Lab::vip(10, 80), Lab::vip(10, 7))?;
    eventually("the status counts the sessions", DEADLINE, || {
        open_sessions(&edge).is_ok_and(|open| open > 40)
    })?;
    let records = load.stop();
    assert!(records.failed().is_empty(), "{}", records.failed().show());
    eventually("the sessions are gone", DEADLINE * 2, || {
        open_sessions(&edge).is_ok_and(|open| open == 0)
    })?;
    for map in ["SESSIONS", "MAPPINGS"] {
        let output = edge.lbxdp(&["map", "dump", map, "--json"])?;
        let entries: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        assert_eq!(entries.as_array().map(Vec::len), Some(0), "{map}");
    }
    Ok(())
}

#[test]
fn a_corrected_range_of_source_addresses_heals_the_flows_that_have_begun() -> Result<()> {
    let test = "a_corrected_range_of_source_addresses_heals_the_flows_that_have_begun";
    let Some((lab, edge)) = hidden(test, Shape::OneLink, "")? else {
        return Ok(());
    };
    let right = std::fs::read_to_string(edge.configuration_file())?;
    // The site knows no way to this one.
    let blue = "[[vnet]]\nname = \"blue\"\n";
    let wrong = right.replace(blue, &format!("{blue}snat = [\"10.254.0.0/24\"]\n"));
    assert_ne!(right, wrong);
    edge.reload(&wrong)?;
    let load = Load::start(
        &lab,
        &[Mix {
            kind: Kind::Udp,
            to: Lab::vip(10, 7),
            flows: 30,
            pause: Duration::from_millis(30),
        }],
    );
    eventually(
        "flows have source addresses that lead nowhere",
        DEADLINE,
        || {
            edge.lbxdp(&["map", "dump", "SESSIONS"])
                .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("10.254.0."))
        },
    )
    .with_context(|| edge.log())?;
    edge.reload(&right)?;
    // Each from the port that it had: to the program it is the same flow.
    eventually("all flows are answered", DEADLINE, || {
        load.records().owners_at(Instant::now()).len() == 30
    })
    .with_context(|| load.records().failed().show())?;
    drop(load);
    Ok(())
}
