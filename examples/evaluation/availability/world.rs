//! Clients that write, and read what they wrote, while nodes go and come back.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate::error::PutError;
use quorate::ids::KeyspaceId;
use quorate::sim::Sim;
use quorate::{Bytes, Context, GetOptions, Keyspace, Member, Mode, NodeId, PutOptions, Reply, Request, Ticket, Time};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// How exactly clients notice that they have been answered.
const GLANCE: Duration = Duration::from_millis(2);
/// Between an acknowledged write and the read of it, and from that to the next write; in the mean.
pub(super) const READS_AFTER: Duration = Duration::from_secs(1);
pub(super) const RESTS: Duration = Duration::from_millis(200);
/// So long after an owner's return a read counts as after a failure.
pub(super) const AFTERMATH: Duration = Duration::from_secs(5);

pub(super) struct Plan {
    pub(super) members: Vec<Member>,
    pub(super) mode: Mode,
    /// Each with a client of its own.
    pub(super) keys: usize,
    /// When which nodes go, or come back; in order.
    pub(super) turns: Vec<(Duration, Vec<NodeId>, Turn)>,
    pub(super) ends: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Goes,
    Returns,
}

/// What was going on among the key's owners when a request was asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Calm,
    During,
    After,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Refused,
    Done,
    /// A read that missed the last acknowledged write.
    Stale,
}

#[derive(Clone, Copy)]
pub(super) struct Sample {
    pub(super) at: Duration,
    pub(super) is_read: bool,
    pub(super) phase: Phase,
    pub(super) outcome: Outcome,
}

/// What others kept for a node that came back, and how long until they kept nothing more.
#[derive(Clone, Copy)]
pub(super) struct Drain {
    pub(super) hints: u64,
    pub(super) took: Duration,
}

#[derive(Default)]
pub(super) struct Run {
    pub(super) samples: Vec<Sample>,
    pub(super) drains: Vec<Drain>,
    /// Hints that all nodes kept, each second.
    pub(super) hints: Vec<(Duration, u64)>,
    /// Owners that in the end, all being up, don't hold the last acknowledged write. There must be none.
    pub(super) lost: usize,
    /// Writes refused because nobody within reach knew a name in their contexts.
    pub(super) unnamed: usize,
    /// Stale reads that no owner answered.
    pub(super) unowned: usize,
}

struct Client {
    step: Step,
    /// The last acknowledged write, and what the client goes on from.
    last: u64,
    context: Context,
}

enum Step {
    Rests(Time),
    Writes(u64),
    Waits(Time),
    Reads,
}

struct World {
    sim: Sim,
    plan: Plan,
    rng: Xoshiro256PlusPlus,
    origin: Time,
    keyspace: KeyspaceId,
    clients: Vec<Client>,
    owners: Vec<Vec<NodeId>>,
    waiting: BTreeMap<Ticket, (usize, NodeId, Phase, Duration)>,
    returned: BTreeMap<NodeId, Time>,
    draining: BTreeMap<NodeId, (Time, u64)>,
    written: u64,
    run: Run,
}

pub(super) fn play(plan: Plan) -> Run {
    let sim = Sim::builder(plan.members.len() as u64, 1).members(plan.members.clone()).encode(false).build();
    let origin = sim.now();
    let client = |_| Client { step: Step::Rests(origin), last: 0, context: Context::empty() };
    let mut world = World {
        rng: Xoshiro256PlusPlus::seed_from_u64(1),
        origin,
        keyspace: Keyspace::new("default").id(),
        clients: (0..plan.keys).map(client).collect(),
        owners: (0..plan.keys).map(|key| sim.owners(&name(key))).collect(),
        sim,
        plan,
        waiting: BTreeMap::new(),
        returned: BTreeMap::new(),
        draining: BTreeMap::new(),
        written: 0,
        run: Run::default(),
    };
    world.go_on();
    world.end();
    world.run
}

impl World {
    fn go_on(&mut self) {
        let mut turns = std::mem::take(&mut self.plan.turns).into_iter().peekable();
        let mut second = 0;
        while self.time() < self.plan.ends {
            let now = self.sim.now();
            while let Some((_, nodes, turn)) = turns.next_if(|turn| turn.0 <= self.time()) {
                nodes.into_iter().for_each(|node| self.turn(node, turn));
            }
            if self.time().as_secs() >= second {
                let hints = self.sim.debt().iter().map(|(.., count)| count).sum();
                self.run.hints.push((self.time(), hints));
                second += 1;
            }
            (0..self.clients.len()).for_each(|key| self.act(key, now));
            self.sim.run_until(now + GLANCE);
            for (ticket, _, reply) in self.sim.replies() {
                if let Some((key, _, phase, at)) = self.waiting.remove(&ticket) {
                    self.take(key, phase, at, reply);
                }
            }
            self.drain();
        }
    }

    fn time(&self) -> Duration {
        self.sim.now().since(self.origin)
    }

    fn turn(&mut self, node: NodeId, turn: Turn) {
        match turn {
            Turn::Goes if self.sim.is_up(node) => {
                self.sim.crash(node);
                self.draining.remove(&node);
                // Whoever waits for the node is told that it is gone; that is not the cluster's refusal.
                let gone: Vec<Ticket> =
                    self.waiting.iter().filter(|(_, its)| its.1 == node).map(|(ticket, _)| *ticket).collect();
                for ticket in gone {
                    let (key, ..) = self.waiting.remove(&ticket).expect("it waits");
                    self.clients[key].step = Step::Rests(self.after(RESTS));
                }
            }
            Turn::Returns if !self.sim.is_up(node) => {
                let hints = self.owed(node);
                self.sim.restart(node);
                let now = self.sim.now();
                self.returned.insert(node, now);
                if hints > 0 {
                    self.draining.insert(node, (now, hints));
                }
            }
            _ => {}
        }
    }

    /// Hints that running nodes keep for a node.
    fn owed(&self, node: NodeId) -> u64 {
        self.sim.debt().iter().filter(|(_, target, _)| *target == node).map(|(.., count)| count).sum()
    }

    fn drain(&mut self) {
        let home: Vec<NodeId> = self.draining.keys().copied().filter(|&node| self.owed(node) == 0).collect();
        for node in home {
            let (since, hints) = self.draining.remove(&node).expect("it is among them");
            self.run.drains.push(Drain { hints, took: self.sim.now().since(since) });
        }
    }

    fn act(&mut self, key: usize, now: Time) {
        let (keyspace, name, mode) = (self.keyspace, Bytes::from(name(key).as_str()), Some(self.plan.mode));
        match self.clients[key].step {
            Step::Rests(until) if until <= now => {
                self.written += 1;
                let value = Some(Bytes::from(self.written.to_string().as_str()));
                let (context, options) =
                    (self.clients[key].context.clone(), PutOptions { mode, ..PutOptions::default() });
                self.clients[key].step = Step::Writes(self.written);
                self.ask(key, Request::Put { keyspace, key: name, value, context, options });
            }
            Step::Waits(until) if until <= now => {
                self.clients[key].step = Step::Reads;
                let options = GetOptions { mode, ..GetOptions::default() };
                self.ask(key, Request::Get { keyspace, key: name, options });
            }
            _ => {}
        }
    }

    /// Through any node that runs.
    fn ask(&mut self, key: usize, request: Request) {
        let up: Vec<NodeId> = self.sim.members().into_iter().filter(|&node| self.sim.is_up(node)).collect();
        if up.is_empty() {
            self.clients[key].step = Step::Rests(self.after(RESTS));
            return;
        }
        let node = up[self.rng.random_range(0..up.len())];
        let (phase, at) = (self.phase(key), self.time());
        let ticket = self.sim.start(node, request);
        self.waiting.insert(ticket, (key, node, phase, at));
    }

    fn phase(&self, key: usize) -> Phase {
        let owners = &self.owners[key];
        let back = |owner| self.returned.get(owner).is_some_and(|at| self.sim.now().since(*at) < AFTERMATH);
        if owners.iter().any(|&owner| !self.sim.is_up(owner)) {
            Phase::During
        } else if owners.iter().any(back) {
            Phase::After
        } else {
            Phase::Calm
        }
    }

    fn take(&mut self, key: usize, phase: Phase, at: Duration, reply: Reply) {
        let is_read = matches!(reply, Reply::Get(_));
        self.run.unnamed += usize::from(matches!(reply, Reply::Put(Err(PutError::UnknownName))));
        let waits = self.after(READS_AFTER);
        let rests = self.after(RESTS);
        let client = &mut self.clients[key];
        let (outcome, next) = match (reply, &client.step) {
            (Reply::Put(Ok(written)), Step::Writes(number)) => {
                (client.last, client.context) = (*number, written.context);
                (Outcome::Done, Step::Waits(waits))
            }
            (Reply::Get(Ok(found)), _) => {
                let latest = found.values.iter().filter_map(number).max().unwrap_or(0);
                let outcome = if latest < client.last { Outcome::Stale } else { Outcome::Done };
                if outcome == Outcome::Done {
                    client.context = found.context;
                } else if found.owners == 0 {
                    self.run.unowned += 1;
                }
                (outcome, Step::Rests(rests))
            }
            // It may be stored all the same: the read that follows shows.
            (Reply::Put(Err(_)), _) => (Outcome::Refused, Step::Waits(waits)),
            _ => (Outcome::Refused, Step::Rests(rests)),
        };
        client.step = next;
        self.run.samples.push(Sample { at, is_read, phase, outcome });
    }

    fn end(&mut self) {
        for node in self.sim.members() {
            self.sim.restart(node);
        }
        self.sim.heal_all();
        for (key, client) in self.clients.iter().enumerate() {
            for &owner in &self.owners[key] {
                let held = self.sim.stored(owner, &name(key));
                let latest = held.iter().filter_map(|value| value.parse().ok()).max().unwrap_or(0);
                self.run.lost += usize::from(latest < client.last);
            }
        }
    }

    /// In so long, in the mean: between zero and twice that, evenly.
    fn after(&mut self, mean: Duration) -> Time {
        let most = 2 * mean.as_micros() as u64;
        self.sim.now() + Duration::from_micros(self.rng.random_range(0..=most))
    }
}

fn number(value: &Bytes) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn name(key: usize) -> String {
    format!("cart {key}")
}
