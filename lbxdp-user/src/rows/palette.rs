//! A long sequence of few different values.

use std::collections::HashMap;
use std::hash::Hash;

/// A sequence that keeps each value once, and for each place which it is: in no memory at all where all
/// places have the same, in 8 bits where there are few, in 16 where there are many.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Palette<T>(Vec<Block<T>>);

/// As many places as 16 bits tell values apart.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Block<T> {
    length: usize,
    /// In the order in which they first appear, so that equal sequences have equal blocks.
    values: Vec<T>,
    indices: Indices,
}

/// For each place of a block which value it has.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Indices {
    AllFirst,
    Narrow(Box<[u8]>),
    Wide(Box<[u16]>),
}

impl Indices {
    fn get(&self, place: usize) -> Option<usize> {
        match self {
            Self::AllFirst => Some(0),
            Self::Narrow(indices) => indices.get(place).copied().map(usize::from),
            Self::Wide(indices) => indices.get(place).copied().map(usize::from),
        }
    }
}

impl<T> Palette<T> {
    /// Without a place.
    pub const EMPTY: Self = Self(Vec::new());

    /// The value at a place, if there is one.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<&T> {
        self.0.get(place / LENGTH)?.get(place % LENGTH)
    }

    /// The value at each place.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let blocks = self.0.iter();
        blocks.flat_map(|block| (0..block.length).filter_map(|place| block.get(place)))
    }

    /// The values that there are; some may be told several times.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flat_map(|block| &block.values)
    }
}

impl<T> Default for Palette<T> {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// How many places a block has, but for the last.
const LENGTH: usize = 1 << 16;

impl<T: Copy + Eq + Hash> FromIterator<T> for Palette<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut values = values.into_iter().peekable();
        let mut blocks = Vec::new();
        while values.peek().is_some() {
            blocks.push(Block::of(values.by_ref().take(LENGTH)));
        }
        Self(blocks)
    }
}

impl<T> Block<T> {
    fn get(&self, place: usize) -> Option<&T> {
        if place >= self.length {
            return None;
        }
        self.values.get(self.indices.get(place)?)
    }
}

impl<T: Copy + Eq + Hash> Block<T> {
    fn of(sequence: impl Iterator<Item = T>) -> Self {
        let mut values = Vec::new();
        let mut known = HashMap::new();
        let mut last = None;
        let indices = sequence.map(|value| {
            let index = match last {
                // Mostly it is that of the place before.
                Some((before, index)) if before == value => index,
                _ => *known.entry(value).or_insert_with(|| {
                    values.push(value);
                    (values.len() - 1) as u16
                }),
            };
            last = Some((value, index));
            index
        });
        let indices: Vec<u16> = indices.collect();
        values.shrink_to_fit();
        Self {
            length: indices.len(),
            indices: match values.len() {
                0 | 1 => Indices::AllFirst,
                2..=256 => Indices::Narrow(indices.iter().map(|index| *index as u8).collect()),
                _ => Indices::Wide(indices.into()),
            },
            values,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_value_takes_no_space_for_each_place() {
        let palette: Palette<u32> = std::iter::repeat_n(7, 100_000).collect();
        assert!(
            palette
                .0
                .iter()
                .all(|block| block.indices == Indices::AllFirst)
        );
        assert_eq!(palette.iter().count(), 100_000);
        assert_eq!(palette.get(99_999), Some(&7));
        assert_eq!(palette.get(100_000), None);
        assert!(palette.values().eq([&7, &7]));
    }

    #[test]
    fn as_many_values_as_places_are_told_apart() {
        for values in [2, 256, 257, 200_000] {
            let sequence = || (0_u32..200_000).map(|number| number % values);
            let palette: Palette<u32> = sequence().collect();
            assert!(palette.iter().copied().eq(sequence()), "{values}");
        }
        let sequence = || (0_u32..200_000).map(|number| number ^ 3);
        let palette: Palette<u32> = sequence().collect();
        for place in [0, 1, 65_535, 65_536, 131_071, 199_999] {
            assert_eq!(palette.get(place).copied(), sequence().nth(place));
        }
        assert_eq!(palette.get(200_000), None);
    }

    #[test]
    fn sequences_are_equal_as_palettes_if_they_are_equal() {
        let of = |values: &[u8]| values.iter().copied().collect::<Palette<u8>>();
        assert_eq!(of(&[]), Palette::EMPTY);
        assert_eq!(of(&[1, 1, 2, 1]), of(&[1, 1, 2, 1]));
        for other in [&[1, 1, 2][..], &[1, 1, 2, 2], &[2, 2, 1, 2], &[1, 1]] {
            assert_ne!(of(&[1, 1, 2, 1]), of(other));
        }
    }
}
