//! The agent and command line of lbxdp.
//!
//! ```text
//! config     the file: what was written, what it means
//! slots      who has which slot of the maps                           (pure)
//! rows       the rows of a table, in little memory                    (pure)
//! state      what is known: configuration, slots, health, next hops   (pure)
//! steering   configuration and health -> rows                         (pure)
//! reconcile  state -> what the maps are to hold                       (pure)
//! agent      events -> state -> devices, probes, maps
//! health     probes, and what they say of origins and tunnels
//! vnet       tunnel devices, routes, rules; next hops
//! dataplane  program and maps: load, pin, attach, write, read live
//! pulse      signs of life of tasks, for the agent's watchdog
//! netlink    messages that no library has types for
//! metrics    a status as metrics for Prometheus                       (pure)
//! api, cli   the control socket and the verbs
//! ```

pub mod agent;
pub mod api;
pub mod cli;
pub mod config;
pub mod dataplane;
#[forbid(unsafe_code)]
pub mod flows;
pub mod fnv;
pub mod health;
pub mod log;
pub mod metrics;
mod netlink;
#[forbid(unsafe_code)]
pub mod pulse;
#[forbid(unsafe_code)]
pub mod reconcile;
#[forbid(unsafe_code)]
pub mod rows;
#[forbid(unsafe_code)]
pub mod sessions;
pub mod slots;
#[forbid(unsafe_code)]
pub mod state;
#[forbid(unsafe_code)]
pub mod steering;
pub mod vnet;
