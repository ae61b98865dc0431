//! Which tables there are, and what they are called.

use std::collections::BTreeMap;

use lbxdp_ebpf::abi::Entity;

use super::enabled_balancers;
use crate::config::model::Config;
use crate::fnv;
use crate::steering::{Policy, TableSpec};

/// The name of a table: its steering, pools, fallback and number of rows.
///
/// Tables with the same name have the same rows, so load balancers share them;
/// a table of another size has another name, hence another slot, since the size of
/// a table in force must not change.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TableName(pub String);

impl TableName {
    /// The name of a specification's table.
    #[must_use]
    pub fn new(spec: &TableSpec, config: &Config) -> Self {
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
        let name = format!("{steering}{fallback}#{}", spec.size(&config.pools));
        if name.len() <= Entity::NAME_SPACE {
            return Self(name);
        }
        // Too many pools to name: the start, and a digest of all.
        let digest = fnv::digest_64(name.bytes());
        let start: String = name.chars().take(Entity::NAME_SPACE - 20).collect();
        Self(format!("{start}~{digest:016x}"))
    }
}

/// The table of each load balancer that offers something.
#[must_use]
pub fn table_names(config: &Config) -> BTreeMap<String, TableName> {
    enabled_balancers(config)
        .map(|(name, balancer)| {
            let spec = TableSpec::new(balancer);
            (name.to_owned(), TableName::new(&spec, config))
        })
        .collect()
}

/// All tables, each once.
#[must_use]
pub fn table_specs(config: &Config) -> BTreeMap<TableName, TableSpec> {
    enabled_balancers(config)
        .map(|(_, balancer)| {
            let spec = TableSpec::new(balancer);
            (TableName::new(&spec, config), spec)
        })
        .collect()
}
