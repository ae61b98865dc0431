//! From what was written to what it means.
//!
//! Every step goes on after a mistake with the best it has, so that all mistakes are reported;
//! what is returned is a configuration only if none was. A check that builds on something faulty
//! is skipped, so that one mistake is reported once.

mod address;
mod all_down;
mod capacity;
mod clients;
mod encapsulation;
mod load_balancer;
mod metrics;
mod monitor;
mod name;
mod node;
mod origin;
mod pool;
mod reach;
mod service;
mod snat;
mod timing;
mod tunnel;
mod tunnels;
mod unused;
mod vnet;

use std::path::Path;

use super::file::File;
use super::model::Config;
use super::report::Report;

/// Reports all that contradicts the model, and returns what it means otherwise.
///
/// `folder` is where relative files of keys are looked for.
pub(super) fn validate(file: &File, folder: Option<&Path>, report: &mut Report<'_>) -> Config {
    let node = node::node(&file.node, folder, report);
    let vnets = vnet::vnets(file.vnet.elements(), &node, folder, report);
    let monitors = monitor::monitors(file.monitor.elements(), report);
    let pools = pool::pools(file.pool.elements(), &vnets, &monitors, report);
    let load_balancers =
        load_balancer::load_balancers(file.load_balancer.elements(), &vnets, &pools, report);
    let config = Config {
        node,
        vnets,
        monitors,
        pools,
        load_balancers,
    };
    all_down::check(&config, report);
    tunnels::check(&config, report);
    clients::check(&config, report);
    reach::check(&config, report);
    service::check(&config, report);
    snat::check(&config, report);
    metrics::check(&config, report);
    capacity::check(&config, report);
    unused::check(&config, report);
    config
}
