//! Executing a plan.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;

use anyhow::Result;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};

use super::desired::Desired;
use super::diagnosis::diagnose;
use super::network::{Network, Refusal};
use super::plan::{Command, removal};
use super::{fou, ipsec, message, wireguard};

/// A command that could not be executed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The device, interface or table that it concerns.
    pub subject: String,
    /// What was to be done.
    pub command: String,
    /// Why it was not, and what to do.
    pub cause: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.command, self.cause)
    }
}

impl Network {
    /// Executes commands in their order.
    ///
    /// What fails does not stop the rest, but for further commands on a device that could not be
    /// made or set up. What is already gone counts as deleted.
    pub async fn apply(&self, commands: Vec<Command>) -> Vec<Failure> {
        let mut failures = Vec::new();
        let mut lost = BTreeSet::new();
        for command in commands {
            let subject = command.subject().to_owned();
            if lost.contains(&subject) {
                continue;
            }
            if let Err(refusal) = self.execute(&command).await {
                match command {
                    Command::CreateDevice(_)
                    | Command::SetWireguard(_)
                    | Command::OpenGuePort(..)
                    | Command::AddState(..)
                    | Command::AddPolicy(..)
                    | Command::SetUp(_) => {
                        lost.insert(subject.clone());
                    }
                    Command::DeleteRule(_)
                    | Command::DeleteRoute(_)
                    | Command::DeleteDevice { .. }
                    | Command::CloseGuePort(_)
                    | Command::DeleteState(_)
                    | Command::DeletePolicy(_)
                    | Command::SetMtu(..)
                    | Command::SetMac(..)
                    | Command::SetSysctl { .. }
                    | Command::AddAddress(..)
                    | Command::DeleteAddress(..)
                    | Command::AddRoute(_)
                    | Command::AddRule(_) => {}
                }
                failures.push(Failure {
                    subject,
                    command: command.to_string(),
                    cause: diagnose(&command, &refusal),
                });
            }
        }
        failures
    }

    /// Removes everything that the agent made, whatever is configured. Settings of interfaces that
    /// are not its own (`forwarding`) stay as they are.
    ///
    /// # Errors
    ///
    /// When the kernel cannot be asked what there is.
    pub async fn remove_all(&self) -> Result<Vec<Failure>> {
        let mut observed = self.observe(&Desired::default()).await?;
        // Also where somebody else has removed the device that they were for.
        observed.ipsec = ipsec::installed().unwrap_or_default();
        Ok(self.apply(removal(&observed).commands).await)
    }

    async fn execute(&self, command: &Command) -> std::result::Result<(), Refusal> {
        use RouteNetlinkMessage as Message;

        const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;
        match command {
            Command::DeleteRule(rule) => {
                gone(self.change(Message::DelRule(message::rule(rule)), 0).await)
            }
            Command::AddRule(rule) => {
                self.change(Message::NewRule(message::rule(rule)), NEW)
                    .await
            }
            Command::DeleteRoute(route) => match self.index(&route.device).await {
                Ok(index) => {
                    let route = message::route(route, index);
                    gone(self.change(Message::DelRoute(route), 0).await)
                }
                Err(refusal) => gone(Err(refusal)),
            },
            Command::AddRoute(route) => {
                let index = self.index(&route.device).await?;
                (self.change(Message::NewRoute(message::route(route, index)), NEW)).await
            }
            Command::DeleteDevice { index, .. } => {
                let link = message::set_link(*index, Vec::new());
                gone(self.change(Message::DelLink(link), 0).await)
            }
            Command::CloseGuePort(port) => gone(fou::close(*port)),
            Command::OpenGuePort(port, _) => match fou::open(*port) {
                // Left from a device that is gone, or opened by somebody just like this one.
                Err(refusal)
                    if refusal.errno == libc::EADDRINUSE
                        && fou::ports().is_ok_and(|open| open.contains(port)) =>
                {
                    Ok(())
                }
                result => result,
            },
            Command::CreateDevice(device) => {
                (self.change(Message::NewLink(message::new_device(device)), NEW)).await?;
                let alias = LinkAttribute::IfAlias(device.alias());
                self.set_link(&device.name, alias).await
            }
            Command::SetWireguard(device) => wireguard::set(device),
            Command::DeleteState(id) => gone(ipsec::delete_state(*id)),
            Command::AddState(state, _) => ipsec::add_state(state),
            Command::DeletePolicy(policy) => gone(ipsec::delete_policy(policy)),
            Command::AddPolicy(policy, _) => ipsec::add_policy(policy),
            Command::SetMtu(name, mtu) => {
                (self.set_link(name, LinkAttribute::Mtu(u32::from(*mtu)))).await
            }
            Command::SetMac(name, mac) => {
                (self.set_link(name, LinkAttribute::Address(mac.to_vec()))).await
            }
            Command::SetSysctl { path, value } => {
                fs::write(format!("/proc/sys/{path}"), value).map_err(Refusal::from)
            }
            Command::SetUp(name) => {
                let index = self.index(name).await?;
                (self.change(Message::SetLink(message::link_up(index)), 0)).await
            }
            Command::AddAddress(name, address) => {
                let index = self.index(name).await?;
                let address = message::address(index, *address);
                self.change(Message::NewAddress(address), NEW).await
            }
            Command::DeleteAddress(name, address) => {
                let index = self.index(name).await?;
                let address = message::address(index, *address);
                gone(self.change(Message::DelAddress(address), 0).await)
            }
        }
    }

    async fn set_link(
        &self,
        name: &str,
        attribute: LinkAttribute,
    ) -> std::result::Result<(), Refusal> {
        let index = self.index(name).await?;
        let link = message::set_link(index, vec![attribute]);
        self.change(RouteNetlinkMessage::SetLink(link), 0).await
    }

    /// The index of the link of this name.
    pub(super) async fn index(&self, name: &str) -> std::result::Result<u32, Refusal> {
        let mut request = LinkMessage::default();
        (request.attributes).push(LinkAttribute::IfName(name.to_owned()));
        match self.get(RouteNetlinkMessage::GetLink(request)).await? {
            Some(RouteNetlinkMessage::NewLink(link)) => Ok(link.header.index),
            _ => Err(Refusal {
                errno: libc::ENODEV,
                explanation: None,
            }),
        }
    }
}

/// What is to be deleted, and is not there, is deleted.
fn gone(result: std::result::Result<(), Refusal>) -> std::result::Result<(), Refusal> {
    match result {
        Err(Refusal {
            errno: libc::ENOENT | libc::ESRCH | libc::ENODEV | libc::ENXIO | libc::EADDRNOTAVAIL,
            ..
        }) => Ok(()),
        result => result,
    }
}
