//! The worst case for sloppy reads: the nodes that answer are not those that have the write.

use std::time::Duration;

use quorate::sim::Sim;
use quorate::{Context, NodeId, PutOptions};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

pub(super) const NODES: u64 = 9;
/// Long enough that everybody knows who is down.
const SETTLES: Duration = Duration::from_secs(2);

/// Two of three owners are down while a key is written; they come back at the moment when the third goes, and so long
/// after that the key is read. How many of so many reads miss the write.
pub(super) fn stale(after: Duration, times: u64) -> u64 {
    let mut sim = Sim::builder(NODES, 1).encode(false).build();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut stale = 0;
    for time in 0..times {
        let key = format!("cart {time}");
        let [first, second, third] = sim.owners(&key)[..] else { unreachable!("there are three copies") };
        let before = sim.put(any(&sim, &mut rng), &key, "before").expect("all are up");
        sim.settle();
        [second, third].into_iter().for_each(|node| sim.crash(node));
        sim.run_for(SETTLES);
        let through = any(&sim, &mut rng);
        put(&mut sim, through, &key, &before.context);
        [second, third].into_iter().for_each(|node| sim.restart(node));
        sim.crash(first);
        sim.run_for(after);
        let through = any(&sim, &mut rng);
        let read = sim.get(through, &key).expect("two owners are up");
        stale += u64::from(read.value().is_none_or(|value| *value != "after"));
        sim.restart(first);
        sim.heal_all();
    }
    stale
}

fn put(sim: &mut Sim, through: NodeId, key: &str, context: &Context) {
    let written =
        sim.put_with(through, key, Some("after"), context, PutOptions::default()).expect("it is always writeable");
    assert_eq!((written.owners, written.fallbacks > 0), (1, true), "one owner is left");
}

/// A node that is up.
fn any(sim: &Sim, rng: &mut Xoshiro256PlusPlus) -> NodeId {
    loop {
        let node = NodeId(rng.random_range(1..=NODES));
        if sim.is_up(node) {
            return node;
        }
    }
}
