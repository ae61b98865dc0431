//! Laboratories in network namespaces: a node, and two sites with the same inner addresses.
//!
//! ```text
//!            ┌─ eb 192.0.2.1    192.0.2.2 ─── blue   VXLAN 100 ┐ 10.255.0.2, 10.0.0.11
//!   node ────┤                                                 │ fd00:255::2, fd00::11
//!            └─ eg 198.51.100.1 198.51.100.2 ─ green VXLAN 200 ┘ the same
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::process::Command as Program;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lbxdp_ebpf::abi::Tags;
use nix::sched::{CloneFlags, setns};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep, timeout};

use super::desired::tests::config;
use super::*;
use crate::config::model::{
    Carries, Config, Hash, Listener, LoadBalancer, OuterHeader, Ports, Protocol, Steering, Tunnel,
    TunnelKind, UdpFlows,
};

/// Longest wait for anything.
const DEADLINE: Duration = Duration::from_secs(20);

const SITES: [&str; 2] = ["blue", "green"];

/// Three namespaces, removed when dropped.
struct Lab {
    name: String,
}

impl Lab {
    /// Builds a lab; says so and gives none where that is not possible.
    fn new(test: &str) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let obstacle = if !nix::unistd::geteuid().is_root() {
            Some("needs root")
        } else if Program::new("ip").arg("-V").output().is_err() {
            Some("needs `ip` of iproute2")
        } else {
            None
        };
        if let Some(obstacle) = obstacle {
            eprintln!("skipped: vnet::lab::{test}: {obstacle}");
            return None;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let lab = Self {
            name: format!("lbxvnet-{}-{number}", std::process::id()),
        };
        for namespace in ["node", "blue", "green"] {
            ip(&format!("netns add {}", lab.namespace(namespace)));
            lab.ip(namespace, "link set lo up");
        }
        for (site, interface, net, v6, mac) in [
            ("blue", "eb", "192.0.2", "2001:db8:b", "0b"),
            ("green", "eg", "198.51.100", "2001:db8:e", "0e"),
        ] {
            let node = lab.namespace("node");
            let peer = lab.namespace(site);
            ip(&format!(
                "link add {interface} netns {node} type veth peer name wire netns {peer}"
            ));
            for (namespace, device, host) in [("node", interface, 1), (site, "wire", 2)] {
                lab.ip(
                    namespace,
                    &format!("link set {device} address 02:00:00:00:{mac}:0{host} up"),
                );
                lab.ip(namespace, &format!("addr add {net}.{host}/24 dev {device}"));
                lab.ip(
                    namespace,
                    &format!("addr add {v6}::{host}/64 dev {device} nodad"),
                );
            }
            let vni = vni(site);
            let tunnel = format!(
                "link add vx address 02:00:00:00:{mac}:ff type vxlan id {vni} local {net}.2 \
                 remote {net}.1 dstport 4789 nolearning"
            );
            lab.ip(site, &tunnel);
            let tunnel = format!(
                "link add vx6 type vxlan id {vni} local {v6}::2 remote {v6}::1 dstport 4790 \
                 nolearning udp6zerocsumtx udp6zerocsumrx"
            );
            lab.ip(site, &tunnel);
            lab.ip(site, "addr add 10.0.0.11/32 dev lo");
            lab.ip(site, "addr add fd00::11/128 dev lo nodad");
            lab.ip(site, "link set vx up");
            lab.ip(site, "addr add 10.255.0.2/30 dev vx");
            lab.ip(site, "link set vx6 up");
            lab.ip(site, "addr add fd00:255::2/64 dev vx6 nodad");
        }
        lab.ip("node", "route add 203.0.113.0/24 via 192.0.2.2");
        Some(lab)
    }

    fn namespace(&self, of: &str) -> String {
        format!("{}-{of}", self.name)
    }

    /// Runs `ip` in a namespace, and gives what it prints.
    fn ip(&self, namespace: &str, arguments: &str) -> String {
        ip(&format!("-n {} {arguments}", self.namespace(namespace)))
    }

    /// Runs a test on a thread of its own, in the node's namespace.
    fn run(&self, test: impl AsyncFnOnce(&Self) + Send) {
        self.inside("node", || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(test(self));
        });
    }

    fn inside<T: Send>(&self, namespace: &str, act: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.namespace(namespace));
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(File::open(path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
                act()
            });
            match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// In each site a server at this address that answers with the site's name.
    fn serve(&self, address: &str) {
        for site in SITES {
            let address: SocketAddr = address.parse().unwrap();
            let listener = self.inside(site, || std::net::TcpListener::bind(address).unwrap());
            listener.set_nonblocking(true).unwrap();
            let listener = TcpListener::from_std(listener).unwrap();
            tokio::spawn(async move {
                while let Ok((mut connection, _)) = listener.accept().await {
                    connection.write_all(site.as_bytes()).await.ok();
                }
            });
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in ["node", "blue", "green"] {
            let name = self.namespace(namespace);
            let _ = Program::new("ip").args(["netns", "del", &name]).status();
        }
    }
}

fn ip(arguments: &str) -> String {
    let output = (Program::new("ip").args(arguments.split_whitespace()))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Says that the kernel lacks a device, which is a failure where it must have all of them.
fn missing(test: &str, device: &str) {
    assert!(
        std::env::var_os("LBXDP_TEST_DEVICES").is_none_or(|value| value != "required"),
        "{device}: not in this kernel"
    );
    eprintln!("skipped: {test}: {device}: not in this kernel");
}

fn vni(site: &str) -> u32 {
    if site == "blue" { 100 } else { 200 }
}

/// A tunnel over IPv4 that carries IPv4.
fn over_v4(site: &str) -> Tunnel {
    let net = if site == "blue" {
        "192.0.2"
    } else {
        "198.51.100"
    };
    Tunnel {
        device: format!("lbx-{site}"),
        wireguard: None,
        associations: None,
        kind: TunnelKind::Vxlan {
            vni: vni(site),
            port: 4789,
        },
        local: format!("{net}.1").parse().unwrap(),
        remote: format!("{net}.2").parse().unwrap(),
        addresses: vec!["10.255.0.1/30".parse().unwrap()],
        peers: vec!["10.255.0.2".parse().unwrap()],
        routes: vec!["10.0.0.0/8".parse().unwrap()],
        mtu: 1400,
        outer: OuterHeader::default(),
        health_check: None,
    }
}

/// A tunnel over IPv6 that carries IPv6.
fn over_v6(site: &str) -> Tunnel {
    let net = if site == "blue" {
        "2001:db8:b"
    } else {
        "2001:db8:e"
    };
    Tunnel {
        kind: TunnelKind::Vxlan {
            vni: vni(site),
            port: 4790,
        },
        local: format!("{net}::1").parse().unwrap(),
        remote: format!("{net}::2").parse().unwrap(),
        addresses: vec!["fd00:255::1/64".parse().unwrap()],
        peers: vec!["fd00:255::2".parse().unwrap()],
        routes: vec!["::/0".parse().unwrap()],
        ..over_v4(site)
    }
}

fn both(tunnel: fn(&str) -> Tunnel) -> Config {
    config(&[
        ("blue", 1007, &[("one", tunnel("blue"))]),
        ("green", 1008, &[("one", tunnel("green"))]),
    ])
}

/// Leads the kernel to a configuration; gives what was done, and what went wrong.
async fn reconcile(network: &Network, config: &Config) -> (Vec<String>, Vec<Failure>) {
    let desired = Desired::from_config(config);
    let observed = network.observe(&desired).await.unwrap();
    let plan = plan(&desired, &observed);
    let commands = plan.commands.iter().map(ToString::to_string).collect();
    (commands, network.apply(plan.commands).await)
}

async fn settle(network: &Network, config: &Config) {
    let (_, failures) = reconcile(network, config).await;
    assert_eq!(failures, []);
    let (commands, _) = reconcile(network, config).await;
    assert_eq!(
        commands,
        Vec::<String>::new(),
        "a second look changes nothing"
    );
}

/// What answers at an address through a device, until something does.
async fn answer(device: &str, address: &str) -> String {
    let address: SocketAddr = address.parse().unwrap();
    let deadline = Instant::now() + DEADLINE;
    loop {
        let attempt = async {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            socket.bind_device(Some(device.as_bytes()))?;
            let mut text = String::new();
            let mut connection = socket.connect(address).await?;
            connection.read_to_string(&mut text).await?;
            std::io::Result::Ok(text)
        };
        match timeout(Duration::from_secs(2), attempt).await {
            Ok(Ok(text)) => return text,
            failed if Instant::now() > deadline => panic!("{device} to {address}: {failed:?}"),
            _ => sleep(Duration::from_millis(50)).await,
        }
    }
}

/// The next hop, once it is resolved.
async fn hop(network: &Network, destination: &str, device: Option<&str>) -> Hop {
    let query = Query {
        destination: destination.parse().unwrap(),
        source: None,
        device: device.map(str::to_owned),
    };
    let deadline = Instant::now() + DEADLINE;
    loop {
        match network.next_hop(&query, &[]).await {
            NextHop::Resolved(hop) => return hop,
            NextHop::Unresolved(why) if Instant::now() > deadline => panic!("{why}"),
            NextHop::Unresolved(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn unresolved(network: &Network, destination: &str) -> Unresolved {
    let query = Query {
        destination: destination.parse().unwrap(),
        source: None,
        device: None,
    };
    // What has just been taken down is seen to be so a little later.
    let deadline = Instant::now() + DEADLINE;
    loop {
        match network.next_hop(&query, &[]).await {
            NextHop::Unresolved(why) => return why,
            NextHop::Resolved(hop) => assert!(Instant::now() < deadline, "{hop:?}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

fn new() -> (Network, Receiver<NetworkEvent>) {
    Network::new().unwrap()
}

#[test]
fn the_same_address_in_two_vnets_is_two_servers() {
    let Some(lab) = Lab::new("the_same_address_in_two_vnets_is_two_servers") else {
        return;
    };
    lab.run(async |lab| {
        let (network, _events) = new();
        lab.serve("10.0.0.11:80");
        settle(&network, &both(over_v4)).await;
        for site in SITES {
            assert_eq!(answer(&format!("lbx-{site}"), "10.0.0.11:80").await, site);
        }
        // Nothing of it is in the main table.
        let main = lab.ip("node", "route show table main");
        assert!(!main.contains("10."), "{main}");
        // The far end's MAC address, and the device's own.
        for (site, mac) in [("blue", 0x0b), ("green", 0x0e)] {
            let device = format!("lbx-{site}");
            let inner = hop(&network, "10.0.0.11", Some(&device)).await;
            assert_eq!(inner.gateway, "10.255.0.2".parse::<IpAddr>().unwrap());
            assert_eq!(inner.gateway_mac, [2, 0, 0, 0, mac, 0xff]);
            assert_eq!(inner.mtu, 1400);
            let tunnel = over_v4(site);
            let made = Device::of(site, lbxdp_ebpf::abi::VnetId(1), "one", &tunnel);
            assert_eq!(Some(inner.mac), made.mac());
        }
    });
}

#[test]
fn ipv6_in_ipv6() {
    let Some(lab) = Lab::new("ipv6_in_ipv6") else {
        return;
    };
    lab.run(async |lab| {
        let (network, _events) = new();
        lab.serve("[fd00::11]:80");
        settle(&network, &both(over_v6)).await;
        for site in SITES {
            assert_eq!(answer(&format!("lbx-{site}"), "[fd00::11]:80").await, site);
        }
        let inner = hop(&network, "fd00::11", Some("lbx-blue")).await;
        assert_eq!(inner.gateway, "fd00:255::2".parse::<IpAddr>().unwrap());
    });
}

#[test]
fn outer_next_hops() {
    let Some(lab) = Lab::new("outer_next_hops") else {
        return;
    };
    lab.run(async |lab| {
        let (network, _events) = new();
        // Through a gateway.
        let far = hop(&network, "203.0.113.9", None).await;
        assert_eq!(far.interface, "eb");
        assert_eq!(far.gateway, "192.0.2.2".parse::<IpAddr>().unwrap());
        assert_eq!(far.gateway_mac, [2, 0, 0, 0, 0x0b, 2]);
        assert_eq!(far.mac, [2, 0, 0, 0, 0x0b, 1]);
        assert_eq!((far.tags, far.mtu), (Tags::NONE, 1500));
        // On the link, over IPv6.
        let near = hop(&network, "2001:db8:e::2", None).await;
        assert_eq!((near.interface.as_str(), near.gateway_mac[4]), ("eg", 0x0e));

        assert_eq!(unresolved(&network, "192.0.2.1").await, Unresolved::Local);
        let nowhere = unresolved(&network, "100.64.0.1").await;
        assert!(matches!(nowhere, Unresolved::NoRoute { .. }), "{nowhere}");
        lab.ip("node", "route add prohibit 100.64.0.0/10");
        assert_eq!(
            unresolved(&network, "100.64.0.1").await,
            Unresolved::Forbidden
        );
        let deadline = Instant::now() + DEADLINE;
        while !matches!(
            unresolved(&network, "192.0.2.77").await,
            Unresolved::Silent { .. }
        ) {
            assert!(Instant::now() < deadline, "nobody is at 192.0.2.77");
            sleep(Duration::from_millis(50)).await;
        }
        lab.ip("blue", "link set wire down");
        let deadline = Instant::now() + DEADLINE;
        loop {
            match unresolved(&network, "203.0.113.9").await {
                Unresolved::Down { interface } => break assert_eq!(interface, "eb"),
                other => assert!(Instant::now() < deadline, "{other}"),
            }
            sleep(Duration::from_millis(20)).await;
        }
    });
}

#[test]
fn a_restarted_agent_adopts_changes_and_removes() {
    let Some(lab) = Lab::new("a_restarted_agent_adopts_changes_and_removes") else {
        return;
    };
    lab.run(async |lab| {
        let (network, _events) = new();
        lab.ip(
            "node",
            "link add stranger type vxlan id 9 dstport 4799 remote 192.0.2.9 dev eb",
        );
        let before = lab.ip("node", "link show stranger");
        let mut config = both(over_v4);
        settle(&network, &config).await;
        let index = |name: &str| lab.ip("node", &format!("-o link show {name}"))[..6].to_owned();
        let blue = index("lbx-blue");

        // A new agent finds everything as it should be.
        let (network, _events) = new();
        let (commands, _) = reconcile(&network, &config).await;
        assert_eq!(commands, Vec::<String>::new());

        // What can change in place, does.
        let tunnel = |config: &mut Config, change: fn(&mut Tunnel)| {
            let vnet = config.vnets.get_mut("blue").unwrap();
            change(vnet.tunnels.get_mut("one").unwrap());
        };
        tunnel(&mut config, |tunnel| tunnel.mtu = 1350);
        tunnel(&mut config, |tunnel| {
            tunnel.addresses = vec!["10.255.0.1/29".parse().unwrap()];
        });
        let (_, failures) = reconcile(&network, &config).await;
        assert_eq!(failures, []);
        settle(&network, &config).await;
        assert_eq!(index("lbx-blue"), blue);
        assert!(lab.ip("node", "link show lbx-blue").contains("mtu 1350"));
        assert!(
            lab.ip("node", "addr show lbx-blue")
                .contains("10.255.0.1/29")
        );

        // What cannot, is replaced.
        tunnel(&mut config, |tunnel| tunnel.outer.ttl = Some(32));
        settle(&network, &config).await;
        assert_ne!(index("lbx-blue"), blue);
        assert!(lab.ip("node", "-d link show lbx-blue").contains("ttl 32"));

        // Somebody takes it down: up again, with its routes.
        lab.ip("node", "link set lbx-blue down");
        settle(&network, &config).await;
        assert!(
            lab.ip("node", "route show table 1007")
                .contains("via 10.255.0.2")
        );

        // What is no longer configured, goes.
        config.vnets.remove("green");
        settle(&network, &config).await;
        assert!(!lab.ip("node", "link show").contains("lbx-green"));
        assert!(!lab.ip("node", "rule show").contains("lbx-green"));
        lab.serve("10.0.0.11:80");
        assert_eq!(answer("lbx-blue", "10.0.0.11:80").await, "blue");

        // And all of it.
        assert_eq!(network.remove_all().await.unwrap(), []);
        assert!(!lab.ip("node", "link show").contains("lbx-"));
        assert!(!lab.ip("node", "rule show").contains("lbx-"));
        assert_eq!(lab.ip("node", "link show stranger"), before);
    });
}

#[test]
fn what_stands_in_the_way_is_named() {
    let Some(lab) = Lab::new("what_stands_in_the_way_is_named") else {
        return;
    };
    lab.run(async |lab| {
        let (network, _events) = new();
        lab.ip("node", "link add lbx-blue type bridge");
        lab.ip(
            "node",
            "link add stranger type vxlan id 200 dstport 4789 remote 192.0.2.9 dev eb",
        );
        let config = both(over_v4);
        let desired = Desired::from_config(&config);
        let observed = network.observe(&desired).await.unwrap();
        let plan = plan(&desired, &observed);
        assert!(
            plan.problems[0].text.contains("kind bridge"),
            "{}",
            plan.problems[0]
        );
        let failures = network.apply(plan.commands).await;
        // One failure: what would follow on the device is not even tried.
        let shown: Vec<String> = failures.iter().map(ToString::to_string).collect();
        assert_eq!(shown.len(), 1, "{shown:#?}");
        assert!(
            shown[0].contains("another `vxlan` device has VNI 200"),
            "{}",
            shown[0]
        );
        let show = lab.ip("node", "-d link show lbx-blue");
        assert!(show.contains("bridge") && !show.contains("lbxdp"), "{show}");
    });
}

#[test]
fn kinds_that_the_kernel_lacks_are_named() {
    let Some(lab) = Lab::new("kinds_that_the_kernel_lacks_are_named") else {
        return;
    };
    lab.run(async |_| {
        let (network, _events) = new();
        for (kind, module) in [
            (
                TunnelKind::Gre {
                    key: Some(5),
                    checksum: false,
                },
                "ip_gre",
            ),
            (TunnelKind::IpIp, "ipip"),
            (
                TunnelKind::Geneve {
                    vni: 5,
                    port: 6081,
                    carries: Carries::Ethernet,
                },
                "geneve",
            ),
            (TunnelKind::Gue { port: 6080 }, "fou"),
        ] {
            let tunnel = Tunnel {
                kind,
                ..over_v4("blue")
            };
            let config = config(&[
                ("blue", 1007, &[("one", tunnel)]),
                ("green", 1008, &[("one", over_v4("green"))]),
            ]);
            let (_, failures) = reconcile(&network, &config).await;
            match failures.as_slice() {
                [] => settle(&network, &config).await,
                [failure] => {
                    assert!(failure.cause.contains("the kernel offers no"), "{failure}");
                    assert!(failure.cause.contains(module), "{failure}");
                }
                more => panic!("{more:#?}"),
            }
            // The other VNet is there all the same.
            let links = network.links().await.unwrap();
            assert!(links["lbx-green"].up);
        }
    });
}

#[test]
fn attached_interfaces_forward() {
    let Some(lab) = Lab::new("attached_interfaces_forward") else {
        return;
    };
    lab.run(async |_| {
        let (network, _events) = new();
        let mut config = both(over_v4);
        config.node.interfaces = vec!["eb".to_owned()];
        let listeners = ["198.51.100.10", "2001:db8::10"].map(|address| Listener {
            address: address.parse().unwrap(),
            ports: Ports::One(80),
            protocol: Protocol::Tcp,
            hash: Hash::Flow,
            udp_flows: UdpFlows::Stick,
        });
        let load_balancer = LoadBalancer {
            enabled: true,
            virtual_network: None,
            listeners: listeners.to_vec(),
            default_pools: vec![],
            fallback_pool: None,
            steering: Steering::Off,
        };
        config.load_balancers = BTreeMap::from([("www".to_owned(), load_balancer)]);
        settle(&network, &config).await;
        for path in ["net/ipv4/conf/eb/forwarding", "net/ipv6/conf/eb/forwarding"] {
            assert_eq!(
                std::fs::read_to_string(format!("/proc/sys/{path}")).unwrap(),
                "1\n"
            );
        }
        let accept_ra = std::fs::read_to_string("/proc/sys/net/ipv6/conf/eb/accept_ra").unwrap();
        assert_ne!(accept_ra, "1\n");
    });
}

#[test]
fn changes_are_told_of() {
    let Some(lab) = Lab::new("changes_are_told_of") else {
        return;
    };
    lab.run(async |lab| {
        let (_network, mut events) = new();
        let mut seen = NetworkEvent::default();
        lab.ip("node", "link add told type bridge");
        lab.ip(
            "node",
            "neigh add 192.0.2.50 lladdr 02:00:00:00:00:50 dev eb",
        );
        lab.ip("node", "rule add to 192.0.2.50 lookup 77");
        let deadline = Instant::now() + DEADLINE;
        while !(seen.links && seen.routes && seen.neighbours) {
            let event = timeout(deadline - Instant::now(), events.recv()).await;
            let event = event.expect("in time").expect("the task runs");
            seen.links |= event.links;
            seen.routes |= event.routes;
            seen.neighbours |= event.neighbours;
        }
    });
}

#[test]
fn probes_are_answered_although_the_node_filters_reverse_paths() {
    let Some(lab) = Lab::new("probes_are_answered_although_the_node_filters_reverse_paths") else {
        return;
    };
    lab.run(async |lab| {
        let (network, _events) = new();
        std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "1").unwrap();
        lab.ip("node", "route add default via 192.0.2.2");
        lab.serve("10.0.0.11:80");
        settle(&network, &both(over_v4)).await;
        for site in SITES {
            assert_eq!(answer(&format!("lbx-{site}"), "10.0.0.11:80").await, site);
        }
    });
}

/// Every kind that the kernel offers carries traffic between this node and a kernel's own tunnel
/// on the other side.
#[test]
fn every_kind_reaches_the_far_end() {
    let Some(lab) = Lab::new("every_kind_reaches_the_far_end") else {
        return;
    };
    lab.run(async |lab| {
        let (network, _events) = new();
        lab.serve("10.0.0.11:80");
        lab.serve("[fd00::11]:80");
        let v4 = ("192.0.2.1", "192.0.2.2");
        let v6 = ("2001:db8:b::1", "2001:db8:b::2");
        let geneve = TunnelKind::Geneve {
            vni: 88,
            port: 6081,
            carries: Carries::Ethernet,
        };
        let keyed = TunnelKind::Gre {
            key: Some(5),
            checksum: false,
        };
        let plain = TunnelKind::Gre {
            key: None,
            checksum: false,
        };
        let gue = |port| TunnelKind::Gue { port };
        let both = "4 and 6";
        // Our kind, the outer addresses, what is carried, and the far end's device.
        let cases: [(TunnelKind, (&str, &str), &str, &str); 14] = [
            (
                geneve,
                v4,
                both,
                "geneve id 88 dstport 6081 remote 192.0.2.1",
            ),
            (
                geneve,
                v6,
                both,
                "geneve id 88 dstport 6081 remote 2001:db8:b::1 udp6zerocsumrx udp6zerocsumtx",
            ),
            (
                keyed,
                v4,
                both,
                "gre local 192.0.2.2 remote 192.0.2.1 ttl 64 key 5",
            ),
            (
                plain,
                v4,
                "4",
                "gre local 192.0.2.2 remote 192.0.2.1 ttl 64",
            ),
            (
                keyed,
                v6,
                both,
                "ip6gre local 2001:db8:b::2 remote 2001:db8:b::1 encaplimit none key 5",
            ),
            (
                TunnelKind::IpIp,
                v4,
                "4",
                "ipip local 192.0.2.2 remote 192.0.2.1 ttl 64",
            ),
            (
                TunnelKind::IpIp,
                v4,
                "6",
                "sit local 192.0.2.2 remote 192.0.2.1 ttl 64",
            ),
            (
                TunnelKind::IpIp,
                v4,
                both,
                "sit mode any local 192.0.2.2 remote 192.0.2.1 ttl 64",
            ),
            (
                TunnelKind::IpIp,
                v6,
                "4",
                "ip6tnl mode ipip6 encaplimit none local 2001:db8:b::2 remote 2001:db8:b::1",
            ),
            (
                TunnelKind::IpIp,
                v6,
                both,
                "ip6tnl mode any encaplimit none local 2001:db8:b::2 remote 2001:db8:b::1",
            ),
            (
                gue(6080),
                v4,
                "4",
                "ipip local 192.0.2.2 remote 192.0.2.1 ttl 64 encap gue encap-sport auto \
                 encap-dport 6080",
            ),
            (
                gue(6080),
                v4,
                "6",
                "sit local 192.0.2.2 remote 192.0.2.1 ttl 64 encap gue encap-sport auto \
                 encap-dport 6080",
            ),
            (
                gue(6080),
                v4,
                both,
                "sit mode any local 192.0.2.2 remote 192.0.2.1 ttl 64 encap gue encap-sport auto \
                 encap-dport 6080",
            ),
            (
                gue(6082),
                v6,
                both,
                "ip6tnl mode any encaplimit none local 2001:db8:b::2 remote 2001:db8:b::1 encap \
                 gue encap-sport auto encap-dport 6082",
            ),
        ];
        let try_ip = |arguments: &str| {
            let namespace = lab.namespace("blue");
            (Program::new("ip").args(["-n", &namespace]))
                .args(arguments.split_whitespace())
                .output()
                .is_ok_and(|output| output.status.success())
        };
        for (port, family) in [("6080", ""), ("6082", "-6")] {
            try_ip(&format!("fou add port {port} gue {family}"));
        }
        for (kind, (local, remote), carried, far_end) in cases {
            if !try_ip(&format!("link add far type {far_end}")) {
                missing("every_kind_reaches_the_far_end", far_end);
                continue;
            }
            lab.ip("blue", "link set far mtu 1400 up");
            let mut tunnel = Tunnel {
                kind,
                local: local.parse().unwrap(),
                remote: remote.parse().unwrap(),
                addresses: vec![],
                peers: vec![],
                routes: vec![],
                ..over_v4("blue")
            };
            for (family, own, peer, route) in [
                ("4", "10.254.0.1/30", "10.254.0.2", "10.0.0.0/24"),
                ("6", "fd00:254::1/64", "fd00:254::2", "fd00::/64"),
            ] {
                if carried.contains(family) {
                    let bits = own.split_once('/').unwrap().1;
                    lab.ip("blue", &format!("addr add {peer}/{bits} dev far"));
                    tunnel.addresses.push(own.parse().unwrap());
                    tunnel.peers.push(peer.parse().unwrap());
                    tunnel.routes.push(route.parse().unwrap());
                }
            }
            settle(&network, &config(&[("blue", 1007, &[("one", tunnel)])])).await;
            for (family, address) in [("4", "10.0.0.11:80"), ("6", "[fd00::11]:80")] {
                if carried.contains(family) {
                    assert_eq!(answer("lbx-blue", address).await, "blue", "{far_end}");
                }
            }
            eprintln!("carried: {far_end}");
            lab.ip("blue", "link del far");
        }
        assert_eq!(network.remove_all().await.unwrap(), []);
        assert_eq!(fou::ports().unwrap_or_default(), [].into());
    });
}
