use std::collections::BTreeSet;

use super::*;

const NONE: OriginIndex = Origin::NONE;
const WINDOW: Duration = Duration::from_secs(300);
const IDLE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
}

/// Rows that are not at risk.
fn quiet(owners: &[OriginIndex]) -> Vec<Row> {
    owners.iter().map(|&owner| Row::owned_by(owner)).collect()
}

/// A table in force, of which steps make the next.
struct Lab {
    now: SystemTime,
    generation: u32,
    in_force: Option<NextRows>,
    down: BTreeSet<OriginIndex>,
    gone: BTreeSet<OriginIndex>,
    live: BTreeSet<u32>,
    /// Whether flows have been counted since every time that is over.
    is_swept: bool,
}

impl Lab {
    /// Two rows that everybody agrees on.
    fn new(owners: &[OriginIndex]) -> Self {
        let mut lab = Self {
            now: start(),
            generation: 7,
            in_force: None,
            down: BTreeSet::new(),
            gone: BTreeSet::new(),
            live: BTreeSet::new(),
            is_swept: true,
        };
        let rows = lab.step(owners, owners);
        assert_eq!(rows, quiet(owners));
        lab
    }

    fn next(&self, owners: &[OriginIndex], homes: &[OriginIndex]) -> NextRows {
        let before = self.in_force.as_ref().map(|in_force| InForce {
            rows: &in_force.rows,
            previous_rows: in_force.previous_rows,
            windows: &in_force.windows,
        });
        let circumstances = Circumstances {
            now: self.now,
            generation: self.generation,
            idle: IDLE,
            standing: &|owner| match (self.gone.contains(&owner), self.down.contains(&owner)) {
                (true, _) => Standing::Gone,
                (false, true) => Standing::Down,
                (false, false) => Standing::Answers,
            },
            window: &|_| WINDOW,
            recorded: &|row| match (self.is_swept, self.live.contains(&row)) {
                (false, _) => Recorded::Unknown,
                (true, true) => Recorded::Some,
                (true, false) => Recorded::None,
            },
        };
        next_rows(before, owners, homes, &circumstances)
    }

    fn step(&mut self, owners: &[OriginIndex], homes: &[OriginIndex]) -> Vec<Row> {
        let next = self.next(owners, homes);
        self.in_force = Some(next.clone());
        next.rows.to_vec()
    }

    /// An edit, or a look: owners are where they belong.
    fn settle(&mut self, owners: &[OriginIndex]) -> Vec<Row> {
        self.step(owners, owners)
    }

    /// What an agent that has just started knows.
    fn restart(&mut self) {
        if let Some(in_force) = &mut self.in_force {
            in_force.windows = Windows::NONE;
        }
    }
}

fn row(current: OriginIndex, previous: OriginIndex, flags: u8) -> Row {
    Row {
        previous: [previous; 2],
        flags,
        epoch: 7,
        ..Row::owned_by(current)
    }
}

fn looked_up(current: OriginIndex, insert: u8, epoch: u8) -> Row {
    Row {
        flags: ROW_LOOKUP | insert,
        epoch,
        ..Row::owned_by(current)
    }
}

const MOVED: u8 = ROW_LOOKUP | ROW_GENERATION;

#[test]
fn a_failure_records_flows_and_a_return_looks_them_up_until_they_have_been_idle() {
    let mut lab = Lab::new(&[1, 2]);
    lab.down.insert(2);
    let repaired = lab.step(&[1, 1], &[1, 2]);
    assert_eq!(repaired, [Row::owned_by(1), looked_up(1, ROW_INSERT, 0)]);
    lab.now += 10 * WINDOW;
    assert_eq!(lab.step(&[1, 1], &[1, 2]), repaired, "as long as it lasts");
    lab.down.clear();
    let returned = [Row::owned_by(1), looked_up(2, 0, 0)];
    assert_eq!(lab.settle(&[1, 2]), returned, "nobody's flows moved unseen");
    lab.now += IDLE - SECOND;
    assert_eq!(lab.settle(&[1, 2]), returned);
    lab.now += SECOND;
    assert_eq!(lab.settle(&[1, 2]), quiet(&[1, 2]));
}

#[test]
fn rows_with_live_flows_are_looked_up_until_these_are_over() {
    let mut lab = Lab::new(&[1, 2]);
    lab.down.insert(2);
    lab.step(&[1, 1], &[1, 2]);
    lab.down.clear();
    lab.settle(&[1, 2]);
    lab.live.insert(1);
    lab.now += 10 * IDLE;
    assert_eq!(lab.settle(&[1, 2])[1], looked_up(2, 0, 0));
    lab.live.clear();
    lab.now += IDLE - SECOND;
    assert_eq!(lab.settle(&[1, 2])[1], looked_up(2, 0, 0));
    lab.now += SECOND;
    assert_eq!(lab.settle(&[1, 2]), quiet(&[1, 2]));
}

#[test]
fn rows_that_may_have_flows_are_looked_up_until_these_are_counted_and_no_longer() {
    let mut lab = Lab::new(&[1, 2]);
    lab.down.insert(2);
    lab.step(&[1, 1], &[1, 2]);
    lab.down.clear();
    lab.settle(&[1, 2]);
    lab.is_swept = false;
    lab.now += IDLE + SECOND;
    assert_eq!(lab.settle(&[1, 2])[1], looked_up(2, 0, 0));
    lab.is_swept = true;
    assert_eq!(lab.settle(&[1, 2]), quiet(&[1, 2]));
}

#[test]
fn an_edit_keeps_the_owner_before_for_a_window_and_looks_up_for_a_while_longer() {
    let mut lab = Lab::new(&[1, 2]);
    assert_eq!(lab.settle(&[1, 3]), [Row::owned_by(1), row(3, 2, MOVED)]);
    lab.now += WINDOW - SECOND;
    assert_eq!(lab.settle(&[1, 3])[1], row(3, 2, MOVED));
    lab.now += SECOND;
    assert_eq!(lab.settle(&[1, 3])[1], looked_up(3, 0, 7));
    lab.now += IDLE;
    assert_eq!(lab.settle(&[1, 3]), quiet(&[1, 3]));
}

#[test]
fn of_several_edits_the_oldest_owner_counts_until_its_own_window_is_over() {
    let mut lab = Lab::new(&[1]);
    lab.settle(&[2]);
    lab.now += WINDOW / 2;
    lab.generation = 8;
    assert_eq!(lab.settle(&[3]), [row(3, 1, MOVED)]);
    assert_eq!(lab.settle(&[1]), [row(1, 1, MOVED)], "even if it is itself");
    lab.now += WINDOW / 2;
    assert_eq!(
        lab.settle(&[1]),
        [looked_up(1, 0, 7)],
        "flows with 2 and 3 were recorded as they began"
    );
    lab.settle(&[4]);
    assert_eq!(lab.settle(&[4])[0].epoch, 8);
}

#[test]
fn an_oldest_owner_that_is_down_gives_way_and_one_that_is_gone_is_not_named() {
    let mut lab = Lab::new(&[1]);
    lab.settle(&[2]);
    lab.down.insert(1);
    assert_eq!(lab.settle(&[2]), [row(2, 1, MOVED)], "it may come back");
    lab.now += WINDOW / 2;
    assert_eq!(lab.settle(&[3]), [row(3, 2, MOVED)]);
    lab.now += WINDOW - SECOND;
    assert_eq!(lab.settle(&[3]), [row(3, 2, MOVED)], "a window of its own");
    lab.gone.insert(2);
    assert_eq!(lab.settle(&[3]), [looked_up(3, 0, 7)]);
}

#[test]
fn nobody_is_sent_to_an_owner_before_that_is_down_or_gone() {
    for standing in [Standing::Down, Standing::Gone] {
        let mut lab = Lab::new(&[1]);
        match standing {
            Standing::Down => lab.down.insert(1),
            Standing::Gone => lab.gone.insert(1),
            Standing::Answers => false,
        };
        assert_eq!(lab.settle(&[2]), quiet(&[2]), "{standing:?}");
    }
}

#[test]
fn flows_of_a_row_that_comes_to_be_one_that_will_move_are_seen_to() {
    // Somebody is added who is not healthy yet, and the row is repaired by whom it had.
    let mut lab = Lab::new(&[1]);
    let added = lab.step(&[1], &[2]);
    assert_eq!(added, [row(1, 1, MOVED | ROW_INSERT)]);
    assert_eq!(lab.settle(&[2]), [row(2, 1, MOVED)], "it is healthy now");

    // As before, but its health takes longer than the window.
    let mut lab = Lab::new(&[1]);
    lab.step(&[1], &[2]);
    lab.now += WINDOW;
    assert_eq!(lab.step(&[1], &[2]), [looked_up(1, ROW_INSERT, 7)]);
    assert_eq!(lab.settle(&[2]), [looked_up(2, 0, 7)]);
}

#[test]
fn flows_with_an_owner_that_answers_survive_that_its_pool_gives_way() {
    // Too few of its pool are healthy, so that another one serves.
    let mut lab = Lab::new(&[1, 2]);
    lab.down.insert(2);
    let failed_over = lab.step(&[5, 6], &[1, 2]);
    assert_eq!(
        failed_over,
        [row(5, 1, MOVED | ROW_INSERT), looked_up(6, ROW_INSERT, 0)]
    );
    lab.down.clear();
    assert_eq!(
        lab.settle(&[1, 2]),
        [row(1, 1, MOVED), looked_up(2, 0, 0)],
        "flows with 5 and 6 are recorded"
    );
}

#[test]
fn a_row_that_loses_everybody_keeps_its_flows() {
    let mut lab = Lab::new(&[1]);
    assert_eq!(lab.settle(&[NONE]), [row(NONE, 1, MOVED)]);
    assert_eq!(lab.settle(&[2]), [row(2, 1, MOVED)]);
}

#[test]
fn a_row_without_an_owner_is_not_at_risk() {
    let mut lab = Lab::new(&[NONE]);
    assert_eq!(lab.step(&[NONE], &[1]), quiet(&[NONE]));
    assert_eq!(lab.step(&[2], &[1]), [looked_up(2, ROW_INSERT, 0)]);
    assert_eq!(lab.step(&[2], &[NONE])[0].flags, ROW_LOOKUP);
}

#[test]
fn a_restart_loses_no_flag_and_gives_windows_their_whole_time_again() {
    let mut lab = Lab::new(&[1, 2, 3, 4]);
    lab.down.extend([3, 4]);
    lab.step(&[1, 2, 1, 1], &[1, 2, 3, 4]);
    lab.down.remove(&4);
    let before = lab.step(&[1, 9, 1, 4], &[1, 9, 3, 4]);
    assert_eq!(
        before.iter().map(|row| row.flags).collect::<Vec<_>>(),
        [0, MOVED, ROW_LOOKUP | ROW_INSERT, ROW_LOOKUP]
    );
    for _ in 0..3 {
        lab.now += IDLE - SECOND;
        lab.restart();
        assert_eq!(lab.step(&[1, 9, 1, 4], &[1, 9, 3, 4]), before);
    }
    lab.now += IDLE;
    let idle = lab.step(&[1, 9, 1, 4], &[1, 9, 3, 4]);
    assert_eq!((idle[1], idle[3]), (before[1], Row::owned_by(4)));
    lab.now += WINDOW;
    assert_eq!(
        lab.step(&[1, 9, 1, 4], &[1, 9, 3, 4])[1],
        looked_up(9, 0, 7)
    );
}

#[test]
fn a_clock_that_was_set_back_makes_no_window_longer() {
    let mut lab = Lab::new(&[1]);
    lab.settle(&[2]);
    lab.now -= 100 * WINDOW;
    lab.settle(&[2]);
    lab.now += WINDOW;
    assert_eq!(lab.settle(&[2]), [looked_up(2, 0, 7)]);
}

#[test]
fn a_table_that_grows_knows_the_owner_before_of_each_flow() {
    let old = [1, 2, 3];
    let mut lab = Lab::new(&old);
    let new = [1, 9, 2, 3, 3];
    let next = lab.next(&new, &new);
    let rows = next.rows.to_vec();
    assert_eq!(next.previous_rows, 3);
    for hash in (0..=u32::MAX).step_by(1 << 16) {
        let row = rows[lbxdp_ebpf::hash::reduce(hash, 5) as usize];
        let place = lbxdp_ebpf::hash::reduce(hash, 3);
        let was = old[place as usize];
        let goes_to = if row.flags & ROW_GENERATION != 0 {
            row.previous[place as usize & 1]
        } else {
            row.current
        };
        assert_eq!(goes_to, was, "{hash:#x}: {row:?}");
    }
    assert_eq!(rows[0], Row::owned_by(1), "all its flows were there");
    lab.in_force = Some(next);

    // An edit in the window leaves the two apart.
    lab.step(&[1, 8, 2, 3, 3], &[1, 8, 2, 3, 3]);
    let next = lab.next(&[1, 8, 2, 3, 4], &[1, 8, 2, 3, 4]);
    assert_eq!(next.previous_rows, 3);
    let rows = next.rows.to_vec();
    assert_eq!((rows[1].previous, rows[4].previous), ([1, 2], [3, 3]));
    lab.in_force = Some(next);
    lab.now += WINDOW;
    lab.step(&[1, 8, 2, 3, 4], &[1, 8, 2, 3, 4]);
    lab.now += IDLE;
    let next = lab.next(&[1, 8, 2, 3, 4], &[1, 8, 2, 3, 4]);
    assert_eq!(next.rows.to_vec(), quiet(&[1, 8, 2, 3, 4]));
    assert_eq!(next.previous_rows, 5);
}

#[test]
fn a_table_that_grows_twice_in_a_window_takes_the_nearest_of_the_oldest_owners() {
    let mut lab = Lab::new(&[1, 2]);
    lab.settle(&[3, 3, 3, 4, 4]);
    let next = lab.next(&[5; 11], &[5; 11]);
    let rows = next.rows.to_vec();
    let even = |row: usize| rows[row].previous[0];
    assert_eq!((even(0), even(10)), (1, 2), "and not 3 and 4");
    assert_eq!(next.previous_rows, 5);
}

#[test]
fn what_was_recorded_in_a_table_that_grows_is_looked_up_in_all_rows_that_have_it() {
    let mut lab = Lab::new(&[1, 2]);
    lab.down.insert(2);
    lab.step(&[1, 1], &[1, 2]);
    let next = lab.next(&[1; 5], &[1, 1, 1, 2, 2]);
    assert_eq!(
        next.rows.iter().map(|row| row.flags).collect::<Vec<_>>(),
        [
            0,
            0,
            ROW_LOOKUP,
            ROW_LOOKUP | ROW_INSERT,
            ROW_LOOKUP | ROW_INSERT
        ]
    );
}
