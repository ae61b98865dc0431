use std::collections::BTreeMap;

use lbxdp_ebpf::abi::{Entity, EntityKey, EntityKind, VnetId};
use nix::net::if_::if_indextoname;

/// Name of the VNet that is the node's own network.
pub const LOCAL_VNET: &str = "local";

/// Names of what has a slot, from map `ENTITIES`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Names {
    entities: BTreeMap<EntityKey, Entity>,
}

impl Names {
    /// The names in the content of map `ENTITIES`.
    #[must_use]
    pub const fn new(entities: BTreeMap<EntityKey, Entity>) -> Self {
        Self { entities }
    }

    /// The name of a slot; `#` and its number if it has none.
    #[must_use]
    pub fn of(&self, kind: EntityKind, index: u32) -> String {
        let key = EntityKey {
            kind: kind as u32,
            index,
        };
        match self.entities.get(&key) {
            Some(entity) if !entity.name().is_empty() => entity.name().to_owned(),
            Some(_) | None => format!("#{index}"),
        }
    }

    /// The name of a VNet.
    #[must_use]
    pub fn vnet(&self, vnet: VnetId) -> String {
        if vnet == VnetId::LOCAL {
            return LOCAL_VNET.to_owned();
        }
        self.of(EntityKind::Vnet, vnet.0)
    }

    /// The slot of a name: as [`Names::of`] writes it, or a bare number.
    #[must_use]
    pub fn index(&self, kind: EntityKind, name: &str) -> Option<u32> {
        if kind == EntityKind::Vnet && name == LOCAL_VNET {
            return Some(VnetId::LOCAL.0);
        }
        let named = self.all(kind).find(|(_, of)| *of == name);
        named
            .map(|(index, _)| index)
            .or_else(|| name.strip_prefix('#').unwrap_or(name).parse().ok())
    }

    /// Slots and names of one kind.
    pub fn all(&self, kind: EntityKind) -> impl Iterator<Item = (u32, &str)> {
        self.entities
            .iter()
            .filter(move |(key, _)| key.kind == kind as u32)
            .map(|(key, entity)| (key.index, entity.name()))
    }
}

/// The name of an interface of this network namespace; its number if it has none.
#[must_use]
pub fn interface_name(ifindex: u32) -> String {
    if_indextoname(ifindex)
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| format!("#{ifindex}"))
}
