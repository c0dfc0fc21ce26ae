//! Two nodes at a time: crashed with loss of what was not synced, cut off, or slowed; well again when the next two are not.

use std::time::Duration;

use quorate::sim::SimDisk;
use quorate::{Cluster, NodeId};
use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

#[derive(Default)]
pub struct Chaos {
    suffering: Vec<(NodeId, Fault)>,
    pub crashes: u32,
    pub cuts: u32,
    pub slowdowns: u32,
}

#[derive(Clone, Copy)]
enum Fault {
    Crash,
    Cut,
    Slow,
}

impl Chaos {
    /// Heals what suffers, and lets two nodes suffer at once in its stead.
    pub fn turn(&mut self, cluster: &Cluster<SimDisk>, rng: &mut Xoshiro256PlusPlus) {
        self.heal(cluster);
        let nodes = cluster.members();
        let first = rng.random_range(0..nodes.len());
        let second = (first + rng.random_range(1..nodes.len())) % nodes.len();
        for node in [nodes[first], nodes[second]] {
            let fault = [Fault::Crash, Fault::Cut, Fault::Slow][rng.random_range(0..3)];
            match fault {
                Fault::Crash => {
                    cluster.crash(node, SimDisk::crash);
                    self.crashes += 1;
                }
                Fault::Cut => {
                    cluster.isolate(node, true);
                    self.cuts += 1;
                }
                Fault::Slow => {
                    cluster.slow(node, Duration::from_millis(rng.random_range(5..30)));
                    self.slowdowns += 1;
                }
            }
            self.suffering.push((node, fault));
        }
    }

    pub fn heal(&mut self, cluster: &Cluster<SimDisk>) {
        for (node, fault) in self.suffering.drain(..) {
            match fault {
                Fault::Crash => cluster.restart(node).expect("its disk is well"),
                Fault::Cut => cluster.isolate(node, false),
                Fault::Slow => cluster.slow(node, Duration::ZERO),
            }
        }
    }
}
