//! Which requests find enough nodes while some are down: many states of a cluster, drawn at random.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate::ids::KeyspaceId;
use quorate::sim::Sim;
use quorate::{Bytes, Context, GetOptions, Keyspace, Mode, NodeId, PutOptions, Reply, Request};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

pub(super) const NODES: u16 = 15;
/// Keys that are read, and others that are written, in each state.
pub(super) const KEYS: usize = 64;
/// Longer than a request may take.
const WAIT: Duration = Duration::from_millis(2_200);

/// The share of requests that failed, and how far it may be off: the standard error over states.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Failed {
    pub(super) share: f64,
    pub(super) error: f64,
    pub(super) requests: usize,
}

/// By mode, strict and sloppy; reads and writes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Snapshots {
    pub(super) strict: [Failed; 2],
    pub(super) sloppy: [Failed; 2],
}

/// So many states, in which each node is down with this probability, independently.
pub(super) fn observe(down: f64, states: usize) -> Snapshots {
    let mut sim = Sim::builder(NODES.into(), 1).encode(false).build();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64((down * 1e6) as u64);
    // By mode and kind, for each state.
    let mut failed: [[Vec<f64>; 2]; 2] = Default::default();
    for _ in 0..states {
        let (dead, alive): (Vec<NodeId>, Vec<NodeId>) =
            sim.members().into_iter().partition(|_| rng.random::<f64>() < down);
        if alive.is_empty() {
            failed.iter_mut().flatten().for_each(|shares| shares.push(1.0));
            continue;
        }
        dead.iter().for_each(|&node| sim.crash(node));
        let mut asked = BTreeMap::new();
        for (number, mode) in [Mode::Strict, Mode::Sloppy].into_iter().enumerate() {
            for key in 0..KEYS {
                for kind in 0..2 {
                    let node = alive[rng.random_range(0..alive.len())];
                    asked.insert(sim.start(node, request(kind, mode, key)), (number, kind));
                }
            }
        }
        sim.run_for(WAIT);
        let mut missing = [[0_usize; 2]; 2];
        for (ticket, _, reply) in sim.replies() {
            let (mode, kind) = asked.remove(&ticket).expect("it was asked");
            missing[mode][kind] += usize::from(!matches!(reply, Reply::Get(Ok(_)) | Reply::Put(Ok(_))));
        }
        // Whoever was not answered in time has failed too.
        asked.values().for_each(|&(mode, kind)| missing[mode][kind] += 1);
        for (shares, missing) in failed.iter_mut().flatten().zip(missing.into_iter().flatten()) {
            shares.push(missing as f64 / KEYS as f64);
        }
        dead.iter().for_each(|&node| sim.restart(node));
        sim.settle();
        sim.replies();
    }
    let [strict, sloppy] = failed.map(|kinds| kinds.map(|shares| mean(&shares)));
    Snapshots { strict, sloppy }
}

/// A read, or a write of another key: what fallbacks keep of a write would answer reads.
fn request(kind: usize, mode: Mode, key: usize) -> Request {
    let keyspace: KeyspaceId = Keyspace::new("default").id();
    let strict = mode == Mode::Strict;
    let name = |what: &str| Bytes::from(format!("{what} {strict} {key}").as_str());
    if kind == 0 {
        let options = GetOptions { mode: Some(mode), ..GetOptions::default() };
        return Request::Get { keyspace, key: name("read"), options };
    }
    let options = PutOptions { mode: Some(mode), ..PutOptions::default() };
    let value = Some(Bytes::from(key.to_string().as_str()));
    Request::Put { keyspace, key: name("written"), value, context: Context::empty(), options }
}

fn mean(shares: &[f64]) -> Failed {
    let count = shares.len() as f64;
    let share = shares.iter().sum::<f64>() / count;
    let variance = shares.iter().map(|it| (it - share).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    Failed { share, error: (variance / count).sqrt(), requests: shares.len() * KEYS }
}
