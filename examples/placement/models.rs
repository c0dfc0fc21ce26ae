//! The paper's three strategies (Dynamo §6.2) as small models, and this library's planner, all measured alike.

use quorate::ring::{Change, Layout, Member, plan_change, plan_first};
use quorate::{NodeId, ids::PartitionId};
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

/// The paper's experiment: so many nodes, and so many copies.
pub(crate) const NODES: usize = 30;
pub(crate) const COPIES: usize = 3;
/// The number of partitions of strategy 2, which the paper doesn't say. Its points fall from 3,840 tokens on as they do
/// with about a thousand partitions.
const PARTITIONS: usize = 1024;

/// What is remembered of the ring, and what the paper has for the strategies there, read from its figure to about
/// 0.005. The figure's axis is S·T or Q.
pub(crate) const PUBLISHED: [(usize, [f64; 3]); 10] = [
    (60, [0.52, 0.533, 0.86]),
    (120, [0.61, 0.611, 0.87]),
    (240, [0.69, 0.701, 0.90]),
    (480, [0.76, 0.760, 0.918]),
    (960, [0.82, 0.822, 0.940]),
    (1920, [0.872, 0.851, 0.958]),
    (3840, [0.910, 0.881, 0.969]),
    (7680, [0.930, 0.870, 0.980]),
    (15_360, [0.950, 0.851, 0.98]),
    (30_720, [0.960, 0.841, 0.988]),
];

/// A part of the hash space, and the nodes that serve it: the owners, then one who stands in.
struct Part {
    size: f64,
    list: Vec<usize>,
}

/// How the load is spread.
#[derive(Clone, Copy, Default)]
pub(crate) struct Point {
    /// Mean load over that of the busiest node, all being up.
    pub(crate) healthy: f64,
    /// The same over the living, with one node down: the worst of all nodes.
    pub(crate) down: f64,
    /// The same with a node more.
    pub(crate) joined: f64,
    /// What moved for that node, over a fair share.
    pub(crate) moved: f64,
}

/// Where nodes are put, given what is remembered of the ring: so many tokens or partitions.
pub(crate) type Strategy = fn(metadata: usize, rng: &mut Xoshiro256PlusPlus) -> [Ring; 2];

/// One point of a curve: the mean of `runs`.
pub(crate) fn measure(strategy: Strategy, metadata: usize, runs: usize) -> Point {
    let mut sum = Point::default();
    for run in 0..runs {
        let [ring, joined] = strategy(metadata, &mut Xoshiro256PlusPlus::seed_from_u64(run as u64));
        sum.healthy += ring.efficiency(None);
        sum.down += (0..NODES).map(|dead| ring.efficiency(Some(dead))).fold(1.0, f64::min);
        sum.joined += joined.efficiency(None);
        sum.moved += ring.moved(&joined) / (COPIES as f64 / joined.nodes as f64);
    }
    let mean = |sum: f64| sum / runs as f64;
    Point { healthy: mean(sum.healthy), down: mean(sum.down), joined: mean(sum.joined), moved: mean(sum.moved) }
}

/// All parts, in order.
pub(crate) struct Ring {
    nodes: usize,
    parts: Vec<Part>,
}

impl Ring {
    fn efficiency(&self, dead: Option<usize>) -> f64 {
        let mut load = vec![0.0; self.nodes];
        for part in &self.parts {
            let living = part.list.iter().filter(|&&node| Some(node) != dead);
            living.take(COPIES).for_each(|&node| load[node] += part.size);
        }
        let living = self.nodes - usize::from(dead.is_some());
        load.iter().sum::<f64>() / living as f64 / load.iter().copied().fold(0.0, f64::max)
    }

    /// Which part of one copy of the data gets new owners on the way to `next`, whose parts lie within these.
    fn moved(&self, next: &Self) -> f64 {
        let mut moved = 0.0;
        let (mut at, mut end, mut position) = (0, self.parts[0].size, 0.0);
        for part in &next.parts {
            // By its middle, as ends are never quite equal.
            while position + part.size / 2.0 > end && at + 1 < self.parts.len() {
                at += 1;
                end += self.parts[at].size;
            }
            position += part.size;
            let before = &self.parts[at].list[..COPIES];
            moved += part.size * part.list[..COPIES].iter().filter(|node| !before.contains(node)).count() as f64;
        }
        moved
    }
}

/// The first different nodes from `start` on: the owners and one stand-in.
fn walk(order: &[usize], start: usize) -> Vec<usize> {
    let mut list = Vec::with_capacity(COPIES + 1);
    for step in 0..order.len() {
        let node = order[(start + step) % order.len()];
        if !list.contains(&node) {
            list.push(node);
            if list.len() > COPIES {
                break;
            }
        }
    }
    list
}

/// Tokens at random: position and node, by position.
fn tokens(each: usize, nodes: std::ops::Range<usize>, rng: &mut Xoshiro256PlusPlus) -> Vec<(f64, usize)> {
    nodes.flat_map(|node| vec![node; each]).map(|node| (rng.random::<f64>(), node)).collect()
}

/// Two rings, of which the second has a node more.
fn with_joiner(
    metadata: usize,
    rng: &mut Xoshiro256PlusPlus,
    ring: fn(nodes: usize, tokens: &[(f64, usize)]) -> Ring,
) -> [Ring; 2] {
    let each = metadata / NODES;
    let mut all = tokens(each, 0..NODES, rng);
    let joining = tokens(each, NODES..NODES + 1, rng);
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let before = ring(NODES, &all);
    all.extend(joining);
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    [before, ring(NODES + 1, &all)]
}

/// T random tokens per node, and ranges between them.
pub(crate) fn strategy_1(metadata: usize, rng: &mut Xoshiro256PlusPlus) -> [Ring; 2] {
    with_joiner(metadata, rng, |nodes, tokens| {
        let order: Vec<usize> = tokens.iter().map(|token| token.1).collect();
        let size = |at: usize| {
            let before = at.checked_sub(1).map_or(0.0, |before| tokens[before].0);
            tokens[at].0 - before
        };
        let mut parts: Vec<Part> =
            (0..tokens.len()).map(|at| Part { size: size(at), list: walk(&order, at) }).collect();
        // The range in which the ring closes, cut in two.
        parts.push(Part { size: 1.0 - tokens[tokens.len() - 1].0, list: walk(&order, 0) });
        Ring { nodes, parts }
    })
}

/// T random tokens per node, which order the nodes; equal partitions go to the first that follow.
pub(crate) fn strategy_2(metadata: usize, rng: &mut Xoshiro256PlusPlus) -> [Ring; 2] {
    with_joiner(metadata, rng, |nodes, tokens| {
        let order: Vec<usize> = tokens.iter().map(|token| token.1).collect();
        let part = |at: usize| {
            let end = (at + 1) as f64 / PARTITIONS as f64;
            let start = tokens.partition_point(|token| token.0 < end);
            Part { size: 1.0 / PARTITIONS as f64, list: walk(&order, start % order.len()) }
        };
        Ring { nodes, parts: (0..PARTITIONS).map(part).collect() }
    })
}

/// Q/S tokens per node, each for one of Q equal partitions. Whoever joins steals tokens at random.
pub(crate) fn strategy_3(metadata: usize, rng: &mut Xoshiro256PlusPlus) -> [Ring; 2] {
    let mut order: Vec<usize> = (0..metadata).map(|at| at % NODES).collect();
    order.shuffle(rng);
    let ring = |nodes: usize, order: &[usize]| {
        let part = |at: usize| Part { size: 1.0 / metadata as f64, list: walk(order, at) };
        Ring { nodes, parts: (0..metadata).map(part).collect() }
    };
    let before = ring(NODES, &order);
    let mut held = vec![metadata / NODES; NODES];
    for _ in 0..metadata / (NODES + 1) {
        let most = held.iter().copied().max().expect("there are nodes");
        let open: Vec<usize> = (0..metadata).filter(|&at| order[at] < NODES && held[order[at]] == most).collect();
        let &stolen = open.choose(rng).expect("somebody has most");
        held[order[stolen]] -= 1;
        order[stolen] = NODES;
    }
    [before, ring(NODES + 1, &order)]
}

/// This library's planner: nothing is drawn.
pub(crate) fn ours(metadata: usize, _: &mut Xoshiro256PlusPlus) -> [Ring; 2] {
    let members: Vec<Member> = (0..NODES as u64).map(|node| Member::new(NodeId(node))).collect();
    let first = plan_first(&members, COPIES as u8, metadata as u32).expect("enough members").layout;
    let change = Change::of(&first).join(Member::new(NodeId(NODES as u64)));
    let next = plan_change(&first, &change).expect("it can be planned").layout;
    [&first, &next].map(of_layout)
}

fn of_layout(layout: &Layout) -> Ring {
    let part = |partition| Part {
        size: 1.0 / f64::from(layout.partitions()),
        list: layout.preference_list(partition).take(COPIES + 1).map(|node| node.0 as usize).collect(),
    };
    Ring { nodes: layout.members().len(), parts: (0..layout.partitions()).map(PartitionId).map(part).collect() }
}
