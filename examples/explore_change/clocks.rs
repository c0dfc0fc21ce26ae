//! Where replicas have records and clocks: the rules must do no harm, and each that is left out must.

use std::time::Instant;

use quorate::sim::change::{Deed, Muddle, Scenario, explore_clocks};

use super::{MOST, tell};

pub(crate) fn explore(only: &str) -> bool {
    let new = Scenario::new;
    let sloppy = || Scenario { sloppy: true, ..new(&[0b111, 0b110], 2, 2) };
    let worlds = [
        ("N=1, one move", new(&[1, 2], 1, 1)),
        ("N=1, there and back", new(&[1, 2, 1], 1, 1)),
        ("N=2 R=2 W=2, one of two moves", new(&[0b011, 0b110], 2, 2)),
        ("N=2, one of two moves, several at once", Scenario { at_once: true, ..new(&[0b011, 0b110], 2, 2) }),
        ("N=2 R=1 W=2, one of two moves", new(&[0b011, 0b110], 1, 2)),
        ("N=2, one of two moves, sloppy", Scenario { sloppy: true, ..new(&[0b011, 0b110], 2, 2) }),
        ("one of three leaves, sloppy", sloppy()),
        ("N=1, two rivals", new(&[1, 2, 4], 1, 1)),
        ("N=1, two rivals, several at once", Scenario { at_once: true, ..new(&[1, 2, 4], 1, 1) }),
    ];
    let muddles = [
        (Muddle::OpenedBeforeFence, Deed::Put, new(&[1, 2], 1, 1)),
        (Muddle::HeldBeforeClock, Deed::Delete, new(&[1, 2], 1, 1)),
        (Muddle::FetchedOnce, Deed::Delete, new(&[1, 2], 1, 1)),
        (Muddle::ClockKept, Deed::Put, new(&[1, 2], 1, 1)),
        (Muddle::CollectedAndDropped, Deed::Put, new(&[1, 2], 1, 1)),
        (Muddle::CoveredByRecords, Deed::Delete, sloppy()),
        (Muddle::OutlivesDrop, Deed::Put, new(&[1, 2, 4], 1, 1)),
        (Muddle::SeveralAtOnce, Deed::Delete, new(&[1, 2, 4], 1, 1)),
        (Muddle::CollectedForEarlier, Deed::Put, new(&[0b011, 0b110, 0b101], 2, 1)),
    ];
    let mut right = true;
    for deed in [Deed::Put, Deed::Delete] {
        for (name, scenario) in &worlds {
            let name = format!("{deed:?}: {name}");
            if name.contains(only) {
                let start = Instant::now();
                let found = explore_clocks(scenario, deed, None, MOST);
                tell(&name, &found, start);
                right &= found.wrong.is_none();
            }
        }
    }
    for (muddle, deed, scenario) in muddles {
        let name = format!("{muddle:?}; {deed:?}");
        if name.contains(only) {
            let start = Instant::now();
            let found = explore_clocks(&scenario, deed, Some(muddle), MOST / 4);
            tell(&name, &found, start);
            right &= found.wrong.is_some();
        }
    }
    right
}
