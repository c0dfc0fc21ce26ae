//! Switches deliberate faults on, one after the other, and looks whether the checks find them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quorate::config::{Limits, Timing};
use quorate::mutant::{Mutant, switch};
use quorate::sim::campaign::{Coverage, Settings, Story, play};
use quorate::sim::{DiskFault, Sim, SimBuilder};
use quorate::storage::Space;
use quorate::{Context, Event, GetOptions, Mode, NodeId, PutOptions};

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
                    if [BY_SCRIPT, BY_MODEL, BY_CHANGES].iter().any(|list| list.contains(&mutant)) {
                        continue;
                    }
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
    println!("{} more show in scripts: cargo test --features mutants --lib controls", BY_SCRIPT.len());
    println!("{} break a layout change: examples/explore_change, with --mutants", BY_MODEL.len());
    println!("{} more are mistakes of nodes in one: --changes, with --mutants", BY_CHANGES.len());
    println!("mutants {} · caught {caught}", found.len());
    caught == found.len()
}

/// Too rare for seeds, and for stories too: what must happen between two steps of one exchange. They show in scripts
/// at the level of replicas, `src/replica/tests/controls.rs`.
const BY_SCRIPT: &[Mutant] = &[
    Mutant::EqualWhenUnsettled,
    Mutant::FetchOnce,
    Mutant::LaterClock,
    Mutant::ScrubBelieves,
    Mutant::ExchangeOutlivesPeer,
    Mutant::AbsentSaysNothing,
    Mutant::ListBelieves,
];

/// What breaks a change of the layout: it shows in the model of one, and some of it in campaigns.
const BY_MODEL: &[Mutant] = &[
    Mutant::WriteKeepsPromise,
    Mutant::WriteIgnoresPromise,
    Mutant::WriteIgnoresSeals,
    Mutant::OldFloorPasses,
    Mutant::ReadIgnoresSeals,
    Mutant::KeepAcksWhenNamingMore,
    Mutant::KeepAcksWhenFloorRises,
    Mutant::FirstCome,
    Mutant::SealBelowPromise,
    Mutant::TopSealOnly,
    Mutant::HoldWithoutPromise,
    Mutant::OneHolder,
    Mutant::CollectFromOne,
    Mutant::LeaveOutRivals,
    Mutant::LeaveOutFloors,
    Mutant::DecideByOneSeal,
    Mutant::DeleteWhilePending,
    Mutant::DeleteUncovered,
];

/// What only real nodes can do wrong in a change.
const BY_CHANGES: &[Mutant] = &[
    Mutant::OldRoundCounts,
    Mutant::CollectUnwhole,
    Mutant::CopyCounts,
    Mutant::FenceUnsynced,
    Mutant::GoingTakesWrites,
    Mutant::AnyStoreCounts,
];

/// Which faults of a layout change show in campaigns: by something that has happened, in strict clusters whose layouts
/// change. What they don't show, the model does.
pub(crate) fn hunt_changes(from: u64, seeds: u64, threads: usize, only: Option<&str>) -> bool {
    let all: Vec<Option<Mutant>> =
        [None].into_iter().chain(BY_MODEL.iter().chain(BY_CHANGES).copied().map(Some)).collect();
    let is_wanted = |mutant: &Option<Mutant>| {
        only.is_none_or(|only| mutant.is_some_and(|it| only.split(',').any(|name| name == it.name())))
    };
    let all: Vec<Option<Mutant>> = all.into_iter().filter(is_wanted).collect();
    let (next, sound) = (AtomicUsize::new(0), Mutex::new(true));
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some(&mutant) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    switch(mutant);
                    let sign = (from..from + seeds).find_map(|seed| Some((seed, unsafe_sign(&in_change(seed))?)));
                    let name = mutant.map_or("none", Mutant::name);
                    match &sign {
                        Some((seed, sign)) => println!("{name:<28} {} seeds: {sign}", seed - from + 1),
                        None => println!("{name:<28} not in {seeds} seeds"),
                    }
                    if mutant.is_none() && sign.is_some() {
                        *sound.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = false;
                    }
                }
            });
        }
    });
    sound.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A seed's story where quorums overlap and layouts change.
fn in_change(seed: u64) -> Story {
    let mut settings = Settings::draw(seed);
    (settings.elastic, settings.strict, settings.reconciling, settings.relaxed) = (1, 1, 0, 0);
    settings.r = settings.r.max(settings.n + 1 - settings.w);
    Story::draw_with(seed, settings, &|_| true)
}

fn unsafe_sign(story: &Story) -> Option<String> {
    let Ok(run) = catch_unwind(AssertUnwindSafe(|| play(story))) else { return Some("panic".into()) };
    let violation = run.result.err().filter(|violation| violation.property.is_safety())?;
    Some(format!("{:?}", violation.property))
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
    // In none of these stories the layout changes.
    let missing: Vec<_> = met.missing().filter(|name| !Coverage::is_of_changes(name)).collect();
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
    ("a stale replica is back, and only the trees can tell what it lacks", by_trees),
    ("a stale replica is back, and the logs tell what it lacks", by_logs),
    ("a write that an exchange said to be deleted arrives after it", unsettled),
    ("a write that is deleted arrives in the middle of an exchange", amid),
    ("a node starts again when all is deleted", nothing_left),
    ("a record rots, and is filled again", rotten),
    ("a stale replica is read, and nothing else tells it", unrepaired),
    ("a hint is joined into while it is on its way", joined_on_its_way),
    ("a lost disk is filled again by one that is stale", filled_by_one),
    ("many have hints for a node that is back", stormed),
    ("a node that is back can store nothing of what was kept for it", pressed),
    ("an owner without its disk gets a write that says a name", unnamed),
    ("a blind put where old starts have a name", blind),
];

/// Hints find no room: only exchanges bring home what was missed.
fn by_exchanges(dot_log: usize) -> SimBuilder {
    let limits = Limits { hint_bytes: 1, dot_log, ..Limits::default() };
    Sim::builder(3, 1).partitions(1).limits(limits)
}

fn by_trees() -> bool {
    stale(2)
}

fn by_logs() -> bool {
    stale(1_000)
}

fn stale(dot_log: usize) -> bool {
    let mut sim = by_exchanges(dot_log).build();
    let [a, b, c] = sim.owners("k")[..] else { return false };
    let keys: Vec<_> = (0..10).map(|number| format!("{number}")).collect();
    for key in &keys {
        let _ = sim.put(a, key, "old");
    }
    sim.settle();
    sim.crash(c);
    for (number, key) in keys.iter().enumerate() {
        let Ok(seen) = sim.get(a, key) else { return false };
        let value = (number % 2 == 0).then_some("new");
        let _ = sim.put_with(b, key, value, &seen.context, PutOptions::default());
    }
    sim.run_for(Duration::from_secs(10));
    sim.restart(c);
    sim.try_heal_all().is_err() || keys.iter().any(|key| sim.stored(c, key) != sim.stored(a, key))
}

/// The last owner gets a write so late; the first has it, or what deletes it, and so many others that only the trees
/// can tell; the second is gone. The first and the last exchange.
fn late_write(sim: &mut Sim, late: Duration, first_has_it: bool) -> bool {
    let [a, b, c] = sim.owners("k")[..] else { return false };
    let one = PutOptions { w: Some(1), ..PutOptions::default() };
    let arrives = sim.now() + late;
    sim.network.clog(c, sim.now(), arrives);
    if !first_has_it {
        sim.network.cut_one_way(b, a);
    }
    let Ok(written) = sim.put_with(b, "k", Some("old"), &Context::empty(), one.clone()) else { return false };
    sim.run_for(Duration::from_millis(5));
    sim.heal();
    sim.isolate(a);
    for number in 0..20 {
        let _ = sim.put_with(a, &format!("{number}"), Some("v"), &Context::empty(), one.clone());
    }
    let _ = sim.put_with(a, "k", None, &written.context, one);
    sim.heal();
    sim.isolate(b);
    sim.network.slow(c, Duration::from_millis(40));
    sim.run_until(arrives + Duration::from_secs(15));
    !sim.stored(c, "k").is_empty()
}

fn unsettled() -> bool {
    late_write(&mut by_exchanges(1).build(), Duration::from_secs(60), false)
}

fn amid() -> bool {
    (0..120).any(|step| late_write(&mut by_exchanges(1).build(), Duration::from_millis(8_000 + 50 * step), true))
}

fn nothing_left() -> bool {
    let mut sim = Sim::builder(3, 1).partitions(1).build();
    let node = sim.owners("k")[0];
    let _ = (sim.put(node, "k", "v"), sim.delete(node, "k", &Context::empty()));
    sim.settle();
    sim.stop(node);
    sim.restart(node);
    sim.run_for(Duration::from_secs(5));
    sim.events().iter().any(|(_, _, event)| matches!(event, Event::PartitionLost(_)))
}

fn rotten() -> bool {
    let timing = Timing { scrub: Duration::from_secs(10), ..Timing::default() };
    let mut sim = by_exchanges(1_000).timing(timing).build();
    let owners = sim.owners("k");
    let _ = (sim.put(owners[0], "k", "v"), sim.put(owners[0], "other", "v"));
    sim.settle();
    sim.rot(owners[1], 0, Space::Objects, 0);
    sim.run_for(Duration::from_secs(30));
    let healed = sim.try_heal_all().is_ok();
    !healed || owners.iter().any(|owner| sim.stored(*owner, "k") != ["v"] || sim.stored(*owner, "other") != ["v"])
}

fn filled_by_one() -> bool {
    let mut sim = by_exchanges(1_000).quorum(3, 2, 2, Mode::Strict).build();
    let [a, stale, c] = sim.owners("k")[..] else { return false };
    sim.isolate(stale);
    if sim.put(a, "k", "v").is_err() {
        return false;
    }
    sim.crash(c);
    sim.lose_data(c);
    sim.heal();
    sim.isolate(a);
    sim.restart(c);
    sim.run_for(Duration::from_secs(60));
    sim.get(stale, "k").is_ok_and(|found| found.values.is_empty())
}

/// Owners don't compare themselves.
fn without_exchanges() -> SimBuilder {
    Sim::builder(4, 1).timing(Timing { exchange: Duration::MAX, ..Timing::default() })
}

fn unrepaired() -> bool {
    let mut sim = without_exchanges().build();
    let [a, _, c] = sim.owners("k")[..] else { return false };
    sim.backup(c);
    let _ = sim.put(a, "k", "v");
    sim.settle();
    sim.crash(c);
    sim.restore(c);
    sim.restart(c);
    let _ = sim.get_with(a, "k", GetOptions { all: true, ..GetOptions::default() });
    sim.run_for(Duration::from_secs(1));
    sim.stored(c, "k") != ["v"]
}

fn joined_on_its_way() -> bool {
    (0..40).any(|step| {
        let mut sim = without_exchanges().build();
        let [a, b, c] = sim.owners("k")[..] else { return false };
        for owner in [a, b] {
            sim.network.cut_one_way(owner, c);
            sim.network.cut_one_way(c, owner);
        }
        sim.network.slow(c, Duration::from_millis(60));
        let _ = sim.put(a, "k", "first");
        sim.run_for(Duration::from_millis(25 * step));
        let _ = sim.put(a, "k", "second");
        sim.run_for(Duration::from_secs(20));
        sim.stored(c, "k") != ["first", "second"]
    })
}

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

/// A node is away while the second member puts so many keys.
fn missed(nodes: u64, keys: u64) -> (Sim, NodeId) {
    let mut sim = Sim::new(nodes, 11);
    let (away, writer) = (sim.members()[0], sim.members()[1]);
    sim.crash(away);
    for number in 0..keys {
        let _ = sim.put(writer, &format!("key {number}"), "value");
    }
    sim.run_for(Duration::from_secs(1));
    (sim, away)
}

fn stormed() -> bool {
    let (mut sim, away) = missed(6, 400);
    sim.network.slow(away, Duration::from_millis(30));
    sim.restart(away);
    sim.settle();
    sim.counters().hints_waited == 0
}

fn pressed() -> bool {
    let (mut sim, away) = missed(3, 40);
    sim.disk(away)[0].set(DiskFault::Writes, true);
    sim.restart(away);
    sim.run_for(Duration::from_secs(30));
    // Half of the first eight, half of that, and then one at a time.
    sim.counters().hints_sent > 24
}

/// Owners that have all started often, and what is known of one key after that.
fn worn() -> Option<(Sim, Context)> {
    let mut sim = Sim::builder(3, 7).partitions(1).build();
    let owners = sim.owners("k");
    let mut context = Context::empty();
    for round in 0..12 {
        for &node in &owners {
            sim.stop(node);
            sim.restart(node);
            let value = format!("v{round}");
            context = sim.put_with(node, "k", Some(&value), &context, PutOptions::default()).ok()?.context;
        }
        sim.run_for(Duration::from_secs(2));
    }
    Some((sim, context))
}

fn unnamed() -> bool {
    let Some((mut sim, context)) = worn() else { return true };
    let [a, b, c] = sim.owners("k")[..] else { return false };
    sim.stop(c);
    sim.stop(b);
    sim.lose_data(b);
    // Nobody hears what it says, when it starts or when it asks.
    sim.network.cut_one_way(b, a);
    sim.restart(b);
    sim.run_for(Duration::from_millis(2));
    let _ = sim.put_with(a, "k", Some("half told"), &context, PutOptions::default());
    !sim.stored(b, "k").is_empty()
}

fn blind() -> bool {
    let Some((mut sim, _)) = worn() else { return true };
    let owners = sim.owners("k");
    let _ = sim.put(owners[0], "k", "beside");
    sim.settle();
    owners.iter().any(|&owner| sim.stored(owner, "k").len() != 2)
}
