//! A tunnel is cut, or not there from the beginning.

use std::time::Instant;

use anyhow::Result;
use tests::netns::{Edge, Lab, Shape, Status};

use crate::configuration::{MONITORS, Service};
use crate::{healthy, lab_for_agent, served_since, start_load};

#[test]
fn a_cut_tunnel_is_named_as_the_cause_and_harms_no_other() -> Result<()> {
    let test = "a_cut_tunnel_is_named_as_the_cause_and_harms_no_other";
    let (tcp, udp) = (Lab::vip(10, 80), Lab::vip(10, 7));
    let addition = [
        MONITORS,
        &Service::tcp("web", "blue", tcp).text(),
        &Service::udp("echo", "blue", udp).text(),
        &Service::tcp("green", "green", Lab::vip(20, 80)).text(),
    ]
    .concat();
    let Some((lab, mut edge)) = healthy(test, Shape::OneLink, &addition)? else {
        return Ok(());
    };
    let load = start_load(&lab, tcp, udp)?;
    lab.green().cut()?;
    let down = |status: &Status| {
        let named = ["a", "b", "c"].iter().all(|origin| {
            status.is("green", origin, "unhealthy")
                && status.cause("green", origin).as_deref() == Some("green/green-1")
        });
        let tunnel = status.tunnel("green", "green-1");
        named && tunnel.is_ok_and(|tunnel| tunnel["health"] == "unhealthy")
    };
    edge.wait("the tunnel is named as the cause", down)?;
    let status = edge.status()?;
    assert!(status.is("web", "a", "healthy"));
    assert_eq!(status.tunnel("blue", "blue-1")?["health"], "healthy");
    lab.green().mend()?;
    edge.wait_healthy()?;
    edge.wait("the tunnel is healthy too", |status| {
        let tunnel = status.tunnel("green", "green-1");
        tunnel.is_ok_and(|tunnel| tunnel["health"] == "healthy")
    })?;
    assert_eq!(edge.status()?.cause("green", "a"), None);
    let answer = lab.block_on(lab.http().get(Lab::vip(20, 80), "/"))?;
    assert!(answer.origin.starts_with("green/"));
    served_since(&load, Instant::now())?;
    let records = load.stop();
    assert!(records.failed().is_empty(), "{}", records.failed().show());
    Ok(())
}

#[test]
fn an_origin_is_healthy_only_once_packets_can_be_sent_to_it() -> Result<()> {
    let test = "an_origin_is_healthy_only_once_packets_can_be_sent_to_it";
    let Some(lab) = lab_for_agent(test, Shape::OneLink)? else {
        return Ok(());
    };
    lab.blue().cut()?;
    let echo = Service::udp("echo", "blue", Lab::vip(10, 7)).text();
    let mut edge = Edge::start(&lab, &[&lab.configuration(), MONITORS, &echo].concat())?;
    edge.wait("no next hop is known", |status| {
        let mut origins = status.origins();
        origins
            .all(|origin| origin["health"] == "unhealthy" && !origin["next_hop_problem"].is_null())
    })?;
    lab.blue().mend()?;
    edge.wait("the origins are healthy", |status| {
        for origin in status.origins() {
            let next_hop = &origin["next_hop_problem"];
            assert!(
                origin["health"] != "healthy" || next_hop.is_null(),
                "{} is healthy, but: {next_hop}",
                origin["name"]
            );
        }
        status.all_healthy()
    })
}
