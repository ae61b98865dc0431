//! A private server in a site.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use tokio::runtime::Handle;

use super::{Namespace, Server};

/// Port of the origins' HTTP servers.
const HTTP_PORT: u16 = 80;
/// Port of the origins' UDP echo.
const ECHO_PORT: u16 = 7;

/// An origin: a namespace of its own behind a site's gateway, with HTTP and UDP echo servers.
#[derive(Debug)]
pub struct Origin {
    /// `site/origin`.
    name: String,
    runtime: Handle,
    namespace: Arc<Namespace>,
    gateway: Arc<Namespace>,
    /// The gateway's end of its cable.
    cable: String,
    addresses: Vec<IpAddr>,
    servers: Mutex<Vec<Server>>,
}

impl Origin {
    pub(super) fn start(
        name: String,
        runtime: Handle,
        namespace: Namespace,
        gateway: Arc<Namespace>,
        cable: String,
        addresses: Vec<IpAddr>,
    ) -> Result<Self> {
        let origin = Self {
            name,
            runtime,
            namespace: Arc::new(namespace),
            gateway,
            cable,
            addresses,
            servers: Mutex::default(),
        };
        origin.serve()?;
        Ok(origin)
    }

    /// `site/origin`, as its servers answer.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace.
    #[must_use]
    pub const fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// Dies as a machine does: the cable is dead first, so that nobody is told, then the servers
    /// and their connections are gone.
    pub fn die(&self) -> Result<()> {
        self.unplug()?;
        self.stop();
        Ok(())
    }

    /// Comes back after [`Self::die`], knowing nothing of its old connections.
    pub fn revive(&self) -> Result<()> {
        self.serve()?;
        self.plug()
    }

    /// Stops the servers; the machine goes on and refuses connections.
    pub fn stop(&self) {
        self.servers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// Starts the servers after [`Self::stop`].
    pub fn serve(&self) -> Result<()> {
        let mut servers = Vec::new();
        for &address in &self.addresses {
            let (runtime, namespace, name) = (&self.runtime, &self.namespace, &self.name);
            let http = SocketAddr::new(address, HTTP_PORT);
            servers.push(Server::http(runtime, namespace, name, http)?);
            let echo = SocketAddr::new(address, ECHO_PORT);
            servers.push(Server::udp_echo(runtime, namespace, name, echo)?);
        }
        *self.servers.lock().unwrap_or_else(PoisonError::into_inner) = servers;
        Ok(())
    }

    /// Cuts the cable; the servers go on.
    pub fn unplug(&self) -> Result<()> {
        // The far end: the origin keeps its addresses and routes.
        self.gateway.ip(&format!("link set {} down", self.cable))
    }

    /// Mends the cable.
    pub fn plug(&self) -> Result<()> {
        self.gateway.ip(&format!("link set {} up", self.cable))
    }
}
