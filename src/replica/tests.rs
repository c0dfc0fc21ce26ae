//! Owners of one partition that exchange, one step at a time, so that anything can happen between two of them.

#[cfg(feature = "mutants")]
mod controls;
mod random;
mod scripts;

use std::sync::Arc;
use std::time::Duration;

use super::{Portion, Replica, put_lost};
use crate::causality::{DotSet, Entry, Secret, Stamp, Update};
use crate::exchange::FullExchange;
use crate::ids::{Actor, Dot, NodeId, PartitionId, Start};
use crate::key::Key;
use crate::merkle::Nodes;
use crate::message::{Answer, Item, Keys, Question, Standing};
use crate::ring::{Layout, Member, plan_first};
use crate::storage::{Batch, MemoryStorage, Space, Storage};

const SECRET: Secret = Secret::new([7; 16]);
const P: PartitionId = PartitionId(0);
const SKEW: Duration = Duration::from_secs(60);
/// So small that even a few keys take several pages.
const PORTION: Portion = Portion { records: 2, bytes: 1_000 };

fn key(name: &str) -> Key {
    Key::new(&SECRET, crate::ids::KeyspaceId(1), name.as_bytes())
}

struct Owner {
    node: NodeId,
    start: u64,
    log: usize,
    layout: Arc<Layout>,
    replica: Replica,
    storage: MemoryStorage,
}

impl Owner {
    fn three(log: usize) -> [Self; 3] {
        let members: Vec<_> = (1..=3).map(|node| Member::new(NodeId(node))).collect();
        let layout = Arc::new(plan_first(&members, 3, 1).unwrap().layout);
        [1, 2, 3].map(|node| {
            let mut storage = MemoryStorage::new();
            let replica = Replica::open(&mut storage, SECRET, &layout, [P].into_iter(), log, SKEW).unwrap();
            Self { node: NodeId(node), start: 1, log, layout: Arc::clone(&layout), replica, storage }
        })
    }

    fn restart(&mut self) {
        self.start += 1;
        let owned = [P].into_iter();
        self.replica = Replica::open(&mut self.storage, SECRET, &self.layout, owned, self.log, SKEW).unwrap();
    }

    /// Its disk is replaced by an empty one.
    fn lose_disk(&mut self) {
        self.storage = MemoryStorage::new();
        let mut batch = Batch::new();
        put_lost(&mut batch, &[P]);
        self.storage.write(&batch).unwrap();
        self.restart();
    }

    /// A record is gone without a trace.
    fn lose_record(&mut self, nth: usize) {
        let mut names = Vec::new();
        let all = self.storage.scan(Space::Objects, &[], &mut |name, _| {
            names.push(name.to_vec());
            std::ops::ControlFlow::Continue(())
        });
        all.unwrap();
        if let Some(name) = names.get(nth % names.len().max(1)) {
            let mut batch = Batch::new();
            batch.delete(Space::Objects, name);
            self.storage.write(&batch).unwrap();
        }
    }

    /// What stands on the disk of the `nth` record.
    fn stored(&self, nth: usize) -> (Vec<u8>, Vec<u8>) {
        let mut all = Vec::new();
        let scanned = self.storage.scan(Space::Objects, &[], &mut |name, value| {
            all.push((name.to_vec(), value.to_vec()));
            std::ops::ControlFlow::Continue(())
        });
        scanned.unwrap();
        all.swap_remove(nth)
    }

    /// A record is gone without a trace, and that is found.
    fn damage(&mut self, nth: usize) {
        self.lose_record(nth);
        let _ = self.replica.lose(&mut self.storage, P, true).unwrap();
    }

    /// Reads all that is to be read, or taken over.
    fn build(&mut self) {
        while self.replica.partitions_building().next().is_some() {
            let _ = self.replica.build(&mut self.storage, P, 2).unwrap();
        }
    }

    fn settle(&mut self) {
        self.build();
        let mut before = u64::MAX;
        while self.replica.unsettled() < before {
            before = self.replica.unsettled();
            for _ in 0..=before {
                let _ = self.replica.sweep(&mut self.storage, P, 2).unwrap();
            }
        }
    }

    fn next_dot(&mut self) -> Dot {
        self.replica.next_dot(Actor { node: self.node, start: Start(self.start) }, P)
    }

    fn put(&mut self, key: &Key, context: &DotSet) -> Update {
        let dot = self.next_dot();
        let update = put_of(dot, context);
        self.receive(key, &update);
        update
    }

    fn delete(&mut self, key: &Key, context: &DotSet) -> Update {
        let update = Update::delete(self.next_dot(), context);
        self.receive(key, &update);
        update
    }

    fn receive(&mut self, key: &Key, update: &Update) {
        let _ = self.replica.update(&mut self.storage, P, key, update).unwrap();
    }

    /// What a client that reads here sees of a key's history.
    fn context(&self, key: &Key) -> DotSet {
        let (record, clock) = self.replica.read(&self.storage, P, key, &mut Vec::new()).unwrap();
        record.view(&clock).covered
    }

    fn live(&self, key: &Key) -> Vec<Dot> {
        let (record, _) = self.replica.read(&self.storage, P, key, &mut Vec::new()).unwrap();
        record.live.iter().map(|entry| entry.dot).collect()
    }

    fn clock(&self) -> &DotSet {
        self.replica.clock(P)
    }

    const fn life(&self, losses: u32) -> (Start, u32) {
        (Start(self.start), losses)
    }
}

fn put_of(dot: Dot, context: &DotSet) -> Update {
    let value = format!("{}.{}.{}", dot.actor.node.0, dot.actor.start.0, dot.counter);
    Update::put(Entry { dot, write_id: None, expires: None, stamp: Stamp(1), value: value.as_str().into() }, context)
}

/// A write that nobody of the three has named: a fallback did.
fn of_fallback(counter: u64) -> Update {
    put_of(Dot { actor: Actor { node: NodeId(4), start: Start(1) }, counter }, &DotSet::new())
}

/// The owner `b` takes from `a` what its clock lacks. False if that can't be told any more.
fn pull(b: &mut Owner, a: &mut Owner) -> bool {
    a.replica.calm_down();
    loop {
        let page = match a.replica.since(&a.storage, P, b.clock(), PORTION).unwrap() {
            Answer::Nothing => return true,
            Answer::TooOld => return false,
            Answer::Page(page) => page,
            other => panic!("{other:?}"),
        };
        let cover = b.replica.cover_of(P, &page);
        for item in &page.items {
            let _ = b.replica.take(&mut b.storage, P, item, &cover, true).unwrap();
        }
        if !page.more {
            return true;
        }
    }
}

/// A full exchange between two of its steps.
struct Full {
    exchange: FullExchange,
    peer: NodeId,
    answer: Option<(Question, Answer)>,
    /// What the other side lacks, on its way to it.
    repairs: Vec<(Key, Update)>,
}

#[derive(PartialEq, Eq, Debug)]
enum Went {
    On,
    Complete,
    /// The other side isn't the one with which it began.
    Ended,
}

impl Full {
    fn begin(b: &mut Owner, a: &mut Owner) -> Self {
        b.build();
        a.build();
        let life = a.life(a.replica.losses(P));
        let surveyed = a.replica.survey(&a.storage, P).unwrap().expect("it is built");
        let tree = b.replica.tree(P).expect("it is built");
        let exchange = FullExchange::new(surveyed, life, tree, false);
        b.replica.watch(P, exchange.opening().0);
        Self { exchange, peer: a.node, answer: None, repairs: Vec::new() }
    }

    /// `b` asks, and `a` answers; or there is nothing more to ask, and it is complete.
    fn ask(&mut self, b: &mut Owner, a: &Owner) -> Went {
        if !self.exchange.is_of(a.life(a.replica.losses(P))) {
            b.replica.unwatch(P);
            return Went::Ended;
        }
        self.exchange.want(b.replica.touched(P));
        let Some(question) = self.exchange.next() else {
            let (opening, whole) = self.exchange.opening();
            let opening = DotSet::clone(opening);
            let _ = b
                .replica
                .close(&mut b.storage, P, &opening, Some((self.peer, whole == Standing::Whole)), (2, 2))
                .unwrap();
            return Went::Complete;
        };
        let answer = match &question {
            Question::Level { nodes, common } => {
                Answer::Level(a.replica.tree(P).unwrap().level(nodes, *common).unwrap())
            }
            Question::Keys { nodes, after } => {
                Answer::Keys(a.replica.keys(&a.storage, P, nodes, *after, u64::MAX, PORTION).unwrap().unwrap())
            }
            Question::Records(positions) => {
                Answer::Records(a.replica.records(&a.storage, P, positions, PORTION).unwrap())
            }
            other => panic!("{other:?}"),
        };
        self.answer = Some((question, answer));
        Went::On
    }

    /// `b` takes the answer in.
    fn take(&mut self, b: &mut Owner) {
        match self.answer.take() {
            Some((_, Answer::Level(level))) => self.exchange.level(b.replica.tree(P).unwrap(), &level).unwrap(),
            Some((Question::Keys { nodes, after }, Answer::Keys(theirs))) => {
                let end = theirs.through.unwrap_or(u64::MAX);
                let own = b.replica.keys(&b.storage, P, &nodes, after, end, PORTION).unwrap().unwrap();
                self.exchange.keys(&own, &theirs).unwrap();
            }
            Some((Question::Records(asked), Answer::Records(records))) => {
                let positions = self.exchange.records(&asked, &records).unwrap();
                let mut items = records.items;
                for position in positions {
                    for key in b.replica.keys_at(&b.storage, P, position).unwrap() {
                        if items.iter().all(|item| item.key != key) {
                            items.push(Item::absent(key));
                        }
                    }
                }
                for item in &items {
                    let _ = b.replica.take(&mut b.storage, P, item, &records.clock, false).unwrap();
                    if let Some((live, covered)) = b.replica.ahead(&b.storage, P, item, &records.clock).unwrap() {
                        self.repairs.push((item.key.clone(), Update { live, covered, events: DotSet::new() }));
                    }
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

/// What another owner had read repair send.
fn repair(a: &mut Owner, key: &Key, update: &Update) {
    let _ = a.replica.repair(&mut a.storage, P, key, &update.live, &update.covered).unwrap();
}

/// `b` becomes as `a`, by the trees, without a break. How many steps that took.
fn full(b: &mut Owner, a: &mut Owner) -> usize {
    let mut full = Full::begin(b, a);
    let mut steps = 0;
    while full.ask(b, a) == Went::On {
        full.take(b);
        steps += 1;
    }
    for (key, update) in full.repairs {
        repair(a, &key, &update);
    }
    steps
}

/// Two of three, by their indices.
fn pair(owners: &mut [Owner; 3], b: usize, a: usize) -> (&mut Owner, &mut Owner) {
    let [b, a] = owners.get_disjoint_mut([b, a]).expect("two different ones");
    (b, a)
}

/// Every owner from every other, twice: then nothing is left to come.
fn exchange_all(owners: &mut [Owner; 3], by_trees: bool) {
    for _ in 0..2 {
        for (b, a) in [(0, 1), (1, 2), (2, 0), (0, 2), (2, 1), (1, 0)] {
            let (b, a) = pair(owners, b, a);
            if by_trees || !pull(b, a) {
                full(b, a);
            }
        }
    }
    owners.iter_mut().for_each(Owner::settle);
}
