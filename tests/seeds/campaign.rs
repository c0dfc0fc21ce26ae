//! One seed: a cluster, clients, and whatever befalls them.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate::config::Limits;
use quorate::error::{GetError, PutError};
use quorate::ids::WriteId;
use quorate::sim::{DiskFault, Sim};
use quorate::{Context, GetOptions, Keyspace, Mode, NodeId, PutOptions, Quorum, Reply, Request, Ticket};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::history::{History, Number, Outcome, Read, Write};

/// What a seed decides, and what a test may bend.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) nodes: u64,
    pub(crate) quorum: Quorum,
    pub(crate) mode: Mode,
    pub(crate) clients: usize,
    pub(crate) keys: usize,
    /// Every put follows a read of its own.
    pub(crate) polite: bool,
    /// The client claims to have read what it has not: a wrong model, which the checks must catch.
    pub(crate) boasting: bool,
    /// The client reads, but puts blindly: another wrong model.
    pub(crate) forgetful: bool,
    pub(crate) siblings: usize,
    pub(crate) shards: usize,
    pub(crate) crashes: bool,
    pub(crate) disks: bool,
    pub(crate) last_write_wins: bool,
}

impl Settings {
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ 0x5e77);
        let nodes = rng.random_range(3..=7);
        let n = rng.random_range(1..=nodes.min(5)) as u8;
        // Three in four are the common case.
        let n = if rng.random_range(0..4) == 0 { n } else { 3 };
        let (r, w) = (rng.random_range(1..=n), rng.random_range(1..=n));
        Self {
            nodes,
            quorum: Quorum::new(n, r, w).expect("drawn from what exists"),
            mode: if rng.random() { Mode::Sloppy } else { Mode::Strict },
            clients: rng.random_range(1..=8),
            keys: rng.random_range(1..=3),
            polite: rng.random_range(0..3) == 0,
            boasting: false,
            forgetful: false,
            siblings: if rng.random_range(0..4) == 0 { 3 } else { 100 },
            shards: rng.random_range(1..=2),
            crashes: rng.random_range(0..4) > 0,
            disks: rng.random_range(0..4) == 0,
            last_write_wins: false,
        }
    }
}

struct Client {
    waiting: Option<(NodeId, Ticket, Op)>,
    /// Per key: the latest context, and the one before it.
    known: Vec<[(Context, BTreeSet<Number>); 2]>,
    /// A write whose outcome is unknown, to be sent again.
    repeat: Option<Number>,
    contexts: Vec<(Number, Context)>,
}

enum Op {
    Get { key: usize, began: quorate::Time, then_put: bool },
    Put(Number),
}

struct Campaign {
    sim: Sim,
    rng: Xoshiro256PlusPlus,
    settings: Settings,
    clients: Vec<Client>,
    history: History,
    keyspace: Keyspace,
}

/// Runs a seed to its end.
pub(crate) fn run(seed: u64, settings: &Settings) -> Result<History, String> {
    let settings = settings.clone();
    let limits = Limits { siblings: settings.siblings, ..Limits::default() };
    let mut keyspace = Keyspace::new("default").quorum(settings.quorum).mode(settings.mode);
    if settings.last_write_wins {
        keyspace = keyspace.reconciler(quorate::reconcile::LastWriteWins);
    }
    let builder = Sim::builder(settings.nodes, seed).keyspaces(vec![keyspace.clone()]).limits(limits);
    let sim = builder.partitions(8).shards(settings.shards).encode(seed.is_multiple_of(8)).build();
    let nothing = || [(Context::empty(), BTreeSet::new()), (Context::empty(), BTreeSet::new())];
    let client = |_| Client {
        waiting: None,
        known: (0..settings.keys).map(|_| nothing()).collect(),
        repeat: None,
        contexts: Vec::new(),
    };
    let clients = (0..settings.clients).map(client).collect();
    let rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut campaign = Campaign { sim, rng, settings, clients, history: History::default(), keyspace };
    let steps = campaign.rng.random_range(60..200);
    for _ in 0..steps {
        campaign.befall();
        campaign.act();
        let pause = campaign.rng.random_range(0..40_u64).pow(3);
        campaign.sim.run_for(Duration::from_micros(pause));
        campaign.collect();
    }
    campaign.calm_down()?;
    Ok(campaign.history)
}

impl Campaign {
    fn any_node(&mut self) -> NodeId {
        NodeId(self.rng.random_range(1..=self.settings.nodes))
    }

    fn befall(&mut self) {
        let (node, other) = (self.any_node(), self.any_node());
        match self.rng.random_range(0..60) {
            0 if self.settings.crashes => self.down(node, true),
            1 if self.settings.crashes => self.down(node, false),
            2..=4 => self.sim.restart(node),
            5 => self.sim.network.loss = self.rng.random_range(0..30),
            6 => self.sim.network.duplication = self.rng.random_range(0..40),
            7 => self.sim.network.cut_one_way(node, other),
            8 => self.sim.isolate(node),
            9 => {
                let at = self.rng.random_range(1..self.settings.nodes) as usize;
                let members = self.sim.members();
                self.sim.split(&members[..at], &members[at..]);
            }
            10..=12 => self.sim.heal(),
            13 => self.sim.network.slow(node, Duration::from_micros(self.rng.random_range(0..150_000))),
            14 => self.sim.network.jitter = Duration::from_micros(self.rng.random_range(0..20_000)),
            15 if self.settings.disks && self.sim.is_up(node) => {
                let fault = [DiskFault::Reads, DiskFault::Writes, DiskFault::Sync][self.rng.random_range(0..3)];
                let disks = self.sim.disk(node);
                disks[self.rng.random_range(0..disks.len())].set(fault, true);
            }
            16 | 17 => self.mend(node),
            18 => {
                // A restart at once, without and with the loss of what was not synced.
                let dirty = self.rng.random();
                self.down(node, dirty);
                self.mend(node);
                self.sim.restart(node);
            }
            _ => {}
        }
    }

    fn mend(&mut self, node: NodeId) {
        for disk in self.sim.disk(node) {
            for fault in [DiskFault::Reads, DiskFault::Writes, DiskFault::Sync] {
                disk.set(fault, false);
            }
        }
    }

    fn down(&mut self, node: NodeId, dirty: bool) {
        self.collect();
        self.forget_refusals();
        if dirty {
            self.sim.crash(node)
        } else {
            self.sim.stop(node)
        }
        self.mend(node);
        for at in 0..self.clients.len() {
            if self.clients[at].waiting.as_ref().is_some_and(|(at, ..)| *at == node)
                && let Some((_, _, op)) = self.clients[at].waiting.take()
                && let Op::Put(number) = op
            {
                self.clients[at].repeat = Some(number);
            }
        }
    }

    /// A node that starts anew has forgotten what it turned away at the sibling cap a moment ago: a duplicate of that
    /// which is still on its way may be written after all.
    fn forget_refusals(&mut self) {
        let now = self.sim.now();
        for write in &mut self.history.writes {
            if write.outcome == Outcome::Refused && now.since(write.began) < Duration::from_secs(3) {
                write.outcome = Outcome::Unknown;
            }
        }
    }

    /// An idle client does something.
    fn act(&mut self) {
        let at = self.rng.random_range(0..self.clients.len());
        let node = self.any_node();
        if self.clients[at].waiting.is_some() || !self.sim.is_up(node) {
            return;
        }
        let key = self.rng.random_range(0..self.settings.keys);
        // A delete of whatever is there would delete something else the second time.
        let sensible = |number: &Number| !self.history.writes[*number].is_sweeping;
        let repeat = self.clients[at].repeat.take().filter(sensible).filter(|_| self.rng.random_range(0..3) == 0);
        if let Some(number) = repeat {
            let context = self.clients[at].contexts.iter().rfind(|(of, _)| *of == number);
            let context = context.map_or(Context::empty(), |(_, context)| context.clone());
            self.history.writes[number].is_repeated = true;
            return self.send(at, node, number, &context);
        }
        let polite = self.settings.polite;
        match self.rng.random_range(0..10) {
            0..4 => self.read(at, node, key, polite),
            _ if polite => self.read(at, node, key, true),
            4..7 => self.put(at, node, key, 0, false),
            7 => self.put(at, node, key, 1, false),
            8 => {
                self.clients[at].known[key][1] = (Context::empty(), BTreeSet::new());
                self.put(at, node, key, 1, false);
            }
            _ => self.put(at, node, key, 0, true),
        }
    }

    fn read(&mut self, at: usize, node: NodeId, key: usize, then_put: bool) {
        let began = self.sim.now();
        let options = GetOptions { all: self.rng.random_range(0..4) == 0, ..GetOptions::default() };
        let request = Request::Get { keyspace: self.keyspace.id(), key: name(key).as_str().into(), options };
        let ticket = self.sim.start(node, request);
        self.clients[at].waiting = Some((node, ticket, Op::Get { key, began, then_put }));
    }

    /// Puts with the latest context or the one before; `delete` removes.
    fn put(&mut self, at: usize, node: NodeId, key: usize, which: usize, delete: bool) {
        let (mut context, mut seen) = self.clients[at].known[key][which].clone();
        if self.settings.boasting {
            let others = self.history.writes.iter().enumerate().filter(|(_, write)| write.key == key);
            seen.extend(others.map(|(number, _)| number));
        }
        if self.settings.forgetful {
            context = Context::empty();
        }
        let past = seen.iter().flat_map(|&old| self.history.writes[old].past.iter().copied().chain([old])).collect();
        let number = self.history.writes.len();
        self.history.writes.push(Write {
            client: at,
            key,
            is_delete: delete,
            is_sweeping: delete && context.is_empty(),
            seen,
            past,
            outcome: Outcome::Unknown,
            began: self.sim.now(),
            acked: None,
            is_repeated: false,
        });
        self.clients[at].contexts.push((number, context.clone()));
        self.send(at, node, number, &context);
    }

    fn send(&mut self, at: usize, node: NodeId, number: Number, context: &Context) {
        let write = &self.history.writes[number];
        let value = (!write.is_delete).then(|| number.to_string());
        let options = PutOptions { write_id: Some(WriteId(number as u128)), ..PutOptions::default() };
        let ticket = self.sim.start_put(node, &name(write.key), value.as_deref(), context, options);
        self.clients[at].waiting = Some((node, ticket, Op::Put(number)));
    }

    /// Takes the answers in.
    fn collect(&mut self) {
        for at in 0..self.clients.len() {
            let Some((node, ticket, op)) = self.clients[at].waiting.take() else { continue };
            match (self.sim.reply(ticket), op) {
                (None, op) => self.clients[at].waiting = Some((node, ticket, op)),
                (Some(Reply::Get(Ok(found))), Op::Get { key, began, then_put }) => {
                    let values: Vec<Number> = found.values.iter().map(|value| number(value)).collect();
                    let known = &mut self.clients[at].known[key];
                    known.swap(0, 1);
                    known[0] = (found.context, values.iter().copied().collect());
                    self.history.reads.push(Read { key, began, values });
                    if then_put && self.sim.is_up(node) {
                        let delete = self.rng.random_range(0..10) == 0 && !self.clients[at].known[key][0].1.is_empty();
                        self.put(at, node, key, 0, delete);
                    }
                }
                (Some(Reply::Get(Err(GetError::Unavailable(_) | GetError::Stopped))), Op::Get { .. }) => {}
                (Some(Reply::Put(Ok(written))), Op::Put(number)) => {
                    let write = &mut self.history.writes[number];
                    write.outcome = Outcome::Acked;
                    write.acked.get_or_insert(self.sim.now());
                    if self.rng.random() && !write.is_sweeping {
                        let mut seen = write.past.clone();
                        if !write.is_delete {
                            seen.insert(number);
                        }
                        let known = &mut self.clients[at].known[write.key];
                        known.swap(0, 1);
                        known[0] = (written.context, seen);
                    }
                }
                (Some(Reply::Put(Err(error))), Op::Put(number)) => self.refused(at, number, &error),
                (Some(reply), _) => panic!("{reply:?}"),
            }
        }
    }

    fn refused(&mut self, at: usize, number: Number, error: &PutError) {
        let write = &mut self.history.writes[number];
        match error {
            PutError::Unavailable(_) | PutError::Stopped => self.clients[at].repeat = Some(number),
            // An earlier try may have been more lucky.
            _ if write.is_repeated => {}
            PutError::TooManySiblings { .. } | PutError::Storage(_) | PutError::Read(_) => {
                write.outcome = Outcome::Refused;
            }
            other => panic!("{other}"),
        }
    }

    /// Heals, restarts, and reads until every owner has everything.
    fn calm_down(&mut self) -> Result<(), String> {
        self.sim.heal();
        for node in self.sim.members() {
            // A node whose disk failed to sync does nothing any more until it is started again.
            self.down(node, self.settings.disks);
            self.sim.restart(node);
        }
        // Nobody is suspected any more after this.
        self.sim.run_for(Duration::from_secs(10));
        self.collect();
        self.sim.settle();
        for key in 0..self.settings.keys {
            let name = name(key);
            let options = GetOptions { all: true, ..GetOptions::default() };
            for node in self.sim.members() {
                self.sim.get_with(node, &name, options.clone()).map_err(|error| format!("not available: {error}"))?;
                self.sim.settle();
            }
            let mut last: Option<BTreeSet<Number>> = None;
            for node in self.sim.members() {
                let began = self.sim.now();
                let found = self.sim.get(node, &name).map_err(|error| format!("not available: {error}"))?;
                let values: Vec<Number> = found.values.iter().map(|value| number(value)).collect();
                self.history.reads.push(Read { key, began, values: values.clone() });
                let values: BTreeSet<Number> = values.into_iter().collect();
                if last.as_ref().is_some_and(|last| *last != values) {
                    return Err(format!("divergence: {node} shows {values:?}, another showed {last:?} of key {key}"));
                }
                last = Some(values);
            }
            let last = last.unwrap_or_default();
            for owner in self.sim.owners(&name) {
                let stored: BTreeSet<Number> =
                    self.sim.stored(owner, &name).iter().map(|value| number(value.as_bytes())).collect();
                if !self.settings.last_write_wins && stored != last {
                    return Err(format!("divergence: {owner} stores {stored:?}, but {last:?} is read of key {key}"));
                }
            }
            self.history.last.push(last);
        }
        let debt = self.sim.debt();
        if debt.is_empty() { Ok(()) } else { Err(format!("hints never came home: {debt:?}")) }
    }
}

fn name(key: usize) -> String {
    format!("key {key}")
}

fn number(value: &[u8]) -> Number {
    String::from_utf8_lossy(value).parse().unwrap_or(Number::MAX)
}
