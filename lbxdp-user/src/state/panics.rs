//! Pools that serve although fewer of their origins are healthy than they ask for.

use std::collections::BTreeSet;

use super::State;
use crate::steering::Why;

impl State {
    /// A sentence for each pool that serves in panic, as of the last [`State::desired`]. It is the
    /// same as long as the panic lasts.
    #[must_use]
    pub fn panics(&self) -> Vec<String> {
        let panicking = self.plans.values().filter(|plan| plan.why == Why::Panic);
        let pools: BTreeSet<&String> = panicking.flat_map(|plan| &plan.serving).collect();
        pools
            .into_iter()
            .filter_map(|name| {
                let threshold = self.config.pools.get(name)?.panic_threshold;
                Some(format!(
                    "pool {name} is in panic: less of its weight is healthy than panic_threshold = \
                     {threshold} asks for, so all its origins count as healthy"
                ))
            })
            .collect()
    }
}
