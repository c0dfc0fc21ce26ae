//! Processes that are killed (`SIGKILL`) at random moments: what they had acknowledged is on their disk, and nothing is
//! there by half. `QUORATE_KILLS` says how often each is killed; `cargo test --features redb --test redb kill`.

#![allow(clippy::disallowed_methods, reason = "a kill comes at a moment of the real clock, and a pipe is read beside")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::ops::ControlFlow;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use quorate::storage::{Batch, Space, Storage};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::*;

const WHAT: &str = "QUORATE_KILL_CHILD";

/// Not a test by itself: what the processes run that are killed.
#[test]
#[ignore = "it is run by the tests that kill it"]
fn child() {
    let Ok(what) = std::env::var(WHAT) else { return };
    let (what, path) = what.split_once(' ').expect("what to do, and where");
    match what {
        "storage" => write_batches(Path::new(path)),
        _ => put_in_a_cluster(Path::new(path)),
    }
}

/// A process that acknowledges numbers, in ascending order.
struct Victim {
    process: Child,
    acknowledged: Receiver<u64>,
}

impl Victim {
    fn start(what: &str, path: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child", "--include-ignored", "--nocapture"])
            .env(WHAT, format!("{what} {}", path.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let (to, acknowledged) = channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                match line.strip_prefix("acknowledged ") {
                    // The point says that the kill has not cut the number short.
                    Some(number) => _ = number.strip_suffix('.').map(|number| to.send(number.parse().unwrap())),
                    None => eprintln!("{line}"),
                }
            }
        });
        Self { process, acknowledged }
    }

    /// Kills it, mostly in the midst of its work, at times while it opens its files. Gives the numbers that it has
    /// acknowledged.
    fn kill_at_random(mut self, rng: &mut Xoshiro256PlusPlus) -> Vec<u64> {
        let mut numbers = Vec::new();
        if rng.random_ratio(3, 4) {
            numbers.push(self.acknowledged.recv_timeout(LONG).expect("it has something to acknowledge"));
        }
        let until = Instant::now() + Duration::from_micros(rng.random_range(0..60_000));
        loop {
            match self.acknowledged.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(number) => numbers.push(number),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => panic!("it has ended by itself"),
            }
        }
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        // What it had said before it died.
        numbers.extend(self.acknowledged.iter());
        numbers
    }
}

fn acknowledge(number: u64) {
    std::io::stderr().write_all(format!("acknowledged {number}.\n").as_bytes()).unwrap();
}

fn kills() -> u32 {
    std::env::var("QUORATE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(20)
}

// ---- a storage

/// As a node writes: the line says which batch was the last, and each batch changes all spaces.
fn batch(number: u64) -> Vec<(Space, Vec<u8>, Option<Vec<u8>>)> {
    let value = |length: u64| Some(number.to_le_bytes().into_iter().cycle().take(length as usize).collect());
    let key = |number: u64| number.to_be_bytes().to_vec();
    let mut writes = vec![
        (Space::Dots, b"line".to_vec(), value(8)),
        (Space::Objects, key(number % 97), value(8 + number % 400)),
        (Space::Objects, key(1_000 + number % 7), value(if number.is_multiple_of(50) { 50_000 } else { 20 })),
        (Space::Hints, key(number), value(100)),
        (Space::Meta, key(number % 3), value(8)),
    ];
    if let Some(old) = number.checked_sub(40) {
        writes.push((Space::Hints, key(old), None));
    }
    writes
}

type Content = BTreeMap<(Space, Vec<u8>), Vec<u8>>;

fn apply(content: &mut Content, number: u64) {
    for (space, key, value) in batch(number) {
        match value {
            Some(value) => content.insert((space, key), value),
            None => content.remove(&(space, key)),
        };
    }
}

fn open(path: &Path) -> RedbStorage {
    DataDirectory::open(path, NodeId(1), 1, &options()).unwrap().storages().unwrap().remove(0)
}

fn last_of(storage: &RedbStorage) -> u64 {
    let line = storage.get(Space::Dots, b"line").unwrap();
    line.map_or(0, |line| u64::from_le_bytes(line[..].try_into().unwrap()))
}

fn write_batches(path: &Path) {
    let mut storage = open(path);
    for number in last_of(&storage) + 1.. {
        let mut writes = Batch::new();
        for (space, key, value) in batch(number) {
            match value {
                Some(value) => writes.put(space, &key, &value),
                None => writes.delete(space, &key),
            }
        }
        storage.write(&writes).unwrap();
        // Syncs of one batch, and of a dozen.
        if number % 13 < 3 {
            storage.sync().unwrap();
            acknowledge(number);
        }
    }
}

#[test]
fn a_storage_whose_process_is_killed_has_all_that_was_synced_and_nothing_by_half() {
    let root = Temporary::new();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
    let (mut content, mut reached, mut acknowledged, mut further) = (Content::new(), 0, 0, 0_u32);
    for kill in 0..kills() {
        let numbers = Victim::start("storage", &root.0).kill_at_random(&mut rng);
        acknowledged = numbers.last().copied().unwrap_or(acknowledged);
        let storage = open(&root.0);
        let found = last_of(&storage);
        assert!(found >= acknowledged.max(reached), "kill {kill}: {acknowledged} was synced, {found} is there");
        further += u32::from(found > acknowledged);
        while reached < found {
            reached += 1;
            apply(&mut content, reached);
        }
        let mut there = Content::new();
        for space in Space::ALL {
            let all = storage.scan(space, &[], &mut |key, value| {
                there.insert((space, key.to_vec()), value.to_vec());
                ControlFlow::Continue(())
            });
            all.unwrap();
        }
        assert!(there == content, "kill {kill}: what is there is not what {found} batches have written");
    }
    eprintln!("{} kills: {reached} batches, {further} times more was there than was acknowledged", kills());
    assert!(reached > 0, "it has written something");
}

// ---- nodes

const KEYS: u64 = 30;

fn key_of(number: u64) -> String {
    format!("key {}", number % KEYS)
}

/// Three nodes in one process that dies: each put supersedes the one before under its key.
fn put_in_a_cluster(path: &Path) {
    let three = Three::start(path, false);
    let mut number = 0;
    for node in 1..=3 {
        for key in 0..KEYS {
            eventually("a first read", || match three.get(node, &key_of(key)) {
                Some(found) => {
                    number = number.max(found.iter().map(|value| value.parse().unwrap()).max().unwrap_or(0));
                    true
                }
                None => false,
            });
        }
    }
    loop {
        number += 1;
        let (bucket, key) = (three.bucket(1 + number % 3), key_of(number));
        let Ok(seen) = bucket.get(key.as_str()).wait() else { continue };
        if bucket.put(key.as_str(), number.to_string(), &seen.context).wait().is_ok() {
            acknowledge(number);
        }
    }
}

#[test]
fn three_nodes_whose_process_is_killed_have_all_that_they_acknowledged() {
    let root = Temporary::new();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(4);
    // By key: the number that was acknowledged last.
    let mut latest: BTreeMap<String, u64> = BTreeMap::new();
    let mut total = 0;
    for kill in 0..kills() {
        let numbers = Victim::start("nodes", &root.0).kill_at_random(&mut rng);
        total += numbers.len();
        latest.extend(numbers.into_iter().map(|number| (key_of(number), number)));
        let three = Three::start(&root.0, false);
        for (key, number) in &latest {
            eventually("a read", || match three.get(1 + number % 3, key) {
                Some(found) => {
                    let newest = found.iter().map(|value| value.parse::<u64>().unwrap()).max();
                    assert!(newest >= Some(*number), "kill {kill}: {key} had {number}, and has {found:?}");
                    true
                }
                None => false,
            });
        }
    }
    eprintln!("{} kills: {total} puts were acknowledged", kills());
    assert!(total > 0, "it has acknowledged something");
}
