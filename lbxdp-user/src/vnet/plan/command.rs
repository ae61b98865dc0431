//! The commands of a plan.

use std::fmt;

use ipnet::IpNet;

use crate::vnet::desired::{Route, Rule};
use crate::vnet::device::{Device, GuePort};
use crate::vnet::ipsec::{Policy, State, StateId};

/// One change to the kernel's network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Removes a rule of ours.
    DeleteRule(Rule),
    /// Removes a route of ours.
    DeleteRoute(Route),
    /// Removes a device of ours, and with it its addresses and routes.
    DeleteDevice {
        /// Its name.
        name: String,
        /// Its index when it was seen to be ours.
        index: u32,
    },
    /// Stops receiving GUE.
    CloseGuePort(GuePort),
    /// Starts receiving GUE, for this device.
    OpenGuePort(GuePort, String),
    /// Makes a device; it is down and has no addresses.
    CreateDevice(Device),
    /// Sets keys and peer of a WireGuard device, in the place of others.
    SetWireguard(Device),
    /// Removes a security association of ours.
    DeleteState(StateId),
    /// Makes a security association, for this device.
    AddState(State, String),
    /// Removes an IPsec policy of ours.
    DeletePolicy(Policy),
    /// Makes an IPsec policy, for this device.
    AddPolicy(Policy, String),
    /// Changes a device's MTU, in bytes.
    SetMtu(String, u16),
    /// Changes a device's MAC address.
    SetMac(String, [u8; 6]),
    /// Makes a kernel setting.
    SetSysctl {
        /// Path below `/proc/sys`.
        path: String,
        /// The value.
        value: String,
    },
    /// Sets a device up.
    SetUp(String),
    /// Adds an address to a device.
    AddAddress(String, IpNet),
    /// Removes an address of ours from a device.
    DeleteAddress(String, IpNet),
    /// Adds a route.
    AddRoute(Route),
    /// Adds a rule.
    AddRule(Rule),
}

impl Command {
    /// The device, interface or table that it concerns.
    #[must_use]
    pub fn subject(&self) -> &str {
        match self {
            Self::DeleteRule(rule) | Self::AddRule(rule) => &rule.device,
            Self::DeleteRoute(route) | Self::AddRoute(route) => &route.device,
            Self::CreateDevice(device) | Self::SetWireguard(device) => &device.name,
            Self::CloseGuePort(_) => "gue",
            Self::DeleteState(_) | Self::DeletePolicy(_) => "xfrm",
            Self::DeleteDevice { name, .. }
            | Self::OpenGuePort(_, name)
            | Self::AddState(_, name)
            | Self::AddPolicy(_, name)
            | Self::SetMtu(name, _)
            | Self::SetMac(name, _)
            | Self::SetUp(name)
            | Self::AddAddress(name, _)
            | Self::DeleteAddress(name, _) => name,
            Self::SetSysctl { path, .. } => path.split('/').nth(3).unwrap_or_default(),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeleteRule(rule) => write!(f, "delete {rule}"),
            Self::DeleteRoute(route) => write!(f, "delete {route}"),
            Self::DeleteDevice { name, .. } => write!(f, "delete device {name}"),
            Self::CloseGuePort(port) => write!(f, "close GUE {port}"),
            Self::OpenGuePort(port, device) => write!(f, "open GUE {port} for {device}"),
            Self::CreateDevice(device) => write!(
                f,
                "create device {} ({} to {} for {})",
                device.name,
                device.link_kind(),
                device.remote,
                device.owner
            ),
            Self::SetWireguard(device) => write!(f, "set keys and peer of {}", device.name),
            Self::DeleteState(id) => write!(f, "delete {id}"),
            Self::AddState(state, device) => write!(f, "make {} for {device}", state.id),
            Self::DeletePolicy(policy) => write!(f, "delete {policy}"),
            Self::AddPolicy(policy, device) => write!(f, "make {policy} for {device}"),
            Self::SetMtu(device, mtu) => write!(f, "set the MTU of {device} to {mtu}"),
            Self::SetMac(device, _) => write!(f, "set the MAC address of {device}"),
            Self::SetSysctl { path, value } => write!(f, "set {path} to {value}"),
            Self::SetUp(device) => write!(f, "set {device} up"),
            Self::AddAddress(device, address) => write!(f, "add {address} to {device}"),
            Self::DeleteAddress(device, address) => write!(f, "delete {address} from {device}"),
            Self::AddRoute(route) => write!(f, "add {route}"),
            Self::AddRule(rule) => write!(f, "add {rule}"),
        }
    }
}
