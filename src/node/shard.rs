//! A shard: the data part of a node for its slice of the partitions. Shards share nothing but what never changes.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::admit::Votes;
use super::background::Rounds;
use super::control::Notice;
use super::exchange::{Exchange, Exchanges};
use super::forward::Forwarding;
use super::get::GetOperation;
use super::handoff::{Delivery, Handoff};
use super::lanes::{Held, Lanes};
use super::list::Listing;
use super::measure::Measured;
use super::moves::Moves;
use super::names::Opening;
use super::ops::Operations;
use super::put::PutOperation;
use super::shared::{SHARD_BITS, Shared};
use super::store::{Claim, First, SetBack, claim};
use super::topology::Topology;
use super::{Counters, Event, Output};
use crate::admission::Admission;
use crate::causality::{Entry, HybridClock};
use crate::coordinate::{Order, Roster};
use crate::detector::Detector;
use crate::error::{CompareError, GetError, ListError, OpenError, PutError, StorageError};
use crate::hint::HintStore;
use crate::ids::{LayoutId, NodeId, PartitionId, RequestId, Ticket};
use crate::key::Key;
use crate::message::Message;
use crate::naming::NameStore;
use crate::replica::Replica;
use crate::request::{Reply, Request};
use crate::storage::Storage;
use crate::time::{Now, Time};
use crate::trace::Traces;

/// Anything that a shard waits for.
#[derive(Debug)]
pub(super) enum Operation {
    Get(GetOperation),
    Put(PutOperation),
    Forward(Forwarding),
    List(Listing),
    Delivery(Delivery),
    Exchange(Box<Exchange>),
    Opening(Opening),
}

/// Who is to be told how a write ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ReplyTo {
    /// A client of this node, and when it asked; whether what is stored is no longer what it put, but a merge that it has
    /// not seen; whether no other node has seen its dot.
    Client { ticket: Ticket, asked: Time, merged: bool, first: bool },
    /// A node that forwarded it; whether no other node has seen its dot.
    Peer { node: NodeId, request: RequestId, first: bool },
}

impl ReplyTo {
    /// The client's request.
    pub(super) const fn ticket(self) -> Option<Ticket> {
        match self {
            Self::Client { ticket, .. } => Some(ticket),
            Self::Peer { .. } => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Shard<S> {
    pub(super) shared: Arc<Shared>,
    index: usize,
    pub(super) storage: S,
    pub(super) replica: Replica,
    pub(super) hints: HintStore,
    pub(super) names: NameStore,
    pub(super) topology: Topology,
    pub(super) votes: Votes,
    pub(super) moves: Moves,
    pub(super) peers: Detector,
    pub(super) clock: HybridClock,
    pub(super) operations: Operations<Operation>,
    pub(super) lanes: Lanes,
    pub(super) counters: Counters,
    pub(super) measured: Measured,
    pub(super) traces: Traces<Ticket>,
    pub(super) now: Now,
    pub(super) notices: VecDeque<Notice>,
    pub(super) handoff: Handoff,
    pub(super) handoff_due: Time,
    /// Whom the next batch of hints goes to, if there was not room for all.
    pub(super) handoff_next: NodeId,
    pub(super) rounds: Rounds,
    /// Before this nothing is removed that has expired: it goes in slices, and not for every single version.
    pub(super) expire_from: Time,
    pub(super) exchanges: Exchanges,
    pub(super) admission: Admission,
    /// When records are read on; nothing if none are to be read.
    pub(super) building_due: Option<Time>,
    /// When partitions are looked at for rows that want a name; none while no node was heard in another start.
    pub(super) names_due: Option<Time>,
    /// The partition at which that goes on.
    pub(super) names_next: PartitionId,
    /// Reads that may still be hedged, in hundredths.
    pub(super) hedge_budget: u32,
    /// Why nothing is done any more.
    fenced: Option<StorageError>,
    /// The latest forwarded writes that were refused at the sibling cap: their senders were told that nothing was
    /// written, so a duplicate that arrives when there is room again must not write it.
    pub(super) turned_away: VecDeque<RequestId>,
    /// Scratch, kept for its memory.
    pub(super) orders: Vec<Order>,
    pub(super) asks: Vec<NodeId>,
    pub(super) name: Vec<u8>,
}

impl<S: Storage> Shard<S> {
    pub(super) fn open(shared: Arc<Shared>, index: usize, mut storage: S, now: Now) -> Result<Self, OpenError> {
        let layout = &shared.layout;
        let mut owned: Vec<PartitionId> = (0..layout.partitions())
            .map(PartitionId)
            .filter(|&partition| partition.0 as usize % shared.shards == index && layout.owns(shared.node, partition))
            .collect();
        let first = if shared.founding {
            First::Founding(owned.iter().map(|&partition| (partition, layout.ballot(partition))).collect())
        } else if shared.elastic || layout.n() == 1 {
            // Who is the only owner has nobody to be filled by.
            First::Nothing
        } else {
            First::Lost(owned.clone())
        };
        let set_back = SetBack::of(shared.elastic, layout.n(), &owned);
        let name = claim(
            &mut storage,
            &first,
            &set_back,
            &Claim {
                identity: shared.identity,
                node: shared.node,
                start: shared.actor.start,
                shard: index as u32,
                shards: shared.shards as u32,
                partitions: layout.partitions(),
            },
        )?;
        let store = (!name.founded).then_some(name.store);
        let votes = if shared.elastic {
            let is_own = |partition: PartitionId| partition.0 as usize % shared.shards == index;
            Votes::load(&storage, store, layout.partitions(), is_own)?
        } else {
            Votes::none(store, layout.partitions())
        };
        if shared.elastic {
            owned = votes.partitions().collect();
        }
        let log = shared.limits.dot_log;
        let mut replica = Replica::open(
            &mut storage,
            shared.identity.secret,
            layout,
            owned.iter().copied(),
            log,
            shared.timing.skew,
        )?;
        replica.tell_time(now.wall);
        let building_due =
            (replica.partitions_building().next().is_some() || replica.has_leftovers()).then_some(now.time);
        // What was missed while this node was away is found at once, and asked for a moment later: where others have kept
        // it, it is on its way by then.
        let never = shared.timing.exchange == Duration::MAX;
        let (due, calm) = (if never { Time(u64::MAX) } else { now.time }, now.time + shared.timing.suspect);
        let topology = Topology::new(Arc::clone(layout), shared.minima());
        let exchanges = Exchanges::new(due, calm);
        let hints = HintStore::open(&storage)?;
        let hints_found = hints.targets().map(|(_, count)| count).sum();
        let handoff = Handoff::open(&hints, &topology, now.time);
        let (secret, start) = (shared.identity.secret, shared.actor.start);
        let mut names = NameStore::open(&storage, secret, shared.node, start, replica.partitions())?;
        replica.partitions().for_each(|partition| names.adopt(partition, replica.clock(partition)));
        let mut peers = Detector::new(layout.members().len(), shared.detector(), now.time);
        if let Some(own) = layout.index_of(shared.node) {
            peers.ignore(own);
        }
        let clock = HybridClock::new(shared.timing.skew);
        let mut own = Self {
            index,
            storage,
            replica,
            hints,
            names,
            topology,
            votes,
            moves: Moves::new(),
            peers,
            clock,
            operations: Operations::default(),
            lanes: Lanes::default(),
            counters: Counters { hints_found, ..Counters::default() },
            measured: Measured::default(),
            traces: Traces::new(),
            now,
            notices: VecDeque::new(),
            handoff,
            // Hints of an earlier start are tried at once.
            handoff_due: now.time,
            handoff_next: NodeId(0),
            rounds: Rounds::new(now.time, &shared.timing, owned.len()),
            expire_from: now.time,
            exchanges,
            admission: Admission::new(shared.timing.foreground, now.time),
            building_due,
            names_due: None,
            names_next: PartitionId(0),
            hedge_budget: 100,
            fenced: None,
            turned_away: VecDeque::new(),
            orders: Vec::new(),
            asks: Vec::new(),
            name: Vec::new(),
            shared,
        };
        for partition in own.votes.void().to_vec() {
            own.lanes.say(Output::Event(Event::VoteLost(partition)));
        }
        // Those of dropped copies, too: they refuse what is over.
        let known: BTreeSet<_> = own.replica.partitions().chain(own.votes.partitions()).collect();
        for partition in known {
            own.hear_own(partition, own.shared.node);
            own.live_layouts_changed(partition);
        }
        Ok(own)
    }

    pub(super) fn is_of_this_shard(&self, partition: PartitionId) -> bool {
        partition.0 as usize % self.shared.shards == self.index
    }

    pub(super) fn request(&mut self, now: Now, ticket: Ticket, request: Request) {
        self.set_now(now);
        self.open_trace(ticket, &request);
        let overloaded = self.operations.len() >= self.shared.limits.in_flight;
        match request {
            Request::Get { .. } if self.is_fenced() => self.done(ticket, Reply::Get(Err(GetError::Stopped))),
            Request::Get { .. } if overloaded => self.done(ticket, Reply::Get(Err(GetError::Overloaded))),
            Request::Get { keyspace, key, options } => self.get(ticket, keyspace, &key, &options),
            Request::Put { .. } if self.is_fenced() => self.done(ticket, Reply::Put(Err(PutError::Stopped))),
            Request::Put { .. } if overloaded => self.done(ticket, Reply::Put(Err(PutError::Overloaded))),
            Request::Put { keyspace, key, value, context, options } => {
                self.put(ticket, keyspace, &key, value, context, &options);
            }
            Request::List { .. } if self.is_fenced() => self.done(ticket, Reply::List(Err(ListError::Stopped))),
            Request::List { .. } if overloaded => self.done(ticket, Reply::List(Err(ListError::Overloaded))),
            Request::List { keyspace, cursor, limit } => self.list(ticket, keyspace, cursor, limit),
            Request::Compare { .. } if self.is_fenced() => {
                self.done(ticket, Reply::Compared(Err(CompareError::Stopped)))
            }
            Request::Compare { .. } if overloaded => {
                self.done(ticket, Reply::Compared(Err(CompareError::Overloaded)));
            }
            Request::Compare { partition, with } => self.compare(ticket, partition, with),
        }
    }

    /// One handler per message; `peer` is the sender's index in the layout.
    pub(super) fn message(&mut self, now: Now, from: NodeId, peer: usize, message: Message) {
        self.set_now(now);
        if self.is_fenced() {
            return;
        }
        if let Some(request) = message.asks() {
            self.speaks_in(from, request.start);
        }
        match message {
            Message::Write(ref write) => self.on_write(from, write),
            Message::WriteReply(reply) => self.on_write_reply(from, peer, reply),
            Message::Read(read) => self.on_read(from, &read),
            Message::ReadReply(reply) => self.on_read_reply(from, peer, reply),
            Message::Repair(repair) => self.on_repair(from, &repair),
            Message::Forward(forward) => self.on_forward(from, forward),
            Message::ForwardReply(reply) => self.on_forward_reply(from, reply),
            Message::Hints(hints) => self.on_hints(from, &hints),
            Message::HintsReply(reply) => self.on_hints_reply(from, &reply),
            Message::List(list) => self.on_list(from, &list),
            Message::ListReply(reply) => self.on_list_reply(from, reply),
            Message::Compare(compare) => self.on_compare(from, compare),
            Message::Compared(compared) => self.on_compared(from, &compared),
            Message::Ask(ask) => self.on_ask(from, ask),
            Message::Told(told) => self.on_told(from, told),
            Message::NamesWanted(wanted) => self.on_names_wanted(from, &wanted),
            Message::NamesKnown(known) => self.on_names_known(from, &known),
            Message::Moving(moving) => self.on_moving(from, moving),
            // The control part has answered them; and what says a name was made whole at the door.
            Message::Probe(_)
            | Message::ProbeReply(_)
            | Message::Settled(_)
            | Message::Headed(_)
            | Message::Gossip(_)
            | Message::LayoutWanted(_)
            | Message::LayoutGiven(_) => {}
        }
    }

    /// Time has passed.
    pub(super) fn wake(&mut self, now: Now) {
        self.set_now(now);
        if self.is_fenced() {
            return;
        }
        while let Some(number) = self.operations.pop_due(now.time) {
            match self.operations.get_mut(number) {
                Some(Operation::Get(_)) => self.get_due(number),
                Some(Operation::Put(_)) => self.put_due(number),
                Some(Operation::Forward(_)) => self.forward_due(number),
                Some(Operation::List(_)) => self.list_due(number),
                Some(Operation::Delivery(_)) => self.delivery_due(number),
                Some(Operation::Exchange(_)) => self.exchange_due(number),
                Some(Operation::Opening(_)) => self.opening_due(number),
                None => {}
            }
        }
        if now.time >= self.handoff_due {
            self.handoff();
        }
        if self.peers.deadline().is_some_and(|due| now.time >= due) {
            let woken = self.peers.wake(now.time);
            woken.suspected.into_iter().for_each(|peer| self.suspects(peer));
            for peer in woken.probe {
                self.peers.asked(peer, now.time);
                self.notices.push_back(Notice::Doubted(self.topology.directory.node(peer)));
            }
        }
        if self.moves.due.is_some_and(|due| now.time >= due) {
            self.move_on();
        }
        if self.names_due.is_some_and(|due| now.time >= due) {
            self.tend_names();
        }
        if now.time >= self.rounds.sweep_due {
            self.sweep();
        }
        if self.expire_due().is_some_and(|due| now.time >= due) {
            self.expire();
        }
        if now.time >= self.exchanges.due {
            self.exchange_round();
        }
        if now.time >= self.rounds.scrub_due {
            self.scrub();
        }
        if self.building_due.is_some_and(|due| now.time >= due) {
            self.build_digests();
        }
    }

    /// A peer has answered something.
    ///
    /// What it says of itself proves nothing: a node that can be heard but not reached would be asked for ever.
    pub(super) fn heard(&mut self, peer: usize, now: Now) {
        // If this node stood still until now, that was not the peer's silence.
        self.peers.step(now.time);
        if self.peers.heard(peer, now.time) {
            self.set_now(now);
            let node = self.topology.directory.node(peer);
            self.notices.push_back(Notice::Recovered(node));
            self.lanes.say(Output::Event(Event::Recovered(node)));
            // What is kept for it goes home at the next wake-up, which is due at once.
            self.handoff_due = now.time;
            // What it was not told meanwhile it is told then.
            self.names_due.get_or_insert(now.time + self.shared.timing.sweep);
        }
    }

    /// Looks whether a peer has been silent for too long.
    pub(super) fn check(&mut self, node: NodeId) {
        let Some(peer) = self.topology.directory.index_of(node).filter(|_| node != self.shared.node) else { return };
        if self.peers.judge(peer, self.now.time) {
            self.suspects(peer);
        }
    }

    fn suspects(&mut self, peer: usize) {
        let node = self.topology.directory.node(peer);
        self.notices.push_back(Notice::Suspected(node));
        self.lanes.say(Output::Event(Event::Suspected(node)));
    }

    pub(super) fn set_now(&mut self, now: Now) {
        self.now = now;
        self.peers.step(now.time);
        self.replica.tell_time(now.wall);
    }

    pub(super) fn commit(&mut self) -> Result<(), StorageError> {
        if self.is_fenced() {
            return Err(StorageError::Fenced);
        }
        // What a commit releases may write again (a merge at the cap): such writes wait for the next one.
        if !self.lanes.is_dirty() {
            return Ok(());
        }
        if let Err(error) = self.storage.sync() {
            self.fence(&error);
            return Err(error);
        }
        self.counters.commits += 1;
        self.names.synced();
        let mut synced = self.lanes.synced();
        for held in synced.drain(..) {
            match held {
                Held::Output(output) => self.lanes.release(output),
                Held::Local(number, round) => self.put_is_durable(number, round),
            }
        }
        self.lanes.reuse(synced);
        Ok(())
    }

    /// A sync failed: what was written may be lost or not, so nothing is said of it, and nothing more is done.
    pub(super) fn fence(&mut self, error: &StorageError) {
        if self.is_fenced() {
            return;
        }
        self.fenced = Some(error.clone());
        for (ticket, reply) in self.lanes.drop_held() {
            self.lanes.release(Output::Done(ticket, Self::stopped(reply)));
        }
        self.handoff.running.clear();
        self.exchanges.clear();
        for operation in self.operations.drain() {
            let reply = match operation {
                Operation::Get(get) => get.abandoned(),
                Operation::Put(put) => put.abandoned(),
                Operation::Forward(forward) => Some(forward.abandoned()),
                Operation::List(list) => Some(list.abandoned()),
                Operation::Exchange(exchange) => exchange.abandoned(),
                Operation::Delivery(_) => None,
                Operation::Opening(opening) => Some(opening.abandoned()),
            };
            if let Some((ticket, reply)) = reply {
                let reply = self.with_trace(ticket, reply);
                self.lanes.release(Output::Done(ticket, reply));
            }
        }
        self.lanes.release(Output::Event(Event::Fenced(error.clone())));
    }

    pub(super) fn poll(&mut self) -> Option<Output> {
        match self.lanes.poll()? {
            Output::Send(to, message) if to != self.shared.node => Some(Output::Send(to, self.shortened(to, message))),
            output => Some(output),
        }
    }

    pub(super) fn wants_commit(&self) -> bool {
        let (flush, limit) = (self.shared.timing.flush, self.shared.limits.buffered);
        self.lanes.wants_sync(self.now.time, flush, limit) && !self.is_fenced()
    }

    pub(super) const fn is_fenced(&self) -> bool {
        self.fenced.is_some()
    }

    pub(super) const fn fenced(&self) -> Option<&StorageError> {
        self.fenced.as_ref()
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        if self.is_fenced() {
            return None;
        }
        let handoff = self.hints.targets().next().map(|_| self.handoff_due);
        let sweep = (self.replica.unsettled() > 0).then_some(self.rounds.sweep_due);
        let exchange = (!self.exchanges.peers.is_empty()).then_some(self.exchanges.due);
        let all = [
            self.operations.deadline(),
            handoff,
            sweep,
            self.peers.deadline(),
            exchange,
            self.building_due,
            self.names_due,
            self.moves.due,
            self.expire_due(),
            Some(self.rounds.scrub_due),
            // Once it is due it is for a commit, and no wake-up helps.
            self.lanes.sync_due(self.shared.timing.flush).filter(|due| *due > self.now.time),
        ];
        // What is never due needs no timer.
        all.into_iter().flatten().min().filter(|due| due.0 < u64::MAX)
    }

    pub(super) fn notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    pub(super) fn counters(&self) -> Counters {
        Counters {
            hints_pending: self.hints.targets().map(|(_, count)| count).sum(),
            unsettled: self.replica.unsettled(),
            ..self.counters
        }
    }

    /// Requests alone: they have deadlines, where a delivery of hints goes on for as long as its target refuses.
    pub(super) fn in_flight(&self) -> usize {
        self.operations.len() - self.handoff.running.len() - self.exchanges.running()
    }

    pub(super) fn storage(&self) -> &S {
        &self.storage
    }

    #[cfg(feature = "sim")]
    pub(super) const fn storage_mut(&mut self) -> &mut S {
        &mut self.storage
    }

    pub(super) fn into_storage(self) -> S {
        self.storage
    }

    pub(super) fn inspect(&self, partition: PartitionId, key: &Key) -> Result<Option<Vec<Entry>>, StorageError> {
        if !self.replica.owns(partition) {
            return Ok(None);
        }
        let (record, _) = self.replica.read(&self.storage, partition, key, &mut Vec::new())?;
        Ok(Some(record.live))
    }

    pub(super) fn roster(&self, partition: PartitionId) -> Roster<'_> {
        self.shared.roster(self.topology.live(partition), &self.topology.directory, &self.peers)
    }

    pub(super) fn partition(&self, key: &Key) -> PartitionId {
        self.shared.layout.partition_of(key.position())
    }

    pub(super) fn layout_id(&self) -> LayoutId {
        self.shared.layout.id()
    }

    /// The name under which a peer answers to an operation.
    pub(super) fn request_id(&self, number: u64) -> RequestId {
        RequestId { start: self.shared.actor.start, number: number << SHARD_BITS | self.index as u64 }
    }

    /// The operation that a reply is for, unless it answers an earlier start.
    pub(super) fn operation_number(&self, request: RequestId) -> Option<u64> {
        (request.start == self.shared.actor.start).then_some(request.number >> SHARD_BITS)
    }

    /// Sends a message that wants an answer.
    pub(super) fn ask(&mut self, node: NodeId, message: Message) {
        // Another shard of this node always answers.
        if let Some(peer) = self.topology.directory.index_of(node).filter(|_| node != self.shared.node) {
            self.peers.asked(peer, self.now.time);
        }
        self.lanes.say(Output::Send(node, message));
    }

    /// As [`Shard::ask`], where the question itself shows the state.
    pub(super) fn ask_with_state(&mut self, node: NodeId, message: Message) {
        if let Some(peer) = self.topology.directory.index_of(node) {
            self.peers.asked(peer, self.now.time);
        }
        self.lanes.reveal(Output::Send(node, message));
    }

    pub(super) fn is_suspected(&self, node: NodeId) -> bool {
        self.topology.directory.index_of(node).is_some_and(|peer| self.peers.is_suspected(peer))
    }
}
