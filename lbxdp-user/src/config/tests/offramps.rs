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
