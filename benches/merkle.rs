//! Digest trees: what a write pays, and what a comparison costs the processor.
//!
//! ```text
//! cargo bench --bench merkle               everything, about half a minute
//! cargo bench --bench merkle -- '^update'  what a filter selects
//! ```
//! `update` walks over the keys in no order, as writes do: most of it is the memory that it waits for.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use quorate::causality::Secret;
use quorate::ids::{Actor, Dot};
use quorate::merkle::{Nodes, Rebuild, Tree, digest};
use quorate::{NodeId, Start};
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

const KEYS: [usize; 3] = [10_000, 100_000, 1_000_000];
const DIFFERING: usize = 100;

/// Keys in order of positions, and their digests.
fn keys(count: usize) -> Vec<(u64, u128)> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
    let mut keys: Vec<(u64, u128)> = (0..count).map(|_| (rng.random(), rng.random())).collect();
    keys.sort_unstable();
    keys
}

fn tree(keys: &[(u64, u128)]) -> Tree {
    let mut rebuild = Rebuild::new(0..=u64::MAX, keys.len() as u64);
    rebuild.take(u64::MAX, keys).expect("all positions are covered");
    rebuild.finish().expect("all keys were given")
}

fn trees(criterion: &mut Criterion) {
    for count in KEYS {
        let keys = keys(count);
        let full = tree(&keys);
        println!("{count} keys: depth {}, {} bytes", full.depth(), full.memory());

        let mut own = full.clone();
        let mut walk = keys.clone();
        walk.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(8));
        let mut walk = walk.iter().cycle();
        criterion.bench_function(&format!("update/{count}"), |b| {
            b.iter(|| {
                let &(position, digest) = walk.next().expect("it goes round");
                own.replace(position, Some(digest), Some(digest.wrapping_add(1)));
            });
        });
        criterion.bench_function(&format!("root/{count}"), |b| b.iter(|| black_box(&full).summary().short()));
        criterion.bench_function(&format!("first level/{count}"), |b| {
            b.iter(|| black_box(&full).level(&Nodes::root(), u8::MAX));
        });

        let mut other = keys.clone();
        other.iter_mut().step_by(count / DIFFERING).for_each(|(_, digest)| *digest = digest.wrapping_add(1));
        let other = tree(&other);
        assert_eq!(differing(&full, &other).len(), DIFFERING);
        criterion.bench_function(&format!("diff of {DIFFERING}/{count}"), |b| {
            b.iter(|| differing(black_box(&full), &other));
        });
        criterion.bench_function(&format!("rebuild/{count}"), |b| {
            b.iter_batched(|| (), |()| tree(black_box(&keys)), BatchSize::PerIteration);
        });
    }
}

/// Both sides of a comparison, down to the buckets that differ.
fn differing(a: &Tree, b: &Tree) -> Nodes {
    let common = a.depth().min(b.depth());
    let mut nodes = Nodes::root();
    while nodes.depth() < common {
        let level = a.level(&nodes, common).expect("there are levels left, and few nodes");
        nodes = b.compare(&level).expect("the depth is common");
    }
    nodes
}

fn digests(criterion: &mut Criterion) {
    let secret = Secret::new([7; 16]);
    let dot = |node| Dot { actor: Actor { node: NodeId(node), start: Start(node + 77) }, counter: 20 };
    for (live, name) in [(1, "one version"), (3, "three siblings")] {
        criterion.bench_function(&format!("digest/{name}"), |b| {
            b.iter(|| digest(&secret, black_box(&[7; 20]), (1..=live).map(dot)));
        });
    }
}

fn settings() -> Criterion {
    let (warm_up, measure) = (Duration::from_millis(200), Duration::from_millis(800));
    Criterion::default().sample_size(20).warm_up_time(warm_up).measurement_time(measure).without_plots()
}

criterion_group! {
    name = benches;
    config = settings();
    targets = trees, digests
}
criterion_main!(benches);
