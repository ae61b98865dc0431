use std::ffi::CString;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, Xdp, XdpMode as AyaMode, loaded_programs};
use tracing::{debug, info, warn};

use super::diagnose;
use super::kernel::link_facts;
use super::netlink::{Netlink, XdpHook};
use super::pins::{pinned_links, unpin};
use super::spec::links_folder;
use super::versions;
use crate::config::model::XdpMode;

/// The program on one interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attachment {
    /// Name of the interface.
    pub interface: String,
    /// Its number.
    pub ifindex: u32,
    /// Where the program sits.
    pub mode: AttachedMode,
    /// With `auto`: why it does not sit in the driver.
    pub fallback: Option<String>,
    /// The kernel's number of the program.
    pub program_id: u32,
}

/// Where a program sits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttachedMode {
    /// In the driver.
    Native,
    /// In the kernel's generic hook.
    Generic,
}

impl AttachedMode {
    /// As configuration and `status` write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }

    const fn of(hook: XdpHook) -> Self {
        match hook {
            XdpHook::Driver | XdpHook::Hardware => Self::Native,
            XdpHook::Generic => Self::Generic,
        }
    }

    const fn aya(self) -> AyaMode {
        match self {
            Self::Native => AyaMode::Driver,
            Self::Generic => AyaMode::Skb,
        }
    }

    const fn suits(self, wanted: XdpMode) -> bool {
        match wanted {
            XdpMode::Auto => true,
            XdpMode::Native => matches!(self, Self::Native),
            XdpMode::Generic => matches!(self, Self::Generic),
        }
    }
}

/// What attaching has come to.
#[derive(Default, Debug)]
pub struct AttachReport {
    /// Interfaces that have the program now.
    pub attached: Vec<Attachment>,
    /// Interfaces that are not configured any more, from which it was taken.
    pub detached: Vec<String>,
    /// Interfaces that do not have it, and why.
    pub failed: Vec<(String, anyhow::Error)>,
}

/// Makes the interfaces run the program, and no others.
pub(super) fn attach(
    program: &mut Xdp,
    pin_path: &Path,
    interfaces: &[String],
    mode: XdpMode,
) -> Result<AttachReport> {
    let links = links_folder(pin_path);
    let netlink = Netlink::open().context("cannot open a netlink socket")?;
    let mut report = AttachReport::default();
    for interface in interfaces {
        versions::take_link(pin_path, interface)?;
        match attach_one(program, &netlink, &links, interface, mode) {
            Ok(attachment) => report.attached.push(attachment),
            Err(error) => report.failed.push((interface.clone(), error)),
        }
    }
    for name in pinned_links(&links)? {
        if !interfaces.contains(&name) {
            unpin(&links.join(&name))?;
            info!(
                interface = name,
                "detached: the interface is not configured any more"
            );
            report.detached.push(name);
        }
    }
    report
        .detached
        .extend(versions::retire(pin_path, interfaces)?);
    Ok(report)
}

fn attach_one(
    program: &mut Xdp,
    netlink: &Netlink,
    links: &Path,
    interface: &str,
    wanted: XdpMode,
) -> Result<Attachment> {
    let ifindex = ifindex_of(interface)?;
    let program_id = program
        .info()
        .context("cannot ask the kernel about the program")?
        .id();
    let pin = links.join(interface);
    let mut attachment = Attachment {
        interface: interface.to_owned(),
        ifindex,
        mode: AttachedMode::Generic,
        fallback: None,
        program_id,
    };
    if pin.exists() {
        let facts = link_facts(&pin)
            .with_context(|| format!("cannot read the pinned link of {interface}"))?;
        let hook = netlink
            .link(ifindex)
            .with_context(|| format!("cannot ask about interface {interface}"))?
            .xdp
            .into_iter()
            .find(|(_, program)| *program == facts.program_id)
            .map(|(hook, _)| AttachedMode::of(hook));
        match hook {
            Some(mode) if facts.ifindex == ifindex && mode.suits(wanted) => {
                if facts.program_id != program_id {
                    replace(program, &pin)?;
                    info!(
                        interface,
                        mode = mode.name(),
                        "replaced the program of the last agent"
                    );
                }
                attachment.mode = mode;
                if mode == AttachedMode::Generic && wanted == XdpMode::Auto {
                    attachment.fallback = Some("it was attached so before".to_owned());
                }
                return Ok(attachment);
            }
            Some(mode) if facts.ifindex == ifindex => {
                warn!(
                    interface,
                    from = mode.name(),
                    "another XDP mode is configured: detaching and attaching again; packets in \
                     between are not balanced"
                );
            }
            Some(_) | None => {
                debug!(interface, "the pinned link is of an interface that is gone");
            }
        }
        unpin(&pin)?;
    }
    let (mode, fallback) = attach_new(program, netlink, &pin, interface, ifindex, wanted)?;
    attachment.mode = mode;
    attachment.fallback = fallback;
    Ok(attachment)
}

/// Puts our program in the place of the one that a pinned link runs; no packet is lost.
fn replace(program: &mut Xdp, pin: &Path) -> Result<()> {
    let link =
        PinnedLink::from_pin(pin).with_context(|| format!("cannot open {}", pin.display()))?;
    let link = XdpLink::try_from(FdLink::from(link))
        .with_context(|| format!("{} is not an XDP link", pin.display()))?;
    let id = program
        .attach_to_link(link)
        .map_err(|error| anyhow!("cannot replace the program: {}", diagnose::chain(&error)))?;
    // The pin holds the link; our descriptor may go.
    drop(program.take_link(id).context("the link was just made")?);
    Ok(())
}

fn attach_new(
    program: &mut Xdp,
    netlink: &Netlink,
    pin: &Path,
    interface: &str,
    ifindex: u32,
    wanted: XdpMode,
) -> Result<(AttachedMode, Option<String>)> {
    let explain = |error: &ProgramError, mode: AttachedMode| {
        let reason = refusal(netlink, ifindex, error, mode);
        anyhow!("cannot attach to {interface} ({}): {reason}", mode.name())
    };
    let (first, fallback) = match wanted {
        XdpMode::Auto => (AttachedMode::Native, true),
        XdpMode::Native => (AttachedMode::Native, false),
        XdpMode::Generic => (AttachedMode::Generic, false),
    };
    match create(program, pin, ifindex, first) {
        Ok(()) => Ok((first, None)),
        Err(CreateError::Attach(error)) if fallback && native_refused(&error) => {
            let reason = refusal(netlink, ifindex, &error, first);
            match create(program, pin, ifindex, AttachedMode::Generic) {
                Ok(()) => Ok((AttachedMode::Generic, Some(reason))),
                Err(CreateError::Attach(error)) => Err(explain(&error, AttachedMode::Generic)),
                Err(CreateError::Pin(error)) => Err(error),
            }
        }
        Err(CreateError::Attach(error)) => Err(explain(&error, first)),
        Err(CreateError::Pin(error)) => Err(error),
    }
}

enum CreateError {
    Attach(ProgramError),
    Pin(anyhow::Error),
}

fn create(
    program: &mut Xdp,
    pin: &Path,
    ifindex: u32,
    mode: AttachedMode,
) -> Result<(), CreateError> {
    let id = program
        .attach_to_if_index(ifindex, mode.aya())
        .map_err(CreateError::Attach)?;
    let link = program.take_link(id).map_err(CreateError::Attach)?;
    let link = FdLink::try_from(link).map_err(|_| {
        CreateError::Pin(anyhow!(
            "this kernel attaches XDP without a link, which cannot outlive the agent: Linux 6.1 \
             or newer is needed"
        ))
    })?;
    link.pin(pin)
        .map(drop)
        .with_context(|| format!("cannot pin the link at {}", pin.display()))
        .map_err(CreateError::Pin)
}

/// Whether generic mode may do where native mode was refused with this.
fn native_refused(error: &ProgramError) -> bool {
    match diagnose::os_error(error) {
        Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ERANGE | libc::ENOSYS) => true,
        Some(_) => false,
        // Of the older way to attach, which only EINVAL leads to.
        None => true,
    }
}

/// Why the kernel does not attach, and what to do.
fn refusal(netlink: &Netlink, ifindex: u32, error: &ProgramError, mode: AttachedMode) -> String {
    match diagnose::os_error(error) {
        Some(libc::EBUSY | libc::EEXIST) => {
            let others = other_programs(netlink, ifindex);
            format!(
                "another XDP program is attached{others}; detach it first (`ip link set dev … xdp \
                 off`, or end what attached it)"
            )
        }
        Some(libc::EOPNOTSUPP) if mode == AttachedMode::Native => {
            "the driver has no native XDP; set xdp_mode = \"generic\" or \"auto\"".to_owned()
        }
        Some(libc::ERANGE) => "the interface's MTU is too large for the driver's XDP; lower the \
                               MTU, or set xdp_mode = \"generic\""
            .to_owned(),
        Some(libc::EINVAL) | None if mode == AttachedMode::Native => format!(
            "the driver refuses ({}): LRO, too many queues or too large an MTU are usual reasons",
            diagnose::chain(error)
        ),
        Some(_) | None => diagnose::chain(error),
    }
}

fn other_programs(netlink: &Netlink, ifindex: u32) -> String {
    let Ok(link) = netlink.link(ifindex) else {
        return String::new();
    };
    let names = link.xdp.iter().map(|(hook, id)| {
        let name = loaded_programs()
            .filter_map(Result::ok)
            .find(|program| program.id() == *id)
            .and_then(|program| program.name_as_str().map(str::to_owned))
            .unwrap_or_default();
        format!(
            "`{name}` (program {id}, {})",
            AttachedMode::of(*hook).name()
        )
    });
    let names: Vec<String> = names.collect();
    if names.is_empty() {
        return String::new();
    }
    format!(": {}", names.join(", "))
}

fn ifindex_of(interface: &str) -> Result<u32> {
    let name = CString::new(interface).context("an interface's name has a zero byte")?;
    nix::net::if_::if_nametoindex(name.as_c_str())
        .map_err(|_| anyhow!("there is no interface {interface} in this network namespace"))
}
