//! Sweeps of translated flows, beside the owner.

use std::time::{Duration, Instant, SystemTime};

use lbxdp_ebpf::abi::{Address, Port, Service, SnatRange, capacity};

use super::Owner;
use super::problems::Part;
use crate::agent::Event;
use crate::api;
use crate::config::model::{Config, Forwarding, Origin, Protocol};
use crate::dataplane::{SessionMaps, Swept};
use crate::reconcile;
use crate::sessions::{self, Census};

/// Shortest time between sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// A sweep may take one of so many parts of the time.
const SWEEP_SHARE: u32 = 20;

/// When the next sweep is due, and what the last one has found.
#[derive(Debug, Default)]
pub(super) struct Sweeps {
    /// When the one began that is running.
    running: Option<SystemTime>,
    next: Option<Instant>,
    census: Census,
}

impl Sweeps {
    /// What the last sweep has left.
    pub(super) const fn census(&self) -> &Census {
        &self.census
    }
}

impl Owner {
    /// Starts a sweep, if one is due; its result comes as an event.
    pub(super) fn sweep_sessions(&mut self) {
        let due = self.sweeps.next.is_none_or(|next| Instant::now() >= next);
        if self.sweeps.running.is_some() || !due {
            return;
        }
        self.sweeps.running = Some(SystemTime::now());
        let pin_path = self.dataplane.pin_path().to_owned();
        let timeouts = self.state.config().node.snat_timeouts;
        let events = self.events.clone();
        tokio::task::spawn_blocking(move || {
            let swept = SessionMaps::open(&pin_path).and_then(|mut maps| maps.sweep(&timeouts));
            // The agent may have ended.
            let _ = events.blocking_send(Event::Swept(Box::new(swept)));
        });
    }

    pub(super) fn swept(&mut self, swept: anyhow::Result<Swept>) {
        let began = self.sweeps.running.take();
        let mut rest = SWEEP_EVERY;
        let problems = match swept {
            Ok(Swept {
                census,
                removed,
                took,
            }) => {
                tracing::debug!(
                    left = census.mappings,
                    removed,
                    ?took,
                    "translated flows are swept"
                );
                rest = rest.max(took * SWEEP_SHARE);
                let config = self.state.config();
                let room = capacity::SESSIONS as usize;
                let shortages = sessions::shortages(&census, room, |to| {
                    let ports = ports_towards(config, to, 0)?;
                    Some((ports.available, ports.towards))
                });
                self.due.maps |= self.state.swept_sessions(&census.by_origin, began);
                self.sweeps.census = census;
                shortages
            }
            Err(error) => vec![format!("translated flows cannot be swept: {error:#}")],
        };
        self.problems.set(Part::Sessions, problems);
        self.sweeps.next = Some(Instant::now() + rest);
    }

    pub(super) fn session_status(&self) -> api::Sessions {
        let config = self.state.config();
        let census = self.sweeps.census();
        let mut ports: Vec<api::SourcePorts> = census
            .by_destination
            .iter()
            .filter_map(|(to, &taken)| ports_towards(config, to, taken))
            .collect();
        ports.sort_by_key(|ports| std::cmp::Reverse(ports.taken));
        api::Sessions {
            open: census.mappings,
            capacity: capacity::SESSIONS as usize,
            ports,
        }
    }
}

/// The source ports that there are towards a destination, of which so many are taken; `None` if it
/// is not configured any more.
fn ports_towards(config: &Config, to: &Service, taken: usize) -> Option<api::SourcePorts> {
    let vnet_of = |origin: &Origin| reconcile::vnet_id(config, origin.virtual_network.as_deref());
    let origin = config
        .pools
        .values()
        .filter(|pool| pool.forwarding == Forwarding::NatSnat)
        .flat_map(|pool| pool.origins.values())
        .find(|origin| Address::from(origin.address) == to.address && vnet_of(origin) == to.vnet)?;
    let range = config.snat_range(origin)?;
    let free = u32::from(range.max_prefix_len() - range.prefix_len());
    let addresses = 1_usize.checked_shl(free).unwrap_or(usize::MAX);
    let protocol = match to.protocol {
        number if number == Protocol::Tcp.number() => Protocol::Tcp.name(),
        number if number == Protocol::Udp.number() => Protocol::Udp.name(),
        _ => "?",
    };
    let vnet = origin.virtual_network.as_deref().unwrap_or("local");
    let socket = std::net::SocketAddr::new(origin.address, Port::get(to.port));
    Some(api::SourcePorts {
        towards: format!("{vnet} {socket}/{protocol}"),
        virtual_network: vnet.to_owned(),
        address: socket.ip(),
        port: socket.port(),
        protocol: protocol.to_owned(),
        taken,
        available: addresses.saturating_mul(SnatRange::PORTS.into()),
    })
}
