#![forbid(unsafe_code)]
//! From what is and what is to be, the commands that lead from one to the other.

mod command;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use ipnet::IpNet;

pub use command::Command;

use super::desired::{Desired, Family, Route, Scope, Setting, Sysctl};
use super::device::{Device, GuePort};
use super::ipsec::{Policy, State, StateId};
use super::observe::{Link, Observed, REVERSE_PATH_OF_ALL};

/// The way from what is to what is to be, and what stands in it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Plan {
    /// To be executed in this order.
    pub commands: Vec<Command>,
    /// What the agent does not change because it is not its own, or it may not.
    pub problems: Vec<Problem>,
}

/// Something that the agent leaves as it is, and that somebody should know of.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Problem {
    /// The device or interface that it concerns.
    pub subject: String,
    /// What is wrong, and what to do.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.text)
    }
}

/// Plans the way from `observed` to `desired`.
///
/// What is as desired gives no command; so the plan of an executed plan is empty.
#[must_use]
pub fn plan(desired: &Desired, observed: &Observed) -> Plan {
    let mut planner = Planner::new(desired, observed);
    planner.delete_rules();
    planner.delete_routes();
    planner.delete_devices();
    planner.close_gue_ports();
    for device in planner.wanted.clone() {
        planner.device(device);
    }
    planner.delete_policies();
    planner.delete_states();
    planner.add_routes();
    planner.add_rules();
    planner.set_interface_sysctls();
    planner.look_at_reverse_path();
    planner.plan
}

/// Plans the removal of everything that the agent made. Settings of interfaces that are not its
/// own stay as they are.
#[must_use]
pub fn removal(observed: &Observed) -> Plan {
    plan(&Desired::default(), observed)
}

struct Planner<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    /// Devices that can be as desired: their names are not taken by somebody else.
    wanted: Vec<&'a Device>,
    /// Devices of ours that stay.
    kept: BTreeSet<&'a str>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    fn new(desired: &'a Desired, observed: &'a Observed) -> Self {
        let mut plan = Plan::default();
        let mut wanted = Vec::new();
        let mut kept = BTreeSet::new();
        for device in desired.devices.values() {
            if device.is_foreign() {
                match foreign_problem(device, observed.links.get(&device.name)) {
                    None => wanted.push(device),
                    Some(problem) => plan.problems.push(problem),
                }
                continue;
            }
            match observed.links.get(&device.name) {
                Some(link) if !link.is_ours() => plan.problems.push(Problem {
                    subject: device.name.clone(),
                    text: format!(
                        "a link of this name{} exists and was not made by lbxdp, so it is left \
                         alone and tunnel {} has no device: remove it, or give the tunnel another \
                         `device`",
                        (link.kind.as_ref())
                            .map(|kind| format!(" (kind {kind})"))
                            .unwrap_or_default(),
                        device.owner
                    ),
                }),
                Some(link) => {
                    wanted.push(device);
                    if is_same(device, link) {
                        kept.insert(device.name.as_str());
                    }
                }
                None => wanted.push(device),
            }
        }
        Self {
            desired,
            observed,
            wanted,
            kept,
            plan,
        }
    }

    fn do_(&mut self, command: Command) {
        self.plan.commands.push(command);
    }

    fn is_wanted(&self, name: &str) -> bool {
        self.wanted.iter().any(|device| device.name == name)
    }

    fn delete_rules(&mut self) {
        for rule in &self.observed.rules {
            if !(self.desired.rules.contains(rule) && self.is_wanted(&rule.device)) {
                self.do_(Command::DeleteRule(rule.clone()));
            }
        }
    }

    /// Routes through devices that go, go with them.
    fn delete_routes(&mut self) {
        for route in &self.observed.routes {
            let goes = (self.observed.links.get(&route.device))
                .is_some_and(|link| link.is_ours() && !self.kept.contains(route.device.as_str()));
            let stays = self.desired.routes.contains(route) && self.is_wanted(&route.device);
            if !(goes || stays) {
                self.do_(Command::DeleteRoute(route.clone()));
            }
        }
    }

    fn delete_devices(&mut self) {
        for (name, link) in &self.observed.links {
            if link.is_ours() && !self.kept.contains(name.as_str()) {
                self.do_(Command::DeleteDevice {
                    name: name.clone(),
                    index: link.index,
                });
            }
        }
    }

    fn close_gue_ports(&mut self) {
        let wanted: BTreeSet<GuePort> = (self.wanted.iter())
            .filter_map(|device| device.gue_port())
            .collect();
        let left: BTreeSet<GuePort> = (self.observed.links.iter())
            .filter(|(name, link)| link.is_ours() && !self.kept.contains(name.as_str()))
            .filter_map(|(_, link)| GuePort::from_alias(&link.alias))
            .filter(|port| self.observed.gue_ports.contains(port) && !wanted.contains(port))
            .collect();
        for port in left {
            self.do_(Command::CloseGuePort(port));
        }
    }

    fn device(&mut self, device: &Device) {
        if device.is_foreign() {
            self.look_at_foreign_sysctls(device);
            return;
        }
        let seen = (self.observed.links.get(&device.name))
            .filter(|_| self.kept.contains(device.name.as_str()));
        if let Some(port) = device.gue_port()
            && !self.observed.gue_ports.contains(&port)
            && !(self.plan.commands.iter())
                .any(|command| matches!(command, Command::OpenGuePort(open, _) if *open == port))
        {
            self.do_(Command::OpenGuePort(port, device.name.clone()));
        }
        match seen {
            None => self.do_(Command::CreateDevice(device.clone())),
            Some(link) => {
                if link.mtu != u32::from(device.mtu) {
                    self.do_(Command::SetMtu(device.name.clone(), device.mtu));
                }
                if let Some(mac) = device.mac().filter(|mac| link.mac != Some(*mac)) {
                    self.do_(Command::SetMac(device.name.clone(), mac));
                }
            }
        }
        if let Some(wanted) = &device.wireguard {
            let set = (self.observed.wireguard.get(&device.name)).filter(|_| seen.is_some());
            if !set.is_some_and(|set| set.is(wanted, &device.allowed)) {
                self.do_(Command::SetWireguard(device.clone()));
            }
        }
        self.add_states(device);
        self.add_policies(device);
        self.set_device_sysctls(device, seen.is_some());
        if !seen.is_some_and(|link| link.up) {
            self.do_(Command::SetUp(device.name.clone()));
        }
        let none = BTreeSet::new();
        let present = seen.map_or(&none, |link| &link.addresses);
        // With the last IPv4 address the kernel takes away all routes of a device: the new one
        // comes first. IPv6 does not take the same address twice, with two lengths.
        let (v4, v6): (Vec<&IpNet>, Vec<&IpNet>) = present
            .difference(&device.addresses)
            .partition(|address| address.addr().is_ipv4());
        let delete = |address: &&IpNet| Command::DeleteAddress(device.name.clone(), **address);
        self.plan.commands.extend(v6.iter().map(delete));
        for address in device.addresses.difference(present) {
            self.do_(Command::AddAddress(device.name.clone(), *address));
        }
        self.plan.commands.extend(v4.iter().map(delete));
    }

    /// A state cannot be changed: it goes, and comes anew.
    fn add_states(&mut self, device: &Device) {
        for state in State::of(device) {
            if let Some((found, sent)) = self.observed.ipsec.states.get(&state.id) {
                if state.is(found, *sent) {
                    continue;
                }
                self.do_(Command::DeleteState(state.id));
            }
            self.do_(Command::AddState(state, device.name.clone()));
        }
    }

    fn add_policies(&mut self, device: &Device) {
        for policy in Policy::of(device) {
            let mut present = self.observed.ipsec.policies.iter();
            match present.find(|present| present.is_in_place_of(&policy)) {
                Some(present) if *present == policy => continue,
                Some(present) => self.do_(Command::DeletePolicy(present.clone())),
                None => {}
            }
            self.do_(Command::AddPolicy(policy, device.name.clone()));
        }
    }

    /// Those that nothing has come in the place of.
    fn delete_policies(&mut self) {
        let wanted: Vec<Policy> = (self.wanted.iter())
            .flat_map(|device| Policy::of(device))
            .collect();
        for policy in &self.observed.ipsec.policies {
            if !wanted.iter().any(|wanted| wanted.is_in_place_of(policy)) {
                self.do_(Command::DeletePolicy(policy.clone()));
            }
        }
    }

    /// Last, so that others are there when they go.
    fn delete_states(&mut self) {
        let wanted: BTreeSet<StateId> = (self.wanted.iter())
            .flat_map(|device| State::of(device))
            .map(|state| state.id)
            .collect();
        for id in self.observed.ipsec.states.keys() {
            if !wanted.contains(id) {
                self.do_(Command::DeleteState(*id));
            }
        }
    }

    fn set_device_sysctls(&mut self, device: &Device, exists: bool) {
        let prefixes =
            ["ipv4", "ipv6"].map(|version| format!("net/{version}/conf/{}/", device.name));
        for sysctl in &self.desired.sysctls {
            let of_it = prefixes
                .iter()
                .any(|prefix| sysctl.path.starts_with(prefix));
            if !of_it || sysctl.scope != Scope::Device {
                continue;
            }
            if sysctl.path.starts_with("net/ipv6/") && !self.observed.ipv6 {
                continue;
            }
            let value = self.value(sysctl, None);
            let seen = self.observed.sysctls.get(&sysctl.path);
            if !exists || seen != value.as_ref() {
                self.plan
                    .commands
                    .extend(value.map(|value| Command::SetSysctl {
                        path: sysctl.path.clone(),
                        value,
                    }));
            }
        }
        if device.families.v6 && !self.observed.ipv6 {
            self.plan.problems.push(Problem {
                subject: device.name.clone(),
                text: format!(
                    "tunnel {} carries IPv6, which this kernel has not (or it is disabled by \
                     `ipv6.disable=1`)",
                    device.owner
                ),
            });
        }
    }

    /// What the setting comes to; `None` if it is well as it is.
    fn value(&self, sysctl: &Sysctl, seen: Option<&str>) -> Option<String> {
        match sysctl.setting {
            Setting::Is(number) => Some(number.to_string()),
            Setting::WeakestReversePath => {
                let weakest = if self.demands_reverse_path() { 2 } else { 0 };
                Some(weakest.to_string())
            }
            Setting::KeepAdvertisements => (seen == Some("1")).then(|| "2".to_owned()),
        }
    }

    fn demands_reverse_path(&self) -> bool {
        (self.observed.sysctls.get(REVERSE_PATH_OF_ALL)).is_some_and(|value| value != "0")
    }

    fn add_routes(&mut self) {
        let mut missing: Vec<&Route> = (self.desired.routes.iter())
            .filter(|route| self.is_wanted(&route.device))
            .filter(|route| {
                let stays = (self.kept.contains(route.device.as_str()))
                    || (self.desired.devices.get(&route.device)).is_some_and(Device::is_foreign);
                !(self.observed.routes.contains(*route) && stays)
            })
            .collect();
        // A gateway can only be named once the route to it is there.
        missing.sort_by_key(|route| route.via.is_some());
        let foreign: BTreeSet<_> = (self.observed.foreign_routes.iter())
            .map(|route| (route.table, route.prefix, route.metric))
            .collect();
        for route in missing {
            if foreign.contains(&(route.table, route.prefix, route.metric)) {
                self.plan.problems.push(Problem {
                    subject: route.device.clone(),
                    text: format!(
                        "somebody else's route to {} with metric {} is in table {}, which is that \
                         of a VNet, so `{route}` is not added: remove it (`ip route show table {}`)",
                        route.prefix, route.metric, route.table, route.table
                    ),
                });
            } else {
                self.do_(Command::AddRoute(route.clone()));
            }
        }
        for route in &self.observed.foreign_routes {
            let in_the_way = (self.desired.routes.iter()).any(|ours| {
                (ours.table, ours.prefix, ours.metric) == (route.table, route.prefix, route.metric)
            });
            if self.desired.tables().contains(&route.table) && !in_the_way {
                self.plan.problems.push(Problem {
                    subject: format!("table {}", route.table),
                    text: format!(
                        "it belongs to a VNet, but somebody else added a route to {}, which is \
                         left alone and may lead probes astray",
                        route.prefix
                    ),
                });
            }
        }
    }

    fn add_rules(&mut self) {
        for rule in &self.desired.rules {
            let possible = rule.family == Family::V4 || self.observed.ipv6;
            if possible && self.is_wanted(&rule.device) && !self.observed.rules.contains(rule) {
                self.do_(Command::AddRule(rule.clone()));
            }
        }
    }

    fn set_interface_sysctls(&mut self) {
        for sysctl in &self.desired.sysctls {
            if sysctl.scope != Scope::Interface {
                continue;
            }
            let seen = self.observed.sysctls.get(&sysctl.path).map(String::as_str);
            let Some(value) = self.value(sysctl, seen) else {
                continue;
            };
            if seen == Some(value.as_str()) {
                continue;
            }
            let subject = sysctl.path.split('/').nth(3).unwrap_or_default();
            if seen.is_none() {
                self.plan.problems.push(Problem {
                    subject: subject.to_owned(),
                    text: format!(
                        "/proc/sys/{} does not exist: is there such an interface, and does the \
                         kernel speak this IP version?",
                        sysctl.path
                    ),
                });
            } else if self.desired.manage_sysctls {
                self.do_(Command::SetSysctl {
                    path: sysctl.path.clone(),
                    value,
                });
            } else {
                self.plan.problems.push(Problem {
                    subject: subject.to_owned(),
                    text: format!(
                        "replies cannot be routed while {name} is {}: set it (`sysctl -w \
                         {name}={value}`), or let lbxdp do it with `manage_sysctls = true` under \
                         [node]",
                        seen.unwrap_or_default(),
                        name = sysctl.name(),
                    ),
                });
            }
        }
    }

    /// What somebody else's device is set to that probes mind.
    fn look_at_foreign_sysctls(&mut self, device: &Device) {
        let path = format!("net/ipv4/conf/{}/rp_filter", device.name);
        if self.observed.sysctls.get(&path).is_some_and(|is| is == "1") {
            self.plan.problems.push(Problem {
                subject: device.name.clone(),
                text: format!(
                    "its strict reverse path filter drops answers to probes unless the main table \
                     routes their source through it; lbxdp does not change a device of others: set \
                     net.ipv4.conf.{}.rp_filter to 0 or 2",
                    device.name
                ),
            });
        }
    }

    fn look_at_reverse_path(&mut self) {
        let Some(device) = self.wanted.iter().find(|device| device.families.v4) else {
            return;
        };
        if self.demands_reverse_path() {
            self.plan.problems.push(Problem {
                subject: device.name.clone(),
                text: "net.ipv4.conf.all.rp_filter demands reverse path filtering of every \
                       device: lbxdp makes it loose on its own, but answers to probes are still \
                       dropped unless the main table has some route (a default route, say) to \
                       their source; if probes fail, set net.ipv4.conf.all.rp_filter=0"
                    .to_owned(),
            });
        }
    }
}

/// Why a device of somebody else's cannot be used.
fn foreign_problem(device: &Device, link: Option<&Link>) -> Option<Problem> {
    let text = match link {
        None => format!(
            "there is no such device, so tunnel {} carries nothing: whoever manages it must make it; \
             lbxdp does not (kind `device`)",
            device.owner
        ),
        Some(link) if link.is_ours() => {
            "lbxdp made this device for another tunnel: name one that somebody else has made, or \
             write another `kind`"
                .to_owned()
        }
        Some(link) if !link.up => format!(
            "it is down, so tunnel {} carries nothing: whoever manages it must set it up; lbxdp does \
             not (kind `device`)",
            device.owner
        ),
        Some(_) => return None,
    };
    Some(Problem {
        subject: device.name.clone(),
        text,
    })
}

/// Whether a device is what is desired, but for what can be changed in place.
fn is_same(device: &Device, link: &Link) -> bool {
    link.kind.as_deref() == Some(device.link_kind().name()) && link.alias == device.alias()
}
