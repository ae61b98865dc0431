//! The agent and command line of lbxdp.

pub mod cli;
pub mod config;
pub mod dataplane;
pub mod health;
#[forbid(unsafe_code)]
pub mod steering;
pub mod vnet;
