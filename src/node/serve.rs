//! What a node does for other coordinators: store, show, repair.

use std::sync::Arc;

use super::Output;
use super::admit::Barred;
use super::shard::Shard;
use crate::ballot::Refused;
use crate::causality::{Entry, Record, Update};
use crate::config::Durability;
use crate::dots::DotSet;
use crate::error::Refusal;
use crate::ids::{LayoutId, NodeId, PartitionId};
use crate::key::Key;
use crate::message::{Message, Read, ReadReply, Repair, Shown, Write, WriteReply};
use crate::mutant::{self, Mutant};
use crate::storage::{Storage, Stored};

impl<S: Storage> Shard<S> {
    pub(super) fn on_write(&mut self, from: NodeId, write: &Write) {
        let stored = self.store(from, write);
        let (request, round, store) = (write.request, write.round, self.votes.store);
        let reply = |result, known| {
            Output::Send(from, Message::WriteReply(WriteReply { request, round, store, result, known }))
        };
        match (stored, write.durability) {
            (Ok(stored), Durability::Quorum) => self.lanes.acknowledge(&stored, reply(Ok(()), None)),
            // This copy's durability is waived. A delete is shown to nobody before it is synced.
            (Ok(stored), _) => {
                if write.update.live.is_empty() {
                    self.lanes.wrote(&stored);
                } else {
                    self.lanes.buffered(&stored, self.now.time);
                }
                self.lanes.say(reply(Ok(()), None));
            }
            (Err(barred), _) => {
                let partition = self.partition(&write.key);
                let (refusal, known) = self.refuse(partition, barred);
                // What is promised here and not durable would be told to others.
                self.lanes.reveal(reply(Err(refusal), known));
            }
        }
    }

    fn store(&mut self, from: NodeId, write: &Write) -> Result<Stored, Barred> {
        let partition = self.partition(&write.key);
        self.check_fixed(from, partition, write.sets.floor())?;
        self.check_stamps(&write.key, &write.update).map_err(Barred::Refused)?;
        match write.hint_for {
            Some(target) if target != self.shared.node => {
                // A hint for somebody else would never go home.
                if !self.topology.is_owner(target, partition) {
                    return Err(Barred::Refused(Refusal::NotAnOwner));
                }
                self.keep_hint(target, &write.key, &write.update).map_err(Barred::Refused)
            }
            _ => {
                let admitted = self.admit_write(from, partition, &write.sets)?;
                let stored = self.join_update(partition, &write.key, &write.update).map_err(Barred::Refused)?;
                Ok(admitted.and(stored))
            }
        }
    }

    /// Joins what another node has to say of a key.
    pub(super) fn join_update(
        &mut self,
        partition: PartitionId,
        key: &Key,
        update: &Update,
    ) -> Result<Stored, Refusal> {
        let joined = self.of_partition(partition, |replica, storage| replica.update(storage, partition, key, update));
        joined.map_err(|_| Refusal::Storage)
    }

    /// A timestamp from a clock that is far ahead would win over all others for as long as it is: it is refused at
    /// the door where timestamps decide. What replicas hold already is joined whatever it says.
    pub(super) fn check_stamps(&mut self, key: &Key, update: &Update) -> Result<(), Refusal> {
        let Some(keyspace) = self.shared.keyspace(key.keyspace()) else { return Ok(()) };
        let wall = self.now.wall;
        if mutant::is(Mutant::BelieveFarFuture) {
            return Ok(());
        }
        if keyspace.reconciler.uses_stamps() && update.live.iter().any(|entry| self.clock.is_ahead(entry.stamp, wall)) {
            return Err(Refusal::ClockAhead);
        }
        for entry in &update.live {
            self.clock.observe(entry.stamp, wall);
        }
        Ok(())
    }

    pub(super) fn on_read(&mut self, from: NodeId, read: &Read) {
        let partition = self.partition(&read.key);
        self.names.holds(partition, from, read.known.as_slice());
        let (result, known) = self.show_to(from, &read.key, read.floor);
        let (floor, store) = (read.floor, self.votes.store);
        let reply = ReadReply { request: read.request, partition, floor, store, result, known };
        self.lanes.show(Output::Send(from, Message::ReadReply(reply)));
    }

    /// What a reader of the owners of a decided layout is shown; or why not, with what it doesn't know.
    pub(super) fn show_to(
        &mut self,
        from: NodeId,
        key: &Key,
        floor: LayoutId,
    ) -> (Result<Shown, Refusal>, Option<Box<Refused>>) {
        let partition = self.partition(key);
        match self.admit_read(from, partition, floor) {
            Ok(()) => (self.show(key), None),
            Err(barred) => {
                let (refusal, known) = self.refuse(partition, barred);
                (Err(refusal), known)
            }
        }
    }

    /// What this node has of a key: an owner its whole record and clock, another the hints that it holds.
    pub(super) fn show(&mut self, key: &Key) -> Result<Shown, Refusal> {
        let partition = self.partition(key);
        if self.replica.owns(partition) {
            let mut name = std::mem::take(&mut self.name);
            let read =
                self.of_partition(partition, |replica, storage| replica.read(storage, partition, key, &mut name));
            self.name = name;
            let (record, clock) = read.map_err(|_| Refusal::Storage)?;
            if self.replica.is_refilling(partition) && !mutant::is(Mutant::CountRefilling) {
                return Ok(Self::show_refilling(record, &clock));
            }
            let clock = if mutant::is(Mutant::ShowNoClock) { Arc::default() } else { clock };
            return Ok(Shown::Owner { live: record.live, residual: record.residual, clock });
        }
        let held = self.hints.held(&self.storage, key);
        let held = self.or_refuse(held)?;
        Ok(held.map_or(Shown::Nothing, |update| Shown::Hint(Arc::new(update))))
    }

    /// An owner that has lost something tells what it has, like a fallback, and counts as little: it may miss what it
    /// had acknowledged.
    fn show_refilling(record: Record, clock: &DotSet) -> Shown {
        if record.is_absent() {
            return Shown::Nothing;
        }
        let covered = record.view(clock).covered;
        Shown::Hint(Arc::new(Update { live: record.live, covered, events: DotSet::new() }))
    }

    /// What a mistaken owner does: drops what it has and `live` has not.
    pub(super) fn overwrite(&mut self, partition: PartitionId, key: &Key, live: &[Entry]) {
        if let Ok((record, _)) = self.replica.read(&self.storage, partition, key, &mut Vec::new()) {
            let own: DotSet = record.live.iter().map(|entry| entry.dot).collect();
            let _ = self.replica.repair(&mut self.storage, partition, key, live, &own);
        }
    }

    pub(super) fn on_repair(&mut self, from: NodeId, repair: &Repair) {
        if self.check_layout(from, repair.layout).is_err() {
            return;
        }
        let Ok(partition) = self.check_owner(&repair.key) else { return };
        if self.moves.is_going(partition) {
            // The others look whether they have all that it has: with each news they would begin again.
            return;
        }
        if mutant::is(Mutant::RepairOverwrites) {
            self.overwrite(partition, &repair.key, &repair.live);
        }
        let repaired = self.of_partition(partition, |replica, storage| {
            replica.repair(storage, partition, &repair.key, &repair.live, &repair.covered)
        });
        if let Ok(stored) = repaired {
            self.lanes.wrote(&stored);
        }
    }
}
