//! The cluster, its clients, and what is watched while one node goes away and comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate::config::Timing;
use quorate::ids::{KeyspaceId, PartitionId};
use quorate::sim::{ServiceTime, Sim};
use quorate::{Bytes, Context, GetOptions, Keyspace, Node, NodeId, PutOptions, Reply, Request, Ticket, Time};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// Bytes of a value.
pub(crate) const VALUE: usize = 1_024;
/// The node that goes away.
pub(crate) const AWAY: NodeId = NodeId(5);
/// How often what is owed is looked at.
const GLANCE: Duration = Duration::from_millis(100);

/// How long what takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) keys: u64,
    /// A client reads a key and writes it anew, so many times a second, whether or not the one before has ended.
    pub(crate) rate: u64,
    pub(crate) service: ServiceTime,
    /// When the node goes, when it comes back, and when the clients end.
    pub(crate) goes: Duration,
    pub(crate) returns: Duration,
    pub(crate) ends: Duration,
}

/// What was owed at an instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Glance {
    pub(crate) at: Duration,
    /// Hints that others keep for the node.
    pub(crate) hints: u64,
    /// Of the pairs of one of the node's partitions and another owner of it: those not found equal since the node
    /// started.
    pub(crate) unconfirmed: usize,
}

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) began: Duration,
    pub(crate) latency: Duration,
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) samples: Vec<Sample>,
    pub(crate) glances: Vec<Glance>,
    /// Requests that failed; those whose node went away.
    pub(crate) failed: u64,
    pub(crate) cut_off: usize,
    /// Acknowledged writes to keys of the node while it was away, and to how many keys.
    pub(crate) missed_writes: u64,
    pub(crate) missed_keys: usize,
    /// When nothing was kept for the node any more.
    pub(crate) hints_home: Option<Duration>,
    /// When each of its partitions had been found equal at each other owner since its return.
    pub(crate) confirmed: Option<Duration>,
    /// What went from its return until then.
    pub(crate) moved: Moved,
    /// Bytes that went for repair before it went.
    pub(crate) usual: u64,
    /// How long after the clients' end nobody owed anything to anybody.
    pub(crate) healed: Option<Duration>,
    /// Keys that the owners hold otherwise in the end. There must be none.
    pub(crate) differing: usize,
}

/// What the cluster has sent and done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moved {
    pub(crate) all_bytes: u64,
    pub(crate) repair_bytes: u64,
    /// Hints that were delivered, records sent to a replica that a read had found behind, records that came in exchanges,
    /// and how many of these changed anything.
    pub(crate) hints: u64,
    pub(crate) repairs: u64,
    pub(crate) exchanged: u64,
    pub(crate) needed: u64,
}

impl Moved {
    /// What nodes that run have done since they started.
    fn by_now(sim: &Sim) -> Self {
        let (traffic, counters) = (sim.traffic(), sim.counters());
        Self {
            all_bytes: traffic.bytes,
            repair_bytes: traffic.repair_bytes,
            hints: counters.hints_delivered,
            repairs: counters.repairs,
            exchanged: counters.exchanged,
            needed: counters.exchanged_needed,
        }
    }

    const fn since(self, before: Self) -> Self {
        Self {
            all_bytes: self.all_bytes - before.all_bytes,
            repair_bytes: self.repair_bytes - before.repair_bytes,
            hints: self.hints - before.hints,
            repairs: self.repairs - before.repairs,
            exchanged: self.exchanged - before.exchanged,
            needed: self.needed - before.needed,
        }
    }
}

/// A client between its read and its write.
enum Step {
    Read(u64),
    Written(u64),
}

struct Clients {
    sim: Sim,
    plan: Plan,
    origin: Time,
    rng: Xoshiro256PlusPlus,
    keyspace: KeyspaceId,
    waiting: BTreeMap<Ticket, (NodeId, Duration, Step)>,
    number: u64,
    missed: BTreeSet<u64>,
    run: Run,
}

/// Plays the plan.
pub(crate) fn play(plan: Plan) -> Run {
    let sim = Sim::builder(5, plan.seed).service_time(plan.service).build();
    let mut clients = Clients {
        origin: sim.now(),
        sim,
        plan,
        rng: Xoshiro256PlusPlus::seed_from_u64(plan.seed),
        keyspace: Keyspace::new("default").id(),
        waiting: BTreeMap::new(),
        number: 0,
        missed: BTreeSet::new(),
        run: Run::default(),
    };
    clients.fill();
    clients.play();
    clients.end();
    clients.run
}

impl Clients {
    /// Each key has a value before the clock starts.
    fn fill(&mut self) {
        for key in 0..self.plan.keys {
            let node = NodeId(key % 5 + 1);
            self.put(node, key, Context::empty());
            self.sim.run_for(Duration::from_millis(1));
            self.sim.replies();
        }
        self.sim.settle();
        self.sim.run_for(Timing::default().exchange * 2);
        self.sim.replies();
        self.waiting.clear();
        self.origin = self.sim.now();
    }

    fn time(&self) -> Duration {
        self.sim.now().since(self.origin)
    }

    fn play(&mut self) {
        let (mut arrival, mut glance) = (Duration::ZERO, Duration::ZERO);
        let (mut at_return, at_start) = (Moved::default(), Moved::by_now(&self.sim));
        while self.time() < self.plan.ends {
            let (up, before) = (self.sim.is_up(AWAY), self.time());
            let next = arrival.min(glance);
            self.sim.run_until(self.origin + next);
            self.answers();
            if up && before < self.plan.goes && self.time() >= self.plan.goes {
                self.sim.crash(AWAY);
                self.run.usual = Moved::by_now(&self.sim).repair_bytes - at_start.repair_bytes;
            } else if !up && self.time() >= self.plan.returns {
                self.sim.restart(AWAY);
                at_return = Moved::by_now(&self.sim);
            }
            if next == glance {
                glance += GLANCE;
                let Glance { at, hints, unconfirmed } = self.look();
                if at >= self.plan.returns && hints == 0 {
                    self.run.hints_home.get_or_insert(at);
                    if unconfirmed == 0 && self.run.confirmed.is_none() {
                        self.run.confirmed = Some(at);
                        self.run.moved = Moved::by_now(&self.sim).since(at_return);
                    }
                }
            } else {
                let key = self.rng.random_range(0..self.plan.keys);
                let node = self.some_node();
                let request = Request::Get { keyspace: self.keyspace, key: name(key), options: GetOptions::default() };
                self.ask(node, request, Step::Read(key));
                arrival += self.until_next();
            }
        }
    }

    /// Exponential, from the number of heads that a coin shows and a part of the next: the same on each machine.
    fn until_next(&mut self) -> Duration {
        let mean = 1_000_000 / self.plan.rate;
        let (heads, part) = (u64::from(self.rng.random::<u64>().trailing_zeros()), self.rng.random_range(0..1_000));
        Duration::from_micros(mean * (heads * 1_000 + part) / 1_500)
    }

    /// A client asks a node that is there.
    fn some_node(&mut self) -> NodeId {
        loop {
            let node = NodeId(self.rng.random_range(1..=5));
            if self.sim.is_up(node) {
                return node;
            }
        }
    }

    fn ask(&mut self, node: NodeId, request: Request, step: Step) {
        let began = self.time();
        let ticket = self.sim.start(node, request);
        self.waiting.insert(ticket, (node, began, step));
    }

    fn put(&mut self, node: NodeId, key: u64, context: Context) {
        self.number += 1;
        let mut value = self.number.to_be_bytes().to_vec();
        value.resize(VALUE, b'.');
        let value = Some(Bytes::from(value));
        let (keyspace, options) = (self.keyspace, PutOptions::default());
        let request = Request::Put { keyspace, key: name(key), value, context, options };
        self.ask(node, request, Step::Written(key));
    }

    /// Takes what has been answered; who has read writes.
    fn answers(&mut self) {
        for (ticket, at, reply) in self.sim.replies() {
            let Some((_, began, step)) = self.waiting.remove(&ticket) else { continue };
            self.run.samples.push(Sample { began, latency: at.since(self.origin + began) });
            match (reply, step) {
                (Reply::Get(Ok(found)), Step::Read(key)) => {
                    let node = self.some_node();
                    self.put(node, key, found.context);
                }
                (Reply::Put(Ok(_)), Step::Written(key)) => {
                    if !self.sim.is_up(AWAY) && self.sim.owners(&text(key)).contains(&AWAY) {
                        self.run.missed_writes += 1;
                        self.missed.insert(key);
                    }
                }
                _ => self.run.failed += 1,
            }
        }
    }

    fn look(&mut self) -> Glance {
        let hints = self.sim.debt().iter().filter(|(_, target, _)| *target == AWAY).map(|(.., count)| count).sum();
        let layout = self.sim.layout();
        let partitions = (0..layout.partitions()).map(PartitionId);
        let owned = partitions.filter(|&partition| layout.owners(partition).contains(&AWAY)).count();
        let pairs = owned * usize::from(layout.n() - 1);
        let agreements = self.sim.node(AWAY).map(Node::agreements).unwrap_or_default();
        let confirmed = agreements.iter().filter(|(.., agreement)| agreement.agreed.is_some()).count();
        let glance = Glance { at: self.time(), hints, unconfirmed: pairs - confirmed };
        self.run.glances.push(glance);
        glance
    }

    fn end(&mut self) {
        self.run.missed_keys = self.missed.len();
        self.run.cut_off = self.waiting.values().filter(|(node, ..)| *node == AWAY).count();
        let end = self.sim.now();
        if self.sim.try_heal_all().is_ok() {
            self.run.healed = Some(self.sim.now().since(end));
        }
        let keys = (0..self.plan.keys).map(text);
        let differs = |key: &String| {
            let mut held = self.sim.owners(key).into_iter().map(|owner| self.sim.versions(owner, key));
            let first = held.next().expect("a key has owners");
            first.is_empty() || held.any(|other| other != first)
        };
        self.run.differing = keys.filter(differs).count();
    }
}

fn text(key: u64) -> String {
    format!("key {key}")
}

fn name(key: u64) -> Bytes {
    Bytes::from(text(key).as_str())
}
