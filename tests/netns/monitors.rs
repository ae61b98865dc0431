//! What each kind of monitor sees, through the tunnel.

use anyhow::Result;
use tests::netns::{Lab, Server, Shape};

use crate::configuration::{MONITORS, Service};
use crate::healthy;

#[test]
fn each_monitor_finds_what_it_is_for() -> Result<()> {
    let test = "each_monitor_finds_what_it_is_for";
    let service = |name, monitor, protocol, port| Service {
        monitor,
        protocol,
        ..Service::tcp(name, "blue", Lab::vip(10, port))
    };
    let addition = [
        MONITORS,
        r#"
[[monitor]]
name = "page"
type = "http"
path = "/status/404"
port = 80
expected_codes = "404"
interval = "300ms"
timeout = "300ms"
retries = 1
[[monitor]]
name = "wrong"
type = "http"
path = "/status/503"
port = 80
interval = "300ms"
timeout = "300ms"
retries = 1
[[monitor]]
name = "body"
type = "http"
path = "/"
port = 80
expected_body = "BLUE/A SAW"
interval = "300ms"
timeout = "300ms"
retries = 1
[[monitor]]
name = "port"
type = "tcp"
port = 8080
interval = "300ms"
timeout = "300ms"
retries = 1
"#,
        &service("tcp", "tcp", "tcp", 80).text(),
        &service("ping", "ping", "udp", 7).text(),
        &service("page", "page", "tcp", 81).text(),
        &service("wrong", "wrong", "tcp", 82).text(),
        &service("body", "body", "tcp", 83).text(),
        &service("port", "port", "tcp", 84).text(),
    ]
    .concat();
    let Some(lab) = crate::lab_for_agent(test, Shape::OneLink)? else {
        return Ok(());
    };
    let mut edge = tests::netns::Edge::start(&lab, &(lab.configuration() + &addition))?;
    edge.wait("healthy and unhealthy as they are", |status| {
        ["tcp", "ping", "page"]
            .iter()
            .all(|pool| status.is(pool, "a", "healthy"))
            && status.is("wrong", "a", "unhealthy")
            && status.is("body", "a", "healthy")
            && status.is("body", "b", "unhealthy")
            && status.is("port", "b", "unhealthy")
    })?;
    let status = edge.status()?;
    let reason = |pool, origin| -> Result<String> {
        Ok(status.origin(pool, origin)?["reason"]
            .to_string()
            .to_lowercase())
    };
    assert!(
        reason("wrong", "a")?.contains("503"),
        "{}",
        reason("wrong", "a")?
    );
    assert!(
        reason("body", "b")?.contains("body"),
        "{}",
        reason("body", "b")?
    );
    assert!(
        reason("port", "b")?.contains("refused"),
        "{}",
        reason("port", "b")?
    );

    // A server comes up.
    let address = "10.0.0.12:8080".parse()?;
    let namespace = lab.blue().origin("b").namespace();
    let server = Server::http(lab.runtime().handle(), namespace, "blue/b", address)?;
    edge.wait("port/b is healthy", |status| {
        status.is("port", "b", "healthy")
    })?;
    drop(server);
    // Its servers stop; the machine is still there.
    lab.blue().origin("c").stop();
    // It is gone.
    lab.blue().origin("a").unplug()?;
    edge.wait("each monitor sees what it can see", |status| {
        status.is("port", "b", "unhealthy")
            && status.is("tcp", "b", "healthy")
            && status.is("tcp", "c", "unhealthy")
            && status.is("page", "c", "unhealthy")
            && status.is("ping", "c", "healthy")
            && status.is("tcp", "a", "unhealthy")
            && status.is("ping", "a", "unhealthy")
            && status.is("body", "a", "unhealthy")
    })?;
    assert!(status.cause("tcp", "a").is_none());
    Ok(())
}

#[test]
fn probes_take_the_tunnel_of_their_own_vnet() -> Result<()> {
    let test = "probes_take_the_tunnel_of_their_own_vnet";
    let addition = [
        MONITORS,
        &Service::tcp("blue", "blue", Lab::vip(10, 80)).text(),
        &Service::tcp("green", "green", Lab::vip(20, 80)).text(),
    ]
    .concat();
    let Some((lab, mut edge)) = healthy(test, Shape::OneLink, &addition)? else {
        return Ok(());
    };
    // The same address, dead in one VNet and alive in the other.
    lab.blue().origin("a").die()?;
    lab.green().origin("b").stop();
    edge.wait("each is judged in its own VNet", |status| {
        status.is("blue", "a", "unhealthy")
            && status.is("green", "a", "healthy")
            && status.is("blue", "b", "healthy")
            && status.is("green", "b", "unhealthy")
    })?;
    Ok(())
}
