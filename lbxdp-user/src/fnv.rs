//! FNV-1a (draft-eastlake-fnv): numbers for names that are the same on all nodes and in all
//! versions, as those of the standard library's hashers are not.

/// The digest of 64 bits.
#[must_use]
pub fn digest_64(bytes: impl IntoIterator<Item = u8>) -> u64 {
    digest_64_from(0xcbf2_9ce4_8422_2325, bytes)
}

/// The digest of 64 bits from another start than the usual one.
#[must_use]
pub fn digest_64_from(start: u64, bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(start, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The digest of 32 bits.
#[must_use]
pub fn digest_32(bytes: impl IntoIterator<Item = u8>) -> u32 {
    bytes.into_iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_draft() {
        // Appendix C of draft-eastlake-fnv.
        for (text, wide, narrow) in [
            ("", 0xcbf2_9ce4_8422_2325_u64, 0x811c_9dc5_u32),
            ("a", 0xaf63_dc4c_8601_ec8c, 0xe40c_292c),
            ("foobar", 0x8594_4171_f739_67e8, 0xbf9c_f968),
        ] {
            assert_eq!(digest_64(text.bytes()), wide, "{text:?}");
            assert_eq!(digest_32(text.bytes()), narrow, "{text:?}");
        }
    }
}
