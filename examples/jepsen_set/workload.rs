//! The workload: five clients add numbers to one set under one key, while the network is cut in two.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use quorate::reconcile::{LastWriteWins, MergeBy};
use quorate::sim::Sim;
use quorate::{
    Bytes, Context, GetOptions, Keyspace, Mode, NodeId, PutOptions, Quorum, Reply, Request, Ticket, Time, Versions,
};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

const KEY: &str = "set";
/// Each client at a node of its own.
const CLIENTS: u32 = 5;
/// Each client begins two additions a second, whether or not the one before has ended.
const PERIOD: Duration = Duration::from_millis(500);
/// The clients' timers were started within so many microseconds.
const PHASES: u64 = 5_000;
/// How often a client looks for its answer.
const GLANCE: Duration = Duration::from_micros(100);

/// What is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) additions: u32,
    /// How many owners must answer a read, and a write.
    pub(crate) quorum: u8,
    pub(crate) mode: Mode,
    /// The union of siblings is shown, or else the last one written.
    pub(crate) union: bool,
    /// A perfect lock, outside the store, over each read-modify-write.
    pub(crate) locked: bool,
    /// {n1, n2} and {n3, n4, n5} are cut off from one another from a quarter to half of the run.
    pub(crate) partitioned: bool,
}

/// What became of the additions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) attempted: usize,
    pub(crate) acknowledged: usize,
    /// Found in the end.
    pub(crate) survived: usize,
    /// Acknowledged, and not found.
    pub(crate) lost: usize,
    /// Not acknowledged, and found all the same: its outcome was unknown.
    pub(crate) unacknowledged: usize,
    /// Found, and never added.
    pub(crate) phantoms: usize,
}

/// An addition in progress.
struct Addition {
    number: u32,
    node: NodeId,
    waits_for: Ticket,
}

struct Run {
    workload: Workload,
    sim: Sim,
    keyspace: Keyspace,
    waiting: VecDeque<(u32, NodeId)>,
    running: Vec<Addition>,
    acknowledged: BTreeSet<u32>,
}

/// Runs it to its end: ten seconds after the last answer all owners are read.
pub(crate) fn run(workload: &Workload, seed: u64) -> Outcome {
    let mut run = Run::new(*workload, seed);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut clients: Vec<_> = (0..CLIENTS).map(|client| (rng.random_range(0..PHASES), client)).collect();
    clients.sort_unstable();
    let rounds = workload.additions / CLIENTS;
    let mut next = run.sim.now();
    for round in 0..rounds {
        for &(phase, client) in &clients {
            run.work_until(next + Duration::from_micros(phase));
            run.waiting.push_back((round * CLIENTS + client, NodeId(u64::from(client) + 1)));
        }
        next = next + PERIOD;
        // In the midst of their work.
        if workload.partitioned && round == rounds / 4 {
            run.sim.split(&[1, 2].map(NodeId), &[3, 4, 5].map(NodeId));
        } else if workload.partitioned && round == rounds / 2 {
            run.sim.heal();
        }
        run.work_until(next);
    }
    while !run.waiting.is_empty() || !run.running.is_empty() {
        run.work_until(run.sim.now() + PERIOD);
    }
    run.sim.run_for(Duration::from_secs(10));
    run.judge()
}

impl Run {
    fn new(workload: Workload, seed: u64) -> Self {
        let quorum = Quorum::new(3, workload.quorum, workload.quorum).expect("1, 2 or 3");
        let keyspace = Keyspace::new("jepsen").quorum(quorum).mode(workload.mode);
        let keyspace = if workload.union {
            keyspace.reconciler(MergeBy::new(|a, b| bytes_of(&(&set_of(a) | &set_of(b)))))
        } else {
            keyspace.reconciler(LastWriteWins)
        };
        let sim = Sim::builder(CLIENTS.into(), seed).keyspaces(vec![keyspace.clone()]).encode(false).build();
        let (waiting, running) = (VecDeque::new(), Vec::new());
        Self { workload, sim, keyspace, waiting, running, acknowledged: BTreeSet::new() }
    }

    fn work_until(&mut self, until: Time) {
        while self.sim.now() < until {
            self.begin();
            let left = until.since(self.sim.now());
            self.sim.run_for(if self.running.is_empty() { left } else { left.min(GLANCE) });
            self.look();
        }
    }

    fn begin(&mut self) {
        while !(self.workload.locked && self.running.len() == 1)
            && let Some((number, node)) = self.waiting.pop_front()
        {
            let (keyspace, options) = (self.keyspace.id(), GetOptions::default());
            let waits_for = self.sim.start(node, Request::Get { keyspace, key: KEY.into(), options });
            self.running.push(Addition { number, node, waits_for });
        }
    }

    /// Who has read writes; who has written, or failed, is done.
    fn look(&mut self) {
        for addition in std::mem::take(&mut self.running) {
            match self.sim.reply(addition.waits_for) {
                None => self.running.push(addition),
                Some(Reply::Get(Ok(found))) => {
                    let mut set = content(&found);
                    set.insert(addition.number);
                    let waits_for = self.put(addition.node, &set, found.context);
                    self.running.push(Addition { waits_for, ..addition });
                }
                Some(Reply::Put(Ok(_))) => _ = self.acknowledged.insert(addition.number),
                Some(_) => {}
            }
        }
    }

    fn put(&mut self, node: NodeId, set: &BTreeSet<u32>, context: Context) -> Ticket {
        let (keyspace, value) = (self.keyspace.id(), Some(Bytes::from(bytes_of(set))));
        let options = PutOptions::default();
        self.sim.start(node, Request::Put { keyspace, key: KEY.into(), value, context, options })
    }

    fn judge(mut self) -> Outcome {
        let all = GetOptions { r: Some(3), mode: Some(Mode::Strict), all: true, ..GetOptions::default() };
        let found = content(&self.sim.get_with(NodeId(1), KEY, all).expect("all nodes can be reached"));
        let attempted = self.workload.additions / CLIENTS * CLIENTS;
        let phantoms = found.range(attempted..).count();
        Outcome {
            attempted: attempted as usize,
            acknowledged: self.acknowledged.len(),
            survived: found.len() - phantoms,
            lost: self.acknowledged.difference(&found).count(),
            unacknowledged: found.difference(&self.acknowledged).count() - phantoms,
            phantoms,
        }
    }
}

/// The reconcilers leave one value, or none before the first addition.
fn content(found: &Versions) -> BTreeSet<u32> {
    found.value().map_or_else(BTreeSet::new, |value| set_of(value))
}

fn set_of(bytes: &[u8]) -> BTreeSet<u32> {
    bytes.as_chunks().0.iter().map(|chunk| u32::from_be_bytes(*chunk)).collect()
}

fn bytes_of(set: &BTreeSet<u32>) -> Vec<u8> {
    set.iter().flat_map(|number| number.to_be_bytes()).collect()
}
