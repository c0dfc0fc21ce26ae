//! Gets: from the client's request to its answer, and the repair of the replicas that were behind.

use std::sync::Arc;

use super::Output;
use super::plan::Plan;
use super::shard::{Operation, Shard};
use super::topology::{Layouts, member_store};
use crate::ballot::Refused;
use crate::bytes::Bytes;
use crate::causality::{Context, Entry, View};
use crate::coordinate::{GetOutcome, GetRule, Getting};
use crate::error::{GetError, PutError, Refusal};
use crate::ids::{KeyspaceId, LayoutId, NodeId, PartitionId, StoreId, Ticket};
use crate::key::Key;
use crate::latencies::Phase;
use crate::message::{Message, Read, ReadReply, Repair, Shown};
use crate::mutant::{self, Mutant};
use crate::reconcile::Reconciled;
use crate::request::{GetOptions, Reply, Versions};
use crate::storage::Storage;
use crate::time::Time;
use crate::trace::{Notes, Step};

/// A get whose coordinator this node is.
#[derive(Debug)]
pub(super) struct GetOperation {
    purpose: Purpose,
    key: Key,
    began: Time,
    /// Whether another node has answered.
    heard: bool,
    deadline: Time,
    rule: GetRule,
    machine: Getting,
    /// The decided layout whose owners are asked: answers of two are never mixed.
    floor: LayoutId,
    layouts: Layouts,
    /// When it is asked anew, since a layout is about to be decided.
    again: Option<Time>,
    /// Whether it was, or is to be.
    waited: bool,
    /// When late replies are no longer awaited, once the answer is out.
    until: Option<Time>,
}

/// What a read is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// A client's get.
    Client(Ticket),
    /// A delete without context, which deletes what the read sees.
    Delete(Box<Plan>),
    /// A conditional put, which goes on if the read sees what the client had seen.
    Condition(Box<Plan>),
    /// Its answer is out; replicas that are behind are still to be repaired.
    Answered,
}

impl Purpose {
    /// The client's request that it is for.
    fn ticket(&self) -> Option<Ticket> {
        match self {
            Self::Client(ticket) => Some(*ticket),
            Self::Delete(plan) | Self::Condition(plan) => Some(plan.ticket),
            Self::Answered => None,
        }
    }
}

impl GetOperation {
    /// What its machine has noted since this was called last, and for which request.
    pub(super) fn take_notes(&mut self) -> Option<(Ticket, Vec<Step>)> {
        Some((self.purpose.ticket()?, self.machine.notes.take()))
    }

    /// Whose answers it waits for.
    pub(super) fn waits_for(&self) -> impl Iterator<Item = NodeId> {
        self.machine.waits_for()
    }

    pub(super) fn abandoned(self) -> Option<(Ticket, Reply)> {
        match self.purpose {
            Purpose::Client(ticket) => Some((ticket, Reply::Get(Err(GetError::Stopped)))),
            Purpose::Delete(plan) | Purpose::Condition(plan) => Some((plan.ticket, Reply::Put(Err(PutError::Stopped)))),
            Purpose::Answered => None,
        }
    }
}

impl<S: Storage> Shard<S> {
    pub(super) fn get(&mut self, ticket: Ticket, keyspace: KeyspaceId, key: &[u8], options: &GetOptions) {
        match self.plan_get(keyspace, key, options) {
            Ok((key, rule, deadline)) => self.start_get(Purpose::Client(ticket), key, rule, deadline),
            Err(error) => self.done(ticket, Reply::Get(Err(error))),
        }
    }

    fn plan_get(
        &self,
        keyspace: KeyspaceId,
        key: &[u8],
        options: &GetOptions,
    ) -> Result<(Key, GetRule, Time), GetError> {
        let shared = &self.shared;
        let defaults = shared.keyspace(keyspace).ok_or(GetError::Keyspace)?;
        if key.len() > shared.limits.key {
            return Err(GetError::KeyTooLong { got: key.len(), limit: shared.limits.key });
        }
        let r = options.r.unwrap_or(defaults.quorum.r());
        if r == 0 || r > defaults.quorum.n() {
            return Err(GetError::Quorum { asked: r, n: defaults.quorum.n() });
        }
        let mode = options.mode.unwrap_or(defaults.mode);
        let rule = GetRule::new(r, mode, options.spread, options.all);
        if rule.r > defaults.quorum.n() {
            return Err(GetError::Quorum { asked: rule.r, n: defaults.quorum.n() });
        }
        let deadline = self.now.time + options.deadline.unwrap_or(shared.timing.deadline);
        Ok((Key::new(&shared.identity.secret, keyspace, key), rule, deadline))
    }

    pub(super) fn start_get(&mut self, purpose: Purpose, key: Key, rule: GetRule, deadline: Time) {
        let percent = u32::from(self.shared.timing.hedge_percent);
        self.hedge_budget = (self.hedge_budget + percent).min(1_000);
        let mut asks = std::mem::take(&mut self.asks);
        let partition = self.partition(&key);
        let (floor, layouts) = (self.topology.floor(partition), self.topology.live(partition)[..1].into());
        let notes = self.notes_of(purpose.ticket(), partition);
        let machine = Getting::start(rule, partition, self.roster(partition), self.now.time, notes, &mut asks);
        let due = machine.due(self.roster(partition), self.shared.patience()).unwrap_or(deadline).min(deadline);
        let (began, again, waited, until) = (self.now.time, None, false, None);
        let operation = GetOperation {
            purpose,
            key,
            began,
            heard: false,
            deadline,
            rule,
            machine,
            floor,
            layouts,
            again,
            waited,
            until,
        };
        let number = self.operations.add(Operation::Get(operation), due);
        self.asks = asks;
        self.ask_for_reads(number);
        self.get_progress(number, false);
    }

    /// Sends the reads in `asks`; this node answers itself at once, and may thereby ask for more.
    fn ask_for_reads(&mut self, number: u64) {
        while let Some(node) = self.asks.pop() {
            let Some(Operation::Get(get)) = self.operations.get_mut(number) else { return self.asks.clear() };
            let (key, floor) = (get.key.clone(), get.floor);
            if node == self.shared.node {
                let (shown, known) = self.show_to(node, &key, floor);
                self.read_answered(number, node, self.votes.store, shown, known);
            } else {
                let request = self.request_id(number);
                let known = self.names.spoken(self.partition(&key));
                self.ask(node, Message::Read(Read { request, floor, key, known }));
            }
        }
    }

    fn read_answered(
        &mut self,
        number: u64,
        node: NodeId,
        store: Option<StoreId>,
        result: Result<Shown, Refusal>,
        known: Option<Box<Refused>>,
    ) {
        let now = self.now.time;
        let Some(Operation::Get(get)) = self.operations.get_mut(number) else { return };
        let partition = self.shared.layout.partition_of(get.key.position());
        if let Some(known) = known {
            let answered = get.machine.is_answered();
            get.machine.notes.note(|| Step::Behind { node, decided: known.floor });
            self.hear_refused(partition, node, &known);
            if !answered {
                return self.read_again(number, partition);
            }
        }
        let Some(Operation::Get(get)) = self.operations.get_mut(number) else { return };
        // A store that the layout doesn't name may lack what the one that it names has acknowledged.
        let any = !self.shared.elastic || mutant::is(Mutant::AnyStoreCounts);
        let is_named = any || member_store(&get.layouts[0], node) == store;
        let result = match result {
            Ok(Shown::Owner { .. }) if !is_named => Err(Refusal::NotAnOwner),
            result => result,
        };
        let roster = self.shared.roster(&get.layouts, &self.topology.directory, &self.peers);
        get.machine.answer(node, result, roster, now, &mut self.asks);
    }

    /// Asks the owners of the layout that is decided by now, if that is another; else a moment later.
    fn read_again(&mut self, number: u64, partition: PartitionId) {
        self.asks.clear();
        let (now, pause) = (self.now.time, self.shared.again());
        let Some(Operation::Get(get)) = self.operations.get_mut(number) else { return };
        get.waited = true;
        if self.topology.floor(partition) == get.floor {
            get.again.get_or_insert(now + pause);
            get.machine.notes.note(|| Step::Waits);
            return;
        }
        self.restart_get(number, partition);
    }

    fn restart_get(&mut self, number: u64, partition: PartitionId) {
        let (floor, layouts): (_, Layouts) =
            (self.topology.floor(partition), self.topology.live(partition)[..1].into());
        let Some(Operation::Get(get)) = self.operations.get_mut(number) else { return };
        self.counters.sent_again += 1;
        (get.floor, get.layouts, get.again, get.waited) = (floor, layouts, None, true);
        let roster = self.shared.roster(&get.layouts, &self.topology.directory, &self.peers);
        self.asks.clear();
        let mut notes = std::mem::take(&mut get.machine.notes);
        notes.note(|| Step::MadeAnew { layouts: vec![floor] });
        get.machine = Getting::start(get.rule, partition, roster, self.now.time, notes, &mut self.asks);
    }

    pub(super) fn on_read_reply(&mut self, from: NodeId, peer: usize, reply: ReadReply) {
        let Some(number) = self.operation_number(reply.request) else { return };
        let Some(Operation::Get(get)) = self.operations.get_mut(number) else { return };
        if reply.floor != get.floor {
            return;
        }
        if let Some(sent) = get.machine.asked_at(from) {
            let took = self.now.time.since(sent);
            self.peers.answered(peer, sent, self.now.time);
            self.measured.read_answered(peer, took);
            if !std::mem::replace(&mut get.heard, true) {
                self.measured.record(Phase::ReadFirst, self.now.time.since(get.began));
            }
        }
        self.read_answered(number, from, reply.store, reply.result, reply.known);
        self.ask_for_reads(number);
        self.get_progress(number, false);
    }

    pub(super) fn get_due(&mut self, number: u64) {
        let (now, patience) = (self.now.time, self.shared.patience());
        let may_hedge = self.hedge_budget >= 100;
        let (mut silent, mut hedged) = (Vec::new(), false);
        let Some(Operation::Get(get)) = self.operations.get(number) else { return };
        let partition = self.partition(&get.key);
        let is_over = get.floor != self.topology.floor(partition) && !get.machine.is_answered();
        if is_over || get.again.is_some_and(|again| again <= now) {
            self.restart_get(number, partition);
            self.ask_for_reads(number);
        }
        if let Some(Operation::Get(GetOperation { machine, layouts, .. })) = self.operations.get_mut(number) {
            let roster = self.shared.roster(layouts, &self.topology.directory, &self.peers);
            silent = machine.late(roster, now, patience, &mut self.asks);
            hedged = !machine.is_answered() && machine.hedge(may_hedge, roster, now, &mut self.asks);
        }
        if hedged {
            self.hedge_budget -= 100;
            self.counters.hedges += 1;
        }
        if !silent.is_empty() {
            self.owners_are_silent(partition);
        }
        for node in silent {
            self.check(node);
        }
        self.ask_for_reads(number);
        let Some(Operation::Get(get)) = self.operations.get_mut(number) else { return };
        let expired = now >= get.until.unwrap_or(get.deadline);
        self.get_progress(number, expired);
    }

    /// Answers if the verdict is final, and repairs and ends when nothing is left to wait for.
    fn get_progress(&mut self, number: u64, expired: bool) {
        let Some(Operation::Get(get)) = self.operations.get_mut(number) else { return };
        // While it is to be asked anew, too few answers are not the last word.
        let may_fail = expired || get.again.is_none();
        if let Some(outcome) = get.machine.outcome_if(may_fail, expired) {
            if get.machine.notes.is_wanted() {
                self.note_behind(number);
            }
            let Some(Operation::Get(get)) = self.operations.get_mut(number) else { return };
            let purpose = std::mem::replace(&mut get.purpose, Purpose::Answered);
            let key = get.key.clone();
            (get.until, get.again) = (Some(self.now.time + self.shared.timing.repair), None);
            // What waits for a change of layouts says nothing of the load, and must not slow down what it waits for.
            let (began, waited) = (get.began, get.waited);
            if !waited {
                self.foreground(began);
            }
            if matches!(outcome, GetOutcome::Done { .. }) {
                self.took(Phase::ReadQuorum, began);
            }
            if matches!(purpose, Purpose::Client(_)) {
                self.ended(Phase::Get, began);
            }
            self.answer_get(purpose, &key, outcome);
        }
        let Some(Operation::Get(get)) = self.operations.get_mut(number) else { return };
        if get.machine.is_answered() && (expired || get.machine.is_complete()) {
            let Some(Operation::Get(get)) = self.operations.remove(number) else { return };
            return self.repair_behind(&get);
        }
        let end = get.until.unwrap_or(get.deadline);
        self.keep_notes(number);
        let Some(Operation::Get(get)) = self.operations.get(number) else { return };
        let roster = self.shared.roster(&get.layouts, &self.topology.directory, &self.peers);
        let due = get.machine.due(roster, self.shared.patience()).into_iter().chain(get.again).min();
        self.operations.wake_at(number, due.unwrap_or(end).min(end));
    }

    /// The last that a trace tells of a read.
    #[cold]
    #[inline(never)]
    fn note_behind(&mut self, number: u64) {
        let Some(Operation::Get(get)) = self.operations.get_mut(number) else { return };
        for node in get.machine.behind() {
            get.machine.notes.note(|| Step::ToRepair { node });
        }
        self.keep_notes(number);
        if let Some(Operation::Get(get)) = self.operations.get_mut(number) {
            get.machine.notes = Notes::default();
        }
    }

    fn answer_get(&mut self, purpose: Purpose, key: &Key, outcome: GetOutcome) {
        let found = match outcome {
            GetOutcome::Done { mut view, owners, fastest } => {
                // The context covers them all the same: what is put next takes their place.
                view.live.retain(|entry| !entry.is_expired(self.now.wall));
                Ok((view, owners, fastest))
            }
            GetOutcome::Failed(shortfall) => Err(GetError::Unavailable(shortfall)),
        };
        match (purpose, found) {
            (Purpose::Client(ticket), Ok((view, owners, fastest))) => {
                let reply = self.versions(key, view, owners, fastest);
                if let Ok(Versions { siblings: siblings @ 2.., values, .. }) = &reply {
                    let (siblings, shown) = (*siblings as u64, values.len() as u64);
                    self.trace(ticket, || Step::Reconciled { siblings, shown });
                }
                self.done_with_state(ticket, Reply::Get(reply));
            }
            (Purpose::Client(ticket), Err(error)) => self.done(ticket, Reply::Get(Err(error))),
            (Purpose::Delete(plan), Ok((view, _, fastest))) => {
                let context = self.context_of(key, view, fastest);
                self.delete_seen(*plan, context);
            }
            (Purpose::Condition(plan), Ok((view, ..))) => self.write_if_unchanged(*plan, &view.live),
            (Purpose::Delete(plan) | Purpose::Condition(plan), Err(error)) => {
                self.ended(plan.phase(), plan.asked);
                self.done(plan.ticket, Reply::Put(Err(PutError::Read(error))));
            }
            (Purpose::Answered, _) => {}
        }
    }

    /// What the client is shown: the live values, reconciled, and the context of all that was read.
    fn versions(&mut self, key: &Key, view: View, owners: u8, fastest: Option<NodeId>) -> Result<Versions, GetError> {
        let siblings = view.live.len();
        let values = match &view.live[..] {
            [] => Vec::new(),
            [one] => vec![one.value.clone()],
            live => {
                self.counters.divergent += 1;
                self.counters.siblings += siblings as u64;
                match self.reconcile(key, live).map_err(|()| GetError::Reconciler)? {
                    Reconciled::Keep => distinct(live),
                    Reconciled::Pick(index) => vec![live[index].value.clone()],
                    Reconciled::Merge(value) => vec![value],
                }
            }
        };
        for entry in &view.live {
            self.clock.observe(entry.stamp, self.now.wall);
        }
        let layout = self.topology.base().id();
        Ok(Versions { values, context: self.context_of(key, view, fastest), siblings, owners, layout })
    }

    fn context_of(&self, key: &Key, view: View, fastest: Option<NodeId>) -> Context {
        let live = view.live.iter().map(|entry| entry.dot).collect();
        let mut view = view;
        let partition = self.partition(key);
        if mutant::is(Mutant::ContextOfClock) && self.replica.owns(partition) {
            let read = self.replica.read(&self.storage, partition, key, &mut Vec::new());
            read.iter().for_each(|(_, clock)| view.covered.union_with(clock));
        }
        self.make_context(key, live, view.covered, fastest)
    }

    /// Sends the joined state to the owners that would change by it. If all agreed, nobody is written to.
    fn repair_behind(&mut self, get: &GetOperation) {
        let behind = get.machine.behind();
        if let Some(first) = get.machine.first_of_several() {
            self.counters.gets_compared += 1;
            self.counters.gets_first_behind += u64::from(behind.contains(&first));
        }
        if behind.is_empty() || mutant::is(Mutant::RepairNever) {
            return;
        }
        let mut view = get.machine.view();
        if mutant::is(Mutant::RepairWithOneSibling) {
            view.live.truncate(1);
        }
        let covered = Arc::new(view.covered);
        for node in behind {
            self.counters.repairs += 1;
            let (layout, key, live) = (self.layout_id(), get.key.clone(), view.live.clone());
            let repair = Repair { layout, key, live, covered: Arc::clone(&covered) };
            if node == self.shared.node {
                self.on_repair(node, &repair);
            } else {
                self.lanes.reveal(Output::Send(node, Message::Repair(repair)));
            }
        }
    }
}

/// Two events of one client's write, put again after a crash, are shown as one value. The context covers both.
fn distinct(live: &[Entry]) -> Vec<Bytes> {
    let shown = live.iter().enumerate().filter(|(index, entry)| {
        let same = |other: &Entry| other.write_id == entry.write_id && other.value == entry.value;
        entry.write_id.is_none() || !live[..*index].iter().any(same)
    });
    shown.map(|(_, entry)| entry.value.clone()).collect()
}
