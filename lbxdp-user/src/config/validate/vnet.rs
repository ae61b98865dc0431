//! Tables `vnet`, and the numbers of VNets.

use std::collections::BTreeMap;
use std::path::Path;

use lbxdp_ebpf::abi::VnetId;

use super::{name, snat, tunnel};
use crate::config::file;
use crate::config::model::{Node, Vnet};
use crate::config::report::Report;
use crate::fnv;

/// The first number of those that are made from names.
const DERIVED: u32 = 0x6c00_0000;

pub(super) fn vnets(
    written: &[file::Vnet],
    node: &Node,
    folder: Option<&Path>,
    report: &mut Report<'_>,
) -> BTreeMap<String, Vnet> {
    let mut vnets = BTreeMap::new();
    let mut ids: BTreeMap<VnetId, String> = BTreeMap::new();
    for vnet in written {
        let name = name::check(&vnet.name, &vnet.path, "vnet", report);
        if name == name::LOCAL {
            report.error(
                format!("{}.name", vnet.path),
                "`local` is reserved: it is the node's own network and has no tunnels",
                "choose another name",
            );
        }
        let id = id(&name, vnet, report);
        if let Some(other) = ids.get(&id) {
            report.error(
                format!("{}.id", vnet.path),
                format!("vnets {other:?} and {name:?} have the same number {id}"),
                "give one of them another `id`, the same on all nodes",
            );
        }
        ids.insert(id, name.clone());
        let tunnels = tunnel::tunnels(&name, vnet, node, folder, report);
        let snat = snat::ranges(&vnet.snat, &format!("{}.snat", vnet.path), report);
        vnets.insert(name, Vnet { id, snat, tunnels });
    }
    vnets
}

/// The number that is made from a VNet's name: the low 24 bits of its FNV-1a hash, in a range
/// where nobody else has routing tables.
pub(super) fn derived_id(name: &str) -> VnetId {
    VnetId(DERIVED | (fnv::digest_32(name.bytes()) & 0x00ff_ffff))
}

fn id(name: &str, vnet: &file::Vnet, report: &mut Report<'_>) -> VnetId {
    let Some(&id) = vnet.id.given() else {
        return derived_id(name);
    };
    // RT_TABLE_UNSPEC, and RT_TABLE_DEFAULT, RT_TABLE_MAIN, RT_TABLE_LOCAL of linux/rtnetlink.h.
    if id == 0 || (253..=255).contains(&id) {
        report.error(
            format!("{}.id", vnet.path),
            format!("{id} is also the number of the vnet's routing table, and that one is the kernel's own"),
            "choose another, or leave it out: a number is made from the name",
        );
    }
    VnetId(id)
}
