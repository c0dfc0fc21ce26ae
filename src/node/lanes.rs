//! Two lanes out of a shard, and one barrier: what shows unsynced state waits for the sync.

use std::collections::VecDeque;

use super::Output;
use crate::mutant::{self, Mutant};
use crate::request::Reply;
use crate::storage::Stored;

/// What a shard has to say. What needs no durability may leave at once; the rest is opened by a commit alone.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    ready: VecDeque<Output>,
    held: Vec<Held>,
    /// Something was written since the last sync.
    dirty: bool,
}

/// What waits for a sync.
#[derive(Debug)]
pub(super) enum Held {
    /// Leaves.
    Output(Output),
    /// The coordinator's own copy is durable, as of that round: its operation goes on.
    Local(u64, u32),
}

impl Lanes {
    /// Says something that shows nothing of the state.
    pub(super) fn say(&mut self, output: Output) {
        self.ready.push_back(output);
    }

    /// Says something that shows the state as it is now: it may be unsynced.
    pub(super) fn reveal(&mut self, output: Output) {
        if self.dirty { self.held.push(Held::Output(output)) } else { self.ready.push_back(output) }
    }

    /// Acknowledges a write to its coordinator: it takes the proof that the write was made.
    pub(super) fn acknowledge(&mut self, stored: &Stored, output: Output) {
        self.wrote(stored);
        if mutant::is(Mutant::AcknowledgeUnsynced) {
            return self.say(output);
        }
        self.reveal(output);
    }

    /// Goes on with an operation when its local write is durable. True if it is already.
    pub(super) fn when_durable(&mut self, stored: &Stored, operation: u64, round: u32) -> bool {
        self.wrote(stored);
        if self.dirty {
            self.held.push(Held::Local(operation, round));
        }
        !self.dirty
    }

    /// Notes a write that nobody waits for.
    pub(super) fn wrote(&mut self, stored: &Stored) {
        self.dirty |= stored.wrote();
    }

    /// What may leave, and what waits for a sync.
    pub(super) fn lengths(&self) -> (usize, usize) {
        (self.ready.len(), self.held.len())
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// The sync succeeded: returns what waited for it, in order. Give the list back when it is empty, for its memory.
    pub(super) fn synced(&mut self) -> Vec<Held> {
        self.dirty = false;
        std::mem::take(&mut self.held)
    }

    /// Takes the list back, unless something waits again.
    pub(super) fn reuse(&mut self, empty: Vec<Held>) {
        if self.held.is_empty() {
            self.held = empty;
        }
    }

    /// Says again what had waited, now that it may leave.
    pub(super) fn release(&mut self, output: Output) {
        self.ready.push_back(output);
    }

    /// The sync failed: what was promised by nobody is dropped. Returns the replies among it, whose clients must be
    /// told something else.
    pub(super) fn drop_held(&mut self) -> Vec<Reply2> {
        let held = std::mem::take(&mut self.held);
        let replies = held.into_iter().filter_map(|held| match held {
            Held::Output(Output::Done(ticket, reply)) => Some((ticket, reply)),
            Held::Output(Output::Send(..) | Output::Event(_)) | Held::Local(..) => None,
        });
        replies.collect()
    }

    pub(super) fn poll(&mut self) -> Option<Output> {
        self.ready.pop_front()
    }
}

type Reply2 = (crate::ids::Ticket, Reply);
