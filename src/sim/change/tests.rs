//! What takes seconds. `examples/explore_change` has the large worlds, and every rule left out.

use super::*;

fn clean(found: &Found, states: usize) {
    assert_eq!((&found.wrong, found.all, found.states), (&None, true, states));
}

fn new(owners: &[u8], r: u8, w: u8) -> Scenario {
    Scenario::new(owners, r, w)
}

const ALL: usize = usize::MAX;

#[test]
fn one_of_three_owners_moves_whoever_is_silent() {
    let moves = [0b0111, 0b1110];
    clean(&explore(&new(&moves, 2, 2).silent(&[0, 1, 2, 4, 8]), ALL), 40_839);
    clean(&explore(&new(&moves, 1, 3).silent(&[0, 1, 2, 4, 8]), ALL), 6_136);
    clean(&explore(&new(&moves, 3, 1).silent(&[0, 1, 2, 4, 8]), ALL), 1_776);
    clean(&explore(&new(&[0b011, 0b111], 2, 2).silent(&[0, 1, 2, 4]), ALL), 1_168);
}

#[test]
fn two_of_three_owners_move_whoever_is_silent() {
    clean(&explore(&new(&[0b00111, 0b11100], 2, 2).silent(&[0, 1, 2, 4, 8, 16]), ALL), 155_112);
}

#[test]
fn two_of_three_owners_are_declared_gone() {
    clean(&explore(&Scenario { gone: 0b00011, ..new(&[0b00111, 0b11100], 2, 2) }, ALL), 27_712);
}

#[test]
fn of_two_rivals_one_wins_and_nothing_is_lost_under_the_other() {
    clean(&explore(&new(&[1, 2, 4], 1, 1).silent(&[0]), ALL), 20_293);
    clean(&explore(&Scenario { confirms: true, ..new(&[1, 2, 4], 1, 1) }, ALL), 24_012);
}

/// A rule of the world is broken: the harm, and the shortest way to it.
fn caught(scenario: Scenario, fault: Fault, states: usize, steps: usize) {
    let found = explore(&scenario.fault(fault), 1_000_000);
    assert_eq!((found.states, found.steps()), (states, steps), "{fault:?}: {found:?}");
}

#[test]
fn a_rule_that_the_world_breaks_does_harm() {
    let (moves, three) = (|| new(&[0b0111, 0b1110], 2, 2), || new(&[1, 2, 4, 1], 1, 1));
    let back = || new(&[0b0011, 0b1100, 0b0011], 2, 2).silent(&[0b1100]);
    caught(moves(), Fault::WipedGoesOn, 284, 3);
    caught(moves(), Fault::PromiseNotDurable, 113_866, 10);
    caught(moves(), Fault::StateBeforeFence, 14_454, 9);
    caught(moves(), Fault::WriterTrustsHolders, 2_013, 6);
    caught(moves(), Fault::KeepAcksAnew, 11_057, 9);
    caught(three(), Fault::ReaderTrustsHolders, 1_463, 4);
    caught(moves(), Fault::DeleterTrustsHolders, 6_604, 7);
    caught(three(), Fault::UnchangedIsDecided, 29_053, 6);
    caught(back(), Fault::UnchangedIsNoBallot, 2, 1);
    caught(moves(), Fault::RefilledInPlace, 1_016, 4);
}

#[test]
fn records_and_clocks_come_over_in_steps() {
    for (deed, states) in [(Deed::Put, [103, 13_328, 5_374, 7_159]), (Deed::Delete, [474, 84_900, 82_799, 124_869])] {
        let at_once = Scenario { at_once: true, ..new(&[0b011, 0b110], 2, 2) };
        let worlds = [new(&[1, 2], 1, 1), new(&[1, 2, 1], 1, 1), new(&[0b011, 0b110], 2, 2), at_once];
        for (world, states) in worlds.iter().zip(states) {
            clean(&explore_clocks(world, deed, None, ALL), states);
        }
    }
}

fn muddled(scenario: &Scenario, deed: Deed, muddle: Muddle, states: usize, steps: usize) {
    let found = explore_clocks(scenario, deed, Some(muddle), 1_000_000);
    assert_eq!((found.states, found.steps()), (states, steps), "{muddle:?}: {found:?}");
}

#[test]
fn what_muddles_records_and_clocks_does_harm() {
    let (moves, rivals) = (new(&[1, 2], 1, 1), new(&[1, 2, 4], 1, 1));
    muddled(&moves, Deed::Put, Muddle::OpenedBeforeFence, 96, 8);
    muddled(&moves, Deed::Delete, Muddle::HeldBeforeClock, 325, 7);
    muddled(&moves, Deed::Delete, Muddle::FetchedOnce, 397, 10);
    muddled(&moves, Deed::Put, Muddle::ClockKept, 123, 12);
    muddled(&moves, Deed::Put, Muddle::CollectedAndDropped, 79, 9);
    muddled(&rivals, Deed::Put, Muddle::OutlivesDrop, 59_500, 17);
}

#[cfg(feature = "mutants")]
mod controls {
    use super::*;
    use crate::mutant::{Mutant, switch};

    /// The shortest harm of each, where it is found soon. The example `explore_change` has the others.
    #[test]
    fn a_rule_that_is_left_out_does_harm() {
        let moves = new(&[0b0111, 0b1110], 2, 2);
        let three = new(&[1, 2, 4, 1], 1, 1);
        let sloppy = Scenario { sloppy: true, ..moves.clone() };
        let back = new(&[0b0011, 0b1100, 0b0011], 2, 2).silent(&[0b1100]);
        let controls = [
            (Mutant::WriteKeepsPromise, &moves, 32_683, 11),
            (Mutant::WriteIgnoresPromise, &moves, 20_623, 9),
            (Mutant::WriteIgnoresSeals, &three, 17_350, 6),
            (Mutant::OldFloorPasses, &moves, 22_302, 10),
            (Mutant::KeepAcksWhenNamingMore, &three, 815_302, 12),
            (Mutant::ReadIgnoresSeals, &moves, 13_828, 9),
            (Mutant::CollectFromOne, &moves, 25_907, 8),
            (Mutant::LeaveOutRivals, &three, 144_751, 9),
            (Mutant::HoldWithoutPromise, &moves, 37_788, 10),
            (Mutant::OneHolder, &moves, 24_054, 8),
            (Mutant::SealBelowPromise, &three, 17_141, 6),
            (Mutant::TopSealOnly, &three, 144_028, 9),
            (Mutant::DecideByOneSeal, &moves, 8_137, 8),
            (Mutant::DeleteUncovered, &sloppy, 5_362, 10),
            (Mutant::DeleteWhilePending, &moves, 38_249, 10),
            (Mutant::FirstCome, &back, 2, 1),
        ];
        for (mutant, scenario, states, steps) in controls {
            switch(Some(mutant));
            let found = explore(scenario, 1_000_000);
            switch(None);
            assert_eq!((found.states, found.steps()), (states, steps), "{}: {found:?}", mutant.name());
        }
    }
}
