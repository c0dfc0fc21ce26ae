//! The control part of a node: small, slow, apart from the data.
//!
//! It holds the layout that the shards work by, and probes the peers that they suspect. The two sides tell each other
//! changes, never data: what a shard suspects, and what answered a probe.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::Output;
use crate::ids::{NodeId, RequestId, Start};
use crate::message::{Message, Probe};
use crate::ring::Layout;
use crate::time::{Time, micros};

/// What a shard tells the control part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Notice {
    /// This peer has not answered; skip it until it does.
    Suspected(NodeId),
    /// This peer keeps the shard waiting, or was quiet for long: ask it for a sign.
    Doubted(NodeId),
    /// This peer was suspected and has been heard.
    Recovered(NodeId),
}

#[derive(Debug)]
pub(super) struct Control {
    layout: Arc<Layout>,
    sequence: Sequence,
    first_pause: Duration,
    probes: BTreeMap<NodeId, Pending>,
    rng: Xoshiro256PlusPlus,
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
struct Pending {
    due: Time,
    pause: Duration,
}

impl Control {
    pub(super) fn new(layout: Arc<Layout>, start: Start, seed: u64, first_pause: Duration) -> Self {
        let rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        Self { layout, sequence: Sequence { start, next: 0 }, first_pause, probes: BTreeMap::new(), rng }
    }

    pub(super) fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The peers that are suspected, in order.
    pub(super) fn suspects(&self) -> impl Iterator<Item = NodeId> {
        self.probes.keys().copied()
    }

    pub(super) fn notice(&mut self, notice: Notice, now: Time, out: &mut impl FnMut(Output)) {
        match notice {
            Notice::Doubted(node) => out(self.sequence.probe(node)),
            Notice::Suspected(node) => {
                self.probes.entry(node).or_insert(Pending { due: now, pause: self.first_pause });
            }
            Notice::Recovered(node) => {
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
