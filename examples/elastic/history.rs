//! What a read of a key must show.

use std::collections::{BTreeMap, BTreeSet};

/// The writes of a key, by their numbers, which only grow.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// What each write's client had read. The write supersedes these, and what they supersede.
    read_before: BTreeMap<u64, Vec<u64>>,
    /// Those that are acknowledged, without those that such a one supersedes.
    acknowledged: Vec<u64>,
}

impl History {
    /// A client writes what it made of these.
    pub(crate) fn begin(&mut self, number: u64, read: Vec<u64>) {
        self.read_before.insert(number, read);
    }

    pub(crate) fn acknowledge(&mut self, number: u64) {
        if self.shows(&self.acknowledged, number) {
            return;
        }
        let mut others = std::mem::take(&mut self.acknowledged);
        others.retain(|other| !self.shows(&[number], *other));
        others.push(number);
        self.acknowledged = others;
    }

    /// What every read that begins now must show.
    pub(crate) fn acknowledged(&self) -> &[u64] {
        &self.acknowledged
    }

    pub(crate) fn is_written(&self, number: u64) -> bool {
        self.read_before.contains_key(&number)
    }

    /// Whether a read of these shows a write, or one that supersedes it.
    pub(crate) fn shows(&self, read: &[u64], number: u64) -> bool {
        let (mut open, mut met) = (read.to_vec(), BTreeSet::new());
        while let Some(next) = open.pop() {
            if next == number {
                return true;
            }
            // What a client had read was written before.
            if next > number && met.insert(next) {
                open.extend(self.read_before.get(&next).into_iter().flatten());
            }
        }
        false
    }
}
