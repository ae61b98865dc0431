//! Labs: real sockets, real agents, real tunnels, in network namespaces of one machine.

mod change;
mod configuration;
mod crash;
mod device;
mod drain;
mod dsr;
mod failover;
mod floor;
mod foreign;
mod fragments;
mod ipsec;
mod ipv6;
mod isolation;
mod lab;
mod metrics;
mod monitors;
mod reload;
mod scale;
mod snat;
mod stock;
mod traffic;
mod tunnel;
mod watchdog;
mod wireguard;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tests::netns::{
    Edge, FlowId, Kind, Lab, Load, Mix, Records, Shape, agent_obstacle, eventually, obstacle,
};

/// How long anything may take that the test does not measure.
const DEADLINE: Duration = Duration::from_secs(15);

/// A lab for a test, unless labs cannot run here, which it then says by the test's name.
fn lab(test: &str, shape: Shape) -> Result<Option<Lab>> {
    if let Some(reason) = obstacle() {
        tests::skip(test, reason);
        return Ok(None);
    }
    Lab::build(shape).map(Some)
}

/// A lab for a test of the agent, unless it cannot run here, which it then says.
fn lab_for_agent(test: &str, shape: Shape) -> Result<Option<Lab>> {
    match agent_obstacle().filter(|_| obstacle().is_none()) {
        None => lab(test, shape),
        Some(reason) => {
            tests::skip(test, &reason);
            Ok(None)
        }
    }
}

/// A lab whose agent runs with the lab's own configuration and this addition, all origins healthy.
fn healthy(test: &str, shape: Shape, addition: &str) -> Result<Option<(Lab, Edge)>> {
    let Some(lab) = lab_for_agent(test, shape)? else {
        return Ok(None);
    };
    let mut edge = Edge::start(&lab, &(lab.configuration() + addition))?;
    edge.wait_healthy()?;
    Ok(Some((lab, edge)))
}

/// Lasting UDP and TCP flows and short connections, each kind to its listener.
fn start_load(lab: &Lab, tcp: SocketAddr, udp: SocketAddr) -> Result<Load> {
    let mix = |kind, to, flows, pause| Mix {
        kind,
        to,
        flows,
        pause: Duration::from_millis(pause),
    };
    let load = Load::start(
        lab,
        &[
            mix(Kind::LongTcp, tcp, 12, 30),
            mix(Kind::ShortTcp, tcp, 2, 10),
            mix(Kind::Udp, udp, 30, 30),
        ],
    );
    eventually("every flow has been answered", DEADLINE, || {
        load.records().owners_at(Instant::now()).len() >= 42
    })
    .with_context(|| load.records().failed().show())?;
    Ok(load)
}

/// No request has failed, and no flow has moved.
fn unharmed(records: &Records) {
    assert!(records.failed().is_empty(), "{}", records.failed().show());
    let owners = records.owners_at(Instant::now());
    undisturbed(records, &owners, "no flow moves");
}

/// No flow of these has been answered by another than its owner, and no request of one has failed.
fn undisturbed(records: &Records, owners: &BTreeMap<FlowId, String>, promise: &str) {
    let disturbances = records.disturbances(owners);
    assert!(
        disturbances.is_empty(),
        "{promise}: {}",
        disturbances.show()
    );
}

/// Gets so many bytes from blue's origins, over IPv4 and over IPv6; they see the client itself.
fn blue_serves_both_versions(
    lab: &Lab,
    v4: SocketAddr,
    v6: SocketAddr,
    length: usize,
) -> Result<()> {
    for (to, client) in [(v4, IpAddr::from(Lab::CLIENT)), (v6, Lab::CLIENT_V6.into())] {
        let answer = lab.block_on(lab.http().get(to, &format!("/bytes/{length}")))?;
        assert_eq!(answer.length, length);
        assert!(answer.origin.starts_with("blue/"), "{}", answer.origin);
        assert_eq!(answer.seen_client.ip(), client);
    }
    Ok(())
}

/// Waits until requests that started after `time` have been answered over every kind of flow.
fn served_since(load: &Load, time: Instant) -> Result<()> {
    eventually("requests are answered", DEADLINE, || {
        let since = load.records().since(time);
        [Kind::LongTcp, Kind::ShortTcp, Kind::Udp]
            .into_iter()
            .all(|kind| since.of(kind).answers().values().sum::<usize>() > 20)
    })
    .with_context(|| load.records().since(time).failed().show())
}
