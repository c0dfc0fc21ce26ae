//! Names of old starts: who makes them, how they spread, and contexts that say one which this node doesn't know.
//!
//! ```text
//! owner A (the first that is not suspected), when it has heard of new starts:
//!    A           name the rows of old starts, write the line, sync
//!    A -> B, C   NamesKnown {definition, held}    after A's sync
//!    B -> A      NamesKnown {held}                after B's sync: contexts may say it once W owners hold it
//!
//! node D, for a put whose context says a name that it doesn't know:
//!    D -> A,B,C  NamesWanted {name}
//!    A -> D      NamesKnown {definitions}         now D names the write; if nobody knows, it refuses the put
//!
//! owner A, which sends D many dots that have a name:
//!    A -> D      NamesWanted {known}              what do you know?
//!    D -> A      NamesKnown {held}                what D has said in this start it can be sent
//!    D -> A      NamesWanted {what is new to it}
//! ```

use super::Output;
use super::ops::NOBODY;
use super::plan::Plan;
use super::shard::{Operation, Shard};
use crate::causality::Context;
use crate::dots::DotSet;
use crate::error::{ContextError, PutError};
use crate::ids::{NodeId, PartitionId, RequestId, Start, Ticket};
use crate::key::Key;
use crate::message::{Message, NamesKnown, NamesWanted};
use crate::names::{Definition, Name};
use crate::request::Reply;
use crate::storage::Storage;
use crate::trace::Step;

/// A put that waits for what a name in its context stands for. It has no dot yet.
#[derive(Debug)]
pub(super) struct Opening {
    plan: Plan,
    if_unchanged: bool,
    /// Who has not answered yet.
    asked: Vec<NodeId>,
}

impl Opening {
    pub(super) fn abandoned(self) -> (Ticket, Reply) {
        (self.plan.ticket, Reply::Put(Err(PutError::Stopped)))
    }
}

/// So many partitions are looked at in one go, and so many bytes of definitions sent in one message.
const PARTITIONS: usize = 64;
const BYTES: usize = 1 << 18;

impl<S: Storage> Shard<S> {
    /// Opens a context that a client brought back. One that says an unknown name is opened when it comes with a put.
    pub(super) fn open_context(&self, key: &Key, bytes: &[u8]) -> Result<Context, ContextError> {
        let (shared, partition) = (&self.shared, self.partition(key));
        let whole = |named: &_| self.names.whole(partition, named);
        Context::from_bytes(&shared.identity, key.position(), bytes, shared.limits.context, whole)
    }

    /// The context of somebody who has seen this. It says a name only if W owners hold that durably: to say it sooner
    /// would, if they lose their disks, leave contexts that nobody can open.
    pub(super) fn make_context(&self, key: &Key, live: DotSet, covered: DotSet, route: Option<NodeId>) -> Context {
        let (shared, partition) = (&self.shared, self.partition(key));
        let needed = shared.keyspace(key.keyspace()).map_or(u8::MAX, |keyspace| keyspace.quorum.w());
        let said = self.names.say(partition, &covered, self.topology.owners(partition), usize::from(needed));
        let context = Context::new(shared.identity, key.position(), live, covered, route);
        match said {
            Some(named) => context.said_as(named),
            None => context,
        }
    }

    /// Goes on with a put when the dots of its context are known.
    pub(super) fn open_and_put(&mut self, plan: Plan, if_unchanged: bool) {
        let Some(plan) = self.opened(plan, if_unchanged) else { return };
        self.put_opened(plan, if_unchanged);
    }

    /// The plan with the context opened; or nothing, if others are asked first.
    fn opened(&mut self, mut plan: Plan, if_unchanged: bool) -> Option<Plan> {
        let Some(named) = plan.context.unknown() else { return Some(plan) };
        let partition = self.partition(&plan.key);
        let Some(name) = named.head else { return Some(plan) };
        if let Ok(dots) = self.names.whole(partition, named) {
            plan.context = plan.context.covering(dots);
            return Some(plan);
        }
        let due = plan.deadline.min(self.now.time + self.shared.timing.fallback.saturating_mul(3));
        let me = self.shared.node;
        let owners: Vec<_> = self.topology.owners(partition).iter().copied().filter(|&owner| owner != me).collect();
        self.trace(plan.ticket, || Step::AsksForName);
        let opening = Opening { plan, if_unchanged, asked: owners.clone() };
        let number = self.operations.add(Operation::Opening(opening), due);
        // Suspects, too: a put that is refused costs more than a message.
        for owner in owners {
            self.ask_for_names(owner, number, partition, vec![name]);
        }
        None
    }

    pub(super) fn ask_for_names(&mut self, owner: NodeId, number: u64, partition: PartitionId, wanted: Vec<Name>) {
        let (request, layout) = (self.request_id(number), self.layout_id());
        let known = self.names.tips(partition);
        let message = Message::NamesWanted(NamesWanted { request, layout, partition, wanted, known });
        // What an owner says that it knows must be durable.
        if self.lanes.is_dirty() {
            self.lanes.reveal(Output::Send(owner, message));
        } else {
            self.ask(owner, message);
        }
    }

    /// An answer has come, or none will: goes on, waits, or refuses.
    fn opening_progress(&mut self, number: u64, from: Option<NodeId>) {
        let Some(Operation::Opening(opening)) = self.operations.get_mut(number) else { return };
        if let Some(from) = from {
            opening.asked.retain(|&node| node != from);
        }
        let over = opening.asked.is_empty() || from.is_none();
        let Some(named) = opening.plan.context.unknown() else { return };
        let dots = self.names.whole(self.shared.layout.partition_of(opening.plan.key.position()), named);
        if dots.is_err() && !over {
            return;
        }
        let Some(Operation::Opening(Opening { mut plan, if_unchanged, .. })) = self.operations.remove(number) else {
            return;
        };
        match dots {
            Ok(dots) => {
                plan.context = plan.context.covering(dots);
                self.put_opened(plan, if_unchanged);
            }
            Err(_) => self.done(plan.ticket, Reply::Put(Err(PutError::UnknownName))),
        }
    }

    pub(super) fn opening_due(&mut self, number: u64) {
        self.opening_progress(number, None);
    }

    pub(super) fn on_names_wanted(&mut self, from: NodeId, wanted: &NamesWanted) {
        let partition = wanted.partition;
        if self.check_layout(from, wanted.layout).is_err() || partition.0 >= self.shared.layout.partitions() {
            return;
        }
        self.names.wants(partition, from, &wanted.wanted);
        self.names.holds(partition, from, &wanted.known);
        let definitions = self.names.rows_for(partition, &wanted.wanted, &wanted.known, BYTES);
        self.tell_names(from, Some(wanted.request), partition, definitions);
        let unknown = self.names.unknown(partition, &wanted.known);
        // Of two that own nothing each knows what an owner has told it.
        let of_owners = self.replica.owns(partition) || self.topology.is_owner(from, partition);
        // Several may have told of them at once: they are long, and one tells them all.
        let (me, pause) = (self.shared.node, self.shared.timing.sweep);
        if of_owners && !unknown.is_empty() && self.names.wonder(partition, me, self.now.time, pause) {
            self.ask_for_names(from, NOBODY, partition, unknown);
        }
    }

    fn tell_names(
        &mut self,
        to: NodeId,
        request: Option<RequestId>,
        partition: PartitionId,
        definitions: Vec<Definition>,
    ) {
        let held = self.names.tips(partition);
        let known = NamesKnown { request, layout: self.layout_id(), partition, definitions, held };
        self.lanes.reveal(Output::Send(to, Message::NamesKnown(known)));
    }

    pub(super) fn on_names_known(&mut self, from: NodeId, known: &NamesKnown) {
        let partition = known.partition;
        if self.check_layout(from, known.layout).is_err() || partition.0 >= self.shared.layout.partitions() {
            return;
        }
        match self.names.learn(&mut self.storage, partition, &known.definitions) {
            Ok(learned) => {
                self.lanes.wrote(&learned.stored);
                if learned.new > 0 {
                    if self.replica.owns(partition) {
                        self.names.adopt(partition, self.replica.clock(partition));
                    }
                    self.tell_names(from, None, partition, Vec::new());
                }
                if let Some(name) = learned.lacking {
                    self.ask_for_names(from, NOBODY, partition, vec![name]);
                }
            }
            Err(error) => self.storage_failed(error),
        }
        self.names.holds(partition, from, &known.held);
        if let Some(number) = known.request.and_then(|request| self.operation_number(request)) {
            self.opening_progress(number, Some(from));
        }
    }

    /// A node has said in which start it speaks. If that is another than before, rows of it will grow no more.
    pub(super) fn speaks_in(&mut self, node: NodeId, start: Start) {
        if self.names.heard(node, start) {
            self.names_next = PartitionId(0);
            self.names_due.get_or_insert(self.now.time + self.shared.timing.sweep);
        }
    }

    /// Looks whether clocks have grown by starts of nodes that this one never hears, because they write through others.
    pub(super) fn tend_outgrown(&mut self) {
        let enough = self.shared.limits.named_rows;
        let outgrown = |partition| self.names.is_outgrown(partition, self.replica.clock(partition), enough);
        if self.names_due.is_none() && self.names.owned().any(outgrown) {
            self.names_due = Some(self.now.time + self.shared.timing.sweep);
        }
    }

    /// Looks at some partitions: takes up names, makes one where it is this node's turn, and tells and asks the others.
    pub(super) fn tend_names(&mut self) {
        let next = self.names_next;
        let partitions: Vec<_> =
            self.names.owned().filter(|&partition| partition >= next).take(PARTITIONS + 1).collect();
        self.names_next = partitions.get(PARTITIONS).copied().unwrap_or(PartitionId(0));
        let mut again = partitions.len() > PARTITIONS;
        for partition in partitions.into_iter().take(PARTITIONS) {
            self.names.adopt(partition, self.replica.clock(partition));
            again |= !self.name_old_starts(partition);
        }
        self.names_due = again.then_some(self.now.time + self.shared.timing.sweep);
    }

    /// Tells whether all owners in reach hold all that is known here: else a message was lost, or is on its way.
    fn name_old_starts(&mut self, partition: PartitionId) -> bool {
        let all = self.topology.owners(partition).to_vec();
        let owners: Vec<_> = all.iter().copied().filter(|&owner| !self.is_suspected(owner)).collect();
        let me = self.shared.node;
        let others = || owners.iter().copied().filter(|&owner| owner != me);
        // One makes it, lest each should make another. Two that both think it is their turn do no harm.
        if owners.first() == Some(&me)
            && let Some(definition) =
                self.names.propose(partition, self.replica.clock(partition), &all, self.shared.limits.named_rows)
        {
            match self.names.learn(&mut self.storage, partition, std::slice::from_ref(&definition)) {
                Ok(learned) => {
                    self.lanes.wrote(&learned.stored);
                    self.names.adopt(partition, self.replica.clock(partition));
                    others().for_each(|owner| self.tell_names(owner, None, partition, vec![definition.clone()]));
                }
                Err(error) => self.storage_failed(error),
            }
            return false;
        }
        let spread = self.names.is_spread(partition, &owners);
        if !spread {
            others().for_each(|owner| self.ask_for_names(owner, NOBODY, partition, Vec::new()));
        }
        spread
    }
}
