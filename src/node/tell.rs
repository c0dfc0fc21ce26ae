//! What an owner tells another that exchanges with it. Nothing of an exchange is remembered here.

use super::Output;
use super::shard::Shard;
use crate::error::Refusal;
use crate::ids::{NodeId, PartitionId};
use crate::message::{Answer, Ask, Compare, Compared, Message, Question, Told};
use crate::replica::Portion;
use crate::storage::Storage;

impl<S: Storage> Shard<S> {
    pub(super) fn on_compare(&mut self, from: NodeId, compare: Compare) {
        if self.check_layout(from, compare.layout).is_err() {
            return;
        }
        let mut reply =
            Compared { request: compare.request, same: Vec::new(), apart: Vec::new(), doubtful: Vec::new() };
        for theirs in compare.marks {
            // Nobody waits for a former owner: it may have missed how it ended.
            let is_known = theirs.partition.0 < self.shared.layout.partitions();
            if self.shared.elastic && is_known && !self.topology.is_owner(from, theirs.partition) {
                self.tell_floor(from, theirs.partition);
            }
            let Some(own) = self.replica.mark(theirs.partition) else { continue };
            let roots_differ = own.root.zip(theirs.root).is_some_and(|(own, theirs)| own != theirs);
            let list = match (own.clock == theirs.clock, roots_differ) {
                (false, _) => &mut reply.apart,
                (true, true) => &mut reply.doubtful,
                (true, false) => &mut reply.same,
            };
            list.push(theirs.partition);
        }
        self.lanes.reveal(Output::Send(from, Message::Compared(reply)));
    }

    /// One step of an exchange that another node asks for.
    pub(super) fn on_ask(&mut self, from: NodeId, ask: Ask) {
        let known = ask.partition.0 < self.shared.layout.partitions() && self.replica.owns(ask.partition);
        let result = match self.check_layout(from, ask.layout) {
            Err(refusal) => Err(refusal),
            Ok(()) if !known => {
                self.counters.refused += 1;
                if ask.partition.0 < self.shared.layout.partitions() {
                    self.tell_floor(from, ask.partition);
                }
                Err(Refusal::NotAnOwner)
            }
            Ok(()) => self.answer_step(ask.partition, ask.question),
        };
        let losses = if known { self.replica.losses(ask.partition) } else { 0 };
        let start = self.shared.actor.start;
        let told = Told { request: ask.request, step: ask.step, partition: ask.partition, start, losses, result };
        self.lanes.reveal(Output::Send(from, Message::Told(told)));
    }

    fn answer_step(&mut self, partition: PartitionId, question: Question) -> Result<Answer, Refusal> {
        let portion = self.portion();
        let answer = self.of_partition(partition, |replica, storage| match &question {
            Question::Since(clock) => replica.since(storage, partition, clock, portion).map(Some),
            Question::Survey => Ok(replica.survey(storage, partition)?.map(Answer::Surveyed)),
            Question::Level { nodes, common } => {
                Ok(replica.tree(partition).and_then(|tree| tree.level(nodes, *common).ok()).map(Answer::Level))
            }
            Question::Keys { nodes, after } => {
                Ok(replica.keys(storage, partition, nodes, *after, u64::MAX, portion)?.map(Answer::Keys))
            }
            Question::Records(positions) => {
                replica.records(storage, partition, positions, portion).map(|records| Some(Answer::Records(records)))
            }
        });
        answer.map_err(|_| Refusal::Storage)?.ok_or(Refusal::NotReady)
    }

    pub(super) fn portion(&self) -> Portion {
        const BYTES: usize = 1 << 20;
        Portion { records: self.shared.limits.exchange_batch, bytes: self.shared.limits.object.min(BYTES) }
    }
}
