//! The agent's decisions and the program's, without a kernel: which origin each packet of many flows
//! reaches while origins fail and return, and configurations change.
//!
//! [`Node`] is the agent's real state and the real order of writes, over maps in memory;
//! [`Program`] is what the data path does by the flags of rows, with a flow table that never fills.

mod node;
mod program;

pub use node::Node;
pub use program::{Destination, Flow, Program};
