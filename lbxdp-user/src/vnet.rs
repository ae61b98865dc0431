//! Virtual networks in the kernel: tunnel devices, their addresses, a routing table a VNet, and
//! the next hops of everything that the program sends.
//!
//! Beside the XDP program's own encapsulation stands the kernel's device of the same tunnel, for
//! probes and everything else. A socket bound to the device (`SO_BINDTODEVICE`) is routed by the
//! table of its VNet, through the rule `oif DEVICE lookup TABLE`; `main` knows nothing of it, so
//! that two VNets may use the same addresses.
//!
//! [`Desired::from_config`] says what is to be, [`Network::observe`] what is, [`plan()`] makes of
//! both the commands that [`Network::apply`] executes. Devices carry a group and an alias,
//! routes, rules and addresses a protocol number: that is what the agent made, and it touches
//! nothing else.

mod apply;
mod desired;
mod device;
mod diagnosis;
mod fou;
mod generic;
mod ipsec;
#[cfg(test)]
mod lab;
mod message;
mod network;
mod observe;
mod plan;
mod resolve;
mod wireguard;

pub use apply::Failure;
pub use desired::{
    BASE_METRIC, Desired, Family, PROTOCOL, RULE_PRIORITY, Route, Rule, Scope, Setting, Sysctl,
};
pub use device::{DEVICE_GROUP, Device, Families, GuePort, LinkKind};
pub use network::{Network, NetworkEvent, Refusal};
pub use observe::{ForeignRoute, Link, Observed};
pub use plan::{Command, Plan, Problem, plan, removal};
pub use resolve::{Hop, NextHop, Query, Routes, Unresolved};
pub use wireguard::last_handshake;
