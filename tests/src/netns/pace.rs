//! Labs on slow machines.
//!
//! Under a processor that is emulated in software everything takes many times longer than on a
//! real one. `LBXDP_TEST_SLOWNESS` says how many times longer a lab may take: deadlines, the
//! patience of clients, the pauses of load and the times of probes are as many times longer.

use std::sync::OnceLock;
use std::time::Duration;

/// The factor, 1 unless the environment says otherwise.
pub fn slowness() -> u32 {
    static FACTOR: OnceLock<u32> = OnceLock::new();
    *FACTOR.get_or_init(|| match std::env::var("LBXDP_TEST_SLOWNESS") {
        Ok(text) => text
            .parse()
            .ok()
            .filter(|factor| *factor > 0)
            .expect("LBXDP_TEST_SLOWNESS is a whole number from 1"),
        Err(_) => 1,
    })
}

/// A time as long as this machine needs it to be.
#[must_use]
pub fn slow(time: Duration) -> Duration {
    time * slowness()
}

/// A configuration whose times, all in milliseconds, are as long as this machine needs them.
pub(super) fn slow_configuration(text: &str) -> String {
    scaled(text, slowness())
}

/// Multiplies what stands in quotes as a number of milliseconds.
fn scaled(text: &str, factor: u32) -> String {
    let scale = |word: &str| -> Option<String> {
        let time: u32 = word.strip_suffix("ms")?.parse().ok()?;
        Some(format!("{}ms", time * factor))
    };
    text.split('"')
        .map(|word| scale(word).unwrap_or_else(|| word.to_owned()))
        .collect::<Vec<_>>()
        .join("\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_longer_and_all_else_is_as_it_was() {
        let text = "name = \"ms\"\ninterval = \"300ms\"\nttl = 64\nkey = \"12\"\n";
        assert_eq!(
            scaled(text, 4),
            "name = \"ms\"\ninterval = \"1200ms\"\nttl = 64\nkey = \"12\"\n"
        );
        assert_eq!(scaled(text, 1), text);
    }
}
