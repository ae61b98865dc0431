//! Direct server return to a server of the node's own network.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use etherparse::{Ipv4Slice, SlicedPacket, TransportSlice};
use tests::netns::{Edge, Lab, Namespace, Server, Shape, Tap, UdpFlow, slow};

use crate::DEADLINE;
use crate::configuration::MONITORS;

const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 65);

/// A server beside the router, which owns the VIP.
fn attach_server(lab: &Lab) -> Result<Namespace> {
    let server = lab.attach("dsr", SERVER)?;
    server.ip(&format!("addr add {}/32 dev lo", Lab::vip(10, 7).ip()))?;
    Ok(server)
}

fn configuration(kind: &str) -> String {
    format!(
        r#"{MONITORS}
[[load_balancer]]
name = "echo"
listeners = [{{ address = "198.51.100.10", port = 7, protocol = "udp" }}]
default_pools = ["dsr"]

[[pool]]
name = "dsr"
monitor = "ping"
forwarding = "dsr"
{kind}
[[pool.origin]]
name = "only"
address = "{SERVER}"
"#
    )
}

#[test]
fn a_kernel_vxlan_server_answers_the_client_directly() -> Result<()> {
    let test = "a_kernel_vxlan_server_answers_the_client_directly";
    let Some(lab) = crate::lab_for_agent(test, Shape::OneLink)? else {
        return Ok(());
    };
    let server = attach_server(&lab)?;
    server.ip(&format!(
        "link add vxlan0 address 02:00:00:00:00:77 mtu 1550 type vxlan id 77 local {SERVER} dstport 4789
         link set vxlan0 up"
    ))?;
    let vip = Lab::vip(10, 7);
    let _echo = Server::udp_echo(lab.runtime().handle(), &server, "direct", vip)?;
    let kind = "encapsulation = \"vxlan\"\nvni = 77\n";
    let text = lab.configuration() + &configuration(kind) + "inner_mac = \"02:00:00:00:00:77\"\n";
    let mut edge = Edge::start(&lab, &text)?;
    edge.wait_healthy()?;
    let answer = lab.block_on(async {
        UdpFlow::open(lab.clients(), vip, slow(Duration::from_secs(1)))?
            .ask()
            .await
    });
    assert_eq!(answer?, "direct");
    Ok(())
}

/// What a kind of encapsulation looks like on the wire: IP protocol, then UDP port if it has one.
struct Wire {
    configuration: &'static str,
    protocol: u8,
    port: Option<u16>,
    /// Bytes between the outer IP or UDP header and the inner IP header.
    shim: &'static [u8],
}

const WIRES: [Wire; 4] = [
    Wire {
        configuration: "encapsulation = \"ipip\"",
        protocol: 4,
        port: None,
        shim: &[],
    },
    // RFC 2784: no flags, version 0, protocol IPv4.
    Wire {
        configuration: "encapsulation = \"gre\"",
        protocol: 47,
        port: None,
        shim: &[0, 0, 8, 0],
    },
    // RFC 2890: the K flag, and key 5.
    Wire {
        configuration: "encapsulation = \"gre\"\nkey = 5",
        protocol: 47,
        port: None,
        shim: &[0x20, 0, 8, 0, 0, 0, 0, 5],
    },
    // GUE version 0: no optional fields, protocol 4.
    Wire {
        configuration: "encapsulation = \"gue\"",
        protocol: 17,
        port: Some(6080),
        shim: &[0, 4, 0, 0],
    },
];

#[test]
fn a_servers_packet_is_the_clients_own_in_the_configured_wrapping() -> Result<()> {
    let test = "a_servers_packet_is_the_clients_own_in_the_configured_wrapping";
    let Some(lab) = crate::lab_for_agent(test, Shape::OneLink)? else {
        return Ok(());
    };
    let server = attach_server(&lab)?;
    let mut edge: Option<Edge> = None;
    for wire in &WIRES {
        let text = lab.configuration() + &configuration(wire.configuration);
        match &mut edge {
            Some(edge) => edge.reload(&text)?,
            None => edge = Some(Edge::start(&lab, &text)?),
        }
        let edge = edge.as_mut().expect("it was started");
        edge.wait_healthy()?;
        capture(&lab, &server, wire).with_context(|| wire.configuration.to_owned())?;
    }
    Ok(())
}

/// Sends datagrams to the VIP until one is seen in the wrapping, and dissects it.
fn capture(lab: &Lab, server: &Namespace, wire: &Wire) -> Result<()> {
    let tap = Tap::open(server, "eth0")?;
    let client = lab
        .clients()
        .within(|| std::net::UdpSocket::bind((Lab::CLIENT, 6666)))?;
    let payload = tests::netns::wait_for("the packet arrives", DEADLINE, || {
        client.send_to(b"direct?", Lab::vip(10, 7))?;
        tap.receive(Duration::from_millis(100), |frame| unwrap(frame, wire))
    })?;
    let inner = SlicedPacket::from_ip(&payload)?;
    let Some(etherparse::NetSlice::Ipv4(ip)) = &inner.net else {
        anyhow::bail!("no IPv4 inside");
    };
    assert_eq!(ip.header().source_addr(), Lab::CLIENT);
    assert_eq!(ip.header().destination_addr().octets(), [198, 51, 100, 10]);
    assert_eq!(
        ip.header().header_checksum(),
        ip.header().to_header().calc_header_checksum()
    );
    let Some(TransportSlice::Udp(udp)) = &inner.transport else {
        anyhow::bail!("no UDP inside");
    };
    assert_eq!((udp.source_port(), udp.destination_port()), (6666, 7));
    assert_eq!(udp.payload(), b"direct?");
    Ok(())
}

/// The inner packet of a frame in this wrapping.
fn unwrap(frame: &[u8], wire: &Wire) -> Option<Vec<u8>> {
    let outer = Ipv4Slice::from_slice(frame.get(14..)?).ok()?;
    let header = outer.header();
    let ours = header.destination_addr() == SERVER
        && header.protocol().0 == wire.protocol
        && header.header_checksum() == header.to_header().calc_header_checksum();
    let payload = ours.then(|| outer.payload().payload)?;
    let rest = match wire.port {
        Some(port) => {
            let to = u16::from_be_bytes([*payload.get(2)?, *payload.get(3)?]);
            payload.get(8..).filter(|_| to == port)?
        }
        None => payload,
    };
    rest.strip_prefix(wire.shim).map(<[u8]>::to_vec)
}
