//! Hints on their way home.

use std::sync::Arc;
use std::time::Duration;

use super::shard::{Operation, Shard};
use super::{Event, Output};
use crate::admission::Work;
use crate::hint::{HintStore, Outgoing};
use crate::ids::NodeId;
use crate::message::{HintItem, Hints, HintsReply, Message};
use crate::mutant::{self, Mutant};
use crate::storage::Storage;

/// A batch of hints that a target has been sent. One is on its way at a time: a node that comes back is not stormed.
#[derive(Debug)]
pub(super) struct Delivery {
    target: NodeId,
    /// By their index in the batch, until they are acknowledged.
    items: Vec<Option<Outgoing>>,
    /// How long the next answer is awaited: a target that is far away would never be waited for long enough.
    pause: Duration,
}

impl<S: Storage> Shard<S> {
    /// Sends a batch to every target that seems to be there and has none on its way.
    pub(super) fn handoff(&mut self) {
        self.handoff_due = self.now.time + self.shared.timing.handoff;
        if mutant::is(Mutant::KeepHints) {
            return;
        }
        let mut targets: Vec<NodeId> = self.hints.targets().map(|(target, _)| target).collect();
        // Where there is not room for all, the first would be the only one.
        targets.sort_by_key(|target| (*target < self.handoff_next, *target));
        for target in targets {
            let Some(peer) = self.shared.layout.index_of(target) else { continue };
            if !self.peers.is_suspected(peer)
                && !self.deliveries.contains_key(&target)
                && !self.deliver_when_granted(target)
            {
                self.handoff_next = target;
                return;
            }
        }
        self.handoff_next = NodeId(0);
    }

    /// False if there is no room for a batch now. It is tried again when there may be.
    fn deliver_when_granted(&mut self, target: NodeId) -> bool {
        if let Err(due) = self.admission.grant(Work::Hints, self.now.time) {
            self.handoff_due = self.handoff_due.min(due);
            return false;
        }
        self.deliver(target);
        true
    }

    fn deliver(&mut self, target: NodeId) {
        let (secret, limits) = (&self.shared.identity.secret, &self.shared.limits);
        let batch = match HintStore::batch(&self.storage, secret, target, limits) {
            Ok(batch) if batch.is_empty() => return,
            Ok(batch) => batch,
            Err(error) => return self.storage_failed(error),
        };
        let pause = self.shared.timing.handoff;
        let delivery = Delivery { target, items: batch.into_iter().map(Some).collect(), pause };
        let number = self.operations.add(Operation::Delivery(delivery), self.now.time + pause);
        self.deliveries.insert(target, number);
        self.send_batch(number);
        if mutant::is(Mutant::DropHintWhenSent)
            && let Some(Operation::Delivery(delivery)) = self.operations.get(number)
        {
            let sent: Vec<_> = delivery.items.iter().flatten().cloned().collect();
            let _ = self.hints.delivered(&mut self.storage, target, &sent);
        }
    }

    /// Sends what is not acknowledged of a batch, under the same name each time, so that a late answer counts.
    fn send_batch(&mut self, number: u64) {
        let Some(Operation::Delivery(delivery)) = self.operations.get(number) else { return };
        let item = |(index, hint): (usize, &Option<Outgoing>)| {
            let Outgoing { key, update, .. } = hint.as_ref()?;
            Some(HintItem { index: index as u32, key: key.clone(), update: Arc::clone(update) })
        };
        let items = delivery.items.iter().enumerate().filter_map(item).collect();
        let target = delivery.target;
        let (request, layout) = (self.request_id(number), self.layout_id());
        self.ask(target, Message::Hints(Hints { request, layout, items }));
    }

    /// Stores what was kept for this node. Each item is acknowledged by itself: one that can't be stored stays there.
    pub(super) fn on_hints(&mut self, from: NodeId, hints: &Hints) {
        if self.check_layout(from, hints.layout).is_err() {
            return;
        }
        let mut done = Vec::with_capacity(hints.items.len());
        for item in &hints.items {
            let Ok(partition) = self.check_owner(&item.key) else { continue };
            if mutant::is(Mutant::HintOverwrites) {
                self.overwrite(partition, &item.key, &item.update.live);
            }
            if let Ok(stored) = self.join_update(partition, &item.key, &item.update) {
                self.lanes.wrote(&stored);
                done.push(item.index);
            }
        }
        let reply = HintsReply { request: hints.request, stored: done };
        self.lanes.reveal(Output::Send(from, Message::HintsReply(reply)));
    }

    pub(super) fn on_hints_reply(&mut self, from: NodeId, reply: &HintsReply) {
        let Some(number) = self.operation_number(reply.request) else { return };
        let Some(Operation::Delivery(delivery)) = self.operations.get_mut(number) else { return };
        if delivery.target != from {
            return;
        }
        let items = &mut delivery.items;
        let stored: Vec<Outgoing> =
            reply.stored.iter().filter_map(|&index| items.get_mut(index as usize)?.take()).collect();
        let complete = items.iter().all(Option::is_none);
        let delivered = self.hints.delivered(&mut self.storage, from, &stored);
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
            self.end_delivery(number);
            if self.hints.targets().any(|(target, _)| target == from) {
                if !self.deliver_when_granted(from) {
                    self.handoff_next = NodeId(from.0.saturating_add(1));
                }
            } else {
                self.lanes.say(Output::Event(Event::HintsDelivered(from)));
            }
        }
    }

    /// A batch that was not acknowledged in time is sent again, less and less often; what was stored of it changes
    /// nothing then. A target that is suspected gets a new one when it is back.
    pub(super) fn delivery_due(&mut self, number: u64) {
        let Some(Operation::Delivery(delivery)) = self.operations.get_mut(number) else { return };
        delivery.pause = (delivery.pause * 2).min(self.shared.timing.handoff * 16);
        let (target, due) = (delivery.target, self.now.time + delivery.pause);
        self.check(target);
        if self.shared.layout.index_of(target).is_none_or(|peer| self.peers.is_suspected(peer)) {
            self.end_delivery(number);
        } else {
            self.operations.wake_at(number, due);
            self.send_batch(number);
        }
    }

    fn end_delivery(&mut self, number: u64) {
        if let Some(Operation::Delivery(delivery)) = self.operations.remove(number) {
            self.deliveries.remove(&delivery.target);
        }
    }
}
