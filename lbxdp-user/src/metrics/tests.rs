use std::collections::BTreeSet;

use prometheus_parse::{Scrape, Value};

use super::*;
use crate::api::{self, SourcePorts};

fn now() -> SystemTime {
    humantime::parse_rfc3339("2026-01-03T01:02:03Z").unwrap()
}

fn time(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn traffic(packets: u64) -> api::Traffic {
    api::Traffic {
        packets,
        bytes: 100 * packets,
        reply_packets: 2 * packets,
        reply_bytes: 200 * packets,
    }
}

fn healthy() -> api::HealthState {
    api::HealthState {
        health: "healthy".to_owned(),
        since: time("2026-01-03T01:00:00Z"),
        reason: None,
        rtt_ms: Some(1.5),
    }
}

fn towards(port: u16, taken: usize) -> SourcePorts {
    SourcePorts {
        towards: format!("blue 10.0.0.11:{port}/tcp"),
        virtual_network: "blue".to_owned(),
        address: [10, 0, 0, 11].into(),
        port,
        protocol: "tcp".to_owned(),
        taken,
        available: 63_488,
    }
}

fn draining(flows: u64, until: Option<String>) -> api::Draining {
    api::Draining {
        name: "web/b".to_owned(),
        state: "leaving".to_owned(),
        address: [10, 0, 0, 12].into(),
        port: 8080,
        flows,
        until,
    }
}

/// A status in which every metric has a value.
fn full() -> api::Status {
    api::Status {
        node: api::Node {
            version: "1.2.3".to_owned(),
            pid: 7,
            since: "2026-01-03T00:00:00Z".to_owned(),
            config: "/etc/lbxdp.toml".to_owned(),
            generation: 3,
            reload_error: Some("line 1: \"what\"\nis this".to_owned()),
            problems: vec!["one".to_owned(), "two".to_owned()],
            heartbeat: Some(api::Heartbeat {
                age_ms: 500,
                pid: 7,
                generation: 3,
                fresh: true,
                process_is_there: true,
            }),
            interfaces: vec![api::Interface {
                name: "eth0".to_owned(),
                mode: "native".to_owned(),
            }],
        },
        load_balancers: vec![api::LoadBalancer {
            name: "www".to_owned(),
            enabled: true,
            state: "degraded".to_owned(),
            serving: "web (the first default pool serves)".to_owned(),
            pools: vec!["web".to_owned()],
            fallback_pool: None,
            listeners: vec![api::Listener {
                address: "2001:db8::10".parse().unwrap(),
                ports: "80".to_owned(),
                protocol: "tcp".to_owned(),
                traffic: traffic(5),
            }],
            shares: vec![api::Share {
                pool: "web".to_owned(),
                origin: "a".to_owned(),
                share: 0.25,
            }],
            rows: api::Rows {
                all: 1021,
                moved: 3,
                moved_until: time("2026-01-03T01:05:00Z"),
                will_move: 2,
                looked_up: 1,
            },
        }],
        pools: vec![api::Pool {
            name: "web".to_owned(),
            state: "panic".to_owned(),
            monitor: Some("http".to_owned()),
            origins: vec![api::Origin {
                name: "a".to_owned(),
                address: [10, 0, 0, 11].into(),
                port: 8080,
                virtual_network: "blue".to_owned(),
                enabled: true,
                weight: 0.5,
                health: healthy(),
                cause: None,
                next_hop_problem: None,
                share: 0.25,
                sessions: 12,
                traffic: traffic(4),
            }],
        }],
        draining: vec![
            draining(4, None),
            draining(3, time("2026-01-03T01:04:00Z")),
            draining(2, time("2026-01-03T01:03:00Z")),
        ],
        virtual_networks: vec![api::VirtualNetwork {
            name: "blue".to_owned(),
            id: 9,
            tunnels: vec![api::Tunnel {
                name: "blue-1".to_owned(),
                kind: "wireguard".to_owned(),
                device: "lbx-9".to_owned(),
                local: None,
                remote: Some([203, 0, 113, 2].into()),
                addresses: Vec::new(),
                mtu: 1420,
                health: healthy(),
                next_hop_problem: Some("no route".to_owned()),
                last_handshake: time("2026-01-03T01:01:00Z"),
                traffic: traffic(3),
            }],
        }],
        sessions: api::Sessions {
            open: 12,
            capacity: 131_072,
            // As from a client that tries all ports of a listener with `ports = "any"`.
            ports: [towards(8080, 50), towards(80, 40)]
                .into_iter()
                .chain((1000..2000).map(|port| towards(port, usize::from(port % 30))))
                .collect(),
        },
        flows: api::Flows {
            tracked: 1,
            capacity: 131_072,
            hits: 2,
            inserted: 3,
            opened: 4,
            refused: 5,
            evicted: 6,
            expired: 7,
        },
        reasons: vec![api::Reason {
            label: "snat_exhausted".to_owned(),
            sentence: "All source ports are taken.".to_owned(),
            packets: 9,
            bytes: 900,
        }],
    }
}

fn text(status: api::Status, format: Format) -> String {
    Exposition::answered(Box::new(status), now())
        .render(format)
        .unwrap()
}

/// As a parser that is not ours reads it.
fn scraped(text: &str) -> Scrape {
    Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap()
}

/// The value of the only sample with this name and these labels.
fn value(scrape: &Scrape, name: &str, labels: &[(&str, &str)]) -> f64 {
    let found: Vec<&prometheus_parse::Sample> = scrape
        .samples
        .iter()
        .filter(|sample| sample.metric == name)
        .filter(|sample| {
            (labels.iter()).all(|&(label, text)| sample.labels.get(label) == Some(text))
        })
        .collect();
    let [sample] = found[..] else {
        panic!("{name} {labels:?}: {found:?}");
    };
    match sample.value {
        Value::Counter(value) | Value::Gauge(value) => value,
        ref other => panic!("{name} has no type: {other:?}"),
    }
}

#[test]
fn values_are_those_of_the_status() {
    let scrape = scraped(&text(full(), Format::Prometheus));
    let origin: &[_] = &[("pool", "web"), ("origin", "a")];
    let tunnel: &[_] = &[("virtual_network", "blue"), ("tunnel", "blue-1")];
    let with =
        |labels: &[(&'static str, &'static str)], label, text| [labels, &[(label, text)]].concat();
    let value = |name: &str, labels: &[(&str, &str)]| value(&scrape, name, labels);
    assert_eq!(value("lbxdp_up", &[]), 1.0);
    assert_eq!(value("lbxdp_build_info", &[("version", "1.2.3")]), 1.0);
    assert_eq!(value("lbxdp_start_timestamp_seconds", &[]), 1_767_398_400.0);
    assert_eq!(
        value("lbxdp_heartbeat_timestamp_seconds", &[]),
        1_767_402_122.5
    );
    assert_eq!(value("lbxdp_config_generation", &[]), 3.0);
    assert_eq!(value("lbxdp_config_last_reload_successful", &[]), 0.0);
    assert_eq!(value("lbxdp_problems", &[]), 2.0);
    let eth0 = &[("interface", "eth0"), ("mode", "native")];
    assert_eq!(value("lbxdp_interface_attached", eth0), 1.0);
    let exhausted = &[("reason", "snat_exhausted"), ("kind", "drop")];
    assert_eq!(value("lbxdp_packets_total", exhausted), 9.0);
    assert_eq!(value("lbxdp_packet_bytes_total", exhausted), 900.0);
    // A counter is there before it grows.
    let not_ip = &[("reason", "not_ip"), ("kind", "pass")];
    assert_eq!(value("lbxdp_packets_total", not_ip), 0.0);
    let www: &[_] = &[("load_balancer", "www")];
    assert_eq!(
        value("lbxdp_load_balancer_state", &with(www, "state", "degraded")),
        1.0
    );
    assert_eq!(
        value("lbxdp_load_balancer_state", &with(www, "state", "healthy")),
        0.0
    );
    assert_eq!(value("lbxdp_load_balancer_share_ratio", www), 0.25);
    assert_eq!(value("lbxdp_load_balancer_rows", www), 1021.0);
    assert_eq!(
        value(
            "lbxdp_load_balancer_rows_at_risk",
            &with(www, "risk", "will_move")
        ),
        2.0
    );
    let listener = &[
        ("listener", "[2001:db8::10]:80/tcp"),
        ("direction", "reply"),
    ];
    assert_eq!(value("lbxdp_listener_packets_total", listener), 10.0);
    assert_eq!(value("lbxdp_listener_bytes_total", listener), 1000.0);
    assert_eq!(
        value(
            "lbxdp_pool_state",
            &with(&[("pool", "web")], "state", "panic")
        ),
        1.0
    );
    assert_eq!(
        value("lbxdp_origin_health", &with(origin, "health", "healthy")),
        1.0
    );
    assert_eq!(
        value("lbxdp_origin_health", &with(origin, "health", "unhealthy")),
        0.0
    );
    assert_eq!(
        value("lbxdp_origin_health_since_timestamp_seconds", origin),
        1_767_402_000.0
    );
    assert_eq!(value("lbxdp_origin_probe_rtt_seconds", origin), 0.0015);
    assert_eq!(
        value(
            "lbxdp_origin_packets_total",
            &with(origin, "direction", "forward")
        ),
        4.0
    );
    assert_eq!(value("lbxdp_origin_snat_sessions", origin), 12.0);
    assert_eq!(value("lbxdp_tunnel_next_hop_resolved", tunnel), 0.0);
    assert_eq!(
        value("lbxdp_tunnel_last_handshake_timestamp_seconds", tunnel),
        1_767_402_060.0
    );
    assert_eq!(value("lbxdp_tunnel_mtu_bytes", tunnel), 1420.0);
    assert_eq!(value("lbxdp_snat_sessions_capacity", &[]), 131_072.0);
    assert_eq!(value("lbxdp_flows_expired_total", &[]), 7.0);
    // One that has left twice is one.
    assert_eq!(
        value("lbxdp_draining_flows", &[("pool", "web"), ("origin", "b")]),
        9.0
    );
    assert_eq!(
        value("lbxdp_draining_until_timestamp_seconds", &[]),
        1_767_402_240.0
    );
}

#[test]
fn clients_do_not_choose_how_many_metrics_there_are() {
    let scrape = scraped(&text(full(), Format::Prometheus));
    let ports = |port| value(&scrape, "lbxdp_snat_ports_taken", &[("port", port)]);
    assert_eq!(
        (ports("8080"), ports("80"), ports("other")),
        (50.0, 40.0, 29.0)
    );
    let is_ports =
        |sample: &&prometheus_parse::Sample| sample.metric.starts_with("lbxdp_snat_ports");
    assert_eq!(scrape.samples.iter().filter(is_ports).count(), 6);
}

#[test]
fn what_is_exported_is_what_is_documented() {
    let scrape = scraped(&text(full(), Format::Prometheus));
    let exported: BTreeSet<String> = (scrape.samples.iter())
        .map(|sample| sample.metric.clone())
        .collect();
    let listed: Vec<String> = names().collect();
    assert_eq!(exported, listed.iter().cloned().collect());
    assert_eq!(exported.len(), listed.len(), "each name once");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(path, reference()).unwrap();
    }
    let on_disk = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(on_disk, reference(), "run the test with UPDATE_REFERENCE=1");
}

#[test]
fn every_name_of_the_readme_is_exported() {
    let readme = include_str!("../../../README.md");
    let names: BTreeSet<String> = names().collect();
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut seen = 0;
    for word in readme.split(|c| !is_of_name(c)) {
        if word.starts_with("lbxdp_") && word != "lbxdp_ebpf" && word != "lbxdp_user" {
            assert!(names.contains(word), "{word}");
            seen += 1;
        }
    }
    assert!(seen >= 3, "the README shows what to alert on: {seen} names");
}

#[test]
fn every_sample_stands_once_with_labels_as_they_are_written() {
    for format in [Format::Prometheus, Format::OpenMetrics] {
        let mut status = full();
        let balancer = &mut status.load_balancers[0];
        balancer.name = "a \"b\" \\ c".to_owned();
        balancer.listeners.push(balancer.listeners[0].clone());
        let text = text(status, format);
        let series: Vec<&str> = (text.lines())
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| Some(line.rsplit_once(' ')?.0))
            .collect();
        let distinct: BTreeSet<&str> = series.iter().copied().collect();
        assert_eq!(series.len(), distinct.len());
        assert!(text.contains(r#"load_balancer="a \"b\" \\ c""#), "{text}");
    }
}

#[test]
fn openmetrics_has_units_and_an_end() {
    let text = text(full(), Format::OpenMetrics);
    assert!(text.ends_with("# EOF\n"));
    assert!(
        text.contains("# TYPE lbxdp_listener_bytes counter\n# UNIT lbxdp_listener_bytes bytes\n")
    );
    assert!(text.contains("\nlbxdp_listener_bytes_total{"));
    assert!(text.contains("# UNIT lbxdp_load_balancer_share_ratio ratio\n"));
}

#[test]
fn without_an_answer_there_is_the_heartbeat() {
    let heartbeat = full().node.heartbeat;
    let render = |heartbeat| Exposition::unanswered(heartbeat, now()).render(Format::Prometheus);
    let scrape = scraped(&render(heartbeat).unwrap());
    assert_eq!(value(&scrape, "lbxdp_up", &[]), 0.0);
    assert_eq!(
        value(&scrape, "lbxdp_heartbeat_timestamp_seconds", &[]),
        1_767_402_122.5
    );
    assert_eq!(scrape.samples.len(), 2);
    let scrape = scraped(&render(None).unwrap());
    assert_eq!(scrape.samples.len(), 1);
}

#[test]
fn a_state_that_is_not_listed_is_shown() {
    let mut status = full();
    status.pools[0].state = "merry".to_owned();
    let text = text(status, Format::Prometheus);
    assert!(
        text.contains(r#"lbxdp_pool_state{pool="web",state="merry"} 1"#),
        "{text}"
    );
}
