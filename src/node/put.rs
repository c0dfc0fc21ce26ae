//! Puts and deletes: from the client's request to its answer, and the hints that are left behind.

use std::sync::Arc;

use super::Output;
use super::plan::Plan;
use super::shard::{Operation, ReplyTo, Shard};
use super::topology::{Layouts, member_store};
use crate::ballot::Sets;
use crate::causality::{Context, Entry, Update};
use crate::config::Durability;
use crate::coordinate::{Order, PutOutcome, Putting, Roster};
use crate::dots::DotSet;
use crate::error::{Answer, PutError, Refusal, Shortfall, StorageError};
use crate::ids::{Actor, NodeId, PartitionId, Start, Ticket};
use crate::key::Key;
use crate::latencies::Phase;
use crate::message::{ForwardReply, Forwarded, Message, Write, WriteReply, WriteRule};
use crate::mutant::{self, Mutant};
use crate::replica::{Cap, Joined};
use crate::request::{Reply, Written};
use crate::storage::{Storage, Stored};
use crate::time::{Time, micros};
use crate::trace::{Answered, Notes, Step};

/// A put whose coordinator this node is.
#[derive(Debug)]
pub(super) struct PutOperation {
    reply_to: ReplyTo,
    key: Key,
    update: Arc<Update>,
    rule: WriteRule,
    began: Time,
    /// Whether another node has answered.
    heard: bool,
    deadline: Time,
    machine: Putting,
    /// The layouts in each of which it takes W places, and what they say.
    sets: Sets,
    layouts: Layouts,
    /// How often these have changed: what was acknowledged before counts no more.
    round: u32,
    /// When it is sent anew, since what it must know had not come.
    again: Option<Time>,
    /// Who syncs it at once though nobody waits for that ([`Durability::One`]).
    synced_by: Option<NodeId>,
}

/// Of those that are asked to store it as owners, who syncs it at once though nobody waits for that: the last, which is
/// the least likely to be waited for.
fn synced_by(rule: WriteRule, orders: &[Order]) -> Option<NodeId> {
    let plain = |order: &Order| match *order {
        Order::Write { to, hint_for: None } => Some(to),
        Order::Write { .. } | Order::Keep { .. } => None,
    };
    if rule.durability == Durability::One { orders.iter().rev().find_map(plain) } else { None }
}

/// What a client's write is timed as.
pub(super) fn phase_of(update: &Update) -> Phase {
    if update.live.is_empty() { Phase::Delete } else { Phase::Put }
}

impl PutOperation {
    /// What its machine has noted since this was called last, and for which request.
    pub(super) fn take_notes(&mut self) -> Option<(Ticket, Vec<Step>)> {
        Some((self.reply_to.ticket()?, self.machine.notes.take()))
    }

    /// Whose acknowledgements it waits for.
    pub(super) fn waits_for(&self) -> impl Iterator<Item = NodeId> {
        self.machine.waits_for()
    }

    /// Whether this node's own copies need not be synced before they count.
    fn waives_own_sync(&self) -> bool {
        match self.rule.durability {
            Durability::Quorum | Durability::Coordinator => false,
            Durability::One => self.synced_by.is_some(),
            Durability::Memory => true,
        }
    }

    /// What is asked of another node that is to have it.
    fn durability_at(&self, node: NodeId, is_hint: bool) -> Durability {
        match self.rule.durability {
            // Whoever stands in for an owner may do so for the one that was to sync it.
            Durability::One if is_hint || self.synced_by == Some(node) => Durability::Quorum,
            asked => asked,
        }
    }

    pub(super) fn abandoned(self) -> Option<(Ticket, Reply)> {
        match self.reply_to {
            ReplyTo::Client { ticket, .. } if !self.machine.is_answered() => {
                Some((ticket, Reply::Put(Err(PutError::Stopped))))
            }
            ReplyTo::Client { .. } | ReplyTo::Peer { .. } => None,
        }
    }
}

impl<S: Storage> Shard<S> {
    /// Names the write, here, once: whatever is tried afterwards carries this dot.
    pub(super) fn write(&mut self, plan: Plan) {
        debug_assert!(plan.context.unknown().is_none(), "a context must be opened before a write is named");
        let partition = self.partition(&plan.key);
        let dot = self.replica.next_dot(self.namer(), partition);
        self.trace(plan.ticket, || Step::Named { dot: dot.to_string() });
        let nothing = DotSet::new();
        let mistaken = self.mistaken_context(&plan);
        let context = mistaken.as_deref().or(plan.context.covered()).unwrap_or(&nothing);
        let update = match plan.value {
            None => Update::delete(dot, context),
            Some(value) => {
                let (stamp, write_id) = (self.clock.tick(self.now.wall), plan.write_id);
                let expires = plan.expires_after.map(|after| self.now.wall.after(after));
                Update::put(Entry { dot, write_id, expires, stamp, value }, context)
            }
        };
        let update = Arc::new(update);
        if self.replica.owns(partition) && self.is_serving(partition) {
            let reply_to = ReplyTo::Client { ticket: plan.ticket, asked: plan.asked, merged: false, first: true };
            self.coordinate(reply_to, plan.key, update, plan.rule, plan.deadline);
        } else {
            self.forward((plan.ticket, plan.asked), plan.key, update, plan.rule, plan.deadline, plan.context.route());
        }
    }

    /// Coordinates a write that has its dot. An owner applies it first; what is refused there has gone nowhere.
    pub(super) fn coordinate(
        &mut self,
        reply_to: ReplyTo,
        key: Key,
        update: Arc<Update>,
        rule: WriteRule,
        deadline: Time,
    ) {
        let partition = self.partition(&key);
        let (mut reply_to, mut update) = (reply_to, update);
        let mut local = None;
        if self.replica.owns(partition) && self.is_serving(partition) {
            match self.admit(&mut reply_to, &key, &mut update) {
                Ok(stored) => local = Some(stored),
                // It was handed to others before this node came to own the key, and they may have it.
                Err(_) if matches!(reply_to, ReplyTo::Client { first: false, .. }) => {}
                Err(error) => return self.put_refused(reply_to, error),
            }
        }
        let durability = match rule.durability {
            // Without a copy of its own there is nothing that the others' durability could be waived for.
            _ if local.is_none() => Durability::Quorum,
            // Nobody may hear of a delete that a crash can take back: some would have dropped what it deletes, and others
            // not. Whoever has forwarded it need not know that.
            asked if update.live.is_empty() && asked.waives_sync() => Durability::Coordinator,
            asked => asked,
        };
        let rule = WriteRule { durability, ..rule };
        // The data is there; whether it counts is for the ballots to say.
        let mut again = None;
        let local = local.and_then(|stored| match self.admit_own(partition) {
            Some(admitted) => Some(admitted.and(stored)),
            None => {
                self.lanes.wrote(&stored);
                again = Some(self.now.time + self.shared.again());
                None
            }
        });
        let mut orders = std::mem::take(&mut self.orders);
        let notes = self.notes_of(reply_to.ticket(), partition);
        let machine = self.start_machine(&key, rule, notes, &mut orders);
        let due = machine.due(self.shared.patience()).into_iter().chain(again).min().unwrap_or(deadline).min(deadline);
        let synced_by = synced_by(rule, &orders);
        let (sets, layouts) = (self.topology.sets(partition), self.topology.live(partition).into());
        let (began, round) = (self.now.time, 0);
        let operation = PutOperation {
            reply_to,
            key,
            update,
            rule,
            began,
            heard: false,
            deadline,
            machine,
            sets,
            layouts,
            round,
            again,
            synced_by,
        };
        let number = self.operations.add(Operation::Put(operation), due);
        self.perform(number, &mut orders);
        self.orders = orders;
        match local {
            Some(stored) => self.own_copy(number, round, &stored),
            None => self.put_progress(number, false),
        }
    }

    fn start_machine(&mut self, key: &Key, rule: WriteRule, notes: Notes, orders: &mut Vec<Order>) -> Putting {
        let stamps = self.shared.keyspace(key.keyspace()).is_some_and(|keyspace| keyspace.reconciler.uses_stamps());
        let partition = self.partition(key);
        Putting::start(rule, stamps, partition, self.roster(partition), self.now.time, notes, orders)
    }

    /// Has this store promised nothing that the write doesn't name? It names then what this store knows.
    fn admit_own(&mut self, partition: PartitionId) -> Option<Stored> {
        // What the store knows, its coordinators know; but not what all of it says.
        let sets = self.topology.sets(partition);
        self.admit_write(self.shared.node, partition, &sets).ok()
    }

    /// Other layouts count than those that the write names: it is sent again, to all, and what was acknowledged counts no
    /// more. Whoever has it loses nothing by having it twice: it is the same dot.
    fn send_again(&mut self, number: u64) {
        let Some(Operation::Put(put)) = self.operations.get(number) else { return };
        self.counters.sent_again += 1;
        let (key, rule, round) = (put.key.clone(), put.rule, put.round + 1);
        let mut notes = put.machine.notes.clone();
        let partition = self.partition(&key);
        let admitted = if self.replica.owns(partition) { self.admit_own(partition) } else { None };
        let waits = self.replica.owns(partition) && self.is_serving(partition) && admitted.is_none();
        let again = waits.then(|| self.now.time + self.shared.again());
        let mut orders = std::mem::take(&mut self.orders);
        orders.clear();
        let sets = self.topology.sets(partition);
        notes.note(|| Step::MadeAnew { layouts: sets.iter().collect() });
        let machine = self.start_machine(&key, rule, notes, &mut orders);
        let layouts = self.topology.live(partition).into();
        let Some(Operation::Put(put)) = self.operations.get_mut(number) else { return };
        put.synced_by = synced_by(rule, &orders);
        (put.machine, put.sets, put.layouts, put.round, put.again) = (machine, sets, layouts, round, again);
        self.perform(number, &mut orders);
        self.orders = orders;
        match admitted {
            Some(stored) => self.own_copy(number, round, &stored),
            None => self.put_progress(number, false),
        }
    }

    /// Who names writes: this start.
    fn namer(&self) -> Actor {
        let actor = self.shared.actor;
        if mutant::is(Mutant::ReuseDots) {
            return Actor { start: Start(0), ..actor };
        }
        actor
    }

    /// What mistaken kinds of write would speak for.
    fn mistaken_context(&self, plan: &Plan) -> Option<Arc<DotSet>> {
        if mutant::is(Mutant::IgnoreContext) {
            return Some(Arc::default());
        }
        let speaks =
            mutant::is(Mutant::WriteSpeaksForClock) || (mutant::is(Mutant::DeleteEverything) && plan.value.is_none());
        let partition = self.partition(&plan.key);
        if !speaks || !self.replica.owns(partition) {
            return None;
        }
        self.replica.read(&self.storage, partition, &plan.key, &mut Vec::new()).ok().map(|(_, clock)| clock)
    }

    /// Applies a coordinator's own write; at the cap the reconciler is asked to make one value of all.
    fn admit(&mut self, reply_to: &mut ReplyTo, key: &Key, update: &mut Arc<Update>) -> Result<Stored, AdmitError> {
        let partition = self.partition(key);
        // A write that others may have stored already can't be changed or refused any more.
        let bound = matches!(reply_to, ReplyTo::Client { first: false, .. } | ReplyTo::Peer { first: false, .. });
        let cap = if bound { Cap::NONE } else { self.shared.cap(key.keyspace()) };
        let joined =
            self.of_partition(partition, |replica, storage| replica.admit(storage, partition, key, update, cap));
        match joined.map_err(|error| AdmitError::Put(PutError::Storage(error)))? {
            Joined::Stored(stored) => Ok(stored),
            Joined::AtCap(live) if matches!(reply_to, ReplyTo::Peer { .. }) => Err(AdmitError::AtCap(live)),
            Joined::AtCap(live) => {
                if let ReplyTo::Client { merged, ticket, .. } = reply_to {
                    *merged = true;
                    let ticket = *ticket;
                    self.trace(ticket, || Step::Merged);
                }
                *update = Arc::new(self.merge_at_cap(key, &live, update, None).map_err(AdmitError::Put)?);
                let stored = self.replica.update(&mut self.storage, partition, key, update);
                stored.map_err(|error| AdmitError::Put(PutError::Storage(error)))
            }
        }
    }

    fn put_refused(&mut self, reply_to: ReplyTo, error: AdmitError) {
        match (reply_to, error) {
            (ReplyTo::Client { ticket, .. }, AdmitError::Put(error)) => self.done(ticket, Reply::Put(Err(error))),
            (ReplyTo::Client { .. }, AdmitError::AtCap(_)) => unreachable!("a client's own put is merged or refused"),
            (ReplyTo::Peer { node, request, .. }, AdmitError::AtCap(live)) => {
                const REMEMBERED: usize = 1_024;
                if self.turned_away.len() == REMEMBERED {
                    self.turned_away.pop_front();
                }
                self.turned_away.push_back(request);
                let outcome = Forwarded::AtCap { live };
                self.lanes.show(Output::Send(node, Message::ForwardReply(ForwardReply { request, outcome })));
            }
            (ReplyTo::Peer { node, request, .. }, AdmitError::Put(_)) => {
                let outcome = Forwarded::Refused(Refusal::Storage);
                self.lanes.say(Output::Send(node, Message::ForwardReply(ForwardReply { request, outcome })));
            }
        }
    }

    /// Carries out what the machine ordered.
    fn perform(&mut self, number: u64, orders: &mut Vec<Order>) {
        for order in orders.drain(..) {
            let Some(Operation::Put(put)) = self.operations.get_mut(number) else { return };
            let (key, update, waives_sync) = (put.key.clone(), Arc::clone(&put.update), put.waives_own_sync());
            match order {
                Order::Write { to, hint_for } => {
                    let (sets, round) = (put.sets.clone(), put.round);
                    let durability = put.durability_at(to, hint_for.is_some());
                    let request = self.request_id(number);
                    self.ask(to, Message::Write(Write { request, sets, round, key, update, hint_for, durability }));
                }
                Order::Keep { owner } => match self.keep_hint(owner, &key, &update) {
                    Ok(stored) => self.wrote_own(&stored, waives_sync),
                    // What is not there counts for nobody: at W = 1 it would be an acknowledged write's only copy.
                    Err(_) => {
                        if let Some(Operation::Put(put)) = self.operations.get_mut(number) {
                            put.machine.not_kept(owner);
                        }
                    }
                },
            }
        }
    }

    /// Notes what a coordinator has written for a put of its own.
    fn wrote_own(&mut self, stored: &Stored, waives_sync: bool) {
        if waives_sync {
            self.lanes.buffered(stored, self.now.time);
        } else {
            self.lanes.wrote(stored);
        }
    }

    /// The coordinator's own copy is written: it counts at once, or when it is synced.
    fn own_copy(&mut self, number: u64, round: u32, stored: &Stored) {
        let Some(Operation::Put(put)) = self.operations.get(number) else { return };
        if put.waives_own_sync() {
            self.lanes.buffered(stored, self.now.time);
            self.own_copy_counts(number, round, &Step::Buffered);
        } else if self.lanes.when_durable(stored, number, round) {
            self.put_is_durable(number, round);
        }
    }

    /// The coordinator's own copy is durable.
    pub(super) fn put_is_durable(&mut self, number: u64, round: u32) {
        self.own_copy_counts(number, round, &Step::Durable);
    }

    fn own_copy_counts(&mut self, number: u64, round: u32, step: &Step) {
        let (me, store) = (self.shared.node, self.votes.store);
        if let Some(Operation::Put(put)) = self.operations.get_mut(number)
            && put.round == round
        {
            put.machine.notes.note(|| step.clone());
            let layouts = &put.layouts;
            let elastic = self.shared.elastic;
            put.machine.stored_in(me, |at| !elastic || member_store(&layouts[at], me) == store);
            self.put_progress(number, false);
        }
    }

    pub(super) fn on_write_reply(&mut self, from: NodeId, peer: usize, reply: WriteReply) {
        let Some(number) = self.operation_number(reply.request) else { return };
        let now = self.now.time;
        let Some(Operation::Put(put)) = self.operations.get_mut(number) else { return };
        if reply.round != put.round && !mutant::is(Mutant::OldRoundCounts) {
            return;
        }
        let asked = put.machine.asked_at(from);
        if let Some(asked) = asked {
            self.peers.answered(peer, asked, now);
            self.measured.write_answered(peer, now.since(asked));
            if !std::mem::replace(&mut put.heard, true) {
                self.measured.record(Phase::WriteFirst, now.since(put.began));
            }
        }
        let Some(Operation::Put(put)) = self.operations.get_mut(number) else { return };
        if let Some(known) = &reply.known
            && !put.machine.is_answered()
        {
            let partition = self.shared.layout.partition_of(put.key.position());
            put.machine.notes.note(|| Step::Behind { node: from, decided: known.floor });
            self.hear_refused(partition, from, known);
            return self.put_again(number, partition);
        }
        let Some(Operation::Put(put)) = self.operations.get_mut(number) else { return };
        put.machine.notes.note(|| {
            let answer = reply.result.map_or_else(Answered::Refused, |()| Answered::Stored);
            Step::Answered { node: from, answer, took_us: asked.map_or(0, |asked| micros(now.since(asked))) }
        });
        match reply.result {
            Ok(()) => {
                let (layouts, elastic) = (&put.layouts, self.shared.elastic);
                let any = !elastic || mutant::is(Mutant::AnyStoreCounts);
                put.machine.stored_in(from, |at| any || member_store(&layouts[at], from) == reply.store);
            }
            Err(_) if mutant::is(Mutant::CountRefusals) => put.machine.stored(from),
            Err(refusal) => self.with_put(number, |machine, roster, orders| {
                machine.refused(from, refusal, roster, now, orders);
            }),
        }
        self.put_progress(number, false);
    }

    /// A replica knows more than the write names: it is sent again, now if that is known here by now, else a moment
    /// later. Refusals of a change are for the coordinator to deal with, within the request's time.
    fn put_again(&mut self, number: u64, partition: PartitionId) {
        let (now, pause) = (self.now.time, self.shared.again());
        let Some(Operation::Put(put)) = self.operations.get_mut(number) else { return };
        if self.topology.sets(partition) != put.sets {
            return self.send_again(number);
        }
        put.again.get_or_insert(now + pause);
        put.machine.notes.note(|| Step::Waits);
        self.put_progress(number, false);
    }

    /// Runs a machine's step, and carries out what it orders.
    fn with_put(&mut self, number: u64, step: impl FnOnce(&mut Putting, Roster<'_>, &mut Vec<Order>)) {
        let Some(Operation::Put(put)) = self.operations.get_mut(number) else { return };
        let mut orders = std::mem::take(&mut self.orders);
        let roster = self.shared.roster(&put.layouts, &self.topology.directory, &self.peers);
        step(&mut put.machine, roster, &mut orders);
        self.perform(number, &mut orders);
        self.orders = orders;
    }

    pub(super) fn put_due(&mut self, number: u64) {
        let (now, patience) = (self.now.time, self.shared.patience());
        let Some(Operation::Put(put)) = self.operations.get(number) else { return };
        let partition = self.partition(&put.key);
        let is_over = put.sets != self.topology.sets(partition) && !put.machine.is_answered();
        if is_over || put.again.is_some_and(|again| again <= now) {
            self.send_again(number);
        }
        let mut silent = Vec::new();
        self.with_put(number, |machine, roster, orders| silent = machine.late(roster, now, patience, orders));
        if !silent.is_empty() {
            self.owners_are_silent(partition);
        }
        for node in silent {
            self.check(node);
        }
        let Some(Operation::Put(put)) = self.operations.get_mut(number) else { return };
        let expired = now >= put.deadline;
        self.put_progress(number, expired);
    }

    /// Answers the client if the verdict is final, and ends the operation when nothing is left to wait for.
    fn put_progress(&mut self, number: u64, expired: bool) {
        let Some(Operation::Put(put)) = self.operations.get_mut(number) else { return };
        if put.machine.holds_back() {
            let me = self.shared.node;
            self.with_put(number, |machine, _, orders| machine.keep_held_back(me, expired, orders));
        }
        let Some(Operation::Put(put)) = self.operations.get_mut(number) else { return };
        // While it is to be sent anew, too few acknowledgements are not the last word.
        let may_answer = expired || put.again.is_none() || put.machine.is_reached();
        let outcome = if may_answer { put.machine.outcome(expired) } else { None };
        let over = expired || put.machine.is_over();
        let (reply_to, began, deadline) = (put.reply_to, put.began, put.deadline);
        let next = if over {
            Some(deadline)
        } else {
            put.machine.due(self.shared.patience()).into_iter().chain(put.again).min()
        };
        let next = next.unwrap_or(deadline).min(deadline);
        if let Some(outcome) = outcome {
            let (key, update, waives_sync) = (put.key.clone(), Arc::clone(&put.update), put.waives_own_sync());
            // What waits for a change of layouts says nothing of the load, and must not slow down what it waits for.
            let waited = put.round > 0 || put.again.is_some();
            // It would be sent, and answered, once more.
            put.again = None;
            self.keep_notes(number);
            if matches!(outcome, PutOutcome::Done { .. }) {
                self.took(Phase::WriteQuorum, began);
            }
            self.answer_put(reply_to, &key, &update, outcome, waives_sync);
            if !waited {
                self.foreground(began);
            }
        }
        self.keep_notes(number);
        if !over {
            return self.operations.wake_at(number, next);
        }
        let Some(Operation::Put(put)) = self.operations.get(number) else { return };
        // Whom nobody covers is this node's debt, unless the write is nowhere: then there is nothing to diverge.
        let anywhere = put.machine.is_anywhere(self.shared.node);
        if put.machine.is_reached() {
            self.counters.puts_led += 1;
            self.counters.puts_at_all += u64::from(put.machine.is_at_all_owners());
        }
        let roster = self.shared.roster(&put.layouts, &self.topology.directory, &self.peers);
        let uncovered = if anywhere { put.machine.uncovered(roster) } else { Vec::new() };
        if uncovered.is_empty() {
            return self.operations.end(number);
        }
        let Some(Operation::Put(put)) = self.operations.remove(number) else { return };
        for owner in uncovered {
            if let Ok(stored) = self.keep_hint(owner, &put.key, &put.update) {
                self.wrote_own(&stored, put.waives_own_sync());
            }
        }
    }

    /// The others may have been enough, and this node may have had it before it was asked, in memory alone: unless its own
    /// sync is waived, the answer waits for it.
    fn answer_put(&mut self, reply_to: ReplyTo, key: &Key, update: &Update, outcome: PutOutcome, waives_sync: bool) {
        match reply_to {
            ReplyTo::Client { ticket, asked, merged, .. } => {
                self.ended(phase_of(update), asked);
                let result = match outcome {
                    PutOutcome::Done { owners, fallbacks, only_here } => {
                        let context = self.seen_by_writer(key, update, self.shared.node, merged);
                        let layout = self.topology.base().id();
                        Ok(Written { context, owners, fallbacks, only_here, merged, layout })
                    }
                    PutOutcome::Failed(_) if mutant::is(Mutant::UnknownIsRefused) => {
                        Err(PutError::Storage(StorageError::Full))
                    }
                    PutOutcome::Failed(shortfall) => Err(PutError::Unavailable(shortfall)),
                };
                let reply = Reply::Put(result);
                if waives_sync {
                    self.done_with_state(ticket, reply);
                } else {
                    self.done_when_synced(ticket, reply);
                }
            }
            ReplyTo::Peer { node, request, .. } => {
                let outcome = match outcome {
                    PutOutcome::Done { owners, fallbacks, .. } => Forwarded::Done { owners, fallbacks },
                    PutOutcome::Failed(shortfall) => Forwarded::Failed(shortfall),
                };
                let reply = Output::Send(node, Message::ForwardReply(ForwardReply { request, outcome }));
                if waives_sync { self.lanes.show(reply) } else { self.lanes.reveal(reply) }
            }
        }
    }

    /// The client has seen its own write, and what it had read before. A merge it has not seen: to go on from one
    /// would supersede what others had put, though it was acknowledged to them.
    pub(super) fn seen_by_writer(&self, key: &Key, update: &Update, coordinator: NodeId, merged: bool) -> Context {
        if merged && !mutant::is(Mutant::ContextOfMerge) {
            return Context::empty();
        }
        let (live, covered) = (update.live.iter().map(|entry| entry.dot).collect(), update.covered.clone());
        self.make_context(key, live, covered, Some(coordinator))
    }

    /// The shortfall of a write that nobody was asked to coordinate.
    pub(super) fn nobody(rule: WriteRule, tried: &[NodeId]) -> PutError {
        let answers = tried.iter().map(|&node| (node, Answer::Silent)).collect();
        PutError::Unavailable(Shortfall { needed: rule.w, got: 0, answers })
    }
}

/// Why a coordinator did not apply its own write.
enum AdmitError {
    Put(PutError),
    /// A forwarded write at the cap: the node that named it decides, under another name.
    AtCap(Vec<Entry>),
}
