//! The node's own network: devices in line, next hops known.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use lbxdp_ebpf::abi::Tags;

use super::Owner;
use super::problems::Part;
use super::repetition::Advice;
use crate::reconcile::{Hop, HopKey, Hops};
use crate::vnet::{self, NextHop, Query, Unresolved};

/// Longest wait for next hops before the maps are first written.
const HOPS_AT_START: Duration = Duration::from_secs(2);
/// Time between looks meanwhile.
const HOPS_AGAIN: Duration = Duration::from_millis(50);

impl Owner {
    pub(super) async fn settle_links(&mut self, now: SystemTime) {
        let desired = vnet::Desired::from_config(self.state.config());
        let problems = match self.network.observe(&desired).await {
            Ok(observed) => {
                let vnet::Plan { commands, problems } = vnet::plan(&desired, &observed);
                let advice = self.repetition.advise(&commands, now);
                if advice == Advice::PutOff {
                    return;
                }
                for command in &commands {
                    tracing::debug!(?command, "changing the node's network");
                }
                let first = commands.first().map(ToString::to_string);
                let failures = self.network.apply(commands).await;
                // Made without an error, and yet to be made again.
                let undone = (advice == Advice::ExecuteAgain && failures.is_empty())
                    .then_some(first)
                    .flatten()
                    .map(|first| {
                        format!(
                            "the node's network does not stay as it was made ({first}): another \
                             program, such as systemd-networkd or NetworkManager, seems to change \
                             it; tell it to leave lbxdp's devices, routes and rules alone"
                        )
                    });
                let problems = problems.iter().map(ToString::to_string);
                problems
                    .chain(failures.iter().map(ToString::to_string))
                    .chain(undone)
                    .collect()
            }
            Err(error) => vec![format!("the node's network cannot be looked at: {error:#}")],
        };
        self.problems.set(Part::Links, problems);
    }

    /// Looks next hops up for the first time. Where there are tables of the last agent, which forward
    /// meanwhile, it waits a little for all of them, so that "not known yet" does not take the place
    /// of what that one knew.
    pub(super) async fn first_hops(&mut self) {
        let takes_over = !self.dataplane.content().tables.is_empty();
        let deadline = tokio::time::Instant::now() + HOPS_AT_START;
        loop {
            let hops = self.resolve().await;
            let complete = hops.values().all(Result::is_ok);
            self.log_hops(&hops);
            self.state.set_hops(hops);
            self.look_at_vlans().await;
            if complete || !takes_over || tokio::time::Instant::now() >= deadline {
                return;
            }
            tokio::time::sleep(HOPS_AGAIN).await;
        }
    }

    /// Looks at the node's VLAN devices; says whether any has changed. What cannot be asked for stays
    /// as it was known.
    pub(super) async fn look_at_vlans(&mut self) -> bool {
        match self.network.vlans().await {
            Ok(vlans) => {
                self.problems.set(Part::Vlans, vlans.problems);
                self.state.set_vlans(vlans.devices)
            }
            Err(error) => {
                tracing::debug!("the node's VLAN devices cannot be looked at: {error:#}");
                false
            }
        }
    }

    /// Looks all next hops up. One that was known stays so while its neighbour does not answer, or
    /// its link is down: its address has not become wrong by that, and the kernel may say up to a
    /// second late that a link is up again.
    pub(super) async fn resolve(&mut self) -> Hops {
        let keys = self.state.hop_keys();
        let (devices, keys): (BTreeSet<HopKey>, BTreeSet<HopKey>) =
            keys.into_iter().partition(|key| key.as_device().is_some());
        let queries: Vec<Query> = keys.iter().map(query).collect();
        let attached = &self.state.config().node.interfaces;
        let answers = self
            .network
            .next_hops(&queries, attached, &mut self.routes)
            .await;
        let mut down = BTreeSet::new();
        let mut hops = Hops::new();
        for (key, answer) in keys.into_iter().zip(answers) {
            if let NextHop::Unresolved(Unresolved::Down { interface }) = &answer {
                down.insert(format!(
                    "{interface} is down or has no carrier: what goes that way is lost"
                ));
            }
            let hop = match (answer, self.state.hops().get(&key)) {
                (NextHop::Unresolved(unresolved), Some(Ok(known))) if is_passing(&unresolved) => {
                    Ok(known.clone())
                }
                (NextHop::Unresolved(unresolved), _) => Err(unresolved.to_string()),
                (NextHop::Resolved(hop), _) => Ok(Hop {
                    ifindex: hop.ifindex,
                    tags: hop.tags,
                    source_mac: hop.mac,
                    destination_mac: hop.gateway_mac,
                    mtu: u16::try_from(hop.mtu).unwrap_or(u16::MAX),
                }),
            };
            hops.insert(key, hop);
        }
        self.problems.set(Part::Carrier, down.into_iter().collect());
        hops.extend(self.devices(devices).await);
        hops
    }

    /// Looks devices up that packets are handed over to.
    async fn devices(&self, keys: BTreeSet<HopKey>) -> Hops {
        if keys.is_empty() {
            return Hops::new();
        }
        let links = self.network.links().await;
        let hop = |name: &str| match &links {
            Ok(links) => device(name, links.get(name)),
            Err(error) => Err(format!("{error:#}")),
        };
        keys.into_iter()
            .map(|key| {
                let hop = hop(key.as_device().unwrap_or_default());
                (key, hop)
            })
            .collect()
    }

    pub(super) fn log_hops(&self, next: &Hops) {
        for (key, hop) in next {
            let device = key.device.as_deref();
            match (self.state.hops().get(key), hop) {
                (Some(Err(_)), Ok(_)) => {
                    tracing::info!(destination = %key.destination, device, "next hop resolved");
                }
                (None | Some(Ok(_)), Err(problem)) => {
                    tracing::warn!(destination = %key.destination, device, problem, "next hop not resolved");
                }
                (None | Some(Ok(_)), Ok(_)) | (Some(Err(_)), Err(_)) => {}
            }
        }
    }
}

fn query(key: &HopKey) -> Query {
    Query {
        destination: key.destination,
        source: None,
        device: key.device.clone(),
    }
}

/// A device as the first link of a way.
fn device(name: &str, link: Option<&vnet::Link>) -> Result<Hop, String> {
    let link = link.ok_or_else(|| format!("there is no device {name}"))?;
    if !(link.up && link.running) {
        return Err(format!("device {name} is down"));
    }
    Ok(Hop {
        ifindex: link.index,
        tags: Tags::NONE,
        source_mac: link.mac.unwrap_or_default(),
        destination_mac: [0; 6],
        mtu: u16::try_from(link.mtu).unwrap_or(u16::MAX),
    })
}

/// Whether a next hop is unresolved for a reason that says nothing against its last answer.
const fn is_passing(unresolved: &Unresolved) -> bool {
    match unresolved {
        Unresolved::Resolving { .. }
        | Unresolved::Silent { .. }
        | Unresolved::Unknown { .. }
        | Unresolved::Down { .. } => true,
        Unresolved::NoRoute { .. }
        | Unresolved::Local
        | Unresolved::Forbidden
        | Unresolved::NoDevice { .. }
        | Unresolved::NotEthernet { .. }
        | Unresolved::Indirect { .. } => false,
    }
}
