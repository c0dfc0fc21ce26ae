//! Cassandra's shape (`MerkleTree.java`): a binary tree of depth 15 that each repair builds from all data and sends
//! whole; each range that differs is streamed whole, both ways.
//!
//! A hash takes eight bytes, where the original has 32, and only leaves are sent.

use crate::wire::{Model, Wire};
use crate::world::{Side, World};

const DEPTH: u32 = 15;
const HASH: usize = 8;

pub(crate) struct Cassandra;

impl Model for Cassandra {
    fn name(&self) -> &'static str {
        "Cassandra's shape"
    }

    /// Nothing is kept between repairs.
    fn keep(&mut self, _: &World) {}

    fn repair(&self, world: &World, wire: &mut Wire) {
        // A asks B to build a tree, and builds its own.
        wire.put(Side::A, 1);
        let [own, theirs] = Side::BOTH.map(|side| validate(world, side, wire));
        theirs.iter().for_each(|_| wire.put(Side::B, HASH));
        let leaves: Vec<usize> = (0..own.len()).filter(|&leaf| own[leaf] != theirs[leaf]).collect();
        // A says which ranges it wants, and streams its own of them.
        leaves.iter().for_each(|_| wire.put(Side::A, 16));
        for side in Side::BOTH {
            for &leaf in &leaves {
                let first = (leaf as u64) << (64 - DEPTH);
                for row in world.rows_in(first..=first | (u64::MAX >> DEPTH)) {
                    wire.put_record(world, side, row);
                }
            }
        }
    }
}

/// Reads all and hashes all.
fn validate(world: &World, side: Side, wire: &mut Wire) -> Vec<u128> {
    let mut leaves = vec![0_u128; 1 << DEPTH];
    for (position, digest) in world.listed(0..=u64::MAX, side) {
        leaves[(position >> (64 - DEPTH)) as usize] ^= digest;
        wire.read(1);
    }
    leaves
}
