//! Listing the keys of a keyspace, page by page, partition by partition.

use super::Output;
use super::shard::{Operation, Shard};
use crate::error::{Answer, ListError, Refusal, Shortfall};
use crate::ids::{KeyspaceId, NodeId, PartitionId, Ticket};
use crate::latencies::Phase;
use crate::message::{List, ListReply, Listed, Message};
use crate::request::{Cursor, Page, Reply};
use crate::storage::Storage;
use crate::time::Time;

/// A page in progress. One owner of a partition answers for it: a listing is an inventory, not a quorum read.
#[derive(Debug)]
pub(super) struct Listing {
    ticket: Ticket,
    asked: Time,
    keyspace: KeyspaceId,
    cursor: Cursor,
    limit: usize,
    deadline: Time,
    tried: Vec<(NodeId, Answer)>,
}

impl Listing {
    /// Whose answer it waits for.
    pub(super) fn waits_for(&self) -> Option<NodeId> {
        self.tried.last().filter(|(_, answer)| *answer == Answer::Silent).map(|(node, _)| *node)
    }

    pub(super) fn abandoned(self) -> (Ticket, Reply) {
        (self.ticket, Reply::List(Err(ListError::Stopped)))
    }
}

impl<S: Storage> Shard<S> {
    pub(super) fn list(&mut self, ticket: Ticket, keyspace: KeyspaceId, cursor: Cursor, limit: usize) {
        if self.shared.keyspace(keyspace).is_none() {
            return self.done(ticket, Reply::List(Err(ListError::Keyspace)));
        }
        if cursor.partition >= self.shared.layout.partitions() || cursor.after.len() > self.shared.limits.key + 12 {
            return self.done(ticket, Reply::List(Err(ListError::Cursor)));
        }
        let limit = limit.clamp(1, self.shared.limits.page);
        let deadline = self.now.time + self.shared.timing.deadline;
        let listing = Listing { ticket, asked: self.now.time, keyspace, cursor, limit, deadline, tried: Vec::new() };
        let number = self.operations.add(Operation::List(listing), deadline);
        self.list_next(number);
    }

    /// Asks an owner of the cursor's partition: this node if it is one, else the fastest that was not tried.
    fn list_next(&mut self, number: u64) {
        loop {
            let Some(Operation::List(listing)) = self.operations.get(number) else { return };
            let partition = PartitionId(listing.cursor.partition);
            let tried: Vec<NodeId> = listing.tried.iter().map(|(node, _)| *node).collect();
            let owners = self.topology.owners(partition);
            let owner = self.roster(partition).best_owner(partition, None, &tried);
            // Where nobody seems to be there, suspects are asked all the same.
            let Some(owner) = owner.or_else(|| owners.iter().copied().find(|owner| !tried.contains(owner))) else {
                let answers = listing.tried.clone();
                let error = ListError::Unavailable(Shortfall { needed: 1, got: 0, answers });
                return self.end_list(number, Err(error));
            };
            let (keyspace, after, limit) = (listing.keyspace, listing.cursor.after.clone(), listing.limit);
            let deadline = listing.deadline;
            if let Some(Operation::List(listing)) = self.operations.get_mut(number) {
                listing.tried.push((owner, Answer::Silent));
            }
            // Another shard of this node answers by message, like a peer: shards share nothing.
            if owner == self.shared.node && self.replica.owns(partition) {
                let result = self.list_here(partition, keyspace, &after, limit);
                if !self.listed(number, owner, result) {
                    return;
                }
                continue;
            }
            let (request, layout) = (self.request_id(number), self.layout_id());
            let due = (self.now.time + self.shared.timing.fallback).min(deadline);
            self.operations.wake_at(number, due);
            let limit = limit as u32;
            self.ask(owner, Message::List(List { request, layout, partition, keyspace, after, limit }));
            return;
        }
    }

    /// Takes an owner's answer in. True if another must be asked.
    fn listed(&mut self, number: u64, owner: NodeId, result: Result<Listed, Refusal>) -> bool {
        let partitions = self.shared.layout.partitions();
        let Some(Operation::List(listing)) = self.operations.get_mut(number) else { return false };
        let listed = match result {
            Ok(listed) => listed,
            Err(refusal) => {
                if let Some((_, answer)) = listing.tried.iter_mut().find(|(node, _)| *node == owner) {
                    *answer = Answer::Refused(refusal);
                }
                return true;
            }
        };
        let partition = if listed.after.is_empty() { listing.cursor.partition + 1 } else { listing.cursor.partition };
        let cursor = Cursor { partition, after: listed.after };
        if listed.keys.is_empty() && partition < partitions {
            (listing.cursor, listing.tried) = (cursor, Vec::new());
            return true;
        }
        let next = (partition < partitions).then_some(cursor);
        self.end_list(number, Ok(Page { keys: listed.keys, next }));
        false
    }

    fn end_list(&mut self, number: u64, result: Result<Page, ListError>) {
        if let Some(Operation::List(listing)) = self.operations.remove(number) {
            self.ended(Phase::List, listing.asked);
            self.done_with_state(listing.ticket, Reply::List(result));
        }
    }

    fn list_here(
        &mut self,
        partition: PartitionId,
        keyspace: KeyspaceId,
        after: &[u8],
        limit: usize,
    ) -> Result<Listed, Refusal> {
        let listed =
            self.of_partition(partition, |replica, storage| replica.list(storage, partition, keyspace, after, limit));
        listed.map(|(keys, after)| Listed { keys, after }).map_err(|_| Refusal::Storage)
    }

    pub(super) fn on_list(&mut self, from: NodeId, list: &List) {
        let result = self.check_layout(from, list.layout).and_then(|()| {
            let known = list.partition.0 < self.shared.layout.partitions();
            if known && !self.replica.owns(list.partition) {
                self.tell_floor(from, list.partition);
            }
            if !known || !self.replica.owns(list.partition) {
                return Err(Refusal::NotAnOwner);
            }
            let limit = (list.limit as usize).clamp(1, self.shared.limits.page);
            self.list_here(list.partition, list.keyspace, &list.after, limit)
        });
        let reply = ListReply { request: list.request, partition: list.partition, result };
        self.lanes.show(Output::Send(from, Message::ListReply(reply)));
    }

    pub(super) fn on_list_reply(&mut self, from: NodeId, reply: ListReply) {
        let Some(number) = self.operation_number(reply.request) else { return };
        let Some(Operation::List(listing)) = self.operations.get(number) else { return };
        if listing.cursor.partition != reply.partition.0 || listing.tried.last().is_none_or(|(node, _)| *node != from) {
            return;
        }
        if self.listed(number, from, reply.result) {
            self.list_next(number);
        }
    }

    pub(super) fn list_due(&mut self, number: u64) {
        let Some(Operation::List(listing)) = self.operations.get(number) else { return };
        let (expired, answers) = (self.now.time >= listing.deadline, listing.tried.clone());
        if let Some((node, _)) = answers.last() {
            self.check(*node);
        }
        if expired {
            let error = ListError::Unavailable(Shortfall { needed: 1, got: 0, answers });
            return self.end_list(number, Err(error));
        }
        self.list_next(number);
    }
}
