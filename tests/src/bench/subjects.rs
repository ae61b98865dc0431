//! What is measured: one world in which all modes and encapsulations are in force at once, and a
//! packet for each.

mod risk;

use std::net::Ipv4Addr;

use lbxdp_ebpf::abi::{
    Address, Encapsulation, LISTENER_SNAT, Listener, Mode, NODE_ECHO, NODE_LOCAL_REPLIES,
    NODE_LOCAL_SNAT, NODE_SNAT, Origin, OriginIndex, Path, Port, Row, Service, SnatRange, Table,
    VnetId,
};
use lbxdp_ebpf::bench::{FIRST_HOST, FIRST_NET, FIRST_PORT, FRAME_LEN, slot};
use lbxdp_ebpf::verdict::Reason;

use super::subject::{Flows, Subject};
use super::{ORIGINS, ROWS};
use crate::cases::tunnel::Tunnel;
use crate::cases::world::{
    NODE4, ORIGIN_PORT, TCP, VIP4, World, dsr, dsr_l2, from_hop, from_router, inside, local, nat,
    plain,
};
use crate::engine::kernel::{XDP_PASS, XDP_TX};
use crate::packet::{Packet, number};

/// All that is measured, and the world for it.
#[derive(Debug)]
pub struct Subjects {
    /// The content of the maps.
    pub world: World,
    /// What is measured.
    pub all: Vec<Subject>,
}

pub(super) use risk::RECORDED;

/// The encapsulations that are measured. (`fou` is `gue` without four bytes; map `ROWS` has room for
/// the tables of these.)
const KINDS: [Encapsulation; 5] = [
    Encapsulation::IpIp,
    Encapsulation::Gre,
    Encapsulation::Gue,
    Encapsulation::Vxlan,
    Encapsulation::Geneve,
];
/// TCP's flag of the first packet.
const SYN: u8 = 2;
/// The port of origins that do not see the client.
const SNAT_PORT: u16 = ORIGIN_PORT + 1;
/// The listener's port of the first case; each has its own.
const FIRST_LISTENER: u16 = 8_000;

impl Subjects {
    /// Every program and every case.
    #[must_use]
    pub fn new() -> Self {
        let mut subjects = Self {
            world: World::new().but(|tables| {
                let vip = local(number::ICMP, VIP4, 0);
                tables.listeners.insert(vip, Listener::default());
            }),
            all: Vec::new(),
        };
        subjects.references();
        subjects.dsr();
        subjects.nat();
        subjects.snat();
        subjects.others();
        subjects
    }

    /// The programs to compare with.
    fn references(&mut self) {
        for (name, program, action) in [
            ("pass", slot::PASS, XDP_PASS),
            ("floor", slot::FLOOR, XDP_TX),
            ("ipip", slot::IPIP, XDP_TX),
            ("ideal", slot::IDEAL, XDP_TX),
        ] {
            self.all.push(Subject {
                program,
                action,
                reason: None,
                ..request(name.to_owned(), VIP4, FIRST_LISTENER, Reason::ForwardDsr)
            });
        }
    }

    fn dsr(&mut self) {
        for (kind, remote) in KINDS.into_iter().zip(REMOTES) {
            let path = Path {
                tunnel: Path::NO_TUNNEL,
                ..Tunnel::between(kind, NODE4, remote).path()
            };
            let port = self.serve(|address| dsr(address, path));
            let name = format!("dsr-{}", word(kind));
            self.all.push(request(name, VIP4, port, Reason::ForwardDsr));
        }
        let port = self.serve(|address| dsr_l2(address, plain()));
        let name = "dsr-l2".to_owned();
        self.all
            .push(request(name, VIP4, port, Reason::ForwardDsrL2));
        self.flood("dsr-ipip-syn-flood", FIRST_LISTENER);
        let path = Path {
            tunnel: Path::NO_TUNNEL,
            ..Tunnel::over_v4(Encapsulation::IpIp).path()
        };
        let port = self.serve(|address| dsr(address, path));
        self.put_at_risk(port);
        let name = "dsr-ipip-at-risk".to_owned();
        self.all.push(Subject {
            flows: Flows::Recorded,
            ..request(name, VIP4, port, Reason::ForwardDsr)
        });
        self.flood("dsr-ipip-syn-flood-at-risk", port);
    }

    /// First packets of ever new flows to the listener at `port`.
    fn flood(&mut self, name: &str, port: u16) {
        let packet = from_router().ip(&client(), VIP4).tcp(FIRST_PORT, port);
        self.all.push(Subject {
            frame: filled(packet.tcp_flags(SYN)),
            flows: Flows::New,
            ..request(name.to_owned(), VIP4, port, Reason::ForwardDsr)
        });
    }

    /// NAT in the node's own network and through a tunnel of each kind, and the answers.
    fn nat(&mut self) {
        let port = self.serve(|address| nat(address, ORIGIN_PORT, VnetId::LOCAL, plain()));
        let name = "nat-preserve".to_owned();
        self.all.push(Subject {
            node: NODE_ECHO | NODE_LOCAL_REPLIES,
            ..request(name, VIP4, port, Reason::ForwardNat)
        });
        let answer = answer(from_hop());
        self.answers(VnetId::LOCAL, port);
        self.all
            .push(reply("reply".to_owned(), &answer, 0, Reason::ReplyNat));
        for (index, (kind, remote)) in (0..).zip(KINDS.into_iter().zip(REMOTES)) {
            let tunnel = Tunnel::between(kind, NODE4, remote).slot(index);
            let vnet = VnetId(100 + u32::from(index));
            let path = tunnel.path();
            self.world = std::mem::take(&mut self.world).tunnel(&tunnel, vnet);
            let port = self.serve(|address| nat(address, ORIGIN_PORT, vnet, path));
            self.answers(vnet, port);
            let name = format!("nat-preserve-{}", word(kind));
            self.all
                .push(request(name, VIP4, port, Reason::ForwardNatTunnel));
            self.all.push(reply(
                format!("reply-{}", word(kind)),
                &tunnel.arrive(from_hop(), &answer),
                path.header_len,
                Reason::ReplyNatTunnel,
            ));
        }
    }

    /// NAT that hides the client.
    fn snat(&mut self) {
        let tunnel = Tunnel::between(Encapsulation::Vxlan, NODE4, REMOTES[3]).slot(3);
        let ranges = [
            ("", VnetId::LOCAL, plain()),
            ("-vxlan", VnetId(103), tunnel.path()),
        ];
        for (suffix, vnet, path) in ranges {
            let port = self.serve(|address| Origin {
                mode: Mode::NatSnat as u8,
                identity: 1,
                snat: SnatRange {
                    address: Address::from_v4([203, 0, 113, 1]),
                    mask: 0,
                },
                ..nat(address, SNAT_PORT, vnet, path)
            });
            let vip = local(TCP, VIP4, port);
            let listener = self.world.tables.listeners.get_mut(&vip);
            listener.expect("just added").flags |= LISTENER_SNAT;
            let reason = if suffix.is_empty() {
                Reason::ForwardNat
            } else {
                Reason::ForwardNatTunnel
            };
            let opening = from_router().ip(&client(), VIP4).tcp(FIRST_PORT, port);
            self.all.push(Subject {
                flows: Flows::Opened(filled(opening.tcp_flags(SYN))),
                node: NODE_ECHO | NODE_SNAT | NODE_LOCAL_SNAT,
                ..request(format!("nat-snat{suffix}"), VIP4, port, reason)
            });
        }
    }

    fn others(&mut self) {
        let mut stranger = request(
            "not-ours".to_owned(),
            "198.51.100.99",
            FIRST_LISTENER,
            Reason::NoListener,
        );
        stranger.action = XDP_PASS;
        self.all.push(stranger.clone());
        // Which may be an origin's answer, as far as one knows before it has been looked up.
        self.all.push(Subject {
            name: "not-ours-nat".to_owned(),
            node: NODE_ECHO | NODE_LOCAL_REPLIES | NODE_SNAT | NODE_LOCAL_SNAT,
            ..stranger
        });
        let echo = from_router().ip(&client(), VIP4).echo(FIRST_PORT);
        self.all.push(Subject {
            name: "echo".to_owned(),
            frame: filled(echo),
            // The identifier.
            port_at: 38,
            reason: Some(Reason::EchoAnswered),
            ..request(String::new(), VIP4, FIRST_LISTENER, Reason::EchoAnswered)
        });
    }

    /// Adds a listener with rows and origins of its own, one made from each address; says its port.
    fn serve(&mut self, origin: impl Fn(&str) -> Origin) -> u16 {
        let tables = &mut self.world.tables;
        let index = tables.tables.len() as u32;
        let port = FIRST_LISTENER + index as u16;
        let first_row = tables.rows.len() as u32;
        let first = tables.origins.len() as OriginIndex;
        tables.listeners.insert(
            local(TCP, VIP4, port),
            Listener {
                table: index,
                counter: index,
                flags: 0,
            },
        );
        let table = Table {
            // One half will do: nothing is published while it is measured.
            halves: [first_row; 2],
            rows: ROWS,
            active: 0,
            previous_rows: [ROWS; 2],
        };
        tables.tables.insert(index, table);
        for row in 0..ROWS {
            let owner = first + (row % u32::from(ORIGINS)) as OriginIndex;
            tables.rows.insert(first_row + row, Row::owned_by(owner));
        }
        for number in 0..ORIGINS {
            let mut origin = origin(&origin_address(number).to_string());
            // So that a frame tells which origin it is for.
            origin.path.destination_mac = hop_of(number);
            tables.origins.insert(first + number, origin);
        }
        port
    }

    /// Lets all origins of a VNet answer for the listener that was added last, at `port`.
    fn answers(&mut self, vnet: VnetId, port: u16) {
        let last = self.world.tables.origins.len() as OriginIndex;
        let mut world = std::mem::take(&mut self.world);
        for number in 0..ORIGINS {
            world = world.answers_as(
                Service {
                    address: Address::from_v4(origin_address(number).octets()),
                    port: Port::new(ORIGIN_PORT),
                    ..inside(vnet, TCP, VIP4, 0)
                },
                local(TCP, VIP4, port),
                last - ORIGINS + number,
            );
        }
        self.world = world;
    }
}

impl Default for Subjects {
    fn default() -> Self {
        Self::new()
    }
}

/// The far end of the tunnel of each kind.
const REMOTES: [&str; KINDS.len()] = [
    "203.0.113.2",
    "203.0.113.3",
    "203.0.113.4",
    "203.0.113.5",
    "203.0.113.6",
];

/// The address of an origin; in every VNet they are the same.
fn origin_address(number: u16) -> Ipv4Addr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(10, 0, high, low)
}

/// The MAC address of the next hop towards an origin.
pub(super) fn hop_of(number: u16) -> [u8; 6] {
    let [high, low] = number.to_be_bytes();
    [2, 0, 0, 3, high, low]
}

/// The first client.
fn client() -> String {
    format!("192.0.{FIRST_NET}.{FIRST_HOST}")
}

/// A client's packet.
fn request(name: String, vip: &str, port: u16, reason: Reason) -> Subject {
    let packet = from_router().ip(&client(), vip).tcp(FIRST_PORT, port);
    Subject {
        name,
        program: slot::LBXDP,
        frame: filled(packet),
        host_at: 29,
        port_at: 34,
        flows: Flows::Any,
        node: NODE_ECHO,
        action: XDP_TX,
        reason: Some(reason),
    }
}

/// The answer of an origin somewhere in the middle.
fn answer(frame: Packet) -> Packet {
    frame
        .ip(&origin_address(ORIGINS / 2).to_string(), &client())
        .tcp(ORIGIN_PORT, FIRST_PORT)
}

/// An answer, in a tunnel of so many bytes of headers.
fn reply(name: String, packet: &Packet, headers: u8, reason: Reason) -> Subject {
    let headers = u16::from(headers);
    Subject {
        name,
        program: slot::LBXDP,
        frame: filled(packet.clone()),
        host_at: 33 + headers,
        port_at: 36 + headers,
        flows: Flows::Any,
        node: NODE_ECHO | NODE_LOCAL_REPLIES,
        action: XDP_TX,
        reason: Some(reason),
    }
}

/// The bytes of a packet, with as much payload as fills the frame.
fn filled(packet: Packet) -> [u8; FRAME_LEN] {
    let room = FRAME_LEN - packet.bytes().len();
    let bytes = packet.payload(&vec![0; room]).bytes();
    bytes.try_into().expect("as many bytes as were missing")
}

/// The kind, as in a configuration.
fn word(kind: Encapsulation) -> &'static str {
    match kind {
        Encapsulation::None => "plain",
        Encapsulation::IpIp => "ipip",
        Encapsulation::Gre => "gre",
        Encapsulation::Fou => "fou",
        Encapsulation::Gue => "gue",
        Encapsulation::Vxlan => "vxlan",
        Encapsulation::Geneve => "geneve",
        Encapsulation::Device => "device",
    }
}
