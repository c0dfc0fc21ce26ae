use super::ballots::Ballots;
use super::format::name;
use super::*;
use crate::ballot::{Group, Groups, Ids, Owner, Reason, Refused, Sets};
use crate::ids::{LayoutId, NodeId, PartitionId, StoreId};
use crate::storage::{Batch, MemoryStorage, Space, Storage, Stored};
use crate::wire::FormatError;

const P: PartitionId = PartitionId(7);
/// The base, and two rivals of one version that would replace it.
const B: LayoutId = LayoutId { version: 1, hash: 500 };
const X: LayoutId = LayoutId { version: 2, hash: 100 };
const Y: LayoutId = LayoutId { version: 2, hash: 300 };

fn owner(node: u64) -> Owner {
    Owner { node: NodeId(node), store: StoreId(9), life: 1 }
}

fn group(layout: LayoutId, owners: &[u64]) -> Group {
    Group::new(layout, &owners.iter().copied().map(owner).collect::<Vec<_>>(), 2, 2, 2)
}

fn groups() -> Groups {
    Groups::new(vec![group(B, &[0, 1, 2]), group(X, &[1, 2, 3]), group(Y, &[0, 2, 4])])
}

/// Stores a step as a node does.
fn store<T>(storage: &mut MemoryStorage, ballots: &mut Ballots, step: Step<T>) -> T {
    let mut batch = Batch::new();
    step.put(&mut batch, P);
    let proof = Stored::write(storage, &batch).unwrap();
    step.stored(ballots, &proof)
}

fn take<T>(ballots: &mut Ballots, step: impl FnOnce(&Ballots) -> Result<Step<T>, Refused>) -> T {
    let step = step(ballots).unwrap();
    store(&mut MemoryStorage::new(), ballots, step)
}

fn sets(ids: &[LayoutId]) -> Sets {
    let mut sets = Sets::of(ids[0]);
    ids[1..].iter().for_each(|id| assert!(sets.add(*id)));
    sets
}

fn reason<T>(result: Result<T, Refused>) -> Reason {
    result.err().expect("refused").reason
}

#[test]
fn what_is_told_is_stored_first_and_comes_back() {
    let mut storage = MemoryStorage::new();
    assert_eq!(Ballots::load(&storage, P), Ok(None));
    let mut ballots = Ballots::founded(B);
    let fenced = ballots.fence(X).unwrap();
    assert_eq!(ballots.promise(), B, "nothing has happened before it is stored");
    assert_eq!(store(&mut storage, &mut ballots, fenced), Fenced { layout: X, floor: B, seals: Vec::new() });
    for step in [ballots.seal(X), ballots.admit_write(&sets(&[B, X]))] {
        let step = step.unwrap();
        store(&mut storage, &mut ballots, step);
        assert_eq!(Ballots::load(&storage, P), Ok(Some(ballots.clone())));
    }
    let held = ballots.hold(Y, &[B, X]).unwrap();
    assert_eq!(store(&mut storage, &mut ballots, held).closure[..], [B, X]);
    assert_eq!(Ballots::load(&storage, P), Ok(Some(ballots.clone())));
    assert_eq!((ballots.floor(), ballots.promise(), ballots.seals()), (B, Y, &[X][..]));
    // What changes nothing writes nothing.
    let mut batch = Batch::new();
    ballots.fence(Y).unwrap().put(&mut batch, P);
    ballots.decided(B).put(&mut batch, P);
    assert!(batch.is_empty());
}

#[test]
fn golden_bytes() {
    let mut storage = MemoryStorage::new();
    let mut ballots = Ballots::founded(B);
    take(&mut ballots, |own| own.seal(X));
    let held = ballots.hold(LayoutId { version: 300, hash: 1 }, &[B, X]).unwrap();
    store(&mut storage, &mut ballots, held);
    let bytes = storage.get(Space::Meta, &name(P)).unwrap().unwrap();
    let (b, x) = ([1, 0xf4, 1, 0, 0, 0, 0, 0, 0], [2, 100, 0, 0, 0, 0, 0, 0, 0]);
    let last = [0xac, 2, 1, 0, 0, 0, 0, 0, 0, 0];
    let expected = [&[1][..], &b, &last, &[1], &x, &[1], &last, &[2], &b, &x].concat();
    assert_eq!(bytes[..bytes.len() - 4], expected);
    for at in 0..bytes.len() {
        let mut garbled = bytes.to_vec();
        garbled[at] ^= 1;
        assert_eq!(Ballots::decode(&name(P), &garbled), Err(FormatError::Checksum));
    }
    assert!(Ballots::decode(&name(PartitionId(8)), &bytes).is_err(), "in the place of another's");
}

#[test]
fn ballots_that_no_replica_can_have_are_damage() {
    let wrong = [
        Ballots { promise: B, ..Ballots::founded(X) },
        Ballots { seals: Ids::from_slice(&[Y]), ..Ballots::founded(B) },
        Ballots { held: [Held { layout: Y, closure: vec![B] }].into_iter().collect(), ..Ballots::founded(B) },
        Ballots {
            promise: Y,
            held: [Held { layout: X, closure: vec![Y] }].into_iter().collect(),
            ..Ballots::founded(B)
        },
        Ballots { promise: Y, seals: Ids::from_slice(&[Y, X]), ..Ballots::founded(B) },
    ];
    for ballots in wrong {
        let (mut storage, mut batch) = (MemoryStorage::new(), Batch::new());
        ballots.put(&mut batch, P);
        storage.write(&batch).unwrap();
        assert!(Ballots::load(&storage, P).is_err(), "{ballots:?}");
    }
}

#[test]
fn a_request_that_knows_too_little_is_told_what_it_lacks() {
    let mut ballots = Ballots::founded(B);
    take(&mut ballots, |own| own.fence(X));
    assert_eq!(ballots.admit_read(B), Ok(()), "a fence stops writes alone");
    assert_eq!(reason(ballots.admit_write(&sets(&[B]))), Reason::Promise);
    assert_eq!(reason(ballots.admit_write(&sets(&[B, Y]))), Reason::Promise, "a later one stands for no earlier one");
    take(&mut ballots, |own| own.admit_write(&sets(&[B, X])));
    take(&mut ballots, |own| own.seal(X));
    take(&mut ballots, |own| own.admit_write(&sets(&[B, X, Y])));
    assert_eq!(ballots.promise(), Y, "a write promises the latest that it names");
    assert_eq!(reason(ballots.admit_write(&sets(&[B, Y]))), Reason::Seals, "X may be decided");
    assert_eq!(reason(ballots.admit_read(B)), Reason::Seals);
    assert_eq!(ballots.admit_read(X), Ok(()));
    assert_eq!(reason(ballots.fence(X)), Reason::Promise);
    assert_eq!(reason(ballots.seal(X)), Reason::Promise);
    assert_eq!(reason(ballots.hold(X, &[])), Reason::Promise);
    take(&mut ballots, |own| Ok(own.decided(Y)));
    assert_eq!((ballots.floor(), ballots.seals()), (Y, &[][..]));
    for layout in [B, X] {
        assert_eq!(reason(ballots.admit_read(layout)), Reason::Floor);
        assert_eq!(reason(ballots.admit_write(&sets(&[layout]))), Reason::Floor);
        assert_eq!(reason(ballots.fence(layout)), Reason::Floor);
    }
    assert_eq!(reason(ballots.seal(Y)), Reason::Floor);
}

#[test]
fn a_former_owner_keeps_its_copy_until_it_is_covered_and_nothing_is_pending() {
    let (mut ballots, known) = (Ballots::founded(B), groups());
    let (me, x) = (owner(0), known.get(X));
    assert_eq!(ballots.may_delete(me, known.get(B), |_| true), Err(Keep::Owner));
    assert_eq!(ballots.may_delete(me, x, |_| true), Err(Keep::Owner), "X is not decided");
    take(&mut ballots, |own| Ok(own.decided(X)));
    assert_eq!(ballots.may_delete(me, x, |who| who == owner(1)), Err(Keep::Uncovered { confirmed: 1, needed: 2 }));
    assert_eq!(ballots.may_delete(me, x, |who| who != owner(3)), Ok(()));
    assert_eq!(ballots.may_delete(owner(1), x, |_| true), Err(Keep::Owner));
    take(&mut ballots, |own| own.fence(Y));
    assert_eq!(ballots.may_delete(me, x, |_| true), Err(Keep::Pending));
    assert_eq!(ballots.may_delete(me, None, |_| true), Err(Keep::Owner));
}

#[test]
fn a_layout_that_changes_nothing_is_a_ballot_only_where_a_rival_was_promised() {
    let (mut ballots, known, z) = (Ballots::founded(B), groups(), LayoutId { version: 3, hash: 1 });
    let (same, other) = (group(z, &[2, 0, 1]), group(z, &[1, 2, 4]));
    assert!(!ballots.is_ballot(&same, known.get(B)) && ballots.is_ballot(&other, known.get(B)));
    take(&mut ballots, |own| own.fence(X));
    assert!(ballots.is_ballot(&same, known.get(X)), "the way back");
    assert!(ballots.is_ballot(&same, known.get(B)) && ballots.is_ballot(&same, None), "the promise is not known");
    assert!(!ballots.is_ballot(&group(z, &[1, 2, 3]), known.get(X)), "X itself is to be decided");
    assert!(!ballots.is_ballot(&group(B, &[0, 1, 2]), known.get(X)), "lower than what was promised");
    let renewed = Owner { life: 2, ..owner(0) };
    let new_life = Group::new(z, &[renewed, owner(1), owner(2)], 2, 2, 2);
    assert!(Ballots::founded(B).is_ballot(&new_life, known.get(B)), "another life is another owner");
}

#[test]
fn acknowledgements_belong_to_what_the_request_named() {
    let (known, mut attempt) = (groups(), Attempt::new(B));
    attempt.stored(owner(0), attempt.round());
    attempt.stored(owner(0), attempt.round());
    assert!(!attempt.is_reached(2, &known), "one owner counts once");
    let mut fenced = Ballots::founded(B);
    take(&mut fenced, |own| own.fence(X));
    let refused = fenced.admit_write(attempt.sets()).unwrap_err();
    let before = attempt.round();
    assert!(attempt.refused(&refused) && !attempt.refused(&refused));
    assert_eq!(*attempt.sets(), sets(&[B, X]));
    assert_eq!(attempt.missing(&known)[..], [0, 1, 2, 3].map(owner));
    attempt.stored(owner(1), attempt.round());
    let mut old = attempt.clone();
    old.stored(owner(0), old.round());
    assert!(!old.is_reached(2, &known), "of X one has it");
    attempt.stored(owner(3), attempt.round());
    attempt.stored(owner(0), before);
    assert!(!attempt.is_reached(2, &known), "a late answer to what named less");
    attempt.stored(owner(0), attempt.round());
    assert!(attempt.is_reached(2, &known));
    assert!(attempt.decided(X) && !attempt.is_reached(1, &known));
    let unknown = LayoutId { version: 9, hash: 9 };
    assert!(attempt.refused(&Refused { promise: unknown, ..refused }));
    assert_eq!(attempt.unknown(&known).collect::<Vec<_>>(), [unknown]);
}

fn fenced(layout: LayoutId, floor: LayoutId, seals: &[LayoutId]) -> Fenced {
    Fenced { layout, floor, seals: seals.to_vec() }
}

#[test]
fn a_move_collects_from_the_floor_and_from_what_was_sealed_for() {
    let known = groups();
    let mut collecting = Move::new(Y, B);
    assert_eq!(collecting.collected(&known), Collected::Wanting(vec![(B, 2)]));
    assert_eq!(collecting.missing(&known)[..], [0, 1, 2].map(owner));
    collecting.joined(owner(0), fenced(X, B, &[]));
    assert_eq!(collecting.missing(&known).len(), 3, "fenced for another");
    collecting.joined(owner(0), fenced(Y, B, &[X]));
    collecting.joined(owner(0), fenced(Y, B, &[X]));
    collecting.joined(owner(1), fenced(Y, B, &[X]));
    assert_eq!(collecting.collected(&known), Collected::Wanting(vec![(X, 1)]), "1 owns both");
    collecting.joined(owner(3), fenced(Y, B, &[]));
    let closure = vec![B, X];
    assert_eq!(collecting.collected(&known), Collected::All { closure, possible_loss: false });
    collecting.lost();
    assert_eq!(collecting.collected(&known), Collected::Wanting(vec![(B, 2)]));
    let unknown = LayoutId { version: 2, hash: 200 };
    collecting.joined(owner(0), fenced(Y, unknown, &[]));
    assert_eq!(collecting.collected(&known), Collected::Unknown(unknown));
}

#[test]
fn a_rival_that_cannot_be_decided_any_more_may_be_left_out() {
    let known = groups();
    let answers = [(0, &[X][..]), (1, &[]), (2, &[])];
    let (mut lean, mut full) = (Move::new(Y, B), Move::new(Y, B).leaving_nothing_out());
    for (node, seals) in answers {
        lean.joined(owner(node), fenced(Y, B, seals));
        full.joined(owner(node), fenced(Y, B, seals));
    }
    let closure = vec![B];
    assert_eq!(lean.collected(&known), Collected::All { closure, possible_loss: false });
    assert!(matches!(full.collected(&known), Collected::All { closure, .. } if closure[..] == [B, X]));
}

#[test]
fn a_drive_seals_when_enough_hold_and_decides_when_enough_have_sealed() {
    let known = groups();
    let mut drive = Drive::new(X);
    let held = |closure: &[LayoutId]| Held { layout: X, closure: closure.to_vec() };
    drive.held(owner(3), &held(&[B]));
    drive.held(owner(3), &held(&[B]));
    drive.held(owner(0), &held(&[B]));
    assert!(drive.missing(&known).is_empty(), "0 is no owner of X");
    drive.held(owner(2), &held(&[B]));
    assert_eq!(drive.missing(&known)[..], [0, 1, 2].map(owner));
    drive.sealed(owner(3));
    drive.sealed(owner(2));
    drive.sealed(owner(2));
    assert!(!drive.is_decided(&known));
    drive.sealed(owner(0));
    assert!(drive.is_decided(&known));
}

#[test]
fn those_that_are_declared_gone_count_nowhere() {
    let known = groups().with_gone(vec![owner(0), owner(1)]);
    let mut collecting = Move::new(X, B);
    collecting.joined(owner(0), fenced(X, B, &[]));
    assert_eq!(collecting.collected(&known), Collected::Wanting(vec![(B, 1)]));
    collecting.joined(owner(2), fenced(X, B, &[]));
    let closure = vec![B];
    assert_eq!(collecting.collected(&known), Collected::All { closure, possible_loss: true });
}

/// Two decisions in a row; then an owner begins a third move from the first layout, having slept through both. Of those
/// that it asks one knows the second decision, and the others have sealed for the first alone.
fn a_move_by_a_sleeper() -> (Collected, LayoutId) {
    let z = |hash| LayoutId { version: 3, hash };
    let (later, last) = (z(1), z(2));
    let known = Groups::new(vec![
        group(B, &[0, 1, 2]),
        group(X, &[3, 4, 5]),
        group(later, &[3, 4, 6]),
        group(last, &[0, 1, 2]),
    ]);
    let mut owners: Vec<Ballots> = (0..7).map(|_| Ballots::founded(B)).collect();
    let mut decide = |target: LayoutId, from: LayoutId, olds: &[usize], news: &[usize]| {
        let (mut collecting, mut drive) = (Move::new(target, from), Drive::new(target));
        for &old in olds {
            let answer = take(&mut owners[old], |own| own.fence(target));
            collecting.joined(owner(old as u64), answer);
        }
        let Collected::All { closure, .. } = collecting.collected(&known) else { panic!("{collecting:?}") };
        for &new in news {
            drive.held(owner(new as u64), &take(&mut owners[new], |own| own.hold(target, &closure)));
        }
        for &old in olds {
            take(&mut owners[old], |own| own.seal(target));
            drive.sealed(owner(old as u64));
        }
        assert!(drive.is_decided(&known));
    };
    decide(X, B, &[0, 1], &[3, 4]);
    decide(later, X, &[3, 4], &[3, 6]);
    take(&mut owners[0], |own| Ok(own.decided(later)));
    let mut collecting = Move::new(last, B);
    for (node, own) in (0..).zip(&mut owners[..3]) {
        collecting.joined(owner(node), take(own, |own| own.fence(last)));
    }
    (collecting.collected(&known), later)
}

#[test]
fn what_is_decided_is_collected_however_few_of_the_earlier_owners_know_it() {
    let (collected, decided) = a_move_by_a_sleeper();
    assert!(matches!(&collected, Collected::Wanting(lacks) if lacks.contains(&(decided, 2))), "{collected:?}");
}

#[cfg(feature = "mutants")]
mod controls {
    use super::*;
    use crate::mutant::{Mutant, switch};

    #[test]
    fn who_takes_a_forgotten_seal_for_none_leaves_out_what_is_decided() {
        switch(Some(Mutant::LeaveOutFloors));
        let (collected, _) = a_move_by_a_sleeper();
        switch(None);
        assert_eq!(collected, Collected::All { closure: vec![B], possible_loss: false });
    }
}
