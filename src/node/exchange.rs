//! Exchanges: how two owners of a partition become equal without anybody reading or writing (Dynamo §4.7).
//!
//! In rounds each owner tells the others its partitions' marks: a hash of the clock and the root of the digest tree. Where
//! the clocks differ it asks for what its own lacks; where that can't be told any more, or a root is wrong, a full
//! exchange over the trees finds the keys. All that is remembered of an exchange is with the asker.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::moves::MoveExchange;
use super::shard::{Operation, Shard};
use super::{Event, Output};
use crate::admission::Work;
use crate::causality::value_bytes;
use crate::dots::DotSet;
use crate::error::CompareError;
use crate::exchange::{FullExchange, Mistaken};
use crate::ids::{NodeId, PartitionId, Start, Ticket};
use crate::message::{
    Answer, Ask, Compare, Compared, Item, Message, Page, Question, Records, Repair, Standing, Surveyed, Told,
};
use crate::mutant::{self, Mutant};
use crate::request::Reply;
use crate::status::Agreement;
use crate::storage::Storage;
use crate::time::Time;

/// An exchange whose asker this node is.
#[derive(Debug)]
pub(super) struct Exchange {
    peer: NodeId,
    partition: PartitionId,
    /// Which life of the own partition began it: another has another clock.
    losses: u32,
    step: u32,
    question: Question,
    /// How often the question has been sent.
    sent: u8,
    full: Option<Box<FullExchange>>,
    /// A client only wants to know what differs: nothing is moved.
    preview: Option<Ticket>,
    /// It is a part of the partition's change of hands.
    purpose: Option<MoveExchange>,
}

impl Exchange {
    /// Whose answer it waits for.
    pub(super) const fn waits_for(&self) -> NodeId {
        self.peer
    }

    fn new(peer: NodeId, partition: PartitionId, losses: u32, question: Question) -> Self {
        Self { peer, partition, losses, step: 0, question, sent: 0, full: None, preview: None, purpose: None }
    }

    pub(super) fn abandoned(self) -> Option<(Ticket, Reply)> {
        Some((self.preview?, Reply::Compared(Err(CompareError::Stopped))))
    }
}

/// What exchanges have to do, and have done.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    /// The other owners of this shard's partitions, and which those are.
    pub(super) peers: BTreeMap<NodeId, Vec<PartitionId>>,
    /// Who is told the marks next.
    turn: usize,
    round: u64,
    pub(super) due: Time,
    /// Until then hints may begin to come in that this node has been kept: it has just started.
    calm: Time,
    /// What waits; whether it must be a full exchange.
    waiting: BTreeMap<(PartitionId, NodeId), bool>,
    pub(super) running: BTreeMap<PartitionId, u64>,
    pub(super) agreements: BTreeMap<(PartitionId, NodeId), Agreement>,
    /// What another owner has certainly missed; and the own state then, which must have been told before it counts that
    /// both are equal. Owners alone keep such marks: who owns nothing of a partition never hears that its owners agree,
    /// and they find out by themselves.
    pub(super) dirty: BTreeMap<(PartitionId, NodeId), u64>,
}

impl Exchanges {
    pub(super) fn new(due: Time, calm: Time) -> Self {
        Self { due, calm, ..Self::default() }
    }

    /// These are the other owners of a partition of this node; nobody is, if it is no partition of this node.
    fn share(&mut self, partition: PartitionId, others: &[NodeId]) {
        for (node, shared) in &mut self.peers {
            let at = shared.binary_search(&partition);
            match (at, others.contains(node)) {
                (Ok(at), false) => drop(shared.remove(at)),
                (Err(at), true) => shared.insert(at, partition),
                (Ok(_), true) | (Err(_), false) => {}
            }
        }
        self.peers.retain(|_, shared| !shared.is_empty());
        for &other in others {
            self.peers.entry(other).or_insert_with(|| vec![partition]);
        }
        keep_pairs(&mut self.agreements, partition, others);
        keep_pairs(&mut self.dirty, partition, others);
        keep_pairs(&mut self.waiting, partition, others);
    }

    /// Those that wait for room.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Pairs of a partition and another owner of it.
    pub(super) fn pairs(&self) -> usize {
        self.peers.values().map(Vec::len).sum()
    }

    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// Those that run and those that wait.
    pub(super) fn left(&self) -> usize {
        self.running.len() + self.waiting.len()
    }

    pub(super) fn clear(&mut self) {
        self.running.clear();
        self.waiting.clear();
    }
}

/// Of a partition's pairs only those with these owners stay.
pub(super) fn keep_pairs<T>(pairs: &mut BTreeMap<(PartitionId, NodeId), T>, partition: PartitionId, others: &[NodeId]) {
    let of_partition = (partition, NodeId(0))..=(partition, NodeId(u64::MAX));
    let all: Vec<_> = pairs.range(of_partition).map(|(&pair, _)| pair).collect();
    for pair in all.into_iter().filter(|(_, node)| !others.contains(node)) {
        pairs.remove(&pair);
    }
}

/// Exchanges at a time: each has one question on its way.
const MOST: usize = 4;
/// For so many rounds the hints that are coming in go first.
const PATIENCE: u32 = 16;
/// A question that was sent so often without an answer is given up; the next round begins anew.
const SENT: u8 = 4;

impl<S: Storage> Shard<S> {
    /// Tells the next peer the marks of the partitions that both own.
    pub(super) fn exchange_round(&mut self) {
        let count = self.exchanges.peers.len().max(1);
        self.exchanges.due = self.now.time + self.shared.timing.exchange / count as u32;
        if self.now.time < self.exchanges.calm {
            self.exchanges.due = self.exchanges.due.min(self.exchanges.calm);
        }
        self.exchanges.turn = (self.exchanges.turn + 1) % count;
        if self.exchanges.turn == 0 {
            self.replica.calm_down();
            self.tend_outgrown();
        }
        let Some((&peer, partitions)) = self.exchanges.peers.iter().nth(self.exchanges.turn) else { return };
        if self.is_suspected(peer) || mutant::is(Mutant::ExchangeNever) {
            return;
        }
        let mut marks = Vec::with_capacity(partitions.len());
        for &partition in partitions {
            marks.extend(self.replica.mark(partition));
            let agreement = self.exchanges.agreements.entry((partition, peer)).or_default();
            agreement.told = self.replica.changes(partition);
        }
        // By the round an answer is known to be to these marks.
        self.exchanges.round += 1;
        let (request, layout) = (self.request_id(self.exchanges.round), self.layout_id());
        self.ask_with_state(peer, Message::Compare(Compare { request, layout, marks }));
        self.begin_waiting();
    }

    pub(super) fn on_compared(&mut self, from: NodeId, compared: &Compared) {
        let of_last_cycle = self.operation_number(compared.request).is_some_and(|round| {
            round <= self.exchanges.round && round + self.exchanges.peers.len() as u64 > self.exchanges.round
        });
        if !of_last_cycle {
            return;
        }
        let lists = [(&compared.same, false, false), (&compared.apart, true, false), (&compared.doubtful, true, true)];
        for (partitions, apart, full) in lists {
            for &partition in partitions {
                if !self.shares(from, partition) {
                    continue;
                }
                let full = full || self.replica.wants(partition, from);
                let agreement = self.note_agreement(partition, from, apart);
                if !apart {
                    agreement.equal = agreement.told;
                    let told = agreement.told;
                    self.exchanges.dirty.retain(|pair, marked| *pair != (partition, from) || *marked > told);
                    self.trim(partition);
                }
                if apart || full {
                    self.want_exchange(partition, from, full);
                }
            }
        }
        self.begin_waiting();
    }

    pub(super) fn want_exchange(&mut self, partition: PartitionId, peer: NodeId, full: bool) {
        if full || !self.moves.is_going(partition) {
            *self.exchanges.waiting.entry((partition, peer)).or_default() |= full;
        }
    }

    /// Begins what waits, as far as there is room: one exchange per partition, and a few at a time.
    pub(super) fn begin_waiting(&mut self) {
        if self.hints_go_first() {
            // The next round sees what they have left.
            self.exchanges.waiting.retain(|_, full| *full);
        }
        while self.exchanges.running.len() < MOST {
            let calm = self.now.time < self.exchanges.calm;
            let free = |((partition, peer), full): &(&(PartitionId, NodeId), &bool)| {
                (**full || !calm) && !self.exchanges.running.contains_key(partition) && !self.is_suspected(*peer)
            };
            let Some((&(partition, peer), _)) = self.exchanges.waiting.iter().find(free) else { return };
            let full = self.exchanges.waiting.remove(&(partition, peer)) == Some(true);
            let question =
                if full { Question::Survey } else { Question::Since(Arc::clone(self.replica.clock(partition))) };
            let losses = self.replica.losses(partition);
            let exchange = Exchange::new(peer, partition, losses, question);
            let number = self.operations.add(Operation::Exchange(Box::new(exchange)), self.now.time);
            self.exchanges.running.insert(partition, number);
            self.ask_when_granted(number);
        }
    }

    pub(super) fn exchange_with(&self, number: u64) -> Option<NodeId> {
        match self.operations.get(number) {
            Some(Operation::Exchange(exchange)) => Some(exchange.peer),
            _ => None,
        }
    }

    /// Other nodes own a partition than before, or this one doesn't any more.
    pub(super) fn share_partition(&mut self, partition: PartitionId) {
        let mut others = Vec::new();
        if self.replica.owns(partition) {
            others = self.topology.all_owners(partition);
            others.retain(|node| *node != self.shared.node);
        }
        self.exchanges.share(partition, &others);
    }

    /// Begins a full exchange of a partition that changes hands. None of it runs.
    pub(super) fn begin_move_exchange(&mut self, partition: PartitionId, peer: NodeId, purpose: MoveExchange) {
        let (question, losses) = (Question::Survey, self.replica.losses(partition));
        let purpose = Some(purpose);
        self.counters.move_exchanges += 1;
        let exchange = Exchange { purpose, ..Exchange::new(peer, partition, losses, question) };
        let number = self.operations.add(Operation::Exchange(Box::new(exchange)), self.now.time);
        self.exchanges.running.insert(partition, number);
        self.ask_when_granted(number);
    }

    /// A client wants to know in how many keys this node and another owner of a partition differ.
    pub(super) fn compare(&mut self, ticket: Ticket, partition: PartitionId, with: NodeId) {
        if !self.shares(with, partition) {
            return self.done(ticket, Reply::Compared(Err(CompareError::NotAnOwner)));
        }
        let (question, losses) = (Question::Survey, self.replica.losses(partition));
        let preview = Some(ticket);
        let exchange = Exchange { preview, ..Exchange::new(with, partition, losses, question) };
        let number = self.operations.add(Operation::Exchange(Box::new(exchange)), self.now.time);
        self.ask_step(number);
    }

    fn ask_step(&mut self, number: u64) {
        let (request, layout) = (self.request_id(number), self.layout_id());
        let due = self.now.time + self.shared.timing.handoff;
        let Some(Operation::Exchange(exchange)) = self.operations.get_mut(number) else { return };
        exchange.sent += 1;
        let (peer, partition, step) = (exchange.peer, exchange.partition, exchange.step);
        let question = exchange.question.clone();
        self.operations.wake_at(number, due);
        // The clock in it tells of the state.
        self.ask_with_state(peer, Message::Ask(Ask { request, step, layout, partition, question }));
    }

    /// A node that comes back would be given everything twice: by those that kept it, and by those that have it.
    fn hints_go_first(&self) -> bool {
        self.is_filled(self.shared.timing.exchange.saturating_mul(PATIENCE))
    }

    /// The next question.
    fn ask_on(&mut self, number: u64, question: Question) {
        if matches!(question, Question::Since(_)) && self.hints_go_first() {
            return self.end_exchange(number);
        }
        if let Some(Operation::Exchange(exchange)) = self.operations.get_mut(number) {
            exchange.step += 1;
            (exchange.question, exchange.sent) = (question, 0);
            self.ask_when_granted(number);
        }
    }

    /// A question is a slice of work, here and for the peer. A client that waits for one is of the foreground.
    fn ask_when_granted(&mut self, number: u64) {
        let Some(Operation::Exchange(exchange)) = self.operations.get(number) else { return };
        if exchange.preview.is_none()
            && let Err(due) = self.admission.grant(Work::Exchange, self.now.time)
        {
            return self.operations.wake_at(number, due);
        }
        self.ask_step(number);
    }

    pub(super) fn exchange_due(&mut self, number: u64) {
        let Some(Operation::Exchange(exchange)) = self.operations.get(number) else { return };
        let (peer, sent) = (exchange.peer, exchange.sent);
        self.check(peer);
        if sent >= SENT || self.is_suspected(peer) {
            self.end_exchange(number);
        } else if sent == 0 {
            self.ask_when_granted(number);
        } else {
            self.ask_step(number);
        }
    }

    /// What was joined stays; the rest is found by the next round.
    pub(super) fn end_exchange(&mut self, number: u64) {
        if let Some(Operation::Exchange(exchange)) = self.operations.remove(number) {
            if let Some(ticket) = exchange.preview {
                let result = exchange.full.filter(|full| full.is_complete()).map(|full| full.differing());
                self.done_with_state(ticket, Reply::Compared(result.ok_or(CompareError::Unavailable)));
                return;
            }
            self.exchanges.running.remove(&exchange.partition);
            if exchange.full.is_some() && self.replica.owns(exchange.partition) {
                self.replica.unwatch(exchange.partition);
            }
            if self.moves.is_coming(exchange.partition) {
                self.moves.due = Some(self.now.time);
            }
        }
        self.begin_waiting();
    }

    pub(super) fn on_told(&mut self, from: NodeId, told: Told) {
        let Some(number) = self.operation_number(told.request) else { return };
        let Some(Operation::Exchange(exchange)) = self.operations.get(number) else { return };
        let (partition, life) = (exchange.partition, (told.start, told.losses));
        if (from, told.partition, told.step) != (exchange.peer, partition, exchange.step) {
            return;
        }
        if !self.replica.owns(partition) {
            return self.end_exchange(number);
        }
        let other_life = exchange.full.as_ref().is_some_and(|full| !full.is_of(life));
        if exchange.losses != self.replica.losses(partition) || other_life {
            return self.end_exchange(number);
        }
        let since = matches!(exchange.question, Question::Since(_));
        let survey = matches!(exchange.question, Question::Survey);
        let next = match told.result {
            // It has nothing that this node lacks, or nothing that is a while old. Or it is busy with itself, or of
            // another layout: the next round will see.
            Ok(Answer::Nothing) if since => Ok(None),
            Err(_) => Ok(None),
            Ok(Answer::TooOld) if since => Ok(Some(Question::Survey)),
            Ok(Answer::Page(page)) if since => self.take_page(partition, from, &page),
            Ok(Answer::Surveyed(surveyed)) if survey => self.take_survey(number, partition, life, surveyed),
            // One that doesn't fit the question could go on without an end.
            Ok(answer) => self.take_step(number, partition, from, answer),
        };
        match next {
            Ok(Some(question)) => self.ask_on(number, question),
            Ok(None) => self.end_exchange(number),
            Err(Mistaken) => {
                self.counters.refused += 1;
                self.end_exchange(number);
            }
        }
    }

    /// Joins what this node's clock had lacked, and asks for more if there is.
    fn take_page(&mut self, partition: PartitionId, from: NodeId, page: &Page) -> Result<Option<Question>, Mistaken> {
        if page.items.iter().any(|item| self.partition(&item.key) != partition) {
            return Err(Mistaken);
        }
        let before = Arc::clone(self.replica.clock(partition));
        let cover = self.replica.cover_of(partition, page);
        for item in &page.items {
            self.take_item(partition, from, item, &cover, true);
        }
        let clock = Arc::clone(self.replica.clock(partition));
        let progress = clock != before;
        drop(before);
        Ok((page.more && progress).then_some(Question::Since(clock)))
    }

    /// Joins a record of another owner. False if it could not be stored.
    fn take_item(&mut self, partition: PartitionId, from: NodeId, item: &Item, cover: &DotSet, grows: bool) -> bool {
        let taken =
            self.of_partition(partition, |replica, storage| replica.take(storage, partition, item, cover, grows));
        let agreement = self.exchanges.agreements.entry((partition, from)).or_default();
        agreement.moved += 1;
        let Ok(stored) = taken else { return false };
        agreement.needed += u64::from(stored.wrote());
        self.counters.exchanged += 1;
        let bytes = value_bytes(&item.live) as u64;
        if self.moves.note_record(partition, bytes) {
            self.counters.moved_records += 1;
            self.counters.moved_bytes += bytes;
        }
        self.counters.exchanged_needed += u64::from(stored.wrote());
        self.lanes.wrote(&stored);
        true
    }

    fn take_survey(
        &mut self,
        number: u64,
        partition: PartitionId,
        life: (Start, u32),
        surveyed: Surveyed,
    ) -> Result<Option<Question>, Mistaken> {
        // Without a tree of its own it has nothing to compare with: the next round will see.
        let Some(tree) = self.replica.tree(partition) else { return Ok(None) };
        let Some(Operation::Exchange(exchange)) = self.operations.get_mut(number) else { return Err(Mistaken) };
        let full = FullExchange::new(surveyed, life, tree, exchange.preview.is_some());
        if exchange.preview.is_none() {
            self.counters.full_exchanges += 1;
            self.replica.watch(partition, full.opening().0);
        }
        exchange.full = Some(Box::new(full));
        self.go_on(number, partition)
    }

    /// An answer within a full exchange.
    fn take_step(
        &mut self,
        number: u64,
        partition: PartitionId,
        from: NodeId,
        answer: Answer,
    ) -> Result<Option<Question>, Mistaken> {
        let Some(Operation::Exchange(exchange)) = self.operations.get_mut(number) else { return Err(Mistaken) };
        let Some(mut full) = exchange.full.take() else { return Err(Mistaken) };
        let asked = exchange.question.clone();
        let taken = match (answer, asked) {
            (Answer::Level(level), Question::Level { .. }) => match self.replica.tree(partition) {
                Some(tree) => full.level(tree, &level),
                None => Err(Mistaken),
            },
            (Answer::Keys(theirs), Question::Keys { nodes, after }) => {
                let (end, portion) = (theirs.through.unwrap_or(u64::MAX), self.portion());
                let own = self.of_partition(partition, |replica, storage| {
                    replica.keys(storage, partition, &nodes, after, end, portion)
                });
                match own {
                    Ok(Some(own)) => full.keys(&own, &theirs),
                    Ok(None) | Err(_) => Err(Mistaken),
                }
            }
            (Answer::Records(records), Question::Records(positions)) => {
                self.take_records(&mut full, partition, from, &positions, &records)
            }
            _ => Err(Mistaken),
        };
        if let Some(Operation::Exchange(exchange)) = self.operations.get_mut(number) {
            exchange.full = Some(full);
        } else {
            // The partition has lost something meanwhile, and the exchange with it.
            return Ok(None);
        }
        taken?;
        self.go_on(number, partition)
    }

    /// Joins records, and the absence of those that the other side doesn't have; tells it what it lacks.
    fn take_records(
        &mut self,
        full: &mut FullExchange,
        partition: PartitionId,
        from: NodeId,
        asked: &[u64],
        records: &Records,
    ) -> Result<(), Mistaken> {
        if records.items.iter().any(|item| self.partition(&item.key) != partition) {
            return Err(Mistaken);
        }
        let positions = full.records(asked, records)?;
        let mut absent = Vec::new();
        for &position in &positions {
            let Ok(keys) =
                self.of_partition(partition, |replica, storage| replica.keys_at(storage, partition, position))
            else {
                return Err(Mistaken);
            };
            let gone = keys.into_iter().filter(|key| records.items.iter().all(|item| item.key != *key));
            absent.extend(gone.map(Item::absent));
        }
        for item in records.items.iter().chain(&absent) {
            // The dots of a whole partition one by one would be as many gaps in the clock: they come with the opening.
            if !self.take_item(partition, from, item, &records.clock, false) {
                return Err(Mistaken);
            }
            let ahead = self
                .of_partition(partition, |replica, storage| replica.ahead(storage, partition, item, &records.clock));
            if let Ok(Some((live, covered))) = ahead {
                self.counters.repairs += 1;
                let (layout, key, covered) = (self.layout_id(), item.key.clone(), Arc::new(covered));
                self.lanes.reveal(Output::Send(from, Message::Repair(Repair { layout, key, live, covered })));
            }
        }
        Ok(())
    }

    /// What a full exchange asks next. When there is nothing left, the clock takes in the opening's.
    fn go_on(&mut self, number: u64, partition: PartitionId) -> Result<Option<Question>, Mistaken> {
        let Some(Operation::Exchange(exchange)) = self.operations.get_mut(number) else { return Err(Mistaken) };
        let (peer, purpose) = (exchange.peer, exchange.purpose);
        let Some(full) = &mut exchange.full else { return Err(Mistaken) };
        if exchange.preview.is_some() {
            return Ok(full.next());
        }
        full.want(self.replica.touched(partition));
        let next = full.next();
        if next.is_some() && !mutant::is(Mutant::OpeningBeforeRecords) {
            return Ok(next);
        }
        let ((opening, standing), start) = (full.opening(), full.start());
        let opening = Arc::clone(opening);
        let was_refilling = self.replica.is_refilling(partition);
        let needed = self.needed_for_refill(partition);
        // One that was an owner, or is to be one, may lack what W owners have.
        let owner = self.topology.owners(partition).contains(&peer).then_some((peer, standing == Standing::Whole));
        let closed = self.replica.close(&mut self.storage, partition, &opening, owner, needed);
        match closed {
            Ok(stored) => {
                self.lanes.wrote(&stored);
                if was_refilling && !self.replica.is_refilling(partition) {
                    self.lanes.reveal(Output::Event(Event::PartitionRefilled(partition)));
                }
                if let Some(purpose) = purpose {
                    self.move_exchanged(partition, peer, standing, start, purpose);
                }
            }
            Err(error) => self.storage_failed(error),
        }
        Ok(None)
    }
}
