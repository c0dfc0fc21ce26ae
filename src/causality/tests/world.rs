//! A few owners of one partition, in memory, with the two exchanges as the rules R10 and R11 state them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Cover, Entry, Record, Update, View};
use super::{entry, values};
use crate::dots::DotSet;
use crate::ids::{Actor, Dot, NodeId, Start};

pub(super) type Key = usize;

/// Names write events: a node in one of its starts (R1).
#[derive(Clone)]
pub(super) struct Namer {
    actor: Actor,
    last: u64,
}

impl Namer {
    pub(super) fn new(node: u64, start: u64) -> Self {
        Self { actor: Actor { node: NodeId(node), start: Start(start) }, last: 0 }
    }

    pub(super) fn next(&mut self) -> Dot {
        self.last += 1;
        Dot { actor: self.actor, counter: self.last }
    }
}

/// An owner: records, clock, dot log (R3).
#[derive(Clone)]
pub(super) struct Owner {
    namer: Namer,
    pub(super) records: BTreeMap<Key, Record>,
    pub(super) clock: DotSet,
    pub(super) log: BTreeMap<Dot, Key>,
}

impl Owner {
    pub(super) fn new(node: u64) -> Self {
        let namer = Namer::new(node, 1);
        Self { namer, records: BTreeMap::new(), clock: DotSet::new(), log: BTreeMap::new() }
    }

    /// The same state in a new start of the process: a restart, or an old backup brought back (R1, R17).
    pub(super) fn restarted(mut self, start: u64) -> Self {
        self.namer = Namer::new(self.namer.actor.node.0, start);
        self
    }

    /// A join, the log, and what a clock that grew lets go, in the records of all keys (R3, R12).
    pub(super) fn apply(&mut self, key: Key, live: &[Entry], cover: Cover<'_>, events: &DotSet) {
        let before = self.clock.clone();
        self.records.entry(key).or_default().apply(&mut self.clock, live, cover, events);
        self.log.extend(self.clock.minus(&before).iter().map(|dot| (dot, key)));
        self.settle();
    }

    fn settle(&mut self) {
        for record in self.records.values_mut() {
            record.strip(&self.clock);
        }
        self.records.retain(|_, record| !record.is_absent());
    }

    /// A write's own message: a delta, which speaks for no clock (R7).
    pub(super) fn take(&mut self, key: Key, update: &Update) {
        let nothing = DotSet::new();
        self.apply(key, &update.live, update.cover(&nothing), &update.events);
    }

    /// A whole record, with the events that came with it: none in a read's repair, the log's in a session (R4).
    pub(super) fn take_whole(&mut self, key: Key, view: &View, events: &DotSet) {
        let nothing = DotSet::new();
        self.apply(key, &view.live, Cover { own: &view.covered, shared: &nothing }, events);
    }

    pub(super) fn put(&mut self, key: Key, value: &str, context: &DotSet) -> Update {
        let update = Update::put(entry(self.namer.next(), value), context);
        self.take(key, &update);
        update
    }

    pub(super) fn delete(&mut self, key: Key, context: &DotSet) -> Update {
        let update = Update::delete(self.namer.next(), context);
        self.take(key, &update);
        update
    }

    /// What leaves the owner as a record: its covered set is the residual, the live dots and the whole clock (R6).
    pub(super) fn view(&self, key: Key) -> View {
        self.record(key).view(&self.clock)
    }

    pub(super) fn record(&self, key: Key) -> Record {
        self.records.get(&key).cloned().unwrap_or_default()
    }

    pub(super) fn residual(&self, key: Key) -> DotSet {
        self.record(key).residual
    }

    pub(super) fn values(&self, key: Key) -> Vec<String> {
        values(&self.record(key).live).into_iter().map(str::to_owned).collect()
    }

    fn live_dots(&self, key: Key) -> Vec<Dot> {
        self.record(key).live.iter().map(|entry| entry.dot).collect()
    }

    fn log_of(&self, key: Key) -> DotSet {
        self.log.iter().filter(|&(_, of)| *of == key).map(|(&dot, _)| dot).collect()
    }
}

/// A read: the join of whole records, each with the clock of its owner. Its covered set is the token (R8).
pub(super) fn read<'a>(owners: impl IntoIterator<Item = &'a Owner>, key: Key) -> View {
    let mut view = View::default();
    for owner in owners {
        let record = owner.record(key);
        view.join(&record.live, Cover { own: &record.residual, shared: &owner.clock });
    }
    view
}

/// Which of the exchanges' rules hold. The schedules break them one at a time.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    /// R11: at End, entries of keys that were not sent go if the opening clock covers them and the receiver's didn't.
    pub(super) end_drops: bool,
    /// R11: a key counts as equal only if the sender's residual is empty.
    pub(super) residual_differs: bool,
    /// R10: End carries the opening clock, never a later one.
    pub(super) opening_clock: bool,
    /// R10(3), R13: a difference that the log doesn't explain takes the full exchange.
    pub(super) log_must_cover: bool,
}

pub(super) const RULES: Rules =
    Rules { end_drops: true, residual_differs: true, opening_clock: true, log_must_cover: true };

/// A pull: `to` asks `from`. Nothing but the per-key joins happens before the end.
#[derive(Clone)]
pub(super) struct Session {
    rules: Rules,
    full: bool,
    asked: DotSet,
    opening: DotSet,
    lines: BTreeMap<Dot, Key>,
    todo: Vec<Key>,
    sent: BTreeSet<Key>,
}

impl Session {
    /// The request, the snapshot of the sender's clock, and which keys are to be sent.
    pub(super) fn open(from: &Owner, to: &Owner, full: bool, rules: Rules) -> Self {
        let (asked, opening) = (to.clock.clone(), from.clock.clone());
        let missing = opening.minus(&asked);
        let lines: BTreeMap<Dot, Key> =
            from.log.iter().filter(|(dot, _)| missing.contains(**dot)).map(|(&dot, &key)| (dot, key)).collect();
        let full = full || (rules.log_must_cover && (lines.len() as u64) < missing.count());
        let keys: BTreeSet<Key> = if full {
            let both = from.records.keys().chain(to.records.keys());
            both.copied().filter(|&key| Self::differs(from, to, key, rules)).collect()
        } else {
            lines.values().copied().collect()
        };
        Self { rules, full, asked, opening, lines, todo: keys.into_iter().collect(), sent: BTreeSet::new() }
    }

    fn differs(from: &Owner, to: &Owner, key: Key, rules: Rules) -> bool {
        from.live_dots(key) != to.live_dots(key) || (rules.residual_differs && !from.residual(key).is_empty())
    }

    pub(super) fn next_key(&self) -> Option<Key> {
        self.todo.last().copied()
    }

    /// Sends the current record of the next key with the current clock.
    pub(super) fn step(&mut self, from: &Owner, to: &mut Owner) {
        if let Some(key) = self.todo.pop() {
            let record = from.record(key);
            let cover = Cover { own: &record.residual, shared: &from.clock };
            to.apply(key, &record.live, cover, &from.log_of(key));
            self.sent.insert(key);
        }
    }

    /// End, after all records.
    pub(super) fn end(self, from: &Owner, to: &mut Owner) {
        assert!(self.todo.is_empty(), "End counts only with all numbered records");
        if self.full && self.rules.end_drops {
            for (_, record) in to.records.iter_mut().filter(|(key, _)| !self.sent.contains(key)) {
                record.live.retain(|entry| !self.opening.contains(entry.dot) || self.asked.contains(entry.dot));
            }
        }
        let lines = self.lines.into_iter().filter(|(dot, _)| !to.clock.contains(*dot)).collect::<Vec<_>>();
        to.log.extend(lines);
        to.clock.union_with(if self.rules.opening_clock { &self.opening } else { &from.clock });
        to.settle();
    }
}

/// A whole session that nothing comes between.
pub(super) fn pull(from: &Owner, to: &mut Owner, full: bool, rules: Rules) {
    let mut session = Session::open(from, to, full, rules);
    while session.next_key().is_some() {
        session.step(from, to);
    }
    session.end(from, to);
}

/// Everybody pulls from everybody, twice.
pub(super) fn exchange(owners: &mut [Owner], full: bool, rules: Rules) {
    for _ in 0..2 {
        for to in 0..owners.len() {
            for from in (0..owners.len()).filter(|&from| from != to) {
                let sender = owners[from].clone();
                pull(&sender, &mut owners[to], full, rules);
            }
        }
    }
}

/// Equal live entries, values included, and equal clocks: nothing is left that an exchange could find.
pub(super) fn agree(owners: &[Owner], keys: Key) -> bool {
    owners.windows(2).all(|pair| {
        pair[0].clock == pair[1].clock && (0..keys).all(|key| pair[0].record(key).live == pair[1].record(key).live)
    })
}
