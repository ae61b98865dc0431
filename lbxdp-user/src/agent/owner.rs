//! The owner of the state, and of everything that is brought in line with it.

mod attachment;
mod flows;
mod metrics;
mod network;
mod problems;
mod reload;
mod repetition;
mod sessions;

use std::time::{Duration, SystemTime};

use anyhow::Context;
use tokio::sync::mpsc;

use super::exporter::Exporter;
use super::memory::Memory;
use super::report::{Report, health_name, timestamp};
use super::watchdog::Standing;
use super::{Event, Options, descriptors};
use crate::api::{self, Request, Response};
use crate::config::model::Config;
use crate::dataplane::{Attachment, Dataplane, LastBeat, LoadOptions, PlanError};
use crate::health::{Flip, Health, ProbeEvent, ProbeKey, Probers};
use crate::pulse::Pulses;
use crate::reconcile;
use crate::state::State;
use crate::vnet::{self, Network, NetworkEvent};
use flows::FlowSweeps;
use problems::{Part, Problems};
use repetition::Repetition;
use sessions::Sweeps;

/// Seconds between looks at links, routes and rules that nothing has reported as changed.
const LINKS_EVERY: u64 = 10;

/// What the watchdog and the owner share.
#[derive(Clone, Default)]
pub(super) struct Vitals {
    /// Signs of life of the probes.
    pub(super) probes: Pulses,
    /// What is stuck.
    pub(super) standing: Standing,
}

/// The owner of the state.
pub(super) struct Owner {
    options: Options,
    started: SystemTime,
    state: State,
    network: Network,
    dataplane: Dataplane,
    probers: Probers,
    attachments: Vec<Attachment>,
    reload_error: Option<String>,
    problems: Problems,
    stuck: Standing,
    repetition: Repetition,
    sweeps: Sweeps,
    flow_sweeps: FlowSweeps,
    exporter: Option<Exporter>,
    events: mpsc::Sender<Event>,
    due: Due,
    ticks: u64,
    memory: Memory,
    routes: vnet::Routes,
}

/// What is to be brought in line before the next event is waited for.
#[derive(Clone, Copy, Default, Debug)]
struct Due {
    links: bool,
    hops: bool,
    maps: bool,
    /// Only what health alone changes in the maps.
    health: bool,
    attachment: bool,
    metrics: bool,
}

impl Due {
    const fn all() -> Self {
        Self {
            links: true,
            hops: true,
            maps: true,
            health: true,
            attachment: true,
            metrics: true,
        }
    }
}

impl Owner {
    /// Loads or takes over the data path and brings everything in line for the first time.
    pub(super) async fn start(
        options: &Options,
        config: Config,
        events: mpsc::Sender<Event>,
        vitals: Vitals,
        now: SystemTime,
    ) -> anyhow::Result<Self> {
        let mut dataplane = Dataplane::load(&LoadOptions {
            trace_packets: options.trace_packets,
            max_entries: reconcile::map_sizes(&config)?,
            ..LoadOptions::at(&config.node.pin_path)
        })?;
        if options.trace_packets {
            // Runs as long as the agent does.
            drop(dataplane.spawn_packet_log()?);
        }
        let (network, mut changes) = Network::new().context("talking to the kernel by netlink")?;
        let network_events = events.clone();
        tokio::spawn(async move {
            while let Some(change) = changes.recv().await {
                if network_events.send(Event::Network(change)).await.is_err() {
                    return;
                }
            }
        });
        let (results, mut probed) = mpsc::channel::<ProbeEvent>(1024);
        let probe_events = events.clone();
        tokio::spawn(async move {
            while let Some(result) = probed.recv().await {
                if probe_events.send(Event::Probe(result)).await.is_err() {
                    return;
                }
            }
        });
        let state = State::new(config, dataplane.content(), now)?;
        let mut owner = Self {
            options: options.clone(),
            started: now,
            state,
            network,
            dataplane,
            probers: Probers::new(results, vitals.probes),
            attachments: Vec::new(),
            reload_error: None,
            problems: Problems::default(),
            stuck: vitals.standing,
            repetition: Repetition::default(),
            sweeps: Sweeps::default(),
            flow_sweeps: FlowSweeps::default(),
            exporter: None,
            events,
            due: Due::all(),
            ticks: 0,
            memory: Memory::default(),
            routes: vnet::Routes::default(),
        };
        // Before anything is made: what does not fit will not run.
        owner.fits(&mut owner.state.clone(), now)?;
        owner.settle_links(now).await;
        owner.settle_probes();
        owner.first_hops().await;
        owner.settle(now).await;
        let fatal = fatal(&owner.problems, &owner.attachments);
        if !fatal.is_empty() {
            anyhow::bail!("{}", fatal.join("\n"));
        }
        let config = owner.state.config();
        tracing::info!(
            load_balancers = config.load_balancers.len(),
            pools = config.pools.len(),
            virtual_networks = config.vnets.len(),
            interfaces = config.node.interfaces.join(","),
            "the agent runs"
        );
        Ok(owner)
    }

    /// Takes one event in.
    pub(super) async fn take(&mut self, event: Event, now: SystemTime) {
        match event {
            Event::Probe(event) => self.probed(&event, now),
            Event::Network(NetworkEvent {
                links,
                routes,
                neighbours: _,
            }) => {
                self.due.links |= links || routes;
                if links || routes {
                    self.routes.forget();
                }
                self.due.attachment |= links;
                self.due.hops = true;
            }
            Event::Reload { asked } => self.reload(asked, now),
            Event::Request(inbound) => {
                // Who is told that an origin is healthy may send packets to it at once.
                self.settle(now).await;
                let response = self.answer(&inbound.request);
                // Whoever asked may have gone away.
                let _ = inbound.reply.send(response);
            }
            Event::Tick => {
                self.ticks += 1;
                self.routes.refresh(self.ticks as usize);
                self.due.links |=
                    self.ticks.is_multiple_of(LINKS_EVERY) || self.repetition.is_put_off();
                self.due.hops = true;
                self.due.maps |= !self.problems.of(Part::Maps).is_empty();
                self.due.attachment = true;
                self.due.metrics |= !self.problems.of(Part::Metrics).is_empty();
                if self.probers.has_ended() {
                    self.settle_probes();
                }
                self.memory.give_back();
                self.sweep_sessions();
                self.sweep_flows();
            }
            Event::Swept(swept) => self.swept(*swept),
            Event::SweptFlows(swept) => self.swept_flows(*swept),
            Event::ForgotFlows(forgotten) => self.forgot_flows(forgotten),
            Event::RowsDue => self.due.maps = true,
            Event::Stop(_) => {}
        }
    }

    /// The time until rows are to be looked at again even though nothing happens, if they are.
    pub(super) fn rows_due_in(&self, now: SystemTime) -> Option<Duration> {
        let until = self.state.due_at()?;
        Some(until.duration_since(now).unwrap_or_default())
    }

    /// Brings in line whatever is due.
    pub(super) async fn settle(&mut self, now: SystemTime) {
        let due = std::mem::take(&mut self.due);
        if due.links {
            self.settle_links(now).await;
        }
        if due.hops {
            let hops = self.resolve().await;
            self.log_hops(&hops);
            self.due.maps |= self.state.set_hops(hops);
            self.due.maps |= self.look_at_vlans().await;
        }
        let takes_over = due.attachment && self.takes_over();
        // Before the maps hand anything over to a device.
        if due.attachment && !takes_over {
            self.settle_filters();
        }
        if due.maps || std::mem::take(&mut self.due.maps) {
            self.settle_maps(now);
        } else if due.health {
            self.settle_health(now);
        }
        if takes_over && self.state.held_until().is_some() {
            self.due.attachment = true;
        } else if due.attachment {
            if takes_over {
                self.settle_filters();
            }
            self.settle_attachment();
        }
        if due.metrics {
            self.settle_metrics().await;
        }
        // A heartbeat says that the maps are as they should be.
        if self.problems.of(Part::Maps).is_empty()
            && let Err(error) = self.dataplane.heartbeat(self.state.generation())
        {
            tracing::debug!(%error, "the heartbeat was not written");
        }
    }

    pub(super) fn settle_probes(&mut self) {
        self.probers.reconcile(self.state.probes());
        let shortage = descriptors::shortage(self.probers.tasks());
        self.problems
            .set(Part::Probes, shortage.into_iter().collect());
    }

    fn probed(&mut self, event: &ProbeEvent, now: SystemTime) {
        // A result may be on its way while its probe is replaced by another.
        if !self.probers.is_current(event) {
            return;
        }
        let Some(flip) = self.state.observe(&event.key, event.result, now) else {
            return;
        };
        self.due.health = true;
        // Its answer came from there, so the kernel knows the next hop; news of neighbours are
        // gathered for a while, and whoever is healthy gets packets at once.
        self.due.hops |=
            flip.to == Health::Healthy && self.state.next_hop_problem(&event.key).is_some();
        self.log_flip(&event.key, &flip);
    }

    fn log_flip(&self, key: &ProbeKey, flip: &Flip) {
        let was = health_name(flip.from);
        let reason = flip.failure.map(|failure| failure.to_string());
        let reason = reason.as_deref();
        match (key, flip.to) {
            (ProbeKey::Tunnel { .. }, Health::Unhealthy) => {
                tracing::warn!(tunnel = %key, was, reason, "tunnel is down");
            }
            (ProbeKey::Tunnel { .. }, Health::Healthy | Health::Unknown) => {
                tracing::info!(tunnel = %key, was, "tunnel is up");
            }
            (ProbeKey::Origin { pool, origin }, Health::Unhealthy) => {
                match self.state.tunnel_at_fault(pool, origin) {
                    // Reported once, as the cause.
                    Some(tunnel) => {
                        tracing::info!(origin = %key, was, %tunnel, "origin is unreachable: its tunnel is down");
                    }
                    None => tracing::warn!(origin = %key, was, reason, "origin is unhealthy"),
                }
            }
            (ProbeKey::Origin { .. }, Health::Healthy | Health::Unknown) => {
                tracing::info!(origin = %key, was, "origin is healthy");
            }
        }
    }

    /// Brings in line what in the maps depends on health, and all of them if there is more.
    fn settle_health(&mut self, now: SystemTime) {
        let Some(revision) = self.state.revision(self.dataplane.content(), now) else {
            return self.settle_maps(now);
        };
        match self.dataplane.revise(&revision) {
            Ok(report) => {
                tracing::debug!(?report, "maps are in line with health");
                self.state.revised();
            }
            Err(error) => {
                let problem = format!("the maps are not in line: {error:#}");
                self.problems.set(Part::Maps, vec![problem]);
            }
        }
        self.problems.set(Part::Pools, self.state.panics());
    }

    fn settle_maps(&mut self, now: SystemTime) {
        self.memory.used();
        let desired = self.state.desired(self.dataplane.content(), now);
        let problems = match self.dataplane.sync(&desired) {
            Ok(report) => {
                tracing::debug!(?report, "maps are in line");
                self.state.written();
                Vec::new()
            }
            Err(error) => vec![format!("the maps are not in line: {error:#}")],
        };
        self.problems.set(Part::Maps, problems);
        self.problems.set(Part::Pools, self.state.panics());
    }

    /// Whether all that a state wants can be written to the maps.
    fn fits(&self, state: &mut State, now: SystemTime) -> Result<(), PlanError> {
        let desired = state.desired(self.dataplane.content(), now);
        self.dataplane.check(&desired)
    }

    fn answer(&mut self, request: &Request) -> Response {
        self.memory.used();
        match request {
            Request::Status => match self.status() {
                Ok(status) => Response::Status(Box::new(status)),
                Err(error) => Response::Error(format!("{error:#}")),
            },
        }
    }

    fn status(&self) -> anyhow::Result<api::Status> {
        let content = self.dataplane.content();
        let counters = self.dataplane.counters()?;
        let report = Report {
            state: &self.state,
            counters: &counters,
            published: &|slot| content.tables.get(&slot).map(|table| &table.rows),
            origins: &content.origins,
            census: self.sweeps.census(),
            sessions: self.session_status(),
            flows: self.flow_status(),
            last_handshake: &vnet::last_handshake,
            node: api::Node {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                since: timestamp(self.started),
                config: self.options.config.display().to_string(),
                generation: self.state.generation(),
                reload_error: self.reload_error.clone(),
                problems: self
                    .problems
                    .all()
                    .cloned()
                    .chain(self.stuck.sentence())
                    .collect(),
                heartbeat: LastBeat::of(self.dataplane.maps()).map(api::Heartbeat::from),
                interfaces: self.interfaces(),
            },
        };
        Ok(report.status())
    }
}

/// Problems with which the agent must not start: maps that are not in line, or no interface at
/// all. Another interface that is missing is a standing problem, tried again every second: the
/// rest of the traffic needs its health checks.
fn fatal(problems: &Problems, attachments: &[Attachment]) -> Vec<String> {
    let mut fatal = problems.of(Part::Maps).to_vec();
    if attachments.is_empty() {
        fatal.extend_from_slice(problems.of(Part::Attachment));
    }
    fatal
}

#[cfg(test)]
mod tests {
    use super::*;
    use attachment::tests::attachment;

    #[test]
    fn one_interface_that_is_missing_does_not_keep_the_agent_from_the_others() {
        let mut problems = Problems::default();
        problems.set(Part::Attachment, vec!["there is no eth1".to_owned()]);
        assert!(fatal(&problems, &[attachment(2, "")]).is_empty());
        assert_eq!(fatal(&problems, &[]), ["there is no eth1"]);
        problems.set(Part::Maps, vec!["full".to_owned()]);
        assert_eq!(fatal(&problems, &[attachment(2, "")]), ["full"]);
    }
}
