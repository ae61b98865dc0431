//! Tunnels that are devices of the kernel's.

use super::*;
use crate::config::model::{Keying, TunnelKind};

const DEVICE: &[(&str, &str)] = &[(
    "kind = \"vxlan\"\nremote = \"203.0.113.2\"\nvni = 100\n",
    "kind = \"device\"\ndevice = \"tun0\"\n",
)];

/// The errors of the example with its first tunnel as a device, edited further.
fn errors(edits: &[(&str, &str)]) -> Vec<(String, String)> {
    let text = edited(&edited(VNETS, DEVICE), edits);
    let invalid = parsed(&text).expect_err("it is not valid");
    let errors = invalid.errors.into_iter();
    errors.map(|error| (error.path, error.problem)).collect()
}

#[test]
fn a_device_of_others_is_a_tunnel() {
    let config = good(&edited(VNETS, DEVICE)).config;
    let tunnel = &config.vnets["blue"].tunnels["blue-1"];
    assert_eq!(tunnel.kind, TunnelKind::Device);
    assert_eq!(tunnel.device, "tun0");
    assert_eq!(tunnel.mtu, 1500);
    assert!(tunnel.remote.is_unspecified() && tunnel.local.is_unspecified());
}

#[test]
fn a_device_of_others_has_a_name_and_no_outer_headers() {
    let all = [(
        "device = \"tun0\"",
        "remote = \"203.0.113.9\"\nvni = 1\nttl = 3",
    )];
    let paths: Vec<String> = errors(&all).into_iter().map(|(path, _)| path).collect();
    for key in ["device", "remote", "vni", "ttl"] {
        let path = format!("vnet[blue].tunnel[blue-1].{key}");
        assert!(paths.contains(&path), "{path} is not among {paths:?}");
    }
    assert_eq!(paths.len(), 4, "{paths:?}");
}

#[test]
fn two_tunnels_cannot_be_one_device() {
    let same = [(
        "kind = \"vxlan\"\nremote = \"203.0.113.3\"\nvni = 200\n",
        "kind = \"device\"\ndevice = \"tun0\"\n",
    )];
    let found = errors(&same);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].1.contains("the same device \"tun0\""), "{found:?}");
}

#[test]
fn clients_in_a_vnet_are_not_served_by_way_of_devices() {
    let behind = [(
        "name = \"www\"\n",
        "name = \"www\"\nvirtual_network = \"green\"\n",
    )];
    let found = errors(&behind);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].1.contains("web-blue/a"), "{found:?}");
    let within = [(
        "name = \"echo\"\n",
        "name = \"echo\"\nvirtual_network = \"blue\"\n",
    )];
    let found = errors(&within);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].1.contains("clients of vnet \"blue\""), "{found:?}");
}

const WIREGUARD: &str = include_str!("../../../examples/wireguard.toml");
const KEY: &str = "6BDEpqfJtQRsWyuLFKFSTGR5rXtDQXvnyIvGBDfAVkw=";

/// A folder with a configuration and, beside it, the keys that it names.
fn folder(text: &str, mode: u32) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    for (name, content, mode) in [
        ("blue.key", KEY, mode),
        ("blue-in.key", KEY_IN, mode),
        ("blue-out.key", KEY_OUT, mode),
        ("lbxdp.toml", text, 0o600),
    ] {
        let file = folder.path().join(name);
        std::fs::write(&file, format!("{content}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    folder
}

#[test]
fn the_example_with_wireguard_is_valid_and_shows_no_key() {
    let folder = folder(WIREGUARD, 0o600);
    let loaded = load(&folder.path().join("lbxdp.toml")).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let tunnel = &loaded.config.vnets["blue"].tunnels["blue-1"];
    assert_eq!(tunnel.kind, TunnelKind::Wireguard);
    assert_eq!(tunnel.mtu, 1420);
    let keys = tunnel.wireguard.as_ref().unwrap();
    assert_eq!(keys.listen_port, Some(51_820));
    assert_eq!(keys.private_key.0[..3], [0xe8, 0x10, 0xc4]);
    let shown = format!("{:?}", loaded.config);
    assert!(
        !shown.contains("232, 16, 196") && !shown.contains(KEY),
        "{shown}"
    );
}

#[test]
fn mistakes_of_a_wireguard_tunnel_are_told_all_at_once_without_the_key() {
    let edits = [
        (
            "listen_port = 51820",
            "endpoint = \"example.net:51820\"\npersistent_keepalive = \"25500ms\"",
        ),
        ("peer_public_key = \"yAnz", "peer_public_key = \"yAn"),
        (
            "kind = \"wireguard\"\n",
            "kind = \"wireguard\"\nremote = \"203.0.113.2\"\nvni = 1\n",
        ),
    ];
    let folder = folder(&edited(WIREGUARD, &edits), 0o640);
    let invalid = load(&folder.path().join("lbxdp.toml")).unwrap_err();
    let text = invalid.to_string();
    for words in [
        "tunnel[blue-1].remote",
        "tunnel[blue-1].vni",
        "wireguard.private_key_file",
        "blue.key: others than its owner have access (mode 0640)",
        "wireguard.peer_public_key",
        "wireguard.endpoint",
        "wireguard.persistent_keepalive",
    ] {
        assert!(text.contains(words), "{words} is not in {text}");
    }
    assert!(!text.contains(&KEY[..12]), "{text}");
}

const IPSEC: &str = include_str!("../../../examples/ipsec.toml");
const KEY_IN: &str = "e81bf6ed38aa6cb4f5ecd4d8d9ac98a3e75d3d3d9f4db9dc2e9e1e6d0ff0ad91a1f5c3b7";
const KEY_OUT: &str = "5e4ab46c5fd3b3c8b1e5f5a29d5e0a3c6ae0e8dc7e58a2d3f2e40dd5c2f2d4b69b8d0e6f";

/// All messages about the example with IPsec, edited.
fn ipsec_errors(edits: &[(&str, &str)], mode: u32) -> String {
    let folder = folder(&edited(IPSEC, edits), mode);
    let invalid = load(&folder.path().join("lbxdp.toml")).unwrap_err();
    let text = invalid.to_string();
    assert!(!text.contains(&KEY_IN[..12]) && !text.contains(&KEY_OUT[..12]));
    text
}

#[test]
fn the_example_with_ipsec_is_valid_and_shows_no_key() {
    let folder = folder(IPSEC, 0o600);
    let loaded = load(&folder.path().join("lbxdp.toml")).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let tunnel = &loaded.config.vnets["blue"].tunnels["blue-1"];
    let TunnelKind::Ipsec { if_id, keying } = tunnel.kind else {
        panic!("{:?}", tunnel.kind)
    };
    assert!(if_id != 0 && keying == Keying::Static);
    assert_eq!(tunnel.mtu, 1446);
    assert_eq!(tunnel.local.to_string(), "203.0.113.1");
    let associations = tunnel.associations.as_ref().unwrap();
    assert_eq!(associations.inbound.spi, 0x2002);
    assert_eq!(associations.inbound.key.0[..2], [0xe8, 0x1b]);
    assert_eq!(associations.outbound.key.0.len(), 36);
    assert_eq!(associations.replay_window, 0);
    let shown = format!("{:?}", loaded.config);
    for secret in [KEY_IN, "232, 27, 246", KEY_OUT, "94, 74, 180"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let by_daemon = &loaded.config.vnets["green"].tunnels["green-1"];
    let kind = TunnelKind::Ipsec {
        if_id: 42,
        keying: Keying::Ike,
    };
    assert_eq!((by_daemon.kind, by_daemon.mtu), (kind, 1400));
    assert_eq!(by_daemon.associations, None);
}

#[test]
fn over_ipv6_esp_leaves_20_bytes_less() {
    let edits = [
        (
            "addresses = [\"203.0.113.1\"]",
            "addresses = [\"203.0.113.1\", \"2001:db8::1\"]",
        ),
        (
            "remote = \"203.0.113.2\"",
            "remote = \"2001:db8::2\"\ndscp = \"inherit\"",
        ),
    ];
    let folder = folder(&edited(IPSEC, &edits), 0o600);
    let loaded = load(&folder.path().join("lbxdp.toml")).unwrap();
    let tunnel = &loaded.config.vnets["blue"].tunnels["blue-1"];
    assert_eq!(tunnel.mtu, 1426);
    assert!(tunnel.associations.as_ref().unwrap().copies_dscp);
}

#[test]
fn mistakes_of_an_ipsec_tunnel_are_told_all_at_once_without_the_keys() {
    let edits = [
        ("spi_in = 0x2002", "spi_in = 255\nif_id = 0"),
        ("spi_out = 0x2001\n", "replay_window = 31\n"),
        (
            "remote = \"203.0.113.2\"\n",
            "remote = \"203.0.113.2\"\nvni = 1\nttl = 3\ndscp = 8\n",
        ),
        (
            "if_id = 42",
            "cipher = \"aes-gcm-128\"\nkey_in_file = \"x\"",
        ),
    ];
    let text = ipsec_errors(&edits, 0o604);
    for words in [
        "tunnel[blue-1].vni",
        "tunnel[blue-1].ttl",
        "tunnel[blue-1].dscp",
        "tunnel[blue-1].ipsec.if_id",
        "255 is reserved",
        "tunnel[blue-1].ipsec.spi_out",
        "blue-in.key: others than its owner have access (mode 0604)",
        "chmod 600",
        "blue-out.key: others",
        "31 is out of range",
        "tunnel[green-1].ipsec.if_id",
        "if_id_in",
        "tunnel[green-1].ipsec.cipher",
        "tunnel[green-1].ipsec.key_in_file",
        "business of the IKE daemon",
    ] {
        assert!(text.contains(words), "{words} is not in {text}");
    }
}

#[test]
fn a_key_of_another_length_and_one_for_both_directions_are_refused() {
    let short = [("spi_in =", "cipher = \"aes-gcm-128\"\nspi_in =")];
    let text = ipsec_errors(&short, 0o600);
    assert!(
        text.contains("something else than the 40 hexadecimal digits"),
        "{text}"
    );
    assert!(text.contains("openssl rand -hex 20"), "{text}");
    let same = [("\"blue-out.key\"", "\"blue-in.key\"")];
    let text = ipsec_errors(&same, 0o600);
    assert!(text.contains("both directions have the same key"), "{text}");
}

#[test]
fn tunnels_have_numbers_of_their_own() {
    let of_green = "keying = \"static\"\nif_id = 42\nspi_in = 0x2002\nspi_out = 0x2001\n\
                    key_in_file = \"blue-in.key\"\nkey_out_file = \"blue-out.key\"";
    let edits = [
        ("spi_in = 0x2002", "if_id = 42\nspi_in = 0x2002"),
        ("keying = \"ike\"\nif_id = 42", of_green),
    ];
    let text = ipsec_errors(&edits, 0o600);
    assert!(text.contains("have the same `if_id` 42"), "{text}");
    assert!(
        text.contains("the same `spi_in` 0x2002 at the same address"),
        "{text}"
    );
    assert!(!text.contains("`spi_out`"), "the far ends differ: {text}");
}

#[test]
fn only_an_ipsec_tunnel_has_the_table_of_one() {
    let edits = [(
        "kind = \"ipsec\"\nremote = \"203.0.113.3\"",
        "kind = \"ipip\"\nremote = \"203.0.113.3\"",
    )];
    let text = ipsec_errors(&edits, 0o600);
    assert!(text.contains("tunnel[green-1].ipsec"), "{text}");
    assert!(text.contains("the tunnel is of another kind"), "{text}");
}
