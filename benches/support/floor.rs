//! The irreducible work of a put and a get, by direct calls: what no replicated store of N = 3 in one thread can omit.
//!
//! A put hashes its key, looks up the three replicas of its partition, reads the old version at the first of them,
//! gives the new one a dot, allocates the value once, compares and stores at three hash tables, and counts W = 2. A
//! get hashes, looks up, reads two replicas, compares their versions, and clones a count.
//!
//! The hash is the one that quorate places keys with, SipHash-2-4-128, and it is computed once: the tables (std's)
//! use its lower half instead of hashing again. There are no deadlines, suspicions, hints, siblings, checks, clocks,
//! stored formats, threads or locks.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use siphasher::sip128::{Hasher128, SipHasher24};

use super::keys::Bytes16;

pub(crate) const PARTITIONS: usize = 256;
const SECRET: [u8; 16] = *b"0123456789abcdef";
const W: usize = 2;

/// A version vector of at most three nodes: pairs of node and counter, in order.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) dots: [(u64, u64); 3],
    pub(crate) length: usize,
}

/// A key with its hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) bytes: Bytes16,
    position: u128,
}

/// One replica's keys.
#[derive(Default)]
pub(crate) struct Replica(HashMap<Placed, (Version, Arc<[u8]>), BuildHasherDefault<Through>>);

/// Three replicas in one thread.
pub(crate) struct Floor {
    pub(crate) owners: Vec<[u16; 3]>,
    pub(crate) replicas: [Replica; 3],
}

/// Passes on a hash that was computed before.
#[derive(Default)]
pub(crate) struct Through(u64);

impl Floor {
    pub(crate) fn new() -> Self {
        let owners = (0..PARTITIONS as u16).map(|partition| [0, 1, 2].map(|at| (partition + at) % 3)).collect();
        Self { owners, replicas: Default::default() }
    }

    /// Writes; the version comes back if two replicas have it.
    pub(crate) fn put(&mut self, key: &Bytes16, value: &[u8], context: &Version) -> Option<Version> {
        let key = Placed::new(key);
        let [first, peers @ ..] = self.owners[key.partition()];
        let value: Arc<[u8]> = Arc::from(value);
        let version = self.replicas[usize::from(first)].coordinate(&key, &value, context, u64::from(first));
        let mut stored = 1;
        for peer in peers {
            stored += usize::from(self.replicas[usize::from(peer)].apply(&key, &value, &version));
        }
        (stored >= W).then_some(version)
    }

    /// Reads two replicas.
    pub(crate) fn get(&self, key: &Bytes16) -> Option<(Version, Arc<[u8]>)> {
        let key = Placed::new(key);
        let [first, second, _] = self.owners[key.partition()];
        let (version, value) = self.replicas[usize::from(first)].read(&key)?;
        let (other_version, other) = self.replicas[usize::from(second)].read(&key)?;
        let newest = if version.covers(other_version) { (*version, value) } else { (*other_version, other) };
        Some((newest.0, Arc::clone(newest.1)))
    }
}

impl Replica {
    /// Names a new version after what is here and what the client has read, and stores it: one look-up for both.
    pub(crate) fn coordinate(&mut self, key: &Placed, value: &Arc<[u8]>, context: &Version, node: u64) -> Version {
        let mut version = *context;
        if let Some((old, old_value)) = self.0.get_mut(key) {
            version.join(old);
            version.bump(node);
            (*old, *old_value) = (version, Arc::clone(value));
        } else {
            version.bump(node);
            self.0.insert(*key, (version, Arc::clone(value)));
        }
        version
    }

    /// Stores a version unless a newer one is here. Tells whether this one or a newer one is.
    pub(crate) fn apply(&mut self, key: &Placed, value: &Arc<[u8]>, version: &Version) -> bool {
        match self.0.get_mut(key) {
            Some((old, old_value)) if version.covers(old) => (*old, *old_value) = (*version, Arc::clone(value)),
            Some((old, _)) => return old.covers(version),
            None => {
                self.0.insert(*key, (*version, Arc::clone(value)));
            }
        }
        true
    }

    pub(crate) fn read(&self, key: &Placed) -> Option<(&Version, &Arc<[u8]>)> {
        self.0.get(key).map(|(version, value)| (version, value))
    }
}

impl Version {
    /// Whether it has seen all that `other` has.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.used().iter().all(|&(node, counter)| self.used().iter().any(|own| own.0 == node && own.1 >= counter))
    }

    fn join(&mut self, other: &Self) {
        for &(node, counter) in other.used() {
            let own = self.counter(node);
            *own = counter.max(*own);
        }
    }

    fn bump(&mut self, node: u64) {
        *self.counter(node) += 1;
    }

    fn counter(&mut self, node: u64) -> &mut u64 {
        let at = self.used().iter().position(|own| own.0 >= node).unwrap_or(self.length);
        if at == self.length || self.dots[at].0 != node {
            self.dots.copy_within(at..self.length, at + 1);
            self.dots[at] = (node, 0);
            self.length += 1;
        }
        &mut self.dots[at].1
    }

    pub(crate) fn used(&self) -> &[(u64, u64)] {
        &self.dots[..self.length]
    }
}

impl Placed {
    pub(crate) fn new(bytes: &Bytes16) -> Self {
        let mut hasher = SipHasher24::new_with_key(&SECRET);
        hasher.write(bytes);
        Self { bytes: *bytes, position: hasher.finish128().as_u128() }
    }

    pub(crate) const fn partition(&self) -> usize {
        (((self.position >> 64) * PARTITIONS as u128) >> 64) as usize
    }
}

impl Hash for Placed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.position as u64);
    }
}

impl Hasher for Through {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("a placed key writes one number");
    }
}
