//! A tunnel that is the kernel's WireGuard device, whose far end is another one, set by `wg`: a
//! connector that dials in.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tests::netns::{Edge, Lab, Shape, eventually};

use crate::configuration::{MONITORS, Service};
use crate::{DEADLINE, blue_serves_both_versions, lab_for_agent};

/// Where the edge listens.
const PORT: u16 = 51_820;

/// A pair of keys, the private one in a file as the agent wants it.
struct Keys {
    file: PathBuf,
    private: String,
    public: String,
}

impl Keys {
    fn make(folder: &Path, name: &str) -> Result<Self> {
        let private = wg(&["genkey"], "")?;
        let public = wg(&["pubkey"], &private)?;
        let file = folder.join(name);
        write_secret(&file, &private)?;
        Ok(Self {
            file,
            private,
            public,
        })
    }
}

fn write_secret(file: &Path, secret: &str) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut open = (options.write(true).create_new(true).mode(0o600)).open(file)?;
    Ok(writeln!(open, "{secret}")?)
}

/// Runs `wg`, and gives its output without the line's end.
fn wg(arguments: &[&str], input: &str) -> Result<String> {
    let mut child = Command::new("wg")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run wg (package wireguard-tools)")?;
    let mut stdin = child.stdin.take().context("it has an input")?;
    stdin.write_all(input.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "`wg {arguments:?}` failed");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Whether the kernel has WireGuard devices; says by the test's name if not.
fn has_wireguard(test: &str, lab: &Lab) -> Result<bool> {
    let made = lab.edge().ip("link add try type wireguard");
    if made.is_err() {
        tests::netns::lacking(test, "wireguard")?;
        return Ok(false);
    }
    lab.edge().ip("link del try")?;
    Ok(true)
}

/// Puts a WireGuard device in the place of site blue's VXLAN device.
fn connect(lab: &Lab, own: &Keys, edge: &Keys, preshared: &Path) -> Result<()> {
    let site = lab.blue();
    site.gateway().ip(&format!(
        "link del vxlan0
         link add wg0 mtu 1420 type wireguard
         addr add {}/30 dev wg0
         addr add {}/64 dev wg0 nodad",
        site.inside(),
        site.inside_v6(),
    ))?;
    let endpoint = format!("{}:{PORT}", lab.tunnel_end());
    let file = own.file.to_string_lossy().into_owned();
    let preshared = preshared.to_string_lossy().into_owned();
    site.gateway().within(|| {
        let peer = [
            "set",
            "wg0",
            "private-key",
            &file,
            "peer",
            &edge.public,
            "preshared-key",
            &preshared,
            "endpoint",
            &endpoint,
            "persistent-keepalive",
            "1",
            "allowed-ips",
            "0.0.0.0/0,::/0",
        ];
        wg(&peer, "").map(drop)
    })?;
    site.gateway().ip("link set wg0 up
         route add default dev wg0
         route add ::/0 dev wg0")
}

fn configuration(lab: &Lab, edge: &Keys, far: &Keys, preshared: &Path, addition: &str) -> String {
    let site = lab.blue();
    let vxlan = format!(
        "kind = \"vxlan\"\nremote = \"{}\"\nvni = {}\n",
        site.underlay(),
        site.vni()
    );
    let wireguard = format!(
        "kind = \"wireguard\"\ndevice = \"wg-blue\"\nwireguard = {{ private_key_file = \"{}\", \
         peer_public_key = \"{}\", preshared_key_file = \"{}\", listen_port = {PORT} }}\n",
        edge.file.display(),
        far.public,
        preshared.display(),
    );
    let text = lab.configuration();
    assert!(text.contains(&vxlan), "{text}");
    let text = text.replace(&vxlan, &wireguard);
    text.replacen("mtu = 1550", "mtu = 1420", 1) + addition
}

#[test]
fn a_connector_that_dials_in_by_wireguard_carries_traffic_both_ways() -> Result<()> {
    let test = "a_connector_that_dials_in_by_wireguard_carries_traffic_both_ways";
    let Some(lab) = lab_for_agent(test, Shape::OneLink)? else {
        return Ok(());
    };
    if !has_wireguard(test, &lab)? {
        return Ok(());
    }
    let (edge_keys, far) = (
        Keys::make(&lab.files(), "edge")?,
        Keys::make(&lab.files(), "far")?,
    );
    let preshared = lab.files().join("preshared");
    let shared = wg(&["genpsk"], "")?;
    write_secret(&preshared, &shared)?;
    connect(&lab, &far, &edge_keys, &preshared)?;
    let (tcp, udp, six) = (Lab::vip(10, 80), Lab::vip(10, 7), Lab::vip_v6(0x10, 80));
    let addition = [
        MONITORS,
        &Service::tcp("web", "blue", tcp).text(),
        &Service::udp("echo", "blue", udp).text(),
        &Service::tcp("web6", "blue", six).text(),
    ]
    .concat();
    let text = configuration(&lab, &edge_keys, &far, &preshared, &addition);

    // A key that others may read is refused, by name and mode.
    fs::set_permissions(&edge_keys.file, fs::Permissions::from_mode(0o644))?;
    let file = lab.files().join("open.toml");
    fs::write(&file, &text)?;
    let agent = tests::netns::agent_binary()?;
    let check = Command::new(&agent)
        .args(["check", "--config"])
        .arg(&file)
        .output()?;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&check.stdout),
        String::from_utf8_lossy(&check.stderr)
    );
    assert!(!check.status.success());
    assert!(
        said.contains("0644") && said.contains("chmod 600"),
        "{said}"
    );
    assert!(!said.contains(&edge_keys.private), "the key is not shown");
    fs::set_permissions(&edge_keys.file, fs::Permissions::from_mode(0o600))?;

    let mut edge = Edge::start(&lab, &text)?;
    edge.wait_healthy()?;
    edge.wait("the tunnel is probed through the device", |status| {
        let tunnel = status.tunnel("blue", "blue-1");
        tunnel.is_ok_and(|tunnel| tunnel["health"] == "healthy" && tunnel["kind"] == "wireguard")
    })?;
    let status = edge.status()?;
    let last = &status.tunnel("blue", "blue-1")?["last_handshake"];
    assert!(
        last.as_str().is_some_and(|time| time.ends_with('Z')),
        "{last}"
    );
    let green = status.tunnel("green", "green-1")?;
    assert_eq!(green.get("last_handshake"), None, "it is of another kind");
    let shown = edge.lbxdp(&["status"])?.stdout;
    let shown = String::from_utf8_lossy(&shown).into_owned();
    assert!(
        shown.contains("handshake") && shown.contains("s ago"),
        "{shown}"
    );
    blue_serves_both_versions(&lab, tcp, six, 300_000)?;
    let told = edge.explain("tcp", SocketAddr::new(Lab::CLIENT.into(), 40_000), tcp)?;
    assert!(told.contains("hand over to wg-blue"), "{told}");

    // A new agent takes the device over as it is, with the session that it has.
    let index = |lab: &Lab| lab.edge().ip_output("-o link show wg-blue");
    let before = index(&lab)?;
    edge.kill_9()?;
    lab.block_on(lab.http().get(tcp, "/"))?;
    edge.start_again()?;
    edge.wait_healthy()?;
    assert_eq!(index(&lab)?.split(':').next(), before.split(':').next());

    // A change is made in place: the session goes on, with a peer that only a message of its own
    // could have told of.
    let show = |lab: &Lab, what: &str| lab.edge().within(|| wg(&["show", "wg-blue", what], ""));
    assert!(show(&lab, "persistent-keepalive")?.ends_with("off"));
    let other = text.replacen(
        "listen_port =",
        "persistent_keepalive = \"7s\", listen_port =",
        1,
    );
    edge.reload(&other)?;
    eventually("the change is made", DEADLINE, || {
        show(&lab, "persistent-keepalive").is_ok_and(|said| said.ends_with('7'))
    })?;
    lab.block_on(lab.http().get(tcp, "/"))?;
    assert_eq!(index(&lab)?.split(':').next(), before.split(':').next());
    let underlay = lab.blue().underlay().to_string();
    assert!(show(&lab, "endpoints")?.contains(&underlay));

    // No secret is in what is logged, shown, or kept in maps.
    let mut seen = edge.log();
    for arguments in [
        ["status", "--json"].as_slice(),
        &["map", "dump", "TUNNELS"],
        &["map", "dump", "PEERS"],
        &["map", "dump", "ENTITIES"],
    ] {
        seen.push_str(&String::from_utf8_lossy(&edge.lbxdp(arguments)?.stdout));
    }
    for secret in [&edge_keys.private, &shared] {
        assert!(!seen.contains(secret.as_str()), "a secret is shown");
    }
    edge.terminate()?;
    assert!(edge.lbxdp(&["detach"])?.status.success());
    eventually("the device is gone", DEADLINE, || {
        lab.edge().ip("link show wg-blue").is_err()
    })
}
