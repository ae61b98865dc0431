//! A frame and tables in ordinary memory (host only): for tests, for fuzzing and for `explain`.

mod frame;
mod tables;

pub use frame::MemFrame;
pub use tables::{MemRoute, MemTables};
