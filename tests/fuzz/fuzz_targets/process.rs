//! Any bytes through the packet path: no panic, and what `tests::fuzz::oracle` promises.
//!
//! The first two bytes of an input pick the world, the rest is the frame.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use tests::engine::host;
use tests::fuzz::{self, oracle};

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some((case, frame)) = fuzz::input(data) else {
        return Corpus::Reject;
    };
    let outcome = host::run_frame(frame, &case.world.tables, case.ingress);
    if let Err(what) = oracle::check(frame, &outcome) {
        panic!("{what}, in the world of {case}");
    }
    Corpus::Keep
});
