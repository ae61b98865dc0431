//! End-to-end tests of lbxdp: the fixture table, the engines that run it, labs in network
//! namespaces, and the demo.

pub mod bench;
pub mod cases;
pub mod demo;
pub mod engine;
pub mod fuzz;
pub mod netns;
pub mod packet;
pub mod simulate;
pub mod simulation;

use std::io::Write as _;

/// Says that a test cannot run here, in the form that `cargo xtask test` counts.
///
/// Written past the test harness, which would keep the output of a test that passes to itself.
pub fn skip(name: &str, reason: &str) {
    // Without a stdout there is nobody to tell.
    drop(writeln!(std::io::stdout(), "SKIPPED: {name}: {reason}"));
}
