//! Where metrics are served.

use super::Owner;
use super::problems::Part;
use crate::agent::exporter::Exporter;

impl Owner {
    /// Serves metrics where the configuration says, and nowhere else.
    pub(super) async fn settle_metrics(&mut self) {
        let wanted = self.state.config().node.metrics_listen;
        if self.exporter.as_ref().map(Exporter::address) == wanted {
            self.problems.set(Part::Metrics, Vec::new());
            return;
        }
        // Before the next one listens: their addresses may be the same but for one being any.
        if let Some(exporter) = self.exporter.take() {
            exporter.stop().await;
        }
        let Some(address) = wanted else {
            self.problems.set(Part::Metrics, Vec::new());
            return;
        };
        let pin_path = self.dataplane.pin_path().to_owned();
        let problems = match Exporter::listen(address, self.events.clone(), pin_path) {
            Ok(exporter) => {
                tracing::info!("metrics are served at http://{address}/metrics");
                self.exporter = Some(exporter);
                Vec::new()
            }
            Err(error) => vec![format!(
                "metrics are not served at {address} (`node.metrics_listen`): {error:#}"
            )],
        };
        self.problems.set(Part::Metrics, problems);
    }
}
