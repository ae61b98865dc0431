//! Changes to frames, of the kinds that networks and attackers make.

use super::repair::{Lengths, repair};
use super::{MAXIMUM, MINIMUM, SplitMix};

/// Bytes that mean something in some header: versions and header lengths, protocols, TTLs, flags.
const BYTES: &[u8] = &[
    0, 1, 2, 4, 5, 6, 8, 17, 0x20, 0x3f, 0x40, 41, 43, 44, 47, 50, 51, 58, 60, 0x45, 0x46, 0x4f,
    0x60, 0x65, 0x7f, 0x80, 0xff,
];
/// Pairs of bytes that do: EtherTypes, ports, lengths, fragment offsets.
const PAIRS: &[u16] = &[
    0, 1, 7, 8, 20, 28, 40, 80, 1300, 1400, 1401, 1500, 4789, 6080, 6081, 8080, 8472, 0x0800,
    0x0806, 0x1fff, 0x2000, 0x4000, 0x6558, 0x8100, 0x86dd, 0x88a8, 0x8847, 0xffff,
];

/// Changes a frame; `other` is one to take parts of.
#[must_use]
pub fn mutate(random: &mut SplitMix, mut frame: Vec<u8>, other: &[u8]) -> Vec<u8> {
    // One in sixteen stays as it is, the others are changed up to five times.
    let changes = if random.below(16) == 0 {
        0
    } else {
        1 + random.below(5)
    };
    for _ in 0..changes {
        change(random, &mut frame, other);
        frame.truncate(MAXIMUM);
        if frame.len() < MINIMUM {
            frame.resize(MINIMUM, 0);
        }
    }
    // Half of them get through more checks if lengths and checksums are right again.
    match random.below(4) {
        0 => repair(&mut frame, Lengths::Left),
        1 => repair(&mut frame, Lengths::Set),
        _ => {}
    }
    frame
}

fn change(random: &mut SplitMix, frame: &mut Vec<u8>, other: &[u8]) {
    // Headers are in front, and most of what matters is in them.
    let near = |random: &mut SplitMix, length: usize| {
        let reach = if random.below(4) == 0 {
            length
        } else {
            length.min(110)
        };
        random.below(reach.max(1))
    };
    let length = frame.len();
    let at = near(random, length);
    match random.below(12) {
        0 | 1 => frame[at] ^= 1 << random.below(8),
        2 => frame[at] = random.number() as u8,
        3 | 4 => frame[at] = random.pick(BYTES),
        5 => {
            let pair = if random.below(3) == 0 {
                random.number() as u16
            } else {
                random.pick(PAIRS)
            };
            write(frame, at, &pair.to_be_bytes());
        }
        // A number a little larger or smaller: lengths, TTLs, ports.
        6 => frame[at] = frame[at].wrapping_add(random.pick(&[1, 2, 4, 0xff, 0xfe, 0xfc])),
        7 => frame.truncate(at),
        8 => {
            let most = if random.below(8) == 0 { 1_500 } else { 40 };
            let more = random.below(most);
            let fill = random.number() as u8;
            frame.resize(length + more, fill);
        }
        // An address, or a header, where another one is.
        9 => {
            let size = random.pick(&[2, 4, 8, 16, 20]);
            let from = near(random, length);
            let part: Vec<u8> = frame.iter().skip(from).take(size).copied().collect();
            write(frame, at, &part);
        }
        // A header twice, or one of another packet between.
        10 => {
            let size = random.pick(&[4, 8, 14, 20, 28, 36, 40, 50]);
            let (source, from) = if random.below(2) == 0 {
                (frame.clone(), near(random, length))
            } else {
                (other.to_vec(), near(random, other.len()))
            };
            let part = source.into_iter().skip(from).take(size);
            frame.splice(at..at, part);
        }
        // The rest of another packet, or a part left out.
        _ => {
            if random.below(2) == 0 {
                let from = near(random, other.len());
                frame.truncate(at);
                frame.extend(other.iter().skip(from));
            } else {
                let size = random.pick(&[1, 2, 4, 8, 14, 20, 40]);
                frame.drain(at..(at + size).min(length));
            }
        }
    }
}

fn write(frame: &mut [u8], at: usize, bytes: &[u8]) {
    for (to, byte) in frame.iter_mut().skip(at).zip(bytes) {
        *to = *byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::table;
    use crate::packet::judge::judge;

    #[test]
    fn frames_are_bounded_and_depend_on_the_seed_alone() {
        let table = table();
        for seed in 0..2_000 {
            let frame = table[seed % table.len()].packet.bytes();
            let other = table[(seed * 7) % table.len()].packet.bytes();
            let make = || mutate(&mut SplitMix::new(seed as u64), frame.clone(), &other);
            let made = make();
            assert!((MINIMUM..=MAXIMUM).contains(&made.len()), "{}", made.len());
            assert_eq!(made, make());
        }
    }

    #[test]
    fn many_are_changed_and_yet_right() {
        let table = table();
        let right = (0..2_000)
            .filter(|seed| {
                let frame = table[seed % table.len()].packet.bytes();
                let mut random = SplitMix::new(*seed as u64);
                let made = mutate(&mut random, frame.clone(), &frame);
                made != frame && judge(&made).is_ok()
            })
            .count();
        assert!(
            right > 200,
            "only {right} of 2,000 changed frames are right"
        );
    }
}
