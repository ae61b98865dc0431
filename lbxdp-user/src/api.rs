//! The control socket: one line of JSON asks, one line of JSON answers.

mod client;
mod heartbeat;
mod server;
mod status;

pub use client::ask;
pub use heartbeat::{Heartbeat, Unanswered};
pub use server::{Inbound, Server};
pub use status::{
    Cause, Draining, Flows, HealthState, Interface, Listener, LoadBalancer, Node, Origin, Pool,
    Reason, Rows, Sessions, Share, SourcePorts, Status, Traffic, Tunnel, VirtualNetwork,
};

use serde::{Deserialize, Serialize};

/// What can be asked of the agent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verb")]
pub enum Request {
    /// Everything that the agent knows.
    Status,
}

/// What it answers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To a request that cannot be answered.
    Error(String),
}
