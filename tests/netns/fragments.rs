//! Datagrams that are larger than any link, through ranges of ports, both ways through a tunnel.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tests::netns::{Lab, Shape, wait_for};

use crate::configuration::{MONITORS, Service};
use crate::{DEADLINE, healthy};

/// Bytes of a datagram: three fragments of IPv4 or IPv6 at an MTU of 1500.
const SIZE: usize = 4_000;
/// Clients that ask, each from a port of its own.
const CLIENTS: u16 = 12;

/// An echo service at a range of ports, of which the origins use one.
fn service(vip: SocketAddr, name: &str, hash: &str) -> String {
    let text = Service::udp(name, "green", vip).text();
    let written = format!("port = {}, protocol = \"udp\"", vip.port());
    assert!(text.contains(&written));
    text.replace(
        &written,
        &format!("ports = \"1-19\", protocol = \"udp\", hash = \"{hash}\""),
    )
}

/// Asks with a large datagram from a port; whose answer comes back, whole and unchanged.
fn ask(lab: &Lab, vip: SocketAddr, port: u16) -> Result<String> {
    let client: IpAddr = if vip.is_ipv4() {
        Lab::CLIENT.into()
    } else {
        Lab::CLIENT_V6.into()
    };
    let socket = lab
        .clients()
        .within(|| UdpSocket::bind(SocketAddr::new(client, port)))?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    let payload: Vec<u8> = (0..SIZE).map(|index| (index * 7) as u8).collect();
    let mut buffer = vec![0; usize::from(u16::MAX)];
    wait_for("a large datagram is answered", DEADLINE, || {
        socket.send_to(&payload, vip)?;
        // A lost datagram is asked for again.
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            return Ok(None);
        };
        anyhow::ensure!(from == vip, "the answer comes from {from}, not {vip}");
        let answer = buffer.get(..length).unwrap_or_default();
        let name = answer
            .strip_suffix(payload.as_slice())
            .context("the answer is another datagram")?;
        Ok(Some(String::from_utf8_lossy(name).trim().to_owned()))
    })
}

#[test]
fn large_datagrams_go_both_ways_in_fragments() -> Result<()> {
    let vips = [Lab::vip(10, 7), Lab::vip_v6(10, 7)];
    let text = |hash: &str| {
        [
            MONITORS,
            &service(vips[0], "echo", hash),
            &service(vips[1], "echo-6", hash),
        ]
        .concat()
    };
    let test = "large_datagrams_go_both_ways_in_fragments";
    let Some((lab, edge)) = healthy(test, Shape::OneLink, &text("flow"))? else {
        return Ok(());
    };
    let servers = |vip| -> Result<BTreeSet<String>> {
        (0..CLIENTS)
            .map(|client| ask(&lab, vip, 20_000 + client))
            .collect()
    };
    for vip in vips {
        let served = servers(vip)?;
        assert!(
            served.len() > 1 && served.iter().all(|name| name.starts_with("green/")),
            "each flow by itself: {served:?}"
        );
    }
    edge.reload(&(lab.configuration() + &text("source")))?;
    for vip in vips {
        wait_for("the client stays with one origin", DEADLINE, || {
            Ok((servers(vip)?.len() == 1).then_some(()))
        })?;
    }
    Ok(())
}
