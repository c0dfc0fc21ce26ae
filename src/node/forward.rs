//! A write whose key this node does not own: handed to an owner, with its dot.

use std::sync::Arc;

use super::Output;
use super::put::phase_of;
use super::shard::{Operation, ReplyTo, Shard};
use crate::causality::{Entry, Update};
use crate::error::{Answer, PutError, Refusal, Shortfall};
use crate::ids::{Dot, NodeId, Ticket};
use crate::key::Key;
use crate::latencies::Phase;
use crate::message::{Forward, ForwardReply, Forwarded, Message, WriteRule};
use crate::mutant::{self, Mutant};
use crate::request::{Reply, Written};
use crate::storage::Storage;
use crate::time::{Time, micros};
use crate::trace::{Answered, Ask, Step, Why};

/// A write that another node coordinates for this one.
///
/// If that node stays silent another owner gets the same dot, and in the end this node coordinates it itself: one
/// request is one write, however many have a hand in it.
#[derive(Debug)]
pub(super) struct Forwarding {
    ticket: Ticket,
    asked: Time,
    key: Key,
    update: Arc<Update>,
    rule: WriteRule,
    deadline: Time,
    tried: Vec<NodeId>,
    /// When the last of them was asked.
    since: Time,
    /// How often the write was merged at the sibling cap.
    merges: u8,
}

impl Forwarding {
    /// Whose answer it waits for.
    pub(super) fn waits_for(&self) -> Option<NodeId> {
        self.tried.last().copied()
    }

    pub(super) fn abandoned(self) -> (Ticket, Reply) {
        (self.ticket, Reply::Put(Err(PutError::Stopped)))
    }
}

/// What the other node said, for people.
fn seen(outcome: &Forwarded) -> Answered {
    match outcome {
        Forwarded::Done { owners, fallbacks } => Answered::Coordinated { owners: *owners, fallbacks: *fallbacks },
        Forwarded::AtCap { .. } => Answered::AtCap,
        Forwarded::Failed(shortfall) => Answered::Failed(shortfall.clone()),
        Forwarded::Refused(refusal) => Answered::Refused(*refusal),
    }
}

impl<S: Storage> Shard<S> {
    pub(super) fn forward(
        &mut self,
        (ticket, asked): (Ticket, Time),
        key: Key,
        update: Arc<Update>,
        rule: WriteRule,
        deadline: Time,
        route: Option<NodeId>,
    ) {
        self.counters.forwards += 1;
        let forwarding = Forwarding {
            ticket,
            asked,
            key,
            update,
            rule,
            deadline,
            tried: Vec::new(),
            since: self.now.time,
            merges: 0,
        };
        let number = self.operations.add(Operation::Forward(forwarding), deadline);
        self.forward_to_next(number, route);
    }

    /// Hands the write to the best owner that was not tried, or coordinates it here if there is none.
    fn forward_to_next(&mut self, number: u64, route: Option<NodeId>) {
        let Some(Operation::Forward(forward)) = self.operations.get(number) else { return };
        let partition = self.partition(&forward.key);
        let owner = self.roster(partition).best_owner(partition, route, &forward.tried);
        let (now, patience) = (self.now.time, self.shared.timing.fallback.saturating_mul(3));
        let Some(Operation::Forward(forward)) = self.operations.get_mut(number) else { return };
        let Some(owner) = owner.filter(|_| forward.tried.len() < 3) else {
            let Some(Operation::Forward(forward)) = self.operations.remove(number) else { return };
            let first = forward.tried.is_empty();
            let reply_to =
                ReplyTo::Client { ticket: forward.ticket, asked: forward.asked, merged: forward.merges > 0, first };
            return self.coordinate(reply_to, forward.key, forward.update, forward.rule, forward.deadline);
        };
        let first = forward.tried.is_empty();
        let ticket = forward.ticket;
        let why = forward.tried.last().map_or(Why::Fastest, |before| Why::InStead(*before));
        forward.tried.push(owner);
        forward.since = now;
        let (key, update, rule) = (forward.key.clone(), Arc::clone(&forward.update), forward.rule);
        let deadline = forward.deadline;
        let (request, layout, left) = (self.request_id(number), self.layout_id(), micros(deadline.since(now)));
        self.operations.wake_at(number, (now + patience).min(deadline));
        if self.traces.is_open(&ticket) {
            let placed = self.placed(partition);
            let usual_us = micros(self.roster(partition).typical(owner));
            self.trace(ticket, || placed);
            self.trace(ticket, || Step::Asked { node: owner, ask: Ask::Coordinate, why, usual_us });
        }
        self.ask(owner, Message::Forward(Forward { request, layout, key, update, rule, left, first }));
    }

    pub(super) fn on_forward(&mut self, from: NodeId, forward: Forward) {
        let request = forward.request;
        if self.turned_away.contains(&request) && !mutant::is(Mutant::ForgetTurnedAway) {
            return;
        }
        let refusal = self.check_layout(from, forward.layout).and_then(|()| self.check_owner(&forward.key)).err();
        let partition = self.partition(&forward.key);
        let refusal = refusal.or_else(|| (!self.is_serving(partition)).then_some(Refusal::NotAnOwner));
        let refusal = refusal.or_else(|| self.check_stamps(&forward.key, &forward.update).err());
        let refusal = refusal.or_else(|| {
            let overloaded = self.operations.len() >= self.shared.limits.in_flight;
            overloaded.then_some(Refusal::Overloaded)
        });
        if let Some(refusal) = refusal {
            let reply = ForwardReply { request, outcome: Forwarded::Refused(refusal) };
            return self.lanes.say(Output::Send(from, Message::ForwardReply(reply)));
        }
        // What a peer claims to have left is no more than what a client may ask for here.
        let left = std::time::Duration::from_micros(forward.left).min(self.shared.timing.deadline.saturating_mul(100));
        let reply_to = ReplyTo::Peer { node: from, request, first: forward.first };
        let mut update = forward.update;
        if mutant::is(Mutant::NameAgain)
            && let [entry] = &update.live[..]
        {
            let dot = self.replica.next_dot(self.shared.actor, self.partition(&forward.key));
            let seen = update.covered.minus(&update.events);
            update = Arc::new(Update::put(Entry { dot, ..entry.clone() }, &seen));
        }
        self.coordinate(reply_to, forward.key, update, forward.rule, self.now.time + left);
    }

    pub(super) fn on_forward_reply(&mut self, from: NodeId, reply: ForwardReply) {
        let Some(number) = self.operation_number(reply.request) else { return };
        let Some(Operation::Forward(forward)) = self.operations.get_mut(number) else { return };
        let (is_last, only) = (forward.tried.last() == Some(&from), forward.tried.len() == 1);
        let needed = forward.rule.w;
        let (ticket, since) = (forward.ticket, forward.since);
        if is_last {
            self.took(Phase::Forward, since);
        }
        if self.traces.is_open(&ticket) {
            let (answer, took_us) = (seen(&reply.outcome), micros(self.now.time.since(since)));
            self.trace(ticket, || Step::Answered { node: from, answer, took_us });
        }
        match reply.outcome {
            Forwarded::Done { owners, fallbacks } => self.forward_done(number, from, owners, fallbacks),
            Forwarded::AtCap { live } if only => self.forward_at_cap(number, &live),
            // No other owner will believe the timestamp either, and one that does makes it win over all others.
            Forwarded::Refused(Refusal::ClockAhead) => {
                let answers = vec![(from, Answer::Refused(Refusal::ClockAhead))];
                self.forward_failed(number, Shortfall { needed, got: 0, answers });
            }
            // Others may have it under this dot: it can't be changed, so the next is asked to take it as it is.
            Forwarded::AtCap { .. } | Forwarded::Refused(_) if is_last => self.forward_to_next(number, None),
            Forwarded::Failed(shortfall) if is_last => self.forward_failed(number, shortfall),
            // Another has been asked meanwhile, and its answer is the one that counts.
            Forwarded::AtCap { .. } | Forwarded::Refused(_) | Forwarded::Failed(_) => {}
        }
    }

    fn forward_done(&mut self, number: u64, coordinator: NodeId, owners: u8, fallbacks: u8) {
        let Some(Operation::Forward(forward)) = self.operations.remove(number) else { return };
        let merged = forward.merges > 0;
        self.ended(phase_of(&forward.update), forward.asked);
        let context = self.seen_by_writer(&forward.key, &forward.update, coordinator, merged);
        let layout = self.topology.base().id();
        let written = Written { context, owners, fallbacks, only_here: false, merged, layout };
        self.done(forward.ticket, Reply::Put(Ok(written)));
    }

    fn forward_failed(&mut self, number: u64, shortfall: Shortfall) {
        let Some(Operation::Forward(forward)) = self.operations.remove(number) else { return };
        self.ended(phase_of(&forward.update), forward.asked);
        self.done(forward.ticket, Reply::Put(Err(PutError::Unavailable(shortfall))));
    }

    /// The owner stored nothing, for the siblings are at the cap: they are merged here, and the merge goes out under
    /// a dot of its own. The old dot was never stored by anybody, and stays a gap.
    fn forward_at_cap(&mut self, number: u64, live: &[Entry]) {
        const MERGES: u8 = 3;
        let Some(Operation::Forward(forward)) = self.operations.remove(number) else { return };
        let partition = self.partition(&forward.key);
        let fresh: Dot = self.replica.next_dot(self.shared.actor, partition);
        let old = forward.update.live.first().map(|entry| entry.dot);
        let merged = if forward.merges < MERGES {
            self.merge_at_cap(&forward.key, live, &forward.update, Some(fresh))
        } else {
            // Others fill the room as fast as it is made.
            Err(self.at_cap(&forward.key, live))
        };
        match merged {
            Ok(mut update) => {
                // The merge holds the put's own value; its first name covers nothing that anybody has.
                if let Some(old) = old {
                    update.covered = update.covered.minus(&[old].into_iter().collect());
                }
                let merges = forward.merges + 1;
                self.trace(forward.ticket, || Step::Merged);
                let forward = Forwarding { update: Arc::new(update), tried: Vec::new(), merges, ..forward };
                let (deadline, route) = (forward.deadline, None);
                let number = self.operations.add(Operation::Forward(forward), deadline);
                self.forward_to_next(number, route);
            }
            Err(error) => {
                self.ended(Phase::Put, forward.asked);
                self.done(forward.ticket, Reply::Put(Err(error)));
            }
        }
    }

    pub(super) fn forward_due(&mut self, number: u64) {
        let Some(Operation::Forward(forward)) = self.operations.get_mut(number) else { return };
        let (last, deadline) = (forward.tried.last().copied(), forward.deadline);
        let (rule, tried, key) = (forward.rule, forward.tried.clone(), forward.key.clone());
        let (ticket, since) = (forward.ticket, forward.since);
        if let Some(node) = last {
            let waited_us = micros(self.now.time.since(since));
            self.trace(ticket, || Step::Late { node, waited_us });
            self.check(node);
        }
        self.owners_are_silent(self.partition(&key));
        if self.now.time < deadline {
            return self.forward_to_next(number, None);
        }
        let Some(Operation::Forward(forward)) = self.operations.remove(number) else { return };
        self.ended(phase_of(&forward.update), forward.asked);
        self.done(forward.ticket, Reply::Put(Err(Self::nobody(rule, &tried))));
    }
}
