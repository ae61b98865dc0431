//! Another configuration.

use std::time::SystemTime;

use super::{Due, Owner};
use crate::agent::load;

impl Owner {
    /// Puts the file's configuration in force, or says why not and stays with the last.
    pub(super) fn reload(&mut self, asked: bool, now: SystemTime) {
        match self.try_reload(now) {
            Ok(true) => {
                self.reload_error = None;
                self.due = Due::all();
                self.settle_probes();
                tracing::info!(
                    generation = self.state.generation(),
                    "the configuration is in force"
                );
            }
            Ok(false) => {
                self.reload_error = None;
                if asked {
                    tracing::info!("the configuration has not changed");
                }
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(
                    "the new configuration is refused, the last one stays in force: {error}"
                );
                self.reload_error = Some(error);
            }
        }
    }

    fn try_reload(&mut self, now: SystemTime) -> anyhow::Result<bool> {
        let loaded = load(&self.options.config)?;
        let (current, next) = (&self.state.config().node, &loaded.config.node);
        if (&current.pin_path, &current.socket) != (&next.pin_path, &next.socket) {
            anyhow::bail!(
                "`node.pin_path` and `node.socket` cannot change while the agent runs: stop it, run \
                 `lbxdp detach`, and start it again"
            );
        }
        if *self.state.config() == loaded.config {
            return Ok(false);
        }
        for warning in &loaded.warnings {
            tracing::warn!("configuration: {warning}");
        }
        // Tried on a copy: what does not fit into the maps must not be in force, since not even a
        // change of health could be written then.
        let mut next = self.state.clone();
        next.replace(loaded.config, self.dataplane.content(), now)?;
        self.fits(&mut next, now)?;
        self.state = next;
        Ok(true)
    }
}
