//! Metrics, as Prometheus gets them from a real agent.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use prometheus_parse::{Sample, Scrape, Value};
use tests::netns::{Edge, Lab, Shape, eventually};

use crate::DEADLINE;
use crate::configuration::{MONITORS, Service};

/// What a server of metrics has answered.
struct Answer {
    status: u16,
    body: String,
}

/// The samples of an answer.
struct Metrics(Vec<Sample>);

impl Metrics {
    fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().map(|line| Ok(line.to_owned()));
        Ok(Self(Scrape::parse(lines)?.samples))
    }

    fn names(&self) -> BTreeSet<String> {
        self.0.iter().map(|sample| sample.metric.clone()).collect()
    }

    /// The sum of all samples with this name and these labels; there is one at least.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        let has = |sample: &&Sample| {
            let mut labels = labels.iter();
            sample.metric == name && labels.all(|&(key, text)| sample.labels.get(key) == Some(text))
        };
        let mut found = self.0.iter().filter(has).peekable();
        found.peek().with_context(|| format!("{name} {labels:?}"))?;
        found
            .map(|sample| match sample.value {
                Value::Counter(value) | Value::Gauge(value) => Ok(value),
                ref other => bail!("{name} has no type: {other:?}"),
            })
            .sum()
    }

    fn heartbeat_age(&self) -> Result<Duration> {
        let beat = self.sum("lbxdp_heartbeat_timestamp_seconds", &[])?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        Ok(now.saturating_sub(Duration::from_secs_f64(beat)))
    }
}

fn connect(lab: &Lab, to: SocketAddr) -> Result<TcpStream> {
    let stream = lab.edge().within(|| TcpStream::connect(to))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    Ok(stream)
}

/// Asks as a program of the edge node does.
fn get(lab: &Lab, to: SocketAddr, path: &str) -> Result<Answer> {
    let mut stream = connect(lab, to)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {to}\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").context("no HTTP")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok(Answer {
        status,
        body: body.to_owned(),
    })
}

fn scrape(lab: &Lab, from: SocketAddr) -> Result<Metrics> {
    let Answer { status, body } = get(lab, from, "/metrics")?;
    if status != 200 {
        bail!("status {status}: {body}");
    }
    Metrics::parse(&body)
}

fn printed(edge: &Edge) -> Result<(bool, Metrics)> {
    let output = edge.lbxdp(&["metrics"])?;
    let metrics = Metrics::parse(std::str::from_utf8(&output.stdout)?)?;
    Ok((output.status.success(), metrics))
}

/// A configuration with two services whose origins do not see their clients.
fn configuration(lab: &Lab, listen: Option<SocketAddr>) -> String {
    let mut text = lab.configuration();
    if let Some(address) = listen {
        text = text.replace("[node]", &format!("[node]\nmetrics_listen = \"{address}\""));
    }
    text += MONITORS;
    for service in [
        Service::tcp("web", "blue", Lab::vip(10, 80)),
        Service::udp("echo", "green", Lab::vip(10, 7)),
    ] {
        text += &service.text().replace("source = \"preserve\"\n", "");
    }
    text
}

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

#[test]
fn traffic_shows_in_metrics_and_so_do_a_stuck_and_a_dead_agent() -> Result<()> {
    let test = "traffic_shows_in_metrics_and_so_do_a_stuck_and_a_dead_agent";
    let Some(lab) = crate::lab_for_agent(test, Shape::OneLink)? else {
        return Ok(());
    };
    let at = local(9733);
    let mut edge = Edge::start(&lab, &configuration(&lab, Some(at)))?;
    edge.wait_healthy()?;
    let before = scrape(&lab, at)?;
    assert_eq!(before.sum("lbxdp_up", &[])?, 1.0);
    assert_eq!(before.sum("lbxdp_problems", &[])?, 0.0);
    assert_eq!(before.sum("lbxdp_config_generation", &[])?, 1.0);
    assert_eq!(before.sum("lbxdp_interface_attached", &[])?, 1.0);
    let age = before.heartbeat_age()?;
    assert!(age < Duration::from_secs(5), "{age:?}");

    for _ in 0..20 {
        lab.block_on(lab.http().get(Lab::vip(10, 80), "/"))?;
    }
    let sent = [("reason", "forward_nat_tunnel"), ("kind", "forward")];
    let web = [("load_balancer", "web"), ("direction", "forward")];
    let origins = [("pool", "web"), ("direction", "forward")];
    // A connection is five packets from the client, at least.
    eventually("packets are counted by reason", DEADLINE, || {
        let grown = scrape(&lab, at).and_then(|after| {
            let name = "lbxdp_packets_total";
            Ok(after.sum(name, &sent)? - before.sum(name, &sent)?)
        });
        grown.is_ok_and(|grown| grown >= 100.0)
    })?;
    let after = scrape(&lab, at)?;
    for (name, labels) in [
        ("lbxdp_listener_packets_total", web),
        ("lbxdp_origin_packets_total", origins),
    ] {
        let grown = after.sum(name, &labels)? - before.sum(name, &labels)?;
        assert!(grown >= 100.0, "{name}: {grown}");
        let bytes = name.replace("packets", "bytes");
        assert!(after.sum(&bytes, &labels)? > 40.0 * grown, "{bytes}");
    }
    let healthy = [("health", "healthy")];
    assert_eq!(after.sum("lbxdp_origin_health", &healthy)?, 6.0);
    assert!((after.sum("lbxdp_origin_share_ratio", &[("pool", "web")])? - 1.0).abs() < 1e-6);
    assert!(after.sum("lbxdp_origin_probe_rtt_seconds", &[])? > 0.0);
    // Counted every few seconds.
    eventually("source ports are counted", DEADLINE * 2, || {
        let share = scrape(&lab, at).and_then(|metrics| {
            let labels = [
                ("address", "10.0.0.11"),
                ("port", "80"),
                ("protocol", "tcp"),
            ];
            let taken = metrics.sum("lbxdp_snat_ports_taken", &labels)?;
            Ok(taken / metrics.sum("lbxdp_snat_ports_capacity", &labels)?)
        });
        share.is_ok_and(|share| share > 0.0 && share < 0.1)
    })?;

    // All that is exported is documented, and the command prints the same.
    let scraped = scrape(&lab, at)?.names();
    let documented: BTreeSet<String> = lbxdp::metrics::names().collect();
    let unknown: Vec<&String> = scraped.difference(&documented).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let (success, metrics) = printed(&edge)?;
    assert!(success);
    assert_eq!(metrics.names(), scraped);

    // An owner that is stuck: it reads a file that nobody writes.
    let file = edge.configuration_file();
    let text = fs::read(&file)?;
    let pipe = lab.files().join("pipe");
    mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR)?;
    fs::rename(&pipe, &file)?;
    eventually("the metrics say so", DEADLINE * 2, || {
        scrape(&lab, at)
            .and_then(|metrics| Ok(metrics.sum("lbxdp_up", &[])? == 0.0))
            .unwrap_or_default()
    })?;
    let (success, metrics) = printed(&edge)?;
    assert!(!success);
    assert_eq!(metrics.sum("lbxdp_up", &[])?, 0.0);
    assert!(metrics.heartbeat_age()? > Duration::from_secs(4));
    File::options().write(true).open(&file)?.write_all(&text)?;
    eventually("it goes on", DEADLINE, || {
        scrape(&lab, at)
            .and_then(|metrics| Ok(metrics.sum("lbxdp_up", &[])? == 1.0))
            .unwrap_or_default()
    })?;

    edge.kill_9()?;
    assert!(scrape(&lab, at).is_err());
    let (success, metrics) = printed(&edge)?;
    assert!(!success);
    assert_eq!(metrics.sum("lbxdp_up", &[])?, 0.0);
    assert!(metrics.heartbeat_age()? < Duration::from_secs(60));
    Ok(())
}

#[test]
fn metrics_follow_the_configuration_and_a_taken_address_ends_nothing() -> Result<()> {
    let test = "metrics_follow_the_configuration_and_a_taken_address_ends_nothing";
    let Some(lab) = crate::lab_for_agent(test, Shape::OneLink)? else {
        return Ok(());
    };
    let (first, second) = (local(9733), local(9734));
    let served = |at| scrape(&lab, at).is_ok();
    let taken = lab.edge().within(|| TcpListener::bind(first))?;
    let mut edge = Edge::start(&lab, &configuration(&lab, Some(first)))?;
    edge.wait_healthy()?;
    let status = edge.status()?;
    let problems = status.0["node"]["problems"].to_string();
    for words in [
        "metrics are not served at 127.0.0.1:9733",
        "another program",
    ] {
        assert!(problems.contains(words), "{problems}");
    }
    let (_, metrics) = printed(&edge)?;
    assert_eq!(metrics.sum("lbxdp_problems", &[])?, 1.0);
    let answer = lab.block_on(lab.http().get(Lab::vip(10, 80), "/"))?;
    assert_eq!(answer.status, 200, "the traffic does not mind");
    drop(taken);
    eventually("it is served once the address is free", DEADLINE, || {
        served(first)
    })?;
    edge.wait("the problem is gone", |status| {
        status.0["node"]["problems"]
            .as_array()
            .is_some_and(Vec::is_empty)
    })?;

    // Another port; the same at any address; nowhere.
    edge.reload(&configuration(&lab, Some(second)))?;
    eventually("it is served at the second", DEADLINE, || served(second))?;
    assert!(connect(&lab, first).is_err(), "and no more at the first");
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, second.port()));
    edge.reload(&configuration(&lab, Some(any)))?;
    let other = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), second.port()));
    eventually("it is served at any address", DEADLINE, || served(other))?;

    // Whoever connects and says nothing keeps others waiting for a while, and the owner not at all.
    let silent = (0..100)
        .map(|_| connect(&lab, second))
        .collect::<Result<Vec<_>>>()?;
    edge.wait("the status is answered", |status| {
        status.0["node"]["heartbeat"]["fresh"] == true
    })?;
    eventually("others are served", DEADLINE, || served(second))?;
    drop(silent);
    assert_eq!(get(&lab, second, "/")?.status, 404);

    edge.reload(&configuration(&lab, None))?;
    eventually("it is served nowhere", DEADLINE, || {
        connect(&lab, second).is_err()
    })?;
    assert!(printed(&edge)?.0);
    let log = edge.log();
    assert_eq!(log.matches("metrics are not served").count(), 2, "{log}");
    Ok(())
}
