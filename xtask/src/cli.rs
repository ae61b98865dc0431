//! What can be typed after `cargo xtask`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Development tasks of lbxdp.
///
/// Every task first sets up what it needs, so that on a fresh machine one
/// command is enough. Nothing is written outside `target/`, except system
/// packages, and each of those is named before it is installed.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// A task.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Find or install the eBPF toolchain and the tools of demo and tests
    ///
    /// Looks for a Rust compiler that has the sources of `core` (a rustup
    /// nightly with rust-src, or Debian's rustc-web with rust-web-src) and for a
    /// bpf-linker that reads what this compiler writes. Takes what is there.
    /// As root on Debian and the like it installs what is missing; elsewhere it
    /// prints what to install. Done once, it costs nothing.
    Setup(Wanted),
    /// Build the program for the kernel and copy it to `target/lbxdp.bpf.o`
    BuildEbpf,
    /// Build everything, then show lbxdp at work in network namespaces (root)
    Demo(DemoArguments),
    /// Run the tests, ring by ring, and count what passed, failed and was skipped
    ///
    /// Rings that need root are left out without it, and counted as skipped.
    /// With CI set in the environment, a test that is skipped as root is a failure,
    /// unless it has passed under another kernel.
    Test(Selection),
    /// Measure what the program costs (root)
    Bench(BenchArguments),
    /// Compare what becomes of flows when origins come, go and fail
    ///
    /// Runs the same traffic and events, second by second, through designs of a load balancer:
    /// without state, with a table of all flows, with one of a quarter of them, and this one, by
    /// its own code. Takes some minutes.
    Simulate(SimulateArguments),
    /// Run frames that nobody has thought of through the packet path
    #[command(subcommand)]
    Fuzz(Fuzz),
    /// Run the tests under stock kernels, each in a virtual machine (root)
    ///
    /// Fetches the kernels and an emulator into `target/vm`, installing neither,
    /// boots each kernel once, and runs there the fixture table and a selection
    /// of the labs, with tunnels whose far ends are the kernel's own devices.
    /// Needs no hardware support, and is some ten times slower than the host.
    Vm(VmArguments),
    /// Check format, lints, the eBPF build without warnings, licences if cargo-deny is there
    Lint,
}

/// What `setup` is to do.
#[derive(Debug, Default, Args)]
pub(crate) struct Wanted {
    /// Look again, instead of trusting what was found last time
    #[arg(long)]
    pub(crate) again: bool,
}

/// What the demo is given.
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Print one JSON object as the last line
    #[arg(long)]
    pub(crate) json: bool,
    /// Leave the lab up and print commands to try
    #[arg(long)]
    pub(crate) keep: bool,
    /// Anything else for the demo itself
    #[arg(last = true, value_name = "ARGUMENT")]
    pub(crate) rest: Vec<String>,
}

/// What is measured; without a name, everything.
#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    #[command(subcommand)]
    pub(crate) what: Option<Bench>,
}

/// What can be measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Nanoseconds a packet, by mode, encapsulation and number of flows
    ///
    /// Runs the program through BPF_PROG_TEST_RUN, next to trivial programs and to an ideal one,
    /// all in turns, and shows medians and spread. Costs are compared above `floor`, a program
    /// that exchanges MAC addresses and transmits.
    Packet(MeasureArguments),
    /// Millions of packets a second from a link and back, by number of flows, and in a SYN flood
    ///
    /// Live frames go over a pair of veth devices to the program, which sends them back to be
    /// counted; next to `floor` and to an ideal program, all in turns, and compared by the median of
    /// the ratios of each round. Running connections must go to the same origins after the floods as
    /// before.
    E2e(MeasureArguments),
    /// Microseconds to deal the rows of tables of all sizes, and to repair them
    Rows(MeasureArguments),
    /// Time and memory of the agent at 10, 100, 1,000 and 10,000 origins
    ///
    /// Generates configurations, reads them, publishes them into real maps, and lets single origins
    /// flap: how long until the rows are in force, and how much of that is spent on tables and on
    /// maps; memory of the agent, each size in a process of its own, and of the maps.
    Reconcile(MeasureArguments),
    /// Memory of a running agent, and how long it takes to be ready, at the same sizes
    ///
    /// Runs `lbxdp run` in network namespaces, with origins that answer behind tunnels that are
    /// there: until all are healthy, and through an edit that adds an origin to every pool.
    Agent(MeasureArguments),
}

/// What a benchmark is given.
#[derive(Debug, Default, Args)]
pub(crate) struct MeasureArguments {
    /// Print one JSON array as the last line
    #[arg(long)]
    pub(crate) json: bool,
    /// Anything else for the benchmark itself: `-- --help` shows what there is
    #[arg(last = true, value_name = "ARGUMENT")]
    pub(crate) rest: Vec<String>,
}

/// What the simulation is given.
#[derive(Debug, Args)]
pub(crate) struct SimulateArguments {
    /// Print one JSON array as the last line
    #[arg(long)]
    pub(crate) json: bool,
    /// Anything else for the simulation itself: `-- --help` shows what there is
    #[arg(last = true, value_name = "ARGUMENT")]
    pub(crate) rest: Vec<String>,
}

/// How it is fuzzed.
#[derive(Debug, Subcommand)]
pub(crate) enum Fuzz {
    /// Mutated frames on the host and in the kernel, which must do the same with them (root)
    ///
    /// Takes the frames and worlds of the fixture table. What ends otherwise is written to
    /// `tests/regressions`, which tests replay. The same seed makes the same frames.
    Compare(CompareArguments),
    /// The packet path on the host, guided by coverage (cargo-fuzz)
    ///
    /// Begins with the packets of the fixture table and what earlier runs have found.
    Guided(GuidedArguments),
    /// Make a regression of an input that the guided fuzzer has left
    Keep {
        /// The file
        input: PathBuf,
    },
}

/// What the comparison is given.
#[derive(Debug, Args)]
pub(crate) struct CompareArguments {
    /// How many frames
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) frames: u64,
    /// What they are made from [default: the clock]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// The frame to go on with, of those that the seed makes
    #[arg(long, default_value_t = 0)]
    pub(crate) from: u64,
}

/// What the guided fuzzer is given.
#[derive(Debug, Args)]
pub(crate) struct GuidedArguments {
    /// How long
    #[arg(long, default_value_t = 300)]
    pub(crate) seconds: u64,
    /// Anything else for libFuzzer
    #[arg(last = true, value_name = "ARGUMENT")]
    pub(crate) rest: Vec<String>,
}

/// Which tests to run.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// The rings to run [default: all]
    #[arg(value_name = "RING")]
    pub(crate) rings: Vec<Ring>,
    /// Show what passing tests print
    #[arg(long)]
    pub(crate) verbose: bool,
    /// Part of the name of the tests to run, and options of libtest
    #[arg(last = true, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
}

/// Which kernels and tests to run in virtual machines.
#[derive(Debug, Args)]
pub(crate) struct VmArguments {
    /// 6.1 or 6.12 (Debian's), or a directory where a kernel's package was unpacked [default: 6.1 6.12]
    #[arg(value_name = "KERNEL")]
    pub(crate) kernels: Vec<String>,
    /// Show what passing tests print
    #[arg(long)]
    pub(crate) verbose: bool,
    /// Parts of the names of the tests to run
    #[arg(last = true, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
}

/// A ring of tests: each needs more of the machine than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Ring {
    /// Unit and property tests, and the fixture table in memory; needs nothing
    Host,
    /// The fixture table through the loaded program (BPF_PROG_TEST_RUN); needs root
    Kernel,
    /// Labs in network namespaces: real sockets, agents and tunnels; needs root
    Netns,
    /// The two before under stock kernels in virtual machines, see `vm`; needs root
    Vm,
}

impl Ring {
    /// All rings, innermost first.
    pub(crate) const ALL: [Self; 4] = [Self::Host, Self::Kernel, Self::Netns, Self::Vm];

    /// The name, as typed and as printed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Kernel => "kernel",
            Self::Netns => "netns",
            Self::Vm => "vm",
        }
    }

    /// Whether the tests of this ring can do nothing without root.
    pub(crate) fn needs_root(self) -> bool {
        match self {
            Self::Host => false,
            Self::Kernel | Self::Netns | Self::Vm => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn rings_come_before_the_filter() {
        let cli = Cli::try_parse_from(["cargo xtask", "test", "host", "kernel", "--", "maglev"])
            .expect("rings, then a filter");
        let Verb::Test(selection) = cli.verb else {
            panic!("not the test verb");
        };
        assert_eq!(selection.rings, [Ring::Host, Ring::Kernel]);
        assert_eq!(selection.filter, ["maglev"]);
    }
}
