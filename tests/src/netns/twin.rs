//! A second edge node, beside a lab's own.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::edge::Place;
use super::lab::UNDERLAY_MTU;
use super::receiver::Receiver;
use super::{Edge, Lab, Namespace, device, leftovers};

/// An edge node that hangs on the router as the lab's own does, with tunnels of its own to the
/// sites. The router and the sites spread packets over the nodes by address and port (ECMP).
/// IPv4 alone.
#[derive(Debug)]
pub struct Twin {
    /// Name of its namespace, of its pins, and of its folder of files.
    name: String,
    files: PathBuf,
    namespace: Arc<Namespace>,
    _receiver: Receiver,
}

impl Twin {
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
    const ROUTER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
    /// The router's end of its link.
    const DEVICE: &str = "twin";

    /// Adds it to a lab with one link; packets still go to the lab's own node alone.
    pub fn attach(lab: &Lab) -> Result<Self> {
        let name = format!("{}-twin", lab.name());
        let files = lab.files().join("twin");
        fs::create_dir(&files).with_context(|| format!("cannot make {}", files.display()))?;
        let namespace = Arc::new(Namespace::create(&name)?);
        let (mtu, far) = (UNDERLAY_MTU, Self::DEVICE);
        lab.router().ip(&format!(
            "link add {far} mtu {mtu} type veth peer name uplink mtu {mtu} netns {name}
             addr add {}/30 dev {far}
             link set {far} up",
            Self::ROUTER,
        ))?;
        device::like_a_wire(lab.router(), far)?;
        device::like_a_wire(&namespace, "uplink")?;
        namespace.ip(&format!(
            "addr add {}/30 dev uplink
             link set uplink up
             route add default via {}",
            Self::ADDRESS,
            Self::ROUTER,
        ))?;
        let receiver = Receiver::attach(lab.router(), far)?;
        // By ports too, not by addresses alone.
        lab.router().sysctl("ipv4/fib_multipath_hash_policy", "1")?;
        for site in lab.sites() {
            site.add_tunnel(Self::ADDRESS)?;
            site.gateway()
                .sysctl("ipv4/fib_multipath_hash_policy", "1")?;
        }
        Ok(Self {
            name,
            files,
            namespace,
            _receiver: receiver,
        })
    }

    /// Starts its agent: the node's own part of the configuration, then `services`.
    pub fn start(&self, lab: &Lab, services: &str) -> Result<Edge> {
        let place = Place {
            namespace: Arc::clone(&self.namespace),
            folder: self.files.clone(),
            socket: self.files.join("lbxdp.sock"),
            pins: leftovers::pins_of(&self.name),
        };
        let own = lab.configuration();
        let key = own
            .lines()
            .find(|line| line.starts_with("hash_key"))
            .context("the lab's configuration has a key")?;
        let vnets = lab.sites().iter().map(super::Site::second_configuration);
        let configuration = format!(
            r#"[node]
interfaces = ["uplink"]
addresses = ["{}"]
{key}
pin_path = "{}"
socket = "{}"
{}{services}"#,
            Self::ADDRESS,
            place.pins.display(),
            place.socket.display(),
            vnets.collect::<String>(),
        );
        Edge::start_at(place, &configuration, Vec::new())
    }

    /// Router and sites spread packets over both nodes.
    pub fn join(&self, lab: &Lab) -> Result<()> {
        spread(lab, true, true)
    }

    /// Router and sites send nothing to it any more.
    pub fn leave(&self, lab: &Lab) -> Result<()> {
        spread(lab, true, false)
    }

    /// Router and sites send nothing to the lab's own node any more.
    pub fn alone(&self, lab: &Lab) -> Result<()> {
        spread(lab, false, true)
    }

    /// Its link is dead, in both directions.
    pub fn cut(&self, lab: &Lab) -> Result<()> {
        lab.router().ip(&format!("link set {} down", Self::DEVICE))
    }

    /// Its link is well again; nothing is sent to it yet, if it had [left](Self::leave).
    pub fn mend(&self, lab: &Lab) -> Result<()> {
        lab.router().ip(&format!("link set {} up", Self::DEVICE))
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(leftovers::pins_of(&self.name)));
    }
}

/// Packets go to the lab's own node, the twin, or both.
fn spread(lab: &Lab, first: bool, second: bool) -> Result<()> {
    for site in lab.sites() {
        site.answer_through(first, second)?;
    }
    let hop = |used: bool, via: Ipv4Addr| {
        let hop = format!(" nexthop via {via}");
        if used { hop } else { String::new() }
    };
    lab.router().ip(&format!(
        "route replace 198.51.100.0/24{}{}",
        hop(first, lab.tunnel_end()),
        hop(second, Twin::ADDRESS),
    ))
}
