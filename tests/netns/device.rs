//! A tunnel that is a device of somebody else's: XDP hands over to a TC program, which sends into the
//! device; answers come back by the TC program of the device.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use tests::netns::{Edge, Lab, Shape};

use crate::configuration::{MONITORS, Service};
use crate::{blue_serves_both_versions, lab_for_agent, served_since, start_load};

/// The device, which the agent is to use and not to touch.
const DEVICE: &str = "theirs";

/// Makes somebody else's VXLAN device to site blue, in the place of the agent's.
fn make_device(lab: &Lab) -> Result<()> {
    let (site, end) = (lab.blue(), lab.tunnel_end());
    lab.edge().ip(&format!(
        "link add {DEVICE} mtu 1550 type vxlan id {} local {end} remote {} dstport 4789
         addr add 10.255.1.1/30 dev {DEVICE}
         addr add fd00:255:1::1/64 dev {DEVICE} nodad
         link set {DEVICE} up",
        site.vni(),
        site.underlay(),
    ))
}

/// The lab's configuration with that device as the tunnel of site blue.
fn configuration(lab: &Lab, addition: &str) -> String {
    let site = lab.blue();
    let vxlan = format!(
        "kind = \"vxlan\"\nremote = \"{}\"\nvni = {}\n",
        site.underlay(),
        site.vni()
    );
    let text = lab.configuration();
    assert!(text.contains(&vxlan), "{text}");
    text.replace(
        &vxlan,
        &format!("kind = \"device\"\ndevice = \"{DEVICE}\"\n"),
    ) + addition
}

/// Runs `tc` at the edge.
fn tc(lab: &Lab, arguments: &str) -> Result<String> {
    let mut command = Command::new("tc");
    let output = lab.edge().within(|| {
        command
            .args(arguments.split_whitespace())
            .output()
            .context("cannot run tc (package iproute2)")
    })?;
    ensure!(
        output.status.success(),
        "`tc {arguments}` failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How many packets ended for a reason.
fn counted(edge: &Edge, reason: &str) -> Result<u64> {
    let output = edge.lbxdp(&["map", "dump", "REASONS", "--json"])?;
    let dump: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let entries = dump.as_array().context("a dump is an array")?;
    let entry = entries.iter().find(|entry| entry["key"] == reason);
    entry
        .and_then(|entry| entry["value"]["packets"].as_u64())
        .with_context(|| format!("no reason {reason} in {dump}"))
}

#[test]
fn a_device_of_others_carries_tcp_and_udp_of_both_versions() -> Result<()> {
    let test = "a_device_of_others_carries_tcp_and_udp_of_both_versions";
    let Some(lab) = lab_for_agent(test, Shape::OneLink)? else {
        return Ok(());
    };
    make_device(&lab)?;
    let (tcp, udp, six) = (Lab::vip(10, 80), Lab::vip(10, 7), Lab::vip_v6(0x10, 80));
    let addition = [
        MONITORS,
        &Service::tcp("web", "blue", tcp).text(),
        &Service::udp("echo", "blue", udp).text(),
        &Service::tcp("web6", "blue", six).text(),
    ]
    .concat();
    let mut edge = Edge::start(&lab, &configuration(&lab, &addition))?;
    edge.wait_healthy()?;
    edge.wait("the tunnel is probed through the device", |status| {
        let tunnel = status.tunnel("blue", "blue-1");
        tunnel.is_ok_and(|tunnel| tunnel["health"] == "healthy" && tunnel["kind"] == "device")
    })?;
    blue_serves_both_versions(&lab, tcp, six, 1_000_000)?;
    let load = start_load(&lab, tcp, udp)?;
    served_since(&load, Instant::now())?;
    let records = load.stop();
    assert!(records.failed().is_empty(), "{}", records.failed().show());
    assert!(counted(&edge, "forward_nat_tunnel")? > 100);
    assert!(counted(&edge, "reply_nat_tunnel")? > 100);

    let client: SocketAddr = (Lab::CLIENT, 40_000).into();
    let told = edge.explain("tcp", client, tcp)?;
    assert!(told.contains(&format!("hand over to {DEVICE}")), "{told}");
    assert!(told.contains("forward_nat_tunnel"), "{told}");
    let answer = [
        "explain",
        "udp",
        "10.0.0.11:7",
        "192.0.2.10:40000",
        "--vnet",
        "blue",
    ];
    let output = edge.lbxdp(&answer)?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("reply_nat_tunnel"), "{told}");
    assert!(told.contains(&format!("device    {DEVICE}")), "{told}");
    Ok(())
}

#[test]
fn a_device_of_others_comes_and_goes_and_stays_as_it_is() -> Result<()> {
    let test = "a_device_of_others_comes_and_goes_and_stays_as_it_is";
    let Some(lab) = lab_for_agent(test, Shape::OneLink)? else {
        return Ok(());
    };
    // Somebody has a filter on the uplink.
    tc(&lab, "qdisc add dev uplink clsact")?;
    let filter =
        "filter add dev uplink ingress pref 200 protocol ip u32 match ip dport 9 0xffff flowid 1:1";
    tc(&lab, filter)?;
    let theirs = tc(&lab, "filter show dev uplink ingress")?;
    assert!(theirs.contains("pref 200"), "{theirs}");
    let (tcp, udp) = (Lab::vip(10, 80), Lab::vip(10, 7));
    let addition = [
        MONITORS,
        &Service::tcp("web", "blue", tcp).text(),
        &Service::udp("echo", "blue", udp).text(),
    ]
    .concat();
    let mut edge = Edge::start(&lab, &configuration(&lab, &addition))?;
    edge.wait("the device is missed by name", |status| {
        let tunnel = status.tunnel("blue", "blue-1");
        let problem = format!("there is no device {DEVICE}");
        tunnel.is_ok_and(|tunnel| tunnel["next_hop_problem"] == problem.as_str())
    })?;
    make_device(&lab)?;
    let seen = |lab: &Lab| -> Result<[String; 2]> {
        Ok([
            lab.edge().ip_output(&format!("-d -o link show {DEVICE}"))?,
            lab.edge().ip_output(&format!("-o address show {DEVICE}"))?,
        ])
    };
    edge.wait_healthy()?;
    let before = seen(&lab)?;
    let load = start_load(&lab, tcp, udp)?;
    let on_device = tc(&lab, &format!("filter show dev {DEVICE} ingress"))?;
    assert!(on_device.contains("lbxdp_device"), "{on_device}");
    let on_uplink = tc(&lab, "filter show dev uplink ingress")?;
    assert!(on_uplink.contains("lbxdp_handover"), "{on_uplink}");

    // The data path goes on without the agent, and the next agent takes over.
    edge.kill_9()?;
    served_since(&load, Instant::now())?;
    edge.start_again()?;
    edge.wait_healthy()?;
    served_since(&load, Instant::now())?;
    let records = load.stop();
    assert!(records.failed().is_empty(), "{}", records.failed().show());

    // Another device of the same name, with another index.
    lab.edge().ip(&format!("link del {DEVICE}"))?;
    edge.wait("its going is noticed", |status| {
        let tunnel = status.tunnel("blue", "blue-1");
        tunnel.is_ok_and(|tunnel| tunnel["health"] == "unhealthy")
    })?;
    make_device(&lab)?;
    edge.wait_healthy()?;
    let answer = lab.block_on(lab.http().get(tcp, "/"))?;
    assert!(answer.origin.starts_with("blue/"));
    let before_detach = seen(&lab)?;

    edge.terminate()?;
    let output = edge.lbxdp(&["detach"])?;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(seen(&lab)?, before_detach, "the device is as it was");
    assert_eq!(
        before[1].split_whitespace().count(),
        before_detach[1].split_whitespace().count()
    );
    assert_eq!(tc(&lab, "filter show dev uplink ingress")?, theirs);
    let qdiscs = tc(&lab, &format!("qdisc show dev {DEVICE}"))?;
    assert!(
        !qdiscs.contains("clsact"),
        "the agent's own is gone: {qdiscs}"
    );
    assert!(
        tc(&lab, "qdisc show dev uplink")?.contains("clsact"),
        "theirs stays"
    );
    assert_eq!(lab.edge().ip_output("rule show priority 10800")?, "");
    Ok(())
}
