//! What it costs to deal rows and to repair them: time on the processor, so that whatever else the
//! machine does does not count.

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use lbxdp::config::model::HashKey;
use lbxdp::steering::{Base, Circumstances, Member, Recorded, Seed, Standing, Winners, next_rows};

use nix::time::{ClockId, clock_gettime};

use super::cost::Cost;

/// Rows and members: the sizes that tables have.
const SIZES: [(u32, u16); 4] = [
    (4_093, 40),
    (16_381, 160),
    (65_537, 1_000),
    (262_139, 2_600),
];

/// Measures tables of all sizes, each step so many times.
#[must_use]
pub fn measure(samples: u32) -> Vec<Cost> {
    let seed = Seed::new(HashKey([7; 16]));
    let mut costs = Vec::new();
    for (size, count) in SIZES {
        let members: Vec<Member> = (0..count)
            .map(|number| Member {
                id: seed.member("bench", &number.to_string()),
                pool: seed.pool("bench"),
                weight: 10_000,
                origin: number,
            })
            .collect();
        let base = Base::new(&members, size, seed);
        let goal = |microseconds| (size == 65_537).then_some(microseconds);
        let case = |step: &str| format!("{step}, {size} rows of {count} members");
        let repair = |down: u16| base.repair(|member| member.origin >= down);
        costs.push(Cost::of(
            case("build"),
            goal(5_000),
            times(samples, || Base::new(black_box(&members), size, seed)),
        ));
        costs.push(Cost::of(
            case("repair, one down"),
            goal(2_000),
            times(samples, || repair(black_box(1))),
        ));
        costs.push(Cost::of(
            case("repair, a tenth down"),
            None,
            times(samples, || repair(black_box(count / 10))),
        ));
        // One more goes down and comes back, while a tenth is.
        let mut last = Winners::default();
        let _ = base.repair_again(|member| member.origin >= count / 10, &mut last);
        let mut more = false;
        costs.push(Cost::of(
            case("repair again, one changes, a tenth down"),
            goal(2_000),
            times(samples, || {
                more = !more;
                let down = black_box(count / 10 + u16::from(more));
                base.repair_again(|member| member.origin >= down, &mut last)
            }),
        ));
        let (homes, owners) = (repair(0).unwrap_or_default(), repair(1).unwrap_or_default());
        let circumstances = Circumstances {
            now: SystemTime::UNIX_EPOCH,
            generation: 1,
            idle: Duration::from_secs(300),
            standing: &|_| Standing::Answers,
            window: &|_| Duration::from_secs(300),
            recorded: &|_| Recorded::None,
        };
        costs.push(Cost::of(
            case("owners to rows, one down"),
            None,
            times(samples, || {
                next_rows(None, black_box(&owners), &homes, &circumstances)
            }),
        ));
    }
    costs
}

fn times<T>(samples: u32, mut work: impl FnMut() -> T) -> Vec<Duration> {
    // The first warms up.
    black_box(work());
    (0..samples)
        .map(|_| {
            let start = processor_time();
            black_box(work());
            processor_time().saturating_sub(start)
        })
        .collect()
}

/// What this thread has used.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
