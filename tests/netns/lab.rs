//! The lab itself, with the kernel's own forwarding in place of lbxdp.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Result;
use tests::netns::{
    Kind, Lab, Load, Mix, Shape, Tap, UdpFlow, eventually, remove_leftovers, slow, wait_for,
};

const DEADLINE: Duration = Duration::from_secs(10);

/// The edge as a plain router into site blue.
fn kernel_forwarding(lab: &Lab) -> Result<()> {
    let (site, end) = (lab.blue(), lab.tunnel_end());
    lab.edge().ip(&format!(
        "link add blue mtu 1550 type vxlan id {} local {end} remote {} dstport 4789
         addr add 10.255.1.1/30 dev blue
         addr add fd00:255:1::1/64 dev blue nodad
         link set blue up
         route add 10.0.0.0/24 via {}
         route add fd00:10::/64 via {}",
        site.vni(),
        site.underlay(),
        site.inside(),
        site.inside_v6(),
    ))?;
    lab.router().ip("route add 10.0.0.0/24 via 203.0.113.1
         route add fd00:10::/64 via 2001:db8:e::1")
}

fn carries_traffic(lab: &Lab) -> Result<()> {
    kernel_forwarding(lab)?;
    for (text, client) in [
        ("10.0.0.11:80", IpAddr::from(Lab::CLIENT)),
        ("[fd00:10::11]:80", Lab::CLIENT_V6.into()),
    ] {
        let to: SocketAddr = text.parse()?;
        let answer = wait_for(&format!("http to {to}"), DEADLINE, || {
            lab.block_on(lab.http().get(to, "/bytes/100000")).map(Some)
        })?;
        assert_eq!(answer.origin, "blue/a");
        assert_eq!(answer.length, 100_000);
        assert_eq!(answer.seen_client.ip(), client);
    }
    let origin = lab.block_on(async {
        let to = ([10, 0, 0, 12], 7).into();
        UdpFlow::open(lab.clients(), to, slow(Duration::from_secs(1)))?
            .ask()
            .await
    })?;
    assert_eq!(origin, "blue/b");
    Ok(())
}

#[test]
fn a_lab_with_one_link_carries_traffic() -> Result<()> {
    let Some(lab) = crate::lab("a_lab_with_one_link_carries_traffic", Shape::OneLink)? else {
        return Ok(());
    };
    carries_traffic(&lab)
}

#[test]
fn a_lab_with_two_links_carries_traffic() -> Result<()> {
    let Some(lab) = crate::lab("a_lab_with_two_links_carries_traffic", Shape::TwoLinks)? else {
        return Ok(());
    };
    carries_traffic(&lab)
}

#[test]
fn an_origin_dies_silently_and_comes_back() -> Result<()> {
    let Some(lab) = crate::lab("an_origin_dies_silently_and_comes_back", Shape::OneLink)? else {
        return Ok(());
    };
    kernel_forwarding(&lab)?;
    let tap = Tap::open(lab.clients(), "eth0")?;
    let to: SocketAddr = "10.0.0.11:80".parse()?;
    let mix = |kind, port| Mix {
        kind,
        to: SocketAddr::new(to.ip(), port),
        flows: 2,
        pause: Duration::from_millis(10),
    };
    let load = Load::start(&lab, &[mix(Kind::LongTcp, 80), mix(Kind::Udp, 7)]);
    eventually("every flow is answered", DEADLINE, || {
        load.records().owners_at(Instant::now()).len() == 4
    })?;
    let died = Instant::now();
    let before = load.records();
    assert!(before.failed().is_empty(), "{}", before.failed().show());
    lab.blue().origin("a").die()?;
    let owners = before.owners_at(died);
    eventually("all flows fail", DEADLINE, || {
        load.records().disturbed(&owners).len() == owners.len()
    })?;
    let failed = load.records().of(Kind::LongTcp).failed();
    // Later ones may be refused by the gateway, which has asked for the origin in vain.
    let waited = failed
        .iter()
        .filter(|record| owners.contains_key(&record.flow.id))
        .all(|record| record.end - record.start >= Duration::from_millis(900));
    assert!(
        waited,
        "the dead do not speak, so clients time out: {}",
        failed.show()
    );
    drop(tap);
    lab.blue().origin("a").revive()?;
    let back = Instant::now();
    eventually("it answers again", DEADLINE, || {
        let records = load.records().between(back, Instant::now());
        !records.of(Kind::LongTcp).answers().is_empty()
            && !records.of(Kind::Udp).answers().is_empty()
    })
}

#[test]
fn a_stopped_server_refuses_connections_at_once() -> Result<()> {
    let Some(lab) = crate::lab(
        "a_stopped_server_refuses_connections_at_once",
        Shape::OneLink,
    )?
    else {
        return Ok(());
    };
    kernel_forwarding(&lab)?;
    lab.blue().origin("a").stop();
    let to = ([10, 0, 0, 11], 80).into();
    eventually("connections are refused", DEADLINE, || {
        let error = lab.block_on(lab.http().get(to, "/")).err();
        error.is_some_and(|error| format!("{error:#}").contains("refused"))
    })?;
    lab.blue().origin("a").serve()?;
    assert_eq!(lab.block_on(lab.http().get(to, "/"))?.origin, "blue/a");
    Ok(())
}

#[test]
fn nothing_is_left_of_a_lab() -> Result<()> {
    let Some(lab) = crate::lab("nothing_is_left_of_a_lab", Shape::OneLink)? else {
        return Ok(());
    };
    let (name, files, pins) = (lab.name().to_owned(), lab.files(), lab.pins());
    fs::create_dir(&pins)?;
    assert!(files.exists() && namespaces_of(&name) > 0);
    drop(lab);
    assert!(!files.exists() && !pins.exists());
    assert_eq!(namespaces_of(&name), 0);
    Ok(())
}

#[test]
fn what_a_killed_run_left_is_removed_and_what_a_living_one_has_is_not() -> Result<()> {
    let test = "what_a_killed_run_left_is_removed_and_what_a_living_one_has_is_not";
    let Some(lab) = crate::lab(test, Shape::OneLink)? else {
        return Ok(());
    };
    // A process that is gone, as the owner of a lab.
    let mut gone = Command::new("true").spawn()?;
    gone.wait()?;
    let dead = format!("lbxt-{}-0", gone.id());
    std::mem::forget(tests::netns::Namespace::create(&format!("{dead}-edge"))?);
    let files = std::env::temp_dir().join(&dead);
    let pins = Path::new("/sys/fs/bpf").join(&dead);
    fs::create_dir(&files)?;
    fs::create_dir(&pins)?;
    // Its agent still runs.
    let mut agent = Command::new("nsenter")
        .arg(format!("--net=/run/netns/{dead}-edge"))
        .args(["sleep", "1000"])
        .stdin(Stdio::null())
        .spawn()?;
    eventually("the process is in the namespace", DEADLINE, || {
        let of = |path: String| fs::read_link(path).ok();
        of(format!("/proc/{}/ns/net", agent.id())) != of("/proc/self/ns/net".to_owned())
    })?;
    remove_leftovers();
    eventually("the process is ended", DEADLINE, || {
        agent.try_wait().is_ok_and(|end| end.is_some())
    })?;
    assert_eq!(namespaces_of(&dead), 0);
    assert!(!files.exists() && !pins.exists());
    assert!(namespaces_of(lab.name()) > 0 && lab.files().exists());
    Ok(())
}

fn namespaces_of(lab: &str) -> usize {
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let prefix = format!("{lab}-");
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .count()
}
