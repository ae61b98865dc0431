//! What becomes of flows when origins come, go and fail: designs of a load balancer, compared.
//!
//! The same traffic and the same events, second by second, for each design: connections that last
//! 15 seconds on average (four of five) or 300 (one of five), a tenth of which says something once a
//! minute only; origins that fail now and then for a while; an origin drained, or one added, every
//! ten minutes; and, for all but flaps alone, traffic that moves to another node with the same
//! tables and without any state. A flow is broken if a packet of it goes to another origin while
//! its own still answers. The product is run by its own code: state, rows, packet path.

#![forbid(unsafe_code)]

mod design;
mod events;
mod product;
mod traffic;

use std::collections::BTreeSet;

use serde::Serialize;

use crate::fuzz::SplitMix;
use design::{Design, Full, Lru, Stateless};
use events::{Event, Events};
use product::Product;
use traffic::{Flow, Traffic};

/// How much is simulated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// What traffic and events are made from.
    pub seed: u64,
    /// Flows at a time.
    pub live: usize,
    /// Origins at the beginning.
    pub origins: usize,
    /// Seconds.
    pub seconds: u32,
}

/// What became of the flows of one design.
#[derive(Clone, PartialEq, Serialize, Debug)]
pub struct Outcome {
    /// The design.
    pub design: String,
    /// Flows that began.
    pub flows: u64,
    /// Flows that were broken.
    pub broken: u64,
    /// Flows that are remembered, as a share of those that live, on average (of those that are to
    /// live, in the first minutes, in which there are fewer).
    pub state_mean: f64,
    /// At most.
    pub state_peak: f64,
}

/// The designs, in the order in which they are compared.
pub const DESIGNS: [&str; 5] = ["stateless", "full", "lru25", "lbxdp", "lbxdp-flaps"];

/// Runs one of [`DESIGNS`]; `each_minute` is told of the minutes that have passed.
///
/// # Panics
/// If there is no such design.
#[must_use]
pub fn simulate(name: &str, extent: &Extent, each_minute: impl FnMut(u32)) -> Outcome {
    let events = Events::new(extent);
    let events = if name == "lbxdp-flaps" {
        events.flaps_alone()
    } else {
        events
    };
    let origins = events.origins();
    match name {
        "stateless" => run(name, Stateless::new(origins), events, extent, each_minute),
        "full" => run(name, Full::new(origins), events, extent, each_minute),
        "lru25" => {
            let design = Lru::new(origins, extent.live / 4);
            run(name, design, events, extent, each_minute)
        }
        "lbxdp" | "lbxdp-flaps" => run(name, Product::new(origins), events, extent, each_minute),
        other => panic!("there is no design {other}"),
    }
}

fn run(
    name: &str,
    mut design: impl Design,
    mut events: Events,
    extent: &Extent,
    mut each_minute: impl FnMut(u32),
) -> Outcome {
    let mut traffic = Traffic::new(extent, SplitMix::new(extent.seed ^ 0x7261_6666_6963));
    let mut outcome = Outcome {
        design: name.to_owned(),
        flows: 0,
        broken: 0,
        state_mean: 0.0,
        state_peak: 0.0,
    };
    let mut dead = BTreeSet::new();
    for second in 0..extent.seconds {
        design.pass(second);
        for event in events.at(second) {
            match event {
                Event::Fails(origin) => {
                    dead.insert(origin);
                    // What dies with its origin is nobody's choice.
                    traffic.end(|flow| flow.origin == origin);
                }
                Event::FoundUp(origin) => {
                    dead.remove(&origin);
                }
                Event::FoundDown(_) | Event::Added(_) | Event::Drained(_) | Event::HandOver => {}
            }
            design.take(event);
        }
        outcome.broken += traffic.go_on(second, |flow, shows| design.ask(flow, shows));
        // Nor does anything begin with one that is dead.
        let begun = traffic.begin(second, |flow, shows| {
            let origin = design.ask(flow, shows)?;
            (!dead.contains(&origin)).then_some(origin)
        });
        outcome.flows += begun;
        #[expect(clippy::cast_precision_loss, reason = "counts of flows are small")]
        let state = design.state() as f64 / traffic.live().max(extent.live) as f64;
        outcome.state_mean += state / f64::from(extent.seconds);
        outcome.state_peak = outcome.state_peak.max(state);
        if second % 60 == 59 {
            each_minute(second / 60 + 1);
        }
    }
    outcome
}

/// What a packet shows of its flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shows {
    /// It opens the connection.
    Opens,
    /// It belongs to it.
    Continues,
    /// It ends it.
    Ends,
}

/// An origin, by a number of its own.
type OriginId = u16;

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Extent = Extent {
        seed: 7,
        live: 2_000,
        origins: 20,
        seconds: 40 * 60,
    };

    #[test]
    fn flaps_break_no_flow() {
        let outcome = simulate("lbxdp-flaps", &SMALL, |_| {});
        assert!(outcome.flows > 50_000, "{outcome:?}");
        assert_eq!(outcome.broken, 0, "{outcome:?}");
        assert!(outcome.state_mean > 0.0, "{outcome:?}");
    }

    #[test]
    fn the_product_breaks_a_small_part_of_what_a_stateless_one_does() {
        let stateless = simulate("stateless", &SMALL, |_| {});
        let product = simulate("lbxdp", &SMALL, |_| {});
        // Which are not begun, since their origin is dead, is for each design to say.
        assert!(
            stateless.flows.abs_diff(product.flows) * 1_000 < stateless.flows,
            "{product:?} {stateless:?}"
        );
        assert!(stateless.broken > 100, "{stateless:?}");
        assert!(
            product.broken * 10 < stateless.broken,
            "{product:?} {stateless:?}"
        );
    }
}
