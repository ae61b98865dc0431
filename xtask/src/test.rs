//! Runs the tests, ring by ring.

pub(crate) mod libtest;
mod rings;
pub(crate) mod summary;

use std::env;
use std::process::ExitCode;

use anyhow::Result;

use crate::cli::{Ring, Selection};
use crate::ebpf::{self, Object, Warnings};
use crate::host::{self, Profile};
use crate::progress::{bold, yellow};
use crate::setup;
use crate::test::rings::Targets;
use crate::test::summary::Summary;
use crate::vm;
use crate::workspace::Workspace;

/// The verb `test`.
///
/// A skip is a failure as root with CI set, since such a machine can run all: what its own kernel
/// lacks, a stock kernel has.
pub(crate) fn run(workspace: &Workspace, selection: &Selection) -> Result<ExitCode> {
    let root = nix::unistd::geteuid().is_root();
    let strict = root && is_set(env::var("CI").ok().as_deref());
    let rings: Vec<Ring> = Ring::ALL
        .into_iter()
        .filter(|ring| selection.rings.is_empty() || selection.rings.contains(ring))
        .collect();

    let mut summary = Summary::default();
    // What cannot be set up without root is named; the tests that need it say so.
    if let Err(error) = set_up(workspace) {
        if root {
            summary.fail(rings[0], "set-up", &format!("{error:#}"));
        } else {
            println!("{} {error:#}", yellow("going on without:"));
        }
    } else {
        for object in [Object::Shipped, Object::Bench] {
            if let Err(error) = ebpf::build(workspace, object, Warnings::Shown) {
                summary.fail(rings[0], "the eBPF object", &format!("{error:#}"));
            }
        }
    }
    let mut lbxdp = None;
    if root && (rings.contains(&Ring::Netns) || rings.contains(&Ring::Vm)) {
        match host::build(workspace, "lbxdp-user", "lbxdp", Profile::Dev) {
            Ok(path) => lbxdp = Some(path),
            Err(error) => summary.fail(rings[0], "lbxdp", &format!("{error:#}")),
        }
    }

    let targets = Targets::of(workspace)?;
    for ring in rings {
        println!("\n{}", bold(&format!("ring {}", ring.name())));
        if ring.needs_root() && !root {
            println!("left out: it needs root");
            rings::leave_out(workspace, ring, &targets, selection, &mut summary)?;
        } else if ring == Ring::Vm {
            let wanted = vm::Wanted {
                kernels: &[],
                filters: vm::filters(&selection.filter),
                verbose: selection.verbose,
            };
            // Without the agent there is a failure already.
            if let Some(lbxdp) = &lbxdp {
                vm::ring(workspace, &wanted, lbxdp, &mut summary)?;
            }
        } else {
            rings::run(
                workspace,
                ring,
                &targets,
                selection,
                lbxdp.as_deref(),
                &mut summary,
            )?;
        }
    }
    Ok(summary.finish(strict))
}

fn set_up(workspace: &Workspace) -> Result<()> {
    setup::tools()?;
    setup::toolchain(workspace).map(|_| ())
}

/// Whether a variable such as `CI` says yes.
fn is_set(value: Option<&str>) -> bool {
    value.is_some_and(|value| !matches!(value, "" | "0" | "false"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ci_is_set_unless_it_says_no() {
        assert!(is_set(Some("true")) && is_set(Some("1")));
        assert!(!is_set(None) && !is_set(Some("")) && !is_set(Some("false")));
    }
}
