//! Storages.

use std::collections::BTreeMap;

use quorate::Bytes;
use quorate::error::StorageError;
use quorate::sim::{DiskFault, SimDisk};
use quorate::storage::{Batch, MemoryStorage, Space, Storage, Visit};
use quorate::testing::{crash_suite, refusal_suite, storage_suite};

use super::assert_rejected;

#[test]
fn the_storages_that_ship_pass() {
    storage_suite(MemoryStorage::new);
    storage_suite(SimDisk::new);
    let mut crashes = 0;
    crash_suite(SimDisk::new, |mut disk| {
        crashes += 1;
        disk.crash_keeping(crashes % (disk.unsynced() + 1));
        disk
    });
    refusal_suite(SimDisk::new, |disk, on| disk.faults().set(DiskFault::Writes, on));
}

/// What is wrong with a storage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wrong {
    Nothing,
    // What any use shows.
    Used,
    Fails,
    Unsynced,
    FirstWins,
    DeletesLast,
    EmptyIsDelete,
    KeepsTail,
    DeletesPrefix,
    SharesSpaces,
    ShortKeysFirst,
    SignedBytes,
    FromExcluded,
    FromLongest,
    GoesOn,
    OneTooFew,
    Truncates,
    HalfOfALargeBatch,
    LosesTheSeventh,
    StaleCache,
    // What a crash shows.
    SyncsNothing,
    SyncsAllButTheLast,
    Torn,
    Reordered,
    SpacesApart,
    ForgetsLater,
    // What a failing write shows.
    HalfOfAFailedBatch,
    RetriesLater,
    SaysFenced,
    NeverFails,
}

type Key = (Space, Vec<u8>);

/// A storage in memory, right but for one thing.
#[derive(Clone)]
struct Flawed {
    wrong: Wrong,
    data: BTreeMap<Key, Vec<u8>>,
    /// What a crash leaves for sure.
    durable: BTreeMap<Key, Vec<u8>>,
    /// The batches since the last sync.
    later: Vec<Vec<(Key, Option<Vec<u8>>)>>,
    cache: BTreeMap<Key, Vec<u8>>,
    refuses: bool,
    refused: Vec<(Key, Option<Vec<u8>>)>,
}

impl Flawed {
    fn new(wrong: Wrong) -> Self {
        let mut data = BTreeMap::new();
        if wrong == Wrong::Used {
            data.insert((Space::Meta, b"store".to_vec()), b"mine".to_vec());
        }
        let (durable, later, cache) = (data.clone(), Vec::new(), BTreeMap::new());
        Self { wrong, data, durable, later, cache, refuses: false, refused: Vec::new() }
    }

    fn place(&self, space: Space, key: &[u8]) -> Key {
        (if self.wrong == Wrong::SharesSpaces { Space::Objects } else { space }, key.to_vec())
    }

    fn apply(&mut self, key: &Key, value: Option<&[u8]>) {
        match value {
            Some([]) if self.wrong == Wrong::EmptyIsDelete => _ = self.data.remove(key),
            Some(value) => {
                let mut value = value.to_vec();
                match (self.wrong, self.data.get(key)) {
                    (Wrong::KeepsTail, Some(old)) if old.len() > value.len() => value.extend(&old[value.len()..]),
                    (Wrong::Truncates, _) => value.truncate(usize::from(u16::MAX)),
                    _ => {}
                }
                self.data.insert(key.clone(), value);
                let mut others = self.data.keys().filter(|(space, _)| *space == Space::Hints);
                if self.wrong == Wrong::LosesTheSeventh
                    && let Some(seventh) = others.nth(6).cloned()
                {
                    self.data.remove(&seventh);
                }
            }
            None if self.wrong == Wrong::DeletesPrefix => {
                self.data.retain(|(space, bytes), _| *space != key.0 || !bytes.starts_with(&key.1));
            }
            None => _ = self.data.remove(key),
        }
    }

    fn crash(mut self) -> Self {
        let apply = |data: &mut BTreeMap<Key, Vec<u8>>, changes: &[(Key, Option<Vec<u8>>)]| {
            for (key, value) in changes {
                match value {
                    Some(value) => data.insert(key.clone(), value.clone()),
                    None => data.remove(key),
                };
            }
        };
        let mut data = self.durable.clone();
        match self.wrong {
            Wrong::Torn => {
                for (at, changes) in self.later.iter().enumerate() {
                    let whole = at + 1 < self.later.len();
                    apply(&mut data, if whole { changes } else { &changes[..changes.len() / 2] });
                }
            }
            Wrong::Reordered => self.later.iter().skip(1).for_each(|changes| apply(&mut data, changes)),
            Wrong::SpacesApart => {
                for changes in &self.later {
                    let clocks: Vec<_> =
                        changes.iter().filter(|((space, _), _)| *space == Space::Dots).cloned().collect();
                    apply(&mut data, &clocks);
                }
            }
            // The most that a crash may leave.
            _ => self.later.iter().for_each(|changes| apply(&mut data, changes)),
        }
        self.data = data;
        if self.wrong != Wrong::ForgetsLater {
            self.durable.clone_from(&self.data);
        }
        self.later.clear();
        self
    }
}

impl Storage for Flawed {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        let key = self.place(space, key);
        let data = match self.wrong {
            Wrong::Fails => return Err(StorageError::Read("no reason".into())),
            Wrong::Unsynced => &self.durable,
            Wrong::StaleCache if self.cache.contains_key(&key) => &self.cache,
            _ => &self.data,
        };
        Ok(data.get(&key).map(|value| Bytes::from(&value[..])))
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StorageError> {
        let mut changes: Vec<_> =
            batch.iter().map(|write| (self.place(write.space, write.key), write.value.map(<[u8]>::to_vec))).collect();
        if self.refuses && self.wrong != Wrong::NeverFails {
            match self.wrong {
                Wrong::HalfOfAFailedBatch => {
                    changes.truncate(changes.len().div_ceil(2));
                    changes.iter().for_each(|(key, value)| self.apply(key, value.as_deref()));
                }
                Wrong::RetriesLater => self.refused = changes,
                Wrong::SaysFenced => return Err(StorageError::Fenced),
                _ => {}
            }
            return Err(StorageError::Full);
        }
        match self.wrong {
            Wrong::FirstWins => changes.reverse(),
            Wrong::DeletesLast => changes.sort_by_key(|(_, value)| value.is_none()),
            Wrong::HalfOfALargeBatch => changes.truncate(500),
            _ => {}
        }
        for (key, value) in self.refused.drain(..).chain(changes.clone()).collect::<Vec<_>>() {
            self.apply(&key, value.as_deref());
            // It holds what was written twice, and is told of no delete.
            if let (Some(value), true) = (value, self.data.contains_key(&key)) {
                self.cache.insert(key, value);
            }
        }
        self.later.push(changes);
        Ok(())
    }

    fn scan(&self, space: Space, from: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        let (space, from) = self.place(space, from);
        let mut pairs: Vec<_> = self.data.iter().filter(|((in_space, _), _)| *in_space == space).collect();
        pairs.retain(|((_, key), _)| match self.wrong {
            Wrong::FromExcluded => *key > from,
            Wrong::FromLongest => key.len() >= from.len() && *key >= from,
            _ => *key >= from,
        });
        match self.wrong {
            Wrong::ShortKeysFirst => pairs.sort_by_key(|((_, key), _)| key.len()),
            Wrong::SignedBytes => {
                pairs.sort_by_key(|((_, key), _)| key.iter().map(|byte| byte.cast_signed()).collect::<Vec<_>>())
            }
            Wrong::OneTooFew => _ = pairs.pop(),
            _ => {}
        }
        for ((_, key), value) in pairs {
            if visit(key, value).is_break() && self.wrong != Wrong::GoesOn {
                break;
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        match self.wrong {
            Wrong::SyncsNothing => {}
            Wrong::SyncsAllButTheLast if !self.later.is_empty() => {
                let last = self.later.len() - 1;
                self.durable.clone_from(&self.data);
                for (key, _) in &self.later[last] {
                    self.durable.remove(key);
                }
            }
            _ => self.durable.clone_from(&self.data),
        }
        self.later.clear();
        Ok(())
    }
}

fn flawed(wrong: Wrong) -> impl FnMut() -> Flawed {
    move || Flawed::new(wrong)
}

/// The suite must say which rule is broken, and by what: the report's lines, or how they begin.
fn assert_suite_rejects(wrong: Wrong, lines: &[&str]) {
    assert_rejected("Storage", lines, || storage_suite(flawed(wrong)));
}

fn assert_crashes_reject(wrong: Wrong, lines: &[&str]) {
    assert_rejected("Storage", lines, || crash_suite(flawed(wrong), Flawed::crash));
}

fn assert_refusals_reject(wrong: Wrong, lines: &[&str]) {
    assert_rejected("Storage", lines, || refusal_suite(flawed(wrong), |storage, on| storage.refuses = on));
}

#[test]
fn without_a_flaw_it_passes() {
    storage_suite(flawed(Wrong::Nothing));
    crash_suite(flawed(Wrong::Nothing), Flawed::crash);
    refusal_suite(flawed(Wrong::Nothing), |storage, on| storage.refuses = on);
}

#[test]
fn reads_that_show_something_else_are_rejected() {
    let visible = "a write is visible at once, synced or not";
    let one = r#"1. write [Objects b"k" = b"1"]"#;
    assert_suite_rejects(
        Wrong::Used,
        &["a new storage is empty", r#"scan Meta b"" then shows Meta b"store" = b"mine" instead of its end"#],
    );
    assert_suite_rejects(
        Wrong::Fails,
        &["no call fails without a cause", one, "get failed: the storage failed to read"],
    );
    assert_suite_rejects(Wrong::Unsynced, &[visible, one, r#"get Objects b"k" then gives nothing instead of b"1""#]);
    assert_suite_rejects(Wrong::OneTooFew, &[visible, one, r#"scan Objects b"" then shows its end instead of "#]);
    assert_suite_rejects(
        Wrong::SharesSpaces,
        &["the spaces are kept apart", one, r#"scan Dots b"" then shows Dots b"k" = b"1" instead of its end"#],
    );
}

#[test]
fn writes_that_do_something_else_are_rejected() {
    let in_order = "the writes of a batch apply in order: a later one of the same key wins";
    assert_suite_rejects(
        Wrong::FirstWins,
        &[
            in_order,
            r#"1. write [Objects b"k" = b"1", Objects b"k" = b"2"]"#,
            r#"get Objects b"k" then gives b"1" instead of b"2""#,
        ],
    );
    assert_suite_rejects(Wrong::DeletesLast, &[in_order, r#"1. write [delete Objects b"k", Objects b"k" = b"2"]"#]);
    assert_suite_rejects(Wrong::StaleCache, &[in_order, r#"1. write [Objects b"k" = b"1", delete Objects b"k"]"#]);
    assert_suite_rejects(
        Wrong::KeepsTail,
        &[
            "a write replaces the whole value",
            r#"1. write [Objects b"k" = b"long"]"#,
            r#"2. write [Objects b"k" = b"s"]"#,
            r#"get Objects b"k" then gives b"song" instead of b"s""#,
        ],
    );
    assert_suite_rejects(
        Wrong::EmptyIsDelete,
        &[
            "an empty value is a value",
            r#"1. write [Objects b"k" = b""]"#,
            r#"get Objects b"k" then gives nothing instead of b"""#,
        ],
    );
    assert_suite_rejects(
        Wrong::DeletesPrefix,
        &[
            "a delete removes its key and nothing else",
            r#"1. write [Objects b"aa" = b"1"]"#,
            r#"2. write [delete Objects b"a"]"#,
            r#"get Objects b"aa" then gives nothing instead of b"1""#,
        ],
    );
    assert_suite_rejects(
        Wrong::Truncates,
        &["values come back byte for byte", r#"1. write [Objects b"k" = b"\x00\x01"#],
    );
    let whole = "a batch is applied whole";
    assert_suite_rejects(Wrong::HalfOfALargeBatch, &[whole, r"1. write ["]);
    assert_suite_rejects(Wrong::LosesTheSeventh, &[whole, r#"1. write [Hints b"\x03\xce" = "#]);
}

#[test]
fn scans_that_show_something_else_are_rejected() {
    let ordered = "a scan goes up in the order of the keys' bytes, and shows each key once";
    assert_suite_rejects(
        Wrong::ShortKeysFirst,
        &[
            ordered,
            r#"1. write [Objects b"aa" = b"1", Objects b"b" = b"1"]"#,
            r#"scan Objects b"" shows Objects b"b" and then Objects b"aa""#,
        ],
    );
    assert_suite_rejects(Wrong::SignedBytes, &[ordered, r#"1. write [Objects b"\x00\x00" = b"1"]"#]);
    let begins = "a scan begins at the first key that is not below `from`";
    assert_suite_rejects(
        Wrong::FromExcluded,
        &[
            begins,
            r#"1. write [Dots b"\x00" = b"\x00"]"#,
            r#"2. scan Dots b"\x00""#,
            r#"scan Dots b"\x00" then shows its end instead of Dots b"\x00""#,
        ],
    );
    assert_suite_rejects(
        Wrong::FromLongest,
        &[begins, r#"1. write [Dots b"\xff" = b"\xff"]"#, r#"2. scan Dots b"\x00\x00""#],
    );
    assert_suite_rejects(
        Wrong::GoesOn,
        &[
            "a scan ends when `visit` breaks off",
            r#"1. write [Dots b"\x7f" = b"\x7f", Dots b"\xff" = b"\xff"]"#,
            r#"2. scan Dots b"", at most 1"#,
            r#"scan Dots b"", at most 1 calls `visit` 1 times more after it broke off"#,
        ],
    );
}

#[test]
fn crashes_that_lose_something_else_are_rejected() {
    let synced = "what was synced survives a crash";
    for wrong in [Wrong::SyncsNothing, Wrong::SyncsAllButTheLast] {
        assert_crashes_reject(
            wrong,
            &[
                synced,
                r#"1. write [Dots b"row" = b"\x01"]"#,
                "2. sync",
                "3. crash",
                r#"Dots b"row" is then nothing; b"\x01" was durable"#,
            ],
        );
    }
    let whole = "a batch survives a crash whole or not at all";
    let one = r#"1. write [Objects b"k\x01" = b"\x01\x01"#;
    assert_crashes_reject(Wrong::Torn, &[whole, one]);
    assert_crashes_reject(Wrong::SpacesApart, &[whole, one]);
    assert_crashes_reject(
        Wrong::Reordered,
        &[
            "what survives of the writes since the last sync is a prefix of them",
            r#"1. write [Meta b"\x07" = b"2"]"#,
            r#"2. write [Hints b"\x07" = b"3"]"#,
            "3. crash",
            r#"of the batches since the last sync, number 2 has survived (see Hints b"\x07"), number 1 has not"#,
        ],
    );
    assert_crashes_reject(
        Wrong::ForgetsLater,
        &[
            "what a storage shows when it is opened is durable",
            r#"1. write [Dots b"row" = b"\x01"]"#,
            "2. crash",
            "3. crash",
            r#"Dots b"row" is then nothing; b"\x01" was durable"#,
        ],
    );
}

#[test]
fn failing_writes_that_write_are_rejected() {
    let nothing = "a write that fails writes nothing";
    let one = r#"1. write, while writes fail, [Objects b"k" = b"1"]"#;
    assert_refusals_reject(
        Wrong::HalfOfAFailedBatch,
        &[nothing, one, r#"get Objects b"k" then gives b"1" instead of nothing"#],
    );
    assert_refusals_reject(
        Wrong::RetriesLater,
        &[nothing, r#"1. write, while writes fail, [Objects b"k" = b"2"]"#, r#"2. write [Hints b"z" = b"3"]"#],
    );
    assert_refusals_reject(
        Wrong::SaysFenced,
        &["a write that fails says so by `StorageError::Write` or `StorageError::Full`", one],
    );
    assert_refusals_reject(
        Wrong::NeverFails,
        &["writes fail while the host makes them fail", one, "the write succeeded"],
    );
}
