//! Changes of health, configuration, agent and node under load: what began before stays with its
//! origin.
//!
//! A load is judged as a whole ([`Absences::unexplained`]): each request that failed, and each
//! lasting flow that another origin than before answered, must be of an origin that was away.

mod agent;
mod deadline;
mod journey;
mod nodes;
mod scene;
mod traffic;
