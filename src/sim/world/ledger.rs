//! What a bystander who sees everything writes down.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use crate::causality::{Entry, Update};
use crate::ids::Dot;
use crate::message::{Forward, Hints, Message, ReadReply, Repair, Shown, Write};

/// What became of the messages of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Traffic {
    /// Messages that nodes sent.
    pub sent: u64,
    /// Those that repaired or moved data: repairs after reads, and hints.
    pub repairing: u64,
    /// Those that never arrived.
    pub lost: u64,
    /// Those that arrived twice.
    pub repeated: u64,
    /// Arrivals that waited for a clog to end.
    pub clogged: u64,
    /// Arrivals whose bits had flipped, and that were refused for it.
    pub refused: u64,
    /// Arrivals whose bits had flipped, and that were taken for another message all the same. There must be none.
    pub mistaken: u64,
    /// Arrivals at a process that was not there.
    pub unheard: u64,
}

/// Which write event each dot names. A dot that names two is the end: of two acknowledged writes one would be taken
/// for the other.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Never iterated.
    events: HashMap<Dot, u64, FixedState>,
    pub(super) conflicts: Vec<Dot>,
    pub(super) traffic: Traffic,
}

/// What the dot of a delete stands for.
const DELETED: u64 = 0;

impl Ledger {
    pub(super) fn sent(&mut self, message: &Message) {
        self.traffic.sent += 1;
        match message {
            Message::Write(Write { update, .. }) | Message::Forward(Forward { update, .. }) => {
                self.entries(&update.live);
                self.delete(update);
            }
            Message::Repair(Repair { live, .. }) => {
                self.traffic.repairing += 1;
                self.entries(live);
            }
            Message::Hints(Hints { items, .. }) => {
                self.traffic.repairing += 1;
                items.iter().for_each(|item| self.entries(&item.update.live));
            }
            Message::ReadReply(ReadReply { result: Ok(Shown::Owner { live, .. }), .. }) => self.entries(live),
            Message::ReadReply(ReadReply { result: Ok(Shown::Hint(update)), .. }) => self.entries(&update.live),
            _ => {}
        }
    }

    fn entries(&mut self, live: &[Entry]) {
        for entry in live {
            let value = FixedState::default().hash_one((&entry.value[..], entry.write_id, entry.stamp)) | 1;
            self.name(entry.dot, value);
        }
    }

    /// A write that brings no version is a delete, and its dot never names a value.
    fn delete(&mut self, update: &Update) {
        let mut events = update.events.iter();
        if let (true, Some(dot), None) = (update.live.is_empty(), events.next(), events.next()) {
            self.name(dot, DELETED);
        }
    }

    fn name(&mut self, dot: Dot, event: u64) {
        if *self.events.entry(dot).or_insert(event) != event {
            self.conflicts.push(dot);
        }
    }
}
