//! What an owner says and counts while its layout changes, message by message. Each is a rule whose breach takes more
//! than one misfortune to do harm, since nodes wait for all owners that can be reached.

use std::sync::Arc;

use super::MoveExchange;
use crate::ballot::{Reason, Refused, Sets};
use crate::causality::{Context, DotSet, Entry, Stamp, Update};
use crate::config::{Durability, Limits};
use crate::error::Refusal;
use crate::ids::{Actor, Dot, LayoutId, NodeId, PartitionId, RequestId, Start, StoreId, Ticket};
use crate::message::{Message, MoveStep, Moving, Standing, Write, WriteReply};
use crate::node::tests::{IDENTITY, KEY, key, now};
use crate::node::{Input, Keyspace, Node, Output, Setup};
use crate::request::{PutOptions, Reply, Request};
use crate::ring::{Change, Layout, Member, plan_change};
use crate::storage::MemoryStorage;

const OTHER: NodeId = NodeId(2);
const THIRD: NodeId = NodeId(3);
const NEW: NodeId = NodeId(5);

/// Node 1 of the owners 1, 2 and 3, one of whom the new node replaces.
struct Story {
    node: Node<MemoryStorage>,
    partition: PartitionId,
    parent: LayoutId,
    target: LayoutId,
}

impl Story {
    fn replacing(leaver: NodeId) -> Self {
        let members: Vec<_> = (1..=3).map(|node| Member::new(NodeId(node))).collect();
        let owners = vec![vec![NodeId(1), OTHER, THIRD]; 4];
        let parent = Arc::new(Layout::from_owners(3, members, owners).expect("a layout"));
        let change = Change::of(&parent).replace(leaver, Member::new(NEW));
        let next = Arc::new(plan_change(&parent, &change).expect("a plan").layout);
        let setup = Setup {
            elastic: true,
            founding: true,
            limits: Limits::default(),
            ..Setup::new(IDENTITY, NodeId(1), Arc::clone(&parent), vec![Keyspace::new("default")])
        };
        let mut node = Node::open(setup, vec![MemoryStorage::new()], Start(7), 1, now(0)).expect("it opens");
        node.propose(Arc::clone(&next)).expect("it follows");
        let partition = parent.partition_of(key().position());
        Self { node, partition, parent: parent.ballot(partition), target: next.ballot(partition) }
    }

    fn hear(&mut self, from: NodeId, message: Message) {
        self.node.step(now(1), Input::Message(from, message));
    }

    fn say(&mut self, from: NodeId, step: MoveStep) {
        let (partition, layout) = (self.partition, self.target);
        self.hear(from, Message::Moving(Moving { partition, layout, store: None, step }));
    }

    /// All that may leave before a sync, and what it says to itself among it.
    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.node.poll()).collect()
    }

    /// All that leaves; what the node says to itself has come back.
    fn settle(&mut self) -> Vec<Output> {
        let mut all = Vec::new();
        loop {
            self.node.commit().expect("memory doesn't fail");
            let outputs = self.outputs();
            if outputs.is_empty() {
                return all;
            }
            for output in outputs {
                match output {
                    Output::Send(NodeId(1), message) => self.hear(NodeId(1), message),
                    other => all.push(other),
                }
            }
        }
    }

    fn put(&mut self) -> RequestId {
        let (keyspace, options) = (Keyspace::new("default").id(), PutOptions::default());
        let (value, context) = (Some("v".into()), Context::empty());
        let request = Request::Put { keyspace, key: KEY.into(), value, context, options };
        self.node.step(now(1), Input::Request(Ticket(1), request));
        let mut sent = self.settle().into_iter();
        let asked = |output| match output {
            Output::Send(_, Message::Write(write)) => Some(write.request),
            _ => None,
        };
        sent.find_map(asked).expect("it asks the others")
    }

    fn acknowledge(&mut self, from: NodeId, request: RequestId, round: u32, store: Option<StoreId>) -> bool {
        let reply = WriteReply { request, round, store, result: Ok(()), known: None };
        self.hear(from, Message::WriteReply(reply));
        self.settle().iter().any(|output| matches!(output, Output::Done(_, Reply::Put(Ok(_)))))
    }
}

fn is_step(output: &Output, is_it: impl Fn(&MoveStep) -> bool) -> bool {
    matches!(output, Output::Send(_, Message::Moving(moving)) if is_it(&moving.step))
}

fn a_fence_is_answered_when_the_promise_is_durable() {
    let mut story = Story::replacing(THIRD);
    story.settle();
    story.say(NEW, MoveStep::Fence);
    let is_answer = |output: &Output| is_step(output, |step| matches!(step, MoveStep::Fenced { has_all: true, .. }));
    assert!(!story.outputs().iter().any(is_answer));
    assert!(story.settle().iter().any(is_answer));
}

fn a_former_owner_takes_no_write() {
    let mut story = Story::replacing(NodeId(1));
    let written = |story: &mut Story, number, layout| {
        let dot = Dot { actor: Actor { node: OTHER, start: Start(3) }, counter: number };
        let entry = Entry { dot, write_id: None, expires: None, stamp: Stamp(1), value: "v".into() };
        let write = Write {
            request: RequestId { start: Start(3), number },
            sets: Sets::of(layout),
            round: 0,
            key: key(),
            update: Arc::new(Update::put(entry, &DotSet::new())),
            hint_for: None,
            durability: Durability::Quorum,
        };
        story.hear(OTHER, Message::Write(write));
        let reply = |output| match output {
            Output::Send(OTHER, Message::WriteReply(reply)) => Some(reply.result),
            _ => None,
        };
        story.settle().into_iter().find_map(reply).expect("an answer")
    };
    let (before, after) = (story.parent, story.target);
    assert_eq!(written(&mut story, 1, before), Ok(()));
    story.say(OTHER, MoveStep::Decided);
    assert_eq!(written(&mut story, 2, after), Err(Refusal::NotAnOwner));
}

fn an_acknowledgement_counts_for_the_store_that_the_layout_names() {
    let mut story = Story::replacing(THIRD);
    let request = story.put();
    assert!(!story.acknowledge(OTHER, request, 0, Some(StoreId(9))));
    assert!(story.acknowledge(OTHER, request, 0, None));
}

fn an_acknowledgement_counts_for_the_layouts_that_its_write_named() {
    let mut story = Story::replacing(THIRD);
    let request = story.put();
    let (floor, promise) = (story.parent, story.target);
    let known = Refused { reason: Reason::Promise, floor, promise, seals: Vec::new() };
    let result = Err(Refusal::NotAnOwner);
    let reply = WriteReply { request, round: 0, store: None, result, known: Some(Box::new(known)) };
    story.hear(OTHER, Message::WriteReply(reply));
    let sent = story.settle();
    let is_again = |output: &Output| matches!(output, Output::Send(_, Message::Write(write)) if write.round == 1);
    assert!(sent.iter().any(is_again), "{sent:?}");
    // The round before named the former owners alone: two of them are no two of the latter.
    assert!(!story.acknowledge(OTHER, request, 0, None));
    assert!(story.acknowledge(OTHER, request, 1, None));
}

fn asks(outputs: &[Output], whom: NodeId) -> bool {
    outputs.iter().any(|output| matches!(output, Output::Send(to, Message::Ask(_)) if *to == whom))
}

fn an_owner_that_has_lost_something_is_not_collected_from() {
    let mut story = Story::replacing(THIRD);
    story.settle();
    story.say(OTHER, MoveStep::Ready);
    story.say(NEW, MoveStep::Ready);
    story.settle();
    let (floor, partition, target) = (story.parent, story.partition, story.target);
    let fenced = |has_all| MoveStep::Fenced { floor, seals: Vec::new(), has_all };
    story.say(OTHER, fenced(false));
    assert!(!asks(&story.settle(), OTHER));
    story.say(OTHER, fenced(true));
    assert!(asks(&story.settle(), OTHER));
    // It loses something in the course of the exchange.
    let collect = MoveExchange::Collect(target);
    let shard = &mut story.node.shards[0];
    let missing = |shard: &super::Shard<_>| {
        let (groups, coming) = (shard.topology.groups(partition), &shard.moves.coming[&partition]);
        coming.collect.missing(&groups).iter().any(|owner| owner.node == OTHER)
    };
    shard.move_exchanged(partition, OTHER, Standing::Lost, Start(1), collect);
    assert!(missing(shard));
    shard.move_exchanged(partition, OTHER, Standing::Whole, Start(1), collect);
    assert!(!missing(shard));
}

fn a_copy_that_was_made_before_the_fence_does_not_count() {
    let mut story = Story::replacing(THIRD);
    story.settle();
    let (partition, target) = (story.partition, story.target);
    let shard = &mut story.node.shards[0];
    shard.move_exchanged(partition, OTHER, Standing::Whole, Start(1), MoveExchange::Copy(target));
    let groups = shard.topology.groups(partition);
    let missing = shard.moves.coming[&partition].collect.missing(&groups);
    assert!(missing.iter().any(|owner| owner.node == OTHER), "{missing:?}");
}

#[test]
fn owners_say_and_count_what_they_must() {
    a_fence_is_answered_when_the_promise_is_durable();
    a_former_owner_takes_no_write();
    an_acknowledgement_counts_for_the_store_that_the_layout_names();
    an_acknowledgement_counts_for_the_layouts_that_its_write_named();
    an_owner_that_has_lost_something_is_not_collected_from();
    a_copy_that_was_made_before_the_fence_does_not_count();
}

#[cfg(feature = "mutants")]
mod controls {
    use super::*;
    use crate::mutant::{Mutant, switch};

    #[test]
    fn a_rule_that_is_left_out_shows_in_its_script() {
        let controls: [(Mutant, fn()); 6] = [
            (Mutant::FenceUnsynced, a_fence_is_answered_when_the_promise_is_durable),
            (Mutant::GoingTakesWrites, a_former_owner_takes_no_write),
            (Mutant::AnyStoreCounts, an_acknowledgement_counts_for_the_store_that_the_layout_names),
            (Mutant::OldRoundCounts, an_acknowledgement_counts_for_the_layouts_that_its_write_named),
            (Mutant::CollectUnwhole, an_owner_that_has_lost_something_is_not_collected_from),
            (Mutant::CopyCounts, a_copy_that_was_made_before_the_fence_does_not_count),
        ];
        for (mutant, script) in controls {
            switch(Some(mutant));
            let shown = std::panic::catch_unwind(script).is_err();
            switch(None);
            assert!(shown, "{}", mutant.name());
        }
    }
}
