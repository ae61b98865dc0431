//! `cargo xtask bench e2e`.

use anyhow::Result;
use tests::bench::e2e::{Report, measure, table};

use super::turns::Arguments;

pub(crate) fn bench(arguments: &Arguments) -> Result<()> {
    let Report { rates, connections } = arguments.measure(|effort, show| measure(effort, show))?;
    println!(
        "Millions of packets a second, sent, forwarded and received by one CPU: medians of {} \
         samples of\n{} packets, taken in turns. `floor` exchanges MAC addresses.",
        arguments.samples(),
        arguments.runs
    );
    arguments.print_tables(|flows| table(&rates, flows));
    println!(
        "\n{connections} running connections, of quiet rows and of rows at risk, went to the same \
         origins at the end\nof each load as before."
    );
    arguments.print_json(&rates)
}
