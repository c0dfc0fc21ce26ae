//! Traces: which requests have one, and what goes into it.

use super::shard::{Operation, Shard};
use crate::error::{CompareError, GetError, ListError, PutError};
use crate::ids::{NodeId, PartitionId, Ticket};
use crate::request::{Reply, Request};
use crate::storage::Storage;
use crate::trace::{Notes, Step};

impl<S: Storage> Shard<S> {
    /// A client's request begins.
    pub(super) fn open_trace(&mut self, ticket: Ticket, request: &Request) {
        let traced = match request {
            Request::Get { options, .. } => options.traced,
            Request::Put { options, .. } => options.traced,
            Request::List { .. } | Request::Compare { .. } => false,
        };
        if traced {
            self.traces.open(ticket, self.now.time);
        }
    }

    /// A step that no machine takes.
    #[inline]
    pub(super) fn trace(&mut self, ticket: Ticket, step: impl FnOnce() -> Step) {
        if !self.traces.is_empty() {
            self.traces.add(&ticket, self.now.time, step);
        }
    }

    /// The answer to a request, with its trace if it has one.
    #[cold]
    #[inline(never)]
    pub(super) fn with_trace(&mut self, ticket: Ticket, reply: Reply) -> Reply {
        match self.traces.close(&ticket) {
            Some(trace) => Reply::Traced(Box::new(reply), Box::new(trace)),
            None => reply,
        }
    }

    /// Takes in what an operation's machine has noted.
    #[inline]
    pub(super) fn keep_notes(&mut self, number: u64) {
        if !self.traces.is_empty() {
            self.take_notes(number);
        }
    }

    #[cold]
    #[inline(never)]
    fn take_notes(&mut self, number: u64) {
        let now = self.now.time;
        let noted = match self.operations.get_mut(number) {
            Some(Operation::Get(get)) => get.take_notes(),
            Some(Operation::Put(put)) => put.take_notes(),
            _ => None,
        };
        if let Some((ticket, steps)) = noted {
            steps.into_iter().for_each(|step| self.traces.add(&ticket, now, || step));
        }
    }

    /// What a machine is to note of a request: nothing, unless it is traced.
    pub(super) fn notes_of(&mut self, ticket: Option<Ticket>, partition: PartitionId) -> Notes {
        if self.traces.is_empty() {
            return Notes::default();
        }
        let traced = ticket.filter(|ticket| self.traces.is_open(ticket));
        if let Some(ticket) = traced {
            let placed = self.placed(partition);
            self.trace(ticket, || placed);
        }
        Notes::new(traced.is_some())
    }

    /// Where a key lives, as a request finds it.
    #[cold]
    #[inline(never)]
    pub(super) fn placed(&self, partition: PartitionId) -> Step {
        const STAND_INS: usize = 3;
        let layouts = self.topology.live(partition);
        let sets: Vec<_> = self.topology.sets(partition).iter().collect();
        let is_owner = |node: &NodeId| layouts.iter().any(|layout| layout.owns(*node, partition));
        Step::Placed {
            partition,
            layout: sets[0],
            owners: layouts[0].owners(partition).to_vec(),
            pending: sets[1..].to_vec(),
            stand_ins: layouts[0].preference_list(partition).filter(|node| !is_owner(node)).take(STAND_INS).collect(),
        }
    }

    /// What a client is told whose request was not answered before the node stopped.
    pub(super) fn stopped(reply: Reply) -> Reply {
        match reply {
            Reply::Get(_) => Reply::Get(Err(GetError::Stopped)),
            Reply::Put(_) => Reply::Put(Err(PutError::Stopped)),
            Reply::List(_) => Reply::List(Err(ListError::Stopped)),
            Reply::Compared(_) => Reply::Compared(Err(CompareError::Stopped)),
            Reply::Traced(reply, trace) => Reply::Traced(Box::new(Self::stopped(*reply)), trace),
        }
    }
}
