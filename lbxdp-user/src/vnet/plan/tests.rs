use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::desired::tests::{config, tunnel};
use super::super::device::DEVICE_GROUP;
use super::super::observe::ForeignRoute;
use super::super::wireguard;
use super::*;
use crate::config::model::{
    Association, Associations, Cipher, Config, IpsecKey, Keying, Tunnel, TunnelKind,
};

/// A kernel as simple as possible: what it looks like after a command.
fn execute(kernel: &mut Observed, command: &Command) {
    match command.clone() {
        Command::DeleteRule(rule) => assert!(kernel.rules.remove(&rule), "{rule}"),
        Command::AddRule(rule) => assert!(kernel.rules.insert(rule)),
        Command::DeleteRoute(route) => assert!(kernel.routes.remove(&route), "{route}"),
        Command::AddRoute(route) => {
            let key = |route: &Route| (route.table, route.prefix, route.metric);
            let taken = kernel.routes.iter().any(|other| key(other) == key(&route));
            assert!(!taken, "EEXIST: {route}");
            if let Some(gateway) = route.via {
                let near = kernel.routes.iter().any(|near| {
                    near.table == route.table
                        && near.via.is_none()
                        && near.prefix.contains(&gateway)
                });
                assert!(near, "ENETUNREACH: {route}");
            }
            assert!(kernel.links[&route.device].up, "ENETDOWN: {route}");
            kernel.routes.insert(route);
        }
        Command::DeleteDevice { name, index } => {
            let link = kernel.links.remove(&name).unwrap();
            assert_eq!(link.index, index);
            assert!(link.is_ours());
            kernel.routes.retain(|route| route.device != name);
            (kernel.sysctls).retain(|path, _| !path.contains(&format!("/{name}/")));
        }
        Command::CloseGuePort(port) => assert!(kernel.gue_ports.remove(&port)),
        Command::OpenGuePort(port, _) => assert!(kernel.gue_ports.insert(port)),
        Command::CreateDevice(device) => {
            let link = Link {
                index: 100 + u32::try_from(kernel.links.len()).unwrap(),
                kind: Some(device.link_kind().name().to_owned()),
                group: DEVICE_GROUP,
                alias: device.alias(),
                mac: device.mac(),
                mtu: u32::from(device.mtu),
                ..Link::default()
            };
            let taken = kernel.links.insert(device.name.clone(), link);
            assert_eq!(taken, None, "EEXIST: {}", device.name);
        }
        Command::SetWireguard(device) => {
            assert!(kernel.links[&device.name].is_ours());
            let keys = device.wireguard.as_ref().unwrap();
            let set = wireguard::Set::of(keys, &device.allowed);
            kernel.wireguard.insert(device.name, set);
        }
        Command::AddState(state, device) => {
            assert!(kernel.links[&device].is_ours());
            let taken = kernel.ipsec.states.insert(state.id, (state, 0));
            assert_eq!(taken, None, "EEXIST");
        }
        Command::DeleteState(id) => assert!(kernel.ipsec.states.remove(&id).is_some()),
        Command::AddPolicy(policy, device) => {
            assert!(kernel.links[&device].is_ours());
            let mut present = kernel.ipsec.policies.iter();
            let taken = present.find(|present| present.is_in_place_of(&policy));
            assert_eq!(taken, None, "EEXIST");
            kernel.ipsec.policies.insert(policy);
        }
        Command::DeletePolicy(policy) => assert!(kernel.ipsec.policies.remove(&policy)),
        Command::SetMtu(name, mtu) => kernel.links.get_mut(&name).unwrap().mtu = u32::from(mtu),
        Command::SetMac(name, mac) => kernel.links.get_mut(&name).unwrap().mac = Some(mac),
        Command::SetSysctl { path, value } => {
            kernel.sysctls.insert(path, value);
        }
        Command::SetUp(name) => kernel.links.get_mut(&name).unwrap().up = true,
        Command::AddAddress(name, address) => {
            let link = kernel.links.get_mut(&name).unwrap();
            assert!(link.addresses.insert(address));
        }
        Command::DeleteAddress(name, address) => {
            let link = kernel.links.get_mut(&name).unwrap();
            assert!(link.addresses.remove(&address));
            if address.addr().is_ipv4() && !link.addresses.iter().any(|left| left.addr().is_ipv4())
            {
                kernel.routes.retain(|route| route.device != name);
            }
        }
    }
}

fn follow(kernel: &mut Observed, plan: &Plan) {
    for command in &plan.commands {
        execute(kernel, command);
    }
}

fn lead(kernel: &mut Observed, desired: &Desired) {
    let plan = plan(desired, kernel);
    follow(kernel, &plan);
}

fn empty_kernel() -> Observed {
    Observed {
        ipv6: true,
        sysctls: BTreeMap::from([(REVERSE_PATH_OF_ALL.to_owned(), "0".to_owned())]),
        ..Observed::default()
    }
}

/// A kernel that was led to a configuration.
fn settled(config: &Config) -> (Desired, Observed) {
    let desired = Desired::from_config(config);
    let mut kernel = empty_kernel();
    lead(&mut kernel, &desired);
    (desired, kernel)
}

const VXLAN: TunnelKind = TunnelKind::Vxlan { vni: 1, port: 4789 };

fn shown(plan: &Plan) -> Vec<String> {
    plan.commands.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_as_desired_gives_no_command() {
    let (desired, kernel) = settled(&config(&[
        ("blue", 7, &[("one", tunnel("vx-blue", VXLAN, "192.0.2.2"))]),
        (
            "green",
            8,
            &[(
                "one",
                tunnel(
                    "g",
                    TunnelKind::Gre {
                        key: None,
                        checksum: false,
                    },
                    "192.0.2.3",
                ),
            )],
        ),
        (
            "red",
            9,
            &[(
                "one",
                tunnel("u", TunnelKind::Gue { port: 6080 }, "192.0.2.4"),
            )],
        ),
    ]));
    assert_eq!(plan(&desired, &kernel), Plan::default());
}

#[test]
fn a_device_is_made_before_it_is_used() {
    let one = tunnel("vx", VXLAN, "192.0.2.2");
    let desired = Desired::from_config(&config(&[("blue", 7, &[("one", one)])]));
    assert_eq!(
        shown(&plan(&desired, &empty_kernel())),
        [
            "create device vx (vxlan to 192.0.2.2 for blue/one)",
            "set net/ipv4/conf/vx/forwarding to 0",
            "set net/ipv4/conf/vx/rp_filter to 0",
            "set net/ipv4/conf/vx/arp_ignore to 1",
            "set net/ipv4/conf/vx/promote_secondaries to 1",
            "set net/ipv6/conf/vx/disable_ipv6 to 1",
            "set vx up",
            "add 10.255.0.1/30 to vx",
            "add route 10.255.0.0/30 dev vx table 7 metric 100",
            "add route 10.0.0.0/8 via 10.255.0.2 dev vx table 7 metric 100",
            "add IPv4 rule oif vx lookup 7",
        ]
    );
}

#[test]
fn mtu_address_and_routes_change_in_place() {
    let before = tunnel("vx", VXLAN, "192.0.2.2");
    let (_, kernel) = settled(&config(&[("blue", 7, &[("one", before.clone())])]));
    let mut after = before;
    after.mtu = 1300;
    after.addresses = vec!["10.255.0.1/29".parse().unwrap()];
    after.routes = vec!["10.1.0.0/16".parse().unwrap()];
    let desired = Desired::from_config(&config(&[("blue", 7, &[("one", after)])]));
    assert_eq!(
        shown(&plan(&desired, &kernel)),
        [
            "delete route 10.0.0.0/8 via 10.255.0.2 dev vx table 7 metric 100",
            "delete route 10.255.0.0/30 dev vx table 7 metric 100",
            "set the MTU of vx to 1300",
            "add 10.255.0.1/29 to vx",
            "delete 10.255.0.1/30 from vx",
            "add route 10.255.0.0/29 dev vx table 7 metric 100",
            "add route 10.1.0.0/16 via 10.255.0.2 dev vx table 7 metric 100",
        ]
    );
}

#[test]
fn another_far_end_is_another_device() {
    let before = tunnel("vx", VXLAN, "192.0.2.2");
    let (_, mut kernel) = settled(&config(&[("blue", 7, &[("one", before.clone())])]));
    let mut after = before;
    after.remote = "192.0.2.3".parse().unwrap();
    let desired = Desired::from_config(&config(&[("blue", 7, &[("one", after)])]));
    let plan = plan(&desired, &kernel);
    let commands = shown(&plan);
    assert_eq!(commands[0], "delete device vx");
    assert_eq!(
        commands[1],
        "create device vx (vxlan to 192.0.2.3 for blue/one)"
    );
    // The rule names the device, and stays.
    assert!(!commands.iter().any(|command| command.contains("rule")));
    follow(&mut kernel, &plan);
    assert_eq!(super::plan(&desired, &kernel), Plan::default());
}

#[test]
fn a_renamed_device_makes_room_first() {
    let before = tunnel("old", VXLAN, "192.0.2.2");
    let (_, mut kernel) = settled(&config(&[("blue", 7, &[("one", before.clone())])]));
    let mut after = before;
    after.device = "new".to_owned();
    let desired = Desired::from_config(&config(&[("blue", 7, &[("one", after)])]));
    let plan = plan(&desired, &kernel);
    let commands = shown(&plan);
    let at = |command: &str| {
        commands
            .iter()
            .position(|is| is.starts_with(command))
            .unwrap()
    };
    assert!(at("delete device old") < at("create device new"));
    follow(&mut kernel, &plan);
    assert_eq!(super::plan(&desired, &kernel), Plan::default());
}

#[test]
fn a_foreign_link_of_the_name_is_left_alone_and_named() {
    let one = tunnel("vx", VXLAN, "192.0.2.2");
    let desired = Desired::from_config(&config(&[("blue", 7, &[("one", one)])]));
    let mut kernel = empty_kernel();
    let foreign = Link {
        index: 4,
        kind: Some("vxlan".to_owned()),
        ..Link::default()
    };
    kernel.links.insert("vx".to_owned(), foreign);
    let plan = plan(&desired, &kernel);
    assert_eq!(plan.commands, []);
    assert_eq!(plan.problems.len(), 1);
    let text = plan.problems[0].to_string();
    assert!(
        text.starts_with("vx: a link of this name (kind vxlan) exists"),
        "{text}"
    );
    assert!(text.contains("blue/one"), "{text}");
    assert_eq!(removal(&kernel), Plan::default());
}

#[test]
fn a_foreign_route_in_the_table_is_left_alone_and_named() {
    let one = tunnel("vx", VXLAN, "192.0.2.2");
    let (desired, mut kernel) = settled(&config(&[("blue", 7, &[("one", one)])]));
    kernel.foreign_routes.push(ForeignRoute {
        table: 7,
        prefix: "192.168.0.0/16".parse().unwrap(),
        metric: 0,
    });
    let plan = plan(&desired, &kernel);
    assert_eq!(plan.commands, []);
    assert!(plan.problems[0].text.contains("192.168.0.0/16"));
}

#[test]
fn removal_leaves_nothing_of_ours() {
    let (_, mut kernel) = settled(&config(&[
        ("blue", 7, &[("one", tunnel("vx", VXLAN, "192.0.2.2"))]),
        (
            "red",
            9,
            &[(
                "one",
                tunnel("u", TunnelKind::Gue { port: 6080 }, "192.0.2.4"),
            )],
        ),
    ]));
    lead(&mut kernel, &Desired::default());
    assert!(kernel.links.is_empty());
    assert!(kernel.routes.is_empty());
    assert!(kernel.rules.is_empty());
    assert!(kernel.gue_ports.is_empty());
}

#[test]
fn a_device_without_its_alias_was_left_half_made_and_is_made_again() {
    let one = tunnel("vx", VXLAN, "192.0.2.2");
    let (desired, mut kernel) = settled(&config(&[("blue", 7, &[("one", one)])]));
    kernel.links.get_mut("vx").unwrap().alias.clear();
    let commands = shown(&plan(&desired, &kernel));
    assert_eq!(commands[0], "delete device vx");
}

#[test]
fn reverse_path_filtering_is_loose_where_the_node_demands_some() {
    let one = tunnel("vx", VXLAN, "192.0.2.2");
    let desired = Desired::from_config(&config(&[("blue", 7, &[("one", one)])]));
    let mut kernel = empty_kernel();
    (kernel.sysctls).insert(REVERSE_PATH_OF_ALL.to_owned(), "1".to_owned());
    let plan = plan(&desired, &kernel);
    assert!(shown(&plan).contains(&"set net/ipv4/conf/vx/rp_filter to 2".to_owned()));
    assert!(plan.problems[0].text.contains("rp_filter"));
}

#[test]
fn interfaces_are_changed_only_where_that_is_allowed() {
    let path = "net/ipv4/conf/eth0/forwarding";
    let mut desired = Desired {
        sysctls: vec![Sysctl {
            path: path.to_owned(),
            setting: Setting::Is(1),
            scope: Scope::Interface,
        }],
        manage_sysctls: true,
        ..Desired::default()
    };
    let mut kernel = empty_kernel();
    kernel.sysctls.insert(path.to_owned(), "0".to_owned());
    assert_eq!(
        shown(&plan(&desired, &kernel)),
        ["set net/ipv4/conf/eth0/forwarding to 1"]
    );
    desired.manage_sysctls = false;
    let refused = plan(&desired, &kernel);
    assert_eq!(refused.commands, []);
    assert_eq!(refused.problems[0].subject, "eth0");
    assert!(
        refused.problems[0]
            .text
            .contains("sysctl -w net.ipv4.conf.eth0.forwarding=1")
    );
}

#[test]
fn accepted_advertisements_are_kept_and_refused_ones_stay_refused() {
    let path = "net/ipv6/conf/eth0/accept_ra";
    let desired = Desired {
        sysctls: vec![Sysctl {
            path: path.to_owned(),
            setting: Setting::KeepAdvertisements,
            scope: Scope::Interface,
        }],
        manage_sysctls: true,
        ..Desired::default()
    };
    for (seen, commands) in [("0", 0), ("1", 1), ("2", 0)] {
        let mut kernel = empty_kernel();
        kernel.sysctls.insert(path.to_owned(), seen.to_owned());
        assert_eq!(
            plan(&desired, &kernel).commands.len(),
            commands,
            "accept_ra {seen}"
        );
    }
}

/// An IPsec tunnel with static keys and a number of its own.
fn ipsec_tunnel(device: &str, number: u32, remote: &str) -> Tunnel {
    let association = |spi, byte| Association {
        spi,
        key: IpsecKey(vec![byte; 36]),
    };
    Tunnel {
        associations: Some(Associations {
            cipher: Cipher::AesGcm256,
            inbound: association(0x100 + number, 90),
            outbound: association(0x200 + number, 107),
            replay_window: 0,
            copies_dscp: false,
        }),
        ..tunnel(
            device,
            TunnelKind::Ipsec {
                if_id: number,
                keying: Keying::Static,
            },
            remote,
        )
    }
}

#[test]
fn an_ipsec_tunnel_is_an_interface_with_two_states_and_policies() {
    let one = ipsec_tunnel("x", 5, "192.0.2.2");
    let desired = Desired::from_config(&config(&[("blue", 7, &[("one", one)])]));
    let mut kernel = empty_kernel();
    let plan = plan(&desired, &kernel);
    assert_eq!(
        shown(&plan)[..5],
        [
            "create device x (xfrm to 192.0.2.2 for blue/one)",
            "make security association 0x105 to 192.0.2.1 for x",
            "make security association 0x205 to 192.0.2.2 for x",
            "make policy out for IPv4 of if_id 5 from 192.0.2.1 to 192.0.2.2 for x",
            "make policy in for IPv4 of if_id 5 from 192.0.2.2 to 192.0.2.1 for x",
        ]
    );
    let debug = format!("{plan:?} {desired:?}");
    for secret in ["90", "107", "5a5a", "6b6b"] {
        assert!(!debug.contains(secret), "{secret} is in {debug}");
    }
    follow(&mut kernel, &plan);
    assert_eq!(super::plan(&desired, &kernel), Plan::default());
    lead(&mut kernel, &Desired::default());
    assert_eq!(kernel.ipsec, Default::default());
}

#[test]
fn an_ike_daemon_s_tunnel_is_an_interface_alone() {
    let mut one = ipsec_tunnel("x", 5, "192.0.2.2");
    one.kind = TunnelKind::Ipsec {
        if_id: 5,
        keying: Keying::Ike,
    };
    one.associations = None;
    let (_, kernel) = settled(&config(&[("blue", 7, &[("one", one)])]));
    assert!(kernel.links.contains_key("x"));
    assert_eq!(kernel.ipsec, Default::default());
}

#[test]
fn keys_and_indexes_change_in_place_and_the_new_is_there_before_the_old_goes() {
    let before = ipsec_tunnel("x", 5, "192.0.2.2");
    let (_, kernel) = settled(&config(&[("blue", 7, &[("one", before.clone())])]));
    let changed = |change: fn(&mut Associations)| {
        let mut after = before.clone();
        change(after.associations.as_mut().unwrap());
        let desired = Desired::from_config(&config(&[("blue", 7, &[("one", after)])]));
        let plan = plan(&desired, &kernel);
        let mut kernel = kernel.clone();
        follow(&mut kernel, &plan);
        assert_eq!(super::plan(&desired, &kernel), Plan::default());
        shown(&plan)
    };
    let key = [
        "delete security association 0x205 to 192.0.2.2",
        "make security association 0x205 to 192.0.2.2 for x",
    ];
    assert_eq!(changed(|to| to.outbound.key.0[35] = 1), key);
    assert_eq!(changed(|to| to.copies_dscp = true), key);
    assert_eq!(
        changed(|to| to.replay_window = 64),
        [
            "delete security association 0x105 to 192.0.2.1",
            "make security association 0x105 to 192.0.2.1 for x",
        ]
    );
    assert_eq!(
        changed(|to| to.outbound.spi = 0x300),
        [
            "make security association 0x300 to 192.0.2.2 for x",
            "delete security association 0x205 to 192.0.2.2",
        ]
    );
}

#[test]
fn a_state_whose_numbers_run_out_is_made_anew_and_a_hidden_key_is_taken_as_right() {
    let one = ipsec_tunnel("x", 5, "192.0.2.2");
    let (desired, mut kernel) = settled(&config(&[("blue", 7, &[("one", one)])]));
    for (state, _) in kernel.ipsec.states.values_mut() {
        state.key.0.fill(0);
    }
    assert_eq!(plan(&desired, &kernel), Plan::default());
    for (state, sent) in kernel.ipsec.states.values_mut() {
        if state.id.spi == 0x205 {
            *sent = u32::MAX / 2 + 1;
        }
    }
    assert_eq!(
        shown(&plan(&desired, &kernel)),
        [
            "delete security association 0x205 to 192.0.2.2",
            "make security association 0x205 to 192.0.2.2 for x",
        ]
    );
}

fn any_tunnel() -> impl Strategy<Value = Tunnel> {
    let kind = prop_oneof![
        (1..3_u32).prop_map(|vni| TunnelKind::Vxlan { vni, port: 4789 }),
        Just(TunnelKind::Gre {
            key: Some(5),
            checksum: false
        }),
        Just(TunnelKind::IpIp),
        Just(TunnelKind::Gue { port: 6080 }),
        Just(TunnelKind::Ipsec {
            if_id: 0,
            keying: Keying::Static
        }),
    ];
    let inner = prop_oneof![
        Just(("10.255.0.1/30", "10.255.0.2", "10.0.0.0/8")),
        Just(("10.255.0.1/24", "10.255.0.3", "0.0.0.0/0")),
        Just(("10.255.1.1/32", "10.255.1.2", "10.1.0.0/16")),
        Just(("fd00::1/64", "fd00::2", "::/0")),
    ];
    (kind, inner, 1300..1303_u16, 2..4_u8).prop_map(|(kind, (own, peer, route), mtu, host)| {
        Tunnel {
            addresses: vec![own.parse().unwrap()],
            peers: vec![peer.parse().unwrap()],
            routes: vec![route.parse().unwrap()],
            mtu,
            ..tunnel("", kind, &format!("192.0.2.{host}"))
        }
    })
}

/// Up to four tunnels in two VNets; their devices have one of five names.
fn any_config() -> impl Strategy<Value = Config> {
    proptest::collection::vec(any_tunnel(), 4)
        .prop_flat_map(|tunnels| (Just(tunnels), 0..5_usize, 0..=4_usize))
        .prop_map(|(tunnels, shift, count)| {
            let tunnels: Vec<(String, Tunnel)> = (tunnels.into_iter().enumerate().take(count))
                .map(|(number, mut tunnel)| {
                    tunnel.device = format!("t{}", (number + shift) % 5);
                    if matches!(tunnel.kind, TunnelKind::Ipsec { .. }) {
                        let number = u32::try_from(number + 1).unwrap();
                        let ipsec = ipsec_tunnel("", number, "192.0.2.2");
                        (tunnel.kind, tunnel.associations) = (ipsec.kind, ipsec.associations);
                    }
                    (format!("tunnel-{number}"), tunnel)
                })
                .collect();
            let named: Vec<(&str, Tunnel)> = (tunnels.iter())
                .map(|(name, tunnel)| (name.as_str(), tunnel.clone()))
                .collect();
            let (blue, green) = named.split_at(named.len() / 2);
            config(&[("blue", 7, blue), ("green", 8, green)])
        })
}

proptest! {
    #[test]
    fn any_configuration_leads_to_any_other_and_stays(before in any_config(), after in any_config()) {
        let (_, mut kernel) = settled(&before);
        let desired = Desired::from_config(&after);
        lead(&mut kernel, &desired);
        // Taking a device's last IPv4 address takes its routes: that shows in a second look.
        lead(&mut kernel, &desired);
        prop_assert_eq!(plan(&desired, &kernel), Plan::default());
        lead(&mut kernel, &Desired::default());
        prop_assert!(kernel.links.is_empty() && kernel.routes.is_empty() && kernel.rules.is_empty());
        prop_assert_eq!(kernel.ipsec, Default::default());
    }
}

/// The name of a device of somebody else's.
const THEIRS: &str = "theirs";

/// A kernel with that device, up or not.
fn with_theirs(up: bool) -> Observed {
    let link = Link {
        index: 9,
        kind: Some("vxlan".to_owned()),
        mac: Some([2; 6]),
        mtu: 1500,
        up,
        running: up,
        ..Link::default()
    };
    Observed {
        links: [(THEIRS.to_owned(), link)].into(),
        ..Observed::default()
    }
}

fn desire_theirs() -> Desired {
    let tunnel = tunnel(THEIRS, TunnelKind::Device, "0.0.0.0");
    Desired::from_config(&config(&[("blue", 7, &[("one", tunnel)])]))
}

#[test]
fn a_device_of_others_gets_routes_and_a_rule_and_nothing_else() {
    let mut kernel = with_theirs(true);
    let link = kernel.links[THEIRS].clone();
    let Plan { commands, problems } = plan(&desire_theirs(), &kernel);
    assert!(problems.is_empty(), "{problems:?}");
    for command in &commands {
        assert!(
            matches!(command, Command::AddRoute(_) | Command::AddRule(_)),
            "{command}"
        );
        execute(&mut kernel, command);
    }
    assert_eq!(commands.len(), 3, "{commands:?}");
    assert_eq!(plan(&desire_theirs(), &kernel), Plan::default());
    assert_eq!(kernel.links[THEIRS], link);
    for command in removal(&kernel).commands {
        execute(&mut kernel, &command);
    }
    assert_eq!(kernel, with_theirs(true), "what is not ours stays");
}

#[test]
fn a_device_of_others_that_is_missing_or_down_is_spoken_of() {
    for (kernel, words) in [
        (Observed::default(), "there is no such device"),
        (with_theirs(false), "it is down"),
    ] {
        let Plan { commands, problems } = plan(&desire_theirs(), &kernel);
        assert!(commands.is_empty(), "{commands:?}");
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].subject, THEIRS);
        assert!(problems[0].text.contains(words), "{}", problems[0]);
    }
}

#[test]
fn a_strict_reverse_path_filter_of_a_device_of_others_is_spoken_of() {
    let mut kernel = with_theirs(true);
    let path = format!("net/ipv4/conf/{THEIRS}/rp_filter");
    kernel.sysctls.insert(path, "1".to_owned());
    let Plan { commands, problems } = plan(&desire_theirs(), &kernel);
    assert!(
        problems[0].text.contains("rp_filter to 0 or 2"),
        "{problems:?}"
    );
    assert!(!(commands.iter()).any(|command| matches!(command, Command::SetSysctl { .. })));
}
