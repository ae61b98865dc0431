//! Which slot of the maps belongs to whom.
//!
//! A slot stays with its owner as long as the owner is configured, over reloads
//! and over restarts of the agent: counters and rows go by slot. Slots that
//! become free are given away again only when the maps have been written since,
//! and nothing in them refers to the last owner any more: an origin that flows from
//! before still need keeps its slot until it is not needed any more.

use std::collections::{BTreeMap, BTreeSet};

use lbxdp_ebpf::abi::{Entity, EntityKey, EntityKind, OriginIndex};

/// The owners of all slots, by kind and name.
#[derive(Clone, Default, Debug)]
pub struct Slots {
    owners: BTreeMap<EntityKind, BTreeMap<String, u32>>,
    /// Last owners of slots that the maps may still refer to.
    leaving: BTreeMap<EntityKind, BTreeMap<String, u32>>,
}

/// What stands, before a number, behind the name of one whose name is somebody else's now. No
/// configured name has it.
pub const FORMER: char = '@';

/// A kind of slot has run out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutOfSlots {
    /// The kind.
    pub kind: EntityKind,
    /// How many are wanted.
    pub wanted: usize,
    /// How many there are.
    pub capacity: u32,
}

impl std::fmt::Display for OutOfSlots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            kind,
            wanted,
            capacity,
        } = self;
        write!(
            f,
            "the configuration wants {wanted} slots of kind {kind:?}, and {capacity} can be numbered; \
             configure fewer, or spread them over several nodes"
        )
    }
}

impl std::error::Error for OutOfSlots {}

impl Slots {
    /// Takes over the slots that the maps' own list of names tells of.
    pub fn adopt(entities: &BTreeMap<EntityKey, Entity>) -> Self {
        let mut slots = Self::default();
        for (key, entity) in entities {
            if let Some(kind) = EntityKind::from_u32(key.kind) {
                slots
                    .owners
                    .entry(kind)
                    .or_default()
                    .insert(entity.name().to_owned(), key.index);
            }
        }
        slots
    }

    /// Makes the owners of a kind exactly `names`: who has a slot keeps it, who is new gets the
    /// lowest free one, who is not named loses it. A slot that is lost is free once the maps are
    /// [written](Self::written); whoever comes back before that gets it back.
    ///
    /// # Errors
    /// When there are not enough; nothing has changed then.
    pub fn assign(&mut self, kind: EntityKind, names: &BTreeSet<String>) -> Result<(), OutOfSlots> {
        let mut held = self.leaving.get(&kind).cloned().unwrap_or_default();
        held.extend(self.owners.get(&kind).cloned().unwrap_or_default());
        let taken: BTreeSet<u32> = held.values().copied().collect();
        let capacity = most_of(kind);
        let mut free = (0..capacity).filter(|slot| !taken.contains(slot));
        let mut next = BTreeMap::new();
        for name in names {
            let slot = match held.remove(name) {
                Some(slot) => slot,
                None => free.next().ok_or(OutOfSlots {
                    kind,
                    wanted: names.len(),
                    capacity,
                })?,
            };
            next.insert(name.clone(), slot);
        }
        self.owners.insert(kind, next);
        self.leaving.insert(kind, held);
        Ok(())
    }

    /// Lets the owner of a slot leave, or go on leaving, under another name: its name is about to be
    /// somebody else's, who is to have another slot.
    pub fn retire(&mut self, kind: EntityKind, name: &str) {
        let leaving = self.leaving.entry(kind).or_default();
        let owned = self
            .owners
            .get_mut(&kind)
            .and_then(|owners| owners.remove(name));
        let Some(slot) = owned.or_else(|| leaving.remove(name)) else {
            return;
        };
        let mut names = (2_u32..).map(|number| format!("{name}{FORMER}{number}"));
        if let Some(name) = names.find(|name| !leaving.contains_key(name)) {
            leaving.insert(name, slot);
        }
    }

    /// Takes note that the maps have been written, and refer to nobody but the present owners, and
    /// those of the last ones that are `held`.
    pub fn written(&mut self, held: impl Fn(EntityKind, u32) -> bool) {
        for (kind, leaving) in &mut self.leaving {
            leaving.retain(|_, slot| held(*kind, *slot));
        }
    }

    /// Last owners of slots of a kind that have lost them, by name.
    pub fn leaving(&self, kind: EntityKind) -> impl Iterator<Item = (&str, u32)> {
        self.leaving
            .get(&kind)
            .into_iter()
            .flatten()
            .map(|(name, slot)| (name.as_str(), *slot))
    }

    /// The slot of an owner, or of a last one that has not been given away yet: who takes the name
    /// gets it.
    #[must_use]
    pub fn held(&self, kind: EntityKind, name: &str) -> Option<u32> {
        let leaving = || self.leaving.get(&kind)?.get(name).copied();
        self.get(kind, name).or_else(leaving)
    }

    /// The slot of an owner.
    #[must_use]
    pub fn get(&self, kind: EntityKind, name: &str) -> Option<u32> {
        self.owners.get(&kind)?.get(name).copied()
    }

    /// Owners of a kind, by name.
    pub fn of(&self, kind: EntityKind) -> impl Iterator<Item = (&str, u32)> {
        self.owners
            .get(&kind)
            .into_iter()
            .flatten()
            .map(|(name, slot)| (name.as_str(), *slot))
    }
}

/// Slots of a kind: how many can be numbered. How many the maps have is checked where they are
/// written. VNets have none: their number is configured or made from the name.
#[must_use]
pub const fn most_of(kind: EntityKind) -> u32 {
    match kind {
        EntityKind::Vnet => 0,
        // The last index stands for "no tunnel", and "no origin".
        EntityKind::Tunnel | EntityKind::Origin => OriginIndex::MAX as u32,
        EntityKind::Listener | EntityKind::Table => 1 << 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn owners_keep_their_slots_and_freed_slots_are_not_reused_at_once() {
        let mut slots = Slots::default();
        slots
            .assign(EntityKind::Origin, &names(&["a", "b"]))
            .expect("there is room");
        slots
            .assign(EntityKind::Origin, &names(&["b", "c"]))
            .expect("there is room");
        assert_eq!(slots.get(EntityKind::Origin, "b"), Some(1));
        assert_eq!(
            slots.get(EntityKind::Origin, "c"),
            Some(2),
            "slot 0 was in use until now"
        );
        assert_eq!(slots.get(EntityKind::Origin, "a"), None);
        slots.written(|_, _| false);
        slots
            .assign(EntityKind::Origin, &names(&["b", "c", "d"]))
            .expect("there is room");
        assert_eq!(slots.get(EntityKind::Origin, "d"), Some(0));
    }

    #[test]
    fn a_slot_is_not_given_away_before_the_maps_are_written() {
        let mut slots = Slots::default();
        for named in [&["a", "b"][..], &["b", "c"], &["b", "c", "d"]] {
            slots
                .assign(EntityKind::Origin, &names(named))
                .expect("there is room");
        }
        assert_eq!(
            slots.get(EntityKind::Origin, "d"),
            Some(3),
            "rows in force may still name slot 0, which was a's"
        );
        slots
            .assign(EntityKind::Origin, &names(&["a", "b"]))
            .expect("there is room");
        assert_eq!(slots.get(EntityKind::Origin, "a"), Some(0), "its own");
    }

    #[test]
    fn a_slot_that_is_held_is_not_given_away_when_the_maps_are_written() {
        let mut slots = Slots::default();
        for named in [&["a", "b"][..], &["b"]] {
            slots
                .assign(EntityKind::Origin, &names(named))
                .expect("there is room");
            slots.written(|kind, slot| kind == EntityKind::Origin && slot == 0);
        }
        let leaving: Vec<_> = slots.leaving(EntityKind::Origin).collect();
        assert_eq!(leaving, [("a", 0)]);
        slots
            .assign(EntityKind::Origin, &names(&["b", "c"]))
            .expect("there is room");
        assert_eq!(slots.get(EntityKind::Origin, "c"), Some(2));
        slots.written(|_, _| false);
        assert_eq!(slots.leaving(EntityKind::Origin).count(), 0);
    }

    #[test]
    fn who_retires_leaves_its_name_but_not_its_slot() {
        let mut slots = Slots::default();
        for _ in 0..3 {
            slots
                .assign(EntityKind::Origin, &names(&["a"]))
                .expect("there is room");
            slots.retire(EntityKind::Origin, "a");
        }
        assert_eq!(slots.get(EntityKind::Origin, "a"), None);
        let leaving: Vec<_> = slots.leaving(EntityKind::Origin).collect();
        assert_eq!(leaving, [("a@2", 0), ("a@3", 1), ("a@4", 2)]);
        slots
            .assign(EntityKind::Origin, &names(&["a"]))
            .expect("there is room");
        slots
            .assign(EntityKind::Origin, &names(&[]))
            .expect("there is room");
        assert_eq!(slots.held(EntityKind::Origin, "a"), Some(3));
        slots.retire(EntityKind::Origin, "a");
        assert_eq!(slots.held(EntityKind::Origin, "a"), None, "who was leaving");
        assert_eq!(slots.held(EntityKind::Origin, "a@5"), Some(3));
        slots.retire(EntityKind::Origin, "nobody");
        assert_eq!(slots.leaving(EntityKind::Origin).count(), 4);
    }

    #[test]
    fn a_new_agent_takes_over_the_slots_of_the_last_one() {
        let key = EntityKey {
            kind: EntityKind::Origin as u32,
            index: 7,
        };
        let entity = Entity::named("web/a").expect("a short name");
        let mut slots = Slots::adopt(&BTreeMap::from([(key, entity)]));
        slots
            .assign(EntityKind::Origin, &names(&["web/a", "web/b"]))
            .expect("there is room");
        assert_eq!(slots.get(EntityKind::Origin, "web/a"), Some(7));
        assert_eq!(slots.get(EntityKind::Origin, "web/b"), Some(0));
    }

    #[test]
    fn running_out_says_of_what_and_changes_nothing() {
        let mut slots = Slots::default();
        let many: BTreeSet<String> = (0..=most_of(EntityKind::Table))
            .map(|n| n.to_string())
            .collect();
        let error = slots
            .assign(EntityKind::Table, &many)
            .expect_err("one too many");
        assert!(error.to_string().contains("Table"), "{error}");
        assert_eq!(slots.of(EntityKind::Table).count(), 0);
    }
}
