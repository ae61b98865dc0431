//! Links that carry VLAN tags, lose packets and change their order.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use tests::netns::{Edge, Namespace, stream, tags_in_packets};

use super::far::{Far, Way};
use super::kinds::{self, Carried};
use crate::configuration::MONITORS;

/// Bytes that go each way over a bad link.
const BULK: usize = 100_000;

/// Makes devices with lines of `ip`, unless the kernel has no such devices.
pub(super) fn has(namespace: &Namespace, batch: &str) -> Result<bool> {
    match namespace.ip(batch) {
        Ok(()) => Ok(true),
        Err(error) => {
            let text = format!("{error:#}");
            // `ip fou` of a kernel without the module; all other kinds.
            let lacking = [
                "Unknown device type",
                "not supported",
                "No such file or directory",
            ];
            if lacking.iter().any(|answer| text.contains(answer)) {
                Ok(false)
            } else {
                Err(error)
            }
        }
    }
}

/// The way between router and far end delays, loses and reorders; what is sent arrives all the same.
#[test]
fn a_transfer_completes_over_a_link_that_loses_and_reorders() -> Result<()> {
    let test = "a_transfer_completes_over_a_link_that_loses_and_reorders";
    let Some(lab) = super::bare(test)? else {
        return Ok(());
    };
    let [kind, ..] = &kinds::VXLAN;
    let Some(far) = Far::build(&lab, kind, 0)? else {
        return tests::netns::lacking(test, kind.device_type());
    };
    let mut edge = Edge::start(
        &lab,
        &(lab.configuration() + MONITORS + &far.configuration()),
    )?;
    edge.wait_healthy()?;
    // Towards the far end, and from it: its answers and acknowledgements too.
    for (namespace, device) in [
        (lab.router().as_ref(), kind.name),
        (far.namespace(), "eth0"),
    ] {
        let disturb = "netem delay 2ms 1ms loss 2% reorder 20% 50%";
        if let Some(reason) = disturbed(namespace, device, disturb)? {
            return tests::netns::lacking(test, &reason);
        }
    }
    for way in [Way::Nat, Way::Dsr] {
        stream::exchange(&lab, far.vip(Carried::V4, way), far.name(), BULK)
            .with_context(|| format!("{way:?}"))?;
    }
    Ok(())
}

/// The clients' packets come to the edge with a tag, and answers leave with it; the tunnel's have
/// none.
#[test]
fn clients_come_over_a_vlan() -> Result<()> {
    over_vlans(
        "clients_come_over_a_vlan",
        "link add link PARENT name tagged mtu 1500 type vlan id 42",
        &[],
    )
}

/// The clients' packets and the tunnel's have a provider's tag and a customer's, both ways.
#[test]
fn clients_and_tunnels_come_over_a_vlan_in_a_vlan() -> Result<()> {
    const MAKE: &str = "link add link PARENT name service type vlan proto 802.1ad id 7
                        link set service up
                        link add link service name tagged mtu 1496 type vlan id 42";
    over_vlans(
        "clients_and_tunnels_come_over_a_vlan_in_a_vlan",
        MAKE,
        &["802.1ad 7", "802.1Q 42"],
    )
}

/// Clients come by the VLAN that is made; the tunnel's packets too, if it has these tags.
fn over_vlans(test: &str, make: &str, tags: &[&str]) -> Result<()> {
    let Some(lab) = super::bare(test)? else {
        return Ok(());
    };
    let [kind, ..] = &kinds::VXLAN;
    let Some(far) = Far::build(&lab, kind, 0)? else {
        return tests::netns::lacking(test, kind.device_type());
    };
    for (namespace, parent, own) in [(lab.router(), "edge", 129), (lab.edge(), "uplink", 130)] {
        if !has(namespace, &make.replace("PARENT", parent))? {
            return tests::netns::lacking(test, "vlan");
        }
        tags_in_packets(namespace, parent)?;
        namespace.ip(&format!(
            "link set tagged up
             addr add 203.0.113.{own}/30 dev tagged"
        ))?;
    }
    lab.router()
        .ip("route replace 198.51.100.0/24 via 203.0.113.130")?;
    lab.edge().ip("route add 192.0.2.0/24 via 203.0.113.129")?;
    if !tags.is_empty() {
        let (near, far) = (lab.tunnel_end(), far.underlay());
        lab.router()
            .ip(&format!("route add {near}/32 via 203.0.113.130"))?;
        lab.edge()
            .ip(&format!("route add {far}/32 via 203.0.113.129"))?;
    }
    let mut edge = Edge::start(
        &lab,
        &(lab.configuration() + MONITORS + &far.configuration()),
    )?;
    edge.wait_healthy()?;
    for way in [Way::Dsr, Way::Nat] {
        stream::exchange(&lab, far.vip(Carried::V4, way), far.name(), BULK)
            .with_context(|| format!("{way:?}"))
            .with_context(|| edge.log())?;
    }
    if !tags.is_empty() {
        let origins = edge.lbxdp(&["map", "dump", "ORIGINS", "--json"])?;
        let origins: Vec<serde_json::Value> = serde_json::from_slice(&origins.stdout)?;
        let own: Vec<_> = (origins.iter())
            .map(|origin| &origin["value"]["next_hop"]["tags"])
            .collect();
        assert!(
            own.contains(&&serde_json::json!(tags)),
            "no origin is behind {tags:?}: {origins:?}"
        );
    }
    Ok(())
}

/// Gives a device this discipline; why not, if the kernel has none such.
fn disturbed(namespace: &Namespace, device: &str, discipline: &str) -> Result<Option<String>> {
    let mut command = Command::new("tc");
    command
        .args(["qdisc", "add", "dev", device, "root"])
        .args(discipline.split(' '));
    let output = namespace
        .within(|| command.output())
        .context("cannot start `tc` of iproute2")?;
    if output.status.success() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if text.contains("qdisc kind is unknown") || text.contains("No such file or directory") {
        return Ok(Some(format!("netem ({text})")));
    }
    bail!("tc: {text}")
}
