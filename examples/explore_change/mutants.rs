//! Leaves each rule out, in turn, and looks for the shortest way to harm.

use std::time::Instant;

use quorate::mutant::{Mutant, switch};
use quorate::sim::change::{Fault, Found, Scenario, explore};

/// So many states may be looked at for one fault.
const MOST: usize = 9_000_000;

enum Broken {
    Machine(Mutant),
    World(Fault),
}

/// A rule, how it is broken, and where that shows soonest.
struct Rule {
    number: &'static str,
    broken: Broken,
    world: (&'static str, Scenario),
    /// What a model without these machines, written before them, took to find it: states and steps.
    before: Option<(usize, usize)>,
}

/// Whether harm was found for each rule.
pub(crate) fn hunt(only: &str, tell: impl Fn(&str, &Found, Instant)) -> bool {
    let (mut broken, mut caught) = (0, 0);
    for Rule { number, broken: what, world: (world, scenario), before } in rules() {
        let name = match &what {
            Broken::Machine(mutant) => mutant.name().to_string(),
            Broken::World(fault) => format!("{fault:?}"),
        };
        if !name.contains(only) {
            continue;
        }
        let start = Instant::now();
        let found = match what {
            Broken::Machine(mutant) => with(mutant, &scenario),
            Broken::World(fault) => explore(&scenario.fault(fault), MOST),
        };
        let before = before.map_or(String::new(), |(states, steps)| format!(" (before: {states}, {steps})"));
        tell(&format!("rule {number}: {name}; {world}{before}"), &found, start);
        broken += 1;
        caught += usize::from(found.wrong.is_some());
    }
    println!("rules {broken} · caught {caught}");
    broken == caught
}

/// Whether quorums of one are refused exactly where the formula refuses them: two owners, two rivals, all orders.
///
/// To collect from F owners and to be sealed by T takes, of n = 2: T ≥ max(n−R+1, n−W+1), F ≥ max(n−W+1, n−T+1).
pub(crate) fn quorums(tell: impl Fn(&str, &Found, Instant)) -> bool {
    let mut right = true;
    for (r, w, one_collected, one_seal) in [(1, 2, true, false), (2, 1, false, false), (2, 2, true, true)] {
        let scenario = Scenario::new(&[0b0011, 0b0110, 0b1001], r, w);
        for (mutant, sound) in [(Mutant::CollectFromOne, one_collected), (Mutant::DecideByOneSeal, one_seal)] {
            let start = Instant::now();
            let found = with(mutant, &scenario);
            let expected = if sound { "is enough" } else { "is too few" };
            tell(&format!("N=2 R={r} W={w}: {} {expected}", mutant.name()), &found, start);
            right &= found.wrong.is_none() == sound && (found.all || !sound);
        }
    }
    right
}

fn with(mutant: Mutant, scenario: &Scenario) -> Found {
    switch(Some(mutant));
    let found = explore(scenario, MOST);
    switch(None);
    found
}

fn rules() -> Vec<Rule> {
    use Broken::{Machine, World};
    let one = || ("one of three moves", Scenario::new(&[0b0111, 0b1110], 2, 2));
    let sloppy = || ("the same, sloppy", Scenario { sloppy: true, ..Scenario::new(&[0b0111, 0b1110], 2, 2) });
    let three = || ("N=1, three layouts", Scenario::new(&[1, 2, 4, 1], 1, 1));
    let chain = || {
        ("two to one to one to one", Scenario { deletes: false, ..Scenario::new(&[0b011, 0b100, 0b100, 0b010], 1, 2) })
    };
    let far = || ("N=2, away and back", Scenario::new(&[0b0011, 0b1100, 0b0011], 2, 2));
    let back = || ("N=2, back, the rival silent", Scenario::new(&[0b0011, 0b1100, 0b0011], 2, 2).silent(&[0b1100]));
    let rule = |number, broken, world, before| Rule { number, broken, world, before };
    vec![
        rule("1", World(Fault::WipedGoesOn), one(), Some((264, 3))),
        rule("1, of a refill", World(Fault::RefilledInPlace), one(), None),
        rule("2", World(Fault::PromiseNotDurable), one(), Some((108_342, 10))),
        rule("4", World(Fault::StateBeforeFence), one(), Some((17_236, 10))),
        rule("4", Machine(Mutant::WriteKeepsPromise), one(), Some((2_242_775, 17))),
        rule("5", Machine(Mutant::WriteIgnoresPromise), one(), Some((14_669, 9))),
        rule("5", Machine(Mutant::WriteIgnoresSeals), three(), Some((124_937, 11))),
        rule("5, 7", Machine(Mutant::OldFloorPasses), one(), Some((14_439, 10))),
        rule("5", World(Fault::WriterTrustsHolders), one(), Some((2_207, 6))),
        rule("6", World(Fault::KeepAcksAnew), one(), Some((3_369, 8))),
        rule("6", Machine(Mutant::KeepAcksWhenNamingMore), three(), Some((1_410_839, 15))),
        rule("6", Machine(Mutant::KeepAcksWhenFloorRises), far(), Some((1_863_832, 16))),
        rule("7", Machine(Mutant::ReadIgnoresSeals), one(), Some((10_543, 9))),
        rule("7", World(Fault::ReaderTrustsHolders), three(), Some((226_639, 12))),
        rule("8", Machine(Mutant::CollectFromOne), one(), None),
        rule("8", Machine(Mutant::LeaveOutRivals), three(), Some((731_836, 14))),
        rule("8", Machine(Mutant::LeaveOutFloors), chain(), None),
        rule("8", Machine(Mutant::HoldWithoutPromise), one(), Some((2_037_809, 15))),
        rule("9", Machine(Mutant::OneHolder), one(), None),
        rule("9", Machine(Mutant::SealBelowPromise), three(), Some((150_393, 11))),
        rule("9", Machine(Mutant::TopSealOnly), three(), Some((692_273, 14))),
        rule("10", Machine(Mutant::DecideByOneSeal), one(), None),
        rule("12", Machine(Mutant::DeleteUncovered), sloppy(), None),
        rule("12", Machine(Mutant::DeleteWhilePending), one(), Some((492_937, 11))),
        rule("12", World(Fault::DeleterTrustsHolders), one(), Some((3_208, 6))),
        rule("13", Machine(Mutant::FirstCome), back(), None),
        rule("of unchanged partitions", World(Fault::UnchangedIsDecided), three(), None),
        rule("of unchanged partitions", World(Fault::UnchangedIsNoBallot), back(), None),
    ]
}
