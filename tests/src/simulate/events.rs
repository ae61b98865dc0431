use std::collections::BTreeMap;

use super::{Extent, OriginId};
use crate::fuzz::SplitMix;

/// What happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// An origin stops answering.
    Fails(OriginId),
    /// Its probes have found that out.
    FoundDown(OriginId),
    /// It answers again, and its probes have found that out.
    FoundUp(OriginId),
    /// The operator adds an origin.
    Added(OriginId),
    /// The operator gives an origin the weight 0.
    Drained(OriginId),
    /// Traffic moves to another node.
    HandOver,
}

/// What happens when.
#[derive(Clone, Debug)]
pub(super) struct Events {
    origins: usize,
    at: BTreeMap<u32, Vec<Event>>,
}

/// Seconds between two edits of the configuration.
const EDIT_EVERY: u32 = 600;
/// Seconds between two failures of an origin, on average.
const FAILS_EVERY: usize = 3_600;
/// Shortest and longest failure, in seconds.
const FAILURE: (usize, usize) = (30, 210);
/// Seconds in which probes find out.
const DETECTION: u32 = 3;

impl Events {
    pub(super) fn new(extent: &Extent) -> Self {
        let mut random = SplitMix::new(extent.seed);
        let mut events = Self {
            origins: extent.origins,
            at: BTreeMap::new(),
        };
        let count = |index: usize| OriginId::try_from(index).expect("few origins");
        let edits = (1..).map(|number| number * EDIT_EVERY);
        let mut next = extent.origins;
        let mut drained = 0;
        let mut lives: Vec<(u32, OriginId)> = (0..extent.origins).map(|i| (0, count(i))).collect();
        for (number, second) in edits.take_while(|&at| at < extent.seconds).enumerate() {
            if number % 2 == 0 {
                events.push(second, Event::Added(count(next)));
                lives.push((second + 1, count(next)));
                next += 1;
            } else {
                events.push(second, Event::Drained(count(drained)));
                drained += 1;
            }
        }
        for (from, origin) in lives {
            let mut second = from + random.below(2 * FAILS_EVERY) as u32;
            while second < extent.seconds {
                let (shortest, longest) = FAILURE;
                let lasts = (shortest + random.below(longest - shortest)) as u32;
                events.push(second, Event::Fails(origin));
                events.push(second + DETECTION, Event::FoundDown(origin));
                events.push(second + lasts, Event::FoundUp(origin));
                second += lasts + 1 + random.below(2 * FAILS_EVERY) as u32;
            }
        }
        events.push(extent.seconds / 4 * 3, Event::HandOver);
        events
    }

    /// Without edits and without the other node.
    pub(super) fn flaps_alone(mut self) -> Self {
        let origins = self.origins;
        for events in self.at.values_mut() {
            events.retain(|event| match *event {
                Event::Fails(origin) | Event::FoundDown(origin) | Event::FoundUp(origin) => {
                    usize::from(origin) < origins
                }
                Event::Added(_) | Event::Drained(_) | Event::HandOver => false,
            });
        }
        self
    }

    /// How many origins there are at the beginning.
    pub(super) const fn origins(&self) -> usize {
        self.origins
    }

    /// What happens in this second.
    pub(super) fn at(&mut self, second: u32) -> Vec<Event> {
        self.at.remove(&second).unwrap_or_default()
    }

    fn push(&mut self, second: u32, event: Event) {
        self.at.entry(second).or_default().push(event);
    }
}
