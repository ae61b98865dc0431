use std::fmt;

/// The ports of a listener.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Ports {
    /// One port.
    One(u16),
    /// From the first to the last, both included; the first is less than the last, and not 0.
    Range(u16, u16),
    /// Whatever port.
    Any,
}

impl Ports {
    /// The first port, which names the entry in the maps; 0 for any.
    #[must_use]
    pub const fn first(self) -> u16 {
        match self {
            Self::One(port) | Self::Range(port, _) => port,
            Self::Any => 0,
        }
    }

    /// The last port.
    #[must_use]
    pub const fn last(self) -> u16 {
        match self {
            Self::One(port) | Self::Range(_, port) => port,
            Self::Any => u16::MAX,
        }
    }

    /// Whether there are more ports than one.
    #[must_use]
    pub const fn is_range(self) -> bool {
        match self {
            Self::One(_) => false,
            Self::Range(..) | Self::Any => true,
        }
    }

    /// Whether some port is in both.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.first() <= other.last() && other.first() <= self.last()
    }

    /// Whether two listeners of one address contradict each other: a single port goes before a range,
    /// and a range before any port.
    #[must_use]
    pub const fn contradicts(self, other: Self) -> bool {
        match (self, other) {
            (Self::One(a), Self::One(b)) => a == b,
            (Self::Range(..), Self::Range(..)) => self.overlaps(other),
            (Self::Any, Self::Any) => true,
            (Self::One(_), _) | (_, Self::One(_)) | (Self::Any, _) | (_, Self::Any) => false,
        }
    }
}

/// `80`, `8000-8099` or `any`.
impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(port) => write!(f, "{port}"),
            Self::Range(first, last) => write!(f, "{first}-{last}"),
            Self::Any => f.write_str("any"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_goes_before_a_range_and_a_range_before_any() {
        let (one, range) = (Ports::One(80), Ports::Range(80, 90));
        assert!(one.overlaps(range) && range.overlaps(Ports::Any));
        for (a, b) in [(one, range), (range, Ports::Any), (Ports::Any, one)] {
            assert!(!a.contradicts(b) && !b.contradicts(a));
        }
        assert!(range.contradicts(Ports::Range(90, 100)));
        assert!(!range.contradicts(Ports::Range(91, 100)));
        assert!(one.contradicts(one) && Ports::Any.contradicts(Ports::Any));
    }
}
