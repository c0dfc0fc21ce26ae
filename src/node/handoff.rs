//! Hints: kept for others, on their way home, and come home.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::ages::Ages;
use super::lease::Lease;
use super::shard::{Operation, Shard};
use super::topology::Topology;
use super::{Event, Output};
use crate::admission::Work;
use crate::causality::Update;
use crate::detector::Detector;
use crate::error::{Refusal, StorageError};
use crate::hint::{HintStore, Kept, Outgoing};
use crate::ids::{NodeId, PartitionId, RequestId};
use crate::key::Key;
use crate::message::{HintItem, Hints, HintsReply, Message};
use crate::mutant::{self, Mutant};
use crate::ring::Layout;
use crate::storage::{Storage, Stored};
use crate::time::{Time, micros};
use crate::wire::FormatError;

/// A batch of hints that is on its way. One for a target is at a time: a node that comes back is not stormed.
#[derive(Debug)]
pub(super) struct Delivery {
    target: NodeId,
    /// The target, or who owns now what was meant for it.
    to: NodeId,
    /// By their index in the batch, until they are acknowledged.
    items: Vec<Option<Outgoing>>,
    /// Whether the holder has no more for this receiver.
    last: bool,
    /// How long the next answer is awaited: a target that is far away would never be waited for long enough.
    pause: Duration,
    /// The receiver is there, and takes another's first.
    waits: bool,
}

impl Delivery {
    /// Whose answer it waits for.
    pub(super) const fn waits_for(&self) -> NodeId {
        self.to
    }
}

/// What a shard knows of hints beyond the hints themselves.
#[derive(Debug, Default)]
pub(super) struct Handoff {
    /// For which targets a batch is on its way.
    pub(super) running: BTreeMap<NodeId, u64>,
    /// How many hints each receiver is sent at once.
    windows: BTreeMap<NodeId, usize>,
    /// Targets with hints that are no longer theirs by this layout.
    strays: BTreeSet<NodeId>,
    /// Whether other layouts count than when they were found.
    pub(super) is_stale: bool,
    /// Who fills this shard.
    lease: Lease,
    /// Since when which hints are kept.
    pub(super) ages: Ages,
}

/// Hints in a receiver's first batch.
const FIRST: usize = 8;
/// The longest pause between two tries, in times of the first.
const PATIENCE: u32 = 16;

impl Handoff {
    pub(super) fn open(hints: &HintStore, topology: &Topology, now: Time) -> Self {
        Self { strays: strays(hints, topology), ages: Ages::new(hints.mark(), now), ..Self::default() }
    }
}

/// Targets with hints that are not theirs by any layout that counts.
fn strays(hints: &HintStore, topology: &Topology) -> BTreeSet<NodeId> {
    let is_stray = |target: &NodeId| {
        let mut positions = hints.positions(*target);
        positions.any(|position| !topology.is_owner(*target, partition_at(topology.base(), position)))
    };
    hints.targets().map(|(target, _)| target).filter(is_stray).collect()
}

/// A hint's partition, by the upper half of its position.
fn partition_at(layout: &Layout, position: u64) -> PartitionId {
    layout.partition_of(u128::from(position) << 64)
}

/// Who takes a hint: its target, or where that does not own its partition any more, the first owner within reach. It is a
/// plain update, which the other owners get from that one.
fn receiver(topology: &Topology, peers: &Detector, target: NodeId, position: u64) -> Option<NodeId> {
    let partition = partition_at(topology.base(), position);
    let is_theirs = topology.is_owner(target, partition);
    let named = if is_theirs { std::slice::from_ref(&target) } else { topology.owners(partition) };
    let is_there = |node: &NodeId| topology.directory.index_of(*node).is_some_and(|peer| !peers.is_suspected(peer));
    named.iter().copied().find(is_there)
}

/// Keeping.
impl<S: Storage> Shard<S> {
    /// Keeps an update for another node. A client keeps none, whoever asks: one that was a member may still be asked by a
    /// node that has not heard of that. The owners that have the write find out by themselves that another has not.
    pub(super) fn keep_hint(&mut self, target: NodeId, key: &Key, update: &Update) -> Result<Stored, Refusal> {
        if self.shared.client {
            return Err(Refusal::NotAnOwner);
        }
        self.handoff.ages.note(self.hints.mark(), self.hints.oldest(), self.now.time);
        let kept = self.hints.keep(&mut self.storage, target, key, update, &self.shared.limits);
        let stored = match self.or_refuse(kept)? {
            Kept::Stored(stored) => stored,
            Kept::Joined(stored) => {
                self.counters.hints_joined += 1;
                stored
            }
            Kept::Replaced(stored) => {
                self.hints_lost(target, &[self.partition(key)]);
                stored
            }
            Kept::Full => {
                self.counters.hints_refused += 1;
                self.mark_dirty(self.partition(key), target);
                return Err(Refusal::HintsFull);
            }
        };
        self.counters.hints_kept += 1;
        // Whoever asked may not know that it owns nothing any more.
        self.handoff.is_stale |= self.shared.elastic && !self.topology.is_owner(target, self.partition(key));
        Ok(stored)
    }

    /// Hints could not be read any more, and are dropped.
    fn hints_lost(&mut self, target: NodeId, partitions: &[PartitionId]) {
        if partitions.is_empty() {
            return;
        }
        self.counters.hints_dropped += partitions.len() as u64;
        self.storage_failed(StorageError::from(FormatError::Checksum));
        partitions.iter().for_each(|partition| self.mark_dirty(*partition, target));
    }

    /// Other layouts count than before: so may other nodes for what is kept.
    fn find_strays(&mut self) {
        self.handoff.is_stale = false;
        let before = std::mem::replace(&mut self.handoff.strays, strays(&self.hints, &self.topology));
        // A batch that is on its way to one that owns nothing any more, or not yet, would be sent to it for ever.
        for target in &before | &self.handoff.strays {
            if let Some(number) = self.handoff.running.get(&target).copied() {
                self.end_delivery(number);
            }
        }
    }

    pub(super) fn hints(&self) -> impl Iterator<Item = (NodeId, u64)> {
        self.hints.targets()
    }

    pub(super) const fn hint_mark(&self) -> u64 {
        self.hints.mark()
    }

    pub(super) fn hints_settled(&self, mark: u64) -> bool {
        self.hints.settled(mark)
    }
}

/// At the holder.
impl<S: Storage> Shard<S> {
    /// Sends a batch to every target that seems to be there and has none on its way.
    pub(super) fn handoff(&mut self) {
        self.handoff_due = self.now.time + self.shared.timing.handoff;
        if mutant::is(Mutant::KeepHints) {
            return;
        }
        if self.handoff.is_stale {
            self.find_strays();
        }
        let mut targets: Vec<NodeId> = self.hints.targets().map(|(target, _)| target).collect();
        // Where there is not room for all, the first would be the only one.
        targets.sort_by_key(|target| (*target < self.handoff_next, *target));
        for target in targets {
            if !self.handoff.running.contains_key(&target) && !self.deliver(target) {
                self.handoff_next = target;
                return;
            }
        }
        self.handoff_next = NodeId(0);
    }

    /// False if there is no room for a batch now. It is tried again when there may be.
    fn deliver(&mut self, target: NodeId) -> bool {
        let to = if self.handoff.strays.contains(&target) {
            self.hints.positions(target).find_map(|position| receiver(&self.topology, &self.peers, target, position))
        } else {
            Some(target).filter(|target| !self.is_suspected(*target))
        };
        let Some(to) = to else { return true };
        if let Err(due) = self.admission.grant(Work::Hints, self.now.time) {
            self.handoff_due = self.handoff_due.min(due);
            return false;
        }
        let limits = &self.shared.limits;
        let window = *self.handoff.windows.entry(to).or_insert(FIRST.min(limits.hint_batch));
        let shared = Arc::clone(&self.shared);
        // By the shard's parts, since the hints are borrowed.
        let (peers, topology) = (&self.peers, &self.topology);
        let wanted = |position| receiver(topology, peers, target, position) == Some(to);
        let size = (window, limits.object);
        let parcel = match self.hints.batch(&mut self.storage, &shared.identity.secret, target, size, wanted) {
            Ok(parcel) => parcel,
            Err(error) => {
                self.storage_failed(error);
                return true;
            }
        };
        self.lanes.wrote(&parcel.stored);
        let lost: Vec<_> = parcel.dropped.iter().map(|&position| partition_at(&shared.layout, position)).collect();
        self.hints_lost(target, &lost);
        if parcel.items.is_empty() {
            return true;
        }
        let pause = self.shared.timing.handoff;
        let items = parcel.items.into_iter().map(Some).collect();
        let delivery = Delivery { target, to, items, last: parcel.last, pause, waits: false };
        let number = self.operations.add(Operation::Delivery(delivery), self.now.time + pause);
        self.handoff.running.insert(target, number);
        self.send_batch(number);
        if mutant::is(Mutant::DropHintWhenSent)
            && let Some(Operation::Delivery(delivery)) = self.operations.get(number)
        {
            let sent: Vec<_> = delivery.items.iter().flatten().cloned().collect();
            let _ = self.hints.delivered(&mut self.storage, target, &sent);
        }
        true
    }

    /// Sends what is not acknowledged of a batch, under the same name each time, so that a late answer counts.
    fn send_batch(&mut self, number: u64) {
        let Some(Operation::Delivery(delivery)) = self.operations.get(number) else { return };
        let item = |(index, hint): (usize, &Option<Outgoing>)| {
            let Outgoing { key, update, .. } = hint.as_ref()?;
            Some(HintItem { index: index as u32, key: key.clone(), update: Arc::clone(update) })
        };
        // Who waits asks with one whether it is its turn.
        let most = if delivery.waits { 1 } else { usize::MAX };
        let items: Vec<_> = delivery.items.iter().enumerate().filter_map(item).take(most).collect();
        self.counters.hints_sent += items.len() as u64;
        let (to, last) = (delivery.to, delivery.last && !delivery.waits);
        let (request, layout) = (self.request_id(number), self.layout_id());
        self.ask(to, Message::Hints(Hints { request, layout, items, last }));
    }

    pub(super) fn on_hints_reply(&mut self, from: NodeId, reply: &HintsReply) {
        let Some(number) = self.operation_number(reply.request) else { return };
        let Some(Operation::Delivery(delivery)) = self.operations.get_mut(number) else { return };
        if delivery.to != from {
            return;
        }
        let target = delivery.target;
        let items = &mut delivery.items;
        let stored: Vec<Outgoing> =
            reply.stored.iter().filter_map(|&index| items.get_mut(index as usize)?.take()).collect();
        let complete = items.iter().all(Option::is_none);
        let pause = delivery.pause;
        if reply.wait > 0 {
            let longest = self.shared.timing.handoff * PATIENCE;
            delivery.waits = true;
            delivery.pause = (pause * 2).min(longest);
            // It calls when it is free. That call may be lost, and so may whom it waits for.
            let wait = Duration::from_micros(reply.wait).max(pause).min(longest);
            self.operations.wake_at(number, self.now.time + wait);
        } else if std::mem::take(&mut delivery.waits) && !complete {
            delivery.pause = self.shared.timing.handoff;
            self.operations.wake_at(number, self.now.time + self.shared.timing.handoff);
            self.send_batch(number);
        }
        let delivered = self.hints.delivered(&mut self.storage, target, &stored);
        match delivered {
            Ok((stored, count)) => {
                self.counters.hints_delivered += count;
                self.lanes.wrote(&stored);
            }
            Err(error) => {
                // The hints are still there. To begin again at once would spin for as long as the disk is full: the
                // next try is at `handoff_due`.
                self.storage_failed(error);
                return self.end_delivery(number);
            }
        }
        if complete {
            let most = self.shared.limits.hint_batch;
            self.handoff.windows.entry(from).and_modify(|window| *window = (*window + 1).min(most));
            self.end_delivery(number);
            if self.hints.targets().any(|(other, _)| other == target) {
                if !self.deliver(target) {
                    self.handoff_next = NodeId(target.0.saturating_add(1));
                }
            } else {
                self.lanes.say(Output::Event(Event::HintsDelivered(target)));
            }
        }
    }

    /// A batch that was not acknowledged in time is sent again, less and less often, and half of it; what was stored of
    /// it changes nothing then. A target that is suspected gets a new one when it is back.
    pub(super) fn delivery_due(&mut self, number: u64) {
        let Some(Operation::Delivery(delivery)) = self.operations.get_mut(number) else { return };
        let to = delivery.to;
        if !delivery.waits {
            delivery.pause = (delivery.pause * 2).min(self.shared.timing.handoff * PATIENCE);
            let window = self.handoff.windows.entry(to).or_insert(FIRST);
            if !mutant::is(Mutant::WindowNeverShrinks) {
                *window = (*window / 2).max(1);
            }
            // The others stay where they are, for a later batch.
            let mut room = *window;
            for item in delivery.items.iter_mut().filter(|item| item.is_some()) {
                if room == 0 {
                    *item = None;
                    delivery.last = false;
                }
                room = room.saturating_sub(1);
            }
        }
        let due = self.now.time + delivery.pause;
        self.check(to);
        if self.is_suspected(to) {
            self.end_delivery(number);
        } else {
            self.operations.wake_at(number, due);
            self.send_batch(number);
        }
    }

    fn end_delivery(&mut self, number: u64) {
        if let Some(Operation::Delivery(delivery)) = self.operations.remove(number) {
            self.handoff.running.remove(&delivery.target);
        }
    }
}

/// At the target.
impl<S: Storage> Shard<S> {
    /// Stores what was kept for this node, unless another's is stored now. Each item is acknowledged by itself: one that
    /// can't be stored stays there.
    pub(super) fn on_hints(&mut self, from: NodeId, hints: &Hints) {
        if self.check_layout(from, hints.layout).is_err() {
            return;
        }
        let (now, length) = (self.now.time, self.shared.timing.handoff);
        // Another shard of this node had the last of them.
        if hints.items.is_empty() {
            let next = self.handoff.lease.stored(from, hints.last, now, length);
            return self.call(next);
        }
        if let Err(left) = self.handoff.lease.ask(from, hints.request, now, length) {
            self.counters.hints_waited += 1;
            let reply = HintsReply { request: hints.request, stored: Vec::new(), wait: micros(left).max(1) };
            return self.lanes.say(Output::Send(from, Message::HintsReply(reply)));
        }
        let mut done = Vec::with_capacity(hints.items.len());
        for item in &hints.items {
            let partition = self.partition(&item.key);
            if self.check_owner(&item.key).is_err() || (self.shared.elastic && !self.is_serving(partition)) {
                self.tell_floor(from, partition);
                continue;
            }
            if mutant::is(Mutant::HintOverwrites) {
                self.overwrite(partition, &item.key, &item.update.live);
            }
            if let Ok(stored) = self.join_update(partition, &item.key, &item.update) {
                self.lanes.wrote(&stored);
                done.push(item.index);
            }
        }
        let reply = HintsReply { request: hints.request, stored: done, wait: 0 };
        self.lanes.reveal(Output::Send(from, Message::HintsReply(reply)));
        let next = self.handoff.lease.stored(from, hints.last, now, length);
        self.call(next);
    }

    /// Whether hints are coming in: whatever this node is seen to lack may be among them. No longer than `at_most`, lest a
    /// holder that never ends should keep this node from what nobody holds.
    pub(super) fn is_filled(&self, at_most: Duration) -> bool {
        self.handoff.lease.filled_since(self.now.time).is_some_and(|since| self.now.time < since + at_most)
    }

    /// Tells one that waits that it may come.
    fn call(&mut self, next: Option<(NodeId, RequestId)>) {
        if let Some((node, request)) = next {
            let reply = HintsReply { request, stored: Vec::new(), wait: 0 };
            self.lanes.say(Output::Send(node, Message::HintsReply(reply)));
        }
    }
}
