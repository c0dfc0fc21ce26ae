//! Random runs of one partition against a naive model: every write is an element of a set, and knows by name which
//! writes its client had seen.
//!
//! What an owner knows of a key is a set of writes; what it shows are the puts of that set that no other member had
//! seen. No dots, no clocks, no residuals. After every step every owner must show exactly that.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;

use super::super::{Cover, Update, View};
use super::world::{Key, Namer, Owner, RULES, Session, agree, exchange};
use super::{entry, values};
use crate::dots::DotSet;
use crate::ids::Dot;

const OWNERS: usize = 3;
const CLIENTS: usize = 3;
const KEYS: Key = 2;
/// Writes are bits.
const WRITES: usize = 64;

/// A set of writes.
type Known = u64;

#[derive(Clone, Debug)]
enum Op {
    /// A put (or a delete) through an owner, or through the fallback, which comes after the owners. `blind` leaves
    /// the client's token aside.
    Write {
        client: usize,
        key: Key,
        at: usize,
        put: bool,
        blind: bool,
    },
    /// A message under way arrives; it may stay under way, to arrive again.
    Deliver {
        which: Index,
        again: bool,
    },
    /// A message under way is lost.
    Lose {
        which: Index,
    },
    /// A read of the owners in `from` (bit 3: the fallback), and the repair of those in `repair`.
    Read {
        client: usize,
        key: Key,
        from: u8,
        repair: u8,
    },
    /// A hint is delivered, and dropped if the fallback hears of it.
    Hint {
        key: Key,
        to: usize,
        heard: bool,
    },
    /// A session begins, goes on by a record, or ends.
    Open {
        from: usize,
        to: usize,
        full: bool,
    },
    Step {
        which: Index,
    },
    /// A new start of the process (R1).
    Restart {
        at: usize,
    },
    /// Every second line of the log goes (R13).
    Trim {
        at: usize,
    },
}

fn any_op() -> impl Strategy<Value = Op> {
    let (client, key, owner) = (0..CLIENTS, 0..KEYS, 0..OWNERS);
    let index = any::<Index>;
    prop_oneof![
        6 => (client.clone(), key.clone(), 0..=OWNERS, prop::bool::weighted(0.8), prop::bool::weighted(0.2))
            .prop_map(|(client, key, at, put, blind)| Op::Write { client, key, at, put, blind }),
        6 => (index(), prop::bool::weighted(0.2)).prop_map(|(which, again)| Op::Deliver { which, again }),
        2 => index().prop_map(|which| Op::Lose { which }),
        6 => (client, key.clone(), 1..16_u8, 0..8_u8)
            .prop_map(|(client, key, from, repair)| Op::Read { client, key, from, repair }),
        2 => (key, owner.clone(), any::<bool>()).prop_map(|(key, to, heard)| Op::Hint { key, to, heard }),
        2 => (owner.clone(), owner.clone(), any::<bool>())
            .prop_map(|(from, to, full)| Op::Open { from, to, full }),
        4 => index().prop_map(|which| Op::Step { which }),
        1 => owner.clone().prop_map(|at| Op::Restart { at }),
        1 => owner.prop_map(|at| Op::Trim { at }),
    ]
}

#[derive(Clone)]
struct Hint {
    update: Update,
    known: Known,
}

struct Pull {
    session: Session,
    from: usize,
    to: usize,
    /// What the sender's clock covered when the session opened. What it knew from contexts alone stays behind.
    known: [Known; KEYS],
}

struct World {
    owners: Vec<Owner>,
    /// What each owner knows of each key, in the naive model.
    known: [[Known; KEYS]; OWNERS],
    fallback: Namer,
    hints: BTreeMap<(Key, usize), Hint>,
    under_way: Vec<(usize, Key, Hint)>,
    sent: Vec<(Key, Hint)>,
    pulls: Vec<Pull>,
    tokens: [[(DotSet, Known); KEYS]; CLIENTS],
    /// What the client of each write had seen.
    seen: Vec<Known>,
    puts: Known,
    dots: BTreeMap<Dot, (usize, Key)>,
    starts: u64,
}

fn members(known: Known) -> impl Iterator<Item = usize> {
    (0..WRITES).filter(move |&write| known >> write & 1 == 1)
}

fn parse(live: &[super::super::Entry]) -> Known {
    values(live).iter().fold(0, |set, value| set | 1 << value.parse::<usize>().expect("values are numbers"))
}

impl World {
    fn new() -> Self {
        Self {
            owners: (0..OWNERS as u64).map(Owner::new).collect(),
            known: Default::default(),
            fallback: Namer::new(9, 1),
            hints: BTreeMap::new(),
            under_way: Vec::new(),
            sent: Vec::new(),
            pulls: Vec::new(),
            tokens: Default::default(),
            seen: Vec::new(),
            puts: 0,
            dots: BTreeMap::new(),
            starts: 1,
        }
    }

    /// What a set of writes shows: the puts that no member had seen.
    fn shown(&self, known: Known) -> Known {
        members(known).fold(known & self.puts, |live, write| live & !self.seen[write])
    }

    fn receive(&mut self, to: usize, key: Key, hint: &Hint) {
        self.owners[to].take(key, &hint.update);
        self.known[to][key] |= hint.known;
    }

    fn take_hint(&mut self, key: Key, to: usize, hint: &Hint) {
        let held = self.hints.entry((key, to)).or_insert_with(|| Hint { update: Update::default(), known: 0 });
        held.update.join(&hint.update);
        held.known |= hint.known;
    }

    fn write(&mut self, at: usize, key: Key, put: bool, (token, seen): (DotSet, Known)) {
        let write = self.seen.len();
        self.seen.push(seen);
        self.puts |= u64::from(put) << write;
        let value = write.to_string();
        let known = seen | 1 << write;
        let update = match self.owners.get_mut(at) {
            Some(owner) if put => owner.put(key, &value, &token),
            Some(owner) => owner.delete(key, &token),
            None if put => Update::put(entry(self.fallback.next(), &value), &token),
            None => Update::delete(self.fallback.next(), &token),
        };
        self.dots.extend(update.events.iter().map(|dot| (dot, (write, key))));
        let hint = Hint { update, known };
        for to in (0..OWNERS).filter(|&to| to != at) {
            if at == OWNERS {
                self.take_hint(key, to, &hint);
            }
            self.under_way.push((to, key, hint.clone()));
        }
        if at < OWNERS {
            self.known[at][key] |= known;
        }
        self.sent.push((key, hint));
    }

    fn read(&self, key: Key, from: u8) -> (View, Known) {
        let (mut view, mut known, nothing) = (View::default(), 0, DotSet::new());
        for at in (0..OWNERS).filter(|at| from >> at & 1 == 1) {
            let record = self.owners[at].record(key);
            view.join(&record.live, Cover { own: &record.residual, shared: &self.owners[at].clock });
            known |= self.known[at][key];
        }
        for (_, hint) in self.hints.iter().filter(|((of, _), _)| *of == key && from >> OWNERS & 1 == 1) {
            view.join(&hint.update.live, hint.update.cover(&nothing));
            known |= hint.known;
        }
        (view, known)
    }

    fn step(&mut self, which: usize) {
        let Pull { session, from, to, .. } = &mut self.pulls[which];
        let sender = self.owners[*from].clone();
        if let Some(key) = session.next_key() {
            session.step(&sender, &mut self.owners[*to]);
            self.known[*to][key] |= self.known[*from][key];
        } else {
            let Pull { session, to, known, .. } = self.pulls.swap_remove(which);
            session.end(&sender, &mut self.owners[to]);
            for (own, known) in self.known[to].iter_mut().zip(known) {
                *own |= known;
            }
        }
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Write { client, key, at, put, blind } if self.seen.len() < WRITES => {
                let token = std::mem::take(&mut self.tokens[client][key]);
                self.write(at, key, put, if blind { Default::default() } else { token });
            }
            Op::Deliver { which, again } if !self.under_way.is_empty() => {
                let which = which.index(self.under_way.len());
                let (to, key, hint) = self.under_way[which].clone();
                self.receive(to, key, &hint);
                if !again {
                    self.under_way.swap_remove(which);
                }
            }
            Op::Lose { which } if !self.under_way.is_empty() => {
                self.under_way.swap_remove(which.index(self.under_way.len()));
            }
            Op::Read { client, key, from, repair } => {
                let (view, known) = self.read(key, from);
                assert_eq!(parse(&view.live), self.shown(known), "a read shows what its replies know");
                for to in (0..OWNERS).filter(|to| repair >> to & 1 == 1) {
                    self.owners[to].take_whole(key, &view, &DotSet::new());
                    self.known[to][key] |= known;
                }
                self.tokens[client][key] = (view.covered, known);
            }
            Op::Hint { key, to, heard } => {
                if let Some(hint) = self.hints.get(&(key, to)).cloned() {
                    self.receive(to, key, &hint);
                    if heard {
                        self.hints.remove(&(key, to));
                    }
                }
            }
            Op::Open { from, to, full } if from != to => {
                let session = Session::open(&self.owners[from], &self.owners[to], full, RULES);
                let known = std::array::from_fn(|key| self.named(key, &self.owners[from].clock));
                self.pulls.push(Pull { session, from, to, known });
            }
            Op::Step { which } if !self.pulls.is_empty() => self.step(which.index(self.pulls.len())),
            Op::Restart { at } => {
                self.starts += 1;
                self.owners[at] = self.owners[at].clone().restarted(self.starts);
                self.pulls.retain(|pull| pull.from != at && pull.to != at);
            }
            Op::Trim { at } => {
                let mut keep = false;
                self.owners[at].log.retain(|_, _| {
                    keep = !keep;
                    keep
                });
            }
            _ => {}
        }
    }

    /// Every owner shows exactly what it knows, and speaks for exactly what it knows.
    fn check(&self) {
        for (at, owner) in self.owners.iter().enumerate() {
            for key in 0..KEYS {
                let record = owner.record(key);
                let live = parse(&record.live);
                assert_eq!(live, self.shown(self.known[at][key]), "owner {at}, key {key}");
                for write in members(live) {
                    assert_eq!(live & self.seen[write], 0, "a superseded value beside its successor");
                }
                let spoken = self.named(key, &owner.view(key).covered);
                assert_eq!(spoken, self.known[at][key], "owner {at} speaks for what it doesn't know, key {key}");
                assert!(record.live.iter().all(|entry| owner.clock.contains(entry.dot)));
                assert!(!record.residual.intersects(&owner.clock), "what the clock covers is stripped");
            }
        }
    }

    /// The writes to this key whose dots these are.
    fn named(&self, key: Key, dots: &DotSet) -> Known {
        let named = self.dots.iter().filter(|(dot, (_, of))| *of == key && dots.contains(**dot));
        named.fold(0, |set, (_, (write, _))| set | 1 << write)
    }

    /// At rest: what was put and never superseded is at every owner, nothing else is, and nothing else is kept.
    fn check_at_rest(&self) {
        assert!(agree(&self.owners, KEYS));
        let all: DotSet = self.dots.keys().copied().collect();
        for owner in &self.owners {
            assert_eq!(owner.clock, all);
            for key in 0..KEYS {
                assert_eq!(parse(&owner.record(key).live), self.shown(self.named(key, &all)), "key {key}");
                assert!(owner.residual(key).is_empty(), "key {key}");
            }
        }
    }

    fn deliver_hints(&mut self) {
        for ((key, to), hint) in std::mem::take(&mut self.hints) {
            self.receive(to, key, &hint);
        }
    }

    fn deliver_all(&mut self) {
        for (key, hint) in self.sent.clone() {
            (0..OWNERS).for_each(|to| self.receive(to, key, &hint));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(6_000) })]

    /// After every step: no false concurrency, no loss, nothing claimed that is not known. At rest, whether all
    /// messages arrived at last or the lost ones were made up for by the exchange of clock differences: equal live
    /// entries, equal clocks, no residuals, and every late copy of every message changes nothing any more.
    #[test]
    fn random_runs_show_what_a_naive_model_of_sets_shows(
        ops in prop::collection::vec(any_op(), 1..120), by_messages in any::<bool>(),
    ) {
        let mut world = World::new();
        for op in ops {
            world.run(op);
            world.check();
        }
        if by_messages {
            world.deliver_all();
        } else {
            world.deliver_hints();
            exchange(&mut world.owners, false, RULES);
        }
        world.check_at_rest();
        let (owners, hints) = (world.owners.clone(), std::mem::take(&mut world.hints));
        world.deliver_all();
        for ((key, to), hint) in hints {
            world.receive(to, key, &hint);
        }
        world.check_at_rest();
        exchange(&mut world.owners, true, RULES);
        for (after, before) in world.owners.iter().zip(&owners) {
            prop_assert_eq!(&after.records, &before.records, "a replay");
        }
    }

    /// R + W > N, one client for each key, one write after the other, each after a read: whatever is late, doubled or
    /// repaired, the client reads its last write and nothing else. Two of three owners take a write in time, the
    /// third's message is late.
    #[test]
    fn a_sequential_client_reads_its_last_write_and_never_siblings(
        rounds in prop::collection::vec(
            (0..KEYS, 0..OWNERS, 0..OWNERS, 0..OWNERS, prop::bool::weighted(0.8), any::<Index>(), 0..8_u8),
            1..60,
        ),
    ) {
        let mut world = World::new();
        let mut last = [0; KEYS];
        for (key, at, late, unread, put, which, repair) in rounds {
            let (view, known) = world.read(key, 7 & !(1 << unread));
            prop_assert_eq!(parse(&view.live), last[key]);
            for to in (0..OWNERS).filter(|to| repair >> to & 1 == 1) {
                world.owners[to].take_whole(key, &view, &DotSet::new());
                world.known[to][key] |= known;
            }
            let write = world.seen.len();
            world.write(at, key, put, (view.covered, known));
            last[key] = u64::from(put) << write;
            // One of the two messages is late; it may arrive at any time, and again.
            let (_, _, hint) = world.under_way.pop().expect("two messages to two other owners");
            world.under_way.pop();
            let others: Vec<usize> = (0..OWNERS).filter(|&to| to != at).collect();
            world.receive(others[late % 2], key, &hint);
            world.under_way.push((others[1 - late % 2], key, hint));
            world.run(Op::Deliver { which, again: repair >> 1 & 1 == 1 });
            world.check();
        }
    }
}
