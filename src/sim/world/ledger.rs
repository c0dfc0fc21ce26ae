//! What a bystander who sees everything writes down.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use crate::causality::{Entry, Update};
use crate::ids::{Dot, PartitionId};
use crate::key::Key;
use crate::message::{Forward, Hints, Message, Repair, Write};
use crate::ring::Layout;

/// What became of the messages of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Traffic {
    /// Messages that nodes sent.
    pub sent: u64,
    /// Those that repaired or moved data: repairs after reads, and hints.
    pub repairing: u64,
    /// The bytes of all of them, each in a frame of its own. Zero where messages don't go through their bytes and take no
    /// time.
    pub bytes: u64,
    /// Of these, what was not for a client: hints on their way home, repairs after reads, and exchanges between owners;
    /// their questions and answers too.
    pub repair_bytes: u64,
    /// Of these, exchanges between owners: the copies that a change of the layout makes are among them.
    pub exchange_bytes: u64,
    /// What else owners say to each other when partitions change hands. It is not in `repair_bytes`.
    pub change_bytes: u64,
    /// Those that said dots by a name.
    pub named: u64,
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

/// Which write event each dot of a partition names. A dot that names two is the end: of two acknowledged writes one
/// would be taken for the other.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Never iterated.
    events: HashMap<(PartitionId, Dot), u64, FixedState>,
    pub(super) conflicts: Vec<Dot>,
    pub(super) traffic: Traffic,
}

const fn repairs(message: &Message) -> bool {
    matches!(message, Message::Repair(_) | Message::Hints(_) | Message::HintsReply(_)) || exchanges(message)
}

const fn exchanges(message: &Message) -> bool {
    matches!(message, Message::Compare(_) | Message::Compared(_) | Message::Ask(_) | Message::Told(_))
}

/// What the dot of a delete stands for.
const DELETED: u64 = 0;

impl Ledger {
    pub(super) fn sent(&mut self, message: &Message, bytes: usize, layout: &Layout) {
        self.traffic.sent += 1;
        // What has a dot is said in full, and only what is covered may be said by name.
        let message = match message {
            Message::Headed(headed) => {
                self.traffic.named += 1;
                headed.message()
            }
            whole => whole,
        };
        self.traffic.bytes += bytes as u64;
        if repairs(message) {
            self.traffic.repair_bytes += bytes as u64;
        }
        if exchanges(message) {
            self.traffic.exchange_bytes += bytes as u64;
        }
        if matches!(message, Message::Moving(_)) {
            self.traffic.change_bytes += bytes as u64;
        }
        let partition = |key: &Key| layout.partition_of(key.position());
        match message {
            Message::Write(Write { key, update, .. }) | Message::Forward(Forward { key, update, .. }) => {
                self.entries(partition(key), &update.live);
                self.delete(partition(key), update);
            }
            Message::Repair(Repair { key, live, .. }) => {
                self.traffic.repairing += 1;
                self.entries(partition(key), live);
            }
            Message::Hints(Hints { items, .. }) => {
                self.traffic.repairing += 1;
                items.iter().for_each(|item| self.entries(partition(&item.key), &item.update.live));
            }
            _ => {}
        }
    }

    fn entries(&mut self, partition: PartitionId, live: &[Entry]) {
        for entry in live {
            let value = FixedState::default().hash_one((&entry.value[..], entry.write_id, entry.stamp)) | 1;
            self.name(partition, entry.dot, value);
        }
    }

    /// A write that brings no version is a delete, and its dot never names a value.
    fn delete(&mut self, partition: PartitionId, update: &Update) {
        let mut events = update.events.iter();
        if let (true, Some(dot), None) = (update.live.is_empty(), events.next(), events.next()) {
            self.name(partition, dot, DELETED);
        }
    }

    fn name(&mut self, partition: PartitionId, dot: Dot, event: u64) {
        if *self.events.entry((partition, dot)).or_insert(event) != event {
            self.conflicts.push(dot);
        }
    }
}
