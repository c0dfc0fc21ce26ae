//! Anything, in any order, against the set of events and what each of them had seen.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

const KEYS: usize = 3;

#[derive(Clone, Debug)]
enum Op {
    /// A put, or a delete, of a client that has read at one owner, or nowhere. It reaches the others of the mask.
    Write {
        at: usize,
        key: usize,
        read_at: Option<usize>,
        delete: bool,
        reaches: u8,
    },
    /// A write that has been made comes to an owner, again or for the first time.
    Late {
        which: Index,
        to: usize,
    },
    Pull(usize, usize),
    /// A full exchange begins; one that the same owner had begun is given up.
    Begin(usize, usize),
    /// It is asked and answered, or the answer is taken in.
    Step(usize),
    /// To its end.
    Run(usize),
    Sweep(usize),
    Restart(usize),
    Damage(usize, usize),
    LoseDisk(usize),
}

fn two() -> impl Strategy<Value = (usize, usize)> {
    select(vec![(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)])
}

fn op() -> impl Strategy<Value = Op> {
    let write = (0..3_usize, 0..KEYS, proptest::option::weighted(0.7, 0..3_usize), any::<bool>(), 0..8_u8);
    prop_oneof![
        8 => write.prop_map(|(at, key, read_at, delete, reaches)| Op::Write { at, key, read_at, delete, reaches }),
        4 => (any::<Index>(), 0..3_usize).prop_map(|(which, to)| Op::Late { which, to }),
        2 => two().prop_map(|(b, a)| Op::Pull(b, a)),
        3 => two().prop_map(|(b, a)| Op::Begin(b, a)),
        8 => (0..3_usize).prop_map(Op::Step),
        2 => (0..3_usize).prop_map(Op::Run),
        2 => (0..3_usize).prop_map(Op::Sweep),
        1 => (0..3_usize).prop_map(Op::Restart),
        1 => (0..3_usize, 0..KEYS).prop_map(|(at, nth)| Op::Damage(at, nth)),
        1 => (0..3_usize).prop_map(Op::LoseDisk),
    ]
}

struct Event {
    key: usize,
    update: Update,
    /// Who has stored it and not lost it since.
    at: [bool; 3],
    /// Whether once all had.
    everywhere: bool,
}

impl Event {
    fn dot(&self) -> Dot {
        self.update.events.iter().next().expect("its own")
    }

    fn stored(&mut self, at: usize) {
        self.at[at] = true;
        self.everywhere |= self.at == [true; 3];
    }
}

struct World {
    owners: [Owner; 3],
    keys: Vec<Key>,
    events: Vec<Event>,
    running: [Option<Full>; 3],
    lossless: bool,
}

impl World {
    fn new(log: usize) -> Self {
        let keys = (0..KEYS).map(|number| key(&format!("{number}"))).collect();
        Self { owners: Owner::three(log), keys, events: Vec::new(), running: [None, None, None], lossless: true }
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Write { at, key, read_at, delete, reaches } => {
                let name = &self.keys[key];
                let seen = read_at.map(|at| self.owners[at].context(name)).unwrap_or_default();
                let owner = &mut self.owners[at];
                let update = if delete { owner.delete(name, &seen) } else { owner.put(name, &seen) };
                self.events.push(Event { key, update, at: [false; 3], everywhere: false });
                let which = self.events.len() - 1;
                (0..3).filter(|to| reaches >> to & 1 == 1 || *to == at).for_each(|to| self.deliver(which, to));
            }
            Op::Late { ref which, to } if !self.events.is_empty() => self.deliver(which.index(self.events.len()), to),
            Op::Pull(b, a) => {
                let (b, a) = pair(&mut self.owners, b, a);
                pull(b, a);
            }
            Op::Begin(b, a) => {
                let (asker, a) = pair(&mut self.owners, b, a);
                asker.replica.unwatch(P);
                self.running[b] = Some(Full::begin(asker, a));
            }
            Op::Step(b) => {
                self.step(b);
            }
            Op::Run(b) => while self.step(b) {},
            Op::Sweep(at) => {
                let owner = &mut self.owners[at];
                let _ = owner.replica.sweep(&mut owner.storage, P, 1).unwrap();
            }
            Op::Restart(at) => {
                self.running[at] = None;
                self.owners[at].restart();
            }
            Op::Damage(at, nth) if self.may_lose(at) => {
                self.forget(at);
                self.owners[at].damage(nth);
            }
            Op::LoseDisk(at) if self.may_lose(at) => {
                self.forget(at);
                self.owners[at].lose_disk();
            }
            Op::Late { .. } | Op::Damage(..) | Op::LoseDisk(_) => {}
        }
    }

    fn deliver(&mut self, which: usize, to: usize) {
        let event = &mut self.events[which];
        self.owners[to].receive(&self.keys[event.key], &event.update);
        event.stored(to);
    }

    /// Two at a time may lose what all three had.
    fn may_lose(&self, at: usize) -> bool {
        (0..3).all(|other| other == at || !self.owners[other].replica.is_refilling(P))
    }

    fn forget(&mut self, at: usize) {
        self.lossless = false;
        self.running[at] = None;
        self.events.iter_mut().for_each(|event| event.at[at] = false);
    }

    /// Half a step of the exchange that an owner has begun. False if there is none any more.
    fn step(&mut self, b: usize) -> bool {
        let Some(mut full) = self.running[b].take() else { return false };
        let peer = self.owners.iter().position(|owner| owner.node == full.peer).expect("one of the three");
        let (asker, peer) = pair(&mut self.owners, b, peer);
        if full.answer.is_some() {
            full.take(asker);
            for (key, update) in full.repairs.drain(..) {
                repair(peer, &key, &update);
            }
            self.running[b] = Some(full);
        } else if peer.replica.tree(P).is_none() {
            // It restarted: what it answers now comes from another life.
            asker.replica.unwatch(P);
            return false;
        } else if full.ask(asker, peer) == Went::On {
            self.running[b] = Some(full);
        } else {
            return false;
        }
        true
    }

    /// All become equal; then every owner has what it must, and nothing else.
    fn check(&mut self, by_trees: bool) {
        for owner in &mut self.owners {
            owner.replica.unwatch(P);
        }
        self.running = [None, None, None];
        // Who has lost something is filled by the trees alone.
        exchange_all(&mut self.owners, by_trees || !self.lossless);
        for owner in &self.owners {
            assert_eq!(owner.clock(), self.owners[0].clock(), "the clocks of {} and {}", owner.node, NodeId(1));
            assert!(!owner.replica.is_refilling(P));
        }
        for (number, key) in self.keys.iter().enumerate() {
            let live = self.owners[0].live(key);
            for owner in &self.owners {
                assert_eq!(owner.live(key), live, "{number} at {}", owner.node);
            }
            let of_key = || self.events.iter().filter(|event| event.key == number);
            let seen_by = |dot: Dot, event: &&Event| event.dot() != dot && event.update.covered.contains(dot);
            for dot in &live {
                let event = of_key().find(|event| event.dot() == *dot).expect("somebody wrote it");
                assert!(!event.update.live.is_empty(), "a delete has no value");
                let gone = of_key().filter(|event| seen_by(*dot, event)).any(|it| it.everywhere || self.lossless);
                assert!(!gone, "{dot:?} is back");
            }
            for event in of_key().filter(|event| !event.update.live.is_empty()) {
                let kept = event.everywhere || self.lossless;
                let superseded = of_key().any(|other| seen_by(event.dot(), &other));
                assert!(!kept || superseded || live.contains(&event.dot()), "{:?} is lost", event.dot());
            }
        }
        if self.lossless {
            assert!(self.owners.iter().all(|owner| owner.replica.unsettled() == 0), "nothing is left to be refused");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_500) })]

    #[test]
    fn owners_become_equal_and_nothing_is_lost_or_comes_back(
        ops in prop::collection::vec(op(), 1..60),
        log in select(vec![0, 1, 3, 1_000]),
        by_trees in any::<bool>(),
    ) {
        let mut world = World::new(log);
        ops.iter().for_each(|op| world.run(op));
        world.check(by_trees);
    }
}
