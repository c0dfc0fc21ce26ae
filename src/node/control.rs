//! The control part of a node: small, slow, apart from the data.
//!
//! It probes the peers that the shards suspect, takes part in the gossip, and keeps what layouts say. The two sides tell
//! each other changes, never data: what a shard suspects or lacks, what answered a probe, and layouts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::membership::Members;
use super::{Node, Output};
use crate::ids::{LayoutId, NodeId, RequestId, Start};
use crate::message::{Message, Probe};
use crate::storage::Storage;
use crate::time::{Time, micros};

/// What a shard tells the control part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Notice {
    /// This peer has not answered; skip it until it does.
    Suspected(NodeId),
    /// This peer keeps the shard waiting, or was quiet for long: ask it for a sign.
    Doubted(NodeId),
    /// It is not known what this layout says; the peer has spoken of it.
    Wanted(LayoutId, NodeId),
    /// This peer is a member no more: nobody waits for it.
    Gone(NodeId),
    /// This peer was suspected and has been heard.
    Recovered(NodeId),
}

#[derive(Debug)]
pub(super) struct Control {
    sequence: Sequence,
    first_pause: Duration,
    pub(super) probes: BTreeMap<NodeId, Pending>,
    pub(super) rng: Xoshiro256PlusPlus,
    pub(super) members: Members,
}

/// Numbers probes.
#[derive(Debug)]
struct Sequence {
    start: Start,
    next: u64,
}

impl Sequence {
    fn probe(&mut self, node: NodeId) -> Output {
        let request = RequestId { start: self.start, number: self.next };
        self.next += 1;
        Output::Send(node, Message::Probe(Probe { request }))
    }
}

#[derive(Debug)]
pub(super) struct Pending {
    due: Time,
    pause: Duration,
}

impl Control {
    pub(super) fn new(start: Start, seed: u64, first_pause: Duration, members: Members) -> Self {
        let rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        Self { sequence: Sequence { start, next: 0 }, first_pause, probes: BTreeMap::new(), rng, members }
    }

    /// The peers that are suspected, in order.
    pub(super) fn suspects(&self) -> impl Iterator<Item = NodeId> {
        self.probes.keys().copied()
    }

    pub(super) fn notice(&mut self, notice: Notice, now: Time, out: &mut impl FnMut(Output)) {
        match notice {
            Notice::Doubted(node) => out(self.sequence.probe(node)),
            Notice::Wanted(layout, from) => self.want(layout, from, now, out),
            Notice::Suspected(node) => {
                self.probes.entry(node).or_insert(Pending { due: now, pause: self.first_pause });
            }
            Notice::Recovered(node) | Notice::Gone(node) => {
                self.probes.remove(&node);
            }
        }
    }

    /// Probes a suspect at once: it was heard of.
    pub(super) fn hurry(&mut self, node: NodeId, now: Time) {
        if let Some(pending) = self.probes.get_mut(&node)
            && pending.due > now + self.first_pause
        {
            (pending.due, pending.pause) = (now, self.first_pause);
        }
    }

    /// Sends the probes that are due. Each suspect is probed less and less often, up to 16 times the first pause.
    pub(super) fn wake(&mut self, now: Time, out: &mut impl FnMut(Output)) {
        for (&node, pending) in &mut self.probes {
            if pending.due <= now {
                out(self.sequence.probe(node));
                // Jitter, lest all that lost sight of a node at once ask it at once for ever.
                let quarter = micros(pending.pause) / 4;
                pending.due = now + pending.pause + Duration::from_micros(self.rng.random_range(0..=quarter));
                pending.pause = (pending.pause * 2).min(self.first_pause * 16);
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        // Asked after every step, and a healthy cluster has no suspects.
        if self.probes.is_empty() {
            return None;
        }
        self.probes.values().map(|pending| pending.due).min()
    }
}

/// Between the data and the control part.
impl<S: Storage> Node<S> {
    /// What the shards have noticed goes to the control part.
    pub(super) fn exchange_notices(&mut self) {
        let (mut at_hand, mut gone) = (Vec::new(), Vec::new());
        let out = &mut self.control_out;
        for shard in &mut self.shards {
            while let Some(notice) = shard.notice() {
                if let Notice::Wanted(layout, _) = notice
                    && let Some(layout) = self.control.layout(layout)
                {
                    at_hand.push(Arc::clone(layout));
                    continue;
                }
                if let Notice::Gone(node) = notice {
                    gone.push(node);
                    continue;
                }
                self.control.notice(notice, self.now.time, &mut |output| out.push(output));
            }
        }
        // Another shard may still go by a layout that names it, and would suspect it for ever if nobody asked it any more.
        gone.retain(|node| !self.shards.iter().any(|shard| shard.is_suspected(*node)));
        for node in gone {
            self.control.notice(Notice::Gone(node), self.now.time, &mut |output| out.push(output));
        }
        if !at_hand.is_empty() {
            // What a shard forgot, since nothing that it knew of went by it.
            for layout in at_hand {
                self.shards.iter_mut().for_each(|shard| shard.learn_layout(self.now, &layout));
            }
            return self.exchange_notices();
        }
        let out = &mut self.control_out;
        if self.control.deadline().is_some_and(|due| due <= self.now.time) {
            self.control.wake(self.now.time, &mut |output| out.push(output));
        }
    }
}
