//! Two replicas of one partition, and the keys in which they differ.

use std::ops::RangeInclusive;

use quorate::causality::{DotSet, Entry, Record, Secret, Stamp};
use quorate::ids::{Actor, Dot};
use quorate::merkle::digest;
use quorate::{Bytes, NodeId, Start};
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::index::sample;
use rand::{RngExt, SeedableRng};

/// Bytes of a value.
pub(crate) const VALUE: usize = 100;
/// Bytes of a key, its keyspace in front.
pub(crate) const KEY: usize = 4 + 16;
/// Owners of the partition that have written; the first two are the replicas.
const OWNERS: u64 = 3;

/// One of the two replicas.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    A,
    B,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::A, Self::B];

    pub(crate) const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// A key, and what each side has of it.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) position: u64,
    key: u64,
    versions: [Version; 2],
}

/// The one live version of a key: owner and counter; no counter, no version.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Version {
    owner: u8,
    counter: u32,
}

/// Both replicas. While they could not talk, each took one half of the writes that the other lacks.
pub(crate) struct World {
    secret: Secret,
    starts: [Start; OWNERS as usize],
    /// In order of positions, as a storage iterates.
    pub(crate) rows: Vec<Row>,
    /// Of all values.
    value: Bytes,
    /// The rows that differ, in order.
    pub(crate) differing: Vec<usize>,
}

impl World {
    /// `keys` keys, of which `differing` differ: one half is newer at A and one half at B; one in four of them is new
    /// there, and unknown to the other side.
    pub(crate) fn draw(keys: usize, differing: usize) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(keys as u64 ^ differing as u64);
        let mut rows: Vec<Row> = (0..keys)
            .map(|at| {
                let version = Version { owner: (at as u64 % OWNERS) as u8, counter: (at as u64 / OWNERS) as u32 + 1 };
                Row { position: rng.random(), key: at as u64, versions: [version; 2] }
            })
            .collect();
        rows.sort_unstable_by_key(|row| row.position);
        let mut world = Self {
            secret: Secret::new(rng.random()),
            starts: rng.random::<[u64; OWNERS as usize]>().map(Start),
            rows,
            value: Bytes::from(vec![7; VALUE]),
            differing: sample(&mut rng, keys, differing).into_vec(),
        };
        for at in 0..differing {
            let side = Side::BOTH[at % 2];
            world.write(side, world.differing[at], at / 2);
        }
        world.differing.sort_unstable();
        world
    }

    /// How many writes of an owner both sides know.
    fn settled(&self, owner: u8) -> u32 {
        (self.rows.len() as u64 - u64::from(owner)).div_ceil(OWNERS) as u32
    }

    /// The `number`-th write that one side took alone, to a key that both knew; each fourth to one that is new.
    fn write(&mut self, side: Side, row: usize, number: usize) {
        let owner = side as u8;
        let version = Version { owner, counter: self.settled(owner) + 1 + number as u32 };
        if number.is_multiple_of(4) {
            self.rows[row].versions = [Version::default(); 2];
        }
        self.rows[row].versions[side as usize] = version;
    }

    fn dot_of(&self, version: Version) -> Dot {
        let (node, start) = (NodeId(u64::from(version.owner) + 1), self.starts[usize::from(version.owner)]);
        Dot { actor: Actor { node, start }, counter: u64::from(version.counter) }
    }

    /// Which of the keys it is.
    pub(crate) fn number(&self, row: usize) -> u64 {
        self.rows[row].key
    }

    fn key(&self, row: usize) -> [u8; KEY] {
        let mut key = [0; KEY];
        key[4..12].copy_from_slice(&self.rows[row].key.to_be_bytes());
        key
    }

    /// The dot of the version that a side has of a key.
    pub(crate) fn dot(&self, row: usize, side: Side) -> Option<Dot> {
        let version = self.rows[row].versions[side as usize];
        (version.counter > 0).then(|| self.dot_of(version))
    }

    /// The digest of what a side has of a key, hashed anew.
    pub(crate) fn digest(&self, row: usize, side: Side) -> Option<u128> {
        digest(&self.secret, &self.key(row), self.dot(row, side))
    }

    /// The keys that a side has in some positions, and their digests.
    pub(crate) fn listed(&self, positions: RangeInclusive<u64>, side: Side) -> impl Iterator<Item = (u64, u128)> {
        let first = self.rows.partition_point(|row| row.position < *positions.start());
        let rows = (first..self.rows.len()).take_while(move |&row| self.rows[row].position <= *positions.end());
        rows.filter_map(move |row| Some((self.rows[row].position, self.digest(row, side)?)))
    }

    /// The rows in some positions.
    pub(crate) fn rows_in(&self, positions: RangeInclusive<u64>) -> std::ops::Range<usize> {
        let first = self.rows.partition_point(|row| row.position < *positions.start());
        first..self.rows.partition_point(|row| row.position <= *positions.end())
    }

    /// The bytes of a side's record with its key, as they are stored and sent; none if it has nothing.
    pub(crate) fn record(&self, row: usize, side: Side) -> Option<usize> {
        let entry = Entry {
            dot: self.dot(row, side)?,
            write_id: None,
            expires: None,
            stamp: Stamp(1),
            value: self.value.clone(),
        };
        let record = Record { live: vec![entry], residual: DotSet::new() };
        Some(1 + KEY + record.encode(&self.key(row)).len())
    }

    /// Which side has the newer version of a key; none if they have the same.
    pub(crate) fn ahead(&self, row: usize) -> Option<Side> {
        let [a, b] = self.rows[row].versions;
        (a != b).then(|| if a.counter > self.settled(a.owner) { Side::A } else { Side::B })
    }
}
