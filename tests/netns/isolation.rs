//! Two VNets with the same addresses, and packets that pretend.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use tests::netns::{Edge, Kind, Lab, Load, Mix, Shape, Tap, eventually};

use crate::configuration::{MONITORS, Service};
use crate::{DEADLINE, healthy};

#[test]
fn a_vip_is_answered_from_its_own_vnet_alone() -> Result<()> {
    let test = "a_vip_is_answered_from_its_own_vnet_alone";
    let vips = [(Lab::vip(10, 80), "blue/"), (Lab::vip(20, 80), "green/")];
    let echoes = [(Lab::vip(10, 7), "blue/"), (Lab::vip(20, 7), "green/")];
    let addition = [
        MONITORS,
        &Service::tcp("blue", "blue", vips[0].0).text(),
        &Service::tcp("green", "green", vips[1].0).text(),
        &Service::udp("blue-echo", "blue", echoes[0].0).text(),
        &Service::udp("green-echo", "green", echoes[1].0).text(),
    ]
    .concat();
    let Some((lab, _edge)) = healthy(test, Shape::OneLink, &addition)? else {
        return Ok(());
    };
    let mix = |kind, to, flows| Mix {
        kind,
        to,
        flows,
        pause: Duration::from_millis(5),
    };
    let mut mixes = Vec::new();
    for (to, _) in vips {
        mixes.extend([mix(Kind::ShortTcp, to, 4), mix(Kind::LongTcp, to, 4)]);
    }
    mixes.extend(echoes.map(|(to, _)| mix(Kind::Udp, to, 20)));
    let load = Load::start(&lab, &mixes);
    eventually("there is enough to judge by", DEADLINE, || {
        let records = load.records();
        let all = vips.into_iter().chain(echoes);
        load.count() > 3000
            && all
                .into_iter()
                .all(|(to, _)| records.to(to).answers().len() == 3)
    })?;
    let records = load.stop();
    assert!(records.failed().is_empty(), "{}", records.failed().show());
    for (vip, vnet) in vips.into_iter().chain(echoes) {
        let answers = records.to(vip).answers();
        assert_eq!(answers.len(), 3, "{vip}: {answers:?}");
        assert!(
            answers.keys().all(|origin| origin.starts_with(vnet)),
            "{vip}: {answers:?}"
        );
    }
    Ok(())
}

/// Blue serves UDP; green is there, and serves nothing.
fn blue_only(test: &str) -> Result<Option<(Lab, Edge)>> {
    let addition = [
        MONITORS,
        &Service::udp("echo", "blue", Lab::vip(10, 7)).text(),
    ]
    .concat();
    healthy(test, Shape::OneLink, &addition)
}

/// Sources and payloads of the datagrams that reach the client's link after the forgery and before
/// a true echo that is asked for after it: nothing is waited for in vain.
fn reaches_client(
    lab: &Lab,
    forge: impl FnOnce() -> Result<()>,
) -> Result<Vec<(Ipv4Addr, Vec<u8>)>> {
    let tap = Tap::open(lab.clients(), "eth0")?;
    forge()?;
    // What was forged before is on its way before this.
    let mut seen = Vec::new();
    let end = Instant::now() + DEADLINE;
    loop {
        // A new port each time: one of them has an origin that answers.
        let real = lab.clients().within(|| UdpSocket::bind((Lab::CLIENT, 0)))?;
        real.send_to(b"end", Lab::vip(10, 7))?;
        let found = tap.receive(Duration::from_millis(200), |frame| {
            let packet = SlicedPacket::from_ethernet(frame).ok()?;
            let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) =
                (&packet.net, &packet.transport)
            else {
                return None;
            };
            let to_client = ip.header().destination_addr() == Lab::CLIENT;
            to_client.then(|| (ip.header().source_addr(), udp.payload().to_vec()))
        })?;
        if let Some((source, payload)) = found {
            if payload.ends_with(b" end") {
                return Ok(seen);
            }
            seen.push((source, payload));
        }
        anyhow::ensure!(Instant::now() < end, "the true echo does not arrive");
    }
}

const VIP: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
const CLIENT_SOCKET: SocketAddrV4 = SocketAddrV4::new(Lab::CLIENT, 5555);

#[test]
fn a_packet_of_another_vnet_with_the_same_addresses_is_not_taken_for_an_answer() -> Result<()> {
    let test = "a_packet_of_another_vnet_with_the_same_addresses_is_not_taken_for_an_answer";
    let Some((lab, _edge)) = blue_only(test)? else {
        return Ok(());
    };
    let green = lab.green().origin("a").namespace();
    lab.green().origin("a").stop();
    let forged = eventually_bound(|| green.within(|| UdpSocket::bind("10.0.0.11:7")))?;
    let seen = reaches_client(&lab, || {
        forged.send_to(b"forged", CLIENT_SOCKET)?;
        Ok(())
    })?;
    assert_eq!(
        seen,
        [],
        "green does not answer for blue, nor does it reach the client at all"
    );
    // The same packet of blue is an answer, of the VIP's.
    let blue = lab.blue().origin("a").namespace();
    lab.blue().origin("a").stop();
    let true_answer = eventually_bound(|| blue.within(|| UdpSocket::bind("10.0.0.11:7")))?;
    let seen = reaches_client(&lab, || {
        true_answer.send_to(b"true", CLIENT_SOCKET)?;
        Ok(())
    })?;
    assert_eq!(seen, [(VIP, b"true".to_vec())]);
    Ok(())
}

#[test]
fn a_tunnel_packet_of_an_unknown_peer_is_not_forwarded() -> Result<()> {
    let test = "a_tunnel_packet_of_an_unknown_peer_is_not_forwarded";
    let Some((lab, edge)) = blue_only(test)? else {
        return Ok(());
    };
    let status = edge.status()?;
    let device = status.tunnel("blue", "blue-1")?["device"]
        .as_str()
        .unwrap_or_default();
    let mut inner = Vec::new();
    PacketBuilder::ethernet2([2; 6], lab.edge().mac_of(device)?)
        .ipv4([10, 0, 0, 11], Lab::CLIENT.octets(), 64)
        .udp(7, CLIENT_SOCKET.port())
        .write(&mut inner, b"forged")?;
    // RFC 7348: flags with the I bit, reserved, VNI 100, reserved.
    let mut packet = vec![8, 0, 0, 0, 0, 0, 100, 0];
    packet.extend(&inner);
    let seen = reaches_client(&lab, || {
        let socket = lab.router().within(|| UdpSocket::bind("203.0.113.2:0"))?;
        socket.send_to(&packet, (lab.tunnel_end(), 4789))?;
        // Nor one of a peer with a VNI that is not its own.
        packet[6] = 200;
        let gateway = lab.blue().underlay();
        let socket = lab
            .blue()
            .gateway()
            .within(|| UdpSocket::bind((gateway, 0)))?;
        socket.send_to(&packet, (lab.tunnel_end(), 4789))?;
        Ok(())
    })?;
    assert_eq!(seen, []);
    Ok(())
}

/// Binds as soon as the server that had the port has closed it.
fn eventually_bound(bind: impl Fn() -> std::io::Result<UdpSocket>) -> Result<UdpSocket> {
    tests::netns::wait_for("the port is free", DEADLINE, || {
        bind().map(Some).context("the port is not free")
    })
}
