//! Tunnels that are the kernel's xfrm interfaces, whose far ends are others, set by `ip xfrm`.

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use tests::netns::{Edge, Lab, Shape, Site, eventually, path_mtu};

use crate::configuration::{MONITORS, Service};
use crate::{DEADLINE, lab_for_agent, served_since, start_load};

/// Of the far ends' interfaces; ours have numbers of their own.
const FAR_IF_ID: u32 = 9;
/// `reqid` of what the agent makes.
const OUR_REQID: u32 = 1_819_829_360;
/// The MTU of all links below: what the tunnels' default MTU is meant for.
const LINK_MTU: u16 = 1500;

/// The tunnel to a site.
struct Tunnel<'l> {
    site: &'l Site,
    edge: IpAddr,
    far: IpAddr,
    /// Bytes of a key with its salt.
    secret_len: usize,
    /// Further keys of `vnet.tunnel.ipsec`.
    keys: &'static str,
    /// Further keys of `vnet.tunnel`.
    tunnel_keys: &'static str,
    /// What a packet inside may have.
    mtu: u16,
}

impl Tunnel<'_> {
    /// Over IPv4, with all defaults.
    fn blue(lab: &Lab) -> Tunnel<'_> {
        Tunnel {
            site: lab.blue(),
            edge: lab.tunnel_end().into(),
            far: lab.blue().underlay().into(),
            secret_len: 36,
            keys: "",
            tunnel_keys: "",
            mtu: 1446,
        }
    }

    /// Over IPv6, with nothing as it is by default.
    fn green(lab: &Lab) -> Result<Tunnel<'_>> {
        lab.router()
            .ip("addr add 2001:db8:f:2::1/64 dev green nodad")?;
        lab.green().gateway().ip(&format!(
            "addr add 2001:db8:f:2::2/64 dev underlay nodad
             route add {}/128 via 2001:db8:f:2::1",
            Lab::EDGE_V6
        ))?;
        Ok(Tunnel {
            site: lab.green(),
            edge: Lab::EDGE_V6.into(),
            far: "2001:db8:f:2::2".parse()?,
            secret_len: 20,
            keys: ", if_id = 42, cipher = \"aes-gcm-128\", replay_window = 64",
            tunnel_keys: "dscp = \"inherit\"\n",
            mtu: 1426,
        })
    }

    /// Key and salt of a direction, in a generation of them.
    fn secret(&self, direction: u8, generation: u8) -> String {
        let bytes = (0..self.secret_len).map(|at| at as u8 ^ (0x5a + direction + 16 * generation));
        bytes.map(|byte| format!("{byte:02x}")).collect()
    }

    fn device(&self) -> String {
        format!("x-{}", self.site.name())
    }

    /// Writes both keys where the agent looks for them.
    fn write_keys(&self, lab: &Lab, generation: u8) -> Result<()> {
        for (direction, name) in ["in", "out"].iter().enumerate() {
            let file = (lab.files()).join(format!("{}-{name}.key", self.site.name()));
            let mut options = fs::OpenOptions::new();
            let options = options.write(true).create(true).truncate(true).mode(0o600);
            let secret = self.secret(direction as u8, generation);
            writeln!(options.open(file)?, "{secret}")?;
        }
        Ok(())
    }

    /// Puts an xfrm interface in the place of the site's VXLAN device.
    fn connect(&self) -> Result<()> {
        let Self { edge, far, mtu, .. } = self;
        let (inside, inside_v6) = (self.site.inside(), self.site.inside_v6());
        let mut batch = format!(
            "link del vxlan0
             link set underlay mtu {LINK_MTU}
             link add x0 mtu {mtu} type xfrm dev underlay if_id {FAR_IF_ID}\n"
        );
        batch += &policies(*far, *edge, FAR_IF_ID);
        batch += &format!(
            "addr add {inside}/30 dev x0
             addr add {inside_v6}/64 dev x0 nodad
             link set x0 up
             route add default dev x0
             route add ::/0 dev x0\n"
        );
        self.site.gateway().ip(&batch)?;
        self.set_far_keys(0)
    }

    /// Gives the far end keys, in the place of those that it has.
    fn set_far_keys(&self, generation: u8) -> Result<()> {
        let states = self.states(FAR_IF_ID, generation);
        let gateway = self.site.gateway();
        gateway.ip(&format!("xfrm state flush\n{states}"))
    }

    /// Lines of `ip` that make the states of one end.
    fn states(&self, if_id: u32, generation: u8) -> String {
        let Self { edge, far, .. } = self;
        let state = |direction, from, to| {
            format!(
                "xfrm state add src {from} dst {to} proto esp spi {:#x} reqid 1 mode tunnel if_id \
                 {if_id} flag af-unspec aead rfc4106(gcm(aes)) 0x{} 128\n",
                spi(direction),
                self.secret(direction, generation)
            )
        };
        state(0, far, edge) + &state(1, edge, far)
    }

    /// The lab's configuration with this tunnel, its keys in files, in the place of the site's VXLAN
    /// tunnel.
    fn configure(&self, lab: &Lab, text: &str) -> Result<String> {
        let file = |direction: &str| {
            let file = format!("{}-{direction}.key", self.site.name());
            lab.files().join(file).display().to_string()
        };
        let table = format!(
            "keying = \"static\", spi_in = {:#x}, spi_out = {:#x}, key_in_file = \"{}\", \
             key_out_file = \"{}\"{}",
            spi(0),
            spi(1),
            file("in"),
            file("out"),
            self.keys
        );
        self.configure_as(text, &table)
    }

    /// The same, with this table.
    fn configure_as(&self, text: &str, table: &str) -> Result<String> {
        let vxlan = format!(
            "kind = \"vxlan\"\nremote = \"{}\"\nvni = {}\n",
            self.site.underlay(),
            self.site.vni()
        );
        let (before, after) = text.split_once(&vxlan).context("there is its tunnel")?;
        let ipsec = format!(
            "kind = \"ipsec\"\nremote = \"{}\"\ndevice = \"{}\"\n{}ipsec = {{ {table} }}\n",
            self.far,
            self.device(),
            self.tunnel_keys,
        );
        // The default MTU is to fit.
        Ok([before, &ipsec, &after.replacen("mtu = 1550\n", "", 1)].concat())
    }

    /// Gets so many bytes from the site's origins, over both IP versions; they see the client.
    fn serves(&self, lab: &Lab, v4: SocketAddr, v6: SocketAddr, length: usize) -> Result<()> {
        for (to, client) in [(v4, IpAddr::from(Lab::CLIENT)), (v6, Lab::CLIENT_V6.into())] {
            let answer = lab.block_on(lab.http().get(to, &format!("/bytes/{length}")))?;
            ensure!(answer.length == length, "{} bytes", answer.length);
            let origin = &answer.origin;
            ensure!(origin.starts_with(self.site.name()), "{origin} answers");
            ensure!(answer.seen_client.ip() == client, "{answer:?}");
        }
        Ok(())
    }
}

/// Lines of `ip` that make the policies of one end.
fn policies(own: IpAddr, other: IpAddr, if_id: u32) -> String {
    let mut lines = String::new();
    for any in ["0.0.0.0/0", "::/0"] {
        for (direction, from, to) in [("out", own, other), ("in", other, own), ("fwd", other, own)]
        {
            lines += &format!(
                "xfrm policy add src {any} dst {any} dir {direction} if_id {if_id} tmpl src {from} \
                 dst {to} proto esp reqid 1 mode tunnel\n"
            );
        }
    }
    lines
}

/// The index of what the edge receives (0) and sends (1); the same for each site.
fn spi(direction: u8) -> u32 {
    0x1001 + u32::from(direction)
}

/// A lab whose edge has xfrm interfaces, unless the kernel has none, which it says by the test's
/// name. No link carries more than 1500 bytes.
fn lab_with_xfrm(test: &str) -> Result<Option<Lab>> {
    let Some(lab) = lab_for_agent(test, Shape::OneLink)? else {
        return Ok(None);
    };
    if lab.edge().ip("link add try type xfrm if_id 7").is_err() {
        tests::netns::lacking(test, "xfrm interfaces")?;
        return Ok(None);
    }
    lab.edge().ip(&format!(
        "link del try
         link set uplink mtu {LINK_MTU}"
    ))?;
    for device in ["edge", "blue", "green"] {
        lab.router()
            .ip(&format!("link set {device} mtu {LINK_MTU}"))?;
    }
    Ok(Some(lab))
}

/// Waits until a tunnel has this health.
fn wait_tunnel(edge: &mut Edge, vnet: &str, health: &str) -> Result<()> {
    edge.wait(&format!("the tunnel of {vnet} is {health}"), |status| {
        let tunnel = status.tunnel(vnet, &format!("{vnet}-1"));
        tunnel.is_ok_and(|tunnel| tunnel["health"] == health && tunnel["kind"] == "ipsec")
    })
}

#[test]
fn esp_over_both_ip_versions_carries_traffic_both_ways() -> Result<()> {
    let test = "esp_over_both_ip_versions_carries_traffic_both_ways";
    let Some(lab) = lab_with_xfrm(test)? else {
        return Ok(());
    };
    let tunnels = [Tunnel::blue(&lab), Tunnel::green(&lab)?];
    let mut text = lab.configuration() + MONITORS;
    let mut vips = Vec::new();
    for (tunnel, number) in tunnels.iter().zip(10_u8..) {
        let site = tunnel.site.name();
        tunnel.connect()?;
        tunnel.write_keys(&lab, 0)?;
        text = tunnel.configure(&lab, &text)?;
        let (tcp, six) = (Lab::vip(number, 80), Lab::vip_v6(number.into(), 80));
        let udp = Lab::vip(number, 7);
        text += &Service::tcp(&format!("{site}-web"), site, tcp).text();
        text += &Service::tcp(&format!("{site}-web6"), site, six).text();
        text += &Service::udp(&format!("{site}-echo"), site, udp).text();
        vips.push((tcp, six, udp));
    }
    let mut edge = Edge::start(&lab, &text)?;
    edge.wait_healthy()?;
    for (tunnel, (tcp, six, udp)) in tunnels.iter().zip(&vips) {
        wait_tunnel(&mut edge, tunnel.site.name(), "healthy")?;
        tunnel
            .serves(&lab, *tcp, *six, 500_000)
            .with_context(|| tunnel.device())
            .with_context(|| edge.log())?;
        let told = path_mtu(lab.clients(), *udp)?;
        assert_eq!(told, u32::from(tunnel.mtu), "{udp}");
        let client = SocketAddr::new(Lab::CLIENT.into(), 40_000);
        let told = edge.explain("tcp", client, *tcp)?;
        let words = format!("hand over to {}", tunnel.device());
        assert!(told.contains(&words), "{told}");
    }
    // What an origin says, as the agent sees it.
    let answer = [
        "explain",
        "udp",
        "10.0.0.11:7",
        "192.0.2.10:40000",
        "--vnet",
        "blue",
    ];
    let told = String::from_utf8_lossy(&edge.lbxdp(&answer)?.stdout).into_owned();
    assert!(told.contains("reply_nat_tunnel"), "{told}");
    let (tcp, _, udp) = vips[0];
    let load = start_load(&lab, tcp, udp)?;
    served_since(&load, Instant::now())?;
    let records = load.stop();
    assert!(records.failed().is_empty(), "{}", records.failed().show());
    Ok(())
}

/// What `ip xfrm` shows of the edge, without what every packet changes.
fn shown(lab: &Lab, what: &str) -> Result<String> {
    let all = lab.edge().ip_output(&format!("xfrm {what} list"))?;
    let lines = all
        .lines()
        .filter(|line| !line.contains("anti-replay") && !line.contains("lastused"));
    Ok(lines.flat_map(|line| [line, "\n"]).collect())
}

#[test]
fn associations_outlive_the_agent_change_with_their_keys_and_go_with_detach() -> Result<()> {
    let test = "associations_outlive_the_agent_change_with_their_keys_and_go_with_detach";
    let Some(lab) = lab_with_xfrm(test)? else {
        return Ok(());
    };
    let tunnel = Tunnel::blue(&lab);
    tunnel.connect()?;
    tunnel.write_keys(&lab, 0)?;
    // Somebody else's, of another interface.
    lab.edge().ip(&format!(
        "xfrm state add src {} dst {} proto esp spi 0x777 reqid 1 mode tunnel if_id 5 aead \
         rfc4106(gcm(aes)) 0x{} 128
         xfrm policy add src 0.0.0.0/0 dst 0.0.0.0/0 dir out if_id 5 tmpl src {0} dst {1} proto esp \
         reqid 1 mode tunnel",
        tunnel.edge,
        tunnel.far,
        tunnel.secret(7, 0)
    ))?;
    let theirs = [shown(&lab, "state")?, shown(&lab, "policy")?];
    let (tcp, six) = (Lab::vip(10, 80), Lab::vip_v6(0x10, 80));
    let text = tunnel.configure(&lab, &lab.configuration())?
        + MONITORS
        + &Service::tcp("web", "blue", tcp).text()
        + &Service::tcp("web6", "blue", six).text();
    let mut edge = Edge::start(&lab, &text)?;
    edge.wait_healthy()?;
    tunnel.serves(&lab, tcp, six, 1_000)?;

    // The data path goes on without the agent, and a new one takes all over as it is.
    let made = |lab: &Lab| -> Result<[String; 2]> {
        let link = lab.edge().ip_output("-o link show x-blue")?;
        // With the time at which each was made.
        let states = lab.edge().ip_output("-s xfrm state list")?;
        let times = states.lines().filter(|line| line.contains("add "));
        let times: Vec<&str> = (times.filter_map(|line| line.split(" use ").next())).collect();
        Ok([
            link.split(':').next().unwrap_or_default().to_owned(),
            times.join("\n"),
        ])
    };
    let before = made(&lab)?;
    assert_eq!(before[1].lines().count(), 3, "{before:?}");
    edge.kill_9()?;
    tunnel.serves(&lab, tcp, six, 1_000)?;
    edge.start_again()?;
    edge.wait_healthy()?;
    tunnel.serves(&lab, tcp, six, 1_000)?;
    assert_eq!(made(&lab)?, before);

    // New keys in the files: until the far end has them too, the tunnel is dead.
    tunnel.write_keys(&lab, 1)?;
    edge.reload(&text)?;
    wait_tunnel(&mut edge, "blue", "unhealthy")?;
    tunnel.set_far_keys(1)?;
    wait_tunnel(&mut edge, "blue", "healthy")?;
    edge.wait_healthy()?;
    tunnel.serves(&lab, tcp, six, 1_000)?;
    let after = made(&lab)?;
    assert_eq!(after[0], before[0], "the device is the same");

    // No secret is in what is logged, shown, or kept in maps.
    let mut seen = edge.log();
    for arguments in [
        ["status", "--json"].as_slice(),
        &["status"],
        &["map", "dump", "TUNNELS"],
        &["map", "dump", "PEERS"],
    ] {
        seen.push_str(&String::from_utf8_lossy(&edge.lbxdp(arguments)?.stdout));
    }
    for direction in [0, 1] {
        for generation in [0, 1] {
            let secret = tunnel.secret(direction, generation);
            assert!(!seen.contains(&secret[..8]), "a secret is shown");
        }
    }

    // What is not in the configuration any more goes; what is not ours stays.
    edge.terminate()?;
    assert!(edge.lbxdp(&["detach"])?.status.success());
    eventually("the device is gone", DEADLINE, || {
        lab.edge().ip("link show x-blue").is_err()
    })?;
    assert_eq!([shown(&lab, "state")?, shown(&lab, "policy")?], theirs);
    Ok(())
}

/// How many packets the edge's own association has sent.
fn sent(lab: &Lab) -> Result<u32> {
    let states = lab.edge().ip_output("xfrm state list")?;
    let ours = format!("spi {:#010x} reqid {OUR_REQID} ", spi(1));
    let (_, of_it) = states.split_once(&ours).context(states.clone())?;
    let (_, number) = of_it.split_once("oseq 0x").context(states.clone())?;
    let digits = number.split(',').next().unwrap_or_default();
    Ok(u32::from_str_radix(digits, 16)?)
}

#[test]
fn an_association_is_adopted_and_made_anew_before_its_numbers_run_out() -> Result<()> {
    let test = "an_association_is_adopted_and_made_anew_before_its_numbers_run_out";
    let Some(lab) = lab_with_xfrm(test)? else {
        return Ok(());
    };
    let tunnel = Tunnel {
        keys: ", if_id = 41",
        ..Tunnel::blue(&lab)
    };
    tunnel.connect()?;
    tunnel.write_keys(&lab, 0)?;
    // As the last agent has left it, after half of all numbers.
    const BEFORE: u32 = 0x8000_0000 - 400;
    lab.edge().ip(&format!(
        "xfrm state add src {} dst {} proto esp spi {:#x} reqid {OUR_REQID} mode tunnel if_id 41 \
         flag af-unspec extra-flag dont-encap-dscp replay-oseq {BEFORE:#x} aead rfc4106(gcm(aes)) \
         0x{} 128",
        tunnel.edge,
        tunnel.far,
        spi(1),
        tunnel.secret(1, 0)
    ))?;
    assert_eq!(sent(&lab)?, BEFORE);
    let (tcp, six) = (Lab::vip(10, 80), Lab::vip_v6(0x10, 80));
    let text = tunnel.configure(&lab, &lab.configuration())?
        + MONITORS
        + &Service::tcp("web", "blue", tcp).text()
        + &Service::tcp("web6", "blue", six).text();
    let mut edge = Edge::start(&lab, &text)?;
    wait_tunnel(&mut edge, "blue", "healthy")?;
    let taken_over = sent(&lab)?;
    assert!(taken_over > BEFORE, "{taken_over:#x}");
    edge.wait_healthy()?;
    eventually("the association is made anew", DEADLINE * 4, || {
        // Until it has sent what is enough for the agent.
        tunnel.serves(&lab, tcp, six, 300_000).is_ok() && sent(&lab).is_ok_and(|sent| sent < BEFORE)
    })?;
    edge.wait_healthy()?;
    tunnel.serves(&lab, tcp, six, 300_000)?;
    assert!(sent(&lab)? < BEFORE);
    Ok(())
}

#[test]
fn an_ike_daemon_s_associations_are_used_and_left_alone() -> Result<()> {
    let test = "an_ike_daemon_s_associations_are_used_and_left_alone";
    let Some(lab) = lab_with_xfrm(test)? else {
        return Ok(());
    };
    let tunnel = Tunnel::blue(&lab);
    tunnel.connect()?;
    let (tcp, six) = (Lab::vip(10, 80), Lab::vip_v6(0x10, 80));
    let table = "keying = \"ike\", if_id = 42";
    let text = tunnel.configure_as(&lab.configuration(), table)?
        + MONITORS
        + &Service::tcp("web", "blue", tcp).text()
        + &Service::tcp("web6", "blue", six).text();
    let mut edge = Edge::start(&lab, &text)?;
    wait_tunnel(&mut edge, "blue", "unhealthy")?;
    // As a daemon would, once both ends have agreed.
    let made = tunnel.states(42, 0) + &policies(tunnel.edge, tunnel.far, 42);
    lab.edge().ip(&made)?;
    wait_tunnel(&mut edge, "blue", "healthy")?;
    edge.wait_healthy()?;
    tunnel.serves(&lab, tcp, six, 100_000)?;
    let theirs = [shown(&lab, "state")?, shown(&lab, "policy")?];
    assert_eq!(theirs[0].matches("if_id 0x2a").count(), 2, "{theirs:?}");
    edge.terminate()?;
    assert!(edge.lbxdp(&["detach"])?.status.success());
    assert!(lab.edge().ip("link show x-blue").is_err());
    assert_eq!([shown(&lab, "state")?, shown(&lab, "policy")?], theirs);
    Ok(())
}
