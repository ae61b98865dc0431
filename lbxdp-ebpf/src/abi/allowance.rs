use super::abi_type;

/// How many messages of its own a CPU may still send (map `ALLOWANCE`, one entry), or how many flows
/// it may record ([`FlowCounts`](super::FlowCounts)): a token bucket.
///
/// Kept as the time at which the bucket will be full again, so that a slot of zeros is a full one
/// (this is the generic cell rate algorithm of ITU-T I.371).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Allowance {
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub full_at_ns: u64,
}

abi_type! {
    Allowance: 8 = [u64];
}

impl Allowance {
    /// Nanoseconds in which one more message is allowed, unless configured otherwise: 1,000 in a
    /// second.
    pub const INTERVAL_NS: u64 = 1_000_000;
    /// Messages that are allowed at once.
    pub const BURST: u64 = 50;
    /// Flows that may be recorded at once: those of two ticks of a coarse clock (4 ms) at the rate of
    /// [`Self::FLOW_INTERVAL_NS`].
    const FLOW_BURST: u64 = 1_024;
    /// In how many times the interval of other flows one more first packet may be recorded. Most that
    /// come at such a rate are a flood's; of a flow of which only the second packet is recorded, the
    /// row would have to change between the two.
    const FIRST_INTERVALS: u64 = 4;
    /// First packets that may be recorded at once, so that half of [`Self::FLOW_BURST`] is left to
    /// flows that go on.
    const FIRST_BURST: u64 = Self::FLOW_BURST / 2 / Self::FIRST_INTERVALS;
    /// Nanoseconds in which one more flow may be recorded, unless configured otherwise: 100,000 in a
    /// second.
    pub const FLOW_INTERVAL_NS: u64 = 10_000;
    /// All that there can be.
    pub const FULL: Self = Self { full_at_ns: 0 };

    /// What is left after one more at the time `now_ns`, if one is allowed in each `interval_ns`, and
    /// `burst` at once; `None` if it is not allowed. An interval of 0 allows none.
    #[inline(always)]
    #[must_use]
    pub fn spend(self, now_ns: u64, interval_ns: u64, burst: u64) -> Option<Self> {
        let full_at_ns = self.full_at_ns.max(now_ns).saturating_add(interval_ns);
        // Of a second at most, and some thousands.
        let burst_ns = interval_ns.wrapping_mul(burst);
        if interval_ns == 0 || full_at_ns.saturating_sub(now_ns) > burst_ns {
            return None;
        }
        Some(Self { full_at_ns })
    }

    /// The same where it is a flow that is recorded, or the first packet of one.
    #[inline(always)]
    #[must_use]
    pub fn spend_flow(self, now_ns: u64, interval_ns: u64, is_first: bool) -> Option<Self> {
        let (intervals, burst) = if is_first {
            (Self::FIRST_INTERVALS, Self::FIRST_BURST)
        } else {
            (1, Self::FLOW_BURST)
        };
        self.spend(now_ns, interval_ns.wrapping_mul(intervals), burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many one after the other are allowed.
    fn at_once(allowance: &mut Allowance, spend: impl Fn(Allowance) -> Option<Allowance>) -> u64 {
        let mut count = 0;
        while let Some(left) = spend(*allowance) {
            *allowance = left;
            count += 1;
        }
        count
    }

    /// How many messages are at `now_ns`.
    fn messages(allowance: &mut Allowance, now_ns: u64) -> u64 {
        at_once(allowance, |allowance| {
            allowance.spend(now_ns, Allowance::INTERVAL_NS, Allowance::BURST)
        })
    }

    /// How many flows are at `now_ns`, or first packets.
    fn flows(allowance: &mut Allowance, now_ns: u64, is_first: bool) -> u64 {
        at_once(allowance, |allowance| {
            allowance.spend_flow(now_ns, Allowance::FLOW_INTERVAL_NS, is_first)
        })
    }

    #[test]
    fn a_burst_and_then_a_rate() {
        let mut allowance = Allowance::FULL;
        let mut now = 1_000_000_000_000;
        assert_eq!(messages(&mut allowance, now), Allowance::BURST);
        now += Allowance::INTERVAL_NS - 1;
        assert_eq!(messages(&mut allowance, now), 0);
        now += 1;
        assert_eq!(messages(&mut allowance, now), 1);
        now += 7 * Allowance::INTERVAL_NS;
        assert_eq!(messages(&mut allowance, now), 7);
        now += 1_000 * Allowance::INTERVAL_NS;
        assert_eq!(
            messages(&mut allowance, now),
            Allowance::BURST,
            "no more than full"
        );
    }

    #[test]
    fn a_flood_of_first_packets_leaves_half_of_the_burst_and_all_of_the_rate_to_other_flows() {
        const NOW: u64 = 1_000_000_000_000;
        const LATER: u64 = NOW + 100 * Allowance::FLOW_INTERVAL_NS;
        let mut allowance = Allowance::FULL;
        assert_eq!(flows(&mut allowance, NOW, true), Allowance::FIRST_BURST);
        assert_eq!(flows(&mut allowance, NOW, false), Allowance::FLOW_BURST / 2);
        // As long as others take what comes back, first packets do not.
        assert_eq!(flows(&mut allowance, LATER, true), 0);
        assert_eq!(flows(&mut allowance, LATER, false), 100);
        // Alone they have their share of the rate.
        let mut allowance = Allowance::FULL;
        flows(&mut allowance, NOW, true);
        let firsts = flows(&mut allowance, LATER, true);
        assert_eq!(firsts, 100 / Allowance::FIRST_INTERVALS);
    }

    #[test]
    fn without_an_interval_nothing_is_allowed() {
        assert_eq!(
            Allowance::FULL.spend(1_000_000_000_000, 0, Allowance::BURST),
            None
        );
    }

    #[test]
    fn right_after_boot_the_bucket_is_full() {
        let mut allowance = Allowance::FULL;
        assert_eq!(messages(&mut allowance, 0), Allowance::BURST);
    }
}
