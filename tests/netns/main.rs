//! Labs: real sockets, real agents, real tunnels, in network namespaces of one machine.

mod lab;

use anyhow::Result;
use tests::netns::{Lab, Shape, obstacle};

/// A lab for a test, unless labs cannot run here, which it then says by the test's name.
fn lab(test: &str, shape: Shape) -> Result<Option<Lab>> {
    if let Some(reason) = obstacle() {
        tests::skip(test, reason);
        return Ok(None);
    }
    Lab::build(shape).map(Some)
}
