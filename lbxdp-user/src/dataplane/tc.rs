//! The TC programs: filters on the ingress of interfaces and devices.
//!
//! They sit in a `clsact` qdisc, which every kernel has (the newer tcx is not in Linux 6.1), and
//! outlive the agent as the qdisc does. What is ours is known by priority, handle and name; filters
//! of others, before and behind, stay as they are. A qdisc is removed only if lbxdp has made it (a
//! folder below the pins says so) and no filter is left in it.

mod message;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use aya::Ebpf;
use aya::programs::SchedClassifier;
use tracing::{debug, info};

use super::diagnose;
use super::spec::versioned;
use message::{Filter, Tc};

/// Which program a filter is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// On an interface of the XDP program: sends into devices what that has handed over.
    HandOver,
    /// On a device that is a tunnel: sends answers to clients.
    Device,
}

impl Role {
    /// The program's name in the object, and the filter's.
    const fn name(self) -> &'static str {
        match self {
            Self::HandOver => "lbxdp_handover",
            Self::Device => "lbxdp_device",
        }
    }

    fn of(filter: &Filter) -> Option<Self> {
        [Self::HandOver, Self::Device]
            .into_iter()
            .find(|role| filter.is_ours() && filter.name == role.name())
    }
}

/// The filters that there are to be, and those that are known to be there.
#[derive(Default)]
pub(super) struct Filters {
    /// Interfaces by number, with what is on them; `None` before the first look.
    known: Option<BTreeMap<u32, Role>>,
}

impl Filters {
    /// Makes the interfaces have these filters, and no others; says where that failed.
    pub(super) fn attach(
        &mut self,
        ebpf: &mut Ebpf,
        pin_path: &Path,
        wanted: &BTreeMap<String, Role>,
    ) -> Result<Vec<(String, anyhow::Error)>> {
        if wanted.is_empty() && self.known.as_ref().is_some_and(BTreeMap::is_empty) {
            return Ok(Vec::new());
        }
        let tc = Tc::open().context("cannot open a netlink socket")?;
        let mut known = match self.known.take() {
            Some(known) => known,
            None => all(&tc),
        };
        let mut failed = Vec::new();
        let mut attached = BTreeMap::new();
        for (interface, role) in wanted {
            // One that is not there is spoken of elsewhere.
            let Ok(ifindex) = nix::net::if_::if_nametoindex(interface.as_str()) else {
                continue;
            };
            let known = known.remove(&ifindex);
            match put(&tc, ebpf, pin_path, ifindex, *role) {
                Ok(new) => {
                    attached.insert(ifindex, *role);
                    if new {
                        info!(
                            interface,
                            program = role.name(),
                            "the TC program is attached"
                        );
                    }
                }
                Err(error) => {
                    attached.extend(known.map(|role| (ifindex, role)));
                    failed.push((interface.clone(), error));
                }
            }
        }
        for (ifindex, role) in known {
            match take(&tc, pin_path, ifindex) {
                Ok(()) => info!(ifindex, program = role.name(), "the TC program is detached"),
                Err(error) => {
                    debug!(ifindex, %error, "the TC program is not detached: tried again");
                    attached.insert(ifindex, role);
                }
            }
        }
        self.known = Some(attached);
        Ok(failed)
    }
}

/// Removes all filters of ours; says from which interfaces.
///
/// # Errors
/// When one cannot be removed.
pub(super) fn remove_all(pin_path: &Path) -> Result<Vec<String>> {
    let tc = Tc::open().context("cannot open a netlink socket")?;
    let mut names = Vec::new();
    for (ifindex, _) in all(&tc) {
        let name = super::interface_name(ifindex);
        take(&tc, pin_path, ifindex).with_context(|| format!("interface {name}"))?;
        names.push(name);
    }
    remove_marks(pin_path)?;
    Ok(names)
}

/// All interfaces that have a filter of ours.
fn all(tc: &Tc) -> BTreeMap<u32, Role> {
    let interfaces = nix::net::if_::if_nameindex();
    let mut found = BTreeMap::new();
    for interface in interfaces.iter().flat_map(|interfaces| interfaces.iter()) {
        let filters = tc.ingress(interface.index()).unwrap_or_default();
        if let Some(role) = filters.iter().find_map(Role::of) {
            found.insert(interface.index(), role);
        }
    }
    found
}

/// Puts the filter of a role on an interface, in the place of one that has another program; says
/// whether there was none.
fn put(tc: &Tc, ebpf: &mut Ebpf, pin_path: &Path, ifindex: u32, role: Role) -> Result<bool> {
    let program = program(ebpf, role)?;
    let id = program.info().context("cannot ask about the program")?.id();
    let filters = tc.ingress(ifindex).unwrap_or_default();
    let ours = filters.iter().find(|filter| filter.is_ours());
    if ours.is_some_and(|filter| filter.name == role.name() && filter.program_id == id) {
        return Ok(false);
    }
    if ours.is_none() {
        match tc.add_clsact(ifindex) {
            Ok(()) => mark(pin_path, ifindex)?,
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            Err(error) => return Err(error).context(NO_CLSACT),
        }
    }
    let fd = program.fd().context("the program is not loaded")?;
    tc.put(ifindex, fd.as_fd().as_raw_fd(), role.name())
        .context("the kernel refuses the filter")?;
    Ok(ours.is_none())
}

const NO_CLSACT: &str = "the kernel refuses a clsact qdisc (is CONFIG_NET_SCH_INGRESS, module \
                         sch_ingress, there, and CONFIG_NET_CLS_BPF, module cls_bpf?)";

/// Takes our filter from an interface, and our qdisc if nobody else uses it.
fn take(tc: &Tc, pin_path: &Path, ifindex: u32) -> Result<()> {
    tc.remove(ifindex).context("the filter is not removed")?;
    let mark = mark_of(pin_path, ifindex);
    if mark.exists() {
        if tc.ingress(ifindex)?.is_empty() && tc.egress(ifindex)?.is_empty() {
            match tc.remove_clsact(ifindex) {
                // Somebody has removed it before, or the interface, which may come back by another
                // number.
                Err(error)
                    if matches!(
                        error.raw_os_error(),
                        Some(libc::ENODEV | libc::ENOENT | libc::EINVAL)
                    ) => {}
                removed => removed.context("the clsact qdisc is not removed")?,
            }
        }
        fs::remove_dir(&mark).with_context(|| format!("cannot remove {}", mark.display()))?;
    }
    Ok(())
}

/// The program of a role, loaded.
fn program(ebpf: &mut Ebpf, role: Role) -> Result<&mut SchedClassifier> {
    let name = role.name();
    let program: &mut SchedClassifier = ebpf
        .program_mut(name)
        .with_context(|| format!("the eBPF object has no program {name}"))?
        .try_into()
        .with_context(|| format!("program {name} of the eBPF object is not a TC program"))?;
    if program.fd().is_err() {
        program
            .load()
            .map_err(|error| anyhow!("{name}: {}", diagnose::chain(&error)))?;
    }
    Ok(program)
}

/// Where it is kept that a qdisc is ours.
fn marks(pin_path: &Path) -> PathBuf {
    versioned(pin_path).join("clsact")
}

fn mark_of(pin_path: &Path, ifindex: u32) -> PathBuf {
    marks(pin_path).join(ifindex.to_string())
}

fn mark(pin_path: &Path, ifindex: u32) -> Result<()> {
    let mark = mark_of(pin_path, ifindex);
    fs::create_dir_all(&mark).with_context(|| format!("cannot make {}", mark.display()))
}

/// Marks that are left are of interfaces that are gone.
fn remove_marks(pin_path: &Path) -> Result<()> {
    let marks = marks(pin_path);
    let context = || format!("cannot remove {}", marks.display());
    let entries = match fs::read_dir(&marks) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(context),
    };
    for entry in entries {
        fs::remove_dir(entry.with_context(context)?.path()).with_context(context)?;
    }
    fs::remove_dir(&marks).with_context(context)
}
