//! What is not lbxdp's stays as it is.

use anyhow::Result;
use tests::netns::{Edge, Lab, Shape};

use crate::configuration::{MONITORS, Service};

#[test]
fn devices_routes_and_rules_of_others_are_untouched() -> Result<()> {
    let test = "devices_routes_and_rules_of_others_are_untouched";
    let Some(lab) = crate::lab_for_agent(test, Shape::OneLink)? else {
        return Ok(());
    };
    lab.edge().ip(
        "link add theirs mtu 1400 type vxlan id 300 local 203.0.113.1 remote 203.0.113.2 dstport 4790
         addr add 10.9.0.1/24 dev theirs
         link set theirs up
         route add 10.8.0.0/16 via 10.9.0.2 table 4711
         rule add from 10.9.0.1 lookup 4711 priority 900
         route add blackhole 10.7.0.0/16",
    )?;
    let theirs = |lab: &Lab| -> Result<Vec<String>> {
        [
            "-d -o link show theirs",
            "-o address show theirs",
            "route show table 4711",
            "route show 10.7.0.0/16",
            "rule show priority 900",
        ]
        .into_iter()
        .map(|what| lab.edge().ip_output(what))
        .collect()
    };
    let before = theirs(&lab)?;
    assert!(before.iter().all(|part| !part.is_empty()), "{before:?}");
    let addition = [
        MONITORS,
        &Service::tcp("web", "blue", Lab::vip(10, 80)).text(),
    ]
    .concat();
    let mut edge = Edge::start(&lab, &(lab.configuration() + &addition))?;
    edge.wait_healthy()?;
    assert_eq!(theirs(&lab)?, before, "while it runs");
    edge.kill_9()?;
    edge.start_again()?;
    edge.wait_healthy()?;
    edge.terminate()?;
    let output = edge.lbxdp(&["detach"])?;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(theirs(&lab)?, before, "after detach");
    Ok(())
}

#[test]
fn traffic_that_is_not_balanced_passes_through_the_edge() -> Result<()> {
    let test = "traffic_that_is_not_balanced_passes_through_the_edge";
    let addition = [
        MONITORS,
        &Service::tcp("web", "blue", Lab::vip(10, 80)).text(),
    ]
    .concat();
    let Some((lab, _edge)) = crate::healthy(test, Shape::OneLink, &addition)? else {
        return Ok(());
    };
    // A server of the node's own, and one that it routes to.
    let own = (lab.tunnel_end(), 8080).into();
    let _own = tests::netns::Server::http(lab.runtime().handle(), lab.edge(), "edge", own)?;
    assert_eq!(
        lab.block_on(lab.http().get(own, "/bytes/200000"))?.origin,
        "edge"
    );
    // The VIP's address at another port is nobody's.
    assert!(lab.block_on(lab.http().get(Lab::vip(10, 81), "/")).is_err());
    Ok(())
}
