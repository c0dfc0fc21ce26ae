//! The join's laws exhaustively, random runs against a naive model, the paper's figures, hand-made schedules, bytes.

mod controls;
mod format;
mod golden;
mod laws;
mod model;
mod names;
mod record;
mod schedules;
mod world;

use super::join::survives;
use super::{Change, Cover, Entry, Record, Stamp};
use crate::bytes::Bytes;
use crate::dots::DotSet;
use crate::ids::{Actor, Dot, NodeId, Start, WriteId};

const fn dot(node: u64, counter: u64) -> Dot {
    Dot { actor: Actor { node: NodeId(node), start: Start(node * 17) }, counter }
}

fn dots<const N: usize>(list: [Dot; N]) -> DotSet {
    list.into_iter().collect()
}

fn entry(dot: Dot, value: &str) -> Entry {
    Entry { dot, write_id: None, expires: None, stamp: Stamp(dot.counter), value: Bytes::from(value) }
}

fn named(dot: Dot, write_id: u128) -> Entry {
    Entry { write_id: Some(WriteId(write_id)), ..entry(dot, "same") }
}

impl Record {
    /// The whole join of a message with a record that is in memory; an owner drops while it decodes.
    fn apply(&mut self, clock: &mut DotSet, live: &[Entry], cover: Cover<'_>, events: &DotSet) -> Change {
        let before = self.live.len();
        self.live.retain(|entry| survives(entry.dot, live, cover));
        let dropped = self.live.len() != before;
        self.take_in(clock, live, cover, events, dropped)
    }
}

fn values(live: &[Entry]) -> Vec<&str> {
    live.iter().map(|entry| std::str::from_utf8(&entry.value).expect("the tests write text")).collect()
}
