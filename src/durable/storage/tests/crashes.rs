//! Random batches, syncs, faults at any call to the disk, and crashes: `QUORATE_SEEDS` says how many seeds.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use super::disk::Fault;
use super::*;

type Model = BTreeMap<(Space, Vec<u8>), Vec<u8>>;

/// What the storage must show: after the last sync, then after each batch since.
struct Expected {
    states: Vec<Model>,
}

impl Expected {
    fn latest(&self) -> &Model {
        &self.states[self.states.len() - 1]
    }

    fn settle(&mut self, at: usize) {
        self.states = vec![self.states.swap_remove(at)];
    }
}

fn model<S: Storage>(storage: &S) -> Model {
    all(storage).unwrap().into_iter().map(|(space, key, value)| ((space, key), value)).collect()
}

/// As a node writes: each batch has records, and rewrites the line that speaks for all of them so far.
fn random_batch(rng: &mut Xoshiro256PlusPlus, number: u64, state: &Model) -> (Batch, Model) {
    let (mut batch, mut next) = (Batch::new(), state.clone());
    for _ in 0..rng.random_range(1..6) {
        let space = Space::ALL[rng.random_range(0..4)];
        let key = vec![b'k'; rng.random_range(1..40)];
        if rng.random_ratio(1, 4) {
            batch.delete(space, &key);
            next.remove(&(space, key));
        } else {
            let length = if rng.random_ratio(1, 16) { 20_000 } else { rng.random_range(0..300) };
            let value: Vec<u8> = number.to_le_bytes().into_iter().cycle().take(length).collect();
            batch.put(space, &key, &value);
            next.insert((space, key), value);
        }
    }
    batch.put(Space::Dots, b"line", &number.to_le_bytes());
    next.insert((Space::Dots, b"line".to_vec()), number.to_le_bytes().to_vec());
    (batch, next)
}

/// What a seed has met.
#[derive(Default)]
struct Met {
    crashes: u64,
    failed_syncs: u64,
    failed_opens: u64,
    /// Crashes in the middle of a sync after which the batches of that sync were there.
    kept: u64,
}

fn play(seed: u64, met: &mut Met) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut tested = Tested::new();
    let mut expected = Expected { states: vec![Model::new()] };
    for number in 0..40 {
        let (batch, next) = random_batch(&mut rng, number, expected.latest());
        tested.write(&batch).unwrap();
        expected.states.push(next);
        assert_eq!(&model(&tested), expected.latest(), "seed {seed}: what was written is shown");
        let mut crashes = rng.random_ratio(1, 10);
        if rng.random_ratio(1, 3) {
            if rng.random_ratio(1, 3) {
                let kinds = [ErrorKind::StorageFull, ErrorKind::Other, ErrorKind::Interrupted];
                let once = Fault::Once(kinds[rng.random_range(0..3)]);
                let fault = if rng.random() { once } else { Fault::FromThereOn };
                tested.disk.fail_at(rng.random_range(1..40), fault);
            }
            let synced = tested.sync();
            assert_eq!(&model(&tested), expected.latest(), "seed {seed}: a sync changes nothing that is shown");
            match synced {
                Ok(()) => {
                    let last = expected.states.len() - 1;
                    expected.settle(last);
                }
                Err(StorageError::Sync(_)) => {
                    assert!(tested.write(&batch).is_err() && tested.sync().is_err(), "seed {seed}");
                    met.failed_syncs += 1;
                    crashes = true;
                }
                Err(other) => panic!("seed {seed}: {other:?}"),
            }
        }
        if crashes {
            met.crashes += 1;
            tested = reopen(tested, &mut rng, met);
            let found = model(&tested);
            let Some(at) = expected.states.iter().rposition(|state| *state == found) else {
                panic!("seed {seed}, batch {number}: what is there is nothing that was ever there since the last sync")
            };
            met.kept += u64::from(at > 0);
            expected.settle(at);
            // What is shown is durable: whatever is lost of what was not synced, it is not this.
            let image = tested.disk.crash(&mut rng);
            assert_eq!(model(&Tested::on(image)), found, "seed {seed}: what was shown is durable");
        }
    }
}

/// A crash; and now and then the disk fails while it is opened again, which is then tried once more.
fn reopen(mut tested: Tested, rng: &mut Xoshiro256PlusPlus, met: &mut Met) -> Tested {
    let mut image = tested.disk.crash(rng);
    drop(tested.storage.take());
    if rng.random_ratio(1, 4) {
        let fault = if rng.random() { Fault::FromThereOn } else { Fault::Once(ErrorKind::Other) };
        image.fail_at(rng.random_range(1..60), fault);
        match open(&image) {
            Ok(_) => {}
            Err(Refused::Io(_)) => met.failed_opens += 1,
            Err(other) => panic!("an error of the disk is no damage: {other:?}"),
        }
        image.heal();
        image = image.crash(rng);
    }
    Tested::on(image)
}

#[test]
fn after_any_crash_and_any_fault_there_is_a_prefix_of_what_was_written_with_all_that_was_synced() {
    let seeds = std::env::var("QUORATE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(60);
    let mut met = Met::default();
    for seed in 0..seeds {
        play(seed, &mut met);
    }
    // A branch that is never taken is not tested.
    let Met { crashes, failed_syncs, failed_opens, kept } = met;
    let evidence = format!("{crashes} crashes, {failed_syncs} failed syncs, {failed_opens} failed opens, {kept} kept");
    assert!(crashes > seeds && failed_syncs > seeds / 2 && failed_opens > 0 && kept > 0, "{seeds} seeds: {evidence}");
}

/// One sync, and a fault at each of its calls to the disk in turn.
#[test]
fn every_call_of_a_sync_may_fail() {
    for fault in [Fault::FromThereOn, Fault::Once(ErrorKind::StorageFull), Fault::Once(ErrorKind::Other)] {
        let mut failed = 0;
        for nth in 1.. {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(nth);
            let mut tested = Tested::new();
            let mut states = vec![Model::new()];
            for number in 0..3 {
                let (batch, next) = random_batch(&mut rng, number, &states[states.len() - 1]);
                tested.write(&batch).unwrap();
                if number == 1 {
                    tested.sync().unwrap();
                    states.clear();
                }
                states.push(next);
            }
            tested.disk.fail_at(nth, fault);
            let synced = tested.sync();
            let has_failed = tested.disk.heal();
            assert!(synced.is_ok() || has_failed);
            failed += u64::from(synced.is_err());
            let found = model(&tested.crash(&mut rng));
            assert!(states.contains(&found), "{fault:?} at call {nth}");
            assert!(synced.is_err() || states.last() == Some(&found), "{fault:?} at call {nth}: it was synced");
            if !has_failed {
                assert!(failed > 5, "a sync makes several calls, {failed} failed");
                break;
            }
        }
    }
}
