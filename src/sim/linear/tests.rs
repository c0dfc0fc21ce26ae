//! The checker against the definition, and against histories of the simulator.

use std::time::Duration;

use super::*;
use crate::causality::Context;
use crate::config::{Mode, Quorum, Timing};
use crate::ids::{NodeId, Ticket};
use crate::node::Keyspace;
use crate::reconcile::LastWriteWins;
use crate::request::{GetOptions, PutOptions, Reply, Request};
use crate::sim::Sim;

const A: Value = Some(1);
const B: Value = Some(2);

fn ok(call: Call, began: u64, ended: u64) -> Operation {
    Operation::ok(call, Time(began), Time(ended))
}

const fn swap(expected: Value, new: Value) -> Call {
    Call::CompareAndSet { expected, new }
}

fn culprit(history: &[Operation]) -> Option<usize> {
    check(history).err().map(|broken| broken.operation)
}

#[test]
fn what_one_copy_could_have_done_is_let_pass() {
    use Call::{Read, Write};
    let unknown = |call, began| Operation::unknown(call, Time(began));
    let histories = [
        vec![],
        vec![ok(Read(None), 0, 1)],
        vec![ok(Write(A), 0, 5), ok(Read(A), 2, 3)],
        vec![ok(Write(A), 0, 5), ok(Read(None), 2, 3), ok(Read(A), 4, 6)],
        // Two at once, in either order.
        vec![ok(Write(A), 0, 5), ok(Write(B), 0, 5), ok(Read(A), 6, 7)],
        vec![ok(Write(A), 0, 5), ok(Write(B), 0, 5), ok(Read(B), 6, 7)],
        // An unknown write long after.
        vec![unknown(Write(A), 0), ok(Write(B), 1, 2), ok(Read(B), 3, 4), ok(Read(A), 9, 10), ok(Read(A), 11, 12)],
        vec![unknown(Write(A), 0), ok(Read(None), 9, 10)],
        vec![ok(Write(A), 0, 1), ok(swap(A, B), 2, 3), ok(Read(B), 4, 5)],
        vec![ok(Write(A), 0, 1), Operation::fail(swap(B, None), Time(2), Time(3)), ok(Read(A), 4, 5)],
        vec![ok(Write(A), 0, 1), unknown(swap(A, B), 2), ok(Read(B), 4, 5)],
        // One of two alike takes effect between, the other later.
        vec![unknown(Write(A), 0), unknown(Write(A), 0), ok(Read(A), 1, 2), ok(Write(B), 3, 4), ok(Read(A), 5, 6)],
        // What ends when another begins may come after it.
        vec![ok(Write(A), 0, 5), ok(Read(None), 5, 6)],
        // Refused, and so never there.
        vec![Operation::fail(Write(A), Time(0), Time(1)), ok(Read(None), 2, 3)],
    ];
    for history in histories {
        assert_eq!(check(&history), Ok(()), "{history:?}");
    }
}

#[test]
fn what_no_copy_could_have_done_is_named() {
    use Call::{Read, Write};
    let unknown = |call, began| Operation::unknown(call, Time(began));
    let histories = [
        (vec![ok(Read(A), 0, 1)], 0),
        (vec![ok(Write(A), 0, 1), ok(Read(None), 2, 3)], 1),
        (vec![ok(Write(A), 0, 5), ok(Read(A), 1, 2), ok(Read(None), 3, 4)], 2),
        (vec![ok(Write(A), 0, 5), ok(Write(B), 0, 5), ok(Read(A), 6, 7), ok(Read(B), 8, 9)], 3),
        // Each effect happens once.
        (vec![unknown(Write(A), 0), ok(Read(A), 1, 2), ok(Write(B), 3, 4), ok(Read(A), 5, 6)], 3),
        // Not before it was asked for.
        (vec![ok(Read(A), 0, 1), unknown(Write(A), 2)], 0),
        (vec![Operation::fail(Write(A), Time(0), Time(1)), ok(Read(A), 2, 3)], 1),
        (vec![ok(Write(A), 0, 1), Operation::fail(swap(A, B), Time(2), Time(3))], 1),
        (vec![ok(Write(A), 0, 1), ok(swap(A, B), 2, 3), ok(swap(A, B), 4, 5)], 2),
        (vec![ok(Write(A), 0, 1), unknown(swap(B, None), 2), ok(Read(None), 4, 5)], 2),
    ];
    for (history, wrong) in histories {
        assert_eq!(culprit(&history), Some(wrong), "{history:?}");
    }
}

// ---- against the definition

/// By brute force: some order of all, with any of the unknown ones left out, in which nothing comes before what had
/// ended when it began.
fn by_definition(history: &[Operation], value: Value, used: u32) -> bool {
    let left = |at: &usize| used >> at & 1 == 0;
    let needed = |at: &usize| history[*at].matters() && history[*at].outcome != Outcome::Unknown;
    let mut rest = (0..history.len()).filter(left).filter(needed);
    let first_end = rest.clone().map(|at| history[at].ended).min();
    if rest.next().is_none() {
        return true;
    }
    (0..history.len()).filter(left).filter(|&at| history[at].matters()).any(|at| {
        let may_be_next = first_end.is_none_or(|end| history[at].began <= end);
        let after = history[at].apply(value).filter(|_| may_be_next);
        after.is_some_and(|value| by_definition(history, value, used | 1 << at))
    })
}

/// Calls `visit` with every way in which `count` intervals can lie to one another.
fn intervals(count: usize, visit: &mut impl FnMut(&[(u64, u64)])) {
    fn place(count: usize, at: u64, made: &mut Vec<(u64, u64)>, visit: &mut impl FnMut(&[(u64, u64)])) {
        if at == 2 * count as u64 {
            return visit(made);
        }
        if made.len() < count {
            made.push((at, u64::MAX));
            place(count, at + 1, made, visit);
            made.pop();
        }
        for open in 0..made.len() {
            if made[open].1 == u64::MAX {
                made[open].1 = at;
                place(count, at + 1, made, visit);
                made[open].1 = u64::MAX;
            }
        }
    }
    place(count, 0, &mut Vec::new(), visit);
}

/// Every history of `count` operations of these kinds. Returns how many there were, and how many were linearizable.
fn all_histories(count: usize, kinds: &[(Call, Outcome)]) -> (u64, u64) {
    let (mut all, mut good) = (0, 0);
    intervals(count, &mut |times| {
        let mut choice = vec![0; count];
        loop {
            let operation = |(&kind, &(began, ended)): (&usize, &(u64, u64))| {
                let (call, outcome) = kinds[kind];
                Operation { call, outcome, began: Time(began), ended: Time(ended) }
            };
            let history: Vec<_> = choice.iter().zip(times).map(operation).collect();
            let expected = by_definition(&history, None, 0);
            assert_eq!(check(&history).is_ok(), expected, "{history:?}");
            (all, good) = (all + 1, good + u64::from(expected));
            let Some(place) = choice.iter().position(|&kind| kind + 1 < kinds.len()) else { break };
            choice[..place].fill(0);
            choice[place] += 1;
        }
    });
    (all, good)
}

#[test]
fn every_small_history_is_judged_as_the_definition_says() {
    use Outcome::{Fail, Ok, Unknown};
    let (read, write) = ([Call::Read(None), Call::Read(A)], [Call::Write(None), Call::Write(A)]);
    let swaps = [swap(None, A), swap(A, None)];
    let mut kinds = Vec::new();
    kinds.extend(read.iter().chain(&write).chain(&swaps).map(|&call| (call, Ok)));
    kinds.extend([write[1], swaps[0]].map(|call| (call, Unknown)));
    kinds.push((swaps[0], Fail));
    let (mut all, mut good) = (0, 0);
    for count in 1..=4 {
        let (more, fit) = all_histories(count, &kinds);
        (all, good) = (all + more, good + fit);
    }
    // Nine kinds; 1, 3, 15 and 105 ways to lie in time.
    assert_eq!(all, 9 + 3 * 81 + 15 * 729 + 105 * 6_561);
    assert!(good > all / 10 && good < all - all / 10, "{good} of {all}");
}

#[test]
fn every_history_of_five_reads_and_writes_is_judged_as_the_definition_says() {
    let kinds = [
        (Call::Read(None), Outcome::Ok),
        (Call::Read(A), Outcome::Ok),
        (Call::Write(A), Outcome::Ok),
        (Call::Write(A), Outcome::Unknown),
    ];
    let (all, good) = all_histories(5, &kinds);
    assert_eq!(all, 945 * 1_024);
    assert!(good > all / 10 && good < all - all / 10, "{good} of {all}");
}

// ---- long histories

/// What clients of one copy see, each operation at a random instant of its time; one in `unknown` ends unknown.
fn atomic(operations: u64, clients: usize, unknown: u64, mut seed: u64) -> Vec<Operation> {
    let mut roll = |sides: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % sides
    };
    let (mut free, mut history) = (vec![0_u64; clients], Vec::new());
    let mut points = Vec::new();
    for number in 0..operations {
        let client = (0..clients).min_by_key(|&client| free[client]).unwrap_or(0);
        let began = free[client] + roll(50);
        let (point, ended) = (began + roll(100), began + 100);
        free[client] = ended + 1;
        points.push((point, number, began, ended, roll(10), roll(unknown) == 0));
    }
    points.sort_unstable();
    let mut value = None;
    for (_, number, began, ended, choice, lost) in points {
        let new = Some(number % 50);
        let (call, outcome) = match choice {
            0..6 => (Call::Read(value), Outcome::Ok),
            6..9 => (Call::Write(new), Outcome::Ok),
            _ if number % 2 == 0 => (swap(value, new), Outcome::Ok),
            _ => (swap(Some(99), new), Outcome::Fail),
        };
        let lost = lost && matches!(call, Call::Write(_));
        if !matches!((call, outcome), (Call::Read(_), _) | (_, Outcome::Fail)) {
            value = new;
        }
        let outcome = if lost { Outcome::Unknown } else { outcome };
        history.push(Operation { call, outcome, began: Time(began), ended: Time(ended) });
    }
    history
}

#[test]
fn a_history_of_five_thousand_operations_is_checked_and_one_wrong_read_in_it_found() {
    for (clients, unknown) in [(1, u64::MAX), (5, u64::MAX), (10, u64::MAX), (5, 200)] {
        let mut history = atomic(5_000, clients, unknown, clients as u64);
        assert_eq!(check(&history), Ok(()), "{clients} clients");
        let is_read = |operation: &Operation| matches!(operation.call, Call::Read(_));
        let at = history.iter().rposition(is_read).expect("a read");
        history[at].call = Call::Read(Some(1_000));
        assert_eq!(culprit(&history), Some(at));
    }
}

// ---- histories of the simulator

/// One writer and five readers on a cluster of five with strict quorums (3, 1, 3). Where one is `alone`, no two do anything
/// at once.
fn simulated(seed: u64, tail: Duration, alone: bool) -> Vec<Operation> {
    let quorum = Quorum::new(3, 1, 3).expect("a quorum");
    let keyspace = Keyspace::new("default").quorum(quorum).mode(Mode::Strict).reconciler(LastWriteWins);
    // What is said between requests would only be more steps of the simulation.
    let timing = Timing { exchange: Duration::MAX, quiet: Duration::MAX, ..Timing::default() };
    let builder = Sim::builder(5, seed).keyspaces(vec![keyspace.clone()]);
    let mut sim = builder.timing(timing).encode(false).build();
    sim.network.tail = tail;
    let mut history = Vec::new();
    let mut waiting: [Option<(Ticket, Call, Time)>; 6] = [None; 6];
    let mut context = Context::empty();
    for round in 1..2_000_u64 {
        for client in 0..6 {
            if let Some((ticket, call, began)) = waiting[client]
                && let Some(reply) = sim.reply(ticket)
            {
                waiting[client] = None;
                let call = match reply {
                    Reply::Get(found) => {
                        let found = found.expect("nothing fails");
                        Call::Read(found.value().map(|value| String::from_utf8_lossy(value).parse().expect("a number")))
                    }
                    Reply::Put(written) => {
                        context = written.expect("nothing fails").context;
                        call
                    }
                    Reply::List(_) | Reply::Compared(_) | Reply::Traced(..) => unreachable!("nobody asks for it"),
                };
                history.push(Operation::ok(call, began, sim.now()));
            }
            let is_free =
                waiting.iter().enumerate().all(|(other, waiting)| waiting.is_none() || (other != client && !alone));
            if is_free {
                let node = NodeId(1 + (round + client as u64) % 5);
                let (began, value) = (sim.now(), round.to_string());
                let (ticket, call) = if client == 0 {
                    let ticket = sim.start_put(node, "k", Some(&value), &context, PutOptions::default());
                    (ticket, Call::Write(Some(round)))
                } else {
                    let (keyspace, key, options) = (keyspace.id(), "k".into(), GetOptions::default());
                    (sim.start(node, Request::Get { keyspace, key, options }), Call::Read(None))
                };
                waiting[client] = Some((ticket, call, began));
            }
        }
        sim.run_for(Duration::from_millis(2));
    }
    // What is still on its way may have been seen.
    history.extend(waiting.into_iter().flatten().map(|(_, call, began)| Operation::unknown(call, began)));
    history
}

/// Whether a read shows what was overwritten before it began: a quorum never does.
fn is_stale(history: &[Operation], read: &Operation) -> bool {
    let (Call::Read(shown), Outcome::Ok) = (read.call, read.outcome) else { return false };
    let writes = history.iter().filter(|other| matches!(other.call, Call::Write(_)) && other.ended < read.began);
    let last = writes.max_by_key(|write| write.ended);
    // One writer, whose values grow.
    last.is_some_and(|write| matches!(write.call, Call::Write(value) if shown < value))
}

#[test]
fn strict_quorums_are_regular_and_where_they_are_not_atomic_the_checker_says_which_read_went_back() {
    let mut broken = 0;
    for seed in 0..40 {
        let history = simulated(seed, Duration::from_millis(20), false);
        assert!(history.len() > 100, "{} operations", history.len());
        assert!(history.iter().all(|operation| !is_stale(&history, operation)), "seed {seed}: not even regular");
        let Err(found) = check(&history) else { continue };
        broken += 1;
        let read = history[found.operation];
        let Call::Read(shown) = read.call else { panic!("{read:?}: a single writer is always in order") };
        // An earlier read had shown more, of a write that was on its way to the end of both.
        let newer = |other: &Operation| matches!(other.call, Call::Read(value) if value > shown);
        assert!(history.iter().any(|other| newer(other) && other.ended < read.began), "seed {seed}: {found}");
    }
    assert!(broken >= 30, "{broken} of 40 seeds");
}

#[test]
fn where_nothing_overlaps_strict_quorums_are_one_copy() {
    for seed in 0..20 {
        let history = simulated(seed, Duration::from_millis(20), true);
        assert!(history.len() > 40, "{} operations", history.len());
        assert_eq!(check(&history), Ok(()), "seed {seed}");
    }
}
