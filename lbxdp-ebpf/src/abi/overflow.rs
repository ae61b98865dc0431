use super::abi_type;

/// What is known of the flows whose first set one is ([`FlowSet`]): of which classes none stands in its
/// second set, so that most that are not recorded need not be looked for there.
///
/// A flow is of one of [`Self::CLASSES`] classes, by its fingerprint. For each there are two bits: in the
/// lower half that no flow of the class stands in its second set, in the upper half that the
/// agent watches, to find that out. The program takes both away before it puts a flow of the class into
/// its second set. The agent gives the lower one when it has looked through all sets, has found
/// none, and has had the upper one since it looked the last time. Zero says nothing.
///
/// [`FlowSet`]: super::FlowSet
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(transparent)]
pub struct Overflow(u32);

abi_type! {
    Overflow: 4 = [u32];
}

impl Overflow {
    /// How many classes there are.
    pub const CLASSES: u32 = 16;
    /// Nothing is known.
    pub const UNKNOWN: Self = Self(0);
    /// No flow of any class stands in its second set.
    pub const NONE: Self = Self((1 << Self::CLASSES) - 1);
    /// The bits of classes that are watched.
    const WATCHED: u32 = Self::NONE.0 << Self::CLASSES;

    /// Whether a flow of this fingerprint may stand in its second set.
    #[inline(always)]
    #[must_use]
    pub const fn is_possible(self, fingerprint: u32) -> bool {
        self.0 & Self::class(fingerprint) == 0
    }

    /// What stays when a flow of this fingerprint goes to its second set: a mask.
    #[inline(always)]
    #[must_use]
    pub const fn mask(fingerprint: u32) -> u32 {
        !(Self::class(fingerprint) | Self::class(fingerprint) << Self::CLASSES)
    }

    /// With a flow of this fingerprint in its second set.
    #[must_use]
    pub const fn with(self, fingerprint: u32) -> Self {
        Self(self.0 & Self::mask(fingerprint))
    }

    /// With all classes watched.
    #[must_use]
    pub const fn watched(self) -> Self {
        Self(self.0 | Self::WATCHED)
    }

    /// What is known when all sets have been looked through: of that which was `before`; of
    /// [`Self::NONE`] with the flows that are `there`, in their second sets; and of the same with flows that
    /// are `anywhere`, since nobody knows which sets are theirs.
    #[must_use]
    pub const fn settled(self, before: Self, there: Self, anywhere: Self) -> Self {
        let watched = (self.0 & before.0) >> Self::CLASSES;
        let known = self.0 | watched & anywhere.0;
        // What is there is possible, whatever was known.
        Self(known & (there.0 | Self::WATCHED))
    }

    /// As it stands in memory.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// What a number stands for.
    #[must_use]
    pub const fn of_number(number: u32) -> Self {
        Self(number)
    }

    #[inline(always)]
    const fn class(fingerprint: u32) -> u32 {
        1 << (fingerprint % Self::CLASSES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of some class.
    const FINGERPRINT: u32 = 0x9abc_def3;
    /// Of another.
    const OTHER: u32 = FINGERPRINT + 1;

    /// After a look that has found nothing.
    fn looked(before: Overflow) -> Overflow {
        let watched = before.watched();
        watched.settled(before, Overflow::NONE, Overflow::NONE)
    }

    /// After two.
    fn settled() -> Overflow {
        looked(looked(Overflow::UNKNOWN))
    }

    #[test]
    fn what_nothing_is_known_of_is_possible() {
        for class in 0..Overflow::CLASSES {
            assert!(Overflow::UNKNOWN.is_possible(class));
            assert!(Overflow::UNKNOWN.watched().is_possible(class));
        }
    }

    #[test]
    fn one_look_does_not_settle_anything_two_settle_all() {
        let once = looked(Overflow::UNKNOWN);
        assert!((0..Overflow::CLASSES).all(|class| once.is_possible(class)));
        assert!((0..Overflow::CLASSES).all(|class| !settled().is_possible(class)));
    }

    #[test]
    fn what_is_there_is_possible_even_if_it_was_not_known() {
        let there = Overflow::NONE.with(FINGERPRINT);
        for before in [looked(Overflow::UNKNOWN), settled()] {
            let after = before.watched().settled(before, there, Overflow::NONE);
            assert!(after.is_possible(FINGERPRINT));
            assert!(!after.is_possible(OTHER));
        }
    }

    /// What was known of all sets is not forgotten for it.
    #[test]
    fn what_may_be_anywhere_is_not_taken_for_absent() {
        let anywhere = Overflow::NONE.with(FINGERPRINT);
        let look = |before: Overflow| before.watched().settled(before, Overflow::NONE, anywhere);
        let after = look(looked(Overflow::UNKNOWN));
        assert!(after.is_possible(FINGERPRINT));
        assert!(!after.is_possible(OTHER));
        assert!(!look(settled()).is_possible(FINGERPRINT));
    }

    /// A flow that goes to its second set during a look may have been missed; one that was announced just
    /// before may not be there yet.
    #[test]
    fn what_is_announced_is_possible_until_the_second_look_after_it() {
        let before = settled();
        let during = before.watched().with(FINGERPRINT);
        let after = during.settled(before, Overflow::NONE, Overflow::NONE);
        assert!(after.is_possible(FINGERPRINT));
        assert!(!after.is_possible(OTHER));

        let after = looked(settled().with(FINGERPRINT));
        assert!(after.is_possible(FINGERPRINT));
        assert!(!looked(after).is_possible(FINGERPRINT));
    }
}
