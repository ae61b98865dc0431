//! What `lbxdp map dump ROWS --all --json` says.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::Edge;

/// A row in force.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Row {
    /// Its table.
    pub table: String,
    /// Its number in the table.
    pub row: u32,
    /// Its owner, `pool/origin`.
    pub owner: String,
    /// Its owner before, while flows from before are with it.
    pub previous: String,
    /// `lookup`, `insert`, `generation`.
    pub flags: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Entry {
    value: Row,
}

/// All rows in force, with the agent alive or dead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rows(pub Vec<Row>);

impl Rows {
    /// Reads them.
    pub fn of(edge: &Edge) -> Result<Self> {
        let output = edge.lbxdp(&["map", "dump", "ROWS", "--all", "--json"])?;
        if !output.status.success() {
            bail!("rows: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let entries: Vec<Entry> =
            serde_json::from_slice(&output.stdout).context("rows are not as expected")?;
        Ok(Self(entries.into_iter().map(|entry| entry.value).collect()))
    }

    /// Owners by table and row.
    #[must_use]
    pub fn owners(&self) -> BTreeMap<(&str, u32), &str> {
        self.0
            .iter()
            .map(|row| ((row.table.as_str(), row.row), row.owner.as_str()))
            .collect()
    }

    /// How many have this flag.
    #[must_use]
    pub fn flagged(&self, flag: &str) -> usize {
        self.0.iter().filter(|row| row.flags.contains(flag)).count()
    }

    /// How many leave flows from before with this owner.
    #[must_use]
    pub fn kept_to(&self, owner: &str) -> usize {
        let kept = self
            .0
            .iter()
            .filter(|row| row.flags.contains("generation") && row.previous.contains(owner));
        kept.count()
    }

    /// Rows that are not the same in `other`, in words.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut differences: Vec<String> = (self.0.iter().zip(&other.0))
            .filter(|(one, two)| one != two)
            .map(|(one, two)| format!("{one:?} is {two:?}"))
            .collect();
        if self.0.len() != other.0.len() {
            differences.push(format!("{} rows are {}", self.0.len(), other.0.len()));
        }
        differences
    }
}
