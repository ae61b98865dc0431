//! What stands in the maps' own list of names.

use std::collections::{BTreeMap, BTreeSet};

use lbxdp_ebpf::abi::{self, EntityKind, OriginIndex};

use crate::config::model::Config;
use crate::slots::Slots;

/// Names of everything that has a slot, with health where there is one, and of the leaving origins
/// that are `held`.
#[must_use]
pub fn entities(
    config: &Config,
    slots: &Slots,
    held: &BTreeSet<OriginIndex>,
    health: &BTreeMap<(EntityKind, String), (u8, u64)>,
) -> BTreeMap<abi::EntityKey, abi::Entity> {
    let vnets = config
        .vnets
        .iter()
        .map(|(name, vnet)| (EntityKind::Vnet, name.clone(), vnet.id.0));
    let slotted = [
        EntityKind::Tunnel,
        EntityKind::Origin,
        EntityKind::Listener,
        EntityKind::Table,
    ]
    .into_iter()
    .flat_map(|kind| {
        slots
            .of(kind)
            .map(move |(name, slot)| (kind, name.to_owned(), slot))
    });
    let leaving = slots
        .leaving(EntityKind::Origin)
        .filter(|(_, slot)| OriginIndex::try_from(*slot).is_ok_and(|slot| held.contains(&slot)))
        .map(|(name, slot)| (EntityKind::Origin, name.to_owned(), slot));
    vnets
        .chain(slotted)
        .chain(leaving)
        .filter_map(|(kind, name, index)| {
            let mut entity = abi::Entity::named(&name)?;
            if let Some((state, since)) = health.get(&(kind, name)) {
                entity.health = *state;
                entity.since_unix_ns = *since;
            }
            Some((
                abi::EntityKey {
                    kind: kind as u32,
                    index,
                },
                entity,
            ))
        })
        .collect()
}
