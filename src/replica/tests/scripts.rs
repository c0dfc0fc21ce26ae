//! Schedules that random ones are too rare to meet, each of which tells two designs apart.

use super::*;

fn nothing_is_left(owners: &mut [Owner; 3], key: &Key) {
    for by_trees in [false, true] {
        exchange_all(owners, by_trees);
        for owner in owners.iter() {
            assert_eq!((owner.live(key), owner.replica.unsettled()), (vec![], 0), "at {}", owner.node);
            assert_eq!(owner.storage.len(Space::Objects), 0, "at {}", owner.node);
        }
    }
    equal_clocks(owners);
}

fn equal_clocks(owners: &[Owner; 3]) {
    for owner in owners {
        assert_eq!(owner.clock(), owners[0].clock(), "{} and {}", owner.node, owners[0].node);
    }
}

/// A value that a fallback alone has is read there, and deleted through an owner. It comes when all owners know the
/// delete, and none has kept anything but what to refuse.
#[test]
fn latehint() {
    for by_trees in [false, true] {
        for at in 0..3 {
            let (mut owners, k) = (Owner::three(100), key("k"));
            let hint = of_fallback(1);
            let delete = owners[1].delete(&k, &hint.covered);
            owners[0].receive(&k, &delete);
            owners[2].receive(&k, &delete);
            exchange_all(&mut owners, by_trees);
            assert!(owners.iter().all(|owner| owner.replica.unsettled() == 1), "they know what to refuse");
            owners[at].receive(&k, &hint);
            assert_eq!(owners[at].live(&k), []);
            nothing_is_left(&mut owners, &k);
        }
    }
}

/// One says "deleted, and with it a write that I have not seen", another has nothing: their lists of live versions are
/// equal. Who then takes the first one's clock takes the delete's dot without the delete, and the write that comes
/// afterwards stays.
#[test]
pub(super) fn digest() {
    let (mut owners, k) = (Owner::three(100), key("k"));
    let write = owners[1].put(&k, &DotSet::new());
    let seen = owners[1].context(&k);
    owners[0].delete(&k, &seen);
    let [zero, _, two] = &mut owners;
    full(two, zero);
    assert!(zero.clock().is_subset(two.clock()));
    two.receive(&k, &write);
    assert_eq!(two.live(&k), []);
    nothing_is_left(&mut owners, &k);
}

/// A hint lands after its key was found equal, absent on both sides, and before the clock of the opening is taken,
/// which covers both the hint's write and its delete.
#[test]
pub(super) fn endrule() {
    for late in 0..3 {
        let (mut owners, k) = (Owner::three(100), key("k"));
        let hint = of_fallback(1);
        owners[0].receive(&k, &hint);
        // So many others that there is a step to come between.
        for number in 0..8 {
            let other = key(&format!("other {number}"));
            owners[0].put(&other, &DotSet::new());
        }
        let seen = owners[0].context(&k);
        owners[0].delete(&k, &seen);
        let [zero, one, _] = &mut owners;
        let mut full = Full::begin(one, zero);
        for step in 0.. {
            if step == late {
                one.receive(&k, &hint);
                assert_eq!(one.live(&k).len(), 1);
            }
            match full.ask(one, zero) {
                Went::On => full.take(one),
                went => {
                    assert!(went == Went::Complete && step > late, "{went:?} after {step}");
                    break;
                }
            }
        }
        assert_eq!(one.live(&k), [], "{late}");
        exchange_all(&mut owners, false);
        assert!(owners.iter().all(|owner| owner.live(&k).is_empty()), "{late}");
        equal_clocks(&owners);
    }
}

/// The clock of the opening speaks for records that are gone with the peer's disk: who took it would have them deleted
/// where they still are.
#[test]
pub(super) fn a_peer_that_has_lost_everything_ends_the_exchange() {
    for lost in 0..6 {
        let mut owners = Owner::three(0);
        let keys: Vec<_> = (0..8).map(|number| key(&format!("{number}"))).collect();
        for key in &keys {
            let write = owners[0].put(key, &DotSet::new());
            owners[2].receive(key, &write);
        }
        let [zero, one, _] = &mut owners;
        let mut full = Full::begin(one, zero);
        for _ in 0..lost {
            assert_eq!(full.ask(one, zero), Went::On);
            full.take(one);
        }
        zero.lose_disk();
        while full.ask(one, zero) == Went::On {
            full.take(one);
        }
        exchange_all(&mut owners, true);
        for key in &keys {
            assert!(owners.iter().all(|owner| owner.live(key).len() == 1), "lost after {lost} steps");
        }
    }
}

/// A disk is restored from a backup, and whoever is asked knows of nothing since: the write that the lost disk had
/// acknowledged lives in a fallback's hint alone. It must not die of the first write after the restore.
#[test]
fn quorumshake() {
    let (mut owners, k) = (Owner::three(100), key("k"));
    let backup = owners[0].storage.clone();
    let hint = owners[0].put(&k, &DotSet::new());
    owners[0].storage = backup;
    owners[0].restart();
    for from in 1..3 {
        let (zero, from) = pair(&mut owners, 0, from);
        full(zero, from);
    }
    let second = owners[0].put(&k, &DotSet::new());
    owners[1].receive(&k, &second);
    owners[2].receive(&k, &second);
    owners[2].receive(&k, &hint);
    both_are_kept(&mut owners, &k);
}

/// The same where not even a fallback has it: a message is on its way.
#[test]
fn inflight() {
    let (mut owners, k) = (Owner::three(100), key("k"));
    let backup = owners[0].storage.clone();
    let held = owners[0].put(&k, &DotSet::new());
    owners[0].storage = backup;
    owners[0].restart();
    for from in 1..3 {
        let (zero, from) = pair(&mut owners, 0, from);
        full(zero, from);
    }
    let second = owners[0].put(&k, &DotSet::new());
    owners[2].receive(&k, &held);
    owners[1].receive(&k, &second);
    owners[2].receive(&k, &second);
    both_are_kept(&mut owners, &k);
}

fn both_are_kept(owners: &mut [Owner; 3], key: &Key) {
    for by_trees in [false, true] {
        exchange_all(owners, by_trees);
        for owner in owners.iter() {
            assert_eq!(owner.live(key).len(), 2, "at {}", owner.node);
        }
        equal_clocks(owners);
    }
}

/// The log has lost a line: whoever lacks that dot is not served from it as if there were nothing else.
#[test]
pub(super) fn noesc() {
    let mut owners = Owner::three(2);
    let keys: Vec<_> = (0..5).map(|number| key(&format!("{number}"))).collect();
    for key in &keys {
        owners[0].put(key, &DotSet::new());
    }
    let [zero, one, _] = &mut owners;
    assert!(!pull(one, zero));
    assert_eq!(one.clock(), &DotSet::new());
    full(one, zero);
    assert!(keys.iter().all(|key| one.live(key).len() == 1) && one.clock() == zero.clock());
}

/// What is written at the other side during an exchange was looked for in no bucket that had been compared before: the
/// clock of the opening is taken, and no later one.
#[test]
pub(super) fn endclock() {
    let mut owners = Owner::three(100);
    let keys: Vec<_> = (0..20).map(|number| key(&format!("{number}"))).collect();
    for key in &keys[..10] {
        owners[0].put(key, &DotSet::new());
    }
    let [zero, one, _] = &mut owners;
    let opening = zero.clock().clone();
    let mut full = Full::begin(one, zero);
    for later in &keys[10..] {
        match full.ask(one, zero) {
            Went::On => full.take(one),
            _ => break,
        }
        zero.put(later, &DotSet::new());
    }
    while full.ask(one, zero) == Went::On {
        full.take(one);
    }
    assert_eq!(one.clock(), &opening);
    exchange_all(&mut owners, false);
    for owner in &owners {
        assert!(keys.iter().all(|key| owner.live(key) == owners[0].live(key)), "at {}", owner.node);
    }
    equal_clocks(&owners);
}

/// A key that the other side doesn't have is fetched as absent, with all that its clock speaks for: else it would stay.
#[test]
pub(super) fn noabsent() {
    let (mut owners, k) = (Owner::three(0), key("k"));
    let write = owners[0].put(&k, &DotSet::new());
    owners[1].receive(&k, &write);
    let seen = owners[0].context(&k);
    owners[0].delete(&k, &seen);
    let [zero, one, _] = &mut owners;
    assert!(!pull(one, zero), "nothing is in the log");
    full(one, zero);
    assert_eq!(one.live(&k), []);
    nothing_is_left(&mut owners, &k);
}

/// Between a stale replica and one that knows of a delete, in either direction, by clocks or by the trees: the one that
/// has something where the other has nothing is not the newer for it.
#[test]
fn in_both_directions_with_a_stale_replica() {
    for (log, asker) in [(100, 0), (100, 1), (0, 0), (0, 1)] {
        let (mut owners, k) = (Owner::three(log), key("k"));
        let write = owners[0].put(&k, &DotSet::new());
        owners[1].receive(&k, &write);
        let seen = owners[0].context(&k);
        owners[0].delete(&k, &seen);
        let (b, a) = pair(&mut owners, asker, 1 - asker);
        if !pull(b, a) {
            full(b, a);
        }
        assert_eq!(owners[0].live(&k), [], "{asker}, {log}");
        assert_eq!(owners[1].live(&k).is_empty(), asker == 1, "{asker}, {log}");
        nothing_is_left(&mut owners, &k);
    }
}

/// The root of the tree is stored with every write, deletes among them: what the records come to must be the same.
#[test]
pub(super) fn a_record_that_is_gone_without_a_trace_is_found() {
    let [mut owner, ..] = Owner::three(100);
    for number in 0..6 {
        owner.put(&key(&format!("{number}")), &DotSet::new());
    }
    let k = key("0");
    let seen = owner.context(&k);
    owner.delete(&k, &seen);
    assert_eq!(scrub(&mut owner), Ok(()));
    owner.lose_record(3);
    assert!(super::super::is_damaged(&scrub(&mut owner).unwrap_err()));
}

fn scrub(owner: &mut Owner) -> Result<(), crate::error::StorageError> {
    owner.replica.scrub(P);
    while owner.replica.partitions_building().next().is_some() {
        let _ = owner.replica.build(&mut owner.storage, P, 2)?;
    }
    Ok(())
}

/// A disk has dropped a write: the record of before it is there, whole. When that is found, the owner's clock knows the
/// newer version, and must not have it superseded by the older one.
#[test]
fn a_record_that_a_disk_has_set_back_takes_nothing_newer_with_it() {
    let mut owners = Owner::three(100);
    let k = key("k");
    let first = owners[0].put(&k, &DotSet::new());
    owners[1..].iter_mut().for_each(|owner| owner.receive(&k, &first));
    let (name, old) = owners[0].stored(0);
    let seen = owners[0].context(&k);
    let second = owners[0].put(&k, &seen);
    owners[1..].iter_mut().for_each(|owner| owner.receive(&k, &second));
    let newest = owners[1].live(&k);

    let mut batch = Batch::new();
    batch.put(Space::Objects, &name, &old);
    owners[0].storage.write(&batch).unwrap();
    assert!(super::super::is_damaged(&scrub(&mut owners[0]).unwrap_err()));
    let _ = owners[0].replica.lose(&mut owners[0].storage, P, false).unwrap();
    owners[0].build();
    exchange_all(&mut owners, false);
    for owner in &owners {
        assert_eq!(owner.live(&k), newest, "{}", owner.node);
    }
}

/// Else the other side would take what the disk has dropped for deleted, and the record would be gone everywhere.
#[test]
pub(super) fn a_list_that_lacks_a_record_is_damage_and_no_delete() {
    let [mut owner, ..] = Owner::three(100);
    for number in 0..6 {
        owner.put(&key(&format!("{number}")), &DotSet::new());
    }
    let list =
        |owner: &Owner, after, end, portion| owner.replica.keys(&owner.storage, P, &Nodes::root(), after, end, portion);
    let positions: Vec<_> = (0..6).map(|number| key(&format!("{number}")).upper_position()).collect();
    let (lowest, highest) = (positions.iter().min().copied(), *positions.iter().max().unwrap());
    let large = Portion { records: 100, ..PORTION };
    let count = |listed: Result<Option<Keys>, _>| listed.map(|keys| keys.unwrap().live.len());
    assert_eq!(count(list(&owner, None, u64::MAX, large)), Ok(6));
    owner.lose_record(3);
    assert!(super::super::is_damaged(&count(list(&owner, None, u64::MAX, large)).unwrap_err()));
    // Of a part of what a node holds nothing can be said.
    assert_eq!(count(list(&owner, lowest, u64::MAX, large)), Ok(4));
    assert_eq!(count(list(&owner, None, highest, large)), Ok(5));
}

/// An exchange that is broken off after any step leaves nothing that another one, or a restart, would stumble over.
#[test]
fn an_exchange_that_is_cut_at_any_step_goes_on_with_another_peer() {
    for cut in 0.. {
        let mut owners = Owner::three(4);
        let keys: Vec<_> = (0..30).map(|number| key(&format!("{number}"))).collect();
        for (number, key) in keys.iter().enumerate() {
            let write = owners[number % 3].put(key, &DotSet::new());
            for (at, owner) in owners.iter_mut().enumerate() {
                if number >> at & 1 == 0 {
                    owner.receive(key, &write);
                }
            }
            let seen = owners[0].context(key);
            if number % 4 == 0 {
                owners[0].delete(key, &seen);
            } else if number % 4 == 1 {
                let second = owners[0].put(key, &seen);
                owners[1].receive(key, &second);
            }
        }
        let before = owners[2].clock().clone();
        let [zero, one, two] = &mut owners;
        let mut began = Full::begin(two, zero);
        let mut complete = false;
        for _ in 0..cut {
            if began.ask(two, zero) != Went::On {
                complete = true;
                break;
            }
            began.take(two);
        }
        if !complete {
            assert_eq!(two.clock(), &before, "the records alone move no clock");
        }
        match cut % 3 {
            0 => two.restart(),
            1 => zero.restart(),
            _ => {}
        }
        full(two, one);
        full(two, zero);
        for key in &keys {
            // Zero has issued every second event, and its clock is in two's: what it knows to be gone is gone.
            for dot in two.live(key) {
                assert!(zero.live(key).contains(&dot) || !zero.clock().contains(dot), "{cut}");
            }
            for dot in zero.live(key).into_iter().chain(one.live(key)) {
                let known_gone =
                    [&zero, &one].iter().any(|it| it.clock().contains(dot) && !it.live(key).contains(&dot));
                assert!(two.live(key).contains(&dot) || known_gone, "{cut}");
            }
        }
        exchange_all(&mut owners, false);
        for key in &keys {
            assert!(owners.iter().all(|owner| owner.live(key) == owners[0].live(key)), "{cut}");
        }
        equal_clocks(&owners);
        if complete {
            assert!(cut > 5, "there were steps to be cut");
            break;
        }
    }
}
