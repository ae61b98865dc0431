//! The command line: one module a verb.

pub mod check;
pub mod explain;
pub mod map;
