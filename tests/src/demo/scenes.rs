//! The scenes of the demo, in order.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::{Figures, Share, Stage};
use crate::netns::{Edge, Kind, Lab, Load, Mix, Shape, Status, eventually};

const INTERVAL: Duration = Duration::from_millis(500);
const TIMEOUT: Duration = Duration::from_millis(300);
const RETRIES: u32 = 1;
const CONSECUTIVE_DOWN: u32 = 2;
/// What two busy cores, and the look at `status`, may add to the detection.
const SLACK: Duration = Duration::from_secs(2);
/// How long after the tables have changed the last request that saw the old ones may end.
const TAIL: Duration = Duration::from_millis(1500);
const DEADLINE: Duration = Duration::from_secs(15);
/// Flows after which a share is measured to about one percent.
const ENOUGH_FLOWS: usize = 1500;
/// How far a share may be from its weight: over four standard deviations of that many flows, and
/// the rows' own unevenness.
const TOLERANCE: f64 = 0.05;

/// A listener of the demo: who serves it, and with which weights.
struct Service {
    name: &'static str,
    protocol: &'static str,
    vip: u8,
    port: u16,
    vnet: &'static str,
    weights: [f64; 3],
}

const SHOP: Service = Service {
    name: "shop",
    protocol: "tcp",
    vip: 10,
    port: 80,
    vnet: "blue",
    weights: [1.0, 1.0, 0.5],
};
const BILLING: Service = Service {
    name: "billing",
    protocol: "tcp",
    vip: 20,
    port: 80,
    vnet: "green",
    weights: [1.0, 1.0, 1.0],
};
const ECHO: Service = Service {
    name: "echo",
    protocol: "udp",
    vip: 10,
    port: 7,
    vnet: "blue",
    weights: [1.0, 1.0, 1.0],
};
const SERVICES: [Service; 3] = [SHOP, BILLING, ECHO];
const ORIGINS: [(&str, &str); 3] = [("a", "10.0.0.11"), ("b", "10.0.0.12"), ("c", "10.0.0.13")];

/// The lab comes up.
pub(super) fn raise_lab(stage: &Stage) -> Result<Lab> {
    stage.scene("1. A small Internet on this machine");
    let start = Instant::now();
    let lab = stage.during("building it", || Lab::build(Shape::OneLink))?;
    stage.line("     clients -- router -- edge (lbxdp)");
    stage.line("                  |-- blue:  VXLAN gateway -- a b c   10.0.0.11 .12 .13");
    stage.line("                  '-- green: VXLAN gateway -- a b c   10.0.0.11 .12 .13");
    stage.fact("built in", &seconds(start.elapsed()));
    Ok(lab)
}

/// The agent starts.
pub(super) fn start_agent(stage: &Stage, lab: &Lab) -> Result<Edge> {
    stage.scene("2. lbxdp starts, and probes the origins through the tunnels");
    let start = Instant::now();
    let edge = stage.during("waiting for nine healthy origins", || -> Result<Edge> {
        let mut edge = Edge::start(lab, &configuration(lab))?;
        edge.wait_long("all origins are healthy", DEADLINE, Status::all_healthy)?;
        Ok(edge)
    })?;
    stage.fact("all origins healthy after", &seconds(start.elapsed()));
    Ok(edge)
}

/// The clients start.
pub(super) fn start_load(lab: &Lab) -> Load {
    let mix = |service: &Service, kind, flows, pause| Mix {
        kind,
        to: Lab::vip(service.vip, service.port),
        flows,
        pause: Duration::from_millis(pause),
    };
    Load::start(
        lab,
        &[
            mix(&SHOP, Kind::LongTcp, 12, 50),
            mix(&SHOP, Kind::ShortTcp, 4, 5),
            mix(&BILLING, Kind::LongTcp, 12, 50),
            mix(&BILLING, Kind::ShortTcp, 4, 5),
            mix(&ECHO, Kind::Udp, 60, 50),
        ],
    )
}

/// Traffic in quiet times, against the expected shares.
pub(super) fn share(stage: &Stage, load: &Load, figures: &mut Figures) -> Result<()> {
    stage.scene("3. Clients connect: TCP and UDP, short connections and long ones");
    stage.during("counting who serves them", || {
        eventually("enough flows for a measure", DEADLINE * 2, || {
            [SHOP, BILLING].iter().all(|service| {
                load.connections(Lab::vip(service.vip, service.port)) >= ENOUGH_FLOWS
            })
        })
    })?;
    let records = load.records();
    let mut seen = Vec::new();
    for service in &SERVICES {
        let here = records.to(Lab::vip(service.vip, service.port));
        let (flows, requests) = (here.flows(), here.answers());
        let all: usize = flows.values().sum();
        let weights: f64 = service.weights.iter().sum();
        for ((origin, address), weight) in ORIGINS.iter().zip(service.weights) {
            let name = format!("{}/{origin}", service.vnet);
            let count = flows.get(&name).copied().unwrap_or_default();
            let (expected, measured) = (weight / weights, ratio(count, all));
            // Sixty lasting UDP flows are too few for more than "each has some".
            let near = match service.protocol {
                "udp" => count > 0,
                _ => (measured - expected).abs() <= TOLERANCE,
            };
            figures.must(near, || {
                format!(
                    "{name} serves {measured:.3} of {}, not {expected:.3}",
                    service.name
                )
            });
            seen.push((service.vnet, *address, count));
            figures.shares.push(Share {
                listener: format!(
                    "{} {} {}",
                    service.name,
                    service.protocol,
                    Lab::vip(service.vip, service.port)
                ),
                origin: name.clone(),
                address: (*address).to_owned(),
                expected,
                measured,
                flows: count,
                requests: requests.get(&name).copied().unwrap_or_default(),
            });
        }
        let strangers = flows
            .keys()
            .filter(|name| !name.starts_with(service.vnet))
            .count();
        figures.must(strangers == 0, || {
            format!("{} was served from another VNet: {flows:?}", service.name)
        });
    }
    let served = |vnet: &str, address: &str| {
        seen.iter()
            .any(|&(v, a, count)| v == vnet && a == address && count > 0)
    };
    figures.same_address_in_both_vnets = ORIGINS
        .iter()
        .all(|(_, address)| served("blue", address) && served("green", address));
    let same = figures.same_address_in_both_vnets;
    figures.must(same, || {
        "the same address did not answer in both VNets".to_owned()
    });
    stage.shares(&figures.shares);
    stage.line("  The shop is served from blue and billing from green, at the same addresses.");
    Ok(())
}

/// An origin dies and comes back.
pub(super) fn death(
    stage: &Stage,
    lab: &Lab,
    edge: &mut Edge,
    load: &Load,
    figures: &mut Figures,
) -> Result<()> {
    stage.scene("4. Origin blue/a dies: its cable is cut, and it says no word");
    let dead = "blue/a";
    let died = Instant::now();
    lab.blue().origin("a").die()?;
    stage.during("waiting until it is found dead", || {
        edge.wait_long("blue/a is found dead", DEADLINE, |status| {
            status.is("shop", "a", "unhealthy") && status.is("echo", "a", "unhealthy")
        })
    })?;
    let found = Instant::now();
    let detection = found - died;
    let bound = INTERVAL * CONSECUTIVE_DOWN + TIMEOUT * (RETRIES + 1) + SLACK;
    settle(load, found)?;
    let records = load.records();
    let during = records.between(died, found + TAIL);
    let mut others = records.owners_at(died);
    let all = others.len();
    others.retain(|_, owner| owner != dead);
    let moved = during.disturbed(&others).len();
    let elsewhere = during.failed().len();
    figures.excused.push((died, found + TAIL));
    figures.failed_at_origin_death = elsewhere;
    figures.detection_ms = detection.as_millis();
    figures.detection_bound_ms = bound.as_millis();
    figures.interval_ms = INTERVAL.as_millis();
    figures.must(detection <= bound, || {
        format!("the death was found after {detection:?}, and {bound:?} are allowed")
    });
    let after = records.between(found + TAIL, Instant::now());
    let ghosts = after.answers().get(dead).copied().unwrap_or_default();
    figures.must(ghosts == 0, || {
        format!("the dead origin answered {ghosts} requests")
    });
    stage.fact("found dead after", &millis(detection));
    stage.fact(
        "",
        &format!(
            "(probed every {}, {CONSECUTIVE_DOWN} failures needed)",
            millis(INTERVAL)
        ),
    );
    stage.fact("requests that failed until then", &elsewhere.to_string());
    stage.fact(
        "lasting flows of other origins",
        &format!("{} of {all}", others.len()),
    );
    stage.fact("of these, moved or broken", &moved.to_string());

    stage.scene("5. It comes back");
    let revived = Instant::now();
    lab.blue().origin("a").revive()?;
    stage.during("waiting until it is healthy", || edge.wait_healthy())?;
    let healthy = Instant::now();
    stage.during("waiting until it serves", || {
        eventually("blue/a serves again", DEADLINE, || {
            let records = load.records().between(healthy, Instant::now());
            records.of(Kind::ShortTcp).answers().contains_key(dead)
        })
    })?;
    settle(load, healthy)?;
    let during = load.records().between(revived, healthy + TAIL);
    let moved_back = during.disturbed(&others).len();
    figures.excused.push((revived, healthy + TAIL));
    // What was sent before is lost with the origin, and found out late.
    let since = during.since(revived).failed();
    figures.failed_at_origin_return = since.len();
    figures.must(since.is_empty(), || {
        format!("requests failed at the return: {}", since.show())
    });
    figures.moved_elsewhere = moved + moved_back;
    let moved = figures.moved_elsewhere;
    figures.must(moved == 0, || {
        format!("{moved} flows of other origins moved or broke")
    });
    stage.fact("healthy again after", &millis(healthy - revived));
    stage.fact("flows of other origins that moved", &moved_back.to_string());
    let broken = figures.failed_at_origin_return;
    stage.fact("requests that failed", &broken.to_string());
    Ok(())
}

/// A tunnel is cut, and mended.
pub(super) fn cut(
    stage: &Stage,
    lab: &Lab,
    edge: &mut Edge,
    load: &Load,
    figures: &mut Figures,
) -> Result<()> {
    stage.scene("6. Green's tunnel is cut");
    let cut = Instant::now();
    lab.green().cut()?;
    let named = |status: &Status| {
        ORIGINS.iter().all(|(origin, _)| {
            let cause = status.cause("billing", origin);
            cause.as_deref() == Some("green/green-1")
        })
    };
    let result = stage.during("waiting until the cause is named", || {
        edge.wait_long("the tunnel is named as the cause", DEADLINE, named)
    });
    figures.tunnel_named_as_cause = result.is_ok();
    figures.must(result.is_ok(), || {
        let error = result.as_ref().err().map(|error| format!("{error:#}"));
        format!(
            "the cut tunnel was not named as the cause: {}",
            error.unwrap_or_default()
        )
    });
    if figures.tunnel_named_as_cause {
        stage.fact("named as the cause after", &millis(cut.elapsed()));
        for line in edge.status()?.why("billing", "a") {
            stage.line(&format!("  {line}"));
        }
    }
    lab.green().mend()?;
    stage.during("waiting until it carries again", || {
        edge.wait_long("green is healthy again", DEADLINE, Status::all_healthy)
    })?;
    let healthy = Instant::now();
    settle(load, healthy)?;
    let blue = load.records().between(cut, healthy + TAIL);
    let shop = blue.to(Lab::vip(SHOP.vip, SHOP.port)).failed().len()
        + blue.to(Lab::vip(ECHO.vip, ECHO.port)).failed().len();
    figures.excused.push((cut, healthy + TAIL));
    figures.must(shop == 0, || {
        format!("{shop} requests to blue failed while green was cut")
    });
    stage.fact("requests to blue that failed", &shop.to_string());
    stage.fact("mended: all healthy after", &millis(healthy - cut));
    Ok(())
}

/// The agent is killed and started again.
pub(super) fn crash(
    stage: &Stage,
    edge: &mut Edge,
    load: &Load,
    figures: &mut Figures,
) -> Result<()> {
    stage.scene("7. kill -9 of the agent, under load, and a new start");
    let killed = Instant::now();
    edge.kill_9()?;
    stage.during("serving without it", || {
        let before = load.count();
        eventually("requests are served without the agent", DEADLINE, || {
            load.count() > before + 500 && killed.elapsed() > Duration::from_secs(1)
        })
    })?;
    let without = load.records().between(killed, Instant::now());
    stage.during("starting it again", || {
        edge.start_again()?;
        edge.wait_long("all origins are healthy", DEADLINE, Status::all_healthy)
    })?;
    let back = Instant::now();
    settle(load, back)?;
    let lost = load.records().between(killed, back + TAIL).failed();
    figures.excused.push((killed, back + TAIL));
    figures.served_without_agent = without.len() - without.failed().len();
    figures.lost_at_agent_kill = lost.len();
    figures.must(lost.is_empty(), || {
        format!("requests were lost without the agent:\n{}", lost.show())
    });
    stage.fact("without an agent for", &millis(back - killed));
    stage.fact(
        "served meanwhile",
        &figures.served_without_agent.to_string(),
    );
    stage.fact("lost", &figures.lost_at_agent_kill.to_string());
    Ok(())
}

/// One packet is explained.
pub(super) fn explain(stage: &Stage, edge: &Edge) -> Result<()> {
    stage.scene("8. Why does a packet go where it goes?");
    let from = (Lab::CLIENT, 40_000).into();
    let to = Lab::vip(SHOP.vip, SHOP.port);
    stage.line(&format!("  $ lbxdp explain tcp {from} {to}"));
    let text = edge.explain("tcp", from, to)?;
    ensure!(!text.trim().is_empty(), "`lbxdp explain` says nothing");
    for line in text.trim_end().lines() {
        stage.line(&format!("  {line}"));
    }
    Ok(())
}

/// The configuration of the demo.
fn configuration(lab: &Lab) -> String {
    let mut text = lab.configuration();
    text += &format!(
        r#"
[[monitor]]
name = "web"
type = "http"
path = "/"
port = 80
interval = "{}ms"
timeout = "{}ms"
retries = {RETRIES}
consecutive_up = 2
consecutive_down = {CONSECUTIVE_DOWN}
"#,
        INTERVAL.as_millis(),
        TIMEOUT.as_millis()
    );
    for service in &SERVICES {
        let Service {
            name,
            protocol,
            vip,
            port,
            vnet,
            weights,
        } = service;
        let address = Lab::vip(*vip, *port).ip();
        text += &format!(
            r#"
[[load_balancer]]
name = "{name}"
listeners = [{{ address = "{address}", port = {port}, protocol = "{protocol}" }}]
default_pools = ["{name}"]

[[pool]]
name = "{name}"
monitor = "web"
forwarding = "nat"
"#
        );
        // Blue routes clients' addresses into its tunnel; green does not know them (the default).
        if *vnet == "blue" {
            text += "source = \"preserve\"\n";
        }
        for ((origin, address), weight) in ORIGINS.iter().zip(weights) {
            text += &format!(
                r#"[[pool.origin]]
name = "{origin}"
address = "{address}"
port = {port}
weight = {weight:.1}
virtual_network = "{vnet}"
"#
            );
        }
    }
    text
}

/// Waits until every request that saw the tables of before `time` has ended.
fn settle(load: &Load, time: Instant) -> Result<()> {
    let until = time + TAIL;
    eventually("the last old request has ended", DEADLINE, || {
        Instant::now() > until && load.records().iter().any(|record| record.start > until)
    })
    .context("the load has stopped")
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    // Counts of requests are far below the 2^52 that a float holds exactly.
    part as f64 / whole as f64
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn millis(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}
