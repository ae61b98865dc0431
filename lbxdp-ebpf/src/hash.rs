//! The keyed flow hash.
//!
//! A multilinear hash over 32-bit words (pairs of words, each added to a secret
//! 64-bit key, multiplied, and summed modulo 2^64; Lemire and Kaser, "Strongly
//! universal string hashing is fast", 2014), followed by the 64-bit finaliser of
//! MurmurHash3, of which the upper half is taken. Without the key no collisions
//! can be crafted: any two flows share a row with a probability of one in the
//! number of rows. It costs three multiplications for IPv4, where a SipHash costs
//! six rounds; and all nodes with the same key agree.

use crate::abi::{Address, FlowKey, VnetId};

/// Expands the configured 128-bit secret into the key of the hash, by SplitMix64.
///
/// The first word is never 0, by which the program knows a node that is not configured.
#[must_use]
pub fn expand_key(secret: [u8; 16]) -> [u64; 12] {
    let [low, high] = [first_half(secret), second_half(secret)];
    let mut state = low;
    let mut key = [0; 12];
    for word in &mut key {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        *word = mix(mix(state) ^ high);
    }
    if key[0] == 0 {
        key[0] = 1;
    }
    key
}

/// The hash of a flow: 32 bits, all of them good.
#[inline(always)]
#[must_use]
pub fn flow_hash(key: &[u64; 12], flow: &FlowKey) -> u32 {
    upper(flow_digest(key, flow))
}

/// The hash of a flow, and as many bits below by which flows of one hash are told apart.
#[inline(always)]
#[must_use]
pub fn flow_digest(key: &[u64; 12], flow: &FlowKey) -> u64 {
    let [s0, s1, s2, s3] = *flow.source.words();
    let [d0, d1, d2, d3] = *flow.destination.words();
    let ports = join(
        flow.source_port.to_bytes(),
        flow.destination_port.to_bytes(),
    );
    let context = (u32::from(flow.protocol) << 24) ^ flow.vnet.0;
    let mut sum = key[0];
    sum = sum.wrapping_add(product(key[1], s3, key[2], d3));
    sum = sum.wrapping_add(product(key[3], ports, key[4], context));
    if !flow.destination.is_v4() {
        sum = sum.wrapping_add(product(key[5], s0, key[6], d0));
        sum = sum.wrapping_add(product(key[7], s1, key[8], d1));
        sum = sum.wrapping_add(product(key[9], s2, key[10], d2));
    }
    mix(sum)
}

/// The hash in a digest.
#[inline(always)]
#[must_use]
pub const fn upper(digest: u64) -> u32 {
    (digest >> 32) as u32
}

/// The hash of a client, whatever its ports and whomever it asks.
#[inline(always)]
#[must_use]
pub fn source_hash(key: &[u64; 12], source: &Address, vnet: VnetId) -> u32 {
    let [s0, s1, s2, s3] = *source.words();
    let mut sum = key[0].wrapping_add(product(key[1], s3, key[2], vnet.0));
    if !source.is_v4() {
        sum = sum.wrapping_add(product(key[5], s0, key[6], s1));
        sum = sum.wrapping_add(product(key[7], s2, key[8], 0));
    }
    upper(mix(sum))
}

/// Maps a hash to `0..rows` evenly, without a division.
#[inline(always)]
#[must_use]
pub const fn reduce(hash: u32, rows: u32) -> u32 {
    ((hash as u64 * rows as u64) >> 32) as u32
}

#[inline(always)]
fn product(key_a: u64, a: u32, key_b: u64, b: u32) -> u64 {
    let a = key_a.wrapping_add(u64::from(u32::from_be(a)));
    let b = key_b.wrapping_add(u64::from(u32::from_be(b)));
    a.wrapping_mul(b)
}

/// The finaliser of MurmurHash3 (`fmix64`): a bijection in which every bit in moves every bit out.
#[inline(always)]
#[must_use]
pub const fn mix(mut h: u64) -> u64 {
    h ^= h >> 33;
    h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^= h >> 33;
    h = h.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}

#[inline(always)]
const fn join([a, b]: [u8; 2], [c, d]: [u8; 2]) -> u32 {
    u32::from_ne_bytes([a, b, c, d])
}

const fn first_half(bytes: [u8; 16]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = bytes;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

const fn second_half(bytes: [u8; 16]) -> u64 {
    let [.., a, b, c, d, e, f, g, h] = bytes;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_looks_like_a_node_that_is_not_configured() {
        for low in [0_u64, 1, 0x9e37_79b9_7f4a_7c15, u64::MAX] {
            // The one upper half for which the first word would come out as 0.
            let high = mix(low.wrapping_add(0x9e37_79b9_7f4a_7c15));
            let mut secret = [0; 16];
            secret[..8].copy_from_slice(&low.to_be_bytes());
            secret[8..].copy_from_slice(&high.to_be_bytes());
            assert_eq!(mix(mix(low.wrapping_add(0x9e37_79b9_7f4a_7c15)) ^ high), 0);
            assert_ne!(expand_key(secret)[0], 0, "{secret:02x?}");
        }
    }
}
