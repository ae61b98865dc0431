//! What `lbxdp status --json` says.

use anyhow::{Context as _, Result};
use serde_json::Value;

/// A status of the agent.
#[derive(Clone, PartialEq, Debug)]
pub struct Status(pub Value);

impl Status {
    /// An origin of a pool.
    pub fn origin(&self, pool: &str, origin: &str) -> Result<&Value> {
        let pool = named(&self.0["pools"], pool).with_context(|| format!("pool {pool}"))?;
        named(&pool["origins"], origin).with_context(|| format!("origin {origin}"))
    }

    /// A tunnel of a VNet.
    pub fn tunnel(&self, vnet: &str, tunnel: &str) -> Result<&Value> {
        let vnet =
            named(&self.0["virtual_networks"], vnet).with_context(|| format!("VNet {vnet}"))?;
        named(&vnet["tunnels"], tunnel).with_context(|| format!("tunnel {tunnel}"))
    }

    /// Whether an origin has this health: `healthy`, `unhealthy` or `unknown`.
    #[must_use]
    pub fn is(&self, pool: &str, origin: &str, health: &str) -> bool {
        self.origin(pool, origin)
            .is_ok_and(|origin| origin["health"] == health)
    }

    /// Whether every origin of every pool is healthy, and there is one.
    #[must_use]
    pub fn all_healthy(&self) -> bool {
        let mut origins = self.origins().peekable();
        origins.peek().is_some() && origins.all(|origin| origin["health"] == "healthy")
    }

    /// The origins of all pools.
    pub fn origins(&self) -> impl Iterator<Item = &Value> {
        let pools = self.0["pools"].as_array().into_iter().flatten();
        pools.flat_map(|pool| pool["origins"].as_array().into_iter().flatten())
    }

    /// The tunnel, as `vnet/tunnel`, that is named as the cause of an origin's illness.
    #[must_use]
    pub fn cause(&self, pool: &str, origin: &str) -> Option<String> {
        let origin = self.origin(pool, origin).ok()?;
        origin["cause"]["tunnel"].as_str().map(str::to_owned)
    }

    /// What the status says of an origin's illness, in lines for a person.
    #[must_use]
    pub fn why(&self, pool: &str, origin: &str) -> Vec<String> {
        let Ok(found) = self.origin(pool, origin) else {
            return Vec::new();
        };
        let text = |key: &str| found[key].as_str().unwrap_or("-").to_owned();
        let cause = self.cause(pool, origin);
        vec![
            format!("{pool}/{origin} is {}: {}", text("health"), text("reason")),
            format!("cause: tunnel {}", cause.as_deref().unwrap_or("-")),
        ]
    }

    /// Share of the rows that an origin owns, 0 to 1.
    #[must_use]
    pub fn share(&self, pool: &str, origin: &str) -> Option<f64> {
        self.origin(pool, origin).ok()?["share"].as_f64()
    }
}

fn named<'a>(list: &'a Value, name: &str) -> Result<&'a Value> {
    list.as_array()
        .into_iter()
        .flatten()
        .find(|entry| entry["name"] == name)
        .context("is not in the status")
}
