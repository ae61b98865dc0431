//! Tables `pool.origin`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::address::{check_usable, private_range};
use super::name::{self, LOCAL};
use crate::config::file::{self, Field};
use crate::config::model::{Carries, DsrEncapsulation, Forwarding, Origin, Vnet};
use crate::config::report::Report;

pub(super) fn origins(
    written: &Field<Vec<file::Origin>>,
    pool: &str,
    forwarding: Option<Forwarding>,
    vnets: &BTreeMap<String, Vnet>,
    report: &mut Report<'_>,
) -> BTreeMap<String, Origin> {
    if written.elements().is_empty() && !matches!(written, Field::Wrong) {
        report.error(
            format!("{pool}.origin"),
            "the pool has no origin",
            "add a table `[[pool.origin]]`, or remove the pool",
        );
    }
    let mut origins = BTreeMap::new();
    let mut places: BTreeMap<(IpAddr, u16, Option<String>), String> = BTreeMap::new();
    for written in written.elements() {
        let name = name::check(&written.name, &written.path, "origin of this pool", report);
        let Some(origin) = self::origin(written, forwarding, vnets, report) else {
            continue;
        };
        let place = (origin.address, origin.port, origin.virtual_network.clone());
        if let Some(other) = places.get(&place) {
            report.error(
                format!("{}.address", written.path),
                format!("origins {other:?} and {name:?} are the same: same vnet, address and port"),
                "remove one of them; a greater share is a greater `weight`",
            );
        }
        places.insert(place, name.clone());
        origins.insert(name, origin);
    }
    origins
}

fn origin(
    written: &file::Origin,
    forwarding: Option<Forwarding>,
    vnets: &BTreeMap<String, Vnet>,
    report: &mut Report<'_>,
) -> Option<Origin> {
    let path = &written.path;
    let weight = written.weight.or(1.0);
    if !(0.0..=1.0).contains(&weight) {
        report.error(
            format!("{path}.weight"),
            format!("{weight} is out of range"),
            "from 0 to 1: weights are relative to those of the other origins of the pool",
        );
    }
    let virtual_network = name::virtual_network(&written.virtual_network, vnets, path, report);
    if let Some(forwarding) = forwarding {
        check_dsr(written, forwarding, virtual_network.as_deref(), report);
    }
    let hint = "write the origin's address in its vnet";
    let address = *written.address.required(path, "address", hint, report)?;
    let at = format!("{path}.address");
    if !check_usable(address, &at, report) {
        return None;
    }
    if written.virtual_network.is_absent()
        && let Some(range) = private_range(address)
    {
        let known: Vec<String> = vnets.keys().map(|name| format!("{name:?}")).collect();
        let which = if known.is_empty() {
            "`virtual_network = \"NAME\"` (no vnet is configured yet)".to_owned()
        } else {
            format!("`virtual_network` ({})", known.join(", "))
        };
        report.error(
            at,
            format!("{address} is a private address ({range}): it means something only within a network, and the origin does not say in which"),
            format!("name its vnet in {which}, or write `virtual_network = \"{LOCAL}\"` if the node itself reaches it"),
        );
        return None;
    }
    Some(Origin {
        address,
        port: written.port.or(0),
        enabled: written.enabled.or(true),
        weight,
        virtual_network,
        inner_mac: written.inner_mac.given().map(|mac| mac.0),
    })
}

fn check_dsr(
    written: &file::Origin,
    forwarding: Forwarding,
    vnet: Option<&str>,
    report: &mut Report<'_>,
) {
    let path = &written.path;
    let ethernet = match forwarding {
        Forwarding::NatPreserve | Forwarding::NatSnat => None,
        Forwarding::Dsr(DsrEncapsulation::Vxlan { .. }) => Some("vxlan"),
        Forwarding::Dsr(DsrEncapsulation::Geneve {
            carries: Carries::Ethernet,
            ..
        }) => Some("geneve"),
        Forwarding::Dsr(
            DsrEncapsulation::L2
            | DsrEncapsulation::IpIp
            | DsrEncapsulation::Gre { .. }
            | DsrEncapsulation::Fou { .. }
            | DsrEncapsulation::Gue { .. }
            | DsrEncapsulation::Geneve {
                carries: Carries::Ip,
                ..
            },
        ) => None,
    };
    if let (Forwarding::Dsr(_), Some(vnet)) = (forwarding, vnet) {
        report.error(
            format!("{path}.virtual_network"),
            format!("forwarding = \"dsr\" encapsulates to the origin itself, which the node must reach in its own network; this one is in vnet {vnet:?}"),
            "use forwarding = \"nat\" for origins in a vnet",
        );
    }
    if let Some(kind) = ethernet {
        let hint = format!(
            "write the MAC address of the origin's own {kind} device: the packet is in an Ethernet frame for it"
        );
        written.inner_mac.required(path, "inner_mac", &hint, report);
    } else if written.inner_mac.given().is_some() {
        report.error(
            format!("{path}.inner_mac"),
            "`inner_mac` has a meaning for forwarding = \"dsr\" with vxlan or geneve that carries Ethernet only",
            "remove it",
        );
    }
}
