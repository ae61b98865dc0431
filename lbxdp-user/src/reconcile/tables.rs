//! Which tables there are, who uses them, and from which ones their flows come.

use std::collections::{BTreeMap, BTreeSet};

use lbxdp_ebpf::abi::{Entity, EntityKey, EntityKind, ROW_INSERT, ROW_LOOKUP, Row};

use super::{enabled_balancers, listener_service};
use crate::config::model::{Config, LoadBalancer};
use crate::dataplane::{Content, Published};
use crate::fnv;
use crate::steering::{Policy, TableSpec};

/// The name of a table: its steering, pools, fallback and number of rows; and a number, if there is
/// another one of these whose flows have had other owners before.
///
/// Tables whose names differ in that number alone have the same owners of rows, so load balancers
/// share a table, once no row needs to remember who owned it before. A table of another size has
/// another name, hence another slot, since the size of a table in force must not change.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TableName(pub String);

/// What a name may have, so that there is room for the number.
const LONGEST: usize = Entity::NAME_SPACE - "@1024".len();

impl TableName {
    /// The name of a specification's table with so many rows.
    #[must_use]
    pub fn new(spec: &TableSpec, size: u32) -> Self {
        let steering = match &spec.policy {
            Policy::Off(pools) => pools.join(">"),
            Policy::Random(pools) => pools
                .iter()
                .map(|(pool, weight)| format!("{pool}*{weight}"))
                .collect::<Vec<_>>()
                .join("+"),
        };
        let fallback = spec
            .fallback
            .iter()
            .map(|pool| format!("|{pool}"))
            .collect::<String>();
        let name = format!("{steering}{fallback}#{size}");
        if name.len() <= LONGEST {
            return Self(name);
        }
        // Too many pools to name: the start, and a digest of all.
        let digest = fnv::digest_64(name.bytes());
        let start: String = name.chars().take(LONGEST - 20).collect();
        Self(format!("{start}~{digest:016x}"))
    }

    /// The same without the number.
    fn plain(&self) -> &str {
        self.0.split('@').next().unwrap_or_default()
    }

    /// This name, or the first of its like, with a number, that is not taken.
    fn free(self, taken: impl Fn(&Self) -> bool) -> Self {
        if !taken(&self) {
            return self;
        }
        (2_u32..)
            .map(|number| Self(format!("{}@{number}", self.plain())))
            .find(|name| !taken(name))
            .unwrap_or(self)
    }
}

/// The table of a load balancer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assigned {
    /// Its name.
    pub name: TableName,
    /// What decides its content.
    pub spec: TableSpec,
    /// The number of its rows.
    pub size: u32,
    /// The slot of the table, in force until now, that the flows come from.
    pub past: Option<u32>,
}

/// The table of each load balancer that offers something.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Tables(BTreeMap<String, Assigned>);

impl Tables {
    /// Gives each load balancer a table, given what is in force.
    ///
    /// It stays with the one that it has, as long as that is of its pools and has enough rows. Rows
    /// do not become fewer when origins leave: only of a table with as many rows or fewer is it known
    /// who owned the flows of each row. Load balancers whose flows come from different tables get
    /// different ones; see [`Tables::share`]. One that takes over listeners of several others is
    /// taken for the successor of the first.
    #[must_use]
    pub fn assign(config: &Config, actual: &Content) -> Self {
        let mut tables = BTreeMap::new();
        let mut successors = BTreeMap::<(TableSpec, u32, u32), Vec<&str>>::new();
        let mut fresh = Vec::new();
        for (balancer_name, balancer) in enabled_balancers(config) {
            let spec = TableSpec::new(balancer);
            let size = spec.size(&config.pools);
            let Some(present) = Present::of(config, balancer, actual) else {
                fresh.push((balancer_name, spec, size));
                continue;
            };
            let size = size.max(present.size);
            if present.name.plain() == TableName::new(&spec, size).0 {
                let assigned = Assigned {
                    name: present.name,
                    spec,
                    size,
                    past: Some(present.slot),
                };
                tables.insert(balancer_name.to_owned(), assigned);
            } else {
                let successor = successors.entry((spec, size, present.slot)).or_default();
                successor.push(balancer_name);
            }
        }
        let in_force: BTreeSet<TableName> = (actual.tables.keys())
            .filter_map(|slot| table_name(actual, *slot))
            .collect();
        for ((spec, size, past), balancers) in successors {
            let taken = |name: &TableName| {
                in_force.contains(name) || tables.values().any(|table| table.name == *name)
            };
            let name = TableName::new(&spec, size).free(taken);
            for balancer in balancers {
                let assigned = Assigned {
                    name: name.clone(),
                    spec: spec.clone(),
                    size,
                    past: Some(past),
                };
                tables.insert(balancer.to_owned(), assigned);
            }
        }
        // Who has no flows yet joins any table of its pools.
        for (balancer, spec, size) in fresh {
            let alike = tables
                .values()
                .find(|table| table.spec == spec && table.size >= size);
            let assigned = alike.cloned().unwrap_or_else(|| Assigned {
                name: TableName::new(&spec, size),
                spec,
                size,
                past: None,
            });
            tables.insert(balancer.to_owned(), assigned);
        }
        Self(tables)
    }

    /// Lets load balancers share a table whose own ones have come to be the same; says whether any
    /// do. They are the same when all rows have the same owners and flags, and none needs to know who
    /// owned it before, nor which flows it has had.
    pub fn share(&mut self, actual: &Content) -> bool {
        let mut shared = BTreeMap::<TableName, Assigned>::new();
        let tables: Vec<&Assigned> = self.all().collect();
        for (place, table) in tables.iter().enumerate() {
            let with = tables[..place].iter().find(|other| {
                other.spec == table.spec
                    && other.size == table.size
                    && !shared.contains_key(&other.name)
                    && are_alike(actual, &table.name, &other.name)
            });
            if let Some(with) = with {
                shared.insert(table.name.clone(), (*with).clone());
            }
        }
        for assigned in self.0.values_mut() {
            if let Some(with) = shared.get(&assigned.name) {
                assigned.clone_from(with);
            }
        }
        !shared.is_empty()
    }

    /// The table of a load balancer.
    #[must_use]
    pub fn of(&self, balancer: &str) -> Option<&Assigned> {
        self.0.get(balancer)
    }

    /// All tables, each once, by name.
    pub fn all(&self) -> impl Iterator<Item = &Assigned> {
        let by_name: BTreeMap<&TableName, &Assigned> =
            self.0.values().map(|table| (&table.name, table)).collect();
        by_name.into_values()
    }
}

/// The table in force of a load balancer.
struct Present {
    slot: u32,
    name: TableName,
    size: u32,
}

impl Present {
    fn of(config: &Config, balancer: &LoadBalancer, actual: &Content) -> Option<Self> {
        balancer.listeners.iter().find_map(|listener| {
            let service = listener_service(config, balancer, listener);
            let slot = actual.listeners.get(&service)?.table;
            let size = actual.tables.get(&slot)?.table.rows;
            let name = table_name(actual, slot)?;
            (size > 0).then_some(Self { slot, name, size })
        })
    }
}

fn table_name(actual: &Content, slot: u32) -> Option<TableName> {
    let key = EntityKey {
        kind: EntityKind::Table as u32,
        index: slot,
    };
    let entity = actual.entities.get(&key)?;
    Some(TableName(entity.name().to_owned()))
}

/// The flags of a row that will move, and has not moved lately.
const RECORDED: u8 = ROW_INSERT | ROW_LOOKUP;

fn are_alike(actual: &Content, one: &TableName, other: &TableName) -> bool {
    let published = |name: &TableName| -> Option<&Published> {
        let named = |slot: &&u32| table_name(actual, **slot).as_ref() == Some(name);
        actual.tables.get(actual.tables.keys().find(named)?)
    };
    let (Some(one), Some(other)) = (published(one), published(other)) else {
        return false;
    };
    let alike = |(one, other): (Row, Row)| {
        one.current == other.current
            && one.flags == other.flags
            && (one.flags == 0 || one.flags == RECORDED)
    };
    one.rows.len() == other.rows.len() && one.rows.iter().zip(other.rows.iter()).all(alike)
}
