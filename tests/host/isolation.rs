//! Whatever comes out of a VNet's tunnel stays in that VNet, or is an answer of its own origins.

use lbxdp_ebpf::abi::{Encapsulation, FlowKey, Mapping, NODE_SNAT, Port, VnetId};
use lbxdp_ebpf::mem::MemTables;
use lbxdp_ebpf::verdict::Kind;
use proptest::prelude::*;
use proptest::sample::select;
use tests::cases::tunnel::{INNER_NODE4, Tunnel};
use tests::cases::world::{
    BLUE, CLIENT_PORT, CLIENT4, ETH0, GREEN, NODE4, ORIGIN_PORT, ORIGIN4, TCP, UDP, VIP_PORT, VIP4,
    World, address, from_hop, inside, local, nat,
};
use tests::engine::{Outcome, host};
use tests::packet::Packet;

/// What green's origins answer for; blue's answer for [`VIP4`].
const GREEN_VIP: &str = "198.51.100.20";
/// A listener of each VNet, at the same address.
const INNER_VIP: &str = "10.0.0.100";
const SECOND_ORIGIN: &str = "10.0.0.12";
const BLUE_FAR: &str = "203.0.113.2";
const GREEN_FAR: &str = "203.0.113.3";
/// Source ports of translated flows, of green's and of blue's origin.
const GREEN_PORT: u16 = 20_000;
const BLUE_PORT: u16 = 20_001;

const ADDRESSES: [&str; 11] = [
    ORIGIN4,
    SECOND_ORIGIN,
    INNER_VIP,
    INNER_NODE4,
    "10.255.0.2",
    CLIENT4,
    VIP4,
    GREEN_VIP,
    NODE4,
    BLUE_FAR,
    GREEN_FAR,
];
const PORTS: [u16; 7] = [
    VIP_PORT,
    ORIGIN_PORT,
    CLIENT_PORT,
    GREEN_PORT,
    BLUE_PORT,
    4789,
    9,
];

fn blue() -> Tunnel {
    Tunnel::between(Encapsulation::Vxlan, NODE4, BLUE_FAR)
}

fn green() -> Tunnel {
    Tunnel::between(Encapsulation::Vxlan, NODE4, GREEN_FAR)
        .slot(5)
        .vni(500)
}

/// What becomes of a frame in that world.
fn sent(frame: &[u8]) -> Outcome {
    thread_local! {
        static WORLD: MemTables = world();
    }
    WORLD.with(|world| host::run_frame(frame, world, ETH0))
}

/// Two VNets with the same addresses, each with an origin that answers for a VIP of the node's own
/// network, a translated flow to that origin, and a listener inside.
fn world() -> MemTables {
    let mut world = World::new()
        .tunnel(&blue(), BLUE)
        .tunnel(&green(), GREEN)
        .route(BLUE, "10.0.0.0", 8, 3)
        .route(GREEN, "10.0.0.0", 8, 5);
    for (index, vnet, tunnel, vip, port) in [
        (0, BLUE, blue(), VIP4, BLUE_PORT),
        (1, GREEN, green(), GREEN_VIP, GREEN_PORT),
    ] {
        for protocol in [TCP, UDP] {
            let listener = local(protocol, vip, VIP_PORT);
            let origin = inside(vnet, protocol, ORIGIN4, ORIGIN_PORT);
            world = world
                .serve(listener, &[nat(ORIGIN4, ORIGIN_PORT, vnet, tunnel.path())])
                .answers_as(origin, listener, index)
                .serve(
                    inside(vnet, protocol, INNER_VIP, VIP_PORT),
                    &[nat(SECOND_ORIGIN, ORIGIN_PORT, vnet, tunnel.path())],
                );
            let back = FlowKey {
                source: address(ORIGIN4),
                destination: address(INNER_NODE4),
                source_port: Port::new(ORIGIN_PORT),
                destination_port: Port::new(port),
                vnet,
                protocol,
                reserved: [0; 3],
            };
            let mapping = Mapping {
                client: address(CLIENT4),
                address: address(vip),
                client_port: Port::new(CLIENT_PORT),
                port: Port::new(VIP_PORT),
                vnet: VnetId::LOCAL,
                ..Mapping::EMPTY
            };
            world.tables.mappings.lock().insert(back, mapping);
        }
    }
    world
        .but(|tables| tables.node.as_mut().expect("settings").flags |= NODE_SNAT)
        .tables
}

/// What an attacker in blue can write into its tunnel.
#[derive(Clone, Debug)]
struct Inner {
    source: &'static str,
    destination: &'static str,
    ports: (u16, u16),
    form: Form,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Tcp,
    Udp,
    /// An ICMP error that quotes a packet the other way round.
    Error,
    /// A packet of green's tunnel, with an answer of green's origin inside.
    GreenTunnel,
    /// A packet of blue's tunnel, within blue's tunnel.
    BlueTunnel,
    Echo,
}

fn inner() -> impl Strategy<Value = Inner> {
    let forms = vec![
        Form::Tcp,
        Form::Udp,
        Form::Error,
        Form::GreenTunnel,
        Form::BlueTunnel,
        Form::Echo,
    ];
    let address = || select(ADDRESSES.to_vec());
    let port = || select(PORTS.to_vec());
    let parts = (address(), address(), port(), port(), select(forms));
    parts.prop_map(|(source, destination, from, to, form)| Inner {
        source,
        destination,
        ports: (from, to),
        form,
    })
}

impl Inner {
    fn packet(&self) -> Packet {
        let (from, to) = self.ports;
        let answer = || {
            from_hop()
                .ipv4(ORIGIN4, INNER_NODE4)
                .tcp(ORIGIN_PORT, GREEN_PORT)
        };
        let packet = from_hop().ipv4(self.source, self.destination);
        match self.form {
            Form::Tcp => packet.tcp(from, to).payload(b"?"),
            Form::Udp => packet.udp(from, to).payload(b"?"),
            Form::Error => {
                let quoted = from_hop().ipv4(self.destination, self.source).tcp(to, from);
                packet.icmp(3, 1, 0).quote(&quoted, 40)
            }
            Form::GreenTunnel => green().arrive_from(from_hop(), GREEN_FAR, NODE4, &answer()),
            Form::BlueTunnel => blue().arrive_from(from_hop(), BLUE_FAR, NODE4, &answer()),
            Form::Echo => packet.echo(1),
        }
    }
}

/// Source and destination of the outermost IPv4 header.
fn ends(frame: &[u8]) -> (&[u8], &[u8]) {
    (&frame[26..30], &frame[30..34])
}

fn octets(text: &str) -> [u8; 4] {
    address(text).v4_octets()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn what_comes_by_one_vnets_tunnel_reaches_no_other_vnet(inner in inner()) {
        let frame = blue().arrive(from_hop(), &inner.packet()).bytes();
        let outcome = sent(&frame);
        match outcome.reason.kind() {
            Kind::Pass | Kind::Drop => prop_assert_eq!(outcome.frame, frame),
            Kind::Forward | Kind::Reply | Kind::Answer => {
                let (source, destination) = ends(&outcome.frame);
                let into_blue = source == octets(NODE4) && destination == octets(BLUE_FAR);
                let answers_for_blue = source == octets(VIP4);
                prop_assert!(
                    into_blue || answers_for_blue,
                    "{:?}: {:?} to {:?}", outcome.reason, source, destination
                );
                // Out of the tunnel go answers of blue's own origin alone.
                if !into_blue {
                    let origin = inner.source == ORIGIN4 && inner.ports.0 == ORIGIN_PORT;
                    let error = matches!(inner.form, Form::Error);
                    prop_assert!(origin || error, "{:?}", outcome.reason);
                }
            }
        }
    }

    #[test]
    fn a_packet_in_a_tunnel_within_a_tunnel_stays_there(mut inner in inner(), green in any::<bool>()) {
        inner.form = if green { Form::GreenTunnel } else { Form::BlueTunnel };
        let frame = blue().arrive(from_hop(), &inner.packet()).bytes();
        let outcome = sent(&frame);
        prop_assert_eq!(outcome.reason.kind(), Kind::Pass);
        prop_assert_eq!(outcome.frame, frame);
    }

    #[test]
    fn what_strangers_send_in_tunnels_is_left_alone(inner in inner(), vni in any::<bool>()) {
        // Blue's gateway with green's number, and a stranger with blue's.
        let (tunnel, from) = if vni { (blue().vni(500), BLUE_FAR) } else { (blue(), "203.0.113.66") };
        let frame = tunnel.arrive_from(from_hop(), from, NODE4, &inner.packet()).bytes();
        let outcome = sent(&frame);
        prop_assert_eq!(outcome.reason.kind(), Kind::Pass, "{:?}", outcome.reason);
        prop_assert_eq!(outcome.frame, frame);
    }
}
