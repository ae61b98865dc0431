//! Tunnels that are devices of the kernel's.

use super::*;
use crate::config::model::TunnelKind;

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

/// A folder with a configuration and, beside it, the key that it names.
fn folder(text: &str, mode: u32) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("blue.key");
    std::fs::write(&key, format!("{KEY}\n")).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
    let file = folder.path().join("lbxdp.toml");
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
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
