//! Hints: what it takes to keep writes for a node that is away, and to bring them home when it is back.
//!
//! ```text
//! cargo bench --bench hints             everything, about ten seconds
//! cargo bench --bench hints -- '^keep'  what a filter selects
//! ```
//! Through whole nodes, in memory, in one thread, with all messages in order and at once: what is measured is the
//! processor's part. `keep` is a put at a node whose two fellow owners are down: it stores its copy and two hints.
//! `home` is the way back, from the holder's order to the target's record and the acknowledged hint's end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use quorate::causality::Secret;
use quorate::ring::plan_first;
use quorate::storage::MemoryStorage;
use quorate::{
    ClusterId, Identity, Input, Keyspace, Member, Message, Node, NodeId, Now, Output, PutOptions, Quorum, Request,
    Setup, Start, Ticket, Time, WallTime,
};

const WRITES: u64 = 10_000;

/// Three nodes that own everything; who is down hears nothing.
struct Three {
    nodes: Vec<Node<MemoryStorage>>,
    down: Vec<NodeId>,
    now: u64,
}

impl Three {
    fn new() -> Self {
        let members: Vec<_> = (1..=3).map(|node| Member::new(NodeId(node))).collect();
        let layout = Arc::new(plan_first(&members, 3, 64).expect("a layout").layout);
        let identity = Identity { cluster: ClusterId(1), secret: Secret::new([1; 16]) };
        let quorum = Quorum::new(3, 1, 1).expect("a quorum");
        let open = |node: u64| {
            let keyspaces = vec![Keyspace::new("default").quorum(quorum)];
            let mut setup = Setup::new(identity, NodeId(node), Arc::clone(&layout), keyspaces);
            setup.founding = true;
            // Nothing but hints brings anything home.
            setup.timing.exchange = Duration::MAX;
            Node::open(setup, vec![MemoryStorage::new()], Start(node), 1, at(0)).expect("it opens")
        };
        Self { nodes: (1..=3).map(open).collect(), down: vec![NodeId(2), NodeId(3)], now: 0 }
    }

    /// Everything that is on its way arrives.
    fn run(&mut self) {
        let mut on_its_way: VecDeque<(NodeId, NodeId, Message)> = VecDeque::new();
        loop {
            for (node, id) in self.nodes.iter_mut().zip(1..) {
                node.commit().expect("memory doesn't fail");
                while let Some(output) = node.poll() {
                    if let Output::Send(to, message) = output {
                        on_its_way.push_back((NodeId(id), to, message));
                    }
                }
            }
            if on_its_way.is_empty() {
                return;
            }
            for (from, to, message) in on_its_way.drain(..) {
                if !self.down.contains(&to) {
                    self.nodes[to.0 as usize - 1].step(at(self.now), Input::Message(from, message));
                }
            }
        }
    }

    fn wake(&mut self, seconds: u64) {
        self.now += seconds * 1_000_000;
        self.nodes.iter_mut().for_each(|node| node.step(at(self.now), Input::Wake));
        self.run();
    }

    fn put(&mut self, number: u64) {
        let request = Request::Put {
            keyspace: Keyspace::new("default").id(),
            key: number.to_be_bytes().to_vec().into(),
            value: Some(vec![7; 100].into()),
            context: quorate::Context::empty(),
            options: PutOptions::default(),
        };
        self.nodes[0].step(at(self.now), Input::Request(Ticket(number), request));
    }
}

const fn at(micros: u64) -> Now {
    Now { time: Time(micros), wall: WallTime(micros) }
}

/// Two of three are known to be down.
fn alone() -> Three {
    let mut three = Three::new();
    // The first is missed before that is known.
    three.put(0);
    three.wake(3);
    three
}

/// Writes that two others miss.
fn keep(mut three: Three) -> Three {
    for number in 1..=WRITES {
        three.put(number);
        if number % 64 == 0 {
            three.run();
        }
    }
    three.run();
    let counts: Vec<u64> = three.nodes[0].hints().iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [WRITES + 1; 2]);
    three
}

/// The others are back.
fn home(mut three: Three) -> Three {
    three.down.clear();
    while !three.nodes[0].hints().is_empty() {
        three.wake(1);
    }
    three
}

fn hints(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hints");
    group.throughput(Throughput::Elements(2 * WRITES));
    group.bench_function("keep", |b| b.iter_batched(alone, keep, BatchSize::PerIteration));
    group.bench_function("home", |b| b.iter_batched(|| keep(alone()), home, BatchSize::PerIteration));
}

fn settings() -> Criterion {
    let (warm_up, measure) = (Duration::from_millis(200), Duration::from_millis(800));
    Criterion::default().sample_size(10).warm_up_time(warm_up).measurement_time(measure).without_plots()
}

criterion_group! {
    name = benches;
    config = settings();
    targets = hints
}
criterion_main!(benches);
