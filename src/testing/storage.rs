//! What every storage must do, as programs that show it.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::program::{APART, BREAKS_OFF, Change, Host, NEW, ORDERED, PREFIX, SETTLED, SYNCED, Step, WHOLE, check};
use crate::storage::{Space, Storage};

const NOTHING: &str = "a write that fails writes nothing";
const MODEL: &str = "what is read is what was written";

/// Checks what every [`Storage`] promises to a node that doesn't crash.
///
/// `open` makes a new, empty storage at every call; it is called some hundred times, and each storage is dropped
/// before the next is made. The operations are the same in every run.
///
/// ```
/// use quorate::storage::MemoryStorage;
///
/// quorate::testing::storage_suite(MemoryStorage::new);
/// ```
///
/// # Panics
/// If a rule is broken: with the rule, and the shortest operations found that show it.
pub fn storage_suite<S: Storage>(mut open: impl FnMut() -> S) {
    let (crash, refuse) = (&mut |storage| storage, &mut |_: &mut S, _| {});
    let mut host = Host { open: &mut open, crash, refuse };
    for (rule, program) in everyday() {
        check(&mut host, rule, &program);
    }
    for seed in 0..64 {
        check(&mut host, MODEL, &random(seed, 48, |_, changes| Step::Write(changes)));
    }
}

/// Checks what a [`Storage`] promises when the power fails, or the process dies.
///
/// `open` makes a new, empty storage. `crash` takes it down as roughly as the implementor can – at least without
/// syncing it; better, with what wasn't synced lost, all or some of it, a different part each time – and gives back
/// what the next start finds. It draws its own chances, from a seed if it is wise.
///
/// ```
/// use quorate::sim::SimDisk;
/// use quorate::testing::crash_suite;
///
/// crash_suite(SimDisk::new, |mut disk| {
///     disk.crash_keeping(disk.unsynced() / 2);
///     disk
/// });
/// ```
///
/// # Panics
/// If a rule is broken: with the rule, and the shortest operations found that show it.
pub fn crash_suite<S: Storage>(mut open: impl FnMut() -> S, mut crash: impl FnMut(S) -> S) {
    let mut host = Host { open: &mut open, crash: &mut crash, refuse: &mut |_, _| {} };
    for (rule, program) in crashes() {
        // Whoever crashes by chance gets several.
        for _ in 0..16 {
            check(&mut host, rule, &program);
        }
    }
    for seed in 0..64 {
        let program =
            random(seed, 48, |rng, changes| if rng.random_ratio(1, 8) { Step::Crash } else { Step::Write(changes) });
        check(&mut host, MODEL, &program);
    }
}

/// Checks what a [`Storage`] promises when it can't write: an error, and nothing of the batch.
///
/// `open` makes a new, empty storage; `refuse(storage, true)` makes its writes fail from then on, best of all in the
/// middle of a batch, and `refuse(storage, false)` ends that.
///
/// ```
/// use quorate::sim::{DiskFault, SimDisk};
/// use quorate::testing::refusal_suite;
///
/// refusal_suite(SimDisk::new, |disk, on| disk.faults().set(DiskFault::Writes, on));
/// ```
///
/// # Panics
/// If a rule is broken: with the rule, and the shortest operations found that show it.
pub fn refusal_suite<S: Storage>(mut open: impl FnMut() -> S, mut refuse: impl FnMut(&mut S, bool)) {
    let mut host = Host { open: &mut open, crash: &mut |storage| storage, refuse: &mut refuse };
    let many = || (b'a'..=b'h').flat_map(|key| Space::ALL.map(|space| put(space, [key], [key, b'1']))).collect();
    let over = || {
        let mut changes: Vec<_> = (b'c'..=b'k').map(|key| put(Space::Objects, [key], "2")).collect();
        changes.extend((b'a'..=b'd').map(|key| delete(Space::Dots, [key])));
        changes
    };
    for program in [
        vec![Step::Refused(vec![put(Space::Objects, "k", "1")])],
        vec![Step::Refused(many())],
        vec![Step::Write(many()), Step::Refused(over())],
        vec![Step::Write(many()), Step::Sync, Step::Refused(over()), Step::Sync],
        vec![Step::Write(many()), Step::Refused(over()), Step::Write(vec![put(Space::Hints, "z", "3")]), Step::Sync],
    ] {
        check(&mut host, NOTHING, &program);
    }
    for seed in 0..32 {
        let program = random(seed, 48, |rng, changes| {
            if !changes.is_empty() && rng.random_ratio(1, 4) { Step::Refused(changes) } else { Step::Write(changes) }
        });
        check(&mut host, NOTHING, &program);
    }
}

fn put(space: Space, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Change {
    Change { space, key: key.as_ref().to_vec(), value: Some(value.as_ref().to_vec()) }
}

fn delete(space: Space, key: impl AsRef<[u8]>) -> Change {
    Change { space, key: key.as_ref().to_vec(), value: None }
}

/// A batch of one write to the objects.
fn one(key: &str, value: &str) -> Step {
    Step::Write(vec![put(Space::Objects, key, value)])
}

/// Keys that a comparison by length, by sign, by text or with an end mark puts into another order.
fn keys() -> Vec<Vec<u8>> {
    let short: [&[u8]; 16] = [
        b"\0",
        b"\0\0",
        b"\0\x01",
        b"\0\xff",
        b"\x01",
        b"a",
        b"a\0",
        b"a\0b",
        b"a\xff",
        b"aa",
        b"b",
        b"b0",
        b"\x7f",
        b"\x80",
        b"\xff",
        b"\xff\xff",
    ];
    let mut keys: Vec<_> = short.iter().map(|key| key.to_vec()).collect();
    // As long as a key of a node's gets with the default limits, and two that differ in the last byte alone.
    let longest = 4096 + 20;
    keys.extend([vec![b'l'; longest - 1], [vec![b'l'; longest - 1], vec![0]].concat(), vec![b'l'; longest]]);
    keys
}

/// The rules, from the simple to the particular: a storage that is wrong is told the simplest that it breaks.
fn everyday() -> Vec<(&'static str, Vec<Step>)> {
    let objects = Space::Objects;
    let mut rules = vec![
        (NEW, vec![Step::Sync]),
        ("a write is visible at once, synced or not", vec![one("k", "1"), Step::Sync]),
        ("a sync changes nothing that is read", vec![Step::Sync, one("k", "1"), Step::Sync, Step::Sync, one("k", "2")]),
        ("an empty batch changes nothing", vec![one("k", "1"), Step::Write(Vec::new()), Step::Sync]),
    ];
    let in_order = "the writes of a batch apply in order: a later one of the same key wins";
    for batch in [
        vec![put(objects, "k", "1"), put(objects, "k", "2")],
        vec![put(objects, "k", "1"), delete(objects, "k")],
        vec![delete(objects, "k"), put(objects, "k", "2")],
        vec![put(objects, "k", "1"), delete(objects, "k"), put(objects, "k", "3"), put(objects, "l", "4")],
    ] {
        rules.push((in_order, vec![Step::Write(batch.clone())]));
        rules.push((in_order, vec![one("k", "0"), Step::Sync, Step::Write(batch)]));
    }
    let replaces = "a write replaces the whole value";
    for (old, new) in [("1", "2"), ("long", "s"), ("s", "long")] {
        rules.push((replaces, vec![one("k", old), one("k", new), Step::Sync, one("k", old)]));
    }
    let empty = "an empty value is a value";
    rules.push((empty, vec![one("k", ""), Step::Sync, one("k", "1"), one("k", "")]));
    let deletes = "a delete removes its key and nothing else";
    for then in [delete(objects, "b"), delete(objects, "nothing"), delete(objects, "a")] {
        let three = ["a", "aa", "b"].map(|key| put(objects, key, "1")).to_vec();
        rules.push((
            deletes,
            vec![Step::Write(three), Step::Write(vec![then.clone()]), Step::Sync, Step::Write(vec![then])],
        ));
    }
    rules.push((deletes, vec![one("k", "1"), Step::Write(vec![delete(objects, "k")]), one("k", "2")]));
    for space in Space::ALL {
        let all = Space::ALL.map(|space| put(space, "k", format!("{space:?}"))).to_vec();
        rules.push((
            APART,
            vec![Step::Write(vec![put(space, "k", "1")]), Step::Write(all), Step::Write(vec![delete(space, "k")])],
        ));
    }
    let keys = keys();
    for backwards in [false, true] {
        let mut writes: Vec<_> = keys.iter().map(|key| Step::Write(vec![put(objects, key, "1")])).collect();
        if backwards {
            writes.reverse();
        }
        rules.push((ORDERED, writes));
    }
    rules.extend(scans(&keys));
    let exact = "values come back byte for byte";
    let bytes = |length: usize| (0..length).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect::<Vec<_>>();
    for length in [2, 255, 256, 4095, 4096, 65_535, 65_536, (1 << 20) + 4096] {
        rules.push((exact, vec![Step::Write(vec![put(objects, "k", bytes(length))]), Step::Sync]));
    }
    let whole = "a batch is applied whole";
    let many =
        (0..1000_u16).map(|at| put(Space::ALL[usize::from(at) % 4], at.to_be_bytes(), at.to_le_bytes())).collect();
    let gone = (0..1000_u16).map(|at| delete(Space::ALL[usize::from(at) % 4], at.to_be_bytes())).collect();
    rules.push((whole, vec![Step::Write(many), Step::Sync, Step::Write(gone)]));
    rules
}

fn scans(keys: &[Vec<u8>]) -> Vec<(&'static str, Vec<Step>)> {
    let begins = "a scan begins at the first key that is not below `from`";
    let (left, space) = (Space::Objects, Space::Dots);
    // Neighbours on both sides of the space that is scanned, and every other key, so that `from` may lie between.
    let mut writes: Vec<_> = keys.iter().step_by(2).map(|key| put(space, key, key)).collect();
    writes.extend([put(left, "a", "1"), put(Space::Hints, "a", "1")]);
    let scan = |from: &[u8], limit| vec![Step::Write(writes.clone()), Step::Scan(space, from.to_vec(), limit)];
    let mut rules: Vec<_> = keys.iter().map(|from| (begins, scan(from, usize::MAX))).collect();
    rules.extend([&b"\xff\xff\xff"[..], b"", b"a\0\0", b"a\x01"].map(|from| (begins, scan(from, usize::MAX))));
    for limit in [1, 2, 5, writes.len() - 3, writes.len() - 2] {
        rules.extend([(BREAKS_OFF, scan(b"", limit)), (BREAKS_OFF, scan(b"a", limit))]);
    }
    rules
}

fn crashes() -> Vec<(&'static str, Vec<Step>)> {
    // As a node writes: each batch has a record, and rewrites the row that speaks for all records so far.
    let batch = |at: u8| {
        let record = put(Space::Objects, [b'k', at], [at; 100]);
        Step::Write(vec![record, put(Space::Dots, "row", (1..=at).collect::<Vec<_>>())])
    };
    let batches = |range: std::ops::RangeInclusive<u8>| range.map(batch);
    let large = |value: &str| {
        Space::ALL
            .into_iter()
            .flat_map(|space| (0..8).map(move |key| (space, [key])))
            .map(|(space, key)| put(space, key, value))
            .collect()
    };
    let mixed =
        (0..8).map(|key| if key % 2 == 0 { delete(Space::Hints, [key]) } else { put(Space::Hints, [key], "3") });
    vec![
        (SYNCED, vec![Step::Crash]),
        (SYNCED, vec![batch(1), Step::Sync, Step::Crash]),
        (SYNCED, vec![batch(1), batch(2), Step::Sync, batch(3), Step::Crash]),
        (
            SYNCED,
            vec![one("k", "1"), Step::Sync, Step::Write(vec![delete(Space::Objects, "k")]), Step::Sync, Step::Crash],
        ),
        (SYNCED, vec![one("k", "1"), Step::Sync, one("k", "2"), Step::Sync, one("k", "3"), Step::Crash]),
        (WHOLE, vec![Step::Write(large("1")), Step::Crash]),
        (
            WHOLE,
            vec![
                Step::Write(large("1")),
                Step::Sync,
                Step::Write(large("2")),
                Step::Write(mixed.collect()),
                Step::Crash,
            ],
        ),
        (PREFIX, batches(1..=8).chain([Step::Crash]).collect()),
        (PREFIX, batches(1..=4).chain([Step::Sync]).chain(batches(5..=12)).chain([Step::Crash]).collect()),
        (SETTLED, batches(1..=3).chain([Step::Crash, Step::Crash]).collect()),
        (SETTLED, [batch(1), Step::Sync, batch(2), Step::Crash, Step::Crash].to_vec()),
        (SYNCED, [batch(1), Step::Crash, batch(2), Step::Sync, batch(3), Step::Crash, Step::Crash].to_vec()),
    ]
}

/// A program of so many steps, mostly what `act` makes of a batch.
fn random(seed: u64, length: usize, mut act: impl FnMut(&mut Xoshiro256PlusPlus, Vec<Change>) -> Step) -> Vec<Step> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let keys = keys();
    let space = |rng: &mut Xoshiro256PlusPlus| Space::ALL[rng.random_range(0..4)];
    let mut number = 0_u64;
    let mut step = || {
        let key = |rng: &mut Xoshiro256PlusPlus| keys[rng.random_range(0..keys.len())].clone();
        match rng.random_range(0..10) {
            0 => Step::Sync,
            1..4 => {
                let limit = if rng.random() { usize::MAX } else { rng.random_range(1..6) };
                Step::Scan(space(&mut rng), key(&mut rng), limit)
            }
            _ => {
                let changes = (0..rng.random_range(0..6)).map(|_| {
                    let (space, key) = (space(&mut rng), key(&mut rng));
                    // Every value but the empty one is written once, so that what survives a crash names its batch.
                    number += 1;
                    let value = number.to_be_bytes().repeat([0, 1, 1, 1, 40][rng.random_range(0..5)]);
                    Change { space, key, value: rng.random_ratio(3, 4).then_some(value) }
                });
                let changes = changes.collect();
                act(&mut rng, changes)
            }
        }
    };
    (0..length).map(|_| step()).collect()
}
