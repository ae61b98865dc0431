//! What flows from before need: windows, origins that leave, tables that change.

use lbxdp_ebpf::abi::{
    LISTENER_SNAT, Mode, NODE_LOCAL_REPLIES, NODE_LOCAL_SNAT, ROW_GENERATION, ROW_LOOKUP, Tags,
};

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// An agent and its maps.
struct Lab {
    text: String,
    state: State,
    maps: Content,
    now: SystemTime,
}

impl Lab {
    /// All origins of the configuration answer.
    fn new(text: &str) -> Self {
        let mut lab = Self {
            text: text.to_owned(),
            state: start(text),
            maps: Content::default(),
            now: now(),
        };
        lab.answer();
        lab.settle();
        lab
    }

    fn answer(&mut self) {
        for key in self.state.probes().into_keys() {
            self.state.observe(&key, PASS, self.now);
        }
    }

    /// Puts another configuration in force, in which all that is new answers at once.
    fn edit(&mut self, from: &str, to: &str) {
        assert!(self.text.contains(from), "nothing to edit: {from}");
        self.text = self.text.replace(from, to);
        self.state
            .replace(config(&self.text), &self.maps, self.now)
            .expect("there is room");
        self.answer();
        self.settle();
    }

    fn restart(&mut self) {
        self.state = State::new(config(&self.text), &self.maps, self.now).expect("there is room");
        self.settle();
    }

    fn settle(&mut self) {
        self.state.set_hops(
            self.state
                .hop_keys()
                .into_iter()
                .map(|key| (key, Ok(hop())))
                .collect(),
        );
        settle(&mut self.state, &mut self.maps, self.now);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.settle();
    }

    fn rows(&self, last: u8) -> &Published {
        &self.maps.tables[&self.maps.listeners[&vip(last)].table]
    }

    /// The slot of an origin in force, by name.
    fn slot(&self, name: &str) -> Option<OriginIndex> {
        let (key, _) = (self.maps.entities.iter())
            .find(|(key, entity)| key.kind == EntityKind::Origin as u32 && entity.name() == name)?;
        let slot = OriginIndex::try_from(key.index).expect("slots fit");
        self.maps.origins.contains_key(&slot).then_some(slot)
    }
}

fn hop() -> Hop {
    Hop {
        ifindex: 2,
        tags: Tags::NONE,
        source_mac: [2, 0, 0, 0, 0, 1],
        destination_mac: [2, 0, 0, 0, 0, 2],
        mtu: 1500,
    }
}

fn vip(last: u8) -> Service {
    Service {
        address: Address::from_v4([198, 51, 100, last]),
        port: Port::new(80),
        protocol: 6,
        range: 0,
        vnet: VnetId::LOCAL,
    }
}

fn origin(name: &str, last: u8) -> String {
    format!("[[pool.origin]]\nname = \"{name}\"\naddress = \"192.0.2.{last}\"\nport = 80\n")
}

fn count(published: &Published, flag: u8) -> usize {
    let rows = published.rows.iter();
    rows.filter(|row| row.flags & flag != 0).count()
}

/// Two pools and two load balancers, each with one.
fn two_pools() -> String {
    let mut text = "
        [node]
        interfaces = [\"eth0\"]
        addresses = [\"203.0.113.1\"]
        hash_key = \"00112233445566778899aabbccddeeff\"
        flow_window = \"5m\"
        flow_idle = \"1m\"
        "
    .to_owned();
    for (pool, first) in [("web", 1), ("api", 11)] {
        text += &format!("[[pool]]\nname = \"{pool}\"\nsource = \"snat\"\n");
        text += &(origin("a", first) + &origin("b", first + 1));
    }
    for (balancer, pool, last) in [("www", "web", 10), ("www2", "api", 11)] {
        text += &format!(
            "[[load_balancer]]\nname = \"{balancer}\"\ndefault_pools = [\"{pool}\"]\nlisteners = [{{ \
             address = \"198.51.100.{last}\", port = 80, protocol = \"tcp\" }}]\n"
        );
    }
    text
}

#[test]
fn an_origin_that_is_removed_stays_for_its_window_with_its_way_back() {
    let mut lab = Lab::new(&super::two_origins());
    let b = lab.slot("web/b").expect("it is configured");
    let value = lab.maps.origins[&b];
    let owned = lab
        .rows(10)
        .rows
        .iter()
        .filter(|row| row.current == b)
        .count();
    lab.edit(&origin_of_two("b", 12), "");
    assert!(lab.state.due_at().is_some());
    let moved: Vec<_> = (lab.rows(10).rows.iter())
        .filter(|row| row.flags & ROW_GENERATION != 0)
        .collect();
    assert_eq!(moved.len(), owned);
    assert!(
        moved
            .iter()
            .all(|row| row.previous == [b; 2] && row.current != b)
    );
    assert_eq!(lab.maps.origins[&b], value);
    assert!(lab.maps.reverse.values().any(|back| back.origin == b));
    assert_ne!(lab.maps.node.flags & NODE_LOCAL_REPLIES, 0);
    let leaving: Vec<_> = lab.state.leaving().collect();
    assert_eq!(leaving, [(b, "web/b", Some(lab.now + 5 * MINUTE))]);

    // Its slot is nobody else's meanwhile, and a restart finds it.
    lab.edit(
        "[[load_balancer]]",
        &(origin("c", 13) + "[[load_balancer]]"),
    );
    assert_ne!(lab.slot("web/c"), Some(b));
    lab.pass(4 * MINUTE);
    lab.restart();
    assert_eq!(lab.slot("web/b"), Some(b));
    lab.pass(4 * MINUTE);
    assert_eq!(lab.slot("web/b"), Some(b), "a window of its own");
    assert!(count(lab.rows(10), ROW_GENERATION) > 0);
    lab.pass(MINUTE);
    assert_eq!(lab.slot("web/b"), None);
    assert!(lab.maps.reverse.values().all(|back| back.origin != b));
    assert_eq!(count(lab.rows(10), ROW_GENERATION), 0);
    assert_ne!(count(lab.rows(10), ROW_LOOKUP), 0);
    lab.pass(5 * MINUTE);
    assert_eq!(count(lab.rows(10), ROW_LOOKUP), 0);
    assert_eq!(lab.state.due_at(), None);
}

/// An origin as [`two_origins`] writes it.
fn origin_of_two(name: &str, last: u8) -> String {
    format!(
        r#"
            [[pool.origin]]
            name = "{name}"
            address = "192.0.2.{last}"
            port = 80
            "#
    )
}

#[test]
fn an_origin_that_leaves_stays_as_long_as_it_has_flows() {
    let mut lab = Lab::new(&two_pools());
    let b = lab.slot("web/b").expect("it is configured");
    lab.edit(&origin("b", 2), "");
    let table = lab.maps.listeners[&vip(10)].table;
    let mut tracked = Tracked::default();
    tracked.add(table, 7, b);
    assert!(lab.state.set_tracked(tracked));
    lab.pass(60 * MINUTE);
    lab.pass(60 * MINUTE);
    assert_eq!(lab.slot("web/b"), Some(b));
    assert_ne!(lab.maps.node.flags & NODE_LOCAL_SNAT, 0);
    lab.state.set_tracked(Tracked::default());
    lab.settle();
    assert_eq!(lab.slot("web/b"), None);
}

#[test]
fn an_origin_that_comes_back_has_its_slot_again_and_its_flows() {
    let mut lab = Lab::new(&two_pools());
    let b = lab.slot("web/b");
    let a = origin("a", 1);
    lab.edit(&origin("b", 2), "");
    lab.pass(MINUTE);
    lab.edit(&a, &(a.clone() + &origin("b", 2)));
    assert_eq!(lab.slot("web/b"), b);
    assert_eq!(lab.state.leaving().count(), 0);
    let rows = &lab.rows(10).rows;
    assert!(
        rows.iter()
            .filter(|row| row.flags != 0)
            .all(|row| row.flags & ROW_GENERATION != 0 && row.previous == [b.expect("a slot"); 2]),
        "flows from before belong to who had them first"
    );
}

#[test]
fn an_origin_that_moves_to_another_address_leaves_the_old_one_to_its_flows() {
    let mut lab = Lab::new(&two_pools());
    let old = lab.slot("web/b").expect("it is configured");
    lab.edit("address = \"192.0.2.2\"", "address = \"192.0.2.3\"");
    let new = lab.slot("web/b").expect("it is configured");
    assert_ne!(old, new);
    assert_eq!(lab.slot("web/b@2"), Some(old));
    let address = |lab: &Lab, slot| lab.maps.origins[&slot].address.to_string();
    assert_eq!(address(&lab, old), "192.0.2.2");
    assert_eq!(address(&lab, new), "192.0.2.3");
    for row in lab.rows(10).rows.iter() {
        assert_ne!(row.current, old);
        assert_eq!(row.current == new, row.previous == [old; 2]);
    }
    lab.restart();
    assert_eq!(lab.slot("web/b"), Some(new));
    lab.edit("address = \"192.0.2.3\"", "address = \"192.0.2.2\"");
    assert_eq!(
        lab.slot("web/b@2"),
        Some(old),
        "its flows are with that slot"
    );
    lab.pass(5 * MINUTE);
    assert_eq!((lab.slot("web/b@2"), lab.slot("web/b@3")), (None, None));
}

#[test]
fn an_origin_that_comes_back_at_another_address_is_another_one() {
    let mut lab = Lab::new(&two_pools());
    let old = lab.slot("web/b").expect("it is configured");
    let a = origin("a", 1);
    lab.edit(&origin("b", 2), "");
    lab.edit(&a, &(a.clone() + &origin("b", 3)));
    assert_ne!(lab.slot("web/b"), Some(old));
    assert_eq!(lab.slot("web/b@2"), Some(old), "it has flows still");
    assert_eq!(lab.maps.origins[&old].address.to_string(), "192.0.2.2");
}

#[test]
fn a_pool_that_translates_and_is_replaced_by_one_that_does_not_goes_on_translating() {
    let mut lab = Lab::new(&two_pools());
    let preserving = format!(
        "[[pool]]\nname = \"new\"\n{}[[load_balancer]]\nname = \"www\"\ndefault_pools = [\"new\"]",
        origin("a", 21)
    );
    lab.edit(
        "[[load_balancer]]\nname = \"www\"\ndefault_pools = [\"web\"]",
        &preserving,
    );
    let new = lab.slot("new/a").expect("it is configured");
    assert_eq!(
        lab.maps.origins[&new].mode(),
        Some(Mode::NatPreserve),
        "of the node's own network"
    );
    assert!(lab.maps.listeners[&vip(10)].has(LISTENER_SNAT));
    lab.pass(5 * MINUTE);
    lab.settle();
    assert!(!lab.maps.listeners[&vip(10)].has(LISTENER_SNAT));
}

#[test]
fn an_origin_in_a_network_that_is_gone_is_not_kept() {
    let mut lab = Lab::new(EXAMPLE);
    assert!(lab.slot("echo-green/a").is_some());
    let green = EXAMPLE
        .find("[[vnet]]\nname = \"green\"")
        .expect("it is there");
    let monitors = EXAMPLE.find("[[monitor]]").expect("they are there");
    let mut text = EXAMPLE.to_owned();
    text.replace_range(green..monitors, "");
    let text = text.replace("\"green\"", "\"blue\"");
    lab.text = text;
    lab.edit("10.0.0.11\"\nvirtual", "10.0.0.21\"\nvirtual");
    assert_eq!(lab.state.leaving().count(), 0);
}

#[test]
fn the_drain_duration_of_a_pool_is_for_origins_that_take_no_new_flows() {
    let draining = |duration: &str| {
        two_pools().replacen(
            "source = \"snat\"",
            &format!("source = \"snat\"\ndrain_duration = \"{duration}\""),
            1,
        )
    };
    let drained = origin("b", 2) + "weight = 0.0\n";
    let disabled = origin("b", 2) + "enabled = false\n";
    for (duration, edit) in [
        ("10m", &drained),
        ("10m", &disabled),
        ("10m", &String::new()),
    ] {
        let mut lab = Lab::new(&draining(duration));
        let b = lab.slot("web/b").expect("it is configured");
        lab.edit(&origin("b", 2), edit);
        assert_eq!(
            lab.state.kept_until(b),
            Some(lab.now + 10 * MINUTE),
            "{edit}"
        );
        lab.pass(10 * MINUTE - Duration::from_secs(1));
        assert_ne!(count(lab.rows(10), ROW_GENERATION), 0);
        assert_eq!(lab.slot("web/b"), Some(b));
        lab.pass(Duration::from_secs(1));
        assert_eq!(count(lab.rows(10), ROW_GENERATION), 0);
    }
    let mut lab = Lab::new(&draining("0s"));
    lab.edit(&origin("b", 2), "");
    assert_eq!(
        (count(lab.rows(10), ROW_GENERATION), lab.slot("web/b")),
        (0, None)
    );

    // Others have the window of the node.
    let mut lab = Lab::new(&draining("10m"));
    let a = lab.slot("web/a").expect("it is configured");
    lab.edit(&origin("b", 2), &(origin("b", 2) + &origin("c", 3)));
    assert_eq!(lab.state.kept_until(a), Some(lab.now + 5 * MINUTE));
}

#[test]
fn load_balancers_with_other_pasts_share_a_table_when_these_are_over() {
    let mut lab = Lab::new(&two_pools());
    let before = [lab.rows(10).rows.clone(), lab.rows(11).rows.clone()];
    lab.edit("default_pools = [\"api\"]", "default_pools = [\"web\"]");
    let tables = |lab: &Lab| [10, 11].map(|last| lab.maps.listeners[&vip(last)].table);
    let [www, www2] = tables(&lab);
    assert_ne!(www, www2, "their flows come from different origins");
    assert_eq!(lab.rows(10).rows, before[0]);
    for (row, before) in lab.rows(11).rows.iter().zip(before[1].iter()) {
        assert_eq!(row.previous, [before.current; 2]);
    }
    lab.restart();
    assert_eq!(tables(&lab), [www, www2]);
    for _ in 0..2 {
        lab.pass(5 * MINUTE);
    }
    lab.settle();
    let [www, www2] = tables(&lab);
    assert_eq!(www, www2);
    assert_eq!(lab.maps.tables.len(), 1);
}

#[test]
fn a_pool_that_grows_gets_a_larger_table_that_knows_the_one_before_and_does_not_shrink() {
    let mut lab = Lab::new(&two_pools());
    let many: String = (30..80)
        .map(|last| origin(&format!("m{last}"), last))
        .collect();
    let before = lab.rows(10).rows.to_vec();
    lab.edit(&origin("b", 2), &(origin("b", 2) + &many));
    let after = lab.rows(10).rows.to_vec();
    assert_eq!((before.len(), after.len()), (4_093, 16_381));
    assert_eq!(lab.rows(10).previous_rows(), 4_093);
    for hash in (0..=u32::MAX).step_by(100_003) {
        let old = lbxdp_ebpf::hash::reduce(hash, 4_093) as usize;
        let row = after[lbxdp_ebpf::hash::reduce(hash, 16_381) as usize];
        let owner = if row.flags & ROW_GENERATION == 0 {
            row.current
        } else {
            row.previous[old & 1]
        };
        assert_eq!(owner, before[old].current, "hash {hash}");
    }
    lab.edit(&many, "");
    assert_eq!(lab.rows(10).rows.len(), 16_381);
    assert_eq!(
        lab.rows(10).previous_rows(),
        4_093,
        "the window is not over"
    );
    for _ in 0..2 {
        lab.pass(5 * MINUTE);
    }
    lab.restart();
    assert_eq!(lab.rows(10).rows.len(), 16_381, "nobody knows the way back");
    assert_eq!(count(lab.rows(10), u8::MAX), 0);
}

#[test]
fn an_origin_that_is_added_starts_slowly_if_it_is_asked_to() {
    let text = two_pools().replacen("[[pool]]", "[[pool]]\nslow_start = \"100s\"", 1);
    let mut lab = Lab::new(&text);
    let b = origin("b", 2);
    lab.edit(&b, &(b.clone() + &origin("c", 3)));
    let c = lab.slot("web/c").expect("it is configured");
    let share = |lab: &Lab| {
        let rows = &lab.rows(10).rows;
        let owned = rows.iter().filter(|row| row.current == c).count();
        owned as f64 / rows.len() as f64
    };
    for tenths in 1..=10_u32 {
        let weight = f64::from(tenths) / 10.0;
        let expected = weight / (2.0 + weight);
        let got = share(&lab);
        assert!((got - expected).abs() < 0.01, "{tenths}: {got}");
        assert!(count(lab.rows(10), ROW_GENERATION) > 0);
        if tenths < 10 {
            let due = lab.state.due_at().expect("the next step is due");
            assert_eq!(due, lab.now + Duration::from_secs(10));
            lab.pass(Duration::from_secs(10));
        }
    }
    let whole = share(&lab);
    lab.restart();
    assert!((share(&lab) - whole).abs() < f64::EPSILON);
}
