//! A cluster that runs one of the schemes in rounds of a second, over a network that loses.

use std::collections::VecDeque;

use quorate::gossip::{Gossiper, Introduction};
use quorate::ids::{LayoutId, StoreId, ZoneId};
use quorate::members::{Gossip, Layouts, MemberRecord, Membership, Phase, Presence, Protocols};
use quorate::{Bytes, ClusterId, NodeId, Start};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// How members tell each other what they know. Nodes are numbered from 0.
pub(crate) trait Scheme {
    type Message;
    /// What a node sends of itself in this second.
    fn round(&mut self, node: usize, second: usize, rng: &mut Xoshiro256PlusPlus) -> Vec<(usize, Self::Message)>;
    /// What a node answers.
    fn hear(&mut self, node: usize, from: usize, message: Self::Message) -> Option<Self::Message>;
    /// How many bytes a message takes.
    fn size(&self, message: &Self::Message) -> usize;
    /// Something about a node changes, and it alone knows.
    fn change(&mut self, node: usize);
    /// Whether everybody knows the last change.
    fn all_know(&self) -> bool;
    /// How many nodes there are.
    fn nodes(&self) -> usize;
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) rounds: f64,
    pub(crate) most: usize,
    pub(crate) rest_bytes: f64,
    pub(crate) rest_messages: f64,
    pub(crate) change_bytes: f64,
    pub(crate) change_messages: f64,
}

pub(crate) struct World<S: Scheme> {
    scheme: S,
    /// Of a hundred messages so many are lost.
    loss: u32,
    second: usize,
    rng: Xoshiro256PlusPlus,
    bytes: usize,
    messages: usize,
}

impl<S: Scheme> World<S> {
    pub(crate) fn new(scheme: S, loss: u32) -> Self {
        Self { scheme, loss, second: 0, rng: Xoshiro256PlusPlus::seed_from_u64(5), bytes: 0, messages: 0 }
    }

    /// Each node has its turn, one after the other, and all that follows arrives in between.
    pub(crate) fn round(&mut self) {
        self.second += 1;
        let count = self.scheme.nodes();
        let first = self.rng.random_range(0..count);
        for turn in 0..count {
            let node = (first + turn) % count;
            let sent = self.scheme.round(node, self.second, &mut self.rng);
            let mut flying: VecDeque<_> = sent.into_iter().map(|(to, message)| (node, to, message)).collect();
            while let Some((from, to, message)) = flying.pop_front() {
                self.bytes += self.scheme.size(&message);
                self.messages += 1;
                if self.rng.random_range(0..100) < self.loss {
                    continue;
                }
                if let Some(answer) = self.scheme.hear(to, from, message) {
                    flying.push_back((to, from, answer));
                }
            }
        }
    }

    pub(crate) fn reset(&mut self) {
        (self.bytes, self.messages) = (0, 0);
    }

    pub(crate) fn sent(&self) -> (f64, f64) {
        (self.bytes as f64, self.messages as f64)
    }

    pub(crate) fn change(&mut self, node: usize) {
        self.scheme.change(node);
    }

    pub(crate) fn all_know(&self) -> bool {
        self.scheme.all_know()
    }
}

/// Magic, version, cluster, sender, count and checksum of a frame, and a message's length and kind.
const FRAME: usize = 3 + 1 + 16 + 8 + 1 + 4 + 2;

/// This library.
pub(crate) struct Quorate {
    nodes: Vec<Gossiper>,
    changed: usize,
}

impl Quorate {
    /// So many rounds a second while there is news.
    const FAST: usize = 3;

    pub(crate) fn new(count: usize) -> Self {
        let first = LayoutId { version: 1, hash: 0x0123_4567_89ab_cdef };
        let mut membership = Membership::founding(ClusterId(1), Layouts::founded(first));
        let presence = |node: usize| Presence {
            ordinal: 1,
            start: Start((node as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            store: StoreId((node as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834)),
            protocols: Protocols { lowest: 1, highest: 1 },
            address: Bytes::from(format!("10.0.{}.{}:7000", node / 256, node % 256)),
        };
        let id = |node: usize| NodeId(node as u64);
        for node in 0..count {
            let record = MemberRecord::joining(id(node), ZoneId(0), 1, presence(node)).expect("a record");
            membership.take(&record.advanced(Phase::Active).expect("a phase")).expect("room");
        }
        let open = |node| {
            let introduction = Introduction {
                node: id(node),
                zone: ZoneId(0),
                weight: 1,
                presence: presence(node),
                seeds: vec![id(0)],
            };
            Gossiper::open(membership.clone(), introduction, node as u64).expect("it opens")
        };
        Self { nodes: (0..count).map(open).collect(), changed: 0 }
    }
}

impl Scheme for Quorate {
    type Message = Gossip;

    fn round(&mut self, node: usize, _: usize, _: &mut Xoshiro256PlusPlus) -> Vec<(usize, Gossip)> {
        let own = &mut self.nodes[node];
        let mut sent: Vec<_> = own.round(|_| false).into_iter().collect();
        while own.has_news() && sent.len() < Self::FAST {
            sent.extend(own.round(|_| false));
        }
        sent.into_iter().map(|(to, gossip)| (to.0 as usize, gossip)).collect()
    }

    fn hear(&mut self, node: usize, _: usize, message: Gossip) -> Option<Gossip> {
        self.nodes[node].hear(&message).reply
    }

    fn size(&self, message: &Gossip) -> usize {
        let bytes = bincode::serde::encode_to_vec(message, bincode::config::standard()).expect("it has bytes");
        FRAME + bytes.len()
    }

    fn change(&mut self, node: usize) {
        let own = &mut self.nodes[node];
        let record = own.membership().record(NodeId(node as u64)).expect("it is known");
        let weight = record.seat().expect("it is there").weight;
        let record = record.seated(ZoneId(0), weight + 1).expect("a record");
        own.take(&record).expect("room");
        self.changed = node;
    }

    fn all_know(&self) -> bool {
        let digest = self.nodes[self.changed].membership().digest();
        self.nodes.iter().all(|node| node.membership().digest() == digest)
    }

    fn nodes(&self) -> usize {
        self.nodes.len()
    }
}
