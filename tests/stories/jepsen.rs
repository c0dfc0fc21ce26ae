//! Jepsen's test of Riak, in small; `examples/jepsen_set` runs it in full and shows the published numbers.

#[path = "../../examples/jepsen_set/workload.rs"]
mod workload;

use quorate::Mode;
use workload::{Outcome, Workload, run};

const SEEDS: u64 = 10;

/// The last write wins in sloppy quorums of two, with a lock and a cut.
const LAST: Workload =
    Workload { additions: 200, quorum: 2, mode: Mode::Sloppy, union: false, locked: true, partitioned: true };

/// What a store must hold to whatever it loses.
fn outcomes(workload: &Workload) -> Vec<Outcome> {
    let outcomes: Vec<_> = (0..SEEDS).map(|seed| run(workload, seed)).collect();
    for outcome in &outcomes {
        assert_eq!(outcome.phantoms, 0, "{outcome:?}");
        assert_eq!(outcome.survived, outcome.acknowledged - outcome.lost + outcome.unacknowledged, "{outcome:?}");
    }
    outcomes
}

#[test]
fn siblings_reconciled_by_union_take_every_addition_and_lose_none_while_the_network_is_cut_in_two() {
    for outcome in outcomes(&Workload { additions: 600, quorum: 1, union: true, locked: false, ..LAST }) {
        assert!(outcome.lost == 0 && outcome.acknowledged * 100 >= outcome.attempted * 99, "{outcome:?}");
    }
}

/// The control of the test above: that it finds losses where there are some.
#[test]
fn last_write_wins_loses_what_one_side_of_the_cut_has_written_though_there_is_a_lock() {
    for outcome in outcomes(&LAST) {
        // A side of the cut takes two or three fifths of a quarter of the additions.
        let cut = outcome.attempted / 4;
        assert!((cut / 5..=cut).contains(&outcome.lost), "{outcome:?}");
    }
}

#[test]
fn last_write_wins_loses_additions_at_the_same_time_in_a_healthy_network() {
    let unlocked = Workload { locked: false, partitioned: false, ..LAST };
    let lost: usize = outcomes(&unlocked).iter().map(|outcome| outcome.lost).sum();
    assert!(lost * 4 > unlocked.additions as usize * SEEDS as usize, "{lost} lost");
    let locked = outcomes(&Workload { partitioned: false, ..LAST });
    assert!(locked.iter().all(|outcome| outcome.lost == 0 && outcome.survived == outcome.attempted), "{locked:?}");
}

/// The price is refusals: a client on the smaller side has no quorum, and holds the lock until its deadline.
#[test]
fn last_write_wins_in_strict_quorums_under_a_lock_refuses_and_loses_nothing() {
    let outcomes = outcomes(&Workload { mode: Mode::Strict, ..LAST });
    assert!(outcomes.iter().all(|outcome| outcome.lost == 0), "{outcomes:?}");
    assert!(outcomes.iter().all(|outcome| outcome.acknowledged < outcome.attempted), "{outcomes:?}");
}
