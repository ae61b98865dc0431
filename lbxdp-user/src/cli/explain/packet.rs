#![forbid(unsafe_code)]

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;
use etherparse::PacketBuilder;
use lbxdp_ebpf::abi::{Encapsulation, PeerKey};
use lbxdp_ebpf::encap::{self, InnerEthernet, Shape, Tunnel, prepare};
use lbxdp_ebpf::frame::Frame;
use lbxdp_ebpf::mem::MemFrame;
use lbxdp_ebpf::parse::{self, Ip};

/// The protocols that are balanced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[expect(missing_docs, reason = "their names say it")]
pub enum Protocol {
    Tcp,
    Udp,
}

/// The packet that is asked about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// Its protocol.
    pub protocol: Protocol,
    /// Where it comes from.
    pub source: SocketAddr,
    /// Where it goes.
    pub destination: SocketAddr,
    /// Bytes of the IP packet; just the headers when absent.
    pub size: Option<u16>,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Of TCP.
    pub flags: TcpFlags,
    /// The interface that it comes in by; 0 for none.
    pub ingress: u32,
    /// MAC address of that interface.
    pub mac: [u8; 6],
}

/// Flags of a TCP segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TcpFlags(Vec<&'static str>);

/// Flags that can be asked for.
const FLAGS: [&str; 6] = ["SYN", "ACK", "FIN", "RST", "PSH", "URG"];

impl FromStr for TcpFlags {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let flag = |name: &str| {
            FLAGS
                .into_iter()
                .find(|flag| flag.eq_ignore_ascii_case(name.trim()))
                .ok_or_else(|| {
                    anyhow!(
                        "`{name}` is no TCP flag; write them with commas: {}",
                        FLAGS.join(",")
                    )
                })
        };
        text.split(',').map(flag).collect::<Result<_>>().map(Self)
    }
}

/// MAC address of the sender: locally administered, of nobody.
const SENDER: [u8; 6] = [0x02, 0, 0, 0, 0, 1];

impl Question {
    /// The frame, checksums and all.
    ///
    /// # Errors
    /// When the addresses are of different IP versions, or the size is smaller than the headers.
    pub fn frame(&self) -> Result<Vec<u8>> {
        let ethernet = PacketBuilder::ethernet2(SENDER, self.mac);
        let ip = match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                ethernet.ipv4(source.octets(), destination.octets(), self.ttl)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                ethernet.ipv6(source.octets(), destination.octets(), self.ttl)
            }
            (source, destination) => {
                bail!("{source} and {destination} are of different IP versions");
            }
        };
        let (from, to) = (self.source.port(), self.destination.port());
        let ip_len = if self.source.is_ipv4() { 20 } else { 40 };
        let mut bytes = Vec::new();
        match self.protocol {
            Protocol::Tcp => {
                let mut tcp = ip.tcp(from, to, 1, 65_535);
                for flag in &self.flags.0 {
                    tcp = match *flag {
                        "SYN" => tcp.syn(),
                        "ACK" => tcp.ack(1),
                        "FIN" => tcp.fin(),
                        "RST" => tcp.rst(),
                        "PSH" => tcp.psh(),
                        _ => tcp.urg(0),
                    };
                }
                tcp.write(&mut bytes, &self.payload(ip_len + 20)?)?;
            }
            Protocol::Udp => {
                ip.udp(from, to)
                    .write(&mut bytes, &self.payload(ip_len + 8)?)?;
            }
        }
        Ok(bytes)
    }

    fn payload(&self, headers: u16) -> Result<Vec<u8>> {
        let size = self.size.unwrap_or(headers);
        let payload = size.checked_sub(headers).with_context(|| {
            format!("--size {size} is less than the {headers} bytes of headers")
        })?;
        Ok(vec![0; payload.into()])
    }
}

/// Puts a frame into the tunnel of a peer, as its far end sends it.
///
/// # Errors
/// When the peer's numbers make no tunnel.
pub(super) fn tunnelled(frame: &[u8], peer: &PeerKey) -> Result<Vec<u8>> {
    let inner = InnerEthernet {
        destination: [0x02, 0, 0, 0, 0, 2],
        source: SENDER,
    };
    let port = peer.port.get();
    let shape = match Encapsulation::from_u8(peer.encapsulation) {
        Some(Encapsulation::IpIp) => Shape::IpIp,
        Some(Encapsulation::Gre) => Shape::Gre {
            key: (peer.vni != 0).then_some(peer.vni),
            checksum: false,
        },
        Some(Encapsulation::Fou) => Shape::Fou { port },
        Some(Encapsulation::Gue) => Shape::Gue { port },
        Some(Encapsulation::Vxlan) => Shape::Vxlan {
            vni: peer.vni,
            port,
            inner,
        },
        Some(Encapsulation::Geneve) => Shape::Geneve {
            vni: peer.vni,
            port,
            inner: Some(inner),
        },
        Some(Encapsulation::None | Encapsulation::Device) | None => {
            bail!("the peer {} has no tunnel", peer.remote)
        }
    };
    let path = prepare(&Tunnel {
        source: peer.remote.to_ip(),
        destination: peer.local.to_ip(),
        ttl: Some(64),
        dscp: Some(0),
        source_entropy: false,
        udp_checksum: false,
        shape,
    })
    .map_err(|error| anyhow!("the peer {} makes no tunnel: {error}", peer.remote))?;
    let mut out = MemFrame::new(frame);
    let ethernet = *out
        .at::<[u8; 12]>(0)
        .context("a frame has an Ethernet header")?;
    let broken = |reason| anyhow!("the packet is refused: {reason:?}");
    let (start, version) = parse::link(&out).map_err(broken)?;
    let mut ip = Ip::EMPTY;
    parse::network(&out, start, version, out.len(), &mut ip).map_err(broken)?;
    let header = i32::from(path.header_len);
    out.move_head(-header)
        .map_err(|_| anyhow!("the packet is too large for a tunnel"))?;
    encap::push(&mut out, start, &path, &ip.outline, 0)
        .context("the peer's tunnel contradicts itself")?;
    *out.at_mut(0).context("there is room")? = ethernet;
    let ethertype: [u8; 2] = if path.outer == 4 {
        [0x08, 0x00]
    } else {
        [0x86, 0xdd]
    };
    *out.at_mut(12).context("there is room")? = ethertype;
    Ok(out.bytes().to_vec())
}
