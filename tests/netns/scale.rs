//! Many origins.

use std::time::Duration;

use anyhow::Result;
use tests::bench::agent;
use tests::netns::{agent_obstacle, obstacle};

#[test]
fn a_hundred_origins_become_healthy_and_an_edit_of_all_pools_comes_into_force() -> Result<()> {
    let test = "a_hundred_origins_become_healthy_and_an_edit_of_all_pools_comes_into_force";
    let obstacle = obstacle().map(str::to_owned).or_else(agent_obstacle);
    if let Some(reason) = obstacle {
        tests::skip(test, &reason);
        return Ok(());
    }
    // Waits for each; what it measures is for the benchmark.
    let life = agent::measure(100, Duration::ZERO)?;
    assert_eq!((life.origins, life.pools, life.listeners), (100, 2, 10));
    assert!(life.start_peak_kib > 0 && life.edit_peak_kib > 0);
    Ok(())
}
