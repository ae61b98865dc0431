//! What could not be brought about.

use std::collections::BTreeMap;

/// Parts of the agent that can fail on their own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Part {
    Links,
    Carrier,
    Vlans,
    Probes,
    Maps,
    Filters,
    Attachment,
    Sessions,
    Flows,
    Metrics,
    Pools,
}

impl Part {
    /// Whether its problems are those of others: the agent does what it should.
    const fn is_warning(self) -> bool {
        match self {
            Self::Links
            | Self::Probes
            | Self::Maps
            | Self::Filters
            | Self::Attachment
            | Self::Sessions
            | Self::Flows
            | Self::Metrics => false,
            Self::Carrier | Self::Vlans | Self::Pools => true,
        }
    }
}

/// Standing problems, by the part of the agent that says so.
#[derive(Default, Debug)]
pub(super) struct Problems(BTreeMap<Part, Vec<String>>);

impl Problems {
    /// Replaces the problems of a part, and logs those that appear and those that are gone: not
    /// as long as they last.
    pub(super) fn set(&mut self, part: Part, problems: Vec<String>) {
        let before = self.0.remove(&part).unwrap_or_default();
        for problem in problems.iter().filter(|problem| !before.contains(problem)) {
            if part.is_warning() {
                tracing::warn!("{problem}");
            } else {
                tracing::error!("{problem}");
            }
        }
        for problem in before.iter().filter(|problem| !problems.contains(problem)) {
            tracing::info!("no longer: {problem}");
        }
        if !problems.is_empty() {
            self.0.insert(part, problems);
        }
    }

    /// The problems of a part.
    pub(super) fn of(&self, part: Part) -> &[String] {
        self.0.get(&part).map_or(&[], Vec::as_slice)
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &String> {
        self.0.values().flatten()
    }
}
