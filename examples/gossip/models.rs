//! The schemes of two other libraries, as far as messages and their sizes go.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

use crate::world::Scheme;

fn other(node: usize, count: usize, rng: &mut Xoshiro256PlusPlus) -> usize {
    (node + 1 + rng.random_range(0..count - 1)) % count
}

/// So many others, all different.
fn others(node: usize, count: usize, many: usize, rng: &mut Xoshiro256PlusPlus) -> Vec<usize> {
    let mut chosen = Vec::new();
    while chosen.len() < many.min(count - 1) {
        let other = other(node, count, rng);
        if !chosen.contains(&other) {
            chosen.push(other);
        }
    }
    chosen
}

/// chitchat 0.8 and later (`server.rs`, `digest.rs`): a digest of all nodes to three members each second.
pub(crate) struct DigestOfAll {
    /// Of each node: heartbeat and version of each.
    known: Vec<Vec<(u64, u64)>>,
    changed: usize,
}

pub(crate) enum Chat {
    Syn(Vec<(u64, u64)>),
    SynAck(Vec<(u64, u64)>, Vec<(usize, u64)>),
    Ack(Vec<(usize, u64)>),
}

impl DigestOfAll {
    /// A name of eight letters with its length, a generation, an IPv4 address with its kind and port.
    const ID: usize = 10 + 8 + 7;
    /// Heartbeat and version.
    const DIGEST: usize = Self::ID + 8 + 8;
    /// A node's header in a delta, and one key with its value, version and kind.
    const DELTA: usize = Self::ID + 24 + 30;
    /// Kind, cluster's name, count.
    const HEAD: usize = 1 + 17 + 2;

    pub(crate) fn new(count: usize) -> Self {
        Self { known: vec![vec![(1, 1); count]; count], changed: 0 }
    }

    fn newer(&self, node: usize, theirs: &[(u64, u64)]) -> Vec<(usize, u64)> {
        let own = self.known[node].iter().enumerate().zip(theirs);
        own.filter(|((_, own), theirs)| own.1 > theirs.1).map(|((at, own), _)| (at, own.1)).collect()
    }

    fn take(&mut self, node: usize, delta: &[(usize, u64)]) {
        delta.iter().for_each(|&(at, version)| self.known[node][at].1 = self.known[node][at].1.max(version));
    }

    fn heartbeats(&mut self, node: usize, theirs: &[(u64, u64)]) {
        self.known[node].iter_mut().zip(theirs).for_each(|(own, theirs)| own.0 = own.0.max(theirs.0));
    }
}

impl Scheme for DigestOfAll {
    type Message = Chat;

    fn round(&mut self, node: usize, _: usize, rng: &mut Xoshiro256PlusPlus) -> Vec<(usize, Chat)> {
        self.known[node][node].0 += 1;
        let count = self.known.len();
        others(node, count, 3, rng).into_iter().map(|to| (to, Chat::Syn(self.known[node].clone()))).collect()
    }

    fn hear(&mut self, node: usize, _: usize, message: Chat) -> Option<Chat> {
        match message {
            Chat::Syn(theirs) => {
                self.heartbeats(node, &theirs);
                Some(Chat::SynAck(self.known[node].clone(), self.newer(node, &theirs)))
            }
            Chat::SynAck(theirs, delta) => {
                self.heartbeats(node, &theirs);
                self.take(node, &delta);
                Some(Chat::Ack(self.newer(node, &theirs)))
            }
            Chat::Ack(delta) => {
                self.take(node, &delta);
                None
            }
        }
    }

    fn size(&self, message: &Chat) -> usize {
        Self::HEAD
            + match message {
                Chat::Syn(digest) => digest.len() * Self::DIGEST,
                Chat::SynAck(digest, delta) => digest.len() * Self::DIGEST + delta.len() * Self::DELTA,
                Chat::Ack(delta) => delta.len() * Self::DELTA,
            }
    }

    fn change(&mut self, node: usize) {
        self.known[node][node].1 += 1;
        self.changed = node;
    }

    fn all_know(&self) -> bool {
        let version = self.known[self.changed][self.changed].1;
        self.known.iter().all(|known| known[self.changed].1 == version)
    }

    fn nodes(&self) -> usize {
        self.known.len()
    }
}

/// memberlist (`config.go`, `util.go`, settings for a LAN): SWIM's probes, changes by gossip, whole states now and then.
pub(crate) struct Swim {
    nodes: Vec<Member>,
    changed: usize,
}

struct Member {
    versions: Vec<u64>,
    /// Changes, each with how often it was told.
    queue: BTreeMap<usize, usize>,
    /// Whom it probes next.
    probe: usize,
}

pub(crate) enum Swum {
    Ping(Vec<(usize, u64)>),
    Ack(Vec<(usize, u64)>),
    Told(Vec<(usize, u64)>),
    Push(Vec<u64>),
    Pull(Vec<u64>),
}

impl Swim {
    /// A ping in msgpack: number, name of the target, address, port and name of the source.
    const PING: usize = 70;
    /// An acknowledgement: number and payload.
    const ACK: usize = 25;
    /// An `alive` with its metadata, as it is told and as it stands in a state: name, address, port, incarnation,
    /// versions.
    const ALIVE: usize = 90;
    /// Checksum and count of a packet that holds several.
    const PACKET: usize = 7;
    /// Changes in one packet of 1,400 bytes.
    const RIDING: usize = 14;
    const TELLINGS: usize = 4;
    const PUSH_PULL: usize = 30;

    pub(crate) fn new(count: usize) -> Self {
        let member = |node| Member { versions: vec![1; count], queue: BTreeMap::new(), probe: node };
        Self { nodes: (0..count).map(member).collect(), changed: 0 }
    }

    fn riding(&mut self, node: usize) -> Vec<(usize, u64)> {
        let limit = Self::TELLINGS * ((self.nodes.len() + 1) as f64).log10().ceil() as usize;
        let member = &mut self.nodes[node];
        let told: Vec<_> = member.queue.keys().copied().take(Self::RIDING).collect();
        told.iter().for_each(|change| *member.queue.get_mut(change).expect("it is queued") += 1);
        member.queue.retain(|_, times| *times < limit);
        told.into_iter().map(|change| (change, member.versions[change])).collect()
    }

    fn take(&mut self, node: usize, told: &[(usize, u64)]) {
        let member = &mut self.nodes[node];
        for &(change, version) in told {
            if member.versions[change] < version {
                member.versions[change] = version;
                member.queue.insert(change, 0);
            }
        }
    }

    fn take_state(&mut self, node: usize, state: &[u64]) {
        let told: Vec<_> = state.iter().copied().enumerate().collect();
        self.take(node, &told);
    }

    /// In seconds; more seldom from 33 nodes on.
    fn push_pull(&self) -> usize {
        let count = self.nodes.len() as f64;
        if count <= 32.0 { Self::PUSH_PULL } else { Self::PUSH_PULL * (1 + (count.log2() - 5.0).ceil() as usize) }
    }
}

impl Scheme for Swim {
    type Message = Swum;

    fn round(&mut self, node: usize, second: usize, rng: &mut Xoshiro256PlusPlus) -> Vec<(usize, Swum)> {
        let count = self.nodes.len();
        self.nodes[node].probe = (self.nodes[node].probe + 1) % count;
        if self.nodes[node].probe == node {
            self.nodes[node].probe = (node + 1) % count;
        }
        let mut sent = vec![(self.nodes[node].probe, Swum::Ping(self.riding(node)))];
        // Five times a second, to three each, if there is something to tell.
        for _ in 0..5 {
            for to in others(node, count, 3, rng) {
                let told = self.riding(node);
                if !told.is_empty() {
                    sent.push((to, Swum::Told(told)));
                }
            }
        }
        let every = self.push_pull();
        if (second + node).is_multiple_of(every) {
            sent.push((other(node, count, rng), Swum::Push(self.nodes[node].versions.clone())));
        }
        sent
    }

    fn hear(&mut self, node: usize, _: usize, message: Swum) -> Option<Swum> {
        match message {
            Swum::Ping(told) => {
                self.take(node, &told);
                Some(Swum::Ack(self.riding(node)))
            }
            Swum::Ack(told) | Swum::Told(told) => {
                self.take(node, &told);
                None
            }
            Swum::Push(state) => {
                let own = self.nodes[node].versions.clone();
                self.take_state(node, &state);
                Some(Swum::Pull(own))
            }
            Swum::Pull(state) => {
                self.take_state(node, &state);
                None
            }
        }
    }

    fn size(&self, message: &Swum) -> usize {
        let changes = |told: &Vec<(usize, u64)>| told.len() * (2 + Self::ALIVE);
        Self::PACKET
            + match message {
                Swum::Ping(told) => Self::PING + changes(told),
                Swum::Ack(told) => Self::ACK + changes(told),
                Swum::Told(told) => changes(told),
                Swum::Push(state) | Swum::Pull(state) => state.len() * Self::ALIVE,
            }
    }

    fn change(&mut self, node: usize) {
        let version = self.nodes[node].versions[node] + 1;
        self.take(node, &[(node, version)]);
        self.changed = node;
    }

    fn all_know(&self) -> bool {
        let version = self.nodes[self.changed].versions[self.changed];
        self.nodes.iter().all(|node| node.versions[self.changed] == version)
    }

    fn nodes(&self) -> usize {
        self.nodes.len()
    }
}
