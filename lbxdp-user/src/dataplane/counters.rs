use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aya::Pod;
use aya::maps::{MapData, PerCpuArray};
use lbxdp_ebpf::abi::{Count, EntityKey, EntityKind, OriginIndex, Traffic, TunnelIndex};
use lbxdp_ebpf::verdict::Reason;

use super::maps::LiveMaps;

/// What has been counted, summed over CPUs.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// By reason; all reasons.
    pub reasons: BTreeMap<Reason, Count>,
    /// By slot of listener.
    pub listeners: BTreeMap<u32, Traffic>,
    /// By origin.
    pub origins: BTreeMap<OriginIndex, Traffic>,
    /// By tunnel.
    pub tunnels: BTreeMap<TunnelIndex, Traffic>,
}

impl LiveMaps {
    /// Reads the counters of all reasons, and of the slots that have a name.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn counters<'a>(&self, named: impl IntoIterator<Item = &'a EntityKey>) -> Result<Counters> {
        let mut counters = Counters::default();
        for &reason in Reason::ALL {
            let count = count_of(&self.reasons, reason.index()).context("map REASONS")?;
            counters.reasons.insert(reason, count);
        }
        for key in named {
            match EntityKind::from_u32(key.kind) {
                Some(EntityKind::Listener) => {
                    let traffic = traffic_of(&self.listener_counters, key.index)
                        .context("map LISTENER_COUNTERS")?;
                    counters.listeners.insert(key.index, traffic);
                }
                Some(EntityKind::Origin) => {
                    let traffic = traffic_of(&self.origin_counters, key.index)
                        .context("map ORIGIN_COUNTERS")?;
                    if let Ok(index) = OriginIndex::try_from(key.index) {
                        counters.origins.insert(index, traffic);
                    }
                }
                Some(EntityKind::Tunnel) => {
                    let traffic = traffic_of(&self.tunnel_counters, key.index)
                        .context("map TUNNEL_COUNTERS")?;
                    if let Ok(index) = TunnelIndex::try_from(key.index) {
                        counters.tunnels.insert(index, traffic);
                    }
                }
                Some(EntityKind::Vnet | EntityKind::Table) | None => {}
            }
        }
        Ok(counters)
    }
}

/// The sum over CPUs of a `Count`.
pub(crate) fn count_of(map: &PerCpuArray<MapData, Count>, index: u32) -> Result<Count> {
    Ok(per_cpu(map, index)?.into_iter().fold(Count::default(), add))
}

/// The sum over CPUs of a `Traffic`.
pub(crate) fn traffic_of(map: &PerCpuArray<MapData, Traffic>, index: u32) -> Result<Traffic> {
    let sum = per_cpu(map, index)?
        .into_iter()
        .fold(Traffic::default(), |sum, cpu| Traffic {
            forward: add(sum.forward, cpu.forward),
            reply: add(sum.reply, cpu.reply),
        });
    Ok(sum)
}

fn per_cpu<V: Pod>(map: &PerCpuArray<MapData, V>, index: u32) -> Result<Vec<V>> {
    let values = map.get(&index, 0)?;
    Ok(values.to_vec())
}

fn add(a: Count, b: Count) -> Count {
    Count {
        packets: a.packets.wrapping_add(b.packets),
        bytes: a.bytes.wrapping_add(b.bytes),
    }
}
