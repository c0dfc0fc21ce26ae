//! Clients of a simulated cluster: each reads a key and writes it anew, so many a second, whether or not those before
//! them have their answers.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate::config::Timing;
use quorate::ids::KeyspaceId;
use quorate::sim::Sim;
use quorate::{Bytes, Context, GetOptions, Keyspace, NodeId, PutOptions, Reply, Request, Ticket, Time};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// Bytes of a value.
pub(crate) const VALUE: usize = 1_024;
/// How often clients look for their answers; that does not show in what is measured.
const LOOK: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Read,
    Write,
}

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) kind: Kind,
    /// Counted from when the clients began.
    pub(crate) began: Duration,
    pub(crate) took: Duration,
}

struct Asked {
    kind: Kind,
    key: u64,
    began: Time,
}

pub(crate) struct Load {
    pub(crate) sim: Sim,
    pub(crate) get: GetOptions,
    pub(crate) put: PutOptions,
    pub(crate) samples: Vec<Sample>,
    pub(crate) failed: u64,
    /// Whether each write makes a key of its own, and nothing is read.
    pub(crate) fresh: bool,
    /// The keys of writes that were acknowledged, in the order in which they were, and when.
    pub(crate) acknowledged: Vec<(u64, Time)>,
    /// Whom clients ask, any of them; those that are down are left out.
    pub(crate) through: Vec<NodeId>,
    /// How long a way between a client and whom it asks takes.
    pub(crate) way: fn(&mut Xoshiro256PlusPlus) -> Duration,
    rng: Xoshiro256PlusPlus,
    keyspace: KeyspaceId,
    keys: u64,
    origin: Time,
    next: Time,
    number: u64,
    waiting: BTreeMap<Ticket, Asked>,
    /// What is on its way to a node.
    on_its_way: BTreeMap<(Time, u64), (Request, Asked)>,
}

impl Load {
    /// So many keys, each of which has a value when this returns.
    pub(crate) fn new(sim: Sim, keys: u64, seed: u64) -> Self {
        let origin = sim.now();
        let through = sim.members();
        let mut load = Self {
            sim,
            through,
            way: |_| Duration::ZERO,
            get: GetOptions::default(),
            put: PutOptions::default(),
            samples: Vec::new(),
            failed: 0,
            fresh: false,
            acknowledged: Vec::new(),
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            keyspace: Keyspace::new("default").id(),
            keys,
            origin,
            next: origin,
            number: 0,
            waiting: BTreeMap::new(),
            on_its_way: BTreeMap::new(),
        };
        for key in 0..keys {
            load.write(load.sim.now(), key, Context::empty());
            load.sim.run_for(Duration::from_millis(5));
            load.sim.replies();
        }
        load.waiting.clear();
        load.sim.heal_all();
        load.begin_here();
        load
    }

    fn begin_here(&mut self) {
        self.sim.replies();
        self.origin = self.sim.now();
        self.next = self.origin;
    }

    /// All nodes stop and start again, to go by other durations.
    pub(crate) fn start_anew_with(&mut self, timing: &Timing) {
        self.sim.set_timing(timing);
        for node in self.sim.members() {
            self.sim.stop(node);
        }
        for node in self.sim.members() {
            self.sim.restart(node);
        }
        self.sim.run_for(Duration::from_secs(1));
        self.begin_here();
    }

    /// Since the clients began.
    pub(crate) fn time(&self) -> Duration {
        self.sim.now().since(self.origin)
    }

    /// For so long, `rate` clients a second.
    pub(crate) fn run(&mut self, duration: Duration, rate: u64) {
        let until = self.sim.now() + duration;
        self.next = self.next.max(self.sim.now());
        while self.sim.now() < until {
            let to = (self.sim.now() + LOOK).min(self.next).min(until);
            self.run_until(to);
            if self.next <= self.sim.now() {
                self.begin();
                self.next = self.next + self.until_next(rate);
            }
        }
    }

    fn run_until(&mut self, to: Time) {
        while let Some((&(at, number), _)) = self.on_its_way.first_key_value()
            && at <= to
        {
            self.sim.run_until(at);
            if let Some((request, asked)) = self.on_its_way.remove(&(at, number)) {
                self.start(request, asked);
            }
        }
        self.sim.run_until(to);
        self.answers();
    }

    /// What is under way comes to its end, or is given up after three seconds: who was asked may be gone.
    pub(crate) fn finish(&mut self) {
        let limit = self.sim.now() + Duration::from_secs(3);
        while !(self.waiting.is_empty() && self.on_its_way.is_empty()) && self.sim.now() < limit {
            self.run_until(self.sim.now() + LOOK);
        }
        self.waiting.clear();
    }

    /// Exponential, from the number of heads that a coin shows and a part of the next: the same on each machine.
    fn until_next(&mut self, rate: u64) -> Duration {
        let (heads, part) = (u64::from(self.rng.random::<u64>().trailing_zeros()), self.rng.random_range(0..1_000));
        Duration::from_micros(1_000_000 * (heads * 1_000 + part) / (1_500 * rate))
    }

    fn begin(&mut self) {
        if self.fresh {
            let key = self.keys + self.number;
            return self.write(self.sim.now(), key, Context::empty());
        }
        let key = self.rng.random_range(0..self.keys);
        let request = Request::Get { keyspace: self.keyspace, key: name(key), options: self.get.clone() };
        let began = self.sim.now();
        self.ask(request, Asked { kind: Kind::Read, key, began });
    }

    fn write(&mut self, began: Time, key: u64, context: Context) {
        self.number += 1;
        let mut value = self.number.to_be_bytes().to_vec();
        value.resize(VALUE, b'.');
        let (keyspace, options, value) = (self.keyspace, self.put.clone(), Some(Bytes::from(value)));
        let request = Request::Put { keyspace, key: name(key), value, context, options };
        self.ask(request, Asked { kind: Kind::Write, key, began });
    }

    fn ask(&mut self, request: Request, asked: Asked) {
        let way = (self.way)(&mut self.rng);
        if asked.began + way <= self.sim.now() {
            return self.start(request, asked);
        }
        self.number += 1;
        self.on_its_way.insert((asked.began + way, self.number), (request, asked));
    }

    fn start(&mut self, request: Request, asked: Asked) {
        let up: Vec<NodeId> = self.through.iter().copied().filter(|node| self.sim.is_up(*node)).collect();
        if up.is_empty() {
            self.failed += 1;
            return;
        }
        let node = up[self.rng.random_range(0..up.len())];
        let ticket = self.sim.start(node, request);
        self.waiting.insert(ticket, asked);
    }

    /// Takes what has been answered; who has read writes.
    fn answers(&mut self) {
        for (ticket, at, reply) in self.sim.replies() {
            let Some(Asked { kind, key, began }) = self.waiting.remove(&ticket) else { continue };
            let ends = at + (self.way)(&mut self.rng);
            self.samples.push(Sample { kind, began: began.since(self.origin), took: ends.since(began) });
            match reply {
                Reply::Get(Ok(found)) => self.write(ends, key, found.context),
                Reply::Put(Ok(_)) => {
                    if self.fresh {
                        self.acknowledged.push((key, at));
                    }
                }
                _ => self.failed += 1,
            }
        }
    }
}

pub(crate) fn text(key: u64) -> String {
    format!("key {key}")
}

fn name(key: u64) -> Bytes {
    Bytes::from(text(key).as_str())
}

/// How long requests took that began in a time and are of a kind, in milliseconds and in order.
pub(crate) fn took(samples: &[Sample], kind: Option<Kind>, from: Duration, to: Duration) -> Vec<f64> {
    let wanted = |sample: &&Sample| kind.is_none_or(|kind| kind == sample.kind) && (from..to).contains(&sample.began);
    let mut took: Vec<f64> = samples.iter().filter(wanted).map(|sample| sample.took.as_secs_f64() * 1e3).collect();
    took.sort_unstable_by(f64::total_cmp);
    took
}

/// The least that so many of a thousand do not exceed; zero if there are none.
pub(crate) fn quantile(sorted: &[f64], permille: usize) -> f64 {
    let rank = (sorted.len() * permille).div_ceil(1_000);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
