//! The network namespace in which the kernel answers as the worlds of the cases say.

use std::fs;

use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, ensure};
use aya::test_helpers::NetNsGuard;

use crate::cases::world::{
    DEVICE, ETH0, ETH1, ETH2, NODE_MAC, NODE_MAC_1, ROUTER_MAC, ROUTER_MAC_1, SMALL_MTU,
};

/// The calling thread's own network namespace, until it is dropped.
pub struct Underlay {
    _namespace: NetNsGuard,
}

impl Underlay {
    /// Makes a namespace with the interfaces, neighbours and routes of
    /// [`ROUTES`](crate::cases::world::ROUTES), and enters it.
    ///
    /// # Errors
    /// When something cannot be made; needs root.
    pub fn lay() -> Result<Self> {
        let namespace = NetNsGuard::new()
            .map_err(|error| anyhow!("cannot make a network namespace: {error}"))?;
        let mut script = String::new();
        for (index, mac) in [
            (ETH0, NODE_MAC),
            (ETH1, NODE_MAC_1),
            (ETH2, [2, 0, 0, 0, 0, 0x0c]),
            (DEVICE, [2, 0, 0, 0, 0, 0x0d]),
        ] {
            let mac = text(mac);
            script.push_str(&format!(
                "link add eth{index} index {index} address {mac} type veth peer name far{index}\n\
                 link set far{index} up\n\
                 link set eth{index} up\n"
            ));
        }
        for (index, net, mac) in [(ETH0, 0, ROUTER_MAC), (ETH1, 1, ROUTER_MAC_1)] {
            let mac = text(mac);
            script.push_str(&format!(
                "addr add 198.18.{net}.1/24 dev eth{index}\n\
                 addr add 2001:db8:18:{net}::1/64 dev eth{index} nodad\n\
                 neigh replace 198.18.{net}.254 lladdr {mac} nud permanent dev eth{index}\n\
                 neigh replace 2001:db8:18:{net}::fe lladdr {mac} nud permanent dev eth{index}\n"
            ));
        }
        ip(&script)?;
        // Forwarding on everywhere comes first: it sets the interfaces that there are.
        for (key, value) in [
            ("ipv4/ip_forward", "1"),
            ("ipv6/conf/all/forwarding", "1"),
            ("ipv4/conf/eth12/forwarding", "0"),
            ("ipv6/conf/eth12/forwarding", "0"),
        ] {
            let path = format!("/proc/sys/net/{key}");
            fs::write(&path, value).with_context(|| format!("cannot write {path}"))?;
        }
        ip(&format!(
            "route add 192.0.2.0/24 via 198.18.0.254\n\
             route add 192.0.3.0/24 via 198.18.1.254\n\
             route add 192.0.4.0/24 via 198.18.0.253\n\
             route add unreachable 192.0.5.0/24\n\
             route add local 192.0.7.0/24 dev lo table local\n\
             route add 192.0.8.0/24 via 198.18.0.254 mtu lock {SMALL_MTU}\n\
             route add 192.0.9.0/24 via 198.18.0.254\n\
             -6 route add 2001:db8:c0::/64 via 2001:db8:18::fe\n\
             -6 route add 2001:db8:c1::/64 via 2001:db8:18:1::fe\n\
             -6 route add 2001:db8:c2::/64 via 2001:db8:18::fd\n\
             -6 route add unreachable 2001:db8:c3::/64\n\
             -6 route add local 2001:db8:c5::/64 dev lo table local\n\
             -6 route add 2001:db8:c6::/64 via 2001:db8:18::fe mtu lock {SMALL_MTU}\n\
             -6 route add 2001:db8:c7::/64 via 2001:db8:18::fe\n"
        ))?;
        Ok(Self {
            _namespace: namespace,
        })
    }
}

/// Runs a script of `ip` commands, of which none may fail.
fn ip(script: &str) -> Result<()> {
    for line in script.lines() {
        let output = Command::new("ip")
            .args(line.split_whitespace())
            .stdin(Stdio::null())
            .output()
            .context("cannot run ip (package iproute2)")?;
        ensure!(
            output.status.success(),
            "`ip {line}` failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
