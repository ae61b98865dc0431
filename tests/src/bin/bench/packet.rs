//! `cargo xtask bench packet`.

use anyhow::Result;
use tests::bench::{measure, table};

use super::turns::Arguments;

pub(crate) fn bench(arguments: &Arguments) -> Result<()> {
    let figures = arguments.measure(|effort, show| measure(effort, show))?;
    println!(
        "Nanoseconds a packet: medians of {} samples of {} packets, taken in turns. Each includes \
         the\nwrapper that restores the frame, so that only what is above `floor` is the \
         program's own; how\nmany times the ideal program's it is, is the median of all rounds.",
        arguments.samples(),
        arguments.runs
    );
    arguments.print_tables(|flows| table(&figures, flows));
    arguments.print_json(&figures)
}
