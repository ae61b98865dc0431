//! A frame and tables in ordinary memory (host only): for tests, for fuzzing and for `explain`.

mod entries;
mod frame;
mod tables;

pub use entries::Entries;
pub use frame::MemFrame;
pub use tables::{Found, MemRoute, MemTables};
