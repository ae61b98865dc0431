//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! A checksum is the one's complement of the one's complement sum of all 16-bit
//! words. One's complement addition is addition modulo 2^16 - 1, in which 0 and
//! 0xffff are the same number. From that follows all that is used here:
//!
//! - *Order of bytes* does not matter (RFC 1071, 2 B): words are added as the
//!   machine reads them, and the result is stored as the machine writes it.
//! - *Words of 32 bits* may be added as well, since 2^16 = 1 modulo 2^16 - 1; all
//!   carries are gathered in 64 bits and brought home ("end-around carry") once,
//!   by [`Sum::fold`].
//! - *Subtraction* of a word is addition of its complement. A field that changes
//!   from `m` to `m'` changes the checksum `HC` to `~(~HC + ~m + m')` (RFC 1624,
//!   equation 3), which, other than equation 4, never makes an all-ones checksum
//!   out of a field that has not changed.
//! - *A packet with a valid checksum* sums to zero over all that the checksum
//!   covers, so that the sum of its bytes follows from its pseudo header alone.
//!   A tunnel's checksum over such a packet needs no look at the payload.
//!
//! UDP has its own two rules (RFC 768): a checksum of zero means "none", and a
//! computed zero is sent as 0xffff.

#![forbid(unsafe_code)]

use crate::abi::Address;
use crate::wide::Wide as _;

/// A one's complement sum under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Self = Self(0);

    /// The sum that a checksum field stands for.
    #[inline(always)]
    #[must_use]
    pub const fn of_checksum(checksum: [u8; 2]) -> Self {
        Self(!u16::from_ne_bytes(checksum) as u64)
    }

    /// Adds a word.
    #[inline(always)]
    #[must_use]
    pub const fn add(self, word: [u8; 2]) -> Self {
        Self(self.0 + u16::from_ne_bytes(word) as u64)
    }

    /// Takes a word out.
    #[inline(always)]
    #[must_use]
    pub const fn sub(self, word: [u8; 2]) -> Self {
        Self(self.0 + !u16::from_ne_bytes(word) as u64)
    }

    /// Adds a number, which stands on the wire in network order.
    #[inline(always)]
    #[must_use]
    pub const fn add_number(self, number: u16) -> Self {
        self.add(number.to_be_bytes())
    }

    /// Adds another sum, folded or not.
    #[inline(always)]
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// Takes another sum out.
    #[inline(always)]
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 + !other.fold() as u64)
    }

    /// A sum that was folded before, as a native number.
    #[inline(always)]
    #[must_use]
    pub const fn from_folded(folded: u16) -> Self {
        Self(folded as u64)
    }

    /// A sum as one number, congruent to it.
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        Self(number as u64)
    }

    /// Adds the bytes of an address as they stand in the header of its IP version.
    #[inline(always)]
    #[must_use]
    pub const fn add_address(self, address: &Address) -> Self {
        let [a, b, c, d] = *address.words();
        if address.is_v4() {
            Self(self.0 + d as u64)
        } else {
            Self(self.0 + a as u64 + b as u64 + c as u64 + d as u64)
        }
    }

    /// Adds bytes, of which the first is the first of a word; an odd last one is padded with zero.
    #[inline(always)]
    #[must_use]
    pub fn add_bytes(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<2>();
        let sum = words.iter().fold(self, |sum, word| sum.add(*word));
        match rest {
            [last] => sum.add([*last, 0]),
            [] | [..] => sum,
        }
    }

    /// Brings all carries home.
    #[inline(always)]
    #[must_use]
    pub const fn fold(self) -> u16 {
        let sum = self.0;
        // At most four times 0xffff, hence at most 0x3fffc; then at most 0x10002; then 16 bits.
        let sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + ((sum >> 32) & 0xffff) + (sum >> 48);
        let sum = (sum & 0xffff) + (sum >> 16);
        ((sum & 0xffff) + (sum >> 16)) as u16
    }

    /// The checksum field of this sum, if it is of no more than 65,536 words: [`Self::checksum`] in half
    /// as many steps.
    #[inline(always)]
    #[must_use]
    pub const fn checksum_of_words(self) -> [u8; 2] {
        // Less than 2^32, hence at most 0x1fffe; then 16 bits.
        let sum = (self.0 & 0xffff) + (self.0 >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        (!sum as u16).to_ne_bytes()
    }

    /// The checksum field of this sum.
    #[inline(always)]
    #[must_use]
    pub const fn checksum(self) -> [u8; 2] {
        (!self.fold()).to_ne_bytes()
    }

    /// The checksum field of UDP: zero is sent as 0xffff.
    #[inline(always)]
    #[must_use]
    pub const fn udp_checksum(self) -> [u8; 2] {
        match self.checksum() {
            [0, 0] => [0xff, 0xff],
            checksum => checksum,
        }
    }
}

/// What a change of fields adds to a sum.
///
/// Made with [`Sum::sub`] of what was and [`Sum::add`] of what is, then applied
/// to each checksum that covers the fields. (In the kernel, to checksums in a packet: see
/// [`wide`](crate::wide).)
#[inline(always)]
pub fn update(checksum: &mut [u8; 2], change: Sum) {
    let sum = Sum::of_checksum(checksum.load()).plus(change);
    checksum.store(sum.checksum());
}

/// [`update`] for one word that has become another.
#[inline(always)]
pub fn update_word(checksum: &mut [u8; 2], old: [u8; 2], new: [u8; 2]) {
    let sum = Sum::of_checksum(checksum.load()).sub(old).add(new);
    checksum.store(sum.checksum_of_words());
}

/// [`update`] for UDP: no checksum stays no checksum.
#[inline(always)]
pub fn update_udp(checksum: &mut [u8; 2], change: Sum) {
    let before = checksum.load();
    if before != [0, 0] {
        checksum.store(Sum::of_checksum(before).plus(change).udp_checksum());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071, as its text says: big-endian words, carries brought home at each step.
    fn plain(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            let word = match pair {
                [a, b] => u16::from_be_bytes([*a, *b]),
                [a] => u16::from_be_bytes([*a, 0]),
                _ => 0,
            };
            sum += u32::from(word);
            if sum > 0xffff {
                sum -= 0xffff;
            }
        }
        !(sum as u16)
    }

    /// RFC 1071, 3: the example.
    #[test]
    fn example_of_the_rfc() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        let checksum = Sum::ZERO.add_bytes(&bytes).checksum();
        assert_eq!(checksum, [0x22, 0x0d]);
    }

    #[test]
    fn udp_zero_rules() {
        let mut none = [0, 0];
        update_udp(&mut none, Sum::ZERO.add([1, 2]));
        assert_eq!(none, [0, 0], "no checksum stays none");
        let mut checksum = Sum::ZERO.add([0x12, 0x34]).checksum();
        update_udp(&mut checksum, Sum::ZERO.sub([0x12, 0x34]).add([0xff, 0xff]));
        assert_eq!(
            checksum,
            [0xff, 0xff],
            "a computed zero is sent as all ones"
        );
    }

    /// All ids of an echo reply with an incremental checksum: the classic of forgotten carries.
    #[test]
    fn all_words_update_right() {
        for word in 0..=u16::MAX {
            let bytes = word.to_be_bytes();
            let mut checksum = Sum::ZERO.add([8, 0]).add(bytes).checksum();
            update(&mut checksum, Sum::ZERO.sub([8, 0]).add([0, 1]));
            let all = Sum::ZERO.add([0, 1]).add(bytes).add(checksum);
            assert_eq!(all.fold(), 0xffff);
        }
    }

    proptest! {
        #[test]
        fn same_as_the_plain_sum(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(
                u16::from_be_bytes(Sum::ZERO.add_bytes(&bytes).checksum()),
                plain(&bytes)
            );
        }

        #[test]
        fn update_is_recomputation(
            mut bytes in proptest::collection::vec(any::<u8>(), 40..60),
            new: [u8; 2],
        ) {
            let mut checksum = plain(&bytes).to_be_bytes();
            let old = [bytes[6], bytes[7]];
            bytes[6..8].copy_from_slice(&new);
            update(&mut checksum, Sum::ZERO.sub(old).add(new));
            let [expected, got] = [plain(&bytes), u16::from_be_bytes(checksum)];
            // 0 and 0xffff are the same number; both receivers accept.
            prop_assert!(expected == got || (expected ^ got) == 0xffff && expected % 0xffff == 0);
        }

        #[test]
        fn minus_undoes_plus(a: [u8; 2], b: [u8; 2]) {
            let sum = Sum::ZERO.add(a).add(b).minus(Sum::ZERO.add(b));
            prop_assert_eq!(sum.fold() % 0xffff, u16::from_ne_bytes(a) % 0xffff);
        }
    }
}
