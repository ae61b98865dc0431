//! Labs in network namespaces: real kernels' tunnels, real sockets, the real agent.
//!
//! A [`Lab`] is a small network on one machine. Everything that it makes (namespaces, devices,
//! processes, pins, files) carries the name of the lab, `lbxt-PID-N`, and is removed when the lab
//! is dropped, also by a panic. What a killed run left behind is removed by the next one.
//!
//! ```text
//!  clients ── router ── edge (lbxdp)
//!               ├────── blue: gateway (VXLAN 100) ── a b c   10.0.0.11 .12 .13
//!               └────── green: gateway (VXLAN 200) ── a b c  10.0.0.11 .12 .13
//! ```
//!
//! A [`Twin`] is a second edge node, beside the first and with tunnels of its own.
//!
//! Servers and clients run in this process: a socket belongs to the namespace it was made in,
//! whichever thread uses it.

mod client;
mod device;
mod edge;
mod lab;
mod leftovers;
mod load;
mod namespace;
mod origin;
mod pace;
mod path_mtu;
mod receiver;
mod rows;
mod server;
mod site;
mod status;
pub mod stream;
mod twin;
mod wait;
mod wire;

pub use client::{Answer, HttpClient, HttpConnection, UdpFlow};
pub use device::{Offload, set_offload, tags_in_packets};
pub use edge::{Attached, Edge, agent_binary, agent_obstacle};
pub use lab::{Lab, Shape};
pub use leftovers::{remove_lab, remove_leftovers};
pub use load::{Absences, Flow, FlowId, Kind, Load, Mix, Outcome, Record, Records};
pub use namespace::Namespace;
pub use origin::Origin;
pub use pace::{slow, slowness};
pub use path_mtu::path_mtu;
pub use rows::{Row, Rows};
pub use server::Server;
pub use site::Site;
pub use status::Status;
pub use twin::Twin;
pub use wait::{eventually, wait_for};
pub use wire::Tap;

/// Says why labs cannot run here, if they cannot.
#[must_use]
pub fn obstacle() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root");
    }
    if namespace::ip_program().is_none() {
        return Some("needs `ip` of iproute2");
    }
    None
}

/// Says that the kernel lacks something that a test needs: a skip, or a failure where
/// `LBXDP_TEST_DEVICES` says that all devices are required.
///
/// # Errors
/// There.
pub fn lacking(test: &str, what: &str) -> anyhow::Result<()> {
    let reason = format!("this kernel has no {what}");
    if std::env::var_os("LBXDP_TEST_DEVICES").is_some_and(|value| value == "required") {
        anyhow::bail!("{reason}, which is required here");
    }
    crate::skip(test, &reason);
    Ok(())
}
