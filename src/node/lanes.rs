//! Two lanes out of a shard, and one barrier: what shows unsynced state waits for the sync.

use std::collections::VecDeque;
use std::time::Duration;

use super::Output;
use crate::mutant::{self, Mutant};
use crate::request::Reply;
use crate::storage::Stored;
use crate::time::Time;

/// What a shard has to say. What needs no durability may leave at once; the rest is opened by a commit alone.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    ready: VecDeque<Output>,
    held: Vec<Held>,
    unsynced: Unsynced,
}

/// What was written since the last sync.
#[derive(Clone, Copy, Debug, Default)]
enum Unsynced {
    #[default]
    Nothing,
    /// So many puts that may be shown in answers to clients, though a crash may take them back: since when.
    Buffered(usize, Time),
    /// Something that nobody may hear of before it is synced.
    Hidden,
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

    /// Says something that shows the state as it is now: nobody may hear of what is unsynced.
    pub(super) fn reveal(&mut self, output: Output) {
        if self.is_dirty() { self.held.push(Held::Output(output)) } else { self.ready.push_back(output) }
    }

    /// Says to a client, or to a coordinator for one, what the state is now. It may show puts that a crash takes back, since
    /// their writers have waived the sync.
    pub(super) fn show(&mut self, output: Output) {
        if matches!(self.unsynced, Unsynced::Hidden) {
            self.held.push(Held::Output(output));
        } else {
            self.ready.push_back(output);
        }
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
        let waits = self.is_dirty();
        if waits {
            self.held.push(Held::Local(operation, round));
        }
        !waits
    }

    /// Notes a write that nobody waits for, and that nobody may hear of before it is synced.
    pub(super) fn wrote(&mut self, stored: &Stored) {
        if stored.wrote() {
            self.unsynced = Unsynced::Hidden;
        }
    }

    /// Notes a put whose writer has waived the sync.
    pub(super) fn buffered(&mut self, stored: &Stored, now: Time) {
        if stored.wrote() {
            self.unsynced = match self.unsynced {
                Unsynced::Nothing => Unsynced::Buffered(1, now),
                Unsynced::Buffered(count, since) => Unsynced::Buffered(count + 1, since),
                Unsynced::Hidden => Unsynced::Hidden,
            };
        }
    }

    /// What may leave, and what waits for a sync.
    pub(super) fn lengths(&self) -> (usize, usize) {
        (self.ready.len(), self.held.len())
    }

    /// Whether something is unsynced.
    pub(super) fn is_dirty(&self) -> bool {
        !matches!(self.unsynced, Unsynced::Nothing)
    }

    /// Whether a sync should be made now: something waits for it, or `limit` puts have been buffered, or one for so long.
    pub(super) fn wants_sync(&self, now: Time, flush: Duration, limit: usize) -> bool {
        match self.unsynced {
            Unsynced::Nothing => false,
            Unsynced::Buffered(count, since) => !self.held.is_empty() || count >= limit || now >= since + flush,
            Unsynced::Hidden => true,
        }
    }

    /// When what is buffered must be synced.
    pub(super) fn sync_due(&self, flush: Duration) -> Option<Time> {
        match self.unsynced {
            Unsynced::Buffered(_, since) => Some(since + flush),
            Unsynced::Nothing | Unsynced::Hidden => None,
        }
    }

    /// The sync succeeded: returns what waited for it, in order. Give the list back when it is empty, for its memory.
    pub(super) fn synced(&mut self) -> Vec<Held> {
        self.unsynced = Unsynced::Nothing;
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
