//! The parts that a request is made of, one by one.
//!
//! ```text
//! cargo bench --bench parts               everything, about a minute
//! cargo bench --bench parts -- '^dots'    what a filter selects
//! ```
//! `by hand` are a fixed layout without version, checksum or rules: the least that it takes to write and read the same
//! content.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Bencher, Criterion, criterion_group, criterion_main};
use quorate::causality::{Cover, DotSet, Entry, Record, Stamp, Update, View};
use quorate::ids::{Actor, Dot};
use quorate::ring::plan_first;
use quorate::verdict::Verdict;
use quorate::{Bytes, Codec, Input, Member, Message, NodeId, Now, Output, Reply, Request, Start, Ticket};

#[allow(dead_code, reason = "each benchmark uses its part of it")]
mod support {
    pub(crate) mod floor;
    pub(crate) mod floor_messages;
    pub(crate) mod keys;
    pub(crate) mod nodes;
}
use support::floor::Version;
use support::floor_messages::{decode_write, encode_write};
use support::keys::keys;
use support::nodes::{IDENTITY, Nodes};

const ACTORS: [u64; 2] = [3, 10];
const SIZES: [(usize, &str); 2] = [(100, "100 B"), (1_024, "1 KiB")];
/// As long as the key of a record is in a storage.
const PLACE: &[u8] = &[7; 32];

fn dot(node: u64, counter: u64) -> Dot {
    Dot { actor: Actor { node: NodeId(node), start: Start(node + 77) }, counter }
}

/// The first `base` dots of so many actors, and for each one more beyond a gap if there shall be gaps.
fn dots(actors: u64, base: u64, gaps: bool) -> DotSet {
    let all = |node| (1..=base).chain(gaps.then_some(base + 2)).map(move |counter| dot(node, counter));
    (1..=actors).flat_map(all).collect()
}

fn entry(dot: Dot, value: usize) -> Entry {
    Entry { dot, write_id: None, expires: None, stamp: Stamp(1), value: Bytes::from(vec![7; value]) }
}

fn sets_of_dots(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dots");
    for actors in ACTORS {
        let (old, new) = (dots(actors, 20, false), dots(actors, 21, false));
        let gaps = dots(actors, 20, true);
        let last = dot(actors, 20);
        group.bench_function(format!("contains/{actors} actors"), |b| b.iter(|| black_box(&new).contains(last)));
        group.bench_function(format!("subset/{actors} actors"), |b| b.iter(|| black_box(&old).is_subset(&new)));
        for (name, set) in [("settled", &old), ("gaps", &gaps)] {
            group.bench_function(format!("union/{actors} actors/{name}"), |b| {
                b.iter_batched_ref(|| old.clone(), |own| own.union_with(black_box(set)), BatchSize::SmallInput);
            });
            group.bench_function(format!("minus/{actors} actors/{name}"), |b| b.iter(|| black_box(set).minus(&old)));
        }
        group.bench_function(format!("clone/{actors} actors"), |b| b.iter(|| black_box(&old).clone()));
        group.bench_function(format!("insert/{actors} actors"), |b| {
            b.iter_batched_ref(|| old.clone(), |own| own.insert(black_box(dot(actors, 21))), BatchSize::SmallInput);
        });
    }
}

fn joins(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("join");
    let nothing = DotSet::new();
    for actors in ACTORS {
        let clock = dots(actors, 20, false);
        let view = View { live: vec![entry(dot(1, 20), 100)], covered: clock.clone() };
        let equal = [entry(dot(1, 20), 100)];
        group.bench_function(format!("view, equal replies/{actors} actors"), |b| {
            let cover = Cover { own: &nothing, shared: &clock };
            b.iter_batched_ref(|| view.clone(), |view| view.join(&equal, cover), BatchSize::SmallInput);
        });
        let mut ahead = clock.clone();
        ahead.insert(dot(2, 21));
        let newer = [entry(dot(2, 21), 100)];
        group.bench_function(format!("view, the other supersedes/{actors} actors"), |b| {
            let cover = Cover { own: &nothing, shared: &ahead };
            b.iter_batched_ref(|| view.clone(), |view| view.join(&newer, cover), BatchSize::SmallInput);
        });
        let put = Update::put(entry(dot(1, 21), 100), &clock);
        let concurrent = Update::put(entry(dot(2, 21), 100), &clock);
        group.bench_function(format!("update, concurrent/{actors} actors"), |b| {
            b.iter_batched_ref(|| put.clone(), |own| own.join(&concurrent), BatchSize::SmallInput);
        });
        let record = Record { live: equal.to_vec(), residual: DotSet::new() };
        group.bench_function(format!("record to view/{actors} actors"), |b| b.iter(|| black_box(&record).view(&clock)));
    }
}

fn ring(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    for (nodes, partitions) in [(64, 16_384), (1_000, 65_536)] {
        let members: Vec<Member> = (1..=nodes).map(|node| Member::new(NodeId(node))).collect();
        let layout = plan_first(&members, 3, partitions).expect("there are enough members").layout;
        let positions: Vec<u128> = keys(4_000).into_iter().map(u128::from_le_bytes).collect();
        let mut at = 0;
        let mut next = move || {
            at = (at + 1) % positions.len();
            positions[at]
        };
        let shape = format!("{nodes} nodes, {partitions} partitions");
        group.bench_function(format!("owners/{shape}"), |b| {
            b.iter(|| layout.owners(layout.partition_of(next())).iter().map(|node| node.0).sum::<u64>());
        });
        for (name, count) in [("3", 3), ("5", 5), ("6", 6)] {
            group.bench_function(format!("preference list, first {name}/{shape}"), |b| {
                b.iter(|| {
                    let list = layout.preference_list(layout.partition_of(next()));
                    list.take(count).map(|node| node.0).sum::<u64>()
                });
            });
        }
    }
}

fn verdict(criterion: &mut Criterion) {
    criterion.bench_function("verdict/2 of 3", |b| {
        b.iter(|| {
            let mut verdict = Verdict::of_nodes(black_box(2), 0);
            for _ in 0..3 {
                verdict.ask(0);
            }
            for slot in 0..2 {
                verdict.good(black_box(slot));
                black_box(verdict.decision());
            }
        });
    });
}

/// The messages of a put or a get at its coordinator, and its answer if it has one already.
fn outputs(nodes: &mut Nodes, at: usize, now: Now, input: Input) -> Vec<Output> {
    nodes.all[at].step(now, input);
    nodes.all[at].commit().expect("a storage in memory syncs");
    std::iter::from_fn(|| nodes.all[at].poll()).collect()
}

fn first_message(outputs: &[Output]) -> (usize, Message) {
    let sent = outputs.iter().find_map(|output| match output {
        Output::Send(to, message) => Some((to.0 as usize - 1, message.clone())),
        _ => None,
    });
    sent.expect("a coordinator asks others")
}

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    let codec = Codec::new(IDENTITY, 16 << 20);
    for (value, size) in SIZES {
        let mut nodes = Nodes::start(2_000, value, None);
        let (now, put, get) = (nodes.now(), nodes.next_put().1, nodes.next_get());
        let sent = outputs(&mut nodes, 0, now, Input::Request(Ticket(1), put));
        let (_, write) = first_message(&sent);
        let sent = outputs(&mut nodes, 0, now, Input::Request(Ticket(2), get));
        let (peer, read) = first_message(&sent);
        let (_, shown) = first_message(&outputs(&mut nodes, peer, now, Input::Message(NodeId(1), read)));
        for (name, message) in [("write", write), ("answer to a read", shown)] {
            let one = [message.clone()];
            let many: Vec<Message> = vec![message; 64];
            let frame = codec.encode(NodeId(1), &one).remove(0);
            let frames = codec.encode(NodeId(1), &many);
            group.bench_function(format!("encode {name}/{size}"), |b| b.iter(|| codec.encode(NodeId(1), &one)));
            group.bench_function(format!("decode {name}/{size}"), |b| b.iter(|| codec.decode(black_box(&frame))));
            group.bench_function(format!("encode 64 x {name}/{size}"), |b| b.iter(|| codec.encode(NodeId(1), &many)));
            group.bench_function(format!("decode 64 x {name}/{size}"), |b| {
                b.iter(|| frames.iter().map(|frame| codec.decode(frame)).collect::<Vec<_>>());
            });
        }
        let (key, value) = (keys(1)[0], vec![7; value]);
        let version = Version { dots: [(1, 2), (2, 3), (3, 4)], length: 3 };
        let mut out = Vec::new();
        group.bench_function(format!("encode by hand/{size}"), |b| {
            b.iter(|| {
                encode_write(&mut out, 1, &key, &version, black_box(&value));
                out.len()
            });
        });
        group.bench_function(format!("decode by hand/{size}"), |b| b.iter(|| decode_write(black_box(&out))));
    }
}

fn stored_formats(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("record");
    for (value, size) in SIZES {
        let record = Record { live: vec![entry(dot(1, 20), value)], residual: DotSet::new() };
        let stored = Bytes::from(record.encode(PLACE));
        group.bench_function(format!("encode/{size}"), |b| b.iter(|| black_box(&record).encode(PLACE)));
        group.bench_function(format!("decode/{size}"), |b| b.iter(|| Record::decode(PLACE, black_box(&stored))));
    }
}

fn contexts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("context");
    let mut nodes = Nodes::start(2_000, 100, None);
    let request = nodes.next_get();
    let Request::Get { keyspace, key, .. } = request.clone() else { unreachable!("it is a get") };
    let Some(Reply::Get(Ok(seen))) = nodes.ask(request) else { unreachable!("healthy nodes answer") };
    let sealed = seen.context.to_bytes();
    group.bench_function("clone", |b| b.iter(|| black_box(&seen.context).clone()));
    group.bench_function("to bytes", |b| b.iter(|| black_box(&seen.context).to_bytes()));
    group.bench_function("open", |b| b.iter(|| nodes.all[0].context(keyspace, &key, black_box(&sealed))));
}

/// The steps of a put, 64 of them between two looks at the clock; what is between the steps is not measured.
fn steps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("step");
    for (value, size) in SIZES {
        for (part, name) in
            ["a put at its coordinator", "a write at a replica", "an answer at the coordinator"].into_iter().enumerate()
        {
            let mut nodes = Nodes::start(2_000, value, None);
            group.bench_function(format!("{name}/{size}"), |b| steps_of(b, &mut nodes, part));
        }
    }
    let mut nodes = Nodes::start(2_000, 100, None);
    group.bench_function("a whole put, three nodes/100 B", |b| b.iter(|| nodes.put(1)));
    group.bench_function("a whole get, three nodes/100 B", |b| b.iter(|| nodes.get(1)));
}

#[allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn steps_of(bencher: &mut Bencher<'_>, nodes: &mut Nodes, part: usize) {
    const TOGETHER: u64 = 64;
    bencher.iter_custom(|times| {
        let mut took = [Duration::ZERO; 3];
        let mut made = 0;
        while made < times {
            let now = nodes.now();
            let mut inputs: [Vec<(usize, Input)>; 4] = Default::default();
            for _ in 0..TOGETHER.min(times - made) {
                let (place, put) = nodes.next_put();
                inputs[0].push((0, Input::Request(Ticket(place as u64), put)));
                made += 1;
            }
            for round in 0..3 {
                let start = Instant::now();
                let mut sent = Vec::with_capacity(4 * TOGETHER as usize);
                for (at, input) in std::mem::take(&mut inputs[round]) {
                    let from = NodeId(at as u64 + 1);
                    sent.extend(outputs(nodes, at, now, input).into_iter().map(|output| (from, output)));
                }
                took[round] += start.elapsed();
                for (from, output) in sent {
                    match output {
                        Output::Send(to, message) => {
                            inputs[round + 1].push((to.0 as usize - 1, Input::Message(from, message)));
                        }
                        Output::Done(ticket, Reply::Put(Ok(written))) => nodes.land(ticket.0 as usize, written),
                        _ => {}
                    }
                }
            }
        }
        // Two peers store each write, and two answers come back: of those parts, one is asked for.
        took[part] / if part == 0 { 1 } else { 2 }
    });
}

fn settings() -> Criterion {
    let (warm_up, measure) = (Duration::from_millis(100), Duration::from_millis(300));
    Criterion::default().sample_size(10).warm_up_time(warm_up).measurement_time(measure).without_plots()
}

criterion_group! {
    name = benches;
    config = settings();
    targets = sets_of_dots, joins, ring, verdict, codec, stored_formats, contexts, steps
}
criterion_main!(benches);
