//! The clients: each reads a key and writes it anew, and looks whether it was shown what it must be shown.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate::ids::KeyspaceId;
use quorate::sim::{ServiceTime, Sim};
use quorate::{Bytes, Context, GetOptions, Keyspace, Mode, NodeId, PutOptions, Reply, Request, Ticket, Time};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::history::History;

/// Bytes of a value.
pub(crate) const VALUE: usize = 1_024;
/// How long after its beginning a request is answered at the latest, whatever befalls: the deadline, and queues.
pub(crate) const ANSWERED: Duration = Duration::from_secs(3);

/// What the clients do, and how long it takes the nodes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) seed: u64,
    pub(crate) keys: u64,
    /// So many reads and as many writes a second, whether or not those before have ended.
    pub(crate) rate: u64,
    pub(crate) service: ServiceTime,
}

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) began: Duration,
    pub(crate) latency: Duration,
}

/// What clients saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) samples: Vec<Sample>,
    /// Requests that failed, or were never answered, and when they began.
    pub(crate) errors: Vec<(Duration, String)>,
    /// Reads that did not show an acknowledged write, or showed what nobody had written.
    pub(crate) misses: Vec<(Duration, String)>,
    /// When the requests began that ended with the node that was asked.
    pub(crate) cut_off: Vec<Duration>,
}

struct Waiting {
    node: NodeId,
    began: Duration,
    key: u64,
    step: Step,
}

enum Step {
    /// What it must show, and whether the client goes on to write.
    Read { must: Vec<u64>, writes: bool },
    /// Under this number.
    Write(u64),
}

/// The cluster and its clients.
pub(crate) struct Clients {
    pub(crate) sim: Sim,
    pub(crate) load: Load,
    pub(crate) seen: Seen,
    /// Nodes that clients don't ask any more: they have left.
    left: BTreeSet<NodeId>,
    origin: Time,
    arrival: Duration,
    rng: Xoshiro256PlusPlus,
    keyspace: KeyspaceId,
    waiting: BTreeMap<Ticket, Waiting>,
    histories: Vec<History>,
    number: u64,
}

impl Clients {
    /// Three nodes, and a value under each key.
    pub(crate) fn new(load: Load) -> Self {
        let sim = Sim::builder(3, load.seed).quorum(3, 2, 2, Mode::Strict).elastic().service_time(load.service).build();
        let mut clients = Self {
            origin: sim.now(),
            sim,
            load,
            seen: Seen::default(),
            left: BTreeSet::new(),
            arrival: Duration::ZERO,
            rng: Xoshiro256PlusPlus::seed_from_u64(load.seed),
            keyspace: Keyspace::new("default").id(),
            waiting: BTreeMap::new(),
            histories: (0..load.keys).map(|_| History::default()).collect(),
            number: 0,
        };
        for key in 0..load.keys {
            clients.write(key, Vec::new(), Context::empty());
            clients.sim.run_for(Duration::from_micros(1_000_000 / load.rate));
        }
        clients.sim.settle();
        clients.sim.run_for(Duration::from_secs(10));
        clients.answers();
        assert!(clients.histories.iter().all(|history| !history.acknowledged().is_empty()), "each key has a value");
        clients.seen = Seen::default();
        clients.origin = clients.sim.now();
        clients
    }

    /// Since the keys had values.
    pub(crate) fn time(&self) -> Duration {
        self.sim.now().since(self.origin)
    }

    /// Clients come and go until then.
    pub(crate) fn run_until(&mut self, until: Duration) {
        while self.arrival < until {
            self.sim.run_until(self.origin + self.arrival);
            self.answers();
            let key = self.rng.random_range(0..self.load.keys);
            self.read(key, true);
            let pause = self.until_next();
            self.arrival += pause;
        }
        self.sim.run_until(self.origin + until);
        self.answers();
    }

    /// No more clients come. What isn't answered by the deadline never is.
    pub(crate) fn finish(&mut self) {
        self.sim.run_for(ANSWERED);
        self.answers();
        self.sim.run_for(ANSWERED);
        self.answers();
        let silent = std::mem::take(&mut self.waiting).into_values();
        let errors = silent.map(|it| (it.began, format!("{} never answered about {}", it.node, text(it.key))));
        self.seen.errors.extend(errors);
    }

    /// Every key is read once more.
    pub(crate) fn read_all(&mut self) {
        for key in 0..self.load.keys {
            self.read(key, false);
            self.sim.run_for(Duration::from_micros(500_000 / self.load.rate));
            self.answers();
        }
        self.arrival = self.time();
    }

    pub(crate) fn crash(&mut self, node: NodeId) {
        self.answers();
        self.sim.crash(node);
        let cut = self.waiting_at(node);
        self.seen.cut_off.extend(cut.iter().map(|waiting| waiting.began));
    }

    /// Clients ask it no more.
    pub(crate) fn leave(&mut self, node: NodeId) {
        self.left.insert(node);
    }

    /// The process of a node that has left ends: nothing may wait for it.
    pub(crate) fn stop(&mut self, node: NodeId) {
        self.answers();
        self.sim.stop(node);
        let lost = self.waiting_at(node).into_iter();
        let errors = lost.map(|it| (it.began, format!("{node} had left and never answered about {}", text(it.key))));
        self.seen.errors.extend(errors);
    }

    /// Takes what waits for a node.
    fn waiting_at(&mut self, node: NodeId) -> Vec<Waiting> {
        let all = std::mem::take(&mut self.waiting);
        let (there, elsewhere): (BTreeMap<_, _>, _) = all.into_iter().partition(|(_, waiting)| waiting.node == node);
        self.waiting = elsewhere;
        there.into_values().collect()
    }

    /// Exponential, from the number of heads that a coin shows and a part of the next: the same on each machine.
    fn until_next(&mut self) -> Duration {
        let mean = 1_000_000 / self.load.rate;
        let (heads, part) = (u64::from(self.rng.random::<u64>().trailing_zeros()), self.rng.random_range(0..1_000));
        Duration::from_micros(mean * (heads * 1_000 + part) / 1_500)
    }

    fn read(&mut self, key: u64, writes: bool) {
        let must = self.histories[key as usize].acknowledged().to_vec();
        let request = Request::Get { keyspace: self.keyspace, key: name(key), options: GetOptions::default() };
        self.ask(request, key, Step::Read { must, writes });
    }

    fn write(&mut self, key: u64, read: Vec<u64>, context: Context) {
        self.number += 1;
        self.histories[key as usize].begin(self.number, read);
        let mut value = self.number.to_be_bytes().to_vec();
        value.resize(VALUE, b'.');
        let value = Some(Bytes::from(value));
        let (keyspace, options) = (self.keyspace, PutOptions::default());
        let request = Request::Put { keyspace, key: name(key), value, context, options };
        self.ask(request, key, Step::Write(self.number));
    }

    /// A client asks a node that is there.
    fn ask(&mut self, request: Request, key: u64, step: Step) {
        let there = |node: &NodeId| self.sim.is_up(*node) && !self.left.contains(node);
        let up: Vec<NodeId> = self.sim.members().into_iter().filter(there).collect();
        let node = up[self.rng.random_range(0..up.len())];
        let began = self.time();
        let ticket = self.sim.start(node, request);
        self.waiting.insert(ticket, Waiting { node, began, key, step });
    }

    /// Takes what has been answered; who has read writes.
    fn answers(&mut self) {
        for (ticket, at, reply) in self.sim.replies() {
            let Some(Waiting { node, began, key, step }) = self.waiting.remove(&ticket) else { continue };
            self.seen.samples.push(Sample { began, latency: at.since(self.origin + began) });
            match (reply, step) {
                (Reply::Get(Ok(found)), Step::Read { must, writes }) => {
                    let read: Vec<u64> = found.values.iter().map(|value| number_of(value)).collect();
                    self.check(node, began, key, &must, &read);
                    if writes {
                        self.write(key, read, found.context);
                    }
                }
                (Reply::Put(Ok(_)), Step::Write(number)) => self.histories[key as usize].acknowledge(number),
                (Reply::Get(Err(error)), _) => self.failed(node, began, key, &error.to_string()),
                (Reply::Put(Err(error)), _) => self.failed(node, began, key, &error.to_string()),
                (other, _) => unreachable!("{other:?}"),
            }
        }
    }

    fn failed(&mut self, node: NodeId, began: Duration, key: u64, error: &str) {
        self.seen.errors.push((began, format!("{node} about {}: {error}", text(key))));
    }

    fn check(&mut self, node: NodeId, began: Duration, key: u64, must: &[u64], read: &[u64]) {
        let history = &self.histories[key as usize];
        let shown = must.iter().all(|number| history.shows(read, *number));
        let written = read.iter().all(|number| history.is_written(*number));
        if !shown || !written {
            let miss = format!("{node} showed {read:?} of {}, acknowledged were {must:?}", text(key));
            self.seen.misses.push((began, miss));
        }
    }
}

fn number_of(value: &[u8]) -> u64 {
    value.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

pub(crate) fn text(key: u64) -> String {
    format!("key {key}")
}

fn name(key: u64) -> Bytes {
    Bytes::from(text(key).as_str())
}
