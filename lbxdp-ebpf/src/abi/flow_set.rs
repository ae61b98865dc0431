use super::{
    Origin, OriginIndex, Overflow, SEEN_ESTABLISHED, SEEN_FIN, SEEN_RST, Seen, Sight, abi_type,
};

/// Flows that share a cache line (maps `FLOWS` and, while nothing but its first packet has come of a
/// flow, `OPENING`): what each of their packets needs to know. See
/// [`flow_table`](crate::flow_table).
///
/// The program adds; the agent takes entries away, and adds those that another version has left. Both
/// put an entry in the place of the one that they know to be there, in one step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C, align(64))]
pub struct FlowSet {
    /// The entries, each [`FlowEntry::FREE`] or a flow's.
    pub entries: [FlowEntry; Self::WAYS],
    /// When the last packet of each came: [`FlowSet::time_of`].
    pub times: [u16; Self::WAYS],
    /// What is known of flows whose first set this is; in `OPENING` zero, as they have no second.
    pub overflow: Overflow,
}

/// A flow, as its packets find it: eight bytes, written at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C, align(8))]
pub struct FlowEntry {
    /// The origin: 16 bits; below, 13 bits of the origin's identity ([`identity_bits`]), and 3 of what
    /// the client has shown (`SEEN_…`).
    stays: u32,
    /// By what the flow is found; never 0, but of no flow.
    pub fingerprint: u32,
}

/// The origin that a flow stays with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kept {
    /// The origin; [`Origin::NONE`] if the connection has ended, and another is being opened.
    pub origin: OriginIndex,
    /// [`identity_bits`] of that origin's identity, lest its slot be another's now.
    pub identity: u16,
    /// What the client has shown of itself.
    pub seen: Seen,
}

abi_type! {
    FlowEntry: 8 = [u32, u32];
    FlowSet: 64 = [[FlowEntry; 6], [u16; 6], Overflow];
}

const ORIGIN_SHIFT: u32 = 16;
const IDENTITY_SHIFT: u32 = 3;
const IDENTITY_MASK: u32 = 0x1fff;
const STATE_MASK: u8 = SEEN_ESTABLISHED | SEEN_FIN | SEEN_RST;

const _: () = assert!(
    STATE_MASK as u32 == (1 << IDENTITY_SHIFT) - 1,
    "the states have not the bits that are left for them"
);

/// As much of an origin's identity as there is room for in an entry. Before its slot becomes that of
/// another, the agent takes away what is recorded with it: this is for what is recorded meanwhile.
#[inline(always)]
#[must_use]
pub const fn identity_bits(identity: u32) -> u16 {
    (identity & IDENTITY_MASK) as u16
}

impl FlowEntry {
    /// Of no flow.
    pub const FREE: Self = Self {
        stays: 0,
        fingerprint: 0,
    };

    /// Of a flow of this fingerprint.
    #[inline(always)]
    #[must_use]
    pub const fn new(fingerprint: u32, kept: Kept) -> Self {
        Self {
            stays: (kept.origin as u32) << ORIGIN_SHIFT
                | (kept.identity as u32) << IDENTITY_SHIFT
                | (kept.seen.state & STATE_MASK) as u32,
            fingerprint,
        }
    }

    /// What stands here, read in one step: it may be changed meanwhile.
    #[inline(always)]
    #[must_use]
    pub fn read(&self) -> Self {
        // SAFETY: eight bytes that are aligned, of which any are a number.
        Self::of_number(unsafe { core::ptr::from_ref(self).cast::<u64>().read_volatile() })
    }

    /// All of it as one number, as it stands in memory.
    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> u64 {
        (self.fingerprint as u64) << 32 | self.stays as u64
    }

    /// The entry of a number.
    #[inline(always)]
    #[must_use]
    pub const fn of_number(number: u64) -> Self {
        Self {
            stays: number as u32,
            fingerprint: (number >> 32) as u32,
        }
    }

    /// The origin that the flow stays with.
    #[inline(always)]
    #[must_use]
    pub const fn origin(self) -> OriginIndex {
        (self.stays >> ORIGIN_SHIFT) as OriginIndex
    }

    /// What it says, of a flow whose last packet came in `tick`.
    #[inline(always)]
    #[must_use]
    pub const fn kept(self, tick: u32) -> Kept {
        Kept {
            origin: self.origin(),
            identity: identity_bits(self.stays >> IDENTITY_SHIFT),
            seen: Seen {
                tick,
                state: self.stays as u8 & STATE_MASK,
                ..Seen::NEVER
            },
        }
    }
}

impl Kept {
    /// For how many ticks an entry of `OPENING` holds: as long as a SYN is waited for to be
    /// answered, and sent again (RFC 6298; Linux sends the last one a minute after the one before).
    pub const OPENING_TICKS: u32 = 64;

    /// Takes note of a packet. One that opens a connection in the place of one that has ended belongs
    /// to nobody yet: what follows it must not go where the old one went.
    #[inline(always)]
    pub const fn see(&mut self, sight: Sight) {
        if self.seen.is_over(sight) {
            self.origin = Origin::NONE;
            self.seen = Seen::first(sight);
        } else {
            self.seen.see(sight);
        }
    }
}

impl FlowSet {
    /// Flows of a set: with the times, as many as a cache line has room for.
    pub const WAYS: usize = 6;
    /// A set of no flow.
    pub const EMPTY: Self = Self {
        entries: [FlowEntry::FREE; Self::WAYS],
        times: [0; Self::WAYS],
        overflow: Overflow::UNKNOWN,
    };

    /// A tick ([`Seen::tick`]) as it stands here: in units of two, so that all times of a day and a half
    /// are told from each other.
    #[inline(always)]
    #[must_use]
    pub const fn time_of(tick: u32) -> u16 {
        (tick >> Self::TIME_SHIFT) as u16
    }

    /// The last tick before the end of `now` that stands here as `time`, or the one before that.
    #[inline(always)]
    #[must_use]
    pub const fn tick_of(time: u16, now: u32) -> u32 {
        let age = Self::time_of(now).wrapping_sub(time);
        (now >> Self::TIME_SHIFT).wrapping_sub(age as u32) << Self::TIME_SHIFT
    }

    const TIME_SHIFT: u32 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_flow_was_seen_is_known_for_a_day_and_a_half() {
        const HOURS_36: u32 = (36_u64 * 3_600 * 1_000_000_000 / Seen::TICK_NS) as u32;
        for now in [HOURS_36, HOURS_36 + 1, 0x1_fffe, 0x7fff_ffff, u32::MAX] {
            for age in [0, 1, 2, 299, 70_000, HOURS_36] {
                let seen = now - age;
                let tick = FlowSet::tick_of(FlowSet::time_of(seen), now);
                assert_eq!(tick, seen & !1, "{age} ticks before {now}");
            }
        }
    }

    #[test]
    fn an_entry_says_what_it_was_made_of() {
        let kept = Kept {
            origin: 0xabcd,
            identity: identity_bits(0x1234_5678),
            seen: Seen {
                tick: 77,
                state: SEEN_ESTABLISHED | SEEN_FIN,
                ..Seen::NEVER
            },
        };
        let entry = FlowEntry::new(0x8765_4321, kept);
        assert_eq!(entry.kept(77), kept);
        assert_eq!(FlowEntry::of_number(entry.number()), entry);
        assert_eq!(entry.read(), entry);
    }
}
