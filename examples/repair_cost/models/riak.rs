//! Riak's shape (`hashtree.erl`): 1,024 × 1,024 segments, whatever the number of keys.
//!
//! One side asks and compares: for the 1,024 hashes at the top, for the 1,024 below each that differs, for the keys of
//! each segment that differs. All of a level is asked for at once, which the original doesn't do; a hash takes eight
//! bytes, where the original has twenty.

use std::ops::RangeInclusive;

use quorate::merkle::{KeyDigest, differing_keys};

use super::{exchange_records, rows_at};
use crate::wire::{Model, Wire};
use crate::world::{Side, World};

const WIDTH: usize = 1024;
const HASH: usize = 8;
/// A number of a segment or of a bucket of segments, as asked for.
const INDEX: usize = 4;

#[derive(Default)]
pub(crate) struct Riak {
    trees: Vec<Hashes>,
}

struct Hashes {
    top: Vec<u64>,
    segments: Vec<u64>,
}

impl Model for Riak {
    fn name(&self) -> &'static str {
        "Riak's shape"
    }

    fn keep(&mut self, world: &World) {
        self.trees = Side::BOTH.map(|side| hashes(world, side)).into();
    }

    fn repair(&self, world: &World, wire: &mut Wire) {
        let [a, b] = &self.trees[..] else { unreachable!("two trees were made") };
        wire.put(Side::A, HASH);
        wire.put(Side::B, HASH);
        if a.top == b.top {
            return;
        }
        wire.put(Side::A, INDEX);
        wire.put(Side::B, WIDTH * HASH);
        let buckets = unequal(&a.top, &b.top, 0);
        wire.put(Side::A, buckets.len() * INDEX);
        let mut segments = Vec::new();
        for bucket in buckets {
            wire.put(Side::B, WIDTH * HASH);
            let part = bucket * WIDTH..(bucket + 1) * WIDTH;
            segments.extend(unequal(&a.segments[part.clone()], &b.segments[part.clone()], part.start));
        }
        wire.put(Side::A, segments.len() * INDEX);
        let mut differing = Vec::new();
        for segment in segments {
            let [own, theirs] = Side::BOTH.map(|side| {
                let keys = world.listed(positions(segment), side);
                keys.map(|(position, digest)| KeyDigest::new(position, digest)).collect::<Vec<_>>()
            });
            wire.read(own.len() + theirs.len());
            wire.put_encoded(Side::B, &theirs);
            differing.extend(differing_keys(&own, &theirs));
        }
        exchange_records(world, wire, Side::A, &rows_at(world, &differing));
    }
}

fn hashes(world: &World, side: Side) -> Hashes {
    let mut segments = vec![0_u64; WIDTH * WIDTH];
    for (position, digest) in world.listed(0..=u64::MAX, side) {
        let segment = &mut segments[(position >> 44) as usize];
        *segment = hash_of(&[*segment, digest as u64]);
    }
    let top = segments.chunks(WIDTH).map(hash_of).collect();
    Hashes { top, segments }
}

/// A hash of hashes in order, as Riak makes one of what is below.
fn hash_of(hashes: &[u64]) -> u64 {
    hashes.iter().fold(0, |hash: u64, next| (hash.rotate_left(23) ^ next).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn unequal(own: &[u64], theirs: &[u64], first: usize) -> Vec<usize> {
    (first..).zip(own.iter().zip(theirs)).filter(|(_, (own, theirs))| own != theirs).map(|(at, _)| at).collect()
}

/// The positions of a segment.
const fn positions(segment: usize) -> RangeInclusive<u64> {
    let first = (segment as u64) << 44;
    first..=first | ((1 << 44) - 1)
}
