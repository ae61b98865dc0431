//! The agent ends, in every way, and the traffic goes on.

use std::time::{Duration, Instant};

use anyhow::Result;
use lbxdp_ebpf::abi::ABI_VERSION;
use tests::netns::{Edge, Lab, Load, Shape, eventually};

use crate::configuration::{MONITORS, Service};
use crate::{DEADLINE, healthy, served_since, start_load, unharmed};

fn start(test: &str) -> Result<Option<(Lab, Edge, Load)>> {
    let (tcp, udp) = (Lab::vip(10, 80), Lab::vip(10, 7));
    let addition = [
        MONITORS,
        &Service::tcp("web", "blue", tcp).text(),
        &Service::udp("echo", "green", udp).text(),
    ]
    .concat();
    let Some((lab, edge)) = healthy(test, Shape::OneLink, &addition)? else {
        return Ok(None);
    };
    let load = start_load(&lab, tcp, udp)?;
    Ok(Some((lab, edge, load)))
}

#[test]
fn a_killed_agent_loses_no_request_and_its_successor_adopts_everything() -> Result<()> {
    let test = "a_killed_agent_loses_no_request_and_its_successor_adopts_everything";
    let Some((lab, mut edge, load)) = start(test)? else {
        return Ok(());
    };
    // With the numbers of the devices.
    let devices = lab.edge().ip_output("-o address show")?;
    for _ in 0..3 {
        edge.kill_9()?;
        served_since(&load, Instant::now())?;
        edge.start_again()?;
        edge.wait_healthy()?;
        served_since(&load, Instant::now())?;
    }
    assert_eq!(
        lab.edge().ip_output("-o address show")?,
        devices,
        "the devices are adopted"
    );
    unharmed(&load.stop());
    // It goes on to do its work.
    lab.blue().origin("b").die()?;
    edge.wait("blue/b is found dead", |status| {
        status.is("web", "b", "unhealthy")
    })?;
    lab.blue().origin("b").revive()?;
    Ok(())
}

#[test]
fn no_request_is_lost_at_an_agents_kill() -> Result<()> {
    let Some((_lab, mut edge, load)) = start("no_request_is_lost_at_an_agents_kill")? else {
        return Ok(());
    };
    edge.kill_9()?;
    served_since(&load, Instant::now())?;
    edge.start_again()?;
    // From unknown health to known: the tables stay as they were.
    edge.wait_healthy()?;
    served_since(&load, Instant::now())?;
    unharmed(&load.stop());
    Ok(())
}

/// An agent of an older map ABI is imitated by giving the folder of its maps another number, without
/// the maps that are others now: those that are carried over are the same in both.
#[test]
fn an_upgrade_to_another_map_abi_loses_no_request() -> Result<()> {
    let Some((lab, mut edge, load)) = start("an_upgrade_to_another_map_abi_loses_no_request")?
    else {
        return Ok(());
    };
    let pins = lab.pins();
    let now = pins.join(format!("v{ABI_VERSION}"));
    let changed = ["FLOWS", "FLOW_KEYS", "OPENING", "FLOW_COUNTERS", "OWNERS"];
    // Of the later ones all is taken over, rows and all.
    for (version, changed, carried) in [
        ("v2", &changed[..], ["ENTITIES", "SESSIONS", "MAPPINGS"]),
        ("v4", &changed[..], ["ROWS", "LISTENERS", "ORIGINS"]),
        ("v5", &[], ["ROWS", "OWNERS", "OPENING"]),
    ] {
        edge.kill_9()?;
        let before = pins.join(version);
        std::fs::rename(&now, &before)?;
        for name in changed {
            std::fs::remove_file(before.join(name))?;
        }
        served_since(&load, Instant::now())?;
        edge.start_again()?;
        edge.wait_healthy()?;
        served_since(&load, Instant::now())?;
        assert!(now.join("links").exists());
        assert!(!before.exists(), "nothing of the older version is left");
        let log = edge.log();
        let line = log.lines().rfind(|line| line.contains("carried over"));
        for carried in carried {
            assert!(line.is_some_and(|line| line.contains(carried)), "{log}");
        }
        assert!(log.contains("replaced the program"), "{log}");
    }
    unharmed(&load.stop());
    // It goes on to do its work.
    lab.blue().origin("b").die()?;
    edge.wait("blue/b is found dead", |status| {
        status.is("web", "b", "unhealthy")
    })?;
    Ok(())
}

#[test]
fn sigterm_leaves_the_data_path_forwarding_and_says_so() -> Result<()> {
    let Some((_lab, mut edge, load)) =
        start("sigterm_leaves_the_data_path_forwarding_and_says_so")?
    else {
        return Ok(());
    };
    assert_eq!(edge.terminate()?, Some(0), "{}", edge.log());
    served_since(&load, Instant::now())?;
    assert!(edge.log().contains("forward"), "{}", edge.log());
    unharmed(&load.stop());
    Ok(())
}

#[test]
fn detach_removes_everything_that_was_made() -> Result<()> {
    let test = "detach_removes_everything_that_was_made";
    let Some(lab) = crate::lab_for_agent(test, Shape::OneLink)? else {
        return Ok(());
    };
    let state = |lab: &Lab| -> Result<String> {
        let mut all = String::new();
        for what in [
            "-o link show",
            "-o address show",
            "-4 route show table all",
            "-6 route show table all",
            "-4 rule show",
            "-6 rule show",
        ] {
            all += &lab.edge().ip_output(what)?;
        }
        // Neighbours of the underlay and lifetimes come and go by themselves.
        Ok(all)
    };
    let before = state(&lab)?;
    let tcp = Lab::vip(10, 80);
    let addition = [MONITORS, &Service::tcp("web", "blue", tcp).text()].concat();
    let mut edge = Edge::start(&lab, &(lab.configuration() + &addition))?;
    edge.wait_healthy()?;
    assert_ne!(state(&lab)?, before);
    assert!(lab.pins().exists());
    assert_eq!(edge.terminate()?, Some(0));
    let output = edge.lbxdp(&["detach"])?;
    assert!(output.status.success(), "{output:?}");
    eventually(
        "the routes of removed devices are gone",
        Duration::from_secs(5),
        || state(&lab).is_ok_and(|after| after == before),
    )
    .unwrap_or_else(|_| assert_eq!(state(&lab).ok(), Some(before)));
    assert!(!lab.pins().exists() || std::fs::read_dir(lab.pins())?.next().is_none());
    eventually("the VIP is dead", DEADLINE, || {
        lab.block_on(lab.http().get(tcp, "/")).is_err()
    })
}
