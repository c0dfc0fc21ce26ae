//! Hints on their way home.

use super::shard::{Operation, Shard};
use super::{Event, Output};
use crate::hint::{HintStore, Outgoing};
use crate::ids::NodeId;
use crate::message::{HintItem, Hints, HintsReply, Message};
use crate::storage::Storage;

/// A batch of hints that a target has been sent. One is on its way at a time: a node that comes back is not stormed.
#[derive(Debug)]
pub(super) struct Delivery {
    target: NodeId,
    /// By their index in the batch, until they are acknowledged.
    items: Vec<Option<Outgoing>>,
}

impl<S: Storage> Shard<S> {
    /// Sends a batch to every target that seems to be there and has none on its way.
    pub(super) fn handoff(&mut self) {
        self.handoff_due = self.now.time + self.shared.timing.handoff;
        let targets: Vec<NodeId> = self.hints.targets().map(|(target, _)| target).collect();
        for target in targets {
            let Some(peer) = self.shared.layout.index_of(target) else { continue };
            if !self.peers.is_suspected(peer) && !self.deliveries.contains_key(&target) {
                self.deliver(target);
            }
        }
    }

    fn deliver(&mut self, target: NodeId) {
        let (secret, limit) = (self.shared.identity.secret, self.shared.limits.hint_batch);
        let batch = match HintStore::batch(&self.storage, &secret, target, limit) {
            Ok(batch) if batch.is_empty() => return,
            Ok(batch) => batch,
            Err(error) => return self.storage_failed(error),
        };
        let item = |(index, hint): (usize, &Outgoing)| HintItem {
            index: index as u32,
            key: hint.key.clone(),
            update: std::sync::Arc::clone(&hint.update),
        };
        let items = batch.iter().enumerate().map(item).collect();
        let due = self.now.time + self.shared.timing.handoff;
        let delivery = Delivery { target, items: batch.into_iter().map(Some).collect() };
        let number = self.operations.add(Operation::Delivery(delivery), due);
        self.deliveries.insert(target, number);
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
            let stored = self.replica.update(&mut self.storage, partition, &item.key, &item.update);
            if let Ok(stored) = self.or_refuse(stored) {
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
            Err(error) => self.storage_failed(error),
        }
        if complete {
            self.end_delivery(number);
            if self.hints.targets().any(|(target, _)| target == from) {
                self.deliver(from);
            } else {
                self.lanes.say(Output::Event(Event::HintsDelivered(from)));
            }
        }
    }

    /// A batch that was not acknowledged in time is tried again later; what was stored of it changes nothing then.
    pub(super) fn delivery_due(&mut self, number: u64) {
        let target = self.end_delivery(number);
        if let Some(target) = target {
            self.check(target);
        }
    }

    fn end_delivery(&mut self, number: u64) -> Option<NodeId> {
        let Some(Operation::Delivery(delivery)) = self.operations.remove(number) else { return None };
        self.deliveries.remove(&delivery.target);
        Some(delivery.target)
    }
}
