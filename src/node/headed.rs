//! The door for names: on the way out a message says the old part of its sets of dots by a name, on the way in it is
//! made whole before anything else looks at it.
//!
//! ```text
//! A -> B   a name that B has said to hold, and the rest
//! B        whole again: goes on. Unknown (B has lost its disk since, and A not heard of it): the message waits
//! B -> A   NamesWanted {name}      by the start in it A knows that B holds nothing: dots, until B says again
//! A -> B   NamesKnown {definitions}
//! B        whole now: goes on, as if it had been that long on its way
//! ```
//!
//! What waits is as good as on its way, so nothing is answered, joined or counted before it is whole (N3). To drop it
//! would be as safe, but its sender asks each replica once: one message lost without any loss on the network, and a
//! strict read of N = R fails.

use std::collections::VecDeque;

use super::shard::Shard;
use super::{Node, ops};
use crate::dots::DotSet;
use crate::ids::{NodeId, PartitionId, Start};
use crate::message::{Headed, Message, Whose};
use crate::mutant::{self, Mutant};
use crate::names::{Name, Named, Unknown};
use crate::ring::Layout;
use crate::storage::Storage;
use crate::time::{Now, Time};

fn partition_of(layout: &Layout, whose: Whose<'_>) -> PartitionId {
    match whose {
        Whose::Key(key) => layout.partition_of(key.position()),
        Whose::Partition(partition) => partition,
    }
}

/// Most messages that wait for names at one node. It takes a node without its disk whose peers have not heard of that.
const HELD: usize = 16;

/// Messages whose names are not known yet.
#[derive(Debug, Default)]
pub(super) struct Held(VecDeque<Waiting>);

#[derive(Debug)]
struct Waiting {
    from: NodeId,
    peer: usize,
    /// When it is of no use any more.
    until: Time,
    lacks: Lacking,
    message: Headed,
}

/// A name that is not known.
type Lacking = (PartitionId, Name);

impl Held {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn keep(&mut self, waiting: Waiting) {
        if self.0.len() == HELD {
            self.0.pop_front();
        }
        self.0.push_back(waiting);
    }
}

impl<S: Storage> Node<S> {
    /// Goes on with the message that a headed one stands for, or keeps it until that can be told.
    pub(super) fn headed(&mut self, now: Now, from: NodeId, peer: usize, message: Headed) {
        if let Err((lacks, message)) = self.open_headed(now, from, peer, message) {
            self.ask_for(now, from, lacks);
            let until = now.time + self.shared.timing.deadline;
            self.held.keep(Waiting { from, peer, until, lacks, message });
        }
    }

    /// New names of a partition have been told: goes on with what waited for them. The rest waits on.
    pub(super) fn open_held(&mut self, now: Now, teller: NodeId, partition: PartitionId) {
        for waiting in std::mem::take(&mut self.held.0) {
            let Waiting { from, peer, until, message, .. } = waiting;
            if until > now.time
                && let Err((lacks, message)) = self.open_headed(now, from, peer, message)
            {
                self.held.0.push_back(Waiting { from, peer, until, lacks, message });
            }
        }
        // It may not have told all at once. One question for an answer: were it one for each message, they would breed.
        let lacks = self.held.0.iter().find(|waiting| waiting.from == teller && waiting.lacks.0 == partition);
        if let Some(&Waiting { lacks, .. }) = lacks {
            self.ask_for(now, teller, lacks);
        }
    }

    fn ask_for(&mut self, now: Now, teller: NodeId, (partition, name): Lacking) {
        let shard = self.shard_of(partition);
        self.shards[shard].lacks_name(now, teller, partition, name);
    }

    /// How many names are known of a partition.
    pub(super) fn count_names(&self, partition: PartitionId) -> usize {
        self.shards[self.shard_of(partition)].names.count(partition)
    }

    fn open_headed(&mut self, now: Now, from: NodeId, peer: usize, message: Headed) -> Result<(), (Lacking, Headed)> {
        let mut said = Vec::new();
        let whole = |whose: Whose<'_>, name, rest: &_| {
            let partition = partition_of(&self.shared.layout, whose);
            let named = Named { head: Some(name), rest: DotSet::clone(rest) };
            said.push((partition, name));
            match self.shards[self.shard_of(partition)].names.whole(partition, &named) {
                Err(Unknown(_)) if mutant::is(Mutant::UnknownIsEmpty) => Ok(named.rest),
                whole => whole.map_err(|Unknown(name)| (partition, name)),
            }
        };
        let message = message.open(whole)?;
        if message.check().is_ok() {
            let start = message.asks().map(|request| request.start);
            for (partition, name) in said {
                let shard = self.shard_of(partition);
                self.shards[shard].hears_name(now, from, start, partition, name);
            }
            self.route(now, from, peer, message);
        } else {
            let shard = self.shard_of_message(&message);
            if let Some(shard) = self.shards.get_mut(shard) {
                shard.counters.refused += 1;
            }
        }
        Ok(())
    }
}

impl<S: Storage> Shard<S> {
    /// Who says a name knows it.
    fn hears_name(&mut self, now: Now, from: NodeId, start: Option<Start>, partition: PartitionId, name: Name) {
        self.set_now(now);
        if let Some(start) = start {
            self.speaks_in(from, start);
        }
        self.names.holds(partition, from, &[name]);
    }

    fn lacks_name(&mut self, now: Now, from: NodeId, partition: PartitionId, name: Name) {
        self.set_now(now);
        if !self.is_fenced() {
            self.counters.unnamed += 1;
            self.ask_for_names(from, ops::NOBODY, partition, vec![name]);
        }
    }

    /// The message as it leaves for a node.
    pub(super) fn shortened(&mut self, to: NodeId, message: Message) -> Message {
        if self.names.is_empty() {
            return message;
        }
        let (names, layout, topology) = (&self.names, &self.shared.layout, &self.topology);
        let mut wonder = None;
        let message = message.headed(|whose, set| {
            let partition = partition_of(layout, whose);
            let said = names.say_to(partition, set, to);
            // Owners tell each other what they hold; who owns nothing is asked when there is something to spare.
            let owners = || topology.is_owner(to, partition) && self.replica.owns(partition);
            if said.is_none() && names.could_say(partition, set) && !owners() {
                wonder = Some(partition);
            }
            said
        });
        if let Some(partition) = wonder
            && self.names.wonder(partition, to, self.now.time, self.shared.timing.sweep)
        {
            self.ask_for_names(to, ops::NOBODY, partition, Vec::new());
        }
        message
    }
}
