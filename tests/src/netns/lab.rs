//! The network of a lab.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::{Builder, Runtime};

use super::leftovers::{self, BPF_FOLDER};
use super::receiver::Receiver;
use super::{HttpClient, Namespace, Origin, Site, device, slow, wait_for};

/// MTU of the links that carry tunnel packets, in bytes.
pub(super) const UNDERLAY_MTU: u16 = 1600;
/// What VXLAN over IPv4 adds: IPv4 (20), UDP (8), VXLAN (8), inner Ethernet (14).
pub(super) const VXLAN_OVERHEAD: u16 = 50;
/// How long a client waits for an answer: long enough for a SYN, lost while neighbours are found,
/// to be sent again (after 1 s).
const PATIENCE: Duration = Duration::from_secs(3);

/// How the edge node is wired.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// One uplink for clients and tunnels: packets leave as they came.
    OneLink,
    /// A link to the clients and another to the sites: packets are redirected.
    TwoLinks,
}

/// A lab: clients, a router, the edge node, two sites. Removed when dropped.
#[derive(Debug)]
pub struct Lab {
    name: String,
    shape: Shape,
    /// Dropped by hand before the namespaces, since its tasks hold sockets in them.
    runtime: Option<Runtime>,
    clients: Arc<Namespace>,
    router: Arc<Namespace>,
    edge: Arc<Namespace>,
    /// Blue and green, or none.
    sites: Vec<Site>,
    /// The network between edge and sites, where it is not the router.
    _core: Option<Arc<Namespace>>,
    /// At the far ends of the edge's links.
    _receivers: Vec<Receiver>,
    _files: Files,
}

impl Lab {
    /// The router's address of the edge's link, and the edge's: tunnels end at the edge's.
    const EDGE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
    /// The same in IPv6.
    pub const EDGE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xe, 0, 0, 0, 0, 1);
    /// The edge's address on its second link.
    const EDGE_CORE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);
    /// The client.
    pub const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
    /// The client.
    pub const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 10);

    /// Builds a lab, after removing what killed runs left behind.
    pub fn build(shape: Shape) -> Result<Self> {
        Self::with_sites(shape, &[("blue", 1, 100), ("green", 2, 200)])
    }

    /// Builds a lab with one link and no site, for tests that bring their own.
    pub fn without_sites() -> Result<Self> {
        Self::with_sites(Shape::OneLink, &[])
    }

    /// Builds a lab with sites of these names, numbers and VNIs.
    fn with_sites(shape: Shape, sites: &[(&'static str, u8, u32)]) -> Result<Self> {
        leftovers::remove_leftovers();
        mount_bpf()?;
        let name = leftovers::new_name();
        let files = Files::create(&name)?;
        let create = |role| Namespace::create(&format!("{name}-{role}")).map(Arc::new);
        let clients = create("clients")?;
        let router = create("router")?;
        let edge = create("edge")?;
        build_clients(&router, &clients)?;
        // Many short connections leave many ports in TIME_WAIT.
        clients.sysctl("ipv4/ip_local_port_range", "1024 65535")?;
        build_uplink(&router, &edge)?;
        let core = match shape {
            Shape::OneLink => None,
            Shape::TwoLinks => Some(create("core")?),
        };
        let mut receivers = vec![Receiver::attach(&router, "edge")?];
        if let Some(core) = &core {
            build_core(core, &edge)?;
            receivers.push(Receiver::attach(core, "edge")?);
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let fabric = core.as_ref().unwrap_or(&router);
        let end = Self::end_of_tunnels(shape);
        let sites = sites
            .iter()
            .map(|&(site, number, vni)| {
                Site::build(&name, runtime.handle(), fabric, end, site, number, vni)
            })
            .collect::<Result<_>>()?;
        reachable(&clients, Self::EDGE.into())?;
        reachable(&clients, Self::EDGE_V6.into())?;
        Ok(Self {
            name,
            shape,
            runtime: Some(runtime),
            clients,
            router,
            edge,
            sites,
            _core: core,
            _receivers: receivers,
            _files: files,
        })
    }

    /// Its name, with which all the names that it makes begin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The runtime of its servers and clients.
    #[must_use]
    pub const fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is there until the drop")
    }

    /// Runs a future to its end.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime().block_on(future)
    }

    /// The namespace of the clients.
    #[must_use]
    pub const fn clients(&self) -> &Arc<Namespace> {
        &self.clients
    }

    /// The namespace of the router.
    #[must_use]
    pub const fn router(&self) -> &Arc<Namespace> {
        &self.router
    }

    /// The namespace of the edge node.
    #[must_use]
    pub const fn edge(&self) -> &Arc<Namespace> {
        &self.edge
    }

    /// Site blue.
    #[must_use]
    pub fn blue(&self) -> &Site {
        &self.sites[0]
    }

    /// All sites.
    #[must_use]
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// Site green.
    #[must_use]
    pub fn green(&self) -> &Site {
        &self.sites[1]
    }

    /// An HTTP client.
    #[must_use]
    pub fn http(&self) -> HttpClient {
        HttpClient::new(self.clients.clone(), slow(PATIENCE))
    }

    /// Folder for its files.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        leftovers::files_of(&self.name)
    }

    /// Folder of the agent's pins.
    #[must_use]
    pub fn pins(&self) -> PathBuf {
        leftovers::pins_of(&self.name)
    }

    /// The agent's control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.files().join("lbxdp.sock")
    }

    /// A VIP: an address that the router sends to the edge node.
    #[must_use]
    pub const fn vip(last: u8, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, last)), port)
    }

    /// A VIP in IPv6.
    #[must_use]
    pub const fn vip_v6(last: u16, port: u16) -> SocketAddr {
        let address = Ipv6Addr::new(0x2001, 0xdb8, 0x5, 0, 0, 0, 0, last);
        SocketAddr::new(IpAddr::V6(address), port)
    }

    /// Configuration of the node and of both sites' VNets.
    #[must_use]
    pub fn configuration(&self) -> String {
        let interfaces = match self.shape {
            Shape::OneLink => r#""uplink""#,
            Shape::TwoLinks => r#""uplink", "core""#,
        };
        let sites: String = self.sites.iter().map(Site::configuration).collect();
        format!(
            r#"[node]
interfaces = [{interfaces}]
addresses = ["{}", "{}"]
hash_key = "6c62786470206c61627320686173680a"
pin_path = "{}"
socket = "{}"
{sites}"#,
            Self::end_of_tunnels(self.shape),
            Self::EDGE_V6,
            self.pins().display(),
            self.socket().display(),
        )
    }

    /// Hangs another machine on the router: `address` and the router's, one above, are a network.
    pub fn attach(&self, role: &str, address: Ipv4Addr) -> Result<Namespace> {
        let namespace = Namespace::create(&format!("{}-{role}", self.name))?;
        let router = Ipv4Addr::from(u32::from(address) + 1);
        self.router.ip(&format!(
            "link add {role} mtu {UNDERLAY_MTU} type veth peer name eth0 mtu {UNDERLAY_MTU} netns {}
             addr add {router}/30 dev {role}
             link set {role} up",
            namespace.name()
        ))?;
        device::like_a_wire(&self.router, role)?;
        device::like_a_wire(&namespace, "eth0")?;
        namespace.ip(&format!(
            "addr add {address}/30 dev eth0
             link set eth0 up
             route add default via {router}"
        ))?;
        Ok(namespace)
    }

    /// Hangs a server on the router, as [`Self::attach`] does, that has `vip` as well, and answers
    /// there as `name`.
    pub fn attach_server(
        &self,
        role: &str,
        name: &str,
        address: Ipv4Addr,
        vip: IpAddr,
    ) -> Result<Origin> {
        let namespace = self.attach(role, address)?;
        namespace.ip(&format!("addr add {vip} dev lo"))?;
        Origin::start(
            name.to_owned(),
            self.runtime().handle().clone(),
            namespace,
            self.router.clone(),
            role.to_owned(),
            vec![vip],
        )
    }

    /// The edge's address that tunnels end at.
    #[must_use]
    pub const fn tunnel_end(&self) -> Ipv4Addr {
        Self::end_of_tunnels(self.shape)
    }

    const fn end_of_tunnels(shape: Shape) -> Ipv4Addr {
        match shape {
            Shape::OneLink => Self::EDGE,
            Shape::TwoLinks => Self::EDGE_CORE,
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

fn build_clients(router: &Namespace, clients: &Namespace) -> Result<()> {
    router.ip(&format!(
        "link add clients type veth peer name eth0 netns {}
         addr add 192.0.2.1/24 dev clients
         addr add 2001:db8:c::1/64 dev clients nodad
         link set clients up",
        clients.name()
    ))?;
    device::like_a_wire(router, "clients")?;
    device::like_a_wire(clients, "eth0")?;
    clients.ip(&format!(
        "addr add {}/24 dev eth0
         addr add {}/64 dev eth0 nodad
         link set eth0 up
         route add default via 192.0.2.1
         route add default via 2001:db8:c::1",
        Lab::CLIENT,
        Lab::CLIENT_V6,
    ))
}

fn build_uplink(router: &Namespace, edge: &Namespace) -> Result<()> {
    let mtu = UNDERLAY_MTU;
    router.ip(&format!(
        "link add edge mtu {mtu} type veth peer name uplink mtu {mtu} netns {}
         addr add 203.0.113.2/30 dev edge
         addr add 2001:db8:e::2/64 dev edge nodad
         link set edge up
         route add 198.51.100.0/24 via {}",
        edge.name(),
        Lab::EDGE,
    ))?;
    device::like_a_wire(router, "edge")?;
    device::like_a_wire(edge, "uplink")?;
    edge.ip(&format!(
        "addr add {}/30 dev uplink
         addr add {}/64 dev uplink nodad
         link set uplink up
         route add default via 203.0.113.2
         route add default via 2001:db8:e::2",
        Lab::EDGE,
        Lab::EDGE_V6,
    ))?;
    router.ip(&format!("route add 2001:db8:5::/64 via {}", Lab::EDGE_V6))
}

fn build_core(core: &Namespace, edge: &Namespace) -> Result<()> {
    let mtu = UNDERLAY_MTU;
    core.ip(&format!(
        "link add edge mtu {mtu} type veth peer name core mtu {mtu} netns {}
         addr add 203.0.113.6/30 dev edge
         link set edge up",
        edge.name(),
    ))?;
    device::like_a_wire(core, "edge")?;
    device::like_a_wire(edge, "core")?;
    // The sites' underlay, 203.0.113.16 to .47.
    edge.ip(&format!(
        "addr add {}/30 dev core
         link set core up
         route add 203.0.113.16/28 via 203.0.113.6
         route add 203.0.113.32/28 via 203.0.113.6",
        Lab::EDGE_CORE,
    ))
}

/// Waits until clients reach the edge: a new IPv6 address cannot look for its neighbours at once.
fn reachable(clients: &Namespace, edge: IpAddr) -> Result<()> {
    // The discard port, where nobody listens.
    let to = SocketAddr::new(edge, 9);
    wait_for(&format!("clients reach {edge}"), PATIENCE * 10, || {
        let make = || Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP));
        let socket = clients.within(make)?;
        let refused = socket.connect_timeout(&to.into(), PATIENCE / 4);
        let kind = refused.err().map(|error| error.kind());
        Ok((kind == Some(ErrorKind::ConnectionRefused)).then_some(()))
    })
}

/// The lab's files and pins.
#[derive(Debug)]
struct Files {
    lab: String,
}

impl Files {
    fn create(lab: &str) -> Result<Self> {
        let folder = leftovers::files_of(lab);
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self {
            lab: lab.to_owned(),
        })
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(leftovers::pins_of(&self.lab)));
        drop(fs::remove_dir_all(leftovers::files_of(&self.lab)));
    }
}

/// Mounts the BPF file system where it is usual, if nobody has.
fn mount_bpf() -> Result<()> {
    let folder = Path::new(BPF_FOLDER);
    let there = statfs(folder).is_ok_and(|found| found.filesystem_type() == BPF_FS_MAGIC);
    if !there {
        mount(
            Some("bpf"),
            folder,
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        )
        .with_context(|| format!("cannot mount the BPF file system on {BPF_FOLDER}"))?;
    }
    Ok(())
}
