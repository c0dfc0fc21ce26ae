//! Switches deliberate faults on, one after the other, and looks whether the checks find them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quorate::config::Limits;
use quorate::mutant::{Mutant, switch};
use quorate::sim::campaign::{Coverage, Story, play};
use quorate::sim::{DiskFault, Sim};
use quorate::{Mode, PutOptions};

/// Whether every fault was found within so many seeds.
pub(crate) fn hunt(seeds: u64, threads: usize) -> bool {
    // A story that shows something without a fault would find every fault.
    if let Some((name, _)) = STORIES.iter().find(|(_, story)| shows(*story)) {
        println!("without any fault: {name}");
        return false;
    }
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    // What a fault makes panic is found, and nobody needs to read where.
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some(&mutant) = Mutant::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    switch(Some(mutant));
                    let how = first_sign(seeds);
                    let sign = how.as_ref().map_or("NOT FOUND".into(), |(seed, sign)| format!("seed {seed}: {sign}"));
                    println!("{:<26} {sign:<44} {}", mutant.name(), mutant.what().trim());
                    found.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(how.is_some());
                }
            });
        }
    });
    let found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let caught = found.iter().filter(|found| **found).count();
    println!("mutants {} · caught {caught}", found.len());
    caught == found.len()
}

/// The first seed that shows that something is wrong, and how; or what was never met in all of them.
fn first_sign(seeds: u64) -> Option<(u64, String)> {
    let mut met = Coverage::default();
    for seed in 0..seeds {
        let Ok(run) = catch_unwind(AssertUnwindSafe(|| play(&Story::draw(seed)))) else {
            return Some((seed, "panic".into()));
        };
        met.add(&run.coverage);
        if let Err(violation) = run.result {
            return Some((seed, format!("{:?}", violation.property)));
        }
    }
    let missing: Vec<_> = met.missing().collect();
    if missing.is_empty() {
        return STORIES.iter().find(|(_, story)| shows(*story)).map(|(name, _)| (seeds, format!("story: {name}")));
    }
    Some((seeds, format!("never: {}", missing.join(", "))))
}

fn shows(story: fn() -> bool) -> bool {
    catch_unwind(story).unwrap_or(true)
}

type NamedStory = (&'static str, fn() -> bool);

/// Schedules that a campaign draws too rarely. Each tells whether something went wrong that must not.
const STORIES: &[NamedStory] = &[
    ("an acknowledgement comes twice, and a replica is out of reach", twice),
    ("a replica that can't read, and one that is behind", unreadable),
    ("a replica loses power when its acknowledgement has arrived", unsynced),
    ("a write refused at the cap comes again when there is room", refused),
];

fn twice() -> bool {
    let mut sim = Sim::builder(3, 1).quorum(3, 1, 3, Mode::Strict).build();
    let owners = sim.owners("k");
    sim.network.duplication = 100;
    sim.isolate(owners[2]);
    sim.put(owners[0], "k", "v").is_ok()
}

fn unreadable() -> bool {
    let mut sim = Sim::builder(3, 1).quorum(3, 2, 2, Mode::Strict).build();
    let [behind, unreadable, away] = sim.owners("k")[..] else { return false };
    sim.isolate(behind);
    if sim.put(unreadable, "k", "v").is_err() {
        return false;
    }
    sim.heal();
    sim.isolate(away);
    sim.disk(unreadable)[0].set(DiskFault::Reads, true);
    sim.get(behind, "k").is_ok_and(|found| found.values.is_empty())
}

fn unsynced() -> bool {
    let mut sim = Sim::builder(3, 1).quorum(3, 2, 2, Mode::Strict).build();
    let [coordinator, replica, away] = sim.owners("k")[..] else { return false };
    // Then a way back is shorter than a sync.
    sim.network.jitter = Duration::ZERO;
    sim.isolate(away);
    if sim.put(coordinator, "k", "v").is_err() {
        return false;
    }
    sim.crash(replica);
    sim.restart(replica);
    sim.heal();
    sim.isolate(coordinator);
    sim.get(replica, "k").is_ok_and(|found| found.values.is_empty())
}

fn refused() -> bool {
    (0..20).any(|seed| {
        let mut sim = Sim::builder(4, seed).limits(Limits { siblings: 2, ..Limits::default() }).build();
        let (owner, bystander) = (sim.owners("k")[0], sim.bystanders("k")[0]);
        let _ = (sim.put(owner, "k", "a"), sim.put(owner, "k", "b"));
        sim.settle();
        sim.network.duplication = 100;
        sim.network.jitter = Duration::from_millis(5);
        if sim.put(bystander, "k", "c").is_ok() {
            return true;
        }
        sim.network.jitter = Duration::ZERO;
        let Ok(seen) = sim.get(owner, "k") else { return false };
        let _ = sim.put_with(owner, "k", Some("both"), &seen.context, PutOptions::default());
        sim.settle();
        sim.values(owner, "k") != ["both"]
    })
}
