//! Who gets which flows: configuration and health in, rows out. No IO, no clock.
//!
//! `base[r]` is a weighted Maglev table over the *configured* members ([`Base`]); it changes only
//! when the configuration does. `owner[r]` is the base owner while it is up, else the rendezvous
//! winner of the row among those that are up ([`Base::repair`]). So the rows are a function of
//! members, weights, health and the hash key alone: nodes agree without talking, an origin that
//! fails moves its own rows and no other, and its return puts exactly those back.
//!
//! [`plan`] applies that to a load balancer: which pools are able to serve, and what happens when
//! none is. [`next_rows`] makes rows of it, given those in force: with who owned them before, as
//! long as flows that began before may need it.

mod grown;
mod hash;
mod maglev;
mod planner;
mod pools;
mod repair;
mod rows;
mod size;
mod table;
mod tracked;
mod windows;

use lbxdp_ebpf::abi::OriginIndex;

pub use hash::Seed;
pub use maglev::{Base, Bases};
pub use planner::{World, plan};
pub use pools::{PoolState, pool_state, weight_units};
pub use repair::Winners;
pub use rows::{
    Circumstances, InForce, NextRows, Recorded, Standing, next_rows, owners_in_force, shares,
};
pub use size::{LARGEST_TABLE, table_size};
pub use table::{BalancerState, Policy, TablePlan, TableSpec, Why};
pub use tracked::Tracked;
pub use windows::Windows;

/// A configured origin of a table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Member {
    /// Its name as a number: [`Seed::member`]. It decides its rows; the slot does not.
    pub id: u64,
    /// Its pool's name as a number: [`Seed::pool`]. What a failed origin leaves goes to its own
    /// pool as long as that has anyone up, so that the weights of pools hold.
    pub pool: u64,
    /// Its share, relative to the other members'. Zero: no rows.
    pub weight: u32,
    /// The slot that its rows name.
    pub origin: OriginIndex,
}
