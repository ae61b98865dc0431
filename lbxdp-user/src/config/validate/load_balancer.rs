//! Tables `load_balancer`.

use std::collections::BTreeMap;

use super::address::check_usable;
use super::name;
use crate::config::file::{self, Field, SteeringName};
use crate::config::model::{
    Hash, Listener, LoadBalancer, Pool, Ports, Protocol, Steering, UdpFlows, Vnet,
};
use crate::config::report::{Report, did_you_mean};

pub(super) fn load_balancers(
    written: &[file::LoadBalancer],
    vnets: &BTreeMap<String, Vnet>,
    pools: &BTreeMap<String, Pool>,
    report: &mut Report<'_>,
) -> BTreeMap<String, LoadBalancer> {
    written
        .iter()
        .map(|balancer| {
            let path = &balancer.path;
            let name = name::check(&balancer.name, path, "load balancer", report);
            let default_pools = default_pools(balancer, pools, report);
            let fallback_pool = balancer.fallback_pool.given().cloned();
            if let Some(pool) = &fallback_pool {
                name::exists(
                    pool,
                    pools,
                    &format!("{path}.fallback_pool"),
                    "pool",
                    report,
                );
            }
            let model = LoadBalancer {
                enabled: balancer.enabled.or(true),
                virtual_network: name::virtual_network(
                    &balancer.virtual_network,
                    vnets,
                    path,
                    report,
                ),
                listeners: listeners(balancer, report),
                steering: steering(balancer, &default_pools, report),
                default_pools,
                fallback_pool,
            };
            (name, model)
        })
        .collect()
}

fn listeners(written: &file::LoadBalancer, report: &mut Report<'_>) -> Vec<Listener> {
    let hint = "write `listeners = [{ address = \"…\", port = 80, protocol = \"tcp\" }]`";
    let listeners = written
        .listeners
        .required(&written.path, "listeners", hint, report);
    if listeners.is_some_and(Vec::is_empty) {
        report.error(
            format!("{}.listeners", written.path),
            "the load balancer offers nothing",
            hint,
        );
    }
    listeners
        .into_iter()
        .flatten()
        .filter_map(|listener| self::listener(listener, report))
        .collect()
}

fn listener(written: &file::Listener, report: &mut Report<'_>) -> Option<Listener> {
    let path = &written.path;
    let address = written
        .address
        .required(path, "address", "write the VIP", report)
        .copied();
    let ports = ports(written, report);
    let protocol = written
        .protocol
        .required(path, "protocol", "write \"tcp\" or \"udp\"", report)
        .copied();
    let address =
        address.filter(|&address| check_usable(address, &format!("{path}.address"), report))?;
    let protocol = protocol?;
    if protocol == Protocol::Tcp && !written.udp_flows.is_absent() {
        report.warn(
            format!("{path}.udp_flows"),
            "`udp_flows` has no effect with protocol = \"tcp\"",
            "remove it",
        );
    }
    Some(Listener {
        address,
        ports: ports?,
        protocol,
        hash: written.hash.or(Hash::Flow),
        udp_flows: written.udp_flows.or(UdpFlows::Stick),
    })
}

/// One of `port` and `ports`.
fn ports(written: &file::Listener, report: &mut Report<'_>) -> Option<Ports> {
    let path = &written.path;
    if written.ports.is_absent() {
        let hint = "write a port from 1 to 65535, or `ports = \"8000-8099\"`";
        let port = *written.port.required(path, "port", hint, report)?;
        if port == 0 {
            report.error(
                format!("{path}.port"),
                "0 is no port to listen at",
                "write a port from 1 to 65535, or `ports = \"any\"` for all of them",
            );
        }
        return Some(Ports::One(port));
    }
    if !written.port.is_absent() {
        report.error(
            format!("{path}.ports"),
            "both `port` and `ports` are written",
            "remove one of them",
        );
    }
    written.ports.given().map(|ports| ports.0)
}

fn default_pools(
    written: &file::LoadBalancer,
    pools: &BTreeMap<String, Pool>,
    report: &mut Report<'_>,
) -> Vec<String> {
    let hint = "name at least one pool, the preferred one first";
    let names = written
        .default_pools
        .required(&written.path, "default_pools", hint, report);
    let names = names.cloned().unwrap_or_default();
    let path = format!("{}.default_pools", written.path);
    if names.is_empty() && matches!(written.default_pools, Field::Given(_)) {
        report.error(&path, "no pool is named", hint);
    }
    for (index, pool) in names.iter().enumerate() {
        let path = format!("{path}[{index}]");
        name::exists(pool, pools, &path, "pool", report);
        if names.iter().take(index).any(|other| other == pool) {
            report.error(
                path,
                format!("pool {pool:?} is named twice"),
                "remove one of them",
            );
        }
    }
    names
}

fn steering(
    written: &file::LoadBalancer,
    default_pools: &[String],
    report: &mut Report<'_>,
) -> Steering {
    let weights = written.random_steering.given();
    let default_weight = weights.map_or(1.0, |weights| weights.default_weight.or(1.0));
    let pool_weights = weights
        .and_then(|weights| weights.pool_weights.given())
        .cloned()
        .unwrap_or_default();
    let path = format!("{}.random_steering", written.path);
    check_weight(default_weight, format!("{path}.default_weight"), report);
    for (pool, &weight) in &pool_weights {
        let path = format!("{path}.pool_weights.{pool}");
        check_weight(weight, path.clone(), report);
        if !default_pools.contains(pool) && matches!(written.default_pools, Field::Given(_)) {
            let names = default_pools.iter().map(String::as_str);
            let hint = did_you_mean(pool, names, "they are");
            report.error(
                path,
                format!("pool {pool:?} is not among `default_pools`"),
                hint,
            );
        }
    }
    match written.steering_policy.or(SteeringName::Off) {
        SteeringName::Off => {
            if weights.is_some() && !matches!(written.steering_policy, Field::Wrong) {
                report.warn(
                    path,
                    "`random_steering` has no effect with steering_policy = \"off\"",
                    "write steering_policy = \"random\", or remove it",
                );
            }
            Steering::Off
        }
        SteeringName::Random => {
            let weight = |pool| pool_weights.get(pool).copied().unwrap_or(default_weight);
            if !default_pools.is_empty() && default_pools.iter().all(|pool| weight(pool) == 0.0) {
                report.error(
                    path,
                    "all pools weigh 0, so none would take traffic",
                    "give at least one of `default_pools` a weight above 0",
                );
            }
            Steering::Random {
                default_weight,
                pool_weights,
            }
        }
    }
}

fn check_weight(weight: f64, path: String, report: &mut Report<'_>) {
    if !(0.0..=1.0).contains(&weight) {
        report.error(path, format!("{weight} is out of range"), "from 0 to 1");
    }
}
