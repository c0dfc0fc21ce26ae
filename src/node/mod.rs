//! A node: the composition of control part and shards, and the guarantee about acknowledgements.
//!
//! A node reads no clock, starts no thread and touches no network. A host feeds it and empties it:
//!
//! ```text
//! for (now, input) in inbox.drain(..) { node.step(now, input) }
//! while let Some(output) = node.poll() { … }    // what needn't wait for the disk
//! if node.wants_commit() { node.commit()? }     // one sync for all steps since the last
//! while let Some(output) = node.poll() { … }    // acknowledgements
//! ```
//! An acknowledgement that promises durability leaves only after a commit. A host that forgets a call loses time,
//! never a write that was acknowledged as durable.

mod account;
mod acts;
mod admit;
mod ages;
mod agreed;
mod answer;
mod background;
mod cap;
mod contents;
mod control;
mod event;
mod exchange;
mod explain;
mod forward;
mod get;
mod handoff;
mod headed;
mod kept;
mod lanes;
mod lease;
mod list;
mod loss;
mod measure;
mod membership;
mod moves;
mod names;
mod ops;
mod plan;
mod put;
mod serve;
mod settle;
mod setup;
mod shard;
mod shared;
mod status;
mod store;
mod tell;
mod topology;

pub use crate::status::Counters;
pub use event::Event;
pub use explain::{Coming, Going, Kept, Route, Waiting};
pub use setup::{Keyspace, Setup};

use std::collections::VecDeque;
use std::sync::Arc;

use crate::causality::{Context, Entry};
use crate::error::{ContextError, OpenError, StorageError};
use crate::ids::{KeyspaceId, NodeId, PartitionId, Start, StoreId, Ticket};
use crate::key::Key;
use crate::message::{Compare, Hints, Message};
use crate::request::{Reply, Request};
use crate::ring::Layout;
use crate::status::{Agreement, Backlog, Debt, HintMark};
use crate::storage::Storage;
use crate::time::{Now, Time};
use control::Control;
use membership::Members;
use shard::Shard;
use shared::Shared;

/// What comes into a node.
#[derive(Clone, Debug)]
pub enum Input {
    /// A client's request; the ticket comes back with its reply.
    Request(Ticket, Request),
    /// A message from the peer that the transport has authenticated.
    Message(NodeId, Message),
    /// Time has passed: the deadline is reached, or the host just looks in.
    Wake,
}

/// What goes out of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Output {
    /// Send this to a peer.
    Send(NodeId, Message),
    /// A client's request is done.
    Done(Ticket, Reply),
    /// Something happened that an operator may want to know.
    Event(Event),
}

/// A node of the cluster, as pure logic.
#[derive(Debug)]
pub struct Node<S> {
    control: Control,
    shards: Vec<Shard<S>>,
    shared: Arc<Shared>,
    control_out: Vec<Output>,
    /// What the membership has to say, in order.
    membership_out: VecDeque<Output>,
    /// Messages of nodes that speak no version of the protocol that this one speaks, or that there was no room to know.
    strangers_refused: u64,
    held: headed::Held,
    settling: settle::Settling,
    now: Now,
    opened: Time,
}

impl<S: Storage> Node<S> {
    /// Opens a node over one storage per shard; an empty storage is given to this node and shard for good.
    ///
    /// `start` must be fresh random bits of the operating system at every call (see [`Start`]). `seed` decides the jitter of
    /// probes, whom gossip asks, and nothing else.
    ///
    /// # Errors
    /// [`OpenError`] for settings that don't go together, a storage that fails, is damaged, or belongs to another
    /// node. Nothing was changed.
    pub fn open(setup: Setup, storages: Vec<S>, start: Start, seed: u64, now: Now) -> Result<Self, OpenError> {
        setup.validate()?;
        let introduce = setup.membership.clone();
        let shared = Arc::new(Shared::new(setup, start, storages.len())?);
        let mut shards = Vec::with_capacity(storages.len());
        for (index, storage) in storages.into_iter().enumerate() {
            shards.push(Shard::open(Arc::clone(&shared), index, storage, now)?);
        }
        let first = &shards[0];
        let store = first.votes.store.unwrap_or(topology::FOUNDED);
        let members = Members::open(&shared, introduce, first.storage(), store, seed, now.time)?;
        let control = Control::new(start, seed, shared.timing.probe, members);
        let mut node = Self {
            control,
            shards,
            shared,
            control_out: Vec::new(),
            membership_out: VecDeque::new(),
            strangers_refused: 0,
            held: headed::Held::default(),
            settling: settle::Settling::default(),
            now,
            opened: now.time,
        };
        node.control.report(&mut |output| node.membership_out.push_back(output));
        node.hand_on_membership();
        Ok(node)
    }

    /// Takes an input. Never waits for a disk cache to be flushed, never fails, and never panics on what a peer sent.
    pub fn step(&mut self, now: Now, input: Input) {
        self.now = now;
        match input {
            Input::Request(ticket, request) => {
                let shard = self.shard_of_request(&request);
                self.shards[shard].request(now, ticket, request);
            }
            Input::Message(from, message) => self.message(now, from, message),
            Input::Wake => {
                for shard in &mut self.shards {
                    shard.wake(now);
                }
                let out = &mut self.control_out;
                self.control.wake(now.time, &mut |output| out.push(output));
                self.settle();
            }
        }
        self.exchange_notices();
        self.tend_membership();
    }

    fn message(&mut self, now: Now, from: NodeId, message: Message) {
        if from == self.shared.node {
            return;
        }
        if !message.is_for_anybody() && self.index_of(from).is_none() {
            // A client; or it has left before this node came, and has something left to hand over.
            self.shards.iter_mut().for_each(|shard| shard.meet(now, from));
        }
        let peer = self.index_of(from);
        if let Some(peer) = peer
            && message.is_answer()
        {
            for shard in &mut self.shards {
                shard.heard(peer, now);
            }
        } else {
            // It can be heard, so it is worth asking whether it can be reached.
            self.control.hurry(from, now.time);
        }
        if message.is_for_anybody() {
            return self.of_anybody(now, from, message);
        }
        let Some(peer) = peer.filter(|_| !self.control.is_foreign(from)) else {
            self.strangers_refused += 1;
            return;
        };
        match message {
            Message::Headed(headed) => self.headed(now, from, peer, headed),
            Message::NamesKnown(known) => {
                let (partition, before) = (known.partition, self.count_names(known.partition));
                self.route(now, from, peer, Message::NamesKnown(known));
                if self.count_names(partition) > before {
                    self.open_held(now, from, partition);
                }
            }
            whole => self.route(now, from, peer, whole),
        }
    }

    fn route(&mut self, now: Now, from: NodeId, peer: usize, message: Message) {
        match message {
            Message::ProbeReply(_) => {}
            Message::Settled(settled) => self.on_settled(from, settled),
            Message::Hints(hints) if self.shards.len() > 1 => self.scatter(now, from, peer, hints),
            Message::Compare(compare) if self.shards.len() > 1 => self.scatter_marks(now, from, peer, compare),
            data => {
                let shard = self.shard_of_message(&data);
                if let Some(shard) = self.shards.get_mut(shard) {
                    shard.message(now, from, peer, data);
                }
            }
        }
    }

    /// A batch of hints holds what one shard of the sender keeps; here it may belong to several.
    fn scatter(&mut self, now: Now, from: NodeId, peer: usize, hints: Hints) {
        let mut parts: Vec<Vec<_>> = vec![Vec::new(); self.shards.len()];
        for item in hints.items {
            parts[self.shard_of(self.shared.layout.partition_of(item.key.position()))].push(item);
        }
        for (shard, items) in parts.into_iter().enumerate() {
            // To the shards that get nothing the last batch says that they may be filled by another.
            if !items.is_empty() || hints.last {
                let part = Hints { request: hints.request, layout: hints.layout, items, last: hints.last };
                self.shards[shard].message(now, from, peer, Message::Hints(part));
            }
        }
    }

    /// Nor do the shards of another node cut the partitions as these do.
    fn scatter_marks(&mut self, now: Now, from: NodeId, peer: usize, compare: Compare) {
        let mut parts: Vec<Vec<_>> = vec![Vec::new(); self.shards.len()];
        for mark in compare.marks {
            parts[self.shard_of(mark.partition)].push(mark);
        }
        for (shard, marks) in parts.into_iter().enumerate() {
            if !marks.is_empty() {
                let part = Compare { request: compare.request, layout: compare.layout, marks };
                self.shards[shard].message(now, from, peer, Message::Compare(part));
            }
        }
    }

    /// A peer's number, which is the same in all shards: they learn layouts in one order.
    fn index_of(&self, node: NodeId) -> Option<usize> {
        self.shards.first().and_then(|shard| shard.topology.directory.index_of(node))
    }

    fn shard_of(&self, partition: PartitionId) -> usize {
        match self.shards.len() {
            1 => 0,
            count => partition.0 as usize % count,
        }
    }

    fn shard_of_request(&self, request: &Request) -> usize {
        if self.shards.len() == 1 {
            return 0;
        }
        match request {
            Request::Get { keyspace, key, .. } | Request::Put { keyspace, key, .. } => {
                let key = Key::new(&self.shared.identity.secret, *keyspace, key);
                self.shard_of(self.shared.layout.partition_of(key.position()))
            }
            Request::List { cursor, .. } => self.shard_of(PartitionId(cursor.partition)),
            Request::Compare { partition, .. } => self.shard_of(*partition),
        }
    }

    fn shard_of_message(&self, message: &Message) -> usize {
        let at = |key: &Key| self.shard_of(self.shared.layout.partition_of(key.position()));
        match message {
            Message::Write(write) => at(&write.key),
            Message::Read(read) => at(&read.key),
            Message::Repair(repair) => at(&repair.key),
            Message::Forward(forward) => at(&forward.key),
            Message::List(list) => self.shard_of(list.partition),
            Message::Hints(hints) => hints.items.first().map_or(0, |item| at(&item.key)),
            Message::WriteReply(reply) => Shared::shard_of_number(reply.request.number),
            Message::ReadReply(reply) => Shared::shard_of_number(reply.request.number),
            Message::ForwardReply(reply) => Shared::shard_of_number(reply.request.number),
            Message::HintsReply(reply) => Shared::shard_of_number(reply.request.number),
            Message::ListReply(reply) => Shared::shard_of_number(reply.request.number),
            Message::Compare(compare) => compare.marks.first().map_or(0, |mark| self.shard_of(mark.partition)),
            Message::Compared(reply) => Shared::shard_of_number(reply.request.number),
            Message::Ask(ask) => self.shard_of(ask.partition),
            Message::Told(told) => Shared::shard_of_number(told.request.number),
            Message::NamesWanted(wanted) => self.shard_of(wanted.partition),
            Message::NamesKnown(known) => self.shard_of(known.partition),
            Message::Moving(moving) => self.shard_of(moving.partition),
            // What comes in has been made whole, and from shard to shard nothing is said by name.
            Message::Headed(_)
            | Message::Probe(_)
            | Message::ProbeReply(_)
            | Message::Settled(_)
            | Message::Gossip(_)
            | Message::LayoutWanted(_)
            | Message::LayoutGiven(_) => 0,
        }
    }

    /// Makes every write since the last commit durable, in one sync per shard, and releases what waited for it.
    ///
    /// # Errors
    /// [`StorageError`] of the first shard whose sync failed. The node is fenced: it acknowledges and answers nothing
    /// any more, and its clients are told so. What it had written may or may not survive.
    pub fn commit(&mut self) -> Result<(), StorageError> {
        let mut result = Ok(());
        for shard in &mut self.shards {
            result = result.and(shard.commit());
        }
        if let Err(error) = &result {
            // The other shards stand on the same machine, and peers can't tell which of them still serves.
            for shard in &mut self.shards {
                shard.fence(error);
            }
        }
        self.exchange_notices();
        result
    }

    /// The next output that may leave now.
    pub fn poll(&mut self) -> Option<Output> {
        loop {
            match self.shards.iter_mut().find_map(Shard::poll) {
                // One shard asks another: by message, like a peer, for they share nothing.
                Some(Output::Send(to, message)) if to == self.shared.node => {
                    let peer = self.index_of(to).unwrap_or_default();
                    self.route(self.now, to, peer, message);
                }
                Some(output) => return Some(output),
                None => return self.control_out.pop().or_else(|| self.membership_out.pop_front()),
            }
        }
    }

    /// How many requests, its own and others', are in progress. Each has a deadline. Hints on their way home have none
    /// and are not counted.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shards.iter().map(Shard::in_flight).sum()
    }

    /// Whether a sync has failed: the node serves nothing any more, until it is opened anew.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.shards.iter().any(Shard::is_fenced)
    }

    /// Whether [`Node::commit`] should be called: something waits for it, or what is in memory alone has been there for
    /// long enough ([`Timing::flush`](crate::config::Timing::flush)).
    #[must_use]
    pub fn wants_commit(&self) -> bool {
        self.shards.iter().any(Shard::wants_commit)
    }

    /// When [`Input::Wake`] is due. A later wake-up costs time, a needless one does nothing.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let membership = self.control.membership_deadline().filter(|_| !self.is_fenced());
        let shards = self.shards.iter().filter_map(Shard::deadline);
        shards.chain(self.control.deadline()).chain(self.settling.deadline()).chain(membership).min()
    }

    /// Opens a sealed context that a client brought back for this key.
    ///
    /// # Errors
    /// [`ContextError`] if it is garbled, forged, or of another key or cluster. Nothing was changed.
    pub fn context(&self, keyspace: KeyspaceId, key: &[u8], bytes: &[u8]) -> Result<Context, ContextError> {
        let key = Key::new(&self.shared.identity.secret, keyspace, key);
        let partition = self.shared.layout.partition_of(key.position());
        self.shards[self.shard_of(partition)].open_context(&key, bytes)
    }

    /// What it has done.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for shard in &self.shards {
            sum.add(&shard.counters());
        }
        sum.refused += self.strangers_refused;
        sum.layouts_refused = self.control.layouts_refused();
        sum
    }

    /// The layout that it knows to be decided in all partitions. In some a later one may be.
    #[must_use]
    pub fn layout(&self) -> &Arc<Layout> {
        self.shards.first().map_or(&self.shared.layout, |shard| shard.topology.base())
    }

    /// The latest layout that it knows: the one that partitions go for.
    #[must_use]
    pub fn latest(&self) -> &Arc<Layout> {
        self.shards.first().map_or(&self.shared.layout, |shard| shard.topology.latest())
    }

    /// The peers that don't answer it, in order.
    #[must_use]
    pub fn suspects(&self) -> Vec<NodeId> {
        self.control.suspects().collect()
    }

    /// For how many writes it holds hints, by target.
    #[must_use]
    pub fn hints(&self) -> Vec<(NodeId, u64)> {
        let mut sum = std::collections::BTreeMap::new();
        for (target, count) in self.shards.iter().flat_map(Shard::hints) {
            *sum.entry(target).or_insert(0) += count;
        }
        sum.into_iter().collect()
    }

    /// Marks the hints that it holds now, for [`Node::hints_settled`].
    #[must_use]
    pub fn hint_mark(&self) -> HintMark {
        HintMark { start: self.shared.actor.start, next: self.shards.iter().map(Shard::hint_mark).collect() }
    }

    /// Whether all hints that it held when the mark was taken are home. What was joined into one since must have arrived
    /// with it. A mark of another start says nothing of what is held now: then whether it holds no hints at all.
    ///
    /// A hint that was dropped because the disk had garbled it ([`Counters::hints_dropped`]) isn't waited for.
    #[must_use]
    pub fn hints_settled(&self, mark: &HintMark) -> bool {
        if mark.start != self.shared.actor.start {
            return self.hints().is_empty();
        }
        self.shards.iter().zip(&mark.next).all(|(shard, &next)| shard.hints_settled(next))
    }

    /// What is not known to be at all its owners. Empty at every node: the cluster is healed.
    #[must_use]
    pub fn debt(&self) -> Vec<Debt> {
        let mut hints = std::collections::BTreeMap::new();
        let mut debt = Vec::new();
        for one in self.shards.iter().flat_map(Shard::debt) {
            match one {
                Debt::Hints { target, count } => *hints.entry(target).or_insert(0) += count,
                other => debt.push(other),
            }
        }
        debt.extend(hints.into_iter().map(|(target, count)| Debt::Hints { target, count }));
        debt.sort_unstable();
        debt
    }

    /// What background work it has left.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        let mut sum = Backlog::default();
        for one in self.shards.iter().map(Shard::backlog) {
            sum.hints += one.hints;
            sum.exchanges += one.exchanges;
            sum.records_to_read += one.records_to_read;
            sum.unsettled += one.unsettled;
        }
        sum
    }

    /// How far it and the other owners of its partitions have become equal, as far as it knows.
    #[must_use]
    pub fn agreements(&self) -> Vec<(PartitionId, NodeId, Agreement)> {
        let all = self.shards.iter().flat_map(Shard::agreements);
        let mut all: Vec<_> = all.map(|(&(partition, peer), &agreement)| (partition, peer, agreement)).collect();
        all.sort_unstable_by_key(|(partition, peer, _)| (*partition, *peer));
        all
    }

    /// By which store a layout must name this node, if it is not the one that the node was founded with:
    /// [`Member::store`](crate::ring::Member::store).
    #[must_use]
    pub fn store(&self) -> Option<StoreId> {
        self.shards.first().and_then(|shard| shard.votes.store)
    }

    /// In which of its starts it is.
    #[must_use]
    pub fn start(&self) -> Start {
        self.shared.actor.start
    }

    /// Whether it knows a layout to be decided in all partitions that it owns by it or has a copy of, and has neither a
    /// copy left to fill for it, nor one to drop.
    #[must_use]
    pub fn has_changed_to(&self, layout: &Layout) -> bool {
        self.shards.iter().all(|shard| shard.has_changed_to(layout))
    }

    /// The storages, shard by shard.
    pub fn storages(&self) -> impl Iterator<Item = &S> {
        self.shards.iter().map(Shard::storage)
    }

    /// The storages, to meddle with behind the node's back: for simulated damage.
    #[cfg(feature = "sim")]
    pub(crate) fn storages_mut(&mut self) -> impl Iterator<Item = &mut S> {
        self.shards.iter_mut().map(Shard::storage_mut)
    }

    /// Ends the node and gives its storages back. What was not committed was not acknowledged as durable; a host that stops
    /// in good order commits before, whatever [`Node::wants_commit`] says.
    #[must_use]
    pub fn into_storages(self) -> Vec<S> {
        self.shards.into_iter().map(Shard::into_storage).collect()
    }

    /// The versions that this node's storage holds of a key, if it owns it: for tests and inspection.
    ///
    /// # Errors
    /// [`StorageError`] if the storage failed.
    pub fn inspect(&self, keyspace: KeyspaceId, key: &[u8]) -> Result<Option<Vec<Entry>>, StorageError> {
        let key = Key::new(&self.shared.identity.secret, keyspace, key);
        let partition = self.shared.layout.partition_of(key.position());
        self.shards[self.shard_of(partition)].inspect(partition, &key)
    }
}

#[cfg(test)]
mod tests;
