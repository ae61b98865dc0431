//! Keys that load balancing products have and this version does not, with the reason.

/// Why a key of the products is not supported, if it is one.
pub(super) fn key(section: &str, key: &str) -> Option<&'static str> {
    KEYS.iter()
        .find(|(sections, name, _)| *name == key && sections.contains(&section))
        .map(|&(_, _, why)| why)
}

const LB: &[&str] = &["load_balancer"];
const POOL: &[&str] = &["pool"];
const MONITOR: &[&str] = &["monitor"];

const KEYS: &[(&[&str], &str, &str)] = &[
    (
        LB,
        "session_affinity",
        "remove it: a flow stays with its origin by consistent hashing; cookies and headers are not seen at layer 4",
    ),
    (
        LB,
        "session_affinity_ttl",
        "remove it: a flow stays with its origin by consistent hashing",
    ),
    (
        LB,
        "session_affinity_attributes",
        "remove it: a flow stays with its origin by consistent hashing",
    ),
    (
        LB,
        "adaptive_routing",
        "remove it: packets cannot be retried",
    ),
    (LB, "rules", "remove it: requests are not seen at layer 4"),
    (
        LB,
        "pool_sets",
        "remove it, and write a load balancer for each set",
    ),
    (
        LB,
        "region_pools",
        "remove it: the place of clients is not known; write `default_pools`",
    ),
    (
        LB,
        "country_pools",
        "remove it: the place of clients is not known; write `default_pools`",
    ),
    (
        LB,
        "pop_pools",
        "remove it, and give each node its own `default_pools`",
    ),
    (
        LB,
        "proxied",
        "remove it: there is no other way than through this node",
    ),
    (LB, "ttl", "remove it: no DNS answers are given"),
    (
        LB,
        "location_strategy",
        "remove it: no DNS answers are given",
    ),
    (
        POOL,
        "origin_steering",
        "remove it: origins are chosen by consistent hashing of the flow, with weights",
    ),
    (
        POOL,
        "load_shedding",
        "remove it, and lower the weight of its origins",
    ),
    (
        POOL,
        "check_regions",
        "remove it: every node probes for itself",
    ),
    (
        POOL,
        "health_sources",
        "remove it: every node probes for itself",
    ),
    (POOL, "monitor_group", "remove it, and name one `monitor`"),
    (
        POOL,
        "latitude",
        "remove it: there is no proximity steering",
    ),
    (
        POOL,
        "longitude",
        "remove it: there is no proximity steering",
    ),
    (
        POOL,
        "notification_filter",
        "remove it, and alert on the metrics",
    ),
    (
        POOL,
        "notification_email",
        "remove it, and alert on the metrics",
    ),
    (
        MONITOR,
        "follow_redirects",
        "remove it, and put the code of the redirection in `expected_codes`",
    ),
    (
        MONITOR,
        "allow_insecure",
        "remove it: probes do not speak TLS",
    ),
    (
        MONITOR,
        "probe_zone",
        "remove it: probes take the path of the traffic anyway",
    ),
    (
        &["pool.origin"],
        "header",
        "remove it, and put the field in the monitor's `header`",
    ),
    (
        &["pool.origin"],
        "virtual_network_id",
        "name the VNet in `virtual_network`",
    ),
    (
        &["pool.origin"],
        "flatten_cname",
        "remove it: origins are addresses, not names",
    ),
    (&["vnet.tunnel"], "bgp", "remove it, and write `routes`"),
];
