//! Numbers for names: equal on all nodes that have the same hash key.

use std::fmt;

pub(super) use lbxdp_ebpf::hash::mix;

use crate::config::model::HashKey;
use crate::fnv;

/// What arranges the tables, made from the configured hash key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seed(u64);

impl Seed {
    /// The seed of a hash key. The key cannot be computed from it.
    #[must_use]
    pub fn new(key: HashKey) -> Self {
        let secret = u128::from_be_bytes(key.0);
        let (high, low) = ((secret >> 64) as u64, secret as u64);
        Self(mix(mix(high ^ 0x7374_6565_7269_6e67).wrapping_add(low)))
    }

    /// The number of an origin.
    #[must_use]
    pub fn member(self, pool: &str, origin: &str) -> u64 {
        // A name holds no slash, so no pool has the number of an origin.
        self.bytes(pool.bytes().chain([b'/']).chain(origin.bytes()))
    }

    /// The number of a pool.
    #[must_use]
    pub fn pool(self, pool: &str) -> u64 {
        self.bytes(pool.bytes())
    }

    /// The number of a row, for rendezvous with those of members and pools.
    pub(super) fn row(self, row: u32) -> u64 {
        mix(self.0 ^ u64::from(row).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// FNV-1a from a secret start, then mixed.
    fn bytes(self, bytes: impl Iterator<Item = u8>) -> u64 {
        mix(fnv::digest_64_from(self.0, bytes))
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_same_in_every_build() {
        let seed = Seed::new(HashKey([7; 16]));
        assert_eq!(seed.member("web", "a"), 928_497_204_074_565_035);
        assert_eq!(seed.pool("web"), 7_937_222_096_998_684_481);
    }

    #[test]
    fn names_and_keys_tell_numbers_apart() {
        let seed = Seed::new(HashKey([7; 16]));
        let other = Seed::new(HashKey([8; 16]));
        assert_ne!(seed.member("web", "a"), seed.member("web", "b"));
        assert_ne!(seed.member("web", "a"), seed.member("we", "ba"));
        assert_ne!(seed.member("web", "a"), other.member("web", "a"));
    }
}
