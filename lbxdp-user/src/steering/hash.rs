//! Numbers for names: equal on all nodes that have the same hash key.

use std::fmt;

use crate::config::model::HashKey;

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

    /// FNV-1a from a secret start, then mixed. The standard library's hashers may change with
    /// the compiler; nodes must agree across versions.
    fn bytes(self, bytes: impl Iterator<Item = u8>) -> u64 {
        mix(bytes.fold(self.0, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        }))
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(…)")
    }
}

/// The finaliser of MurmurHash3 (`fmix64`): a bijection in which every bit in moves every bit out.
pub(super) const fn mix(mut h: u64) -> u64 {
    h ^= h >> 33;
    h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^= h >> 33;
    h = h.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
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
