//! The program on the node's interfaces.

use super::Owner;
use super::problems::Part;
use std::collections::BTreeMap;

use crate::api;
use crate::config::model::Config;
use crate::dataplane::{AttachReport, Attachment, Role};

impl Owner {
    /// Whether programs of another version of the map ABI run: they go on until our maps hold what
    /// they should.
    pub(super) fn takes_over(&self) -> bool {
        // That the pins cannot be read is what attaching will say.
        self.dataplane.other_version_runs().unwrap_or_default()
    }

    pub(super) fn settle_attachment(&mut self) {
        let node = &self.state.config().node;
        let problems = match self.dataplane.attach(&node.interfaces, node.xdp_mode) {
            Ok(AttachReport {
                mut attached,
                detached: _,
                failed,
            }) => {
                keep_reasons(&mut attached, &self.attachments);
                self.log_attachments(&attached);
                self.attachments = attached;
                failed
                    .iter()
                    .map(|(interface, error)| {
                        format!("the program is not attached to {interface}: {error:#}")
                    })
                    .collect()
            }
            Err(error) => vec![format!("the program is not attached: {error:#}")],
        };
        self.problems.set(Part::Attachment, problems);
    }

    /// The TC programs beside it, and on tunnels' devices.
    pub(super) fn settle_filters(&mut self) {
        let filters = filters(self.state.config());
        let problems = match self.dataplane.attach_filters(&filters) {
            Ok(failed) => failed
                .iter()
                .map(|(interface, error)| {
                    format!(
                        "the TC program is not attached to {interface}, so what is handed over to \
                         tunnels' devices is lost: {error:#}"
                    )
                })
                .collect(),
            Err(error) => vec![format!("the TC programs are not attached: {error:#}")],
        };
        self.problems.set(Part::Filters, problems);
    }

    fn log_attachments(&self, attached: &[Attachment]) {
        for attachment in attached {
            if self.attachments.contains(attachment) {
                continue;
            }
            let interface = &attachment.interface;
            let mode = attachment.mode.name();
            match &attachment.fallback {
                None => tracing::info!(interface, mode, "the program is attached"),
                Some(why) => tracing::warn!(
                    interface,
                    mode,
                    why,
                    "the program is attached in the slower generic mode"
                ),
            }
        }
    }

    pub(super) fn interfaces(&self) -> Vec<api::Interface> {
        let configured = &self.state.config().node.interfaces;
        configured
            .iter()
            .map(|name| {
                let attachment = self.attachments.iter().find(|at| at.interface == *name);
                api::Interface {
                    name: name.clone(),
                    mode: attachment
                        .map_or("detached", |at| at.mode.name())
                        .to_owned(),
                }
            })
            .collect()
    }
}

/// Where a configuration wants the TC programs: on each tunnel that is a device, and, if there is
/// one, on the interfaces of the XDP program.
fn filters(config: &Config) -> BTreeMap<String, Role> {
    let tunnels = config.vnets.values().flat_map(|vnet| vnet.tunnels.values());
    let devices = tunnels.filter(|tunnel| tunnel.kind.is_device());
    let mut filters: BTreeMap<String, Role> = devices
        .map(|tunnel| (tunnel.device.clone(), Role::Device))
        .collect();
    if !filters.is_empty() {
        let interfaces = config.node.interfaces.iter();
        filters.extend(interfaces.map(|interface| (interface.clone(), Role::HandOver)));
    }
    filters
}

/// Why the driver has refused is known only to the call that has tried it.
fn keep_reasons(attached: &mut [Attachment], known: &[Attachment]) {
    for attachment in attached {
        let same = known.iter().find(|known| {
            (&known.interface, known.ifindex, known.mode)
                == (&attachment.interface, attachment.ifindex, attachment.mode)
        });
        if let Some(known) = same {
            attachment.fallback.clone_from(&known.fallback);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::dataplane::AttachedMode;

    pub(in crate::agent::owner) fn attachment(ifindex: u32, fallback: &str) -> Attachment {
        Attachment {
            interface: "eth0".to_owned(),
            ifindex,
            mode: AttachedMode::Generic,
            fallback: Some(fallback.to_owned()),
            program_id: 1,
        }
    }

    #[test]
    fn the_driver_s_own_reason_stays_as_long_as_the_attachment() {
        let known = [attachment(2, "no native XDP")];
        let mut again = [attachment(2, "it was so before")];
        keep_reasons(&mut again, &known);
        assert_eq!(again, known);
        let mut new_device = [attachment(3, "it was so before")];
        keep_reasons(&mut new_device, &known);
        assert_eq!(new_device, [attachment(3, "it was so before")]);
    }
}
