//! Puts and deletes: from the client's request to its answer, and the hints that are left behind.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::Event;
use super::Output;
use super::get::Purpose;
use super::shard::{Operation, ReplyTo, Shard};
use crate::bytes::Bytes;
use crate::causality::{Context, Entry, Update, value_bytes};
use crate::config::Durability;
use crate::coordinate::{GetRule, Order, PutOutcome, Putting, Roster};
use crate::dots::DotSet;
use crate::error::{Answer, PutError, Refusal, Shortfall, StorageError};
use crate::ids::{Actor, Dot, KeyspaceId, NodeId, Start, Ticket, WriteId};
use crate::key::Key;
use crate::message::{ForwardReply, Forwarded, Message, Write, WriteReply, WriteRule};
use crate::mutant::{self, Mutant};
use crate::reconcile::{Reconciled, Sibling};
use crate::replica::{Cap, Joined};
use crate::request::{PutOptions, Reply, Written};
use crate::storage::{Storage, Stored};
use crate::time::{Time, WallTime, micros};

/// A put whose coordinator this node is.
#[derive(Debug)]
pub(super) struct PutOperation {
    reply_to: ReplyTo,
    key: Key,
    update: Arc<Update>,
    rule: WriteRule,
    began: Time,
    deadline: Time,
    machine: Putting,
}

/// A client's put that has been checked.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) ticket: Ticket,
    pub(super) key: Key,
    pub(super) value: Option<Bytes>,
    pub(super) context: Context,
    pub(super) rule: WriteRule,
    pub(super) write_id: Option<WriteId>,
    /// None for a delete.
    pub(super) expires_after: Option<Duration>,
    pub(super) deadline: Time,
}

impl PutOperation {
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
    pub(super) fn put(
        &mut self,
        ticket: Ticket,
        keyspace: KeyspaceId,
        key: &[u8],
        value: Option<Bytes>,
        context: Context,
        options: &PutOptions,
    ) {
        let plan = match self.plan_put(ticket, keyspace, key, value, context, options) {
            Ok(plan) => plan,
            Err(error) => return self.done(ticket, Reply::Put(Err(error))),
        };
        self.open_and_put(plan, options.if_unchanged);
    }

    /// Puts what was checked, with a context whose dots are known.
    pub(super) fn put_opened(&mut self, plan: Plan, if_unchanged: bool) {
        let blind_delete = plan.value.is_none() && plan.context.is_empty();
        if !if_unchanged && !blind_delete {
            return self.write(plan);
        }
        let Some(defaults) = self.shared.keyspace(plan.key.keyspace()) else { return };
        let rule = GetRule { r: defaults.quorum.r(), mode: plan.rule.mode, spread: plan.rule.spread, all: false };
        let (key, deadline) = (plan.key.clone(), plan.deadline);
        let purpose = if if_unchanged { Purpose::Condition(Box::new(plan)) } else { Purpose::Delete(Box::new(plan)) };
        self.start_get(purpose, key, rule, deadline);
    }

    fn plan_put(
        &self,
        ticket: Ticket,
        keyspace: KeyspaceId,
        key: &[u8],
        value: Option<Bytes>,
        context: Context,
        options: &PutOptions,
    ) -> Result<Plan, PutError> {
        let (shared, limits) = (&self.shared, &self.shared.limits);
        let defaults = shared.keyspace(keyspace).ok_or(PutError::Keyspace)?;
        if key.len() > limits.key {
            return Err(PutError::KeyTooLong { got: key.len(), limit: limits.key });
        }
        let limit = shared.longest_value(defaults);
        if let Some(got) = value.as_ref().map(|value| value.len()).filter(|&got| got > limit) {
            return Err(PutError::ValueTooLong { got, limit });
        }
        let expires_after = options.expires_after.filter(|_| value.is_some());
        if expires_after.is_some_and(|after| micros(after) == 0) {
            return Err(PutError::ExpiresAtOnce);
        }
        let w = options.w.unwrap_or(defaults.quorum.w());
        if w == 0 || w > defaults.quorum.n() {
            return Err(PutError::Quorum { asked: w, n: defaults.quorum.n() });
        }
        let key = Key::new(&shared.identity.secret, keyspace, key);
        context.check(&shared.identity, key.position())?;
        Ok(Plan {
            ticket,
            key,
            value,
            context,
            rule: WriteRule {
                w,
                mode: options.mode.unwrap_or(defaults.mode),
                spread: options.spread,
                durability: options.durability,
            },
            write_id: options.write_id,
            expires_after,
            deadline: self.now.time + options.deadline.unwrap_or(shared.timing.deadline),
        })
    }

    /// Names the write, here, once: whatever is tried afterwards carries this dot.
    pub(super) fn write(&mut self, plan: Plan) {
        debug_assert!(plan.context.unknown().is_none(), "a context must be opened before a write is named");
        let partition = self.partition(&plan.key);
        let dot = self.replica.next_dot(self.namer(), partition);
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
        if self.replica.owns(partition) {
            let reply_to = ReplyTo::Client { ticket: plan.ticket, merged: false };
            self.coordinate(reply_to, plan.key, update, plan.rule, plan.deadline);
        } else {
            self.forward(plan.ticket, plan.key, update, plan.rule, plan.deadline, plan.context.route());
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
        if self.replica.owns(partition) {
            match self.admit(&mut reply_to, &key, &mut update) {
                Ok(stored) => local = Some(stored),
                Err(error) => return self.put_refused(reply_to, error),
            }
        }
        // Without a copy of its own there is nothing that the others' durability could be waived for.
        let rule = if local.is_some() { rule } else { WriteRule { durability: Durability::Quorum, ..rule } };
        let mut orders = std::mem::take(&mut self.orders);
        let stamps = self.shared.keyspace(key.keyspace()).is_some_and(|keyspace| keyspace.reconciler.uses_stamps());
        let machine = Putting::start(rule, stamps, partition, self.roster(), self.now.time, &mut orders);
        let due = machine.due(self.shared.patience()).unwrap_or(deadline).min(deadline);
        let operation = PutOperation { reply_to, key, update, rule, began: self.now.time, deadline, machine };
        let number = self.operations.add(Operation::Put(operation), due);
        self.perform(number, &mut orders);
        self.orders = orders;
        match local {
            Some(stored) if self.lanes.when_durable(&stored, number) => self.put_is_durable(number),
            Some(_) => {}
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
        let bound = matches!(reply_to, ReplyTo::Peer { first: false, .. });
        let cap = if bound { Cap::NONE } else { self.shared.cap(key.keyspace()) };
        let joined =
            self.of_partition(partition, |replica, storage| replica.admit(storage, partition, key, update, cap));
        match joined.map_err(|error| AdmitError::Put(PutError::Storage(error)))? {
            Joined::Stored(stored) => Ok(stored),
            Joined::AtCap(live) if matches!(reply_to, ReplyTo::Peer { .. }) => Err(AdmitError::AtCap(live)),
            Joined::AtCap(live) => {
                if let ReplyTo::Client { merged, .. } = reply_to {
                    *merged = true;
                }
                *update = Arc::new(self.merge_at_cap(key, &live, update, None).map_err(AdmitError::Put)?);
                let stored = self.replica.update(&mut self.storage, partition, key, update);
                stored.map_err(|error| AdmitError::Put(PutError::Storage(error)))
            }
        }
    }

    /// One write in the place of all siblings: the reconciler's value, under the put's own dot or a fresh one, with
    /// the context of what was merged. What has expired is superseded too, and is no part of the value.
    pub(super) fn merge_at_cap(
        &mut self,
        key: &Key,
        live: &[Entry],
        update: &Update,
        fresh: Option<Dot>,
    ) -> Result<Update, PutError> {
        let Some(own) = update.live.first() else { return Err(self.at_cap(key, live)) };
        let (wall, dot) = (self.now.wall, fresh.unwrap_or(own.dot));
        let (expired, live): (Vec<Entry>, Vec<Entry>) = live.iter().cloned().partition(|entry| entry.is_expired(wall));
        let mut covered = update.covered.clone();
        covered.union_with(&expired.iter().map(|entry| entry.dot).collect());
        if self.shared.cap(key.keyspace()).holds(&live) {
            return Ok(Update::put(Entry { dot, ..own.clone() }, &covered));
        }
        let longest = self.shared.keyspace(key.keyspace()).map_or(0, |keyspace| self.shared.longest_value(keyspace));
        let (value, expires) = match self.reconcile(key, &live).map_err(|()| PutError::Reconciler)? {
            Reconciled::Pick(index) => (live[index].value.compact(), live[index].expires),
            Reconciled::Merge(value) if value.len() <= longest => (value, last_expiry(&live)),
            // No client could have put such a value, and no message might hold it.
            Reconciled::Keep | Reconciled::Merge(_) => return Err(self.at_cap(key, &live)),
        };
        covered.union_with(&live.iter().map(|entry| entry.dot).collect());
        let stamp = live.iter().map(|entry| entry.stamp).max().unwrap_or(own.stamp);
        Ok(Update::put(Entry { dot, write_id: own.write_id, expires, stamp, value }, &covered))
    }

    /// Why a put that would leave these is refused.
    pub(super) fn at_cap(&self, key: &Key, live: &[Entry]) -> PutError {
        let cap = self.shared.cap(key.keyspace());
        if live.len() > cap.siblings {
            PutError::TooManySiblings { siblings: live.len(), limit: cap.siblings }
        } else {
            PutError::ObjectTooLarge { bytes: value_bytes(live), limit: cap.bytes }
        }
    }

    /// Asks the keyspace's reconciler, and survives its panic.
    pub(super) fn reconcile(&mut self, key: &Key, live: &[Entry]) -> Result<Reconciled, ()> {
        let Some(keyspace) = self.shared.keyspace(key.keyspace()) else { return Ok(Reconciled::Keep) };
        let siblings: Vec<Sibling<'_>> = live.iter().map(Sibling::from).collect();
        let reconciler = &keyspace.reconciler;
        let decided = catch_unwind(AssertUnwindSafe(|| reconciler.reconcile(key.user(), &siblings)));
        match decided {
            Ok(Reconciled::Pick(index)) if index >= live.len() => {}
            Ok(decided) => return Ok(decided),
            Err(_) => {}
        }
        self.lanes.say(Output::Event(Event::ReconcilerFailed(key.keyspace())));
        Err(())
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
                self.lanes.reveal(Output::Send(node, Message::ForwardReply(ForwardReply { request, outcome })));
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
            let (key, update, durability) = (put.key.clone(), Arc::clone(&put.update), put.rule.durability);
            match order {
                Order::Write { to, hint_for } => {
                    let (request, layout) = (self.request_id(number), self.layout_id());
                    self.ask(to, Message::Write(Write { request, layout, key, update, hint_for, durability }));
                }
                Order::Keep { owner } => match self.keep_hint(owner, &key, &update) {
                    Ok(stored) => self.lanes.wrote(&stored),
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

    /// The coordinator's own copy is durable.
    pub(super) fn put_is_durable(&mut self, number: u64) {
        let me = self.shared.node;
        if let Some(Operation::Put(put)) = self.operations.get_mut(number) {
            put.machine.stored(me);
            self.put_progress(number, false);
        }
    }

    pub(super) fn on_write_reply(&mut self, from: NodeId, peer: usize, reply: WriteReply) {
        let Some(number) = self.operation_number(reply.request) else { return };
        let now = self.now.time;
        let Some(Operation::Put(put)) = self.operations.get_mut(number) else { return };
        let asked = put.machine.asked_at(from);
        match reply.result {
            Ok(()) => put.machine.stored(from),
            Err(_) if mutant::is(Mutant::CountRefusals) => put.machine.stored(from),
            Err(refusal) => self.with_put(number, |machine, roster, orders| {
                machine.refused(from, refusal, roster, now, orders);
            }),
        }
        if let Some(asked) = asked {
            self.peers.answered(peer, asked, now);
        }
        self.put_progress(number, false);
    }

    /// Runs a machine's step, and carries out what it orders.
    fn with_put(&mut self, number: u64, step: impl FnOnce(&mut Putting, Roster<'_>, &mut Vec<Order>)) {
        let Some(Operation::Put(put)) = self.operations.get_mut(number) else { return };
        let mut orders = std::mem::take(&mut self.orders);
        step(&mut put.machine, self.shared.roster(&self.peers), &mut orders);
        self.perform(number, &mut orders);
        self.orders = orders;
    }

    pub(super) fn put_due(&mut self, number: u64) {
        let (now, patience) = (self.now.time, self.shared.patience());
        let mut silent = Vec::new();
        self.with_put(number, |machine, roster, orders| silent = machine.late(roster, now, patience, orders));
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
        let outcome = put.machine.outcome(expired);
        let over = expired || put.machine.is_over();
        let (reply_to, began, deadline) = (put.reply_to, put.began, put.deadline);
        let next =
            if over { deadline } else { put.machine.due(self.shared.patience()).unwrap_or(deadline).min(deadline) };
        if let Some(outcome) = outcome {
            let (key, update) = (put.key.clone(), Arc::clone(&put.update));
            self.answer_put(reply_to, &key, &update, outcome);
            self.foreground(began);
        }
        if !over {
            return self.operations.wake_at(number, next);
        }
        let Some(Operation::Put(put)) = self.operations.get(number) else { return };
        // Whom nobody covers is this node's debt, unless the write is nowhere: then there is nothing to diverge.
        let anywhere = put.machine.is_anywhere(self.shared.node);
        let uncovered = if anywhere { put.machine.uncovered(self.roster()) } else { Vec::new() };
        if uncovered.is_empty() {
            return self.operations.end(number);
        }
        let Some(Operation::Put(put)) = self.operations.remove(number) else { return };
        for owner in uncovered {
            if let Ok(stored) = self.keep_hint(owner, &put.key, &put.update) {
                self.lanes.wrote(&stored);
            }
        }
    }

    fn answer_put(&mut self, reply_to: ReplyTo, key: &Key, update: &Update, outcome: PutOutcome) {
        match reply_to {
            ReplyTo::Client { ticket, merged } => {
                let result = match outcome {
                    PutOutcome::Done { owners, fallbacks, only_here } => {
                        let context = self.seen_by_writer(key, update, self.shared.node, merged);
                        Ok(Written { context, owners, fallbacks, only_here, merged })
                    }
                    PutOutcome::Failed(_) if mutant::is(Mutant::UnknownIsRefused) => {
                        Err(PutError::Storage(StorageError::Full))
                    }
                    PutOutcome::Failed(shortfall) => Err(PutError::Unavailable(shortfall)),
                };
                self.done_with_state(ticket, Reply::Put(result));
            }
            ReplyTo::Peer { node, request, .. } => {
                let outcome = match outcome {
                    PutOutcome::Done { owners, fallbacks, .. } => Forwarded::Done { owners, fallbacks },
                    PutOutcome::Failed(shortfall) => Forwarded::Failed(shortfall),
                };
                self.lanes.reveal(Output::Send(node, Message::ForwardReply(ForwardReply { request, outcome })));
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

/// When a value expires that was made of these: with the last of them, and never if one of them never does.
fn last_expiry(live: &[Entry]) -> Option<WallTime> {
    let all: Option<Vec<WallTime>> = live.iter().map(|entry| entry.expires).collect();
    all?.into_iter().max()
}

/// Why a coordinator did not apply its own write.
enum AdmitError {
    Put(PutError),
    /// A forwarded write at the cap: the node that named it decides, under another name.
    AtCap(Vec<Entry>),
}

/// What a read that comes before a write found.
impl<S: Storage> Shard<S> {
    /// A delete without a context deletes what a read saw.
    pub(super) fn delete_seen(&mut self, mut plan: Plan, context: Context) {
        plan.context = context;
        self.write(plan);
    }

    /// A conditional put goes on if exactly what its context was shown is there.
    pub(super) fn write_if_unchanged(&mut self, plan: Plan, live: &[Entry]) {
        if plan.context.has_shown(live) || mutant::is(Mutant::IgnoreCondition) {
            self.write(plan);
        } else {
            self.done_with_state(plan.ticket, Reply::Put(Err(PutError::Changed)));
        }
    }
}
