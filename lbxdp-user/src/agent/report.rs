//! What the agent knows and what the maps have counted, as a status.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use ipnet::IpNet;
use lbxdp_ebpf::abi::{self, EntityKind, OriginIndex};
use lbxdp_ebpf::verdict;

use crate::api::{self, Cause, HealthState, Share, Traffic};
use crate::config::model::{LoadBalancer, Pool, Tunnel, TunnelKind};
use crate::dataplane::Counters;
use crate::health::{Health, ProbeKey};
use crate::reconcile::{self, TableName};
use crate::rows::Rows;
use crate::sessions::Census;
use crate::state::{Risk, State};
use crate::steering::{TablePlan, pool_state, shares};

/// What a status is made of.
pub(super) struct Report<'a> {
    pub(super) state: &'a State,
    pub(super) counters: &'a Counters,
    /// The rows in force, by slot of `TABLES`.
    pub(super) published: &'a dyn Fn(u32) -> Option<&'a Rows>,
    /// The origins in force.
    pub(super) origins: &'a BTreeMap<OriginIndex, abi::Origin>,
    /// Translated flows, as of the last sweep.
    pub(super) census: &'a Census,
    pub(super) sessions: api::Sessions,
    pub(super) flows: api::Flows,
    pub(super) node: api::Node,
    /// When the peer of a WireGuard device last agreed on keys.
    pub(super) last_handshake: &'a dyn Fn(&str) -> Option<SystemTime>,
}

/// Rows of a table by their owner, and how many there are.
struct Ownership {
    rows: BTreeMap<OriginIndex, u32>,
    size: u32,
}

impl Report<'_> {
    /// The status.
    pub(super) fn status(self) -> api::Status {
        let names: BTreeMap<&str, &TableName> = (self.state.config().load_balancers.keys())
            .filter_map(|name| Some((name.as_str(), &self.state.tables().of(name)?.name)))
            .collect();
        let ownership: BTreeMap<&TableName, Ownership> = names
            .values()
            .filter_map(|name| Some((*name, self.ownership(name)?)))
            .collect();
        let config = self.state.config();
        let load_balancers = config
            .load_balancers
            .iter()
            .map(|(name, balancer)| {
                let table = names.get(name.as_str());
                let plan = table.and_then(|table| self.state.plans().get(*table));
                let owned = table.and_then(|table| ownership.get(*table));
                let rows = self.rows(table.copied(), owned);
                self.load_balancer(name, balancer, plan, owned, rows)
            })
            .collect();
        let pools = config
            .pools
            .iter()
            .map(|(name, pool)| {
                let tables: Vec<&Ownership> = names
                    .iter()
                    .filter(|(balancer, _)| {
                        config
                            .load_balancers
                            .get(**balancer)
                            .is_some_and(|balancer| {
                                reconcile::pools_of(balancer).any(|p| p == name)
                            })
                    })
                    .filter_map(|(_, table)| ownership.get(*table))
                    .collect();
                self.pool(name, pool, &tables)
            })
            .collect();
        let virtual_networks = config
            .vnets
            .iter()
            .map(|(name, vnet)| api::VirtualNetwork {
                name: name.clone(),
                id: vnet.id.0,
                tunnels: vnet
                    .tunnels
                    .iter()
                    .map(|(tunnel_name, tunnel)| self.tunnel(name, tunnel_name, tunnel))
                    .collect(),
            })
            .collect();
        let reasons = self
            .counters
            .reasons
            .iter()
            .filter(|(_, count)| count.packets > 0)
            .map(|(reason, count)| reason_count(*reason, *count))
            .collect();
        api::Status {
            draining: self.draining(),
            node: self.node,
            load_balancers,
            pools,
            virtual_networks,
            sessions: self.sessions,
            flows: self.flows,
            reasons,
        }
    }

    fn ownership(&self, name: &TableName) -> Option<Ownership> {
        let slot = self.state.slots().get(EntityKind::Table, &name.0)?;
        let rows = (self.published)(slot)?;
        Some(Ownership {
            rows: shares(rows.owners()),
            size: u32::try_from(rows.len()).unwrap_or(u32::MAX),
        })
    }

    fn load_balancer(
        &self,
        name: &str,
        balancer: &LoadBalancer,
        plan: Option<&TablePlan>,
        owned: Option<&Ownership>,
        rows: api::Rows,
    ) -> api::LoadBalancer {
        let listeners = balancer
            .listeners
            .iter()
            .map(|listener| {
                let slot = self.state.slots().get(
                    EntityKind::Listener,
                    &reconcile::listener_name(name, listener),
                );
                let traffic = slot.and_then(|slot| self.counters.listeners.get(&slot));
                api::Listener {
                    address: listener.address,
                    ports: listener.ports.to_string(),
                    protocol: listener.protocol.name().to_owned(),
                    traffic: traffic_of(traffic),
                }
            })
            .collect();
        let mut shares = Vec::new();
        for pool in reconcile::pools_of(balancer) {
            let origins = self
                .state
                .config()
                .pools
                .get(pool)
                .map(|pool| &pool.origins);
            for origin in origins.into_iter().flat_map(BTreeMap::keys) {
                let share = owned.map_or(0.0, |owned| self.share(pool, origin, &[owned]));
                if share > 0.0 {
                    shares.push(Share {
                        pool: pool.to_owned(),
                        origin: origin.clone(),
                        share,
                    });
                }
            }
        }
        api::LoadBalancer {
            name: name.to_owned(),
            enabled: balancer.enabled,
            state: plan
                .map_or("disabled", |plan| plan.state().label())
                .to_owned(),
            serving: serving(balancer, plan),
            pools: balancer.default_pools.clone(),
            fallback_pool: balancer.fallback_pool.clone(),
            listeners,
            shares,
            rows,
        }
    }

    fn rows(&self, table: Option<&TableName>, owned: Option<&Ownership>) -> api::Rows {
        let Risk {
            generation,
            insert,
            lookup_only,
            until,
        } = table.map_or_else(Risk::default, |table| self.state.risk(table));
        api::Rows {
            all: owned.map_or(0, |owned| owned.size),
            moved: generation,
            moved_until: until.map(timestamp),
            will_move: insert,
            looked_up: lookup_only,
        }
    }

    /// Origins that take no new flows: those that are leaving the maps, and those that are configured
    /// so and are still counted on by rows, or have flows.
    fn draining(&self) -> Vec<api::Draining> {
        let leaving: BTreeMap<OriginIndex, Option<SystemTime>> = (self.state.leaving())
            .map(|(slot, _, until)| (slot, until))
            .collect();
        let takes_new = |name: &str| {
            let (pool, origin) = name.split_once('/')?;
            let pool = self.state.config().pools.get(pool)?;
            let origin = pool.origins.get(origin)?;
            Some(pool.enabled && origin.enabled && origin.weight > 0.0)
        };
        let slots = self.state.slots();
        let names = (slots.of(EntityKind::Origin)).chain(slots.leaving(EntityKind::Origin));
        names
            .filter_map(|(name, slot)| {
                let slot = OriginIndex::try_from(slot).ok()?;
                let origin = self.origins.get(&slot)?;
                let flows = self.state.tracked().of_origin(slot);
                let left = leaving.get(&slot).copied();
                let until = left.unwrap_or_else(|| self.state.kept_until(slot));
                let state = match takes_new(name) {
                    None => "leaving",
                    Some(false) => "draining",
                    // Of a pool that nobody uses any more.
                    Some(true) if left.is_some() => "leaving",
                    Some(true) => return None,
                };
                if left.is_none() && flows == 0 && until.is_none() {
                    return None;
                }
                Some(api::Draining {
                    name: name.to_owned(),
                    state: state.to_owned(),
                    address: origin.address.to_ip(),
                    port: origin.port.get(),
                    flows,
                    until: until.map(timestamp),
                })
            })
            .collect()
    }

    fn pool(&self, name: &str, pool: &Pool, tables: &[&Ownership]) -> api::Pool {
        let health = |origin: &str| {
            self.state
                .tracker(&ProbeKey::origin(name, origin))
                .map_or(Health::Unknown, |tracker| tracker.health())
        };
        let origins = pool
            .origins
            .iter()
            .map(|(origin_name, origin)| {
                let key = ProbeKey::origin(name, origin_name);
                let traffic = self
                    .origin_slot(name, origin_name)
                    .and_then(|slot| self.counters.origins.get(&slot));
                api::Origin {
                    name: origin_name.clone(),
                    address: origin.address,
                    port: origin.port,
                    virtual_network: origin
                        .virtual_network
                        .clone()
                        .unwrap_or_else(|| "local".to_owned()),
                    enabled: origin.enabled,
                    weight: origin.weight,
                    health: self.health_state(&key),
                    cause: self
                        .state
                        .tunnel_at_fault(name, origin_name)
                        .map(|tunnel| Cause::Tunnel(tunnel.to_string())),
                    next_hop_problem: self.state.next_hop_problem(&key),
                    share: self.share(name, origin_name, tables),
                    sessions: self
                        .origin_slot(name, origin_name)
                        .and_then(|slot| self.census.by_origin.get(&slot))
                        .copied()
                        .unwrap_or_default(),
                    traffic: traffic_of(traffic),
                }
            })
            .collect();
        api::Pool {
            name: name.to_owned(),
            state: pool_state(pool, health).label().to_owned(),
            monitor: pool.monitor.clone(),
            origins,
        }
    }

    fn tunnel(&self, vnet: &str, name: &str, tunnel: &Tunnel) -> api::Tunnel {
        let key = ProbeKey::tunnel(vnet, name);
        let traffic = self
            .state
            .slots()
            .get(EntityKind::Tunnel, &key.to_string())
            .and_then(|slot| abi::TunnelIndex::try_from(slot).ok())
            .and_then(|slot| self.counters.tunnels.get(&slot));
        api::Tunnel {
            name: name.to_owned(),
            kind: tunnel.kind.name().to_owned(),
            device: tunnel.device.clone(),
            local: specified(tunnel.local),
            remote: specified(tunnel.remote),
            addresses: tunnel.addresses.iter().map(IpNet::to_string).collect(),
            mtu: tunnel.mtu,
            health: self.health_state(&key),
            next_hop_problem: self.state.next_hop_problem(&key),
            last_handshake: (tunnel.kind == TunnelKind::Wireguard)
                .then(|| (self.last_handshake)(&tunnel.device).map(timestamp))
                .flatten(),
            traffic: traffic_of(traffic),
        }
    }

    fn health_state(&self, key: &ProbeKey) -> HealthState {
        let Some(tracker) = self.state.tracker(key) else {
            return HealthState {
                health: "unmonitored".to_owned(),
                since: None,
                reason: None,
                rtt_ms: None,
            };
        };
        HealthState {
            health: health_name(tracker.health()).to_owned(),
            since: Some(timestamp(tracker.since())),
            reason: tracker.reason().map(|failure| failure.to_string()),
            rtt_ms: tracker.last_rtt().map(|rtt| rtt.as_secs_f64() * 1000.0),
        }
    }

    fn origin_slot(&self, pool: &str, origin: &str) -> Option<OriginIndex> {
        let slot = self
            .state
            .slots()
            .get(EntityKind::Origin, &reconcile::origin_name(pool, origin))?;
        OriginIndex::try_from(slot).ok()
    }

    /// Share of the rows of some tables.
    fn share(&self, pool: &str, origin: &str, tables: &[&Ownership]) -> f64 {
        let Some(slot) = self.origin_slot(pool, origin) else {
            return 0.0;
        };
        let owned = tables
            .iter()
            .filter_map(|table| table.rows.get(&slot))
            .map(|rows| u64::from(*rows))
            .sum::<u64>();
        let all = tables
            .iter()
            .map(|table| u64::from(table.size))
            .sum::<u64>();
        #[expect(clippy::cast_precision_loss, reason = "row counts are far below 2^52")]
        let share = owned as f64 / all.max(1) as f64;
        share
    }
}

/// A time as it stands in a status.
pub(super) fn timestamp(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// The name of a state of health in status and logs.
pub(super) const fn health_name(health: Health) -> &'static str {
    match health {
        Health::Unknown => "unknown",
        Health::Healthy => "healthy",
        Health::Unhealthy => "unhealthy",
    }
}

fn serving(balancer: &LoadBalancer, plan: Option<&TablePlan>) -> String {
    if !balancer.enabled {
        return "nobody: it is disabled".to_owned();
    }
    let Some(plan) = plan else {
        return "nobody: its table is not planned yet".to_owned();
    };
    let sentence = plan.why.sentence();
    if plan.serving.is_empty() {
        sentence.to_owned()
    } else {
        format!("{} ({sentence})", plan.serving.join(", "))
    }
}

fn traffic_of(traffic: Option<&abi::Traffic>) -> Traffic {
    traffic.map_or_else(Traffic::default, |traffic| Traffic {
        packets: traffic.forward.packets,
        bytes: traffic.forward.bytes,
        reply_packets: traffic.reply.packets,
        reply_bytes: traffic.reply.bytes,
    })
}

/// An address, unless it is the one that stands for none.
fn specified(address: IpAddr) -> Option<IpAddr> {
    (!address.is_unspecified()).then_some(address)
}

fn reason_count(reason: verdict::Reason, count: abi::Count) -> api::Reason {
    api::Reason {
        label: reason.label().to_owned(),
        sentence: reason.sentence().to_owned(),
        packets: count.packets,
        bytes: count.bytes,
    }
}
