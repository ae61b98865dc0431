//! A frame and tables in ordinary memory (host only): for tests, for fuzzing and for `explain`.

mod flows;
mod frame;
mod tables;

pub use flows::Flows;
pub use frame::MemFrame;
pub use tables::{Found, MemRoute, MemTables};
