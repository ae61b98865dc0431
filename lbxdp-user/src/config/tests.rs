mod bad;
mod offramps;
mod reading;

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::model::*;
use super::*;

pub(super) const MINIMAL: &str = include_str!("../../examples/minimal.toml");
pub(super) const VNETS: &str = include_str!("../../examples/vnets.toml");
pub(super) const DSR: &str = include_str!("../../examples/dsr.toml");

pub(super) fn parsed(text: &str) -> Result<Loaded, Invalid> {
    parse(text, Path::new("test.toml"))
}

pub(super) fn good(text: &str) -> Loaded {
    parsed(text).unwrap_or_else(|invalid| panic!("{invalid}"))
}

/// Replaces parts of a text, each of which must be there; `$` stands for the end.
pub(super) fn edited(text: &str, edits: &[(&str, &str)]) -> String {
    edits.iter().fold(text.to_owned(), |text, &(from, to)| {
        if from == "$" {
            return format!("{text}\n{to}\n");
        }
        assert!(text.contains(from), "{from:?} is not in the text");
        text.replacen(from, to, 1)
    })
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn examples_are_valid_without_warnings() {
    for text in [MINIMAL, VNETS, DSR] {
        assert_eq!(good(text).warnings, []);
    }
}

#[test]
fn defaults_are_applied() {
    let config = good(MINIMAL).config;
    assert_eq!(config.node.pin_path, Path::new("/sys/fs/bpf/lbxdp"));
    assert_eq!(config.node.socket, Path::new("/run/lbxdp.sock"));
    assert_eq!(config.node.xdp_mode, XdpMode::Auto);
    assert!(config.node.manage_sysctls);
    assert!(config.node.answer_echo);
    let pool = &config.pools["web"];
    assert!(pool.enabled);
    assert_eq!(pool.minimum_origins, 1);
    let origin = &pool.origins["a"];
    assert_eq!((origin.port, origin.enabled, origin.weight), (0, true, 1.0));
    assert_eq!(config.load_balancers["www"].steering, Steering::Off);
    let monitor = &config.monitors["web"];
    assert_eq!(monitor.timing.retries, 2);
    let MonitorKind::Http(check) = &monitor.kind else {
        panic!("{monitor:?}")
    };
    assert_eq!(
        (check.method.as_str(), check.path.as_str()),
        ("GET", "/health")
    );
    assert_eq!(check.expected_codes, [(200, 200)]);
}

#[test]
fn a_monitor_has_the_defaults_of_the_products() {
    let text = edited(
        MINIMAL,
        &[
            ("interval = \"2s\"", ""),
            ("timeout = \"500ms\"", ""),
            ("consecutive_up = 2", "consecutive_up = 0"),
            ("consecutive_down = 2", ""),
        ],
    );
    let timing = good(&text).config.monitors["web"].timing;
    let expected = Timing {
        interval: Duration::from_secs(60),
        timeout: Duration::from_secs(5),
        retries: 2,
        consecutive_up: 1,
        consecutive_down: 1,
    };
    assert_eq!(timing, expected);
}

#[test]
fn a_short_interval_shortens_the_default_timeout() {
    let text = edited(MINIMAL, &[("timeout = \"500ms\"", "")]);
    assert_eq!(
        good(&text).config.monitors["web"].timing.timeout,
        Duration::from_secs(2)
    );
}

#[test]
fn a_tunnel_is_completed() {
    let config = good(VNETS).config;
    let blue = &config.vnets["blue"].tunnels["blue-1"];
    assert_eq!(blue.device, "lbx-blue-1");
    assert_eq!(
        blue.kind,
        TunnelKind::Vxlan {
            vni: 100,
            port: 4789
        }
    );
    assert_eq!(
        (blue.local, blue.remote),
        (ip("203.0.113.1"), ip("203.0.113.2"))
    );
    assert_eq!((blue.mtu, blue.outer), (1450, OuterHeader::default()));
    assert_eq!(blue.routes, ["10.0.0.0/8".parse().unwrap()]);
    let check = blue.health_check.as_ref().unwrap();
    assert_eq!(check.target, ip("10.255.0.2"));
    assert_eq!(check.timing.interval, Duration::from_secs(1));
    let green = &config.vnets["green"].tunnels["green-1"];
    assert_eq!(green.routes, ["0.0.0.0/0".parse().unwrap()]);
    assert_eq!(
        green.health_check, blue.health_check,
        "the defaults are those written out in blue"
    );
}

#[test]
fn default_mtu_is_that_of_the_reference() {
    let cases = [
        ("ipip", "", 1480, 1460),
        ("gre", "", 1476, 1456),
        ("gre", "key = 5", 1472, 1452),
        ("gue", "", 1468, 1448),
        ("vxlan", "vni = 100", 1450, 1430),
        ("geneve", "vni = 100", 1450, 1430),
    ];
    for (kind, number, over_v4, over_v6) in cases {
        let kind = format!("kind = \"{kind}\"");
        let four = edited(VNETS, &[("kind = \"vxlan\"", &kind), ("vni = 100", number)]);
        let six = edited(
            &four,
            &[
                ("\"203.0.113.1\"", "\"203.0.113.1\", \"2001:db8::1\""),
                ("\"203.0.113.2\"", "\"2001:db8::2\""),
            ],
        );
        let mtu = |text: &str| good(text).config.vnets["blue"].tunnels["blue-1"].mtu;
        assert_eq!(
            (mtu(&four), mtu(&six)),
            (over_v4, over_v6),
            "{kind} {number}"
        );
    }
}

#[test]
fn device_names_fit_and_depend_on_one_tunnel_alone() {
    let config = good(&edited(
        VNETS,
        &[
            ("name = \"blue-1\"", "name = \"main\""),
            ("name = \"green-1\"", "name = \"main\""),
        ],
    ))
    .config;
    let device = |vnet: &str| config.vnets[vnet].tunnels["main"].device.clone();
    assert!(
        device("blue").starts_with("lbx-main-"),
        "{}",
        device("blue")
    );
    assert_ne!(device("blue"), device("green"));
    let long = good(&edited(
        VNETS,
        &[("name = \"blue-1\"", "name = \"blue-frankfurt-rack-12\"")],
    ))
    .config;
    let device = &long.vnets["blue"].tunnels["blue-frankfurt-rack-12"].device;
    assert_eq!(device.len(), 15, "{device}");
}

#[test]
fn vnet_numbers_come_from_names_unless_configured() {
    let config = good(VNETS).config;
    // FNV-1a-32("blue"), low 24 bits, from an independent implementation: see `fnv` below.
    assert_eq!(
        config.vnets["blue"].id.0,
        0x6c00_0000 | (fnv("blue") & 0x00ff_ffff)
    );
    assert_ne!(config.vnets["blue"].id, config.vnets["green"].id);
    let text = edited(VNETS, &[("name = \"blue\"", "name = \"blue\"\nid = 7")]);
    assert_eq!(good(&text).config.vnets["blue"].id.0, 7);
}

fn fnv(text: &str) -> u32 {
    let mut hash: u64 = 2_166_136_261;
    for byte in text.bytes() {
        hash = ((hash ^ u64::from(byte)) * 16_777_619) % (1 << 32);
    }
    u32::try_from(hash).unwrap()
}

#[test]
fn status_codes_in_every_form() {
    let codes = |written: &str| {
        let text = edited(
            VNETS,
            &[(
                "expected_codes = \"2xx\"",
                &format!("expected_codes = {written}"),
            )],
        );
        match good(&text).config.monitors["web"].kind.clone() {
            MonitorKind::Http(check) => check.expected_codes.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(codes("\"2xx\""), [(200, 299)]);
    assert_eq!(codes("204"), [(204, 204)]);
    assert_eq!(codes("\"200-204, 301\""), [(200, 204), (301, 301)]);
    assert_eq!(
        codes("[200, \"3xx\", \"404\"]"),
        [(200, 200), (300, 399), (404, 404)]
    );
}

#[test]
fn header_fields_may_have_several_values() {
    let text = edited(
        MINIMAL,
        &[(
            "path =",
            "header = { Host = \"www.example.net\", X-A = [\"1\", \"2\"] }\npath =",
        )],
    );
    let MonitorKind::Http(check) = good(&text).config.monitors["web"].kind.clone() else {
        panic!()
    };
    let expected = [("Host", "www.example.net"), ("X-A", "1"), ("X-A", "2")];
    assert_eq!(
        check.headers,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[test]
fn random_steering_keeps_its_weights() {
    let steering = good(DSR).config.load_balancers["dns"].steering.clone();
    let Steering::Random {
        default_weight,
        pool_weights,
    } = steering
    else {
        panic!()
    };
    assert_eq!(default_weight, 1.0);
    assert_eq!(pool_weights["dns-vxlan"], 0.25);
}

#[test]
fn the_hash_key_is_not_shown() {
    let shown = format!("{:?}", good(VNETS).config);
    assert!(
        !shown.contains("2b7e15") && !shown.contains("43, 126"),
        "{shown}"
    );
    let invalid = parsed(&edited(VNETS, &[("2b7e151628ae", "xyzzy1628ae")])).unwrap_err();
    let json = serde_json::to_string(&invalid).unwrap();
    assert!(
        !json.contains("xyzzy") && !invalid.to_string().contains("xyzzy"),
        "{invalid}"
    );
}

#[test]
fn pools_may_be_shared_when_replies_stay_unambiguous() {
    // The protocol differs; and with the listener's port, the port does.
    let same_pool = "[[load_balancer]]\nname = \"echo-2\"\nlisteners = [{ address = \"198.51.100.10\", port = 9, protocol = \"udp\" }, { address = \"198.51.100.10\", port = 7, protocol = \"tcp\" }]\ndefault_pools = [\"echo-green\"]";
    good(&edited(VNETS, &[("$", same_pool)]));
}

#[test]
fn listeners_may_have_several_ports_one_within_the_other() {
    let listeners = "listeners = [\
        { address = \"198.51.100.10\", port = 8050, protocol = \"udp\" }, \
        { address = \"198.51.100.10\", ports = \"8000-8099\", protocol = \"udp\", hash = \"source\" }, \
        { address = \"198.51.100.10\", ports = \"9000-9000\", protocol = \"udp\" }, \
        { address = \"198.51.100.10\", ports = \"any\", protocol = \"udp\" }]";
    let echo = "listeners = [{ address = \"198.51.100.10\", port = 7, protocol = \"udp\" }]";
    let config = good(&edited(VNETS, &[(echo, listeners)])).config;
    let listeners = &config.load_balancers["echo"].listeners;
    let ports: Vec<Ports> = listeners.iter().map(|listener| listener.ports).collect();
    assert_eq!(
        ports,
        [
            Ports::One(8050),
            Ports::Range(8000, 8099),
            Ports::One(9000),
            Ports::Any
        ]
    );
    let hashes: Vec<Hash> = listeners.iter().map(|listener| listener.hash).collect();
    assert_eq!(hashes, [Hash::Flow, Hash::Source, Hash::Flow, Hash::Flow]);
}

#[test]
fn a_disabled_load_balancer_may_hold_the_same_listener() {
    let spare = "[[load_balancer]]\nname = \"spare\"\nenabled = false\nlisteners = [{ address = \"198.51.100.10\", port = 80, protocol = \"tcp\" }]\ndefault_pools = [\"web-green\"]";
    good(&edited(VNETS, &[("$", spare)]));
}

#[test]
fn a_load_balancer_may_be_in_a_vnet() {
    let inside = "[[load_balancer]]\nname = \"inside\"\nvirtual_network = \"blue\"\nlisteners = [{ address = \"10.9.9.9\", port = 7, protocol = \"tcp\" }]\ndefault_pools = [\"echo-green\"]";
    let config = good(&edited(VNETS, &[("$", inside)])).config;
    assert_eq!(
        config.load_balancers["inside"].virtual_network.as_deref(),
        Some("blue")
    );
}

#[test]
fn a_tunnel_without_ethernet_needs_no_peer() {
    let text = edited(
        VNETS,
        &[
            ("kind = \"vxlan\"", "kind = \"gre\""),
            ("vni = 100", "key = 5"),
            ("peers = [\"10.255.0.2\"]", ""),
            (
                "health_check = { interval",
                "health_check = { target = \"10.0.0.11\", interval",
            ),
        ],
    );
    let tunnel = good(&text).config.vnets["blue"].tunnels["blue-1"].clone();
    assert_eq!(
        tunnel.kind,
        TunnelKind::Gre {
            key: Some(5),
            checksum: false
        }
    );
    assert_eq!(tunnel.health_check.unwrap().target, ip("10.0.0.11"));
}

#[test]
fn the_hash_key_may_be_in_a_file_that_only_its_owner_reads() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("lbxdp.toml");
    let key = folder.path().join("key");
    let written = "hash_key = \"2b7e151628aed2a6abf7158809cf4f3c\"";
    std::fs::write(
        &config,
        edited(VNETS, &[(written, "hash_key_file = \"key\"")]),
    )
    .unwrap();
    let errors = |outcome: Result<Loaded, Invalid>| outcome.unwrap_err().errors;

    let missing = errors(load(&config));
    assert_eq!(missing.len(), 1);
    assert!(missing[0].problem.contains("No such file"), "{missing:?}");

    std::fs::write(&key, "2b7e151628aed2a6abf7158809cf4f3c\n").unwrap();
    let mode =
        |mode| std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    let open = errors(load(&config));
    assert_eq!(open[0].path, "node.hash_key_file");
    assert!(
        open[0].problem.contains("0644") && open[0].hint.contains("chmod 600"),
        "{open:?}"
    );

    mode(0o600);
    let loaded = load(&config).unwrap();
    assert_eq!(
        loaded.config.node.hash_key,
        good(VNETS).config.node.hash_key
    );
    assert_eq!(loaded.warnings, []);

    std::fs::write(&key, "too short").unwrap();
    let short = errors(load(&config));
    assert!(short[0].problem.contains("9 characters"), "{short:?}");
    assert!(!short[0].problem.contains("too short"), "{short:?}");
}

#[test]
fn an_open_file_with_a_key_in_it_is_a_warning() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), VNETS).unwrap();
    let mode = |mode| {
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap()
    };
    mode(0o644);
    assert_eq!(load(file.path()).unwrap().warnings[0].path, "node.hash_key");
    mode(0o600);
    assert_eq!(load(file.path()).unwrap().warnings, []);
}

#[test]
fn what_is_unused_is_a_warning() {
    let warnings = |edits: &[(&str, &str)]| -> Vec<String> {
        good(&edited(VNETS, edits))
            .warnings
            .into_iter()
            .map(|warning| warning.path)
            .collect()
    };
    assert_eq!(
        warnings(&[(
            "default_pools = [\"echo-green\"]",
            "default_pools = [\"echo-green\"]\nrandom_steering = {}"
        )]),
        ["load_balancer[echo].random_steering"]
    );
    assert_eq!(
        warnings(&[(
            "name = \"echo\"\nlisteners",
            "name = \"echo\"\nenabled = false\nlisteners"
        )]),
        Vec::<String>::new()
    );
    assert_eq!(
        warnings(&[("$", "[[monitor]]\nname = \"m\"\ntype = \"tcp\"\nport = 1")]),
        ["monitor[m]"]
    );
    assert_eq!(
        warnings(&[(
            "default_pools = [\"web-blue\", \"web-green\"]",
            "default_pools = [\"web-green\"]"
        )]),
        ["pool[web-blue]"]
    );
    assert_eq!(
        warnings(&[(
            "address = \"10.0.0.11\"\nvirtual_network = \"green\"",
            "address = \"10.0.0.11\"\nweight = 0\nvirtual_network = \"green\""
        )]),
        ["pool[echo-green].origin"]
    );
    assert_eq!(
        warnings(&[(
            "name = \"echo-green\"",
            "name = \"echo-green\"\nenabled = false"
        )]),
        ["load_balancer[echo].default_pools"]
    );
    assert_eq!(
        warnings(&[(
            "monitor = \"ping\"",
            "panic_threshold = 0.5\nall_down = \"reject\""
        )]),
        [
            "monitor[ping]",
            "pool[echo-green].panic_threshold",
            "pool[echo-green].all_down"
        ]
    );
    assert_eq!(
        warnings(&[("minimum_origins = 1", "all_down = \"reject\"")]),
        ["pool[web-blue].all_down"],
        "another pool comes after it"
    );
    let alone = MINIMAL.split("[[load_balancer]]").next().unwrap();
    assert_eq!(good(alone).warnings.len(), 2);
}

#[test]
fn a_file_that_cannot_be_read_is_told_apart() {
    let missing = load(Path::new("/nonexistent/lbxdp.toml")).unwrap_err();
    assert!(missing.unreadable);
    assert!(missing.to_string().contains("cannot be read"), "{missing}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"\xff\xfe").unwrap();
    assert!(
        load(file.path())
            .unwrap_err()
            .to_string()
            .contains("not UTF-8")
    );
}

#[test]
fn equal_texts_mean_equal_configurations() {
    assert_eq!(good(VNETS), good(VNETS));
    assert_ne!(
        good(VNETS).config,
        good(&edited(VNETS, &[("weight = 0.5", "weight = 0.4")])).config
    );
}

#[test]
fn metrics_are_served_nowhere_unless_configured_and_not_to_everybody_without_a_word() {
    assert_eq!(good(VNETS).config.node.metrics_listen, None);
    let at = |address: &str| {
        let key = format!("interfaces = [\"eth0\"]\nmetrics_listen = {address:?}");
        good(&edited(VNETS, &[("interfaces = [\"eth0\"]", &key)]))
    };
    for address in ["127.0.0.1:9733", "[2001:db8::1]:9733", "198.51.100.10:81"] {
        let loaded = at(address);
        assert_eq!(loaded.config.node.metrics_listen, address.parse().ok());
        assert_eq!(loaded.warnings, []);
    }
    for address in ["0.0.0.0:9733", "[::]:9733"] {
        let warnings = at(address).warnings;
        assert_eq!(warnings[0].path, "node.metrics_listen");
    }
}

#[test]
fn the_reference_on_disk_is_the_one_the_code_makes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(path, reference()).unwrap();
    }
    let on_disk = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(on_disk, reference(), "run the test with UPDATE_REFERENCE=1");
}
