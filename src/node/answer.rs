//! What a shard answers: refusals to peers, and replies to clients.

use super::shard::Shard;
use super::{Event, Output};
use crate::error::{Refusal, StorageError};
use crate::ids::{LayoutId, NodeId, PartitionId, Ticket};
use crate::key::Key;
use crate::request::Reply;
use crate::storage::Storage;

impl<S: Storage> Shard<S> {
    /// Refuses what comes with another layout: fixed membership means that all nodes have the same one.
    pub(super) fn check_layout(&mut self, from: NodeId, layout: LayoutId) -> Result<(), Refusal> {
        let own = self.layout_id();
        if layout == own || self.shared.elastic {
            return Ok(());
        }
        self.layout_differs(from);
        Err(Refusal::Layout(own))
    }

    pub(super) fn check_owner(&mut self, key: &Key) -> Result<PartitionId, Refusal> {
        let partition = self.partition(key);
        if self.replica.owns(partition) {
            return Ok(partition);
        }
        self.counters.refused += 1;
        Err(Refusal::NotAnOwner)
    }

    pub(super) fn storage_failed(&mut self, error: StorageError) {
        self.lanes.say(Output::Event(Event::StorageFailed(error)));
    }

    /// What a storage call gave, as an answer to a peer.
    pub(super) fn or_refuse<T>(&mut self, result: Result<T, StorageError>) -> Result<T, Refusal> {
        result.map_err(|error| {
            self.storage_failed(error);
            Refusal::Storage
        })
    }

    /// Answers a client at once: nothing of the state is in it.
    pub(super) fn done(&mut self, ticket: Ticket, reply: Reply) {
        self.count(&reply);
        // To move an answer costs as much as all that is looked at here.
        if self.traces.is_empty() {
            return self.lanes.say(Output::Done(ticket, reply));
        }
        let reply = self.with_trace(ticket, reply);
        self.lanes.say(Output::Done(ticket, reply));
    }

    /// Answers a client with what this node's state has gone into.
    pub(super) fn done_with_state(&mut self, ticket: Ticket, reply: Reply) {
        let done = self.counted(ticket, reply);
        self.lanes.show(done);
    }

    /// The same, where this node's copy must be on its disk before the client hears of it.
    pub(super) fn done_when_synced(&mut self, ticket: Ticket, reply: Reply) {
        let done = self.counted(ticket, reply);
        self.lanes.reveal(done);
    }

    fn counted(&mut self, ticket: Ticket, reply: Reply) -> Output {
        self.count(&reply);
        let reply = if self.traces.is_empty() { reply } else { self.with_trace(ticket, reply) };
        Output::Done(ticket, reply)
    }

    fn count(&mut self, reply: &Reply) {
        match reply {
            Reply::Get(result) => {
                self.counters.gets += 1;
                self.counters.failed += u64::from(result.is_err());
            }
            Reply::Put(result) => {
                self.counters.puts += 1;
                self.counters.failed += u64::from(result.is_err());
            }
            Reply::List(result) => self.counters.failed += u64::from(result.is_err()),
            Reply::Compared(result) => self.counters.failed += u64::from(result.is_err()),
            // It gets its trace afterwards.
            Reply::Traced(reply, _) => self.count(reply),
        }
    }
}
