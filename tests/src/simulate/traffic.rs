use super::{Extent, OriginId, Shows};
use crate::fuzz::SplitMix;

/// A connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Flow {
    /// Its number, which makes its addresses and ports.
    pub(super) number: u64,
    /// The origin that it began with.
    pub(super) origin: OriginId,
    /// The second in which it ends.
    end: u32,
    /// Seconds between two packets, and when it began.
    every: u32,
    began: u32,
}

/// All connections.
pub(super) struct Traffic {
    random: SplitMix,
    flows: Vec<Flow>,
    next: u64,
    /// Flows that begin in a second.
    rate: f64,
    due: f64,
}

/// Mean length in seconds, of the long ones and of the rest.
const LONG: f64 = 300.0;
const SHORT: f64 = 15.0;
/// One of so many is long, and one of so many is quiet.
const LONG_ONES: usize = 5;
const QUIET_ONES: usize = 10;
/// Seconds between two packets of a quiet one.
const QUIET: u32 = 60;

impl Traffic {
    pub(super) fn new(extent: &Extent, random: SplitMix) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "few flows")]
        let rate = extent.live as f64 * LONG_ONES as f64 / (LONG + SHORT * (LONG_ONES - 1) as f64);
        Self {
            random,
            flows: Vec::new(),
            next: 0,
            rate,
            due: 0.0,
        }
    }

    /// How many there are.
    pub(super) fn live(&self) -> usize {
        self.flows.len()
    }

    /// Ends flows at once.
    pub(super) fn end(&mut self, which: impl Fn(&Flow) -> bool) {
        self.flows.retain(|flow| !which(flow));
    }

    /// Begins the flows of a second: how many.
    pub(super) fn begin(
        &mut self,
        second: u32,
        mut ask: impl FnMut(&Flow, Shows) -> Option<OriginId>,
    ) -> u64 {
        self.due += self.rate;
        let mut begun = 0;
        while self.due >= 1.0 {
            self.due -= 1.0;
            let mean = if self.random.below(LONG_ONES) == 0 {
                LONG
            } else {
                SHORT
            };
            let lasts = self.exponential(mean);
            let every = if self.random.below(QUIET_ONES) == 0 {
                QUIET
            } else {
                1
            };
            let mut flow = Flow {
                number: self.next,
                origin: 0,
                end: second + lasts,
                every,
                began: second,
            };
            self.next += 1;
            let Some(origin) = ask(&flow, Shows::Opens) else {
                continue;
            };
            flow.origin = origin;
            begun += 1;
            // The handshake and the request follow at once.
            ask(&flow, Shows::Continues);
            self.flows.push(flow);
        }
        begun
    }

    /// Lets flows say what they have to say in a second: how many are broken by it.
    pub(super) fn go_on(
        &mut self,
        second: u32,
        mut ask: impl FnMut(&Flow, Shows) -> Option<OriginId>,
    ) -> u64 {
        let mut broken = 0;
        self.flows.retain(|flow| {
            let ends = second >= flow.end;
            if !ends && !(second - flow.began).is_multiple_of(flow.every) {
                return true;
            }
            let shows = if ends { Shows::Ends } else { Shows::Continues };
            let kept = ask(flow, shows) == Some(flow.origin);
            broken += u64::from(!kept);
            kept && !ends
        });
        broken
    }

    /// A time in seconds, at least one.
    fn exponential(&mut self, mean: f64) -> u32 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let uniform = ((self.random.number() >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to some thousand seconds"
        )]
        let seconds = (-mean * uniform.ln()) as u32;
        seconds.max(1)
    }
}
