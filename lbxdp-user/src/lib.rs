//! The agent and command line of lbxdp.

pub mod config;
pub mod dataplane;
