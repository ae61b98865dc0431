//! How large the maps must be for a configuration.

use std::collections::BTreeMap;

use lbxdp_ebpf::abi::Origin;

use super::{Hops, Tables, assign_slots, desired};
use crate::config::model::Config;
use crate::dataplane::{Content, MapSpec};
use crate::slots::{OutOfSlots, Slots};

/// Entries of the maps that follow the configuration, by name: what it needs and a quarter more,
/// so that it may be edited while the agent runs, and never fewer than the object declares.
///
/// # Errors
/// When it needs more than can be numbered.
pub fn map_sizes(config: &Config) -> Result<BTreeMap<&'static str, u32>, OutOfSlots> {
    let mut slots = Slots::default();
    let tables = Tables::assign(config, &Content::default());
    assign_slots(config, &tables, &mut slots)?;
    // Next hops do not add entries, except peers of devices, of which each tunnel has one at most.
    let desired = desired(config, &tables, &slots, &Hops::new());
    let tunnels = config.vnets.values().map(|vnet| vnet.tunnels.len()).sum();
    let count = tables.all().count();
    let rows = tables.all().map(|table| 2 * table.size as usize).sum();
    let origins = desired.origins.len();
    let listeners: usize = super::enabled_balancers(config)
        .map(|(_, balancer)| balancer.listeners.len())
        .sum();
    let named = config.vnets.len() + tunnels + origins + listeners + count;
    let needs = [
        ("LISTENERS", desired.listeners.len()),
        ("LISTENER_COUNTERS", listeners),
        ("REVERSE", desired.reverse.len()),
        ("TABLES", count),
        ("ROWS", rows),
        ("OWNERS", rows / 2 + 1),
        ("ORIGINS", origins),
        ("ORIGIN_COUNTERS", origins),
        ("PEERS", tunnels),
        ("TUNNELS", tunnels),
        ("TUNNEL_COUNTERS", tunnels),
        ("ROUTES", desired.routes.len()),
        ("RANGES", desired.ranges.len()),
        ("ENTITIES", named),
    ];
    Ok(needs
        .into_iter()
        .filter_map(|(name, needed)| Some((name, roomy(MapSpec::named(name)?, needed))))
        .collect())
}

fn roomy(spec: &MapSpec, needed: usize) -> u32 {
    let wanted = u32::try_from(needed + needed / 4).unwrap_or(u32::MAX);
    let most = match spec.name {
        // Slots behind these cannot be named.
        "ORIGINS" | "ORIGIN_COUNTERS" | "TUNNELS" | "TUNNEL_COUNTERS" => u32::from(Origin::NONE),
        _ => u32::MAX,
    };
    wanted.min(most).max(spec.max_entries)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use super::*;
    use crate::config;

    const EXAMPLE: &str = include_str!("../../examples/vnets.toml");

    fn sizes(text: &str) -> BTreeMap<&'static str, u32> {
        let config = config::parse(text, Path::new("/")).expect("a good configuration");
        map_sizes(&config.config).expect("it can be numbered")
    }

    #[test]
    fn a_small_configuration_has_the_maps_that_the_object_declares() {
        for (name, entries) in sizes(EXAMPLE) {
            let spec = MapSpec::named(name).expect("a map of the ABI");
            assert_eq!(entries, spec.max_entries, "{name}");
        }
    }

    #[test]
    fn a_large_one_has_what_it_needs_and_a_quarter_more() {
        let mut text = EXAMPLE.to_owned();
        for pool in 0..200 {
            let _ = write!(
                text,
                "[[load_balancer]]\nname = \"lb{pool}\"\ndefault_pools = [\"p{pool}\"]\n\
                 listeners = [{{ address = \"198.51.100.20\", port = {}, protocol = \"tcp\" }}]\n\
                 [[pool]]\nname = \"p{pool}\"\n",
                pool + 1
            );
            for origin in 0..100 {
                let _ = write!(
                    text,
                    "[[pool.origin]]\nname = \"o{origin}\"\naddress = \"10.1.{pool}.{origin}\"\n\
                     virtual_network = \"blue\"\n"
                );
            }
        }
        let sizes = sizes(&text);
        let origins = 20_000 + 4;
        assert_eq!(sizes["ORIGINS"], origins + origins / 4);
        assert_eq!(sizes["ORIGIN_COUNTERS"], sizes["ORIGINS"]);
        let rows = 2 * (200 * 16_381 + 2 * 4_093);
        assert_eq!(sizes["ROWS"], rows + rows / 4);
        assert_eq!(sizes["TABLES"], 1_024, "enough as declared");
    }
}
